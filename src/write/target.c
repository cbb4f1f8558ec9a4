/*
 * target.c
 *		Writes rows into a table and its indexes, without SPI or a plan.
 */
#include "mals_errors.h"

#include "access/heapam.h"
#include "access/genam.h"
#include "access/itup.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "mals_compat.h"
#include "write/target.h"

/* A row on its way into an index. */
typedef struct TargetRow
{
	TupleTableSlot *slot;
	uint64 key;					/* the first column's leading bytes, or its value */
	const char *bytes;			/* all of its bytes */
	int nbytes;
	int place;					/* among the rows that came */
} TargetRow;

/* Tells whether rows can be inserted into an index without ExecInsertIndexTuples. */
static bool
is_plain(const ResultRelInfo *rri, int index)
{
	const IndexInfo *info = rri->ri_IndexRelationInfo[index];

	return info->ii_ReadyForInserts && info->ii_ExclusionOps == NULL &&
		rri->ri_IndexRelationDescs[index]->rd_index->indimmediate;
}

void
mals_target_open(MalsTarget *target, Oid relation)
{
	Relation rel = table_open(relation, NoLock);

	target->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(target->rri, rel, 0, NULL, 0);
	ExecOpenIndices(target->rri, false);
	target->slot = table_slot_create(rel, NULL);
	target->arbiters = NIL;
	target->unique = false;
	target->plain = true;
	for (int i = 0; i < target->rri->ri_NumIndices; i++)
		target->plain &= is_plain(target->rri, i);
}

void
mals_target_close(MalsTarget *target)
{
	ExecDropSingleTupleTableSlot(target->slot);
	ExecCloseIndices(target->rri);
	table_close(target->rri->ri_RelationDesc, NoLock);
}

/* Gives a value's first bytes as a number that orders as they do. */
static uint64
leading_bytes(const char *bytes, int len)
{
	uint64 result = 0;

	memcpy(&result, bytes, Min(len, sizeof(result)));
	return pg_ntoh64(result);
}

/* Notes the first column of an index, for sorting. */
static void
set_key(TargetRow *row, AttrNumber column)
{
	Form_pg_attribute att = TupleDescAttr(row->slot->tts_tupleDescriptor, column - 1);
	bool isnull;
	Datum value = slot_getattr(row->slot, column, &isnull);

	row->bytes = NULL;
	row->nbytes = 0;
	if (isnull)
		row->key = 0;
	else if (att->attbyval)
		row->key = (uint64) value ^ (UINT64CONST(1) << 63);
	else
	{
		bool varlena = att->attlen == -1;

		row->bytes = varlena ? VARDATA_ANY(DatumGetPointer(value)) : DatumGetPointer(value);
		row->nbytes = varlena ? VARSIZE_ANY_EXHDR(DatumGetPointer(value)) : att->attlen;
		row->key = leading_bytes(row->bytes, row->nbytes);
	}
}

/*
 * Orders rows by the bytes of their keys. That is the order of the index for
 * times, UUIDs and identifiers, and some order for the rest.
 */
static inline int
compare_rows(const TargetRow *left, const TargetRow *right)
{
	int order = 0;

	if (left->key != right->key)
		return left->key < right->key ? -1 : 1;
	if (left->nbytes > sizeof(left->key) && right->nbytes > sizeof(left->key))
		order = memcmp(left->bytes, right->bytes, Min(left->nbytes, right->nbytes));
	if (order == 0)
		order = left->nbytes - right->nbytes;
	return order != 0 ? order : left->place - right->place;
}

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE TargetRow
#define ST_COMPARE(a, b) compare_rows(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Gathers the rows that an index takes. */
static int
gather_rows(IndexInfo *info, EState *estate, TupleTableSlot **slots, int nslots, TargetRow *rows)
{
	ExprContext *context = GetPerTupleExprContext(estate);
	int nrows = 0;

	if (info->ii_Predicate != NIL && info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, estate);
	for (int i = 0; i < nslots; i++)
	{
		context->ecxt_scantuple = slots[i];
		if (!ExecQual(info->ii_PredicateState, context))
			continue;
		rows[nrows].slot = slots[i];
		rows[nrows].place = i;
		nrows++;
	}
	ResetPerTupleExprContext(estate);
	return nrows;
}

/* Inserts rows one after the other into an index of any kind. */
static void
insert_rows(MalsTarget *target, int index, EState *estate, const TargetRow *rows, int nrows)
{
	Relation rel = target->rri->ri_IndexRelationDescs[index];
	IndexInfo *info = target->rri->ri_IndexRelationInfo[index];
	IndexUniqueCheck check = rel->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;

	for (int i = 0; i < nrows; i++)
	{
		TupleTableSlot *slot = rows[i].slot;
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		CHECK_FOR_INTERRUPTS();
		GetPerTupleExprContext(estate)->ecxt_scantuple = slot;
		FormIndexDatum(info, slot, estate, values, isnull);
		index_insert(rel, values, isnull, &slot->tts_tid, target->rri->ri_RelationDesc, check,
					 false, info);
	}
}

