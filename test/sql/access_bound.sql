-- Roles bound to agents: they log only as, and read only of, their agents. Nothing that they
-- can ask changes when other agents log or others' entries are resolved.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set VERBOSITY terse
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals._hand_merges, mals._hand_splits, mals.error_status, mals.resolutions, mals.audit, mals._refused_ids;
CREATE ROLE mals_test_reader;
CREATE ROLE mals_test_writer;
CREATE ROLE mals_test_admin;
CREATE ROLE mals_test_member IN ROLE mals_test_reader;
CREATE ROLE mals_test_free;
SELECT mals_grant(r, 'reader') FROM unnest('{mals_test_reader, mals_test_writer, mals_test_free}'::regrole[]) r;
SELECT mals_grant('mals_test_writer', 'writer'), mals_grant('mals_test_admin', 'admin');
SELECT mals_bind_agent('mals_test_reader', 'mine-*'), mals_bind_agent('mals_test_writer', 'mine-1'), mals_bind_agent('mals_test_admin', 'mine-*');
SELECT * FROM mals.agent_bindings ORDER BY role::text COLLATE "C";

-- The outcome of a statement: its result, or its SQLSTATE and whether there is a hint.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text;
  hint text;
BEGIN
  EXECUTE statement INTO result;
  RETURN COALESCE(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hint = '' THEN ' (no hint)' ELSE '' END;
END $$;

SELECT mals_tail_cursor() AS cursor \gset
-- Same kinds of message, sessions, traces and times; what only the others have is called theirs.
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', a, 'message', m, 'level', l, 'session_key', 's', 'trace_id', md5('t'),
    'correlation_id', 'c', 'category', 'k', 'only', CASE WHEN a LIKE 'theirs%' THEN 'theirs' END)))
  FROM unnest('{mine-1, mine-2, theirs-1, theirs_1}'::text[]) a,
       (VALUES ('Step 1 failed', 'error'), ('Task alpha of the plan failed', 'error'), ('Hello', 'info')) v (m, l);
SELECT mals_log_batch(jsonb_build_array(jsonb_build_object('agent', 'mine*', 'message', 'a glob is not an agent'), jsonb_build_object('agent', 'theirs-1', 'message', 'A secret of theirs', 'level', 'critical')));
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'theirs-1', 'message', 'theirs', 'category', c, 'session_key', 'theirs', 'correlation_id', 'theirs-task', 'metadata', jsonb_build_object('task_id', 'theirs', 'ms', 5)))) FROM unnest('{task_received, task_started, task_completed}'::text[]) c;
SELECT mals_counter('theirs_total'), mals_gauge('g', 1, '{"agent_id": "theirs-1"}'), mals_agent_register('theirs-1', 'worker'), mals_alert_set('theirs', 'agent:theirs-*', channels => '[]'), mals_alert_set('any', '', channels => '[]');
SELECT id AS mine FROM mals.logs WHERE agent_id = 'mine-1' AND message = 'Step 1 failed' \gset
SELECT id AS also_mine FROM mals.logs WHERE agent_id = 'mine-2' AND message = 'Step 1 failed' \gset
SELECT id AS theirs FROM mals.logs WHERE agent_id = 'theirs-1' AND message = 'Step 1 failed' \gset
SELECT id AS secret, fingerprint AS secret_kind FROM mals.logs WHERE message LIKE 'A secret%' \gset

