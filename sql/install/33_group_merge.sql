-- Grouping, second stage: which templates are the same event.

CREATE FUNCTION mals._merge_groups(templates text[]) RETURNS bigint[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'mals_merge_groups_array';
COMMENT ON FUNCTION mals._merge_groups(text[]) IS
  'For each template the least fingerprint of the templates that it merges with: those that are equal but for one word that varies.';
