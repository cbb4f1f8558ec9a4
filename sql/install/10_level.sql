-- Type mals_level: an ordered severity in one byte.

CREATE TYPE mals_level;

CREATE FUNCTION mals_level_in(cstring) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_out(mals_level) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_recv(internal) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_send(mals_level) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

CREATE TYPE mals_level (
  INPUT = mals_level_in,
  OUTPUT = mals_level_out,
  RECEIVE = mals_level_recv,
  SEND = mals_level_send,
  INTERNALLENGTH = 1,
  PASSEDBYVALUE,
  ALIGNMENT = char,
  STORAGE = plain
);

COMMENT ON TYPE mals_level IS
  'Severity of a log entry, ordered: trace < debug < info < warn < error < critical. Input ignores case and takes '
  'aliases (dbg, verbose; notice, log, information; warning; err, severe; fatal, panic, crit, alert, emerg, emergency) '
  'and Python''s numbers as text or integer (0-9 trace, 10 debug, 20 info, 30 warn, 40 error, 50 and more critical). '
  'Anything else is error 22P02. An error in mals means level >= ''error''.';
COMMENT ON FUNCTION mals_level_in(cstring) IS 'Input function of mals_level.';
COMMENT ON FUNCTION mals_level_out(mals_level) IS 'Output function of mals_level.';
COMMENT ON FUNCTION mals_level_recv(internal) IS 'Binary input function of mals_level: one byte, 5, 10, 20, 30, 40 or 50.';
COMMENT ON FUNCTION mals_level_send(mals_level) IS 'Binary output function of mals_level: one byte, 5, 10, 20, 30, 40 or 50.';

-- Casts

CREATE FUNCTION mals_level_from_text(text) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_from_int(integer) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_from_smallint(smallint) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_to_text(mals_level) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_to_int(mals_level) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';

CREATE CAST (text AS mals_level) WITH FUNCTION mals_level_from_text(text) AS IMPLICIT;
CREATE CAST (varchar AS mals_level) WITH FUNCTION mals_level_from_text(text) AS IMPLICIT;
CREATE CAST (integer AS mals_level) WITH FUNCTION mals_level_from_int(integer) AS IMPLICIT;
CREATE CAST (smallint AS mals_level) WITH FUNCTION mals_level_from_smallint(smallint) AS IMPLICIT;
CREATE CAST (mals_level AS text) WITH FUNCTION mals_level_to_text(mals_level) AS ASSIGNMENT;
CREATE CAST (mals_level AS integer) WITH FUNCTION mals_level_to_int(mals_level);

COMMENT ON FUNCTION mals_level_from_text(text) IS
  'The level named by a text: a name, an alias or one of Python''s numbers, in any case. Error 22P02 if it is none. '
  'Used by the cast: ''warning''::text::mals_level.';
COMMENT ON FUNCTION mals_level_from_int(integer) IS
  'The level of one of Python''s numbers: 0-9 trace, 10-19 debug, 20-29 info, 30-39 warn, 40-49 error, 50 and more '
  'critical. Error 22P02 if negative. Used by the cast: 40::mals_level.';
COMMENT ON FUNCTION mals_level_from_smallint(smallint) IS
  'The level of one of Python''s numbers, as mals_level_from_int; drivers such as psycopg send 40 as a smallint.';
COMMENT ON FUNCTION mals_level_to_text(mals_level) IS
  'The level''s lower-case name. Used by the cast: level::text.';
COMMENT ON FUNCTION mals_level_to_int(mals_level) IS
  'The level''s number in Python''s logging: trace 5, debug 10, info 20, warn 30, error 40, critical 50. '
  'Used by the cast: level::int.';

-- OpenTelemetry's numbers

CREATE FUNCTION mals_severity_number(level mals_level) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_from_otel(severity_number integer) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION mals_severity_number(mals_level) IS
  'OpenTelemetry''s severity number of a level: trace 1, debug 5, info 9, warn 13, error 17, critical 21.';
