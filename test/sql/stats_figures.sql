-- mals_agents, mals_stats, mals_histogram and mals_facets against plain SQL
SET timezone = 'UTC';
SET datestyle = 'ISO';
\getenv test PG_ABS_SRCDIR
\i :test/lib/steps.psql
INSERT INTO mals.logs (ts, agent_id, level, message)
  SELECT clock_timestamp() - age, agent, 'error', 'recent'
    FROM (VALUES ('r-active', interval '9 minutes'), ('r-stale', '11 minutes'), ('r-old', '23 hours'), ('r-silent', '25 hours'), ('r-future', '-30 minutes')) AS v (agent, age);

-- mals_agents
SELECT (SELECT count(*) FROM mals_agents()) = (SELECT count(DISTINCT agent_id) FROM mals.logs) AS every_agent,
       bool_and((a.first_seen, a.last_seen, a.entries, a.errors) = (SELECT min(ts), max(ts), count(*), count(*) FILTER (WHERE level >= 'error' AND ts >= clock_timestamp() - interval '24 hours') FROM mals.logs l WHERE l.agent_id = a.agent_id)) AS same
  FROM mals_agents() a;
SELECT agent_id, entries, errors, status FROM mals_agents() WHERE agent_id LIKE 'r-%';
SELECT agent_id, errors FROM mals_agents('10 minutes') WHERE agent_id IN ('r-active', 'r-stale');
SELECT bool_and(errors = (SELECT count(*) FROM mals.logs l WHERE l.agent_id = a.agent_id AND level >= 'error')) AS same FROM mals_agents('178000000 years') a;

