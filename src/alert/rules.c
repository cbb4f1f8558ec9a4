/*
 * rules.c
 *		mals_alert_set, mals_alert_drop and mals_alert_test: the rules of alerts.
 */
#include "mals_errors.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "alert/alert.h"
#include "alert/channel.h"
#include "mals_spi.h"
#include "query/cursor.h"
#include "query/query.h"
#include "worker/shared.h"

PG_FUNCTION_INFO_V1(mals_alert_set);
PG_FUNCTION_INFO_V1(mals_alert_drop);
PG_FUNCTION_INFO_V1(mals_alert_test);

#define MAX_NAME 128
#define MAX_DAYS 366

/* The states that a rule may watch for. */
static const char *const states[] = {"new", "regressed", "silent", "silent_agent"};

/* A rule that is told to watch for something else begins anew; its cursor stays. */
static const char *const forget_progress =
	"WITH changed AS (SELECT FROM mals._alert_rules r WHERE r.name = $1 AND"
	" (r.query, r.threshold, r.within) IS DISTINCT FROM ($2, $3, $4)"
	" OR r.name = $1 AND r.on_state IS DISTINCT FROM $7),"
	" matches AS (DELETE FROM mals._alert_matches m WHERE m.rule = $1"
	" AND EXISTS (SELECT FROM changed)),"
	" seen AS (DELETE FROM mals._alert_seen s WHERE s.rule = $1 AND EXISTS (SELECT FROM changed))"
	" UPDATE mals._alert_state s SET since = $8, error = NULL WHERE s.rule = $1"
	" AND EXISTS (SELECT FROM changed)";

/*
 * First of all, as an evaluation of the rule does: what comes after this sees what that has
 * written, and neither has what the other waits for.
 */
static const char *const lock_rule = "SELECT FROM mals._alert_rules r WHERE r.name = $1 FOR UPDATE";

static const char *const write_rule =
	"INSERT INTO mals._alert_rules AS r (name, query, threshold, within, cooldown, channels,"
	" on_state, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())"
	" ON CONFLICT (name) DO UPDATE SET query = excluded.query, threshold = excluded.threshold,"
	" within = excluded.within, cooldown = excluded.cooldown, channels = excluded.channels,"
	" on_state = excluded.on_state";

static const char *const begin_state =
	"INSERT INTO mals._alert_state (rule, since, cursor) VALUES ($1, $8, $8)"
	" ON CONFLICT DO NOTHING";

static const char *const begin_silence =
	"INSERT INTO mals._alert_seen (rule, agent_id, last_seen) SELECT $1, '', clock_timestamp()"
	" WHERE $7 = 'silent' ON CONFLICT DO NOTHING";

/*
 * What is due by a channel that the rule no longer has is not sent. Deliveries are locked in
 * the order in which notifications are.
 */
static const char *const cancel_deliveries =
	"WITH cancelled AS MATERIALIZED (SELECT d.alert, d.channel FROM mals._alert_deliveries d"
	" JOIN mals.alerts a ON a.id = d.alert WHERE a.rule = $1"
	" AND d.target NOT IN (SELECT c FROM jsonb_array_elements($6) c)"
	" ORDER BY a.fired_at, d.alert FOR UPDATE OF d),"
	" gone AS (DELETE FROM mals._alert_deliveries d USING cancelled c"
	" WHERE c.alert = d.alert AND c.channel = d.channel"
	" RETURNING d.alert, d.channel, d.due_at)"
	" UPDATE mals.alerts a SET last_error = format('channel %s: taken from the rule', g.channel)"
	" FROM gone g WHERE g.alert = a.id AND g.due_at IS NOT NULL";

static const char *const fire_test =
	"WITH fired AS (INSERT INTO mals.alerts (fired_at, rule, count, state, delivered_at)"
	" SELECT clock_timestamp(), r.name, 0, 'test',"
	" CASE WHEN r.channels = '[]' THEN clock_timestamp() END"
	" FROM mals._alert_rules r WHERE r.name = $1 RETURNING id, rule),"
	" sent AS (INSERT INTO mals._alert_deliveries (alert, channel, target, due_at)"
	" SELECT f.id, c.n, c.channel, clock_timestamp() FROM fired f"
	" JOIN mals._alert_rules r ON r.name = f.rule,"
	" jsonb_array_elements(r.channels) WITH ORDINALITY AS c (channel, n))"
	" SELECT id FROM fired";

/* Adds what was done to the audit; a rule's channels are not said. */
static void
audit(const MalsCaller *caller, const char *action, Datum name, const char *query)
{
	MalsAudit row = {.action = action,
					 .query = query,
					 .entries = -1,
					 .detail = {"rule", TextDatumGetCString(name)}};

	mals_audit(caller, &row);
}

/* Runs a statement on a rule; returns how many rows it had. */
static uint64
run(const char *sql, int nargs, Datum *args, const char *nulls)
{
	Oid types[] = {TEXTOID, TEXTOID, INT4OID, INTERVALOID, INTERVALOID, JSONBOID, TEXTOID, TEXTOID};

	return mals_run_with(sql, nargs, types, args, nulls);
}

/* Reads the name of a rule. */
static Datum
name_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		mals_error_missing("name", "Give the rule a name, such as 'payment errors'.");
	return PG_GETARG_DATUM(0);
}

