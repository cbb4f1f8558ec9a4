-- mals_counter, mals_gauge, mals_observe, mals_metric_define, mals_metrics
SET timezone = 'UTC';
SET datestyle = 'ISO';
TRUNCATE mals.entries, mals._sights, mals._templates, mals._entry_totals, mals._entry_mark, mals._samples, mals._series, mals._metrics;
CREATE FUNCTION pg_temp.own() RETURNS SETOF text LANGUAGE sql AS $$ SELECT l FROM mals_metrics() l WHERE l !~ '^(# (HELP|TYPE) )?mals_' $$;

SELECT mals_counter('jobs_total'), mals_counter('jobs_total'), mals_counter('jobs_total', '{}', 2.5), mals_counter('jobs_total', NULL, NULL);
-- numbers and booleans are texts, null and '' are no label, the order does not matter
SELECT mals_counter('jobs_total', '{"q": "mail", "n": 1.50, "urgent": true}'), mals_counter('jobs_total', '{"urgent": "true", "none": null, "empty": "", "q": "mail", "n": "1.50"}');
SELECT mals_counter('escaped_total', jsonb_build_object('l', E'quote " backslash \\ newline \n end')), mals_counter('a:b', '{}', 0), mals_counter('_x9', '{"_y9": "é"}');
SELECT mals_metric_define('jobs_total', 'counter', E'Jobs: \\ and\nnewline "quoted"');
SELECT pg_temp.own();

-- a gauge is what it was last set to plus what came after that
SELECT mals_gauge('depth', 5), mals_gauge('depth', 2, relative => true), mals_gauge('depth', -10, relative => true);
SELECT mals_gauge('depth', 1, '{"q": "a"}', true), mals_gauge('depth', 1, '{"q": "a"}', NULL), mals_gauge('depth', 0.25, '{"q": "a"}', true);
SELECT mals_gauge('odd', 'NaN', '{"n": 1}'), mals_gauge('odd', '+Infinity', '{"n": 2}'), mals_gauge('odd', '-Infinity', '{"n": 3}'), mals_gauge('odd', 1e-300, '{"n": 4}'), mals_gauge('odd', 0.1::float4, '{"n": 5}');
-- too large is infinite, no error
SELECT mals_counter('large_total', '{}', 1.7e308), mals_counter('large_total', '{}', 1.7e308);
SELECT pg_temp.own() EXCEPT ALL SELECT l FROM pg_temp.own() l WHERE l !~ '^(depth|odd|large)' ORDER BY 1;

-- a histogram: a value is within its own bound; NaN is in +Inf only
SELECT mals_observe('took_seconds', v, '{"step": "a"}') FROM unnest('{0.01,0.05,0.050001,1,10,11}'::float8[]) v;
SELECT mals_metric_define('size_bytes', 'histogram', 'Sizes.', '{-1,10,1e3,Infinity}');
SELECT mals_observe('size_bytes', v) FROM unnest('{-Infinity,-1,0,10,1000,1001,Infinity}'::float8[]) v;
SELECT mals_observe('nan_seconds', v) FROM unnest('{NaN,1}'::float8[]) v;
SELECT l FROM pg_temp.own() l WHERE l ~ 'took_|size_|nan_';

-- folding changes nothing that is shown, whenever it happens
CREATE TEMP TABLE before AS SELECT l, row_number() OVER () AS n FROM pg_temp.own() l;
SELECT (mals_maintain() ->> 'samples_folded')::int > 30 AS folded;
-- (gauges stay until no transaction that runs began before them)
SELECT count(*) FROM mals._samples WHERE kind <> 'gauge';
SELECT count(*) AS changed FROM (SELECT l, row_number() OVER () AS n FROM pg_temp.own() l) a FULL JOIN before b USING (n) WHERE a.l IS DISTINCT FROM b.l;
SELECT mals_counter('jobs_total'), mals_gauge('depth', 4, '{"q": "a"}', true), mals_gauge('depth', 8), mals_observe('took_seconds', 1, '{"step": "a"}'), mals_observe('took_seconds', 7);
DROP TABLE before;
CREATE TEMP TABLE before AS SELECT l, row_number() OVER () AS n FROM pg_temp.own() l;
SELECT l FROM before WHERE l ~ '^(jobs_total |depth|took_seconds_(sum|count|bucket.*="(0.5|1|2|.Inf)))' ORDER BY n;
SELECT mals._fold_metrics() > 0 AS folded;
SELECT count(*) AS changed FROM (SELECT l, row_number() OVER () AS n FROM pg_temp.own() l) a FULL JOIN before b USING (n) WHERE a.l IS DISTINCT FROM b.l;

