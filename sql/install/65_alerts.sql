-- Alerts: rules, what they have fired, and what is still to be delivered.
--
-- The worker evaluates each rule on what was committed since its cursor
-- (src/alert/evaluate.c), and delivers in a process of its own
-- (src/alert/deliver.c). Rules and the history of alerts are dumped; cursors,
-- what they lead up to, and deliveries belong to this server and are not.

CREATE TABLE mals._alert_rules (
  name       text COLLATE "C" PRIMARY KEY,
  query      text        NOT NULL,
  threshold  int         NOT NULL,
  within     interval    NOT NULL,
  cooldown   interval    NOT NULL,
  channels   jsonb       NOT NULL,
  on_state   text,
  created_at timestamptz NOT NULL
);
COMMENT ON TABLE mals._alert_rules IS 'Alert rules with the secrets of their channels; written by mals_alert_set and mals_alert_drop.';

CREATE TABLE mals._alert_state (
  rule   text COLLATE "C" PRIMARY KEY REFERENCES mals._alert_rules ON DELETE CASCADE,
  since  text NOT NULL,
  cursor text NOT NULL,
  error  text
);
COMMENT ON TABLE mals._alert_state IS 'How far each rule has been evaluated: the cursor when it was set (since), the one of its last turn, and why that failed.';

CREATE TABLE mals._alert_matches (
  rule        text COLLATE "C" NOT NULL REFERENCES mals._alert_rules ON DELETE CASCADE,
  entry_id    uuid        NOT NULL,
  ts          timestamptz NOT NULL,
  created_at  timestamptz NOT NULL,
  fingerprint bigint      NOT NULL,
  agent_id    text COLLATE "C" NOT NULL,
  seen_at     timestamptz NOT NULL,
  PRIMARY KEY (rule, entry_id)
);
COMMENT ON TABLE mals._alert_matches IS 'Entries that count towards the threshold of a rule and have fired nothing yet.';

CREATE TABLE mals._alert_seen (
  rule      text COLLATE "C" NOT NULL REFERENCES mals._alert_rules ON DELETE CASCADE,
  agent_id  text COLLATE "C" NOT NULL,
  last_seen timestamptz NOT NULL,
  fired_at  timestamptz,
  PRIMARY KEY (rule, agent_id)
);
COMMENT ON TABLE mals._alert_seen IS 'When entries last matched a rule that watches for silence: any (agent_id is empty), or of each agent; and when an alert last said that they stopped.';

CREATE TABLE mals.alerts (
  fired_at     timestamptz NOT NULL,
  rule         text COLLATE "C" NOT NULL,
  count        bigint      NOT NULL,
  sample_id    uuid,
  delivered_at timestamptz,
  attempts     int         NOT NULL DEFAULT 0,
  last_error   text,
  id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
  state        text        NOT NULL,
  fingerprint  bigint,
  agent_id     text COLLATE "C"
);
CREATE INDEX alerts_rule ON mals.alerts (rule, fired_at);
CREATE INDEX alerts_fired_at ON mals.alerts (fired_at);
COMMENT ON TABLE mals.alerts IS 'Alerts that were fired, kept for mals.alert_retention. Written by the background worker, and by mals_alert_test.';
COMMENT ON COLUMN mals.alerts.fired_at IS 'When the alert was fired.';
COMMENT ON COLUMN mals.alerts.rule IS 'Name of the rule.';
COMMENT ON COLUMN mals.alerts.count IS 'Entries that the alert counts: those that matched within the rule''s interval; 0 for silence and for tests.';
COMMENT ON COLUMN mals.alerts.sample_id IS 'The latest of these entries.';
COMMENT ON COLUMN mals.alerts.delivered_at IS 'When the last channel had it; NULL while a delivery is due, and for good after one was given up.';
COMMENT ON COLUMN mals.alerts.attempts IS 'Deliveries tried, of the channel that took most.';
COMMENT ON COLUMN mals.alerts.last_error IS 'Why a delivery last failed, with the number of the channel; without addresses and secrets.';
COMMENT ON COLUMN mals.alerts.id IS 'The alert''s id; with the number of the channel it is the Idempotency-Key of a delivery.';
COMMENT ON COLUMN mals.alerts.state IS 'What fired: threshold, new, regressed, silent, silent_agent or test.';
COMMENT ON COLUMN mals.alerts.fingerprint IS 'The group of the entries, NULL if they are of several groups.';
COMMENT ON COLUMN mals.alerts.agent_id IS 'The agent of the sample, or the one that fell silent.';

