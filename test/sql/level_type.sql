-- Type mals_level: names, aliases, numbers, order, casts, classes, binary format, errors.

-- The error of a statement: its SQLSTATE, message and whether there is a hint.
CREATE FUNCTION level_error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  hint text;
BEGIN
  EXECUTE statement;
  RETURN 'no error';
EXCEPTION WHEN others THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN hint = '' THEN ' (no hint)' ELSE '' END;
END $$;

-- Names, aliases in any case, surrounding space, numbers as text
SELECT word::mals_level AS level, string_agg(word, ' ' ORDER BY n) AS words
FROM unnest('{trace,debug,dbg,verbose,info,notice,log,information,warn,warning,error,err,severe,critical,fatal,panic,
  crit,alert,emerg,emergency,WARNING,Fatal,iNfO,0,5,9,10,19,20,29,30,39,40,49,50,99,007,
  99999999999999999999999999}'::text[]) WITH ORDINALITY AS t (word, n)
GROUP BY 1 ORDER BY 1;
SELECT ' error '::mals_level, E'\tinfo\n'::mals_level;

-- What is no level
SELECT input, level_error(format('SELECT %L::mals_level', input))
FROM unnest(ARRAY['', ' ', 'nonsense', 'inf', 'infos', '-1', '+20', '20.5', '2 0', '0x10', 'warn!', 'ошибка', 'error warn',
  repeat('é', 100)]) AS input;
SELECT level_error($$SELECT 'nonsense'::text::mals_level$$);
SELECT level_error($$SELECT (-1)::mals_level$$);
SELECT level_error($$SELECT (-2147483648)::mals_level$$);
SELECT NULL::mals_level IS NULL AS "null";

-- Integers and OpenTelemetry's numbers, both ways
SELECT n::mals_level AS level, min(n), max(n) FROM generate_series(0, 60) AS n GROUP BY 1 ORDER BY 1;
SELECT 2147483647::mals_level;
SELECT l AS level, l::int AS python, mals_severity_number(l) AS otel, mals_level_from_otel(mals_severity_number(l)) = l AS back
FROM unnest('{trace,debug,info,warn,error,critical}'::mals_level[]) AS l;
SELECT mals_level_from_otel(n) AS level, min(n), max(n) FROM generate_series(1, 24) AS n GROUP BY 1 ORDER BY 1;
SELECT level_error(format('SELECT mals_level_from_otel(%s)', n)) FROM unnest('{0,-1,25,2147483647}'::int[]) AS n;

-- Order: every operator agrees with the numbers
CREATE TEMP TABLE levels AS
SELECT l AS level, l::int AS number FROM unnest('{trace,debug,info,warn,error,critical}'::mals_level[]) AS l;
SELECT count(*) AS pairs,
  bool_and((a.level = b.level) = (a.number = b.number)) AS eq,
  bool_and((a.level <> b.level) = (a.number <> b.number)) AS ne,
  bool_and((a.level < b.level) = (a.number < b.number)) AS lt,
  bool_and((a.level <= b.level) = (a.number <= b.number)) AS le,
  bool_and((a.level > b.level) = (a.number > b.number)) AS gt,
  bool_and((a.level >= b.level) = (a.number >= b.number)) AS ge,
  bool_and(sign(mals_level_cmp(a.level, b.level)) = sign(a.number - b.number)) AS cmp
FROM levels AS a, levels AS b;
SELECT string_agg(level::text, ' ' ORDER BY level) AS ascending, string_agg(level::text, ' ' ORDER BY level DESC) AS descending,
  min(level), max(level) FROM levels;
SELECT min(level), max(level) FROM levels WHERE false;

-- The operators are declared alike and leak nothing
SELECT o.oprname, c.oprname AS commutator, n.oprname AS negator, o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge, p.proleakproof
FROM pg_operator AS o
  JOIN pg_proc AS p ON p.oid = o.oprcode
  LEFT JOIN pg_operator AS c ON c.oid = o.oprcom
  LEFT JOIN pg_operator AS n ON n.oid = o.oprnegate
WHERE o.oprleft = 'mals_level'::regtype ORDER BY o.oprname COLLATE "C";
SELECT castsource::regtype, casttarget::regtype, castcontext
FROM pg_cast WHERE 'mals_level'::regtype IN (castsource, casttarget) ORDER BY 1::text, 2::text;
SELECT count(*) > 20 AS many, bool_and(provolatile = 'i' AND proisstrict AND proparallel = 's') AS immutable_strict_safe
FROM pg_proc WHERE proname LIKE 'mals\_level\_%' OR proname = 'mals_severity_number';
SELECT typlen, typbyval, typalign FROM pg_type WHERE oid = 'mals_level'::regtype;

-- Index, join and grouping by every method
CREATE TABLE level_entries AS SELECT (ARRAY[5, 10, 20, 30, 40, 50])[1 + i % 6]::mals_level AS level, i FROM generate_series(1, 3000) AS i;
CREATE INDEX level_btree ON level_entries (level);
CREATE INDEX level_hash ON level_entries USING hash (level);
ANALYZE level_entries;
SET enable_seqscan = off;
SELECT count(*) FROM level_entries WHERE level >= 'error';
SELECT count(*) FROM level_entries WHERE level = 'critical';
SELECT min(level), max(level) FROM level_entries;
SET enable_bitmapscan = off;
DROP INDEX level_btree;
SELECT count(*) FROM level_entries WHERE level = 'warn';
RESET enable_seqscan;
RESET enable_bitmapscan;
SET enable_nestloop = off;
SET enable_mergejoin = off;
SELECT count(*) FROM level_entries AS e JOIN levels AS l USING (level);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT count(*) FROM level_entries AS e JOIN levels AS l USING (level);
RESET enable_hashjoin;
RESET enable_nestloop;
SELECT level, count(*) FROM level_entries GROUP BY level ORDER BY level;
SELECT count(DISTINCT mals_level_hash(level)) = 6 AS hashes_differ,
  bool_and(mals_level_hash(level) = (mals_level_hash_extended(level, 0) & 4294967295)::bit(32)::int) AS seed_0_is_the_hash,
  bool_and(mals_level_hash_extended(level, 0) <> mals_level_hash_extended(level, 1)) AS seed_matters
