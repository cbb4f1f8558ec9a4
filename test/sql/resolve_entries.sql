-- mals_resolve, mals_resolve_batch, mals_unresolve
SET timezone = 'UTC';
BEGIN;
SELECT mals_log('v-agent', 'one', 'error') AS one, mals_log('v-agent', 'two', 'error') AS two, mals_log('v-agent', 'three', 'warn') AS three \gset
SELECT mals_resolve(:'one', 'someone', 'restarted it');
SELECT mals_resolve(:'one', 'someone else');
SELECT message, resolved, resolved_at BETWEEN now() AND clock_timestamp() AS resolved_now, resolved_by FROM mals.logs WHERE agent_id = 'v-agent' ORDER BY id;
SELECT resolved, resolved_by, note FROM mals.resolutions WHERE entry_id = :'one';
SELECT mals_count('agent:v-agent resolved:yes') AS yes, mals_count('agent:v-agent resolved:no') AS no;
SELECT mals_unresolve(:'one');
SELECT mals_unresolve(:'one');
SELECT mals_unresolve(:'two');
SELECT message, resolved, resolved_at, resolved_by FROM mals.logs WHERE id = :'one';
SELECT mals_resolve(:'one');
SELECT resolved_by = current_user AS by_me FROM mals.logs WHERE id = :'one';
-- batches: what is resolved already, twice there, unknown or NULL does not count
SELECT mals_resolve_batch(ARRAY[:'one', :'two', :'two', :'three', NULL, '00000000-0000-4000-8000-000000000000', '018cc251-f400-7000-8000-000000000000']::uuid[], 'someone');
SELECT mals_resolve_batch(ARRAY[:'one', :'two']::uuid[]);
SELECT mals_resolve_batch('{}'), mals_resolve_batch('{NULL}'), mals_resolve_batch(ARRAY[[:'one'], [:'two']]::uuid[]);
SELECT message, resolved, resolved_by = 'someone' AS by_someone FROM mals.logs WHERE agent_id = 'v-agent' ORDER BY id;
INSERT INTO mals.logs (agent_id, message) SELECT 'v-many', 'entry ' || i FROM generate_series(1, 5000) i;
SELECT mals_resolve_batch(array_agg(id)), mals_resolve_batch(array_agg(id)) FROM mals.logs WHERE agent_id = 'v-many';

-- a role needs SELECT on what mals.logs reads, INSERT and UPDATE on the resolutions
CREATE ROLE v_role;
GRANT USAGE ON SCHEMA mals TO v_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO v_role;
SET LOCAL ROLE v_role;
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_resolve(:'one'); ROLLBACK TO s;
SELECT mals_search(); ROLLBACK TO s;
SELECT mals_count(); ROLLBACK TO s;
SELECT mals_trace('x'); ROLLBACK TO s;
SELECT mals_export(); ROLLBACK TO s;
RESET ROLE;
SELECT mals_grant('v_role', 'admin');
CREATE POLICY v_policy ON mals.entries AS RESTRICTIVE TO v_role USING (agent_id = 'v-agent' AND message <> 'two');
SELECT mals_unresolve(:'one'), mals_unresolve(:'two');
SAVEPOINT s;
SET LOCAL ROLE v_role;
SELECT mals_resolve(:'one');
-- what it cannot see is not there
SELECT mals_count(), (SELECT count(*) FROM mals_search('', max_rows => NULL)) AS found, (SELECT count(*) FROM mals_export()) AS exported, (SELECT count(*) FROM mals_agents()) AS agents,
       mals_stats()->'total_entries' AS total, mals_resolve_batch(ARRAY[:'one', :'two']::uuid[]) AS resolved;
SAVEPOINT t;
SELECT mals_resolve(:'two'); ROLLBACK TO t;
SELECT mals_unresolve(:'two'); ROLLBACK TO t;
SELECT mals_context(:'two'); ROLLBACK TO t;
RESET ROLE;
ROLLBACK TO s;

SELECT mals_resolve('00000000-0000-4000-8000-000000000000'); ROLLBACK TO s;
SELECT mals_resolve('018cc251-f400-7000-8000-000000000000'); ROLLBACK TO s;
SELECT mals_unresolve('018cc251-f400-7000-8000-000000000000'); ROLLBACK TO s;
SELECT mals_resolve(NULL); ROLLBACK TO s;
SELECT mals_resolve(:'one', NULL); ROLLBACK TO s;
SELECT mals_resolve(:'one', ''); ROLLBACK TO s;
SELECT mals_resolve_batch(NULL); ROLLBACK TO s;
SELECT mals_resolve_batch('{}', ''); ROLLBACK TO s;
SELECT mals_unresolve(NULL); ROLLBACK TO s;
SET TRANSACTION READ ONLY;
SELECT mals_resolve(:'one'); ROLLBACK TO s;
\set VERBOSITY default
SELECT mals_resolve('018cc251-f400-7000-8000-000000000000'); ROLLBACK TO s;
ROLLBACK;
-- readers work in a transaction that is read-only
BEGIN READ ONLY;
SELECT mals_count() >= (SELECT count(*) FROM mals_search()) AND mals_stats()->'total_entries' = mals_list()->'total' AS ok,
       (SELECT count(*) FROM mals_histogram('1 day')) AS histogram, (SELECT count(*) FROM mals_trace('v-none')) AS trace,
       (SELECT count(*) FROM mals_agents('1 day') WHERE agent_id = 'v-none') AS agents, (SELECT count(*) FROM mals_facets('agent:v-none')) AS facets,
       (SELECT count(*) FROM mals_export('csv', 'agent:v-none')) AS export;
ROLLBACK;
