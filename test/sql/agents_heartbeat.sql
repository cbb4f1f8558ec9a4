-- mals_agent_register, mals_heartbeat, and agents' status in mals_agents
SET timezone = 'UTC';
SET datestyle = 'ISO';
TRUNCATE mals.entries, mals._sights, mals._templates, mals.agents;
SELECT mals_agent_register('h-full', 'planner', '{plan,act}', '{"model": "large"}', '1 minute');
SELECT mals_agent_register('h-bare');
SELECT mals_heartbeat('h-beat');
SELECT mals_log('h-logs', 'here'), mals_log('h-late', 'long ago', ts => now() - interval '2 hours') \g /dev/null
SELECT agent_id, agent_type, capabilities, metadata, heartbeat, last_heartbeat >= registered_at AS ordered FROM mals.agents ORDER BY 1;
-- again: what is given changes, what is not stays
SELECT mals_agent_register('h-full', capabilities => '{rest}'), mals_agent_register('h-bare', 'worker', heartbeat => '2 hours');
SELECT agent_id, agent_type, capabilities, metadata, heartbeat FROM mals.agents ORDER BY 1;
SELECT agent_id, entries, errors, status, first_seen IS NOT NULL AS seen, last_seen > now() - interval '1 minute' AS now FROM mals_agents() WHERE agent_id LIKE 'h-%';
-- the status by time
UPDATE mals.agents SET last_heartbeat = now() - d.ago, registered_at = now() - interval '2 days'
  FROM (VALUES ('h-full', interval '3 minutes'), ('h-bare', '3 hours'), ('h-beat', '25 hours')) AS d (agent, ago) WHERE agent_id = agent;
SELECT agent_id, status FROM mals_agents() WHERE agent_id LIKE 'h-%';
SELECT mals_heartbeat('h-late'), mals_heartbeat('h-beat'), mals_agent_register('h-full');
SELECT agent_id, status, entries FROM mals_agents() WHERE agent_id LIKE 'h-%';
SELECT a.last_seen = g.last_heartbeat AS last_seen, a.first_seen = COALESCE((SELECT min(ts) FROM mals.entries e WHERE e.agent_id = a.agent_id), g.registered_at) AS first_seen
  FROM mals_agents() a JOIN mals.agents g USING (agent_id) ORDER BY agent_id;
-- many heartbeats are one row
SELECT count(mals_heartbeat('h-many')) FROM generate_series(1, 1000);
SELECT count(*) FROM mals.agents WHERE agent_id = 'h-many';
-- the session's agent
SET mals.agent_id = 'h-session';
SELECT mals_heartbeat(NULL), mals_agent_register(NULL, 'by setting');
SELECT agent_type FROM mals.agents WHERE agent_id = 'h-session';
RESET mals.agent_id;
\set VERBOSITY terse
SELECT mals_heartbeat(NULL);
SELECT mals_heartbeat('');
SELECT mals_agent_register(repeat('x', 65));
SELECT mals_agent_register('h', metadata => '[]');
SELECT mals_agent_register('h', heartbeat => '0');
SELECT mals_agent_register('h', heartbeat => '-1 day');
SELECT mals_agent_register('h', heartbeat => '2 years');
BEGIN READ ONLY;
SELECT mals_heartbeat('h');
ROLLBACK;
CREATE ROLE mals_agent_writer;
SELECT mals_grant('mals_agent_writer', 'writer');
SET ROLE mals_agent_writer;
SELECT mals_heartbeat('h-writer'), mals_agent_register('h-writer', 'granted');
SELECT * FROM mals.agents;
SELECT * FROM mals_agents();
RESET ROLE;
SELECT agent_type FROM mals.agents WHERE agent_id = 'h-writer';
SELECT mals_revoke('mals_agent_writer', 'writer');
DROP ROLE mals_agent_writer;
TRUNCATE mals.agents;
