-- Access: PUBLIC may call what tells nothing about entries; all else is granted by name.

DO $$
DECLARE
  member record;
BEGIN
  FOR member IN
    SELECT p.oid::regprocedure AS signature, p.prokind,
           p.proname ~ '^mals_(level_.*|severity_number|health|version|template|fingerprint)$'
             OR p.prokind = 'a' AND p.proname !~ '^_' AS is_public
      FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
     WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
       AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
       AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'mals')
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', member.signature);
    IF member.is_public THEN
      EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', member.signature);
    END IF;
  END LOOP;
END
$$;
