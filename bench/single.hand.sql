\set agent random(0, 39)
\set n random(1, 1000000)
INSERT INTO bench.hand SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7' || substr(md5(:n::text), 1, 3) || '8' || substr(md5(:n::text), 4, 15))::uuid, t, t, 20, 'agent-' || :agent, 'Order ' || :n || ' placed on the book, filled 37 percent so far', 'trading', 'worker', 'session-1', NULL, NULL, NULL, '{"duration_ms": 12.5, "attempt": 1, "model": "m-3", "region": "eu-central-1", "host": "node-7", "tokens": 1200, "tags": ["agent", "prod"]}' FROM clock_timestamp() AS t;
