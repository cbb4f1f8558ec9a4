-- Who may do what: mals_grant and mals_revoke.

-- What each privilege consists of, as the clauses of GRANT.
CREATE FUNCTION mals._privileges() RETURNS TABLE (privilege text, n bigint, clause text)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH tables (privilege, n, clause) AS (VALUES
    ('writer', 1, 'INSERT ON mals.inbox'),
    ('writer', 2, 'INSERT ON mals.logs'),
    ('writer', 3, 'SELECT (id) ON mals.logs'),
    ('writer', 4, 'USAGE ON SCHEMA mals'),
    ('writer', 5, 'INSERT ON mals.fluentbit, mals.vector'),
    ('reader', 1, 'SELECT ON mals.templates'),
    ('reader', 2, 'SELECT ON mals.logs'),
    ('reader', 3, 'SELECT ON mals.entries'),
    ('reader', 4, 'SELECT ON mals.resolutions'),
    ('reader', 5, 'SELECT ON mals.error_status'),
    ('reader', 6, 'SELECT ON mals._templates'),
    ('reader', 7, 'SELECT ON mals._groups'),
    ('reader', 8, 'USAGE ON SCHEMA mals'),
    ('admin', 1, 'INSERT, UPDATE, DELETE ON mals.error_status'),
    ('admin', 2, 'SELECT ON ALL TABLES IN SCHEMA mals'),
    ('admin', 3, 'INSERT, UPDATE, DELETE ON mals.resolutions'),
    ('admin', 4, 'INSERT, UPDATE, DELETE ON mals._templates, mals._sights, mals._groups'),
    ('admin', 5, 'INSERT, UPDATE, DELETE ON mals._hand_merges, mals._hand_splits'),
    ('admin', 6, 'INSERT ON mals.logs, mals.inbox'),
    ('admin', 7, 'USAGE ON SCHEMA mals'),
    ('admin', 8, 'INSERT, UPDATE, DELETE ON mals.redact_rules')),
  functions (privilege, names) AS (VALUES
    ('writer', '^mals_(log|log_json|log_batch|log_otlp|set_traceparent|new_correlation|id_ts|redact)$'),
    ('reader', '^mals_(get|search|count|list|trace|agents|stats|histogram|facets|context|export|patterns|errors|summary|query_explain|id_ts|fingerprint_version|redact)$|^_(max|uuid_larger)$'),
    ('admin', '^mals_|^_(max|uuid_larger)$'))
  SELECT privilege, n, clause FROM tables
  UNION ALL
  SELECT f.privilege, 100 + row_number() OVER (ORDER BY p.oid::regprocedure::text),
         format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
    FROM functions f, pg_depend d JOIN pg_proc p ON p.oid = d.objid
   WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
     AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
     AND p.proname ~ f.names
$$;
COMMENT ON FUNCTION mals._privileges() IS 'What the privileges writer, reader and admin consist of.';

-- Checks the arguments of mals_grant and mals_revoke.
CREATE FUNCTION mals._check_privilege(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF role IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'role is required', HINT = 'Name the role, such as ''crypto_bot''.';
  END IF;
  IF privilege IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'privilege is required', HINT = 'Give writer, reader or admin.';
  END IF;
  IF privilege NOT IN ('writer', 'reader', 'admin') THEN
    RAISE invalid_parameter_value USING MESSAGE = format('privilege "%s" is unknown', privilege),
      HINT = 'Give writer, reader or admin.';
  END IF;
END
$$;
COMMENT ON FUNCTION mals._check_privilege(regrole, text) IS 'Raises an error for a privilege that there is not.';

CREATE FUNCTION mals_grant(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part text;
BEGIN
  PERFORM mals._check_privilege(role, privilege);
  FOR part IN SELECT p.clause FROM mals._privileges() p WHERE p.privilege = mals_grant.privilege ORDER BY p.n LOOP
    EXECUTE format('GRANT %s TO %s', part, role);
  END LOOP;
END
$$;
COMMENT ON FUNCTION mals_grant(regrole, text) IS
  'Lets a role use mals. writer: log by every way in, RETURNING id, and read nothing else; reader: read entries, traces, errors and summaries; admin: both, and resolve, ignore, merge and maintain. To be called by the owner of the extension. Errors: 22004 for NULL, 22023 for an unknown privilege, 42501 if the caller may not grant it.';

CREATE FUNCTION mals_revoke(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part text;
  kept text[];
BEGIN
  PERFORM mals._check_privilege(role, privilege);
  -- what others share with this one is granted again, but that admin is all of them
  SELECT array_agg(k.privilege) INTO kept
    FROM (VALUES ('writer', 'mals.inbox'::regclass, 'INSERT'), ('reader', 'mals.templates', 'SELECT'),
                 ('admin', 'mals.error_status', 'INSERT')) AS k (privilege, relation, type)
   WHERE k.privilege <> mals_revoke.privilege AND mals_revoke.privilege <> 'admin'
     AND EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a
                  WHERE c.oid = k.relation AND a.grantee = role AND a.privilege_type = k.type);
  FOR part IN SELECT p.clause FROM mals._privileges() p WHERE p.privilege = mals_revoke.privilege ORDER BY p.n LOOP
    EXECUTE format('REVOKE %s FROM %s', part, role);
  END LOOP;
  FOREACH part IN ARRAY COALESCE(kept, '{}') LOOP
    PERFORM @extschema@.mals_grant(role, part);
  END LOOP;
END
$$;
COMMENT ON FUNCTION mals_revoke(regrole, text) IS
  'Takes back what mals_grant gave a role. writer and reader leave the other privileges as they are; admin takes writer and reader away too. Errors: 22004 for NULL, 22023 for an unknown privilege, 42501 if the caller may not revoke it.';
