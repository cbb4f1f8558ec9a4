-- Ids: their time is ts to the microsecond, their order that of logging; retries
-- by the sender's id; ids that cannot be the entry's.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- A UUIDv7 of a time, with a tail of one's own.
CREATE FUNCTION pg_temp.uuid7(ts timestamptz, tail bigint) RETURNS uuid LANGUAGE sql AS $$
  SELECT (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(us * 4096 / 1000), 3, '0') || '8' || lpad(to_hex(tail), 15, '0'))::uuid
  FROM (SELECT floor(extract(epoch FROM ts) * 1000)::bigint AS ms, (extract(microseconds FROM ts)::bigint % 1000)::int AS us) AS t
$$;

-- The messages stored of an agent.
CREATE FUNCTION pg_temp.messages(agent text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(message, ' ' ORDER BY message COLLATE "C") FROM mals.entries WHERE agent_id = agent
$$;

SET mals.max_past = '-1';
SET mals.max_future = '9000 years';

-- Every microsecond of a millisecond, before and after 2000, at the ends of what an id holds
CREATE TEMP TABLE wanted AS
  SELECT t, w.wanted, mals_log('us', us::text, ts => w.wanted) AS id
  FROM unnest('{1970-01-01 00:00:00,1999-12-31 23:59:59.999,2024-05-06 07:08:09.123,9999-12-31 23:59:59.999,10889-08-02 05:31:50.655}'::timestamptz[]) AS t,
       generate_series(0, 999) AS us, LATERAL (SELECT t + us * interval '1 us' AS wanted) AS w;
SELECT t, count(*), bool_and(mals_id_ts(id) = ts) AS carried, bool_and(ts = wanted) AS exact,
       bool_and(substr(id::text, 15, 1) = '7' AND substr(id::text, 20, 1) BETWEEN '8' AND 'b') AS version_7,
       array_agg(id ORDER BY id) = array_agg(id ORDER BY ts) AS in_order
FROM wanted JOIN mals.entries USING (id) GROUP BY 1 ORDER BY 1;
SELECT t, mals_id_ts(t::uuid) FROM unnest('{00000000-0000-7000-8000-000000000000,00000000-0000-7fff-8000-000000000000,00000000-0001-7000-8000-000000000000,
  ffffffff-ffff-7fff-bfff-ffffffffffff,018bcfe5-6800-6000-8000-000000000001,018bcfe5-6800-7000-0000-000000000001,018bcfe5-6800-7000-c000-000000000001,
  00000000-0000-0000-0000-000000000000}'::text[]) AS t;
SELECT mals_id_ts(NULL) IS NULL AS null;

-- Unique and in the order of logging, by any way in, also at one and the same time
INSERT INTO mals.logs (agent_id, message) SELECT 'order', i::text FROM generate_series(1, 3000) AS i;
SELECT count(mals_log('order', (3000 + i)::text)) FROM generate_series(1, 3000) AS i;
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'order', 'message', (6000 + i)::text) ORDER BY i) FROM generate_series(1, 3000) AS i));
SELECT count(*), count(DISTINCT id), array_agg(message::int ORDER BY id) = array_agg(message::int ORDER BY message::int) AS in_order FROM mals.entries WHERE agent_id = 'order';
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'once', 'message', i::text, 'ts', '2024-05-06T07:08:09.123456Z') ORDER BY i) FROM generate_series(1, 3000) AS i));
SELECT count(*), count(DISTINCT id), count(DISTINCT ts), array_agg(message::int ORDER BY id) = array_agg(message::int ORDER BY message::int) AS in_order FROM mals.entries WHERE agent_id = 'once';

-- The sender's id: the entry's time is in it; a ts beside it must be of the same millisecond
SELECT mals_log('own', 'no ts', id => '018f4cd2-4c03-7abc-8000-000000000001') AS id
UNION ALL SELECT mals_log('own', 'same ms', id => '018f4cd2-4c03-7abc-8000-000000000002', ts => mals_id_ts('018f4cd2-4c03-7000-8000-000000000000') + interval '999 us');
SELECT id, ts, ts = mals_id_ts(id) AS carried FROM mals.entries WHERE agent_id = 'own' ORDER BY id;
SELECT d, pg_temp.failure(format('SELECT mals_log(%L, %L, id => %L, ts => %L)', 'own', 'm', '018f4cd2-4c03-7abc-8000-000000000003', mals_id_ts('018f4cd2-4c03-7000-8000-000000000000') + d))
FROM unnest('{-1 us,0,999 us,1000 us,1 day,-100 years}'::interval[]) AS d;
-- Random bits where others put no microseconds
SELECT mals_id_ts('018f4cd2-4c03-7fff-8000-000000000000') - mals_id_ts('018f4cd2-4c03-7000-8000-000000000000') AS within_the_millisecond;
SELECT f, pg_temp.failure(format('SELECT mals_log(%L, %L, id => %L)', 'own', 'm', f)) FROM unnest('{018f4cd2-4c03-4abc-8000-000000000003,
  018f4cd2-4c03-1abc-8000-000000000003,018f4cd2-4c03-7abc-4000-000000000003,00000000-0000-0000-0000-000000000000}'::text[]) AS f;

