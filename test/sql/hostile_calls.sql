-- Every public function, as the catalog has them, called by a role that may, with
-- NULLs, huge and hostile values: each call answers or raises one of the errors that
-- are meant for it. None raises an internal error, and none ends the session.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = error;
TRUNCATE mals.entries, mals._sights, mals._templates;
SELECT count(mals_log('agent-' || i % 3, 'Order ' || i || ' rejected', 'error', metadata => '{"ms": 5, "pair": "ETH"}', session_key => 's')) AS logged FROM generate_series(1, 20) AS i;
SELECT id AS entry, fingerprint AS fingerprint FROM mals.entries LIMIT 1 \gset

CREATE TEMP TABLE functions AS
  SELECT row_number() OVER (ORDER BY p.oid::regprocedure::text COLLATE "C") AS no, p.oid, p.proname, format('%s.%I', p.pronamespace::regnamespace, p.proname) AS name, p.proretset,
         p.proargtypes::oid[] AS types, p.proargnames AS names
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
   WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals') AND p.prokind = 'f' AND p.proname LIKE 'mals\_%'
     AND p.prorettype <> 'trigger'::regtype AND NOT 'internal'::regtype = ANY (p.proargtypes) AND p.proname NOT IN ('mals_level_in', 'mals_level_out', 'mals_level_recv', 'mals_level_send');

-- What a sensible caller gives, and what another one might. Where it depends, by the argument's name.
CREATE TEMP TABLE good (type regtype, name text, value text);
INSERT INTO good VALUES
  ('text', '', $$'error'$$), ('text', 'query', $$'level:error'$$), ('text', 'scope', $$'agent'$$), ('text', 'format', $$'json'$$), ('text', 'sort', $$'asc'$$), ('text', 'group_by', $$'agent'$$),
  ('text', 'agent_id', $$'agent-1'$$), ('text', 'cursor', 'NULL'), ('integer', '', '5'), ('bigint', '', '5'), ('boolean', '', 'true'), ('double precision', '', '1.5'), ('interval', '', $$'1 hour'$$),
  ('interval', 'timeout', $$'1 millisecond'$$), ('timestamptz', '', 'clock_timestamp()'), ('jsonb', '', $$'{"agent": "a", "msg": "m"}'$$), ('mals_level', '', $$'error'$$), ('regrole', '', $$'mals_test_hostile'$$);
