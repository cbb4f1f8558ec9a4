-- Policies and what they let go: mals_set_retention, mals_drop_retention,
-- mals_prune against plain SQL, dry runs, bad arguments, unresolved errors,
-- restored entries, mals.max_size, other partition intervals.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET mals.max_past = '-1';

\getenv test PG_ABS_SRCDIR
\i :test/lib/empty.psql
\i :test/lib/failure.psql

-- An entry every 20 minutes for 60 days, of four agents, three categories, all levels
CREATE TABLE retention_given AS
  SELECT i, now() - i * interval '20 minutes' - interval '1 minute' AS ts, 'r' || i % 4 AS agent_id,
         (ARRAY['deploy', 'task', NULL])[1 + i % 3] AS category,
         (ARRAY['trace', 'debug', 'info', 'warn', 'error', 'critical'])[1 + i % 6]::mals_level AS level
    FROM generate_series(0, 60 * 72 - 1) AS i;
CREATE FUNCTION pg_temp.load() RETURNS bigint LANGUAGE sql AS $$
  WITH stored AS (
    INSERT INTO mals.logs (ts, agent_id, category, level, message)
    SELECT ts, agent_id, category, level, 'Entry ' || i FROM retention_given g
     WHERE NOT EXISTS (SELECT FROM mals.entries e WHERE e.ts = g.ts) RETURNING id)
  SELECT count(*) FROM stored
$$;
SELECT pg_temp.load();

-- How long an entry is kept, in plain SQL, written another way than mals does it
CREATE FUNCTION pg_temp.kept(a text, c text, l mals_level) RETURNS interval LANGUAGE sql AS $$
  SELECT coalesce(keep, '1000 years') FROM (
    SELECT keep, (p.agent_id IS NOT NULL)::int * 4 + (p.category IS NOT NULL)::int * 2 + (p.level IS NOT NULL)::int AS weight
      FROM mals.retention_policies p
     WHERE coalesce(p.agent_id, a) = a AND (p.category IS NULL OR p.category = c) AND coalesce(p.level, l) = l
    UNION ALL SELECT interval '30 days', -1) AS x ORDER BY weight DESC LIMIT 1
$$;
CREATE FUNCTION pg_temp.due() RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM mals.entries WHERE ts < now() - pg_temp.kept(agent_id, category, level)
$$;

-- Without policies: 30 days, to the entry
SELECT pg_temp.due() AS due \gset
SELECT :due AS due, mals_prune(dry_run => true) = :due AS dry;
SELECT count(*) AS still_there FROM mals.entries;
SELECT mals_prune() AS pruned;
SELECT pg_temp.due() AS due;
SELECT count(*), min(ts) >= now() - interval '30 days' - interval '1 minute' AS young FROM mals.entries;
SELECT mals_prune() AS again, mals_prune(dry_run => true) AS dry;
SELECT count(*) = 0 AS gone FROM mals.partitions WHERE to_ts < now() - interval '30 days';

-- The most specific wins: agent, then category, then level
SELECT pg_temp.load();
SELECT mals_set_retention('40 days'), mals_set_retention('5 days', 'debug'), mals_set_retention(NULL, 'critical'),
       mals_set_retention('10 days', category => 'deploy'), mals_set_retention('50 days', 'debug', category => 'deploy'),
       mals_set_retention('3 days', agent_id => 'r1'), mals_set_retention(NULL, agent_id => 'r1', category => 'task'),
       mals_set_retention('1 day', 'error', 'r1', 'task'), mals_set_retention('2 hours', 'trace', 'r2');
SELECT agent_id, category, level, keep FROM mals.retention_policies ORDER BY 1, 2, 3;
SELECT pg_temp.due() AS due \gset
SELECT :due > 0 AS any, mals_prune(dry_run => true) = :due AS dry;
SELECT mals_prune() = :due AS exact;
SELECT pg_temp.due() AS due;
SELECT count(*) = (SELECT count(*) FROM mals.entries) AS the_rest_is_there FROM retention_given g
 WHERE ts >= now() - pg_temp.kept(agent_id, category, level);
