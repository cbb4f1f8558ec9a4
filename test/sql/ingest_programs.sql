-- The statements that Fluent Bit and Vector issue.
SET timezone = 'UTC';
SET datestyle = 'ISO';
TRUNCATE mals.entries, mals._sights, mals._templates;
SET mals.max_past = '-1';

-- Fluent Bit: its check for the table, and a flush, as a role that may only log.
CREATE ROLE regress_shipper;
SELECT mals_grant('regress_shipper', 'writer');
CREATE SCHEMA regress_shipper AUTHORIZATION regress_shipper;
CREATE VIEW regress_shipper.fluentbit AS SELECT * FROM mals.fluentbit;
ALTER VIEW regress_shipper.fluentbit OWNER TO regress_shipper;
SET search_path = regress_shipper, public;
SET ROLE regress_shipper;
CREATE TABLE IF NOT EXISTS "fluentbit" (tag varchar, time timestamp, data jsonb);
INSERT INTO "fluentbit" SELECT 'app.log', to_timestamp(CAST(value->>'date' as FLOAT)), * FROM jsonb_array_elements('[
  {"date": 1700000000.25, "log": "connection refused\n", "stream": "stderr"},
  {"date": 1700000001.5, "level": "warning", "msg": "slow query", "agent": "db-bot", "duration_ms": 812},
  {"date": 1700000002, "time": "2023-11-14T22:13:21.125Z", "message": "own time", "component": "worker"}]');
INSERT INTO "fluentbit" SELECT 'app.log', to_timestamp(CAST(value->>'date' as FLOAT)), * FROM json_array_elements('[
  {"date": 1700000003, "log": "as json"}]');
SET mals.agent_id = 'edge-7';
INSERT INTO fluentbit VALUES ('t', to_timestamp(1700000004), '"just text"');
RESET mals.agent_id;

-- Vector.
INSERT INTO mals.vector SELECT * FROM jsonb_populate_recordset(NULL::mals.vector, '[
  {"message": "GET /health", "timestamp": "2023-11-14T22:14:00.5Z", "host": "web-1", "source_type": "file", "file": "/var/log/nginx"},
  {"message": "boom", "level": "error", "service": "billing", "timestamp": "2023-11-14T22:14:01Z", "metadata": {"order": 17, "coupon": null}, "unknown": 1},
  {"message": "number", "level": 40, "agent_id": "py", "timestamp": 1700000042.5, "trace_id": "0af7651916cd43dd8448eb211c80319c"},
  {"entry": {"agent_id": "any", "message": "whole entry", "ts": "2023-11-14T22:14:03Z", "anything": [1, 2]}}]');
RESET ROLE;
SELECT ts, level, agent_id, source, message, trace_id, metadata FROM mals.logs ORDER BY ts, message;

-- A bad row is named, and nothing of its statement is stored.
INSERT INTO mals.vector (agent_id, message) SELECT * FROM (VALUES ('a', 'kept back'), (repeat('x', 65), 'too long')) AS v;
INSERT INTO mals.vector (message) VALUES ('whose?');
SELECT mals_count('"kept back"');

-- They are write-only, under any replication role.
SELECT count(*) FROM mals.vector;
SET session_replication_role = replica;
INSERT INTO mals.fluentbit VALUES ('replica', to_timestamp(1700000005), '{"log": "is stored"}');
RESET session_replication_role;
SELECT mals_count('source:replica', since => '2023-01-01');

RESET search_path;
DROP SCHEMA regress_shipper CASCADE;
SELECT mals_revoke('regress_shipper', 'writer');
DROP ROLE regress_shipper;