FROM levels;
CREATE TEMP TABLE by_level (level mals_level) PARTITION BY HASH (level);
CREATE TEMP TABLE by_level_0 PARTITION OF by_level FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE by_level_1 PARTITION OF by_level FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_level SELECT level FROM levels;
SELECT count(*) FROM by_level WHERE level = 'info';

-- Parallel aggregation
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE level_entries SET (parallel_workers = 2);
SELECT min(level), max(level), count(*) FROM level_entries WHERE i > 0;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- Literals, text and unknown parameters all find the operator
SELECT count(*) FROM levels WHERE level = 'error';
SELECT count(*) FROM levels WHERE 'error' = level;
SELECT count(*) FROM levels WHERE level >= 'warn'::text;
SELECT count(*) FROM levels WHERE 'warn'::varchar <= level;
SELECT count(*) FROM levels WHERE level >= 40;
SELECT count(*) FROM levels WHERE level IN ('error', 'warning');
SELECT count(*) FROM levels WHERE level BETWEEN 'info' AND 'err';
SELECT count(*) FROM levels WHERE level = ANY ('{info,err}');
SELECT count(*) FROM levels AS l JOIN (VALUES ('warning'::text), ('info')) AS v (word) ON l.level = v.word;
PREPARE of_unknown AS SELECT count(*) FROM levels WHERE level >= $1;
EXECUTE of_unknown ('fatal');
PREPARE of_text (text) AS SELECT count(*) FROM levels WHERE level >= $1;
EXECUTE of_text ('fatal');
PREPARE of_cast AS SELECT count(*) FROM levels WHERE level >= $1::text;
EXECUTE of_cast ('fatal');
PREPARE of_int (int) AS SELECT count(*) FROM levels WHERE level >= $1;
EXECUTE of_int (50);
PREPARE of_smallint (smallint) AS SELECT count(*) FROM levels WHERE level >= $1;
EXECUTE of_smallint (50);
PREPARE log_smallint (smallint) AS SELECT mals_log('driver', 'sends 40 as a smallint', $1) AS id;
EXECUTE log_smallint (40) \gset
SELECT level FROM mals_get(:'id');
SELECT (-1)::smallint::mals_level;
SELECT 1::smallint = 'a' AS smallint_and_unknown;
SELECT 1::smallint = 1 AS numbers_stay_numbers, greatest(1::smallint, 2), pg_typeof(1::smallint + 1), 1::smallint IN (1, 2);
SELECT pg_typeof('x' || level), 'x' || level, level || 'x' FROM levels WHERE level = 'info';
SELECT CASE WHEN true THEN level ELSE 'info' END, COALESCE(level, 'warn') FROM levels WHERE level = 'info';

-- Text stays text where the type's casts could apply too
SELECT 'b'::varchar = 'b' AS varchar_eq, 'b'::char(3) = 'b' AS char_eq, 'b'::name = 'b' AS name_eq, 'b'::varchar > 'a'::text AS varchar_gt,
  'b'::varchar || 'c' AS concat, max('b'::varchar), min('x'), max(1::smallint) FROM levels;
SELECT pg_typeof(max(w)) FROM (VALUES ('a'::varchar)) AS v (w);

-- Assignment
CREATE TEMP TABLE target (level mals_level, t text, v varchar);
INSERT INTO target VALUES ('warning', 'info'::mals_level, 'error'::mals_level), ('err'::text, 'x', 'y'), (10, 'x', 'y'),
  ('fatal'::varchar, 'x', 'y');
SELECT * FROM target ORDER BY level;
SELECT level_error($$SELECT upper(level) FROM levels$$) LIKE '42883 %' AS text_is_not_implicit;

-- Binary format: one byte, checked
SELECT encode(mals_level_send(level), 'hex') FROM levels ORDER BY level;
\getenv builddir PG_ABS_BUILDDIR
\set file :builddir '/results/level_type.copy'
CREATE TEMP TABLE copied (level mals_level);
COPY levels (level) TO :'file' (FORMAT binary);
COPY copied FROM :'file' (FORMAT binary);
SELECT count(*) FROM copied JOIN levels USING (level);
CREATE TEMP TABLE bytes (byte "char");
INSERT INTO bytes VALUES ('*');
COPY bytes TO :'file' (FORMAT binary);
SELECT level_error(format('COPY copied FROM %L (FORMAT binary)', :'file'));

-- Text that is no level can be asked about without an error from PostgreSQL 16 on
SELECT CASE WHEN current_setting('server_version_num')::int >= 160000
  THEN level_error($$DO 'BEGIN ASSERT pg_input_is_valid(''warning'', ''mals_level'') AND NOT pg_input_is_valid(''x'', ''mals_level''); END'$$)
  ELSE 'no error' END AS soft;

DROP TABLE level_entries;
DROP FUNCTION level_error;
