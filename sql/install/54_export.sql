-- Ways out: export.

CREATE FUNCTION mals_export(
  format text DEFAULT 'json', query text DEFAULT '', since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL, max_rows bigint DEFAULT NULL) RETURNS SETOF text
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_export(text, text, timestamptz, timestamptz, bigint) IS
  'Log entries that match a query (the language of mals_search), oldest first, one record a row. Streams without holding the result in memory when called in a select list: SELECT mals_export(''csv''), COPY (SELECT mals_export(...)) TO STDOUT (whose options FORMAT csv, QUOTE E''\x01'', DELIMITER E''\x02'' keep lines of json, text and logfmt as they are). format json: an object with the columns of mals.logs; csv: RFC 4180, a header first, NULL empty and an empty text ""; text: time, LEVEL, agent, [category], message, metadata, on one line; logfmt: key=value, metadata as meta.<key>. Times are UTC, 2026-01-31T12:00:00.000000Z. since is inclusive, until exclusive, max_rows NULL is all. Errors: 22023 for another format, negative max_rows, a query that does not parse.';