/* Inserts rows into a btree, leaf by leaf. */
static void
insert_sorted(MalsTarget *target, int index, EState *estate, TargetRow *rows, int nrows)
{
	Relation rel = target->rri->ri_IndexRelationDescs[index];
	IndexInfo *info = target->rri->ri_IndexRelationInfo[index];
	IndexTuple *tuples = palloc(nrows * sizeof(IndexTuple));

	for (int i = 0; i < nrows; i++)
		set_key(&rows[i], info->ii_IndexAttrNumbers[0]);
	sort_rows(rows, nrows);
	for (int i = 0; i < nrows; i++)
	{
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		FormIndexDatum(info, rows[i].slot, estate, values, isnull);
		tuples[i] = index_form_tuple(RelationGetDescr(rel), values, isnull);
		tuples[i]->t_tid = rows[i].slot->tts_tid;
	}
	for (int i = 0; i < nrows;)
	{
		int done;

		CHECK_FOR_INTERRUPTS();
		done = mals_btree_insert(rel, target->rri->ri_RelationDesc, tuples + i, nrows - i);
		if (done == 0)
			insert_rows(target, index, estate, rows + i, 1);
		i += Max(done, 1);
	}
}

/* Inserts rows into their table's indexes, one index after the other. */
static void
insert_by_index(MalsTarget *target, EState *estate, TupleTableSlot **slots, int nslots)
{
	TargetRow *rows = palloc(nslots * sizeof(TargetRow));
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));

	for (int i = 0; i < target->rri->ri_NumIndices; i++)
	{
		IndexInfo *info = target->rri->ri_IndexRelationInfo[i];
		int nrows = gather_rows(info, estate, slots, nslots, rows);

		if (nrows > 1 && info->ii_Expressions == NIL &&
			mals_btree_usable(target->rri->ri_IndexRelationDescs[i]))
			insert_sorted(target, i, estate, rows, nrows);
		else
			insert_rows(target, i, estate, rows, nrows);
		ResetPerTupleExprContext(estate);
	}
	MemoryContextSwitchTo(old);
	pfree(rows);
}

void
mals_target_insert(MalsTarget *target, EState *estate, TupleTableSlot **slots, int nslots,
				   BulkInsertState bulk)
{
	ResultRelInfo *rri = target->rri;
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));

	table_multi_insert(rri->ri_RelationDesc, slots, nslots, GetCurrentCommandId(true), 0, bulk);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(estate);

	if (target->plain)
		insert_by_index(target, estate, slots, nslots);
	else
		for (int i = 0; i < nslots; i++)
		{
			if (rri->ri_NumIndices > 0)
				list_free(mals_insert_index_tuples(rri, slots[i], estate, false, NULL, NIL));
			ResetPerTupleExprContext(estate);
		}
}

/* Opens a table's indexes again so that a row can be inserted if its key is new. */
static void
prepare_unique(MalsTarget *target)
{
	ResultRelInfo *rri = target->rri;
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(rri));

	ExecCloseIndices(rri);
	ExecOpenIndices(rri, true);
	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		if (rri->ri_IndexRelationDescs[i]->rd_index->indisprimary)
			target->arbiters = list_make1_oid(RelationGetRelid(rri->ri_IndexRelationDescs[i]));
	}
	if (target->arbiters == NIL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" has no primary key",
					   RelationGetRelationName(rri->ri_RelationDesc)),
				errhint("Partitions of mals.entries need PRIMARY KEY (ts, id)."));
	target->unique = true;
	MemoryContextSwitchTo(old);
}

bool
mals_target_insert_unique(MalsTarget *target, EState *estate, TupleTableSlot *slot,
						  ItemPointer conflict)
{
	ResultRelInfo *rri = target->rri;

	if (!target->unique)
		prepare_unique(target);
	for (;;)
	{
		ItemPointerData none;
		uint32 token;
		bool clash = false;

		CHECK_FOR_INTERRUPTS();
		ItemPointerSetInvalid(&none);
		ItemPointerSetInvalid(conflict);
		if (!mals_check_index_constraints(rri, slot, estate, conflict, &none, target->arbiters))
			return false;

		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
		table_tuple_insert_speculative(rri->ri_RelationDesc, slot, GetCurrentCommandId(true), 0,
									   NULL, token);
		list_free(mals_insert_index_tuples(rri, slot, estate, true, &clash, target->arbiters));
		table_tuple_complete_speculative(rri->ri_RelationDesc, slot, token, !clash);
		SpeculativeInsertionLockRelease(GetCurrentTransactionId());
		ResetPerTupleExprContext(estate);
		if (!clash)
			return true;
	}
}

bool
mals_target_fetch(MalsTarget *target, ItemPointer tid, TupleTableSlot *slot)
{
	return table_tuple_fetch_row_version(target->rri->ri_RelationDesc, tid, SnapshotAny, slot);
}
