-- A role that is bound to agents registers and sees its own agents only.
CREATE ROLE regress_bound;
SELECT mals_grant('regress_bound', 'writer'), mals_grant('regress_bound', 'reader'), mals_bind_agent('regress_bound', 'mine-*');
SELECT mals_agent_register('theirs', 'planner');
SET ROLE regress_bound;
SELECT mals_agent_register('mine-1', 'worker'), mals_heartbeat('mine-2');
SELECT mals_agent_register('theirs', 'mine now');
SELECT mals_heartbeat('theirs');
SELECT agent_id, agent_type FROM mals.agents ORDER BY 1;
SELECT agent_id FROM mals_agents() WHERE agent_id IN ('theirs', 'mine-1', 'mine-2') ORDER BY 1;
SELECT count(*) FROM mals_metrics() AS m WHERE m LIKE 'mals_entries_total%' AND m NOT LIKE '%agent_id="mine-%';
RESET ROLE;
SELECT agent_type FROM mals.agents WHERE agent_id = 'theirs';
SELECT mals_bind_agent('regress_bound', NULL), mals_revoke('regress_bound', 'writer'), mals_revoke('regress_bound', 'reader');
DROP ROLE regress_bound;
DELETE FROM mals.agents;
