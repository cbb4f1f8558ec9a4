-- Who may do what: every function, table and view of the extension x every kind of role, from
-- the catalog. What has no row below fails the test.
--
-- To add a function: a row (its signature as regprocedure shows it, who may call it, a call that
-- does no harm and is undone, or NULL). Who: w writer, r reader, a admin, p everyone; '' is the owner alone.
-- Functions mals._x need none, and are the owner's alone, unless others need them.
-- To add a table or view: a row (its name, who may SELECT, who may INSERT). Nobody but the owner
-- may do more than that with any, but that admins change rules of their own.
-- The lists are not echoed: a new row changes nothing in the expected output.
SET timezone = 'UTC';
\set ECHO none
CREATE TABLE functions (signature text PRIMARY KEY, who text NOT NULL, call text);
INSERT INTO functions VALUES
  ('mals_agents(interval)', 'ra', 'SELECT * FROM mals_agents()'),
  ('mals_alert_defaults(jsonb)', 'a', 'SELECT mals_alert_defaults()'),
  ('mals_alert_drop(text)', 'a', 'SELECT mals_alert_drop(''none'')'),
  ('mals_alert_set(text,text,integer,interval,interval,jsonb,text)', 'a', 'SELECT mals_alert_set(''matrix'', '''')'),
  ('mals_alert_test(text)', 'a', 'SELECT mals_alert_set(''matrix'', ''''), mals_alert_test(''matrix'')'),
  ('mals_bind_agent(regrole,text)', 'a', NULL), -- refuses all but the owner by itself
  ('mals_context(uuid,integer,integer,text)', 'ra', 'SELECT * FROM mals_context((SELECT id FROM seen))'),
  ('mals_count(text,timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT mals_count()'),
  ('mals_errors(timestamp with time zone,text,timestamp with time zone,integer)', 'ra', 'SELECT * FROM mals_errors()'),
  ('mals_export(text,text,timestamp with time zone,timestamp with time zone,bigint)', 'ra', 'SELECT mals_export()'),
  ('mals_facets(text,timestamp with time zone,timestamp with time zone,text,integer)', 'ra', 'SELECT * FROM mals_facets()'),
  ('mals_fingerprint(text,jsonb)', 'p', 'SELECT mals_fingerprint(''m'')'),
  ('mals_fingerprint_version()', 'ra', 'SELECT mals_fingerprint_version()'),
  ('mals_flush()', 'wa', 'SELECT mals_flush()'),
  ('mals_forget(text,boolean,text)', 'a', 'SELECT mals_forget('''', false)'),
  ('mals_get(uuid)', 'ra', 'SELECT * FROM mals_get(''018cc251-f400-7000-8000-000000000000'')'),
  ('mals_grant(regrole,text)', 'a', NULL),
  ('mals_health()', 'p', 'SELECT mals_health()'),
  ('mals_histogram(interval,text,timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT * FROM mals_histogram(''1 hour'')'),
  ('mals_id_ts(uuid)', 'wra', 'SELECT mals_id_ts(''018cc251-f400-7000-8000-000000000000'')'),
  ('mals_ignore_error(bigint,timestamp with time zone,text)', 'a', 'SELECT mals_ignore_error(mals_fingerprint(''Seen before''))'),
  ('mals_list(text,mals_level,text,text,boolean,timestamp with time zone,timestamp with time zone,text,integer,integer)', 'ra', 'SELECT mals_list()'),
  ('mals_log(text,text,mals_level,text,jsonb,text,text,uuid,uuid,text,timestamp with time zone,uuid)', 'wa', 'SELECT mals_log(''mine'', ''m'')'),
  ('mals_log_batch(jsonb)', 'wa', 'SELECT mals_log_batch(''[{"agent": "mine", "msg": "m"}]'')'),
  ('mals_log_json(jsonb)', 'wa', 'SELECT mals_log_json(''{"agent": "mine", "msg": "m"}'')'),
  ('mals_log_otlp(jsonb)', 'wa', 'SELECT mals_log_otlp(''{"resourceLogs": []}'')'),
  ('mals_maintain()', 'a', 'SELECT mals_maintain()'),
  ('mals_make_partitions(timestamp with time zone,timestamp with time zone)', 'a', 'SELECT mals_make_partitions(now(), now())'),
  ('mals_merge_groups(bigint,bigint)', 'a', 'SELECT mals_merge_groups(mals_fingerprint(''Seen before''), mals_fingerprint(''Seen before''))'),
  ('mals_new_correlation(text)', 'wa', 'SELECT mals_new_correlation()'),
  ('mals_patterns(text,timestamp with time zone,timestamp with time zone,integer)', 'ra', 'SELECT * FROM mals_patterns()'),
  ('mals_prune(interval,boolean)', 'a', 'SELECT mals_prune(dry_run => true)'),
  ('mals_set_retention(interval,mals_level,text,text)', 'a', 'SELECT mals_set_retention(''1 day'', ''trace'')'),
  ('mals_drop_retention(mals_level,text,text)', 'a', 'SELECT mals_drop_retention()'),
  ('mals._partition_entries(oid)', 'ra', 'SELECT mals._partition_entries(0)'),
  ('mals._partitions()', 'ra', 'SELECT * FROM mals._partitions()'),
  ('mals._progress()', 'ra', 'SELECT * FROM mals._progress()'),
  ('mals_query_explain(text)', 'ra', 'SELECT mals_query_explain('''')'),
  ('mals_redact(text)', 'wra', 'SELECT mals_redact(''m'')'),
  ('mals_regrant()', 'a', NULL), -- refuses all but the owner by itself
  ('mals_reopen_error(bigint)', 'a', 'SELECT mals_reopen_error(mals_fingerprint(''Seen before''))'),
  ('mals_resolve(uuid,text,text)', 'a', 'SELECT mals_resolve(id) FROM seen'),
  ('mals_resolve_batch(uuid[],text,text)', 'a', 'SELECT mals_resolve_batch(ARRAY[id]) FROM seen'),
  ('mals_resolve_error(bigint,text,text)', 'a', 'SELECT mals_resolve_error(mals_fingerprint(''Seen before''))'),
  ('mals_restore_archive(text,interval)', 'a', NULL),
  ('mals_revoke(regrole,text)', 'a', NULL),
  ('mals_search(text,timestamp with time zone,timestamp with time zone,integer,integer,text)', 'ra', 'SELECT * FROM mals_search()'),
  ('mals_set_traceparent(text)', 'wa', 'SELECT mals_set_traceparent(NULL)'),
  ('mals_split_group(bigint)', 'a', 'SELECT mals_split_group(mals_fingerprint(''Seen before''))'),
  ('mals_stats(timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT mals_stats()'),
  ('mals_summary(timestamp with time zone,text,timestamp with time zone,integer)', 'ra', 'SELECT mals_summary()'),
  ('mals_template(text)', 'p', 'SELECT mals_template(''m'')'),
  ('mals_tail(text,text,interval,integer)', 'ra', 'SELECT * FROM mals_tail(timeout => ''0'')'),
  ('mals_tail_cursor()', 'ra', 'SELECT mals_tail_cursor()'),
  ('mals_trace(text)', 'ra', 'SELECT * FROM mals_trace(''c'')'),
  ('mals_trace(uuid)', 'ra', 'SELECT * FROM mals_trace(md5('''')::uuid)'),
  ('mals_agent_register(text,text,text[],jsonb,interval)', 'wa', 'SELECT mals_agent_register(''mine'')'),
  ('mals_counter(text,jsonb,double precision)', 'wa', 'SELECT mals_counter(''c'')'),
  ('mals_digest(timestamp with time zone,text,integer)', 'ra', 'SELECT mals_digest()'),
  ('mals_gauge(text,double precision,jsonb,boolean)', 'wa', 'SELECT mals_gauge(''g'', 1)'),
  ('mals_heartbeat(text)', 'wa', 'SELECT mals_heartbeat(''mine'')'),
  ('mals_latency(text,text,text,timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT * FROM mals_latency()'),
  ('mals_metric_define(text,text,text,double precision[])', 'wa', 'SELECT mals_metric_define(''d'', ''counter'')'),
  ('mals_metrics()', 'ra', 'SELECT mals_metrics()'),
  ('mals_observe(text,double precision,jsonb)', 'wa', 'SELECT mals_observe(''h'', 1)'),
  ('mals_report(timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT mals_report()'),
  ('mals_sessions(timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT * FROM mals_sessions()'),
  ('mals_sparkline(double precision[])', 'ra', 'SELECT mals_sparkline(''{1,2}'')'),
  ('mals_tasks(timestamp with time zone,timestamp with time zone)', 'ra', 'SELECT * FROM mals_tasks()'),
  ('mals_utilization(timestamp with time zone,timestamp with time zone,interval)', 'ra', 'SELECT * FROM mals_utilization()'),
  ('mals_unresolve(uuid)', 'a', 'SELECT mals_unresolve(id) FROM seen'),
  ('mals_version()', 'p', 'SELECT mals_version()'),
  -- internals that views, policies and readers call as their user
  ('mals._check_writable(text)', 'a', NULL),
  ('mals._histogram(timestamp with time zone,mals_level,timestamp with time zone,bigint,bigint)', 'ra',
   'SELECT mals._histogram(now(), ''info'', now(), 1, 1)'),
  ('mals._is_bound()', 'ra', 'SELECT mals._is_bound()'),
  ('mals._max(uuid)', 'ra', 'SELECT mals._max(NULL::uuid)'),
  ('mals._sees(uuid)', 'ra', 'SELECT mals._sees(md5('''')::uuid)'),
  ('mals._status_of(bigint)', 'ra', 'SELECT mals._status_of(1)'),
  ('mals._uuid_larger(uuid,uuid)', 'ra', 'SELECT mals._uuid_larger(id, id) FROM seen');
