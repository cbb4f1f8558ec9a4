-- What became of entries.

CREATE FUNCTION mals_resolve(
  id uuid, resolved_by text DEFAULT current_user, note text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_resolve(uuid, text, text) IS
  'Marks a log entry as resolved: mals.logs shows resolved, resolved_at and resolved_by from then on. Returns true if this call resolved it, false if it was resolved already. Errors: P0002 no entry has the id; 22004 NULL id, missing or empty resolved_by; 25006 read-only.';

CREATE FUNCTION mals_resolve_batch(
  ids uuid[], resolved_by text DEFAULT current_user, note text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_resolve_batch(uuid[], text, text) IS
  'Marks log entries as resolved and returns how many this call resolved; those that were resolved already, unknown ids and NULLs are not counted. Errors: 22004 NULL ids, missing or empty resolved_by; 25006 read-only.';

CREATE FUNCTION mals_unresolve(id uuid) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_unresolve(uuid) IS
  'Opens a resolved log entry again. Returns true if it was resolved. Errors: P0002 no entry has the id; 22004 NULL id; 25006 read-only.';
