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
  ('https://hooks.slack.com/services/'), ('https://x/y?page=2&limit=10'), ('user@tcp(db:3306)/x'), ('ratio 3:1, a => b, c -> d'), ('SET x = ''y'''), ('expected ''x'''),
  -- more identifiers, sentences, code, command lines
  ('user id 550e8400-e29b-41d4-a716-446655440000 not found'), ('sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709'),
  ('blob sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'),
  ('traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'), ('b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1'),
  ('x-request-id: 8c1f7b2a9d3e4f5a6b7c8d9e0f1a2b3c'), ('X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678'),
  ('"image": "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIUFRT="'),
  ('Password reset requested for user 4711'), ('password reset email sent to bob@example.com'),
  ('Password changed successfully at 2026-01-01T10:00:00Z'), ('password authentication failed for user "bob"'), ('user did not provide a password'),
  ('Wrong password, 2 attempts left'), ('password attempt 3 of 5'), ('Password policy v2: min 12 characters'), ('password length is 12'),
  ('The password is incorrect'), ('the password is too weak'), ('password was not set'), ('password is required'), ('password hash is sha256'),
  ('the password must contain at least 8 characters'), ('password field #password-input not found'), ('input[name=password] is missing'),
  ('SELECT password FROM users WHERE id = 1'), ('ALTER TABLE users ADD COLUMN password text NOT NULL'),
  ('UPDATE users SET password = $1 WHERE id = $2'), ('INSERT INTO users (name, password) VALUES ($1, $2)'), ('password = EXCLUDED.password'),
  ('password varchar(255)'), ('column "password" does not exist'), ('"password": {"type": "string", "minLength": 8}'),
  ('password: str = Field(..., min_length=8)'), ('def login(user: str, password: str) -> Token:'), ('password: Optional[str] = None'),
  ('func Login(password string) error'), ('if (password === undefined)'), ('if password != confirm_password:'), ('password == other.password'),
  ('type=password name=pw'), ('<input type="password" name="password">'), ('<label>Password</label>'), ('--password-file /run/secrets/pw'),
  ('--password-stdin'), ('--max-tokens 4096'), ('--token-limit 4096'), ('mkdir -p /tmp/a1b2c3'), ('ssh -p 2222 host'),
  ('docker run -p 8080:80 nginx1'), ('psql -p 5432 -U bob'), ('mysql -p -u root'), ('mysql -P3306 -h db1'), ('grep -a pattern1 file'),
  ('tar -pxf a.tar'), ('gcc -pthread'), ('token count: 512'), ('Token usage: input 1024, output 512'), ('max_tokens=4096'), ('tokens=1,024'),
  ('{"tokens": 512, "max_new_tokens": 256}'), ('token budget exceeded: 8192 > 4096'), ('total_tokens: 12345678'), ('token_count=12345678'),
  ('tokenizer=cl100k_base'), ('token_ids=[101, 2023, 102]'), ('"token": "Ġhello"'), ('token: <eos>'), ('token 12 of 4096'),
  ('tokens per second: 45.6'), ('token limit reached: 128000'), ('Unexpected token ''<'', "<!DOCTYPE "... is not valid JSON'),
  ('parse error near token: SELECT'), ('token_type=bearer&expires_in=3600'), ('invalid_token'), ('token refresh scheduled in 3600s'),
  ('token bucket refill=100'), ('/home/bob/.ssh/id_rsa.pub'), ('/etc/secrets/api_key.txt missing'), ('C:\Users\bob\secret\keys.txt'),
  ('open .env: no such file'), ('secret santa list created'), ('secrets manager is unreachable'), ('secret "db-creds" not found in namespace default'),
  ('secretName: db-credentials'), ('secretKeyRef: {name: db, key: password}'), ('secret/db: mounted'), ('SecretsManager.GetSecretValue took 12 ms'),
  ('order 4111-2222'), ('bob@example.com wrote to ann+test@example.org'), ('01ARZ3NDEKTSV4RRFFQ69G5FAV'), ('nanoid V1StGXR8_Z5jdHi6B-myT'),
  ('ksuid 0ujtsYcgvSTl8PAuAdqWYSMnLOv'), ('objectid 507f1f77bcf86cd799439011'),
  ('image nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'), ('ETag: W/"33a64df551425fcc55e4d42a148795d9f25f89d4"'),
  ('If-None-Match: "686897696a7c876b7e"'), ('author: Bob Miller 1987'), ('author=bob1234567 committed'), ('The bearer of this letter is Bob'),
  ('ring bearer approached 12 hobbits'), ('a standard-bearer for change'), ('Basic plan: 10 users'), ('basic understanding1 of it'),
  ('basic tokenization-v2 pipeline'), ('Bearer token is missing'), ('bearer-token authentication required'), ('authorization_code grant'),
  ('Authorization header missing'), ('authorization: user 42 may read'), ('Cookie consent accepted'), ('cookie: chocolate'), ('cookies=enabled'),
  ('cookie expired after 3600s'), ('Set-Cookie header missing'), ('session_id=0af7651916cd43dd8448eb211c80319c'), ('session_key: s-2026-01-01-abc123'),
  ('correlation_id: req-0af7651916cd43dd8448eb211c80319c'), ('key: value1234567'), ('apiKeys: 3 active'), ('API key is missing'),
  ('api key expired 2026-01-01'), ('API key rotation completed in 12s'), ('api_key_id=key_123456'), ('foreign key constraint fk_123 violated'),
  ('duplicate key value violates unique constraint "users_pkey1"'), ('key ordering: asc'), ('s3 key uploads/2026/a1b2c3.png'),
  ('redis key user:42:cart'), ('sort_key=created_at2'), ('ssh key ed25519 loaded'), ('host key ED25519 accepted'), ('GPG key 0x1234ABCD5678EF90'),
  ('publishable key pk_test_51H8xkeXAMPLE'), ('kms key arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab'),
  ('key_id=1234abcd-12ab-34cd-56ef-1234567890ab'), ('{"name": "PATH", "value": "/usr/bin:/bin"}'), ('{"name": "MAX_TOKENS", "value": "4096"}'),
  ('{"name": "password", "type": "text"}'), ('{"field": "password", "error": "too short"}'),
  ('{"loc": ["body", "password"], "msg": "field required"}'), ('["--verbose", "--output", "x1y2z3"]'), ('pat: a small touch1'), ('pattern=a1b2c3d4'),
  ('pw: ok'), ('https://example.com/reset?user=bob'), ('https://user@host.example/path'), ('git clone git@github.com:org/repo1.git'),
  ('postgres://localhost/db1'), ('mongodb://host1:27017,host2:27017/db'), ('ratio=1:2@3'), ('at 10:30:15 on 2026-01-01'), ('10.0.0.1:5432@primary'),
  ('commit 9f86d08 by bob'), ('version 1.2.3-beta.4+build.5'), ('pip install scikit-learn==1.4.0'), ('sk-SK locale'), ('SG.1 region'),
  ('region sgp1-2'), ('lambda arn:aws:lambda:us-east-1:123456789012:function:AKIDemo'), ('pypi-mirror.internal'), ('npm_package_version=1.2.3'),
  ('hf_model_name_or_path_for_inference'), ('xoxo-hugs-and-kisses-12'), ('base64: SGVsbG8gd29ybGQhIFRoaXMgaXMgYSB0ZXN0Lg=='),
  ('checksum crc32=1a2b3c4d'), ('MAC 00:1A:2B:3C:4D:5E'), ('iban DE89370400440532013000'), ('phone +49 170 1234567'), ('isbn 978-3-16-148410-0'),
  ('pwd is /home/agent1'), ('cwd=/srv/app pwd=/srv/app'), ('passed 12 tests1'), ('pass 2 of 3'), ('pass rate: 99.5%'), ('first pass: done1'),
  ('passing=12'), ('Passport: X1234567'), ('passive mode1'), ('compass heading1'), ('credential helper: osxkeychain'), ('credentials: include'),
  ('credentials=same-origin'), ('withCredentials: true'), ('signature verified'), ('signature: (a: int) -> str'), ('Signature=HMAC'), ('sig: SIGTERM'),
  ('recovery key stored'), ('license key expired');

