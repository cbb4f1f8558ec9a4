-- The query language: what each token means, by SQL and by the entries it finds, and every error.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset format unaligned
\pset tuples_only on

-- The condition of a query, or its error: SQLSTATE, message, detail, and whether there is a hint.
CREATE FUNCTION query_meaning(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
  hint text;
BEGIN
  RETURN mals_query_explain(query);
EXCEPTION WHEN others THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN detail <> '' THEN ': ' || detail ELSE '' END ||
    CASE WHEN hint = '' THEN ' (no hint)' ELSE '' END;
END $$;
CREATE FUNCTION query_show(VARIADIC queries text[]) RETURNS TABLE (line text) LANGUAGE sql AS $$
  SELECT '[' || q || E']\n    ' || query_meaning(q) FROM unnest(queries) WITH ORDINALITY AS u (q, n) ORDER BY n
$$;

-- The names of the entries that a query finds.
CREATE TABLE query_logs (LIKE mals.entries, resolved boolean NOT NULL, name text);
CREATE FUNCTION query_finds(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  names text;
BEGIN
  EXECUTE 'SELECT string_agg(name, '' '' ORDER BY name COLLATE "C") FROM query_logs WHERE ' || query_meaning(query) INTO names;
  RETURN '[' || query || '] finds ' || COALESCE(names, 'nothing');
END $$;

-- Nothing asked for
SELECT query_meaning('') AS empty;
SELECT query_meaning(E' \t\r\n ');
SELECT mals_query_explain(NULL) IS NULL;

-- Words
SELECT query_show('timeout', 'connection refused', E'  connection \t refused\n', 'conn.*refused', 'a level:info b c', 'foo -bar baz', '-foo -bar',
  'foo - bar', '-', '--', 'a -- b', '---', '--x', '--verbose', '-- x', 'Error: foo', 'foo: bar', 'foo:', '-foo:', '12:30:05', 'Level:error', 'a1:b',
  'http://x', 'http://x:80/y?z=1', '-http://x', 'don''t', 'say"it"', '/var/log/x', '/', '-/', '/x', 'a\b', '%_', 'meta.', 'meta.k', 'meta."k":5',
  'naïve café', '日本語');

-- Quoted text
SELECT query_show('"connection refused"', '-"refused"', '"a \"b\" c"', '"a\\b"', '"\a\*\/"', '"50%_*"', '"level:error"', '"*** (?i) [a"', '" "', '"/a/"',
  '"Ünï"', E'"two\nlines"');

-- Regular expressions
SELECT query_show('/refused$/', '/Refused/i', '-/x/', '-/x/i', '/a b  c/', '/a\/b/', '/a/b/c/', '/a/b c/i d', '/a\ b/', '/var/log/ x', '/x/ii', '/x/y', '/[/]/ z',
  '/"/', '/(?i)x/', '/\\/', '/x\/', 'a /x /y', 'a /x /y/ b');

-- Levels
SELECT query_show('level:error', 'level:=warn', 'level:<warn', 'level:<=warn', 'level:>warn', 'level:>=warn', 'level:WARNING', 'level:=40', 'level:"error"',
  'level:="fatal"', '-level:error', '-level:=info');

-- Columns
SELECT query_show('agent:svc-1', 'agent:svc-*', 'agent:*', 'agent:a**b', '-agent:svc-*', 'agent:a%b_c\d', 'agent:a%b_c\d*', 'agent:"a b"', 'agent:"a \"b\" *"',
  'agent:"a\*b"', 'agent:"a\*b*"', 'agent:Ab', 'agent:"x', 'agent:>x', 'agent:a:b', 'agent://x', 'agent:''x''', 'agent:x"y', 'agent:é*',
  'category:deploy', '-category:deploy', '-category:*', 'source:api', '-source:api', 'session:s*', '-session:s', 'correlation:req-*', '-correlation:x');
SELECT query_show('trace:0af76519-16cd-43dd-8448-eb211c80319c', 'trace:0AF7651916CD43DD8448EB211C80319C', '-trace:0af7651916cd43dd8448eb211c80319c', 'trace:req-1',
  'trace:req-*', '-trace:req-1', 'trace:0af7651916cd43dd8448eb211c80319',
  'id:018cc778-5000-7000-8000-000000000001', '-id:018cc778-5000-7000-8000-000000000001', 'id:018cc778-5000-4000-8000-000000000001',
  'fingerprint:42', 'fingerprint:-9223372036854775808', '-fingerprint:0', 'resolved:yes', 'resolved:no', '-resolved:yes', '-resolved:no');

-- Time
SELECT query_show('after:2024-01-02', 'before:2024-01-02', '-after:2024-01-02', '-before:2024-01-02', 'after:2024-01-02T03:04:05', 'after:2024-01-02T03:04:05Z',
  'after:2024-01-02T03:04:05.678901+05:30', 'after:"2024-01-02 03:04"', 'after:20240102T030405Z', 'after:20240102', 'after:2024-01-02T24:00', 'after:1969-01-01',
  'after:12345-01-01', 'after:2024-02-29', 'after:2024-12-31T23:59:60Z', 'after:"2024-01-02 03:04:05,678 -0800"', 'after:"2024-01-02 03:04:05 UTC"', 'after:2024-01-02T03Z',
  'after:2024-01-02T03:04:05.9999995Z', 'after:2024-01-02T03:04:05.1234564999+01', 'after:294276-12-31');
SELECT bool_and(query_meaning(q) LIKE '22023 query: invalid time in %')
FROM unnest('{after:now,after:today,after:infinity,after:-infinity,before:epoch,after:allballs,after:01/02/2024,after:1-2-2024,after:2024,after:2023-02-29,
  after:2024-13-01,after:2024-01-02T25:00,after:24-01-02,after:1700000000,after:1712011130,after:300000-01-01,after:J2451187,after:15,after:m,after:15M,after:1.5h,after:-5m,
  after:5y,after:5mm,after:99999999999999999999s,after:999999999999999999w,after:9999999w,after:2024-01-02x,after:2024/01/02,after:0000-01-01,after:2024-01-02T,after:2024-01-02T3,after:2024-01-02T03:04:05.,after:2024-01-02T03:04:61,after:2024-01-02T24:01,
  after:2024-01-02T03:04:05+16,after:2024-01-02T03:04:05+1,after:2024-01-02T03:04Europe/Berlin,after:2024-01-02T03:04Z2,after:2024-01-02Z,after:20240102-01,after:2024-0102,after:2024-001,after:-2024-01-01,after:١٥m}'::text[]) AS q;
SELECT bool_and(abs(extract(epoch FROM now() - (regexp_match(query_meaning('after:' || age), '^ts >= ''([^'']+)'''))[1]::timestamptz
  - length::interval)) < 600)
FROM (VALUES ('90s', '90 seconds'), ('15m', '15 minutes'), ('2h', '2 hours'), ('7d', '168 hours'), ('2w', '336 hours'), ('0s', '0')) AS v (age, length);
CREATE TEMP TABLE before_change AS SELECT q, query_meaning(q) AS meaning
FROM unnest('{after:2024-01-02,before:2024-07-01T12:00:00,after:2024-03-31T02:30:00Z,after:2024-11-03T01:30}'::text[]) AS q;
SET timezone = 'America/Los_Angeles';
SET datestyle = 'SQL, DMY';
SELECT bool_and(query_meaning(q) = meaning) AS time_zone_and_datestyle_do_not_matter FROM before_change;
SET datestyle = 'German';
SELECT bool_and(query_meaning(q) = meaning) AS time_zone_and_datestyle_do_not_matter FROM before_change;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- Metadata
SELECT query_show('meta.k:v', 'meta.k:5', 'meta.k:-1.5e3', 'meta.k:05', 'meta.k:true', 'meta.k:null', 'meta.k:1e9999', 'meta.k:v*', 'meta.k:*', '-meta.k:*',
  '-meta.k:v', 'meta.k:"a \"b\""', 'meta.k:">5"', 'meta.k:">=x"', 'meta.k:"*"', 'meta.k:"\*"', 'meta.k:é', 'meta.Key-1/x''y:v', 'meta.a.b:1', 'meta.a.b.c:*', 'meta.a..b:x', 'meta.a.:x',
  'meta..a:x', 'meta.k:a:b', 'meta.k://x', 'meta.k:>100', 'meta.k:>=1.5', 'meta.k:<-2', 'meta.k:<=1e3', 'meta.k:=5', 'meta.a.b:>1', 'meta.k:>"5"', '-meta.k:>100',
  'meta.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p:1');

-- Errors: each names the token and its position in characters
SELECT query_show('foo:bar', 'a foo:bar', 'éé foo:bar', '-foo:bar', 'foo:bar:baz', 'std::string', 'meta:x', '_:x', '.:x', 'error:timeout', 'levels:error', 'http:/x',
  'level:', 'x level: error', '-level:', 'agent:', 'meta.k:', 'meta.:x', 'meta.k:>', 'level:>=', 'level:= error', 'agent:""', '""', '-""', '//', '//i', '-//', '// x',
  '"open', 'a "open b', 'agent:"open', '"open\"', '"\', 'agent:"x"y', '"x"y', '"x""y"', 'level:nope', 'level:-1', 'level:err*', 'level:<', 'level:<>warn', 'level:==warn',
  'id:5', 'id:018cc778-5000-7000-8000-00000000000g', 'fingerprint:x', 'fingerprint:9223372036854775808', 'fingerprint:1.5', 'fingerprint:+1', 'fingerprint:" 1"', 'resolved:true', 'resolved:Yes',
  'meta.k:>abc', 'meta.k:=abc', 'meta.k:>1e', 'meta.k:>1e9999', 'meta.k:>.', 'meta.k:>NaN', 'meta.k:>Infinity', 'meta.k:>0x10', 'meta.k:>*',
  'meta.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q:1',
  'foo(', 'a (b c', '-(', '/a(b/', 'ok /[/', 'c++', 'x{2,1}', '--level:error', '--"x"', '--/x/', '--meta.k:v',
  'agent:"' || repeat('é', 100));
SELECT query_meaning(repeat('a ', 8192)) LIKE 'message ~* ''a a %' AS longest;
SELECT query_meaning(repeat('a', 16385));
SELECT query_meaning(repeat('-a ', 1000)) LIKE 'NOT (message ~* ''a'') AND %' AS most;
SELECT query_meaning(repeat('-a ', 1001));
SELECT query_meaning('"' || repeat('Aé*(', 3276) || '"') LIKE 'message ~* %' AS longest_text;
SELECT query_meaning(repeat('/x ', 5000)) LIKE 'message ~* ''/x /x %' AS slashes;
SELECT query_meaning(repeat('(a|b)*', 2700));

-- What they find. The ids are made as RFC 9562 says: milliseconds, version, and the microseconds in 4096ths.
CREATE FUNCTION query_id(ts timestamptz, fraction int) RETURNS uuid LANGUAGE sql AS $$
  SELECT (lpad(to_hex(floor(extract(epoch FROM ts) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(fraction), 3, '0') || 'bfffffffffffffff')::uuid
$$;
INSERT INTO query_logs (name, id, ts, created_at, level, agent_id, message, category, source, session_key, trace_id, correlation_id, metadata, fingerprint, resolved)
SELECT name, query_id(ts, fraction), ts, ts, level, agent, message, category, 'api', session, trace, correlation, metadata, 1, resolved
FROM (VALUES
  ('a', '2024-01-01 00:00:00Z'::timestamptz, 0, 'info', 'svc-1', 'Connection to 10.0.0.1 refused', NULL, NULL, NULL::uuid, NULL, '{}'::jsonb, false),
  ('b', '2024-01-01 00:00:00.000001Z', 1, 'warn', 'svc-2', 'connection lost, 50% done', 'deploy', 's1', NULL, NULL, '{"k": 5}', false),
  ('c', '2024-01-01 00:00:00.000001Z', 4, 'error', 'Svc-3', 'Grüße aus KÖLN', 'deploy', 's2', '0af76519-16cd-43dd-8448-eb211c80319c', NULL, '{"k": "5"}', true),
  ('d', '2024-01-01 00:00:00.000002Z', 5, 'critical', 'bot*x', 'a\b/c "quoted" *** (x', 'rollback', NULL, NULL, '0af7651916cd43dd8448eb211c80319c', '{"k": 5.0, "n": null}', false),
  ('e', '2024-01-02 00:00:00Z', 0, 'debug', 'bot 100%', 'open level:error', NULL, 's1', NULL, 'req-1', '{"k": null, "http": {"status": 500}}', false),
  ('f', '2024-01-03 00:00:00Z', 0, 'trace', 'svc_1', '', 'de*', 's1', NULL, 'req-2', '{"k": {"a": 5}, "http.status": 404, "b": true}', false),
  ('g', '2024-01-04 00:00:00Z', 0, 'info', 'svc-1', E'two\nlines', NULL, NULL, NULL, NULL, '{"k": "abc", "r": {"x.y": "z"}, "b": "true", "t": [7]}', true)
) AS v (name, ts, fraction, level, agent, message, category, session, trace, correlation, metadata, resolved);
SELECT query_finds(q) FROM unnest(ARRAY['', 'connection', '"connection"', 'connection.*refused', '/connection/', '/connection/i', '-connection', '"aus KÖLN"', 'AUS K.LN', '/KÖLN/', '"50%"',
  '"\"quoted\""', '"*** (x"', '"a\\b/c"', '"level:error"', '-"o"', '/^two$/', '/two.lines/', E'"two\nlines"',
  'level:error', 'level:=error', 'level:<warn', 'level:<=warn', 'level:>warn', '-level:error',
  'agent:svc-*', 'agent:svc-1', 'agent:svc_1', 'agent:svc_*', 'agent:*1', 'agent:"bot\*x"', 'agent:"bot *"', 'agent:*%', '-agent:svc-*',
  'category:deploy', '-category:deploy', 'category:*', '-category:*', 'category:"de\*"', 'category:de*', '-session:s1', '-correlation:req-*',
  'trace:0af76519-16cd-43dd-8448-eb211c80319c', 'trace:0AF7651916CD43DD8448EB211C80319C', '-trace:0af7651916cd43dd8448eb211c80319c', 'trace:req-1', 'trace:req-*',
  'resolved:yes', 'resolved:no', '-resolved:yes', 'fingerprint:1', '-fingerprint:1',
  'after:2024-01-02', 'before:2024-01-02', '-after:2024-01-02', 'after:2024-01-02 before:2024-01-03T00:00:00.000001Z', 'after:2024-01-01T00:00:00.000001Z',
  'before:2024-01-01T00:00:00.000001Z', 'after:2024-01-01T00:00:00.000002Z', 'before:2024-01-01T00:00:00.000002Z', 'after:1960-01-01', 'before:1960-01-01', 'after:20000-01-01', 'before:20000-01-01',
  'meta.k:5', 'meta.k:5.0', 'meta.k:05', '-meta.k:5', 'meta.k:null', 'meta.k:*', '-meta.k:*', 'meta.k:a*', 'meta.k:5*', 'meta.k:>4', 'meta.k:>5', 'meta.k:>=5', 'meta.k:=5', '-meta.k:=5', 'meta.k:<5',
  'meta.b:true', 'meta.n:*', 'meta.n:null', 'meta.http.status:*', 'meta.http.status:>=404', 'meta.http.status:5*', '-meta.http.status:500', 'meta.r.x.y:z', 'meta.k.a:5', 'meta.t.0:7', 'meta.zz:*',
  'id:018cc251-f400-7000-bfff-ffffffffffff', '-id:018cc251-f400-7000-bfff-ffffffffffff', 'id:018cc251-f400-4000-bfff-ffffffffffff',
  'connection level:warn meta.k:5 agent:svc-* after:2023-12-31 -resolved:yes']) WITH ORDINALITY AS u (q, n) ORDER BY n;

-- The condition does not depend on the search path or on how strings are read
SET search_path = pg_catalog, pg_temp;
CREATE TEMP TABLE found AS SELECT public.mals_query_explain('level:error meta.k:5 -category:x after:2023-01-01 -"z\\b" /\d*/') AS sql;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT public.mals_query_explain(E'level:error meta.k:5 -category:x after:2023-01-01 -"z\\\\b" /\\d*/') = sql FROM found;
CREATE FUNCTION pg_temp.count_found() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  entries bigint;
BEGIN
  EXECUTE 'SELECT count(*) FROM public.query_logs WHERE ' || (SELECT sql FROM found) INTO entries;
  RETURN entries;
END $$;
SELECT pg_temp.count_found();
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT pg_temp.count_found();
RESET search_path;

DROP TABLE query_logs;
DROP FUNCTION query_meaning, query_show, query_finds, query_id;