CREATE TABLE mals._alert_deliveries (
  alert    uuid  NOT NULL REFERENCES mals.alerts ON DELETE CASCADE,
  channel  int   NOT NULL,
  target   jsonb NOT NULL,
  attempts int   NOT NULL DEFAULT 0,
  due_at   timestamptz,
  PRIMARY KEY (alert, channel)
);
CREATE INDEX _alert_deliveries_due_at ON mals._alert_deliveries (due_at);
COMMENT ON TABLE mals._alert_deliveries IS 'Deliveries that are due (due_at NULL: given up), one row for each alert and channel; the row goes when the channel has it.';

SELECT pg_catalog.pg_extension_config_dump('mals._alert_rules', '');
SELECT pg_catalog.pg_extension_config_dump('mals.alerts', '');

-- Who may not read mals._alert_rules sees of a webhook the host only; who is
-- bound to agents sees no rules.
CREATE VIEW mals.alert_rules AS
  SELECT r.name, r.query, r.threshold, r.within, r.cooldown,
         CASE WHEN has_table_privilege('mals._alert_rules', 'SELECT') THEN r.channels
              ELSE (SELECT COALESCE(jsonb_agg(
                             CASE WHEN c.channel ? 'webhook' THEN jsonb_build_object('webhook',
                                    COALESCE(substring(c.channel->>'webhook' FROM '^([A-Za-z]+://)'), '')
                                    || COALESCE(substring(c.channel->>'webhook' FROM E'^[A-Za-z]+://(?:[^/?#\\\\]*@)?([A-Za-z0-9._:[\\]-]+)(?:[/?#]|$)'), '...')
                                    || '/...')
                                  ELSE c.channel END ORDER BY c.n), '[]')
                      FROM jsonb_array_elements(r.channels) WITH ORDINALITY AS c (channel, n))
         END AS channels,
         r.on_state, r.created_at, s.error
    FROM mals._alert_rules r LEFT JOIN mals._alert_state s ON s.rule = r.name
   WHERE NOT mals._is_bound();
COMMENT ON VIEW mals.alert_rules IS
  'Alert rules: name, query, threshold, within, cooldown, channels (for all but admins without headers and with the host only of a webhook), on_state, created_at, error (why the rule could not be evaluated at its last turn, NULL if it could).';

