-- Finding entries: queries, traces, patterns, figures.
\ir settings.psql
\echo
\echo '=== 2. Finding them: the query language ==='
\echo
\echo 'The latest errors of the last hours (level:error is "error or worse"):'
\echo
SELECT to_char(ts, 'HH24:MI:SS') AS at, level, agent_id, left(message, 60) AS message
  FROM mals_search('level:error after:3h', max_rows => 8);
\echo 'Words are a regex on the message, -token excludes, meta.key reads the metadata:'
\echo
SELECT to_char(ts, 'HH24:MI:SS') AS at, agent_id, message, metadata->>'duration_ms' AS ms
  FROM mals_search('agent:worker-* meta.duration_ms:>850 completed after:1d', max_rows => 5);
\echo 'This machine''s own packages, oldest first:'
\echo
SELECT ts::date AS day, category, left(message, 70) AS message
  FROM mals_search('agent:dpkg category:install postgresql', max_rows => 5, sort => 'asc');
\echo 'How many?'
\echo
SELECT mals_count('agent:dpkg category:install') AS installs, mals_count('level:error') AS errors,
       mals_count('"connection"') AS connection, mals_count('category:trad*') AS trading;
\echo 'What a query means, in SQL:'
\echo
SELECT mals_query_explain('level:warn -queue') \g (format=unaligned tuples_only=on)
\echo
\echo 'A mistake says what is wrong and how to put it right:'
\echo
\set ON_ERROR_STOP off
SELECT * FROM mals_search('agent:crypto levle:error');
SELECT mals_log('', 'Who am I?');
\set ON_ERROR_STOP on

\echo
\echo '=== 3. One request, through all its agents, as a tree ==='
\echo
SELECT lpad(elapsed_ms::int::text, 6) AS ms, agent_id, level,
       repeat('   ', depth - 1) || CASE WHEN depth > 0 THEN '└─ ' ELSE '' END || message AS what
  FROM mals_trace('0af7651916cd43dd8448eb211c80319c');

\echo '=== 4. Which kinds of messages are there? ==='
\echo
\echo 'The background worker joins templates that differ in one word that varies, removes what is due, and'
\echo 'more. This does what is left of it at once:'
\echo
SELECT mals_maintain() \g (format=unaligned tuples_only=on)
\echo
\echo 'The commonest:'
\echo
SELECT entries, level, left(template, 58) AS template, array_length(agents, 1) AS agents
  FROM mals_patterns(max_rows => 12);

\echo '=== 5. Figures ==='
\echo
SELECT to_char(bucket, 'MM-DD HH24:MI') AS bucket, sum(entries) AS entries,
       coalesce(sum(entries) FILTER (WHERE level >= 'error'), 0) AS errors,
       repeat('#', (sum(entries) / 40)::int) AS bar
  FROM mals_histogram('2 hours', '-agent:dpkg', since => now() - interval '12 hours')
 GROUP BY bucket ORDER BY bucket;
SELECT agent_id, to_char(last_seen, 'YYYY-MM-DD HH24:MI') AS last_seen, entries, errors, status
  FROM mals_agents() ORDER BY entries DESC;
SELECT jsonb_pretty(mals_stats() - '{agent_counts, hourly_counts, top_agents}'::text[])
\g (format=unaligned tuples_only=on)
\echo