SELECT n, message, mals_redact(message) AS changed FROM text_ WHERE mals_redact(message) <> message ORDER BY n;
SELECT count(*) >= 300 AS enough FROM text_;
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'alike', 'msg', message, 'n', n, 'list', jsonb_build_array(message), 'x ' || message, jsonb_build_object('text', message)))) = count(*) AS stored FROM text_;
SELECT n, e.message, e.metadata FROM text_ t JOIN mals.entries e ON agent_id = 'alike' AND (metadata->>'n')::int = n
WHERE e.message <> t.message OR e.metadata <> jsonb_build_object('n', n, 'list', jsonb_build_array(t.message), 'x ' || t.message, jsonb_build_object('text', t.message)) ORDER BY n;

-- Long texts without secrets: the time grows with the length, else this would take hours
SET statement_timeout = '3min';
SELECT mals_redact(t) = t AS same FROM (VALUES ('all is well '), ('a=b: c '), ('eyJ'), ('eyJ.'), ('-----BEGIN PRIVATE KEY-----'), ('://a:b'), ('sk-'), ('hvs.'), ('<password>'), ('@tcp('), ('\"'), ('bearer '),
  ('password= x=y '), ('password is '), (' -p'), ('mysql -p '), ('"name": "password", "value": true, '), ('cookie: a=b; '), ('--password", '), ('"password": "***'), ('12345678:A'), ('-u a:'), ('--token ')) AS v (piece), LATERAL (SELECT repeat(piece, 4000000 / length(piece)) AS t OFFSET 0) AS r;
RESET statement_timeout;

-- Characters are never split
SELECT convert_from(convert_to(mals_redact('naïve password=日本語テキスト 日本'), 'UTF8'), 'UTF8') AS redacted;
