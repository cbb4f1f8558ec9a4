-- mals_template: each rule, pairs that must or must not share a template, order, hostile input.
\pset format unaligned
\pset tuples_only on

-- Numbers, with units, restated, bounded, signed; addresses; names.
SELECT mals_template(m) FROM (VALUES
  (1, 'took 12 ms, 3.5s, 1m 12.4s, 10 seconds and 1,482 bytes'),
  (2, 'close, 1190 bytes (1.16 KB) sent, lifetime <1 sec'),
  (3, 'delta -5 +0.27 at 93.4% for $1.20, issue #12, stack @0x7fe1'),
  (4, '2024-01-02 03:04:05,678 | 2024-01-02T03:04:05Z | Mon, 02 Jan 2006 15:04:05 GMT | 10/Oct/2000:13:55:36 -0700 | 3:04 PM'),
  (5, 'peer 10.0.3.17:5432 [2001:db8::17]:5432 ::1 localhost:80 5c:50:15:36:bc:03 db1.example.com:6379'),
  (6, 'see https://a.example/b?c=1&d=[2], ann+x@mail.example.org.'),
  (7, 'open /var/log/x.log?y=1: ./a ../b ~/c src/lib/util.test.ts C:\Users\bob\x.txt \\host\share, report.md'),
  (8, 'read/write and TCP/IP, text/html, n/a stay'),
  (9, 'id 8f14e45f-ceea-467f-a8d6-1e1f9a2b3c4d deadbeef 0x1f blk_-42 call_9aXb2QpL web-7f9c5d6b8-x2x4z gpt-4o-mini'),
  (10, 'ipv4 utf-8 sha256 http2 x86_64 base64 stay'),
  (11, 'java.io.IOException and openai.RateLimitError stay, com.example.job and www.example.com do not'),
  (12, 'NameSystem.delete and workerEnv.init() stay'),
  (13, 'parser2::read() and step3(x) keep their names'),
  (14, 'card ****1234, bar ######################## 40%'),
  (15, 'docker.io/library/nginx:1.25 nginx@sha256:0123abcd'),
  (16, 'object at 0x7f8e1c> token abcdefghijklmnop1234==')
) AS t (n, m) ORDER BY n;

-- Values: of key=value unless the key tells events apart, quoted, of SQL, of JSON; lists.
SELECT mals_template(m) FROM (VALUES
  (1, 'uid=0 euid= user=root ratio = high user.dir=/tmp ws=Source{10 a} v=[a, b], list=[]'),
  (2, 'status=failed reason = AuthFail code=-7 errorType=Timeout http_status=404 count=404'),
  (3, 'opened "a b" and ''c d'' and `e`, don''t and can''t'),
  (4, 'state ''Active'', error "disk full on sda1"'),
  (5, 'duration: 12.345 ms  statement: SELECT * FROM runs WHERE id = 42 AND state = ''queued'''),
  (6, 'INSERT INTO t VALUES (1, ''a''), (2, ''b''), (3, ''c'')'),
  (7, 'select * from t where state = ''queued'''),
  (8, '{"event":"tool_call","id":"call_9","ok":true,"n":null,"args":{"a":[1,2],"b":"x"}}'),
  (9, '{"level": "error", "message": "limit 30 reached", "code": 429, "status": 7}'),
  (10, '{"items": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}], "left": []}'),
  (11, 'pages [101, 102, 103], 7, 8 9 from cache'),
  (12, 'allowed false, (null), isReachable=true; the null device'),
  (13, 'from 10.0.0.1 (a.example.com): ok, from 10.0.0.2 (): ok')
) AS t (n, m) ORDER BY n;

-- Names that the words around them give away; HTTP; codes.
SELECT mals_template(m) FROM (VALUES
  (1, 'session opened for user ann by (uid=0)'),
  (2, 'Invalid user bob from 10.0.0.1'),
  (3, 'check pass; user unknown'),
  (4, 'Failed password for root from 10.0.0.1'),
  (5, 'Waiting for reply from server'),
  (6, 'in organization org-abc, in namespace default, node re-started'),
  (7, 'Killed process 28473 (httpd)'),
  (8, 'Connecting to redis:6379, listening on :8080'),
  (9, '10.1.2.3 - frank [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.0" 200 2326'),
  (10, 'POST https://a.example/v1 "HTTP/1.1 429 Too Many Requests"'),
  (11, 'DELETE /v1/runs/8f14 404 12ms'),
  (12, '"GET / HTTP/1.1" 304, cwd=/ root / stays'),
  (13, 'exit code 137, Error code: 429, message code 12')
) AS t (n, m) ORDER BY n;

