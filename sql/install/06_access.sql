-- Roles that are bound to agents, and the audit.
--
-- Row security: every table of schema mals has a policy that lets all rows
-- pass, and a restrictive one for roles that mals_bind_agent has bound
-- (99_access.sql). The functions those call are replaced when a query is
-- planned: by true for whoever is not bound, so that row security costs such a
-- user nothing, and by a comparison of agent_id with constants for the others.

CREATE TABLE mals.agent_bindings (
  role       regrole PRIMARY KEY,
  agent_glob text    NOT NULL CHECK (agent_glob <> '')
);
COMMENT ON TABLE mals.agent_bindings IS 'Roles that may log only as, and read only of, some agents. Written by mals_bind_agent.';
COMMENT ON COLUMN mals.agent_bindings.role IS 'The role; roles that inherit its privileges are bound, too.';
COMMENT ON COLUMN mals.agent_bindings.agent_glob IS 'The agents: * stands for any text, all else is literal.';
-- A role that was dropped is not dumped.
SELECT pg_catalog.pg_extension_config_dump('mals.agent_bindings',
  'WHERE role OPERATOR(pg_catalog.=) ANY (SELECT r.oid FROM pg_catalog.pg_roles r)');

CREATE FUNCTION mals._binding_change() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'mals_binding_change';
COMMENT ON FUNCTION mals._binding_change() IS 'Tells all sessions that bindings have changed.';
CREATE TRIGGER _binding_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON mals.agent_bindings
  FOR EACH STATEMENT EXECUTE FUNCTION mals._binding_change();
ALTER TABLE mals.agent_bindings ENABLE ALWAYS TRIGGER _binding_change;

CREATE FUNCTION mals._binding_support(internal) RETURNS internal
  LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'mals_binding_support';
COMMENT ON FUNCTION mals._binding_support(internal) IS 'Replaces mals._is_own and mals._is_free when a query is planned.';
CREATE FUNCTION mals._is_own(agent_id text) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE SUPPORT mals._binding_support
  AS 'MODULE_PATHNAME', 'mals_is_own';
COMMENT ON FUNCTION mals._is_own(text) IS 'Tells whether the current user may log as and read of an agent. For policies only: plans of other queries would keep what it said for another user.';
CREATE FUNCTION mals._is_free() RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE SUPPORT mals._binding_support
  AS 'MODULE_PATHNAME', 'mals_is_free';
COMMENT ON FUNCTION mals._is_free() IS 'Tells whether the current user is bound to no agent. For policies only, as mals._is_own.';
CREATE FUNCTION mals._is_bound() RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_is_bound_now';
COMMENT ON FUNCTION mals._is_bound() IS 'Tells whether the current user is bound to agents.';
CREATE FUNCTION mals._is_caller_bound() RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_is_caller_bound';
COMMENT ON FUNCTION mals._is_caller_bound() IS 'Tells whether the user outside of all SECURITY DEFINER functions is bound to agents.';
CREATE FUNCTION mals._sees(entry_id uuid) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'mals_sees';
COMMENT ON FUNCTION mals._sees(uuid) IS 'Tells whether the current user may read the entry with an id.';

-- What was done, by whom. Functions write it as its owner; nobody else can.
CREATE TABLE mals.audit (
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  who      text        NOT NULL DEFAULT CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END,
  login    text        NOT NULL DEFAULT session_user,
  action   text        NOT NULL,
  query    text,
  entries  bigint,
  ids      uuid[],
  reason   text,
  archives text[],
  detail   jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON mals.audit (at);
COMMENT ON TABLE mals.audit IS
  'Who did what, and when: resolves, ignores, merges, grants, bindings, changes of policies, what was forgotten. Rows are only added.';
COMMENT ON COLUMN mals.audit.at IS 'When it was done.';
COMMENT ON COLUMN mals.audit.who IS 'The role that did it (current_user).';
COMMENT ON COLUMN mals.audit.login IS 'The role that had logged in (session_user).';
COMMENT ON COLUMN mals.audit.action IS 'What was done: the name of the function without mals_.';
COMMENT ON COLUMN mals.audit.query IS 'The query that said which entries.';
COMMENT ON COLUMN mals.audit.entries IS 'How many entries it was done to.';
COMMENT ON COLUMN mals.audit.ids IS 'Their ids, or the first hundred.';
COMMENT ON COLUMN mals.audit.reason IS 'The reason or note given.';
COMMENT ON COLUMN mals.audit.archives IS 'Archives that may still hold what was forgotten.';
COMMENT ON COLUMN mals.audit.detail IS 'What else there is to say: the role and privilege of a grant, the fingerprint of a group.';
SELECT pg_catalog.pg_extension_config_dump('mals.audit', '');
