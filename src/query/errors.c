/*
 * errors.c
 *		Functions that show groups of entries: mals_patterns, mals_errors and
 *		mals_summary.
 *
 * A group is a fingerprint, or several that mals._templates has merged into
 * one. New, recurring and regressed are computed from the entries that the
 * caller's snapshot shows, never from stored figures.
 */
#include "mals_errors.h"

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "mals_catalog.h"
#include "query/literal.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_patterns);
PG_FUNCTION_INFO_V1(mals_errors);
PG_FUNCTION_INFO_V1(mals_summary);

/* How many unresolved errors a summary shows. */
#define SUMMARY_ITEMS 100

/*
 * The template that stands for a group, as SQL: %s are the group twice, the
 * extension's schema and a message of the group. Templates are made of entries
 * of all agents; who is bound to some does not see them and gets the message's.
 */
#define GROUP_TEMPLATE                                                                             \
	"COALESCE((SELECT w.template FROM mals._groups w WHERE w.group_id = %s),"                      \
	" (SELECT w.template FROM mals.templates w WHERE w.fingerprint = %s),"                         \
	" %s.mals_template(%s))"

/* The message of a group's sample, as SQL. */
#define SAMPLE_MESSAGE                                                                             \
	"(SELECT l.message FROM mals.entries l WHERE l.id = c.sample_id AND l.ts = c.last_seen)"

/* The window of a report, and the one of the same length before it. */
typedef struct Window
{
	TimestampTz before;
	TimestampTz since;
	TimestampTz until; /* DT_NOEND: no bound */
	TimestampTz end;   /* until, or the time of the call */
	text *agent;       /* or NULL */
	int recurring_min;
} Window;

/* Reads a report's arguments, in the order since, agent_id, until, recurring_min. */
static void
read_window(FunctionCallInfo fcinfo, Window *window)
{
	int64 length;

	window->until = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	window->end = window->until == DT_NOEND ? GetCurrentTimestamp() : window->until;
	window->since = PG_ARGISNULL(0) ? window->end - USECS_PER_DAY : PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(window->since) || TIMESTAMP_NOT_FINITE(window->end))
		mals_error_range(TIMESTAMP_NOT_FINITE(window->end) ? "until" : "since",
						 "Give a finite time: the window is compared with the one before it.");
	if (pg_sub_s64_overflow(window->end, window->since, &length) ||
		pg_sub_s64_overflow(window->since, Max(length, 0), &window->before))
		window->before = DT_NOBEGIN;
	window->agent = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	window->recurring_min = mals_number_arg(fcinfo, 3, "recurring_min", 1, 3);
}

/* Appends the condition of errors from a time on to the window's end. */
static void
append_errors(StringInfo sql, const Window *window, TimestampTz since)
{
	mals_append_is_error(sql);
	appendStringInfoString(sql, " AND l.ts >= ");
	mals_append_timestamp(sql, since);
	if (window->until != DT_NOEND)
	{
		appendStringInfoString(sql, " AND l.ts < ");
		mals_append_timestamp(sql, window->until);
	}
	if (window->agent != NULL)
	{
		appendStringInfoString(sql, " AND l.agent_id = ");
		mals_append_literal(sql, text_to_cstring(window->agent));
	}
}

/*
 * Appends the common table expressions of a report: kinds, the errors of both
 * windows counted by group and agent, and groups, one row a group that occurs
 * in the window, as mals_errors shows it. An error that is newer than R in both
 * of its times regresses: the newest "least of its times" of a kind tells.
 */
