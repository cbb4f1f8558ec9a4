-- Retention: how long entries are kept, what is due, and what removal is at.

CREATE TABLE mals.retention_policies (
  agent_id text COLLATE "C",
  category text COLLATE "C",
  level    @extschema@.mals_level,
  keep     interval,
  set_at   timestamptz NOT NULL,
  set_by   text        NOT NULL,
  CONSTRAINT retention_policies_key UNIQUE NULLS NOT DISTINCT (agent_id, category, level)
);
COMMENT ON TABLE mals.retention_policies IS
  'How long entries of an agent, a category, a level (NULL: any) are kept; keep NULL is for ever. Of those that match an entry the most specific counts: one that names the agent, then the category, then the level; else mals.retention. Written by mals_set_retention and mals_drop_retention.';
COMMENT ON COLUMN mals.retention_policies.agent_id IS 'Entries of this agent; NULL: of any.';
COMMENT ON COLUMN mals.retention_policies.category IS 'Entries of this category; NULL: of any, and of none.';
COMMENT ON COLUMN mals.retention_policies.level IS 'Entries of exactly this level; NULL: of any.';
COMMENT ON COLUMN mals.retention_policies.keep IS 'How long they are kept; NULL: for ever.';
COMMENT ON COLUMN mals.retention_policies.set_at IS 'When the policy was set.';
COMMENT ON COLUMN mals.retention_policies.set_by IS 'Who set it.';
SELECT pg_catalog.pg_extension_config_dump('mals.retention_policies', '');

-- What maintenance knows of partitions; not dumped, as it can be found out again.
CREATE TABLE mals._partition_state (
  partition oid    PRIMARY KEY,
  from_ts   timestamptz,
  to_ts     timestamptz,
  removing  text,
  archived  bigint,
  deleted   bigint NOT NULL DEFAULT 0,
  basis     text,
  looked_at timestamptz,
  inserted  bigint,
  compact_after timestamptz
);
COMMENT ON TABLE mals._partition_state IS 'Partitions that are being removed (why, and how many entries were archived), and what was found when one was last searched for due entries.';

CREATE TABLE mals._expiry (
  at        timestamptz NOT NULL,
  oldest    timestamptz NOT NULL,
  templates bigint      NOT NULL
);
COMMENT ON TABLE mals._expiry IS 'When the tables beside the entries were last cleared, one row: what was the beginning of the oldest partition, and how many older templates were left.';

CREATE FUNCTION mals._partitions(OUT partition oid, OUT from_ts timestamptz, OUT to_ts timestamptz, OUT detaching boolean)
  RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_partitions';
COMMENT ON FUNCTION mals._partitions() IS 'The partitions of mals.entries by time, with their bounds.';

CREATE FUNCTION mals._partition_entries(partition oid) RETURNS bigint
  LANGUAGE c STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_partition_entries';
COMMENT ON FUNCTION mals._partition_entries(oid) IS 'How many entries a partition has: counted if it takes 1 MB at most, else from the server''s statistics; NULL for roles that are bound to agents.';

-- A detached partition is no part of mals.entries any more, but still takes space. Times and
-- sizes are those of all entries: not for roles that are bound to agents.
CREATE VIEW mals.partitions AS
  SELECT c.relname AS name, p.from_ts, p.to_ts,
         mals._partition_entries(c.oid) AS entries,
         pg_total_relation_size(c.oid) AS bytes,
         CASE WHEN p.state IS NOT NULL THEN p.state WHEN p.from_ts > now() THEN 'ahead'
              WHEN p.to_ts > now() THEN 'current' ELSE 'closed' END AS state
    FROM (SELECT a.partition, a.from_ts, a.to_ts, CASE WHEN a.detaching THEN 'detaching' END AS state
            FROM mals._partitions() a
           UNION ALL
          SELECT s.partition, s.from_ts, s.to_ts, 'detached'
            FROM mals._partition_state s JOIN pg_class d ON d.oid = s.partition
           WHERE s.removing IS NOT NULL AND NOT d.relispartition) p
    JOIN pg_class c ON c.oid = p.partition
   WHERE NOT mals._is_bound()
   ORDER BY p.from_ts;
