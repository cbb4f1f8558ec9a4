-- Random entries, the same at every run: each is stored or raises one of the
-- contract's errors; nothing is half stored, nothing is lost.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql

SET mals.max_past = '-1';
SELECT setseed(0.42) IS NOT NULL AS seeded;

-- A random element.
CREATE FUNCTION pg_temp.pick(choices anyarray) RETURNS anyelement LANGUAGE sql VOLATILE AS $$
  SELECT choices[1 + floor(random() * cardinality(choices))::int]
$$;

-- A random text: words that mean something to the parsers, and any characters.
CREATE FUNCTION pg_temp.random_text() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN CASE floor(random() * 8)::int
    WHEN 0 THEN pg_temp.pick('{"",x,info,Warning,LOUD,40,-1,fatal,"null",true,NaN,infinity,-Infinity,Hello wörld,😀}'::text[])
    WHEN 1 THEN pg_temp.pick('{2024-05-06T07:08:09Z,2024-05-06 07:08:09.123456+05:30,2024-05-06,2024-13-45,0001-01-01T00:00:00Z,9999-12-31T23:59:59Z,99999-01-01,1969-12-31T23:59:59Z,20240506T070809,24:00,yesterday}'::text[])
    WHEN 2 THEN pg_temp.pick('{018f4cd2-4c03-7abc-8000-000000000001,018f4cd2-4c03-7abc-8000-000000000002,6f2a0c9e-2b1f-4a57-9a4e-111122223333,0af7651916cd43dd8448eb211c80319c,req-0af7651916cd43dd8448eb211c80319c,ffffffff-ffff-7fff-bfff-ffffffffffff,01JJ4S0WNGEF5FQAZG5KDGJRBV,018f4cd2-4c03-7abc-8000}'::text[])
    WHEN 3 THEN repeat(chr(33 + floor(random() * 90)::int), floor(random() * 600)::int)
    WHEN 4 THEN repeat(chr(161 + floor(random() * 50000)::int), floor(random() * 70)::int)
    WHEN 5 THEN chr(1 + floor(random() * 31)::int) || E'\n"\\' || chr(127)
    WHEN 6 THEN 'agent-' || floor(random() * 5)::int
    ELSE md5(random()::text)
  END;
EXCEPTION WHEN program_limit_exceeded THEN
  RETURN 'surrogate';
END $$;

