/*
 * level.c
 *		Type mals_level: an ordered severity in one byte, passed by value.
 *
 * The byte is one of the MALS_LEVEL_* numbers, so comparing, sorting and hashing
 * are those of a byte, and so is the binary format. Output is always one of the
 * six names; input takes them, their aliases and Python's numbers.
 */
#include "types/types.h"

#include "mals_compat.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/sortsupport.h"

/* At most this many bytes of a bad value are shown in an error. */
#define MAX_SHOWN 64

typedef struct LevelName
{
	const char *name;
	MalsLevel level;
} LevelName;

/* Names and aliases, the commonest first. */
static const LevelName level_names[] = {
	{"info", MALS_LEVEL_INFO},        {"error", MALS_LEVEL_ERROR},
	{"warn", MALS_LEVEL_WARN},        {"debug", MALS_LEVEL_DEBUG},
	{"warning", MALS_LEVEL_WARN},     {"critical", MALS_LEVEL_CRITICAL},
	{"trace", MALS_LEVEL_TRACE},      {"fatal", MALS_LEVEL_CRITICAL},
	{"dbg", MALS_LEVEL_DEBUG},        {"verbose", MALS_LEVEL_DEBUG},
	{"notice", MALS_LEVEL_INFO},      {"log", MALS_LEVEL_INFO},
	{"information", MALS_LEVEL_INFO}, {"err", MALS_LEVEL_ERROR},
	{"severe", MALS_LEVEL_ERROR},     {"panic", MALS_LEVEL_CRITICAL},
	{"crit", MALS_LEVEL_CRITICAL},    {"alert", MALS_LEVEL_CRITICAL},
	{"emerg", MALS_LEVEL_CRITICAL},   {"emergency", MALS_LEVEL_CRITICAL},
};

PG_FUNCTION_INFO_V1(mals_level_in);
PG_FUNCTION_INFO_V1(mals_level_out);
PG_FUNCTION_INFO_V1(mals_level_recv);
PG_FUNCTION_INFO_V1(mals_level_send);
PG_FUNCTION_INFO_V1(mals_level_from_text);
PG_FUNCTION_INFO_V1(mals_level_from_int);
PG_FUNCTION_INFO_V1(mals_level_from_smallint);
PG_FUNCTION_INFO_V1(mals_level_to_text);
PG_FUNCTION_INFO_V1(mals_level_to_int);
PG_FUNCTION_INFO_V1(mals_level_from_otel);
PG_FUNCTION_INFO_V1(mals_severity_number);
PG_FUNCTION_INFO_V1(mals_level_cmp);
PG_FUNCTION_INFO_V1(mals_level_sortsupport);
PG_FUNCTION_INFO_V1(mals_level_hash);
PG_FUNCTION_INFO_V1(mals_level_hash_extended);
PG_FUNCTION_INFO_V1(mals_level_smaller);
PG_FUNCTION_INFO_V1(mals_level_larger);

/* Reads one of Python's numbers; false if it is negative. */
static bool
read_number(int64 number, MalsLevel *level)
{
	if (number < 0)
		return false;
	if (number < MALS_LEVEL_DEBUG)
		*level = MALS_LEVEL_TRACE;
	else if (number >= MALS_LEVEL_CRITICAL)
		*level = MALS_LEVEL_CRITICAL;
	else
		*level = (MalsLevel) (number - number % 10);
	return true;
}

/*
 * Reads a level's name, alias or number; false if it is none of them.
 */
bool
mals_level_parse(const char *str, int len, MalsLevel *level)
{
	while (len > 0 && isspace((unsigned char) str[0]))
	{
		str++;
		len--;
	}
	while (len > 0 && isspace((unsigned char) str[len - 1]))
		len--;

	if (len > 0 && str[0] >= '0' && str[0] <= '9')
	{
		int64 number = 0;

		for (int i = 0; i < len; i++)
		{
			if (str[i] < '0' || str[i] > '9')
				return false;
			if (number < MALS_LEVEL_CRITICAL)
				number = number * 10 + (str[i] - '0');
		}
		return read_number(number, level);
	}

	for (int i = 0; i < lengthof(level_names); i++)
	{
		const char *name = level_names[i].name;

		if (strlen(name) == len && pg_strncasecmp(name, str, len) == 0)
		{
			*level = level_names[i].level;
			return true;
		}
	}
	return false;
}

