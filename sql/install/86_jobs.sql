-- What the background worker has done, and mals_maintain in its place.

CREATE TABLE mals._jobs (
  job         text PRIMARY KEY,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  result      bigint NOT NULL,
  failures    int NOT NULL,
  error       text
);
COMMENT ON TABLE mals._jobs IS 'The last run of each job of the background worker, one row a job: when, how much was done, how many runs in a row have failed, and the last error.';

CREATE FUNCTION mals._note_job(job text, started_at timestamptz, result bigint, error text) RETURNS void
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO mals._jobs AS j (job, started_at, finished_at, result, failures, error)
  VALUES ($1, $2, clock_timestamp(), $3, CASE WHEN $4 IS NULL THEN 0 ELSE 1 END, $4)
  ON CONFLICT (job) DO UPDATE
    SET started_at = excluded.started_at, finished_at = excluded.finished_at,
        result = excluded.result, error = excluded.error,
        failures = CASE WHEN $4 IS NULL THEN 0 ELSE j.failures + 1 END
$$;
COMMENT ON FUNCTION mals._note_job(text, timestamptz, bigint, text) IS 'Keeps the outcome of a job''s run.';

-- The file's value as the session began with it: a SET by the caller of mals_maintain
-- does not count.
CREATE FUNCTION mals._maintenance_setting(name text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(
    (SELECT substr(c, length($1) + 2)
       FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0, unnest(s.setconfig) c
      WHERE d.datname = current_database() AND split_part(c, '=', 1) = $1),
    (SELECT g.reset_val FROM pg_settings g WHERE g.name = $1))
$$;
COMMENT ON FUNCTION mals._maintenance_setting(text) IS 'The value that maintenance goes by: that of ALTER DATABASE, else that of the configuration file.';
