-- INSERT and COPY into mals.logs and mals.inbox: rows, counts, RETURNING,
-- transactions, what is refused.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- The messages stored of an agent, in the order of logging.
CREATE FUNCTION pg_temp.messages(agent text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(message, ' ' ORDER BY id) FROM mals.entries WHERE agent_id = agent
$$;

-- The rows that a statement reports.
CREATE FUNCTION pg_temp.rows(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  n bigint;
BEGIN
  EXECUTE statement;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;

-- Every column, and RETURNING shows what was stored
INSERT INTO mals.logs (agent_id, message, level, category, source, session_key, trace_id, parent_id, correlation_id, metadata)
VALUES ('v', 'all', 'warn', 'c', 's', 'k', '0af7651916cd43dd8448eb211c80319c', '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b', 'x', '{"m": 1}')
RETURNING level, agent_id, message, category, source, session_key, trace_id, parent_id, correlation_id, metadata, resolved, resolved_at, resolved_by;
INSERT INTO mals.logs (message, agent_id) VALUES ('defaults', 'v')
RETURNING level, source, category, session_key, trace_id, parent_id, correlation_id, metadata, mals_id_ts(id) = ts AS carries_ts, ts <= created_at AS in_time;
WITH new AS (INSERT INTO mals.logs (agent_id, message, category, metadata) VALUES ('v', 'same row', repeat('c', 300), '[1]') RETURNING *)
SELECT * FROM new \gset new_
SELECT l.* = ROW (:'new_id', :'new_ts', :'new_created_at', :'new_level', :'new_agent_id', :'new_message', :'new_category', :'new_source', NULL, NULL, NULL, NULL,
  :'new_metadata', :'new_fingerprint', false, NULL, NULL)::mals.logs AS same, length(category), metadata -> 'value' AS value
FROM mals.logs l WHERE message = 'same row';
-- The server's own columns are not taken from the sender
INSERT INTO mals.logs (agent_id, message, created_at, fingerprint) VALUES ('v', 'own', '2000-01-01', 42)
RETURNING created_at > '2020-01-01' AS own_time, fingerprint = mals_fingerprint('own') AS own_fingerprint;
SELECT pg_temp.failure(format('INSERT INTO mals.logs (agent_id, message, %s) VALUES (%L, %L, %s)', c, 'v', 'refused', v))
FROM (VALUES ('resolved', 'true'), ('resolved', 'false'), ('resolved_at', 'now()'), ('resolved_by', $$'me'$$)) AS s (c, v);

-- mals.inbox: one object a row
INSERT INTO mals.inbox VALUES ('{"agent": "inbox", "msg": "one", "x": 1}'), ('{"agent": "inbox", "msg": "two", "severity": "error"}') RETURNING entry;
SELECT level, message, metadata FROM mals.entries WHERE agent_id = 'inbox' ORDER BY id;
SELECT pg_temp.failure(format('INSERT INTO mals.inbox VALUES (%s)', e)) FROM unnest(ARRAY['NULL', $$'null'$$, $$'[]'$$, $$'[{"agent_id": "a", "message": "m"}]'$$, $$'"s"'$$, $$'1'$$,
  $$'{}'$$, $$'{"agent_id": "a"}'$$, $$'{"agent_id": "a", "message": "m", "level": "x"}'$$, $$'{"agent_id": "a", "message": "m", "id": "6f2a0c9e-2b1f-4a57-9a4e-111122223333"}'$$]) AS e;
SELECT count(*) FROM mals.inbox;

-- Required columns and bad values
SELECT pg_temp.failure(s) FROM unnest(ARRAY[
  $$INSERT INTO mals.logs DEFAULT VALUES$$,
  $$INSERT INTO mals.logs (agent_id) VALUES ('a')$$,
  $$INSERT INTO mals.logs (message) VALUES ('m')$$,
  $$INSERT INTO mals.logs (agent_id, message) VALUES ('', 'm')$$,
  $$INSERT INTO mals.logs (agent_id, message, ts) VALUES ('a', 'm', 'infinity')$$,
  $$INSERT INTO mals.logs (agent_id, message, level) VALUES ('a', 'm', 'loud')$$,
  $$INSERT INTO mals.logs (agent_id, message, id) VALUES ('a', 'm', '6f2a0c9e-2b1f-4a57-9a4e-111122223333')$$]) AS s;

-- What is filtered or stored already is no row and is not counted
BEGIN;
SET LOCAL mals.min_level = 'warn';
INSERT INTO mals.logs (agent_id, message, level) VALUES ('count', 'a', 'info'), ('count', 'b', 'error'), ('count', 'c', 'debug'), ('count', 'd', 'warn') RETURNING message;
SELECT pg_temp.rows($$INSERT INTO mals.logs (agent_id, message, level) VALUES ('count', 'e', 'info'), ('count', 'f', 'error')$$);
SELECT pg_temp.rows($$INSERT INTO mals.inbox VALUES ('{"agent_id": "count", "message": "g"}'), ('{"agent_id": "count", "message": "h", "level": "error"}')$$);
COPY mals.logs (agent_id, message, level) FROM STDIN;
count	i	info
count	j	error
\.
SELECT pg_temp.messages('count');
COMMIT;
SET mals.max_past = '-1';
SELECT pg_temp.rows($$INSERT INTO mals.logs (agent_id, message, id) VALUES
  ('twice', 'first', '018bcfe5-6800-7000-8000-000000000001'), ('twice', 'retry', '018bcfe5-6800-7000-8000-000000000001'), ('twice', 'other', '018bcfe5-6800-7000-8000-000000000002')$$);
SELECT pg_temp.rows($$INSERT INTO mals.logs (agent_id, message, id) VALUES ('twice', 'again', '018bcfe5-6800-7000-8000-000000000002')$$);
INSERT INTO mals.logs (agent_id, message, id) VALUES ('twice', 'again', '018bcfe5-6800-7000-8000-000000000002'), ('twice', 'third', '018bcfe5-6800-7000-8000-000000000003') RETURNING message, ts;
INSERT INTO mals.logs (agent_id, message, id) VALUES ('twice', 'nothing', '018bcfe5-6800-7000-8000-000000000003') ON CONFLICT DO NOTHING;
SELECT pg_temp.messages('twice');

-- Nothing is changed through the views, also where no row would be
SELECT s, pg_temp.failure(s) FROM unnest(ARRAY[
  $$UPDATE mals.logs SET message = 'changed'$$, $$UPDATE mals.logs SET resolved = true WHERE false$$, $$DELETE FROM mals.logs$$, $$DELETE FROM mals.logs WHERE false$$,
  $$UPDATE mals.inbox SET entry = '{}'$$, $$DELETE FROM mals.inbox$$, $$WITH d AS (DELETE FROM mals.logs WHERE false RETURNING id) SELECT count(*) FROM d$$]) AS s;
SELECT left(pg_temp.failure('TRUNCATE mals.logs'), 5) AS truncate;

-- COPY: into some columns, all or nothing, errors name the line
COPY mals.logs (agent_id, level, message, metadata) FROM STDIN;
copy	warn	one	{"line": 1}
copy	\N	two	\N
copy	40		[]
\.
SELECT level, message, metadata FROM mals.entries WHERE agent_id = 'copy' ORDER BY id;
COPY mals.inbox FROM STDIN (FORMAT csv, QUOTE '''');
'{"agent_id": "copy", "message": "csv", "a": [1, 2]}'
\.
COPY mals.logs (agent_id, message, ts) FROM STDIN WHERE message <> 'skipped';
copy	skipped	2024-02-01 00:00:00+00
copy	old	2024-02-01 00:00:00+00
\.
SELECT message, metadata FROM mals.entries WHERE agent_id = 'copy' AND message IN ('csv', 'skipped', 'old') ORDER BY id;
COPY mals.logs (agent_id, message) FROM STDIN;
copybad	one
copybad	two
	no agent
\.
COPY mals.logs (agent_id, message) FROM STDIN;
copybad	one
copybad
\.
COPY mals.logs (agent_id, message, level) FROM STDIN;
copybad	one	info
copybad	two	loud
\.
COPY mals.inbox FROM STDIN;
{"agent_id": "copybad", "message": "one"}
{"agent_id": "copybad", "message":
\.
COPY mals.inbox FROM STDIN;
{"agent_id": "copybad", "message": "one"}
[]
\.
SELECT pg_temp.messages('copybad') IS NULL AS nothing_stored;
-- More than waits in a writer at once, the last row bad
SELECT pg_temp.failure($$INSERT INTO mals.logs (agent_id, message) SELECT 'copybad', CASE WHEN i < 5000 THEN i::text END FROM generate_series(1, 5000) AS i$$);
SELECT pg_temp.messages('copybad') IS NULL AS nothing_stored;
SELECT pg_temp.rows($$INSERT INTO mals.logs (agent_id, message) SELECT 'many', i::text FROM generate_series(1, 5000) AS i$$);
SELECT count(*), count(DISTINCT id), sum(message::int), array_agg(message::int ORDER BY id) = array_agg(message::int ORDER BY message::int) AS in_order
FROM mals.entries WHERE agent_id = 'many';
-- Days in turn, as many partitions as one statement may fill
INSERT INTO mals.logs (agent_id, message, ts) SELECT 'spread', i::text, '2023-03-01'::timestamptz + i % 20 * interval '1 day' + i * interval '1 s' FROM generate_series(1, 2000) AS i;
SELECT count(*), count(DISTINCT tableoid) AS partitions, bool_and(mals_id_ts(id) = ts AND metadata = '{}') AS kept FROM mals.entries WHERE agent_id = 'spread';

-- A statement does not see its own rows
SELECT count(*) AS before FROM mals.entries \gset
INSERT INTO mals.logs (agent_id, message) SELECT 'self', count(*)::text FROM mals.entries RETURNING message = :'before' AS unseen;
WITH new AS (INSERT INTO mals.logs (agent_id, message) SELECT 'self', 'm' FROM generate_series(1, 2500) RETURNING id)
SELECT count(*) AS returned, (SELECT count(*) FROM mals.entries WHERE agent_id = 'self') AS seen FROM new;
SELECT count(*) FROM mals.entries WHERE agent_id = 'self';

-- Two parts of one statement write at once, also when one is fed by the other, or not read to the end
WITH a AS (INSERT INTO mals.logs (agent_id, message) SELECT 'cte', 'a' || i FROM generate_series(1, 3) AS i RETURNING id, message),
     b AS (INSERT INTO mals.inbox SELECT jsonb_build_object('agent_id', 'cte', 'message', 'b' || message, 'parent_id', id) FROM a RETURNING entry)
SELECT count(*) FROM b;
WITH a AS (INSERT INTO mals.logs (agent_id, message) VALUES ('cte', 'c1'), ('cte', 'c2') RETURNING message) SELECT message FROM a LIMIT 1;
WITH a AS (INSERT INTO mals.logs (agent_id, message) VALUES ('cte', 'd') RETURNING message)
INSERT INTO mals.logs (agent_id, message) SELECT 'cte', 'e' || message FROM a RETURNING message;
SELECT pg_temp.messages('cte');
SELECT count(*) FROM mals.entries p JOIN mals.entries c ON c.parent_id = p.id WHERE p.agent_id = 'cte';

-- Functions that the statement calls log too
CREATE FUNCTION pg_temp.nested(depth int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  IF depth > 0 THEN
    INSERT INTO mals.logs (agent_id, message) VALUES ('nested', pg_temp.nested(depth - 1) || depth);
    PERFORM mals_log('nested', 'log' || depth);
  END IF;
  RETURN 'in';
END $$;
INSERT INTO mals.logs (agent_id, message) SELECT 'nested', pg_temp.nested(2) || i FROM generate_series(1, 2) AS i;
SELECT string_agg(message, ' ' ORDER BY message COLLATE "C") FROM mals.entries WHERE agent_id = 'nested';

-- A function that fails inside a statement, caught or not, takes its own rows only
CREATE FUNCTION pg_temp.caught(i int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    INSERT INTO mals.logs (agent_id, message) VALUES ('caught', 'lost' || i);
    INSERT INTO mals.logs (agent_id, message) SELECT 'caught', CASE WHEN g < 2 THEN 'lost too' END FROM generate_series(1, 2) AS g;
  EXCEPTION WHEN null_value_not_allowed THEN
    INSERT INTO mals.inbox VALUES (jsonb_build_object('agent_id', 'caught', 'message', 'caught' || i));
  END;
  RETURN 'outer' || i;
END $$;
INSERT INTO mals.logs (agent_id, message) SELECT 'caught', pg_temp.caught(i) FROM generate_series(1, 3) AS i;
SELECT string_agg(message, ' ' ORDER BY message COLLATE "C") FROM mals.entries WHERE agent_id = 'caught';
DO $$
BEGIN
  FOR i IN 1..3 LOOP
    BEGIN
      INSERT INTO mals.logs (agent_id, message) VALUES ('loop', 'kept' || i);
      BEGIN
        INSERT INTO mals.logs (agent_id, message) VALUES ('loop', 'lost' || i);
        RAISE EXCEPTION 'x';
      EXCEPTION WHEN raise_exception THEN NULL;
      END;
      PERFORM mals_log('loop', 'after' || i);
    END;
  END LOOP;
END $$;
SELECT pg_temp.messages('loop');

-- Savepoints and rollback
BEGIN;
INSERT INTO mals.logs (agent_id, message) VALUES ('tx', 'a');
SAVEPOINT s1;
INSERT INTO mals.logs (agent_id, message) VALUES ('tx', 'b');
SAVEPOINT s2;
SELECT mals_log('tx', 'c') IS NOT NULL AS logged;
ROLLBACK TO s2;
RELEASE s2;
INSERT INTO mals.logs (agent_id, message) VALUES ('tx', NULL);
ROLLBACK TO s1;
INSERT INTO mals.logs (agent_id, message) VALUES ('tx', 'd');
COMMIT;
BEGIN;
INSERT INTO mals.logs (agent_id, message) VALUES ('tx', 'e');
ROLLBACK;
SELECT pg_temp.messages('tx');

-- The triggers fire whatever the session's replication role is
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO mals.logs (agent_id, message) VALUES ('replica', 'logs') RETURNING message;
INSERT INTO mals.inbox VALUES ('{"agent_id": "replica", "message": "inbox"}');
COPY mals.inbox FROM STDIN;
{"agent_id": "replica", "message": "copied"}
\.
SELECT mals_log('replica', 'function') IS NOT NULL AS logged;
SELECT pg_temp.failure('DELETE FROM mals.logs WHERE false');
COMMIT;
SELECT pg_temp.messages('replica');

-- Prepared statements, planned for any parameters
SET plan_cache_mode = force_generic_plan;
PREPARE p (text, text, mals_level) AS INSERT INTO mals.logs (agent_id, message, level) VALUES ($1, $2, $3) RETURNING level, message;
EXECUTE p ('prepared', 'one', 'warn');
EXECUTE p ('prepared', 'two', NULL);
EXECUTE p (NULL, 'three', NULL);
EXECUTE p ('prepared', 'four', 'error');
DEALLOCATE p;
RESET plan_cache_mode;

-- Two-phase commit
BEGIN;
INSERT INTO mals.logs (agent_id, message) VALUES ('2pc', 'kept');
PREPARE TRANSACTION 'mals_kept';
BEGIN;
SELECT mals_log('2pc', 'lost') IS NOT NULL AS logged;
PREPARE TRANSACTION 'mals_lost';
SELECT pg_temp.messages('2pc') IS NULL AS unseen;
COMMIT PREPARED 'mals_kept';
ROLLBACK PREPARED 'mals_lost';
SELECT pg_temp.messages('2pc');

-- The trigger functions work on the views only
CREATE TEMP TABLE lookalike (LIKE mals.logs);
CREATE TABLE lookalike2 (a int, b int);
CREATE TRIGGER a BEFORE INSERT ON lookalike FOR EACH ROW EXECUTE FUNCTION mals._insert_log();
CREATE TRIGGER a BEFORE INSERT ON lookalike2 FOR EACH ROW EXECUTE FUNCTION mals._insert_json();
SELECT pg_temp.failure($$INSERT INTO lookalike (message) VALUES ('m')$$), pg_temp.failure('INSERT INTO lookalike2 VALUES (1, 2)');
CREATE TRIGGER b BEFORE INSERT ON lookalike2 FOR EACH STATEMENT EXECUTE FUNCTION mals._insert_statement();
SELECT pg_temp.failure('INSERT INTO lookalike2 VALUES (1, 2)');
SELECT pg_temp.failure('SELECT mals._insert_log()');
DROP TABLE lookalike2;
