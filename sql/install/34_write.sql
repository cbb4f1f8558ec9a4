-- Writing through the ring: mals.write_mode autonomous and async.

CREATE TABLE mals.dead_letters (
  id       uuid        NOT NULL,
  agent_id text        COLLATE "C" NOT NULL,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts int         NOT NULL,
  sqlstate text        NOT NULL,
  error    text        NOT NULL,
  entry    jsonb       NOT NULL
);
COMMENT ON TABLE mals.dead_letters IS
  'Entries of mals.write_mode autonomous and async that could not be written, also when tried apart, with the error. When the cause is gone, log them again: WITH letters AS (DELETE FROM mals.dead_letters RETURNING entry) SELECT mals_log_batch(jsonb_agg(entry)) FROM letters.';
COMMENT ON COLUMN mals.dead_letters.id IS 'The id that the entry was given.';
COMMENT ON COLUMN mals.dead_letters.agent_id IS 'Who logged it.';
COMMENT ON COLUMN mals.dead_letters.at IS 'When it was given up.';
COMMENT ON COLUMN mals.dead_letters.agent_id IS 'Who logged it.';
COMMENT ON COLUMN mals.dead_letters.attempts IS 'How often it was tried.';
COMMENT ON COLUMN mals.dead_letters.sqlstate IS 'SQLSTATE of the last error.';
COMMENT ON COLUMN mals.dead_letters.error IS 'Message of the last error.';
COMMENT ON COLUMN mals.dead_letters.entry IS 'The entry as mals_log_json takes it, with its id and ts, so that it is stored once however often it is logged again.';
SELECT pg_catalog.pg_extension_config_dump('mals.dead_letters', '');

CREATE VIEW mals._dead_logs WITH (security_invoker = true) AS
  SELECT d.ctid AS letter, d.id, (d.entry->>'ts')::timestamptz AS ts,
         (d.entry->>'created_at')::timestamptz AS created_at,
         (d.entry->>'level')::@extschema@.mals_level AS level, d.agent_id, d.entry->>'message' AS message,
         (d.entry->>'category') COLLATE "C" AS category, (d.entry->>'source') COLLATE "C" AS source,
         (d.entry->>'session_key') COLLATE "C" AS session_key, (d.entry->>'trace_id')::uuid AS trace_id,
         (d.entry->>'parent_id')::uuid AS parent_id, (d.entry->>'correlation_id') COLLATE "C" AS correlation_id,
         d.entry->'metadata' AS metadata, @extschema@.mals_fingerprint(d.entry->>'message') AS fingerprint,
         false AS resolved, NULL::timestamptz AS resolved_at, NULL::text AS resolved_by
    FROM mals.dead_letters d;
COMMENT ON VIEW mals._dead_logs IS 'Dead letters with the columns of mals.logs, for queries.';

CREATE FUNCTION mals_flush() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_flush() IS
  'Waits until all entries that any session of the database has logged before, with mals.write_mode async, are committed. Returns at once where nothing is waiting. Errors: 55000 if the writer does not answer within mals.write_timeout; 25006 on a standby.';

CREATE FUNCTION mals._ring(OUT size bigint, OUT used bigint, OUT queued bigint, OUT writer int,
  OUT entries bigint, OUT flushes bigint, OUT waits bigint, OUT timeouts bigint,
  OUT dead_letters bigint, OUT captured bigint, OUT uncaptured bigint, OUT suppressed bigint)
  LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'mals_ring_status';
COMMENT ON FUNCTION mals._ring() IS
  'The ring of this database: bytes of the area that all databases share, bytes and units in this one''s, the writer''s pid; since the server started: entries and transactions written, waits for room, timeouts, entries that became dead letters, messages of the server that were captured or found no room, entries that limits refused. NULL without shared_preload_libraries.';
