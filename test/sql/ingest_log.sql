-- mals_log and the session's context: every argument missing, empty, too long
-- or of the wrong kind; nothing given is lost.
SET timezone = 'UTC';
SET datestyle = 'ISO';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- What is stored of an entry, without what the server made up.
CREATE FUNCTION pg_temp.stored(entry_id uuid) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_strip_nulls(to_jsonb(e) - '{id,ts,created_at,fingerprint,metadata,xact}'::text[])
         || jsonb_build_object('metadata', e.metadata)
  FROM mals.entries e WHERE e.id = entry_id
$$;

-- A stored entry.
CREATE FUNCTION pg_temp.entry(entry_id uuid) RETURNS SETOF mals.entries LANGUAGE sql VOLATILE AS $$
  SELECT * FROM mals.entries WHERE id = entry_id
$$;

-- Required: agent and message, by value, by name or from the context
SELECT pg_temp.stored(mals_log('a', 'm'));
SELECT pg_temp.stored(mals_log(message => '', agent_id => 'a'));
SELECT pg_temp.failure(s) FROM unnest(ARRAY[
  $$SELECT mals_log(NULL, 'm')$$,
  $$SELECT mals_log('', 'm')$$,
  $$SELECT mals_log('a', NULL)$$,
  $$SELECT mals_log(NULL, NULL)$$,
  $$SELECT mals_log('a', 'm', 'nonsense')$$,
  $$SELECT mals_log('a', 'm', -1)$$,
  $$SELECT mals_log('a', 'm', '')$$,
  $$SELECT mals_log('a', 'm', metadata => '{"a": ')$$,
  $$SELECT mals_log('a', 'm', trace_id => 'zz')$$,
  $$SELECT mals_log('a', 'm', ts => 'infinity')$$,
  $$SELECT mals_log('a', 'm', ts => '-infinity')$$,
  $$SELECT mals_log('a', 'm', id => '6f2a0c9e-2b1f-4a57-9a4e-111122223333')$$,
  $$SELECT mals_log('a', 'm', id => '00000000-0000-0000-0000-000000000000')$$,
  $$SELECT mals_log('a', 'm', id => 'ffffffff-ffff-ffff-ffff-ffffffffffff')$$
]) AS s;

-- Every optional argument NULL is as if it were not given
SELECT pg_temp.stored(mals_log('a', 'm', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))
     = pg_temp.stored(mals_log('a', 'm')) AS same;
-- All of them given
SELECT pg_temp.stored(mals_log('a', 'm', 'warning', 'c', '{"k": [1, {"x": null}]}', 's', 'src',
  '0AF76519-16cd43dd8448eb211c80319c', '{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}', 'req-1'));
-- Empty texts are texts
SELECT pg_temp.stored(mals_log('a', '', category => '', session_key => '', source => '', correlation_id => ''));

-- Levels by name, alias and number
SELECT l, (SELECT level FROM pg_temp.entry(mals_log('levels', l, l::mals_level)))
FROM unnest('{trace,DEBUG,Notice,warning,err,fatal,5,40,1000}'::text[]) AS l;
SELECT level FROM pg_temp.entry(mals_log('levels', 'an integer', 30));

-- Lengths: 64 characters of an agent, 256 of four columns, whatever their bytes
SELECT length(agent_id), octet_length(agent_id) FROM pg_temp.entry(mals_log(repeat('é', 64), 'm'));
SELECT pg_temp.failure(format('SELECT mals_log(%L, %L)', repeat(c, 65), 'm')) FROM unnest('{a,é,😀}'::text[]) AS c;
CREATE TEMP TABLE long AS
  SELECT c, n, mals_log('long', 'm', NULL, repeat(c, n), '{"k": 1}', repeat(c, n + 1), repeat(c, n + 2), NULL, NULL, repeat(c, n + 3)) AS id
  FROM unnest('{a,é,😀}'::text[]) AS c, unnest('{253,256,257,100000}'::int[]) AS n;