COMMENT ON VIEW mals.partitions IS
  'The partitions of mals.entries by time: name (a table of schema mals), from_ts (inclusive), to_ts (exclusive), entries (in partitions of more than 1 MB an estimate from the server''s statistics; exact is mals_count), bytes (with indexes), state: ahead (made for times to come), current, closed, detaching or detached (on the way to be dropped). Empty for roles that are bound to agents.';

CREATE FUNCTION mals._progress(OUT operation text, OUT phase text, OUT done bigint, OUT total bigint, OUT started_at timestamptz)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_progress';
COMMENT ON FUNCTION mals._progress() IS 'The long operations of all sessions in this database.';

CREATE VIEW mals.progress AS
  SELECT operation, phase, done, total, started_at FROM mals._progress() WHERE NOT mals._is_bound();
COMMENT ON VIEW mals.progress IS
  'Long operations of mals in this database, of any session, one row each: operation (prune, archive, restore), phase (what it does now), done and total (of what the phase counts: partitions, blocks, entries), started_at. Needs track_activities (default on). Empty for roles that are bound to agents.';

-- What is due.

-- The time before which entries are due, by policy, the most specific first; the
-- last row is for all the others. A month is a month of the calendar, in UTC.
CREATE FUNCTION mals._cutoffs(at timestamptz, before timestamptz, retention timestamptz)
  RETURNS TABLE (n bigint, agent_id text, category text, level @extschema@.mals_level, cutoff timestamptz)
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT row_number() OVER (ORDER BY p.agent_id IS NULL, p.category IS NULL, p.level IS NULL),
         p.agent_id, p.category, p.level,
         CASE WHEN p.keep IS NULL THEN '-infinity' WHEN before < 'infinity' THEN before
              ELSE (at AT TIME ZONE 'UTC' - p.keep) AT TIME ZONE 'UTC' END
    FROM mals.retention_policies p
   UNION ALL
  SELECT NULL, NULL, NULL, NULL, CASE WHEN before < 'infinity' THEN before ELSE retention END
   WHERE NOT EXISTS (SELECT FROM mals.retention_policies p
                      WHERE p.agent_id IS NULL AND p.category IS NULL AND p.level IS NULL)
$$;
COMMENT ON FUNCTION mals._cutoffs(timestamptz, timestamptz, timestamptz) IS
  'The time before which entries are due: by policy as of a time, or before another one if that is finite. retention is what comes of mals.retention.';

-- Policies that keep entries for ever, unresolved errors under mals.keep_unresolved
-- and restored entries stay, whatever their age.
CREATE FUNCTION mals._due(at timestamptz, before timestamptz, retention timestamptz, keep_unresolved boolean)
  RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat(
    format('e.ts < %L::timestamptz AND e.ts < CASE', max(cutoff)),
    string_agg(concat(' WHEN true',
        ' AND e.agent_id = ' || quote_literal(agent_id),
        ' AND e.category = ' || quote_literal(category),
        ' AND e.level OPERATOR(@extschema@.=) ' || quote_literal(level::text),
        format(' THEN %L::timestamptz', cutoff)), '' ORDER BY n) FILTER (WHERE n IS NOT NULL),
    format(' WHEN true THEN %L::timestamptz END', COALESCE(min(cutoff) FILTER (WHERE n IS NULL), '-infinity')),
    format(' AND NOT EXISTS (SELECT FROM mals._exemptions x WHERE x.until > %L AND e.ts >= x.from_ts AND e.ts < x.to_ts)', at),
    CASE WHEN keep_unresolved THEN
      ' AND (e.level OPERATOR(@extschema@.<) ''error'' OR COALESCE((SELECT r.resolved FROM mals.resolutions r'
      ' WHERE r.entry_id = e.id), (SELECT s.resolved_at >= e.ts FROM mals.error_status s WHERE s.fingerprint ='
      ' COALESCE((SELECT t.group_id FROM mals._templates t WHERE t.fingerprint = e.fingerprint), e.fingerprint)), false))'
    END)
    FROM mals._cutoffs(at, before, retention)
