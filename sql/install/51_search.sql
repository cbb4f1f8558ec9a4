-- Ways out: functions that find entries. All of them read mals.logs as the
-- calling user, on the calling query's snapshot.

CREATE FUNCTION mals_get(id uuid) RETURNS SETOF mals.logs
  LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1 SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_get(uuid) IS
  'The log entry with this id: one row with the columns of mals.logs, or none. Errors: 22004 for NULL.';

CREATE FUNCTION mals_search(
  query text DEFAULT '', since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
  max_rows int DEFAULT 100, skip int DEFAULT 0, sort text DEFAULT 'desc') RETURNS SETOF mals.logs
  LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_search(text, timestamptz, timestamptz, int, int, text) IS
  'Log entries that match a query, by (ts, id): newest first (sort desc) or oldest first (asc). query: tokens separated by spaces that all must hold, such as level:error agent:svc-* after:2h meta.status:>=500 "quoted text" -category:audit connection refused; '''' matches all (mals_query_explain shows what a query means). since is inclusive, until exclusive, NULL is no bound. max_rows NULL is no limit; skip leaves out that many rows first. Errors: 22023 for a query that does not parse, negative max_rows or skip, another sort.';

CREATE FUNCTION mals_count(
  query text DEFAULT '', since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS bigint
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_count(text, timestamptz, timestamptz) IS
  'How many log entries match a query (the language of mals_search) from since (inclusive) until (exclusive); NULL is no bound. Errors: 22023 for a query that does not parse.';

CREATE FUNCTION mals_list(
  agent_id text DEFAULT NULL, level mals_level DEFAULT NULL, category text DEFAULT NULL,
  source text DEFAULT NULL, resolved boolean DEFAULT NULL, since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL, search text DEFAULT NULL, max_rows int DEFAULT 100,
  skip int DEFAULT 0) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_list(text, mals_level, text, text, boolean, timestamptz, timestamptz, text, int, int) IS
  'A page of log entries for a user interface: {"total": N, "items": [...]}, newest first, items with the keys of mals.logs'' columns; total counts all that match. agent_id, level, category, source and resolved must be equal, search is contained in the message in any case of letters, NULL does not filter; since is inclusive, until exclusive. Errors: 22023 for max_rows outside 1 to 1000 or a negative skip.';

CREATE FUNCTION mals_context(
  id uuid, before int DEFAULT 10, after int DEFAULT 10, scope text DEFAULT 'session') RETURNS SETOF mals.logs
  LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 21 SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_context(uuid, int, int, text) IS
  'What happened around a log entry: up to before entries before it, the entry, up to after entries after it, oldest first. scope session: those with its session_key (without one: of its agent); agent: of its agent; trace: with its trace_id (without one: its correlation_id, then its agent); all: every entry. Errors: P0002 no entry has the id; 22004 NULL id; 22023 negative before or after, another scope.';