SELECT bool_and(EXISTS (SELECT FROM mals.entries e WHERE e.ts = g.ts)) AS forever FROM retention_given g WHERE agent_id = 'r1' AND category = 'task' AND level = 'debug';

-- A policy is replaced by one with the same selectors, and dropped by them
SELECT mals_set_retention('4 days', 'debug'), mals_set_retention('6 days');
SELECT pg_temp.due() AS due \gset
SELECT :due > 0 AS any, mals_prune() = :due AS pruned;
SELECT pg_temp.due() AS due;
SELECT mals_drop_retention('debug') AS dropped, mals_drop_retention('debug') AS again, mals_drop_retention() AS of_all, mals_drop_retention(agent_id => 'nobody') AS none;
SELECT count(*) FROM mals.retention_policies;

-- An age: whatever policies say, but what is kept for ever
SELECT count(*) AS forever FROM mals.entries WHERE pg_temp.kept(agent_id, category, level) = '1000 years' \gset
SELECT count(*) - :forever AS due FROM mals.entries \gset
SELECT mals_prune('1 second', true) = :due AS dry, mals_prune('1 second') = :due AS pruned, :due > 0 AND :forever > 0 AS any;
SELECT count(*) = :forever AS forever_stays FROM mals.entries;
TRUNCATE mals.retention_policies;
SELECT mals_prune('1 second') = :forever AS the_rest;
SELECT count(*) FROM mals.entries;

-- Unresolved errors, under mals.keep_unresolved: the worker's settings count, not the session's
SELECT pg_temp.load();
SELECT mals_resolve_batch((SELECT array_agg(id) FROM mals.entries WHERE ts < now() - interval '30 days' AND level >= 'error' AND agent_id = 'r1')) > 0 AS resolved;
SET mals.keep_unresolved = on;
SET mals.retention = '1 minute';
SELECT mals_prune(dry_run => true) = count(*) AS not_the_sessions FROM retention_given WHERE ts < now() - interval '30 days';
RESET mals.retention;
RESET mals.keep_unresolved;
SELECT current_database() AS db \gset
ALTER DATABASE :"db" SET mals.keep_unresolved = on;
SELECT count(*) AS kept FROM mals.logs WHERE ts < now() - interval '30 days' AND level >= 'error' AND NOT resolved \gset
SELECT count(*) - :kept AS due FROM mals.entries WHERE ts < now() - interval '30 days' \gset
SELECT mals_prune(dry_run => true) = :due AS dry;
SELECT mals_prune() = :due AS pruned;
SELECT count(*) = :kept AND bool_and(level >= 'error' AND NOT resolved) AS only_unresolved FROM mals.logs WHERE ts < now() - interval '30 days';
SELECT count(*) AS resolutions_of_what_is_gone FROM mals.resolutions r WHERE NOT EXISTS (SELECT FROM mals.entries e WHERE e.id = r.entry_id) AND mals_id_ts(entry_id) < now() - interval '31 days';
SELECT mals_resolve_batch((SELECT array_agg(id) FROM mals.entries WHERE ts < now() - interval '30 days' AND agent_id IN ('r0', 'r2', 'r3'))) > 0 AS resolved;
SELECT mals_prune() = :kept AS pruned;
SELECT count(*) FROM mals.entries WHERE ts < now() - interval '30 days';
ALTER DATABASE :"db" RESET mals.keep_unresolved;

-- Restored entries are exempt for a while
SELECT pg_temp.load();
INSERT INTO mals._exemptions VALUES (date_trunc('day', now()) - interval '41 days 6 hours', date_trunc('day', now()) - interval '40 days', now() + interval '1 day');
SELECT mals_prune() = count(*) AS pruned FROM retention_given g, mals._exemptions x WHERE g.ts < now() - interval '30 days' AND NOT (g.ts >= x.from_ts AND g.ts < x.to_ts);
SELECT count(*) FROM mals.entries WHERE ts < now() - interval '30 days';
UPDATE mals._exemptions SET until = now();
SELECT mals_prune(dry_run => true), mals_prune();
DELETE FROM mals._exemptions;

