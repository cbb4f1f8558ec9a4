-- OTLP/JSON requests: as SDKs and collectors send them, both spellings of the
-- fields, every kind of AnyValue, what is kept in metadata, malformed requests.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET mals.max_past = '-1';

BEGIN;

-- Logs a request and returns what was stored, without what the server made up.
CREATE FUNCTION logged(request jsonb) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
  started timestamptz := clock_timestamp();
  entries bigint;
BEGIN
  entries := mals_log_otlp(request);
  RETURN QUERY SELECT jsonb_strip_nulls(
        to_jsonb(l) - '{id,ts,created_at,fingerprint,resolved,metadata}'::text[])
      || jsonb_build_object('metadata', metadata)
      || CASE WHEN abs(extract(epoch FROM created_at - ts)) > 60
              THEN jsonb_build_object('ts', ts) ELSE '{}' END
    FROM mals.logs AS l WHERE created_at >= started ORDER BY id;
  ASSERT entries = (SELECT count(*) FROM mals.logs WHERE created_at >= started);
END $$;

-- Logs one record and returns what the test is about.
CREATE FUNCTION logged(record jsonb, VARIADIC columns text[]) RETURNS jsonb LANGUAGE sql AS $$
  SELECT coalesce(jsonb_object_agg(key, value), '{}')
  FROM logged(jsonb_build_object('resourceLogs', jsonb_build_array(
      '{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "svc"}}]}}'
      || jsonb_build_object('scopeLogs', jsonb_build_array(jsonb_build_object('logRecords', jsonb_build_array(record)))))))
    AS entry, jsonb_each(entry #- '{metadata,resource}')
  WHERE key = ANY (columns)
$$;

-- Logs a request that must fail and returns the error.
CREATE FUNCTION failure(request jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  hint text;
BEGIN
  PERFORM mals_log_otlp(request);
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN format('%s %s%s', SQLSTATE, message, CASE WHEN hint = '' THEN ' (no hint)' END);
END $$;

-- The example of OpenTelemetry's protocol documentation.
SELECT jsonb_pretty(logged('{"resourceLogs": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
  "scopeLogs": [{
    "scope": {"name": "my.library", "version": "1.0.0",
      "attributes": [{"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}]},
    "logRecords": [{
      "timeUnixNano": "1544712660300000000",
      "observedTimeUnixNano": "1544712660300000000",
      "severityNumber": 10,
      "severityText": "Information",
      "traceId": "5B8EFFF798038103D269B633813FC60C",
      "spanId": "EEE19B7EC3C1B174",
      "body": {"stringValue": "Example log record"},
      "attributes": [
        {"key": "string.attribute", "value": {"stringValue": "some string"}},
        {"key": "boolean.attribute", "value": {"boolValue": true}},
        {"key": "int.attribute", "value": {"intValue": "10"}},
        {"key": "double.attribute", "value": {"doubleValue": 637.704}},
        {"key": "array.attribute", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {"stringValue": "values"}]}}},
        {"key": "map.attribute", "value": {"kvlistValue": {"values": [{"key": "some.map.key", "value": {"stringValue": "some value"}}]}}}
      ]}]}]}]}'));

-- An agent's error with an exception, as SDKs of JavaScript and Go send it; several resources and scopes.
SELECT logged('{"resourceLogs": [
  {"resource": {"attributes": [
      {"key": "service.name", "value": {"stringValue": "planner"}},
      {"key": "process.pid", "value": {"intValue": 4711}}], "droppedAttributesCount": 0},
   "scopeLogs": [
    {"scope": {"name": "agents.tools"}, "schemaUrl": "https://opentelemetry.io/schemas/1.27.0",
     "logRecords": [
      {"timeUnixNano": 1735689600123456789, "observedTimeUnixNano": 1735689600200000000, "severityNumber": 17, "severityText": "ERROR",
       "eventName": "tool.failed", "body": {"stringValue": "Tool call failed"},
       "attributes": [
        {"key": "gen_ai.agent.name", "value": {"stringValue": "researcher"}},
        {"key": "gen_ai.conversation.id", "value": {"stringValue": "conv-5"}},
        {"key": "exception.type", "value": {"stringValue": "TimeoutError"}},
        {"key": "exception.message", "value": {"stringValue": "took 30 s"}},
        {"key": "exception.stacktrace", "value": {"stringValue": "at call (tool.js:10:5)"}},
        {"key": "exception.escaped", "value": {"boolValue": false}}],
       "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "flags": 1, "droppedAttributesCount": 2},
      {"timeUnixNano": "1735689600223456000", "body": {"stringValue": "second"}}]},
    {"logRecords": [{"timeUnixNano": "1735689600323456000", "body": {"stringValue": "third"}}]}],
   "schemaUrl": "https://opentelemetry.io/schemas/1.26.0"},
  {"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": [
    {"timeUnixNano": "1735689600423456000", "body": {"stringValue": "fourth"},
     "attributes": [{"key": "agent.id", "value": {"stringValue": "a-4"}}]}]}]}]}');

