/*
 * retention.c
 *		A turn of retention: which partitions hold entries that are due, and what
 *		is done about each; mals_prune.
 *
 * A partition of which all is due is removed (remove.c); entries that are due in
 * one that keeps others are deleted from it (sift.c). If it then has none left,
 * and its time has passed, it is removed too. When all partitions together take
 * more than mals.max_size, the oldest are removed until they don't, whatever
 * policies say: a full disk would keep nothing. Those of restored entries and
 * of the current time stay.
 *
 * One session at a time removes entries. It is a background worker, as
 * DETACH CONCURRENTLY needs one; its settings are those of the configuration
 * file and of the database, not of whoever asked for it.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "mals_progress.h"
#include "access/access.h"
#include "partition/retention.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mals_invalidate);
PG_FUNCTION_INFO_V1(mals_prune);

/* How long to wait before one goes on with what was not finished, in microseconds. */
#define RETRY_DELAY (15 * USECS_PER_SEC)

/* How long to wait for those whose snapshots keep a detach from being finished. */
#define SNAPSHOT_PATIENCE 10000

/* A class of advisory locks that SQL's functions don't use. */
#define REMOVAL_LOCK_CLASS 0x6d61

bool
mals_removal_lock(bool session, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, REMOVAL_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, session, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
mals_removal_unlock(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, REMOVAL_LOCK_CLASS);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

char *
mals_rules(const MalsRetention *request)
{
	char *at = pstrdup(timestamptz_to_str(request->at));
	char *before = pstrdup(timestamptz_to_str(request->before));

	return psprintf("'%s', '%s', '%s', %s", at, before,
					timestamptz_to_str(request->at - mals_retention),
					mals_keep_unresolved ? "true" : "false");
}

/* Lists the partitions to look at, in the context that was current at mals_begin. */
static MalsJudged *
judge(const MalsRetention *request, int *count)
{
	MalsJudged *judged;

	*count =
		mals_run(psprintf("SELECT partition, name, whole, closed, basis FROM mals._judge(%s, %s)",
						  mals_rules(request), request->thorough ? "true" : "false"));
	judged = MemoryContextAlloc(mals_outer_context(), Max(*count, 1) * sizeof(MalsJudged));
	for (int i = 0; i < *count; i++)
	{
		judged[i].oid = atooid(mals_result(i, 1));
		judged[i].name = mals_result(i, 2);
		judged[i].whole = mals_result(i, 3)[0] == 't';
		judged[i].closed = mals_result(i, 4)[0] == 't';
		judged[i].basis = mals_result(i, 5);
		judged[i].kept = false;
	}
	return judged;
}

/* Tells whether all entries of a partition are due, where its time alone does not say so. */
static bool
is_empty_but_for_due(const MalsRetention *request, const MalsJudged *partition)
{
	bool kept;

	if (!partition->closed || (partition->whole && !mals_keep_unresolved))
		return partition->whole;
	mals_begin();
	kept = mals_run(psprintf("SELECT FROM %s e WHERE NOT (%s) LIMIT 1", partition->name,
							 mals_due_condition(request))) > 0;
	mals_commit();
	return !kept;
}

/*
 * Counts what partitions would take with them that are removed for mals.max_size,
 * apart from what is due. gone are those that are removed anyway.
 */
static int64
count_excess(const MalsRetention *request, const char *gone, const char *due)
{
	static const char *const excess =
		"WITH p AS (SELECT a.*, pg_total_relation_size(a.partition) AS bytes, a.to_ts <= '%s' AND"
		" c.relkind = 'r' AND NOT EXISTS (SELECT FROM mals._exemptions e WHERE e.until > '%s' AND"
		" e.from_ts < a.to_ts AND e.to_ts > a.from_ts) AS may_go"
		" FROM mals._partitions() a JOIN pg_class c ON c.oid = a.partition"
		" WHERE a.partition <> ALL ('{%s}')),"
		" s AS (SELECT p.*, sum(bytes) OVER (ORDER BY may_go, from_ts DESC) AS up_to FROM p)"
		" SELECT s.partition::regclass FROM s WHERE may_go AND up_to > %lld";
	char *at = pstrdup(timestamptz_to_str(request->at));
	int64 total = 0;
	int count = mals_run(psprintf(excess, at, at, gone, (long long) mals_max_size));
	char **names = palloc(Max(count, 1) * sizeof(char *));

	for (int i = 0; i < count; i++)
		names[i] = mals_result(i, 1);
	for (int i = 0; i < count; i++)
	{
		mals_run(psprintf("SELECT count(*) FROM %s e WHERE NOT (%s)", names[i], due));
		total += mals_result_int64(0, 1);
	}
	return total;
}

/* Counts what is due, and removes nothing. */
static int64
count_due(const MalsRetention *request)
{
	MalsJudged *judged;
	StringInfoData gone; /* partitions that would be removed as a whole */
	char *due;
	int64 total = 0;
	int count;

	mals_begin();
	initStringInfo(&gone);
	judged = judge(request, &count);
	due = mals_due_condition(request);
	for (int i = 0; i < count; i++)
	{
		int64 counted;

		CHECK_FOR_INTERRUPTS();
		mals_progress_report("count", i, count);
		mals_run(
			psprintf("SELECT count(*) FILTER (WHERE %s), count(*) FROM %s e", due, judged[i].name));
		counted = mals_result_int64(0, 1);
		total += counted;
		if (judged[i].closed && counted == mals_result_int64(0, 2))
			appendStringInfo(&gone, "%s%u", gone.len > 0 ? "," : "", judged[i].oid);
	}
	if (mals_max_size > 0 && request->before == DT_NOEND)
		total += count_excess(request, gone.data, due);
	mals_commit();
	return total;
}

/* Remembers what a partition was judged by, and that nothing due is left in it. */
static void
note_look(const MalsRetention *request, const MalsJudged *partition)
{
	mals_begin();
	mals_run(
		psprintf("INSERT INTO mals._partition_state AS s (partition, basis, looked_at, inserted)"
				 " VALUES (%u, %s, '%s', pg_stat_get_tuples_inserted(%u))"
				 " ON CONFLICT (partition) DO UPDATE SET basis = excluded.basis,"
				 " looked_at = excluded.looked_at, inserted = excluded.inserted",
				 partition->oid, quote_literal_cstr(partition->basis),
				 timestamptz_to_str(request->at), partition->oid));
	mals_commit();
}

/* Deletes the due entries of a partition that keeps others. */
static void
sift(const MalsRetention *request, const MalsJudged *partition, int64 *removed)
{
	if (mals_sift(request, partition, removed) && request->before == DT_NOEND)
		note_look(request, partition);
}

/*
 * Removes what policies let go. Partitions come last, as they may have to wait
 * for readers. Returns false if others are in the way.
 */
static bool
remove_due(const MalsRetention *request, int64 *removed)
{
	MalsJudged *judged;
	int count;
	int whole = 0; /* the first ones */
	bool good;

	mals_begin();
	judged = judge(request, &count);
	mals_commit();
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_empty_but_for_due(request, &judged[i]))
			judged[whole++] = judged[i];
		else
			sift(request, &judged[i], removed);
	}
	good = mals_remove(request, judged, whole, "age", removed);
	for (int i = 0; i < whole; i++)
	{
		if (judged[i].kept)
			sift(request, &judged[i], removed);
	}
	return good;
}

