/*
 * sift.c
 *		Deletes the due entries of a partition that keeps others.
 *
 * They are deleted in batches of pages, each in a transaction of its own (in one
 * transaction if they are archived first): every snapshot sees what it should, a
 * cancel or a crash costs one batch, and what is counted is what went. Space is given back afterwards (compact.c), once a
 * partition and policy, as partitions are sifted when the last of their entries
 * is due by a policy.
 *
 * Of 500,000 entries (211 MB), of which four fifths go ("bench/prune",
 * PostgreSQL 15): DELETE takes 0.7 s, and VACUUM and a rewrite 1.3 s after that;
 * rewriting what stays alone takes 1.0 s; 43 MB are left. So doing both costs
 * twice as much as a rewrite, in the background, and is exact when locks for the
 * rewrite cannot be had. Sub-partitions by retention would save both, but cost
 * each plain query that many times as many tables to plan, open and merge, as
 * long as entries live; and with each policy that changes entries would move.
 */
#include "mals_errors.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "mals_catalog.h"
#include "mals_guc.h"
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

/* Deletes the due entries in some blocks of a partition. Returns how many. */
static uint64
delete_blocks(const MalsJudged *partition, const char *due, BlockNumber block)
{
	uint64 deleted =
		mals_run(psprintf("DELETE FROM %s e WHERE e.ctid >= '(%u,0)' AND e.ctid < '(%u,0)' AND %s",
						  partition->name, block, block + SIFT_BLOCKS, due));

	if (deleted > 0)
		mals_run(psprintf("INSERT INTO mals._partition_state AS s (partition, deleted)"
						  " VALUES (%u, %llu) ON CONFLICT (partition) DO UPDATE"
						  " SET deleted = s.deleted + excluded.deleted,"
						  " compact_after = nullif(s.compact_after, 'infinity')",
						  partition->oid, (unsigned long long) deleted));
	return deleted;
}

/* Removes what was said about the entries that a partition has lost. */
static void
delete_resolutions(const MalsJudged *partition)
{
	mals_run(psprintf("DELETE FROM mals.resolutions r USING mals._partitions() p"
					  " WHERE p.partition = %u AND r.entry_id >= mals._least_id(p.from_ts)"
					  " AND r.entry_id < mals._least_id(p.to_ts) AND NOT EXISTS (SELECT FROM %s e"
					  " WHERE e.ts = %s.mals_id_ts(r.entry_id) AND e.id = r.entry_id)",
					  partition->oid, partition->name, mals_extension_schema()));
}

bool
mals_sift(const MalsRetention *request, const MalsJudged *partition, int64 *removed)
{
	/* what is archived is what is deleted: all under one snapshot */
	bool at_once = mals_archive_directory[0] != '\0';
	BlockNumber blocks = 0;
	uint64 deleted = 0;
	int64 archived;
	bool good = true;
	char *due;

	mals_begin_as(at_once);
	due = mals_due_condition(request);
	if (mals_run(psprintf("SELECT FROM %s e WHERE %s LIMIT 1", partition->name, due)) > 0)
	{
		good = mals_partition_archive(partition->oid, due, &archived);
		blocks = good ? blocks_of(partition->oid) : 0;
	}
	for (BlockNumber block = 0; block < blocks; block += SIFT_BLOCKS)
	{
		CHECK_FOR_INTERRUPTS();
		mals_progress_report("sift blocks", block, blocks);
		deleted += delete_blocks(partition, due, block);
		if (!at_once)
		{
			mals_commit();
			mals_begin();
		}
	}
	if (deleted > 0)
		delete_resolutions(partition);
	mals_commit();
	*removed += deleted;
	return good;
}