COMMENT ON FUNCTION mals_level_from_otel(integer) IS
  'The level of an OpenTelemetry severity number: 1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, '
  '21-24 critical. Error 22023 outside 1 to 24.';

-- Comparison

CREATE FUNCTION mals_level_eq(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_ne(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_lt(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_le(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_gt(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_ge(mals_level, mals_level) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_cmp(mals_level, mals_level) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_sortsupport(internal) RETURNS void
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_hash(mals_level) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_hash_extended(mals_level, bigint) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION mals_level_eq(mals_level, mals_level) IS 'Implements = of mals_level.';
COMMENT ON FUNCTION mals_level_ne(mals_level, mals_level) IS 'Implements <> of mals_level.';
COMMENT ON FUNCTION mals_level_lt(mals_level, mals_level) IS 'Implements < of mals_level.';
COMMENT ON FUNCTION mals_level_le(mals_level, mals_level) IS 'Implements <= of mals_level.';
COMMENT ON FUNCTION mals_level_gt(mals_level, mals_level) IS 'Implements > of mals_level.';
COMMENT ON FUNCTION mals_level_ge(mals_level, mals_level) IS 'Implements >= of mals_level.';
COMMENT ON FUNCTION mals_level_cmp(mals_level, mals_level) IS 'Compares two levels: negative, 0 or positive.';
COMMENT ON FUNCTION mals_level_sortsupport(internal) IS 'Sort support of mals_level.';
COMMENT ON FUNCTION mals_level_hash(mals_level) IS 'Hashes a level.';
COMMENT ON FUNCTION mals_level_hash_extended(mals_level, bigint) IS 'Hashes a level with a seed.';

CREATE OPERATOR = (
  FUNCTION = mals_level_eq, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
  FUNCTION = mals_level_ne, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR < (
  FUNCTION = mals_level_lt, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
  FUNCTION = mals_level_le, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR > (
  FUNCTION = mals_level_gt, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR >= (
  FUNCTION = mals_level_ge, LEFTARG = mals_level, RIGHTARG = mals_level,
  COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);

CREATE OPERATOR CLASS mals_level_ops DEFAULT FOR TYPE mals_level USING btree AS
  OPERATOR 1 <,
  OPERATOR 2 <=,
  OPERATOR 3 =,
  OPERATOR 4 >=,
  OPERATOR 5 >,
  FUNCTION 1 mals_level_cmp(mals_level, mals_level),
  FUNCTION 2 mals_level_sortsupport(internal),
  FUNCTION 4 pg_catalog.btequalimage(oid);

CREATE OPERATOR CLASS mals_level_ops DEFAULT FOR TYPE mals_level USING hash AS
  OPERATOR 1 =,
  FUNCTION 1 mals_level_hash(mals_level),
  FUNCTION 2 mals_level_hash_extended(mals_level, bigint);

-- Aggregates

CREATE FUNCTION mals_level_smaller(mals_level, mals_level) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';
CREATE FUNCTION mals_level_larger(mals_level, mals_level) RETURNS mals_level
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME';

CREATE AGGREGATE min(mals_level) (
  SFUNC = mals_level_smaller, STYPE = mals_level, COMBINEFUNC = mals_level_smaller,
  SORTOP = <, PARALLEL = SAFE
);
CREATE AGGREGATE max(mals_level) (
  SFUNC = mals_level_larger, STYPE = mals_level, COMBINEFUNC = mals_level_larger,
  SORTOP = >, PARALLEL = SAFE
);

COMMENT ON FUNCTION mals_level_smaller(mals_level, mals_level) IS 'The lesser (quieter) of two levels.';
COMMENT ON FUNCTION mals_level_larger(mals_level, mals_level) IS 'The greater (more severe) of two levels.';
COMMENT ON AGGREGATE min(mals_level) IS 'The least severe level of all input values.';
COMMENT ON AGGREGATE max(mals_level) IS 'The most severe level of all input values.';
