-- The schema of tables, views and internals; functions are in the extension's own.

CREATE SCHEMA mals;
COMMENT ON SCHEMA mals IS 'Tables and views of mals, the log system. Names with a leading underscore are internal.';
