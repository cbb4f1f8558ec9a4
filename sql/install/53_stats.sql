-- Ways out: figures.

CREATE FUNCTION mals_agents(errors_within interval DEFAULT '24 hours') RETURNS TABLE (
  agent_id text, first_seen timestamptz, last_seen timestamptz, entries bigint, errors bigint,
  status text)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_agents(interval) IS
  'Every agent that has logged, registered or sent a heartbeat: when it was first and last seen (entries, and heartbeats too), how many entries it has, how many of them are errors (level error or critical) within the last errors_within, and its status: active (seen within twice its heartbeat, which is 5 minutes unless mals_agent_register said otherwise), stale (within 24 hours) or silent. By agent_id. Errors: 22023 for an interval that is not above zero.';

CREATE FUNCTION mals_stats(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_stats(timestamptz, timestamptz) IS
  'Figures of the log entries from since (inclusive) until (exclusive), NULL for no bound: total_entries, agents_count, level_counts, agent_counts, hourly_counts (objects of counts; hours in UTC as YYYY-MM-DDTHH:00; only what occurs), top_agents (the 5 with most entries: agent_id, entries), earliest_ts, latest_ts; and of the whole store: index_bytes, total_bytes, partitions (a count); null for roles that are bound to agents.';

-- Counts of entries by bucket and level, in one array; the buckets are given by where the
-- first begins, how many microseconds each lasts, and how many there are.
CREATE FUNCTION mals._histogram_add(counts bigint[], ts timestamptz, level mals_level, first timestamptz,
  width bigint, buckets bigint) RETURNS bigint[]
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_histogram_add';
COMMENT ON FUNCTION mals._histogram_add(bigint[], timestamptz, mals_level, timestamptz, bigint, bigint) IS 'Counts an entry.';
CREATE FUNCTION mals._histogram_combine(bigint[], bigint[]) RETURNS bigint[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_histogram_combine';
COMMENT ON FUNCTION mals._histogram_combine(bigint[], bigint[]) IS 'Adds counts.';
CREATE AGGREGATE mals._histogram(timestamptz, mals_level, timestamptz, bigint, bigint) (
  SFUNC = mals._histogram_add, STYPE = bigint[], COMBINEFUNC = mals._histogram_combine, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mals._histogram(timestamptz, mals_level, timestamptz, bigint, bigint) IS 'What mals_histogram counts.';

CREATE FUNCTION mals_histogram(
  bucket interval, query text DEFAULT '', since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL) RETURNS TABLE (bucket timestamptz, level mals_level, entries bigint)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_histogram(interval, text, timestamptz, timestamptz) IS
  'Log entries that match a query (the language of mals_search), counted by bucket of time and level: a row for every bucket and each of the six levels, zeros too. Buckets of the given length are laid from 2000-01-01 00:00 UTC; the first holds since (default: 24 hours before until), the last the end of the window (until, or now); only entries from since (inclusive) until (exclusive) count. Errors: 22004 NULL bucket; 22023 a bucket that is not above zero or has months or years, more than 100,000 buckets, a query that does not parse.';

CREATE FUNCTION mals_facets(
  query text DEFAULT '', since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
  field text DEFAULT NULL, max_values int DEFAULT 10) RETURNS TABLE (field text, value text, entries bigint)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_facets(text, timestamptz, timestamptz, text, int) IS
  'The commonest values of fields, with how many of the log entries that match a query (the language of mals_search) have them; since is inclusive, until exclusive. field is agent, level, category, source, session, correlation or a metadata key (key, meta.key or a dotted path meta.a.b); NULL means agent, level, category, source and the 10 commonest metadata keys. At most max_values a field, most entries first. Missing values are not counted. Errors: 22023 for max_values below 1, an empty field, a query that does not parse.';
