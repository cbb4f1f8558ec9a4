/*
 * stats.c
 *		Functions that count entries: mals_agents and mals_stats.
 */
#include "mals_errors.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "mals_catalog.h"
#include "query/literal.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_agents);
PG_FUNCTION_INFO_V1(mals_stats);

/* An agent is active until twice its heartbeat has passed, by default this; it is stale within a day. */
#define HEARTBEAT_MINUTES 5

/* Goes back by an interval; as far as there is time for one that is too long. */
static TimestampTz
time_before(TimestampTz ts, const Interval *interval)
{
	/* no entry is older than 1970: so long an interval has no bound */
	if (interval->month / MONTHS_PER_YEAR + interval->day / DAYS_PER_YEAR +
			interval->time / (double) USECS_PER_DAY / DAYS_PER_YEAR >
		1000)
		return DT_NOBEGIN;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(ts),
												   IntervalPGetDatum(interval)));
}

/* SQL: every agent, when it was seen, and its errors within an interval. */
Datum
mals_agents(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval day = {.day = 1};
	Interval *within = PG_ARGISNULL(0) ? &day : PG_GETARG_INTERVAL_P(0);
	Interval zero = {0};
	TimestampTz since;
	StringInfoData sql;

	if (DatumGetBool(
			DirectFunctionCall2(interval_le, IntervalPGetDatum(within), IntervalPGetDatum(&zero))))
		mals_error_range("errors_within", "Give an interval above zero, such as '24 hours'.");

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT agent_id, COALESCE(first_seen, registered_at), seen,"
						   " COALESCE(entries, 0), COALESCE(errors, 0),"
						   " CASE WHEN seen >= ");
	mals_append_timestamp(&sql, now);
	appendStringInfo(&sql, " - 2 * COALESCE(heartbeat, '%d minutes') THEN 'active' WHEN seen >= ",
					 HEARTBEAT_MINUTES);
	mals_append_timestamp(&sql, now - USECS_PER_DAY);
	/* errors apart: both counts are of what an index holds */
	appendStringInfoString(
		&sql, " THEN 'stale' ELSE 'silent' END FROM (SELECT agent_id, first_seen, registered_at,"
			  " heartbeat, entries, errors, greatest(last_seen, last_heartbeat) AS seen"
			  " FROM (SELECT l.agent_id, min(l.ts) AS first_seen, max(l.ts) AS last_seen,"
			  " count(*) AS entries FROM mals.entries l GROUP BY l.agent_id) e"
			  " LEFT JOIN (SELECT l.agent_id, count(*) AS errors FROM mals.entries l WHERE ");
	mals_append_is_error(&sql);
	since = time_before(now, within);
	if (since != DT_NOBEGIN)
	{
		appendStringInfoString(&sql, " AND l.ts >= ");
		mals_append_timestamp(&sql, since);
	}
	appendStringInfoString(&sql, " GROUP BY l.agent_id) b USING (agent_id)"
								 " FULL JOIN mals.agents USING (agent_id)) a ORDER BY agent_id");
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}

/* SQL: figures about the entries of a window, and about the store, as JSON. */
Datum
mals_stats(PG_FUNCTION_ARGS)
{
	MalsSelection selection;
	StringInfoData sql;
	bool isnull;

	mals_selection_init(&selection, PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0),
						PG_ARGISNULL(1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(1));
	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "WITH g AS MATERIALIZED (SELECT l.agent_id, l.level,"
						   " date_bin('1 hour', l.ts, '1970-01-01 00:00Z') AS hour, count(*) AS n,"
						   " min(l.ts) AS first, max(l.ts) AS last");
	mals_selection_append_from(&sql, &selection);
	appendStringInfoString(
		&sql, " GROUP BY 1, 2, 3),"
			  " agents AS MATERIALIZED (SELECT agent_id, sum(n)::bigint AS n FROM g GROUP BY 1)"
			  " SELECT jsonb_build_object("
			  "'total_entries', COALESCE(sum(n)::bigint, 0),"
			  "'agents_count', (SELECT count(*) FROM agents),"
			  "'level_counts', (SELECT COALESCE(jsonb_object_agg(level::text, n), '{}')"
			  " FROM (SELECT level, sum(n)::bigint AS n FROM g GROUP BY 1) x),"
			  "'agent_counts', (SELECT COALESCE(jsonb_object_agg(agent_id, n), '{}') FROM agents),"
			  "'hourly_counts', (SELECT COALESCE(jsonb_object_agg("
			  "to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24\":00\"'), n), '{}')"
			  " FROM (SELECT hour, sum(n)::bigint AS n FROM g GROUP BY 1) x),"
			  "'top_agents', (SELECT COALESCE(jsonb_agg(jsonb_build_object("
			  "'agent_id', agent_id, 'entries', n) ORDER BY n DESC, agent_id), '[]')"
			  " FROM (SELECT * FROM agents ORDER BY n DESC, agent_id LIMIT 5) x),"
			  "'earliest_ts', min(first),"
			  "'latest_ts', max(last))"
			  " || ");
	/* what the whole store takes tells who is bound to agents of the others */
	appendStringInfoString(
		&sql, mals_is_bound()
				  ? "'{\"index_bytes\": null, \"total_bytes\": null, \"partitions\": null}'"
				  : "(SELECT jsonb_build_object("
					"'index_bytes', COALESCE(sum(pg_indexes_size(relid))::bigint, 0),"
					"'total_bytes', COALESCE(sum(pg_total_relation_size(relid))::bigint, 0),"
					"'partitions', count(*) FILTER (WHERE isleaf))"
					" FROM pg_partition_tree('mals.entries'))");
	appendStringInfoString(&sql, " FROM g");
	PG_RETURN_DATUM(mals_read_value(sql.data, &isnull));
}