static void
append_groups(StringInfo sql, const Window *window)
{
	char *schema = mals_extension_schema();

	appendStringInfo(
		sql,
		"WITH counted AS MATERIALIZED (SELECT l.fingerprint, l.agent_id,"
		" count(*) AS entries, %s.max(l.level) AS level,"
		" count(*) FILTER (WHERE l.level OPERATOR(%s.=) 'critical') AS critical,"
		" count(*) FILTER (WHERE NOT l.resolved) AS unresolved,"
		" min(l.ts) AS first_seen, max(l.ts) AS last_seen,"
		" max(LEAST(l.ts, l.created_at)) AS newest, mals._max(l.id) AS sample_id, l.ts >= ",
		schema, schema);
	mals_append_timestamp(sql, window->since);
	appendStringInfoString(sql, " AS inside FROM mals.logs l WHERE ");
	append_errors(sql, window, window->before);
	appendStringInfo(
		sql,
		" GROUP BY l.fingerprint, l.agent_id, inside),"
		" kinds AS MATERIALIZED (SELECT c.*, COALESCE(t.group_id, c.fingerprint) AS g"
		" FROM counted c LEFT JOIN mals._templates t USING (fingerprint)),"
		" windows AS (SELECT k.g, %s.max(k.level) FILTER (WHERE inside) AS level,"
		" sum(k.entries) FILTER (WHERE inside)::bigint AS entries,"
		" sum(k.unresolved) FILTER (WHERE inside)::bigint AS unresolved,"
		" array_agg(DISTINCT k.agent_id::text ORDER BY k.agent_id::text)"
		" FILTER (WHERE inside) AS agents,"
		" min(k.first_seen) FILTER (WHERE inside) AS first_seen,"
		" max(k.last_seen) FILTER (WHERE inside) AS last_seen,"
		" max(k.newest) FILTER (WHERE inside) AS newest, bool_and(inside) AS is_new,"
		" mals._max(k.sample_id) FILTER (WHERE inside) AS sample_id"
		" FROM kinds k GROUP BY k.g HAVING bool_or(inside)),"
		" states AS (SELECT w.*, COALESCE(w.newest > s.resolved_at, false) AS is_regressed,"
		" s.ignored_at IS NOT NULL AND COALESCE(s.ignored_until > clock_timestamp(), true)"
		" AS is_ignored FROM windows w LEFT JOIN %s),"
		" groups AS (SELECT c.g AS fingerprint, ",
		schema,
		mals_is_bound() ? "LATERAL mals._status_of(w.g) s ON true"
						: "mals.error_status s ON s.fingerprint = w.g");
	appendStringInfo(sql, GROUP_TEMPLATE, "c.g", "c.g", schema, SAMPLE_MESSAGE);
	appendStringInfo(
		sql,
		" AS template, c.level, c.entries, c.unresolved, c.agents, c.first_seen,"
		" c.last_seen, c.is_new, c.entries >= %d AS is_recurring, c.is_regressed,"
		" CASE WHEN c.is_ignored THEN 'ignored' WHEN c.is_regressed THEN 'regressed'"
		" WHEN c.unresolved = 0 THEN 'resolved' WHEN c.is_new THEN 'new'"
		" WHEN c.entries >= %d THEN 'recurring' ELSE 'ongoing' END AS status, c.sample_id"
		" FROM states c)",
		window->recurring_min, window->recurring_min);
}

/* SQL: the groups of errors of a window. */
Datum
mals_errors(PG_FUNCTION_ARGS)
{
	Window window;
	StringInfoData sql;

	read_window(fcinfo, &window);
	initStringInfo(&sql);
	append_groups(&sql, &window);
	appendStringInfoString(&sql, " SELECT * FROM groups ORDER BY entries DESC, fingerprint");
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}

/* Appends the groups that a column of theirs is true for, as a key of a summary. */
static void
append_group_list(StringInfo sql, const char *key, const char *column)
{
	appendStringInfo(sql,
					 ", '%s', (SELECT COALESCE(jsonb_agg(to_jsonb(x) ORDER BY x.entries DESC,"
					 " x.fingerprint), '[]') FROM groups x WHERE x.%s)",
					 key, column);
}

