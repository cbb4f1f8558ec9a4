-- JSON entries: the payloads that existing systems send, aliases and their
-- order, values that do not fit, errors. What is not a column is in metadata.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET mals.max_past = '-1';

BEGIN;

-- Logs an entry and returns what was stored, without what the server made up.
CREATE FUNCTION logged(entry jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  entry_id uuid := mals_log_json(entry);
  stored mals.logs;
BEGIN
  SELECT * INTO STRICT stored FROM mals.logs WHERE logs.id = entry_id;
  RETURN jsonb_strip_nulls(
      to_jsonb(stored)
      - '{id,ts,created_at,fingerprint,resolved,metadata}'::text[])
    || jsonb_build_object('metadata', stored.metadata)
    || CASE WHEN abs(extract(epoch FROM stored.created_at - stored.ts)) > 60
            THEN jsonb_build_object('ts', stored.ts) ELSE '{}' END;
END $$;

-- The same, only what the entry's test is about.
CREATE FUNCTION logged(entry jsonb, VARIADIC columns text[]) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_object_agg(key, value), '{}')
  FROM jsonb_each(logged('{"agent_id": "a", "message": "m"}' || entry))
  WHERE key = ANY (columns)
$$;

-- Logs entries that must fail and returns the error.
CREATE FUNCTION failure(entries jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  hint text;
BEGIN
  IF jsonb_typeof(entries) = 'array' THEN
    PERFORM mals_log_batch(entries);
  ELSE
    PERFORM mals_log_json(entries);
  END IF;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN format('%s %s%s', SQLSTATE, message, CASE WHEN hint = '' THEN ' (no hint)' END);
END $$;

-- Payloads of existing systems: every column that is expected, metadata exactly.
CREATE TEMP TABLE payload (line jsonb);
INSERT INTO payload VALUES
  ($json${"name": "fleet-logger POST /ingest", "entry": {"timestamp": 1735689600.123, "agent": "orchestrator", "level": "INFO", "message": "Task completed successfully", "context": {"task_id": "t-42", "duration_ms": 234}, "trace_id": "req-abc-123", "session_id": "sess-xyz-789"}, "expect": {"agent_id": "orchestrator", "level": "info", "ts": "2025-01-01T00:00:00.123Z", "correlation_id": "req-abc-123", "session_key": "sess-xyz-789", "trace_id": null, "metadata": {"task_id": "t-42", "duration_ms": 234}, "source": "api"}}$json$),
  ($json${"name": "fleet-logger, epoch only", "entry": {"timestamp": 1735689600.0, "agent": "my-agent", "level": "INFO", "message": "Hello from the fleet", "trace_id": "trace-001"}, "expect": {"agent_id": "my-agent", "level": "info", "ts": "2025-01-01T00:00:00Z", "correlation_id": "trace-001"}}$json$),
  ($json${"name": "ELK stack JSON schema", "entry": {"timestamp": "2023-01-01T12:00:00.123Z", "agent_name": "test_agent_1", "event_type": "task_processing", "severity": "INFO", "message": "Processing task abc123", "metadata": {"task_id": "abc123", "priority": "high", "correlation_id": "abc123", "exception": {"type": "ValueError", "message": "Invalid input", "traceback": ["Traceback (most recent call last):", "  File \"a.py\", line 1, in f"]}}}, "expect": {"agent_id": "test_agent_1", "level": "info", "category": "task_processing", "correlation_id": "abc123", "ts": "2023-01-01T12:00:00.123Z"}}$json$),
  ($json${"name": "MADSci POST /event", "entry": {"event_type": "LOG_INFO", "log_level": 20, "event_data": "Event message or data", "alert": false, "agent_id": "node-1"}, "expect": {"agent_id": "node-1", "level": "info", "message": "Event message or data", "category": "LOG_INFO", "metadata": {"alert": false}}}$json$),
  ($json${"name": "MADSci event with object data and a Python level", "entry": {"event_id": "01JJ4S0WNGEF5FQAZG5KDGJRBV", "event_type": "node_create", "log_level": 30, "event_timestamp": "2025-03-01T08:00:00", "source": {"node_id": "01JJ4S0WNGEF5FQAZG5KDGJRBV"}, "event_data": {"node_name": "robot-arm"}, "agent_name": "robot-arm"}, "expect": {"agent_id": "robot-arm", "level": "warn", "message": "node_create", "category": "node_create", "ts": "2025-03-01T08:00:00Z"}}$json$),
  ($json${"name": "InfraFabric log-schema.json", "entry": {"timestamp": "2025-11-30T12:34:56.789Z", "level": "FATAL", "correlation_id": "req-0123456789abcdef0123456789abcdef", "agent_id": "A1-haiku-001", "component": "redis_bus", "message": "Task claimed successfully", "context": {"task_id": "task:001", "duration_ms": 2.1, "batch_size": 100}, "if_citation": "if://log/redis-task-claim", "tags": ["redis", "task-processing"], "hostname": "agent-node-01", "service": "infrafabric", "severity": "high"}, "expect": {"agent_id": "A1-haiku-001", "level": "critical", "source": "redis_bus", "correlation_id": "req-0123456789abcdef0123456789abcdef", "trace_id": "01234567-89ab-cdef-0123-456789abcdef", "metadata": {"task_id": "task:001", "duration_ms": 2.1, "batch_size": 100, "if_citation": "if://log/redis-task-claim", "tags": ["redis", "task-processing"], "hostname": "agent-node-01", "service": "infrafabric", "severity": "high"}}}$json$),
  ($json${"name": "MALS POST /logs", "entry": {"agent_id": "crypto", "message": "Order placed", "level": "info", "category": "trading", "session_key": "agent:crypto:discord", "source": "openclaw", "metadata": {"pair": "ETH/USDC"}, "trace_id": "6f2a0c9e-2b1f-4a57-9a4e-111122223333", "parent_id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"}, "expect": {"agent_id": "crypto", "level": "info", "category": "trading", "source": "openclaw", "session_key": "agent:crypto:discord", "trace_id": "6f2a0c9e-2b1f-4a57-9a4e-111122223333", "parent_id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "metadata": {"pair": "ETH/USDC"}}}$json$),
  ($json${"name": "MALS minimal", "entry": {"agent_id": "crypto", "message": "Bot started"}, "expect": {"agent_id": "crypto", "level": "info", "source": "api", "category": null, "metadata": {}}}$json$),
  ($json${"name": "metadata that is not an object", "entry": {"agent_id": "a", "message": "m", "metadata": [1, 2]}, "expect": {"metadata": {"value": [1, 2]}}}$json$),
  ($json${"name": "unknown keys are kept", "entry": {"agent_id": "a", "message": "m", "gpu": "H200", "metadata": {"x": 1}}, "expect": {"metadata": {"x": 1, "gpu": "H200"}}}$json$);
CREATE TEMP TABLE result AS
  SELECT line ->> 'name' AS name, line -> 'expect' AS expect, mals_log_json(line -> 'entry') AS id
  FROM payload;
SELECT name, count(*) AS columns,
  jsonb_object_agg(key, column_value) FILTER (WHERE column_value IS DISTINCT FROM expected) AS wrong
FROM result
JOIN mals.logs USING (id),
  jsonb_each(expect) AS e(key, value),
  LATERAL (SELECT to_jsonb(logs) -> key,
    CASE key WHEN 'ts' THEN to_jsonb((value #>> '{}')::timestamptz) ELSE value END) AS v(column_value, expected)
GROUP BY name ORDER BY name COLLATE "C";

-- The payload whose objects end up in metadata in no fixed column.
SELECT message, metadata FROM mals.logs JOIN result USING (id)
  WHERE name LIKE 'MADSci event%';

-- A column's own name wins over its aliases, these in their order; losers are kept.
SELECT logged(entry, VARIADIC columns) FROM (VALUES
  ('{"agent_id": "1", "agent": "2", "agent_name": "3"}'::jsonb, '{agent_id,metadata}'::text[]),
  ('{"agent_id": null, "agent": "2", "agent_name": "3"}', '{agent_id,metadata}'),
  ('{"agent_id": null, "agent": null, "agent_name": "3"}', '{agent_id,metadata}'),
  ('{"message": "1", "msg": "2", "body": "3", "event_data": "4"}', '{message,metadata}'),
  ('{"message": null, "msg": "2", "body": "3", "event_data": "4"}', '{message,metadata}'),
  ('{"message": null, "body": "3", "event_data": "4"}', '{message,metadata}'),
  ('{"message": null, "event_data": "4"}', '{message,metadata}'),
  ('{"level": "error", "severity": "warn", "log_level": 10, "severity_text": "info"}', '{level,metadata}'),
  ('{"severity": "warn", "log_level": 10, "severity_text": "info"}', '{level,metadata}'),
  ('{"severity": "high", "log_level": 10, "severity_text": "info"}', '{level,metadata}'),
  ('{"severity": ["high"], "log_level": null, "severity_text": "fatal"}', '{level,metadata}'),
  ('{"ts": "2025-01-01T00:00:01Z", "timestamp": 2, "time": 3, "event_timestamp": 4, "created_at": 5}', '{ts,metadata}'),
  ('{"timestamp": "2025-01-01T00:00:02Z", "time": 3, "event_timestamp": 4, "created_at": 5}', '{ts,metadata}'),
  ('{"time": "2025-01-01T00:00:03Z", "event_timestamp": 4, "created_at": 5}', '{ts,metadata}'),
  ('{"event_timestamp": "2025-01-01T00:00:04Z", "created_at": 5}', '{ts,metadata}'),
  ('{"created_at": "2025-01-01T00:00:05Z"}', '{ts,metadata}'),
  ('{"category": "1", "event_type": "2"}', '{category,metadata}'),
  ('{"event_type": "2"}', '{category,metadata}'),
  ('{"source": "1", "component": "2"}', '{source,metadata}'),
  ('{"component": "2"}', '{source,metadata}'),
  ('{"session_key": "1", "session_id": "2"}', '{session_key,metadata}'),
  ('{"session_id": "2"}', '{session_key,metadata}')) AS v(entry, columns);

-- Levels by name, alias and Python's number.
SELECT level, logged(jsonb_build_object('level', level), 'level') ->> 'level' AS stored
  FROM jsonb_array_elements('["Warning", " err ", "30", 5, 0, 10, 29, 30.0, 4e1, 99, "CRIT"]') AS level;

-- Time: ISO 8601, no zone is UTC; seconds since 1970 with fractions, rounded to microseconds.
SET timezone = 'Asia/Tokyo';
SELECT ts, (logged(jsonb_build_object('ts', ts), 'ts') ->> 'ts')::timestamptz AT TIME ZONE 'UTC' AS utc
  FROM jsonb_array_elements('["2025-01-01T12:00:00.123456Z", "2025-01-01T12:00:00", "2025-01-01T12:00:00+02:00",
    1735732800, 1735732800.5, 1735732800.0000005, 1735732800.0000004, 1735732799.9999999, 1.7357328e9]') AS ts;
SET timezone = 'UTC';
SELECT logged('{"ts": -0.5}', 'ts', 'metadata'), logged('{"ts": -86400.0000015}', 'ts', 'metadata');
-- what is no time, and what no timestamp can hold
SELECT logged(entry, 'ts', 'metadata') FROM (VALUES
  ('{"ts": "soon", "timestamp": true, "time": {"at": 1}, "event_timestamp": "2025-01-01T00:00:00Z"}'::jsonb),
  ('{"ts": "soon", "created_at": "2025-01-01T00:00:00Z"}'),
  ('{"created_at": "soon"}'),
  ('{"ts": 1e30, "timestamp": 5, "created_at": 6}'),
  ('{"ts": -99999999999999}'),
  ('{"ts": 9224318016000}'),
  ('{"ts": 1e30, "metadata": {"mals.ts": "mine"}}')) AS v(entry);

-- Ids: a uuid in any spelling; an event_id only when it is a UUIDv7.
SELECT mals_log_json('{"agent_id": "a", "message": "m", "id": "01941F297C7B70008000000000000001"}');
SELECT mals_log_json('{"agent_id": "a", "message": "m", "event_id": "01941f29-7c7b-7000-8000-000000000002"}');
SELECT mals_log_json('{"agent_id": "a", "message": "m", "id": 7, "event_id": "01941f29-7c7b-7000-8000-000000000003"}');
SELECT id, ts, metadata FROM mals.logs
  WHERE id BETWEEN '01941f29-7c7b-7000-8000-000000000001' AND '01941f29-7c7b-7000-8000-000000000003' ORDER BY id;
SELECT logged(entry, 'metadata', 'trace_id', 'parent_id', 'correlation_id') FROM (VALUES
  ('{"id": "no uuid"}'::jsonb),
  ('{"event_id": "6f2a0c9e-2b1f-4a57-9a4e-111122223333"}'),
  ('{"parent_id": "{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}"}'),
  ('{"parent_id": "root"}'),
  ('{"parent_id": 5}'),
  ('{"trace_id": "6f2a0c9e2b1f4a579a4e111122223333", "correlation_id": "c"}'),
  ('{"trace_id": "t-1"}'),
  ('{"trace_id": "t-1", "correlation_id": "c"}'),
  ('{"trace_id": "t-1", "correlation_id": 5}'),
  ('{"trace_id": ""}'),
  ('{"trace_id": 12}'),
  ('{"metadata": {"correlation_id": "c"}}'),
  ('{"metadata": {"correlation_id": 5}}'),
  ('{"trace_id": "t-1", "metadata": {"correlation_id": "c"}}')) AS v(entry);

-- A value whose kind does not fit its column stays in metadata, and an alias may fill the column.
SELECT logged(entry, VARIADIC columns) FROM (VALUES
  ('{"source": {"node": 1}, "component": "c"}'::jsonb, '{source,metadata}'::text[]),
  ('{"source": 5}', '{source,metadata}'),
  ('{"category": true, "event_type": ["e"]}', '{category,metadata}'),
  ('{"session_key": [], "session_id": "s"}', '{session_key,metadata}'),
  ('{"correlation_id": {"a": 1}}', '{correlation_id,metadata}'),
  ('{"message": 5, "msg": {"a": 1}, "body": "b"}', '{message,metadata}'),
  ('{"message": "m", "event_data": [1, 2]}', '{message,metadata}'),
  ('{"message": "m", "event_data": "data"}', '{message,metadata}')) AS v(entry, columns);

-- Without a message: the one in event_data, then the event type.
SELECT logged('{"agent_id": "a"}' || entry) - '{agent_id,level,source}'::text[] FROM (VALUES
  ('{"event_data": {"message": "in data", "x": 1}}'::jsonb),
  ('{"event_data": {"message": "in data"}}'),
  ('{"event_data": {"message": "in data"}, "metadata": {"message": "in metadata"}}'),
  ('{"event_data": {"message": 5}, "event_type": "e"}'),
  ('{"event_data": {"x": 1}, "event_type": "e"}'),
  ('{"message": "own", "event_data": {"message": "in data"}}'),
  ('{"message": "", "event_type": "e"}')) AS v(entry);

-- Metadata merges in order, first wins; a key that is taken gets its source before it.
SELECT logged(entry, 'metadata') -> 'metadata' FROM (VALUES
  ('{"metadata": {"k": 1, "a": 1}, "context": {"k": 2, "b": 2}, "attributes": {"k": 3, "c": 3},
     "event_data": {"k": 4, "d": 4}, "k": 5, "e": 5}'::jsonb),
  ('{"metadata": {"k": 1, "context.k": 2}, "context": {"k": 3}}'),
  ('{"metadata": {"k": 1, "entry.k": 2, "entry.entry.k": 3}, "k": 4, "entry.k": 5}'),
  ('{"metadata": "text"}'),
  ('{"metadata": 5, "context": {"value": 6}}'),
  ('{"metadata": false}'),
  ('{"metadata": [], "value": 7}'),
  ('{"metadata": null, "context": null, "attributes": null, "event_data": null, "source": null}'),
  ('{"metadata": {}, "context": {}}'),
  ('{"metadata": {}, "context": {"a": {"b": [1, {"c": null}]}}}'),
  ('{"context": "c", "attributes": [1]}'),
  ('{"unknown": null, "": "empty", "ünïcödé": "☃", "Level": "error"}'),
  ('{"metadata": {"message": "m", "level": "fatal", "n": 12345678901234567890.123, "t": true}, "f": false}'),
  ('{"fingerprint": 5, "resolved": true, "resolved_at": "2025-01-01", "resolved_by": "me", "created_at": 5, "ts": 1735689600}')) AS v(entry);

-- Big and deep objects.
SELECT count(*), count(*) FILTER (WHERE key LIKE 'entry.%') AS renamed, sum(value::int)
FROM (SELECT logged(
    (SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 100000) i)
    || jsonb_build_object('metadata', (SELECT jsonb_object_agg('k' || 2 * i, 0) FROM generate_series(1, 100000) i)),
    'metadata') -> 'metadata') AS v(metadata), jsonb_each_text(metadata);
CREATE FUNCTION nested(depth int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT (repeat('{"a": [', depth) || 'null' || repeat(']}', depth))::jsonb
$$;
SELECT depth, logged(jsonb_build_object('deep', nested(depth), 'source', nested(depth), 'context', nested(depth)), 'metadata') -> 'metadata'
    = nested(depth) || jsonb_build_object('deep', nested(depth), 'source', nested(depth)) AS kept
  FROM unnest('{100,1000}'::int[]) AS depth;
SELECT count(*) AS keys, bool_and(value = repeat('x', length(key)) || key) AS kept,
  bool_and(metadata ->> key = value) AS found
FROM (SELECT logged(jsonb_build_object('context', '{"c": 1}'::jsonb)
    || (SELECT jsonb_object_agg(repeat('k', i), repeat('x', i) || repeat('k', i)) FROM generate_series(1, 200) i),
    'metadata') #- '{metadata,c}' -> 'metadata') AS v(metadata), jsonb_each_text(metadata);

-- Errors name the field, in a batch the entry too, and have a hint.
SELECT failure(entries) FROM (VALUES
  ('"text"'::jsonb),
  ('5'),
  ('null'),
  ('{"message": "m"}'),
  ('{"agent_id": "a"}'),
  ('{"agent_id": "", "agent": "b", "message": "m"}'),
  ('{"agent_id": 5, "agent": "b", "message": "m"}'),
  ('{"agent": ["a"], "message": "m"}'),
  ('{"agent_name": {"a": 1}, "message": "m"}'),
  ('{"agent_id": true, "message": "m"}'),
  ('{"agent_id": "a", "message": "m", "level": "loud"}'),
  ('{"agent_id": "a", "message": "m", "level": ""}'),
  ('{"agent_id": "a", "message": "m", "level": 20.5, "severity": "warn"}'),
  ('{"agent_id": "a", "message": "m", "level": -1}'),
  ('{"agent_id": "a", "message": "m", "level": true}'),
  ('{"agent_id": "a", "message": "m", "level": {"name": "info"}}'),
  ('{"agent_id": "a", "message": "m", "log_level": ["info"]}'),
  ('{"agent_id": "a", "message": "m", "severity": "high", "severity_text": "loud"}'),
  ('{"agent_id": "a", "message": "m", "ts": "infinity"}'),
  ('{"agent_id": "a", "message": "m", "timestamp": "-Infinity"}'),
  ('{"agent_id": "a", "message": "m", "created_at": "infinity"}'),
  ('{"agent_id": "a", "message": "m", "id": "6f2a0c9e-2b1f-4a57-9a4e-111122223333"}'),
  ('[{"agent_id": "a", "message": "m"}, {"agent_id": "a", "message": "m", "level": "loud"}]'),
  ('[{"agent_id": "a", "message": "m"}, {"agent_id": 5, "message": "m"}]'),
  ('[{"agent_id": "a", "message": "m"}, {"agent_id": "a", "message": "m", "ts": "infinity"}]'),
  ('[{"agent_id": "a", "message": "m"}, {"agent_id": "a"}]'),
  ('[{"agent_id": "a", "message": "m"}, 5]'),
  ('[{"agent_id": "a", "message": "m"}, []]'),
  ('[{"agent_id": "a", "message": "m"}, null]')) AS v(entries);

-- A batch is all or nothing; one object is a batch of one.
SELECT mals_log_batch('[{"agent_id": "batch", "message": "1"}, {"agent": "batch", "msg": "2"}]');
SELECT mals_log_batch('{"agent_id": "batch", "message": "3"}');
SELECT mals_log_batch('[]');
SELECT failure('[{"agent_id": "batch", "message": "4"}, {"agent_id": "batch", "message": "5", "level": "x"}]');
SELECT message FROM mals.logs WHERE agent_id = 'batch' ORDER BY message;

ROLLBACK;

-- An error as it is shown.
SELECT mals_log_json('{"agent_id": "a", "message": "m", "level": "loud"}');
SELECT mals_log_json('{"agent_id": 5, "message": "m"}');
SELECT mals_log_json('[1]');
