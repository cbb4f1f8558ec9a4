/*
 * btree.c
 *		Puts many rows into a btree: goes down the tree once for all rows of a
 *		leaf, where one insertion each would do it once for every row.
 *
 * Only what is simple is done here: a plain tuple that belongs into the leaf
 * at hand and fits in there as it is. It is added and logged as the index's own
 * code does it, one WAL record each, so replay and replicas know nothing of it.
 * All else (a full page: a split or a pass that removes or merges duplicates; a
 * place inside a posting list; a key that may be a duplicate in a unique index;
 * large tuples) is left to that code.
 *
 * Which leaf a tuple belongs into does not depend on the order in which tuples
 * come: each is compared with the leaf's high key, and with a tuple that is on
 * the leaf. Coming in the order of the index, they only need fewer leaves.
 *
 * In a unique index a new key is accepted here only if it lies between a
 * smaller key on the leaf and a larger one on it or its high key. Then it is in
 * no other leaf either, and whoever else inserts it must lock this leaf first,
 * which is what the index's own check builds on.
 */
#include "mals_errors.h"

#include "access/nbtree.h"
#include "access/nbtxlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/rel.h"

#include "mals_compat.h"
#include "write/target.h"

/* Larger tuples may break the rule that three fit on a page. */
#define MAX_SIMPLE_SIZE (BLCKSZ / 8)

/* Can rows be put into this index here? */
bool
mals_btree_usable(Relation rel)
{
	bool heapkeyspace;
	bool allequalimage;

	if (rel->rd_rel->relam != BTREE_AM_OID)
		return false;
	_bt_metaversion(rel, &heapkeyspace, &allequalimage);
	return heapkeyspace;
}

/*
 * Tells whether a key belongs into a leaf that is at hand, and sets the bounds
 * of its place: after the tuple that was put there last, if that is smaller.
 */
static bool
belongs(Relation rel, BTInsertState state, OffsetNumber last)
{
	Page page = BufferGetPage(state->buf);
	BTPageOpaque opaque = BTPageGetOpaque(page);

	if (!P_RIGHTMOST(opaque) && _bt_compare(rel, state->itup_key, page, P_HIKEY) > 0)
		return false;
	state->bounds_valid = _bt_compare(rel, state->itup_key, page, last) > 0;
	if (state->bounds_valid)
	{
		state->low = OffsetNumberNext(last);
		state->stricthigh = OffsetNumberNext(PageGetMaxOffsetNumber(page));
		return true;
	}
	return _bt_compare(rel, state->itup_key, page, P_FIRSTDATAKEY(opaque)) > 0;
}

/* Tells whether the keys on both sides of a place in a leaf differ from the new one. */
static bool
is_between(Relation rel, BTInsertState state, OffsetNumber offset)
{
	Page page = BufferGetPage(state->buf);
	BTPageOpaque opaque = BTPageGetOpaque(page);
	BTScanInsert key = state->itup_key;
	ItemPointer tid = key->scantid;
	bool result;

	key->scantid = NULL;
	result = offset > P_FIRSTDATAKEY(opaque) &&
			 _bt_compare(rel, key, page, OffsetNumberPrev(offset)) > 0;
	if (result && offset <= PageGetMaxOffsetNumber(page))
		result = _bt_compare(rel, key, page, offset) < 0;
	else if (result && !P_RIGHTMOST(opaque))
		result = _bt_compare(rel, key, page, P_HIKEY) < 0;
	key->scantid = tid;
	return result;
}

/* Adds a tuple to a leaf that has room for it, and logs that. */
static void
add_to_leaf(Relation rel, BTInsertState state, OffsetNumber offset)
{
	Page page = BufferGetPage(state->buf);

	/* no error until the change is logged */
	START_CRIT_SECTION();
	if (PageAddItem(page, (Item) state->itup, state->itemsz, offset, false, false) ==
		InvalidOffsetNumber)
		elog(PANIC, "could not add a tuple to index \"%s\"", RelationGetRelationName(rel));
	MarkBufferDirty(state->buf);
	if (RelationNeedsWAL(rel))
	{
		xl_btree_insert record = {.offnum = offset};
		XLogRecPtr lsn;

		XLogBeginInsert();
		XLogRegisterData((char *) &record, SizeOfBtreeInsert);
		XLogRegisterBuffer(0, state->buf, REGBUF_STANDARD);
		XLogRegisterBufData(0, (char *) state->itup, IndexTupleSize(state->itup));
		lsn = XLogInsert(RM_BTREE_ID, XLOG_BTREE_INSERT_LEAF);
		PageSetLSN(page, lsn);
	}
	END_CRIT_SECTION();
}

int
mals_btree_insert(Relation rel, Relation heap, IndexTuple *tuples, int ntuples)
{
	BTInsertStateData state = {0};
	OffsetNumber last = InvalidOffsetNumber;
	int done;

	for (done = 0; done < ntuples; done++)
	{
		OffsetNumber offset;

		state.itup = tuples[done];
		state.itemsz = MAXALIGN(IndexTupleSize(state.itup));
		if (state.itemsz > MAX_SIMPLE_SIZE)
			break;
		state.itup_key = _bt_mkscankey(rel, state.itup);
		if (done == 0)
		{
			_bt_freestack(mals_bt_search(rel, heap, state.itup_key, &state.buf));
			CheckForSerializableConflictIn(rel, NULL, BufferGetBlockNumber(state.buf));
		}
		else if (!belongs(rel, &state, last))
			break;

		if (PageGetFreeSpace(BufferGetPage(state.buf)) < state.itemsz)
			break;
		offset = _bt_binsrch_insert(rel, &state);
		if (state.postingoff != 0)
			break;
		if (rel->rd_index->indisunique && !is_between(rel, &state, offset))
			break;
		add_to_leaf(rel, &state, offset);
		last = offset;
		state.bounds_valid = false;
		pfree(state.itup_key);
	}
	if (BufferIsValid(state.buf))
		_bt_relbuf(rel, state.buf);
	return done;
}