-- White space, control characters, bytes above 0x7f, a template of a template.
SELECT mals_template(m) FROM (VALUES
  (1, E'  a \t\r\n  b( c , d )\x01e  '),
  (2, E'\x1b[31mred\x1b[0m 5'),
  (3, E'n\u00fctzer123 \u7528\u6237456\u767b\u5f55 12\u00b5s \u00fcber'),
  (4, 'x <*> of <*> y'),
  (5, 'escaped\nline\ttwo'),
  (6, '')
) AS t (n, m) ORDER BY n;

-- Stack traces.
SELECT mals_template(m) FROM (VALUES
  (1, E'Task 17 failed\nTraceback (most recent call last):\n  File "/app/run.py", line 42, in step\n    result = call(name)\n             ^^^^^^^^^^\n  File "/app/tool.py", line 7, in call\n    return x[name]\nKeyError: ''name'''),
  (2, E'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\n  File "a.py", line 1, in f\n    f()\nValueError: x 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File "b.py", line 9, in g\n    raise E\nmy.mod.Boom'),
  (3, E'request 123 failed java.lang.IllegalStateException: no 12\n\tat com.example.Foo.bar(Foo.java:42)\n\tat com.example.Foo$$Lambda$14/0x0001.run(Unknown Source)\n\tat java.base/java.lang.Thread.run(Thread.java:833)\n\t... 23 more\nCaused by: java.io.IOException: reset\n\tat com.example.Net.read(Net.java:7)'),
  (4, E'TypeError: Cannot read properties of undefined (reading ''x'')\n    at Object.<anonymous> (/app/index.js:10:5)\n    at async step (file:///app/run.mjs:1:2)\n    at /app/x.js:3:4'),
  (5, E'panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.(*Server).handle(0xc000012345, {0x1, 0x2})\n\t/app/main.go:12 +0x1d\ncreated by net/http.(*Server).Serve in goroutine 7\n\t/usr/lib/go/server.go:1 +0x1\n\ngoroutine 7 [select]:\nfoo.bar()\n\t/x/y.go:3 +0x9'),
  (6, E'System.NullReferenceException: not set\n   at Example.Job.Run(String a) in /src/Job.cs:line 42'),
  (7, E'Meeting\n at noon\n at 10:30'),
  (8, E'a.B: no\n\tat a.C.d(C.java:1) ~[core-1.2.jar:1.2]\n\tat a.C.e(C.java:2) [?:?]'),
  (9, 'failed Traceback (most recent call last):\n  File \"/app/run.py\", line 42, in step\n    x()\nKeyError: ''a''')
) AS t (n, m) ORDER BY n;