SELECT c, n, length(category) AS category, length(session_key) AS session, length(source) AS source, length(correlation_id) AS correlation,
       metadata - array_remove(ARRAY['mals.category', 'mals.session_key', 'mals.source', 'mals.correlation_id'], NULL) AS rest,
       NOT metadata ? 'mals.category' OR metadata ->> 'mals.category' = repeat(c, n) AND left(repeat(c, n), 256) = category AS category_kept,
       NOT metadata ? 'mals.correlation_id' OR metadata ->> 'mals.correlation_id' = repeat(c, n + 3) AS correlation_kept,
       (n > 256) = (metadata ? 'mals.category') AS cut_category, (n + 1 > 256) = (metadata ? 'mals.session_key') AS cut_session,
       (n + 2 > 256) = (metadata ? 'mals.source') AS cut_source, (n + 3 > 256) = (metadata ? 'mals.correlation_id') AS cut_correlation
FROM long JOIN mals.entries USING (id) ORDER BY c COLLATE "C", n;
-- A name of ours that the sender has taken: both are kept
SELECT jsonb_object_agg(key, length(value #>> '{}')) FROM jsonb_each((pg_temp.stored(
  mals_log('a', 'm', NULL, repeat('c', 300), '{"mals.category": "mine", "mals.ts": "x"}')) -> 'metadata'));

-- Any bytes a text can hold: control characters, newlines, no normalisation
SELECT bool_and(message = c AND category = c AND agent_id = 'x' || c AND metadata ->> 'k' = c) AS kept, count(*)
FROM (SELECT chr(i) AS c FROM generate_series(1, 160) AS i) AS s
JOIN LATERAL pg_temp.entry(mals_log('x' || c, c, NULL, c, jsonb_build_object('k', c))) ON true;
SELECT message = U&'e\0301\FEFF\200B' || chr(1114111) AS kept FROM pg_temp.entry(mals_log('a', U&'e\0301\FEFF\200B' || chr(1114111)));

-- Large messages and metadata
SELECT length(message), message = repeat('word 12 ', 1310720) AS kept FROM pg_temp.entry(mals_log('large', repeat('word 12 ', 1310720)));
SELECT length(message), message = repeat(E'\n', 10485760) AS kept FROM pg_temp.entry(mals_log('large', repeat(E'\n', 10485760)));
SELECT length(metadata ->> 'k') FROM pg_temp.entry(mals_log('large', 'm', metadata => jsonb_build_object('k', repeat('é', 5242880))));
SELECT length(message) FROM pg_temp.entry(mals_log('large', repeat('m', 67108864)));
SELECT pg_temp.failure($$SELECT mals_log('large', repeat('m', 67108865))$$);
DELETE FROM mals.entries WHERE agent_id = 'large';

-- Metadata of every kind: objects stay, all else is wrapped
SELECT pg_temp.stored(mals_log('a', 'm', metadata => m)) -> 'metadata' AS metadata
FROM unnest('{null,true,1.50,"\"s\"",[],"[1, [2]]","{}","{\"value\": 1}"}'::jsonb[]) AS m;
SELECT pg_temp.stored(mals_log('a', 'm', metadata => 'null'::jsonb)) -> 'metadata' AS json_null;
SELECT (pg_temp.stored(mals_log('a', 'm', metadata => (repeat('[', 2000) || repeat(']', 2000))::jsonb)) IS NOT NULL) AS deep_array;
SELECT pg_temp.stored(mals_log('a', 'm', metadata => (repeat('{"k":', 1000) || '1' || repeat('}', 1000))::jsonb)) -> 'metadata'
     = (repeat('{"k":', 1000) || '1' || repeat('}', 1000))::jsonb AS deep_kept;
SELECT pg_temp.stored(mals_log('a', 'm', metadata => (SELECT jsonb_object_agg('key' || i, i) FROM generate_series(1, 5000) AS i))) -> 'metadata'
     = (SELECT jsonb_object_agg('key' || i, i) FROM generate_series(1, 5000) AS i) AS wide_kept;