-- what figures and reports are made with
INSERT INTO functions SELECT p.oid::regprocedure, 'ra' FROM pg_proc p
  WHERE p.pronamespace = 'mals'::regnamespace AND p.proname ~ '^_(sum|add|number|metric_(state|number|labels)|own_metrics|since|window|utilization|digest_code|report_.*)$';
-- the type, and its aggregates
INSERT INTO functions SELECT p.oid::regprocedure, 'p' FROM pg_proc p
  WHERE p.pronamespace = 'public'::regnamespace AND (p.proname ~ '^mals_(level_|severity_number$)' OR p.prokind = 'a' AND p.proname IN ('min', 'max'));

CREATE TABLE relations (name regclass PRIMARY KEY, readers text NOT NULL, writers text NOT NULL);
INSERT INTO relations VALUES
  ('mals.agent_bindings', 'a', ''),
  ('mals.agents', 'ra', ''),
  ('mals.alert_rules', 'ra', ''),
  ('mals.alerts', 'ra', ''),
  ('mals.audit', 'a', ''),
  ('mals.dead_letters', 'a', ''),
  ('mals.entries', 'ra', ''),
  ('mals.error_status', 'ra', ''),
  ('mals.fluentbit', 'a', 'wa'),
  ('mals.inbox', 'a', 'wa'),
  ('mals.logs', 'ra', 'wa'),
  ('mals.partitions', 'ra', ''),
  ('mals.progress', 'ra', ''),
  ('mals.redact_rules', 'a', 'a'),
  ('mals.retention_policies', 'a', ''),
  ('mals._expiry', 'a', ''),
  ('mals._partition_state', 'a', ''),
  ('mals.resolutions', 'ra', ''),
  ('mals.templates', 'ra', ''),
  ('mals.vector', 'a', 'wa'),
  ('mals._alert_deliveries', 'a', ''),
  ('mals._alert_matches', 'a', ''),
  ('mals._alert_rules', 'a', ''),
  ('mals._alert_seen', 'a', ''),
  ('mals._alert_state', 'a', ''),
  ('mals._archive_failures', 'a', ''),
  ('mals._dead_logs', 'a', ''),
  ('mals._entry_mark', 'ra', ''),
  ('mals._entry_totals', 'ra', ''),
  ('mals._exemptions', 'a', ''),
  ('mals._groups', 'ra', ''),
  ('mals._hand_merges', 'a', ''),
  ('mals._hand_splits', 'a', ''),
  ('mals._jobs', 'ra', ''),
  ('mals._metrics', 'ra', ''),
  ('mals._refused_ids', 'a', ''),
  ('mals._samples', 'ra', ''),
  ('mals._series', 'ra', ''),
  ('mals._sights', 'a', ''),
  ('mals._templates', 'a', '');