-- A random JSON value of bounded depth.
CREATE FUNCTION pg_temp.random_value(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN CASE floor(random() * CASE WHEN depth > 0 THEN 9 ELSE 6 END)::int
    WHEN 0 THEN 'null'::jsonb
    WHEN 1 THEN to_jsonb(random() < 0.5)
    WHEN 2 THEN pg_temp.pick('{0,-1,5,20,40,50,1735689600.123,1735689600123,-1e15,1e400,1.5,253402300800,99999999999999999999}'::numeric[]::text[])::jsonb
    WHEN 3 THEN to_jsonb(random() * 2e9)
    WHEN 6 THEN (SELECT coalesce(jsonb_agg(pg_temp.random_value(depth - 1)), '[]') FROM generate_series(1, floor(random() * 4)::int))
    WHEN 7 THEN pg_temp.random_object(depth - 1)
    WHEN 8 THEN pg_temp.random_object(depth - 1)
    ELSE to_jsonb(pg_temp.random_text())
  END;
END $$;

-- A random JSON object with known and unknown keys.
CREATE FUNCTION pg_temp.random_object(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN (SELECT coalesce(jsonb_object_agg(CASE WHEN random() < 0.85 THEN pg_temp.pick('{agent_id,agent,agent_name,message,msg,body,event_data,level,severity,log_level,severity_text,
      ts,timestamp,time,event_timestamp,created_at,category,event_type,source,component,session_key,session_id,id,event_id,trace_id,parent_id,correlation_id,metadata,context,attributes,
      exception,fingerprint,resolved,resolved_at,resolved_by,mals.ts,mals.id,mals.category,metadata.x,value,""}'::text[]) ELSE pg_temp.random_text() END, pg_temp.random_value(depth)), '{}')
    FROM generate_series(1, floor(random() * 8)::int));
END $$;

-- Logs an entry by one way in; the SQLSTATE of a failure, or how many rows there are more.
CREATE FUNCTION pg_temp.try(entry jsonb, way int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  before bigint;
  after bigint;
  stored bigint;
BEGIN
  SELECT count(*) INTO before FROM mals.entries;
  BEGIN
    CASE way
      WHEN 0 THEN SELECT (mals_log_json(entry) IS NOT NULL)::int INTO stored;
      WHEN 1 THEN SELECT mals_log_batch(jsonb_build_array('{"agent_id": "before", "message": "m"}', entry, '{"agent_id": "after", "message": "m"}')) INTO stored;
      WHEN 2 THEN INSERT INTO mals.inbox VALUES (entry); GET DIAGNOSTICS stored = ROW_COUNT;
    END CASE;
  EXCEPTION WHEN others THEN
    SELECT count(*) INTO after FROM mals.entries;
    RETURN CASE WHEN SQLSTATE IN ('22004', '22023', '22P02') AND after = before THEN SQLSTATE ELSE SQLSTATE || ' ' || SQLERRM || ' ' || entry END;
  END;
  SELECT count(*) INTO after FROM mals.entries;
  -- mals_log_json answers a retry with the id that is stored
  RETURN CASE WHEN after - before = stored OR way = 0 AND after = before AND (entry ? 'id' OR entry ? 'event_id') THEN 'stored'
              ELSE format('%s reported, %s stored: %s', stored, after - before, entry) END;
END $$;

CREATE TEMP TABLE fuzz AS
  SELECT i, i % 3 AS way, CASE WHEN random() < 0.7 THEN '{"agent_id": "fuzz", "message": "m"}'::jsonb ELSE '{}' END || pg_temp.random_object(3) AS entry FROM generate_series(1, 3000) AS i;
INSERT INTO fuzz SELECT 3000 + i, 0, pg_temp.random_value(2) FROM generate_series(1, 200) AS i;
CREATE TEMP TABLE outcome AS SELECT i, way, entry, pg_temp.try(entry, way) AS outcome FROM fuzz;
SELECT outcome FROM outcome WHERE outcome NOT IN ('stored', '22004', '22023', '22P02') ORDER BY i LIMIT 5;
SELECT count(*) AS tried, count(DISTINCT outcome) AS outcomes, count(*) FILTER (WHERE outcome = 'stored') > 500 AS many_stored, count(*) FILTER (WHERE outcome <> 'stored') > 300 AS many_refused FROM outcome;

-- What is stored keeps every rule
SELECT count(*) AS broken FROM mals.entries
WHERE mals_id_ts(id) IS DISTINCT FROM ts OR jsonb_typeof(metadata) <> 'object' OR length(agent_id) NOT BETWEEN 1 AND 64
   OR greatest(length(category), length(source), length(session_key), length(correlation_id)) > 256 OR fingerprint IS NULL;
SELECT count(*) - count(DISTINCT id) AS doubles FROM mals.entries;
-- and is what was sent: a key that is no column's is in the metadata, whatever is beside it
CREATE TEMP TABLE kept AS
  SELECT i, pg_temp.random_object(2) || jsonb_build_object('agent_id', 'fuzz kept', 'message', i::text, 'level', 'info', 'id', NULL, 'event_id', NULL,
    'ts', '2024-05-06T07:08:09Z', 'kept', i) AS entry FROM generate_series(1, 1000) AS i;
SELECT mals_log_batch((SELECT jsonb_agg(entry) FROM kept));
SELECT count(*) AS stored, count(*) FILTER (WHERE e.metadata -> 'kept' = to_jsonb(i) AND ts = '2024-05-06T07:08:09Z') AS kept FROM kept JOIN mals.entries e ON agent_id = 'fuzz kept' AND message = i::text;

-- Random levels
CREATE FUNCTION pg_temp.try_level(word text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN CASE WHEN word::mals_level::text::mals_level = word::mals_level THEN 'a level' ELSE 'no round trip: ' || word END;
EXCEPTION WHEN invalid_text_representation THEN
  RETURN 'refused';
END $$;
SELECT pg_temp.try_level(CASE WHEN i % 4 = 0 THEN pg_temp.random_text() WHEN i % 4 = 1 THEN (random() * 100)::int::text ELSE
  translate(pg_temp.pick('{trace,debug,dbg,verbose,info,notice,log,information,warn,warning,error,err,severe,critical,fatal,panic,crit,alert,emerg,emergency}'::text[]),
    CASE WHEN random() < 0.5 THEN chr(97 + floor(random() * 26)::int) ELSE '' END, CASE WHEN random() < 0.5 THEN chr(65 + floor(random() * 26)::int) ELSE '' END) END) AS outcome, count(*) > 100 AS many
FROM generate_series(1, 5000) AS i GROUP BY 1 ORDER BY 1;
