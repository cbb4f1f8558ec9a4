-- Secrets that must go. No key here opens anything: bodies are made of one fixed text.
TRUNCATE mals.entries, mals._sights, mals._templates;

-- The first n characters of a made-up body
CREATE FUNCTION pg_temp.fake(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(repeat('aB3dEfG7hIjK1mNoPqR5sTuV9wXyZ0', 20), n) $$;
CREATE FUNCTION pg_temp.hex(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(repeat('0f1e2d3c4b5a69788796a5b4c3d2e1f0', 20), n) $$;
CREATE FUNCTION pg_temp.upper(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT left(repeat('EXAMPLE2KEY7NOT5REAL', 20), n) $$;

-- What stands before the secret, the secret, what stands after it: only it is replaced
CREATE TEMP TABLE secret (n serial, kind text, before text, secret text, after text);
INSERT INTO secret (kind, before, secret, after)
  -- vendors
SELECT 'anthropic', 'calling with ', 'sk-ant-' || 'api03-' || pg_temp.fake(93) || 'AA', ' now' UNION ALL
SELECT 'anthropic', '(', 'sk-ant-' || 'oat01-' || pg_temp.fake(40), ')' UNION ALL
SELECT 'openai', 'OPENAI_API_KEY=', 'sk-' || pg_temp.fake(48), '' UNION ALL
SELECT 'openai', 'key "', 'sk-' || 'proj-' || pg_temp.fake(60) || '_' || pg_temp.fake(20), '" was refused' UNION ALL
SELECT 'openai', 'using ', 'sk-' || 'svcacct-' || pg_temp.fake(60), '.' UNION ALL
SELECT 'openrouter', '', 'sk-' || 'or-v1-' || pg_temp.hex(64), '' UNION ALL
SELECT 'groq', E'first line\n', 'gsk' || '_' || pg_temp.fake(52), E'\nlast line' UNION ALL
SELECT 'xai', 'key: ', 'xai' || '-' || pg_temp.fake(80), ', retrying' UNION ALL
SELECT 'perplexity', '<', 'pplx' || '-' || pg_temp.fake(48), '>' UNION ALL
SELECT 'replicate', 'token ', 'r8' || '_' || pg_temp.fake(37), '' UNION ALL
SELECT 'huggingface', 'login with ', 'hf' || '_' || pg_temp.fake(34), ' failed' UNION ALL
SELECT 'nvidia', '', 'nvapi' || '-' || pg_temp.fake(64), '' UNION ALL
SELECT 'langsmith', '', 'lsv2' || '_pt_' || pg_temp.hex(32) || '_' || pg_temp.hex(10), '' UNION ALL
SELECT 'pinecone', '', 'pcsk' || '_' || pg_temp.fake(6) || '_' || pg_temp.fake(63), '' UNION ALL
SELECT 'tavily', '', 'tvly' || '-dev-' || pg_temp.fake(32), '' UNION ALL
SELECT 'aws', 'access key ', 'AKIA' || pg_temp.upper(16), ' is not active' UNION ALL
SELECT 'aws', 'x=', 'ASIA' || pg_temp.upper(16), '' UNION ALL
SELECT 'aws', 'aws_secret_access_key = ', pg_temp.fake(20) || '/' || pg_temp.fake(18) || '+', '' UNION ALL
SELECT 'aws', '"SecretAccessKey": "', pg_temp.fake(40), '"' UNION ALL
SELECT 'github', 'git clone https://', 'ghp' || '_' || pg_temp.fake(36), '@github.com/o/r' UNION ALL
SELECT 'github', 'https://', 'ghp' || '_' || pg_temp.fake(36), ':@github.com/o/r' UNION ALL
SELECT 'github', '', 'gho' || '_' || pg_temp.fake(36), '' UNION ALL
SELECT 'github', '', 'ghs' || '_' || pg_temp.fake(36), '' UNION ALL
SELECT 'github', 'written\n', 'ghr' || '_' || pg_temp.fake(36), '\n' UNION ALL
SELECT 'github', '', 'github' || '_pat_' || pg_temp.fake(22) || '_' || pg_temp.fake(59), '' UNION ALL
SELECT 'gitlab', 'PRIVATE-TOKEN: ', 'glpat' || '-' || pg_temp.fake(20), '' UNION ALL
SELECT 'gitlab', '', 'glrt' || '-' || pg_temp.fake(20), '' UNION ALL
SELECT 'slack', '', 'xox' || 'b-123456789012-1234567890123-' || pg_temp.fake(24), '' UNION ALL
SELECT 'slack', '', 'xox' || 'p-123456789012-' || pg_temp.fake(24), '' UNION ALL
SELECT 'slack', 'POST https://hooks.slack.com/services/', 'T00000000/B00000000/' || pg_temp.fake(24), ' 200' UNION ALL
SELECT 'discord', 'https://discord.com/api/webhooks/', '123456789012345678/' || pg_temp.fake(68), '' UNION ALL
SELECT 'discord', 'bot ', 'MTIzNDU2Nzg5MDEyMzQ1Njc4' || '.GExMpL.' || pg_temp.fake(38), '' UNION ALL
SELECT 'telegram', 'https://api.telegram.org/bot', '123456789:' || 'AA' || pg_temp.fake(33), '/sendMessage' UNION ALL
SELECT 'stripe', '', 'sk' || '_live_' || pg_temp.fake(24), '' UNION ALL
SELECT 'stripe', '', 'rk' || '_test_' || pg_temp.fake(24), '' UNION ALL
SELECT 'stripe', '', 'whsec' || '_' || pg_temp.fake(32), '' UNION ALL
SELECT 'google', 'https://maps.googleapis.com/maps/api/js?key=', 'AIza' || 'Sy' || pg_temp.fake(33), '&v=3' UNION ALL
SELECT 'google', '', 'ya29' || '.a0' || pg_temp.fake(60), '' UNION ALL
SELECT 'google', '', 'GOCSPX' || '-' || pg_temp.fake(28), '' UNION ALL
SELECT 'npm', '//registry.npmjs.org/:_authToken=', 'npm' || '_' || pg_temp.fake(36), '' UNION ALL
SELECT 'pypi', '', 'pypi' || '-AgEIcHlwaS5vcmc' || pg_temp.fake(60), '' UNION ALL
SELECT 'sendgrid', '', 'SG' || '.' || pg_temp.fake(22) || '.' || pg_temp.fake(43), '' UNION ALL
SELECT 'twilio', '', 'SK' || pg_temp.hex(32), '' UNION ALL
SELECT 'digitalocean', '', 'dop' || '_v1_' || pg_temp.hex(64), '' UNION ALL
SELECT 'databricks', '', 'dapi' || pg_temp.hex(32), '' UNION ALL
SELECT 'shopify', '', 'shpat' || '_' || pg_temp.hex(32), '' UNION ALL
SELECT 'vault', '', 'hvs' || '.' || pg_temp.fake(90), '' UNION ALL
SELECT 'doppler', '', 'dp' || '.pt.' || pg_temp.fake(43), '' UNION ALL
SELECT 'linear', '', 'lin' || '_api_' || pg_temp.fake(40), '' UNION ALL
SELECT 'notion', '', 'ntn' || '_' || pg_temp.fake(46), '' UNION ALL
SELECT 'notion', '', 'secret' || '_' || pg_temp.fake(43), '' UNION ALL
SELECT 'atlassian', '', 'ATATT3' || pg_temp.fake(180) || '=' || pg_temp.fake(8), '' UNION ALL
SELECT 'supabase', '', 'sbp' || '_' || pg_temp.hex(40), '' UNION ALL
SELECT 'vercel', '', 'vcp' || '_' || pg_temp.fake(56), '' UNION ALL
SELECT 'cloudflare', '', 'cfut' || '_' || pg_temp.fake(48), '' UNION ALL
SELECT 'azure', 'client secret ', 'aB3' || '8Q~' || pg_temp.fake(34), ' expires' UNION ALL
SELECT 'key', 'DefaultEndpointsProtocol=https;AccountName=x;AccountKey=', pg_temp.fake(86) || '==', ';EndpointSuffix=core.windows.net' UNION ALL
SELECT 'signature', 'https://x.blob.core.windows.net/c/b?sv=2024-11-04&sig=', pg_temp.fake(40) || '%3D', '&se=2026-01-01' UNION ALL
SELECT 'age', '', 'AGE-SECRET-KEY-1' || pg_temp.upper(58), '' UNION ALL
  -- headers
SELECT 'bearer', 'Authorization: Bearer ', pg_temp.fake(20), '' UNION ALL
SELECT 'bearer', 'curl -H "Authorization: Bearer ', 'abcdef', '" https://x' UNION ALL
SELECT 'bearer', 'sent bearer ', '0123abcd4567', ' to the host' UNION ALL
SELECT 'basic', 'Authorization: Basic ', encode('user:hunter2', 'base64'), '' UNION ALL
SELECT 'basic', 'proxy answered to basic ', encode('admin:hunter2', 'base64'), ' with 407' UNION ALL
SELECT 'token', '{"headers": {"Authorization": "Token ', 'abc123', '"}}' UNION ALL
SELECT 'api_key', 'X-Api-Key: ', 'abcdef', '' UNION ALL
SELECT 'token', 'x-auth-token: ', 'abcdef', E'\r\nHost: x' UNION ALL
  -- tokens and keys that have a shape
SELECT 'jwt', 'session ', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.' || pg_temp.fake(43), ' refused' UNION ALL
SELECT 'jwt', 'Authorization: Bearer ', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.' || pg_temp.fake(43), '' UNION ALL
SELECT 'private_key', E'key:\n', E'-----BEGIN RSA PRIVATE ' || E'KEY-----\n' || pg_temp.fake(64) || E'\n' || pg_temp.fake(30) || E'\n-----END RSA PRIVATE KEY-----', E'\nend' UNION ALL
SELECT 'private_key', '{"private_key": "', '-----BEGIN PRIVATE ' || 'KEY-----\n' || pg_temp.fake(64) || '\n-----END PRIVATE KEY-----', '\n", "x": 1}' UNION ALL
SELECT 'private_key', 'cut ', '-----BEGIN OPENSSH PRIVATE ' || E'KEY-----\n' || pg_temp.fake(64) || E'\n' || pg_temp.fake(10), '' UNION ALL
  -- pairs
SELECT 'password', 'password=', 'hunter2', '' UNION ALL
SELECT 'password', 'login with user=bob password=', 'hunter2', ' failed' UNION ALL
SELECT 'password', 'passwd: ', 'swordfish', ', user: bob' UNION ALL
SELECT 'password', 'DB_PASSWORD="', 'correct horse', '"' UNION ALL
SELECT 'password', '{"user": "bob", "password": "', 'hun\"ter2', '", "n": 1}' UNION ALL
SELECT 'password', '{\"user\":\"bob\",\"password\":\"', 'hunter2', '\"}' UNION ALL
SELECT 'password', '"{\\\"password\\\": \\\"', 'hunter2', '\\\"}"' UNION ALL
SELECT 'password', '{''password'': ''', 'hunter2', '''}' UNION ALL
SELECT 'password', '{"password": ', '12345', ', "n": 1}' UNION ALL
SELECT 'password', 'config["dbPassword"] = "', 'hunter2', '"' UNION ALL
SELECT 'password', ':password => ''', 'hunter2', '''' UNION ALL
SELECT 'password', 'Server=db;Database=x;User Id=sa;Password=', 'p@ss,w0rd!', ';Encrypt=true' UNION ALL
SELECT 'password', 'host=db user=bob password=''', 'a b', ''' dbname=x' UNION ALL
SELECT 'password', 'Login{user=bob, pwd=', 'hunter2', ', host=db}' UNION ALL
SELECT 'password', 'PGPASSWORD=', 'hunter2', ' psql -h db' UNION ALL
SELECT 'password', 'ALTER ROLE bob PASSWORD ''', 'it''''s', ''' VALID UNTIL ''infinity''' UNION ALL
SELECT 'password', 'CREATE USER bob IDENTIFIED BY ''', 'hunter2', '''' UNION ALL
SELECT 'password', '<server><password>', 'hunter2', '</password></server>' UNION ALL
SELECT 'password', 'mysql --user bob --password ', 'hunter2', ' db' UNION ALL
SELECT 'basic', 'curl -s -u admin:', 'sw0rdfish', ' https://x' UNION ALL
SELECT 'basic', 'curl --user "admin:', 'hunter2', '" https://x' UNION ALL
SELECT 'private_key', 'short ', '-----BEGIN EC PRIVATE ' || E'KEY-----\nabc\n-----END EC PRIVATE KEY-----', ' key' UNION ALL
SELECT 'openai', '', 'sk-' || 'proj-' || repeat('abcdefgh', 5), '' UNION ALL
SELECT 'password', 'passphrase: ', 'correct horse battery staple', E'\nnext' UNION ALL
SELECT 'secret', 'client_secret=', 'abcdef', '&grant_type=x' UNION ALL
SELECT 'secret', 'secret: ', 'hunter2', '' UNION ALL
SELECT 'token', 'GET /x?token=', 'swordfish', '&page=2' UNION ALL
SELECT 'secret', 'secret = ', 'YWJj==', ' x=1' UNION ALL
SELECT 'token', 'token: ', 'abc123', '' UNION ALL
SELECT 'token', '"access_token":"', 'opaque', '"' UNION ALL
SELECT 'token', 'refreshToken=', 'opaque', '' UNION ALL
SELECT 'api_key', 'api_key=', 'abcdef', '' UNION ALL
SELECT 'api_key', 'apikey: ', 'abcdef', '' UNION ALL
SELECT 'api_key', 'API key: ', 'abcdef', '' UNION ALL
SELECT 'api_key', 'https://x/y?api-key=', 'abcdef', '&z=1' UNION ALL
SELECT 'key', 'encryption_key: ', 'abcdef', '' UNION ALL
SELECT 'password', 'url-encoded?password=', 'caf%C3%A9', '&x=1' UNION ALL
SELECT 'password', 'вход: password=', 'пароль', ' да' UNION ALL
  -- URLs and connection strings
SELECT 'url_password', 'postgres://bob:', 'hunter2', '@db:5432/x' UNION ALL
SELECT 'url_password', 'redis://:', 'hunter2', '@cache:6379/0' UNION ALL
SELECT 'url_password', 'mongodb+srv://bob:', 'p%40ss', '@c0.example.net/?w=1' UNION ALL
SELECT 'url_password', 'https://bob:', 'p@ss', '@example.com/a@b' UNION ALL
SELECT 'url_password', 'proxy "http://bob:', 'pa/ss', '@proxy:3128" is down' UNION ALL
SELECT 'url_password', 'dsn bob:', 'hunter2', '@tcp(db:3306)/x' UNION ALL
  -- as the vendors' documentation, tools and configuration files show them
SELECT 'openai', 'export OPENAI_API_KEY="', 'sk-' || 'proj-' || pg_temp.fake(74) || 'T3BlbkFJ' || pg_temp.fake(74), '"' UNION ALL
SELECT 'openai', 'Incorrect API key provided: ', 'sk-' || 'svcacct-' || pg_temp.fake(40) || '-' || pg_temp.fake(20), '. You can find it' UNION ALL
SELECT 'openai', 'key=', 'sk-' || 'None-' || pg_temp.fake(48), '' UNION ALL
SELECT 'anthropic', 'x-api-key: ', 'sk-ant-' || 'admin01-' || pg_temp.fake(93) || 'AA', '' UNION ALL
SELECT 'anthropic', 'ANTHROPIC_API_KEY=', 'sk-ant-' || 'api03-' || pg_temp.fake(93) || 'AA', '\nOTHER=1' UNION ALL
SELECT 'openai', 'DEEPSEEK_API_KEY: ', 'sk-' || pg_temp.hex(32), '' UNION ALL
SELECT 'api_key', 'MISTRAL_API_KEY=', pg_temp.fake(32), '' UNION ALL
SELECT 'api_key', 'CO_API_KEY=', pg_temp.fake(40), '' UNION ALL
SELECT 'aws', 'aws configure set aws_secret_access_key ', pg_temp.fake(40), '' UNION ALL
SELECT 'aws', '[default]\naws_access_key_id = ', 'AKIA' || pg_temp.upper(16), '\n' UNION ALL
SELECT 'aws', 'AWS_SECRET_ACCESS_KEY=', pg_temp.fake(20) || '/' || pg_temp.fake(19), ' aws s3 ls' UNION ALL
SELECT 'token', 'aws_session_token=', pg_temp.fake(300) || '==', '' UNION ALL
SELECT 'token', '"SessionToken": "', pg_temp.fake(100), '"' UNION ALL
SELECT 'token', 'https://s3.amazonaws.com/b/k?X-Amz-Security-Token=', pg_temp.fake(60) || '%2B', '&X-Amz-Date=20260101' UNION ALL
SELECT 'signature', '&X-Amz-SignedHeaders=host&X-Amz-Signature=', pg_temp.hex(64), '' UNION ALL
SELECT 'github', 'https://x-access-token:', 'ghs' || '_' || pg_temp.fake(36), '@github.com/o/r.git' UNION ALL
SELECT 'github', 'GITHUB_TOKEN=', 'github' || '_pat_' || pg_temp.fake(22) || '_' || pg_temp.fake(59), '' UNION ALL
SELECT 'github', 'Authorization: token ', 'gho' || '_' || pg_temp.fake(36), '' UNION ALL
SELECT 'gitlab', '', 'gldt' || '-' || pg_temp.fake(20), '' UNION ALL
SELECT 'gitlab', 'https://oauth2:', 'glpat' || '-' || pg_temp.fake(20), '@gitlab.com/x.git' UNION ALL
SELECT 'gitlab', 'JOB-TOKEN: ', 'glcbt' || '-64_' || pg_temp.fake(20), '' UNION ALL
SELECT 'slack', 'SLACK_APP_TOKEN=', 'xapp' || '-1-A0123456789-1234567890123-' || pg_temp.hex(64), '' UNION ALL
SELECT 'slack', '', 'xoxe' || '.xoxp-1-' || pg_temp.fake(140), '' UNION ALL
SELECT 'slack', 'url":"https://hooks.slack.com/services/', 'T01234567/B01234567/' || pg_temp.fake(24), '"' UNION ALL
SELECT 'stripe', 'Stripe.api_key = "', 'sk' || '_test_51' || pg_temp.fake(97), '"' UNION ALL
SELECT 'stripe', '', 'rk' || '_live_51' || pg_temp.fake(97), '' UNION ALL
SELECT 'google', '{"type":"authorized_user","refresh_token":"', '1//0g' || pg_temp.fake(60), '"}' UNION ALL
SELECT 'google', 'client_secret=', 'GOCSPX' || '-' || pg_temp.fake(28), '' UNION ALL
SELECT 'google', 'access_token=', 'ya29' || '.c.b0' || pg_temp.fake(200), '' UNION ALL
SELECT 'google', 'Gemini GOOGLE_API_KEY ', 'AIza' || 'Sy' || pg_temp.fake(33), ' invalid' UNION ALL
SELECT 'private_key', '{"type": "service_account", "private_key_id": "' || md5('') || '", "private_key": "', '-----BEGIN PRIVATE ' || 'KEY-----\nMIIEvQIBADANBg\n' || pg_temp.fake(64) || '\n-----END PRIVATE KEY-----', '\n"}' UNION ALL
SELECT 'private_key', 'PGP ', '-----BEGIN PGP PRIVATE ' || E'KEY BLOCK-----\n\n' || pg_temp.fake(64) || E'\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----', '' UNION ALL
SELECT 'private_key', 'KEY="', '-----BEGIN ENCRYPTED PRIVATE ' || 'KEY-----\r\n' || pg_temp.fake(64) || '\r\n-----END ENCRYPTED PRIVATE KEY-----', '"' UNION ALL
SELECT 'private_key', 'one line: ', '-----BEGIN RSA PRIVATE ' || 'KEY----- ' || pg_temp.fake(64) || ' ' || pg_temp.fake(64) || ' -----END RSA PRIVATE KEY-----', '' UNION ALL
SELECT 'huggingface', 'HF_TOKEN: ', 'hf' || '_' || left(translate(pg_temp.fake(60), '0123456789', ''), 34), '' UNION ALL
SELECT 'npm', 'NPM_TOKEN=', 'npm' || '_' || pg_temp.fake(36), '' UNION ALL
SELECT 'token', '//registry.npmjs.org/:_authToken=', '00000000-0000-0000-0000-000000000001', '' UNION ALL
SELECT 'pypi', 'password = ', 'pypi' || '-AgENdGVzdC5weXBpLm9yZw' || pg_temp.fake(150), '' UNION ALL
SELECT 'key', 'DefaultEndpointsProtocol=https;AccountName=devstoreaccount1;AccountKey=', pg_temp.fake(43) || '/' || pg_temp.fake(40) || '+w==', ';BlobEndpoint=https://x' UNION ALL
SELECT 'key', 'Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=', pg_temp.fake(43) || '=', '' UNION ALL
SELECT 'signature', 'SharedAccessSignature sr=x&sig=', pg_temp.fake(43) || '%3d', '&se=1&skn=Root' UNION ALL
SELECT 'key', 'AZURE_OPENAI_KEY=', pg_temp.hex(32), '' UNION ALL
SELECT 'key', 'Ocp-Apim-Subscription-Key: ', pg_temp.hex(32), '' UNION ALL
SELECT 'twilio', 'twilio ', 'SK' || pg_temp.hex(32), ':' UNION ALL
SELECT 'token', 'TWILIO_AUTH_TOKEN=', pg_temp.hex(32), '' UNION ALL
SELECT 'basic', 'curl -X POST https://api.twilio.com -u AC' || md5('') || ':', pg_temp.hex(31) || '1', '' UNION ALL
SELECT 'sendgrid', 'Bearer ', 'SG' || '.' || pg_temp.fake(22) || '.' || pg_temp.fake(43), '' UNION ALL
SELECT 'digitalocean', 'doctl auth init -t ', 'dop' || '_v1_' || pg_temp.hex(64), '' UNION ALL
SELECT 'databricks', 'DATABRICKS_TOKEN=', 'dapi' || pg_temp.hex(32) || '-2', '' UNION ALL
SELECT 'token', 'DISCORD_TOKEN=', 'MTAxMjM0NTY3ODkwMTIzNDU2Nzg5' || '.GabcDe.' || pg_temp.fake(38), '' UNION ALL
SELECT 'discord', 'client.run("', 'NzkyNzE1NDU0MTk2MDg4ODQy' || '.X-hvzA.' || pg_temp.fake(27), '")' UNION ALL
SELECT 'token', 'TELEGRAM_BOT_TOKEN=', '1234567890:' || 'AA' || pg_temp.fake(33), '' UNION ALL
SELECT 'jwt', '?access_token=', 'eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJ4In0.' || pg_temp.fake(200), '&x=1' UNION ALL
SELECT 'jwt', 'jwe ', 'eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.' || pg_temp.fake(80) || '.' || pg_temp.fake(16) || '.' || pg_temp.fake(60) || '.' || pg_temp.fake(22), '' UNION ALL
SELECT 'basic', 'authorization: basic ', encode('ann:correcthorse', 'base64'), '' UNION ALL
SELECT 'basic', 'Proxy-Authorization: Basic ', encode('ann:x', 'base64'), E'\r\n' UNION ALL
SELECT 'basic', '{"Authorization":"Basic ', encode('ann:correcthorse', 'base64'), '"}' UNION ALL
SELECT 'url_password', 'DATABASE_URL=postgres://user:', 'p4ss!w0rd', '@host:5432/db?sslmode=require' UNION ALL
SELECT 'url_password', 'amqps://user:', 'guest1', '@rabbit/vhost' UNION ALL
SELECT 'url_password', 'ftp://anonymous:', 'hunter2', '@ftp.example.com' UNION ALL
SELECT 'url_password', 'fatal: could not read from ''https://user:', 'hunter2', '@example.com/x.git''' UNION ALL
SELECT 'password', 'jdbc:mysql://db/x?user=bob&password=', 'hunter2', '&useSSL=true' UNION ALL
SELECT 'password', 'postgresql://db/x?user=bob&password=', 'hunter2', '' UNION ALL
SELECT 'password', '{"user":"a","password" : "', 'pässwörd!', '"}' UNION ALL
SELECT 'password', 'password=''', 'a b c', '''' UNION ALL
SELECT 'password', 'PASSWORD=', 'Tr0ub4dor&3', '' UNION ALL
SELECT 'password', '--password=', 'hunter2', ' --host=db' UNION ALL
SELECT 'password', '["--password", "', 'hunter2', '"]' UNION ALL
SELECT 'password', 'args: --db-password "', 'correct horse', '" -v' UNION ALL
SELECT 'password', 'mysql -uroot -p', 'hunter2', ' db' UNION ALL
SELECT 'password', 'sshpass -p ', 'hunter2', ' ssh bob@host' UNION ALL
SELECT 'password', 'redis-cli -a ', 'hunter2', ' PING' UNION ALL
SELECT 'token', 'kubectl --token ', pg_temp.fake(30), ' get pods' UNION ALL
SELECT 'token', 'docker login --password-stdin; vault login token=', 's.' || pg_temp.fake(24), '' UNION ALL
SELECT 'token', 'VAULT_TOKEN=', 's.' || pg_temp.fake(24), '' UNION ALL
SELECT 'cookie', 'Cookie: ', 'sessionid=' || pg_temp.hex(32) || '; theme=dark', E'\r\nHost: x' UNION ALL
SELECT 'cookie', 'Set-Cookie: ', 'session=' || pg_temp.fake(60) || '; Path=/; HttpOnly', '' UNION ALL
SELECT 'cookie', '{"cookie": "', 'JSESSIONID=' || pg_temp.upper(32), '"}' UNION ALL
SELECT 'password', '{"body": "{\"user\": \"a\", \"password\": \"', 'hunter2', '\"}"}' UNION ALL
SELECT 'password', '{"a":"{\"b\":\"{\\\"password\\\":\\\"', 'hunter2', '\\\"}\"}"}' UNION ALL
SELECT 'password', 'yaml:\n  db_password: ', 'hunter2', '\n  x: 1' UNION ALL
SELECT 'password', '- name: POSTGRES_PASSWORD\n  value: ', 'hunter2', '' UNION ALL
SELECT 'password', '{"name": "DB_PASSWORD", "value": "', 'hunter2', '"}' UNION ALL
SELECT 'password', 'The password is ', 'hunter2', '' UNION ALL
SELECT 'password', 'my password is: ', 'hunter2', '' UNION ALL
SELECT 'password', 'MYSQL_PWD=', 'hunter2', ' mysqldump x' UNION ALL
SELECT 'password', 'ldap bind_pw=', 'hunter2', '' UNION ALL
SELECT 'secret', 'JWT_SECRET=', 'keyboardcat', '' UNION ALL
SELECT 'secret', 'SECRET_KEY_BASE=', pg_temp.hex(128), '' UNION ALL
SELECT 'secret', 'django SECRET_KEY = ''', 'django-insecure-' || pg_temp.fake(40), '''' UNION ALL
SELECT 'api_key', 'APP_KEY=', 'base64:' || pg_temp.fake(43) || '=', '' UNION ALL
SELECT 'token', 'CSRF: csrf_token=', pg_temp.fake(32), '' UNION ALL
SELECT 'secret', 'totp secret: ', 'JBSWY3DPEHPK3PXP', '' UNION ALL
SELECT 'secret', 'otpauth://totp/x:bob?secret=', 'JBSWY3DPEHPK3PXP', '&issuer=x' UNION ALL
SELECT 'token', 'id_token=', 'opaque123456', '&x=1' UNION ALL
SELECT 'token', '&code=4%2F0&refresh_token=', 'opaque123456', '' UNION ALL
SELECT 'api_key', '{"apiKey":"', pg_temp.hex(32), '"}' UNION ALL
SELECT 'api_key', 'X-API-KEY=', 'abcdef123', '' UNION ALL
SELECT 'api_key', 'DD_API_KEY=', pg_temp.hex(32), '' UNION ALL
SELECT 'api_key', 'DD-APPLICATION-KEY: ', pg_temp.hex(40), '' UNION ALL
SELECT 'secret', 'AZURE_CLIENT_SECRET=', 'abc8Q~' || pg_temp.fake(34), '' UNION ALL
SELECT 'token', 'X-Vault-Token: ', 's.' || pg_temp.fake(24), '' UNION ALL
SELECT 'shopify', 'X-Shopify-Access-Token: ', 'shpat' || '_' || pg_temp.hex(32), '' UNION ALL
SELECT 'token', 'Authorization: Bot ', 'abcdef123', '' UNION ALL
SELECT 'password', 'machine x login bob password ', 'hunter2', '' UNION ALL
SELECT 'cookie', 'curl -b x --cookie ''', 'a=1; sid=' || pg_temp.hex(24), ''' https://x';

SELECT n, kind, mals_redact(before || secret || after) AS is FROM secret
WHERE mals_redact(before || secret || after) IS DISTINCT FROM before || '[redacted:' || kind || ']' || after ORDER BY n;
SELECT count(*) >= 200 AS enough, count(DISTINCT kind) AS kinds FROM secret;

-- Also in the middle of more, twice, and when redacted already
SELECT n, kind FROM secret, LATERAL (SELECT before || secret || after AS message) AS m
WHERE kind <> 'private_key' AND position(secret IN mals_redact('a message; ' || message || E'\nand\n' || message || E'\nthe end')) > 0 ORDER BY n;
SELECT n, kind FROM secret, LATERAL (SELECT mals_redact(before || secret || after) AS once) AS m
WHERE mals_redact(once) IS DISTINCT FROM once ORDER BY n;

-- By every way in, in message, metadata (also deep and in keys), and the short columns
SET mals.context = '{"conn": "postgres://bob:hunter2@db/x"}';
SELECT mals_log_batch(jsonb_agg(jsonb_build_object('agent', 'batch', 'msg', before || secret || after, 'n', n, 'list', jsonb_build_array(jsonb_build_array(before || secret || after)), before || secret || after, 1))) = count(*) AS stored FROM secret;
INSERT INTO mals.logs (agent_id, message, metadata) SELECT 'view', before || secret || after, jsonb_build_object('text', before || secret || after) FROM secret;
INSERT INTO mals.inbox SELECT jsonb_build_object('agent', 'inbox', 'message', before || secret || after, before || secret || after, jsonb_build_object('n', n)) FROM secret;
SELECT mals_log_otlp(jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs', jsonb_build_array(jsonb_build_object('logRecords',
  jsonb_agg(jsonb_build_object('body', jsonb_build_object('stringValue', before || secret || after),
    'attributes', jsonb_build_array(jsonb_build_object('key', 'gen_ai.agent.name', 'value', '{"stringValue": "otlp"}'::jsonb),
      jsonb_build_object('key', 'text', 'value', jsonb_build_object('stringValue', before || secret || after)))))))))))  = count(*) AS stored FROM secret;
SELECT DISTINCT e.agent_id, s.n, s.kind FROM mals.entries e JOIN secret s ON length(s.secret) > 6 AND s.secret NOT IN ('opaque', 'swordfish')
 AND (position(s.secret IN e.message) > 0 OR position(s.secret IN e.metadata::text) > 0 OR position(to_jsonb(s.secret)::text IN e.metadata::text) > 0) ORDER BY 1, 2;
SELECT agent_id, count(*) = (SELECT count(*) FROM secret) AS entries, bool_and(metadata->>'conn' = 'postgres://bob:[redacted:url_password]@db/x') AS context
  FROM mals.entries GROUP BY 1 ORDER BY 1;
RESET mals.context;

SELECT mals_log('short', 'm', category => 'token=hunter2x', source => 'postgres://a:hunter2@b', session_key => 'ghp' || '_' || pg_temp.fake(36), correlation_id => 'password=' || repeat('x1', 200)) IS NULL AS lost;
SELECT category, source, session_key, correlation_id, metadata FROM mals.entries WHERE agent_id = 'short';

-- Values by the name of their key, and keys that would be the same
SELECT mals_log('names', 'm', metadata => jsonb_build_object('password', 'hunter2', 'db', '{"PASSWORD": 12345, "port": 5432, "passwords": 12, "password_hint": "dog"}'::jsonb, 'api_key', 'abcdef',
  'Authorization', 'Bearer abcdef', 'X-Api-Key', '["abcdef", 1, true, {"x": "y"}]'::jsonb, 'token', 512, 'tokens', 512, 'access_token', 'opaque', 'secret', true, 'client_secret', null,
  'max_tokens', 4096, 'token_type', 'bearer', 'next_page_token', 'CAUQAA9x7', 'password=one1', 1, 'password=two2', 2, 'logprobs', '[{"token": "Hello", "logprob": -0.1}]'::jsonb, 'passwd', '')) IS NULL AS lost;
SELECT key, value FROM mals.entries, jsonb_each(metadata) WHERE agent_id = 'names' ORDER BY key COLLATE "C";
-- what keeps keys apart does not make them secrets again
SELECT mals_log('apart', 'm', metadata => '{"password=one1 token=]": 1, "password=two2 token=]": 2, "password=three3 token=]": 3}') IS NULL AS lost;
SELECT mals_log('apart', 'again', metadata => metadata) IS NULL AS lost FROM mals.entries WHERE agent_id = 'apart';
SELECT metadata FROM mals.entries WHERE agent_id = 'apart';

-- Values that another value names: {name, value}, and arguments of a command
SELECT mals_log('named', 'm', metadata => '{"env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "PATH", "value": "/usr/bin1"}, {"key": "API_KEY", "value": "abcdef"}, {"name": "MAX_TOKENS", "value": 4096}],
  "headers": [{"name": "Authorization", "value": "Bearer abcdef"}, {"name": "Cookie", "value": "sid=0f1e2d3c4b5a; theme=dark"}, {"name": "Accept", "value": "text/html1"}], "cookie": "sid=0f1e2d3c4b5a",
  "argv": ["psql", "--password", "hunter2", "--verbose", "yes1234", "--token", "abcdef", "-u", "x1y2z3", "--password"], "after": ["x1y2z3"], "form": {"name": "password", "value": ""}}') IS NULL AS lost;
SELECT key, value FROM mals.entries, jsonb_each(metadata) WHERE agent_id = 'named' ORDER BY key COLLATE "C";

-- The fingerprint is that of what is stored
SELECT count(*) AS by_secret FROM mals.entries WHERE fingerprint <> mals_fingerprint(message, metadata);

-- Switched off nothing is touched; the function redacts all the same
SET mals.redact = off;
SELECT mals_log('off', 'password=hunter2', metadata => '{"password": "hunter2"}') IS NULL AS lost;
SELECT message, metadata, mals_redact(message) FROM mals.entries WHERE agent_id = 'off';
RESET mals.redact;
SET client_min_messages = warning;
CREATE ROLE mals_test_redact;
SET ROLE mals_test_redact;
SET mals.redact = off;
RESET ROLE;
DROP ROLE mals_test_redact;
SELECT mals_redact(NULL) IS NULL AS null, mals_redact('') = '' AS empty;