CREATE FUNCTION mals_alert_set(name text, query text, threshold int DEFAULT 1,
  within interval DEFAULT '5 minutes', cooldown interval DEFAULT '5 minutes',
  channels jsonb DEFAULT '["notify"]', on_state text DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_alert_set(text, text, int, interval, interval, jsonb, text) IS
  'Makes an alert rule, or changes the one of that name. An alert fires when threshold (default 1) entries that match the query (see mals_search) lie within an interval (default 5 minutes) by their time ts, of one group or, if no group alone reaches it, together; then not again for the same rule and group during cooldown (default 5 minutes). It counts entries committed after the rule was set, each once. on_state: new = only groups never seen before; regressed = only groups that came back after mals_resolve_error, once each time; silent = fires when no entry has matched within the interval; silent_agent = the same for each agent that has matched before. channels: a JSON array of "notify" (NOTIFY mals_alert), {"webhook": url, "headers": {...}} (POST of JSON), {"email": address}; [] only records the alert in mals.alerts. Evaluated and delivered by the background worker, or by mals_maintain(). Errors: 22004 for NULL, 22023 for a query that does not parse, a threshold below 1, intervals out of range, a bad channel, an unknown on_state.';

CREATE FUNCTION mals_alert_drop(name text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_alert_drop(text) IS
  'Drops an alert rule and cancels its deliveries; alerts it has fired stay in mals.alerts. Returns whether there was one. Errors: 22004 for NULL.';

CREATE FUNCTION mals_alert_test(name text) RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_alert_test(text) IS
  'Fires a test alert of a rule through all its channels, whatever its cooldown, and returns the alert''s id: see delivered_at, attempts and last_error in mals.alerts. Sent after the caller commits, by the background worker or by mals_maintain(). Errors: P0002 if there is no such rule; 22004 for NULL.';

CREATE FUNCTION mals_alert_defaults(channels jsonb DEFAULT '["notify"]') RETURNS int
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM @extschema@.mals_alert_set('new error', 'level:error', 1, '5 minutes', '5 minutes', channels, 'new'),
          @extschema@.mals_alert_set('regressed error', 'level:error', 1, '5 minutes', '5 minutes', channels, 'regressed'),
          @extschema@.mals_alert_set('error burst', 'level:error', 50, '5 minutes', '30 minutes', channels),
          @extschema@.mals_alert_set('silent agent', '', 1, '1 hour', '1 hour', channels, 'silent_agent');
  RETURN 4;
END
$$;
COMMENT ON FUNCTION mals_alert_defaults(jsonb) IS
  'Sets the default alert rules, with the channels given (see mals_alert_set): "new error" and "regressed error" (a group of errors that was never seen before, or came back after it was resolved), "error burst" (50 errors within 5 minutes), "silent agent" (an agent that has logged and has not for an hour). Rules of these names are replaced. Returns how many it set. Errors: as mals_alert_set.';

CREATE FUNCTION mals._alerts_evaluate() RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'mals_alerts_evaluate';
COMMENT ON FUNCTION mals._alerts_evaluate() IS 'Evaluates all rules on what was committed since their last turn; returns how many alerts fired.';

CREATE FUNCTION mals._cursor_saw(cursor text, xact bigint) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'mals_cursor_saw_stamp';
COMMENT ON FUNCTION mals._cursor_saw(text, bigint) IS 'Whether a cursor has seen the transaction of a stamp; one of another cluster counts as seen.';

-- What is sent: an alert as JSON, of its sample's message so many characters,
-- or no more of it than its id (characters < 0).
CREATE FUNCTION mals._alert_payload(alert uuid, characters int, is_full boolean) RETURNS jsonb
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_object('id', a.id, 'rule', a.rule, 'state', a.state, 'fired_at', a.fired_at,
           'count', a.count, 'database', current_database(), 'fingerprint', a.fingerprint,
           'agent_id', a.agent_id, 'entry',
           CASE WHEN characters < 0 THEN jsonb_build_object('id', a.sample_id)
                ELSE (SELECT jsonb_build_object('id', l.id, 'ts', l.ts, 'level', l.level::text,
                               'agent_id', l.agent_id, 'message', left(l.message, characters),
                               'category', l.category, 'source', l.source, 'session_key', l.session_key,
                               'trace_id', l.trace_id, 'correlation_id', l.correlation_id)
                             || CASE WHEN is_full AND pg_column_size(l.metadata) < 16384
                                     THEN jsonb_build_object('metadata', l.metadata) ELSE '{}' END
                        FROM mals.entries l
                       WHERE l.ts = @extschema@.mals_id_ts(a.sample_id) AND l.id = a.sample_id) END)
         || CASE WHEN is_full THEN jsonb_build_object('query', r.query, 'threshold', r.threshold,
                                     'within', r.within) ELSE '{}' END
    FROM mals.alerts a LEFT JOIN mals._alert_rules r ON r.name = a.rule
   WHERE a.id = alert
$$;
COMMENT ON FUNCTION mals._alert_payload(uuid, int, boolean) IS 'An alert as JSON, as it is sent.';

-- An alert as mail, made of its JSON.
CREATE FUNCTION mals._alert_mail(payload jsonb, OUT subject text, OUT body text)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH alert AS (
    SELECT payload->>'rule' AS rule, payload->>'state' AS state, payload->>'count' AS count,
           payload->>'agent_id' AS agent, payload->'entry' AS entry)
  SELECT format('[mals] %s: %s', rule, left(split_part(CASE
           WHEN state = 'test' THEN 'test'
           WHEN state = 'silent' THEN 'no entry matches any more'
           WHEN state = 'silent_agent' THEN format('%s is silent', agent)
           ELSE COALESCE(entry->>'message', format('%s entries', count)) END, E'\n', 1), 150)),
         concat_ws(E'\n', format('%s (%s)', rule, state), NULL,
           'Fired:    ' || (payload->>'fired_at'), 'Database: ' || (payload->>'database'),
           'Query:    ' || NULLIF(payload->>'query', ''), 'Entries:  ' || count, 'Agent:    ' || agent,
           'Group:    ' || (payload->>'fingerprint'), 'Sample:   ' || (entry->>'id'),
           'Time:     ' || (entry->>'ts'), 'Level:    ' || (entry->>'level'),
           'Trace:    ' || (entry->>'trace_id'), 'Request:  ' || (entry->>'correlation_id'),
           E'\n' || (entry->>'message'),
           E'\n' || jsonb_pretty(NULLIF(entry->'metadata', '{}'))) || E'\n'
    FROM alert
$$;
COMMENT ON FUNCTION mals._alert_mail(jsonb) IS 'Subject and body of the mail for an alert.';

CREATE FUNCTION mals._expire_alerts() RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
  WITH expired AS (
    SELECT clock_timestamp() - mals._maintenance_setting('mals.alert_retention')::interval AS at),
  agents AS (
    DELETE FROM mals._alert_seen WHERE agent_id <> '' AND last_seen < (SELECT at FROM expired)),
  alerts AS (
    DELETE FROM mals.alerts WHERE fired_at < (SELECT at FROM expired) RETURNING 1)
  SELECT count(*) FROM alerts
$$;
COMMENT ON FUNCTION mals._expire_alerts() IS 'Deletes alerts older than mals.alert_retention; returns how many.';
