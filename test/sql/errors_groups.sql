-- Errors by group: figures against plain SQL, resolve, regress, ignore, merge, split.
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL mals.max_past = '-1';
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals.error_status, mals.resolutions;
SELECT setseed(0.3);

-- four days of entries of five agents, some kinds of errors only on some days
CREATE TEMP TABLE given AS
SELECT g, '2026-03-01 00:00Z'::timestamptz + g * interval '115 seconds' AS ts,
       'agent-' || g % 5 AS agent,
       CASE WHEN g % 7 = 0 THEN 'critical' WHEN g % 3 = 0 THEN 'error' ELSE 'info' END AS level,
       CASE g % 11 WHEN 0 THEN 'Connection to 10.0.0.' || g % 250 || ' refused after ' || g || ' ms'
                   WHEN 1 THEN 'Disk ' || g || ' is full'
                   WHEN 2 THEN CASE WHEN g > 2000 THEN 'Late failure of step ' || g ELSE 'fine' END
                   ELSE 'Kind ' || chr(97 + g % 11) || ' of trouble at line ' || g END AS message
  FROM generate_series(1, 3000) g;
INSERT INTO mals.logs (ts, agent_id, level, message) SELECT ts, agent, level, message FROM given;

-- what plain SQL says of a window, by the fingerprints of the entries
CREATE FUNCTION pg_temp.plain(since timestamptz, until timestamptz, agent text)
RETURNS TABLE (fingerprint bigint, level mals_level, entries bigint, unresolved bigint, agents text[],
               first_seen timestamptz, last_seen timestamptz, is_new boolean, is_regressed boolean)
LANGUAGE sql AS $$
  SELECT l.fingerprint, max(l.level), count(*), count(*) FILTER (WHERE NOT l.resolved),
         array_agg(DISTINCT l.agent_id ORDER BY l.agent_id)::text[], min(l.ts), max(l.ts),
         NOT EXISTS (SELECT FROM mals.logs p WHERE p.fingerprint = l.fingerprint AND p.level >= 'error'
                        AND (agent IS NULL OR p.agent_id = agent)
                        AND p.ts >= since - (until - since) AND p.ts < since),
         COALESCE(bool_or(l.ts > s.resolved_at AND l.created_at > s.resolved_at), false)
    FROM mals.logs l LEFT JOIN mals.error_status s USING (fingerprint)
   WHERE l.level >= 'error' AND l.ts >= since AND l.ts < until AND (agent IS NULL OR l.agent_id = agent)
   GROUP BY l.fingerprint
$$;
CREATE FUNCTION pg_temp.differences(since timestamptz, until timestamptz, agent text) RETURNS bigint
LANGUAGE sql AS $$
  SELECT count(*) FROM (
    SELECT fingerprint, level, entries, unresolved, agents, first_seen, last_seen, is_new, is_regressed
      FROM mals_errors(since, agent, until)
    EXCEPT ALL SELECT * FROM pg_temp.plain(since, until, agent)) x
$$;
CREATE TEMP TABLE windows AS
SELECT s AS since, s + w AS until, a AS agent
  FROM generate_series('2026-03-01 00:00Z'::timestamptz, '2026-03-04 12:00Z', '12 hours') s,
       unnest('{1 hour, 12 hours, 1 day, 2 days}'::interval[]) w, unnest('{NULL, agent-3}'::text[]) a;
SELECT count(*) AS windows, sum(pg_temp.differences(since, until, agent)) AS differences,
       sum((SELECT count(*) FROM mals_errors(since, agent, until))) =
       sum((SELECT count(*) FROM pg_temp.plain(since, until, agent))) AS same_groups
  FROM windows;

