-- What agents did: tasks, sessions, how busy they were, how long things took.

-- The window of a function whose since defaults to 24 hours before until.
CREATE FUNCTION mals._since(since timestamptz, until timestamptz) RETURNS timestamptz
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(since, COALESCE(CASE WHEN isfinite(until) THEN until END, clock_timestamp()) - interval '24 hours')
$$;
COMMENT ON FUNCTION mals._since(timestamptz, timestamptz) IS 'The beginning of a window: since, or 24 hours before until, or before now.';

-- The beginning and the end of a window that must have both.
CREATE FUNCTION mals._window(INOUT since timestamptz, INOUT until timestamptz)
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  until := COALESCE(until, clock_timestamp());
  IF NOT isfinite(until) OR NOT isfinite(since) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('%s is out of range', CASE WHEN isfinite(until) THEN 'since' ELSE 'until' END),
      HINT = 'Give a finite time, or NULL.';
  END IF;
  since := mals._since(since, until);
END
$$;
COMMENT ON FUNCTION mals._window(timestamptz, timestamptz) IS 'A window with both ends finite: 24 hours, ending now, by default.';

CREATE FUNCTION mals_tasks(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS TABLE (
  task_id text, agent_id text, state text, started_at timestamptz, finished_at timestamptz,
  duration_ms float8, attempts bigint, error text)
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  from_ts timestamptz := mals._since(since, until);
  to_ts timestamptz := COALESCE(until, 'infinity');
BEGIN
  RETURN QUERY
  WITH events AS (
    SELECT l.metadata->>'task_id' AS task, l.agent_id AS agent, l.ts, l.id, l.category,
           l.category IN ('task_started', 'task_processing') AS is_start,
           -- an attempt may be told of twice: it was started, and is being worked on
           l.category = 'task_started'
             OR l.category = 'task_processing' AND lag(l.category) OVER (
                  PARTITION BY l.metadata->>'task_id' ORDER BY l.ts, l.id) IS DISTINCT FROM 'task_started' AS is_attempt,
           CASE WHEN l.category = 'task_failed'
                THEN COALESCE(l.metadata->>'error', l.metadata #>> '{exception,message}', l.message) END AS error
      FROM mals.entries l
     -- CASE: the metadata of other entries is not looked into
     WHERE l.ts >= from_ts AND l.ts < to_ts
       AND CASE WHEN l.category IN ('task_received', 'task_started', 'task_processing', 'task_completed', 'task_failed')
                THEN l.metadata->>'task_id' IS NOT NULL END),
  tasks AS (
    SELECT e.task, (array_agg(e.agent ORDER BY e.is_start DESC, e.ts DESC, e.id DESC))[1] AS agent,
           (array_agg(e.category ORDER BY e.ts DESC, e.id DESC))[1] AS latest,
           (array_agg(e.error ORDER BY e.ts DESC, e.id DESC))[1] AS error,
           min(e.ts) FILTER (WHERE e.is_start) AS started, max(e.ts) AS seen,
           count(*) FILTER (WHERE e.is_attempt) AS attempts
      FROM events e GROUP BY 1),
  states AS (
    SELECT t.*, CASE t.latest WHEN 'task_received' THEN 'received' WHEN 'task_completed' THEN 'completed'
                              WHEN 'task_failed' THEN 'failed' ELSE 'processing' END AS state,
           CASE WHEN t.latest IN ('task_completed', 'task_failed') THEN t.seen END AS finished
      FROM tasks t)
  SELECT s.task, s.agent::text, s.state, s.started, s.finished,
         (extract(epoch FROM s.finished - s.started) * 1000)::float8, s.attempts, s.error
    FROM states s ORDER BY s.seen DESC, s.task COLLATE "C";
END
$$;
COMMENT ON FUNCTION mals_tasks(timestamptz, timestamptz) IS
  'The tasks that agents worked on in [since, until) (default: the last 24 hours), latest first. A task is what entries with the same metadata.task_id and category task_received, task_started, task_processing, task_completed or task_failed tell: agent_id (who started it last), state (received, processing, completed or failed: what the latest of them says), started_at (the first start), finished_at (if completed or failed), duration_ms between these, attempts (how often it was started; task_processing right after task_started is the same attempt), error (if failed: metadata.error, metadata.exception.message or the message). Only entries within the window count.';

CREATE FUNCTION mals_sessions(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS TABLE (
  session_key text, agents text[], started_at timestamptz, ended_at timestamptz, duration interval,
  entries bigint, errors bigint, last_level mals_level)
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  from_ts timestamptz := mals._since(since, until);
  to_ts timestamptz := COALESCE(until, 'infinity');
BEGIN
  RETURN QUERY
  WITH parts AS (
    SELECT l.session_key AS session, l.agent_id::text AS agent, min(l.ts) AS first, max(l.ts) AS last,
           mals._max(l.id) AS last_id, count(*) AS n,
           count(*) FILTER (WHERE l.level OPERATOR(@extschema@.>=) 'error') AS bad
      FROM mals.entries l
     WHERE l.ts >= from_ts AND l.ts < to_ts AND l.session_key IS NOT NULL GROUP BY 1, 2),
  sessions AS (
    SELECT p.session, array_agg(p.agent ORDER BY p.agent COLLATE "C") AS agents, min(p.first) AS first,
           max(p.last) AS last, mals._max(p.last_id) AS last_id, sum(p.n)::bigint AS n, sum(p.bad)::bigint AS bad
      FROM parts p GROUP BY 1)
  SELECT s.session::text, s.agents, s.first, s.last, s.last - s.first, s.n, s.bad,
         (SELECT l.level FROM mals.entries l WHERE l.ts = s.last AND l.id = s.last_id)
    FROM sessions s ORDER BY s.last DESC, s.session;
END
$$;
COMMENT ON FUNCTION mals_sessions(timestamptz, timestamptz) IS
  'The sessions of agents in [since, until) (default: the last 24 hours), latest first: what entries with the same session_key tell. agents, started_at and ended_at (first and last entry), duration, entries, errors (level error or critical), last_level (of the last entry). Only entries within the window count.';

-- A function in PL/pgSQL cannot have the name bucket twice: mals_utilization can.
CREATE FUNCTION mals._utilization(since timestamptz, until timestamptz, width interval) RETURNS TABLE (
  agent_id text, bucket timestamptz, total_s float8, active_s float8, busy_s float8, idle_s float8,
  utilization_percent float8)
  -- a day is 24 hours wherever the session is
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
  from_ts timestamptz;
  to_ts timestamptz;
BEGIN
  SELECT w.since, w.until INTO from_ts, to_ts FROM mals._window(since, until) w;
  IF from_ts >= to_ts THEN
    RETURN;
  END IF;
  IF extract(month FROM width) <> 0 OR extract(year FROM width) <> 0 OR width <= interval '0' THEN
    RAISE invalid_parameter_value USING MESSAGE = 'bucket is out of range',
      HINT = 'Give an interval above zero, of days or less, such as ''1 hour''.';
  END IF;
  IF extract(epoch FROM to_ts - from_ts) / extract(epoch FROM width) > 100000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'bucket is out of range: since to until has more than 100000 buckets',
      HINT = 'Give longer buckets or a shorter window.';
  END IF;
  RETURN QUERY
  WITH steps AS (
    SELECT kind || '_' || step AS category, kind || '_id' AS key,
           step IN ('started', 'start', 'processing', 'resumed', 'resume', 'continued', 'continue') AS is_start
      FROM unnest('{task,action,experiment}'::text[]) kind,
           unnest('{started,start,processing,resumed,resume,continued,continue,completed,complete,failed,fail,cancelled,canceled,cancel,aborted,abort,finished,finish,stopped,stop,ended,end,paused,pause}'::text[]) step),
  marks AS (
    SELECT l.agent_id AS agent, l.ts, l.id, s.key AS kind, (l.metadata->>s.key) COLLATE "C" AS key, s.is_start
      FROM mals.entries l JOIN steps s ON s.category COLLATE "C" = l.category
     WHERE l.ts >= from_ts - greatest(to_ts - from_ts, interval '1 day') AND l.ts < to_ts),
  work AS (
    SELECT m.agent, m.is_start, tstzrange(m.ts, COALESCE(
             lead(m.ts) OVER (PARTITION BY m.key, m.agent, m.kind ORDER BY m.ts, m.id), to_ts)) AS span
      FROM marks m),
  busy AS (
    SELECT w.agent, range_agg(w.span) * tstzmultirange(tstzrange(from_ts, to_ts)) AS spans
      FROM work w WHERE w.is_start GROUP BY 1),
  sessions AS (
    SELECT l.agent_id AS agent, CASE WHEN l.session_key IS NOT NULL THEN tstzrange(min(l.ts), max(l.ts)) END AS span
      FROM mals.entries l WHERE l.ts >= from_ts AND l.ts < to_ts GROUP BY l.agent_id, l.session_key),
  agents AS (
    SELECT agent, COALESCE(b.spans, '{}') AS busy,
           COALESCE(b.spans, '{}') + COALESCE(s.spans, '{}') AS active
      FROM (SELECT s.agent, range_agg(s.span) FILTER (WHERE s.span IS NOT NULL) AS spans FROM sessions s GROUP BY 1) s
      FULL JOIN (SELECT * FROM busy WHERE NOT isempty(spans)) b USING (agent)),
  buckets AS (
    SELECT from_ts AS bucket, tstzrange(from_ts, to_ts) AS span WHERE width IS NULL
    UNION ALL
    SELECT b, tstzrange(greatest(b, from_ts), least(b + width, to_ts))
      FROM generate_series(date_bin(COALESCE(width, '1 day'), from_ts, '2000-01-01 00:00Z'),
                           to_ts - interval '1 microsecond', COALESCE(width, '100 years')) b WHERE width IS NOT NULL),
  figures AS (
    SELECT a.agent, b.bucket, extract(epoch FROM upper(b.span) - lower(b.span)) AS total,
           (SELECT COALESCE(sum(extract(epoch FROM upper(r) - lower(r))), 0)
              FROM unnest(a.active * tstzmultirange(b.span)) r) AS active,
           (SELECT COALESCE(sum(extract(epoch FROM upper(r) - lower(r))), 0)
              FROM unnest(a.busy * tstzmultirange(b.span)) r) AS busy
      FROM agents a CROSS JOIN buckets b)
  SELECT f.agent::text, f.bucket, f.total::float8, f.active::float8, f.busy::float8, (f.total - f.busy)::float8,
         CASE WHEN f.active > 0 THEN (100 * f.busy / f.active)::float8 ELSE 0 END
    FROM figures f ORDER BY f.agent, f.bucket;
END
$$;
COMMENT ON FUNCTION mals._utilization(timestamptz, timestamptz, interval) IS 'What mals_utilization does.';

CREATE FUNCTION mals_utilization(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
  bucket interval DEFAULT NULL) RETURNS TABLE (
  agent_id text, bucket timestamptz, total_s float8, active_s float8, busy_s float8, idle_s float8,
  utilization_percent float8)
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  SELECT * FROM mals._utilization($1, $2, $3)
$$;
COMMENT ON FUNCTION mals_utilization(timestamptz, timestamptz, interval) IS
  'How busy each agent was in [since, until) (default: the last 24 hours), in seconds; in buckets of that length (laid from 2000-01-01 00:00 UTC, cut at the window''s ends, zeros too), or one row an agent if bucket is NULL. busy_s: the union of its tasks, actions and experiments, each from an entry with category task_started, task_start, task_processing, task_resumed or task_continued to the agent''s next task_... entry of the same metadata.task_id, such as task_completed, task_failed, task_cancelled, task_stopped or task_paused, or to until if there is none; likewise action_... with action_id and experiment_... with experiment_id. What began before since counts from since if it began no longer before than the window is long, or a day. active_s: the union of that and of its sessions, each from the agent''s first to its last entry in the window. idle_s = total_s - busy_s; utilization_percent = 100 * busy_s / active_s, 0 if it was not active. Errors: 22023 for infinite times, a bucket that is not above zero or has months, more than 100,000 buckets.';

CREATE FUNCTION mals._number(value jsonb) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_json_number';
COMMENT ON FUNCTION mals._number(jsonb) IS 'A number as float8; NULL if it is none, or beyond 1e140; 0 if it is nearer to zero than 1e-140.';

CREATE FUNCTION mals_latency(group_by text DEFAULT 'agent', field text DEFAULT 'duration_ms',
  query text DEFAULT '', since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS TABLE (
  key text, entries bigint, p50 float8, p95 float8, p99 float8, max float8, avg float8)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_latency(text, text, text, timestamptz, timestamptz) IS
  'Exact percentiles (p50, p95, p99, between neighbours as percentile_cont does), maximum and mean of a number in the metadata, such as duration_ms, among the entries that match a query (see mals_search) in [since, until) (default: no bounds), by group_by: agent, category, source, session or a metadata key (key, meta.key or a dotted path meta.a.b); key is NULL for entries that have no such value. field is a metadata key likewise; entries where it is no number (text is none) are left out, and numbers beyond 1e140. Most entries first. Errors: 22023 for an empty group_by or field, a field of the query language that cannot be grouped by (level, trace, ...: use meta.level for a metadata key), a query that does not parse.';

-- Bars as text.
CREATE FUNCTION mals_sparkline("values" float8[]) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH v AS (
    SELECT u.v, u.i, least(0, min(u.v) FILTER (WHERE u.v > '-Infinity') OVER ()) AS low,
           max(u.v) FILTER (WHERE u.v < 'Infinity') OVER () AS high
      FROM unnest("values") WITH ORDINALITY AS u (v, i))
  SELECT COALESCE(string_agg(
           CASE WHEN v IS NULL OR v = 'NaN' THEN ' '
                WHEN getdatabaseencoding() <> 'UTF8' THEN substr('_.:-=+*#', step, 1)
                ELSE chr(9600 + step) END, '' ORDER BY i), '')
    FROM v, LATERAL (SELECT CASE WHEN v.v = 'Infinity' THEN 8
                                 WHEN v.v = '-Infinity' OR v.v = 'NaN' OR v.v <= v.low THEN 1
                                 ELSE 1 + least(7, ceil(7 * ((v.v / 2 - v.low / 2) / (v.high / 2 - v.low / 2)))::int) END AS step) s
$$;
COMMENT ON FUNCTION mals_sparkline(float8[]) IS
  'Numbers as a line of bars for terminals, one character each: the lowest bar is 0 (or the least number, if it is negative), the highest the greatest number; NULL and NaN are blanks. In a database whose encoding is not UTF8 the bars are _.:-=+*#.';
