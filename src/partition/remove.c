/*
 * remove.c
 *		Removes a partition, in steps that a crash or a cancel may come between.
 *
 *	1. With mals.archive_directory set, it is archived.
 *	2. That it is to be removed is written into mals._partition_state.
 *	3. DETACH PARTITION CONCURRENTLY marks it as being detached: from then on
 *	   nobody sees it in mals.entries. When all who may still read or write it
 *	   have gone, it is a table of its own. Nobody waits for that but us.
 *	4. Now that nobody can add to it, its entries are counted, and looked at once
 *	   more: a late entry may have come meanwhile. If it is not archived, the table
 *	   is archived again; if it is not due, or that fails, the table is attached
 *	   again, and the next turn judges it anew.
 *	5. Else it is dropped, with its row in mals._partition_state and what was
 *	   said about its entries, in one transaction. A transaction that drops files
 *	   waits for the disk and looks through all buffers, so as many tables as can
 *	   be detached without waiting go in one.
 *
 * A turn begins with what an earlier one left: 3 is finished or 4 and 5 follow.
 * Only tables with a row in mals._partition_state are dropped; the row goes
 * with the table, so that it never stands for another table.
 *
 * An interrupted detach is finished by DETACH … FINALIZE, which waits for all
 * old snapshots while it holds locks; therefore it has little time, and is tried
 * again and again. The caller who waits for us may have such a snapshot: then
 * the table is dropped as it is, which needs nobody in mals.entries for a
 * moment only, but takes ACCESS EXCLUSIVE. It is given 75 ms to get it. If the
 * table has something to keep, the mark that it is being detached is taken away.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "mals_progress.h"
#include "partition/retention.h"
#include "types/types.h"

/* How long FINALIZE may wait, and how long until it is tried again, in milliseconds. */
#define FINALIZE_PATIENCE 50
#define FINALIZE_PAUSE 200

/* How long to wait for users before what is detached is dropped, in milliseconds. */
#define USERS_PATIENCE 100

/* Most tables to drop in one transaction: it needs a lock for each and its indexes. */
#define MAX_DROPS 30

/* A removal that was begun. */
typedef struct Removal
{
	const MalsRetention *request;
	Oid oid;
	char *name;
	MalsRemoval outcome;
	bool by_size;   /* to come below mals.max_size */
	bool whole;     /* all that it can hold is due */
	bool detaching; /* nobody can add to it any more */
	int64 rows;
	bool empty; /* of what is to stay */
} Removal;

/* A user's detach is under way, or was interrupted and cannot be finished now. */
static bool foreign_detach = false;

char *
mals_due_condition(const MalsRetention *request)
{
	mals_run(psprintf("SELECT mals._due(%s)", mals_rules(request)));
	return mals_result(0, 1);
}

