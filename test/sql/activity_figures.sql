-- mals_tasks, mals_sessions, mals_utilization, mals_latency and mals_sparkline against plain SQL
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
TRUNCATE mals.entries, mals._sights, mals._templates;
SET mals.max_past = '-1';
BEGIN;
-- one life of a task each
INSERT INTO mals.logs (ts, agent_id, level, message, category, metadata)
  SELECT '2021-03-05 10:00Z'::timestamptz + at * interval '1 second', agent, level, message, category, metadata::jsonb
    FROM (VALUES (0, 'boss', 'info', 'got', 'task_received', '{"task_id": "only received"}'),
      (1, 'boss', 'info', 'got', 'task_received', '{"task_id": "plain"}'), (2, 'hand', 'info', 'go', 'task_started', '{"task_id": "plain"}'),
      (3, 'hand', 'info', 'going', 'task_processing', '{"task_id": "plain"}'), (5, 'hand', 'info', 'done', 'task_completed', '{"task_id": "plain"}'),
      (1, 'hand', 'info', 'go', 'task_started', '{"task_id": "again"}'), (2, 'hand', 'error', 'no', 'task_failed', '{"task_id": "again", "error": "first"}'),
      (3, 'foot', 'info', 'go', 'task_started', '{"task_id": "again"}'), (4.5, 'foot', 'info', 'done', 'task_completed', '{"task_id": "again"}'),
      (1, 'hand', 'info', 'go', 'task_started', '{"task_id": "otherwise"}'), (2, 'hand', 'error', 'no', 'task_failed', '{"task_id": "otherwise"}'),
      (3, 'foot', 'info', 'at it', 'task_processing', '{"task_id": "otherwise"}'), (5, 'foot', 'info', 'done', 'task_completed', '{"task_id": "otherwise"}'),
      (6, 'hand', 'info', 'go', 'task_processing', '{"task_id": 7}'),
      (6, 'hand', 'info', 'go', 'task_started', '{"task_id": "error"}'), (7, 'hand', 'error', 'msg', 'task_failed', '{"task_id": "error", "error": "why"}'),
      (6, 'hand', 'info', 'go', 'task_started', '{"task_id": "raised"}'), (7, 'hand', 'error', 'msg', 'task_failed', '{"task_id": "raised", "exception": {"message": "boom"}}'),
      (8, 'hand', 'error', 'said only', 'task_failed', '{"task_id": "unstarted"}'),
      (9, 'hand', 'info', 'x', 'task_started', '{}'), (9, 'hand', 'info', 'x', 'task_started', '{"task_id": null}'), (9, 'hand', 'info', 'x', 'other', '{"task_id": "other"}'))
    AS v (at, agent, level, message, category, metadata);
SELECT task_id, agent_id, state, started_at::time, finished_at::time, duration_ms, attempts, error FROM mals_tasks('2021-03-05', '2021-03-06') ORDER BY task_id COLLATE "C";
SELECT task_id, state, started_at::time, attempts, error FROM mals_tasks('2021-03-05', '2021-03-05 10:00:02.5Z') ORDER BY task_id COLLATE "C";
SELECT count(*) FROM mals_tasks(until => '2021-03-06 09:00Z'), (SELECT count(*) FROM mals_tasks(until => '2021-03-06 10:00:08Z')) AS later;
SELECT array_agg(task_id) FROM (SELECT task_id FROM mals_tasks('2021-03-05', '2021-03-06') LIMIT 4) t;

-- 4,000 entries over two days at whole seconds, starts and stops at random
INSERT INTO mals.logs (ts, agent_id, level, message, category, session_key, metadata)
  SELECT '2021-04-01 00:00Z'::timestamptz + (h % 172800) * interval '1 second', 'u-' || i % 5,
         (ARRAY['info', 'warn', 'error', 'critical'])[1 + h / 7 % 4], 'step ' || i,
         CASE WHEN k < 9 THEN (ARRAY['task', 'action', 'experiment'])[1 + k % 3] || (ARRAY['_started', '_processing', '_completed', '_failed', '_paused', '_cancelled', '_end', '_completed'])[1 + h / 11 % 8] WHEN k = 9 THEN 'deploy' END,
         CASE WHEN h % 3 > 0 THEN 'us-' || (h % 172800) / 2000 END,
         jsonb_build_object((ARRAY['task_id', 'action_id', 'experiment_id'])[1 + k % 3], h / 13 % 3, 'duration_ms', CASE WHEN i % 10 > 0 THEN to_jsonb(h % 5000 / 8.0) WHEN i % 20 = 0 THEN '"12"' ELSE 'null' END,
           'deep', jsonb_build_object('ms', h % 100), 'kind', h % 4)
    FROM generate_series(1, 4000) i, LATERAL (SELECT hashint4(i)::bigint & 2147483647 AS h) x, LATERAL (SELECT (h / 5 % 11)::int AS k) y;

