-- Grouping: templates and fingerprints of messages. The rules are in doc/grouping.md.

CREATE FUNCTION mals_template(message text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_template(text) IS
  'The message with what varies replaced by <*>: numbers with their units, times, ids, addresses, paths, URLs, quoted values, values of key=value and of JSON. Messages of the same kind have the same template. A stack trace is shown as the type of its exception and its innermost frames. Looks at the first 8 kB. NULL for NULL; raises no error.';

CREATE FUNCTION mals_fingerprint(message text, metadata jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_fingerprint(text, jsonb) IS
  'The number of the group of messages of the same kind: a hash of mals_template(message) and, where metadata.exception is an object {type, stacktrace | traceback | frames}, of its type and innermost frames (function and file, never line numbers). A string metadata.fingerprint is hashed instead of all that. The same on every platform for one mals_fingerprint_version(). NULL for a NULL message; raises no error.';

CREATE FUNCTION mals_fingerprint_version() RETURNS int
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION mals_fingerprint_version() IS
  'The version of the rules behind mals_template and mals_fingerprint. Fingerprints made under different versions must not be compared.';
