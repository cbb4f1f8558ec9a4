-- Groups: the templates that were seen, which of them are one group, and what
-- was done about groups.
--
-- A logger that sees a template for the first time appends it to
-- mals._sights, which has no unique constraint: no logger ever waits for
-- another. mals_maintain folds sights into mals._templates and merges
-- templates into groups. Readers see both.

CREATE TABLE mals._sights (
  fingerprint bigint      NOT NULL,
  version     int         NOT NULL,
  template    text        NOT NULL,
  first_seen  timestamptz NOT NULL,
  sample_id   uuid        NOT NULL
);
CREATE INDEX _sights_fingerprint ON mals._sights (fingerprint);
COMMENT ON TABLE mals._sights IS 'First sights of templates, appended by loggers, not yet folded into mals._templates.';

CREATE TABLE mals._templates (
  fingerprint bigint      PRIMARY KEY,
  version     int         NOT NULL,
  template    text        NOT NULL,
  group_id    bigint      NOT NULL,
  first_seen  timestamptz NOT NULL,
  sample_id   uuid        NOT NULL
);
CREATE INDEX _templates_group_id ON mals._templates (group_id);
COMMENT ON TABLE mals._templates IS 'Templates that were seen, each with its group: the least fingerprint of those that are one event.';

CREATE TABLE mals._groups (
  group_id bigint PRIMARY KEY,
  template text   NOT NULL
);
COMMENT ON TABLE mals._groups IS 'Groups of more than one template, with what their templates have in common.';

-- Templates are of all agents: there are none to see for who is bound to some.
CREATE VIEW mals.templates AS
  SELECT fingerprint, version, template, group_id, first_seen, sample_id
    FROM mals._templates
   WHERE NOT mals._is_bound()
  UNION ALL
  (SELECT DISTINCT ON (s.fingerprint)
          s.fingerprint, s.version, s.template, s.fingerprint, s.first_seen, s.sample_id
     FROM mals._sights s
    WHERE NOT mals._is_bound()
      AND NOT EXISTS (SELECT FROM mals._templates t WHERE t.fingerprint = s.fingerprint)
    ORDER BY s.fingerprint, s.first_seen, s.sample_id);
COMMENT ON VIEW mals.templates IS
  'Every kind of message once, from its first sight: fingerprint, version of the rules, template, group_id (the least fingerprint of the templates that are one group), first_seen, sample_id (an entry). Empty for roles that are bound to agents.';

-- Groups that were merged or split by hand: merges are pairs of fingerprints
-- that are one group, a split fingerprint is merged with nothing by itself.
CREATE TABLE mals._hand_merges (
  a bigint NOT NULL,
  b bigint NOT NULL,
  PRIMARY KEY (a, b)
);
COMMENT ON TABLE mals._hand_merges IS 'Pairs of fingerprints that mals_merge_groups made one group.';
CREATE TABLE mals._hand_splits (
  fingerprint bigint PRIMARY KEY
);
COMMENT ON TABLE mals._hand_splits IS 'Fingerprints that mals_split_group took out of their group.';

CREATE TABLE mals.error_status (
  fingerprint   bigint      PRIMARY KEY,
  resolved_at   timestamptz,
  resolved_by   text,
  note          text,
  ignored_at    timestamptz,
  ignored_until timestamptz,
  ignored_by    text
);
COMMENT ON TABLE mals.error_status IS
  'What was done about groups: resolved (covers the entries of the group up to resolved_at) and ignored (until a time, or for good). Written by mals_resolve_error, mals_ignore_error, mals_reopen_error.';
COMMENT ON COLUMN mals.error_status.fingerprint IS 'The group.';
COMMENT ON COLUMN mals.error_status.resolved_at IS 'Its entries up to this time are resolved, also those that arrive later; NULL: it is not resolved.';
COMMENT ON COLUMN mals.error_status.resolved_by IS 'Who resolved it.';
COMMENT ON COLUMN mals.error_status.note IS 'What was said when it was resolved.';
COMMENT ON COLUMN mals.error_status.ignored_at IS 'When it was ignored; NULL: it is not ignored.';
COMMENT ON COLUMN mals.error_status.ignored_until IS 'Until when it is ignored; NULL: for good.';
COMMENT ON COLUMN mals.error_status.ignored_by IS 'Who had it ignored.';

-- Row security shows bound users no groups, but what was done about them holds for all.
CREATE FUNCTION mals._status_of(fingerprint bigint) RETURNS mals.error_status
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mals_status_of';
COMMENT ON FUNCTION mals._status_of(bigint) IS 'For a user who is bound to agents and has an entry with this fingerprint: what was done about its group, without number and note. NULL for others.';

SELECT pg_catalog.pg_extension_config_dump('mals._sights', '');
SELECT pg_catalog.pg_extension_config_dump('mals._templates', '');
SELECT pg_catalog.pg_extension_config_dump('mals._groups', '');
SELECT pg_catalog.pg_extension_config_dump('mals._hand_merges', '');
SELECT pg_catalog.pg_extension_config_dump('mals._hand_splits', '');
SELECT pg_catalog.pg_extension_config_dump('mals.error_status', '');
