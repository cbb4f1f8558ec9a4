-- mals_forget: what matches is gone everywhere, and the audit says so; nothing else changes.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set VERBOSITY terse
CREATE ROLE mals_test_admin;
CREATE ROLE mals_test_reader;
SELECT mals_grant('mals_test_admin', 'admin'), mals_grant('mals_test_reader', 'reader');
-- mals_maintain would remove what is as old as this
SELECT mals_set_retention(NULL);
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals._hand_merges, mals._hand_splits, mals.error_status, mals.resolutions, mals.audit;
SET mals.max_past = '-1';
-- over several partitions: more than one batch, and kinds that go, stay in part, and stay
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'forget-' || i % 3, 'message', 'Step ' || i || ' is done',
    'ts', '2023-05-01T00:00:00Z'::timestamptz + i * interval '20 seconds', 'i', i))) FROM generate_series(1, 20000) AS i;
SELECT mals_log('forget-1', 'Jane Doe cannot log in', 'error', ts => '2023-05-02 12:00Z') AS jane,
       mals_log('forget-1', 'Session of Jane Doe ended', 'error', ts => '2023-05-02 12:01Z') AS ended,
       mals_log('forget-2', 'Nothing to forget', 'error', ts => '2023-05-02 12:02Z') AS kept \gset
SELECT mals_resolve(:'jane', 'me', 'Jane called'), mals_resolve(:'kept', 'me', 'It was nothing');
SELECT mals_resolve_error(mals_fingerprint('Session of Jane Doe ended'), 'me', 'Jane called again');
SELECT mals_log('forget-1', 'Jane Doe has an id that is refused', id => 'ffffffff-ffff-7000-8000-000000000001') IS NOT NULL AS logged;
SELECT mals_maintain() IS NOT NULL AS folded;
SELECT mals_merge_groups(mals_fingerprint('Jane Doe cannot log in'), mals_fingerprint('Nothing to forget')) AS merged;
SELECT count(*) AS templates FROM mals.templates;

-- A dry run counts, and is the default; nothing happens
SELECT mals_forget('agent:forget-1') AS counted, mals_forget('"jane doe"', true, 'a reason') AS counted, mals_forget('Nowhere') AS counted;
SELECT count(*) AS entries, (SELECT count(*) FROM mals.audit WHERE action = 'forget') AS audited FROM mals.entries;

-- Who may; it needs no privilege on the tables, and has none
SET ROLE mals_test_reader;
SELECT mals_forget('agent:forget-1');
SET ROLE mals_test_admin;
DELETE FROM mals.entries;
DELETE FROM mals.resolutions;
SELECT mals_forget('"jane doe"', false, 'She asked for it') AS forgotten;
SELECT mals_forget('agent:forget-1 -"jane doe"', false) AS forgotten;
SELECT mals_forget('agent:forget-1', false) AS forgotten;
RESET ROLE;
-- Nothing of her is left, in no table: neither words nor ids
CREATE FUNCTION pg_temp.holders(needle text) RETURNS TABLE (relation regclass, n bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR relation IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'mals'::regnamespace AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition ORDER BY c.relname LOOP
    EXECUTE format('SELECT count(*) FROM %s r WHERE r::text ILIKE %L', relation, '%' || needle || '%') INTO n;
    IF n > 0 THEN RETURN NEXT; END IF;
  END LOOP;
END $$;
SELECT * FROM pg_temp.holders('jane') WHERE relation <> 'mals.audit'::regclass;
SELECT * FROM pg_temp.holders(:'jane') WHERE relation <> 'mals.audit'::regclass;
SELECT count(*) FROM pg_temp.holders(mals_fingerprint('Session of Jane Doe ended')::text) WHERE relation <> 'mals.audit'::regclass;
SELECT agent_id, count(*), min(metadata ->> 'i') IS NOT NULL AS whole FROM mals.entries GROUP BY 1 ORDER BY 1;
SELECT message, resolved, resolved_by FROM mals_get(:'kept');
-- Templates that entries are left of have one for a sample
SELECT t.template, e.agent_id FROM mals.templates t LEFT JOIN mals.entries e ON e.id = t.sample_id ORDER BY 1;
SELECT group_id = fingerprint AS alone FROM mals._templates WHERE template = 'Nothing to forget';
-- and a new entry of a kind that was forgotten is seen again
SELECT mals_log('forget-2', 'Jane Doe cannot log in') IS NOT NULL AS logged;
SELECT count(*) FROM mals.templates WHERE template = 'Jane Doe cannot log in';

-- What the audit says
SELECT who, login = session_user AS login, action, query, entries, reason, archives, at <= clock_timestamp() AS past FROM mals.audit WHERE action = 'forget' ORDER BY at;

-- All or nothing
BEGIN;
SELECT mals_forget('', false) > 0 AS forgotten;
SELECT count(*) AS entries, (SELECT count(*) FROM mals._templates) AS templates FROM mals.entries;
ROLLBACK;
SELECT count(*) > 10000 AS back FROM mals.entries;

-- Errors
SELECT mals_forget(NULL);
SELECT mals_forget('level:loud', false);
BEGIN READ ONLY;
SELECT mals_forget('agent:forget-2') > 0 AS counted;
SELECT mals_forget('', false);
ROLLBACK;
SELECT mals_revoke('mals_test_admin', 'admin'), mals_revoke('mals_test_reader', 'reader');
DROP ROLE mals_test_admin, mals_test_reader;
TRUNCATE mals.entries, mals._sights, mals._templates, mals._groups, mals._hand_merges, mals._hand_splits, mals.error_status, mals.resolutions, mals.audit;
SELECT mals_drop_retention();
