-- Who may log: what a role needs, and that it is enough; row security of
-- mals.entries holds for every way in; nothing is open to all.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

CREATE ROLE mals_test_writer;
CREATE ROLE mals_test_nobody;
GRANT USAGE ON SCHEMA mals TO mals_test_writer, mals_test_nobody;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO mals_test_writer;
GRANT INSERT, SELECT (id) ON mals.logs TO mals_test_writer;
GRANT INSERT ON mals.inbox TO mals_test_writer;
-- There is no partition: the writer makes those it needs

SET ROLE mals_test_writer;
SELECT mals_log('access', 'function') IS NOT NULL AS logged, mals_log_json('{"agent_id": "access", "message": "json"}') IS NOT NULL AS logged,
       mals_log_batch('[{"agent_id": "access", "message": "batch"}]') AS logged,
       mals_log_otlp('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "otlp"}, "attributes": [{"key": "agent.id", "value": {"stringValue": "access"}}]}]}]}]}') AS logged;
INSERT INTO mals.logs (agent_id, message) VALUES ('access', 'view') RETURNING id IS NOT NULL AS logged;
INSERT INTO mals.inbox VALUES ('{"agent_id": "access", "message": "inbox"}');
COPY mals.logs (agent_id, message) FROM STDIN;
access	copy
\.
COPY mals.inbox FROM STDIN;
{"agent_id": "access", "message": "copy inbox"}
\.
-- Other days, retries, refused ids, all without reading
SELECT mals_log('access', 'yesterday', ts => now() - interval '1 day') IS NOT NULL AS logged;
SELECT mals_log('access', 'refused', id => '018f4cd2-4c03-7abc-8000-000000000001') = mals_log('access', 'again', id => '018f4cd2-4c03-7abc-8000-000000000001') AS same;
-- It reads nothing but ids
SELECT s, left(pg_temp.failure(s), 5) FROM unnest(ARRAY['SELECT count(*) FROM mals.entries', 'SELECT id FROM mals.logs', 'SELECT message FROM mals.logs', 'SELECT * FROM mals.logs', 'SELECT entry FROM mals.inbox',
  $$INSERT INTO mals.logs (agent_id, message) VALUES ('a', 'm') RETURNING message$$, $$INSERT INTO mals.inbox VALUES ('{"agent_id": "a", "message": "m"}') RETURNING entry$$,
  'SELECT * FROM mals.resolutions', 'SELECT * FROM mals._refused_ids', 'INSERT INTO mals.entries SELECT * FROM mals.entries', 'DELETE FROM mals.entries', 'UPDATE mals.logs SET message = NULL', 'DELETE FROM mals.logs',
  'SET mals.max_past = -1', 'SET mals.max_future = 1', $$SET mals.partition_interval = '1 hour'$$, 'SET mals.max_partitions = 1', $$SET mals.retention = '1 day'$$]) AS s;
SELECT pg_temp.failure($$SET mals.min_level = 'debug'$$), pg_temp.failure($$SET mals.context = '{}'$$);
RESET ROLE;
SELECT string_agg(message, ' ' ORDER BY message COLLATE "C") FROM mals.entries WHERE agent_id = 'access';
SELECT count(*) >= 2 AS made, bool_and(relowner = (SELECT relowner FROM pg_class WHERE oid = 'mals.entries'::regclass)) AS of_the_owner
FROM pg_class WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass);

-- Without INSERT on mals.logs nobody logs, whatever else is granted; nothing is stored
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO mals_test_nobody;
GRANT INSERT ON mals.inbox, mals.entries TO mals_test_nobody;
SET ROLE mals_test_nobody;
SELECT s, pg_temp.failure(s) FROM unnest(ARRAY[$$SELECT mals_log('nobody', 'm')$$, $$SELECT mals_log_json('{"agent_id": "nobody", "message": "m"}')$$, $$SELECT mals_log_batch('[{"agent_id": "nobody", "message": "m"}]')$$,
  $$SELECT mals_log_batch('[]')$$, $$INSERT INTO mals.inbox VALUES ('{"agent_id": "nobody", "message": "m"}')$$]) AS s;
SELECT left(pg_temp.failure($$INSERT INTO mals.logs (agent_id, message) VALUES ('nobody', 'm')$$), 5);
RESET ROLE;
-- INSERT on some columns is enough for a row of these
GRANT INSERT (agent_id, message) ON mals.logs TO mals_test_nobody;
SET ROLE mals_test_nobody;
INSERT INTO mals.logs (agent_id, message) VALUES ('nobody', 'columns');
SELECT left(pg_temp.failure($$INSERT INTO mals.logs (agent_id, message, level) VALUES ('nobody', 'm', 'info')$$), 5);
RESET ROLE;
SELECT string_agg(message, ' ' ORDER BY message COLLATE "C") FROM mals.entries WHERE agent_id = 'nobody';

-- The caller counts, and the owner of a SECURITY DEFINER function
CREATE FUNCTION pg_temp.as_owner() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$ SELECT mals_log('definer', 'm') IS NOT NULL $$;
REVOKE INSERT (agent_id, message) ON mals.logs FROM mals_test_nobody;
SET ROLE mals_test_nobody;
SELECT pg_temp.as_owner(), left(pg_temp.failure($$SELECT mals_log('nobody', 'm')$$), 5);
RESET ROLE;

