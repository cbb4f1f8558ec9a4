-- mals_grant and mals_revoke: what writer, reader and admin can and cannot do.
BEGIN;
CREATE ROLE mals_test_writer;
CREATE ROLE mals_test_reader;
CREATE ROLE mals_test_admin;
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END
$$;
SELECT mals_grant('mals_test_writer', 'writer'), mals_grant('mals_test_reader', 'reader'),
       mals_grant('mals_test_admin', 'admin');
CREATE TABLE calls (n serial, statement text);
INSERT INTO calls (statement) VALUES
  ('SELECT mals_log(''a'', ''m'')'),
  ('SELECT mals_log_json(''{"agent": "a", "msg": "m"}'')'),
  ('SELECT mals_log_batch(''[{"agent": "a", "msg": "m"}]'')'),
  ('SELECT mals_log_otlp(''{"resourceLogs": []}'')'),
  ('INSERT INTO mals.logs (agent_id, message) VALUES (''a'', ''m'')'),
  ('INSERT INTO mals.logs (agent_id, message) VALUES (''a'', ''m'') RETURNING id'),
  ('INSERT INTO mals.logs (agent_id, message) VALUES (''a'', ''m'') RETURNING message'),
  ('INSERT INTO mals.inbox VALUES (''{"agent": "a", "msg": "m"}'')'),
  ('INSERT INTO mals.entries SELECT * FROM mals.entries'),
  ('SELECT id FROM mals.logs'),
  ('SELECT * FROM mals.logs'),
  ('SELECT * FROM mals.entries'),
  ('SELECT * FROM mals.templates'),
  ('SELECT * FROM mals_search()'),
  ('SELECT mals_count(''resolved:no fingerprint:1'')'),
  ('SELECT * FROM mals_errors()'),
  ('SELECT mals_summary()'),
  ('SELECT * FROM mals_patterns()'),
  ('SELECT mals_resolve_batch(''{}'')'),
  ('SELECT mals_maintain()'),
  ('SELECT mals_make_partitions(now(), now())'),
  ('SELECT mals_grant(''mals_test_writer'', ''admin'')'),
  ('SELECT mals_health()'),
  ('SELECT mals_version()');
GRANT SELECT ON calls TO PUBLIC;
SET ROLE mals_test_writer;
SELECT statement, try(statement) AS writer FROM calls ORDER BY n;
SET ROLE mals_test_reader;
SELECT statement, try(statement) AS reader FROM calls ORDER BY n;
SET ROLE mals_test_admin;
SELECT statement, try(statement) AS admin FROM calls ORDER BY n;
RESET ROLE;

-- taking one privilege back leaves the other
SELECT mals_grant('mals_test_writer', 'reader');
SELECT mals_revoke('mals_test_writer', 'writer');
SET ROLE mals_test_writer;
SELECT try('SELECT * FROM mals.logs') AS reads, try('SELECT mals_log(''a'', ''m'')') AS logs;
RESET ROLE;
SELECT mals_revoke('mals_test_writer', 'reader'), mals_revoke('mals_test_reader', 'reader'),
       mals_revoke('mals_test_admin', 'admin');
-- nothing is left behind
DROP ROLE mals_test_writer;
DROP ROLE mals_test_reader;
DROP ROLE mals_test_admin;

-- bad arguments
SELECT try('SELECT mals_grant(NULL, ''reader'')') AS no_role, try('SELECT mals_grant(current_user::regrole, NULL)') AS no_privilege,
       try('SELECT mals_revoke(current_user::regrole, ''root'')') AS unknown;

-- PUBLIC may call what the contract says and nothing else
SELECT p.oid::regprocedure AS open_to_public
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'mals' AND d.deptype = 'e'
   AND EXISTS (SELECT FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
   AND p.proname !~ '^mals_level'
 ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS open_to_public
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
 WHERE n.nspname = 'mals' AND a.grantee = 0;
ROLLBACK;
