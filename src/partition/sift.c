/*
 * sift.c
 *		Removes the due entries of a partition that keeps others, and gives back
 *		the space they took.
 */
#include "mals_errors.h"

#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "mals_catalog.h"
#include "mals_progress.h"
#include "partition/retention.h"

/* Blocks that are sifted in one transaction. */
#define SIFT_BLOCKS 512

/* The number of blocks of a table. */
static BlockNumber
blocks_of(Oid oid)
{
	Relation rel = table_open(oid, AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return blocks;
}

bool
mals_sift(const MalsRetention *request, const MalsJudged *partition, int64 *removed)
{
	BlockNumber blocks = 0;
	int64 archived;
	bool good = true;
	bool any = false;
	char *due;

	mals_begin();
	due = mals_due_condition(request);
	if (mals_run(psprintf("SELECT FROM %s e WHERE %s LIMIT 1", partition->name, due)) > 0)
	{
		good = mals_partition_archive(partition->oid, due, &archived);
		blocks = blocks_of(partition->oid);
	}
	mals_commit();
	if (!good)
		return false;

	for (BlockNumber block = 0; block < blocks; block += SIFT_BLOCKS)
	{
		uint64 deleted;

		CHECK_FOR_INTERRUPTS();
		mals_progress_report("sift blocks", block, blocks);
		mals_begin();
		deleted =
			mals_run(psprintf("DELETE FROM %s e WHERE e.ctid >= '(%u,0)' AND e.ctid < '(%u,0)'"
							  " AND %s",
							  partition->name, block, block + SIFT_BLOCKS, due));
		if (deleted > 0)
			mals_run(psprintf("INSERT INTO mals._partition_state AS s (partition, deleted)"
							  " VALUES (%u, %llu) ON CONFLICT (partition) DO UPDATE"
							  " SET deleted = s.deleted + excluded.deleted,"
							  " compact_after = nullif(s.compact_after, 'infinity')",
							  partition->oid, (unsigned long long) deleted));
		mals_commit();
		*removed += deleted;
		any |= deleted > 0;
	}
	if (any)
	{
		mals_begin();
		mals_run(
			psprintf("DELETE FROM mals.resolutions r USING mals._partitions() p"
					 " WHERE p.partition = %u AND r.entry_id >= mals._least_id(p.from_ts)"
					 " AND r.entry_id < mals._least_id(p.to_ts) AND NOT EXISTS (SELECT FROM %s e"
					 " WHERE e.ts = %s.mals_id_ts(r.entry_id) AND e.id = r.entry_id)",
					 partition->oid, partition->name, mals_extension_schema()));
		mals_commit();
	}
	return true;
}
