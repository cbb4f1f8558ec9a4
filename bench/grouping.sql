-- Accuracy and cost of grouping, over the tables that bench/grouping fills.
\pset footer off

CREATE TABLE grouped AS
  SELECT system, content, truth, mals_template(content) AS template FROM message;
ALTER TABLE grouped ADD merged bigint;
UPDATE grouped g SET merged = m.group_id
FROM (SELECT system, array_agg(DISTINCT template) AS templates FROM grouped GROUP BY system) AS s,
     LATERAL unnest(s.templates, mals._merge_groups(s.templates)) AS m (template, group_id)
WHERE g.system = s.system AND g.template = m.template;

-- A cell is the messages of one true template in one group: they are right when both have no other cell.
CREATE VIEW accuracy AS
  WITH cell AS (
    SELECT stage, system, truth, found, count(*) AS messages
    FROM grouped, LATERAL (VALUES ('first', template), ('both', merged::text)) AS s (stage, found)
    GROUP BY stage, system, truth, found),
  judged AS (
    SELECT *, count(*) OVER (PARTITION BY stage, system, truth) = 1
              AND count(*) OVER (PARTITION BY stage, system, found) = 1 AS is_right
    FROM cell)
  SELECT stage, system, sum(messages) AS messages, count(DISTINCT found) AS groups, count(DISTINCT truth) AS true_templates,
         coalesce(sum(messages) FILTER (WHERE is_right), 0) / sum(messages) AS ga,
         2.0 * count(*) FILTER (WHERE is_right) / (count(DISTINCT found) + count(DISTINCT truth)) AS fga
  FROM judged GROUP BY stage, system;

SELECT f.system, f.messages, f.true_templates, f.groups, round(f.ga, 4) AS ga, round(f.fga, 4) AS fga,
       b.groups AS groups_both, round(b.ga, 4) AS ga_both, round(b.fga, 4) AS fga_both
FROM accuracy f JOIN accuracy b USING (system)
WHERE f.stage = 'first' AND b.stage = 'both'
UNION ALL
SELECT 'mean', sum(f.messages), NULL, NULL, round(avg(f.ga), 4), round(avg(f.fga), 4), NULL, round(avg(b.ga), 4), round(avg(b.fga), 4)
FROM accuracy f JOIN accuracy b USING (system)
WHERE f.stage = 'first' AND b.stage = 'both'
ORDER BY 1;

SELECT kind, mals_template(a) AS a, mals_template(b) AS b
FROM pair WHERE (kind = 'same') <> (mals_fingerprint(a) = mals_fingerprint(b))
UNION ALL
SELECT 'pairs right', (SELECT count(*)::text FROM pair WHERE (kind = 'same') = (mals_fingerprint(a) = mals_fingerprint(b))),
       'of ' || (SELECT count(*) FROM pair);

-- Cost: the best of five rounds, in microseconds a call, less that of octet_length(message).
SET max_parallel_workers_per_gather = 0;
SET jit = off;
CREATE FUNCTION pg_temp.cost(message text, calls int) RETURNS float8
LANGUAGE plpgsql AS $$
DECLARE
  best float8 := 'infinity';
  base float8 := 'infinity';
  begun timestamptz;
BEGIN
  -- || makes a plain value of what may be compressed
  message := message || '';
  FOR i IN 1..5 LOOP
    begun := clock_timestamp();
    PERFORM count(mals_fingerprint(message || left(g::text, 0))) FROM generate_series(1, calls) g;
    best := least(best, extract(epoch FROM clock_timestamp() - begun));
    begun := clock_timestamp();
    PERFORM count(octet_length(message || left(g::text, 0))) FROM generate_series(1, calls) g;
    base := least(base, extract(epoch FROM clock_timestamp() - begun));
  END LOOP;
  RETURN (best - base) * 1e6 / calls;
END $$;

SELECT round(pg_temp.cost('Failed password for root from 112.95.230.3 port 45378 ssh2 after try 4 ', 200000)::numeric, 2) AS us_71_bytes;

SELECT to_json(input) AS input, round(us_8k::numeric, 1) AS us_8k, round((us_8k / greatest(us_1k, 0.1))::numeric, 1) AS times_1k
FROM (
  SELECT input, pg_temp.cost(left(repeat(input, 8192), 8192), 300) AS us_8k, pg_temp.cost(left(repeat(input, 1024), 1024), 2000) AS us_1k
  FROM unnest(ARRAY['"', '''a ', '"a" ', '[', '(a)', '((),', '{"a":', 'a/b.c-', '/', 'a:a:a:zz ', 'a=', 'a=b ', 'x y=z(', 'code=',
                    '1 s ', '1,', 'user a ', 'Mon ', 'a b ', 'a1(', 'node a-b=1 ', 'http://', E'\\"', E'\n', E'a\n', E'\n\tat a.b(c.java:1)',
                    E'\nx(\n\t', 'word ']) AS input
) AS c ORDER BY us_8k DESC;