-- protobuf's names
SELECT logged('{"resource_logs": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"string_value": "svc"}}], "dropped_attributes_count": 1},
  "schema_url": "r",
  "scope_logs": [{"scope": {"name": "s", "dropped_attributes_count": 2}, "schema_url": "s", "log_records": [{
    "time_unix_nano": "1735689600000000000", "observed_time_unix_nano": "1735689600000001000",
    "severity_number": "SEVERITY_NUMBER_WARN2", "severity_text": "w", "event_name": "e", "flags": 1, "dropped_attributes_count": 3,
    "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
    "body": {"kvlist_value": {"values": [{"key": "a", "value": {"array_value": {"values": [{"int_value": "1"},
      {"double_value": 0.5}, {"bool_value": false}, {"bytes_value": "AAE="}]}}}]}}}]}]}]}');

-- Every kind of value; bytes stay base64, what JSON lacks stays a string.
SELECT value, logged(jsonb_build_object('body', '{"stringValue": ""}'::jsonb, 'attributes',
    jsonb_build_array(jsonb_build_object('key', 'k', 'value', value))), 'metadata') #> '{metadata,k}' AS stored
FROM jsonb_array_elements('[{"stringValue": "5"}, {"stringValue": ""}, {"boolValue": false}, {"intValue": 5}, {"intValue": "-9223372036854775808"},
  {"intValue": 9223372036854775807}, {"doubleValue": 1.50}, {"doubleValue": 5}, {"doubleValue": "NaN"}, {"doubleValue": "-Infinity"},
  {"bytesValue": "aGVsbG8="}, {"arrayValue": {}}, {"arrayValue": {"values": []}},
  {"arrayValue": {"values": [{"arrayValue": {"values": [{"intValue": "1"}, {}]}}, {"kvlistValue": {}}]}},
  {"kvlistValue": {"values": [{"key": "b", "value": {"kvlistValue": {"values": [{"key": "c", "value": {"intValue": "2"}}]}}}, {"key": "a"}]}},
  {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}, {"key": "a", "value": {"intValue": "2"}}]}},
  {}, null, {"stringValue": null}]') AS value;

-- The message is the body: a string as it is, other values as JSON text; without a body the event's name.
SELECT logged(record, 'message', 'category', 'metadata') FROM (VALUES
  ('{"body": {"stringValue": "text"}, "eventName": "e"}'::jsonb),
  ('{"body": {"stringValue": ""}, "eventName": "e"}'),
  ('{"body": {"intValue": "42"}}'),
  ('{"body": {"boolValue": true}}'),
  ('{"body": {"doubleValue": "NaN"}}'),
  ('{"body": {"bytesValue": "AAE="}}'),
  ('{"body": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}}'),
  ('{"body": {"kvlistValue": {"values": [{"key": "event", "value": {"stringValue": "login"}}]}}, "attributes": [{"key": "body", "value": {"intValue": 1}}]}'),
  ('{"body": {}, "eventName": "e"}'),
  ('{"eventName": "e"}'),
  ('{"body": null, "eventName": ""}'),
  ('{}')) AS v(record);

-- The level: the number, else the text, else info; what it does not say is kept.
SELECT record, logged(record, 'level', 'metadata') - 'message' AS stored FROM (VALUES
  ('{"severityNumber": 1}'::jsonb),
  ('{"severityNumber": 5}'),
  ('{"severityNumber": 9, "severityText": "Information"}'),
  ('{"severityNumber": "13"}'),
  ('{"severityNumber": 20}'),
  ('{"severityNumber": 24, "severityText": ""}'),
  ('{"severityNumber": "SEVERITY_NUMBER_FATAL"}'),
  ('{"severityNumber": "SEVERITY_NUMBER_DEBUG4"}'),
  ('{"severityNumber": "SEVERITY_NUMBER_UNSPECIFIED", "severityText": "warning"}'),
  ('{"severityNumber": 0, "severityText": "ERROR3"}'),
  ('{"severityNumber": 25, "severityText": "err"}'),
  ('{"severityNumber": -1}'),
  ('{"severityText": "Critical"}'),
  ('{"severityText": "loud"}'),
  ('{}')) AS v(record);
SET LOCAL mals.level = 'error';
SELECT logged('{}', 'level');
RESET mals.level;

