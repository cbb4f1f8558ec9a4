-- Errors: what is new, what comes back, and what was done about it.
\ir settings.psql
\echo
\echo '=== 6. What broke in the last 24 hours? ==='
\echo
SELECT status, entries AS n, unresolved AS open, left(template, 54) AS template, agents[1] AS agent
  FROM mals_errors();
\echo 'The same as JSON, for a program or a language model (shortened here):'
\echo
SELECT jsonb_pretty(jsonb_build_object(
         'total_errors', s->'total_errors',
         'by_agent', jsonb_path_query_array(s, '$.by_agent[0]'),
         'unresolved_errors', s->'unresolved_errors'->'count',
         'new_errors', jsonb_path_query_array(s, '$.new_errors[*].template'),
         'recurring_errors', jsonb_path_query_array(s, '$.recurring_errors[*].template')))
  FROM mals_summary() s
\g (format=unaligned tuples_only=on)
\echo

\echo '=== 7. Resolve ==='
\echo
\echo 'One entry; and a whole group, with all that it has logged until now:'
\echo
SELECT mals_resolve(id, 'ann', 'card was replaced') AS resolved
  FROM mals_search('level:error agent:checkout', max_rows => 1);
SELECT mals_resolve_error(fingerprint, 'ann', 'gripper screwed on') AS entries_resolved
  FROM mals_errors() WHERE template LIKE '%gripper%';
SELECT status, entries AS n, unresolved AS open, left(template, 54) AS template
  FROM mals_errors() WHERE 'robot-arm' = ANY (agents) OR 'checkout' = ANY (agents);
SELECT s->'total_errors' AS total_errors, s->'unresolved_errors'->'count' AS unresolved,
       jsonb_array_length(s->'new_errors') AS new,
       jsonb_array_length(s->'recurring_errors') AS recurring
  FROM mals_summary() s;

\echo '=== 8. It comes back: a regression ==='
\echo
SELECT mals_log('robot-arm', 'Node robot-arm lost its gripper after 7 moves', 'error') AS id;
SELECT status, entries AS n, unresolved AS open, left(template, 54) AS template, is_regressed
  FROM mals_errors() WHERE 'robot-arm' = ANY (agents);

\echo '=== 9. Out again ==='
\echo
SELECT left(mals_export('text', 'level:error after:2h', max_rows => 3), 98)
\g (format=unaligned tuples_only=on)
\echo
SELECT left(mals_export('logfmt', 'agent:gateway'), 96) || ' …'
\g (format=unaligned tuples_only=on)
\echo
SELECT left(mals_export('json', 'agent:gateway', max_rows => 1), 96) || ' …'
\g (format=unaligned tuples_only=on)
