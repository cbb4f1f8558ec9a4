-- Ways in: functions that log.

CREATE FUNCTION mals_id_ts(id uuid) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_id_ts(uuid) IS
  'The time that an entry''s id carries, to the microsecond: equal to the entry''s ts. NULL for a UUID that is not version 7.';

CREATE FUNCTION mals_log(
  agent_id text, message text, level mals_level DEFAULT NULL, category text DEFAULT NULL,
  metadata jsonb DEFAULT NULL, session_key text DEFAULT NULL, source text DEFAULT NULL,
  trace_id uuid DEFAULT NULL, parent_id uuid DEFAULT NULL, correlation_id text DEFAULT NULL,
  ts timestamptz DEFAULT NULL, id uuid DEFAULT NULL) RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_log(text, text, mals_level, text, jsonb, text, text, uuid, uuid, text, timestamptz, uuid) IS
  'Logs one entry and returns its id, or NULL if mals.min_level, mals.rate_limit or mals.repeat_limit kept it out. agent_id (1 to 64 characters) and message (up to 64 MB, may be empty) are required; level defaults to info, source to api, ts to the current time. A NULL argument falls back to the session''s setting of that name (mals.agent_id, mals.level, mals.category, mals.session_key, mals.source, mals.trace_id, mals.parent_id, mals.correlation_id); mals.context is merged under metadata. An id that you give (UUIDv7) makes retries safe: stored once, and returned. Errors: 22004 missing agent_id or message; 22023 too long, an infinite ts, an id that is not a UUIDv7 or does not fit ts; 22P02 an unknown level; 42501 not allowed; 25006 read-only.';

CREATE FUNCTION mals_log_json(entry jsonb) RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_log_json(jsonb) IS
  'Logs one entry given as a JSON object and returns its id, or NULL if it was filtered out or over a limit. Keys are the columns'' names or the usual aliases (agent, msg, body, severity, log_level, timestamp, time, event_type, component, session_id, event_id, ...); every other key is kept in metadata. Times are ISO 8601 (no zone = UTC) or epoch seconds. Errors: 22023 not an object, or agent_id is no text or too long; 22004 missing agent_id or message; 22P02 an unknown level.';

CREATE FUNCTION mals_log_batch(entries jsonb) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_log_batch(jsonb) IS
  'Logs an array of JSON objects (or one object), each as by mals_log_json, and returns how many entries were stored; filtered and limited entries and retries are not counted. All or nothing: one bad entry rejects the batch, and the error names it by its index from 0 ("entry 17: level: ...").';

CREATE FUNCTION mals_log_otlp(request jsonb) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_log_otlp(jsonb) IS
  'Logs the records of an OpenTelemetry ExportLogsServiceRequest (OTLP/JSON, {"resourceLogs": [...]}) and returns how many entries were stored. All or nothing. Errors: 22023 for a malformed request, naming the path; otherwise as mals_log_json.';

CREATE FUNCTION mals_set_traceparent(traceparent text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_set_traceparent(text) IS
  'Sets this session''s trace from a W3C traceparent (00-<32 hex>-<16 hex>-<2 hex>): mals.trace_id, and span_id in mals.context. NULL unsets both. Errors: 22P02 for text that is no traceparent.';

CREATE FUNCTION mals_new_correlation(kind text DEFAULT 'req') RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_new_correlation(text) IS
  'Makes a correlation id kind-<32 hex>, sets it as this session''s mals.correlation_id and returns it. Entries logged with it and without a trace id take its digits as their trace id. Errors: 22023 for a kind that is empty, longer than 32 characters or not of letters, digits, _ and -; 22004 for NULL.';
