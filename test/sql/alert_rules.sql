-- Rules of alerts: arguments, and what fires. Turns are taken by calling the evaluation.
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- Shows how a statement fails.
CREATE FUNCTION pg_temp.failure(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  hint text;
BEGIN
  EXECUTE statement;
  RETURN 'no error';
EXCEPTION WHEN others THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
  RETURN SQLSTATE || ' ' || message || CASE WHEN hint = '' THEN ' (no hint)' ELSE '' END;
END
$$;

SELECT arguments, pg_temp.failure(format('SELECT mals_alert_set(%s)', arguments)) FROM unnest(ARRAY[
  $$NULL, ''$$, $$'', ''$$, $$E'a\nb', ''$$, $$repeat('x', 129), ''$$, $$'a', NULL$$,
  $$'a', 'level:loud'$$, $$'a', '/(/'$$, $$'a', 'nosuch:x'$$,
  $$'a', '', NULL$$, $$'a', '', 0$$, $$'a', '', -1$$,
  $$'a', '', 1, NULL$$, $$'a', '', 1, '0'$$, $$'a', '', 1, '-1 s'$$, $$'a', '', 1, '2 years'$$,
  $$'a', '', 1, '1 day -1 hour'$$,
  $$'a', '', 1, '1 s', NULL$$, $$'a', '', 1, '1 s', '-1 s'$$, $$'a', '', 1, '1 s', '1000 days'$$,
  $$'a', '', channels => NULL$$, $$'a', '', channels => '"notify"'$$, $$'a', '', channels => '{}'$$,
  $$'a', '', channels => '["mail"]'$$, $$'a', '', channels => '["notify", 1]'$$, $$'a', '', channels => '[null]'$$,
  $$'a', '', channels => '[[]]'$$, $$'a', '', channels => '[{}]'$$, $$'a', '', channels => '[{"hook": "x"}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "more": 1}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "email": "a@b"}]'$$,
  $$'a', '', channels => '[{"webhook": 1}]'$$, $$'a', '', channels => '[{"webhook": ""}]'$$,
  $$'a', '', channels => '[{"webhook": "example.com"}]'$$, $$'a', '', channels => '[{"webhook": "ftp://secret/"}]'$$,
  $$'a', '', channels => '[{"webhook": "file:///etc/passwd"}]'$$, $$'a', '', channels => '[{"webhook": "http://"}]'$$,
  $$'a', '', channels => '[{"webhook": "gopher://secret/"}]'$$, $$'a', '', channels => '[{"webhook": "http://h/a b"}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/\r\nX: y"}]'$$, $$'a', '', channels => '[{"webhook": "http://h:99999/"}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "headers": []}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "headers": {"a": 1}}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "headers": {"a": "x\r\ny"}}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "headers": {"a b": "x"}}]'$$,
  $$'a', '', channels => '[{"webhook": "http://h/", "headers": {"Content-Length": "0"}}]'$$,
  $$'a', '', channels => '[{"headers": {}}]'$$,
  $$'a', '', channels => '[{"email": "ops"}]'$$, $$'a', '', channels => '[{"email": "a@b, c@d"}]'$$,
  $$'a', '', channels => '[{"email": "a@b\r\nBcc: c@d"}]'$$, $$'a', '', channels => '[{"email": "<a@b>"}]'$$,
  $$'a', '', channels => '[{"email": "Ops <a@b>"}]'$$,
  $$'a', '', channels => to_jsonb(array_fill('notify'::text, '{17}'))$$,
  $$'a', '', on_state => 'old'$$, $$'a', '', on_state => ''$$
]) AS arguments;
SELECT pg_temp.failure('SELECT mals_alert_drop(NULL)'), pg_temp.failure('SELECT mals_alert_test(NULL)'),
       pg_temp.failure($$SELECT mals_alert_test('no such rule')$$);
BEGIN READ ONLY;
SELECT mals_alert_set('a', '');
ROLLBACK;
SELECT count(*) AS rules FROM mals.alert_rules;

-- What a rule looks like, to an admin and to others.
SELECT mals_alert_set('hooks', 'level:error', channels =>
  '["notify", {"webhook": "https://user:token@hooks.example.com:8443/services/token?token=token#token", "headers": {"X-Token": "token"}},
    {"webhook": "http://[::1]/token"}, {"email": "ops@example.com"}]');
CREATE ROLE alert_reader;
CREATE ROLE alert_admin;
SELECT mals_grant('alert_reader', 'reader'), mals_grant('alert_admin', 'admin');
SET ROLE alert_reader;
SELECT name, query, threshold, within, cooldown, channels, on_state, error FROM mals.alert_rules;
SELECT count(*) FROM mals.alerts;
SELECT pg_temp.failure(s) FROM unnest(ARRAY['SELECT * FROM mals._alert_rules', 'SELECT * FROM mals._alert_deliveries',
  $$SELECT mals_alert_set('a', '')$$, $$SELECT mals_alert_drop('hooks')$$, $$SELECT mals_alert_test('hooks')$$,
  'SELECT mals_alert_defaults()', 'SELECT mals._alerts_evaluate()']) AS s;
SET ROLE alert_admin;
SELECT channels->1 AS channel FROM mals.alert_rules;
SELECT mals_alert_defaults('[]') AS set;
SELECT name, query, threshold, within, cooldown, channels, on_state FROM mals.alert_rules ORDER BY name;
SELECT mals_alert_test('new error') IS NOT NULL AS fired;
SELECT rule, count, state, delivered_at IS NOT NULL AS delivered FROM mals.alerts;
SELECT name, mals_alert_drop(name) AS dropped, mals_alert_drop(name) AS again FROM mals.alert_rules ORDER BY name;
SELECT action, query, detail FROM mals.audit WHERE action LIKE 'alert%' AND detail->>'rule' = 'hooks' ORDER BY at;
RESET ROLE;
-- A reader that is bound to agents sees no alerts, which count the entries of all, and no rules.
INSERT INTO mals.alerts (fired_at, rule, count, state, agent_id) VALUES (now(), 'bound', 1, 'threshold', 'alert-1'),
  (now(), 'bound', 1, 'threshold', 'other'), (now(), 'bound', 0, 'silent', NULL);
SELECT mals_bind_agent('alert_reader', 'alert-*');
SELECT mals_alert_set('bound', '');
SET ROLE alert_reader;
SELECT rule, agent_id FROM mals.alerts WHERE rule = 'bound';
SELECT count(*) AS rules FROM mals.alert_rules;
RESET ROLE;
SELECT mals_alert_drop('bound');
DELETE FROM mals.agent_bindings WHERE role = 'alert_reader'::regrole;
SELECT mals_revoke('alert_reader', 'reader'), mals_revoke('alert_admin', 'admin');
DROP ROLE alert_reader, alert_admin;
DELETE FROM mals.alerts;

-- Shows what fired since it was asked last.
CREATE FUNCTION pg_temp.turn() RETURNS TABLE (rule text, count bigint, state text, message text, one_group boolean, agent_id text)
LANGUAGE plpgsql AS $$
DECLARE
  fired bigint := mals._alerts_evaluate();
BEGIN
  RETURN QUERY
    WITH gone AS (UPDATE mals.alerts a SET attempts = 1 WHERE a.attempts = 0 RETURNING a.*)
    SELECT g.rule::text, g.count, g.state, l.message, g.fingerprint IS NOT NULL, g.agent_id::text
      FROM gone g LEFT JOIN mals.logs l ON l.id = g.sample_id ORDER BY g.rule, l.message, g.agent_id;
END
$$;
-- Logs for the test's agent, so long ago; returns nothing.
CREATE FUNCTION pg_temp.log(message text, ago interval DEFAULT '0', agent text DEFAULT 'alert-1', level mals_level DEFAULT 'error')
RETURNS void LANGUAGE sql AS $$ SELECT mals_log(agent, message, level, ts => clock_timestamp() - ago) $$;

-- A threshold of one: an alert for each group, then none during the cooldown.
SELECT pg_temp.log('alpha before');
SELECT mals_alert_set('one', 'agent:alert-* level:error', channels => '[]');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('alpha is down, try 1'), pg_temp.log('alpha is down, try 2'), pg_temp.log('beta has failed'),
       pg_temp.log('gamma talks', level => 'info'), pg_temp.log('alpha of another', agent => 'other');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('alpha is down, try 3');
SELECT * FROM pg_temp.turn();
-- What comes during the cooldown does not fire after it; what comes after it does.
UPDATE mals.alerts SET fired_at = fired_at - interval '6 minutes';
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('alpha is down, try 4');
SELECT * FROM pg_temp.turn();
-- A change of the cooldown or the channels leaves the rest as it is.
SELECT mals_alert_set('one', 'agent:alert-* level:error', cooldown => '0', channels => '[]');
SELECT pg_temp.log('alpha is down, try 5');
SELECT * FROM pg_temp.turn();
SELECT * FROM pg_temp.turn();
-- Ignored groups do not count.
SELECT mals_ignore_error(mals_fingerprint('alpha is down, try 6'));
SELECT pg_temp.log('alpha is down, try 6');
SELECT * FROM pg_temp.turn();
SELECT mals_reopen_error(mals_fingerprint('alpha is down, try 6'));
SELECT mals_alert_drop('one');

-- A threshold within an interval: by the entries' own time, in any order, over several turns.
SELECT mals_alert_set('burst', 'agent:alert-* level:error', 3, '5 minutes', '1 hour', '[]');
SELECT pg_temp.log('delta 1', '20 minutes'), pg_temp.log('delta 2', '14 minutes');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('delta 3', '8 minutes');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('delta 4', '10 minutes');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('delta 5', '11 minutes'), pg_temp.log('delta 6', '30 minutes');
SELECT * FROM pg_temp.turn();
-- Several groups together; a group alone comes first.
SELECT pg_temp.log('epsilon is red'), pg_temp.log('zeta is green');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('eta is blue');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('epsilon is red'), pg_temp.log('zeta is green'), pg_temp.log('eta is blue');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('epsilon is red'), pg_temp.log('epsilon is red');
SELECT * FROM pg_temp.turn();
SELECT count(*) = 0 AS none FROM mals._alert_matches m JOIN mals.logs l ON l.id = m.entry_id WHERE l.message LIKE 'epsilon%';
-- Another threshold begins anew.
SELECT mals_alert_set('burst', 'agent:alert-* level:error', 2, '5 minutes', '0', '[]');
SELECT count(*) AS waiting FROM mals._alert_matches;
SELECT pg_temp.log('theta 1');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('theta 2');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('theta 3');
SELECT * FROM pg_temp.turn();
-- What has waited for too long is given up.
UPDATE mals._alert_matches SET seen_at = seen_at - interval '66 minutes';
SELECT pg_temp.log('iota 1', '1 day');
SELECT * FROM pg_temp.turn();
SELECT l.message FROM mals._alert_matches m JOIN mals.logs l ON l.id = m.entry_id;
SELECT mals_alert_drop('burst');
SELECT count(*) AS waiting FROM mals._alert_matches;

-- New groups, once.
SELECT pg_temp.log('kappa was there before');
SELECT mals_alert_set('new', 'agent:alert-* level:error', cooldown => '0', channels => '[]', on_state => 'new');
SELECT pg_temp.log('kappa was there before'), pg_temp.log('lambda is 1 of a kind');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('lambda is 2 of a kind'), pg_temp.log('mu is quiet', level => 'info');
SELECT * FROM pg_temp.turn();
SELECT mals_maintain() IS NOT NULL AS folded;
SELECT pg_temp.log('lambda is 3 of a kind'), pg_temp.log('mu is quiet');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('mu is quiet');
SELECT * FROM pg_temp.turn();
-- but not a day after their first entry, whether or not that matched
SELECT pg_temp.log('nu sleeps', '2 days', level => 'info');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('nu sleeps');
SELECT * FROM pg_temp.turn();
SELECT mals_alert_drop('new');

-- Regressed groups, once for each resolution.
SELECT mals_alert_set('regressed', 'agent:alert-*', cooldown => '0', channels => '[]', on_state => 'regressed');
SELECT pg_temp.log('xi 1');
SELECT * FROM pg_temp.turn();
SELECT mals_resolve_error(mals_fingerprint('xi 1'));
SELECT pg_temp.log('xi 2', '1 minute');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('xi 3'), pg_temp.log('xi 4');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('xi 5');
SELECT * FROM pg_temp.turn();
SELECT mals_resolve_error(mals_fingerprint('xi 1'));
SELECT * FROM pg_temp.turn();
SELECT pg_temp.log('xi 6');
SELECT * FROM pg_temp.turn();
SELECT mals_alert_drop('regressed');

-- Silence: of everything that matches, and of each agent.
CREATE FUNCTION pg_temp.later(by interval) RETURNS void LANGUAGE sql AS $$
  UPDATE mals._alert_seen SET last_seen = last_seen - by, fired_at = fired_at - by
$$;
SELECT mals_alert_set('dead', 'agent:alert-9', within => '1 hour', cooldown => '3 hours', channels => '[]', on_state => 'silent');
SELECT mals_alert_set('each', 'agent:alert-*', within => '1 hour', cooldown => '0', channels => '[]', on_state => 'silent_agent');
-- (050_alert_rules.pl waits until they fire)
SELECT pg_temp.log('omicron', agent => 'alert-7'), pg_temp.log('omicron', agent => 'alert-8');
SELECT * FROM pg_temp.turn();
SELECT pg_temp.later('59 minutes');
SELECT * FROM pg_temp.turn();
SELECT rule, agent_id FROM mals._alert_seen ORDER BY 1, 2;
SELECT mals_alert_drop('dead'), mals_alert_drop('each');
-- Agents are seen from where the cursor is, also within a transaction; and by what became of entries.
SELECT mals_alert_set('each', 'agent:alert-*', channels => '[]', on_state => 'silent_agent');
SELECT mals_alert_set('mended', 'agent:alert-* resolved:yes', channels => '[]', on_state => 'silent_agent');
INSERT INTO mals.logs (agent_id, message) SELECT 'alert-' || i, 'pi' FROM generate_series(1, 4) i;
UPDATE mals._alert_state SET cursor = (SELECT next_cursor FROM mals_tail('agent:alert-*', cursor, '0', 2) OFFSET 1) WHERE rule = 'each';
SELECT mals_resolve(id) FROM mals.logs WHERE message = 'pi' AND agent_id IN ('alert-1', 'alert-4');
SELECT pg_temp.log('pi', agent => 'alert-5');
SELECT * FROM pg_temp.turn();
SELECT rule, agent_id, last_seen = (SELECT max(l.created_at) FROM mals.logs l WHERE l.agent_id = s.agent_id AND message = 'pi') AS right_time
  FROM mals._alert_seen s ORDER BY 1, 2;
SELECT mals_alert_drop('mended');
SELECT mals_alert_drop('each');

-- A rule that fails says so, and does not stop the others.
SELECT mals_alert_set('good', 'agent:alert-*', channels => '[]'), mals_alert_set('bad', 'agent:alert-*', channels => '[]');
UPDATE mals._alert_rules SET query = 'level:' WHERE name = 'bad';
SELECT pg_temp.log('pi');
\set VERBOSITY terse
SELECT rule, message FROM pg_temp.turn();
SELECT rule, message FROM pg_temp.turn();
\set VERBOSITY default
SELECT name, error FROM mals.alert_rules ORDER BY name;
SELECT mals_alert_set('bad', 'agent:alert-*', channels => '[]');
SELECT rule, message FROM pg_temp.turn();
-- A cursor that is of no use here begins anew.
UPDATE mals._alert_state SET cursor = 'm1.1.2.....0' WHERE rule = 'bad';
SELECT pg_temp.log('rho');
SELECT rule, message FROM pg_temp.turn();
SELECT pg_temp.log('sigma');
SELECT rule, message FROM pg_temp.turn();
DELETE FROM mals._alert_state;
SELECT pg_temp.log('tau');
SELECT rule, message FROM pg_temp.turn();
SELECT pg_temp.log('upsilon');
SELECT rule, message FROM pg_temp.turn();
SELECT mals_alert_drop('good'), mals_alert_drop('bad');

-- What is forgotten takes its alerts along.
SELECT mals_forget('agent:alert-1 "rho"', false) AS forgotten;
SELECT count(*) AS alerts FROM mals.alerts a WHERE a.sample_id IS NOT NULL AND NOT EXISTS (SELECT FROM mals.logs l WHERE l.id = a.sample_id);

-- Alerts expire.
UPDATE mals.alerts SET fired_at = now() - interval '91 days' WHERE rule = 'good';
SELECT mals._expire_alerts() = (SELECT count(*) FROM mals.alerts WHERE rule = 'good') AS expired;
SELECT count(*) AS good FROM mals.alerts WHERE rule = 'good';
DELETE FROM mals.alerts;
