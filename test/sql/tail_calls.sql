-- mals_tail: arguments, cursors, what is new and what is not, in pieces of any size.
SET timezone = 'UTC';
SET datestyle = 'ISO';
TRUNCATE mals.entries, mals._sights, mals._templates;

\getenv test PG_ABS_SRCDIR
\i :test/lib/failure.psql

-- Follows a cursor in calls of some rows each, until nothing is left; gives what came.
CREATE FUNCTION pg_temp.follow(query text, INOUT cursor text, rows int, OUT calls int, OUT got text[]) LANGUAGE plpgsql AS $$
DECLARE
  r record;
  new int;
BEGIN
  calls := 0;
  LOOP
    new := 0;
    FOR r IN SELECT * FROM mals_tail(follow.query, follow.cursor, '0', follow.rows) LOOP
      cursor := r.next_cursor;
      IF r.id IS NOT NULL THEN
        got := array_append(got, r.message);
        new := new + 1;
      END IF;
    END LOOP;
    EXIT WHEN new = 0;
    calls := calls + 1;
  END LOOP;
END $$;

-- Arguments
SELECT mals_tail_cursor() AS start \gset
SELECT next_cursor IS NOT NULL AS has_cursor, num_nulls(id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, parent_id, correlation_id, metadata, fingerprint, resolved, resolved_at, resolved_by)
FROM mals_tail(NULL, NULL, '0', NULL);
SELECT count(*) FROM mals_tail('', NULL, '10 ms');
SELECT pg_temp.failure(s) FROM unnest(ARRAY[
  $$SELECT * FROM mals_tail(timeout => NULL)$$, $$SELECT * FROM mals_tail(timeout => '-1 us')$$, $$SELECT * FROM mals_tail(timeout => '1 hour 1 us')$$,
  $$SELECT * FROM mals_tail(timeout => '178000000 years')$$, $$SELECT * FROM mals_tail(max_rows => 0)$$, $$SELECT * FROM mals_tail(max_rows => -1)$$,
  $$SELECT * FROM mals_tail('level:loud')$$, $$SELECT * FROM mals_tail('/(/')$$]) AS s;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.failure('SELECT * FROM mals_tail()');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT pg_temp.failure('SELECT * FROM mals_tail()');
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM mals_tail(timeout => '0');
COMMIT;

