-- Rows written many at a time are in every index, whatever indexes there are.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
CREATE EXTENSION amcheck;
SET mals.max_past = '-1';
TRUNCATE mals.entries, mals._sights, mals._templates;

-- The btrees of partitions in which amcheck finds fault, comparing them with the table.
CREATE FUNCTION broken_indexes() RETURNS SETOF regclass LANGUAGE plpgsql AS $$
DECLARE
  i record;
BEGIN
  FOR i IN SELECT x.indexrelid::regclass AS name, a.amname
             FROM pg_inherits h JOIN pg_index x ON x.indrelid = h.inhrelid
             JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam
            WHERE h.inhparent = 'mals.entries'::regclass
  LOOP
    BEGIN
      IF i.amname = 'btree' THEN
        PERFORM bt_index_parent_check(i.name, true, true);
      END IF;
    EXCEPTION WHEN index_corrupted THEN
      RETURN NEXT i.name;
    END;
  END LOOP;
END
$$;

-- n entries from seed on, in an order that is none, with repeated and missing
-- keys, and some that are large or beyond what a btree takes short.
CREATE FUNCTION batch(seed int, n int) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
           'agent_id', 'agent-' || i % 13, 'message', 'Step ' || i, 'level',
           CASE WHEN i % 5 = 0 THEN 'error' ELSE 'info' END,
           'ts', to_char('2026-01-01'::timestamptz + i % 977 * interval '81 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'category', CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN repeat('é', 255) ELSE 'c' || i % 3 END,
           'session_key', 'session-' || i,
           'trace_id', CASE WHEN i % 3 > 0 THEN md5((i / 10)::text) END,
           'correlation_id', CASE WHEN i % 4 = 0 THEN rpad('req-' || i / 12, 6 + i % 250, 'é') END,
           'metadata', jsonb_build_object('n', i, 'tag', 't' || i % 11)))
         ORDER BY md5(i::text))
    FROM generate_series(seed, seed + n - 1) AS i
$$;

SELECT mals_log_batch(batch(1, 1)), mals_log_batch(batch(2, 7)), mals_log_batch(batch(9, 1992));
SELECT tableoid::regclass AS part FROM mals.entries LIMIT 1 \gset
SELECT count(DISTINCT tableoid) = 1 AS one_partition FROM mals.entries;
SELECT * FROM broken_indexes();

-- Indexes of the administrator's own.
CREATE UNIQUE INDEX own_unique ON :part (session_key);
CREATE UNIQUE INDEX own_nulls ON :part (parent_id, category, id) WHERE level < 'error';
CREATE INDEX own_expression ON :part (lower(message), (length(category)));
CREATE INDEX own_wide ON :part (category DESC NULLS FIRST, ts) INCLUDE (session_key, correlation_id);
CREATE INDEX own_jsonb ON :part (metadata);
CREATE INDEX own_gin ON :part USING gin (metadata);
CREATE INDEX own_hash ON :part USING hash (agent_id);
CREATE INDEX own_brin ON :part USING brin (created_at);
SELECT mals_log_batch(batch(2001, 3000)), mals_log_batch(batch(5001, 3000));
SELECT * FROM broken_indexes();
SET enable_seqscan = off;
SELECT count(*) FROM mals.entries WHERE metadata @> '{"tag": "t3"}';
SELECT count(*) FROM mals.entries WHERE agent_id = 'agent-5';
SELECT count(*) FROM mals.entries WHERE lower(message) LIKE 'step 77%';
SET enable_seqscan = on;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM mals.entries WHERE metadata @> '{"tag": "t3"}';
SELECT count(*) FROM mals.entries WHERE agent_id = 'agent-5';
SELECT count(*) FROM mals.entries WHERE lower(message) LIKE 'step 77%';
RESET enable_indexscan;
RESET enable_bitmapscan;

-- A duplicate rejects its batch: one that is stored already, or one of the same batch.
\set VERBOSITY terse
SELECT mals_log_batch(batch(8001, 500) || batch(77, 1));
SELECT mals_log_batch(batch(8001, 500) || batch(8300, 1));
\set VERBOSITY default
SELECT count(*) FROM mals.entries;
BEGIN;
SAVEPOINT s;
SELECT mals_log_batch(batch(8001, 500));
ROLLBACK TO s;
SELECT mals_log_batch(batch(8001, 500));
COMMIT;
SELECT count(*), count(DISTINCT session_key) FROM mals.entries;
SELECT * FROM broken_indexes();

-- Space that VACUUM gives back is used for rows and index entries again.
DELETE FROM mals.entries WHERE (metadata ->> 'n')::int % 3 = 0;
VACUUM mals.entries;
SELECT mals_log_batch(batch(8501, 3000));
SELECT count(*), count(DISTINCT session_key) FROM mals.entries;
SELECT * FROM broken_indexes();

-- Constraints that an index alone does not check; deferrable ones are refused.
ALTER TABLE :part ADD CONSTRAINT own_exclusion EXCLUDE USING hash (session_key WITH =);
DROP INDEX mals.own_unique;
SELECT mals_log_batch(batch(20001, 300));
\set VERBOSITY terse
SELECT mals_log_batch(batch(20301, 300) || batch(20017, 1));
SELECT mals_log_batch(batch(20301, 300) || batch(20317, 1));
ALTER TABLE :part ADD CONSTRAINT own_deferrable UNIQUE (session_key) DEFERRABLE;
SELECT mals_log_batch(batch(20301, 1));
\set VERBOSITY default
SELECT count(*), count(DISTINCT session_key) FROM mals.entries;
SELECT * FROM broken_indexes();
DROP FUNCTION broken_indexes(), batch(int, int);