$$;
COMMENT ON FUNCTION mals._due(timestamptz, timestamptz, timestamptz, boolean) IS
  'The SQL condition that an entry e is due: see mals._cutoffs; keep_unresolved is mals.keep_unresolved.';

-- Partitions that may hold what is due. A thorough search looks at all of them;
-- else one is searched when the last entry that a policy can let it keep has
-- become due, when policies have changed, and at most once an hour when entries
-- came late, or were resolved and held for that only. So it costs nothing to ask
-- often, and a partition is sifted once a policy.
CREATE FUNCTION mals._judge(at timestamptz, before timestamptz, retention timestamptz, keep_unresolved boolean,
    thorough boolean)
  RETURNS TABLE (partition oid, name text, whole boolean, closed boolean, basis text)
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH cutoffs AS MATERIALIZED (SELECT * FROM mals._cutoffs(at, before, retention)),
  limits AS (SELECT min(cutoff) AS oldest, max(cutoff) AS newest FROM cutoffs),
  rules AS (
    SELECT md5(concat_ws('|', at - retention, keep_unresolved,
                         (SELECT string_agg(p::text, '|' ORDER BY agent_id, category, level)
                            FROM mals.retention_policies p))) AS rules),
  seen AS (
    SELECT a.partition, a.from_ts, a.to_ts, x.exempt,
           concat_ws(' ', r.rules, x.exempt,
                     (SELECT count(*) FROM cutoffs k WHERE k.cutoff >= a.to_ts)) AS basis,
           EXISTS (SELECT FROM cutoffs k WHERE k.cutoff >= a.to_ts) AS passed
      FROM mals._partitions() a CROSS JOIN rules r
     CROSS JOIN LATERAL (SELECT count(*) AS exempt FROM mals._exemptions e
                          WHERE e.until > at AND e.from_ts < a.to_ts AND e.to_ts > a.from_ts) x
     WHERE NOT a.detaching)
  SELECT s.partition, s.partition::regclass::text, s.to_ts <= l.oldest AND s.exempt = 0, s.to_ts <= at, s.basis
    FROM seen s JOIN pg_class c ON c.oid = s.partition AND c.relkind = 'r'
   CROSS JOIN limits l
    LEFT JOIN mals._partition_state t ON t.partition = s.partition
   WHERE s.from_ts < l.newest
     AND (thorough OR s.passed
          AND (t.basis IS NULL OR t.basis <> s.basis
               OR t.looked_at < at - interval '1 hour'
                  AND (t.inserted <> pg_stat_get_tuples_inserted(s.partition)
                       OR keep_unresolved AND s.to_ts <= l.oldest)))
   ORDER BY s.from_ts
$$;
COMMENT ON FUNCTION mals._judge(timestamptz, timestamptz, timestamptz, boolean, boolean) IS
  'The partitions to look at, oldest first: whether all they can hold is due by its time, whether their time has passed, and what they were judged by.';

