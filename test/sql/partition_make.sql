-- mals_make_partitions, the bounds, names and indexes of what it makes, and
-- partitions that others made.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- The partitions of a time span: names and bounds.
CREATE FUNCTION pg_temp.partitions(low text, high text) RETURNS TABLE (name name, bounds text) LANGUAGE sql AS $$
  SELECT c.relname, regexp_replace(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES |[+]00', '', 'g')
  FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid
  WHERE inhparent = 'mals.entries'::regclass AND c.relname BETWEEN 'entries_' || low AND 'entries_' || high || '_99' ORDER BY c.relname COLLATE "C"
$$;

-- Days, of UTC; those that are there are not made again; the end is exclusive
SELECT mals_make_partitions('2001-01-01', '2001-01-04');
SELECT mals_make_partitions('2001-01-01', '2001-01-04');
SELECT mals_make_partitions('2001-01-03 23:59:59.999999', '2001-01-05 00:00:00.000001');
SELECT mals_make_partitions('2001-01-10', '2001-01-10'), mals_make_partitions('2001-01-10 12:00', '2001-01-10 12:00:00.000001');
BEGIN;
SET LOCAL timezone = 'Pacific/Kiritimati';
SET LOCAL datestyle = 'SQL, DMY';
SELECT mals_make_partitions('2001-01-20 12:00+00', '2001-01-20 13:00+00');
ROLLBACK;
SELECT * FROM pg_temp.partitions('200101', '200102');

-- Hours and weeks between them take the room there is; weeks begin on Mondays
SET mals.partition_interval = '1 hour';
SELECT mals_make_partitions('2001-02-01 22:30', '2001-02-02 01:00');
SET mals.partition_interval = '1 week';
SELECT mals_make_partitions('2001-01-29', '2001-02-12 00:00:00.000001');
SET mals.partition_interval = '1 day';
SELECT mals_make_partitions('2001-02-18', '2001-02-20');
SET mals.partition_interval = 'week';
SHOW mals.partition_interval;
SELECT mals_make_partitions('2001-02-19', '2001-02-26');
SELECT mals_make_partitions('1970-01-01', '1970-01-02'), mals_make_partitions('2000-01-01', '2000-01-04');
SET mals.partition_interval = 'hour';
SELECT mals_make_partitions('2000-01-09 23:59:59.999999', '2000-01-10 00:00:00.000001');
SELECT * FROM pg_temp.partitions('200101', '200103') WHERE name > 'entries_20010121';
SELECT * FROM pg_temp.partitions('19', '2001');
SET mals.partition_interval = 'day';
SELECT mals_make_partitions('9999-12-31', '10000-01-02'), mals_make_partitions('10889-08-02', '10889-08-02 05:31:50.655999');
SELECT * FROM pg_temp.partitions('1', '109');
SELECT * FROM pg_temp.partitions('9999', '99999');

-- What is no span
SELECT s, pg_temp.failure(format('SELECT mals_make_partitions(%s)', s)) FROM unnest(ARRAY[$$'2001-01-02', '2001-01-01'$$, $$'-infinity', '2001-01-01'$$, $$'2001-01-01', 'infinity'$$, $$'1969-12-31 23:59:59.999999', '1970-01-01'$$,
  $$'0001-01-01', '2001-01-01'$$, $$'2001-01-01', '294276-01-01'$$, $$'1970-01-01', '2020-01-01'$$, $$'1970-01-01', '9999-01-01'$$]) AS s;
SET mals.max_partitions = 5;
SELECT pg_temp.failure($$SELECT mals_make_partitions('2002-01-01', '2002-01-02')$$);
RESET mals.max_partitions;

-- They stay when the caller rolls back, and are there in a transaction that has begun before
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM pg_temp.partitions('2003', '2004');
SELECT mals_make_partitions('2003-01-01', '2003-01-03');
SET LOCAL mals.max_past = '-1';
SELECT count(mals_log('partition', 'm', ts => '2003-01-05'));
SELECT count(*) FROM mals.entries WHERE ts < '2004-01-01';
ROLLBACK;
SELECT * FROM pg_temp.partitions('2003', '2004');

-- Each has its key and indexes, is the extension owner's and no member of the extension
SELECT regexp_replace(indexdef, '^.* ON mals.entries_20010101 ', '') AS index FROM pg_indexes WHERE schemaname = 'mals' AND tablename = 'entries_20010101' ORDER BY indexname COLLATE "C";
SELECT count(*) = 0 AS none FROM pg_indexes WHERE schemaname = 'mals' AND tablename = 'entries';
SELECT count(DISTINCT (SELECT count(*) FROM pg_index i WHERE i.indrelid = inhrelid AND indisvalid AND indisready)) AS same_number_of_indexes,
       count(*) FILTER (WHERE EXISTS (SELECT FROM pg_depend WHERE objid = inhrelid AND deptype = 'e')) AS members FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass;

-- A name that is taken
CREATE TABLE mals.entries_20050101 (a int);
SELECT mals_make_partitions('2005-01-01', '2005-01-02');
SELECT * FROM pg_temp.partitions('2005', '2006');
DROP TABLE mals.entries_20050101;

-- A partition of another's, with another order of columns: read and written rightly
SET mals.max_past = '-1';
CREATE TABLE mals.theirs (fingerprint bigint NOT NULL, dropped int, metadata jsonb NOT NULL, correlation_id text COLLATE "C", parent_id uuid, trace_id uuid, session_key text COLLATE "C",
  source text COLLATE "C" NOT NULL, category text COLLATE "C", message text NOT NULL, agent_id text COLLATE "C" NOT NULL, level mals_level NOT NULL, created_at timestamptz NOT NULL,
  ts timestamptz NOT NULL, id uuid NOT NULL, xact bigint, PRIMARY KEY (ts, id));
ALTER TABLE mals.theirs DROP COLUMN dropped;
CREATE INDEX ON mals.theirs (agent_id, upper(message));
ALTER TABLE mals.entries ATTACH PARTITION mals.theirs FOR VALUES FROM ('2006-01-10 06:00') TO ('2006-01-12 12:00');
SELECT mals_log_batch((SELECT jsonb_agg(jsonb_build_object('agent_id', 'theirs', 'message', 'day ' || i, 'level', 'error', 'category', 'c', 'session_key', 's', 'correlation_id', 'x', 'trace_id', '0af7651916cd43dd8448eb211c80319c',
  'parent_id', '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b', 'ts', '2006-01-09T00:00:00Z'::timestamptz + i * interval '12 hours', 'metadata', jsonb_build_object('i', i))) FROM generate_series(0, 9) AS i));
SELECT mals_log('theirs', 'own id', id => '0108b6c3-0400-7000-8000-000000000001') = '0108b6c3-0400-7000-8000-000000000001' AS same,
       mals_log('theirs', 'own id', id => '0108b6c3-0400-7000-8000-000000000001') = '0108b6c3-0400-7000-8000-000000000001' AS same;
SELECT tableoid::regclass, ts, level, message, category, session_key, correlation_id, trace_id IS NOT NULL AS traced, metadata, mals_id_ts(id) = ts AND fingerprint = mals_fingerprint(message) AS right
FROM mals.entries WHERE agent_id = 'theirs' ORDER BY id;
SELECT * FROM pg_temp.partitions('2006', '2007');
SET enable_seqscan = off;
SELECT count(*) FROM mals.theirs WHERE agent_id = 'theirs' AND upper(message) LIKE 'DAY%';
RESET enable_seqscan;
-- Row security sees its rows in the right columns too
CREATE ROLE mals_test_theirs;
GRANT INSERT ON mals.logs TO mals_test_theirs;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO mals_test_theirs;
CREATE POLICY mals_test ON mals.entries AS RESTRICTIVE TO mals_test_theirs USING (agent_id LIKE 'mine%');
SET ROLE mals_test_theirs;
SELECT mals_log('mine', 'guess', id => '0108b6c3-0400-7000-8000-000000000001') <> '0108b6c3-0400-7000-8000-000000000001' AS new_id,
       mals_log('mine', 'own', id => '0108b6c3-0400-7000-8000-000000000002') = '0108b6c3-0400-7000-8000-000000000002' AS same,
       mals_log('mine too', 'retry', id => '0108b6c3-0400-7000-8000-000000000002') = '0108b6c3-0400-7000-8000-000000000002' AS same;
RESET ROLE;
DROP POLICY mals_test ON mals.entries;
DROP OWNED BY mals_test_theirs;
DROP ROLE mals_test_theirs;
SELECT agent_id, message, metadata FROM mals.theirs WHERE agent_id LIKE 'mine%';

-- Its CHECK constraints hold, as they do for a plain INSERT
ALTER TABLE mals.theirs ADD CONSTRAINT loud CHECK (level >= 'error' OR agent_id <> 'checked');
SELECT pg_temp.failure(s) FROM unnest(ARRAY[$$SELECT mals_log('checked', 'm', ts => '2006-01-11')$$, $$SELECT mals_log('checked', 'm', 'error', ts => '2006-01-11')$$,
  $$SELECT mals_log('checked', 'm', id => '0108b6c3-0400-7000-8000-000000000003')$$]) AS s;
SELECT count(*) FROM mals.entries WHERE agent_id = 'checked';

-- What mals cannot write is refused: no plain table, or no key for retries
CREATE TABLE mals.parted (LIKE mals.entries) PARTITION BY LIST (agent_id);
CREATE TABLE mals.keyless (LIKE mals.entries);
ALTER TABLE mals.entries ATTACH PARTITION mals.parted FOR VALUES FROM ('2007-01-01') TO ('2007-01-02');
ALTER TABLE mals.entries ATTACH PARTITION mals.keyless FOR VALUES FROM ('2007-01-02') TO ('2007-01-03');
SELECT pg_temp.failure(s) FROM unnest(ARRAY[$$SELECT mals_log('a', 'm', ts => '2007-01-01')$$, $$SELECT mals_log('keyless', 'm', ts => '2007-01-02')$$, $$SELECT mals_log('a', 'm', id => '010fe05c-f000-7000-8000-000000000001')$$]) AS s;
SELECT mals_id_ts('010fe05c-f000-7000-8000-000000000001') BETWEEN '2007-01-02' AND '2007-01-03' AS within, count(*) FROM mals.entries WHERE agent_id = 'keyless';
-- What is missing is named, and so is a time that no id holds
SELECT pg_temp.failure(s) FROM unnest(ARRAY[$$SELECT mals_make_partitions(NULL, '2020-01-02')$$, $$SELECT mals_make_partitions('2020-01-01', NULL)$$,
  $$SELECT mals_make_partitions('200000-01-01', '200000-01-02')$$, $$SELECT mals_make_partitions('2020-01-01', 'infinity')$$]) AS s;
-- Unbounded ones leave nothing to make
ALTER TABLE mals.entries DETACH PARTITION mals.keyless;
ALTER TABLE mals.entries DETACH PARTITION mals.parted;
DROP TABLE mals.parted;
DELETE FROM mals.keyless;
BEGIN;
ALTER TABLE mals.entries ATTACH PARTITION mals.keyless FOR VALUES FROM (MINVALUE) TO ('1969-01-01');
CREATE TABLE mals.future (LIKE mals.entries);
ALTER TABLE mals.entries ATTACH PARTITION mals.future FOR VALUES FROM ('10900-01-01') TO (MAXVALUE);
SELECT count(mals_log('a', 'm', ts => t)) FROM unnest('{1971-01-01,2008-01-01}'::timestamptz[]) AS t;
ROLLBACK;
DROP TABLE mals.keyless;
SELECT * FROM pg_temp.partitions('1971', '1972');
