-- What may be inferred without being read: a bound role's query is planned the same whatever others
-- have logged, and health tells each role what is for it.
SET timezone = 'UTC';
\set VERBOSITY terse
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals._jobs, mals.dead_letters;
CREATE ROLE mals_test_nobody;
CREATE ROLE mals_test_bound;
CREATE ROLE mals_test_other;
CREATE ROLE mals_test_reader;
SELECT count(mals_grant(r, 'reader')) AS granted FROM unnest('{mals_test_bound, mals_test_other, mals_test_reader}'::regrole[]) r;
SELECT mals_bind_agent('mals_test_bound', 'mine-*'), mals_bind_agent('mals_test_other', 'mine');
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'theirs', 'message', 'their message', 'level', 'critical', 'category', 'theirs', 'source', 'theirs',
  'session_key', 'theirs', 'trace_id', md5('theirs'), 'correlation_id', 'theirs', 'metadata', jsonb_build_object('theirs', 'theirs')))) FROM generate_series(1, 3000);
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'mine-' || i % 2, 'message', 'Mine'))) FROM generate_series(1, 20) i;
ANALYZE mals.entries;
SELECT mals_resolve_batch(array_agg(id)) > 0 AS resolved FROM (SELECT id FROM mals.entries WHERE agent_id = 'theirs' LIMIT 500) x;
ANALYZE mals.resolutions;

-- The rows and costs that the planner expects of a condition
CREATE FUNCTION estimate(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) SELECT * FROM ' || condition INTO plan;
  RETURN format('%s %s', plan->0->'Plan'->>'Plan Rows', plan->0->'Plan'->>'Total Cost');
END $$;
CREATE TABLE conditions (n serial, theirs text, nobodys text);
INSERT INTO conditions (theirs, nobodys)
  SELECT format(c, t.column, quote_literal(t.theirs)), format(c, t.column, quote_literal(t.nobodys))
    FROM (VALUES ('agent_id', 'theirs', 'nobodys'), ('message', 'their message', 'nobody''s message'), ('category', 'theirs', 'nobodys'), ('source', 'theirs', 'nobodys'), ('session_key', 'theirs', 'nobodys'),
                 ('correlation_id', 'theirs', 'nobodys'), ('trace_id', md5('theirs'), md5('nobodys')), ('fingerprint', mals_fingerprint('their message')::text, '1'), ('level', 'critical', 'trace'),
                 ('metadata', '{"theirs": "theirs"}', '{"nobodys": "nobodys"}')) AS t ("column", theirs, nobodys),
         unnest(ARRAY['mals.entries WHERE %s = %s', 'mals.logs WHERE %s = %s', '(SELECT * FROM mals.entries OFFSET 0) x WHERE %s = %s',
           'mals.entries WHERE %s <> %s AND level > ''info''', 'mals.entries a JOIN mals.entries b USING (session_key) WHERE a.%s = %s']) c;
INSERT INTO conditions (theirs, nobodys)
  SELECT format('mals.entries WHERE %I < %L', c, 'theirt'), format('mals.entries WHERE %I < %L', c, 'theirr') FROM unnest('{agent_id, message, category, source, session_key, correlation_id}'::text[]) c;
INSERT INTO conditions (theirs, nobodys) VALUES ('mals.entries WHERE ts > now() - interval ''1 hour''', 'mals.entries WHERE ts > now() + interval ''1 hour'''),
  ('mals.resolutions WHERE resolved_at > now() - interval ''1 hour''', 'mals.resolutions WHERE resolved_at > now() + interval ''1 hour''');