-- The setting for the database; partitions of other lengths
SELECT pg_temp.load();
ALTER DATABASE :"db" SET mals.retention = '90 minutes';
SELECT mals_prune() = count(*) AS pruned FROM retention_given WHERE ts < now() - interval '90 minutes';
ALTER DATABASE :"db" RESET mals.retention;
SET mals.partition_interval = '1 hour';
SELECT count(*) >= 0 AS hours FROM (SELECT mals_log('hours', 'm', ts => now() - interval '70 days' - i * interval '1 hour') FROM generate_series(0, 30) AS i) AS l;
SET mals.partition_interval = '1 week';
SELECT count(*) >= 0 AS weeks FROM (SELECT mals_log('weeks', 'm', ts => now() - interval '60 days' + i * interval '1 day') FROM generate_series(0, 40) AS i) AS l;
RESET mals.partition_interval;
SELECT pg_temp.load() > 0 AS loaded;
SELECT pg_temp.due() AS due \gset
SELECT count(DISTINCT to_ts - from_ts) > 2 AS lengths, mals_prune(dry_run => true) = :due AS dry FROM mals.partitions;
SELECT mals_prune() = :due AS pruned;
SELECT pg_temp.due() AS due, count(*) AS of_the_last_weeks FROM mals.entries WHERE agent_id = 'weeks';

-- mals.max_size: the oldest partitions go first, never the current one
SELECT count(*) AS before FROM mals.partitions \gset
SELECT sum(bytes) AS bytes FROM (SELECT bytes FROM mals.partitions ORDER BY from_ts DESC LIMIT :before - 2) AS newest \gset
ALTER DATABASE :"db" SET mals.max_size = :bytes;
SELECT mals_prune(dry_run => true) AS dry \gset
SELECT :dry > 0 AS any, mals_prune() = :dry AS exact;
SELECT :before - count(*) AS gone FROM mals.partitions;
ALTER DATABASE :"db" SET mals.max_size = '1kB';
SELECT mals_prune(dry_run => true) AS dry \gset
SELECT mals_prune() = :dry AS exact;
SELECT state, count(*) > 0 AS any FROM mals.partitions WHERE state <> 'ahead' GROUP BY state;
ALTER DATABASE :"db" RESET mals.max_size;

-- In a transaction that has used entries they are deleted there and then
SELECT pg_temp.load() > 0 AS loaded;
BEGIN;
SELECT pg_temp.due() AS due \gset
SELECT mals_prune() = :due AS exact;
SELECT pg_temp.due() AS due;
SELECT mals_maintain() -> 'pruned' AS pruned;
ROLLBACK;
SELECT pg_temp.due() > 0 AS back;
-- and else they don't come back
BEGIN;
SELECT mals_prune() = :due AS pruned;
ROLLBACK;
SELECT pg_temp.due() AS due;

-- Arguments and settings that make no sense
SELECT s, pg_temp.failure(s) FROM unnest(ARRAY[
  $$SELECT mals_prune('0')$$, $$SELECT mals_prune('-1 day')$$, $$SELECT mals_prune('1 day -25 hours')$$, $$SELECT mals_prune('2000 years')$$, $$SELECT mals_prune('nonsense')$$,
  $$SELECT mals_prune(dry_run => NULL)$$, $$SELECT mals_set_retention('0')$$, $$SELECT mals_set_retention('-30 days', 'debug')$$,
  $$SELECT mals_set_retention('9999 years')$$, $$SELECT mals_set_retention('1 day', agent_id => '')$$, $$SELECT mals_set_retention('1 day', agent_id => repeat('a', 65))$$,
  $$SELECT mals_set_retention('1 day', category => repeat('c', 257))$$, $$SELECT mals_set_retention('1 day', 'loud')$$,
  $$SET mals.retention = '0'$$, $$SET mals.retention = '-1 day'$$, $$SET mals.retention = 'soon'$$, $$SET mals.max_size = '0'$$, $$SET mals.max_size = '-1GB'$$, $$SET mals.max_size = 'big'$$,
  $$SET mals.premake = -1$$, $$SET mals.keep_unresolved = 'perhaps'$$, $$SET mals.partition_interval = '1 minute'$$]) AS s;
