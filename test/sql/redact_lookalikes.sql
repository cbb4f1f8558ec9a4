-- Texts that look like secrets and are none: they are left alone, in messages and metadata.
TRUNCATE mals.entries, mals._sights, mals._templates;
CREATE TEMP TABLE text_ (n serial, message text);
INSERT INTO text_ (message) VALUES
  -- identifiers and hashes
  ('entry 018f4cd2-4c03-7abc-8000-000000000001 stored'), ('commit 3f786850e387550fdab836ed7e6dc881de23001b'), ('HEAD is now at 9fceb02 Fix it'),
  ('traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'), ('trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331'),
  ('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'), ('md5 d41d8cd98f00b204e9800998ecf8427e'), ('req-0af7651916cd43dd8448eb211c80319c'),
  ('task-0af7651916cd43dd8448eb211c80319c done'), ('key-0af7651916cd43dd8448eb211c80319c'), ('etag "33a64df551425fcc55e4d42a148795d9f25f89d4"'), ('ulid 01JJ4S0WNGEF5FQAZG5KDGJRBV'),
  ('data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  ('/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL'),
  ('account 123456789012 in us-east-1'), ('arn:aws:iam::123456789012:user/bob'), ('i-0abcd1234efgh5678 is running'), ('AKIA is a prefix'), ('pod web-7d4b9c6f5d-x2x8z restarted'),
  ('ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 bob@host'), ('SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDbzbMbSZlz0b8vKyM'),
  (E'-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ\n-----END CERTIFICATE-----'),
  (E'-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----'),
  ('the file begins with -----BEGIN RSA PRIVATE KEY----- as it should'), ('between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- is the key'), ('docker run -u 1000:1000 x'), ('docker run --user www-data:www-data x'), ('eyJhbGciOiJIUzI1NiJ9 is a header'), ('payload eyJmb28iOiJiYXIifQ=='), ('eyJ.a.b'),
  ('pk_live_51H8xkeXAMPLEkeyPUBLISHABLE'), ('pk-lf-018f4cd2-4c03-7abc-8000-000000000001'), ('AC0123456789abcdef0123456789abcdef called'),
  -- words
  ('password reset requested'), ('password: must be at least 8 characters'), ('Invalid password: too short'), ('password=true'), ('password: required'), ('password = None'), ('"password": null'),
  ('"password": "string"'), ('password=***'), ('password: ********'), ('password=${DB_PASSWORD}'), ('password=$DB_PASSWORD psql'), ('password: {{ vault.password }}'), ('password=<password>'),
  ('password=os.environ["PGPASSWORD"]'), ('password = get_password()'), ('password: self.password'), ('"password": "%s"'), ('password_file=/run/secrets/db'), ('passwordHash, passwordSalt'),
  ('const token = await fetchToken(1);'), ('password= user=bob'), ('secret santa'), ('secret: invalid'), ('the secret: nobody knows'), ('secret=/run/secrets/api'), ('password=[redacted:password]'), ('[REDACTED]'), ('passwords=12 checked'), ('no password.'),
  ('token count: 512'), ('tokens=1234'), ('tokens: 1234, cost: 0.02'), ('max_tokens: 4096'), ('"token_type": "bearer"'), ('prompt_tokens=812 completion_tokens=96'), ('token: 512'), ('time_per_token=12.5'),
  ('Unexpected token: identifier'), ('Unexpected token } in JSON at position 5'), ('SyntaxError: invalid token: else'), ('nextPageToken=CAUQAA9x7'), ('next_token: 8f3a2b1c9d'), ('eos_token: endoftext1'),
  ('{"token": "Hello", "logprob": -0.25}'), ('Token::Ident(x1)'), ('token expired'), ('token=expired'), ('pass=12 fail=0'), ('pass: true'), ('bypass=enabled1'), ('compass: north42'),
  ('PWD=/home/agent/work'), ('cd $PWD; pwd: /tmp/x1'), ('author=bob1234567'), ('authority: example.com2'), ('auth=basic'), ('auth: ok'), ('oauth2: enabled'), ('authenticated: alice42'),
  ('Authorization: granted'), ('authorization: denied for bob'), ('bearer of bad news'), ('Bearer authentication failed'), ('basic functionality works'), ('Basic authentication is off'),
  ('WWW-Authenticate: Bearer realm="example", error="invalid_token"'), ('Basic realm="x"'), ('primary_key=id12345678'), ('key=value1234'), ('session_key: abcdef123456'), ('partition key: ts1234567'),
  ('cache_key=user:42:profile'), ('idempotency_key=8f3a2b1c9d'), ('public_key: abcdef123456'), ('keyboard: us-intl1'), ('monkey=george1'), ('private_key=/etc/ssl/key.pem'), ('access_key_id: not set'),
  ('signature: sha256=e3b0c44298fc1c149afbf4c8996fb924'), ('signals=15'), ('sig=9'),
  -- prefixes that are words
  ('sk-learn is scikit-learn'), ('skill-builder-2'), ('task-sk-1'), ('ask-me-anything-about-it'), ('risk-assessment-2024-report-final'), ('hf_transfer enabled'), ('hf_hub_download_from_cache_dir'),
  ('npm_config_registry'), ('npm_lifecycle_event=test'), ('github_patch_applied'), ('gh_pages'), ('glpat is a prefix'), ('xoxo, hugs'), ('dapi'), ('whsec'), ('SG.1'), ('re_compile_and_cache_regex_pattern'),
  ('pattern.matching.in.text'), ('secret_manager_client_initialised'), ('sl.config.module'), ('fc-cache -f'), ('SKU12345678901234567890'), ('r8_unorm texture'), ('s3://bucket/key'), ('AIza'),
  -- URLs
  ('https://example.com:8080/path?email=bob@example.com'), ('http://[::1]:8080/'), ('https://bob@example.com/'), ('mailto:bob@example.com'), ('ssh://git@github.com:22/o/r.git'), ('git@github.com:o/r.git'),
  ('postgres://bob@db:5432/x'), ('postgres://bob:${PASSWORD}@db/x'), ('https://bob:***@example.com'), ('http://a:80 and mail to bob@example.com'), ('time 12:34:56 at x@y'), ('jdbc:postgresql://db:5432/x?user=bob'),
  ('https://hooks.slack.com/services/'), ('https://x/y?page=2&limit=10'), ('user@tcp(db:3306)/x'), ('ratio 3:1, a => b, c -> d'), ('SET x = ''y'''), ('expected ''x''');

SELECT n, message, mals_redact(message) AS changed FROM text_ WHERE mals_redact(message) <> message ORDER BY n;
SELECT count(*) >= 60 AS enough FROM text_;
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'alike', 'msg', message, 'n', n, 'list', jsonb_build_array(message), 'x ' || message, jsonb_build_object('text', message)))) = count(*) AS stored FROM text_;
SELECT n, e.message, e.metadata FROM text_ t JOIN mals.entries e ON agent_id = 'alike' AND (metadata->>'n')::int = n
WHERE e.message <> t.message OR e.metadata <> jsonb_build_object('n', n, 'list', jsonb_build_array(t.message), 'x ' || t.message, jsonb_build_object('text', t.message)) ORDER BY n;

-- Long texts without secrets: the time grows with the length, else this would take hours
SET statement_timeout = '3min';
SELECT mals_redact(t) = t AS same FROM (VALUES ('all is well '), ('a=b: c '), ('eyJ'), ('eyJ.'), ('-----BEGIN PRIVATE KEY-----'), ('://a:b'), ('sk-'), ('hvs.'), ('<password>'), ('@tcp('), ('\"'), ('bearer '),
  ('password= x=y '), ('"password": "***'), ('12345678:A'), ('-u a:'), ('--token ')) AS v (piece), LATERAL (SELECT repeat(piece, 4000000 / length(piece)) AS t OFFSET 0) AS r;
RESET statement_timeout;

-- Characters are never split
SELECT convert_from(convert_to(mals_redact('naïve password=日本語テキスト 日本'), 'UTF8'), 'UTF8') AS redacted;