-- Time, ids and numbers; protobuf's defaults are not given.
SELECT record, logged(record, 'ts', 'trace_id', 'metadata') AS stored FROM (VALUES
  ('{"timeUnixNano": "1735689600123456789"}'::jsonb),
  ('{"timeUnixNano": 1735689600123456789, "observedTimeUnixNano": "1735689601000000000"}'),
  ('{"timeUnixNano": "0", "observedTimeUnixNano": 1735689600000000000}'),
  ('{"timeUnixNano": 0, "observedTimeUnixNano": "0"}'),
  ('{"timeUnixNano": "18446744073709551615"}'),
  ('{"traceId": "0AF7651916CD43DD8448EB211C80319C", "spanId": "B7AD6B7169203331"}'),
  ('{"traceId": "00000000000000000000000000000000", "spanId": "0000000000000000"}'),
  ('{"traceId": "", "spanId": ""}'),
  ('{"traceId": "CvdlGRbNQ92ESOshHIAxnA=="}'),
  ('{"flags": 0, "droppedAttributesCount": 0}'),
  ('{"flags": 257, "droppedAttributesCount": "3"}'),
  ('{"vendorField": {"a": [1]}, "span_id": "b", "spanId": "a"}')) AS v(record);

-- The agent and the session, first wins; attributes stay in metadata, where a key that is taken gets its source.
-- What has a fixed place there (body, span_id, resource, scope, exception) is not displaced by an attribute.
SELECT logged(jsonb_build_object('attributes', (
    SELECT jsonb_agg(jsonb_build_object('key', a.key, 'value', a.value)) FROM jsonb_to_recordset(attributes) AS a(key text, value jsonb))),
  'agent_id', 'session_key', 'metadata') FROM (VALUES
  ('[{"key": "agent.id", "value": {"stringValue": "3"}}, {"key": "gen_ai.agent.id", "value": {"stringValue": "2"}},
     {"key": "gen_ai.agent.name", "value": {"stringValue": "1"}}]'::jsonb),
  ('[{"key": "agent.id", "value": {"stringValue": "3"}}, {"key": "gen_ai.agent.id", "value": {"stringValue": "2"}}]'),
  ('[{"key": "agent.id", "value": {"stringValue": "3"}}, {"key": "session.id", "value": {"stringValue": "s"}}]'),
  ('[{"key": "gen_ai.agent.name", "value": {"stringValue": ""}}, {"key": "gen_ai.agent.id", "value": {"intValue": 5}}]'),
  ('[{"key": "session.id", "value": {"stringValue": "s"}}, {"key": "gen_ai.conversation.id", "value": {"stringValue": "c"}}]'),
  ('[{"key": "k", "value": {"intValue": 1}}, {"key": "k", "value": {"intValue": 2}}, {"key": "k", "value": {"intValue": 3}}]'),
  ('[{"key": "exception.message", "value": {"stringValue": "m"}}]'),
  ('[{"key": "exception", "value": {"stringValue": "e"}}, {"key": "exception.type", "value": {"stringValue": "T"}},
     {"key": "exception.type", "value": {"stringValue": "U"}}]')) AS v(attributes);
-- no agent in the request: the session's
SELECT failure('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}');
SET LOCAL mals.agent_id = 'collector';
SELECT logged('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}');
RESET mals.agent_id;

-- Attributes of resource and scope that are named as their fields.
SELECT logged('{"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "svc"}},
  {"key": "service.name", "value": {"stringValue": "other"}}, {"key": "schema_url", "value": {"intValue": 1}}], "entityRefs": [{"type": "host"}]}, "schemaUrl": "u",
  "scopeLogs": [{"scope": {"name": "s", "attributes": [{"key": "name", "value": {"intValue": 2}}]},
  "logRecords": [{"attributes": [{"key": "resource", "value": {"intValue": 3}}]}]}]}]}');

-- Requests without a record.
SELECT request, mals_log_otlp(request) FROM jsonb_array_elements('[{}, {"resourceLogs": []}, {"resourceLogs": null}, {"resourceLogs": [{}]},
  {"resourceLogs": [{"scopeLogs": [{}]}]}, {"resource_logs": [{"scope_logs": [{"log_records": []}]}]}]') AS request;

-- A deep value, many attributes and many records.
CREATE FUNCTION nested_any(depth int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT (repeat('{"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [', depth) || '{}'
    || repeat(']}}}]}}', depth))::jsonb
$$;
SELECT depth, logged(jsonb_build_object('body', nested_any(depth)), 'metadata') #> '{metadata,body}'
    = (repeat('{"a": [', depth) || 'null' || repeat(']}', depth))::jsonb AS kept
  FROM unnest('{30,300}'::int[]) AS depth;
SET LOCAL mals.agent_id = 'collector';
SELECT count(*) AS keys, bool_and(value::int = substr(key, 2)::int) AS kept
FROM logged(('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": ['
    || (SELECT string_agg(format('{"key": "k%s", "value": {"intValue": "%s"}}', i, i), ',') FROM generate_series(1, 100000) i)
    || ']}]}]}]}')::jsonb) AS entry, jsonb_each_text(entry -> 'metadata');
RESET mals.agent_id;
SELECT mals_log_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object(
    'resource', '{"attributes": [{"key": "service.name", "value": {"stringValue": "many"}}]}'::jsonb,
    'scopeLogs', jsonb_build_array(jsonb_build_object('logRecords', jsonb_agg(jsonb_build_object('body', jsonb_build_object('stringValue', i::text)))))))))
  FROM generate_series(1, 10000) i;
