-- What a session has set changes neither what is found nor how it is told.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = error;
SELECT mals_log(E'a\\b%_', E'back\\slash ''quoted'' "twice" $1 %s ' || i, 'error', 'task_completed', jsonb_build_object('k', E'a\\b''c', 'duration_ms', i * 0.1, 'task_id', i),
    session_key => 's''1', trace_id => '0af76519-16cd-43dd-8448-eb211c80319c', ts => date_trunc('day', now()) - interval '1 day' + i * interval '7 minutes')
  FROM generate_series(1, 20) AS i \g /dev/null
SELECT mals_counter('settings_total', jsonb_build_object('path', E'C:\\temp "x"')) \g /dev/null

CREATE TEMP TABLE calls AS SELECT * FROM (VALUES
  ($$mals_search($q$agent:a\b%_$q$)$$), ($$mals_search($q$"slash 'quoted' \"twice\""$q$)$$), ($$mals_search($q$/back\\slash/ -"none"$q$)$$),
  ($$mals_search($q$meta.k:"a\\b'c" session:s* level:error$q$)$$), ($$mals_list(search => $q$\slash$q$)$$), ($$mals_list($q$a\b%_$q$)$$),
  ($$mals_trace('0af76519-16cd-43dd-8448-eb211c80319c'::uuid)$$), ($$(SELECT to_jsonb(a) - 'status' AS agent FROM mals_agents('1 month') AS a)$$), ($$mals_stats()$$), ($$mals_patterns()$$), ($$mals_latency()$$),
  ($$mals_facets()$$), ($$mals_histogram('1 hour', '', date_trunc('day', now()) - interval '1 day', date_trunc('day', now()))$$), ($$mals_export('csv')$$),
  ($$mals_export('json')$$), ($$mals_export('logfmt')$$), ($$mals_export('text')$$), ($$mals_errors(now() - interval '3 days', NULL, date_trunc('day', now()))$$),
  ($$mals_tasks(now() - interval '3 days')$$),
  ($$(SELECT regexp_replace(mals_report(date_trunc('day', now()) - interval '1 day', date_trunc('day', now())), '[0-9]+:[0-9:]+', '', 'g') AS page)$$),
  ($$(SELECT bool_or(m LIKE '%settings_total{path="C:%') AS found FROM mals_metrics() AS m)$$), ($$(SELECT regexp_replace(mals_digest(date_trunc('day', now()) - interval '1 day'), '[0-9:]+Z?', '', 'g') AS digest)$$)) AS c (call);
CREATE FUNCTION outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'SELECT md5(string_agg(to_jsonb(x)::text, chr(10))) FROM ' || call || ' AS x' INTO call;
  RETURN call;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLERRM;
END $$;
CREATE TEMP TABLE plain AS SELECT call, outcome(call) AS outcome FROM calls;
SELECT call, outcome FROM plain WHERE outcome IS NULL OR length(outcome) <> 32;

CREATE TEMP TABLE settings AS SELECT * FROM (VALUES ('standard_conforming_strings', 'off'), ('datestyle', 'SQL, DMY'), ('datestyle', 'German'), ('intervalstyle', 'sql_standard'),
  ('intervalstyle', 'iso_8601'), ('extra_float_digits', '1'), ('bytea_output', 'escape'), ('array_nulls', 'off'), ('transform_null_equals', 'on'), ('quote_all_identifiers', 'on'),
  ('plan_cache_mode', 'force_generic_plan'), ('session_replication_role', 'replica'), ('row_security', 'off'), ('search_path', 'pg_temp, public'), ('enable_seqscan', 'off'),
  ('enable_indexscan', 'off'), ('enable_partition_pruning', 'off'), ('enable_hashagg', 'off'), ('enable_sort', 'off'), ('work_mem', '64kB'), ('xmloption', 'document')) AS s (name, value);
CREATE TEMP TABLE differences (name text, value text, call text, outcome text);
DO $$
DECLARE
  s record;
BEGIN
  FOR s IN SELECT name, value, current_setting(name) AS before FROM settings LOOP
    PERFORM set_config(s.name, s.value, false);
    INSERT INTO differences SELECT s.name, s.value, call, o FROM plain, outcome(call) AS o WHERE o IS DISTINCT FROM outcome;
    PERFORM set_config(s.name, s.before, false);
  END LOOP;
END $$;
SELECT * FROM differences;

-- The extension itself is made the same.
SELECT current_database() AS home, pg_get_viewdef('mals.alert_rules'::regclass) AS view \gset
CREATE DATABASE mals_settings TEMPLATE template0;
\c mals_settings
SET standard_conforming_strings = off;
SET escape_string_warning = off;
CREATE EXTENSION mals;
SET standard_conforming_strings = on;
SELECT pg_get_viewdef('mals.alert_rules'::regclass) = :'view' AS same_view;
\c :"home"
DROP DATABASE mals_settings;
DROP FUNCTION outcome(text);
