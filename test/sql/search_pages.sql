-- mals_list and mals_context against plain SQL
SET timezone = 'UTC';
SET datestyle = 'ISO';
\getenv test PG_ABS_SRCDIR
\i :test/lib/steps.psql
-- mals_list: total and items
SELECT l->'total' AS total, jsonb_array_length(l->'items') AS items,
       l->'items' = (SELECT jsonb_agg(to_jsonb(x)) FROM (SELECT * FROM mals.logs WHERE agent_id = 'r-agent-3' ORDER BY ts DESC, id DESC LIMIT 20 OFFSET 5) x) AS same
  FROM mals_list('r-agent-3', max_rows => 20, skip => 5) l;
SELECT mals_list('r-agent-3', level => 'error', category => 'cat-1', source => 'api')->'total' =
       to_jsonb((SELECT count(*) FROM mals.logs WHERE agent_id = 'r-agent-3' AND level = 'error' AND category = 'cat-1' AND source = 'api')) AS same;
SELECT mals_list('r-agent-3', since => '2021-03-06', until => '2021-03-07')->'total' =
       to_jsonb((SELECT count(*) FROM mals.logs WHERE agent_id = 'r-agent-3' AND ts >= '2021-03-06' AND ts < '2021-03-07')) AS same;
-- the level is exact, the search a substring in any case, nothing in it is special
SELECT DISTINCT i->>'level' FROM jsonb_array_elements(mals_list('r-agent-3', 'warn', max_rows => 1000)->'items') i;
SELECT mals_list(search => 'connection refused', source => 'web')->'total' AS found, mals_list(search => 'connection.refused')->'total' AS no_regex,
       mals_list(search => 'connection%')->'total' AS no_pattern, mals_list(search => '"\')->'total' AS no_syntax;
SELECT mals_list('r-agent-1', search => '')->'total' = mals_list('r-agent-1')->'total' AS same;
SELECT mals_list(''), mals_list('r-agent-1', category => '%');
SELECT array_agg(k ORDER BY k) = (SELECT array_agg(attname::text ORDER BY attname::text) FROM pg_attribute WHERE attrelid = 'mals.logs'::regclass AND attnum > 0) AS keys
  FROM jsonb_object_keys(mals_list('r-agent-1', max_rows => 1)->'items'->0) k;
-- resolved
SELECT mals_resolve_batch(ARRAY(SELECT id FROM mals.logs WHERE agent_id = 'r-agent-4' AND level = 'error' ORDER BY ts LIMIT 10), 'someone');
SELECT mals_list('r-agent-4', resolved => true)->'total' AS resolved, mals_list('r-agent-4', resolved => false)->'total' AS open, mals_list('r-agent-4')->'total' AS entries;
SELECT DISTINCT i->'resolved', i->'resolved_by' FROM jsonb_array_elements(mals_list('r-agent-4', resolved => true)->'items') i;

-- mals_context
CREATE FUNCTION pg_temp.same_context(entry uuid, before int, after int, scope text, condition text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  expected uuid[];
BEGIN
  EXECUTE format('SELECT array_agg(id ORDER BY ts, id) FROM (
      (SELECT l.ts, l.id FROM mals.logs l, mals.logs e WHERE e.id = %1$L AND (l.ts, l.id) < (e.ts, e.id) AND (%2$s) ORDER BY l.ts DESC, l.id DESC LIMIT %3$s)
      UNION ALL (SELECT l.ts, l.id FROM mals.logs l, mals.logs e WHERE e.id = %1$L AND (l.ts, l.id) >= (e.ts, e.id) AND (%2$s) ORDER BY l.ts, l.id LIMIT %4$s + 1)) x',
    entry, condition, before, after) INTO expected;
  RETURN expected = ARRAY(SELECT c.id FROM mals_context(entry, before, after, scope) c);
END $$;
SELECT s.scope, count(*), bool_and(pg_temp.same_context(e.id, b.before, b.after, s.scope, s.condition)) AS same
  FROM (VALUES ('session', 'CASE WHEN e.session_key IS NULL THEN l.agent_id = e.agent_id ELSE l.session_key = e.session_key END'),
               ('agent', 'l.agent_id = e.agent_id'),
               ('trace', 'CASE WHEN e.trace_id IS NULL THEN l.correlation_id = e.correlation_id ELSE l.trace_id = e.trace_id END'),
               ('all', 'true')) AS s (scope, condition),
       (VALUES (10, 10), (0, 0), (0, 25), (2, 0)) AS b (before, after),
       (SELECT id FROM mals.logs WHERE metadata->>'n' IN ('0', '1', '7', '1000', '1001', '1005', '2998', '2999') AND agent_id LIKE 'r-agent-%') AS e
  GROUP BY 1 ORDER BY 1;
SELECT pg_temp.same_context(id, 10, 10, 'session', 'l.session_key = e.session_key') AS defaults
  FROM mals.logs WHERE metadata->>'n' = '1007' AND (SELECT count(*) FROM mals_context(id)) = 21;
INSERT INTO mals.logs (agent_id, message) VALUES ('r-alone', 'no session, no trace, no correlation');
SELECT c.message FROM mals.logs l, mals_context(l.id, scope => 'trace') c WHERE l.agent_id = 'r-alone';

\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_list(max_rows => 0); ROLLBACK TO s;
SELECT mals_list(max_rows => 1001); ROLLBACK TO s;
SELECT mals_list(max_rows => NULL); ROLLBACK TO s;
SELECT mals_list(skip => -1); ROLLBACK TO s;
SELECT mals_context(NULL); ROLLBACK TO s;
SELECT mals_context('00000000-0000-4000-8000-000000000000'); ROLLBACK TO s;
SELECT mals_context('018cc251-f400-7000-8000-000000000000'); ROLLBACK TO s;
SELECT mals_context(id, scope => 'world') FROM mals.logs WHERE agent_id = 'r-alone'; ROLLBACK TO s;
SELECT mals_context(id, before => -1) FROM mals.logs WHERE agent_id = 'r-alone'; ROLLBACK TO s;
SELECT mals_context(id, after => -1) FROM mals.logs WHERE agent_id = 'r-alone'; ROLLBACK TO s;
ROLLBACK;