-- Row security: by every way in, for every row
CREATE POLICY mals_test_insert ON mals.entries AS RESTRICTIVE FOR INSERT TO mals_test_writer WITH CHECK (agent_id LIKE 'mine-%' AND level < 'critical');
SELECT mals_log('theirs', 'secret', id => mals_log('theirs', 'other')) IS NOT NULL AS logged;
SELECT id AS their_id FROM mals.entries WHERE agent_id = 'theirs' LIMIT 1 \gset
SET ROLE mals_test_writer;
SELECT s, pg_temp.failure(s) FROM unnest(ARRAY[$$SELECT mals_log('mine-1', 'function')$$, $$SELECT mals_log('theirs', 'm')$$, $$SELECT mals_log('mine-1', 'm', 'critical')$$,
  $$SELECT mals_log_json('{"agent_id": "mine-1", "message": "json"}')$$, $$SELECT mals_log_json('{"agent_id": "theirs", "message": "m"}')$$,
  $$SELECT mals_log_batch('[{"agent_id": "mine-1", "message": "batch"}]')$$, $$SELECT mals_log_batch('[{"agent_id": "mine-1", "message": "lost"}, {"agent_id": "theirs", "message": "m"}]')$$,
  $$SELECT mals_log_otlp('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "m"}, "attributes": [{"key": "agent.id", "value": {"stringValue": "theirs"}}]}]}]}]}')$$,
  $$INSERT INTO mals.logs (agent_id, message) VALUES ('mine-1', 'view'), ('mine-2', 'view')$$, $$INSERT INTO mals.logs (agent_id, message) VALUES ('mine-1', 'lost'), ('theirs', 'm')$$,
  $$INSERT INTO mals.inbox VALUES ('{"agent_id": "mine-1", "message": "inbox"}')$$, $$INSERT INTO mals.inbox VALUES ('{"agent_id": "theirs", "message": "m"}')$$,
  $$SELECT set_config('mals.agent_id', 'theirs', true), mals_log(NULL, 'm')$$]) AS s;
\set VERBOSITY terse
COPY mals.logs (agent_id, message) FROM STDIN;
mine-1	lost
theirs	m
\.
SET row_security = off;
SELECT left(pg_temp.failure($$SELECT mals_log('mine-1', 'no security')$$), 5);
RESET row_security;

-- An id of an entry that one may not know of: a new id, the same for retries, and no word of the other
SELECT mals_log('mine-1', 'guess', id => :'their_id') AS guess \gset
SELECT :'guess' <> :'their_id' AS new_id, mals_log('mine-1', 'guess again', id => :'their_id') = :'guess' AS same;
SELECT mals_log('mine-2', 'guess', id => :'their_id') NOT IN (:'guess', :'their_id') AS another;
INSERT INTO mals.logs (agent_id, message, id) VALUES ('mine-3', 'guess', :'their_id') RETURNING id NOT IN (:'guess', :'their_id') AS another;
SELECT mals_log_batch(jsonb_build_array(jsonb_build_object('agent_id', 'mine-4', 'message', 'guess', 'id', :'their_id'), jsonb_build_object('agent_id', 'mine-1', 'message', 'guess', 'id', :'their_id')));
-- and of one's own entry, as ever
SELECT mals_log('mine-1', 'a retry', id => :'guess') = :'guess' AS same;
RESET ROLE;
SELECT agent_id, string_agg(message, ' ' ORDER BY message COLLATE "C"), bool_and(metadata ->> 'mals.id' = :'their_id') FILTER (WHERE message = 'guess') AS kept FROM mals.entries WHERE agent_id LIKE 'mine%' OR agent_id = 'theirs' GROUP BY 1 ORDER BY 1;
-- A policy with a subquery is refused, not ignored
CREATE POLICY mals_test_subquery ON mals.entries AS RESTRICTIVE FOR INSERT TO mals_test_writer WITH CHECK (agent_id IN (SELECT 'mine-1'));
SET ROLE mals_test_writer;
SELECT pg_temp.failure($$SELECT mals_log('mine-1', 'm')$$);
RESET ROLE;
DROP POLICY mals_test_subquery ON mals.entries;
DROP POLICY mals_test_insert ON mals.entries;

-- A read-only transaction
BEGIN READ ONLY;
\set ON_ERROR_ROLLBACK on
SELECT mals_log('a', 'm');
SELECT mals_log_batch('[]');
SELECT mals_make_partitions(now(), now());
INSERT INTO mals.inbox VALUES ('{"agent_id": "a", "message": "m"}');
COPY mals.logs (agent_id, message) FROM '/dev/null';
ROLLBACK;
\set ON_ERROR_ROLLBACK off

-- What all may do, but for health, version, templates and levels: nothing
SELECT p.oid::regprocedure AS function FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
WHERE a.grantee = 0 AND p.oid IN (SELECT objid FROM pg_depend WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND deptype = 'e' AND classid = 'pg_proc'::regclass)
  AND p.proname !~ '^mals_(level_.*|severity_number|health|version|template|fingerprint)$' AND p.oid NOT IN ('min(mals_level)'::regprocedure, 'max(mals_level)'::regprocedure)
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS relation, a.privilege_type FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a WHERE a.grantee = 0 AND c.relnamespace = 'mals'::regnamespace;
SELECT a.privilege_type FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a WHERE a.grantee = 0 AND n.nspname = 'mals';

REVOKE ALL ON ALL TABLES IN SCHEMA mals FROM mals_test_writer, mals_test_nobody;
REVOKE ALL (id) ON mals.logs FROM mals_test_writer;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM mals_test_writer, mals_test_nobody;
REVOKE ALL ON SCHEMA mals FROM mals_test_writer, mals_test_nobody;
DROP ROLE mals_test_writer, mals_test_nobody;
