-- Random queries: each is an error 22023 or a condition that PostgreSQL runs, and a token and its negation share out all entries.
SET timezone = 'UTC';

CREATE TABLE fuzz_logs (LIKE mals.entries, resolved boolean NOT NULL);
INSERT INTO fuzz_logs
SELECT ('018cc251-f40' || i % 10 || '-7000-8000-00000000000' || i % 10)::uuid, '2024-01-01 00:00:00Z'::timestamptz + i * interval '1 ms', now(),
  (i * 6)::mals_level, 'svc-' || i, (ARRAY['connection refused', 'a/b', '"x" (y', '', E'l1\nl2', 'é 100%', 'a\b', 'level:error'])[1 + i % 8],
  CASE WHEN i % 2 = 0 THEN 'deploy' END, 'api', CASE WHEN i % 3 = 0 THEN 's1' END,
  CASE WHEN i % 4 = 0 THEN '0af76519-16cd-43dd-8448-eb211c80319c'::uuid END, NULL, CASE WHEN i % 3 = 1 THEN 'req-1' END,
  (ARRAY['{}', '{"k": 5}', '{"k": "5"}', '{"k": null, "a.b": 1}', '{"k": {"x": [1]}, "a": {"b": "v"}}', '{"k": true}', '{"k": 1e300}'])[1 + i % 7]::jsonb,
  i, NULL, i % 2 = 0
FROM generate_series(0, 9) AS i;

-- One token, of pieces that have a meaning and pieces that have none.
CREATE FUNCTION fuzz_pick(choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT choices[1 + floor(random() * cardinality(choices))::int]
$$;
CREATE FUNCTION fuzz_soup() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT string_agg(fuzz_pick('{a,b,k,x,5,0,9,.,-,+,*,%,_,/,\\,":",:,"\"",'',(,),[,],"{","}",|,^,$,?,é,日,>,<,=,"\\\"","~","ﬀ"}'), '')
  FROM generate_series(0, floor(random() * 8)::int)
$$;
CREATE FUNCTION fuzz_token() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT CASE floor(random() * 5)::int
    WHEN 0 THEN fuzz_pick('{level:,agent:,category:,source:,session:,correlation:,trace:,id:,fingerprint:,resolved:,after:,before:}')
      || fuzz_pick('{"",=,<,>,<=,>=,"\""}')
      || fuzz_pick('{error,warn,40,svc-*,"svc-1\"",*,deploy,s1,req-*,0af7651916cd43dd8448eb211c80319c,018cc251-f400-7000-8000-000000000000,5,-7,yes,no,15m,2h,
         9999999w,2024-01-01,2024-01-01T00:00:00.005Z,"2024-01-01 00:00\"",infinity}')
    WHEN 1 THEN 'meta.' || fuzz_pick('{k,a.b,k.x.0,a..b,é,K,"k''"}') || ':' || fuzz_pick('{"",>,>=,<,<=,=,"\""}')
      || fuzz_pick('{5,5.0,-1,1e3,1e999,true,null,*,5*,v,"\"","a b\"",NaN}')
    WHEN 2 THEN fuzz_pick('{/,"\"",""}') || fuzz_soup() || fuzz_pick('{/,/i,"\"",""}')
    WHEN 3 THEN fuzz_pick('{connection,refused,"conn.*d","a|b",-,--,"(?i)","***=",***:,"[[:alpha:]]",http://x,12:30,Error:,foo:,foo:x,"(?:",\d+,"x{1,3}"}')
    ELSE fuzz_pick('{level,meta.,agent,"",-,--}') || fuzz_soup()
  END
$$;
CREATE FUNCTION fuzz_count(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  condition text;
  entries bigint;
BEGIN
  BEGIN
    condition := mals_query_explain(query);
  EXCEPTION WHEN invalid_parameter_value THEN
    IF SQLERRM !~ '^query: .+ in ".+" at character \d+$' THEN
      RAISE 'query [%] fails with "%"', query, SQLERRM;
    END IF;
    RETURN NULL;
  END;
  EXECUTE 'SELECT count(*) FROM fuzz_logs WHERE ' || condition INTO entries;
  RETURN entries;
EXCEPTION WHEN others THEN
  RAISE 'query [%] is [%]: % %', query, condition, SQLSTATE, SQLERRM;
END $$;

-- Whole queries
SELECT setseed(0.25);
CREATE TEMP TABLE fuzz_queries AS
SELECT query, fuzz_count(query) AS entries
FROM (SELECT (SELECT string_agg(fuzz_token(), fuzz_pick('{" ","  ",""}')) FROM generate_series(0, n % 5)) AS query FROM generate_series(1, 3000) AS n OFFSET 0) AS q
WHERE query IS NOT NULL;
SELECT count(*) > 2000 AS many, count(entries) > 300 AS many_run, count(*) FILTER (WHERE entries IS NULL) > 300 AS many_fail, count(*) FILTER (WHERE entries > 0) > 50 AS many_find
FROM fuzz_queries;

-- Single tokens and their negation
SELECT setseed(0.75);
CREATE TEMP TABLE fuzz_tokens AS
SELECT token, fuzz_count(token) AS entries, fuzz_count('-' || token) AS others
FROM (SELECT fuzz_token() AS token FROM generate_series(1, 3000) OFFSET 0) AS t
WHERE token <> '' AND token NOT LIKE '-%' AND token !~ '\s';
SELECT count(entries) > 300 AS many_run, count(*) FILTER (WHERE entries BETWEEN 1 AND 9) > 50 AS many_differ,
  bool_and((entries IS NULL) = (others IS NULL)) AS both_or_neither, bool_and(entries + others = 10) AS share_out
FROM fuzz_tokens;
SELECT token, entries, others FROM fuzz_tokens WHERE entries + others <> 10 OR (entries IS NULL) <> (others IS NULL) LIMIT 10;

DROP TABLE fuzz_logs;
DROP FUNCTION fuzz_pick, fuzz_soup, fuzz_token, fuzz_count;