/* Counts the rows of a table: quicker than an SQL statement would. */
static int64
count_rows(Oid oid)
{
	Relation rel = table_open(oid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int64 rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		rows++;
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return rows;
}

/* Tells whether a table has entries that are to stay. */
static bool
has_kept(const Removal *removal)
{
	/* what is due by the partition's time alone may only have become exempt since */
	if (removal->whole &&
		mals_run(psprintf("SELECT FROM mals._partition_state s JOIN mals._exemptions e"
						  " ON e.from_ts < s.to_ts AND e.to_ts > s.from_ts AND e.until > '%s'"
						  " WHERE s.partition = %u",
						  timestamptz_to_str(removal->request->at), removal->oid)) == 0)
		return false;
	return mals_run(psprintf("SELECT FROM %s e WHERE NOT (%s) LIMIT 1", removal->name,
							 mals_due_condition(removal->request))) > 0;
}

/* Gives the least stamp of transactions that may still store entries, or will. */
static int64
least_stamp(void)
{
	mals_run("SELECT pg_snapshot_xmin(pg_current_snapshot())");
	return mals_xact_stamp(FullTransactionIdFromU64(strtou64(mals_result(0, 1), NULL, 10)));
}

/* Looks what a table has: whether it is to be dropped, and how many entries go with it. */
static void
examine(Removal *removal)
{
	removal->empty = removal->by_size || !has_kept(removal);
	if (!removal->empty)
		return;
	removal->rows = count_rows(removal->oid);
	if (mals_run(psprintf("SELECT FROM mals._partition_state WHERE partition = %u"
						  " AND archived <> %lld",
						  removal->oid, (long long) removal->rows)) > 0)
	{
		/* one came after it was archived; now none can */
		int64 archived;

		removal->empty = mals_partition_archive(removal->oid, NULL, &archived);
		if (removal->empty)
			mals_run(
				psprintf("UPDATE mals._partition_state SET archived = %lld WHERE partition = %u",
						 (long long) archived, removal->oid));
	}
}

/* Drops a table. */
static void
drop_table(Removal *removal)
{
	mals_run(psprintf("DROP TABLE %s", removal->name));
	mals_run(psprintf("WITH s AS (DELETE FROM mals._partition_state WHERE partition = %u RETURNING"
					  " mals._least_id(from_ts) AS low, mals._least_id(to_ts) AS high)"
					  " DELETE FROM mals.resolutions r USING s"
					  " WHERE r.entry_id >= s.low AND r.entry_id < s.high",
					  removal->oid));
	removal->outcome = MALS_REMOVED;
}

/* Drops a partition as it is, unless it has something to keep. */
static void
drop_partition(void *argument)
{
	Removal *removal = argument;
	int64 stamp = least_stamp();

	examine(removal);
	if (!removal->empty)
		return;
	mals_run("LOCK TABLE ONLY mals.entries IN ACCESS EXCLUSIVE MODE");
	mals_run(psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", removal->name));
	/* what was stored while we counted is judged anew */
	removal->empty =
		removal->detaching ||
		mals_run(psprintf("SELECT FROM %s e WHERE e.xact >= %lld OR e.xact IS NULL LIMIT 1",
						  removal->name, (long long) stamp)) == 0;
	if (removal->empty)
		drop_table(removal);
}

/* Notes that a partition is not to be removed. */
static void
unmark(Oid partition)
{
	mals_run(psprintf("UPDATE mals._partition_state SET removing = NULL, archived = NULL"
					  " WHERE partition = %u",
					  partition));
}

/* Drops the constraint that DETACH CONCURRENTLY has put on a table. */
static void
drop_constraint(const Removal *removal)
{
	mals_run(
		psprintf("SELECT format('ALTER TABLE %%s DROP CONSTRAINT IF EXISTS %%I', c.oid::regclass,"
				 " c.relname || '_ts_check') FROM pg_class c WHERE c.oid = %u",
				 removal->oid));
	mals_run(mals_result(0, 1));
}

/* Attaches a table again that has something to keep. */
static void
put_back(void *argument)
{
	Removal *removal = argument;

	mals_run(
		psprintf("SELECT format('ALTER TABLE mals.entries ATTACH PARTITION %%s FOR VALUES"
				 " FROM (%%s) TO (%%s)', s.partition::regclass, mals._bound(from_ts, 'MINVALUE'),"
				 " mals._bound(to_ts, 'MAXVALUE'))"
				 " FROM mals._partition_state s WHERE s.partition = %u",
				 removal->oid));
	mals_run(mals_result(0, 1));
	drop_constraint(removal);
	unmark(removal->oid);
}

/* Takes back the mark of a partition that is being detached. */
static void
set_attached(Oid partition)
{
	Oid entries = mals_relation_oid("entries");
	Relation inherits;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	LockRelationOid(entries, ShareUpdateExclusiveLock);
	inherits = table_open(InheritsRelationId, RowExclusiveLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(partition));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "relation %u is not a partition", partition);
	tuple = heap_copytuple(tuple);
	((Form_pg_inherits) GETSTRUCT(tuple))->inhdetachpending = false;
	CatalogTupleUpdate(inherits, &tuple->t_self, tuple);
	systable_endscan(scan);
	table_close(inherits, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(entries);
	CommandCounterIncrement();
}

/* Takes back that a partition is being detached, or is to be, which has something to keep. */
static void
call_off(void *argument)
{
	Removal *removal = argument;

	if (removal->detaching)
	{
		set_attached(removal->oid);
		drop_constraint(removal);
	}
	unmark(removal->oid);
}

/* Drops tables that are detached, or attaches them again. */
static void
finish(Removal *removals, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (removals[i].outcome != MALS_DETACHED)
			continue;
		mals_begin();
		examine(&removals[i]);
		mals_commit();
	}
	mals_begin();
	for (int i = 0; i < count; i++)
	{
		if (removals[i].outcome == MALS_DETACHED && removals[i].empty)
			drop_table(&removals[i]);
	}
	mals_commit();
	for (int i = 0; i < count; i++)
	{
		if (removals[i].outcome == MALS_DETACHED)
			removals[i].outcome =
				mals_run_limited(put_back, &removals[i], removals[i].request->patience)
					? MALS_KEPT
					: MALS_UNFINISHED;
	}
}

/* Waits until all have gone who may have a partition in use that is being detached. */
static void
wait_for_users(void *argument)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, mals_relation_oid("entries"));
	WaitForLockersMultiple(list_make1(&tag), AccessExclusiveLock, false);
}