SET mals.max_size = '20 GB';
SET mals.max_size = '1048576';
SET mals.max_size = 'off';
BEGIN READ ONLY;
SELECT pg_temp.failure('SELECT mals_prune()');
SELECT mals_prune(dry_run => true);
COMMIT;
SELECT count(*) FROM mals.retention_policies;

-- How old an entry may be when it is logged: the longest retention
RESET mals.max_past;
CREATE FUNCTION pg_temp.is_stored_then(age interval) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  stored uuid := mals_log('late', 'Late', ts => now() - age);
BEGIN
  RETURN (SELECT ts = now() - age FROM mals.entries WHERE id = stored);
END $$;
SELECT pg_temp.is_stored_then('29 days') AS "29", pg_temp.is_stored_then('45 days') AS "45";
SELECT mals_set_retention('50 days', 'critical');
SELECT pg_temp.is_stored_then('45 days') AS "45", pg_temp.is_stored_then('60 days') AS "60";
SELECT mals_set_retention(NULL, 'critical');
SELECT pg_temp.is_stored_then('60 days') AS "60";
SET mals.max_past = '10 days';
SELECT pg_temp.is_stored_then('9 days') AS "9", pg_temp.is_stored_then('11 days') AS "11";
RESET mals.max_past;
SELECT mals_drop_retention('critical');
SELECT pg_temp.is_stored_then('45 days') AS "45";
SELECT action, detail FROM mals.audit WHERE action ~ 'retention' ORDER BY at DESC LIMIT 3;

-- With the entries goes what is beside them: not what entries are left of, or what was ignored for good
SET mals.max_past = '-1';
SELECT pg_temp.load() > 0 AS loaded;
SELECT mals_log('kept', 'Still seen today') IS NOT NULL AS logged, mals_log('ignored', 'Ignored for good', 'error', ts => now() - interval '40 days') IS NOT NULL AS logged;
SELECT mals_ignore_error(mals_fingerprint('Ignored for good'));
SELECT mals_resolve_batch((SELECT array_agg(id) FROM mals.entries WHERE ts < now() - interval '40 days' AND ts > now() - interval '41 days')) >= 0 AS resolved;
SELECT mals_maintain() IS NOT NULL AS maintained;
UPDATE mals._templates SET first_seen = first_seen - interval '40 days';
SELECT mals_heartbeat(a) FROM unnest('{r0,kept,here}'::text[]) AS a;
UPDATE mals.agents SET last_heartbeat = last_heartbeat - interval '2 days' WHERE agent_id <> 'here';
INSERT INTO mals._entry_totals VALUES ('gone', 'info', 7), ('kept', 'trace', 7);
SELECT mals_prune('1 second') > 0 AS pruned;
SELECT mals_log('kept', 'Still seen today') IS NOT NULL AS logged;
SELECT (mals_maintain() ->> 'expired')::int > 0 AS expired, (mals_maintain() ->> 'expired')::int AS again;
SELECT template FROM mals.templates WHERE template ~ 'Entry|seen|gnored' ORDER BY 1;
SELECT count(*) FROM mals.resolutions;
SELECT agent_id FROM mals.agents ORDER BY 1;
SELECT agent_id FROM mals._entry_totals WHERE level = 'trace' AND agent_id = 'kept' OR agent_id = 'gone';
-- what comes back is seen again
SELECT mals_log('back', 'Entry 7') IS NOT NULL AS logged;
SELECT count(*) FROM mals.templates WHERE template ~ 'Entry';
SELECT pg_temp.load() > 0 AS loaded;

