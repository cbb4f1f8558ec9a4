/*
 * literal.c
 *		Values and columns as SQL text.
 */
#include "query/literal.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "entry/entry.h"

/*
 * Appends a string literal.
 */
void
mals_append_literal(StringInfo buf, const char *str)
{
	char *literal = quote_literal_cstr(str);

	appendStringInfoString(buf, literal);
	pfree(literal);
}

/*
 * Appends the literal of an id.
 */
void
mals_append_uuid(StringInfo buf, const pg_uuid_t *id)
{
	char text[37];

	mals_uuid_text(id, text);
	appendStringInfo(buf, "'%s'::uuid", text);
}

/*
 * Appends the literal of a time, in UTC. Reckoning may have led out of the range
 * of times: what is before all of them is -infinity.
 */
void
mals_append_timestamp(StringInfo buf, TimestampTz ts)
{
	struct pg_tm tm;
	fsec_t fsec;
	char text[MAXDATELEN + 1];

	if (ts < MIN_TIMESTAMP)
	{
		appendStringInfoString(buf, "'-infinity'::timestamptz");
		return;
	}
	if (timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	tm.tm_isdst = 0; /* below 0 it would show no zone */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, text);
	appendStringInfo(buf, "'%s'::timestamptz", text);
}

/* Raises an error for a path into metadata of too many steps. */
void
mals_check_path(const char *key, const char *argname)
{
	int steps = 1;

	for (const char *c = key; *c; c++)
		steps += *c == '.';
	if (steps > MALS_MAX_STEPS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s is a path of more than %d steps", argname, MALS_MAX_STEPS),
				errhint("Give a metadata key, such as duration_ms or http.duration."));
}

/*
 * Appends the metadata value of a path, NULL where there is none. The dots of a
 * key may be steps into objects or part of a name, as in OpenTelemetry's
 * http.status_code: of a.b.c it is {a,b,c}, or where that is absent {a,"b.c"}, or
 * {"a.b.c"}.
 */
void
mals_append_metadata(StringInfo buf, const char *key)
{
	if (strchr(key, '.') == NULL)
	{
		appendStringInfoString(buf, "(metadata -> ");
		mals_append_literal(buf, key);
		appendStringInfoChar(buf, ')');
		return;
	}

	appendStringInfoString(buf, "COALESCE(");
	for (const char *last = strrchr(key, '.');;)
	{
		/* steps up to the dot at last, then the rest as one name */
		const char *step = key;

		appendStringInfoString(buf, "metadata #> ARRAY[");
		while (last != NULL && step <= last)
		{
			const char *dot = strchr(step, '.');

			mals_append_literal(buf, pnstrdup(step, dot - step));
			appendStringInfoString(buf, ", ");
			step = dot + 1;
		}
		mals_append_literal(buf, step);
		appendStringInfoChar(buf, ']');
		if (last == NULL)
			break;
		appendStringInfoString(buf, ", ");
		do
			last = last == key ? NULL : last - 1;
		while (last != NULL && *last != '.');
	}
	appendStringInfoChar(buf, ')');
}

/* Appends the metadata value of a path as text, NULL where there is none or it is null. */
void
mals_append_metadata_text(StringInfo buf, const char *key)
{
	if (strchr(key, '.') == NULL)
	{
		appendStringInfoString(buf, "(metadata ->> ");
		mals_append_literal(buf, key);
	}
	else
	{
		appendStringInfoChar(buf, '(');
		mals_append_metadata(buf, key);
		appendStringInfoString(buf, " #>> '{}'");
	}
	appendStringInfoChar(buf, ')');
}