-- mals_sessions
WITH plain AS (
  SELECT session_key, array_agg(DISTINCT agent_id::text ORDER BY agent_id::text) AS agents, min(ts) AS a, max(ts) AS b, max(ts) - min(ts) AS d, count(*) AS n,
         count(*) FILTER (WHERE level >= 'error') AS bad, (array_agg(level ORDER BY ts DESC, id DESC))[1] AS last
    FROM mals.logs WHERE ts >= '2021-04-01 10:00Z' AND ts < '2021-04-02' AND session_key IS NOT NULL GROUP BY 1)
SELECT count(*), bool_and(s::text IS NOT DISTINCT FROM p::text) AS same FROM mals_sessions('2021-04-01 10:00Z', '2021-04-02') s FULL JOIN plain p USING (session_key);
SELECT count(*) FROM mals_sessions(until => '2021-04-02') s, (SELECT count(DISTINCT session_key) FROM mals.logs WHERE ts >= '2021-04-01' AND ts < '2021-04-02') p (n) WHERE n > 0;

-- mals_utilization: second by second
CREATE FUNCTION pg_temp.seconds(since timestamptz, until timestamptz) RETURNS TABLE (agent text, second timestamptz, busy boolean, active boolean) LANGUAGE sql AS $$
  WITH marks AS (
    SELECT agent_id, ts, id, split_part(category, '_', 1) AS kind, split_part(category, '_', 2) AS step, metadata->>(split_part(category, '_', 1) || '_id') AS key
      FROM mals.logs WHERE category ~ '^(task|action|experiment)_' AND ts < until),
  spans AS (
    SELECT a.agent_id, a.ts AS b, COALESCE((SELECT min(b.ts) FROM marks b WHERE (b.agent_id, b.kind) = (a.agent_id, a.kind) AND b.key IS NOT DISTINCT FROM a.key AND (b.ts, b.id) > (a.ts, a.id)), until) AS e
      FROM marks a WHERE a.step IN ('started', 'start', 'processing')),
  sessions AS (SELECT agent_id, min(ts) AS b, max(ts) AS e FROM mals.logs WHERE ts >= since AND ts < until AND session_key IS NOT NULL GROUP BY agent_id, session_key)
  SELECT a.agent_id, s, EXISTS (SELECT FROM spans p WHERE p.agent_id = a.agent_id AND s >= p.b AND s < p.e),
         EXISTS (SELECT FROM spans p WHERE p.agent_id = a.agent_id AND s >= p.b AND s < p.e) OR EXISTS (SELECT FROM sessions p WHERE p.agent_id = a.agent_id AND s >= p.b AND s < p.e)
    FROM (SELECT DISTINCT agent_id FROM mals.logs WHERE ts >= since AND ts < until) a, generate_series(since, until - interval '1 second', '1 second') s
$$;
CREATE TEMP TABLE truth AS SELECT * FROM pg_temp.seconds('2021-04-01 12:00Z', '2021-04-01 13:30Z');
SELECT count(DISTINCT agent) AS agents, bool_or(busy) AND NOT bool_and(busy) AND NOT bool_and(active) AS telling FROM truth;
SELECT count(*), bool_and((u.bucket, u.total_s, u.active_s, u.busy_s, u.idle_s) = ('2021-04-01 12:00Z'::timestamptz, t.n, t.active, t.busy, t.n - t.busy)
         AND abs(u.utilization_percent - CASE WHEN t.active > 0 THEN 100.0 * t.busy / t.active ELSE 0 END) < 1e-9) AS same
  FROM mals_utilization('2021-04-01 12:00Z', '2021-04-01 13:30Z') u
  FULL JOIN (SELECT agent, count(*) AS n, count(*) FILTER (WHERE busy) AS busy, count(*) FILTER (WHERE active) AS active FROM truth GROUP BY 1) t ON u.agent_id = t.agent;
SELECT width, count(*), bool_and((u.total_s, u.active_s, u.busy_s) = (t.n, t.active, t.busy)) AS same
  FROM (VALUES (interval '1 hour'), ('25 minutes'), ('1 day'), ('7 seconds')) AS w (width),
       LATERAL mals_utilization('2021-04-01 12:00Z', '2021-04-01 13:30Z', width) u
  FULL JOIN LATERAL (SELECT agent, date_bin(width, second, '2000-01-01 00:00Z') AS b, count(*) AS n, count(*) FILTER (WHERE busy) AS busy, count(*) FILTER (WHERE active) AS active FROM truth GROUP BY 1, 2) t
    ON u.agent_id = t.agent AND u.bucket = t.b
  GROUP BY 1 ORDER BY 1;