ALTER TABLE relations ADD changers text NOT NULL DEFAULT '';
UPDATE relations SET changers = 'a' WHERE name IN ('mals.redact_rules'::regclass, 'mals.dead_letters'::regclass);

\set ECHO all

CREATE TABLE roles (role regrole, kind text);
CREATE ROLE mals_test_nobody;
CREATE ROLE mals_test_writer;
CREATE ROLE mals_test_bound_writer;
CREATE ROLE mals_test_reader;
CREATE ROLE mals_test_bound_reader;
CREATE ROLE mals_test_admin;
INSERT INTO roles VALUES ('mals_test_nobody', ''), ('mals_test_writer', 'w'), ('mals_test_bound_writer', 'w'),
  ('mals_test_reader', 'r'), ('mals_test_bound_reader', 'r'), ('mals_test_admin', 'a'), (current_user::regrole, 'wrao');
SELECT count(mals_grant(role, CASE kind WHEN 'w' THEN 'writer' WHEN 'r' THEN 'reader' ELSE 'admin' END)) AS granted FROM roles WHERE kind IN ('w', 'r', 'a');
SELECT mals_bind_agent('mals_test_bound_writer', 'mine'), mals_bind_agent('mals_test_bound_reader', 'mine');
CREATE TABLE seen AS SELECT mals_log('mine', 'Seen before', 'error') AS id;
GRANT SELECT ON functions, relations, roles, seen TO PUBLIC;

