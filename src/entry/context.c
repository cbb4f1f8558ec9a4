/*
 * context.c
 *		Functions that set this session's context.
 */
#include "mals_errors.h"

#include "utils/builtins.h"

#include "mals_guc.h"
#include "entry/entry.h"

PG_FUNCTION_INFO_V1(mals_set_traceparent);
PG_FUNCTION_INFO_V1(mals_new_correlation);

/* Tells whether len bytes are lower-case hex digits, and not all of them 0. */
static bool
is_hex(const char *str, int len, bool zero_allowed)
{
	bool zero = true;

	for (int i = 0; i < len; i++)
	{
		if (!((str[i] >= '0' && str[i] <= '9') || (str[i] >= 'a' && str[i] <= 'f')))
			return false;
		zero &= str[i] == '0';
	}
	return zero_allowed || !zero;
}

/* Sets span_id in mals.context, or takes it out. */
static void
set_span_id(const char *span_id, int len)
{
	Jsonb *context = mals_context_object();
	MalsMerge *merge = mals_merge_begin();
	Jsonb *result;

	if (span_id != NULL)
	{
		JsonbValue value;

		value.type = jbvString;
		value.val.string.val = unconstify(char *, span_id);
		value.val.string.len = len;
		mals_merge_value(merge, "span_id", 7, &value, NULL);
		if (context != NULL)
			mals_merge_object(merge, &context->root, NULL);
		result = mals_merge_end(merge);
	}
	else
	{
		if (context == NULL)
			return;
		result = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(context),
													CStringGetTextDatum("span_id")));
	}
	mals_set_setting("mals.context", JB_ROOT_COUNT(result) == 0
										 ? ""
										 : JsonbToCString(NULL, &result->root, VARSIZE(result)));
}

/* SQL: sets the session's trace from a W3C traceparent. */
Datum
mals_set_traceparent(PG_FUNCTION_ARGS)
{
	char *str;
	int len;

	if (PG_ARGISNULL(0))
	{
		mals_set_setting("mals.trace_id", "");
		set_span_id(NULL, 0);
		PG_RETURN_VOID();
	}
	str = text_to_cstring(PG_GETARG_TEXT_PP(0));
	len = strlen(str);
	/* later versions may append fields, version 00 may not, version ff is invalid */
	if (len < 55 || str[2] != '-' || str[35] != '-' || str[52] != '-' || !is_hex(str, 2, true) ||
		!is_hex(str + 3, 32, false) || !is_hex(str + 36, 16, false) || !is_hex(str + 53, 2, true) ||
		strncmp(str, "ff", 2) == 0 || (len > 55 && (strncmp(str, "00", 2) == 0 || str[55] != '-')))
		ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("invalid input syntax for traceparent: \"%s\"", str),
				errhint("Give a W3C traceparent, such as "
						"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01."));
	mals_set_setting("mals.trace_id", pnstrdup(str + 3, 32));
	set_span_id(str + 36, 16);
	PG_RETURN_VOID();
}

/* SQL: makes a correlation id, sets it for the session and returns it. */
Datum
mals_new_correlation(PG_FUNCTION_ARGS)
{
	StringInfoData result;
	unsigned char random[UUID_LEN];
	text *kind;

	if (PG_ARGISNULL(0))
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("kind: a value is required"),
				errhint("Leave it out for req, or give a word such as task."));
	kind = PG_GETARG_TEXT_PP(0);
	initStringInfo(&result);
	appendBinaryStringInfo(&result, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind));
	if (result.len == 0 || result.len > 32 ||
		strspn(result.data, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
			result.len)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("kind: \"%s\" is not 1 to 32 letters, digits, _ and -", result.data),
				errhint("Use a word such as req or task."));
	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values"),
				errhint("The operating system's source of random numbers failed."));
	appendStringInfoChar(&result, '-');
	for (int i = 0; i < UUID_LEN; i++)
		appendStringInfo(&result, "%02x", random[i]);
	mals_set_setting("mals.correlation_id", result.data);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(result.data, result.len));
}
