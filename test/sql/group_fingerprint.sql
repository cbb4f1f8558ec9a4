-- mals_fingerprint: values that must never change within a version, metadata, exceptions.
\pset format unaligned
\pset tuples_only on

SELECT mals_fingerprint_version();

-- The same on every platform and version of PostgreSQL.
SELECT m, mals_fingerprint(m) FROM (VALUES (''), ('a'), ('1'), ('abcdefgh'), ('abcdefghi'), ('user 12 logged in'), ('Grüße 3')) AS t (m);
SELECT mals_fingerprint('a', '{"fingerprint": "payments"}'), mals_fingerprint('a', '{"exception": {"type": "E", "frames": [{"function": "f", "file": "x.py"}]}}');

-- Without metadata that says more, it is of the template.
SELECT mals_fingerprint('took 12 ms') = mals_fingerprint('took 3.5s') AS by_template,
       mals_fingerprint('took 12 ms') = mals_fingerprint('took 12 ms', NULL) AS null_metadata,
       mals_fingerprint('took 12 ms') = mals_fingerprint('took 12 ms', '{"a": 1}') AS other_metadata,
       mals_fingerprint('took 12 ms') = mals_fingerprint('took 12 ms', '[1]') AS not_an_object,
       mals_fingerprint('took 12 ms') <> mals_fingerprint('took 12 steps') AS text_counts,
       mals_fingerprint(NULL) IS NULL AS no_message,
       mals_fingerprint(NULL, '{"fingerprint": "x"}') IS NULL AS no_message_but_own;

-- The sender's own string overrides; other types do not.
SELECT mals_fingerprint('a', '{"fingerprint": "x"}') = mals_fingerprint('b', '{"fingerprint": "x", "exception": {"type": "E"}}') AS own,
       mals_fingerprint('a', '{"fingerprint": "x"}') <> mals_fingerprint('a', '{"fingerprint": "y"}') AS own_differs,
       mals_fingerprint('a', '{"fingerprint": "a"}') <> mals_fingerprint('a') AS own_is_no_template,
       mals_fingerprint('a', '{"fingerprint": 1}') = mals_fingerprint('a') AS own_must_be_text;

-- An exception counts by its type and frames, never by lines, folders or its message.
CREATE FUNCTION pg_temp.f(exception text) RETURNS bigint
LANGUAGE sql AS $$ SELECT mals_fingerprint('failed', jsonb_build_object('exception', exception::jsonb)) $$;
SELECT pg_temp.f('{"type": "KeyError"}') <> pg_temp.f('{"type": "ValueError"}') AS by_type,
       pg_temp.f('{"type": "KeyError"}') <> mals_fingerprint('failed') AS counts,
       pg_temp.f('{"type": "KeyError", "message": "a"}') = pg_temp.f('{"type": "KeyError", "message": "b"}') AS not_by_message,
       pg_temp.f('"KeyError"') = pg_temp.f('{"type": "KeyError"}') AS type_alone;
SELECT pg_temp.f('{"type": "E", "frames": [{"function": "f", "file": "/a/x.py", "line": 1}]}')
         = pg_temp.f('{"type": "E", "frames": [{"function": "f", "file": "/b/x.py", "line": 2}]}') AS not_by_line,
       pg_temp.f('{"type": "E", "frames": [{"function": "f", "file": "x.py"}]}')
         <> pg_temp.f('{"type": "E", "frames": [{"function": "g", "file": "x.py"}]}') AS by_function,
       pg_temp.f('{"type": "E", "frames": [{"function": "f", "file": "x.py"}]}')
         <> pg_temp.f('{"type": "E", "frames": [{"function": "f", "file": "y.py"}]}') AS by_file,
       pg_temp.f('{"type": "E", "frames": [{"function": "f"}, {"function": "g"}]}')
         <> pg_temp.f('{"type": "E", "frames": [{"function": "g"}, {"function": "f"}]}') AS by_order;
SELECT pg_temp.f(jsonb_build_object('type', 'E', 'frames', (SELECT jsonb_agg(jsonb_build_object('function', 'f' || i)) FROM generate_series(1, 40) i))::text)
         = pg_temp.f(jsonb_build_object('type', 'E', 'frames', (SELECT jsonb_agg(jsonb_build_object('function', 'f' || i)) FROM generate_series(9, 40) i))::text) AS innermost_only;
-- text, or an array of lines
SELECT pg_temp.f(jsonb_build_object('type', 'KeyError', 'stacktrace', E'Traceback (most recent call last):\n  File "/a/x.py", line 1, in f\n    y()\nKeyError: 1')::text)
         = pg_temp.f(jsonb_build_object('type', 'KeyError', 'traceback', jsonb_build_array('Traceback (most recent call last):', '  File "/b/x.py", line 7, in f', '    z()', 'KeyError: 2'))::text) AS text_or_lines,
       pg_temp.f(jsonb_build_object('type', 'KeyError', 'stacktrace', E'Traceback (most recent call last):\n  File "/a/x.py", line 1, in f\n    y()\nKeyError: 1')::text)
         <> pg_temp.f(jsonb_build_object('type', 'KeyError', 'stacktrace', E'Traceback (most recent call last):\n  File "/a/x.py", line 1, in g\n    y()\nKeyError: 1')::text) AS text_by_function,
       pg_temp.f(jsonb_build_object('type', 'E', 'stacktrace', E'a.E: 1\n\tat a.B.c(B.java:12)')::text)
         = pg_temp.f(jsonb_build_object('type', 'E', 'stacktrace', E'a.E: 1\n\tat a.B.c(B.java:99)')::text) AS java_not_by_line;
-- odd shapes raise nothing
SELECT count(pg_temp.f(e)) FROM unnest(ARRAY['null', '1', '[]', '{}', '{"type": null}', '{"frames": {}}', '{"frames": [null, 1, "a", {}, []]}',
  '{"frames": [{}, 1]}', '{"stacktrace": 5}', '{"traceback": []}', '{"type": {"a": 1}, "stack": ""}', '{"frames": [{"function": 1, "file": ""}]}']) AS e;
SELECT pg_temp.f(jsonb_build_object('traceback', (SELECT jsonb_agg(repeat('x', 1000) || i) FROM generate_series(1, 100) i))::text) IS NOT NULL;

-- Twenty thousand templates, twenty thousand fingerprints.
SELECT count(DISTINCT mals_fingerprint(m)) FROM (
  SELECT 'event ' || translate(i::text, '0123456789', 'ghijklmnop') AS m FROM generate_series(1, 20000) i) AS t;
