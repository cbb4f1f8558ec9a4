/*
 * latency.c
 *		mals_latency: percentiles of a number in the metadata.
 */
#include "mals_errors.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "query/literal.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_latency);
PG_FUNCTION_INFO_V1(mals_json_number);

/*
 * Numbers beyond this in size are left out, and those below its inverse count
 * as zero: float8 has no room for all that JSON can say, nor for the
 * squares of its own largest numbers.
 */
#define LARGEST 1e140
#define SMALLEST 1e-140

/* What entries can be grouped by; NULL: it can not, though the query language knows it. */
static const struct
{
	const char *name;
	const char *column;
} group_columns[] = {
	{"agent", "l.agent_id"}, {"category", "l.category"},
	{"source", "l.source"},  {"session", "l.session_key"},
	{"level", NULL},         {"correlation", NULL},
	{"trace", NULL},         {"id", NULL},
	{"fingerprint", NULL},   {"resolved", NULL},
};

/* Reads a text argument that names something; NULL means the default. */
static char *
name_arg(FunctionCallInfo fcinfo, int arg, const char *argname, char *otherwise)
{
	char *name = PG_ARGISNULL(arg) ? otherwise : text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (strncmp(name, "meta.", 5) == 0 && name[5] == '\0')
		name += 5;
	if (*name == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is empty", argname),
				errhint("Give a metadata key, such as duration_ms or http.duration."));
	mals_check_path(name, argname);
	return name;
}

/* Appends the value of a metadata key, with or without "meta." before it. */
static void
append_key(StringInfo sql, const char *name)
{
	mals_append_metadata(sql, strncmp(name, "meta.", 5) == 0 ? name + 5 : name);
}

/* Appends what entries are grouped by, as text. */
static void
append_group(StringInfo sql, const char *name)
{
	for (int i = 0; i < lengthof(group_columns); i++)
	{
		if (strcmp(name, group_columns[i].name) != 0)
			continue;
		if (group_columns[i].column == NULL)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("group_by \"%s\" is unknown", name),
					errhint("Use agent, category, source, session or meta.<key>."));
		appendStringInfoString(sql, group_columns[i].column);
		return;
	}
	mals_append_metadata_text(sql, strncmp(name, "meta.", 5) == 0 ? name + 5 : name);
}

/* SQL: a number of JSON as float8; NULL if it is none, or too large. */
Datum
mals_json_number(PG_FUNCTION_ARGS)
{
	Jsonb *json = PG_GETARG_JSONB_P(0);
	JsonbValue value;
	double number;

	if (!JsonbExtractScalar(&json->root, &value) || value.type != jbvNumeric)
		PG_RETURN_NULL();
	number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	if (fabs(number) > LARGEST)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(fabs(number) < SMALLEST ? 0 : number);
}

/* SQL: percentiles of a metadata number by agent, or by what else is asked for. */
Datum
mals_latency(PG_FUNCTION_ARGS)
{
	char *group = name_arg(fcinfo, 0, "group_by", "agent");
	char *field = name_arg(fcinfo, 1, "field", "duration_ms");
	MalsSelection selection;
	StringInfoData sql;

	mals_selection_read(&selection, fcinfo, 2, 3, 4);
	initStringInfo(&sql);
	/* OFFSET 0: the number is taken out of the metadata once */
	appendStringInfoString(
		&sql, "SELECT key, n, p[1], p[2], p[3], most, mean FROM (SELECT key, count(*) AS n,"
			  " percentile_cont('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY value) AS p,"
			  " max(value) AS most, avg(value) AS mean FROM (SELECT (");
	append_group(&sql, group);
	appendStringInfoString(&sql, ")::text COLLATE \"C\" AS key, mals._number(");
	append_key(&sql, field);
	appendStringInfoString(&sql, ") AS value");
	mals_selection_append_from(&sql, &selection);
	appendStringInfoString(&sql, " OFFSET 0) v WHERE value IS NOT NULL GROUP BY key) g"
								 " ORDER BY n DESC, key");
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}
