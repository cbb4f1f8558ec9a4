-- Versions and health.

CREATE FUNCTION mals_version() RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_version() IS 'The version of the mals library that this session runs, such as 0.1.';

CREATE FUNCTION mals._worker_trouble() RETURNS text
  LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'mals_worker_trouble';
COMMENT ON FUNCTION mals._worker_trouble() IS
  'What keeps background workers of mals from running in this database, or NULL.';

-- SECURITY DEFINER because anyone may ask, and few may read entries.
CREATE FUNCTION mals_health() RETURNS jsonb
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH extension AS (SELECT extversion FROM pg_extension WHERE extname = 'mals'),
  parts AS (
    SELECT c.oid
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'mals.entries'::regclass),
  -- of all entries: not for roles that are bound to agents; why it failed: for who may read
  caller AS (
    SELECT NOT mals._is_caller_bound() AS is_free,
           has_table_privilege(CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END,
                               'mals._jobs', 'SELECT') AS reads),
  versions AS (
    SELECT format('library %s is loaded, but the extension is %s: run ALTER EXTENSION mals UPDATE, or reconnect',
                  @extschema@.mals_version(), extversion) AS warning
      FROM extension WHERE extversion <> @extschema@.mals_version()
    UNION ALL
    SELECT format('what is new has not been granted to roles yet (%s): run SELECT mals_regrant()',
                  string_agg(privilege, ', ' ORDER BY privilege))
      FROM mals._ungranted() HAVING count(*) > 0),
  warnings AS (
    SELECT warning FROM versions
    UNION ALL
    SELECT o.warning FROM caller, (
      SELECT format('partition %s is being detached, or was when that was interrupted: mals_prune() finishes it', i.inhrelid::regclass)
        FROM pg_inherits i
       WHERE i.inhparent = 'mals.entries'::regclass AND i.inhdetachpending
      UNION ALL
      SELECT format('job %s has failed %s times in a row, last at %s%s', job, failures, finished_at,
                    CASE WHEN reads THEN ': ' || error END)
        FROM mals._jobs, caller WHERE failures > 0
      UNION ALL
      SELECT trouble FROM mals._worker_trouble() AS trouble WHERE trouble IS NOT NULL
      UNION ALL
      SELECT format('%s entries could not be written, last at %s: see mals.dead_letters', count(*), max(at))
        FROM mals.dead_letters HAVING count(*) > 0
      UNION ALL
      SELECT format('partition %s has no primary key: retries are not recognised in it', p.oid::regclass)
        FROM parts p
       WHERE NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = p.oid AND x.indisprimary AND x.indisvalid)
      UNION ALL
      SELECT format('partition %s could not be archived at %s, and is kept%s', f.partition::regclass,
                    f.failed_at, CASE WHEN reads THEN ': ' || f.message END)
        FROM mals._archive_failures f, caller
       WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = f.partition)) o (warning)
     WHERE is_free)
  SELECT jsonb_build_object(
    'status', CASE WHEN EXISTS (SELECT FROM warnings) THEN 'degraded' ELSE 'ok' END,
    'db', current_database(),
    'version', (SELECT extversion FROM extension),
    'library_version', @extschema@.mals_version(),
    'workers', (SELECT COALESCE(jsonb_agg(jsonb_build_object('pid', pid, 'type', backend_type,
                                                             'since', backend_start) ORDER BY pid), '[]')
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND backend_type LIKE 'mals%'),
    'ring', (SELECT to_jsonb(r) FROM mals._ring() r, caller WHERE r.size IS NOT NULL AND is_free),
    'last_maintenance', (SELECT max(finished_at) FROM mals._jobs WHERE failures = 0),
    'entries_estimate', (SELECT (SELECT COALESCE(sum(p.entries), 0)::bigint FROM mals.partitions p WHERE p.state <> 'detached') FROM caller WHERE is_free),
    'oldest_ts', (SELECT (SELECT min(ts) FROM mals.entries) FROM caller WHERE is_free),
    'newest_ts', (SELECT (SELECT max(ts) FROM mals.entries) FROM caller WHERE is_free),
    'warnings', (SELECT COALESCE(jsonb_agg(warning), '[]') FROM warnings))
$$;
COMMENT ON FUNCTION mals_health() IS
  'How mals is, as JSON; anyone may call it: status (ok or degraded), db, version (of the extension), library_version, workers, ring (of mals.write_mode autonomous and async: size and used in bytes, queued units, the writer''s pid, and since the server started entries, flushes, waits, timeouts, dead_letters, captured and uncaptured messages of the server, suppressed entries; null without shared_preload_libraries), last_maintenance (when the worker ended a job well, or mals_maintain ended), entries_estimate (from the server''s statistics), oldest_ts, newest_ts, warnings (texts that say what to do). To roles that are bound to agents ring, entries_estimate, oldest_ts and newest_ts are null, and warnings are of versions only; why a job failed is told to readers.';
