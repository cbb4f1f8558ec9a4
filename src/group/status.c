/*
 * status.c
 *		What is done about groups: resolve, ignore, reopen, and merge and split by
 *		hand. Each takes any fingerprint of a group for the group, acts as the owner
 *		of the log, and leaves a row in mals.audit. They concern the entries of all
 *		agents, so they are not for roles that are bound to some.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "group/fold.h"
#include "mals_spi.h"

PG_FUNCTION_INFO_V1(mals_resolve_error);
PG_FUNCTION_INFO_V1(mals_ignore_error);
PG_FUNCTION_INFO_V1(mals_reopen_error);
PG_FUNCTION_INFO_V1(mals_merge_groups);
PG_FUNCTION_INFO_V1(mals_split_group);

/* The group of $1, or no row if it was never seen. */
static const char *const find_group =
	"SELECT group_id FROM mals.templates WHERE fingerprint = $1"
	" UNION ALL SELECT fingerprint FROM mals.entries WHERE fingerprint = $1 LIMIT 1";

/*
 * Counts the entries of group $1 up to $2 that its resolution at $2 resolves:
 * not those that were resolved or opened one by one.
 */
static const char *const count_resolved =
	"SELECT count(*) FROM mals.logs l WHERE l.ts <= $2 AND NOT l.resolved AND"
	" NOT EXISTS (SELECT FROM mals.resolutions r WHERE r.entry_id = l.id) AND"
	" (l.fingerprint = $1 OR l.fingerprint IN"
	" (SELECT t.fingerprint FROM mals._templates t WHERE t.group_id = $1))";

static const char *const resolve =
	"INSERT INTO mals.error_status AS s (fingerprint, resolved_at, resolved_by, note)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (fingerprint) DO UPDATE SET"
	" resolved_at = excluded.resolved_at, resolved_by = excluded.resolved_by,"
	" note = excluded.note";

static const char *const ignore =
	"INSERT INTO mals.error_status AS s (fingerprint, ignored_at, ignored_until, ignored_by)"
	" VALUES ($1, clock_timestamp(), $2, $3) ON CONFLICT (fingerprint) DO UPDATE SET"
	" ignored_at = excluded.ignored_at, ignored_until = excluded.ignored_until,"
	" ignored_by = excluded.ignored_by WHERE s.ignored_at IS NULL"
	" OR s.ignored_until IS DISTINCT FROM excluded.ignored_until";

/* Runs a statement of up to four arguments: bigint, timestamptz, text, text. Returns its rows. */
static uint64
run(const char *sql, int nargs, Datum *args, const char *nulls)
{
	Oid types[] = {INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};

	return mals_run_with(sql, nargs, types, args, nulls);
}

/* Reads a fingerprint argument. */
static Datum
fingerprint_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		mals_error_missing(name, "Give a fingerprint, as mals_errors or mals_patterns shows it.");
	return PG_GETARG_DATUM(n);
}

/* Reads a fingerprint argument and gives its group. */
static int64
group_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Datum fingerprint = fingerprint_argument(fcinfo, n, name);

	if (run(find_group, 1, &fingerprint, NULL) == 0)
		ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
				errmsg("%s: no entry with fingerprint %lld was ever seen", name,
					   (long long) DatumGetInt64(fingerprint)),
				errhint("mals_errors and mals_patterns show the fingerprints of groups."));
	return mals_result_int64(0, 1);
}

/* Reads an argument that says who did it. */
static Datum
name_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n)) == 0)
		mals_error_missing(name, "Say who did it, or leave it out for the current user.");
	return PG_GETARG_DATUM(n);
}

/* Gives the text of a number. */
static char *
number_text(int64 number)
{
	return psprintf("%lld", (long long) number);
}

/* Keeps whoever changes groups (see fold.c) out to the end of the transaction. */
static void
lock_groups(void)
{
	run("LOCK TABLE mals._templates IN ROW EXCLUSIVE MODE", 0, NULL, NULL);
}