-- Cursors: whole, of this cluster; every other text is refused
SELECT count(*) = length(:'start') AS all_refused FROM generate_series(0, length(:'start') - 1) AS n WHERE pg_temp.failure(format('SELECT * FROM mals_tail('''', %L, ''0'')', left(:'start', n))) LIKE '22P02 %';
SELECT length(:'start') AS whole, count(*) AS changed FROM generate_series(1, length(:'start')) AS n
WHERE pg_temp.failure(format('SELECT * FROM mals_tail('''', %L, ''0'')', overlay(:'start' PLACING CASE WHEN substr(:'start', n, 1) = '7' THEN '8' ELSE '7' END FROM n))) LIKE '22P02 %' \gset
SELECT :whole = :changed AS all_refused;
SELECT pg_temp.failure(format('SELECT * FROM mals_tail('''', %L, ''0'')', c)) FROM unnest(ARRAY['', 'm1', 'm1......', 'm2.1.1....0', 'm1.1.1.....' || repeat('f', 100), E'm1.\t']) AS c;

-- A backlog: everything once, whatever the number of rows, the order and the filter
INSERT INTO mals.logs (agent_id, message) SELECT 'tail', 'a' || i FROM generate_series(1, 3) AS i;
SELECT mals_log('tail', 'b') IS NOT NULL AS logged;
SELECT mals_log('other', 'c', 'error') IS NOT NULL AS logged;
SET mals.max_past = '-1';
SELECT mals_log('tail', 'late ' || d, 'error', metadata => '{"k": 5}', ts => d::timestamptz) IS NOT NULL AS logged FROM unnest('{2013-03-01 12:00Z,2013-01-01 12:00Z,2013-02-01 12:00Z}'::text[]) AS d;
BEGIN;
SAVEPOINT s;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'of a subtransaction');
RELEASE s;
SAVEPOINT s;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'taken back');
ROLLBACK TO s;
DO $$ BEGIN INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'of a block'); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
DO $$ BEGIN INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'of a block taken back'); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
COMMIT;
CREATE TEMP TABLE followed AS SELECT n, f.* FROM unnest('{1,2,3,4,5,100,NULL}'::int[]) AS n, pg_temp.follow('', :'start', n) AS f;
SELECT count(DISTINCT got) = 1 AS always_the_same, count(DISTINCT calls) > 4 AS in_pieces FROM followed;
SELECT got FROM followed LIMIT 1;
SELECT q, (pg_temp.follow(q, :'start', n)).got FROM unnest('{1,100}'::int[]) AS n,
  unnest('{level:error,agent:other,-agent:tail,meta.k:>4,a2,after:2014-01-01 before:2100-01-01 level:error,before:2013-02-15,resolved:no level:error,resolved:yes,nothing}'::text[]) AS q ORDER BY n, q COLLATE "C";

-- Every row's cursor goes on right behind it
CREATE TEMP TABLE rows AS SELECT row_number() OVER () AS m, next_cursor, message FROM mals_tail('', :'start', '0');
SELECT bool_and(f.got IS NOT DISTINCT FROM (SELECT array_agg(r.message ORDER BY r.m) FROM rows r WHERE r.m > rows.m)) AS each_goes_on, count(*)
FROM rows, unnest('{1,2,100}'::int[]) AS n, pg_temp.follow('', next_cursor, n) AS f;

-- The whole row, resolved or not
SELECT mals_resolve(id, 'me') FROM mals.logs WHERE message = 'c' \g /dev/null
SELECT level, agent_id, message, source, metadata, mals_id_ts(id) = ts AS at_its_time, created_at > '2020-01-01' AS received, fingerprint = mals_fingerprint(message) AS grouped, resolved, resolved_by
FROM mals_tail('level:error', :'start', '0');
SELECT (pg_temp.follow('resolved:' || r || ' level:error', :'start', n)).got FROM unnest('{1,2,100}'::int[]) AS n, unnest('{yes,no}'::text[]) AS r ORDER BY n, r;

-- What is there is not new, nor is what this transaction has written itself
SELECT mals_tail_cursor() AS here \gset
SELECT (pg_temp.follow('', :'here', NULL)).calls;
BEGIN;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'own');
SELECT mals_tail_cursor() AS inside, (pg_temp.follow('', :'here', NULL)).got \gset
SELECT (pg_temp.follow('', :'inside', NULL)).got;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'own too');
COMMIT;
SELECT (pg_temp.follow('', c, 1)).got FROM unnest(ARRAY[:'here', :'inside']) AS c;

-- A snapshot that is older than the call: what it does not see is new
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) AS seen FROM mals.entries \gset
SELECT mals_tail_cursor() AS snapshot \gset
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'after the snapshot');
COMMIT;
SELECT (pg_temp.follow('', :'snapshot', 1)).got, :seen > 0 AS seen;

-- A transaction of very many entries, in pieces
SELECT mals_tail_cursor() AS here \gset
BEGIN;
INSERT INTO mals.logs (agent_id, message, ts) SELECT 'large', 'l' || i, '2013-01-01 00:00Z'::timestamptz + i % 3 * interval '1 day' + i * interval '1 ms' FROM generate_series(1, 12000) AS i;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'its last');
COMMIT;
INSERT INTO mals.logs (agent_id, message) VALUES ('tail', 'after it');
SELECT n, f.calls, cardinality(f.got) AS entries, cardinality(ARRAY(SELECT DISTINCT unnest(f.got))) AS different, f.got[12001:] AS last
FROM unnest('{997,5000}'::int[]) AS n, pg_temp.follow('', :'here', n) AS f;
SELECT (pg_temp.follow('/7777/', :'here', 1)).got;

-- Rows that are moved are not new again, nor are those that come from another cluster
SELECT mals_tail_cursor() AS here \gset
CREATE TABLE mals.moved (LIKE mals.entries);
INSERT INTO mals.moved SELECT * FROM mals.entries WHERE agent_id = 'tail';
DELETE FROM mals.entries WHERE agent_id = 'tail';
INSERT INTO mals.entries SELECT * FROM mals.moved;
DO $$
DECLARE
  n bigint;
BEGIN
  FOREACH n IN ARRAY '{NULL,0,1,9223372036854775807,-1}'::bigint[] LOOP
    UPDATE mals.moved SET id = gen_random_uuid(), xact = n;
    INSERT INTO mals.entries SELECT * FROM mals.moved;
  END LOOP;
END $$;
SELECT (pg_temp.follow('', :'here', 100)).calls;
SELECT count(*) = 6 * (SELECT count(*) FROM mals.moved) AS they_are_there FROM mals.entries WHERE agent_id = 'tail';
SELECT (pg_temp.follow('agent:tail', :'start', 100)).got = (SELECT array_agg(message) FILTER (WHERE message <> 'c') || '{own,own too,after the snapshot,its last,after it}' FROM rows) AS as_before;
DROP TABLE mals.moved;

-- As the caller: privileges and row security
CREATE ROLE mals_test_tail;
SET ROLE mals_test_tail;
SELECT pg_temp.failure('SELECT * FROM mals_tail()');
SELECT pg_temp.failure('SELECT mals_tail_cursor()');
RESET ROLE;
SELECT mals_grant('mals_test_tail', 'reader');
CREATE POLICY mals_test_tail ON mals.entries AS RESTRICTIVE FOR SELECT TO mals_test_tail USING (agent_id = 'other');
SELECT mals_log('other', 'for them') IS NOT NULL AS logged, mals_log('tail', 'not for them') IS NOT NULL AS logged;
SET ROLE mals_test_tail;
SELECT (pg_temp.follow('', :'start', n)).got FROM unnest('{1,100}'::int[]) AS n;
SELECT mals_tail_cursor() LIKE 'm1.%' AS given;
RESET ROLE;
REVOKE SELECT ON mals.entries FROM mals_test_tail;
SET ROLE mals_test_tail;
SELECT pg_temp.failure('SELECT * FROM mals_tail(timeout => ''0'')');
RESET ROLE;
DROP POLICY mals_test_tail ON mals.entries;
DROP OWNED BY mals_test_tail;
DROP ROLE mals_test_tail;

-- In every place a statement can have it
CREATE TEMP TABLE places (place text, has_cursor boolean);
INSERT INTO places SELECT 'insert', next_cursor IS NOT NULL FROM mals_tail('', NULL, '10 ms');
INSERT INTO places SELECT 'target list', (mals_tail('', NULL, '10 ms')).next_cursor IS NOT NULL;
WITH t AS (SELECT * FROM mals_tail('', NULL, '10 ms')) INSERT INTO places SELECT 'with', next_cursor IS NOT NULL FROM t;
SELECT (mals_tail('', NULL, '10 ms')).next_cursor IS NOT NULL AS target_list;
SELECT t.next_cursor IS NOT NULL AS beside_a_table, count(*) FROM mals_tail('', NULL, '10 ms') AS t, places GROUP BY 1;
COPY (SELECT next_cursor IS NOT NULL FROM mals_tail('', NULL, '10 ms')) TO STDOUT;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT next_cursor IS NOT NULL AS in_a_cursor, message FROM mals_tail('', :'start', '0', 3);
FETCH 1 FROM c;
INSERT INTO places VALUES ('own', true);
SAVEPOINT s;
FETCH ALL FROM c;
RELEASE s;
FETCH BACKWARD 2 FROM c;
COMMIT;
PREPARE t AS SELECT count(*), (SELECT count(*) FROM places) >= 3 AS others_are_read FROM mals_tail('', NULL, '10 ms');
EXECUTE t;
EXECUTE t;
SELECT * FROM places ORDER BY place COLLATE "C";
SET statement_timeout = '100 ms';
SELECT * FROM mals_tail(timeout => '1 hour');
RESET statement_timeout;
TRUNCATE mals.entries;