/* Sleeps for some milliseconds, unless it is interrupted. */
static void
pause_for(int milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Detaches or removes a partition that is being detached, or cannot be because
 * another one is: one at a time can.
 */
static MalsRemoval
finish_detach(Removal *removal)
{
	const MalsRetention *request = removal->request;
	char *finalize =
		psprintf("ALTER TABLE mals.entries DETACH PARTITION %s FINALIZE", removal->name);
	TimestampTz begin = GetCurrentTimestamp();

	for (;;)
	{
		if (mals_run_limited(wait_for_users, NULL, request->patience))
		{
			if (removal->detaching && mals_run_toplevel(finalize, FINALIZE_PATIENCE))
				return MALS_DETACHED;
			if (mals_run_limited(drop_partition, removal, FINALIZE_PATIENCE))
			{
				if (removal->empty)
					return MALS_REMOVED;
				if (mals_run_limited(call_off, removal, FINALIZE_PATIENCE))
					return MALS_KEPT;
			}
		}
		if (request->patience > 0 &&
			TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), request->patience))
			return MALS_UNFINISHED;
		pause_for(FINALIZE_PAUSE);
	}
}

/*
 * Archives a partition, if that is asked for. Returns how many entries it then
 * must have to be dropped, as SQL; NULL if it cannot be archived.
 */
static char *
archive(Oid partition)
{
	int64 entries;
	bool good;

	mals_begin();
	good = mals_partition_archive(partition, NULL, &entries);
	mals_commit();
	if (!good)
		return NULL;
	return mals_archive_directory[0] == '\0' ? "NULL" : psprintf("%lld", (long long) entries);
}

/* Tells whether a detach of a partition has begun and not ended. */
static bool
is_detaching(Oid partition)
{
	bool detaching;

	mals_begin();
	detaching = mals_run(psprintf("SELECT FROM mals._partitions() WHERE partition = %u"
								  " AND detaching",
								  partition)) > 0;
	mals_commit();
	return detaching;
}

/* Archives and detaches a partition. */
static MalsRemoval
detach(Removal *removal, const char *reason)
{
	const MalsRetention *request = removal->request;
	TimestampTz begin = GetCurrentTimestamp();
	char *archived = archive(removal->oid);
	char *sql;

	if (archived == NULL)
		return MALS_KEPT;
	mals_begin();
	mals_run(psprintf(
		"INSERT INTO mals._partition_state (partition, from_ts, to_ts, removing, archived)"
		" SELECT p.partition, p.from_ts, p.to_ts, '%s', %s FROM mals._partitions() p"
		" WHERE p.partition = %u ON CONFLICT (partition) DO UPDATE SET removing = "
		"excluded.removing,"
		" from_ts = excluded.from_ts, to_ts = excluded.to_ts, archived = excluded.archived",
		reason, archived, removal->oid));
	mals_commit();
	if (foreign_detach)
		return finish_detach(removal);
	sql = psprintf("ALTER TABLE mals.entries DETACH PARTITION %s CONCURRENTLY", removal->name);
	while (!mals_run_toplevel(sql, request->patience))
	{
		removal->detaching = is_detaching(removal->oid);
		if (removal->detaching)
			return finish_detach(removal);
		if (request->patience > 0 &&
			TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), request->patience))
			return MALS_UNFINISHED;
		pause_for(FINALIZE_PAUSE);
	}
	return MALS_DETACHED;
}