CREATE VIEW members AS
  SELECT d.classid, d.objid FROM pg_depend d
   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals');

-- Every function has a row, and every row a function
SELECT p.oid::regprocedure AS "has no row in access_matrix.sql: say who may call it"
  FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
 WHERE p.proname !~ '^_' AND p.oid::regprocedure::text NOT IN (SELECT signature FROM functions) ORDER BY 1;
SELECT signature AS "is in access_matrix.sql, but is no function"
  FROM functions WHERE to_regprocedure(signature) IS NULL OR to_regprocedure(signature)::oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass) ORDER BY 1;
SELECT c.oid::regclass AS "has no row in access_matrix.sql: say who may read and write"
  FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.oid NOT IN (SELECT name FROM relations) ORDER BY 1;
SELECT c.oid::regclass AS "has no row security: see sql/install/99_access.sql"
  FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
 WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive)) ORDER BY 1;

-- Privileges: what a role has is what it should have
SELECT r.role, p.oid::regprocedure AS function, NOT x.may AS may, x.may AS should
  FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
  LEFT JOIN functions f ON f.signature = p.oid::regprocedure::text
  CROSS JOIN roles r, LATERAL (SELECT COALESCE(f.who, '') = 'p' OR r.kind ~ ('[o' || COALESCE(f.who, '') || ']') AS may) x
 WHERE has_function_privilege(r.role, p.oid, 'EXECUTE') <> x.may ORDER BY 2, 1;
SELECT r.role, t.name, privilege, NOT x.may AS may, x.may AS should
  FROM relations t CROSS JOIN roles r
  CROSS JOIN unnest('{SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER}'::text[]) privilege,
  LATERAL (SELECT r.kind ~ ('[o' || CASE privilege WHEN 'SELECT' THEN t.readers WHEN 'INSERT' THEN t.writers WHEN 'UPDATE' THEN t.changers WHEN 'DELETE' THEN t.changers ELSE '' END || ']') AS may) x
 WHERE has_table_privilege(r.role, t.name, privilege) <> x.may ORDER BY 2, 3, 1;
