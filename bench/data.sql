-- Makes :entries log entries of agents over :days days, in the order of their time,
-- with ids made beforehand, and the hand-built table that mals is measured against.
\set QUIET on
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
SELECT setseed(0.42) \g /dev/null

CREATE UNLOGGED TABLE bench.input AS
SELECT
  (lpad(to_hex((extract(epoch FROM ts) * 1000)::bigint), 12, '0') || '7' ||
   lpad(to_hex((extract(microseconds FROM ts)::bigint % 1000) * 4096 / 1000), 3, '0') || '8' ||
   substr(md5(i::text), 1, 15))::uuid AS id,
  ts, ts AS created_at,
  (ARRAY['trace','debug','debug','info','info','info','info','info','info','info','info','info',
         'info','info','info','info','info','warn','error','critical'])
    [1 + CASE WHEN r < 0.02 THEN 18 + (r < 0.002)::int ELSE (r * 1000)::int % 18 END] AS level,
  'agent-' || lpad((i::bigint * 7919 % 40)::text, 2, '0') AS agent_id,
  CASE WHEN r < 0.02 THEN
    (ARRAY['Connection to 10.0.%s.17:5432 refused (attempt %s), retrying in 2.5s',
           'Tool call bash failed after %s ms with exit code %s',
           'Rate limit reached for model m-%s: Limit 30000, Used %s',
           'ValueError: could not convert string to float: ''%s'' at row %s'])[1 + i % 4]
  ELSE
    (ARRAY['Fetched %s rows of market data for pair ETH/USDC in %s ms',
           'Order %s placed on the book, filled %s percent so far',
           'Step %s of plan finished, next step starts in %s s, all preconditions hold',
           'Heartbeat %s: queue holds %s tasks, memory within limits, no back-pressure seen',
           'Wrote %s bytes to /data/out/part-%s.parquet'])[1 + i % 5]
  END AS template,
  i,
  (ARRAY['trading','task_completed','tool_call','heartbeat',NULL])[1 + i % 5] AS category,
  (ARRAY['api','scheduler','worker'])[1 + i % 3] AS source,
  'session-' || (i / 500) AS session_key,
  md5('trace' || (i / 8)::text)::uuid AS trace_id,
  CASE WHEN i % 8 < 4 THEN 'req-' || md5('trace' || (i / 8)::text) END AS correlation_id,
  jsonb_build_object('duration_ms', round((r * 900)::numeric, 1), 'attempt', i % 4, 'model',
    'm-' || i % 6, 'region', 'eu-central-' || i % 3, 'host', 'node-' || i % 12, 'tokens',
    (r * 8000)::int, 'tags', jsonb_build_array('agent', 'prod')) AS metadata
FROM (SELECT i, random() AS r,
             :'last'::timestamptz - :days * interval '1 day'
               + (i::float8 / :entries) * :days * interval '1 day' AS ts
        FROM generate_series(0, :entries - 1) AS i) AS s;
ALTER TABLE bench.input ADD message text;
UPDATE bench.input SET message = format(template, i % 9973, i % 701);

CREATE TABLE bench.hand (
  id uuid NOT NULL, ts timestamptz NOT NULL, created_at timestamptz NOT NULL, level smallint NOT NULL,
  agent_id text NOT NULL, message text NOT NULL, category text, source text NOT NULL,
  session_key text, trace_id uuid, parent_id uuid, correlation_id text, metadata jsonb NOT NULL,
  PRIMARY KEY (id, ts)
) PARTITION BY RANGE (ts);
CREATE INDEX ON bench.hand (ts);
CREATE INDEX ON bench.hand (agent_id, ts);
CREATE INDEX ON bench.hand (trace_id);
CREATE INDEX ON bench.hand (ts) WHERE level >= 40;
SELECT format('CREATE TABLE bench.hand_%s PARTITION OF bench.hand FOR VALUES FROM (%L) TO (%L)',
              to_char(d, 'YYYYMMDD'), d, d + interval '1 day')
  FROM generate_series(date_trunc('day', :'last'::timestamptz - :days * interval '1 day'),
                       greatest(:'last'::timestamptz, now()), interval '1 day') AS d \gexec

CREATE VIEW bench.hand_rows AS
SELECT id, ts, created_at, level::mals_level::int::smallint AS level, agent_id, message, category,
       source, session_key, trace_id, NULL::uuid AS parent_id, correlation_id, metadata
  FROM bench.input ORDER BY i;
CREATE VIEW bench.rows AS
SELECT ts, level, agent_id, message, category, source, session_key, trace_id, correlation_id,
       metadata
  FROM bench.input ORDER BY i;
CREATE VIEW bench.batches AS
SELECT i / 1000 AS n,
       jsonb_agg(to_jsonb(r) - 'i' ORDER BY i)::text AS hand,
       jsonb_agg(to_jsonb(r) - 'i' - 'id' ORDER BY i)::text AS mals
  FROM (SELECT i, id, ts, level, agent_id, message, category, source, session_key, trace_id,
               correlation_id, metadata FROM bench.input) AS r
 GROUP BY 1 ORDER BY 1;
