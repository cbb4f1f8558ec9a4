-- mals_report: a page of HTML that needs nothing else.
--
-- Every text that agents logged goes through mals._report_text, numbers through
-- their types; there is no script, and the page's policy allows none.

-- Text as HTML: markup and quotes as entities, characters that control the
-- terminal or the direction of writing as the replacement character.
CREATE FUNCTION mals._report_text(value text, most int DEFAULT 200) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT regexp_replace(replace(replace(replace(replace(replace(
           CASE WHEN char_length(value) > most THEN left(value, most - 3) || '...' ELSE value END,
           '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
           E'[\\u0001-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]', '&#xFFFD;', 'g')
$$;
COMMENT ON FUNCTION mals._report_text(text, int) IS 'Text as HTML, cut to so many characters.';

-- A time in a report.
CREATE FUNCTION mals._report_time(ts timestamptz) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT to_char(ts AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')
$$;
COMMENT ON FUNCTION mals._report_time(timestamptz) IS 'A time in a report: UTC, to the minute.';

-- The length of a report's buckets: at most 72 of them.
CREATE FUNCTION mals._report_bucket(since timestamptz, until timestamptz) RETURNS interval
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(min(w) FILTER (WHERE extract(epoch FROM until - since) <= 71 * extract(epoch FROM w)),
                  ceil(extract(epoch FROM until - since) / 86400 / 71)::int * interval '1 day')
    FROM unnest('{1 second,10 seconds,1 minute,5 minutes,15 minutes,30 minutes,1 hour,3 hours,6 hours,12 hours,1 day,7 days}'::interval[]) w
$$;
COMMENT ON FUNCTION mals._report_bucket(timestamptz, timestamptz) IS 'The length of the buckets of a report''s charts.';

-- Entries by level over time: stacked bars, the worst level on top.
CREATE FUNCTION mals._report_levels(since timestamptz, until timestamptz) RETURNS text
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH bucket AS (SELECT mals._report_bucket(since, until) AS width),
  cells AS MATERIALIZED (
    SELECT h.bucket, h.level, h.entries, sum(h.entries) OVER (PARTITION BY h.bucket ORDER BY h.level) AS upto,
           dense_rank() OVER (ORDER BY h.bucket) - 1 AS x
      FROM bucket, @extschema@.mals_histogram(bucket.width, '', since, until) h),
  -- the scale ends at four of something round
  most AS (SELECT greatest(max(upto), 4) AS n, max(x) + 1 AS bars FROM cells),
  scale AS (
    SELECT ceil(n / step) * step AS top, bars, 900.0 / bars AS w
      FROM most, LATERAL (SELECT 4 * greatest(power(10::numeric, floor(log(n)) - 1), 1) AS step) s)
  SELECT COALESCE('<svg viewBox="0 0 980 250" role="img" aria-label="Entries by level over time">'
    || (SELECT string_agg(format('<line class="grid" x1="70" x2="970" y1="%1$s" y2="%1$s"/><text class="axis" x="62" y="%2$s" text-anchor="end">%3$s</text>',
                                 210 - 50 * i, 214 - 50 * i, round(top * i / 4)), '' ORDER BY i)
          FROM generate_series(0, 4) i)
    || COALESCE((SELECT string_agg(format('<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>%s UTC, %s: %s</title></rect>',
                                 c.level, round(70 + c.x * w, 2), round(210 - 200 * c.upto / top, 2), round(greatest(w - 1, w * 0.8), 2),
                                 round(greatest(200 * c.entries / top, 1), 2), mals._report_time(c.bucket), c.level, c.entries), '' ORDER BY c.x, c.level)
          FROM cells c WHERE c.entries > 0), '')
    || (SELECT string_agg(format('<text class="axis" x="%s" y="230">%s</text>', round(70 + c.x * w, 2), mals._report_time(c.bucket)), '' ORDER BY c.x)
          FROM (SELECT DISTINCT x, bucket FROM cells) c WHERE c.x % greatest(bars / 6, 1) = 0 AND c.x <= bars - bars / 8)
    || '</svg>', '<p>No entries.</p>') FROM scale
$$;
COMMENT ON FUNCTION mals._report_levels(timestamptz, timestamptz) IS 'The chart of entries by level over time.';

-- Errors by agent: horizontal bars, the part that is unresolved in full colour.
CREATE FUNCTION mals._report_agents(summary jsonb) RETURNS text
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH agents AS (
    SELECT a->>'agent_id' AS agent, (a->>'errors')::numeric AS errors, (a->>'unresolved')::numeric AS unresolved, i - 1 AS y,
           max((a->>'errors')::numeric) OVER () AS top, count(*) OVER () AS n
      FROM jsonb_array_elements(summary->'by_agent') WITH ORDINALITY AS x (a, i) WHERE i <= 15)
  SELECT COALESCE(format('<svg viewBox="0 0 980 %s" role="img" aria-label="Errors by agent">', max(n) * 26 + 4)
    || string_agg(format('<text class="label" x="242" y="%1$s" text-anchor="end">%2$s</text>'
                         '<rect class="resolved" x="250" y="%3$s" width="%4$s" height="18"/>'
                         '<rect class="error" x="250" y="%3$s" width="%5$s" height="18"><title>%6$s errors, %7$s unresolved</title></rect>'
                         '<text class="label" x="%8$s" y="%1$s">%6$s</text>',
                         y * 26 + 17, mals._report_text(agent, 32), y * 26 + 3, round(650 * errors / top, 2), round(650 * unresolved / top, 2),
                         errors, unresolved, round(650 * errors / top, 2) + 258), '' ORDER BY y) || '</svg>',
    '<p>No errors.</p>') FROM agents
$$;
COMMENT ON FUNCTION mals._report_agents(jsonb) IS 'The chart of errors by agent, of a summary.';

-- The groups of errors with most entries, each with its state and its course.
CREATE FUNCTION mals._report_groups(since timestamptz, until timestamptz) RETURNS text
  LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
  WITH groups AS MATERIALIZED (
    SELECT e.*, row_number() OVER (ORDER BY e.entries DESC, e.fingerprint) AS place
      FROM @extschema@.mals_errors(since, NULL, until) e ORDER BY e.entries DESC, e.fingerprint LIMIT 20),
  hits AS (
    SELECT COALESCE(t.group_id, l.fingerprint) AS fingerprint,
           least(width_bucket(extract(epoch FROM l.ts), extract(epoch FROM since), extract(epoch FROM until), 30), 30) AS x, count(*) AS n
      FROM mals.entries l LEFT JOIN mals._templates t ON t.fingerprint = l.fingerprint
     WHERE l.ts >= since AND l.ts < until AND l.level OPERATOR(@extschema@.>=) 'error'
       AND since < until GROUP BY 1, 2),
  courses AS (
    SELECT h.fingerprint, string_agg(format('<rect class="error" x="%s" y="%s" width="3" height="%s"/>', (h.x - 1) * 4,
             round(20 - greatest(20.0 * h.n / h.top, 1.5), 2), round(greatest(20.0 * h.n / h.top, 1.5), 2)), '' ORDER BY h.x) AS bars
      FROM (SELECT *, max(n) OVER (PARTITION BY fingerprint) AS top FROM hits) h GROUP BY 1)
  SELECT COALESCE('<table><thead><tr><th>State</th><th>Entries</th><th>Course</th><th>Message</th><th>Agents</th><th>Last (UTC)</th><th>Fingerprint, sample</th></tr></thead><tbody>'
    || string_agg(format('<tr><td><span class="state %1$s">%1$s</span></td><td class="n">%2$s</td><td><svg class="course" viewBox="0 0 120 20" aria-hidden="true">%3$s</svg></td>'
                         '<td class="message"><bdi>%4$s</bdi></td><td><bdi>%5$s</bdi></td><td class="n">%6$s</td><td class="id">%7$s<br>%8$s</td></tr>',
                         g.status, g.entries, c.bars, mals._report_text(g.template, 300),
                         (SELECT string_agg(mals._report_text(a, 32), '</bdi>, <bdi>') FROM unnest(g.agents[1:4]) a)
                           || CASE WHEN cardinality(g.agents) > 4 THEN format(' and %s more', cardinality(g.agents) - 4) ELSE '' END,
                         mals._report_time(g.last_seen), g.fingerprint, g.sample_id), '' ORDER BY g.place) || '</tbody></table>',
    '<p>No errors.</p>')
    FROM groups g LEFT JOIN courses c USING (fingerprint)
$$;
COMMENT ON FUNCTION mals._report_groups(timestamptz, timestamptz) IS 'The table of groups of errors.';

CREATE FUNCTION mals_report(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  summary jsonb;
  entries bigint;
  agents bigint;
BEGIN
  SELECT w.since, w.until INTO since, until FROM mals._window(since, until) w;
  summary := @extschema@.mals_summary(since, NULL, until);
  SELECT COALESCE(sum(n), 0), count(*) INTO entries, agents
    FROM (SELECT count(*) AS n FROM mals.entries e WHERE e.ts >= since AND e.ts < until GROUP BY e.agent_id) a;
  RETURN concat_ws(E'\n', '<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8">',
    '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">',
    '<meta name="viewport" content="width=device-width">',
    format('<title>Logs of %s, %s to %s UTC</title>', mals._report_text(current_database()), mals._report_time(since), mals._report_time(until)),
    '<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6878; --line: #d9dee6; --paper: #fff; --trace: #c3ccd8; --debug: #93a1b5; --info: #4c8bd6; --warn: #e0a526; --error: #d9534f; --critical: #8e2a6b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a3b3; --line: #333d4b; --paper: #151b23; --trace: #3f4a59; --debug: #5d6b7e; } }
body { margin: 2rem auto; padding: 0 1.5rem; max-width: 72rem; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; } p { color: var(--soft); margin: .2rem 0; }
ul.tiles { display: flex; flex-wrap: wrap; gap: .8rem; padding: 0; list-style: none; margin: 1.4rem 0 0; }
ul.tiles li { flex: 1 1 8rem; border: 1px solid var(--line); border-radius: 8px; padding: .7rem 1rem; color: var(--soft); }
ul.tiles b { display: block; font-size: 1.6rem; line-height: 1.2; color: var(--ink); font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; } svg.course { width: 120px; height: 20px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); } svg text.label { font-size: 13px; fill: var(--ink); } .grid { stroke: var(--line); }
rect.trace { fill: var(--trace); } rect.debug { fill: var(--debug); } rect.info { fill: var(--info); } rect.warn { fill: var(--warn); } rect.error { fill: var(--error); } rect.critical { fill: var(--critical); } rect.resolved { fill: var(--line); }
.legend span { margin-right: 1.1rem; white-space: nowrap; } .legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
table { border-collapse: collapse; width: 100%; font-size: 13px; } th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n { white-space: nowrap; font-variant-numeric: tabular-nums; } td.message { font-family: ui-monospace, monospace; overflow-wrap: anywhere; min-width: 16rem; } td.id { font: 11px/1.5 ui-monospace, monospace; color: var(--soft); }
.state { border-radius: 1em; padding: .1em .7em; color: #fff; background: #6b7685; } .state.new { background: #b3541e; } .state.regressed { background: #8e2a6b; } .state.recurring { background: #b33a36; } .state.resolved { background: #2f7d4f; }
</style></head><body>',
    format('<h1>Logs of %s</h1><p>%s to %s UTC; written %s by mals %s</p>', mals._report_text(current_database()), mals._report_time(since),
           mals._report_time(until), mals._report_time(clock_timestamp()), mals._report_text(@extschema@.mals_version())),
    (SELECT '<ul class="tiles">' || string_agg(format('<li><b>%s</b>%s</li>', n, name), '' ORDER BY i) || '</ul>'
       FROM (VALUES (1, entries, 'entries'), (2, agents, 'agents'), (3, (summary->>'total_errors')::bigint, 'errors'),
                    (4, (summary#>>'{unresolved_errors,count}')::bigint, 'unresolved'), (5, jsonb_array_length(summary->'new_errors')::bigint, 'new kinds of errors'),
                    (6, jsonb_array_length(summary->'regressed_errors')::bigint, 'came back')) AS t (i, n, name)),
    '<h2>Entries by level</h2>', mals._report_levels(since, until),
    (SELECT '<p class="legend">' || string_agg(format('<span><i style="background: var(--%1$s)"></i>%1$s</span>', l), '' ORDER BY i) || '</p>'
       FROM unnest('{trace,debug,info,warn,error,critical}'::text[]) WITH ORDINALITY AS x (l, i)),
    '<h2>Errors by agent</h2>', mals._report_agents(summary),
    '<p class="legend"><span><i style="background: var(--error)"></i>unresolved</span><span><i style="background: var(--line)"></i>resolved</span></p>',
    '<h2>Kinds of errors</h2>', mals._report_groups(since, until), '</body></html>');
END
$$;
COMMENT ON FUNCTION mals_report(timestamptz, timestamptz) IS
  'A report of [since, until) (default: the last 24 hours) as one HTML page that needs nothing else: totals, entries by level over time, errors by agent, the groups of errors with most entries with their state, course and ids. Charts are SVG; there is no script. What agents logged is escaped. Save it by psql -XAtc ''SELECT mals_report()'' -o report.html. Errors: 22023 for infinite times.';
