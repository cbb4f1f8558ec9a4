-- Metrics: counters, gauges and histograms that agents keep, for Prometheus.
--
-- A call appends a sample; whoever folds sums samples up in mals._series, one
-- row a label set; readers add what is not folded yet (mals._metric_state).
-- Nobody who reports a figure waits for anybody: see src/metric/sample.c.

CREATE TABLE mals._metrics (
  name    text COLLATE "C" PRIMARY KEY,
  kind    text NOT NULL,
  help    text,
  buckets float8[]
);
COMMENT ON TABLE mals._metrics IS 'What mals_metric_define said of metrics.';

CREATE TABLE mals._series (
  name       text COLLATE "C" NOT NULL,
  kind       text             NOT NULL,
  labels     jsonb            NOT NULL,
  value      float8           NOT NULL,
  updated_at timestamptz      NOT NULL,
  set_at     timestamptz,
  bounds     float8[],
  counts     bigint[],
  PRIMARY KEY (name, labels)
) WITH (fillfactor = 70);
COMMENT ON TABLE mals._series IS
  'Folded samples, one row a label set: the value (of a histogram the sum), when a gauge was set, and of a histogram the buckets'' upper bounds and how many observations are within each, +Inf last.';

CREATE TABLE mals._samples (
  name        text COLLATE "C" NOT NULL,
  kind        text             NOT NULL,
  labels      jsonb            NOT NULL,
  value       float8           NOT NULL,
  is_relative boolean          NOT NULL,
  is_first    boolean          NOT NULL,
  ts          timestamptz      NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX _samples_first ON mals._samples (name) WHERE is_first;
COMMENT ON TABLE mals._samples IS 'Calls of mals_counter, mals_gauge and mals_observe that are not folded yet.';

SELECT pg_catalog.pg_extension_config_dump('mals._metrics', '');
SELECT pg_catalog.pg_extension_config_dump('mals._series', '');
SELECT pg_catalog.pg_extension_config_dump('mals._samples', '');

CREATE FUNCTION mals_counter(name text, labels jsonb DEFAULT '{}', delta float8 DEFAULT 1) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_counter(text, jsonb, float8) IS
  'Adds delta (default 1) to a counter: a metric that only goes up, such as tasks_completed_total. labels is a JSON object of strings, numbers or booleans, such as {"queue": "mail"}; each set of labels counts by itself, an empty label is none. Part of the caller''s transaction: a ROLLBACK takes it back. Sessions that add to the same counter do not wait for each other. Read it with mals_metrics. Errors: 22004 without a name; 22023 for a name or label that Prometheus does not allow, a nested label, a negative or infinite delta, or a metric that is not a counter.';

CREATE FUNCTION mals_gauge(name text, value float8, labels jsonb DEFAULT '{}',
  relative boolean DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_gauge(text, float8, jsonb, boolean) IS
  'Sets a gauge: a metric that goes up and down, such as queue_length; or changes it by value if relative. A gauge is what it was last set to (by the time of the call, whichever transaction committed first) plus the changes after that. labels as in mals_counter. Part of the caller''s transaction. Errors: 22004 without a name or value; 22023 for a name or label that Prometheus does not allow or a metric that is not a gauge.';

CREATE FUNCTION mals_observe(name text, value float8, labels jsonb DEFAULT '{}') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_observe(text, float8, jsonb) IS
  'Adds a value, such as a duration in seconds, to a histogram: Prometheus shows its count, sum and how many values were within each bucket (0.05 0.1 0.2 0.5 1 2 5 10, unless mals_metric_define gave others). labels as in mals_counter. Part of the caller''s transaction. Errors: 22004 without a name or value; 22023 for a name or label that Prometheus does not allow (a label le is reserved) or a metric that is not a histogram.';

CREATE FUNCTION mals_metric_define(name text, kind text, help text DEFAULT NULL,
  buckets float8[] DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_metric_define(text, text, text, float8[]) IS
  'Says what a metric is: its kind (counter, gauge or histogram), a help text, and of a histogram the upper bounds of its buckets (ascending; +Inf is always added). Not required: a metric is also made by its first use. Calling it again changes what is given and leaves the rest; a histogram whose buckets change starts again from zero. Errors: 22004 without name or kind; 22023 for another kind than the metric has, a name that Prometheus does not allow, or bad buckets.';

-- Sums that overflow are infinite, as in Prometheus, and no errors.
CREATE FUNCTION mals._add(float8, float8) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_float8_add';
COMMENT ON FUNCTION mals._add(float8, float8) IS 'The sum of two numbers; infinite where it is too large.';
CREATE AGGREGATE mals._sum(float8) (
  SFUNC = mals._add, STYPE = float8, COMBINEFUNC = mals._add, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mals._sum(float8) IS 'The sum of numbers; infinite where it is too large.';

-- Every label set as it is now: what is folded, and samples; of gauges, those
-- before a time. A sample of a kind that its metric does not have is left out.
CREATE FUNCTION mals._metric_state(gauges_before timestamptz) RETURNS TABLE (
  name text, kind text, labels jsonb, value float8, updated_at timestamptz, set_at timestamptz,
  bounds float8[], counts bigint[], changed boolean)
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH samples AS MATERIALIZED (
    SELECT x.name, x.kind, x.labels, x.value, x.is_relative, x.ts
      FROM mals._samples x WHERE x.kind <> 'gauge' OR x.ts < gauges_before),
  metrics AS MATERIALIZED (
    SELECT DISTINCT ON (k.name) k.name, k.kind,
           COALESCE(k.buckets, '{0.05,0.1,0.2,0.5,1,2,5,10}') AS bounds
      FROM (SELECT m.name, m.kind, m.buckets, 1 AS source, NULL::timestamptz AS ts FROM mals._metrics m
            UNION ALL
            SELECT s.name, s.kind, NULL, 2, max(s.updated_at) FROM mals._series s GROUP BY 1, 2
            UNION ALL
            SELECT x.name, x.kind, NULL, 3, min(x.ts) FROM samples x GROUP BY 1, 2) k
     ORDER BY k.name, k.source, k.ts, k.kind),
  counters AS (
    SELECT x.name, x.labels, mals._sum(x.value) AS value, max(x.ts) AS updated_at
      FROM samples x WHERE x.kind = 'counter' GROUP BY 1, 2),
  sets AS (
    SELECT DISTINCT ON (x.name, x.labels) x.name, x.labels, x.value, x.ts
      FROM samples x WHERE x.kind = 'gauge' AND NOT x.is_relative
     ORDER BY x.name, x.labels, x.ts DESC, x.value DESC),
  bases AS (
    SELECT COALESCE(n.name, s.name) AS name, COALESCE(n.labels, s.labels) AS labels,
           CASE WHEN n.ts >= COALESCE(s.set_at, '-infinity') THEN n.value ELSE s.value END AS value,
           greatest(n.ts, s.set_at) AS set_at
      FROM sets n FULL JOIN (SELECT * FROM mals._series WHERE kind = 'gauge') s USING (name, labels)),
  gauges AS (
    SELECT x.name, x.labels,
           mals._add(COALESCE(b.value, 0), COALESCE(mals._sum(x.value) FILTER (
             WHERE x.is_relative AND x.ts > COALESCE(b.set_at, '-infinity')), 0)) AS value,
           max(x.ts) AS updated_at, b.set_at
      FROM samples x LEFT JOIN bases b USING (name, labels)
     WHERE x.kind = 'gauge' GROUP BY 1, 2, b.value, b.set_at),
  -- width_bucket counts the bounds that are not above a value: a value is within its own bound
  buckets AS (
    SELECT x.name, x.labels, m.bounds, w - CASE WHEN m.bounds[w] = x.value THEN 1 ELSE 0 END AS bucket,
           count(*) AS n, mals._sum(x.value) AS value, max(x.ts) AS updated_at
      FROM samples x JOIN metrics m USING (name), width_bucket(x.value, m.bounds) w
     WHERE x.kind = 'histogram' GROUP BY 1, 2, 3, 4),
  hits AS (
    SELECT h.name, h.labels, h.bounds, mals._sum(h.value) AS value, max(h.updated_at) AS updated_at,
           array_agg(h.bucket) AS buckets, array_agg(h.n) AS ns
      FROM buckets h GROUP BY 1, 2, 3),
  histograms AS (
    SELECT h.name, h.labels, h.bounds, h.value, h.updated_at,
           ARRAY(SELECT (SELECT COALESCE(sum(b.n), 0)::bigint
                           FROM unnest(h.buckets, h.ns) AS b (bucket, n) WHERE b.bucket < i)
                   FROM generate_series(1, cardinality(h.bounds) + 1) i ORDER BY i) AS counts
      FROM hits h),
  state AS (
    SELECT c.name, 'counter' AS kind, c.labels, mals._add(c.value, COALESCE(s.value, 0)) AS value,
           c.updated_at, NULL::timestamptz AS set_at, NULL::float8[] AS bounds, NULL::bigint[] AS counts
      FROM counters c LEFT JOIN mals._series s ON s.name = c.name AND s.labels = c.labels AND s.kind = 'counter'
    UNION ALL
    SELECT g.name, 'gauge', g.labels, g.value, g.updated_at, g.set_at, NULL, NULL FROM gauges g
    UNION ALL
    SELECT h.name, 'histogram', h.labels, mals._add(h.value, COALESCE(s.value, 0)), h.updated_at, NULL, h.bounds,
           CASE WHEN s.name IS NULL THEN h.counts
                ELSE ARRAY(SELECT a + b FROM unnest(h.counts, s.counts) WITH ORDINALITY AS u (a, b, i) ORDER BY i) END
      FROM histograms h LEFT JOIN mals._series s
        ON s.name = h.name AND s.labels = h.labels AND s.kind = 'histogram' AND s.bounds = h.bounds)
  SELECT t.name, t.kind, t.labels, t.value, greatest(t.updated_at, s.updated_at), t.set_at, t.bounds, t.counts, true
    FROM state t JOIN metrics m USING (name, kind) LEFT JOIN mals._series s ON s.name = t.name AND s.labels = t.labels
  UNION ALL
  SELECT s.name, s.kind, s.labels, s.value, s.updated_at, s.set_at, s.bounds, s.counts, false
    FROM mals._series s JOIN metrics m USING (name, kind)
   WHERE NOT EXISTS (SELECT FROM state t WHERE t.name = s.name AND t.labels = s.labels AND t.kind = s.kind)
$$;
COMMENT ON FUNCTION mals._metric_state(timestamptz) IS
  'Every label set of every metric: what is folded and what is not, gauges'' samples only before a time.';

-- The time before which no sample can be that is still to be committed: nothing
-- running began earlier. -infinity where that cannot be told: transactions
-- prepared for two-phase commit, sessions that hide what they do, or a snapshot
-- that is older than the look.
CREATE FUNCTION mals._settled() RETURNS timestamptz
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted')
      OR EXISTS (SELECT FROM pg_prepared_xacts p WHERE p.database = current_database())
      OR bool_or(a.backend_type = 'client backend' AND (a.state IS NULL OR a.state = 'disabled'))
    THEN '-infinity' ELSE COALESCE(min(a.xact_start), '-infinity') END
    FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_type <> 'autovacuum worker'
$$;
COMMENT ON FUNCTION mals._settled() IS 'The start of the oldest transaction that is running in this database, but for autovacuum.';

-- Whoever folds has SHARE ROW EXCLUSIVE on mals._series; if another has it, the
-- work is being done. A gauge's samples are folded in the order of their times,
-- so only when none can come that is earlier.
CREATE FUNCTION mals._fold_metrics() RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  settled timestamptz;
  folded bigint;
BEGIN
  BEGIN
    LOCK TABLE mals._series IN SHARE ROW EXCLUSIVE MODE NOWAIT;
  EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
  END;
  settled := mals._settled();
  WITH gone AS (
    DELETE FROM mals._samples x WHERE x.kind <> 'gauge' OR x.ts < settled RETURNING x.name),
  kept AS (
    INSERT INTO mals._series AS s (name, kind, labels, value, updated_at, set_at, bounds, counts)
    SELECT t.name, t.kind, t.labels, t.value, t.updated_at, t.set_at, t.bounds, t.counts
      FROM mals._metric_state(settled) t WHERE t.changed
    ON CONFLICT (name, labels) DO UPDATE
      SET kind = excluded.kind, value = excluded.value, updated_at = excluded.updated_at,
          set_at = excluded.set_at, bounds = excluded.bounds, counts = excluded.counts)
  SELECT count(*) INTO folded FROM gone;
  DELETE FROM mals._series s
   WHERE s.updated_at < clock_timestamp() - current_setting('mals.retention')::interval;
  RETURN folded;
END
$$;
COMMENT ON FUNCTION mals._fold_metrics() IS
  'Folds samples into mals._series and drops label sets that were not updated for mals.retention; returns how many samples.';

-- Entries by agent and level, for mals_metrics. Counting all of them at each
-- scrape would be a scan; a counter kept at ingest would be a row that all
-- loggers change. So maintenance counts what is older than ten minutes, once,
-- from the mark it came to last on, and readers count what is after the mark by
-- the index on ts. An entry that arrives later than that after its own time
-- (an import, an agent that was offline) is not counted; none is counted twice,
-- and no count goes down when entries are removed, until an agent has none left.
CREATE TABLE mals._entry_totals (
  agent_id text COLLATE "C",
  level    @extschema@.mals_level,
  entries  bigint NOT NULL,
  PRIMARY KEY (agent_id, level)
);
COMMENT ON TABLE mals._entry_totals IS 'How many entries were counted, by agent and level, up to mals._entry_mark.';
CREATE TABLE mals._entry_mark (
  ts timestamptz NOT NULL
);
COMMENT ON TABLE mals._entry_mark IS 'Up to when entries are counted in mals._entry_totals; one row, or none before the first count.';
SELECT pg_catalog.pg_extension_config_dump('mals._entry_totals', '');
SELECT pg_catalog.pg_extension_config_dump('mals._entry_mark', '');

CREATE FUNCTION mals._count_entries() RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  mark timestamptz;
  next_mark timestamptz;
  counted bigint;
BEGIN
  BEGIN
    LOCK TABLE mals._entry_mark IN SHARE ROW EXCLUSIVE MODE NOWAIT;
  EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
  END;
  next_mark := least(clock_timestamp() - interval '10 minutes', mals._settled());
  SELECT COALESCE(max(m.ts), '-infinity') INTO mark FROM mals._entry_mark m;
  IF next_mark <= mark THEN
    RETURN 0;
  END IF;
  WITH counts AS (
    SELECT e.agent_id, e.level, count(*) AS entries
      FROM mals.entries e WHERE e.ts >= mark AND e.ts < next_mark GROUP BY 1, 2),
  kept AS (
    INSERT INTO mals._entry_totals AS t (agent_id, level, entries) SELECT * FROM counts
    ON CONFLICT (agent_id, level) DO UPDATE SET entries = t.entries + excluded.entries)
  SELECT COALESCE(sum(c.entries), 0) INTO counted FROM counts c;
  DELETE FROM mals._entry_mark;
  INSERT INTO mals._entry_mark VALUES (next_mark);
  RETURN counted;
END
$$;
COMMENT ON FUNCTION mals._count_entries() IS
  'Counts entries of ten minutes ago and before into mals._entry_totals; returns how many.';
