-- The memory of a session that logs and logs stays what it was: by every way in, in
-- many transactions and in one, with new messages, secrets, retries and errors.
SET client_min_messages = error;
TRUNCATE mals.entries, mals._sights, mals._templates;
INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]{6}');

-- What the session's contexts hold, and what of the process is its own
CREATE FUNCTION pg_temp.contexts() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts $$;
CREATE FUNCTION pg_temp.resident() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)')::bigint * 1024 $$;
-- n entries by each way; round makes messages and secrets new
CREATE FUNCTION pg_temp.log(round int, n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  word text := translate(round::text, '0123456789', 'abcdefghij');
  stored uuid;
BEGIN
  PERFORM mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'batch-' || round % 50, 'msg', 'Order ' || i || ' of ' || word || ' rejected', 'level', 'error', 'secret', md5(i::text), 'n', i, 'customer', 'C-123456'))) FROM generate_series(1, n) AS i;
  PERFORM mals_log_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs', jsonb_build_array(jsonb_build_object('logRecords', jsonb_agg(jsonb_build_object('body', jsonb_build_object('stringValue', 'body ' || i),
    'attributes', '[{"key": "agent.id", "value": {"stringValue": "otlp"}}]'::jsonb)))))))) FROM generate_series(1, n) AS i;
  INSERT INTO mals.logs (agent_id, message, metadata) SELECT 'view', 'password=' || md5(i::text), jsonb_build_object('i', i, 'big', repeat('x', i)) FROM generate_series(1, n) AS i;
  INSERT INTO mals.inbox SELECT jsonb_build_object('agent', 'inbox', 'msg', 'in ' || i) FROM generate_series(1, n) AS i;
  FOR i IN 1 .. n LOOP
    stored := mals_log('one', 'Step ' || i || ' of ' || word, metadata => '{"a": 1}');
    IF i % 10 = 0 THEN
      stored := mals_log('one', 'again', id => stored);
      BEGIN
        PERFORM mals_log_json('{"agent": "one", "msg": "m", "level": "loud"}');
      EXCEPTION WHEN invalid_text_representation THEN NULL;
      END;
    END IF;
  END LOOP;
END $$;

SELECT count(pg_temp.log(round, 500)) FROM generate_series(1, 4) AS round;
\o /dev/null
SELECT format('SELECT pg_temp.log(%s, 50)', i) FROM generate_series(1, 20) AS i \gexec
\o
SELECT pg_temp.contexts() AS contexts, pg_temp.resident() AS resident \gset
-- in many transactions
\o /dev/null
SELECT format('SELECT pg_temp.log(%s, 50)', i) FROM generate_series(21, 220) AS i \gexec
\o
SELECT pg_temp.contexts() <= 1.2 * :contexts AS contexts_flat, pg_temp.resident() <= 1.2 * :resident AS process_flat;
-- in one transaction
BEGIN;
SELECT count(pg_temp.log(round, 500)) FROM generate_series(1, 4) AS round;
SELECT pg_temp.contexts() AS contexts, pg_temp.resident() AS resident \gset
\o /dev/null
SELECT format('SELECT pg_temp.log(%s, 500)', i) FROM generate_series(221, 250) AS i \gexec
\o
SELECT pg_temp.contexts() <= 1.2 * :contexts AS contexts_flat, pg_temp.resident() <= 1.2 * :resident AS process_flat;
COMMIT;
SELECT count(*) > 100000 AS many FROM mals.entries;
DELETE FROM mals.redact_rules;
TRUNCATE mals.entries, mals._sights, mals._templates;
