-- Secrets: own rules beside the built-in ones, and the function that applies both.

CREATE TABLE mals.redact_rules (
  name    text    COLLATE "C" PRIMARY KEY,
  pattern text    NOT NULL,
  enabled boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE mals.redact_rules IS
  'Own rules of redaction, beside the built-in ones: what a pattern matches in a message or anywhere in metadata is stored as [redacted:name]. Changed with plain SQL; in force in every session from its next transaction on. A pattern that is no regular expression or matches the empty text: 22023.';
COMMENT ON COLUMN mals.redact_rules.name IS 'What the rule finds: 1 to 40 lower-case letters, digits and _; it is written in place of the secret.';
COMMENT ON COLUMN mals.redact_rules.pattern IS 'A regular expression, as the operator ~ takes it; all that it matches is replaced.';
COMMENT ON COLUMN mals.redact_rules.enabled IS 'Whether the rule is applied.';
SELECT pg_catalog.pg_extension_config_dump('mals.redact_rules', '');

CREATE FUNCTION mals._check_redact_rule() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mals_check_redact_rule';
COMMENT ON FUNCTION mals._check_redact_rule() IS 'Before a row of mals.redact_rules is written: checks name and pattern.';
CREATE FUNCTION mals._redact_rules_changed() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mals_redact_rules_changed';
COMMENT ON FUNCTION mals._redact_rules_changed() IS 'After a change of mals.redact_rules: makes sessions read it again.';

CREATE TRIGGER _1_check BEFORE INSERT OR UPDATE ON mals.redact_rules
  FOR EACH ROW EXECUTE FUNCTION mals._check_redact_rule();
CREATE TRIGGER _2_changed AFTER INSERT OR UPDATE OR DELETE ON mals.redact_rules
  FOR EACH STATEMENT EXECUTE FUNCTION mals._redact_rules_changed();
ALTER TABLE mals.redact_rules ENABLE ALWAYS TRIGGER _1_check;
ALTER TABLE mals.redact_rules ENABLE ALWAYS TRIGGER _2_changed;

CREATE FUNCTION mals_redact(message text) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_redact(text) IS
  'A text without its secrets, as an entry would be stored: API keys of the common vendors, bearer and basic credentials, JWTs, private keys, passwords in URLs and in pairs such as password=x, and what the rules in mals.redact_rules match are replaced by [redacted:kind]. Whether mals.redact is on does not matter. NULL gives NULL.';