-- Pairs. Every row that comes out is wrong.
CREATE TEMP TABLE pair (same boolean, a text, b text);
INSERT INTO pair VALUES
  (true, 'Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29500, Requested 1200. Please try again in 1.4s.',
         'Rate limit reached for gpt-4o-mini-2024-07-18 in organization org-K3x9TqLmZ on tokens per min (TPM): Limit 200000, Used 199871, Requested 640. Please try again in 153ms.'),
  (true, '{"event":"tool_call","id":"call_9aXb2QpL","tool":"bash","duration_ms":812,"ok":true}',
         '{"event": "tool_call", "id": "call_Zk71mmTe", "tool": "bash", "duration_ms": 30411, "ok": false}'),
  (true, 'Connection to 10.0.3.17:5432 refused (attempt 3/5), retrying in 2.5s', 'Connection to [2001:db8::17]:5432 refused (attempt 4/5), retrying in 10 s'),
  (true, 'Wrote 1,482 bytes to /tmp/job/out/report.md', 'Wrote 96 bytes to src/lib/util.test.ts'),
  (true, 'Tool bash finished in 812ms', 'Tool bash finished in 1m 12.4s'),
  (true, 'Sent digest to ann@example.com', 'Sent digest to bob.k+x@mail.example.org'),
  (true, 'FileNotFoundError: [Errno 2] No such file or directory: ''/data/in/a.csv''', 'FileNotFoundError: [Errno 2] No such file or directory: ''config.yaml'''),
  (true, 'duration: 12.345 ms  statement: SELECT * FROM runs WHERE id = 42 AND state = ''queued''', 'duration: 0.9 ms  statement: SELECT * FROM runs WHERE id = 7 AND state = ''done'''),
  (true, 'Evicted pages [101, 102, 103] from cache', 'Evicted pages [7] from cache'),
  (false, E'Traceback (most recent call last):\n  File "/app/agent/run.py", line 42, in step\n    result = call_tool(name, args)\nKeyError: ''name''',
          E'Traceback (most recent call last):\n  File "/app/agent/run.py", line 42, in step\n    result = call_tool(name, args)\nTypeError: ''name'''),
  (false, 'openai.RateLimitError: Error code: 429', 'openai.AuthenticationError: Error code: 401'),
  (false, 'Tool call started: bash', 'Tool call failed: bash'),
  (false, 'HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 200 OK"', 'HTTP Request: POST https://api.openai.com/v1/chat/completions "HTTP/1.1 429 Too Many Requests"'),
  (false, '{"event":"step","status":"failed","step":3}', '{"event":"step","status":"succeeded","step":3}'),
  (false, 'ValueError: could not convert string to float: ''abc''', 'ValueError: too many values to unpack (expected 2)'),
  (false, 'GET /v1/runs/8f14e45f 404 12ms', 'DELETE /v1/runs/8f14e45f 404 12ms'),
  -- and of our own
  (true, 'Pod web-7f9c5d6b8-x2x4z in namespace default was evicted', 'Pod api-6d4cf56db6-9k2lp in namespace kube-system was evicted'),
  (true, 'Pulling image "docker.io/library/nginx:1.25.3"', 'Pulling image "ghcr.io/acme/api@sha256:0123456789abcdef"'),
  (true, 'LLM call completed: model=gpt-4o tokens=1523 cost=$0.0123 latency=2.3s', 'LLM call completed: model=claude-3-5-sonnet-20241022 tokens=88 cost=$1.20 latency=940ms'),
  (true, E'Traceback (most recent call last):\n  File "/app/run.py", line 42, in step\n    x()\nKeyError: ''a''', E'Traceback (most recent call last):\n  File "/srv/app/run.py", line 57, in step\n    y()\nKeyError: ''b'''),
  (true, E'java.io.IOException: a\n\tat a.B.c(B.java:1)', E'java.io.IOException: b c\n\tat a.B.c(B.java:99)'),
  (true, 'INSERT INTO runs (id, name) VALUES (1, ''a'')', 'INSERT INTO runs (id, name) VALUES (2, ''b''), (3, ''c'')'),
  (true, '{"items":[{"id":1},{"id":2}],"n":2}', '{ "items": [ { "id": 5 } ], "n": 1 }'),
  (true, 'dial tcp 10.0.0.1:443: i/o timeout', 'dial tcp [fe80::1%eth0]:443: i/o timeout'),
  (true, 'level=info ts=2024-01-01T00:00:00Z caller=main.go:42 msg="server started" addr=0.0.0.0:8080', 'level=info ts=2024-02-01T01:00:00.123Z caller=main.go:43 msg="server started" addr=:80'),
  (true, 'Function search_web called with {"query": "a b c", "k": 5}', 'Function search_web called with {"query": "zzz", "k": 50}'),
  (true, 'PR #123 merged by @alice into #general', 'PR #7 merged by @bob into #random'),
  (true, 'Invalid API key provided: sk-abc***xyz', 'Invalid API key provided: sk-123****'),
  (true, 'User alice logged in', 'User bob logged in'),
  (false, 'User approved the call', 'User rejected the call'),
  (false, 'GET /users -> 200 (12 ms)', 'GET /users -> 500 (12 ms)'),
  (true, 'Compacting context: 180000 -> 42000 tokens', 'Compacting context: 99 -> 12 tokens'),
  (false, 'level=info msg="server started" addr=:8080', 'level=info msg="server stopped" addr=:8080'),
  (false, E'Traceback (most recent call last):\n  File "/app/run.py", line 42, in step\nKeyError: ''a''', E'Traceback (most recent call last):\n  File "/app/run.py", line 42, in plan\nKeyError: ''a'''),
  (false, E'java.io.IOException: a\n\tat a.B.c(B.java:1)', E'java.io.IOException: a\n\tat a.B.d(B.java:1)'),
  (false, '{"level":"info","msg":"done"}', '{"level":"error","msg":"done"}'),
  (false, '{"a":1}', '{"b":1}'),
  (false, 'session opened for user root', 'session closed for user root'),
  (false, 'dial tcp 10.0.0.1:443: i/o timeout', 'dial tcp 10.0.0.1:443: connection refused'),
  (false, 'container 3f4a5b6c7d8e died (exit code 137)', 'container aabbccddeeff died (exit code 1)'),
  (false, 'SELECT * FROM runs WHERE id = 1', 'DELETE FROM runs WHERE id = 1'),
  (false, 'rpc error: code = Unknown desc = a b', 'rpc error: code = NotFound desc = a b'),
  (false, '10.1.2.3 - - [11/Nov/2001:01:02:03 +0000] "GET / HTTP/1.1" 200 17', '10.1.2.3 - - [11/Nov/2001:01:02:03 +0000] "GET / HTTP/1.1" 500 17');