-- Partitions that have lost entries to policies, and may be worth rewriting: past
-- their time, made by mals and not changed since.
CREATE FUNCTION mals._bloated(at timestamptz) RETURNS TABLE (partition oid, name text)
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.oid, c.oid::regclass::text
    FROM mals._partition_state s JOIN mals._partitions() p ON p.partition = s.partition
    JOIN pg_class c ON c.oid = s.partition JOIN pg_class e ON e.oid = 'mals.entries'::regclass
   WHERE s.deleted > 0 AND s.removing IS NULL AND NOT p.detaching AND isfinite(p.from_ts) AND p.to_ts <= at
     AND COALESCE(s.compact_after, '-infinity') <= at
     AND pg_relation_size(c.oid) >= 1024 * 1024
     AND c.relnamespace = 'mals'::regnamespace AND c.relowner = e.relowner AND c.relacl IS NULL
     AND c.reloptions IS NULL AND c.reltablespace = 0 AND NOT c.relhastriggers AND NOT c.relhasrules
     AND NOT c.relrowsecurity
     AND (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
       = (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = e.oid AND a.attnum > 0)
     AND (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid)
       = (SELECT count(*) FROM regexp_matches(mals._partition_indexes(c.relname), 'PRIMARY KEY|CREATE INDEX', 'g'))
     AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'u', 'x'))
     AND NOT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prrelid = c.oid)
     AND NOT EXISTS (SELECT FROM pg_statistic_ext t WHERE t.stxrelid = c.oid)
   ORDER BY p.from_ts
$$;
COMMENT ON FUNCTION mals._bloated(timestamptz) IS 'Partitions that may be worth rewriting for the space of deleted entries.';

