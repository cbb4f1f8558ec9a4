-- mals_metrics: metrics as Prometheus reads them.

-- A number as Prometheus writes it.
CREATE FUNCTION mals._metric_number(value float8) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1
AS $$
  SELECT CASE value WHEN 'Infinity' THEN '+Inf' WHEN '-Infinity' THEN '-Inf' ELSE value::text END
$$;
COMMENT ON FUNCTION mals._metric_number(float8) IS 'A number in the text format of Prometheus.';

-- Labels as Prometheus writes them: {a="x",b="y"}, or nothing.
CREATE FUNCTION mals._metric_labels(labels jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE('{' || string_agg(format('%s="%s"', key, replace(replace(replace(value,
           E'\\', E'\\\\'), '"', E'\\"'), chr(10), E'\\n')), ',' ORDER BY key COLLATE "C") || '}', '')
    FROM jsonb_each_text(labels)
$$;
COMMENT ON FUNCTION mals._metric_labels(jsonb) IS 'Labels in the text format of Prometheus.';

-- Figures of mals's own; each is one more SELECT. Roles that are bound to agents see none of all entries.
CREATE FUNCTION mals._own_metrics() RETURNS TABLE (name text, kind text, help text, labels jsonb, value float8)
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH health AS MATERIALIZED (SELECT @extschema@.mals_health() AS h),
  tables AS MATERIALIZED (
    SELECT c.oid, c.relispartition AS is_entries
      FROM pg_class c WHERE c.relnamespace = 'mals'::regnamespace AND c.relkind = 'r' AND NOT mals._is_bound())
  SELECT 'mals_info', 'gauge', 'Version of the extension; always 1.',
         jsonb_build_object('version', h->>'version'), 1 FROM health
  UNION ALL
  SELECT 'mals_healthy', 'gauge', '1 if mals_health() says ok, 0 if it has warnings.',
         '{}', (h->>'status' = 'ok')::int FROM health
  UNION ALL
  SELECT 'mals_workers', 'gauge', 'Background processes of mals at work in this database.',
         '{}', jsonb_array_length(h->'workers') FROM health
  UNION ALL
  SELECT 'mals_job_failures', 'gauge', 'How many times in a row a background job has failed.',
         jsonb_build_object('job', j.job), j.failures FROM mals._jobs j
  UNION ALL
  SELECT 'mals_job_age_seconds', 'gauge', 'Time since a background job was last done.',
         jsonb_build_object('job', j.job), extract(epoch FROM clock_timestamp() - j.finished_at) FROM mals._jobs j
  UNION ALL
  SELECT 'mals_ring_' || r.key, 'gauge', 'Of the ring in shared memory, see mals_health().',
         '{}', (r.value #>> '{}')::float8
    FROM health, jsonb_each(CASE WHEN jsonb_typeof(h->'ring') = 'object' THEN h->'ring' ELSE '{}' END) r
   WHERE jsonb_typeof(r.value) = 'number'
  UNION ALL
  SELECT 'mals_partitions', 'gauge', 'Partitions of mals.entries.', '{}', count(*) FILTER (WHERE is_entries) FROM tables HAVING count(*) > 0
  UNION ALL
  SELECT 'mals_bytes', 'gauge', 'Disk space of the entries and of everything else of mals, indexes included.',
         jsonb_build_object('part', CASE WHEN is_entries THEN 'entries' ELSE 'other' END), sum(pg_total_relation_size(oid))
    FROM tables GROUP BY is_entries
  UNION ALL
  SELECT 'mals_entries_estimate', 'gauge', 'Entries that are stored, from the server''s statistics.',
         '{}', (h->>'entries_estimate')::float8 FROM health WHERE h->>'entries_estimate' IS NOT NULL
  UNION ALL
  SELECT 'mals_entries_total', 'counter',
         'Entries stored, but for those that came later than ten minutes after their own time.',
         jsonb_build_object('agent_id', n.agent_id, 'level', n.level::text), sum(n.entries)
    FROM (SELECT t.agent_id, t.level, t.entries FROM mals._entry_totals t
          UNION ALL
          SELECT e.agent_id, e.level, count(*) FROM mals.entries e
           WHERE e.ts >= COALESCE((SELECT max(m.ts) FROM mals._entry_mark m), '-infinity') GROUP BY 1, 2) n
   GROUP BY n.agent_id, n.level
$$;
COMMENT ON FUNCTION mals._own_metrics() IS 'Figures that mals_metrics shows of mals itself.';

CREATE FUNCTION mals_metrics() RETURNS SETOF text
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH metrics AS MATERIALIZED (
    SELECT s.name, s.kind, m.help, s.labels, s.value, s.bounds, s.counts
      FROM mals._metric_state('infinity') s LEFT JOIN mals._metrics m USING (name)
    UNION ALL
    SELECT o.name, o.kind, o.help, o.labels, o.value, NULL, NULL FROM mals._own_metrics() o),
  heads AS (
    SELECT m.name, m.kind, COALESCE(max(m.help), 'A ' || m.kind || ' that mals_metric_define did not describe.') AS help
      FROM metrics m GROUP BY 1, 2),
  lines AS (
    SELECT h.name, NULL::jsonb AS labels, 0 AS place,
           format('# HELP %s %s', h.name, replace(replace(h.help, E'\\', E'\\\\'), chr(10), E'\\n')) AS line
      FROM heads h
    UNION ALL
    SELECT h.name, NULL, 1, format('# TYPE %s %s', h.name, h.kind) FROM heads h
    UNION ALL
    SELECT m.name, m.labels, 2, format('%s%s %s', m.name, mals._metric_labels(m.labels), mals._metric_number(m.value))
      FROM metrics m WHERE m.kind <> 'histogram'
    UNION ALL
    SELECT m.name, m.labels, 1 + b.i::int,
           format('%s_bucket%s %s', m.name,
                  mals._metric_labels(m.labels || jsonb_build_object('le', mals._metric_number(b.le))), b.n)
      FROM metrics m, unnest(m.bounds || float8 'Infinity', m.counts) WITH ORDINALITY AS b (le, n, i)
     WHERE m.kind = 'histogram'
    UNION ALL
    SELECT m.name, m.labels, 1000, format('%s_sum%s %s', m.name, mals._metric_labels(m.labels), mals._metric_number(m.value))
      FROM metrics m WHERE m.kind = 'histogram'
    UNION ALL
    SELECT m.name, m.labels, 1001, format('%s_count%s %s', m.name, mals._metric_labels(m.labels), m.counts[cardinality(m.counts)])
      FROM metrics m WHERE m.kind = 'histogram')
  SELECT l.line FROM lines l ORDER BY l.name COLLATE "C", l.labels NULLS FIRST, l.place
$$;
COMMENT ON FUNCTION mals_metrics() IS
  'All metrics in the text format of Prometheus, one line a row: those of mals_counter, mals_gauge and mals_observe, exact at the time of the call, and mals''s own, whose names begin with mals_: mals_entries_total by agent_id and level (entries older than ten minutes when they came are not in it), mals_bytes, mals_partitions, mals_workers, mals_job_failures and others. Serve it to Prometheus over HTTP, see examples/prometheus. Label sets not updated for mals.retention are gone.';
