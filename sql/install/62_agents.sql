-- Agents that say that they are there.

-- One row an agent, which only its heartbeats change; no index holds what they
-- change, and pages have room for the new versions.
CREATE TABLE mals.agents (
  agent_id       text        COLLATE "C" PRIMARY KEY,
  agent_type     text,
  capabilities   text[],
  metadata       jsonb,
  heartbeat      interval,
  registered_at  timestamptz NOT NULL,
  last_heartbeat timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE mals.agents IS
  'Agents that registered or sent a heartbeat; see mals_agents for all agents and their status. Written by mals_agent_register and mals_heartbeat.';
COMMENT ON COLUMN mals.agents.agent_id IS 'As in the entries that it logs.';
COMMENT ON COLUMN mals.agents.agent_type IS 'What kind of agent it is, such as planner.';
COMMENT ON COLUMN mals.agents.capabilities IS 'What it can do.';
COMMENT ON COLUMN mals.agents.metadata IS 'Anything else, a JSON object.';
COMMENT ON COLUMN mals.agents.heartbeat IS 'How often it promises a heartbeat; NULL is 5 minutes.';
COMMENT ON COLUMN mals.agents.registered_at IS 'When it was first heard of in this table.';
COMMENT ON COLUMN mals.agents.last_heartbeat IS 'When it registered or sent a heartbeat last.';
SELECT pg_catalog.pg_extension_config_dump('mals.agents', '');

CREATE FUNCTION mals_agent_register(agent_id text, agent_type text DEFAULT NULL,
  capabilities text[] DEFAULT NULL, metadata jsonb DEFAULT NULL, heartbeat interval DEFAULT NULL)
  RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_agent_register(text, text, text[], jsonb, interval) IS
  'Says who an agent is and counts as a heartbeat: its type, capabilities, metadata (a JSON object) and how often it will send a heartbeat (default 5 minutes; mals_agents calls it active until twice that has passed). Calling it again changes what is given and leaves what is NULL. An agent need not register to log. agent_id NULL is the session''s mals.agent_id. Errors: 22004 without an agent; 22023 for an agent_id of more than 64 characters, metadata that is no object, a heartbeat that is not above zero or is over a year.';

CREATE FUNCTION mals_heartbeat(agent_id text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_heartbeat(text) IS
  'Says that an agent is there; mals_agents then shows it as active. Registers an agent that has not. Call it in a transaction of its own, every 5 minutes or as often as it was registered with; agents do not wait for each other. agent_id NULL is the session''s mals.agent_id. Errors: 22004 without an agent; 22023 for an agent_id of more than 64 characters.';