CREATE FUNCTION mals._bound(ts timestamptz, unbounded text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN isfinite(ts) THEN quote_literal(ts) ELSE unbounded END $$;
COMMENT ON FUNCTION mals._bound(timestamptz, text) IS 'A bound of a partition as ATTACH PARTITION takes it.';

CREATE FUNCTION mals._least_id(ts timestamptz) RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT rpad(lpad(to_hex(CASE WHEN ts <= '1970-01-01Z' THEN 0 WHEN ts >= '10889-08-02Z' THEN 281474976710655
                               ELSE floor(extract(epoch FROM ts) * 1000)::bigint END), 12, '0'), 32, '0')::uuid
$$;
COMMENT ON FUNCTION mals._least_id(timestamptz) IS 'A uuid that is less than all ids of entries of the millisecond of a time, and greater than those before.';

-- Policies.

CREATE FUNCTION mals_set_retention(keep interval, level mals_level DEFAULT NULL, agent_id text DEFAULT NULL,
    category text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_set_retention(interval, mals_level, text, text) IS
  'Sets how long entries of a level (exactly that one), an agent, a category are kept (NULL selectors match all); keep NULL is for ever. Of the policies that match an entry the most specific counts: one that names the agent before one that names the category before one that names the level; mals.retention is for entries without any. A policy with the same selectors is replaced. Applied by the next mals_maintain, mals_prune or turn of the worker. Errors: 22023 for a keep that is not more than zero or over 1000 years, or a selector that no entry can match.';

CREATE FUNCTION mals_drop_retention(level mals_level DEFAULT NULL, agent_id text DEFAULT NULL,
    category text DEFAULT NULL) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_drop_retention(mals_level, text, text) IS
  'Drops the policy with exactly these selectors (all NULL: the one for all entries). Returns whether there was one.';

-- Removal.

CREATE FUNCTION mals_prune(older_than interval DEFAULT NULL, dry_run boolean DEFAULT false) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_prune(interval, boolean) IS
  'Removes every entry that is due and returns how many. Without older_than: by mals.retention, the policies of mals_set_retention and mals.max_size. With it: entries older than that, but for those that a policy keeps for ever, unresolved errors under mals.keep_unresolved, and restored ones. dry_run only counts. Removal is done by a background worker and is not undone when the caller rolls back; it waits for transactions that read entries, and can be cancelled: what was removed by then stays so, and nothing is left by half. In a transaction that has used mals.entries it deletes the entries there and then instead. Without a free worker slot it removes from one partition a call, and not within a transaction block (55000). Errors: 22023 for an older_than that is not more than zero or over 1000 years; 22004 for a dry_run that is NULL; 58030 if a partition could not be archived.';

CREATE FUNCTION mals_maintain() RETURNS jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_maintain() IS
  'Does the maintenance that is due and returns what was done as JSON: alerts (that fired), premade (partitions made ahead), pruned (entries that retention removed), expired (rows of tables beside the entries whose entries are gone), templates_folded (first sights of messages that were taken over), templates_regrouped (templates whose group changed), samples_folded (of metrics) and entries_counted (for mals_metrics). Call it from time to time, by pg_cron or by hand. Partitions are made and removed by a background worker: that is not undone when the caller rolls back. In a transaction that has used mals.entries premade and pruned are null, and premade is where no worker could be started: left to the next call. Two calls at once do no harm.';

-- The ends of life of what is beside the entries. A row goes when no entry that
-- it is about can be left. Each module adds its own.
CREATE FUNCTION mals._invalidate(relation regclass) RETURNS void
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'mals_invalidate';
COMMENT ON FUNCTION mals._invalidate(regclass) IS 'Has all sessions forget, at commit, what they remember of a table.';

CREATE FUNCTION mals._expire_marks(oldest timestamptz) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH resolutions AS (
    DELETE FROM mals.resolutions WHERE entry_id < mals._least_id(oldest) RETURNING 1),
  refused AS (
    -- they recognise retries within one partition's time, a week at most
    DELETE FROM mals._refused_ids WHERE entry_id < mals._least_id(now() - interval '14 days') RETURNING 1),
  exemptions AS (
    DELETE FROM mals._exemptions WHERE until <= now() RETURNING 1),
  states AS (
    DELETE FROM mals._partition_state s
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = s.partition) RETURNING 1)
  SELECT (SELECT count(*) FROM resolutions) + (SELECT count(*) FROM refused)
       + (SELECT count(*) FROM exemptions) + (SELECT count(*) FROM states)
$$;
COMMENT ON FUNCTION mals._expire_marks(timestamptz) IS 'Removes what was said about entries that are gone.';

-- Finding out which templates have no entries left reads all entries: only when
-- there are few of them, or twice as many old templates as were left last time.
CREATE FUNCTION mals._expire_templates(oldest timestamptz) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  old bigint;
  gone bigint;
BEGIN
  SELECT count(*) INTO old FROM mals._templates t WHERE t.first_seen < oldest;
  IF old = 0 OR old < COALESCE((SELECT 2 * x.templates + 1000 FROM mals._expiry x), 0)
     AND (SELECT sum(pg_total_relation_size(p.partition)) FROM mals._partitions() p) > 256 * 1024 * 1024 THEN
    RETURN 0;
  END IF;
  LOCK TABLE mals._templates IN SHARE ROW EXCLUSIVE MODE;
  WITH alive AS MATERIALIZED (
    SELECT DISTINCT COALESCE(t.group_id, e.fingerprint) AS group_id
      FROM mals.entries e LEFT JOIN mals._templates t ON t.fingerprint = e.fingerprint),
  ended AS (
    DELETE FROM mals.error_status s
     WHERE COALESCE(s.resolved_at, '-infinity') < oldest
       AND (s.ignored_at IS NULL OR s.ignored_until < oldest)
       AND NOT EXISTS (SELECT FROM alive a WHERE a.group_id = s.fingerprint)
    RETURNING s.fingerprint),
  groups AS (
    SELECT t.group_id FROM mals._templates t GROUP BY t.group_id HAVING max(t.first_seen) < oldest
    EXCEPT SELECT a.group_id FROM alive a
    EXCEPT (SELECT s.fingerprint FROM mals.error_status s EXCEPT SELECT e.fingerprint FROM ended e)
    EXCEPT SELECT t.group_id FROM mals._templates t
             JOIN mals._hand_merges h ON t.fingerprint IN (h.a, h.b)
    EXCEPT SELECT t.group_id FROM mals._templates t JOIN mals._hand_splits h USING (fingerprint)),
  names AS (
    DELETE FROM mals._groups g USING groups d WHERE g.group_id = d.group_id),
  templates AS (
    DELETE FROM mals._templates t USING groups d WHERE t.group_id = d.group_id RETURNING 1)
  SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM templates) INTO gone;
  -- loggers remember which templates are there
  PERFORM mals._invalidate('mals._templates');
  RETURN gone;