-- a summary has the same figures
SELECT bool_and((s ->> 'total_errors')::bigint = (SELECT COALESCE(sum(entries), 0) FROM pg_temp.plain(since, until, agent))
   AND jsonb_array_length(s -> 'new_errors') = (SELECT count(*) FROM pg_temp.plain(since, until, agent) WHERE is_new)
   AND jsonb_array_length(s -> 'recurring_errors') = (SELECT count(*) FROM pg_temp.plain(since, until, agent) WHERE entries >= 3)
   AND (s #>> '{unresolved_errors,count}')::bigint = (SELECT COALESCE(sum(unresolved), 0) FROM pg_temp.plain(since, until, agent))
   AND (SELECT COALESCE(sum((a ->> 'errors')::bigint), 0) FROM jsonb_array_elements(s -> 'by_agent') a) = (s ->> 'total_errors')::bigint
   AND jsonb_array_length(s #> '{unresolved_errors,items}') = least(100, (s #>> '{unresolved_errors,count}')::bigint)) AS same
  FROM (SELECT w.*, mals_summary(since, agent, until) AS s FROM windows w) x;
SELECT ARRAY(SELECT jsonb_object_keys(mals_summary('2026-03-01', NULL, '2026-03-02')) ORDER BY 1) AS keys;
SELECT template, level, entries, agents, is_new, is_recurring, status
  FROM mals_errors('2026-03-03 18:00Z', NULL, '2026-03-04 18:00Z', 30) ORDER BY template COLLATE "C";

-- patterns count what the query matches
SELECT sum(entries) = 3000 AS all_entries, count(*) = (SELECT count(DISTINCT fingerprint) FROM mals.logs) AS all_groups,
       bool_and(entries = (SELECT count(*) FROM mals.logs l WHERE l.fingerprint = p.fingerprint)) AS same,
       bool_and((SELECT l.fingerprint = p.fingerprint AND l.ts = p.last_seen FROM mals.logs l WHERE l.id = sample_id)) AS samples
  FROM mals_patterns(max_rows => 1000) p;
SELECT template, level, entries, agents FROM mals_patterns('level:critical agent:agent-1', max_rows => 2);

-- first sights, and what mals_maintain makes of them
SELECT count(*) = count(DISTINCT fingerprint) AS once, bool_and(group_id = fingerprint) AS own_groups,
       bool_and(first_seen = (SELECT min(ts) FROM mals.logs l WHERE l.fingerprint = t.fingerprint)) AS first,
       count(*) = (SELECT count(DISTINCT fingerprint) FROM mals.logs) AS complete
  FROM mals.templates t;
CREATE TEMP TABLE before AS SELECT * FROM mals.templates;
SELECT (mals_maintain() ->> 'templates_folded')::int = (SELECT count(*) FROM before) AS folded;
SELECT count(*) AS left_over FROM mals._sights;
SELECT count(*) AS changed FROM (SELECT fingerprint, template, first_seen, sample_id FROM before
                                 EXCEPT SELECT fingerprint, template, first_seen, sample_id FROM mals.templates) x;
-- "Kind a of trouble", "Kind b …" differ in one word, which eight values show to be a variable
SELECT template, count(*) OVER () AS groups FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE template LIKE 'Kind%';
SELECT mals_maintain() ->> 'templates_regrouped' AS regrouped_again;

-- resolve: all of the group up to now, also what arrives late; later errors regress it
SELECT fingerprint AS disk FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE template LIKE 'Disk%' \gset
SELECT count(*) AS entries FROM mals.logs WHERE fingerprint = :disk \gset
SELECT mals_resolve_error(:disk, 'ann', 'bought a disk') = :entries AS resolved, mals_resolve_error(:disk) AS again;
SELECT entries, unresolved, status FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE fingerprint = :disk;
SELECT count(*) = :entries AS all_resolved, min(resolved_by) = current_user AS by_me FROM mals.logs WHERE fingerprint = :disk AND resolved;
SELECT mals_log('agent-1', 'Disk 7 is full', 'error', ts => '2026-03-03 01:00Z') IS NOT NULL AS late;
SELECT unresolved, is_regressed FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE fingerprint = :disk;
SELECT mals_log('agent-1', 'Disk 8 is full', 'error') AS regression \gset
SELECT entries, unresolved, is_regressed, status FROM mals_errors() WHERE fingerprint = :disk;
SELECT jsonb_array_length(mals_summary() -> 'regressed_errors') AS regressed;
-- an entry's own state overrides its group's
SELECT id AS one FROM mals.logs WHERE fingerprint = :disk AND resolved ORDER BY id LIMIT 1 \gset
SELECT mals_resolve(:'one') AS already, mals_unresolve(:'one') AS opened;
SELECT resolved, resolved_at, resolved_by FROM mals.logs WHERE id = :'one';
SELECT mals_resolve(:'regression') AS resolved;
SELECT unresolved, is_regressed, status FROM mals_errors() WHERE fingerprint = :disk;
SELECT mals_reopen_error(:disk) AS reopened, mals_reopen_error(:disk) AS again;
SELECT count(*) = :entries AS unresolved FROM mals.logs WHERE fingerprint = :disk AND NOT resolved AND id <> :'regression' AND ts <> '2026-03-03 01:00Z';
SELECT resolved FROM mals.logs WHERE id = :'regression';

-- ignore
SELECT mals_ignore_error(:disk, '2100-01-01') AS ignored, mals_ignore_error(:disk, '2100-01-01') AS again, mals_ignore_error(:disk) AS for_good, mals_ignore_error(:disk, 'infinity') AS for_good_again;
SELECT status FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE fingerprint = :disk;
SELECT mals_reopen_error(:disk);

-- merge and split by hand; a merged group is resolved when all of it was, at the earliest time
SELECT fingerprint AS conn FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE template LIKE 'Connection%' \gset
SELECT mals_resolve_error(:disk) > 0 AS first, mals_resolve_error(:conn) > 0 AS second;
SELECT resolved_at AS earliest FROM mals.error_status WHERE fingerprint = :disk \gset
SELECT mals_merge_groups(:disk, :conn) AS merged, mals_merge_groups(:conn, :disk) AS again;
SELECT count(DISTINCT group_id) AS groups, bool_and(group_id = least(:disk, :conn)) AS least FROM mals.templates WHERE fingerprint IN (:disk, :conn);
SELECT fingerprint = least(:disk, :conn) AS least, resolved_at = :'earliest' AS earliest FROM mals.error_status;
SELECT mals_count('fingerprint:' || :disk) = (SELECT count(*) FROM mals.logs WHERE fingerprint IN (:disk, :conn)) AS query_by_group,
       mals_count('fingerprint:' || :conn) = mals_count('fingerprint:' || :disk) AS by_any_of_it;
SELECT mals_maintain() ->> 'templates_regrouped' AS stays;
SELECT mals_split_group(:conn) AS parts;
SELECT count(*) AS parts, count(DISTINCT resolved_at) = 1 AND min(resolved_at) = :'earliest' AS keep FROM mals.error_status;
-- merged with one that is not resolved, it is not
SELECT fingerprint AS late FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE template LIKE 'Late%' \gset
SELECT mals_merge_groups(:disk, :late);
SELECT count(*) AS resolved FROM mals.logs WHERE resolved AND fingerprint IN (:disk, :late) AND id <> :'regression';
-- a split group is not merged again by itself
SELECT fingerprint AS kind FROM mals_errors('2026-03-01', NULL, '2026-03-05') WHERE template LIKE 'Kind%' \gset
SELECT mals_split_group(:kind) AS parts, mals_maintain() ->> 'templates_regrouped' AS merged_again;
ROLLBACK;

-- what a transaction that is rolled back has seen is not known after it
BEGIN;
SELECT mals_log('a', 'A message that is rolled back', 'error') IS NOT NULL;
SAVEPOINT s;
SELECT mals_log('a', 'Another one that is rolled back', 'error') IS NOT NULL;
ROLLBACK TO s;
SELECT mals_log('a', 'Another one that is rolled back', 'error') IS NOT NULL;
SELECT count(*) FROM mals.templates WHERE template LIKE '%rolled back';
ROLLBACK;
SELECT count(*) FROM mals.templates WHERE template LIKE '%rolled back';
BEGIN;
SELECT mals_log('a', 'A message that is rolled back', 'error') IS NOT NULL;
SELECT count(*) FROM mals.templates WHERE template LIKE '%rolled back';
ROLLBACK;

-- entries that were opened again one by one do not become resolved
BEGIN;
SELECT mals_log('a', 'An error opened again', 'error') AS id \gset
SELECT mals_log('a', 'An error opened again', 'error') AS other \gset
SELECT mals_resolve(:'id'), mals_unresolve(:'id');
SELECT mals_resolve_error(mals_fingerprint('An error opened again')) AS resolved;
SELECT count(*) FILTER (WHERE resolved) AS resolved FROM mals.logs WHERE id IN (:'id', :'other');
SELECT mals_resolve_error(mals_fingerprint('An error opened again')) AS resolved;
ROLLBACK;

-- errors
BEGIN READ ONLY;
SELECT mals_resolve_error(1);
ROLLBACK;
SELECT mals_resolve_error(NULL);
SELECT mals_resolve_error(1);
SELECT mals_resolve_error(1, '');
SELECT mals_ignore_error(1, '2020-01-01');
SELECT mals_reopen_error(1);
SELECT mals_merge_groups(1, NULL);
SELECT mals_merge_groups(NULL, 1);
SELECT mals_merge_groups(1, 2);
SELECT mals_split_group(1);
SELECT mals_errors(recurring_min => 0);
SELECT mals_errors(since => '-infinity');
SELECT mals_summary(until => '-infinity');
SELECT mals_patterns('nokey:x');
