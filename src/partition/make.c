/*
 * make.c
 *		Finds the partition of a time, and makes it where it is missing.
 *
 * A partition is a table made like mals.entries, given its indexes, and then
 * attached, which takes SHARE UPDATE EXCLUSIVE on mals.entries: no reader and
 * no writer waits for that. But it is held to the end of its transaction, so
 * that a caller who made a partition and then sat idle would stall everyone
 * who needs another one. Therefore a background worker makes and commits it,
 * and the caller waits. Callers queue up on a lock of their own (an object
 * lock beside mals.entries, released before the transaction ends), so that one
 * worker serves all who miss the same partition.
 */
#include "mals_errors.h"

#include "access/htup_details.h"
#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "mals_guc.h"
#include "mals_spi.h"
#include "partition/partition.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mals_make_partitions);

/* Most partitions that logging makes for one statement. */
#define MAX_MADE_BY_STATEMENT 100

/* The sub-object id of the lock that callers queue up on. */
#define QUEUE_LOCK 1

/* How long to wait for it, in milliseconds. */
#define QUEUE_TIMEOUT 6000

/* Partitions made for the current statement. */
static TimestampTz made_for_statement = 0;
static int made_count = 0;

Oid
mals_relation_oid(const char *name)
{
	Oid schema = get_namespace_oid("mals", true);
	Oid relation = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relation))
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("relation mals.%s does not exist", name),
				errhint("Run CREATE EXTENSION mals in this database."));
	return relation;
}

/* Reads a bound of mals.entries' partitions. */
static TimestampTz
bound(PartitionBoundInfo bounds, int i)
{
	switch (bounds->kind[i][0])
	{
		case PARTITION_RANGE_DATUM_MINVALUE:
			return DT_NOBEGIN;
		case PARTITION_RANGE_DATUM_MAXVALUE:
			return DT_NOEND;
		default:
			return DatumGetTimestampTz(bounds->datums[i][0]);
	}
}

/* Tells whether a partition is not being detached. */
static bool
is_attached(Oid partition)
{
	Relation inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool attached;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(partition));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	attached = HeapTupleIsValid(tuple) && !((Form_pg_inherits) GETSTRUCT(tuple))->inhdetachpending;
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return attached;
}

/* Finds the place of a time in a list of partitions. */
static MalsPlace
find_in(Relation entries, PartitionDesc partitions, TimestampTz ts)
{
	PartitionKey key = RelationGetPartitionKey(entries);
	PartitionBoundInfo bounds = partitions->boundinfo;
	MalsPlace place = {InvalidOid, DT_NOBEGIN, DT_NOEND};
	Datum value = TimestampTzGetDatum(ts);
	bool equal;
	int offset;
	int index;

	if (partitions->nparts == 0)
		return place;
	offset = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds, 1, &value,
										   &equal);
	if (offset >= 0)
		place.from = bound(bounds, offset);
	if (offset + 1 < bounds->ndatums)
		place.to = bound(bounds, offset + 1);
	index = bounds->indexes[offset + 1];
	if (index >= 0)
		place.partition = partitions->oids[index];
	return place;
}

MalsPlace
mals_partition_find(Relation entries, TimestampTz ts)
{
	return find_in(entries, RelationGetPartitionDesc(entries, true), ts);
}

MalsRange *
mals_partition_list(Relation entries, int *count)
{
	PartitionDesc partitions = RelationGetPartitionDesc(entries, false);
	PartitionBoundInfo bounds = partitions->boundinfo;
	MalsRange *ranges = palloc(Max(partitions->nparts, 1) * sizeof(MalsRange));

	*count = 0;
	for (int i = 0; partitions->nparts > 0 && i < bounds->ndatums - 1; i++)
	{
		MalsRange *range = &ranges[*count];

		/* indexes[i + 1] is what is between bounds i and i + 1 */
		if (bounds->indexes[i + 1] < 0)
			continue;
		range->place.partition = partitions->oids[bounds->indexes[i + 1]];
		range->place.from = bound(bounds, i);
		range->place.to = bound(bounds, i + 1);
		range->detaching = !is_attached(range->place.partition);
		(*count)++;
	}
	return ranges;
}