/* Raises an error unless a name is one that can be shown on one line. */
static void
check_name(Datum name)
{
	char *str = TextDatumGetCString(name);
	int length = pg_mbstrlen(str);

	for (char *p = str; *p != '\0'; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			length = 0;
	}
	if (length < 1 || length > MAX_NAME)
		mals_error_range("name", "Give 1 to %d characters without control characters.", MAX_NAME);
}

/* Raises an error unless an interval is at least so many microseconds, and about a year at most. */
static void
check_interval(const Interval *interval, const char *name, int64 least)
{
	double length = interval->time +
					(interval->day + (double) interval->month * DAYS_PER_MONTH) * USECS_PER_DAY;

	if (length < least || length > (double) MAX_DAYS * USECS_PER_DAY || interval->time < 0 ||
		interval->day < 0 || interval->month < 0)
		mals_error_range(name, "Give an interval %s, and of at most %d days.",
						 least > 0 ? "of more than zero" : "that is not negative", MAX_DAYS);
}

/* Raises an error unless a state is one of those there are. */
static void
check_state(const char *state)
{
	for (int i = 0; i < lengthof(states); i++)
	{
		if (strcmp(state, states[i]) == 0)
			return;
	}
	ereport(
		ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown on_state: \"%s\"", state),
		errhint("Use new, regressed, silent or silent_agent, or leave it out to count entries."));
}

/* Checks the arguments of mals_alert_set. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"query", "threshold", "within", "cooldown", "channels"};
	text *query;

	check_name(name_argument(fcinfo));
	for (int i = 0; i < lengthof(names); i++)
	{
		if (PG_ARGISNULL(i + 1))
			mals_error_missing(names[i],
							   "Give a value, or leave the argument out for its default.");
	}
	mals_channels_check(PG_GETARG_JSONB_P(5));
	query = PG_GETARG_TEXT_PP(1);
	(void) mals_query_parse(VARDATA_ANY(query), VARSIZE_ANY_EXHDR(query), "query");
	if (PG_GETARG_INT32(2) < 1)
		mals_error_range("threshold", "Give a number that is at least 1.");
	check_interval(PG_GETARG_INTERVAL_P(3), "within", 1);
	check_interval(PG_GETARG_INTERVAL_P(4), "cooldown", 0);
	if (!PG_ARGISNULL(6))
		check_state(text_to_cstring(PG_GETARG_TEXT_PP(6)));
}

/* Keeps a statement that may hold secrets out of the log when it fails. */
static void
hide_statement(void *unused)
{
	errhidestmt(true);
}

/* SQL: makes or changes a rule. */
Datum
mals_alert_set(PG_FUNCTION_ARGS)
{
	Datum args[8];
	const char *nulls = PG_ARGISNULL(6) ? "      n " : NULL;
	ErrorContextCallback callback = {error_context_stack, hide_statement, NULL};
	MalsCaller caller;
	MalsCursor cursor;

	error_context_stack = &callback;
	check_arguments(fcinfo);
	mals_begin_as_owner(&caller, "mals_alert_set()");
	for (int i = 0; i < 7; i++)
		args[i] = PG_GETARG_DATUM(i);
	mals_cursor_take(&cursor, GetActiveSnapshot());
	args[7] = CStringGetTextDatum(mals_cursor_text(&cursor));
	run(lock_rule, 1, args, NULL);
	run(forget_progress, 8, args, nulls);
	run(write_rule, 7, args, nulls);
	run(begin_state, 8, args, nulls);
	run(begin_silence, 7, args, nulls);
	run(cancel_deliveries, 6, args, nulls);
	audit(&caller, "alert_set", args[0], TextDatumGetCString(args[1]));
	mals_end_as_owner(&caller);
	error_context_stack = callback.previous;
	mals_note_work(MALS_WORK_ALERTS);
	PG_RETURN_VOID();
}

/* SQL: drops a rule. */
Datum
mals_alert_drop(PG_FUNCTION_ARGS)
{
	Datum args[6];
	MalsCaller caller;
	bool found;

	args[0] = name_argument(fcinfo);
	args[5] = DirectFunctionCall1(jsonb_in, CStringGetDatum("[]"));
	mals_begin_as_owner(&caller, "mals_alert_drop()");
	run(lock_rule, 1, args, NULL);
	run(cancel_deliveries, 6, args, " nnnn ");
	found = run("DELETE FROM mals._alert_rules WHERE name = $1", 1, args, NULL) > 0;
	if (found)
		audit(&caller, "alert_drop", args[0], NULL);
	mals_end_as_owner(&caller);
	PG_RETURN_BOOL(found);
}

/* SQL: fires a test alert. */
Datum
mals_alert_test(PG_FUNCTION_ARGS)
{
	Datum name = name_argument(fcinfo);
	MalsCaller caller;
	Datum id;

	mals_begin_as_owner(&caller, "mals_alert_test()");
	if (run(fire_test, 1, &name, NULL) == 0)
		ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND),
				errmsg("no alert rule has the name \"%s\"", TextDatumGetCString(name)),
				errhint("mals.alert_rules shows the rules; mals_alert_set makes one."));
	id = mals_result_datum(0, 1, NULL);
	id = SPI_datumTransfer(id, false, UUID_LEN);
	mals_end_as_owner(&caller);
	mals_note_work(MALS_WORK_DELIVERIES);
	PG_RETURN_DATUM(id);
}
