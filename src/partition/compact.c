/*
 * compact.c
 *		Gives back the space of entries that were deleted from a partition whose
 *		time has passed, and where nothing would fill it again.
 *
 * In one transaction the partition's entries are copied into a new table, which
 * takes its place. A crash or an error leaves things as they were.
 *
 * Nobody waits while they are copied: SHARE UPDATE EXCLUSIVE on the partition
 * keeps only VACUUM and schema changes out. To change places, ACCESS EXCLUSIVE
 * on mals.entries is needed for some milliseconds. It is asked for with a
 * lock_timeout of 50 ms, so that is all that loggers ever wait in our queue; if
 * readers are in the way for long, the partition has to wait for an hour.
 *
 * Late entries may come in while we copy. The partition was vacuumed before, so
 * each page that has seen no change since is marked all-visible, and only
 * VACUUM sets that mark: under the lock, the few pages without it are looked
 * through for entries that the copy lacks. (Entries are never updated, and who
 * deletes any holds the lock on removal.)
 *
 * Copies are frozen, as those of COPY FREEZE, so that whoever has an older
 * snapshot does not miss them.
 */
#include "mals_errors.h"

#include "access/table.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "access/access.h"
#include "partition/retention.h"
#include "write/write.h"

/* The part of a partition's entries that must have gone to make a copy worth it. */
#define WORTH_PERCENT 30

/* How long to wait for snapshots that still see deleted entries, in milliseconds. */
#define SNAPSHOT_PATIENCE 10000

/* How often to ask for the lock, and how long to wait in between. */
#define LOCK_ATTEMPTS 10
#define LOCK_PAUSE 500

/* Most pages to look through under the lock. */
#define MAX_LATE_PAGES 200

/* A partition that is being rewritten. */
typedef struct Rewrite
{
	Oid old;
	char *old_name; /* qualified and quoted */
	bool done;
} Rewrite;

void
mals_wait_for_snapshots(void *unused)
{
	WaitForOlderSnapshots(GetActiveSnapshot()->xmin, false);
}

