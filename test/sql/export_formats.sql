-- mals_export: its formats, its order, and that it streams
SET datestyle = 'SQL, DMY';
TRUNCATE mals.entries, mals._sights, mals._templates;
SET timezone = 'Asia/Kathmandu';
SET mals.max_past = '-1';
BEGIN;
SELECT mals_log('x-one', 'plain', id => '01788000-0000-7000-8000-000000000001'),
       mals_log('x-two', E'two\nlines, "quoted" \\ and\ttab\r\x01', 'critical', 'a,b', '{"n": 1.50, "s": "with space", "o": {"a": [1, null]}, "odd key=": "", "nul": null, "t": true}',
         's=1', 'web server', md5('t')::uuid, md5('p')::uuid, '', id => '01788000-0001-7800-8000-000000000002'),
       mals_log('x-three', '', 'warn', 'c', NULL, 'é', correlation_id => 'req-1', id => '01788005-0000-7000-8000-000000000003');
SELECT mals_resolve('01788005-0000-7000-8000-000000000003', 'me');
-- created_at, fingerprint and resolved_at are not the same in every run
CREATE FUNCTION pg_temp.mask(line text) RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(line, '20(2[2-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z', '<now>', 'g'), '-?\d{15,}(?=[, ])', '<fingerprint>')
$$;
\pset format unaligned
SELECT pg_temp.mask(e) AS json FROM mals_export('json', 'agent:x-*') e;
SELECT pg_temp.mask(e) AS csv FROM mals_export('csv', 'agent:x-*') e;
SELECT e AS text FROM mals_export('text', 'agent:x-*') e;
SELECT pg_temp.mask(e) AS logfmt FROM mals_export('logfmt', 'agent:x-*') e;
\pset format aligned
-- json is what mals.logs shows
SET LOCAL timezone = 'UTC';
SELECT count(*), bool_and(e::jsonb - '{ts,created_at,resolved_at}'::text[] = to_jsonb(l) - '{ts,created_at,resolved_at}'::text[]
    AND (e::jsonb->>'ts')::timestamptz = ts AND (e::jsonb->>'created_at')::timestamptz = created_at AND (e::jsonb->>'resolved_at')::timestamptz IS NOT DISTINCT FROM resolved_at) AS same
  FROM mals_export('json', 'agent:x-*') e JOIN mals.logs l ON l.id = (e::jsonb->>'id')::uuid;

-- more entries than are fetched at once, over four partitions, two at each time
INSERT INTO mals.logs (ts, agent_id, message, metadata)
  SELECT '2021-03-05 20:00Z'::timestamptz + (i / 2) * interval '2 minutes', 'x-many', 'entry ' || i, jsonb_build_object('n', i) FROM generate_series(0, 4999) i;
CREATE FUNCTION pg_temp.ids(agent text) RETURNS uuid[] LANGUAGE sql AS $$ SELECT array_agg(id ORDER BY ts, id) FROM mals.logs WHERE agent_id = agent $$;
SELECT array_agg((e::jsonb->>'id')::uuid ORDER BY n) = pg_temp.ids('x-many') AS in_order FROM mals_export('json', 'agent:x-many') WITH ORDINALITY AS t (e, n);
SELECT array_agg((e::jsonb->>'id')::uuid) = pg_temp.ids('x-many') AS in_order FROM (SELECT mals_export('json', 'agent:x-many') AS e) x;
SELECT array_agg((e::jsonb->>'id')::uuid) = (pg_temp.ids('x-many'))[1:2345] AS limited FROM (SELECT mals_export('json', 'agent:x-many', max_rows => 2345) AS e) x;
SELECT count(*) AS window FROM mals_export('text', 'agent:x-many', '2021-03-06', '2021-03-06 01:00Z');
SELECT count(*) AS header FROM mals_export('csv', 'agent:x-many');
SELECT count(*) AS only_header FROM mals_export('csv', 'agent:x-nobody');
SELECT count(*) AS only_header FROM mals_export('csv', 'agent:x-many', max_rows => 0);
SELECT count(*) AS nothing FROM mals_export('json', 'agent:x-nobody');
SELECT count(*) AS defaults FROM (SELECT mals_export(NULL, 'agent:x-many', NULL, NULL, NULL) AS e) x WHERE e LIKE '{%}';
COPY (SELECT mals_export('text', 'agent:x-many', max_rows => 2)) TO STDOUT;

-- stopped early, twice in one query, from within a function, rescanned
SELECT mals_export('text', 'agent:x-many') LIMIT 1;
SELECT count(*) AS open_portals FROM pg_cursors;
SELECT count(a), count(b) FROM (SELECT mals_export('text', 'agent:x-many') AS a, mals_export('json', 'agent:x-many', max_rows => 1500) AS b) x;
SELECT n, (SELECT count(*) FROM (SELECT mals_export('text', 'agent:x-many', max_rows => 1000 + n) LIMIT 1500) x) FROM generate_series(0, 2) n;
DO $$
DECLARE
  line text;
  n int := 0;
BEGIN
  FOR line IN SELECT mals_export('text', 'agent:x-many') LOOP
    n := n + 1;
    EXIT WHEN n = 1200;
  END LOOP;
  RAISE NOTICE '%: %', n, line;
END $$;

-- a cursor goes on where it was, whatever happens to savepoints
DECLARE c CURSOR FOR SELECT mals_export('text', 'agent:x-many');
SAVEPOINT s;
MOVE 10 IN c;
ROLLBACK TO s;
FETCH 1 FROM c;
SAVEPOINT s;
MOVE 1500 IN c;
ROLLBACK TO s;
MOVE 1500 IN c;
RELEASE s;
FETCH 1 FROM c;
SAVEPOINT s;
SELECT 1 / 0;
ROLLBACK TO s;
MOVE ALL IN c;
FETCH 1 FROM c;
CLOSE c;
-- entries that come later are not in it
DECLARE c CURSOR FOR SELECT mals_export('text', 'agent:x-many');
MOVE 10 IN c;
INSERT INTO mals.logs (agent_id, message) SELECT 'x-many', 'later' FROM generate_series(1, 10);
SAVEPOINT s;
MOVE 1 IN c;
ROLLBACK TO s;
MOVE 4988 IN c;
FETCH 1 FROM c;
FETCH 1 FROM c;
CLOSE c;
SELECT count(*) AS open_portals FROM pg_cursors;

\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_export('xml'); ROLLBACK TO s;
SELECT mals_export(''); ROLLBACK TO s;
SELECT mals_export(max_rows => -1); ROLLBACK TO s;
SELECT mals_export('json', 'level:loud'); ROLLBACK TO s;
ROLLBACK;
-- a cursor that outlives its transaction
SELECT count(mals_log('y-held', 'entry ' || i)) FROM generate_series(1, 3) i;
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT substring(mals_export('text', 'agent:y-held') FROM 'entry.*');
FETCH 1 FROM held;
COMMIT;
FETCH ALL FROM held;
CLOSE held;