INSERT INTO good VALUES ('uuid', '', quote_literal(:'entry')), ('uuid[]', '', quote_literal(ARRAY[:'entry'::uuid])), ('bigint', 'fingerprint', quote_literal(:'fingerprint'));
CREATE TEMP TABLE hostile (type regtype, value text);
INSERT INTO hostile SELECT t, 'NULL' FROM unnest('{text,integer,bigint,boolean,float8,interval,timestamptz,jsonb,mals_level,regrole,uuid,uuid[],text[]}'::regtype[]) AS t;
INSERT INTO hostile VALUES
  ('text', $$''$$), ('text', $$' '$$), ('text', $$'%s%n%d'$$), ('text', $$''';DROP TABLE mals.entries;--'$$), ('text', $$E'\x01\x1f\x7f\n\r\t\\'$$), ('text', $$'😀日本"quoted'$$), ('text', $$'../../etc/passwd'$$),
  ('text', $$repeat('x', 1000000)$$), ('text', $$repeat('(', 10000)$$), ('text', $$repeat('level:error ', 10000)$$), ('text', $$'/(a+)+$/ meta.' || repeat('a.', 5000) || 'x:1'$$), ('text', $$'"unclosed'$$), ('text', $$'level:>=nonsense'$$),
  ('text', $$'*'$$), ('text', $$repeat('*a', 500)$$), ('text', $$'-1'$$), ('text', $$'99999999999999999999'$$), ('text', $$'00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-ff'$$), ('text', $$'admin'$$),
  ('integer', '0'), ('integer', '-1'), ('integer', '2147483647'), ('integer', '-2147483648'), ('bigint', '0'), ('bigint', '9223372036854775807'), ('bigint', '-9223372036854775808'), ('boolean', 'false'),
  ('double precision', $$'NaN'$$), ('double precision', $$'Infinity'$$), ('double precision', '-1e308'), ('double precision', '0'),
  ('interval', $$'0'$$), ('interval', $$'-1 day'$$), ('interval', $$'1 month'$$), ('interval', $$'178000000 years'$$), ('interval', $$'-178000000 years'$$), ('interval', $$'1 microsecond'$$),
  ('timestamptz', $$'infinity'$$), ('timestamptz', $$'-infinity'$$), ('timestamptz', $$'4714-11-24 00:00:00+00 BC'$$), ('timestamptz', $$'294276-12-31 23:59:59.999999+00'$$), ('timestamptz', $$'1969-12-31 23:59:59.999999+00'$$),
  ('jsonb', $$'null'$$), ('jsonb', $$'[]'$$), ('jsonb', $$'{}'$$), ('jsonb', $$'"text"'$$), ('jsonb', $$'-1e400'$$), ('jsonb', $$('[' || repeat('[', 900) || repeat(']', 900) || ']')::jsonb$$),
  ('jsonb', $$jsonb_build_object('agent', repeat('a', 1000), 'msg', 5)$$), ('jsonb', $$'[1, null, "x", {"agent": {}}, {"agent": "a", "level": "loud"}]'$$), ('jsonb', $$'{"agent": "a", "msg": "m", "ts": 1e30, "id": "x", "trace_id": [1]}'$$),
  ('jsonb', $$'{"agent": "a", "msg": "m", "ts": "infinity", "level": 1e10, "metadata": [[[]]]}'$$), ('jsonb', $$'{"resourceLogs": [{"scopeLogs": {"logRecords": 5}}]}'$$), ('jsonb', $$'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "-9e99", "attributes": [{}]}]}]}]}'$$),
  ('jsonb', $$(SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 5000) AS i)$$),
  ('mals_level', $$'trace'$$), ('mals_level', $$'critical'$$), ('regrole', $$0$$), ('regrole', $$4294967295$$),
  ('uuid', $$'00000000-0000-0000-0000-000000000000'$$), ('uuid', $$'ffffffff-ffff-7fff-bfff-ffffffffffff'$$), ('uuid', $$'6f2a0c9e-2b1f-4a57-9a4e-111122223333'$$), ('uuid[]', $$'{}'$$), ('uuid[]', $$'{NULL}'$$),
  ('uuid[]', $$(SELECT array_agg(md5(i::text)::uuid) FROM generate_series(1, 5000) AS i)$$), ('uuid[]', $$'{{00000000-0000-0000-0000-000000000000}}'$$), ('text[]', $$'{}'$$), ('text[]', $$'{NULL,""}'$$);
-- a tail waits as long as it is told
CREATE TEMP TABLE never (name text, value text);
INSERT INTO never VALUES ('timeout', 'NULL'), ('timeout', $$'1 month'$$), ('timeout', $$'178000000 years'$$);

-- The calls: all NULL; each hostile value in the place of each argument; and many at random
CREATE FUNCTION pg_temp.good(t regtype, n text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT COALESCE((SELECT value FROM good WHERE type = t AND name = n), (SELECT value FROM good WHERE type = t AND name = ''), 'NULL') $$;
CREATE FUNCTION pg_temp.arguments(types oid[], names text[], place int, value text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT COALESCE(string_agg(format('(%s)::%s', CASE WHEN i = place THEN value ELSE pg_temp.good(t, COALESCE(names[i], '')) END, t::regtype), ', ' ORDER BY i), '') FROM unnest(types) WITH ORDINALITY AS u (t, i) $$;
CREATE TEMP TABLE calls (n serial, no bigint, arguments text);
INSERT INTO calls (no, arguments) SELECT no, (SELECT COALESCE(string_agg('NULL::' || t::regtype, ', ' ORDER BY i), '') FROM unnest(types) WITH ORDINALITY AS u (t, i)) FROM functions WHERE NOT 'timeout' = ANY (COALESCE(names, '{}')) ORDER BY no;
INSERT INTO calls (no, arguments) SELECT no, pg_temp.arguments(types, names, 0, '') FROM functions ORDER BY no;
INSERT INTO calls (no, arguments) SELECT no, pg_temp.arguments(types, names, i::int, h.value) FROM functions, unnest(types) WITH ORDINALITY AS u (t, i), hostile h
  WHERE h.type = t AND (names[i], h.value) NOT IN (SELECT name, value FROM never) ORDER BY no, i, h.value;
SELECT setseed(0.42) IS NOT NULL AS seeded;
INSERT INTO calls (no, arguments) SELECT no, (SELECT string_agg(format('(%s)::%s', (SELECT value FROM (SELECT value FROM hostile WHERE type = t AND value !~ '^repeat' UNION ALL SELECT pg_temp.good(t, COALESCE(names[i], ''))) AS v
    WHERE (names[i], value) NOT IN (SELECT name, value FROM never) ORDER BY random() LIMIT 1), t::regtype), ', ' ORDER BY i) FROM unnest(types) WITH ORDINALITY AS u (t, i) WHERE r IS NOT NULL)
  FROM functions, generate_series(1, 10) AS r WHERE cardinality(types) > 1 ORDER BY no, r;

-- Calls and takes back what was done; the SQLSTATE
CREATE FUNCTION pg_temp.call(f functions, arguments text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(CASE WHEN f.proretset THEN 'SELECT count(*) FROM %s(%s) AS r' ELSE 'SELECT %s(%s)' END, f.name, arguments);
  RAISE SQLSTATE 'MALS0';
EXCEPTION WHEN query_canceled OR assert_failure THEN
  RETURN SQLSTATE || ' ' || SQLERRM;
WHEN OTHERS THEN
  RETURN CASE WHEN SQLSTATE = 'MALS0' THEN 'answered' WHEN SQLSTATE ~ '^(22...|23503|25...|42501|42704|P0002|54...|55000)$' THEN SQLSTATE ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;
CREATE ROLE mals_test_hostile;
SELECT mals_grant('mals_test_hostile', 'admin');
GRANT ALL ON functions, calls TO mals_test_hostile;
SET statement_timeout = '10min';
SET ROLE mals_test_hostile;
CREATE TEMP TABLE outcome AS SELECT c.n, c.no, pg_temp.call(f, c.arguments) AS outcome FROM calls c JOIN functions f USING (no) ORDER BY c.n;
RESET ROLE;
RESET statement_timeout;
SELECT f.proname, left(c.arguments, 200) AS arguments, o.outcome FROM outcome o JOIN calls c USING (n) JOIN functions f ON f.no = c.no
 WHERE o.outcome !~ '^(answered|.....)$' ORDER BY o.n LIMIT 20;
-- the checks check: what an operator does not take, an error of another class
SELECT pg_temp.call(f, '1::text') LIKE '42883 %' AS other_errors_are_seen FROM functions f WHERE proname = 'mals_histogram';
SELECT count(*) > 1500 AS many, count(*) FILTER (WHERE outcome = 'answered') > 300 AS answered, count(*) FILTER (WHERE outcome ~ '^22') > 300 AS refused, count(DISTINCT no) = (SELECT count(*) FROM functions) AS all_functions FROM outcome;
SELECT count(*) FILTER (WHERE NOT answered) * 5 < count(*) AS few_never_answer FROM (SELECT no, bool_or(outcome = 'answered') AS answered FROM outcome GROUP BY no) AS o;
-- nothing was left behind, nothing broken
SELECT count(*) AS entries FROM mals.entries;
SELECT mals_health() ? 'status' AS healthy;

-- the largest message, and one byte more
SELECT mals_log('a', repeat('m', 64 * 1024 * 1024)) IS NULL AS lost;
SELECT length(message) FROM mals.entries WHERE agent_id = 'a';
SELECT mals_log('a', repeat('m', 64 * 1024 * 1024 + 1));

SELECT mals_revoke('mals_test_hostile', 'admin');
DROP OWNED BY mals_test_hostile;
DROP ROLE mals_test_hostile;
DO $$
BEGIN
  EXECUTE coalesce((SELECT 'DROP TABLE ' || string_agg(inhrelid::regclass::text, ', ') FROM pg_inherits WHERE inhparent = 'mals.entries'::regclass), 'SELECT');
END $$;
TRUNCATE mals._sights, mals._templates, mals._refused_ids;
