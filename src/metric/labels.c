/*
 * labels.c
 *		Names and labels of metrics, by the rules of Prometheus.
 */
#include "mals_errors.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "mals_compat.h"
#include "metric/metric_private.h"

/* Name and labels are a key of mals._series: an index has room for 2,700 bytes. */
#define MAX_NAME 200
#define MAX_LABELS_BYTES 2000

/* Figures of mals's own are named like this. */
#define OWN_PREFIX "mals_"

/* Tells whether a name is letters, digits and _ (and : where allowed), no digit first. */
static bool
is_name(const char *name, int len, bool colons)
{
	for (int i = 0; i < len; i++)
	{
		unsigned char c = name[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && !(colons && c == ':') && !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return len > 0;
}

char *
mals_metric_name(FunctionCallInfo fcinfo, int arg)
{
	char *name;

	if (PG_ARGISNULL(arg))
		mals_error_missing("name", "Name the metric, such as 'tasks_completed_total'.");
	name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	if (!is_name(name, strlen(name), true) || strlen(name) > MAX_NAME)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("name of a metric is invalid: \"%s\"",
					   pnstrdup(name, pg_mbcliplen(name, strlen(name), MAX_NAME))),
				errhint("Use up to %d letters, digits, _ and :, and no digit at the beginning.",
						MAX_NAME));
	if (strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("name of a metric is reserved: \"%s\"", name),
				errhint("Choose one that does not begin with " OWN_PREFIX "."));
	return name;
}

/* Checks the name of a label. */
static void
check_label(const JsonbValue *key, const char *kind)
{
	const char *name = key->val.string.val;
	int len = key->val.string.len;

	if (!is_name(name, len, false) || (len >= 2 && name[0] == '_' && name[1] == '_'))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("labels: name of a label is invalid: \"%s\"",
					   pnstrdup(name, pg_mbcliplen(name, len, MAX_NAME))),
				errhint("Use letters, digits and _, no digit and not __ at the beginning."));
	if (len == 2 && memcmp(name, "le", 2) == 0 && strcmp(kind, MALS_METRIC_PRIVATE_HISTOGRAM) == 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("labels: \"le\" is reserved in a histogram"),
				errhint("It is the label of the buckets' bounds: choose another name."));
}

/* Makes a label's value a text. Returns false for null and an empty text: no label. */
static bool
make_text(JsonbValue *value, const JsonbValue *key)
{
	const char *text = NULL;

	switch (value->type)
	{
		case jbvString:
			return value->val.string.len > 0;
		case jbvNull:
			return false;
		case jbvNumeric:
			text = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		case jbvBool:
			text = value->val.boolean ? "true" : "false";
			break;
		default:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("labels: value of \"%s\" is no text",
						   pnstrdup(key->val.string.val, key->val.string.len)),
					errhint("Give a string, a number or a boolean."));
	}
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = strlen(text);
	return true;
}

Jsonb *
mals_metric_labels(FunctionCallInfo fcinfo, int arg, const char *kind)
{
	Jsonb *given = PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue value;
	Jsonb *labels;

	if (given != NULL && !JB_ROOT_IS_OBJECT(given))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("labels are no JSON object"),
				errhint("Give an object such as {\"queue\": \"mail\"}."));
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = given == NULL ? NULL : JsonbIteratorInit(&given->root);
	while (it != NULL && (token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		check_label(&key, kind);
		(void) JsonbIteratorNext(&it, &value, true);
		if (make_text(&value, &key))
		{
			(void) pushJsonbValue(&state, WJB_KEY, &key);
			(void) pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	labels = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (VARSIZE(labels) > MAX_LABELS_BYTES)
		mals_error_range("labels", "Names and values of the labels may have about %d bytes in all.",
						 MAX_LABELS_BYTES);
	return labels;
}
