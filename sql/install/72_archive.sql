-- Archives: what retention removes, written to files before, and brought back.

-- Partitions that could not be archived the last time. Not dumped: it is about
-- this server's files.
CREATE TABLE mals._archive_failures (
  partition oid         PRIMARY KEY,
  failed_at timestamptz NOT NULL,
  message   text        NOT NULL
);
COMMENT ON TABLE mals._archive_failures IS 'Partitions that could not be archived, and why; they are kept.';

-- Times that retention leaves alone for a while: of entries that were restored.
CREATE TABLE mals._exemptions (
  from_ts timestamptz NOT NULL,
  to_ts   timestamptz NOT NULL,
  until   timestamptz NOT NULL
);
COMMENT ON TABLE mals._exemptions IS 'Entries of from_ts (inclusive) to to_ts (exclusive) are exempt from retention until a time.';
SELECT pg_catalog.pg_extension_config_dump('mals._exemptions', '');

CREATE FUNCTION mals._archive(partition regclass, condition text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_archive';
COMMENT ON FUNCTION mals._archive(regclass, text) IS
  'Writes the entries of a partition, or those that meet an SQL condition on the columns of e, into an archive in mals.archive_directory, and returns how many; the entries stay. NULL, a warning, and one in mals_health if it failed.';

CREATE FUNCTION mals_restore_archive(path text, keep interval DEFAULT '7 days') RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_restore_archive(text, interval) IS
  'Stores the entries of an archive again, with their ids, times, levels and what was resolved, and returns how many; those that are there are skipped, so it can be repeated. path is that of the archive''s manifest (.json) or data (.jsonl.zst), absolute or below mals.archive_directory; elsewhere only for members of pg_read_server_files. keep (default 7 days, NULL = for ever) is how long retention leaves the entries alone. All or nothing, but partitions that were made stay. Errors: 22004 NULL path; 22023 a path or a manifest that is not an archive''s, a negative keep; 22P02 a line that does not parse; 42501 not allowed to read the file; 58P01 no such file; XX001 a file that is damaged or not the one its manifest describes; 25006 read-only.';
