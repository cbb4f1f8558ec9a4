\set agent random(0, 39)
\set n random(1, 1000000)
SELECT pg_notify('mals', ''), mals_log('agent-' || :agent, 'Order ' || :n || ' placed on the book, filled 37 percent so far', 'info', 'trading', '{"duration_ms": 12.5, "attempt": 1, "model": "m-3", "region": "eu-central-1", "host": "node-7", "tokens": 1200, "tags": ["agent", "prod"]}', 'session-1', 'worker');
