-- Access: PUBLIC may call what tells nothing about entries; all else is granted by name.
-- Row security: a role that is bound to agents sees of every table what is of these agents.
-- By default: rows with an agent_id by that, rows with an entry_id by that entry, and of
-- other tables nothing; nor of alerts, which count the entries of all agents. A table that has
-- policies of its own already is left alone.
--
-- Called at the end of this script and of every one that updates the extension. It leaves
-- alone what was there before: a change of privileges in such a script makes all privileges
-- of the object, those of users too, its initial ones, which are not dumped.
CREATE FUNCTION mals._set_access() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  member record;
BEGIN
  FOR member IN
    SELECT p.oid::regprocedure AS signature,
           p.proname ~ '^mals_(level_.*|severity_number|health|version|template|fingerprint)$'
             OR p.prokind = 'a' AND p.proname !~ '^_' AS is_public
      FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
     WHERE d.classid = 'pg_proc'::regclass
       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mals')
       AND NOT EXISTS (SELECT FROM pg_init_privs i
                        WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid)
  LOOP
    EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', member.signature);
    IF member.is_public THEN
      EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', member.signature);
    END IF;
  END LOOP;

  FOR member IN
    SELECT c.oid::regclass AS name,
           CASE WHEN c.relname ~ '^_?alert' THEN 'mals._is_free()'
                WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'agent_id')
                THEN 'mals._is_own(agent_id)'
                WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'entry_id')
                THEN 'mals._is_free() OR mals._sees(entry_id)'
                ELSE 'mals._is_free()' END AS condition
      FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p')
     WHERE d.classid = 'pg_class'::regclass
       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'mals')
       AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
  LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', member.name);
    EXECUTE format('CREATE POLICY all_rows ON %s USING (true)', member.name);
    EXECUTE format('CREATE POLICY own_rows ON %s AS RESTRICTIVE USING (%s)', member.name, member.condition);
  END LOOP;
END
$$;

COMMENT ON FUNCTION mals._set_access() IS 'Takes new functions from PUBLIC, and gives new tables row security.';

-- DROP EXTENSION takes all entries along: it must be allowed first. Whatever drops the
-- extension is refused by the library, which this makes sure is loaded.
CREATE FUNCTION mals._before_drop() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_before_drop';
COMMENT ON FUNCTION mals._before_drop() IS 'Loads the library, which refuses to drop the extension.';
CREATE EVENT TRIGGER mals_guard ON ddl_command_start
  WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED') EXECUTE FUNCTION mals._before_drop();

SELECT mals._set_access();