/* SQL: what happened in a window, as JSON. */
Datum
mals_summary(PG_FUNCTION_ARGS)
{
	Window window;
	StringInfoData sql;
	bool isnull;

	read_window(fcinfo, &window);
	initStringInfo(&sql);
	append_groups(&sql, &window);
	appendStringInfoString(&sql, " SELECT jsonb_build_object('since', ");
	mals_append_timestamp(&sql, window.since);
	appendStringInfoString(&sql, ", 'until', ");
	mals_append_timestamp(&sql, window.end);
	appendStringInfoString(&sql, ", 'agent_id', ");
	if (window.agent == NULL)
		appendStringInfoString(&sql, "NULL");
	else
	{
		mals_append_literal(&sql, text_to_cstring(window.agent));
		appendStringInfoString(&sql, "::text");
	}
	appendStringInfoString(
		&sql,
		", 'total_errors', (SELECT COALESCE(sum(entries)::bigint, 0) FROM kinds WHERE inside),"
		" 'by_agent', (SELECT COALESCE(jsonb_agg(to_jsonb(x) ORDER BY x.errors DESC, x.agent_id),"
		" '[]') FROM (SELECT agent_id, sum(entries)::bigint AS errors,"
		" sum(critical)::bigint AS critical, sum(unresolved)::bigint AS unresolved"
		" FROM kinds WHERE inside GROUP BY agent_id) x),"
		" 'unresolved_errors', jsonb_build_object('count', (SELECT "
		"COALESCE(sum(unresolved)::bigint, 0)"
		" FROM kinds WHERE inside), 'items', (SELECT COALESCE(jsonb_agg(to_jsonb(x)"
		" ORDER BY x.ts DESC, x.id DESC), '[]') FROM (SELECT l.* FROM mals.logs l WHERE ");
	append_errors(&sql, &window, window.since);
	appendStringInfo(&sql, " AND NOT l.resolved ORDER BY l.ts DESC, l.id DESC LIMIT %d) x))",
					 SUMMARY_ITEMS);
	append_group_list(&sql, "new_errors", "is_new");
	append_group_list(&sql, "recurring_errors", "is_recurring");
	append_group_list(&sql, "regressed_errors", "is_regressed");
	appendStringInfoChar(&sql, ')');
	PG_RETURN_DATUM(mals_read_value(sql.data, &isnull));
}

/* SQL: the commonest groups of entries that match a query. */
Datum
mals_patterns(PG_FUNCTION_ARGS)
{
	MalsSelection selection;
	StringInfoData sql;
	char *schema = mals_extension_schema();
	int64 max_rows = mals_number_arg(fcinfo, 3, "max_rows", 0, 20);

	mals_selection_read(&selection, fcinfo, 0, 1, 2);
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH kinds AS (SELECT l.fingerprint, l.agent_id::text AS agent,"
					 " %s.max(l.level) AS level, count(*) AS entries, min(l.ts) AS first_seen,"
					 " max(l.ts) AS last_seen",
					 schema);
	mals_selection_append_from(&sql, &selection);
	appendStringInfo(
		&sql,
		" GROUP BY 1, 2), groups AS MATERIALIZED (SELECT COALESCE(t.group_id,"
		" k.fingerprint) AS g, %s.max(k.level) AS level, sum(k.entries)::bigint AS entries,"
		" array_agg(DISTINCT k.agent ORDER BY k.agent) AS agents,"
		" array_agg(DISTINCT k.fingerprint) AS fingerprints,"
		" min(k.first_seen) AS first_seen, max(k.last_seen) AS last_seen"
		" FROM kinds k LEFT JOIN mals._templates t USING (fingerprint) GROUP BY 1"
		" ORDER BY 3 DESC, 1 LIMIT " INT64_FORMAT ") SELECT p.g, ",
		schema, max_rows);
	appendStringInfo(&sql, GROUP_TEMPLATE, "p.g", "p.g", schema, "s.message");
	appendStringInfoString(&sql, ", p.level, p.entries, p.agents, p.first_seen, p.last_seen, s.id"
								 " FROM groups p LEFT JOIN LATERAL (SELECT l.id, l.message");
	mals_selection_append_from(&sql, &selection);
	appendStringInfoString(&sql, " AND l.ts = p.last_seen AND l.fingerprint = ANY (p.fingerprints)"
								 " ORDER BY l.id DESC LIMIT 1) s ON true"
								 " ORDER BY p.entries DESC, p.g");
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}
