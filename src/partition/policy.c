/*
 * policy.c
 *		mals_set_retention and mals_drop_retention: how long entries are kept.
 *
 * The longest of these ages is how old an entry may be when it is logged, unless
 * mals.max_past says otherwise. Sessions remember it until policies change.
 */
#include "mals_errors.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "mals_catalog.h"
#include "mals_spi.h"
#include "partition/partition.h"
#include "types/types.h"

PG_FUNCTION_INFO_V1(mals_set_retention);
PG_FUNCTION_INFO_V1(mals_drop_retention);

#define MAX_AGENT_CHARS 64
#define MAX_CATEGORY_CHARS 256

/* The selectors of a policy, as texts; NULL matches all. */
enum
{
	SELECTOR_LEVEL,
	SELECTOR_AGENT,
	SELECTOR_CATEGORY,
	SELECTORS
};

/* The place of keep in mals.retention_policies. */
#define KEEP_COLUMN 4

static const char *const drop_policy =
	"DELETE FROM mals.retention_policies p WHERE p.level::text IS NOT DISTINCT FROM $1"
	" AND p.agent_id IS NOT DISTINCT FROM $2 AND p.category IS NOT DISTINCT FROM $3";

static const char *const set_policy =
	"INSERT INTO mals.retention_policies (level, agent_id, category, keep, set_at, set_by)"
	" VALUES ($1::%s.mals_level, $2, $3, $4, clock_timestamp(), session_user)"
	" ON CONFLICT ON CONSTRAINT retention_policies_key DO UPDATE"
	" SET keep = excluded.keep, set_at = excluded.set_at, set_by = excluded.set_by";

/* The longest age that a policy gives, in microseconds; INT64_MAX: for ever. */
static int64 longest = 0;
static bool longest_known = false;
static Oid policies = InvalidOid;

/* Forgets the longest age when policies have changed. */
static void
at_relation_change(Datum arg, Oid relation)
{
	if (relation == policies || relation == InvalidOid)
		longest_known = false;
}

/* Reads the longest age that a policy gives. */
static int64
read_longest(void)
{
	Relation rel = table_open(mals_relation_oid("retention_policies"), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int64 most = 0;

	policies = RelationGetRelid(rel);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		Datum keep = slot_getattr(slot, KEEP_COLUMN, &isnull);
		Interval *age = DatumGetIntervalP(keep);

		if (isnull)
			most = PG_INT64_MAX;
		else
			most = Max(most, age->time + (age->day + (int64) age->month * 31) * USECS_PER_DAY);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return most;
}

int64
mals_policy_longest(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(at_relation_change, (Datum) 0);
	registered = true;
	if (!longest_known)
	{
		/* what changes while it is read is read again */
		longest_known = true;
		longest = read_longest();
	}
	return longest;
}

void
mals_check_age(const char *argument, Datum age)
{
	Interval least = {0};
	Interval most = {.month = 12000};

	if (!DatumGetBool(DirectFunctionCall2(interval_gt, age, IntervalPGetDatum(&least))))
		mals_error_range(argument, "The interval must be more than zero.");
	if (DatumGetBool(DirectFunctionCall2(interval_gt, age, IntervalPGetDatum(&most))))
		mals_error_range(argument, "The interval must not be more than 1000 years.");
}

/* Checks the length of a selector. */
static void
check_length(const text *value, const char *name, int least, int most)
{
	int length = pg_mbstrlen_with_len(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));

	if (length < least || length > most)
		mals_error_range(name, "It has %d to %d characters; leave it out to match all.", least,
						 most);
}

/* Reads the selectors from the arguments that begin at n. */
static void
read_selectors(FunctionCallInfo fcinfo, int n, Datum *values, char *nulls)
{
	for (int i = 0; i < SELECTORS; i++)
	{
		nulls[i] = PG_ARGISNULL(n + i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(n + i) ? (Datum) 0 : PG_GETARG_DATUM(n + i);
	}
	if (nulls[SELECTOR_LEVEL] == ' ')
		values[SELECTOR_LEVEL] =
			CStringGetTextDatum(mals_level_name(DatumGetMalsLevel(values[SELECTOR_LEVEL])));
	if (nulls[SELECTOR_AGENT] == ' ')
		check_length(DatumGetTextPP(values[SELECTOR_AGENT]), "agent_id", 1, MAX_AGENT_CHARS);
	if (nulls[SELECTOR_CATEGORY] == ' ')
		check_length(DatumGetTextPP(values[SELECTOR_CATEGORY]), "category", 0, MAX_CATEGORY_CHARS);
}

/* Runs a statement that changes policies, as their owner, and audits it. Returns its rows. */
static uint64
change(const char *what, const char *sql, int nargs, Datum *values, const char *nulls)
{
	static const char *const names[] = {"level", "agent_id", "category", "keep"};
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, INTERVALOID};
	MalsAudit row = {.action = what, .entries = -1};
	MalsCaller caller;
	uint64 changed;
	int n = 0;

	mals_spi_connect();
	mals_become_owner(&caller);
	changed = mals_run_with(sql, nargs, types, values, nulls);
	for (int i = 0; i < nargs && n + 2 < lengthof(row.detail); i++)
	{
		if (nulls[i] == 'n')
			continue;
		row.detail[n++] = names[i];
		row.detail[n++] = i < SELECTORS
							  ? TextDatumGetCString(values[i])
							  : DatumGetCString(DirectFunctionCall1(interval_out, values[i]));
	}
	if (changed > 0)
	{
		mals_audit(&caller, &row);
		CacheInvalidateRelcacheByRelid(mals_relation_oid("retention_policies"));
	}
	mals_become_caller(&caller);
	SPI_finish();
	return changed;
}

/* Raises an error where policies cannot be changed. */
static void
check_change(const char *what)
{
	if (XactReadOnly)
		mals_error_read_only(what);
	mals_require_unbound(what);
}

/* SQL: sets how long entries that match are kept. */
Datum
mals_set_retention(PG_FUNCTION_ARGS)
{
	Datum values[SELECTORS + 1];
	char nulls[SELECTORS + 1];

	check_change("mals_set_retention()");
	if (!PG_ARGISNULL(0))
		mals_check_age("keep", PG_GETARG_DATUM(0));
	read_selectors(fcinfo, 1, values, nulls);
	values[SELECTORS] = PG_GETARG_DATUM(0);
	nulls[SELECTORS] = PG_ARGISNULL(0) ? 'n' : ' ';
	(void) change("set_retention", psprintf(set_policy, mals_extension_schema()), SELECTORS + 1,
				  values, nulls);
	PG_RETURN_VOID();
}

/* SQL: drops a policy. */
Datum
mals_drop_retention(PG_FUNCTION_ARGS)
{
	Datum values[SELECTORS];
	char nulls[SELECTORS];

	check_change("mals_drop_retention()");
	read_selectors(fcinfo, 0, values, nulls);
	PG_RETURN_BOOL(change("drop_retention", drop_policy, SELECTORS, values, nulls) > 0);
}