/*
 * Reads OpenTelemetry's severity number; false outside 1 to 24.
 */
bool
mals_level_from_otel_number(int64 number, MalsLevel *level)
{
	static const MalsLevel levels[] = {MALS_LEVEL_TRACE, MALS_LEVEL_DEBUG, MALS_LEVEL_INFO,
									   MALS_LEVEL_WARN,  MALS_LEVEL_ERROR, MALS_LEVEL_CRITICAL};

	if (number < 1 || number > 24)
		return false;
	*level = levels[(number - 1) / 4];
	return true;
}

/*
 * Returns the level's lower-case name, a static string.
 */
const char *
mals_level_name(MalsLevel level)
{
	switch (level)
	{
		case MALS_LEVEL_TRACE:
			return "trace";
		case MALS_LEVEL_DEBUG:
			return "debug";
		case MALS_LEVEL_INFO:
			return "info";
		case MALS_LEVEL_WARN:
			return "warn";
		case MALS_LEVEL_ERROR:
			return "error";
		case MALS_LEVEL_CRITICAL:
			return "critical";
	}
	elog(ERROR, "invalid mals_level %d", level);
}

/*
 * Reads a level or reports that the text is none, softly where the caller can take it.
 */
static Datum
level_from_string(const char *str, int len, Node *escontext)
{
	MalsLevel level;

	if (!mals_level_parse(str, len, &level))
		mals_soft_error(
			escontext, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			errmsg("invalid input syntax for type %s: \"%.*s\" is none of %s", "mals_level",
				   pg_mbcliplen(str, len, MAX_SHOWN), str, MALS_LEVEL_NAMES),
			errhint(
				"Case does not matter. Aliases such as warning, err and fatal work too, and "
				"so do Python's numbers: 10 is debug, 20 info, 30 warn, 40 error, 50 critical."));
	PG_RETURN_MALS_LEVEL(level);
}

/*
 * Converts text to a level.
 */
Datum
mals_level_in(PG_FUNCTION_ARGS)
{
	char *str = PG_GETARG_CSTRING(0);

	return level_from_string(str, strlen(str), fcinfo->context);
}

/*
 * Converts a level to its name.
 */
Datum
mals_level_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup(mals_level_name(PG_GETARG_MALS_LEVEL(0))));
}

/*
 * Converts the binary format, one byte, to a level.
 */
Datum
mals_level_recv(PG_FUNCTION_ARGS)
{
	int byte = pq_getmsgbyte((StringInfo) PG_GETARG_POINTER(0));
	MalsLevel level;

	if (!read_number(byte, &level) || level != byte)
		ereport(ERROR, errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				errmsg("invalid binary value of type %s: %d", "mals_level", byte),
				errhint("It is one byte: 5 (trace), 10, 20, 30, 40 or 50 (critical)."));
	PG_RETURN_MALS_LEVEL(level);
}

/*
 * Converts a level to the binary format, one byte.
 */
Datum
mals_level_send(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, PG_GETARG_MALS_LEVEL(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * Casts text or varchar to a level.
 */
Datum
mals_level_from_text(PG_FUNCTION_ARGS)
{
	text *str = PG_GETARG_TEXT_PP(0);

	return level_from_string(VARDATA_ANY(str), VARSIZE_ANY_EXHDR(str), fcinfo->context);
}

/*
 * Gives the level of one of Python's numbers.
 */
static Datum
level_from_number(int32 number, Node *context)
{
	MalsLevel level;

	if (!read_number(number, &level))
		mals_soft_error(context, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("invalid number for type %s: %d is none of %s", "mals_level", number,
							   MALS_LEVEL_NAMES),
						errhint("Numbers are Python's: 0 to 9 is trace, 10 debug, 20 info, "
								"30 warn, 40 error, 50 and more critical."));
	PG_RETURN_MALS_LEVEL(level);
}

/*
 * Casts one of Python's numbers to a level.
 */
Datum
mals_level_from_int(PG_FUNCTION_ARGS)
{
	return level_from_number(PG_GETARG_INT32(0), fcinfo->context);
}

/*
 * Casts a small number: what Python's psycopg sends.
 */
Datum
mals_level_from_smallint(PG_FUNCTION_ARGS)
{
	return level_from_number(PG_GETARG_INT16(0), fcinfo->context);
}

/*
 * Casts a level to text.
 */
Datum
mals_level_to_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(mals_level_name(PG_GETARG_MALS_LEVEL(0))));
}

