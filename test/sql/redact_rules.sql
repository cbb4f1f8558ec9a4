-- Own rules: mals.redact_rules.
TRUNCATE mals.entries, mals._sights, mals._templates;

-- A row is checked
INSERT INTO mals.redact_rules VALUES ('broken', 'a(b');
INSERT INTO mals.redact_rules VALUES ('empty', 'x*');
INSERT INTO mals.redact_rules VALUES ('Upper Case', 'x');
INSERT INTO mals.redact_rules VALUES (repeat('x', 41), 'x');
INSERT INTO mals.redact_rules VALUES ('missing', NULL);
INSERT INTO mals.redact_rules VALUES (NULL, 'x');
\set VERBOSITY sqlstate
INSERT INTO mals.redact_rules VALUES ('broken', 'a(b');
INSERT INTO mals.redact_rules VALUES ('missing', NULL);
\set VERBOSITY default

-- in force at once, after ROLLBACK no longer
BEGIN;
INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]{6}');
SELECT mals_redact('order of C-123456, not C-12');
ROLLBACK;
SELECT mals_redact('order of C-123456, not C-12');
INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]{6}', true), ('word', '(?i)\mtop secret\M', true), ('unused', 'zzz', false);
SELECT mals_redact('order of C-123456, Top Secret: C-654321zzz');
UPDATE mals.redact_rules SET enabled = true WHERE name = 'unused';
SELECT mals_redact('order of C-123456, Top Secret: C-654321zzz');
UPDATE mals.redact_rules SET pattern = 'a+(?' WHERE name = 'unused';
DELETE FROM mals.redact_rules WHERE name = 'unused';
SELECT mals_redact('order of C-123456, Top Secret: C-654321zzz');

-- rules see what the built-in patterns leave; a mark is not taken apart, and is eaten whole
INSERT INTO mals.redact_rules VALUES ('mark', 'redacted|password'), ('around', 'x=.*y');
SELECT text, mals_redact(text) AS redacted, mals_redact(mals_redact(text)) = mals_redact(text) AS once
FROM (VALUES ('password=hunter2'), ('x=C-123456 y'), ('x=1'), ('it was redacted'), ('password=hunter2 x=password=hunter2 y z'), ('C-123456C-654321'), ('')) AS v (text);
DELETE FROM mals.redact_rules WHERE name IN ('mark', 'around');

-- characters of several bytes, and all of a long text
INSERT INTO mals.redact_rules VALUES ('umlaut', 'ü+(?=ß)');
SELECT mals_redact('äüüßö üö 日本 üß'), mals_redact(repeat('üß', 3)),
       length(mals_redact(repeat('äüß', 100000))) = 100000 * length('ä[redacted:umlaut]ß') AS long;
TRUNCATE mals.redact_rules;
SELECT mals_redact('C-123456 üß') AS truncated;

-- In metadata, in keys and values; by a writer who may not see the rules
INSERT INTO mals.redact_rules VALUES ('customer', 'C-[0-9]{6}');
CREATE ROLE mals_test_rules;
SELECT mals_grant('mals_test_rules', 'writer');
SET ROLE mals_test_rules;
SELECT * FROM mals.redact_rules;
INSERT INTO mals.redact_rules VALUES ('mine', 'x');
SELECT mals_log('ruled', 'C-123456', metadata => '{"C-123456": [1, "a C-123456"], "C-654321": {"C-111111": null}, "n": "C-1"}', session_key => 'C-123456') IS NULL AS lost;
SELECT mals_log('ruled', 'clean', metadata => '{"n": "C-1"}') IS NULL AS lost;
RESET ROLE;
SELECT message, session_key, metadata FROM mals.entries WHERE agent_id = 'ruled' ORDER BY id;
SELECT mals_grant('mals_test_rules', 'admin');
SET ROLE mals_test_rules;
INSERT INTO mals.redact_rules VALUES ('mine', 'x+');
SELECT name, pattern, enabled, mals_redact('xx C-123456') FROM mals.redact_rules ORDER BY name;
RESET ROLE;

-- also where triggers are off for others
SET session_replication_role = replica;
DELETE FROM mals.redact_rules WHERE name = 'mine';
INSERT INTO mals.redact_rules VALUES ('broken', '(');
SELECT mals_redact('xx C-123456');
RESET session_replication_role;
SELECT mals_revoke('mals_test_rules', 'admin'), mals_revoke('mals_test_rules', 'writer');
DROP ROLE mals_test_rules;
DELETE FROM mals.redact_rules;
SELECT mals_redact('xx C-123456');
