-- mals_log_batch: all or nothing, the bad entry named by its index, any size.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- An array of n good entries, with one of them replaced.
CREATE FUNCTION pg_temp.batch(n int, agent text, bad int DEFAULT NULL, replacement jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_agg(CASE WHEN i = bad THEN replacement ELSE jsonb_build_object('agent_id', agent, 'message', 'entry ' || i, 'i', i) END ORDER BY i)
  FROM generate_series(0, n - 1) AS i
$$;

SELECT mals_log_batch('[]'), mals_log_batch('{"agent_id": "batch", "message": "one object"}'), mals_log_batch(pg_temp.batch(3, 'batch'));
SELECT message, metadata FROM mals.entries WHERE agent_id = 'batch' ORDER BY id;
-- What is no batch
SELECT b, pg_temp.failure(format('SELECT mals_log_batch(%L)', b)) FROM unnest(ARRAY[NULL, 'null', '1', '"s"', 'true', '[1]', '[null]', '["s"]', '[[]]', '[[{"agent_id": "a", "message": "m"}]]', '[{}]', '{}',
  '{"resourceLogs": []}', '[{"agent_id": "a", "message": "m"}, 5]', '[{"agent_id": "a"}, {"message": "m"}]']) AS b;
-- Every error names the entry and its field
SELECT e, pg_temp.failure(format('SELECT mals_log_batch(%L)', pg_temp.batch(20, 'bad', 17, e))) FROM unnest(ARRAY[
  'null', '{"message": "m"}', '{"agent_id": "", "message": "m"}', '{"agent_id": 5, "message": "m"}', '{"agent_id": {}, "message": "m"}', '{"agent_id": "a"}', '{"agent_id": "a", "message": null}',
  '{"agent_id": "a", "message": "m", "level": "loud"}', '{"agent_id": "a", "message": "m", "level": -1}', '{"agent_id": "a", "message": "m", "level": []}', '{"agent_id": "a", "message": "m", "ts": "infinity"}',
  '{"agent_id": "a", "message": "m", "id": "018f4cd2-4c03-4abc-8000-000000000003"}', '{"agent_id": "a", "message": "m", "id": "018f4cd2-4c03-7abc-8000-000000000003", "ts": "2020-01-01"}']::jsonb[]) AS e;
SELECT pg_temp.failure(format('SELECT mals_log_batch(%L)', pg_temp.batch(20, 'bad', 17, jsonb_build_object('agent_id', repeat('a', 65), 'message', 'm'))));
-- First, last, beyond what waits in a writer; nothing of it is stored
SELECT n, pg_temp.failure(format('SELECT mals_log_batch(pg_temp.batch(%s, %L, %s, %L))', n, 'bad', n - 1, '{"agent_id": "bad"}')) FROM unnest('{1,2,999,1000,1001,2500}'::int[]) AS n;
SELECT pg_temp.failure($$SELECT mals_log_batch(pg_temp.batch(3000, 'bad', 0, '[]'))$$);
SELECT count(*) FROM mals.entries WHERE agent_id = 'bad';
-- In a transaction that goes on
BEGIN;
SELECT mals_log_batch(pg_temp.batch(1500, 'kept'));
SAVEPOINT s;
SELECT mals_log_batch(pg_temp.batch(2500, 'kept', 2499, '{}'));
ROLLBACK TO s;
SELECT mals_log_batch(pg_temp.batch(10, 'kept'));
COMMIT;
SELECT count(*) FROM mals.entries WHERE agent_id = 'kept';

-- 100,000 entries, over several days, with and without ids
SET mals.max_past = '-1';
CREATE TEMP TABLE large AS
  SELECT jsonb_agg(jsonb_build_object('agent_id', 'large', 'message', 'entry ' || i, 'level', CASE WHEN i % 10 = 0 THEN 'error' ELSE 'info' END, 'metadata', jsonb_build_object('i', i))
      || CASE i % 4 WHEN 0 THEN jsonb_build_object('ts', '2024-05-06T00:00:00Z'::timestamptz + i * interval '4 s')
                    WHEN 1 THEN jsonb_build_object('id', '018f4cd2-4c03-7abc-8000-' || lpad(i::text, 12, '0')) ELSE '{}' END ORDER BY i) AS entries
  FROM generate_series(1, 100000) AS i;
SELECT mals_log_batch(entries) FROM large;
SELECT count(*), count(DISTINCT id), sum((metadata ->> 'i')::int), count(*) FILTER (WHERE level = 'error') AS errors, bool_and(message = 'entry ' || (metadata ->> 'i')) AS kept,
  count(DISTINCT ts::date) FILTER (WHERE ts < '2025-01-01') AS days
FROM mals.entries WHERE agent_id = 'large';
SELECT mals_log_batch(entries) AS without_retries FROM large;
-- Large entries among small ones
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent_id', 'mixed', 'message', repeat(chr(97 + i % 26), CASE WHEN i % 7 = 0 THEN 300000 ELSE i END)))) FROM generate_series(1, 100) AS i;
SELECT count(*), count(*) FILTER (WHERE length(message) = 300000) AS large, bool_and(message = repeat(left(message, 1), length(message))) AS kept FROM mals.entries WHERE agent_id = 'mixed';
-- A batch in a query that logs as well
SELECT count(mals_log('both', 'm')), sum(mals_log_batch('[{"agent_id": "both", "message": "m"}, {"agent_id": "both", "message": "n"}]')) FROM generate_series(1, 3);
SELECT message, count(*) FROM mals.entries WHERE agent_id = 'both' GROUP BY 1 ORDER BY 1;
