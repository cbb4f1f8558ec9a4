-- Fills the demo: real logs of this machine, and what six kinds of agents send.
\ir settings.psql
\set ECHO none
\echo
\echo '=== 1. Logs go in ==='
\echo
\echo 'Entries are kept for 30 days; those of the package tools for ever, whose logs may be older.'
SELECT mals_set_retention(NULL, agent_id => agent)
  FROM unnest('{dpkg,apt,update-alternatives}'::text[]) AS agent \g /dev/null
\echo
\echo 'What the package tools logged on this machine, made JSON by awk and copied into mals.inbox:'
\set QUIET off
\copy mals.inbox FROM PROGRAM 'test/demo/machine-logs'
\set QUIET on
SELECT mals_count('agent:dpkg') = 0 AS no_dpkg_log \gset
\if :no_dpkg_log
\echo '(No /var/log/dpkg.log here that can be read: going on without.)'
\endif

\echo
\echo 'Six kinds of agents send JSON as they always did: mals knows their names for time, level, agent …'
\set QUIET off
-- fleet-logger: POST /ingest
INSERT INTO mals.inbox
SELECT jsonb_build_object(
         'timestamp', round(extract(epoch FROM now() - i * interval '71 seconds'), 3),
         'agent', (ARRAY['orchestrator', 'planner', 'worker-1', 'worker-2'])[1 + i % 4],
         'level', CASE WHEN i % 211 = 0 THEN 'ERROR' WHEN i % 37 = 0 THEN 'WARNING' ELSE 'INFO' END,
         'message', CASE WHEN i % 211 = 0 THEN format('Task t-%s failed: no worker answered within %s s', i, 30 + i % 5)
                         WHEN i % 37 = 0 THEN format('Queue is %s%% full', 80 + i % 20)
                         ELSE 'Task completed successfully' END,
         'context', jsonb_build_object('task_id', format('t-%s', i), 'duration_ms', 20 + i * 7919 % 900),
         'trace_id', format('req-abc-%s', i / 4),
         'session_id', format('sess-%s', i / 100))
  FROM generate_series(1, 2400) i;

