/*
 * stats.c
 *		Functions that count entries: mals_agents, mals_stats, mals_histogram
 *		and mals_facets.
 */
#include "mals_errors.h"

#include "common/int.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "access/access.h"
#include "mals_catalog.h"
#include "query/literal.h"
#include "query/query.h"
#include "query/read.h"
#include "types/types.h"

PG_FUNCTION_INFO_V1(mals_agents);
PG_FUNCTION_INFO_V1(mals_stats);
PG_FUNCTION_INFO_V1(mals_histogram);
PG_FUNCTION_INFO_V1(mals_facets);

#define MAX_BUCKETS 100000
#define FACET_KEYS 10 /* metadata keys that are shown when no field is asked for */

/* An agent is active until twice its heartbeat has passed, by default this; it is stale within a day. */
#define HEARTBEAT_MINUTES 5

static const MalsLevel levels[] = {MALS_LEVEL_TRACE, MALS_LEVEL_DEBUG, MALS_LEVEL_INFO,
								   MALS_LEVEL_WARN,  MALS_LEVEL_ERROR, MALS_LEVEL_CRITICAL};

#define LEVELS lengthof(levels)

/* Counts of entries by bucket and level. */
typedef struct Histogram
{
	TimestampTz first; /* where the first bucket begins */
	int64 width;       /* microseconds */
	int64 nbuckets;
	int64 *counts; /* LEVELS a bucket */
} Histogram;

/* The fields of mals_facets that are columns; the first four are shown by default. */
static const struct
{
	const char *name;
	const char *column;
} facet_columns[] = {
	{"agent", "agent_id"}, {"level", "level"},         {"category", "category"},
	{"source", "source"},  {"session", "session_key"}, {"correlation", "correlation_id"},
};

#define DEFAULT_FACETS 4

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
	appendStringInfoString(
		&sql, " THEN 'stale' ELSE 'silent' END FROM (SELECT agent_id, first_seen, registered_at,"
			  " heartbeat, entries, errors, greatest(last_seen, last_heartbeat) AS seen"
			  " FROM (SELECT l.agent_id, min(l.ts) AS first_seen, max(l.ts) AS last_seen,"
			  " count(*) AS entries, count(*) FILTER (WHERE ");
	mals_append_is_error(&sql);
	since = time_before(now, within);
	if (since != DT_NOBEGIN)
	{
		appendStringInfoString(&sql, " AND l.ts >= ");
		mals_append_timestamp(&sql, since);
	}
	appendStringInfoString(&sql, ") AS errors FROM mals.logs l GROUP BY l.agent_id) e"
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
						   " min(l.ts) AS first, max(l.ts) AS last FROM mals.logs l WHERE ");
	mals_selection_append(&sql, &selection);
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

/* Reads the argument bucket: microseconds. */
static int64
bucket_width(FunctionCallInfo fcinfo, int arg)
{
	Interval *bucket;
	int64 width;

	if (PG_ARGISNULL(arg))
		mals_error_missing("bucket", "Give the length of a bucket, such as '5 minutes'.");
	bucket = PG_GETARG_INTERVAL_P(arg);
	if (bucket->month != 0)
		mals_error_range("bucket", "Months and years differ in length: give days or less.");
	if (pg_mul_s64_overflow(bucket->day, USECS_PER_DAY, &width) ||
		pg_add_s64_overflow(width, bucket->time, &width) || width <= 0)
		mals_error_range("bucket", "Give an interval above zero, such as '5 minutes'.");
	return width;
}

/* The beginning of the bucket that holds a time; buckets are laid from 2000-01-01 UTC. */
static TimestampTz
bucket_begin(TimestampTz ts, int64 width)
{
	int64 past = ts % width;

	return ts - (past < 0 ? past + width : past);
}

/* Lays the buckets of a window. */
static void
lay_buckets(Histogram *histogram, int64 width, TimestampTz since, TimestampTz until)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->width = width;
	if (since >= until)
		return;
	if (!TIMESTAMP_NOT_FINITE(since) && !TIMESTAMP_NOT_FINITE(until))
	{
		TimestampTz last = bucket_begin(until - 1, width);

		/* unsigned, as the difference may be beyond int64 */
		histogram->first = bucket_begin(since, width);
		histogram->nbuckets = ((uint64) last - (uint64) histogram->first) / width + 1;
	}
	if (histogram->nbuckets > 0 && !IS_VALID_TIMESTAMP(histogram->first))
		mals_error_range("bucket", "Give a shorter bucket: the first would begin before all time.");
	if (histogram->nbuckets < 1 || histogram->nbuckets > MAX_BUCKETS)
		ereport(
			ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("bucket is out of range: since to until has more than %d buckets", MAX_BUCKETS),
			errhint("Give longer buckets or a shorter window."));
	histogram->counts = palloc0(histogram->nbuckets * LEVELS * sizeof(int64));
}

