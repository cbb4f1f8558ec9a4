/*
 * target.c
 *		Writes rows into a table and its indexes, without SPI or a plan.
 */
#include "mals_errors.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "mals_compat.h"
#include "write/target.h"
#include "write/write.h"

void
mals_check_columns(Relation rel, int columns)
{
	if (RelationGetDescr(rel)->natts < columns)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("mals.%s does not have the columns that this version of mals writes",
					   RelationGetRelationName(rel)),
				errhint("Run ALTER EXTENSION mals UPDATE."));
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
	for (int i = 0; i < target->rri->ri_NumIndices; i++)
	{
		if (!target->rri->ri_IndexRelationDescs[i]->rd_index->indimmediate)
			ereport(
				ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" has a deferrable constraint", RelationGetRelationName(rel)),
				errhint("Make it NOT DEFERRABLE: mals checks constraints at once."));
	}
}

void
mals_target_close(MalsTarget *target)
{
	ExecDropSingleTupleTableSlot(target->slot);
	ExecCloseIndices(target->rri);
	table_close(target->rri->ri_RelationDesc, NoLock);
}

TupleTableSlot *
mals_target_empty_slot(MalsTarget *target, int columns)
{
	TupleTableSlot *slot = ExecClearTuple(target->slot);

	mals_check_columns(target->rri->ri_RelationDesc, columns);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

/* Checks the CHECK constraints that someone gave a table. */
static void
check_constraints(ResultRelInfo *rri, TupleTableSlot *slot, EState *estate)
{
	TupleConstr *constraints = RelationGetDescr(rri->ri_RelationDesc)->constr;

	if (constraints != NULL && constraints->num_check > 0)
		ExecConstraints(rri, slot, estate);
}

void
mals_target_insert(MalsTarget *target, EState *estate, TupleTableSlot **slots, int nslots,
				   int options, BulkInsertState bulk)
{
	ResultRelInfo *rri = target->rri;
	MemoryContext old;

	for (int i = 0; i < nslots; i++)
		check_constraints(rri, slots[i], estate);

	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	table_multi_insert(rri->ri_RelationDesc, slots, nslots, GetCurrentCommandId(true), options,
					   bulk);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(estate);
	if (rri->ri_NumIndices > 0)
		mals_indexes_insert(rri, estate, slots, nslots);
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
mals_target_is_free(MalsTarget *target, EState *estate, TupleTableSlot *slot, ItemPointer conflict)
{
	ItemPointerData none;
	bool free;

	if (!target->unique)
		prepare_unique(target);
	CHECK_FOR_INTERRUPTS();
	ItemPointerSetInvalid(&none);
	ItemPointerSetInvalid(conflict);
	free =
		mals_check_index_constraints(target->rri, slot, estate, conflict, &none, target->arbiters);
	ResetPerTupleExprContext(estate);
	return free;
}

bool
mals_target_insert_unique(MalsTarget *target, EState *estate, TupleTableSlot *slot,
						  ItemPointer conflict)
{
	ResultRelInfo *rri = target->rri;

	check_constraints(rri, slot, estate);
	while (mals_target_is_free(target, estate, slot, conflict))
	{
		uint32 token;
		bool clash = false;

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
	return false;
}

bool
mals_target_fetch(MalsTarget *target, ItemPointer tid, TupleTableSlot *slot)
{
	return table_tuple_fetch_row_version(target->rri->ri_RelationDesc, tid, SnapshotAny, slot);
}

void
mals_write_row(Oid relation, int columns, const Datum *values, const bool *isnull)
{
	EState *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	Relation rel = table_open(relation, RowExclusiveLock);
	MalsTarget target;
	TupleTableSlot *slot;

	mals_target_open(&target, relation);
	slot = mals_target_empty_slot(&target, columns);
	memcpy(slot->tts_values, values, columns * sizeof(Datum));
	memcpy(slot->tts_isnull, isnull, columns * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	mals_target_insert(&target, estate, &slot, 1, 0, NULL);
	mals_target_close(&target);
	table_close(rel, NoLock);
	MemoryContextSwitchTo(old);
	FreeExecutorState(estate);
}