bool
mals_remove(const MalsRetention *request, MalsJudged *partitions, int count, const char *reason,
			int64 *removed)
{
	Removal *removals = palloc0(Max(count, 1) * sizeof(Removal));
	/* to archive one takes long enough: others don't have to wait for that */
	int together = mals_archive_directory[0] == '\0' ? MAX_DROPS : 1;
	int finished = 0;
	int n = 0;
	bool good = true;

	while (n < count && good)
	{
		Removal *removal = &removals[n];

		CHECK_FOR_INTERRUPTS();
		mals_progress_report("remove partitions", n, count);
		/* a reader may be in the way for long */
		if (n > finished &&
			(n == finished + together || !mals_run_limited(wait_for_users, NULL, USERS_PATIENCE)))
		{
			finish(&removals[finished], n - finished);
			finished = n;
		}
		removal->request = request;
		removal->oid = partitions[n].oid;
		removal->name = partitions[n].name;
		removal->by_size = strcmp(reason, "size") == 0;
		removal->whole = partitions[n].whole && !mals_keep_unresolved;
		removal->outcome = detach(removal, reason);
		good = removal->outcome != MALS_UNFINISHED;
		n++;
	}
	finish(&removals[finished], n - finished);
	for (int i = 0; i < n; i++)
	{
		partitions[i].kept = removals[i].outcome == MALS_KEPT;
		if (removals[i].outcome == MALS_REMOVED)
			*removed += removals[i].rows;
		good &= removals[i].outcome != MALS_UNFINISHED;
	}
	return good;
}

/* Notes that the removal of a partition has not begun, after all. */
static void
forget(Oid partition)
{
	mals_begin();
	unmark(partition);
	mals_commit();
}

/*
 * Finishes a user's detach that was interrupted; such a table stays. Returns
 * false if it could not, and partitions cannot be detached concurrently.
 */
static bool
finalize_foreign(void)
{
	/* not one that its session is still at */
	static const char *const foreign =
		"SELECT p.partition::regclass FROM mals._partitions() p WHERE p.detaching AND NOT EXISTS"
		" (SELECT FROM mals._partition_state s WHERE s.partition = p.partition AND s.removing IS "
		"NOT NULL)";
	char *name = NULL;
	bool busy = false;

	mals_begin();
	if (mals_run(foreign) > 0)
	{
		name = mals_result(0, 1);
		busy =
			mals_run("SELECT FROM pg_stat_activity WHERE datid = (SELECT oid FROM pg_database WHERE"
					 " datname = current_database()) AND pid <> pg_backend_pid()"
					 " AND state = 'active' AND query ILIKE '%detach%partition%'") > 0;
	}
	mals_commit();
	return name == NULL ||
		   (!busy && mals_run_toplevel(
						 psprintf("ALTER TABLE mals.entries DETACH PARTITION %s FINALIZE", name),
						 FINALIZE_PATIENCE));
}

bool
mals_remove_leftovers(const MalsRetention *request, int64 *removed)
{
	static const char *const leftovers =
		"SELECT c.oid, c.oid::regclass, s.removing, c.relispartition, COALESCE(p.detaching, false)"
		" FROM mals._partition_state s JOIN pg_class c ON s.partition = c.oid"
		" LEFT JOIN mals._partitions() p ON p.partition = c.oid"
		" WHERE s.removing IS NOT NULL ORDER BY 5 DESC";
	int count;
	struct Leftover
	{
		Removal removal;
		bool attached;
	} * all;
	bool good = true;

	foreign_detach = !finalize_foreign();
	mals_begin();
	count = mals_run(leftovers);
	all = MemoryContextAllocZero(mals_outer_context(), Max(count, 1) * sizeof(*all));
	for (int i = 0; i < count; i++)
	{
		all[i].removal.request = request;
		all[i].removal.oid = atooid(mals_result(i, 1));
		all[i].removal.name = mals_result(i, 2);
		all[i].removal.by_size = strcmp(mals_result(i, 3), "size") == 0;
		all[i].attached = mals_result(i, 4)[0] == 't';
		all[i].removal.detaching = mals_result(i, 5)[0] == 't';
	}
	mals_commit();

	for (int i = 0; i < count; i++)
	{
		Removal *removal = &all[i].removal;

		mals_progress_report("finish what was begun", i, count);
		removal->outcome = MALS_DETACHED;
		if (removal->detaching)
			removal->outcome = finish_detach(removal);
		else if (all[i].attached)
		{
			forget(removal->oid);
			removal->outcome = MALS_KEPT;
		}
		finish(removal, 1);
		if (removal->outcome == MALS_REMOVED)
			*removed += removal->rows;
		good &= removal->outcome != MALS_UNFINISHED;
	}
	return good;
}