SELECT r.role, a.attrelid::regclass AS table, array_agg(a.attname ORDER BY attnum) AS columns
  FROM relations t JOIN pg_attribute a ON a.attrelid = t.name AND a.attnum > 0 CROSS JOIN roles r
 WHERE has_column_privilege(r.role, a.attrelid, a.attnum, 'SELECT') AND NOT has_table_privilege(r.role, t.name, 'SELECT') GROUP BY 1, 2 ORDER BY 2::text, 1;

-- Calls: 42501 for whom it is not, and for nobody else. What was done is undone.
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RAISE 'done' USING ERRCODE = 'P9999';
EXCEPTION WHEN OTHERS THEN
  RETURN CASE SQLSTATE WHEN 'P9999' THEN 'done' WHEN '42501' THEN 'denied' ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;
CREATE TABLE calls (role regrole, what text, outcome text, should text);
GRANT INSERT ON calls TO PUBLIC;
CREATE TABLE statements (what text, who text, statement text);
INSERT INTO statements
  SELECT signature, who, call FROM functions WHERE call IS NOT NULL
  UNION ALL SELECT 'SELECT ' || name, readers, 'SELECT * FROM ' || name FROM relations
  UNION ALL SELECT 'DELETE ' || name, changers, 'DELETE FROM ' || name FROM relations JOIN pg_class c ON c.oid = name WHERE c.relkind <> 'v'
  UNION ALL VALUES ('INSERT mals.logs', 'wa', 'INSERT INTO mals.logs (agent_id, message) VALUES (''mine'', ''m'') RETURNING id'),
    ('INSERT mals.inbox', 'wa', 'INSERT INTO mals.inbox VALUES (''{"agent": "mine", "msg": "m"}'')'),
    ('INSERT mals.audit', '', 'INSERT INTO mals.audit (action) VALUES (''x'')'),
    ('INSERT mals.entries', '', 'INSERT INTO mals.entries SELECT * FROM mals.entries WHERE false'),
    ('mals_grant', '', 'SELECT mals_grant(''mals_test_nobody'', ''reader'')'),
    ('mals_revoke', '', 'SELECT mals_revoke(''mals_test_nobody'', ''reader'')'),
    ('mals_bind_agent', '', 'SELECT mals_bind_agent(''mals_test_nobody'', ''a'')'),
    ('SELECT a partition', '', (SELECT 'SELECT * FROM ' || inhrelid::regclass FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass LIMIT 1));
GRANT SELECT ON statements TO PUBLIC;
CREATE FUNCTION call_all() RETURNS void LANGUAGE sql AS $$
  INSERT INTO calls
    SELECT r.role, s.what, try(s.statement), CASE WHEN s.who = 'p' OR r.kind ~ ('[o' || s.who || ']') THEN 'done' ELSE 'denied' END
      FROM statements s, roles r WHERE r.role = current_user::regrole
$$;
SELECT call_all();
SET ROLE mals_test_nobody; SELECT call_all();
SET ROLE mals_test_writer; SELECT call_all();
SET ROLE mals_test_bound_writer; SELECT call_all();
SET ROLE mals_test_reader; SELECT call_all();
SET ROLE mals_test_bound_reader; SELECT call_all();
SET ROLE mals_test_admin; SELECT call_all();
RESET ROLE;
SELECT * FROM calls WHERE outcome <> should ORDER BY what, role;
SELECT count(*) > 60 * 7 AS called, count(DISTINCT role) AS roles, count(*) FILTER (WHERE outcome = 'denied') > 200 AS denied FROM calls;

SELECT mals_bind_agent('mals_test_bound_writer', NULL), mals_bind_agent('mals_test_bound_reader', NULL);
SELECT count(mals_revoke(role, CASE kind WHEN 'w' THEN 'writer' WHEN 'r' THEN 'reader' ELSE 'admin' END)) AS revoked FROM roles WHERE kind IN ('w', 'r', 'a');
DROP VIEW members;
DROP TABLE functions, relations, roles, seen, statements, calls;
DROP FUNCTION try, call_all;
DROP ROLE mals_test_nobody, mals_test_writer, mals_test_bound_writer, mals_test_reader, mals_test_bound_reader, mals_test_admin;