-- What a reader may ask. Each question is one row of text.
CREATE TABLE questions (n serial, question text);
INSERT INTO questions (question) SELECT replace(replace(replace(replace(replace(q, 'CURSOR', quote_literal(:'cursor')), 'DAYS', 'date_trunc(''day'', now()) - interval ''1 day'', date_trunc(''day'', now()) + interval ''2 days'''), 'THEIRS', quote_literal(:'theirs')), 'SECRET', quote_literal(:'secret')), 'KIND', :'secret_kind') FROM unnest(ARRAY[
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals.entries x',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals.logs x',
  'SELECT count(*) FROM mals.entries',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals.resolutions x',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals.error_status x',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals.templates x',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM (SELECT fingerprint, group_id FROM mals._templates) x',
  'SELECT string_agg(x::text, '';'' ORDER BY x::text) FROM mals._groups x',
  'SELECT mals._status_of(KIND)',
  'SELECT mals._status_of(mals_fingerprint(''Hello''))',
  'SELECT count(*) FROM mals.logs WHERE id = THEIRS OR message ~ ''secret'' OR agent_id = ''theirs-1''',
  'SELECT string_agg(x::text, '';'') FROM mals_get(THEIRS) x',
  'SELECT string_agg(x::text, '';'') FROM mals_search(max_rows => NULL) x',
  'SELECT string_agg(x::text, '';'') FROM mals_search(''trace:c'') x',
  'SELECT string_agg(x::text, '';'') FROM mals_search(''id:'' || THEIRS) x',
  'SELECT mals_count()',
  'SELECT mals_count(''fingerprint:KIND'')',
  'SELECT mals_count(''fingerprint:'' || mals_fingerprint(''Task alpha of the plan failed''))',
  'SELECT mals_count(''resolved:yes'')',
  'SELECT mals_list()',
  'SELECT mals_list(''theirs-1'')',
  'SELECT string_agg(x::text, '';'') FROM mals_trace(md5(''t'')::uuid) x',
  'SELECT string_agg(x::text, '';'') FROM mals_trace(''c'') x',
  'SELECT string_agg(x::text, '';'') FROM mals_agents() x',
  'SELECT mals_stats()',
  'SELECT mals_stats() - ''index_bytes''',
  'SELECT string_agg(x::text, '';'') FROM mals_histogram(''1 day'') x WHERE entries > 0',
  'SELECT string_agg(x::text, '';'') FROM mals_facets() x',
  'SELECT string_agg(x::text, '';'') FROM mals_facets(field => ''only'') x',
  'SELECT string_agg(x::text, '';'') FROM mals_patterns() x',
  'SELECT string_agg(x::text, '';'') FROM mals_errors(until => ''infinity''::timestamptz - interval ''1 day'') x',
  'SELECT string_agg(x::text, '';'') FROM mals_errors(now() - interval ''1 hour'', NULL, date_trunc(''day'', now()) + interval ''2 days'') x',
  'SELECT mals_summary(date_trunc(''day'', now()) - interval ''1 day'', NULL, date_trunc(''day'', now()) + interval ''2 days'')',
  'SELECT string_agg(x::text, '';'') FROM mals_context(THEIRS) x',
  'SELECT string_agg(x, '';'') FROM mals_export() x',
  'SELECT mals_health() - ''last_maintenance'' - ''workers''',
  'SELECT string_agg(x::text, '';'') FROM mals_latency(field => ''ms'') x',
  'SELECT string_agg(x::text, '';'') FROM mals_sessions(DAYS) x',
  'SELECT string_agg(x::text, '';'') FROM mals_tasks(DAYS) x',
  'SELECT string_agg(x::text, '';'') FROM mals_utilization(DAYS) x',
  'SELECT regexp_replace(mals_report(DAYS), ''\d\d:\d\d'', '''', ''g'')',
  'SELECT regexp_replace(mals_digest(), ''\d\d:\d\d'', '''', ''g'')',
  'SELECT string_agg(x, '';'') FROM mals_metrics() x WHERE x !~ ''mals_(workers|job_age_seconds)''',
  'SELECT string_agg(agent_id || message, '';'') FROM mals_tail(cursor => CURSOR, timeout => ''1 ms'', max_rows => 1000) x',
  'SELECT mals_tail_cursor() IS NOT NULL',
  'SELECT mals_query_explain(''agent:theirs-1'') IS NOT NULL, mals_id_ts(THEIRS) IS NULL, mals_redact(''x''), mals_sparkline(''{1}''), mals_fingerprint_version(), mals_template(''Task alpha of the plan failed''), mals_fingerprint(''Task alpha of the plan failed'')',
  'SELECT string_agg(x::text, '';'') FROM mals.agents x',
  'SELECT string_agg(x::text, '';'') FROM mals.alerts x',
  'SELECT string_agg(x::text, '';'') FROM mals.alert_rules x',
  'SELECT string_agg(x::text, '';'') FROM mals.partitions x',
  'SELECT string_agg(x::text, '';'') FROM mals.progress x',
  'SELECT string_agg(x::text, '';'') FROM mals._metrics x',
  'SELECT string_agg(x::text, '';'') FROM mals._series x',
  'SELECT string_agg(x::text, '';'') FROM mals._samples x',
  'SELECT string_agg(x::text, '';'') FROM mals._entry_totals x',
  'SELECT string_agg(x::text, '';'') FROM mals._entry_mark x',
  'SELECT string_agg(x::text, '';'') FROM mals._jobs x']) q;