END
$$;
COMMENT ON FUNCTION mals._expire_templates(timestamptz) IS 'Removes templates, and what was said about groups, when no entry of the group is left; what was merged, split or ignored for good by hand stays.';

-- What could not be written, and who did what, have ages of their own.
CREATE FUNCTION mals._expire_records(oldest timestamptz) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH letters AS (
    DELETE FROM mals.dead_letters WHERE at < LEAST(oldest, now() - interval '90 days') RETURNING 1),
  audit AS (
    DELETE FROM mals.audit
     WHERE at < now() - mals._maintenance_setting('mals.audit_retention')::interval
    RETURNING 1)
  SELECT (SELECT count(*) FROM letters) + (SELECT count(*) FROM audit)
$$;
COMMENT ON FUNCTION mals._expire_records(timestamptz) IS 'Removes dead letters that are older than 90 days and than every entry, and audit rows older than mals.audit_retention.';

-- Rows that someone has locked are left to the next time: nobody waits here.
CREATE FUNCTION mals._expire_agents(oldest timestamptz) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH silent AS MATERIALIZED (
    SELECT x.agent_id
      FROM (SELECT a.agent_id FROM mals.agents a UNION SELECT t.agent_id FROM mals._entry_totals t) x
     WHERE NOT EXISTS (SELECT FROM mals.entries e WHERE e.agent_id = x.agent_id)),
  agents AS (
    DELETE FROM mals.agents g WHERE g.ctid = ANY (ARRAY(
      SELECT a.ctid FROM mals.agents a JOIN silent s ON s.agent_id = a.agent_id
       WHERE a.last_heartbeat < oldest FOR UPDATE OF a SKIP LOCKED)) RETURNING 1),
  totals AS (
    DELETE FROM mals._entry_totals g WHERE g.ctid = ANY (ARRAY(
      SELECT t.ctid FROM mals._entry_totals t JOIN silent s ON s.agent_id = t.agent_id
         FOR UPDATE OF t SKIP LOCKED)) RETURNING 1)
  SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM totals)
$$;
COMMENT ON FUNCTION mals._expire_agents(timestamptz) IS 'Removes what is known of agents when no entry of theirs is left: when they registered, if no heartbeat came since the oldest partition began, and how many entries they had.';

CREATE FUNCTION mals._expire() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  first timestamptz := (SELECT COALESCE(min(p.from_ts), now()) FROM mals._partitions() p);
  same boolean;
  gone bigint := 0;
BEGIN
  SELECT x.oldest = first INTO same FROM mals._expiry x;
  IF same AND EXISTS (SELECT FROM mals._expiry x WHERE x.at > now() - interval '1 hour') THEN
    RETURN 0;
  END IF;
  LOCK TABLE mals._expiry IN SHARE ROW EXCLUSIVE MODE;
  gone := gone + mals._expire_marks(first) + mals._expire_records(first) + mals._expire_alerts();
  IF same IS NOT TRUE THEN
    gone := gone + mals._expire_templates(first) + mals._expire_agents(first);
  END IF;
  DELETE FROM mals._expiry;
  INSERT INTO mals._expiry (at, oldest, templates)
  VALUES (now(), first, (SELECT count(*) FROM mals._templates t WHERE t.first_seen < first));
  RETURN gone;
END
$$;
COMMENT ON FUNCTION mals._expire() IS 'Clears the tables beside the entries of what is about entries that are gone, at most once an hour or when a partition has gone; returns how many rows. What later modules keep is cleared here too.';