-- brute force: a thousand samples of each kind, folded in the middle
CREATE TEMP TABLE told AS
  SELECT i, 'r' || i % 7 AS label, (i * 7919 % 1000) / 100.0::float8 AS v, i % 5 > 0 AS relative FROM generate_series(1, 1000) i;
SELECT count(mals_counter('r_total', jsonb_build_object('l', label), v)), count(mals_gauge('r_gauge', v, jsonb_build_object('l', label), relative)),
       count(mals_observe('r_seconds', v, jsonb_build_object('l', label))) FROM (SELECT * FROM told WHERE i <= 500 ORDER BY i) t;
SELECT mals._fold_metrics() > 0 AS folded;
SELECT count(mals_counter('r_total', jsonb_build_object('l', label), v)), count(mals_gauge('r_gauge', v, jsonb_build_object('l', label), relative)),
       count(mals_observe('r_seconds', v, jsonb_build_object('l', label))) FROM (SELECT * FROM told WHERE i > 500 ORDER BY i) t;
CREATE TEMP VIEW shown AS
  SELECT (regexp_match(l, '^(\w+)\{'))[1] AS name, (regexp_match(l, 'l="(r\d)"'))[1] AS label, (regexp_match(l, 'le="([^"]+)"'))[1] AS le,
         (regexp_match(l, ' (\S+)$'))[1]::float8 AS v FROM pg_temp.own() l WHERE l LIKE 'r\_%';
SELECT s.name, count(*), bool_and(abs(s.v - CASE
         WHEN s.name = 'r_gauge' THEN (SELECT sum(t.v) FROM told t WHERE t.label = s.label AND t.i >= (SELECT max(i) FROM told b WHERE b.label = s.label AND NOT relative))
         WHEN s.name = 'r_seconds_bucket' THEN (SELECT count(*) FROM told t WHERE t.label = s.label AND t.v <= replace(s.le, '+', '')::float8)
         WHEN s.name = 'r_seconds_count' THEN (SELECT count(*) FROM told t WHERE t.label = s.label)
         ELSE (SELECT sum(t.v) FROM told t WHERE t.label = s.label) END) < 1e-6) AS same
  FROM shown s GROUP BY 1 ORDER BY 1;

-- other buckets: the histogram starts again; help and buckets change apart
SELECT mals._fold_metrics() > 0 AS folded;
SELECT mals_metric_define('size_bytes', 'histogram', buckets => '{5}'), mals_observe('size_bytes', 4);
SELECT l FROM pg_temp.own() l WHERE l ~ 'size_';
SELECT mals._fold_metrics() > 0 AS folded;
SELECT mals_observe('size_bytes', 6);
SELECT l FROM pg_temp.own() l WHERE l ~ '^size_';

-- a rollback takes samples back, with the kind that they gave their metric
BEGIN;
SELECT mals_counter('undone');
SAVEPOINT s;
SELECT mals_counter('undone', '{}', 10);
ROLLBACK TO s;
SELECT l FROM pg_temp.own() l WHERE l ~ '^undone';
ROLLBACK;
SELECT mals_gauge('undone', 7);
SELECT l FROM pg_temp.own() l WHERE l ~ 'undone';

-- label sets that nobody updates go with time, the table does not grow
UPDATE mals._series SET updated_at = now() - interval '1 year' WHERE name LIKE 'r\_%';
SELECT count(*) FROM shown WHERE name <> 'r_gauge';
SELECT mals._fold_metrics() >= 0 AS folded;
SELECT count(*) FROM shown WHERE name <> 'r_gauge';

-- mals's own: every line is of the format; entries are counted once, and none that comes much too late
TRUNCATE mals._entry_mark, mals._entry_totals;
SELECT mals_log('metric-a', 'one'), mals_log('metric-a', 'two', 'error'), mals_log('metric-b', 'old', ts => now() - interval '20 minutes') \g /dev/null
SELECT l FROM mals_metrics() l WHERE l ~ '^mals_entries_total' ORDER BY 1;
SELECT mals._count_entries();
SELECT entries, agent_id FROM mals._entry_totals;
SELECT l FROM mals_metrics() l WHERE l ~ '^mals_entries_total' ORDER BY 1;
SELECT mals_log('metric-b', 'too late', ts => now() - interval '20 minutes') IS NOT NULL AS logged;
SELECT mals._count_entries();
SELECT l FROM mals_metrics() l WHERE l ~ '^mals_entries_total' ORDER BY 1;
SELECT count(*) > 30 AS some, count(*) FILTER (WHERE l !~ '^(# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .+|[a-zA-Z_:][a-zA-Z0-9_:]*(\{.+\})? (NaN|[+-]Inf|[-+.e0-9]+))$') AS bad
  FROM mals_metrics() l;