-- a day is 24 hours in UTC, also where the session's clocks go forward or back
SET LOCAL timezone = 'America/New_York';
SELECT count(*), bool_and(extract(epoch FROM bucket) % 86400 = 0 AND total_s = 86400) AS days FROM mals_utilization('2021-03-10Z', '2021-04-02Z', '1 day');
SET LOCAL timezone = 'UTC';
-- an agent with nothing but a log entry, one that works since yesterday, none at all
INSERT INTO mals.logs (ts, agent_id, message, category, metadata) VALUES ('2021-05-02 12:00Z', 'u-idle', 'x', NULL, '{}'), ('2021-05-01 23:00Z', 'u-long', 'x', 'experiment_start', '{"experiment_id": 1}');
SELECT * FROM mals_utilization('2021-05-02', '2021-05-03');
SELECT agent_id, bucket, total_s, busy_s FROM mals_utilization('2021-05-02 01:00Z', '2021-05-02 04:30Z', '2 hours');
SELECT count(*) FROM mals_utilization('2021-06-01', '2021-06-02');
SELECT count(*) FROM mals_utilization('2021-05-03', '2021-05-02');

-- mals_latency
SELECT g.name, f.field, count(*), bool_and((l.entries, l.p50, l.p95, l.p99, l.max) = (p.n, p.p50, p.p95, p.p99, p.most) AND abs(l.avg - p.mean) < 1e-9) AS same
  FROM (VALUES ('agent'), ('category'), ('source'), ('session'), ('kind'), ('meta.kind'), ('meta.deep.ms'), ('nothing')) AS g (name), (VALUES ('duration_ms'), ('deep.ms'), ('meta.deep.ms')) AS f (field),
       LATERAL mals_latency(g.name, f.field, 'agent:u-*', '2021-04-01 06:00Z', '2021-04-02') l
  FULL JOIN LATERAL (
    SELECT key, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS p50, percentile_cont(0.95) WITHIN GROUP (ORDER BY v) AS p95, percentile_cont(0.99) WITHIN GROUP (ORDER BY v) AS p99, max(v) AS most, avg(v) AS mean
      FROM (SELECT CASE g.name WHEN 'agent' THEN agent_id WHEN 'category' THEN category WHEN 'source' THEN source WHEN 'session' THEN session_key WHEN 'meta.deep.ms' THEN metadata #>> '{deep,ms}' WHEN 'nothing' THEN NULL ELSE metadata->>'kind' END AS key,
                   CASE WHEN f.field <> 'duration_ms' THEN (metadata #>> '{deep,ms}')::float8 WHEN jsonb_typeof(metadata->'duration_ms') = 'number' THEN (metadata->>'duration_ms')::float8 END AS v
              FROM mals.logs WHERE agent_id LIKE 'u-%' AND ts >= '2021-04-01 06:00Z' AND ts < '2021-04-02') x WHERE v IS NOT NULL GROUP BY 1) p
    ON COALESCE(l.key, '-') = COALESCE(p.key, '-')
  GROUP BY 1, 2 ORDER BY 1, 2;
INSERT INTO mals.logs (agent_id, message, metadata) SELECT 'u-numbers', 'x', jsonb_build_object('n', n) FROM unnest('{1e400,-1e400,1e-400,-3,1,2,1e140}'::numeric[]) n;
SELECT key, entries, p50, max FROM mals_latency(field => 'n', query => 'agent:u-numbers');
SELECT * FROM mals_latency(NULL, NULL, 'agent:nobody');

-- mals_sparkline
SELECT mals_sparkline('{0,1,2,3,4,5,6,7}'), mals_sparkline('{-5,0,5}'), mals_sparkline('{3,3}'), mals_sparkline('{0,0.001,100}'), mals_sparkline('{1,NULL,NaN,Infinity,-Infinity,2}'), mals_sparkline('{1e308,-1e308,0}');
SELECT mals_sparkline('{}') = '' AS empty, mals_sparkline(NULL) IS NULL AS none, mals_sparkline('{NULL}') = ' ' AS blank, mals_sparkline('{Infinity}');

\set VERBOSITY terse
SAVEPOINT s;
SELECT mals_utilization(until => 'infinity'); ROLLBACK TO s;
SELECT mals_utilization('-infinity'); ROLLBACK TO s;
SELECT mals_utilization(bucket => '0'); ROLLBACK TO s;
SELECT mals_utilization(bucket => '-1 hour'); ROLLBACK TO s;
SELECT mals_utilization(bucket => '1 month'); ROLLBACK TO s;
SELECT mals_utilization(bucket => '0.5 seconds'); ROLLBACK TO s;
SELECT mals_latency(''); ROLLBACK TO s;
SELECT mals_latency('meta.'); ROLLBACK TO s;
SELECT mals_latency('level'); ROLLBACK TO s;
SELECT mals_latency(field => ''); ROLLBACK TO s;
SELECT mals_latency(query => 'level:loud'); ROLLBACK TO s;
ROLLBACK;