-- whatever a reader may call or read is asked
SELECT p.oid::regprocedure AS "is not asked in access_bound.sql" FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
 WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND d.deptype = 'e' AND has_function_privilege('mals_test_free', p.oid, 'EXECUTE') AND p.proname ~ '^mals_'
   AND p.proname !~ '^mals_(level_|version$|severity_number)' AND NOT EXISTS (SELECT FROM questions WHERE question ~ (p.proname || '\(')) ORDER BY 1;
SELECT c.oid::regclass AS "is not asked in access_bound.sql" FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'p', 'v')
 WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND d.deptype = 'e' AND has_table_privilege('mals_test_free', c.oid, 'SELECT')
   AND NOT EXISTS (SELECT FROM questions WHERE question ~ ('FROM mals\.' || c.relname || ' x')) ORDER BY 1;
GRANT SELECT ON questions TO PUBLIC;
CREATE TABLE answers (turn int, role text, n int, answer text);
GRANT INSERT, SELECT ON answers TO PUBLIC;
CREATE FUNCTION ask(turn int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO answers SELECT turn, current_user, n, pg_temp.try(question) FROM questions
$$;

SET ROLE mals_test_reader; SELECT ask(1);
SET ROLE mals_test_writer; SELECT ask(1);
SET ROLE mals_test_admin; SELECT ask(1);
SET ROLE mals_test_member; SELECT ask(1);
SET ROLE mals_test_free; SELECT ask(1);
RESET ROLE;
-- No answer tells a bound role of the others; to others it does
SELECT role, question, answer FROM answers JOIN questions USING (n)
 WHERE role <> 'mals_test_free' AND answer ~ ('theirs|secret|' || :'theirs' || '|' || :'secret' || '|' || :'secret_kind')
   AND answer NOT IN ('P0002 no entry has the id "' || :'theirs' || '"') ORDER BY role, n;
SELECT count(*) > 10 AS told FROM answers WHERE role = 'mals_test_free' AND answer ~ 'theirs';
-- Each sees what is its own
SELECT role, string_agg(answer, ' ' ORDER BY n) AS counts FROM answers JOIN questions USING (n) WHERE question = 'SELECT mals_count()' OR question = 'SELECT count(*) FROM mals.entries' GROUP BY role ORDER BY role;
SELECT role, string_agg(DISTINCT left(answer, 5), ' ') AS failed FROM answers WHERE answer ~ '^[0-9A-Z]{5} ' GROUP BY role ORDER BY role;
SET ROLE mals_test_reader;
SELECT template, entries, agents FROM mals_patterns() ORDER BY template;
SELECT template, entries, agents, is_new, status, (SELECT agent_id FROM mals_get(sample_id)) LIKE 'mine-%' AS own_sample FROM mals_errors() ORDER BY template;
SELECT mals_stats() -> 'total_bytes' AS bytes, mals_health() -> 'newest_ts' AS newest, mals_health() -> 'entries_estimate' AS estimate;
-- a function of one's own that is called in a condition is not shown others' rows
CREATE FUNCTION pg_temp.peep(agent text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN IF agent !~ '^mine-' THEN RAISE 'saw %', agent; END IF; RETURN true; END $$;
SELECT count(*) FROM mals.entries WHERE pg_temp.peep(agent_id);
SELECT count(*) FROM mals.logs WHERE pg_temp.peep(agent_id);
-- nor does a plan keep what another role may see
PREPARE seen AS SELECT count(*) FROM mals.logs;
EXECUTE seen;
SET ROLE mals_test_free;
EXECUTE seen;
SET ROLE mals_test_writer;
EXECUTE seen;
DEALLOCATE seen;
-- nor is it to be had through a view of a bound role's
RESET ROLE;
GRANT CREATE ON SCHEMA public TO mals_test_writer;
SET ROLE mals_test_writer;
CREATE VIEW through AS SELECT agent_id FROM mals.entries;
CREATE VIEW through_templates AS SELECT * FROM mals.templates;
GRANT SELECT ON through, through_templates TO PUBLIC;
SET ROLE mals_test_free;
SELECT DISTINCT agent_id FROM through;
SET ROLE mals_test_reader;
SELECT DISTINCT agent_id FROM through;
SELECT count(*) FROM through_templates;
RESET ROLE;
SELECT DISTINCT agent_id FROM through;
DROP VIEW through, through_templates;
REVOKE CREATE ON SCHEMA public FROM mals_test_writer;

-- Ways in: only as one's agents, and no word of what others have
CREATE FUNCTION pg_temp.ways(agent text) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT replace(s, 'AGENT', agent) FROM unnest(ARRAY[$q$SELECT mals_log('AGENT', 'm') IS NOT NULL$q$, $q$SELECT mals_log_json('{"agent": "AGENT", "msg": "m"}') IS NOT NULL$q$,
  $q$SELECT mals_log_batch('[{"agent": "mine-1", "msg": "m"}, {"agent": "AGENT", "msg": "m"}]')$q$, $q$SELECT mals_log_otlp('{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "m"}, "attributes": [{"key": "agent.id", "value": {"stringValue": "AGENT"}}]}]}]}]}')$q$,
  $q$INSERT INTO mals.logs (agent_id, message) VALUES ('AGENT', 'm') RETURNING 'done'$q$, $q$WITH i AS (INSERT INTO mals.inbox VALUES ('{"agent": "AGENT", "msg": "m"}')) SELECT 'done'$q$,
  $q$SELECT set_config('mals.agent_id', 'AGENT', true), mals_log(NULL, 'm')$q$, $q$INSERT INTO mals.entries SELECT * FROM mals.entries RETURNING 1$q$]) s $$;
SET ROLE mals_test_writer;
SELECT regexp_replace(pg_temp.try(w), '[0-9a-f-]{36}', 'ID') AS mine FROM pg_temp.ways('mine-1') w;
SELECT pg_temp.try(w) AS theirs FROM pg_temp.ways('theirs-1') w;
SELECT pg_temp.try(w) AS not_mine FROM pg_temp.ways('mine-10') w LIMIT 1;
COPY mals.logs (agent_id, message) FROM STDIN;
mine-1	lost
theirs-1	m
\.
-- an id of another agent's entry: a new id for it, the same for a retry
SELECT mals_log('mine-1', 'guess', id => :'theirs') AS guess \gset
SELECT :'guess' <> :'theirs' AS new_id, mals_log('mine-1', 'guess', id => :'theirs') = :'guess' AS same,
       mals_log('mine-1', 'own', id => :'mine') = :'mine' AS own, mals_log('mine-1', 'of another of mine', id => :'also_mine') <> :'also_mine' AS not_bound_to;
RESET ROLE;
SELECT count(*) FILTER (WHERE agent_id LIKE 'theirs%') AS theirs, count(*) FILTER (WHERE message = 'lost') AS lost FROM mals.entries;

-- A bound admin: its own entries, one by one; nothing that concerns all agents
SET ROLE mals_test_admin;
SELECT mals_resolve(:'mine', 'me', 'a note'), mals_unresolve(:'mine'), mals_resolve_batch(ARRAY[:'mine', :'theirs']::uuid[]) AS batch;
SELECT replace(pg_temp.try('SELECT mals_resolve(' || quote_literal(:'theirs') || ')'), :'theirs', 'ID') AS theirs, replace(pg_temp.try('SELECT mals_unresolve(' || quote_literal(:'theirs') || ')'), :'theirs', 'ID') AS theirs;
SELECT pg_temp.try(q) FROM unnest(ARRAY['SELECT mals_resolve_error(1)', 'SELECT mals_ignore_error(1)', 'SELECT mals_reopen_error(1)', 'SELECT mals_merge_groups(1, 2)', 'SELECT mals_split_group(1)', 'SELECT mals_maintain()',
  'SELECT mals_bind_agent(''mals_test_admin'', NULL)', 'SELECT mals_grant(''mals_test_admin'', ''admin'')', 'SELECT mals_forget('''')', 'SELECT mals_forget(''agent:theirs-*'', false)',
  'DELETE FROM mals.agent_bindings RETURNING 1', 'INSERT INTO mals.audit (action) VALUES (''x'') RETURNING 1', 'DELETE FROM mals.audit RETURNING 1', 'SELECT count(*) FROM mals.audit', 'SELECT count(*) FROM mals._sights', 'SELECT count(*) FROM mals._refused_ids', 'SELECT count(*) FROM mals.agent_bindings']) q;
RESET ROLE;
SELECT mals_unresolve(:'mine');

-- The others are at work: they log the same and more, resolve, merge. A bound role's answers stay.
TRUNCATE answers;
SET ROLE mals_test_reader; SELECT ask(2);
SET ROLE mals_test_writer; SELECT ask(2);
SET ROLE mals_test_admin; SELECT ask(2);
RESET ROLE;
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'theirs-2', 'message', 'Task ' || w || ' of the plan failed', 'level', 'error', 'session_key', 's', 'trace_id', md5('t'), 'correlation_id', 'c')))
  FROM unnest('{alpha, beta, gamma, delta, epsilon, zeta, eta, theta, iota, kappa, lambda}'::text[]) w;
SELECT mals_log('theirs-1', 'Step 2 failed', 'critical', session_key => 's', ts => now() - interval '20 hours') IS NOT NULL AS logged, mals_log('theirs-9', 'Bye') IS NOT NULL AS logged;
SELECT mals_resolve(:'theirs'), mals_resolve(:'secret');
SELECT mals_counter('theirs_total'), mals_counter('theirs_other_total'), mals_agent_register('theirs-8'), mals_alert_set('theirs too', 'agent:theirs-*', channels => '[]');
SELECT mals_maintain() ->> 'templates_regrouped' <> '0' AS regrouped;
SELECT mals_resolve_error(:'secret_kind'), mals_merge_groups(mals_fingerprint('Hello'), mals_fingerprint('Bye')) AS merged;
SELECT mals_forget('agent:theirs_1', false) AS forgotten;
INSERT INTO mals.dead_letters (id, agent_id, attempts, sqlstate, error, entry) VALUES (gen_random_uuid(), 'theirs-1', 1, '23514', 'theirs', '{}');
INSERT INTO mals._jobs VALUES ('templates', now(), now(), 0, 2, 'theirs') ON CONFLICT (job) DO UPDATE SET failures = 2, error = 'theirs';
ANALYZE mals.entries;
SET ROLE mals_test_reader; SELECT ask(3);
SET ROLE mals_test_writer; SELECT ask(3);
SET ROLE mals_test_admin; SELECT ask(3);
RESET ROLE;
SELECT a.role, q.question, a.answer, b.answer FROM answers a JOIN answers b USING (role, n) JOIN questions q USING (n) WHERE a.turn = 2 AND b.turn = 3 AND a.answer <> b.answer ORDER BY a.role, n;
SELECT count(*) > 100 AS compared FROM answers a JOIN answers b USING (role, n) WHERE a.turn = 2 AND b.turn = 3;

-- What was done about a group holds for a bound role's entries of it, also in a merged group
SELECT mals_resolve_error(mals_fingerprint('Task beta of the plan failed'), 'operator', 'a note on theirs') > 2 AS resolved;
SELECT mals_ignore_error(mals_fingerprint('Step 1 failed'));
SET ROLE mals_test_reader;
SELECT message, resolved, resolved_by, resolved_at IS NOT NULL AS dated, count(*) FROM mals.logs GROUP BY 1, 2, 3, 4 ORDER BY 1, 2;
SELECT template, entries, unresolved, status FROM mals_errors() ORDER BY template;
SELECT (mals._status_of(mals_fingerprint('Task alpha of the plan failed'))).resolved_by, (mals._status_of(mals_fingerprint('Task alpha of the plan failed'))).note, mals._status_of(mals_fingerprint('Task beta of the plan failed')) IS NULL AS none;
RESET ROLE;
SELECT mals_reopen_error(mals_fingerprint('Task beta of the plan failed'));

-- Bindings change at once, in sessions that have asked before and in plans that are kept
PREPARE seen AS SELECT string_agg(DISTINCT agent_id, ' ' ORDER BY agent_id) FROM mals.entries;
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
SELECT mals_bind_agent('mals_test_reader', '*s_1');
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
SELECT mals_bind_agent('mals_test_reader', '*s-?');
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
-- several bindings: what all of them allow
SELECT mals_bind_agent('mals_test_reader', 'mine-*'), mals_bind_agent('mals_test_member', '*-2');
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
BEGIN;
SELECT mals_bind_agent('mals_test_reader', NULL);
SET LOCAL ROLE mals_test_member; EXECUTE seen;
ROLLBACK;
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
SELECT mals_bind_agent('mals_test_reader', NULL), mals_bind_agent('mals_test_member', NULL);
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
SELECT mals_bind_agent('mals_test_reader', 'theirs-1');
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
REVOKE mals_test_reader FROM mals_test_member;
SELECT mals_grant('mals_test_member', 'reader');
SET ROLE mals_test_member; EXECUTE seen; RESET ROLE;
EXECUTE seen;
-- For whoever is not bound plans are as without row security
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
  lines text[];
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || query LOOP lines := lines || line; END LOOP;
  RETURN array_to_string(lines, E'\n');
END $$;
CREATE TABLE plans (role text, n bigint, plan text);
GRANT INSERT ON plans TO PUBLIC;
CREATE FUNCTION note_plans() RETURNS void LANGUAGE sql AS $$
  INSERT INTO plans SELECT current_user, n, plan(q) FROM unnest(ARRAY['SELECT count(*) FROM mals.logs',
    'SELECT * FROM mals.logs WHERE message ~ ''x'' AND agent_id LIKE ''mine%'' ORDER BY ts DESC LIMIT 10',
    'SELECT message FROM mals.logs WHERE NOT resolved AND level >= ''error''',
    'SELECT * FROM mals.logs WHERE correlation_id IN (''a'', ''b'') OR trace_id = md5('''')::uuid']) WITH ORDINALITY u (q, n)
$$;
SELECT note_plans();
SET ROLE mals_test_free; SELECT note_plans();
SET ROLE mals_test_reader; SELECT note_plans();
RESET ROLE;
SELECT b.role, count(*), bool_and(a.plan = b.plan) AS same FROM plans a JOIN plans b USING (n) WHERE a.role = current_user AND b.role <> current_user GROUP BY 1 ORDER BY 1;
SET ROLE mals_test_reader;
SELECT mals._is_own('theirs-1') AS own, mals._is_own('theirs-2') AS own;
RESET ROLE;

-- Errors, and the audit
SELECT replace(pg_temp.try(q), 'role ' || current_user || ' ', 'role me ') AS try FROM unnest(ARRAY['SELECT mals_bind_agent(NULL, ''a'')', 'SELECT mals_bind_agent(''mals_test_reader'', '''')', 'SELECT mals_bind_agent(current_user::regrole, ''a'')',
  'SELECT mals_bind_agent(''mals_test_nobody_there'', ''a'')']) q;
SELECT action, detail, count(*) FROM mals.audit WHERE action IN ('grant', 'bind_agent') AND who = current_user GROUP BY 1, 2 ORDER BY 1, 2::text COLLATE "C";
SELECT CASE who WHEN current_user THEN 'me' ELSE who END AS who, action, entries, reason, detail ? 'by' AS by, array_length(ids, 1) AS ids FROM mals.audit WHERE action NOT IN ('grant', 'bind_agent') ORDER BY at;

-- A role that is dropped takes its binding along
SELECT mals_revoke('mals_test_writer', 'writer'), mals_revoke('mals_test_writer', 'reader');
DROP ROLE mals_test_writer;
SELECT mals_bind_agent('mals_test_reader', NULL);
SELECT role FROM mals.agent_bindings;
SELECT mals_bind_agent('mals_test_admin', NULL), mals_revoke('mals_test_admin', 'admin'), mals_revoke('mals_test_reader', 'reader'), mals_revoke('mals_test_member', 'reader'), mals_revoke('mals_test_free', 'reader');
DROP TABLE questions, answers, plans;
DROP FUNCTION ask, plan, note_plans, pg_temp.peep;
DROP ROLE mals_test_reader, mals_test_admin, mals_test_member, mals_test_free;
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals._hand_merges, mals._hand_splits, mals.error_status, mals.resolutions, mals.audit, mals._refused_ids;
TRUNCATE mals.agents, mals.alerts, mals._alert_rules, mals._alert_state, mals._alert_seen, mals._alert_matches, mals._alert_deliveries, mals._series, mals._metrics, mals._samples, mals._entry_totals, mals._entry_mark, mals._jobs, mals.dead_letters;
