-- Ways out: entries as they are committed.

CREATE FUNCTION mals_tail(
  query text DEFAULT '', cursor text DEFAULT NULL, timeout interval DEFAULT '30 seconds',
  max_rows int DEFAULT 100) RETURNS TABLE (
  next_cursor text, id uuid, ts timestamptz, created_at timestamptz,
  level mals_level, agent_id text, message text, category text, source text, session_key text,
  trace_id uuid, parent_id uuid, correlation_id text, metadata jsonb, fingerprint bigint,
  resolved boolean, resolved_at timestamptz, resolved_by text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_tail(text, text, interval, int) IS
  'Waits for log entries that match a query (the language of mals_search) and gives them as they are committed: returns at once when there are any, up to max_rows (NULL: no limit), else after timeout (0 to 1 hour) one row with next_cursor and all other columns NULL. cursor NULL means from now; pass the last row''s next_cursor to the next call, from any session or on a standby, and every entry comes exactly once, also those committed late. To begin at a moment take mals_tail_cursor() first. The order is that of transactions, not of ts. Errors: 22P02 cursor that is none; 22023 cursor of another cluster or older than 2^31 transactions, query that does not parse, timeout or max_rows out of range; 55000 in a REPEATABLE READ or SERIALIZABLE transaction.';

CREATE FUNCTION mals_tail_cursor() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_tail_cursor() IS
  'The cursor for mals_tail that means "from now": new is what the calling statement does not see, whenever its transaction began. In a REPEATABLE READ transaction that is what its queries do not see, so one can read what is there and then follow without a gap.';