-- The session's context fills in what is NULL
BEGIN;
SET LOCAL mals.agent_id = 'ctx';
SET LOCAL mals.level = 'Warning';
SET LOCAL mals.category = 'cat';
SET LOCAL mals.session_key = 'sess';
SET LOCAL mals.source = 'src';
SET LOCAL mals.trace_id = '0af7651916cd43dd8448eb211c80319c';
SET LOCAL mals.parent_id = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b';
SET LOCAL mals.correlation_id = 'task-1';
SELECT pg_temp.stored(mals_log(NULL, 'm'));
SELECT pg_temp.stored(mals_log('mine', 'm', 'debug', '', NULL, '', 'own', '6f2a0c9e-2b1f-4a57-9a4e-111122223333', NULL, 'own-1'));
SELECT pg_temp.stored(mals_log_json('{"message": "json"}'));
INSERT INTO mals.logs (message, category) VALUES ('view', NULL) RETURNING agent_id, level, category, session_key, source, trace_id, parent_id, correlation_id;
-- A missing agent is missing also when it is the empty text
SELECT pg_temp.failure($$SELECT mals_log('', 'm')$$);
ROLLBACK;
SHOW mals.agent_id;
SELECT pg_temp.failure($$SELECT mals_log(NULL, 'm')$$);
SET mals.agent_id = '';
SELECT pg_temp.failure($$SELECT mals_log(NULL, 'm')$$);
BEGIN;
SELECT set_config('mals.agent_id', repeat('a', 65), true) IS NOT NULL AS set;
SELECT pg_temp.failure($$SELECT mals_log(NULL, 'm')$$);
SELECT set_config('mals.category', repeat('c', 300), true) IS NOT NULL AS set;
SELECT length(category), length(metadata ->> 'mals.category') FROM pg_temp.entry(mals_log('a', 'm'));
ROLLBACK;

-- mals.context is merged under the metadata; the entry's keys win, values are not merged
BEGIN;
SET LOCAL mals.context = ' {"host": "h", "k": 1, "o": {"x": 1}}';
SELECT pg_temp.stored(mals_log('a', 'm')) -> 'metadata' AS metadata;
SELECT pg_temp.stored(mals_log('a', 'm', metadata => '{"k": 2, "o": {"y": null}}')) -> 'metadata' AS metadata;
SELECT pg_temp.stored(mals_log('a', 'm', metadata => '[1]')) -> 'metadata' AS metadata;
SELECT pg_temp.stored(mals_log_json('{"agent_id": "a", "message": "m", "k": null, "z": 1, "context": {"host": "mine"}}')) -> 'metadata' AS metadata;
SELECT (pg_temp.stored(mals_log('a', 'm', NULL, repeat('c', 257))) -> 'metadata') - 'mals.category'::text AS metadata;
SAVEPOINT s;
SET LOCAL mals.context = '{"host": "other"}';
SELECT pg_temp.stored(mals_log('a', 'm')) -> 'metadata' AS metadata;
ROLLBACK TO s;
SELECT pg_temp.stored(mals_log('a', 'm')) -> 'metadata' AS metadata;
SET LOCAL mals.context = '';
SELECT pg_temp.stored(mals_log('a', 'm')) -> 'metadata' AS metadata;
ROLLBACK;

-- Settings that do not parse are refused when they are set
SELECT name, value, pg_temp.failure(format('SELECT set_config(%L, %L, true)', name, value))
FROM (VALUES ('mals.context', '[1]'), ('mals.context', '"s"'), ('mals.context', '{"a": }'), ('mals.context', '{} {}'), ('mals.context', '{"a": "\u0000"}'),
  ('mals.context', '{"a": "\ud800"}'), ('mals.level', 'nonsense'), ('mals.min_level', '-5'), ('mals.trace_id', '0af7'), ('mals.parent_id', 'x'),
  ('mals.max_past', 'yesterday'), ('mals.max_past', '-2'), ('mals.max_past', '-1 day'), ('mals.max_future', '-1 hour'), ('mals.max_future', ''),
  ('mals.partition_interval', '2 days'), ('mals.retention', '0'), ('mals.retention', 'infinity')) AS s (name, value);
-- Anyone may say what fills in entries of one's own, only a superuser how entries are kept
SELECT context, string_agg(name, ' ' ORDER BY name) AS names FROM pg_settings
WHERE name = ANY ('{mals.agent_id,mals.level,mals.category,mals.session_key,mals.source,mals.trace_id,mals.parent_id,mals.correlation_id,mals.context,
  mals.min_level,mals.max_past,mals.max_future,mals.max_partitions,mals.partition_interval,mals.retention}'::text[]) GROUP BY 1 ORDER BY 1;

