-- Entries: the table they live in, the indexes of its partitions, and the view that shows them.
--
-- mals.entries has no index and no constraint beyond NOT NULL of its own: a dump
-- makes the parent first and attaches partitions to it, and what the parent had
-- would be made twice. Each partition gets its indexes from mals._partition_ddl
-- before it is attached.

-- Identifiers are compared by bytes (COLLATE "C"): their order, and so the
-- indexes, do not depend on the operating system's locales.
CREATE TABLE mals.entries (
  id             uuid        NOT NULL,
  ts             timestamptz NOT NULL,
  created_at     timestamptz NOT NULL,
  level          @extschema@.mals_level NOT NULL,
  agent_id       text        COLLATE "C" NOT NULL,
  message        text        NOT NULL,
  category       text        COLLATE "C",
  source         text        COLLATE "C" NOT NULL,
  session_key    text        COLLATE "C",
  trace_id       uuid,
  parent_id      uuid,
  correlation_id text        COLLATE "C",
  metadata       jsonb       NOT NULL,
  fingerprint    bigint      NOT NULL,
  xact           bigint
) PARTITION BY RANGE (ts);

COMMENT ON TABLE mals.entries IS
  'Log entries, one row each, partitioned by ts. Rows are never updated. Write through mals_log or mals.logs, never into this table; read it or mals.logs with plain SQL, with a condition on ts where you can.';
COMMENT ON COLUMN mals.entries.id IS 'UUIDv7 made by the server (or given by the sender); its embedded time is ts to the microsecond, so the order of ids is the order of time.';
COMMENT ON COLUMN mals.entries.ts IS 'When it happened; the partition key.';
COMMENT ON COLUMN mals.entries.created_at IS 'When the server took the entry.';
COMMENT ON COLUMN mals.entries.level IS 'trace < debug < info < warn < error < critical.';
COMMENT ON COLUMN mals.entries.agent_id IS 'Who logged it: 1 to 64 characters.';
COMMENT ON COLUMN mals.entries.message IS 'The text, up to 64 MB; may be empty.';
COMMENT ON COLUMN mals.entries.category IS 'Free tag or event type, such as deploy or task_failed.';
COMMENT ON COLUMN mals.entries.source IS 'Source system or component; api by default.';
COMMENT ON COLUMN mals.entries.session_key IS 'The agent''s session.';
COMMENT ON COLUMN mals.entries.trace_id IS 'Distributed trace.';
COMMENT ON COLUMN mals.entries.parent_id IS 'id of the parent entry; may be missing from the table.';
COMMENT ON COLUMN mals.entries.correlation_id IS 'Request, task or swarm id.';
COMMENT ON COLUMN mals.entries.metadata IS 'A JSON object; {} when none was given.';
COMMENT ON COLUMN mals.entries.fingerprint IS 'The group of messages of the same kind, see mals_fingerprint.';
COMMENT ON COLUMN mals.entries.xact IS 'Internal: stamp of the cluster and the top-level transaction that wrote the row, by which mals_tail tells what is new. Kept when a row is moved or restored.';

-- What was resolved by hand, entry by entry. A row with resolved = false says
-- that the entry was opened again. Written at any time after the entry, so
-- beside it: entries are never updated.
CREATE TABLE mals.resolutions (
  entry_id    uuid        PRIMARY KEY,
  resolved    boolean     NOT NULL,
  resolved_at timestamptz NOT NULL,
  resolved_by text        NOT NULL,
  note        text
);
COMMENT ON TABLE mals.resolutions IS 'Entries that were resolved or opened again, by mals_resolve and its kin.';
COMMENT ON COLUMN mals.resolutions.entry_id IS 'The entry.';
COMMENT ON COLUMN mals.resolutions.resolved IS 'Whether it was resolved or, last, opened again; either overrides its group''s resolution.';
COMMENT ON COLUMN mals.resolutions.resolved_at IS 'When that was done.';
COMMENT ON COLUMN mals.resolutions.resolved_by IS 'Who did it.';
COMMENT ON COLUMN mals.resolutions.note IS 'What was said about it.';
SELECT pg_catalog.pg_extension_config_dump('mals.resolutions', '');

-- Retries of entries whose own id the clock rule refused: the sender's id
-- (hashed with the agent) and the entry that stands for it.
CREATE TABLE mals._refused_ids (
  key      uuid        PRIMARY KEY,
  entry_id uuid        NOT NULL
);
COMMENT ON TABLE mals._refused_ids IS 'Ids that senders gave and the clock rule refused, and the entries stored instead.';
SELECT pg_catalog.pg_extension_config_dump('mals._refused_ids', '');

