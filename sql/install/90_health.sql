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
    SELECT c.oid, c.relname, c.reltuples
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'mals.entries'::regclass),
  warnings AS (
    SELECT format('library %s is loaded, but the extension is %s: run ALTER EXTENSION mals UPDATE, or reconnect',
                  @extschema@.mals_version(), extversion) AS warning
      FROM extension WHERE extversion <> @extschema@.mals_version()
    UNION ALL
    SELECT format('partition %s is being detached, or was when that was interrupted: mals_prune() finishes it', i.inhrelid::regclass)
      FROM pg_inherits i
     WHERE i.inhparent = 'mals.entries'::regclass AND i.inhdetachpending
    UNION ALL
    SELECT format('job %s has failed %s times in a row, last at %s: %s', job, failures, finished_at, error)
      FROM mals._jobs WHERE failures > 0
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
    SELECT format('partition %s could not be archived at %s, and is kept: %s', f.partition::regclass,
                  f.failed_at, f.message)
      FROM mals._archive_failures f
     WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = f.partition))
  SELECT jsonb_build_object(
    'status', CASE WHEN EXISTS (SELECT FROM warnings) THEN 'degraded' ELSE 'ok' END,
    'db', current_database(),
    'version', (SELECT extversion FROM extension),
    'library_version', @extschema@.mals_version(),
    'workers', (SELECT COALESCE(jsonb_agg(jsonb_build_object('pid', pid, 'type', backend_type,
                                                             'since', backend_start) ORDER BY pid), '[]')
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND backend_type LIKE 'mals%'),
    'ring', (SELECT to_jsonb(r) FROM mals._ring() r WHERE r.size IS NOT NULL),
    'last_maintenance', (SELECT max(finished_at) FROM mals._jobs WHERE failures = 0),
    -- of all entries: not for roles that are bound to agents
    'entries_estimate', CASE WHEN NOT mals._is_caller_bound()
                             THEN (SELECT COALESCE(sum(greatest(reltuples, 0))::bigint, 0) FROM parts) END,
    'oldest_ts', CASE WHEN NOT mals._is_caller_bound() THEN (SELECT min(ts) FROM mals.entries) END,
    'newest_ts', CASE WHEN NOT mals._is_caller_bound() THEN (SELECT max(ts) FROM mals.entries) END,
    'warnings', (SELECT COALESCE(jsonb_agg(warning), '[]') FROM warnings))
$$;
COMMENT ON FUNCTION mals_health() IS
  'How mals is, as JSON; anyone may call it: status (ok or degraded), db, version (of the extension), library_version, workers, ring (of mals.write_mode autonomous and async: size and used in bytes, queued units, the writer''s pid, and since the server started entries, flushes, waits, timeouts, dead_letters, captured and uncaptured messages of the server, suppressed entries; null without shared_preload_libraries), last_maintenance, entries_estimate (from the planner''s statistics), oldest_ts, newest_ts (these three null for roles that are bound to agents), warnings (texts that say what to do).';
