-- What goes on by itself: following, alerts, metrics, digests, retention.
\ir settings.psql
\echo
\echo '=== 10. Follow the log, and be told ==='
\echo
SELECT mals_tail_cursor() AS cursor \gset
SELECT mals_alert_set('robot', 'agent:robot-arm level:error', channels => '[]');
SELECT mals_log('robot-arm', 'Node robot-arm lost its gripper after 9 moves', 'error') IS NOT NULL AS logged;
\echo 'What was committed since that cursor, each entry once:'
\echo
SELECT level, agent_id, message FROM mals_tail('level:warn', :'cursor', timeout => '1 second');
\echo 'The worker has evaluated the rule:'
\echo
\set ECHO none
DO $$ BEGIN
  FOR i IN 1..100 LOOP
    EXIT WHEN EXISTS (SELECT FROM mals.alerts);
    PERFORM pg_sleep(0.1);
  END LOOP;
END $$;
\set ECHO queries
SELECT rule, state, count, agent_id FROM mals.alerts;

\echo '=== 11. An entry that outlives a ROLLBACK ==='
\echo
BEGIN;
SET LOCAL mals.write_mode = 'autonomous';
SELECT mals_log('crypto', 'Placing order 500701') IS NOT NULL AS logged;
ROLLBACK;
SELECT agent_id, message FROM mals_search('agent:crypto placing');

\echo '=== 12. How long things take, and metrics for Prometheus ==='
\echo
SELECT key AS agent, entries, round(p50) AS p50, round(p95) AS p95, round(p99) AS p99, max
  FROM mals_latency() ORDER BY entries DESC, key LIMIT 4;
SELECT mals_counter('orders_total', '{"pair": "ETH/USDC"}') FROM generate_series(1, 3) \g /dev/null
SELECT line FROM mals_metrics() AS line WHERE line ~ '^(# TYPE )?(orders_total|mals_partitions|mals_healthy)'
\g (format=unaligned tuples_only=on)
\echo

\echo '=== 13. A digest for a language model, in at most 1500 characters ==='
\echo
SELECT mals_digest(max_chars => 1500) \g (format=unaligned tuples_only=on)
\echo

\echo '=== 14. How long entries are kept ==='
\echo
\echo 'The bot''s entries only for a day; then what is due goes:'
\echo
SELECT mals_set_retention('1 day', agent_id => 'crypto');
SELECT agent_id, level, category, keep FROM mals.retention_policies ORDER BY 1;
SELECT mals_prune(dry_run => true) AS due;
SELECT mals_prune() AS removed;
ANALYZE mals.entries;
SELECT name, from_ts::date, to_ts::date, entries, pg_size_pretty(bytes) AS size, state
  FROM mals.partitions ORDER BY from_ts DESC LIMIT 6;
SELECT h->>'status' AS status, h->'warnings' AS warnings FROM mals_health() h;
