-- Ways out: traces.

CREATE FUNCTION mals_trace(trace_id uuid) RETURNS TABLE (
  depth int, elapsed_ms float8, id uuid, ts timestamptz, created_at timestamptz,
  level mals_level, agent_id text, message text, category text, source text, session_key text,
  trace_id uuid, parent_id uuid, correlation_id text, metadata jsonb, fingerprint bigint,
  resolved boolean, resolved_at timestamptz, resolved_by text)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_trace(uuid) IS
  'The log entries of a trace as a tree: depth (0 for a root), elapsed_ms (milliseconds since the first entry) and the columns of mals.logs. Parents (parent_id) come before their children, siblings by time. An entry whose parent is not in the trace is a root, and so is the earliest entry of a cycle of parents. Errors: 22004 for NULL.';

CREATE FUNCTION mals_trace(correlation text) RETURNS TABLE (
  depth int, elapsed_ms float8, id uuid, ts timestamptz, created_at timestamptz,
  level mals_level, agent_id text, message text, category text, source text, session_key text,
  trace_id uuid, parent_id uuid, correlation_id text, metadata jsonb, fingerprint bigint,
  resolved boolean, resolved_at timestamptz, resolved_by text)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_trace_text';
COMMENT ON FUNCTION mals_trace(text) IS
  'The log entries with a correlation id as a tree, as mals_trace(uuid) gives it. A text that is a UUID or 32 hex digits finds the entries with that trace id too. Errors: 22004 for NULL.';