/* Removes the oldest partitions until all together take no more than mals.max_size. */
static bool
remove_excess(const MalsRetention *request, int64 *removed)
{
	static const char *const oldest =
		"SELECT p.partition, p.partition::regclass FROM mals._partitions() p"
		" JOIN pg_class c ON c.oid = p.partition AND c.relkind = 'r'"
		" WHERE NOT p.detaching AND p.to_ts <= '%s' AND NOT EXISTS (SELECT FROM mals._exemptions e"
		" WHERE e.until > '%s' AND e.from_ts < p.to_ts AND e.to_ts > p.from_ts)"
		" AND (SELECT sum(pg_total_relation_size(a.partition)) FROM mals._partitions() a) > %lld"
		" ORDER BY p.from_ts LIMIT 1";
	char *at = pstrdup(timestamptz_to_str(request->at));

	while (mals_max_size > 0)
	{
		MalsJudged judged = {.oid = InvalidOid};
		int64 found;

		CHECK_FOR_INTERRUPTS();
		mals_begin();
		found = mals_run(psprintf(oldest, at, at, (long long) mals_max_size));
		if (found > 0)
		{
			judged.oid = atooid(mals_result(0, 1));
			judged.name = mals_result(0, 2);
		}
		mals_commit();
		if (found == 0)
			break;
		if (!mals_remove(request, &judged, 1, "size", removed) || judged.kept)
			return false;
	}
	return true;
}