SELECT bool_and(EXISTS (SELECT FROM mals_metrics() l WHERE l LIKE m || '%')) FROM unnest('{mals_info,mals_healthy,mals_workers,mals_partitions,mals_bytes,mals_entries_estimate}'::text[]) m;

-- what cannot be
\set VERBOSITY terse
SELECT mals_counter(NULL);
SELECT mals_gauge('g', NULL);
SELECT mals_observe('h', NULL);
SELECT mals_counter('');
SELECT mals_counter('0x');
SELECT mals_counter('a-b');
SELECT mals_counter('é');
SELECT mals_counter('mals_entries_total');
SELECT mals_counter(repeat('x', 201));
SELECT mals_counter('c', '[1]');
SELECT mals_counter('c', '"x"');
SELECT mals_counter('c', '{"a": {"b": 1}}');
SELECT mals_counter('c', '{"a": [1]}');
SELECT mals_counter('c', '{"a:b": 1}');
SELECT mals_counter('c', '{"": 1}');
SELECT mals_counter('c', '{"__a": 1}');
SELECT mals_counter('c', jsonb_build_object('a', repeat('x', 2000)));
SELECT mals_observe('h', 1, '{"le": 1}');
SELECT mals_counter('c', '{"le": 1}') IS NOT NULL AS le_elsewhere;
SELECT mals_counter('c', '{}', -0.1);
SELECT mals_counter('c', '{}', 'NaN');
SELECT mals_counter('c', '{}', 'Infinity');
SELECT mals_gauge('jobs_total', 1);
SELECT mals_observe('depth', 1);
SELECT mals_counter('took_seconds');
SELECT mals_metric_define('depth', 'counter');
SELECT mals_counter('new_total'), mals_gauge('new_total', 1);
SELECT mals_counter('took_seconds_sum');
SELECT mals_observe('stem', 1), mals_counter('stem_count');
SELECT mals_counter('stem2_bucket'), mals_observe('stem2', 1);
SELECT mals_metric_define(NULL, 'counter');
SELECT mals_metric_define('d', NULL);
SELECT mals_metric_define('d', 'summary');
SELECT mals_metric_define('d', 'gauge', buckets => '{1}');
SELECT mals_metric_define('d', 'histogram', buckets => '{}');
SELECT mals_metric_define('d', 'histogram', buckets => '{Infinity}');
SELECT mals_metric_define('d', 'histogram', buckets => '{1,1}');
SELECT mals_metric_define('d', 'histogram', buckets => '{1,NULL}');
SELECT mals_metric_define('d', 'histogram', buckets => '{1,NaN}');
SELECT mals_metric_define('d', 'histogram', buckets => '{{1},{2}}');
SELECT mals_metric_define('d', 'histogram', buckets => array_agg(i)) FROM generate_series(1, 201) i;
BEGIN READ ONLY;
SELECT mals_counter('c');
ROLLBACK;

-- a writer reports and reads nothing, a reader reads
CREATE ROLE mals_metric_writer;
CREATE ROLE mals_metric_reader;
SELECT mals_grant('mals_metric_writer', 'writer'), mals_grant('mals_metric_reader', 'reader');
SET ROLE mals_metric_writer;
SELECT mals_counter('granted_total'), mals_gauge('granted', 1), mals_observe('granted_seconds', 1), mals_metric_define('granted_total', 'counter', 'By a writer.');
SELECT count(*) FROM mals_metrics();
SELECT count(*) FROM mals._samples;
SET ROLE mals_metric_reader;
SELECT l FROM mals_metrics() l WHERE l ~ 'granted_total';
SELECT mals_counter('granted_total');
RESET ROLE;
SELECT mals_revoke('mals_metric_writer', 'writer'), mals_revoke('mals_metric_reader', 'reader');
DROP ROLE mals_metric_writer, mals_metric_reader;
