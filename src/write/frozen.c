/*
 * frozen.c
 *		Writes rows that every snapshot sees.
 */
#include "mals_errors.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"

#include "write/target.h"
#include "write/write.h"

/* Rows that are written at once. */
#define BATCH 500

int64
mals_write_frozen(Oid table, const char *query)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mals frozen", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EState *estate = CreateExecutorState();
	Relation rel = table_open(table, RowExclusiveLock);
	BulkInsertState bulk = GetBulkInsertState();
	TupleTableSlot *slots[BATCH];
	MalsTarget target;
	Portal portal;
	int64 written = 0;

	mals_target_open(&target, table);
	for (int i = 0; i < BATCH; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	MemoryContextSwitchTo(old);

	portal =
		SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, false, CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		int rows;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, BATCH);
		rows = (int) SPI_processed;
		if (rows == 0)
			break;
		for (int i = 0; i < rows; i++)
		{
			ExecForceStoreHeapTuple(SPI_tuptable->vals[i], slots[i], false);
			slots[i]->tts_tableOid = table;
		}
		mals_target_insert(&target, estate, slots, rows,
						   TABLE_INSERT_FROZEN | TABLE_INSERT_SKIP_FSM, bulk);
		for (int i = 0; i < rows; i++)
			ExecClearTuple(slots[i]);
		SPI_freetuptable(SPI_tuptable);
		written += rows;
	}
	SPI_cursor_close(portal);

	FreeBulkInsertState(bulk);
	table_finish_bulk_insert(rel, TABLE_INSERT_FROZEN | TABLE_INSERT_SKIP_FSM);
	for (int i = 0; i < BATCH; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	mals_target_close(&target);
	table_close(rel, NoLock);
	FreeExecutorState(estate);
	MemoryContextDelete(context);
	return written;
}