/* Settles what a worker's statements depend on. */
static void
pin_settings(void)
{
	SetConfigOption("timezone", "UTC", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("datestyle", "ISO", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	/* autovacuum gives way to whoever has waited this long */
	SetConfigOption("deadlock_timeout", "20ms", PGC_SUSET, PGC_S_OVERRIDE);
	/* the watchdog wakes waits up, and each time they would be logged */
	SetConfigOption("log_lock_waits", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	/* a crash may undo the last steps, but none before an earlier one; drops are durable anyway */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Raises an error if partitions are kept because they could not be archived. */
static void
check_archives(void)
{
	char *message = NULL;
	int64 count;

	mals_begin();
	mals_run("SELECT count(*), min(message) FROM mals._archive_failures f"
			 " JOIN pg_class c ON c.oid = f.partition");
	count = mals_result_int64(0, 1);
	if (count > 0)
		message = mals_result(0, 2);
	mals_commit();
	if (count > 0)
		ereport(ERROR, errcode(ERRCODE_IO_ERROR),
				errmsg("could not archive %lld partitions, which are kept: %s", (long long) count,
					   message),
				errhint("mals_health() tells which; see mals.archive_directory."));
}

int64
mals_retention_run(const MalsRetention *request)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "mals retention", ALLOCSET_DEFAULT_SIZES);
	int64 removed = 0;

	pin_settings();
	MemoryContextSwitchTo(context);
	mals_progress_begin("prune");
	if (request->dry_run)
		removed = count_due(request);
	else if (mals_removal_lock(true, request->thorough))
	{
		if (mals_remove_leftovers(request, &removed) && remove_due(request, &removed) &&
			request->before == DT_NOEND)
			(void) remove_excess(request, &removed);
		mals_removal_unlock();
		if (request->thorough)
			check_archives();
	}
	mals_progress_end();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return removed;
}

/*
 * Finishes detaches that could not be finished beside the snapshot of the one
 * who asked for removal: a user's, or that of a partition that is to stay.
 */
static void
finish_detaches(void)
{
	MalsRetention request = {
		.at = GetCurrentTimestamp(), .before = DT_NOEND, .patience = SNAPSHOT_PATIENCE};
	int64 removed = 0;
	bool any;

	mals_begin();
	any = mals_run("SELECT FROM mals._partitions() WHERE detaching") > 0;
	mals_commit();
	if (any && mals_run_limited(mals_wait_for_snapshots, NULL, SNAPSHOT_PATIENCE))
	{
		(void) mals_removal_lock(true, true);
		(void) mals_remove_leftovers(&request, &removed);
		mals_removal_unlock();
	}
}

TimestampTz
mals_retention_due(void)
{
	return mals_run("SELECT FROM mals._partition_state s JOIN pg_class c ON c.oid = s.partition"
					" WHERE s.removing IS NOT NULL UNION ALL"
					" SELECT FROM mals._partitions() p WHERE p.detaching LIMIT 1") > 0
			   ? GetCurrentTimestamp() + RETRY_DELAY
			   : DT_NOEND;
}

void
mals_retention_compact(void)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "mals retention", ALLOCSET_DEFAULT_SIZES);
	char **names;
	Oid *oids;
	int count;

	pin_settings();
	MemoryContextSwitchTo(context);
	finish_detaches();
	mals_begin();
	count = mals_run(psprintf("SELECT partition, name FROM mals._bloated('%s')",
							  timestamptz_to_str(GetCurrentTimestamp())));
	names = MemoryContextAlloc(context, Max(count, 1) * sizeof(char *));
	oids = MemoryContextAlloc(context, Max(count, 1) * sizeof(Oid));
	for (int i = 0; i < count; i++)
	{
		oids[i] = atooid(mals_result(i, 1));
		names[i] = mals_result(i, 2);
	}
	mals_commit();
	mals_progress_begin("compact");
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		mals_progress_report("partitions", i, count);
		/* whoever waits to remove entries comes first */
		mals_removal_lock(true, true);
		mals_compact(oids[i], names[i]);
		mals_removal_unlock();
	}
	mals_progress_end();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Drops a partition in the caller's transaction. Returns how many entries it had. */
