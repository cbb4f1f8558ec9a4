-- Groups of entries: patterns, errors, summaries, and what is done about errors.

-- The greater of two ids, and the greatest of many (core has max(uuid) from 18 on).
CREATE FUNCTION mals._uuid_larger(uuid, uuid) RETURNS uuid
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_uuid_larger';
COMMENT ON FUNCTION mals._uuid_larger(uuid, uuid) IS 'The greater of two UUIDs.';
CREATE AGGREGATE mals._max(uuid) (
  SFUNC = mals._uuid_larger, STYPE = uuid, COMBINEFUNC = mals._uuid_larger, PARALLEL = SAFE
);
COMMENT ON AGGREGATE mals._max(uuid) IS 'The greatest of many UUIDs: of ids, the latest entry''s.';

CREATE FUNCTION mals_patterns(query text DEFAULT '', since timestamptz DEFAULT NULL,
  until timestamptz DEFAULT NULL, max_rows int DEFAULT 20)
  RETURNS TABLE (fingerprint bigint, template text, level mals_level, entries bigint, agents text[],
    first_seen timestamptz, last_seen timestamptz, sample_id uuid)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_patterns(text, timestamptz, timestamptz, int) IS
  'The commonest kinds of message among the entries that match a query (see mals_search) in [since, until): one row a group with its template, worst level, number of entries, agents, first and last time, and the id of its latest entry; most entries first, at most max_rows (default 20). since and until default to no bound. Errors: 22023 for a query that does not parse or a negative max_rows.';

CREATE FUNCTION mals_errors(since timestamptz DEFAULT NULL, agent_id text DEFAULT NULL,
  until timestamptz DEFAULT NULL, recurring_min int DEFAULT 3)
  RETURNS TABLE (fingerprint bigint, template text, level mals_level, entries bigint,
    unresolved bigint, agents text[], first_seen timestamptz, last_seen timestamptz, is_new boolean,
    is_recurring boolean, is_regressed boolean, status text, sample_id uuid)
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_errors(timestamptz, text, timestamptz, int) IS
  'The groups of errors (level error and critical) in [since, until), of one agent if agent_id is given; since defaults to 24 hours before until, until to now. One row a group, most entries first. is_new: not in the window of the same length before; is_recurring: recurring_min (default 3) or more entries; is_regressed: came back after the group was resolved. status is the first that holds of ignored, regressed, resolved (nothing unresolved), new, recurring, ongoing. Pass fingerprint to mals_resolve_error, sample_id to mals_get. An until of infinity is no bound. Errors: 22023 for an infinite since, an until of -infinity, or recurring_min below 1.';

CREATE FUNCTION mals_summary(since timestamptz DEFAULT NULL, agent_id text DEFAULT NULL,
  until timestamptz DEFAULT NULL, recurring_min int DEFAULT 3) RETURNS jsonb
  LANGUAGE c STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_summary(timestamptz, text, timestamptz, int) IS
  'What broke in [since, until) (default: the last 24 hours), of one agent if agent_id is given, as JSON: since, until, agent_id, total_errors, by_agent [{agent_id, errors, critical, unresolved}], unresolved_errors {count, items: the newest 100}, and new_errors, recurring_errors, regressed_errors: groups with the keys of mals_errors. An until of infinity is no bound. Errors: 22023 for an infinite since, an until of -infinity, or recurring_min below 1.';

CREATE FUNCTION mals_resolve_error(fingerprint bigint, resolved_by text DEFAULT current_user,
  note text DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_resolve_error(bigint, text, text) IS
  'Marks a group (a fingerprint that mals_errors shows) as resolved now: every entry of it up to now, also those that arrive late, counts as resolved; an error of it that happens later makes it regressed. Returns how many entries became resolved. Errors: P0002 if no such group was ever seen; 22004 for NULL.';

CREATE FUNCTION mals_ignore_error(fingerprint bigint, until timestamptz DEFAULT NULL,
  ignored_by text DEFAULT current_user) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_ignore_error(bigint, timestamptz, text) IS
  'Marks a group as ignored until a time, or for good: its status is then ignored. Returns true unless it was ignored until that time already. Errors: P0002 if no such group was ever seen; 22023 if until has passed; 22004 for NULL.';

CREATE FUNCTION mals_reopen_error(fingerprint bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_reopen_error(bigint) IS
  'Takes back what mals_resolve_error and mals_ignore_error did to a group; entries resolved one by one stay so. Returns whether there was anything to take back. Errors: P0002 if no such group was ever seen; 22004 for NULL.';

CREATE FUNCTION mals_merge_groups(a bigint, b bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_merge_groups(bigint, bigint) IS
  'Makes two groups one, for good, whatever their messages. The group is resolved if both were, at the earlier time. Returns false if they were one group already. Errors: P0002 if one was never seen; 22004 for NULL.';

CREATE FUNCTION mals_split_group(fingerprint bigint) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_split_group(bigint) IS
  'Splits a merged group into its templates, which are not merged again by themselves; each keeps the group''s resolution. Returns how many groups there are then: 1 if it was no merged group. Errors: P0002 if no such group was ever seen; 22004 for NULL.';