/* Takes a row of bucket, level and count. */
static void
take_count(TupleTableSlot *row, void *arg)
{
	Histogram *histogram = arg;
	int64 bucket;
	MalsLevel level;

	slot_getallattrs(row);
	bucket = (DatumGetTimestampTz(row->tts_values[0]) - histogram->first) / histogram->width;
	level = DatumGetMalsLevel(row->tts_values[1]);
	for (int i = 0; i < LEVELS; i++)
	{
		/* later entries than the clock's time, where that ends the window, have no bucket */
		if (levels[i] == level && bucket < histogram->nbuckets)
			histogram->counts[bucket * LEVELS + i] = DatumGetInt64(row->tts_values[2]);
	}
}

/* SQL: entries by bucket of time and level. */
Datum
mals_histogram(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 width = bucket_width(fcinfo, 0);
	TimestampTz until = PG_ARGISNULL(3) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(3);
	TimestampTz since;
	Histogram histogram;
	MalsSelection selection;
	StringInfoData sql;

	if (!PG_ARGISNULL(2))
		since = PG_GETARG_TIMESTAMPTZ(2);
	else
		since = TIMESTAMP_NOT_FINITE(until) || until < MIN_TIMESTAMP + USECS_PER_DAY
					? DT_NOBEGIN
					: until - USECS_PER_DAY;
	/* without an end, the clock's time is within the last bucket */
	lay_buckets(&histogram, width, since, PG_ARGISNULL(3) ? until + 1 : until);

	mals_selection_read(&selection, fcinfo, 1, 2, 3);
	selection.since = Max(selection.since, since);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT date_bin('" INT64_FORMAT " microseconds', l.ts, ", width);
	mals_append_timestamp(&sql, histogram.first);
	appendStringInfoString(&sql, "), l.level, count(*) FROM mals.logs l WHERE ");
	mals_selection_append(&sql, &selection);
	appendStringInfoString(&sql, " GROUP BY 1, 2");
	mals_read(sql.data, take_count, &histogram);

	InitMaterializedSRF(fcinfo, 0);
	for (int64 bucket = 0; bucket < histogram.nbuckets; bucket++)
	{
		for (int i = 0; i < LEVELS; i++)
		{
			Datum values[3];
			bool nulls[3] = {false, false, false};

			values[0] = TimestampTzGetDatum(histogram.first + bucket * width);
			values[1] = MalsLevelGetDatum(levels[i]);
			values[2] = Int64GetDatum(histogram.counts[bucket * LEVELS + i]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* Appends the rows (place, field, value) of one field. */
static void
append_facet(StringInfo sql, text *field)
{
	char *name = text_to_cstring(field);

	for (int i = 0; i < lengthof(facet_columns); i++)
	{
		if (strcmp(name, facet_columns[i].name) == 0)
		{
			appendStringInfo(sql, "VALUES (0, '%s', l.%s::text COLLATE \"C\")", name,
							 facet_columns[i].column);
			return;
		}
	}
	if (strncmp(name, "meta.", 5) == 0)
		name += 5;
	if (*name == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("field is empty"),
				errhint("Use agent, level, category, source, session, correlation or meta.<key>."));
	mals_check_path(name, "field");
	appendStringInfo(sql, "VALUES (0, %s, (", quote_literal_cstr(psprintf("meta.%s", name)));
	mals_append_metadata(sql, name);
	appendStringInfoString(sql, " #>> '{}') COLLATE \"C\")");
}

/* SQL: the commonest values of fields. */
Datum
mals_facets(PG_FUNCTION_ARGS)
{
	int64 max_values = mals_number_arg(fcinfo, 4, "max_values", 1, 10);
	MalsSelection selection;
	StringInfoData sql;

	mals_selection_read(&selection, fcinfo, 0, 1, 2);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH counted AS (SELECT place, field, value, count(*) AS entries"
								 " FROM mals.logs l CROSS JOIN LATERAL (");
	if (!PG_ARGISNULL(3))
		append_facet(&sql, PG_GETARG_TEXT_PP(3));
	else
	{
		for (int i = 0; i < DEFAULT_FACETS; i++)
			appendStringInfo(&sql, "%s (%d, '%s', l.%s::text COLLATE \"C\")",
							 i == 0 ? "VALUES" : ",", i, facet_columns[i].name,
							 facet_columns[i].column);
		appendStringInfo(&sql,
						 " UNION ALL SELECT %d, 'meta.' || key, value COLLATE \"C\""
						 " FROM jsonb_each_text(l.metadata)",
						 DEFAULT_FACETS);
	}
	appendStringInfoString(&sql, ") f (place, field, value) WHERE value IS NOT NULL AND ");
	mals_selection_append(&sql, &selection);
	appendStringInfo(
		&sql,
		" GROUP BY 1, 2, 3), summed AS (SELECT *,"
		" sum(entries) OVER (PARTITION BY place, field) AS field_entries,"
		" row_number() OVER (PARTITION BY place, field ORDER BY entries DESC, value) AS n"
		" FROM counted), ranked AS (SELECT *, dense_rank() OVER"
		" (PARTITION BY place ORDER BY field_entries DESC, field COLLATE \"C\") AS rank"
		" FROM summed) SELECT field, value, entries FROM ranked"
		" WHERE n <= " INT64_FORMAT " AND rank <= %d ORDER BY place, rank, n",
		max_values, FACET_KEYS);
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}
