-- Databases of other encodings than UTF8: the extension is made and logs in the database's own characters.
SET client_encoding = 'UTF8';
\set VERBOSITY terse
SELECT current_database() AS home \gset
CREATE DATABASE mals_euc_jp ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE mals_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE mals_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;

\c mals_euc_jp
SET client_encoding = 'UTF8';
CREATE EXTENSION mals;
SELECT mals_log('日本', '接続 42 を拒否', 'error', category => repeat('語', 300), metadata => '{"鍵": "値"}') AS id \gset
SELECT agent_id, message, category = repeat('語', 256) AS cut, metadata->>'mals.category' = repeat('語', 300) AS kept, metadata->>'鍵' AS metadata
  FROM mals_get(:'id');
SELECT mals_log(repeat('語', 65), 'm');
SELECT mals_count('agent:日*'), mals_count('"を拒否"'), mals_count('接続.*拒否'), mals_count('meta.鍵:値');
SELECT mals_count('接続 level:nope');
SELECT template FROM mals_patterns();
SELECT mals_export('text') LIKE '%日本 [語%接続 42 を拒否%' AS exported;
SELECT mals_log_json('{"agent": "a", "message": "\u65e5\u672c"}') IS NOT NULL AS escapes;
SELECT mals_count('agent:a 日本');
SELECT char_length(mals_digest(max_chars => 300)) <= 300 AS digest;

\c mals_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION mals;
SELECT count(*) FILTER (WHERE octet_length(convert_to(description, 'UTF8')) > char_length(description)) AS comments_that_are_not_ascii, count(*) > 100 AS comments
  FROM pg_description;
SELECT mals_log('é', 'Déjà vu 7') AS id \gset
SELECT agent_id, message, mals_count('agent:é "DÉJ"') = 0 AS the_locale_is_c, mals_count('agent:é "déjà"') FROM mals_get(:'id');

\c mals_ascii
CREATE EXTENSION mals;
SELECT mals_log('bytes', convert_from('\xe9ff80', 'SQL_ASCII')) AS id \gset
SELECT convert_to(message, 'SQL_ASCII') FROM mals_get(:'id');
SELECT length(mals_export('logfmt')) > 0 AS exported;

\c :"home"
DROP DATABASE mals_euc_jp;
DROP DATABASE mals_latin1;
DROP DATABASE mals_ascii;