SELECT same, mals_template(a), mals_template(b) FROM pair WHERE same <> (mals_template(a) = mals_template(b));
SELECT same, a, b FROM pair WHERE same <> (mals_fingerprint(a) = mals_fingerprint(b));
SELECT count(*) > 30 AS pairs_tried FROM pair;

-- A template is a template of itself, but for stack traces.
SELECT mals_template(a) FROM pair
WHERE strpos(a, E'\n') = 0 AND mals_template(mals_template(a)) <> mals_template(a);

-- The second stage: one word that varies, by a variable or by eight words; order does not matter.
CREATE FUNCTION pg_temp.merged(templates text[]) RETURNS TABLE (template text, first text)
LANGUAGE sql AS $$
  SELECT t.template, min(t.template) OVER (PARTITION BY t.group_id)
  FROM unnest(templates, mals._merge_groups(templates)) AS t (template, group_id)
$$;
SELECT m.template, m.first = m.template AS first FROM pg_temp.merged(ARRAY[
  'LOGIN chdir(<*>) failed: no such file', 'LOGIN chdir(pwd) failed: no such file',
  'LOGIN chdir(pwd) failed: denied', 'removed <*> now', 'removed all now', 'open <*>', 'open it',
  'tty=<*> may be used', 'tty=:<*> may be used']) AS m ORDER BY m.template COLLATE "C";
SELECT count(DISTINCT first) FROM pg_temp.merged((SELECT array_agg('daemon d' || chr(96 + i) || ' has started') FROM generate_series(1, 7) i));
SELECT count(DISTINCT first) FROM pg_temp.merged((SELECT array_agg('daemon d' || chr(96 + i) || ' has started') FROM generate_series(1, 8) i));
SELECT count(DISTINCT first) FROM pg_temp.merged((SELECT array_agg('d' || chr(96 + i) || ' started') FROM generate_series(1, 8) i));
CREATE TEMP TABLE shuffled AS
  SELECT mals_template(a) AS template FROM pair UNION SELECT mals_template(b) FROM pair
  UNION SELECT 'daemon d' || chr(96 + i) || ' has <*>' FROM generate_series(1, 9) i
  UNION SELECT 'daemon da has x' || chr(96 + i) FROM generate_series(1, 9) i;
SELECT count(DISTINCT groups) AS partitions, max(merged) < (SELECT count(*) FROM shuffled) AS some_merged
FROM (
  SELECT s.seed, string_agg(m.template || '=' || m.group_id, ';' ORDER BY m.template COLLATE "C") AS groups,
         count(DISTINCT m.group_id) AS merged
  FROM generate_series(1, 5) AS s (seed),
       LATERAL (SELECT array_agg(template ORDER BY md5(template || s.seed)) AS templates FROM shuffled) AS a,
       LATERAL unnest(a.templates, mals._merge_groups(a.templates)) AS m (template, group_id)
  GROUP BY s.seed) AS p;