/* Asks for ACCESS EXCLUSIVE on mals.entries and a partition. Returns whether we have it. */
static bool
lock_entries(Oid partition)
{
	Oid entries = mals_relation_oid("entries");
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool locked = false;

	for (int attempt = 0; attempt < LOCK_ATTEMPTS && !locked; attempt++)
	{
		if (attempt > 0)
			(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_PAUSE,
							 PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
		BeginInternalSubTransaction(NULL);
		PG_TRY();
		{
			(void) set_config_option("lock_timeout", "50ms", PGC_SUSET, PGC_S_OVERRIDE,
									 GUC_ACTION_LOCAL, true, 0, false);
			LockRelationOid(entries, AccessExclusiveLock);
			LockRelationOid(partition, AccessExclusiveLock);
			ReleaseCurrentSubTransaction();
			locked = true;
		}
		PG_CATCH();
		{
			int code = geterrcode();

			MemoryContextSwitchTo(context);
			if (code != ERRCODE_LOCK_NOT_AVAILABLE)
				PG_RE_THROW();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	return locked;
}

/* Lists the pages of a table that are not marked all-visible; -1 if they are too many. */
static int
list_late_pages(Oid oid, BlockNumber *pages)
{
	Relation rel = table_open(oid, NoLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	Buffer map = InvalidBuffer;
	int n = 0;

	for (BlockNumber block = 0; block < blocks && n >= 0; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (VM_ALL_VISIBLE(rel, block, &map))
			continue;
		if (n == MAX_LATE_PAGES)
			n = -1;
		else
			pages[n++] = block;
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	table_close(rel, NoLock);
	return n;
}

/*
 * Makes the new table, with a copy of the entries. It has the partition's bounds
 * as a constraint, so that ATTACH need not read it.
 */
static int64
copy_entries(const Rewrite *rewrite, const char *name, const char *from, const char *to)
{
	char *indexes;
	int64 copied;

	mals_run(
		psprintf("SELECT mals._partition_table('%s'), mals._partition_indexes('%s')", name, name));
	indexes = mals_result(0, 2);
	mals_run(mals_result(0, 1));
	mals_run(psprintf("ALTER TABLE mals.%s ADD CONSTRAINT bounds CHECK (ts IS NOT NULL AND ts >= %s"
					  " AND ts < %s)",
					  name, from, to));
	copied = mals_write_frozen(get_relname_relid(name, get_namespace_oid("mals", false)),
							   psprintf("SELECT * FROM ONLY %s", rewrite->old_name));
	mals_run(indexes);
	return copied;
}

/* Copies the entries that have come since, under ACCESS EXCLUSIVE. Returns -1 if they may be many. */
static int64
copy_late(const Rewrite *rewrite, const char *name)
{
	Oid new = get_relname_relid(name, get_namespace_oid("mals", false));
	BlockNumber pages[MAX_LATE_PAGES];
	int n = list_late_pages(rewrite->old, pages);
	int64 copied = 0;

	for (int i = 0; i < n; i++)
		copied += mals_write_frozen(
			new,
			psprintf("SELECT o.* FROM ONLY %s o WHERE o.ctid >= '(%u,0)' AND o.ctid < '(%u,0)'"
					 " AND NOT EXISTS (SELECT FROM mals.%s n WHERE n.ts = o.ts AND n.id = o.id)",
					 rewrite->old_name, pages[i], pages[i] + 1, name));
	return n < 0 ? -1 : copied;
}

/* Finds the bounds of a partition. Returns whether it is one. */
static bool
find_place(Oid partition, MalsPlace *place)
{
	Relation entries = table_open(mals_relation_oid("entries"), AccessShareLock);
	MalsRange *ranges;
	bool found = false;
	int count;

	ranges = mals_partition_list(entries, &count);
	for (int i = 0; i < count && !found; i++)
	{
		*place = ranges[i].place;
		found = place->partition == partition && !ranges[i].detaching;
	}
	table_close(entries, AccessShareLock);
	return found;
}

/* Rewrites a partition. */
static void
rewrite(void *argument)
{
	Rewrite *rewrite = argument;
	MalsCaller caller;
	MalsPlace place;
	char *name;
	char *from;
	char *to;
	int64 copied;
	int64 late;

	LockRelationOid(rewrite->old, ShareUpdateExclusiveLock);
	if (!find_place(rewrite->old, &place))
		return;
	mals_become_owner(&caller);
	name = mals_partition_name(place.from);
	from = psprintf("'%s'", timestamptz_to_str(place.from));
	to = psprintf("'%s'", timestamptz_to_str(place.to));
	copied = copy_entries(rewrite, name, from, to);
	if (!lock_entries(rewrite->old) || (late = copy_late(rewrite, name)) < 0)
		ereport(ERROR, errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				errmsg("partition %s is in use", rewrite->old_name));
	mals_run(psprintf("ALTER TABLE mals.entries DETACH PARTITION %s", rewrite->old_name));
	mals_run(
		psprintf("ALTER TABLE mals.entries ATTACH PARTITION mals.%s FOR VALUES FROM (%s) TO (%s)",
				 name, from, to));
	mals_run(psprintf("ALTER TABLE mals.%s DROP CONSTRAINT bounds", name));
	mals_run(psprintf("DROP TABLE %s", rewrite->old_name));
	mals_run(psprintf("UPDATE mals._partition_state SET partition = 'mals.%s'::regclass::oid,"
					  " deleted = 0, inserted = %lld WHERE partition = %u",
					  name, (long long) (copied + late), rewrite->old));
	mals_become_caller(&caller);
	rewrite->done = true;
}

/* Tells how many entries a partition has lost, in percent of those it had. */
static bool
is_worth_it(Oid partition)
{
	bool worth;

	mals_begin();
	mals_run(psprintf("SELECT 100 * s.deleted > %d * (s.deleted + greatest(c.reltuples, 0))"
					  " FROM mals._partition_state s JOIN pg_class c ON c.oid = s.partition"
					  " WHERE s.partition = %u",
					  WORTH_PERCENT, partition));
	worth = SPI_processed > 0 && mals_result(0, 1)[0] == 't';
	mals_commit();
	return worth;
}

void
mals_compact(Oid partition, char *name)
{
	Rewrite job = {.old = partition, .old_name = name};

	char *again = "now() + interval '1 hour'";

	/* a VACUUM that cannot remove what was deleted is no use */
	if (mals_run_limited(mals_wait_for_snapshots, NULL, SNAPSHOT_PATIENCE) &&
		mals_run_toplevel(psprintf("VACUUM (TRUNCATE false) %s", name), SNAPSHOT_PATIENCE))
	{
		if (!is_worth_it(partition))
			again = "'infinity'"; /* when more was deleted */
		else if (mals_run_limited(rewrite, &job, 0) && job.done)
			return;
	}
	mals_begin();
	mals_run(psprintf("UPDATE mals._partition_state SET compact_after = %s WHERE partition = %u",
					  again, partition));
	mals_commit();
}
