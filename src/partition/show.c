/*
 * show.c
 *		What the view mals.partitions shows.
 */
#include "mals_errors.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "partition/partition.h"

PG_FUNCTION_INFO_V1(mals_partition_entries);
PG_FUNCTION_INFO_V1(mals_partitions);

/* Entries of partitions of at most so many blocks are counted, which takes no time. */
#define COUNTED_BLOCKS 128

/* Counts the rows of a table that the active snapshot sees. */
static int64
count_rows(Relation table)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc scan = table_beginscan(table, GetActiveSnapshot(), 0, NULL);
	int64 rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		rows++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return rows;
}

/* Estimates the rows of a table from the server's statistics, or the planner's after a crash. */
static int64
estimate_rows(Relation table)
{
	Datum table_oid = ObjectIdGetDatum(RelationGetRelid(table));
	int64 rows = DatumGetInt64(DirectFunctionCall1(pg_stat_get_live_tuples, table_oid));

	return rows != 0 ? rows : (int64) Max(table->rd_rel->reltuples, 0);
}

/*
 * SQL: how many entries a partition has, or about how many. It is of all
 * entries: NULL for roles that are bound to agents, and if the partition has gone.
 */
Datum
mals_partition_entries(PG_FUNCTION_ARGS)
{
	Relation table;
	int64 entries;

	if (mals_is_bound() || (table = try_relation_open(PG_GETARG_OID(0), AccessShareLock)) == NULL)
		PG_RETURN_NULL();
	if (RELKIND_HAS_TABLE_AM(table->rd_rel->relkind) &&
		RelationGetNumberOfBlocks(table) <= COUNTED_BLOCKS)
		entries = count_rows(table);
	else
		entries = estimate_rows(table);
	relation_close(table, AccessShareLock);
	PG_RETURN_INT64(entries);
}

/* SQL: the partitions of mals.entries. */
Datum
mals_partitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation entries;
	MalsRange *ranges;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	entries = table_open(mals_relation_oid("entries"), AccessShareLock);
	ranges = mals_partition_list(entries, &count);
	for (int i = 0; i < count; i++)
	{
		Datum values[] = {
			ObjectIdGetDatum(ranges[i].place.partition),
			TimestampTzGetDatum(ranges[i].place.from),
			TimestampTzGetDatum(ranges[i].place.to),
			BoolGetDatum(ranges[i].detaching),
		};
		bool nulls[lengthof(values)] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	table_close(entries, AccessShareLock);
	return (Datum) 0;
}