static int64
drop_in_place(const MalsJudged *partition)
{
	int64 rows;
	int64 archived;
	int nest = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", "50ms", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	mals_begin();
	mals_run(psprintf("SELECT count(*) FROM %s", partition->name));
	rows = mals_result_int64(0, 1);
	if (!mals_partition_archive(partition->oid, NULL, &archived))
		rows = 0;
	else
	{
		/* a late entry may have come meanwhile: only that waits for the second count */
		mals_run(psprintf("LOCK TABLE %s IN SHARE MODE", partition->name));
		mals_run(psprintf("SELECT count(*) FROM %s", partition->name));
		if (mals_result_int64(0, 1) != rows)
			rows = 0;
		else
		{
			mals_run("LOCK TABLE ONLY mals.entries IN ACCESS EXCLUSIVE MODE");
			mals_run(psprintf("DROP TABLE %s", partition->name));
		}
	}
	mals_commit();
	AtEOXact_GUC(true, nest);
	return rows;
}

/* Removes what is due in one partition, in the caller's transaction. */
static int64
prune_in_place(const MalsRetention *request)
{
	MalsJudged *judged;
	int64 removed = 0;
	int count;

	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("no background worker is free to remove entries"),
				errhint("Raise max_worker_processes, or call mals_prune() outside of a transaction "
						"block: it then removes from one partition a call."));
	mals_removal_lock(false, true);
	mals_begin();
	judged = judge(request, &count);
	mals_commit();
	for (int i = 0; i < count && removed == 0; i++)
	{
		if (is_empty_but_for_due(request, &judged[i]))
			removed = drop_in_place(&judged[i]);
		else
			(void) mals_sift(request, &judged[i], &removed);
	}
	return removed;
}

/* Reads the age beyond which entries go; DT_NOEND if none is given. */
static TimestampTz
age_argument(FunctionCallInfo fcinfo, int n, TimestampTz at)
{
	if (PG_ARGISNULL(n))
		return DT_NOEND;
	mals_check_age("older_than", PG_GETARG_DATUM(n));
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(at), PG_GETARG_DATUM(n)));
}

/*
 * Deletes what is due in the caller's transaction: it has used mals.entries, so
 * that a worker would wait for it.
 */
static int64
delete_in_place(const MalsRetention *request)
{
	MalsJudged *judged;
	int64 removed = 0;
	int count;

	mals_removal_lock(false, true);
	mals_begin();
	judged = judge(request, &count);
	mals_commit();
	for (int i = 0; i < count; i++)
		(void) mals_sift(request, &judged[i], &removed);
	return removed;
}

bool
mals_partition_in_use(void)
{
	Relation entries = RelationIdGetRelation(mals_relation_oid("entries"));
	bool used = CheckRelationLockedByMe(entries, AccessShareLock, true);

	RelationClose(entries);
	return used;
}

int64
mals_retention_ask(const MalsRetention *request)
{
	MalsTaskArguments arguments = {.retention = *request};
	bool used = mals_partition_in_use();
	MalsCaller caller;
	int64 removed;

	if (!used && !RecoveryInProgress() && mals_task_run(MALS_TASK_PRUNE, &arguments, &removed))
		return removed;

	mals_become_owner(&caller);
	if (request->dry_run)
		removed = count_due(request);
	else
		removed = used ? delete_in_place(request) : prune_in_place(request);
	mals_become_caller(&caller);
	return removed;
}

/* SQL: removes due entries. */
Datum
mals_prune(PG_FUNCTION_ARGS)
{
	TimestampTz at = GetCurrentTimestamp();
	MalsRetention request = {.at = at, .before = age_argument(fcinfo, 0, at), .thorough = true};

	if (PG_ARGISNULL(1))
		mals_error_missing("dry_run", "Give true to count only, or leave it out.");
	request.dry_run = PG_GETARG_BOOL(1);
	if (XactReadOnly && !request.dry_run)
		mals_error_read_only("mals_prune()");
	mals_require_unbound("mals_prune()");
	PG_RETURN_INT64(mals_retention_ask(&request));
}

/* SQL: has all sessions forget what they remember of a table. */
Datum
mals_invalidate(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}
