-- Views for programs that write statements of their own making: Fluent Bit's
-- pgsql output and Vector's postgres sink. Their rows become JSON entries.

-- Fluent Bit (also td-agent-bit) issues, for a table of this name,
--   INSERT INTO fluentbit SELECT 'tag', to_timestamp(CAST(value->>'date' as FLOAT)), *
--     FROM json_array_elements('[...]')
CREATE VIEW mals.fluentbit AS
  SELECT NULL::text AS tag, NULL::timestamptz AS time, NULL::jsonb AS data WHERE false;
COMMENT ON VIEW mals.fluentbit IS
  'Write-only: the table that Fluent Bit''s pgsql output inserts into. data is an entry as in mals_log_json; time is its time where data has none; tag is its source, and its agent where neither data nor the setting mals.agent_id names one; data.log is its message where data has none.';

CREATE FUNCTION mals._insert_fluentbit() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  entry jsonb := CASE jsonb_typeof(new.data) WHEN 'object' THEN new.data ELSE jsonb_build_object('log', new.data) END;
BEGIN
  -- its own copy of the time, under the output's Timestamp_Key
  IF jsonb_typeof(entry->'date') = 'number' THEN
    entry := entry - 'date';
  END IF;
  IF NOT entry ?| '{ts,timestamp,time,event_timestamp}' AND new.time IS NOT NULL THEN
    entry := entry || jsonb_build_object('ts', new.time);
  END IF;
  IF NOT entry ?| '{message,msg,body,event_data}' AND entry ? 'log' THEN
    entry := entry - 'log' || jsonb_build_object('message', rtrim(entry->>'log', E'\r\n'));
  END IF;
  IF NOT entry ?| '{source,component}' THEN
    entry := entry || jsonb_build_object('source', new.tag);
  END IF;
  IF NOT entry ?| '{agent_id,agent,agent_name}' AND COALESCE(current_setting('mals.agent_id', true), '') = '' THEN
    entry := entry || jsonb_build_object('agent_id', left(new.tag, 64));
  END IF;
  INSERT INTO mals.inbox VALUES (entry);
  RETURN new;
END
$$;
COMMENT ON FUNCTION mals._insert_fluentbit() IS 'INSTEAD OF INSERT on mals.fluentbit: makes a JSON entry of the row.';
CREATE TRIGGER _1_insert INSTEAD OF INSERT ON mals.fluentbit
  FOR EACH ROW EXECUTE FUNCTION mals._insert_fluentbit();

-- Vector issues INSERT INTO mals.vector SELECT * FROM
-- jsonb_populate_recordset(NULL::mals.vector, $1), which knows no other keys than
-- these columns.
CREATE VIEW mals.vector AS
  SELECT NULL::jsonb AS entry, NULL::text AS agent_id, NULL::text AS message, NULL::jsonb AS level,
         NULL::text AS severity, NULL::text AS category, NULL::text AS source, NULL::text AS session_key,
         NULL::text AS trace_id, NULL::text AS span_id, NULL::text AS correlation_id, NULL::text AS id,
         NULL::jsonb AS "timestamp", NULL::jsonb AS metadata, NULL::text AS host, NULL::text AS service,
         NULL::text AS appname, NULL::text AS facility, NULL::text AS source_type, NULL::text AS file,
         NULL::text AS container_name, NULL::jsonb AS kubernetes, NULL::jsonb AS tags
   WHERE false;
COMMENT ON VIEW mals.vector IS
  'Write-only: the table for Vector''s postgres sink. Each column is a key of a JSON entry as in mals_log_json; entry is a whole one, for events of other shapes (remap: . = {"entry": .}). The agent is agent_id, else the setting mals.agent_id, else service, appname, container_name, host.';

CREATE FUNCTION mals._insert_vector() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  entry jsonb := (SELECT COALESCE(jsonb_object_agg(key, value), '{}') FROM jsonb_each(to_jsonb(new) - 'entry')
                   WHERE jsonb_typeof(value) <> 'null') ||
    CASE jsonb_typeof(new.entry) WHEN 'object' THEN new.entry ELSE '{}' END;
BEGIN
  IF NOT entry ?| '{agent_id,agent,agent_name}' AND COALESCE(current_setting('mals.agent_id', true), '') = '' THEN
    entry := entry || jsonb_build_object('agent_id', left(COALESCE(entry->>'service', entry->>'appname',
      entry->>'container_name', entry->>'host'), 64));
  END IF;
  INSERT INTO mals.inbox VALUES (entry);
  RETURN new;
END
$$;
COMMENT ON FUNCTION mals._insert_vector() IS 'INSTEAD OF INSERT on mals.vector: makes a JSON entry of the row.';
CREATE TRIGGER _1_insert INSTEAD OF INSERT ON mals.vector
  FOR EACH ROW EXECUTE FUNCTION mals._insert_vector();

-- As for the other views, see 30_entries.sql.
UPDATE pg_catalog.pg_trigger SET tgenabled = 'A'
 WHERE tgrelid IN ('mals.fluentbit'::regclass, 'mals.vector'::regclass);
ALTER VIEW mals.fluentbit SET (security_invoker = true);
ALTER VIEW mals.vector SET (security_invoker = true);
