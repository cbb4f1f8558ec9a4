-- mals_trace: a tree over parent ids; orphans and cycles survive
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET mals.max_past = '-1';
TRUNCATE mals.entries, mals._sights, mals._templates;
BEGIN;
-- an id whose time is n minutes after 2021-03-01 00:00 UTC
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql AS $$
  SELECT (lpad(to_hex((extract(epoch FROM timestamptz '2021-03-01 00:00Z') * 1000)::bigint + n * 60000::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid
$$;
-- logs entries n -> parent of one trace; a NULL parent is none
CREATE FUNCTION pg_temp.log_trace(trace uuid, nodes int[], parents int[]) RETURNS void LANGUAGE sql AS $$
  SELECT mals_log('t-agent', 'node ' || n, trace_id => trace, id => pg_temp.id(n), parent_id => pg_temp.id(p)) FROM unnest(nodes, parents) AS u (n, p)
$$;
CREATE FUNCTION pg_temp.tree(trace uuid) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT repeat('  ', depth) || message || ' +' || elapsed_ms || ' ms' FROM mals_trace(trace)
$$;

-- children that come before their parents in time, over two days
SELECT pg_temp.log_trace(md5('tree')::uuid, '{10,11,12,13,14,15,1500}', '{NULL,10,10,11,15,10,11}');
SELECT pg_temp.tree(md5('tree')::uuid);
-- an orphan is a root, in its place in time
SELECT pg_temp.log_trace(md5('orphan')::uuid, '{20,21,22,23}', '{NULL,999,20,21}');
SELECT pg_temp.tree(md5('orphan')::uuid);
-- cycles: of one, of two, of three that is led to by an earlier entry
SELECT pg_temp.log_trace(md5('self')::uuid, '{30,31}', '{30,30}');
SELECT pg_temp.tree(md5('self')::uuid);
SELECT pg_temp.log_trace(md5('two')::uuid, '{40,41,42}', '{41,40,NULL}');
SELECT pg_temp.tree(md5('two')::uuid);
SELECT pg_temp.log_trace(md5('three')::uuid, '{50,51,52,53,54,55}', '{52,54,53,51,52,NULL}');
SELECT pg_temp.tree(md5('three')::uuid);

-- the columns beside depth and elapsed_ms are those of mals.logs
SELECT count(*), bool_and(to_jsonb(t) - '{depth,elapsed_ms}'::text[] = to_jsonb(l)) AS same
  FROM mals_trace(md5('tree')::uuid) t JOIN mals.logs l USING (id);
SELECT count(*) FROM mals_trace('00000000-0000-4000-8000-000000000000'::uuid);

-- text: a correlation id; a uuid or 32 hex finds a trace id or a correlation id in any spelling
SELECT mals_log('t-agent', m, trace_id => t, correlation_id => c, ts => '2021-03-02 00:00Z'::timestamptz + n * interval '1 second') IS NOT NULL AS logged
  FROM (VALUES (1, 'by trace', md5('text')::uuid, NULL), (2, 'by hex', NULL, md5('text')), (3, 'by uuid', NULL, md5('text')::uuid::text),
               (4, 'by upper case', NULL, upper(md5('text'))), (5, 'by name', NULL, 'req-t-1')) AS v (n, m, t, c);
SELECT array_agg(message) FROM mals_trace(md5('text')::uuid);
SELECT array_agg(message) FROM mals_trace(md5('text'));
SELECT array_agg(message) FROM mals_trace(md5('text')::uuid::text);
SELECT array_agg(message) FROM mals_trace(upper(md5('text')));
SELECT array_agg(message) FROM mals_trace('req-t-1');
SELECT count(*) FROM mals_trace('req-t-%');
SELECT count(*) FROM mals_trace('');

-- against brute force: 2,000 entries with random parents, some missing, no cycles
SELECT setseed(0.5);
SELECT count(mals_log('t-agent', 'random', trace_id => md5('random')::uuid, id => pg_temp.id(2000 + n), parent_id => pg_temp.id(2000 + (random() * (n + 20))::int % greatest(n, 1) - 5)))
  FROM generate_series(1, 2000) n;
WITH RECURSIVE entries AS (SELECT id, ts, parent_id FROM mals.logs WHERE trace_id = md5('random')::uuid),
  tree AS (
    SELECT id, 0 AS depth, ARRAY[id] AS path FROM entries e WHERE NOT EXISTS (SELECT FROM entries p WHERE p.id = e.parent_id)
    UNION ALL SELECT e.id, t.depth + 1, t.path || e.id FROM tree t JOIN entries e ON e.parent_id = t.id),
  expected AS (SELECT id, depth, row_number() OVER (ORDER BY path) AS n FROM tree),
  found AS (SELECT id, depth, n FROM ROWS FROM (mals_trace(md5('random')::uuid)) WITH ORDINALITY AS
    t (depth, elapsed_ms, id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, parent_id, correlation_id, metadata, fingerprint, resolved, resolved_at, resolved_by, n))
SELECT (SELECT count(*) FROM found) AS entries, (SELECT max(depth) > 5 FROM found) AS deep, (SELECT count(*) > 1 FROM found WHERE depth = 0) AS roots,
  NOT EXISTS (TABLE expected EXCEPT TABLE found) AND NOT EXISTS (TABLE found EXCEPT TABLE expected) AS same;
-- 20,000 entries in one line of descent, and in one cycle
INSERT INTO mals.logs (agent_id, message, trace_id, id, parent_id)
  SELECT 't-agent', 'line', md5('line')::uuid, pg_temp.id(5000 + n), pg_temp.id(4999 + n) FROM generate_series(1, 20000) n;
SELECT count(*), max(depth), bool_and(depth = n - 1) AS in_order
  FROM ROWS FROM (mals_trace(md5('line')::uuid)) WITH ORDINALITY AS
    t (depth, elapsed_ms, id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, parent_id, correlation_id, metadata, fingerprint, resolved, resolved_at, resolved_by, n);
SELECT count(mals_log('t-agent', 'cycle', trace_id => md5('cycle')::uuid, id => pg_temp.id(30000 + n), parent_id => pg_temp.id(30000 + (n + 1) % 20000))) FROM generate_series(0, 19999) n;
SELECT count(*), max(depth), bool_and((depth = 0) = (id = pg_temp.id(30000))) AS from_the_first FROM mals_trace(md5('cycle')::uuid);

\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_trace(NULL::uuid); ROLLBACK TO s;
SELECT mals_trace(NULL::text); ROLLBACK TO s;
ROLLBACK;