-- mals_stats
CREATE FUNCTION pg_temp.figures(since timestamptz, until timestamptz) RETURNS jsonb LANGUAGE sql AS $$
  WITH l AS (SELECT * FROM mals.logs WHERE ts >= COALESCE(since, '-infinity') AND ts < COALESCE(until, 'infinity'))
  SELECT jsonb_build_object(
    'total_entries', (SELECT count(*) FROM l),
    'agents_count', (SELECT count(DISTINCT agent_id) FROM l),
    'level_counts', (SELECT COALESCE(jsonb_object_agg(level, n), '{}') FROM (SELECT level::text, count(*) AS n FROM l GROUP BY 1) x),
    'agent_counts', (SELECT COALESCE(jsonb_object_agg(agent_id, n), '{}') FROM (SELECT agent_id, count(*) AS n FROM l GROUP BY 1) x),
    'hourly_counts', (SELECT COALESCE(jsonb_object_agg(h, n), '{}') FROM (SELECT to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:"00"') AS h, count(*) AS n FROM l GROUP BY 1) x),
    'top_agents', (SELECT COALESCE(jsonb_agg(jsonb_build_object('agent_id', agent_id, 'entries', n) ORDER BY n DESC, agent_id), '[]')
      FROM (SELECT agent_id, count(*) AS n FROM l GROUP BY 1 ORDER BY n DESC, agent_id LIMIT 5) x),
    'earliest_ts', (SELECT min(ts) FROM l), 'latest_ts', (SELECT max(ts) FROM l),
    'partitions', (SELECT count(*) FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass))
$$;
SELECT w.name, mals_stats(since, until) - '{total_bytes,index_bytes}'::text[] = pg_temp.figures(since, until) AS same
  FROM (VALUES ('all', NULL::timestamptz, NULL::timestamptz), ('on bounds', '2021-03-06', '2021-03-08'),
    ('within', '2021-03-06 21:30Z', '2021-03-07 03:05Z'), ('none', '2020-01-01', '2020-01-02'), ('upside down', '2021-03-08', '2021-03-06'),
    ('infinite', '-infinity', 'infinity')) AS w (name, since, until);
SELECT jsonb_pretty(mals_stats('2021-03-06 12:00Z', '2021-03-06 14:00Z') - '{total_bytes,index_bytes,partitions}'::text[]);
SELECT mals_stats('2020-01-01', '2020-01-02') - '{total_bytes,index_bytes,partitions}'::text[] AS nothing;
SELECT (s->>'total_bytes')::bigint = sum(pg_total_relation_size(inhrelid)) AS total_bytes, (s->>'index_bytes')::bigint = sum(pg_indexes_size(inhrelid)) AS index_bytes
  FROM mals_stats() s, pg_inherits WHERE inhparent = 'mals.entries'::regclass GROUP BY s;
-- hours are of UTC wherever the session is
SET LOCAL timezone = 'Asia/Kathmandu';
SELECT k FROM jsonb_object_keys(mals_stats('2021-03-06 12:00Z', '2021-03-06 14:00Z')->'hourly_counts') k ORDER BY k;
SET LOCAL timezone = 'UTC';

-- mals_histogram
SELECT b.bucket, w.since, w.until, count(*) AS rows,
       count(*) = 6 * (SELECT count(*) FROM generate_series(date_bin(b.bucket, w.since, '2000-01-01 00:00Z'), w.until - interval '1 microsecond', b.bucket)) AS every_bucket,
       bool_and(h.entries = (SELECT count(*) FROM mals.logs l WHERE l.level = h.level AND agent_id = 'r-agent-2'
         AND l.ts >= h.bucket AND l.ts < h.bucket + b.bucket AND l.ts >= w.since AND l.ts < w.until)) AS same
  FROM (VALUES (interval '1 hour'), ('7 minutes'), ('1 day'), ('1 week'), ('1 day 00:00:01.5')) AS b (bucket),
       (VALUES (timestamptz '2021-03-06 00:00Z', timestamptz '2021-03-08 00:00Z'), ('2021-03-06 21:30Z', '2021-03-07 03:05:00.000001Z'), ('1999-12-31 12:00Z', '2000-01-01 12:00Z')) AS w (since, until),
       LATERAL mals_histogram(b.bucket, 'agent:r-agent-2', w.since, w.until) h
  GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT * FROM mals_histogram('12 hours', 'agent:r-agent-2 level:error', '2021-03-06 06:00Z', '2021-03-07');
SELECT count(*) FROM mals_histogram('1 hour', '', '2021-03-07', '2021-03-07');
SELECT count(*) FROM mals_histogram('1 hour', '', '2021-03-08', '2021-03-07');
-- without bounds: the last 24 hours, now in the last bucket
SELECT sum(entries), count(DISTINCT bucket) AS hours, max(bucket) <= clock_timestamp() AND max(bucket) > clock_timestamp() - interval '2 hours' AS until_now
  FROM mals_histogram('1 hour', 'agent:r-active');
SELECT sum(entries), min(bucket), max(bucket) FROM mals_histogram('1 hour', 'agent:r-agent-*', until => '2021-03-07 12:00Z');
SELECT count(*) FROM mals_histogram('1 second', 'agent:nobody', '2021-03-06 00:00Z', timestamptz '2021-03-06 00:00Z' + interval '100000 seconds');

-- mals_facets
SELECT * FROM mals_facets('agent:r-agent-*', '2021-03-06', '2021-03-08', max_values => 3) WHERE field <> 'meta.n';
SELECT f.name, bool_and(n = entries) AS same, count(*) AS values
  FROM (VALUES ('agent'), ('level'), ('category'), ('source'), ('session'), ('correlation'), ('kind'), ('meta.kind'), ('meta.deep.m'), ('n')) AS f (name),
       LATERAL mals_facets('agent:r-agent-*', '2021-03-06', NULL, f.name, 1000000) v,
       LATERAL (SELECT count(*) AS n FROM mals.logs l WHERE agent_id LIKE 'r-agent-%' AND ts >= '2021-03-06'
         AND v.field = CASE WHEN f.name IN ('kind', 'n') THEN 'meta.' || f.name ELSE f.name END
         AND CASE f.name WHEN 'agent' THEN agent_id WHEN 'level' THEN level::text WHEN 'category' THEN category WHEN 'source' THEN source WHEN 'session' THEN session_key
           WHEN 'correlation' THEN correlation_id WHEN 'meta.deep.m' THEN metadata #>> '{deep,m}' WHEN 'n' THEN metadata ->> 'n' ELSE metadata ->> 'kind' END = v.value) x
  GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM mals_facets('agent:r-agent-*', field => 'nothing');
-- keys: the ten commonest, null values are missing values
INSERT INTO mals.logs (agent_id, message, metadata)
  SELECT 'r-keys', 'keys', (SELECT jsonb_object_agg('key' || lpad(k::text, 2, '0'), CASE WHEN k <> 12 THEN 'v' END) FROM generate_series(i, 12) k) FROM generate_series(1, 12) i;
SELECT * FROM mals_facets('agent:r-keys');

-- values are what their text is, whatever kind of JSON it was; all fields at once as one by one, in however little memory
INSERT INTO mals.logs (agent_id, message, metadata)
  SELECT 'r-kinds', 'kinds', jsonb_build_object('id', i, 'long', repeat('x', 100) || i % 500, 'v', v)
    FROM generate_series(1, 1000) i, LATERAL (SELECT ('[5, "5", 5.0, true, "true", {"a": 1}, "{\"a\": 1}", [], null, "", 1e3]'::jsonb)->(i % 11)) x (v);
SELECT value, entries FROM mals_facets('agent:r-kinds') WHERE field = 'meta.v';
CREATE FUNCTION pg_temp.facets(max_values int) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT string_agg(concat_ws('|', field, value, entries), E'\n') FROM mals_facets('agent:r-*', max_values => max_values)
$$;
CREATE TABLE pg_temp.at_once AS SELECT n, pg_temp.facets(n) AS facets FROM unnest('{1,10,1000000}'::int[]) n;
SET LOCAL work_mem = '64kB';
SET LOCAL hash_mem_multiplier = 1;
SELECT n, facets = pg_temp.facets(n) AS same_in_little_memory FROM pg_temp.at_once ORDER BY n;
RESET work_mem;
SELECT count(*) AS values, bool_and(v.entries IS NOT DISTINCT FROM b.entries) AS same
  FROM mals_facets('agent:r-*', max_values => 1000000) v
  FULL JOIN (SELECT field, value, count(*) AS entries FROM mals.logs l, LATERAL (
    SELECT * FROM (VALUES ('agent', agent_id::text), ('level', level::text), ('category', category), ('source', source)) c
    UNION ALL SELECT 'meta.' || key, j.value FROM jsonb_each_text(metadata) j) f (field, value)
    WHERE agent_id LIKE 'r-%' AND value IS NOT NULL GROUP BY 1, 2) b USING (field, value)
  WHERE v.field IS NOT NULL OR b.field IN (SELECT field FROM mals_facets('agent:r-*', max_values => 1));

\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_agents('0'); ROLLBACK TO s;
SELECT mals_agents('-1 hour'); ROLLBACK TO s;
SELECT mals_histogram(NULL); ROLLBACK TO s;
SELECT mals_histogram('0'); ROLLBACK TO s;
SELECT mals_histogram('-1 hour'); ROLLBACK TO s;
SELECT mals_histogram('1 month'); ROLLBACK TO s;
SELECT mals_histogram('1 year'); ROLLBACK TO s;
SELECT mals_histogram('2147483647 days 2147483647 hours'); ROLLBACK TO s;
SELECT mals_histogram('1 second', '', '2021-03-06 00:00Z', timestamptz '2021-03-06 00:00Z' + interval '100001 seconds'); ROLLBACK TO s;
SELECT mals_histogram('1 day', since => '-infinity'); ROLLBACK TO s;
SELECT mals_histogram('1 day', until => 'infinity'); ROLLBACK TO s;
SELECT mals_histogram('1 microsecond', since => '4713-01-01 BC', until => '294276-12-31'); ROLLBACK TO s;
SELECT mals_histogram('100000000 days', '', '1999-01-01', '1999-01-02'); ROLLBACK TO s;
SELECT mals_histogram('1 day', until => '4713-01-01 BC'); ROLLBACK TO s;
SELECT mals_histogram('1 day', 'level:loud'); ROLLBACK TO s;
SELECT mals_facets(max_values => 0); ROLLBACK TO s;
SELECT mals_facets(field => ''); ROLLBACK TO s;
SELECT mals_facets(field => 'meta.'); ROLLBACK TO s;
ROLLBACK;