-- Retries: the same id, one row, counted once; their content is not compared
SELECT pg_temp.uuid7('2024-05-06 07:08:09.123456', 1) AS a, pg_temp.uuid7('2024-05-06 07:08:09.123456', 2) AS b, pg_temp.uuid7('2024-05-06 07:08:09.123456', 3) AS c,
       pg_temp.uuid7('2024-05-06 07:08:09.123456', 4) AS d, pg_temp.uuid7('2024-05-06 07:08:09.123456', 5) AS e \gset
SELECT mals_log('retry', 'a', id => :'a') = :'a' AS same, mals_log('retry', 'a', id => :'a') = :'a' AS same, mals_log('retry', 'A', 'error', id => :'a') = :'a' AS same;
SELECT mals_log('another', 'a', id => :'a') = :'a' AS same;
SELECT mals_log_json(jsonb_build_object('agent_id', 'retry', 'message', 'again', 'event_id', :'a')) = :'a' AS same;
SELECT mals_log_batch(jsonb_build_array(
  jsonb_build_object('agent_id', 'retry', 'message', 'a again', 'id', :'a'), jsonb_build_object('agent_id', 'retry', 'message', 'b', 'id', :'b'),
  jsonb_build_object('agent_id', 'retry', 'message', 'c'), jsonb_build_object('agent_id', 'retry', 'message', 'b again', 'id', :'b')));
SELECT pg_temp.messages('retry'), pg_temp.messages('another');
BEGIN;
SELECT mals_log('retry', 'd', id => :'d') = :'d' AS same;
SELECT mals_log('retry', 'd again', id => :'d') = :'d' AS same;
SAVEPOINT s;
SELECT mals_log('retry', 'rolled back', id => :'e') = :'e' AS same;
SELECT mals_log('retry', 'rolled back too', id => :'e') = :'e' AS same;
ROLLBACK TO s;
SELECT mals_log('retry', 'e', id => :'e') = :'e' AS same;
INSERT INTO mals.logs (agent_id, message, id) VALUES ('retry', 'd once more', :'d'), ('retry', 'e again', :'e'), ('retry', 'f', NULL) RETURNING message;
COMMIT;
SELECT pg_temp.messages('retry');
-- Also of an entry that was deleted and came back, and from a snapshot older than the entry
DELETE FROM mals.entries WHERE id = :'e';
SELECT mals_log('retry', 'e anew', id => :'e') = :'e' AS same;
SELECT pg_temp.messages('retry'), count(*) = count(DISTINCT id) AS one_row_each FROM mals.entries;

-- Many at once, half of them retries
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'half', 'message', i::text, 'id', pg_temp.uuid7('2024-05-07 00:00:00', i / 2))) FROM generate_series(0, 4999) AS i));
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'half', 'message', i::text, 'id', pg_temp.uuid7('2024-05-07 00:00:00', i))) FROM generate_series(0, 4999) AS i));
SELECT count(*), count(DISTINCT id) FROM mals.entries WHERE agent_id = 'half';

-- Ids that the clock rule refuses: a server's id, and retries are recognised all the same
RESET mals.max_past;
CREATE TEMP TABLE refused AS
  SELECT n, agent, mals_log(agent, 'refused ' || n, id => pg_temp.uuid7('2024-05-06 07:08:09.123456', tail)) AS id
  FROM (VALUES (1, 'refused', 100), (2, 'refused', 100), (3, 'refused', 101), (4, 'refused2', 100), (5, 'refused', 100)) AS v (n, agent, tail);
SELECT n, dense_rank() OVER (ORDER BY id) AS stored_as, message, metadata, ts = created_at AS received, mals_id_ts(id) = ts AS carried
FROM refused JOIN mals.entries USING (id) ORDER BY n;
SELECT mals_log_batch(jsonb_build_array(
  jsonb_build_object('agent_id', 'refused', 'message', 'again', 'id', pg_temp.uuid7('2024-05-06 07:08:09.123456', 100)),
  jsonb_build_object('agent_id', 'refused', 'message', 'new', 'id', pg_temp.uuid7('2024-05-06 07:08:09.123456', 102)),
  jsonb_build_object('agent_id', 'refused', 'message', 'new again', 'id', pg_temp.uuid7('2024-05-06 07:08:09.123456', 102))));
INSERT INTO mals.logs (agent_id, message, id) VALUES ('refused', 'by the view', pg_temp.uuid7('2024-05-06 07:08:09.123456', 100)), ('refused', 'fresh', pg_temp.uuid7('2024-05-06 07:08:09.123456', 103)) RETURNING message;
SELECT pg_temp.messages('refused');
BEGIN;
SELECT mals_log('refused', 'undone', id => pg_temp.uuid7('2024-05-06 07:08:09.123456', 104)) IS NOT NULL AS logged;
ROLLBACK;
SELECT mals_log('refused', 'done', id => pg_temp.uuid7('2024-05-06 07:08:09.123456', 104)) IS NOT NULL AS logged;
SELECT pg_temp.messages('refused');

-- An id that was stored when it was not refused yet is that entry's still
SELECT mals_log('retry', 'late', id => :'a') = :'a' AS same, mals_log('another', 'late', id => :'b') = :'b' AS same;
SELECT mals_log_batch(jsonb_build_array(
  jsonb_build_object('agent_id', 'retry', 'message', 'late', 'id', :'a'), jsonb_build_object('agent_id', 'retry', 'message', 'never seen', 'id', :'c'),
  jsonb_build_object('agent_id', 'retry', 'message', 'late', 'id', :'b')));
SELECT pg_temp.messages('retry'), pg_temp.messages('another');