/* SQL: resolves a group up to now. */
Datum
mals_resolve_error(PG_FUNCTION_ARGS)
{
	MalsAudit row = {.action = "resolve_error"};
	MalsCaller caller;
	Datum args[4];

	mals_begin_as_owner(&caller, "mals_resolve_error()");
	lock_groups();
	args[0] = Int64GetDatum(group_argument(fcinfo, 0, "fingerprint"));
	args[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	args[2] = name_argument(fcinfo, 1, "resolved_by");
	args[3] = PG_GETARG_DATUM(2);
	run(count_resolved, 2, args, NULL);
	row.entries = mals_result_int64(0, 1);
	run(resolve, 4, args, PG_ARGISNULL(2) ? "   n" : NULL);
	row.reason = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	row.detail[0] = "fingerprint";
	row.detail[1] = number_text(DatumGetInt64(args[0]));
	row.detail[2] = "by";
	row.detail[3] = TextDatumGetCString(args[2]);
	mals_audit(&caller, &row);
	mals_end_as_owner(&caller);
	PG_RETURN_INT64(row.entries);
}

/* SQL: ignores a group until a time. */
Datum
mals_ignore_error(PG_FUNCTION_ARGS)
{
	MalsAudit row = {.action = "ignore_error", .entries = -1};
	MalsCaller caller;
	Datum args[3];
	bool for_good = PG_ARGISNULL(1) || TIMESTAMP_IS_NOEND(PG_GETARG_TIMESTAMPTZ(1));
	bool changed;

	if (!for_good && PG_GETARG_TIMESTAMPTZ(1) <= GetCurrentTimestamp())
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("until has passed already"),
				errhint("Give a time to come, or leave it out to ignore the group for good."));
	mals_begin_as_owner(&caller, "mals_ignore_error()");
	lock_groups();
	args[0] = Int64GetDatum(group_argument(fcinfo, 0, "fingerprint"));
	args[1] = PG_GETARG_DATUM(1);
	args[2] = name_argument(fcinfo, 2, "ignored_by");
	changed = run(ignore, 3, args, for_good ? " n " : NULL) > 0;
	if (changed)
	{
		row.detail[0] = "fingerprint";
		row.detail[1] = number_text(DatumGetInt64(args[0]));
		row.detail[2] = "by";
		row.detail[3] = TextDatumGetCString(args[2]);
		row.detail[4] = for_good ? NULL : "until";
		row.detail[5] = for_good ? NULL : pstrdup(timestamptz_to_str(DatumGetTimestampTz(args[1])));
		mals_audit(&caller, &row);
	}
	mals_end_as_owner(&caller);
	PG_RETURN_BOOL(changed);
}

/* SQL: takes back what was done about a group. */
Datum
mals_reopen_error(PG_FUNCTION_ARGS)
{
	MalsAudit row = {.action = "reopen_error", .entries = -1};
	MalsCaller caller;
	Datum group;
	bool changed;

	mals_begin_as_owner(&caller, "mals_reopen_error()");
	lock_groups();
	group = Int64GetDatum(group_argument(fcinfo, 0, "fingerprint"));
	changed = run("DELETE FROM mals.error_status WHERE fingerprint = $1", 1, &group, NULL) > 0;
	if (changed)
	{
		row.detail[0] = "fingerprint";
		row.detail[1] = number_text(DatumGetInt64(group));
		mals_audit(&caller, &row);
	}
	mals_end_as_owner(&caller);
	PG_RETURN_BOOL(changed);
}

/* SQL: makes two groups one. */
Datum
mals_merge_groups(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT8OID, INT8OID};
	MalsAudit row = {.action = "merge_groups", .entries = -1};
	MalsCaller caller;
	Datum args[2];
	bool changed;

	mals_begin_as_owner(&caller, "mals_merge_groups()");
	args[0] = fingerprint_argument(fcinfo, 0, "a");
	args[1] = fingerprint_argument(fcinfo, 1, "b");
	(void) mals_fold_sights();
	changed = group_argument(fcinfo, 0, "a") != group_argument(fcinfo, 1, "b");
	if (changed)
		mals_run_with("INSERT INTO mals._hand_merges VALUES (least($1, $2), greatest($1, $2))"
					  " ON CONFLICT DO NOTHING",
					  2, types, args, NULL);
	(void) mals_regroup(false);
	if (changed)
	{
		row.detail[0] = "a";
		row.detail[1] = number_text(DatumGetInt64(args[0]));
		row.detail[2] = "b";
		row.detail[3] = number_text(DatumGetInt64(args[1]));
		mals_audit(&caller, &row);
	}
	mals_end_as_owner(&caller);
	PG_RETURN_BOOL(changed);
}

/* SQL: splits a group into its templates. */
Datum
mals_split_group(PG_FUNCTION_ARGS)
{
	MalsAudit row = {.action = "split_group", .entries = -1};
	MalsCaller caller;
	Datum group;
	int64 parts;

	mals_begin_as_owner(&caller, "mals_split_group()");
	(void) mals_fold_sights();
	group = Int64GetDatum(group_argument(fcinfo, 0, "fingerprint"));
	run("SELECT count(*) FROM mals._templates WHERE group_id = $1", 1, &group, NULL);
	parts = Max(mals_result_int64(0, 1), 1);
	if (parts > 1)
	{
		run("DELETE FROM mals._hand_merges h USING mals._templates t WHERE t.group_id = $1"
			" AND t.fingerprint IN (h.a, h.b)",
			1, &group, NULL);
		run("INSERT INTO mals._hand_splits SELECT fingerprint FROM mals._templates"
			" WHERE group_id = $1 ON CONFLICT DO NOTHING",
			1, &group, NULL);
		(void) mals_regroup(false);
		row.detail[0] = "fingerprint";
		row.detail[1] = number_text(DatumGetInt64(group));
		mals_audit(&caller, &row);
	}
	mals_end_as_owner(&caller);
	PG_RETURN_INT64(parts);
}