SELECT count(*), count(DISTINCT message), count(DISTINCT metadata) FROM mals.logs WHERE agent_id = 'many';

-- Malformed requests name the path.
SELECT failure(request) FROM (VALUES
  ('[]'::jsonb),
  ('"text"'),
  ('5'),
  ('{"agent_id": "a", "message": "not OTLP"}'),
  ('{"resourceLogs": {}}'),
  ('{"resourceLogs": "x"}'),
  ('{"resourceLogs": [5]}'),
  ('{"resourceLogs": [{}, null]}'),
  ('{"resourceLogs": [{"resource": []}]}'),
  ('{"resourceLogs": [{"resource": {"attributes": {}}}]}'),
  ('{"resourceLogs": [{"schemaUrl": 5}]}'),
  ('{"resourceLogs": [{"scopeLogs": 5}]}'),
  ('{"resourceLogs": [{"scopeLogs": [[]]}]}'),
  ('{"resourceLogs": [{"scopeLogs": [{"scope": "s"}]}]}'),
  ('{"resourceLogs": [{"scopeLogs": [{"scope": {"name": 5}}]}]}'),
  ('{"resourceLogs": [{"scopeLogs": [{"logRecords": {}}]}]}')) AS v(request);
SET LOCAL mals.agent_id = 'collector';
SELECT failure(jsonb_build_object('resourceLogs', jsonb_build_array('{}'::jsonb, jsonb_build_object('scopeLogs',
    jsonb_build_array(jsonb_build_object('logRecords', jsonb_build_array('{}'::jsonb) || record))))))
FROM (VALUES
  ('[5]'::jsonb),
  ('[null]'),
  ('{"body": "text"}'),
  ('{"body": {"stringValue": 5}}'),
  ('{"body": {"stringValue": "a", "intValue": 5}}'),
  ('{"body": {"value": "a"}}'),
  ('{"body": {"boolValue": "true"}}'),
  ('{"body": {"intValue": "five"}}'),
  ('{"body": {"intValue": 1.5}}'),
  ('{"body": {"intValue": "9223372036854775808"}}'),
  ('{"body": {"intValue": ""}}'),
  ('{"body": {"intValue": "-"}}'),
  ('{"body": {"doubleValue": true}}'),
  ('{"body": {"bytesValue": [1]}}'),
  ('{"body": {"arrayValue": [1]}}'),
  ('{"body": {"arrayValue": {"values": 1}}}'),
  ('{"body": {"arrayValue": {"values": [{}, {"arrayValue": {"values": [1]}}]}}}'),
  ('{"body": {"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {"values": [{"key": 1}]}}}]}}}'),
  ('{"attributes": "a"}'),
  ('{"attributes": {"a": {"stringValue": "b"}}}'),
  ('{"attributes": [5]}'),
  ('{"attributes": [null]}'),
  ('{"attributes": [{"key": "a", "value": {"stringValue": "x"}}, {"key": "b", "value": "c"}]}'),
  ('{"severityNumber": "loud"}'),
  ('{"severityNumber": 9.5}'),
  ('{"severityNumber": []}'),
  ('{"severityText": 5}'),
  ('{"timeUnixNano": "yesterday"}'),
  ('{"timeUnixNano": -1}'),
  ('{"timeUnixNano": 1.5}'),
  ('{"timeUnixNano": "18446744073709551616"}'),
  ('{"observedTimeUnixNano": {}}'),
  ('{"traceId": 5}'),
  ('{"spanId": []}'),
  ('{"eventName": {}}')) AS v(record);

ROLLBACK;

-- All or nothing; a record that cannot be stored is named by its number in the request.
SELECT mals_log_otlp('{"resourceLogs": [
  {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "half"}}]}, "scopeLogs": [{"logRecords": [{}, {}]}]},
  {"scopeLogs": [{"logRecords": [{}]}]}]}');
SELECT mals_log_otlp('{"resourceLogs": [
  {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "half"}}]}, "scopeLogs": [{"logRecords": [{}, {"body": "text"}]}]}]}');
SELECT count(*) FROM mals.logs WHERE agent_id = 'half';
