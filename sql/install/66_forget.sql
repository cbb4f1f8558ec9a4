-- Forgetting: entries that must go before their time.

-- Deletes what is beside entries by their ids, in every table that has some.
CREATE FUNCTION mals._forget_beside(ids uuid[]) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  DELETE FROM mals.resolutions WHERE entry_id = ANY (ids);
  DELETE FROM mals._refused_ids WHERE entry_id = ANY (ids);
  DELETE FROM mals._alert_matches WHERE entry_id = ANY (ids);
  DELETE FROM mals.alerts WHERE sample_id = ANY (ids);
$$;
COMMENT ON FUNCTION mals._forget_beside(uuid[]) IS 'Deletes what tables other than mals.entries hold of entries.';

-- Archives are files, in a directory for each database: each has a manifest.
CREATE FUNCTION mals._archives(since timestamptz, until timestamptz) RETURNS text[]
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH manifests AS MATERIALIZED (
    SELECT d.dir || '/' || f.name AS path, pg_read_file(d.dir || '/' || f.name)::jsonb AS content
      FROM NULLIF(current_setting('mals.archive_directory', true), '') AS top,
           pg_ls_dir(top, true, false) AS s (name),
           LATERAL (SELECT top || '/' || s.name AS dir WHERE (pg_stat_file(top || '/' || s.name, true)).isdir) AS d,
           pg_ls_dir(d.dir, true, false) AS f (name)
     WHERE f.name ~ '[.]json$')
  SELECT array_agg(path ORDER BY path) FROM manifests
   WHERE content ->> 'format' = 'mals archive' AND content ->> 'database' = current_database()
     AND (content ->> 'min_ts')::timestamptz < until AND (content ->> 'max_ts')::timestamptz >= since
$$;
COMMENT ON FUNCTION mals._archives(timestamptz, timestamptz) IS 'The manifests of the archives of this database that have entries from since (inclusive) until (exclusive); NULL if there are none.';

CREATE FUNCTION mals_forget(query text, dry_run boolean DEFAULT true, reason text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_forget(text, boolean, text) IS
  'Deletes the entries that match a query (see mals_search; '''' matches all) for good, also those that wait in shared memory or among mals.dead_letters, with what was said about them, templates that no entry is left of, and returns how many. With dry_run (the default) it only counts them. Leaves a row in mals.audit with the query, the reason and the archives that may still hold such entries. All or nothing, in the caller''s transaction. Their bytes leave the disk by VACUUM, and backups not at all. Errors: 22004 NULL query; 22023 a query that does not parse; 42501 not allowed; 25006 read-only.';
