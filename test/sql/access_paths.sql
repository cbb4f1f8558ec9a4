-- Nobody gets a caller to run what they made: with functions, operators and tables of the names
-- that mals uses first in the search path, whatever may be called calls none of them.
SET timezone = 'UTC';
SET client_min_messages = warning;
\set VERBOSITY terse
TRUNCATE mals.entries, mals._sights, mals._templates;
SELECT count(mals_log('agent-' || i % 3, 'Order ' || i || ' rejected', 'error', metadata => '{"ms": 5, "task_id": "t", "duration_ms": 3}', session_key => 's', category => 'task_failed')) AS logged FROM generate_series(1, 20) AS i;
SELECT id AS entry, fingerprint FROM mals.entries LIMIT 1 \gset

-- Everything of pg_catalog with plain arguments there is once more, and tells that it was called
CREATE SCHEMA evil;
CREATE SEQUENCE evil.called;
CREATE TABLE evil.names (name text);
CREATE TEMP TABLE plain AS SELECT unnest('{text,name,integer,bigint,smallint,boolean,float8,numeric,interval,timestamptz,date,jsonb,json,uuid,oid,regclass,regrole,"char",bytea,text[],uuid[],float8[],oid[],name[]}'::regtype[])::oid AS type;
DO $$
DECLARE
  f record;
BEGIN
  FOR f IN SELECT p.oid, p.proname, p.proretset, p.prorettype, (SELECT pg_catalog.string_agg(pg_catalog.format_type(t, NULL), ', ' ORDER BY i) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (t, i)) AS args
             FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.prorettype IN (SELECT type FROM plain)
              AND NOT p.proretset AND p.pronargs > 0 AND p.proargtypes::oid[] <@ (SELECT array_agg(type) FROM plain) LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM pg_catalog.nextval(''evil.called''); RAISE ''evil %s''; END $f$',
                   f.proname, f.args, format_type(f.prorettype, NULL), f.proname);
  END LOOP;
  FOR f IN SELECT o.oid, o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r, format_type(o.oprresult, NULL) AS result FROM pg_operator o
            WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b' AND ARRAY[oprleft, oprright, oprresult] <@ (SELECT array_agg(type) FROM plain) LOOP
    EXECUTE format('CREATE FUNCTION evil.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM pg_catalog.nextval(''evil.called''); RAISE ''evil operator''; END $f$', f.oid, f.l, f.r, f.result);
    EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator_%s)', f.oprname, f.l, f.r, f.oid);
  END LOOP;
END $$;
SELECT count(*) > 800 AS functions FROM pg_proc WHERE pronamespace = 'evil'::regnamespace;
SELECT count(*) > 200 AS operators FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace;
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
               WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND c.relkind IN ('r', 'p', 'v') LOOP
    EXECUTE format('CREATE TEMP TABLE %I (evil text)', name);
  END LOOP;
END $$;

-- What is called, with what: every function of mals that a user may call, and plain SQL
CREATE TABLE statements (n serial, what text, statement text);
INSERT INTO statements (what, statement)
  SELECT p.oid::regprocedure, format('SELECT * FROM %s.%I(%s)', p.pronamespace::regnamespace, p.proname, COALESCE(a.args, ''))
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e',
         LATERAL (SELECT string_agg(format('%s::%s', CASE
             WHEN u.name = 'privilege' THEN '''reader''' WHEN u.name = 'agent_id' THEN '''agent-1''' WHEN u.name = 'scope' THEN '''agent''' WHEN u.name = 'format' THEN '''json'''
             WHEN u.name = 'sort' THEN '''asc''' WHEN u.name = 'cursor' THEN 'NULL' WHEN u.name = 'timeout' THEN '''1 millisecond''' WHEN u.name = 'fingerprint' THEN quote_literal(:'fingerprint')
             WHEN u.name = 'group_by' THEN '''agent''' WHEN u.name = 'kind' THEN '''counter''' WHEN u.name = 'channels' THEN '''[]''' WHEN u.name = 'on_state' THEN '''new''' WHEN u.name = 'level' THEN '''error'''
             WHEN u.name IN ('since', 'from_ts') THEN quote_literal(now() - interval '1 hour') WHEN u.name IN ('until', 'to_ts', 'ts') THEN quote_literal(now()) WHEN u.name = 'field' THEN '''duration_ms''' WHEN u.name = 'dry_run' THEN 'true'
             WHEN u.name = 'labels' THEN '''{"a": "b"}''' WHEN u.name = 'id' AND p.proname = 'mals_log' THEN 'NULL' WHEN u.name = 'query' THEN '''level:error agent:agent-* rejected meta.ms:>1 -resolved:yes after:1h''' WHEN u.name = 'keep' THEN '''1 day'''
             WHEN u.type = 'text'::regtype THEN '''mals_text''' WHEN u.type = 'integer'::regtype THEN '5' WHEN u.type = 'bigint'::regtype THEN '5' WHEN u.type = 'boolean'::regtype THEN 'true' WHEN u.type = 'float8'::regtype THEN '1.5'
             WHEN u.type = 'interval'::regtype THEN '''1 hour''' WHEN u.type = 'jsonb'::regtype THEN '''{"agent": "a", "msg": "m", "metadata": {"a": [1]}}''' WHEN u.type = 'regrole'::regtype THEN '''mals_test_paths'''
             WHEN u.type = 'uuid'::regtype THEN quote_literal(:'entry') WHEN u.type = 'uuid[]'::regtype THEN quote_literal(ARRAY[:'entry'::uuid]) ELSE 'NULL' END, u.type), ', ' ORDER BY u.i) AS args
           FROM (SELECT t::regtype AS type, p.proargnames[i] AS name, i FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS v (t, i)) u) a
   WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND p.prokind = 'f' AND p.proname LIKE 'mals\_%' AND p.prorettype <> 'trigger'::regtype AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
     AND p.proname !~ '^mals_level_(in|out|recv|send)$'
   ORDER BY p.oid::regprocedure::text COLLATE "C";