-- An entry is resolved if it was resolved by hand, and else if its group was
-- resolved at that time or later. All joins are on unique keys, so that the
-- planner leaves out those whose columns a query does not use. Who is bound to
-- agents sees no templates, and is told of the group by mals._status_of.
CREATE VIEW mals.logs WITH (security_invoker = true) AS
  SELECT e.id, e.ts, e.created_at, e.level, e.agent_id, e.message, e.category, e.source,
         e.session_key, e.trace_id, e.parent_id, e.correlation_id, e.metadata, e.fingerprint,
         COALESCE(r.resolved, s.resolved_at >= e.ts,
                  CASE WHEN t.fingerprint IS NULL THEN (mals._status_of(e.fingerprint)).resolved_at >= e.ts END,
                  false) AS resolved,
         CASE WHEN r.entry_id IS NOT NULL THEN CASE WHEN r.resolved THEN r.resolved_at END
              WHEN s.resolved_at >= e.ts THEN s.resolved_at
              WHEN t.fingerprint IS NULL AND (mals._status_of(e.fingerprint)).resolved_at >= e.ts
              THEN (mals._status_of(e.fingerprint)).resolved_at END AS resolved_at,
         CASE WHEN r.entry_id IS NOT NULL THEN CASE WHEN r.resolved THEN r.resolved_by END
              WHEN s.resolved_at >= e.ts THEN s.resolved_by
              WHEN t.fingerprint IS NULL AND (mals._status_of(e.fingerprint)).resolved_at >= e.ts
              THEN (mals._status_of(e.fingerprint)).resolved_by END AS resolved_by
    FROM mals.entries e
    LEFT JOIN mals.resolutions r ON r.entry_id = e.id
    LEFT JOIN mals._templates t ON t.fingerprint = e.fingerprint
    LEFT JOIN mals.error_status s ON s.fingerprint = COALESCE(t.group_id, e.fingerprint);
COMMENT ON VIEW mals.logs IS
  'Log entries with what became of them: the columns of mals.entries, and resolved, resolved_at, resolved_by. Read it with plain SQL; INSERT and COPY into it log entries with the rules of mals_log (agent_id and message are required; resolved columns cannot be given). UPDATE and DELETE are errors (55000).';

CREATE VIEW mals.inbox AS SELECT NULL::jsonb AS entry WHERE false;
COMMENT ON VIEW mals.inbox IS
  'Write-only: INSERT or COPY one JSON object a row, with the rules of mals_log_json. A row that is no object: 22023.';

CREATE FUNCTION mals._insert_log() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_insert_log';
COMMENT ON FUNCTION mals._insert_log() IS 'INSTEAD OF INSERT on mals.logs: makes an entry of the row.';
CREATE FUNCTION mals._insert_json() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_insert_json';
COMMENT ON FUNCTION mals._insert_json() IS 'INSTEAD OF INSERT on mals.inbox: makes an entry of the JSON object.';
CREATE FUNCTION mals._insert_statement() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_insert_statement';
COMMENT ON FUNCTION mals._insert_statement() IS 'Before and after a statement that inserts into a view: opens and writes its buffer.';
CREATE FUNCTION mals._refuse_change() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_refuse_change';
COMMENT ON FUNCTION mals._refuse_change() IS 'UPDATE and DELETE on the views: an error.';

CREATE TRIGGER _1_open BEFORE INSERT ON mals.logs
  FOR EACH STATEMENT EXECUTE FUNCTION mals._insert_statement();
CREATE TRIGGER _2_insert INSTEAD OF INSERT ON mals.logs
  FOR EACH ROW EXECUTE FUNCTION mals._insert_log();
CREATE TRIGGER _3_write AFTER INSERT ON mals.logs
  FOR EACH STATEMENT EXECUTE FUNCTION mals._insert_statement();
CREATE TRIGGER _4_refuse INSTEAD OF UPDATE OR DELETE ON mals.logs
  FOR EACH ROW EXECUTE FUNCTION mals._refuse_change();
CREATE TRIGGER _5_refuse BEFORE UPDATE OR DELETE ON mals.logs
  FOR EACH STATEMENT EXECUTE FUNCTION mals._refuse_change();

CREATE TRIGGER _1_open BEFORE INSERT ON mals.inbox
  FOR EACH STATEMENT EXECUTE FUNCTION mals._insert_statement();
CREATE TRIGGER _2_insert INSTEAD OF INSERT ON mals.inbox
  FOR EACH ROW EXECUTE FUNCTION mals._insert_json();
CREATE TRIGGER _3_write AFTER INSERT ON mals.inbox
  FOR EACH STATEMENT EXECUTE FUNCTION mals._insert_statement();
CREATE TRIGGER _4_refuse INSTEAD OF UPDATE OR DELETE ON mals.inbox
  FOR EACH ROW EXECUTE FUNCTION mals._refuse_change();
CREATE TRIGGER _5_refuse BEFORE UPDATE OR DELETE ON mals.inbox
  FOR EACH STATEMENT EXECUTE FUNCTION mals._refuse_change();

-- Under session_replication_role = replica ordinary triggers do not fire, and the
-- rows would vanish. ALTER TABLE ... ENABLE ALWAYS TRIGGER takes no views, so the
-- catalog is told directly, and a change of each view makes sessions read it.
UPDATE pg_catalog.pg_trigger SET tgenabled = 'A'
 WHERE tgrelid IN ('mals.logs'::regclass, 'mals.inbox'::regclass);
ALTER VIEW mals.logs SET (security_invoker = true);
ALTER VIEW mals.inbox SET (security_invoker = true);