-- Maintenance goes by the settings of the file and of the database, not by those of the session
SELECT mals_set_retention('1 hour', 'trace'), mals_drop_retention('trace');
INSERT INTO mals.alerts (fired_at, rule, count, state) VALUES (now() - interval '1 day', 'retention test', 1, 'test');
SELECT mals_prune(dry_run => true) AS due \gset
SET mals.audit_retention = '1 microsecond';
SET mals.alert_retention = '1 hour';
SET mals.retention = '1 minute';
TRUNCATE mals._expiry;
ALTER ROLE CURRENT_USER SET mals.retention = '1 minute';
DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET mals.max_size = ''1kB''', current_database()); END $$;
SELECT mals_prune(dry_run => true) = :due AS same, mals_maintain() IS NOT NULL AS maintained;
ALTER ROLE CURRENT_USER RESET ALL;
DO $$ BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I RESET ALL', current_database()); END $$;
RESET mals.retention;
RESET mals.audit_retention;
RESET mals.alert_retention;
SELECT (SELECT count(*) FROM mals.audit WHERE action = 'drop_retention' AND detail->>'level' = 'trace') > 0 AS audit,
       (SELECT count(*) FROM mals.alerts WHERE rule = 'retention test') AS alerts;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET mals.alert_retention = ''1 hour''', current_database()); END $$;
TRUNCATE mals._expiry;
SELECT mals_maintain() IS NOT NULL AS maintained;
SELECT count(*) AS alerts FROM mals.alerts WHERE rule = 'retention test';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET mals.alert_retention', current_database()); END $$;

-- mals_health tells of it
SELECT clock_timestamp() AS begun \gset
SELECT mals_maintain() IS NOT NULL AS maintained;
SELECT (mals_health() ->> 'last_maintenance')::timestamptz >= :'begun' AS is_known;
-- Few entries are counted, many estimated
BEGIN;
SELECT count(*) > 20 AS some, sum(p.entries) > 1000 AS many,
       bool_and(p.entries = (SELECT count(*) FROM mals.entries e WHERE e.ts >= p.from_ts AND e.ts < p.to_ts)) AS same
  FROM mals.partitions p WHERE p.bytes < 1024 * 1024;
SELECT count(*) AS stored FROM mals.entries \gset
SELECT (mals_health() ->> 'entries_estimate')::bigint = :stored AS estimate;
INSERT INTO mals.logs (agent_id, message) SELECT 'many', repeat('Many ', 20) || i FROM generate_series(1, 10000) i;
COMMIT;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT (mals_health() ->> 'entries_estimate')::bigint BETWEEN :stored + 9000 AND :stored + 11000 AS estimate;

-- Who may
CREATE ROLE mals_test_retention;
SELECT mals_grant('mals_test_retention', 'admin');
GRANT CREATE, USAGE ON SCHEMA public TO mals_test_retention;
SET ROLE mals_test_retention;
SELECT mals_set_retention('1 hour', 'trace'), mals_prune('1 hour') > 0 AS pruned, mals_maintain() ?& '{premade,pruned,expired,templates_folded}' AS maintained, mals_drop_retention('trace') AS dropped;
SELECT count(*) > 0 AS partitions FROM mals.partitions;
SELECT count(*) AS operations FROM mals.progress;
RESET ROLE;
SELECT mals_revoke('mals_test_retention', 'admin'), mals_grant('mals_test_retention', 'reader');
SET ROLE mals_test_retention;
SELECT count(*) > 0 AS partitions FROM mals.partitions;
SELECT pg_temp.failure(s) FROM unnest(ARRAY['SELECT mals_prune()', $$SELECT mals_set_retention('1 day')$$, 'SELECT mals_drop_retention()']) AS s;
RESET ROLE;
DROP OWNED BY mals_test_retention;
DROP ROLE mals_test_retention;

DROP TABLE retention_given;
TRUNCATE mals.entries, mals._sights, mals._templates, mals.error_status, mals.resolutions, mals.agents;