GRANT SELECT ON conditions TO PUBLIC;
SET ROLE mals_test_reader;
SELECT count(*) > 20 AS differ FROM conditions WHERE estimate(theirs) <> estimate(nobodys);
SET ROLE mals_test_bound;
SELECT theirs, estimate(theirs), estimate(nobodys) FROM conditions WHERE estimate(theirs) <> estimate(nobodys);
SET ROLE mals_test_other;
SELECT theirs, estimate(theirs), estimate(nobodys) FROM conditions WHERE estimate(theirs) <> estimate(nobodys);
-- nor through a view that a bound role made, or whose owner is bound
RESET ROLE;
CREATE VIEW through AS SELECT * FROM mals.entries;
ALTER VIEW through OWNER TO mals_test_bound;
GRANT SELECT ON through TO PUBLIC;
SET ROLE mals_test_reader;
SELECT estimate('through WHERE category = ''theirs''') = estimate('through WHERE category = ''nobodys''') AS same;
RESET ROLE;
DROP VIEW through;
-- tables of their own are planned with what is known of them
CREATE TABLE own AS SELECT 'x' AS a FROM generate_series(1, 1000);
ANALYZE own;
GRANT SELECT ON own TO PUBLIC;
SET ROLE mals_test_bound;
SELECT estimate('own WHERE a = ''x''') <> estimate('own WHERE a = ''y''') AS differ;
-- statistics themselves are for nobody
SELECT count(*) FROM pg_stats WHERE schemaname = 'mals';
SELECT count(*) FROM pg_stats_ext WHERE schemaname = 'mals';
RESET ROLE;

-- Health: why a job failed is told to readers, and what concerns the entries of all to who is not bound
INSERT INTO mals._jobs VALUES ('templates', now(), now(), 0, 2, 'their message is too long');
INSERT INTO mals.dead_letters (id, agent_id, attempts, sqlstate, error, entry) VALUES (gen_random_uuid(), 'theirs', 1, '23514', 'theirs', '{}');
CREATE FUNCTION health() RETURNS text LANGUAGE sql AS $$
  SELECT format('%s; %s; ring %s, entries %s', h->>'status', regexp_replace(h->>'warnings', ' last at .*? UTC', ' last at T', 'g'), h->'ring' <> 'null', h->'entries_estimate' <> 'null')
    FROM mals_health() h
$$;
SELECT health();
SET ROLE mals_test_reader; SELECT health();
SET ROLE mals_test_nobody; SELECT health();
SET ROLE mals_test_bound; SELECT health();
RESET ROLE;
TRUNCATE mals._jobs, mals.dead_letters;

-- What is new since privileges were granted: a warning until mals_regrant
SELECT health();
CREATE FUNCTION mals_new() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER EXTENSION mals ADD FUNCTION mals_new();
SELECT health();
SELECT mals_grant('mals_test_nobody', 'admin');
SELECT mals_revoke('mals_test_nobody', 'admin');
SELECT mals_grant('mals_test_other', 'admin');
CREATE FUNCTION mals_newer() RETURNS int LANGUAGE sql AS 'SELECT 2';
ALTER EXTENSION mals ADD FUNCTION mals_newer();
SELECT health();
SET ROLE mals_test_bound;
SELECT health();
SELECT mals_regrant();
SET ROLE mals_test_other;
SELECT mals_regrant();
RESET ROLE;
SELECT mals_regrant();
SELECT health();
SELECT has_function_privilege('mals_test_other', 'mals_newer()', 'EXECUTE') AS granted;
-- what was taken away by hand from one of several is not missed; and who was given privileges by hand keeps these
REVOKE EXECUTE ON FUNCTION mals_digest FROM mals_test_reader;
GRANT USAGE ON SCHEMA mals TO mals_test_nobody;
GRANT INSERT ON mals.logs, mals.inbox TO mals_test_nobody;
GRANT SELECT ON mals.logs, mals.entries, mals.templates TO mals_test_nobody;
SELECT health();
SELECT mals_regrant();
SELECT has_table_privilege('mals_test_nobody', 'mals.resolutions', 'SELECT') AS got_more;
REVOKE ALL ON mals.logs, mals.inbox, mals.entries, mals.templates FROM mals_test_nobody;
REVOKE ALL ON SCHEMA mals FROM mals_test_nobody;
ALTER EXTENSION mals DROP FUNCTION mals_new();
ALTER EXTENSION mals DROP FUNCTION mals_newer();
DROP FUNCTION mals_new, mals_newer CASCADE;

SELECT count(mals_bind_agent(r, NULL)) FROM unnest('{mals_test_bound, mals_test_other}'::regrole[]) r;
SELECT mals_revoke('mals_test_other', 'admin'), mals_revoke('mals_test_bound', 'reader'), mals_revoke('mals_test_reader', 'reader');
DROP TABLE conditions, own;
DROP FUNCTION estimate, health;
DROP ROLE mals_test_nobody, mals_test_bound, mals_test_other, mals_test_reader;
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals.resolutions, mals.audit;