/*
 * Casts a level to Python's number.
 */
Datum
mals_level_to_int(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(PG_GETARG_MALS_LEVEL(0));
}

/*
 * Converts OpenTelemetry's severity number to a level.
 */
Datum
mals_level_from_otel(PG_FUNCTION_ARGS)
{
	int32 number = PG_GETARG_INT32(0);
	MalsLevel level;

	if (!mals_level_from_otel_number(number, &level))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("OpenTelemetry severity number %d is out of range", number),
				errhint("It is 1 to 24: 1 to 4 is trace, then four numbers each for debug, info, "
						"warn, error and critical."));
	PG_RETURN_MALS_LEVEL(level);
}

/*
 * Converts a level to OpenTelemetry's severity number.
 */
Datum
mals_severity_number(PG_FUNCTION_ARGS)
{
	MalsLevel level = PG_GETARG_MALS_LEVEL(0);

	PG_RETURN_INT32(level == MALS_LEVEL_TRACE ? 1 : 1 + level / 10 * 4);
}

/* Defines one of the six comparison operators' functions. */
#define LEVEL_COMPARISON(name, op)                                                                 \
	PG_FUNCTION_INFO_V1(mals_level_##name);                                                        \
	Datum mals_level_##name(PG_FUNCTION_ARGS)                                                      \
	{                                                                                              \
		PG_RETURN_BOOL(PG_GETARG_MALS_LEVEL(0) op PG_GETARG_MALS_LEVEL(1));                        \
	}

LEVEL_COMPARISON(eq, ==)
LEVEL_COMPARISON(ne, !=)
LEVEL_COMPARISON(lt, <)
LEVEL_COMPARISON(le, <=)
LEVEL_COMPARISON(gt, >)
LEVEL_COMPARISON(ge, >=)

/*
 * Compares two levels for a btree.
 */
Datum
mals_level_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) PG_GETARG_MALS_LEVEL(0) - (int32) PG_GETARG_MALS_LEVEL(1));
}

/*
 * Compares two levels for a sort.
 */
static int
level_fastcmp(Datum x, Datum y, SortSupport ssup)
{
	return (int) DatumGetMalsLevel(x) - (int) DatumGetMalsLevel(y);
}

/*
 * Tells a sort how to compare levels without a function manager call.
 */
Datum
mals_level_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = level_fastcmp;
	PG_RETURN_VOID();
}

/*
 * Hashes a level.
 */
Datum
mals_level_hash(PG_FUNCTION_ARGS)
{
	return hash_uint32(PG_GETARG_MALS_LEVEL(0));
}

/*
 * Hashes a level with a seed.
 */
Datum
mals_level_hash_extended(PG_FUNCTION_ARGS)
{
	return hash_uint32_extended(PG_GETARG_MALS_LEVEL(0), PG_GETARG_INT64(1));
}

/*
 * Returns the lesser of two levels.
 */
Datum
mals_level_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_MALS_LEVEL(Min(PG_GETARG_MALS_LEVEL(0), PG_GETARG_MALS_LEVEL(1)));
}

/*
 * Returns the greater of two levels.
 */
Datum
mals_level_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_MALS_LEVEL(Max(PG_GETARG_MALS_LEVEL(0), PG_GETARG_MALS_LEVEL(1)));
}
