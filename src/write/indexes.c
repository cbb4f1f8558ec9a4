/*
 * indexes.c
 *		Writes the index entries of many rows, one index after the other.
 *
 * Core does it row by row; here the entries of one index come together, so that
 * those of a btree can be sorted and written leaf by leaf (btree.c). Entries of
 * other indexes, and of single rows, are inserted one by one as core does it.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/itup.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/rel.h"

#include "mals_compat.h"
#include "write/target.h"

/* A row on its way into an index. */
typedef struct IndexRow
{
	TupleTableSlot *slot;
	uint64 key;        /* the first column's leading bytes, or its value */
	const char *bytes; /* all of its bytes */
	int nbytes;
	int place; /* among the rows that came */
} IndexRow;

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
set_key(IndexRow *row, AttrNumber column)
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
compare_rows(const IndexRow *left, const IndexRow *right)
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
#define ST_ELEMENT_TYPE IndexRow
#define ST_COMPARE(a, b) compare_rows(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Gathers the rows that an index takes. */
static int
gather_rows(IndexInfo *info, EState *estate, TupleTableSlot **slots, int nslots, IndexRow *rows)
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
insert_rows(ResultRelInfo *rri, int index, EState *estate, const IndexRow *rows, int nrows)
{
	Relation table = rri->ri_RelationDesc;
	Relation rel = rri->ri_IndexRelationDescs[index];
	IndexInfo *info = rri->ri_IndexRelationInfo[index];
	IndexUniqueCheck check = rel->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;

	for (int i = 0; i < nrows; i++)
	{
		TupleTableSlot *slot = rows[i].slot;
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		CHECK_FOR_INTERRUPTS();
		GetPerTupleExprContext(estate)->ecxt_scantuple = slot;
		FormIndexDatum(info, slot, estate, values, isnull);
		index_insert(rel, values, isnull, &slot->tts_tid, table, check, false, info);
		if (info->ii_ExclusionOps != NULL)
			check_exclusion_constraint(table, rel, info, &slot->tts_tid, values, isnull, estate,
									   false);
	}
}

/* Inserts rows into a btree, leaf by leaf. */
static void
insert_sorted(ResultRelInfo *rri, int index, EState *estate, IndexRow *rows, int nrows)
{
	Relation rel = rri->ri_IndexRelationDescs[index];
	IndexInfo *info = rri->ri_IndexRelationInfo[index];
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
		done = mals_btree_insert(rel, rri->ri_RelationDesc, tuples + i, nrows - i);
		if (done == 0)
			insert_rows(rri, index, estate, rows + i, 1);
		i += Max(done, 1);
	}
}

void
mals_indexes_insert(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots, int nslots)
{
	IndexRow *rows = palloc(nslots * sizeof(IndexRow));
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));

	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		IndexInfo *info = rri->ri_IndexRelationInfo[i];
		int nrows;

		/* one that is being built concurrently */
		if (!info->ii_ReadyForInserts)
			continue;
		nrows = gather_rows(info, estate, slots, nslots, rows);
		if (nrows > 1 && info->ii_Expressions == NIL && info->ii_ExclusionOps == NULL &&
			mals_btree_usable(rri->ri_IndexRelationDescs[i]))
			insert_sorted(rri, i, estate, rows, nrows);
		else
			insert_rows(rri, i, estate, rows, nrows);
		ResetPerTupleExprContext(estate);
	}
	MemoryContextSwitchTo(old);
	pfree(rows);
}
