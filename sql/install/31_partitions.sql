-- Partitions: how one is made.
--
-- The indexes of a partition, what each costs at ingest and what it saves
-- ("bench/indexes"; 500,000 entries over 3 days, PostgreSQL 15):
--
--                        loading  bytes     query it is for, ms
--                        takes    an entry  with it   without it
-- PRIMARY KEY (ts, id)   10 %     41        0.2       14         a minute of entries
-- (agent_id, ts)         25 %     71        0.2       163        a rare agent's latest entries
-- (trace_id)              5 %     14        0.07      97         one trace
-- (correlation_id)        8 %     14        0.08      102        one request
-- (ts, id) of errors      4 %      2        2         67         the errors of a day
-- (xact)                  6 %     7        0.09      54        what came since a tail's cursor
--
-- The primary key orders entries as readers do, so it serves everything by time
-- (the newest entries, an export, plain SQL with a condition on ts); and as an id
-- carries its ts, mals_get and safe retries too: there is no index on id alone.
-- trace_id and correlation_id are looked up over all partitions, and cost only
-- entries that have them. The index of errors holds all that a summary counts.
-- xact is what mals_tail looks for, in every partition as late entries may be in any;
-- in transactions of one entry it takes 23 bytes, and 7 % of the throughput (single
-- inserts of 8 clients, none waiting for the disk). No time can stand in for it:
-- one old transaction that is still open would make a tail read all that came since.
-- A BRIN index on ts was tried in place of ts in the primary key: on PostgreSQL
-- 15 inserting into it costs more than a btree that grows at its end.

CREATE FUNCTION mals._partition_indexes(name text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format($ddl$
    ALTER TABLE mals.%1$I ADD CONSTRAINT %2$I PRIMARY KEY (ts, id);
    CREATE INDEX %3$I ON mals.%1$I (agent_id, ts);
    CREATE INDEX %4$I ON mals.%1$I (trace_id) WHERE trace_id IS NOT NULL;
    CREATE INDEX %5$I ON mals.%1$I (correlation_id) WHERE correlation_id IS NOT NULL;
    CREATE INDEX %6$I ON mals.%1$I (ts, id) INCLUDE (created_at, fingerprint, agent_id, level)
      WHERE level OPERATOR(%7$s.>=) 'error';
    CREATE INDEX %8$I ON mals.%1$I (xact);
  $ddl$, name, name || '_pkey', name || '_agent', name || '_trace', name || '_correlation',
    name || '_errors', '@extschema@', name || '_xact')
$$;
COMMENT ON FUNCTION mals._partition_indexes(text) IS 'The statements that make the key and the indexes of a partition.';

CREATE FUNCTION mals._partition_table(name text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('CREATE TABLE mals.%I (LIKE mals.entries INCLUDING STORAGE INCLUDING COMPRESSION);', name)
$$;
COMMENT ON FUNCTION mals._partition_table(text) IS 'The statement that makes the table of a partition.';

CREATE FUNCTION mals._partition_ddl(name text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT mals._partition_table(name) || mals._partition_indexes(name) $$;
COMMENT ON FUNCTION mals._partition_ddl(text) IS 'The statements that make an empty partition, not yet attached.';

CREATE FUNCTION mals_make_partitions(from_ts timestamptz, to_ts timestamptz) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_make_partitions(timestamptz, timestamptz) IS
  'Makes the missing partitions for entries of from_ts (inclusive) to to_ts (exclusive), mals.partition_interval each, and returns how many it made. Partitions are committed by a background worker: they stay when the caller rolls back. Errors: 22004 for NULL; 22023 for times that no id can hold (infinite, before 1970), an end before the start, or more partitions than mals.max_partitions; 55000 if no worker could make them.';
