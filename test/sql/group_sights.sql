-- First sights of templates: remembered as long as the table that has them.
SELECT mals_log('a', 'A kind seen before the extension is made anew') IS NOT NULL;
SELECT count(*) FROM mals.templates WHERE template LIKE '%made anew';
BEGIN;
SET LOCAL client_min_messages = warning;
SET mals.allow_drop = on;
DROP EXTENSION mals CASCADE;
-- a schema whose name format() would stumble over
CREATE SCHEMA "Odd %I %s name";
CREATE EXTENSION mals SCHEMA "Odd %I %s name";
SET LOCAL search_path = "Odd %I %s name";
SELECT mals_log('a', 'A kind seen before the extension is made anew', 'error') IS NOT NULL;
SELECT count(*) FROM mals.templates WHERE template LIKE '%made anew';
SELECT template, entries, status FROM mals_errors();
SELECT mals_query_explain('level:error');
ROLLBACK;

-- an emptied table
SELECT mals_maintain() IS NOT NULL;
SELECT mals_log('a', 'A kind seen before the extension is made anew') IS NOT NULL;
BEGIN;
TRUNCATE mals._templates;
SELECT mals_log('a', 'A kind seen before the extension is made anew') IS NOT NULL;
SELECT count(*) FROM mals.templates WHERE template LIKE '%made anew';
ROLLBACK;
SELECT count(*) FROM mals.templates WHERE template LIKE '%made anew';

-- what a subtransaction has handed to its parent goes with the parent
BEGIN;
SAVEPOINT one;
SELECT mals_log('a', 'A kind of the outer part') IS NOT NULL;
SAVEPOINT two;
SELECT mals_log('a', 'A kind of the inner part') IS NOT NULL;
RELEASE two;
ROLLBACK TO one;
SAVEPOINT three;
SELECT mals_log('a', 'A kind of the inner part') IS NOT NULL;
RELEASE three;
COMMIT;
SELECT template FROM mals.templates WHERE template LIKE '%er part';
SELECT mals_log('a', 'A kind of the outer part') IS NOT NULL;
SELECT template FROM mals.templates WHERE template LIKE '%er part' ORDER BY 1;
SELECT count(*) FROM mals._sights WHERE template LIKE '%er part';
