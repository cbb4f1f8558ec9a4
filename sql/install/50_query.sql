-- The query language.

CREATE FUNCTION mals_query_explain(query text) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_query_explain(text) IS
  'Shows what a query means: the SQL condition over mals.logs it stands for (true for an empty query). All its tokens, separated by spaces, must hold: level:error (that or worse; level:=warn exactly; < <= > >= too), agent: category: source: session: correlation: with * as a glob, trace:<uuid or 32 hex>, id:<uuid>, fingerprint:<n>, resolved:yes|no, after: before: (ISO 8601, UTC without a zone, or an age such as 15m 2h 7d), meta.key:value, meta.key:>100, meta.key:* (exists), meta.a.b: (path), "quoted text" (message contains it, any case), /regex/ and /regex/i, and bare words: adjacent ones are one case-insensitive regex on the message. A leading - negates a token. Error 22023 names the token that is wrong and its position.';
