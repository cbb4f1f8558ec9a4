-- mals_search, mals_count and mals_get against plain SQL
SET timezone = 'UTC';
SET datestyle = 'ISO';
\getenv test PG_ABS_SRCDIR
\i :test/lib/steps.psql
-- true if a search gives what plain SQL gives, in the same order
CREATE FUNCTION pg_temp.same(condition text, query text, since timestamptz, until timestamptz, max_rows int, skip int, sort text)
  RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  expected uuid[];
  found uuid[];
  n bigint;
BEGIN
  EXECUTE format('SELECT array_agg(id ORDER BY o) FROM (SELECT id, row_number() OVER (ORDER BY ts %5$s, id %5$s) AS o
      FROM mals.logs WHERE (%1$s) AND ts >= %2$L AND ts < %3$L ORDER BY o LIMIT %4$s OFFSET %6$s) x',
    condition, COALESCE(since, '-infinity'), COALESCE(until, 'infinity'), COALESCE(max_rows::text, 'ALL'), sort, skip) INTO expected;
  SELECT array_agg(s.id ORDER BY o) INTO found
    FROM mals_search(query, since, until, max_rows, skip, sort) WITH ORDINALITY AS
      s(id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, parent_id, correlation_id, metadata, fingerprint, resolved, resolved_at, resolved_by, o);
  EXECUTE format('SELECT count(*) FROM mals.logs WHERE (%s) AND ts >= %L AND ts < %L',
    condition, COALESCE(since, '-infinity'), COALESCE(until, 'infinity')) INTO n;
  RETURN found IS NOT DISTINCT FROM expected AND n = mals_count(query, since, until);
END $$;

SELECT w.name, c.query, bool_and(pg_temp.same(c.condition, c.query, w.since, w.until, l.max_rows, l.skip, l.sort)) AS same
  FROM (VALUES
      ('true', ''),
      ('level >= ''error'' AND agent_id = ''r-agent-3''', 'level:error agent:r-agent-3'),
      ('agent_id LIKE ''r-agent-%'' AND message ~* ''connection refused''', 'agent:r-agent-* connection refused'),
      ('trace_id = md5(''77'')::uuid', 'trace:' || md5('77')),
      ('session_key = ''session-3'' AND category IS DISTINCT FROM ''cat-1''', 'session:session-3 -category:cat-1'),
      ('ts >= ''2021-03-07 12:00Z'' AND ts < ''2021-03-08'' AND (metadata->>''n'')::numeric > 500', 'after:2021-03-07T12:00:00Z before:2021-03-08 meta.n:>500'),
      ('false', 'agent:nobody')) AS c (condition, query),
    (VALUES
      ('all', NULL::timestamptz, NULL::timestamptz),
      ('on bounds', '2021-03-06 00:00Z', '2021-03-09 00:00Z'),
      ('within', '2021-03-06 21:00Z', '2021-03-07 03:05Z'),
      ('a microsecond', '2021-03-07 00:00Z', '2021-03-07 00:00:00.000001Z'),
      ('empty', '2021-03-08 00:00Z', '2021-03-08 00:00Z'),
      ('upside down', '2021-03-09 00:00Z', '2021-03-08 00:00Z'),
      ('infinite', '-infinity', 'infinity')) AS w (name, since, until),
    (VALUES (NULL::int, 0, 'asc'), (NULL, 0, 'desc'), (10, 0, 'desc'), (10, 7, 'asc'), (300, 400, 'desc'), (0, 0, 'desc'),
      (100, 100000, 'asc')) AS l (max_rows, skip, sort)
  GROUP BY w.name, c.query ORDER BY w.name COLLATE "C", c.query COLLATE "C";

-- every row as mals.logs shows it
SELECT count(*), bool_and(s = l) AS same FROM mals_search('agent:r-agent-*', max_rows => NULL) s JOIN mals.logs l USING (id);
SELECT count(*) FROM mals_search('agent:r-agent-*');
SELECT bool_and((SELECT count(*) FROM mals_get(l.id) g WHERE g = l) = 1) AS each_once FROM mals.logs l WHERE agent_id = 'r-agent-1';
SELECT count(*) FROM mals_get('00000000-0000-4000-8000-000000000000');
SELECT count(*) FROM mals_get('018cc251-f400-7000-8000-000000000000');

-- defaults where NULL is given
SELECT (SELECT array_agg(id) FROM mals_search(NULL, sort => NULL, skip => NULL, max_rows => 5)) =
       (SELECT array_agg(id) FROM mals_search(max_rows => 5)) AS same;
SELECT count(*) = mals_count(NULL) AS same FROM mals.logs;
SELECT (SELECT array_agg(id) FROM mals_search('agent:r-agent-2', sort => 'ASC', max_rows => 5)) =
       (SELECT array_agg(id) FROM mals_search('agent:r-agent-2', sort => 'asc', max_rows => 5)) AS same;

-- what was logged in this transaction is seen at once
SELECT mals_log('r-now', 'now') IS NOT NULL AS logged;
SELECT agent_id, message FROM mals_search('agent:r-now');

-- a bound of an id made elsewhere: random bits after the milliseconds
INSERT INTO mals.logs (id, agent_id, message) VALUES ('019b9f4b-ac01-7002-8000-000000000001', 'r-foreign', 'first of its microsecond');
SELECT count(*) FROM mals.logs l, mals_search('agent:r-foreign', l.ts, l.ts + interval '1 microsecond') WHERE l.agent_id = 'r-foreign';

\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT mals_search(max_rows => -1); ROLLBACK TO s;
SELECT mals_search(skip => -1); ROLLBACK TO s;
SELECT mals_search(sort => 'upwards'); ROLLBACK TO s;
SELECT mals_search(sort => ''); ROLLBACK TO s;
SELECT mals_search('level:'); ROLLBACK TO s;
SELECT mals_count('"open'); ROLLBACK TO s;
SELECT mals_get(NULL); ROLLBACK TO s;
\set VERBOSITY default
SELECT mals_search(max_rows => -1); ROLLBACK TO s;
ROLLBACK;
