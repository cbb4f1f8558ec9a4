-- Who may do what: mals_grant and mals_revoke.

-- What each privilege consists of: a right to a function, a relation or the schema.
CREATE FUNCTION mals._privileges() RETURNS TABLE (privilege text, type text, class oid, object oid)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH members AS (
    SELECT d.classid, d.objid FROM pg_depend d
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')),
  tables (privilege, types, relations) AS (VALUES
    ('writer', '{INSERT}'::text[], '{inbox, logs, fluentbit, vector}'::text[]),
    ('writer', '{SELECT (id)}', '{logs}'),
    ('reader', '{SELECT}', '{templates, logs, entries, resolutions, error_status, _groups, agents, _metrics, _series, _samples, _entry_totals, _entry_mark, _jobs, partitions, progress, alerts, alert_rules}'),
    ('reader', ARRAY['SELECT (fingerprint, group_id)'], '{_templates}'),
    ('admin', '{INSERT}', '{inbox, logs, fluentbit, vector}'),
    ('admin', '{INSERT, UPDATE, DELETE}', '{redact_rules}'),
    ('admin', '{UPDATE, DELETE}', '{dead_letters}')),
  functions (privilege, names) AS (VALUES
    ('writer', '^mals_(log|log_json|log_batch|log_otlp|flush|set_traceparent|new_correlation|id_ts|counter|gauge|observe|metric_define|agent_register|heartbeat|redact)$'),
    ('reader', '^mals_(get|search|count|list|trace|agents|stats|histogram|facets|context|export|tail|tail_cursor|patterns|errors|summary|query_explain|id_ts|fingerprint_version|metrics|tasks|sessions|utilization|latency|digest|report|sparkline|redact)$|^_(max|histogram|number|uuid_larger|is_bound|sees|status_of|sum|add|metric_(state|number|labels)|own_metrics|since|window|utilization|digest_code|report_.*|partitions|partition_entries|progress)$'),
    ('admin', '^mals_|^_(max|histogram|number|uuid_larger|is_bound|sees|status_of|sum|add|metric_(state|number|labels)|own_metrics|since|window|utilization|digest_code|report_.*|partitions|partition_entries|progress|check_writable)$'))
  SELECT p, 'USAGE', 'pg_namespace'::regclass::oid, 'mals'::regnamespace::oid FROM unnest('{writer, reader, admin}'::text[]) p
  UNION ALL
  SELECT t.privilege, type, 'pg_class'::regclass, ('mals.' || relation)::regclass
    FROM tables t, unnest(t.types) type, unnest(t.relations) relation
  UNION ALL
  SELECT 'admin', 'SELECT', m.classid, c.oid
    FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v')
  UNION ALL
  SELECT f.privilege, 'EXECUTE', m.classid, p.oid
    FROM functions f, members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
   WHERE p.proname ~ f.names
$$;
COMMENT ON FUNCTION mals._privileges() IS 'What the privileges writer, reader and admin consist of.';

CREATE FUNCTION mals._clauses(privilege text) RETURNS SETOF text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE p.class WHEN 'pg_proc'::regclass THEN format('%s ON ROUTINE %s', p.type, p.object::regprocedure)
                      WHEN 'pg_class'::regclass THEN format('%s ON %s', p.type, p.object::regclass)
                      ELSE format('%s ON SCHEMA %s', p.type, p.object::regnamespace) END
    FROM mals._privileges() p WHERE p.privilege = _clauses.privilege
$$;
COMMENT ON FUNCTION mals._clauses(text) IS 'What a privilege consists of, as the clauses of GRANT.';

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

CREATE FUNCTION mals._check_writable(what text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF current_setting('transaction_read_only')::boolean THEN
    RAISE read_only_sql_transaction USING MESSAGE = format('cannot execute %s in a read-only transaction', what),
      HINT = CASE WHEN pg_is_in_recovery() THEN 'This server is a standby: connect to the primary.'
                  ELSE 'Use a transaction that is READ WRITE.' END;
  END IF;
END
$$;
COMMENT ON FUNCTION mals._check_writable(text) IS 'Raises 25006 for a function that writes, in a transaction that must not.';

CREATE FUNCTION mals_grant(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part text;
BEGIN
  IF NOT has_table_privilege('mals.logs', 'SELECT WITH GRANT OPTION') THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied to grant privileges of mals',
      HINT = 'Have the owner of the extension do it.';
  END IF;
  PERFORM mals._check_writable('mals_grant');
  PERFORM mals._check_privilege(role, privilege);
  FOR part IN SELECT mals._clauses(privilege) LOOP
    EXECUTE format('GRANT %s TO %s', part, role);
  END LOOP;
  INSERT INTO mals.audit (action, detail)
    VALUES ('grant', jsonb_build_object('role', role, 'privilege', privilege));
END
$$;
COMMENT ON FUNCTION mals_grant(regrole, text) IS
  'Lets a role use mals. writer: log by every way in, RETURNING id, and read nothing else; reader: read entries, traces, errors and summaries; admin: both, and resolve, ignore, merge and maintain. To be called by the owner of the extension. Errors: 22004 for NULL, 22023 for an unknown privilege, 42501 if the caller may not grant it.';

-- Known by a part that nobody needs who was given some privileges by hand, which stay what they
-- are. An admin is shown as writer and reader, too.
CREATE FUNCTION mals._holders() RETURNS TABLE (role regrole, privilege text)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT DISTINCT a.grantee::regrole, k.privilege
    FROM (VALUES ('writer', 'mals.vector'::regclass, 'INSERT'), ('reader', 'mals.alerts', 'SELECT'),
                 ('admin', 'mals.audit', 'SELECT')) AS k (privilege, relation, type)
    JOIN pg_class c ON c.oid = k.relation,
         aclexplode(c.relacl) a
   WHERE a.privilege_type = k.type AND a.grantee <> c.relowner AND a.grantee <> 0
$$;
COMMENT ON FUNCTION mals._holders() IS 'The roles that mals_grant has given a privilege, known by a part of it.';

-- What one of the roles had taken away by hand is not missed as long as another one has it.
CREATE FUNCTION mals._ungranted() RETURNS TABLE (privilege text)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH holders AS MATERIALIZED (SELECT h.role, h.privilege FROM mals._holders() h)
  SELECT DISTINCT p.privilege
    FROM mals._privileges() p
    LEFT JOIN pg_proc f ON p.class = 'pg_proc'::regclass AND f.oid = p.object
    LEFT JOIN pg_class c ON p.class = 'pg_class'::regclass AND c.oid = p.object
   WHERE p.type ~ '^[A-Z]+$' AND p.class <> 'pg_namespace'::regclass
     AND p.privilege IN (SELECT h.privilege FROM holders h)
     AND NOT EXISTS (
       SELECT FROM holders h, aclexplode(COALESCE(f.proacl, c.relacl)) a
        WHERE h.privilege = p.privilege AND a.grantee = h.role AND a.privilege_type = p.type)
$$;
COMMENT ON FUNCTION mals._ungranted() IS 'The privileges that have got something new since they were granted: what no role with the privilege may use.';

CREATE FUNCTION mals_regrant() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT has_table_privilege('mals.logs', 'SELECT WITH GRANT OPTION') THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied to grant privileges of mals',
      HINT = 'Have the owner of the extension do it.';
  END IF;
  RETURN (SELECT count(@extschema@.mals_grant(h.role, h.privilege))
            FROM mals._holders() h
           WHERE h.privilege = 'admin'
              OR NOT EXISTS (SELECT FROM mals._holders() a WHERE a.role = h.role AND a.privilege = 'admin'));
END
$$;
COMMENT ON FUNCTION mals_regrant() IS
  'Gives all roles that have a privilege of mals (mals_grant) what it consists of in this version, and returns how many privileges these are. To be called after ALTER EXTENSION mals UPDATE, so that roles may call what is new; mals_health warns until then; by the owner of the extension. Errors: 42501 if the caller may not grant.';

CREATE FUNCTION mals_revoke(role regrole, privilege text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  part text;
  kept text[];
BEGIN
  IF NOT has_table_privilege('mals.logs', 'SELECT WITH GRANT OPTION') THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied to revoke privileges of mals',
      HINT = 'Have the owner of the extension do it.';
  END IF;
  PERFORM mals._check_writable('mals_revoke');
  PERFORM mals._check_privilege(role, privilege);
  -- what others share with this one is granted again, but that admin is all of them
  SELECT array_agg(k.privilege) INTO kept
    FROM mals._holders() k
   WHERE k.role = mals_revoke.role AND k.privilege <> mals_revoke.privilege AND mals_revoke.privilege <> 'admin';
  FOR part IN SELECT mals._clauses(privilege) LOOP
    EXECUTE format('REVOKE %s FROM %s', part, role);
  END LOOP;
  INSERT INTO mals.audit (action, detail)
    VALUES ('revoke', jsonb_build_object('role', role, 'privilege', privilege));
  FOREACH part IN ARRAY COALESCE(kept, '{}') LOOP
    PERFORM @extschema@.mals_grant(role, part);
  END LOOP;
END
$$;
COMMENT ON FUNCTION mals_revoke(regrole, text) IS
  'Takes back what mals_grant gave a role. writer and reader leave the other privileges as they are; admin takes writer and reader away too. Errors: 22004 for NULL, 22023 for an unknown privilege, 42501 if the caller may not revoke it.';

CREATE FUNCTION mals_bind_agent(role regrole, agent_glob text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = 'mals.entries'::regclass);
BEGIN
  IF role IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'role is required', HINT = 'Name the role, such as ''crypto_bot''.';
  END IF;
  IF agent_glob = '' THEN
    RAISE invalid_parameter_value USING MESSAGE = 'agent_glob is empty',
      HINT = 'Give an agent, or a glob such as crypto-*; NULL takes the binding back.';
  END IF;
  IF NOT pg_has_role(owner, 'USAGE') THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied to bind roles to agents',
      HINT = 'Have the owner of the extension do it.';
  END IF;
  PERFORM mals._check_writable('mals_bind_agent');
  IF agent_glob IS NOT NULL AND (pg_has_role(role, owner, 'USAGE') OR
       (SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles r WHERE r.oid = role)) THEN
    RAISE object_not_in_prerequisite_state USING MESSAGE = format('role %s cannot be bound: row security does not hold for it', role),
      HINT = 'Bind a role that is no superuser, has not BYPASSRLS and is no member of the owner of mals.';
  END IF;
  DELETE FROM mals.agent_bindings b
   WHERE b.role = mals_bind_agent.role OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = b.role);
  IF agent_glob IS NOT NULL THEN
    INSERT INTO mals.agent_bindings VALUES (role, agent_glob);
  END IF;
  INSERT INTO mals.audit (action, detail)
    VALUES ('bind_agent', jsonb_build_object('role', role, 'agent_glob', agent_glob));
END
$$;
COMMENT ON FUNCTION mals_bind_agent(regrole, text) IS
  'Binds a role to agents: from now on it can log only as, and read only of, agents that match agent_glob (* stands for any text, all else is literal). Takes the place of an earlier binding of the role; NULL takes it back. Holds for roles that inherit the role''s privileges, too; whoever is under several bindings may do only what all of them allow. Gives no privileges: use mals_grant as well. To be called by the owner of the extension. Errors: 22004 NULL role; 22023 an empty agent_glob; 42501 not the owner; 55000 a superuser or another role that row security does not hold for.';