-- An ELK stack's JSON, with exceptions
INSERT INTO mals.inbox
SELECT jsonb_build_object(
         'timestamp', to_char((now() - i * interval '83 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
         'agent_name', format('scraper_%s', 1 + i % 3),
         'event_type', CASE WHEN i % 97 = 0 THEN 'task_failed' ELSE 'task_processing' END,
         'severity', CASE WHEN i % 97 = 0 THEN 'ERROR' ELSE 'INFO' END,
         'message', CASE WHEN i % 97 = 0 THEN format('Task %s failed', md5(i::text)) ELSE format('Processing task %s', md5(i::text)) END,
         'metadata', jsonb_build_object('task_id', md5(i::text), 'priority', 'high') || CASE WHEN i % 97 = 0 THEN
           '{"exception": {"type": "ValueError", "message": "Invalid input", "traceback": ["Traceback (most recent call last):", "  File \"scraper/parse.py\", line 88, in parse_row", "    return float(cell)", "ValueError: Invalid input"]}}'
           ELSE '{}'::jsonb END)
  FROM generate_series(1, 2000) i;

-- MADSci: POST /event, levels as Python's numbers
INSERT INTO mals.inbox
SELECT jsonb_build_object(
         'event_type', CASE WHEN i % 60 = 0 THEN 'LOG_ERROR' ELSE 'LOG_INFO' END,
         'log_level', CASE WHEN i % 60 = 0 THEN 40 ELSE 20 END,
         'event_timestamp', to_char((now() - i * interval '29 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
         'event_data', CASE WHEN i % 60 = 0 THEN format('Node robot-arm lost its gripper after %s moves', i * 3)
                            ELSE format('Plate %s moved to slot %s', 1000 + i, 1 + i % 12) END,
         'agent_id', 'robot-arm', 'alert', false)
  FROM generate_series(1, 400) i;

-- InfraFabric's log schema
INSERT INTO mals.inbox
SELECT jsonb_build_object(
         'timestamp', to_char((now() - i * interval '157 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
         'level', CASE WHEN i % 250 = 0 THEN 'FATAL' ELSE 'INFO' END,
         'correlation_id', format('req-%s', md5(i::text)), 'agent_id', format('haiku-%s', 1 + i % 2), 'component', 'redis_bus',
         'message', CASE WHEN i % 250 = 0 THEN format('Redis at 10.0.0.%s:6379 refused the connection', i % 7 + 2)
                         ELSE format('Task task:%s claimed in %s ms', i, 1 + i % 9) END,
         'context', jsonb_build_object('task_id', format('task:%s', i), 'batch_size', 100),
         'hostname', 'agent-node-01', 'tags', jsonb_build_array('redis', 'task-processing'))
  FROM generate_series(1, 1000) i;

-- A trading bot that logs by columns
INSERT INTO mals.logs (agent_id, level, category, session_key, source, message, metadata, ts)
SELECT 'crypto', CASE WHEN i % 90 = 0 THEN 'warn' ELSE 'info' END::mals_level, 'trading', 'agent:crypto:discord', 'openclaw',
       CASE WHEN i % 90 = 0 THEN format('Slippage of %s%% on ETH/USDC', 1 + i % 4) ELSE format('Order %s placed', 500000 + i) END,
       jsonb_build_object('pair', 'ETH/USDC', 'price', 3000 + i * 17 % 250), now() - i * interval '240 seconds'
  FROM generate_series(1, 700) i;
\set QUIET on

\echo
\echo 'One request seen by four agents; each entry names its parent:'
BEGIN;
SELECT mals_set_traceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') \g /dev/null
SELECT mals_log('gateway', 'POST /trips', category => 'http', ts => now() - interval '5 minutes') AS root \gset
SELECT mals_log('planner', 'Plan a trip to Lisbon', parent_id => :'root', ts => now() - interval '5 minutes' + '12 ms') AS plan \gset
SELECT mals_log('llm', 'Completion of 512 tokens', parent_id => :'plan', metadata => '{"duration_ms": 840, "model": "small"}',
                ts => now() - interval '5 minutes' + '870 ms') AS completion \gset
SELECT mals_log('planner', 'Search flights', parent_id => :'plan', ts => now() - interval '5 minutes' + '900 ms') AS search \gset
SELECT mals_log('flights', 'Upstream timeout after 2000 ms', 'warn', parent_id => :'search', ts => now() - interval '5 minutes' + '2910 ms') AS slow \gset
SELECT mals_log('flights', 'Retry 1: 14 flights', parent_id => :'search', ts => now() - interval '5 minutes' + '3400 ms') AS retry \gset
SELECT mals_log('gateway', '201 Created', parent_id => :'root', metadata => '{"status": 201, "duration_ms": 3460}',
                ts => now() - interval '5 minutes' + '3460 ms') AS answer \gset
SELECT mals_set_traceparent(NULL) \g /dev/null
COMMIT;
SELECT format('7 entries of trace %s', '0af76519-16cd-43dd-8448-eb211c80319c') AS logged;

\echo 'OpenTelemetry, as an exporter posts it:'
SELECT mals_log_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object(
  'resource', '{"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]}'::jsonb,
  'scopeLogs', jsonb_build_array(jsonb_build_object('scope', '{"name": "shop.payment"}'::jsonb,
    'logRecords', jsonb_agg(jsonb_build_object(
      'timeUnixNano', trunc(extract(epoch FROM now() - i * interval '50 seconds') * 1000000)::text || '000',
      'severityNumber', CASE WHEN i % 100 = 0 THEN 17 ELSE 9 END,
      'body', jsonb_build_object('stringValue', CASE WHEN i % 100 = 0 THEN format('Card declined for order %s', 7000 + i)
                                                     ELSE format('Order %s paid', 7000 + i) END),
      'attributes', jsonb_build_array(jsonb_build_object('key', 'http.status', 'value',
        jsonb_build_object('intValue', CASE WHEN i % 100 = 0 THEN '402' ELSE '200' END)))))))))))
  AS otlp_records
  FROM generate_series(1, 500) i;

\echo 'Four mistakes made here on purpose, so that this server''s own log has something to say:'
\set VERBOSITY terse
\set ON_ERROR_STOP off
SELECT 1 / 0;
SELECT * FROM no_such_table_1;
SELECT * FROM no_such_table_2;
SELECT 'x'::int;
\set ON_ERROR_STOP on
\set VERBOSITY default

\echo
\echo 'And that log, read by plain SQL:'
\set QUIET off
CREATE TEMP TABLE server_log (line text);
COPY server_log FROM :'log' (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02');
INSERT INTO mals.logs (ts, level, agent_id, message, category, source, metadata)
SELECT p[1]::timestamptz,
       CASE p[4] WHEN 'LOG' THEN 'info' WHEN 'STATEMENT' THEN 'debug' WHEN 'DETAIL' THEN 'debug' WHEN 'HINT' THEN 'debug'
                 WHEN 'CONTEXT' THEN 'debug' ELSE p[4] END,
       'postgres', p[5], lower(p[4]), 'server log', jsonb_strip_nulls(jsonb_build_object('pid', p[2]::int, 'client', p[3]))
  FROM server_log,
       regexp_match(line, '^(\d\S+ \S+ \S+) \[(\d+)\] (?:(\S+@\S+) \S* )?([A-Z]+):  (.*)$') p
 WHERE p IS NOT NULL;
\set QUIET on
SELECT mals_count() AS entries_now;