SELECT mals._merge_groups('{}');
SELECT mals._merge_groups('{a,NULL}');

-- Only the first 8 kB count, never half a character.
SELECT mals_template(repeat('x', 8192) || 'a') = mals_template(repeat('x', 8192) || 'b') AS beyond,
       mals_template(repeat('x', 8191) || 'a') <> mals_template(repeat('x', 8191) || 'b') AS within,
       mals_template(repeat('x', 8191) || U&'\00fcb') = repeat('x', 8191) AS whole_characters;

-- Hostile input: done at once, in bounds, and valid text.
SELECT count(*) AS hostile, bool_and(octet_length(mals_template(m)) <= 4 * 8192 + 64) AS bounded,
       bool_and(mals_fingerprint(m) = mals_fingerprint(m || '')) AS stable
FROM (
  SELECT repeat(p, 1 + 8200 / length(p)) AS m
  FROM unnest(ARRAY['"', '''a ', '"a', '\"', '`', '[', '(', '{', ']', '((),', '({a},', 'a/b.c-', '/', '/[', 'a:', 'a:a:a:zz ',
    '::a ', 'a=', 'a=(', 'x y=z(', 'code=', 'a= b=', 'status=''', '"message":"''a ', '{"a":', '1 s ', '1,', '-1', '<1 ', '***1', 'user a ',
    'for a from 1 ', 'Mon ', 'Jan 1 ', 'http://', 'C:\a ', 'HTTP/1.1 200 ', 'é1', E'\x01', E'\x1b[', E'\n', E'\n at ', E'\n\tat a.b(c.java:1)',
    E'\n  File "x.py", line 3, in f', E'\nx(\n\t/a/b.go:1', E'\n\t', 'abcError ', 'SELECT ''']) AS p
  UNION ALL SELECT repeat('w', 1000000)
  UNION ALL SELECT repeat('[', 100000)
  UNION ALL SELECT string_agg(chr(1 + (i * 7919) % 126), '') FROM generate_series(1, 9000) i
) AS h;

-- Random input, of fragments that the rules know: no error, in bounds, text that can be converted, the same again.
SELECT setseed(0.42) IS NOT NULL AS seeded;
CREATE TEMP TABLE fuzz AS
  SELECT n, string_agg(f[1 + (random() * (cardinality(f) - 1))::int], '' ORDER BY i) AS m
  FROM (SELECT ARRAY['user ', 'for ', 'from ', '<*>', '1', '12', 'a', 'b.c', '/', '\', '"', '''', '`', '=', ':', '::', '[', ']', '(', ')', '{', '}',
               ',', ';', '-', '+', '$', '@', '#', '%', ' ', E'\n', E'\n\tat é.b(c.java:1)', E'\n  File "x.py", line 3, in ü', E'\n\t/a/b.go:3 +0x1',
               'Traceback (most recent call last):', 'KeyError: x', 'é', '用户', E'\x1b[3m', 'http://', 'C:\x', 'HTTP/1.1', 'Mon', 'Jan', ' ms', 'GMT',
               'true', 'null', 'status', 'code', '"key":', '0x1f', 'deadbeef', '...', 'fe80::1', '10.0.0.1:80', '***1', '~/', './', '<1', 'process ',
               'SELECT ', 'abcError', '\n', '\"', 'SomeException', repeat('é', 70)] AS f) AS fragments,
       generate_series(1, 1000) AS n, generate_series(1, 1 + n % 60) AS i
  GROUP BY n;
SELECT count(*) AS messages, bool_and(octet_length(mals_template(m)) <= 4 * octet_length(m) + 16) AS bounded,
       bool_and(convert_from(convert_to(mals_template(m), 'UTF8'), 'UTF8') = mals_template(m)) AS valid,
       bool_and(mals_fingerprint(m) = mals_fingerprint(m || '')) AS stable
FROM fuzz;

-- Signatures.
SELECT proname, provolatile, proisstrict, proparallel, has_function_privilege('public', oid, 'execute') AS for_all,
       obj_description(oid, 'pg_proc') IS NOT NULL AS has_comment
FROM pg_proc WHERE proname IN ('mals_template', 'mals_fingerprint', 'mals_fingerprint_version') ORDER BY proname;
SELECT mals_template(NULL) IS NULL;
