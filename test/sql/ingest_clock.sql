-- The clock rule: what is too old, too far ahead, of a year no id holds or beyond
-- the partitions allowed is stored at the time received, and nothing of it is lost.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- Logs an entry of a time by one way in and tells how it was stored.
CREATE FUNCTION pg_temp.stored(wanted timestamptz, way text DEFAULT 'mals_log') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  new uuid;
  e mals.entries;
BEGIN
  CASE way
    WHEN 'mals_log' THEN new := mals_log('clock', 'm', ts => wanted);
    WHEN 'json' THEN new := mals_log_json(jsonb_build_object('agent_id', 'clock', 'message', 'm', 'ts', wanted));
    WHEN 'view' THEN INSERT INTO mals.logs (agent_id, message, ts) VALUES ('clock', 'm', wanted) RETURNING id INTO new;
  END CASE;
  SELECT * INTO STRICT e FROM mals.entries WHERE id = new;
  RETURN CASE WHEN e.ts = wanted AND e.metadata = '{}' THEN 'at its time'
              WHEN e.ts = e.created_at AND (e.metadata ->> 'mals.ts')::timestamptz = wanted AND e.metadata - 'mals.ts'::text = '{}' THEN 'when received'
              ELSE to_jsonb(e)::text END
         || CASE WHEN mals_id_ts(e.id) = e.ts THEN '' ELSE ', and its id does not carry its time' END;
END $$;

-- By default an entry may be as old as the retention and an hour ahead
SELECT pg_temp.stored(now());
SHOW mals.max_past;
SHOW mals.max_future;
SELECT i AS ago, pg_temp.stored(now() - i, way), way FROM unnest('{0,1 day,29 days 23:59:00,30 days 00:01:00,400 days,-59 minutes,-61 minutes,-30 days}'::interval[]) AS i, unnest('{mals_log,json,view}'::text[]) AS way;
SET mals.retention = '3 days';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{2 days 23:59:00,3 days 00:01:00}'::interval[]) AS i;
SET mals.retention = '1 mon';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{29 days 23:59:00,30 days 00:01:00}'::interval[]) AS i;
RESET mals.retention;
SET mals.max_past = '1 day';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{23:59:00,24:01:00}'::interval[]) AS i;
SET mals.max_past = '0';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{-1 minute,1 minute}'::interval[]) AS i;
SET mals.max_past = '-1';
SET mals.max_future = '2 days';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{-47:59:00,-48:01:00,20 years}'::interval[]) AS i;
SET mals.max_future = '0';
SELECT i AS ago, pg_temp.stored(now() - i) FROM unnest('{-1 minute,1 minute}'::interval[]) AS i;

-- Years that no id holds
SET mals.max_future = '9999 years';
SELECT t, pg_temp.stored(t, way), way FROM unnest('{1970-01-01 00:00:00,1969-12-31 23:59:59.999999,0001-01-01 00:00:00,0044-03-15 12:00:00 BC,4713-01-01 00:00:00 BC,
  9999-12-31 23:59:59.999999,10889-08-02 05:31:50.655999,10889-08-02 05:31:50.656,294276-12-31 23:59:59.999999}'::timestamptz[]) AS t, unnest('{mals_log,view}'::text[]) AS way;
SELECT pg_temp.failure(format('SELECT pg_temp.stored(%L, %L)', t, way)) FROM unnest('{infinity,-infinity}'::text[]) AS t, unnest('{mals_log,view}'::text[]) AS way;
SELECT pg_temp.failure(format('SELECT mals_log_json(%L)', e)) FROM unnest(ARRAY[
  '{"agent_id": "a", "message": "m", "ts": "infinity"}', '{"agent_id": "a", "message": "m", "time": "-Infinity"}', '{"agent_id": "a", "message": "m", "timestamp": "NaN"}']) AS e;
-- What the metadata says of it, exactly
RESET mals.max_past;
RESET mals.max_future;
CREATE FUNCTION pg_temp.metadata(entry_id uuid) RETURNS jsonb LANGUAGE sql AS $$
  SELECT metadata || jsonb_build_object('received', ts = created_at) FROM mals.entries WHERE id = entry_id
$$;
SELECT pg_temp.metadata(mals_log('a', 'm', ts => '2000-02-29 23:59:59.123456+05:30', metadata => '{"k": 1}'));
SELECT pg_temp.metadata(mals_log('a', 'm', id => '00dc6a9d-4c00-7000-8000-000000000001', metadata => '{"mals.id": "mine", "mals.ts": [1]}'));
SELECT pg_temp.metadata(mals_log('a', 'm', id => '00dc6a9d-4c00-7fff-8000-000000000002', ts => mals_id_ts('00dc6a9d-4c00-7fff-8000-000000000002'), metadata => '[]'));
SELECT pg_temp.metadata(mals_log_json(e)) FROM unnest(ARRAY[
  '{"agent_id": "a", "message": "m", "ts": "0001-01-01T00:00:00Z"}', '{"agent_id": "a", "message": "m", "timestamp": 951868799.5}',
  '{"agent_id": "a", "message": "m", "timestamp": 1e30}', '{"agent_id": "a", "message": "m", "ts": -1}', '{"agent_id": "a", "message": "m", "ts": "2000-01-01"}',
  '{"agent_id": "a", "message": "m", "id": "00dc6a9d-4c00-7000-8000-000000000003"}']::jsonb[]) AS e;
BEGIN;
SET LOCAL timezone = 'Asia/Kolkata';
SET LOCAL datestyle = 'SQL, DMY';
SELECT pg_temp.metadata(mals_log('a', 'm', ts => '2000-02-29 23:59:59.123456+05:30')) ->> 'mals.ts' AS always_utc;
ROLLBACK;

-- One statement makes at most 100 partitions; what is beyond is stored now, in order of arrival
SET mals.max_past = '-1';
INSERT INTO mals.logs (agent_id, message, ts) SELECT 'hundred', i::text, '2010-01-01'::timestamptz + i * interval '1 day' FROM generate_series(1, 120) AS i;
SELECT metadata ? 'mals.ts' AS received, count(*), min(message::int), max(message::int), bool_and(ts = created_at OR ts = '2010-01-01'::timestamptz + message::int * interval '1 day') AS right
FROM mals.entries WHERE agent_id = 'hundred' GROUP BY 1 ORDER BY 1;
-- The next statement goes on
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'hundred2', 'message', i::text, 'ts', '2010-01-01'::timestamptz + i * interval '1 day')) FROM generate_series(1, 120) AS i));
SELECT metadata ? 'mals.ts' AS received, count(*) FROM mals.entries WHERE agent_id = 'hundred2' GROUP BY 1;

-- Beyond mals.max_partitions none is made but the current one's
SELECT count(*) + 2 AS two_more FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass \gset
SET mals.max_partitions = :two_more;
SELECT pg_temp.stored('2011-01-01'::timestamptz + i * interval '1 day') FROM generate_series(1, 4) AS i;
SELECT pg_temp.stored('2011-01-02'), pg_temp.stored('2011-01-04');
SET mals.max_partitions = 1;
SELECT pg_temp.stored('2011-01-03'), pg_temp.stored('2011-01-05'), pg_temp.stored(now());