INSERT INTO statements (what, statement) SELECT 'SELECT', 'SELECT * FROM mals.' || c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
   WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND c.relkind IN ('r', 'p', 'v') ORDER BY c.relname;
INSERT INTO statements (what, statement) VALUES
  ('INSERT', 'INSERT INTO mals.logs (agent_id, message, metadata, ts) VALUES (''a'', ''token=hunter2x m'', ''{"a": [1]}'', ''2024-01-01'') RETURNING id'),
  ('INSERT', 'INSERT INTO mals.inbox VALUES (''{"agent": "a", "msg": "m", "ts": "2024-01-01T00:00:00"}'')'),
  ('INSERT', 'INSERT INTO mals.fluentbit VALUES (''tag'', ''2024-01-01'', ''{"agent": "a", "msg": "m"}'')'),
  ('INSERT', 'INSERT INTO mals.vector (message, host) VALUES (''m'', ''a'')'),
  ('INSERT', 'INSERT INTO mals.redact_rules VALUES (''evil'', ''x'')'),
  ('DELETE', 'DELETE FROM mals.entries'),
  ('UPDATE', 'UPDATE mals.agent_bindings SET agent_glob = ''a''');
CREATE ROLE mals_test_paths;
CREATE TABLE outcomes (n int, role text, outcome text);
CREATE FUNCTION call_all(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  s record;
  outcome text;
BEGIN
  FOR s IN SELECT n, statement FROM public.statements LOOP
    outcome := 'done';
    BEGIN
      SET LOCAL search_path = evil, pg_temp, pg_catalog, public, mals;
      EXECUTE s.statement;
      RAISE SQLSTATE 'P9999';
    EXCEPTION
      WHEN SQLSTATE 'P9999' THEN NULL;
      WHEN OTHERS THEN outcome := SQLSTATE;
    END;
    SET LOCAL search_path = public;
    INSERT INTO public.outcomes VALUES (s.n, who, outcome);
  END LOOP;
END $$;
-- evil is reached where it may be
SET search_path = evil, pg_catalog;
SELECT lower('X'::text);
SELECT 1 OPERATOR(+) 2;
RESET search_path;
SELECT is_called AS noticed FROM evil.called;
SELECT setval('evil.called', 1, false);

SELECT call_all('owner');
SELECT mals_grant('mals_test_paths', 'admin'), mals_bind_agent('mals_test_paths', 'agent-*');
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT USAGE ON SEQUENCE evil.called TO PUBLIC;
GRANT SELECT ON statements TO PUBLIC;
GRANT INSERT ON outcomes TO PUBLIC;
SET ROLE mals_test_paths;
SELECT call_all('bound');
RESET ROLE;
SELECT is_called AS evil_was_called FROM evil.called;
SELECT role, what, outcome FROM outcomes JOIN statements USING (n) WHERE outcome NOT IN ('done', '42501', '22023', '22004', '22P02', 'P0002', '55000') ORDER BY role, n;
SELECT role, count(*) > 120 AS called, count(*) FILTER (WHERE outcome = 'done') > 80 AS done FROM outcomes GROUP BY role ORDER BY role;

SELECT mals_bind_agent('mals_test_paths', NULL), mals_revoke('mals_test_paths', 'admin');
DROP TABLE statements, outcomes;
DROP FUNCTION call_all;
DROP SCHEMA evil CASCADE;
DISCARD TEMP;
DROP ROLE mals_test_paths;
TRUNCATE mals.entries, mals._sights, mals._templates, mals.audit;
