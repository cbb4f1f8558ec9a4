-- Log entries of five days up to now for the dashboards: agents at work, tasks, sessions, traces,
-- and one kind of error for each state. Template by template, its number of entries:
--   Connection to … refused   recurring   all the time
--   Disk … is full            new         20 in the last two hours
--   Login of … failed         regressed   5 three days ago, resolved, 3 now
--   Cache storm …             ignored     10 in the last hours
--   Queue … is stuck          resolved    10 in the last hours
\set QUIET on
SELECT date_trunc('second', clock_timestamp()) AS base \gset

INSERT INTO mals.logs (ts, level, agent_id, message, category, source, session_key, trace_id, correlation_id, metadata)
SELECT :'base'::timestamptz - (20000 - i) * interval '21.6 seconds',
       CASE WHEN i % 50 = 0 THEN 'error' WHEN i % 997 = 0 THEN 'critical' WHEN i % 20 = 3 THEN 'warn'
            WHEN i % 7 = 0 THEN 'debug' WHEN i % 11 = 0 THEN 'trace' ELSE 'info' END::mals_level,
       CASE WHEN i % 100 = 7 THEN $$o'neil "the" \ *bot$$ ELSE 'agent-' || i % 5 END,
       CASE WHEN i % 50 = 0 OR i % 997 = 0 THEN format('Connection to 10.0.0.%s:5432 refused', i % 250)
            WHEN i % 13 = 0 THEN E'Said "it''s 50% \\ off" <b>to</b>\nall ' || i
            ELSE format('Step %s done in %s ms', i, i % 900) END,
       CASE WHEN i % 40 = 1 THEN 'task_started' WHEN i % 40 = 6 THEN 'task_completed' WHEN i % 400 = 26 THEN 'task_failed'
            WHEN i % 40 = 21 THEN 'task_processing' WHEN i % 4000 = 3999 THEN 'deploy' WHEN i % 3 = 0 THEN 'http' END,
       (ARRAY['api', 'scheduler', 'worker'])[1 + i % 3], 'session-' || i / 200,
       CASE WHEN i % 2 = 0 THEN md5('trace' || i / 10)::uuid END, CASE WHEN i % 4 = 1 THEN 'req-' || i / 10 END,
       jsonb_build_object('duration_ms', i % 900, 'task_id', 'task-' || i / 20, 'host', 'node-' || i % 3)
  FROM generate_series(1, 20000) AS i;

INSERT INTO mals.logs (ts, level, agent_id, message)
SELECT :'base'::timestamptz - i * interval '6 minutes', 'error', 'agent-2', format('Disk %s is full', i) FROM generate_series(0, 19) i
UNION ALL
SELECT :'base'::timestamptz - interval '3 days' - i * interval '1 minute', 'error', 'agent-3', format('Login of %s failed', 1000 + i) FROM generate_series(1, 5) i
UNION ALL
SELECT :'base'::timestamptz - i * interval '10 minutes', 'error', 'agent-1', format('Cache storm %s', i) FROM generate_series(1, 10) i
UNION ALL
SELECT :'base'::timestamptz - i * interval '10 minutes', 'critical', 'agent-4', format('Queue %s is stuck', i) FROM generate_series(1, 10) i;
SELECT mals_resolve_error(mals_fingerprint('Login of 1 failed'), 'ann') \g /dev/null
SELECT mals_resolve_error(mals_fingerprint('Queue 1 is stuck'), 'ann') \g /dev/null
SELECT mals_ignore_error(mals_fingerprint('Cache storm 1')) \g /dev/null
INSERT INTO mals.logs (level, agent_id, message)
SELECT 'error', 'agent-3', format('Login of %s failed', i) FROM generate_series(1, 3) i;

-- One trace as a tree.
BEGIN;
SELECT mals_set_traceparent('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01') \g /dev/null
SELECT mals_log('gateway', 'POST /trips', ts => now()) AS root \gset
SELECT mals_log('planner', 'Plan a trip', parent_id => :'root', ts => now() + '12 ms') AS plan \gset
SELECT mals_log('flights', 'Upstream timeout', 'error', parent_id => :'plan', ts => now() + '900 ms') \g /dev/null
SELECT mals_log('gateway', '201 Created', parent_id => :'root', ts => now() + '910 ms') \g /dev/null
COMMIT;

INSERT INTO mals.alerts (fired_at, rule, count, state, agent_id, attempts, last_error)
VALUES (:'base'::timestamptz - interval '20 minutes', 'disk', 3, 'firing', 'agent-2', 2, 'connection refused');
SELECT mals_heartbeat('agent-0') \g /dev/null
SELECT mals_counter('tasks_total', '{"queue": "mail, \"the\" one"}', 7) \g /dev/null
SELECT mals_gauge('queue_length', 3) \g /dev/null
SELECT mals_observe('task_seconds', 0.3) \g /dev/null
SELECT mals_maintain() \g /dev/null