-- mals.min_level drops what is quieter, whichever way it comes, but not what is wrong
BEGIN;
SET LOCAL mals.min_level = 'warn';
SELECT mals_log('quiet', 'm', 'info') IS NULL AS filtered, mals_log('quiet', 'm', 'warn') IS NULL AS filtered, mals_log('quiet', 'm') IS NULL AS filtered,
  mals_log_json('{"agent_id": "quiet", "message": "m", "level": "debug"}') IS NULL AS filtered;
SELECT mals_log_batch('[{"agent_id": "quiet", "message": "m", "level": "debug"}, {"agent_id": "quiet", "message": "m", "level": "error"}, {"agent_id": "quiet", "message": "m"}]');
SELECT pg_temp.failure($$SELECT mals_log(NULL, 'm', 'debug')$$);
SET LOCAL mals.level = 'error';
SELECT mals_log('quiet', 'm') IS NULL AS filtered;
SELECT level, count(*) FROM mals.entries WHERE agent_id = 'quiet' GROUP BY 1 ORDER BY 1;
SET LOCAL mals.min_level = '';
SELECT mals_log('quiet', 'm', 'trace') IS NULL AS filtered;
ROLLBACK;

-- traceparent
BEGIN;
SET LOCAL mals.context = '{"host": "h"}';
SELECT mals_set_traceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
SELECT pg_temp.stored(mals_log('a', 'm'));
SELECT mals_set_traceparent('01-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-00-what-else');
SELECT pg_temp.stored(mals_log('a', 'm', metadata => '{"span_id": "own"}'));
SAVEPOINT s;
SELECT mals_set_traceparent('00-2af7651916cd43dd8448eb211c80319c-d7ad6b7169203331-01');
ROLLBACK TO s;
SHOW mals.trace_id;
SELECT mals_set_traceparent(NULL);
SELECT pg_temp.stored(mals_log('a', 'm'));
ROLLBACK;
SHOW mals.context;
SELECT t, pg_temp.failure(format('SELECT mals_set_traceparent(%L)', t)) FROM unnest('{"",x,00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331,
  00-00000000000000000000000000000000-b7ad6b7169203331-01,00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01,
  ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,
  00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x,00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01,
  é00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01}'::text[]) AS t;

-- Correlation ids; one of the form kind-<32 hex> is the trace too, where there is none
BEGIN;
SELECT mals_new_correlation() ~ '^req-[0-9a-f]{32}$' AS made;
SELECT correlation_id = current_setting('mals.correlation_id') AS set, 'req-' || replace(trace_id::text, '-', '') = correlation_id AS traced
FROM pg_temp.entry(mals_log('a', 'm'));
SELECT mals_new_correlation('my_Task-2') ~ '^my_Task-2-[0-9a-f]{32}$' AS made, mals_new_correlation() <> mals_new_correlation() AS differ;
ROLLBACK;
SHOW mals.correlation_id;
SELECT pg_temp.failure(format('SELECT mals_new_correlation(%L)', k)) FROM unnest(ARRAY[NULL, '', 'a b', 'é', repeat('k', 33), E'a\n']) AS k;
SELECT c, (SELECT trace_id FROM pg_temp.entry(mals_log('a', 'm', correlation_id => c))) FROM unnest('{
  req-0123456789abcdef0123456789abcdef,a-b-0123456789ABCDEF0123456789abcdef,0123456789abcdef0123456789abcdef,
  -0123456789abcdef0123456789abcdef,req-0123456789abcdef0123456789abcdeg,req-0123456789abcdef0123456789abcde,
  "req-{0123456789abcdef0123456789abcd}"}'::text[]) AS c;
SELECT trace_id FROM pg_temp.entry(mals_log('a', 'm', trace_id => '6f2a0c9e-2b1f-4a57-9a4e-111122223333', correlation_id => 'req-0123456789abcdef0123456789abcdef'));

-- Settings of a function and a role are context too
CREATE FUNCTION pg_temp.agent() RETURNS uuid LANGUAGE sql SET mals.agent_id = 'of the function' SET mals.context = '{"in": "function"}'
AS $$ SELECT mals_log(NULL, 'm') $$;
SELECT pg_temp.stored(pg_temp.agent());
SHOW mals.agent_id;