int
mals_partition_edges(TimestampTz from, TimestampTz to, TimestampTz **edges)
{
	Relation entries = table_open(mals_relation_oid("entries"), AccessShareLock);
	PartitionDesc partitions = RelationGetPartitionDesc(entries, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	int nbounds = partitions->nparts == 0 ? 0 : bounds->ndatums;
	int n = 0;

	*edges = palloc(Max(nbounds, 1) * sizeof(TimestampTz));
	for (int i = 1; i < nbounds; i++)
	{
		TimestampTz edge = bound(bounds, i);

		/* indexes[i + 1] is what begins at bound i, -1 for a gap */
		if (bounds->indexes[i + 1] >= 0 && edge > from && edge < to)
			(*edges)[n++] = edge;
	}
	table_close(entries, AccessShareLock);
	return n;
}

bool
mals_partition_available(TimestampTz ts)
{
	/* the last one found; that it was dropped since does no harm, it is made again */
	static MalsPlace last = {InvalidOid, 0, 0};
	Relation entries;
	int count;

	if (ts >= last.from && ts < last.to)
		return true;

	entries = table_open(mals_relation_oid("entries"), AccessShareLock);
	last = mals_partition_find(entries, ts);
	count = RelationGetPartitionDesc(entries, true)->nparts;
	table_close(entries, AccessShareLock);
	if (OidIsValid(last.partition))
		return true;
	last.from = last.to = 0;

	if (made_for_statement != GetCurrentStatementStartTimestamp())
	{
		made_for_statement = GetCurrentStatementStartTimestamp();
		made_count = 0;
	}
	return count < mals_max_partitions && made_count < MAX_MADE_BY_STATEMENT;
}

/* The length of partitions of a MalsPartitionUnit, in microseconds. */
static int64
unit_length(int unit)
{
	switch (unit)
	{
		case MALS_PARTITION_HOUR:
			return USECS_PER_HOUR;
		case MALS_PARTITION_WEEK:
			return 7 * USECS_PER_DAY;
		default:
			return USECS_PER_DAY;
	}
}

/* Lays a partition of the usual length into the gap around a time. */
static void
fit_into_gap(MalsPlace *gap, TimestampTz ts, int unit)
{
	/* from 2000-01-01 00:00 UTC, a Saturday; weeks begin on Mondays */
	TimestampTz origin = unit == MALS_PARTITION_WEEK ? 2 * USECS_PER_DAY : 0;
	int64 length = unit_length(unit);
	TimestampTz from;

	from = ts - origin;
	from -= from % length;
	if (from > ts - origin)
		from -= length;
	from += origin;
	gap->from = Max(gap->from, from);
	gap->to = Min(gap->to, from + length);
}

char *
mals_partition_name(TimestampTz from)
{
	struct pg_tm tm;
	fsec_t fsec;
	Oid schema = get_namespace_oid("mals", false);
	StringInfoData name;
	int len;

	if (timestamp2tm(from, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "partition bound out of range");
	initStringInfo(&name);
	appendStringInfo(&name, "entries_%04d%02d%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
	if (tm.tm_hour != 0)
		appendStringInfo(&name, "_%02d", tm.tm_hour);
	/* a detached partition or a table of the user's may have the name */
	len = name.len;
	for (int i = 2; OidIsValid(get_relname_relid(name.data, schema)); i++)
	{
		name.len = len;
		appendStringInfo(&name, "_%d", i);
	}
	return name.data;
}

/* Makes the table of a partition, with its indexes, and attaches it. */
static void
create_partition(const MalsPlace *place)
{
	Oid argtype = TEXTOID;
	Datum arg;
	char *name = mals_partition_name(place->from);
	char *ddl;

	mals_spi_connect();
	arg = CStringGetTextDatum(name);
	if (SPI_execute_with_args("SELECT mals._partition_ddl($1)", 1, &argtype, &arg, NULL, true, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "mals._partition_ddl failed");
	ddl = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	mals_run(ddl);
	mals_run(psprintf(
		"ALTER TABLE mals.entries ATTACH PARTITION mals.%s FOR VALUES FROM (%s) TO (%s)",
		quote_identifier(name), quote_literal_cstr(pstrdup(timestamptz_to_str(place->from))),
		quote_literal_cstr(pstrdup(timestamptz_to_str(place->to)))));
	SPI_finish();
}

/*
 * Opens mals.entries with all partitions that are committed by now. The list
 * that the relation cache has may lack one for good: a partition that another
 * session commits while the list is built is not in it, and the message that
 * says so may be taken in before the list is stored (PostgreSQL 15 to 18).
 * Trusting it, ATTACH would even make a second partition of the same bounds.
 */
static Relation
open_fresh(LOCKMODE lockmode)
{
	Oid entries = mals_relation_oid("entries");

	LockRelationOid(entries, lockmode);
	RelationCacheInvalidateEntry(entries);
	return table_open(entries, NoLock);
}

/*
 * In the current transaction, makes the partition that holds *ts unless it is
 * there, and moves *ts to that partition's end. unit is a MalsPartitionUnit.
 * Returns whether one was made. Takes SHARE UPDATE EXCLUSIVE on mals.entries.
 */
static bool
create_next(TimestampTz *ts, int unit)
{
	Relation entries = open_fresh(ShareUpdateExclusiveLock);
	Oid owner = entries->rd_rel->relowner;
	MalsPlace place = find_in(entries, RelationGetPartitionDesc(entries, false), *ts);
	bool missing = !OidIsValid(place.partition);

	table_close(entries, NoLock);
	if (missing)
	{
		Oid user;
		int context;

		fit_into_gap(&place, *ts, unit);
		GetUserIdAndSecContext(&user, &context);
		SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
		create_partition(&place);
		SetUserIdAndSecContext(user, context);
		CommandCounterIncrement();
	}
	*ts = place.to;
	return missing;
}

int64
mals_partition_make_span(TimestampTz from, TimestampTz to, int unit)
{
	int64 made = 0;

	while (from < to)
	{
		CHECK_FOR_INTERRUPTS();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		made += create_next(&from, unit);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	if (made > 0)
	{
		/* once more for sessions that were listing partitions at the commit (open_fresh) */
		StartTransactionCommand();
		CacheInvalidateRelcacheByRelid(mals_relation_oid("entries"));
		CommitTransactionCommand();
	}
	return made;
}

bool
mals_partition_settled(void)
{
	bool settled;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	mals_spi_connect();
	settled =
		mals_run(
			"SELECT WHERE EXISTS (SELECT FROM pg_inherits WHERE inhparent ="
			" 'mals.entries'::regclass) AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace ="
			" 'mals'::regnamespace AND relname ~ '^entries_[0-9]{8}' AND relkind = 'r'"
			" AND NOT relispartition)") > 0;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	return settled;
}

int64
mals_partition_premake(void)
{
	TimestampTz from = GetCurrentTimestamp();
	TimestampTz to = from + mals_premake * unit_length(mals_partition_interval);
	int64 made = 0;

	while (from <= to)
	{
		Relation entries;
		MalsPlace place;
		bool may;

		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		entries = table_open(mals_relation_oid("entries"), AccessShareLock);
		place = mals_partition_find(entries, from);
		may = RelationGetPartitionDesc(entries, true)->nparts < mals_max_partitions;
		table_close(entries, AccessShareLock);
		PopActiveSnapshot();
		CommitTransactionCommand();
		if (OidIsValid(place.partition))
			from = place.to;
		else if (!may)
			break;
		else
			made += mals_partition_make_span(from, from + 1, mals_partition_interval);
	}
	return made;
}

/* As create_next, but waits for locks no longer than 200 ms. */
static bool
make_in_place(TimestampTz *ts)
{
	MemoryContext context = CurrentMemoryContext;
	int nest = NewGUCNestLevel();
	bool made = false;

	(void) set_config_option("lock_timeout", "200ms", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	PG_TRY();
	{
		made = create_next(ts, mals_partition_interval);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE || geterrcode() == ERRCODE_OBJECT_IN_USE)
		{
			FlushErrorState();
			ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no background worker can make a partition, and mals.entries is in use"),
					errhint("Raise max_worker_processes, or make partitions ahead with "
							"mals_make_partitions."));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	AtEOXact_GUC(true, nest);
	return made;
}

/*
 * Tells whether this transaction keeps others from altering mals.entries: it
 * has made or changed the table, or holds a lock that conflicts with theirs.
 */
static bool
held_by_me(void)
{
	Oid oid = mals_relation_oid("entries");
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Relation entries = table_open(oid, AccessShareLock);
	bool held = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)) ||
				CheckRelationLockedByMe(entries, ShareUpdateExclusiveLock, true);

	table_close(entries, AccessShareLock);
	ReleaseSysCache(tuple);
	return held;
}

/*
 * Has a worker make the partitions of [from, to), or makes them in place where
 * no worker can be had, or this transaction would keep it waiting. Returns how
 * many.
 */
static int64
make_partitions(TimestampTz from, TimestampTz to)
{
	MalsTaskArguments arguments = {.from = from, .to = to, .unit = mals_partition_interval};
	int64 made = 0;

	if (!held_by_me() && mals_task_run(MALS_TASK_MAKE_PARTITIONS, &arguments, &made))
		return made;
	while (from < to)
	{
		CHECK_FOR_INTERRUPTS();
		made += make_in_place(&from);
	}
	return made;
}

/*
 * Finds the place of a time among all partitions committed by now, with those
 * that are being detached in *all.
 */
static MalsPlace
find_place(TimestampTz ts, MalsPlace *all)
{
	Relation entries = open_fresh(AccessShareLock);
	MalsPlace place = mals_partition_find(entries, ts);

	*all = find_in(entries, RelationGetPartitionDesc(entries, false), ts);
	table_close(entries, AccessShareLock);
	return place;
}

/*
 * Takes one's turn in the queue. Whoever is at work gives up after 5 seconds
 * beside a lock; those who wait behind give up soon after, instead of one by one.
 */
static void
lock_queue(Oid entries)
{
	MemoryContext context = CurrentMemoryContext;
	int nest = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > QUEUE_TIMEOUT)
		(void) set_config_option("lock_timeout", psprintf("%dms", QUEUE_TIMEOUT), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PG_TRY();
	{
		LockDatabaseObject(RelationRelationId, entries, QUEUE_LOCK, ExclusiveLock);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			FlushErrorState();
			ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("other sessions wait for partitions of mals.entries, too"),
					errhint("Find in pg_locks who holds a lock on mals.entries, and try again when "
							"it has ended its transaction."));
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	AtEOXact_GUC(true, nest);
}

MalsPlace
mals_partition_make(TimestampTz ts)
{
	Oid entries = mals_relation_oid("entries");
	MalsPlace place;
	MalsPlace all;

	lock_queue(entries);
	place = find_place(ts, &all);
	if (!OidIsValid(all.partition))
	{
		(void) make_partitions(ts, ts + 1);
		made_count++;
		place = find_place(ts, &all);
	}
	UnlockDatabaseObject(RelationRelationId, entries, QUEUE_LOCK, ExclusiveLock);
	if (!OidIsValid(all.partition))
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("could not make the partition for %s", timestamptz_to_str(ts)),
				errhint("See the server's log for what the background worker reported."));
	return place;
}

/* Reads an argument that is a time of entries. */
static TimestampTz
time_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		mals_error_missing(name, "Give the time span that entries are expected for.");
	if (!mals_uuid_holds(PG_GETARG_TIMESTAMPTZ(n)))
		mals_error_range(name, "Give a finite time that the id of an entry can hold, after 1970.");
	return PG_GETARG_TIMESTAMPTZ(n);
}

/* SQL: makes the partitions of a time span. */
Datum
mals_make_partitions(PG_FUNCTION_ARGS)
{
	TimestampTz from = time_argument(fcinfo, 0, "from_ts");
	TimestampTz to = time_argument(fcinfo, 1, "to_ts");
	Relation entries;
	int count;

	if (from > to)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("from_ts must not be after to_ts"),
				errhint("from_ts is inclusive, to_ts exclusive."));
	if (XactReadOnly)
		mals_error_read_only("mals_make_partitions()");

	entries = table_open(mals_relation_oid("entries"), AccessShareLock);
	count = RelationGetPartitionDesc(entries, true)->nparts;
	if ((to - from) / unit_length(mals_partition_interval) + count > mals_max_partitions)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("from_ts to to_ts needs more than %d partitions", mals_max_partitions),
				errhint("Give a shorter span, or raise mals.max_partitions."));
	table_close(entries, AccessShareLock);
	PG_RETURN_INT32((int32) make_partitions(from, to));
}
