/*
 * otlp_value.c
 *		Reads the parts that OTLP/JSON messages are made of: fields, lists,
 *		integers and AnyValues.
 */
#include "mals_errors.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/numeric.h"

#include "entry.h"
#include "otlp.h"

enum
{
	KEY_VALUE_KEY,
	KEY_VALUE_VALUE,
	KEY_VALUE_FIELDS
};

static const MalsFieldName key_value_names[] = {
	MALS_FIELD_NAME("key", KEY_VALUE_KEY),
	MALS_FIELD_NAME("value", KEY_VALUE_VALUE),
};

static const MalsFieldName any_names[] = {
	MALS_FIELD_NAME("intValue", OTLP_INT),        MALS_FIELD_NAME("boolValue", OTLP_BOOL),
	MALS_FIELD_NAME("int_value", OTLP_INT),       MALS_FIELD_NAME("arrayValue", OTLP_ARRAY),
	MALS_FIELD_NAME("bool_value", OTLP_BOOL),     MALS_FIELD_NAME("bytesValue", OTLP_BYTES),
	MALS_FIELD_NAME("array_value", OTLP_ARRAY),   MALS_FIELD_NAME("bytes_value", OTLP_BYTES),
	MALS_FIELD_NAME("doubleValue", OTLP_DOUBLE),  MALS_FIELD_NAME("kvlistValue", OTLP_KVLIST),
	MALS_FIELD_NAME("stringValue", OTLP_STRING),  MALS_FIELD_NAME("double_value", OTLP_DOUBLE),
	MALS_FIELD_NAME("kvlist_value", OTLP_KVLIST), MALS_FIELD_NAME("string_value", OTLP_STRING),
};

static const MalsFieldName list_names[] = {
	MALS_FIELD_NAME("values", 0),
};

/* Appends a path's text. */
static void
append_path(StringInfo buf, const OtlpPath *path)
{
	check_stack_depth();
	if (path->parent != NULL)
	{
		append_path(buf, path->parent);
		appendStringInfoChar(buf, '.');
	}
	appendStringInfoString(buf, path->name);
	if (path->index >= 0)
		appendStringInfo(buf, "[%d]", path->index);
}

/* Raises the error for a request that is not as OTLP says. */
void
mals_otlp_malformed(const OtlpPath *path, const char *expected)
{
	StringInfoData buf;

	initStringInfo(&buf);
	append_path(&buf, path);
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s: must be %s", buf.data, expected),
			errhint("Send an OpenTelemetry ExportLogsServiceRequest in JSON: "
					"{\"resourceLogs\": [{\"scopeLogs\": [{\"logRecords\": [...]}]}]}."));
}

/* Raises the error for a field of a message. */
void
mals_otlp_malformed_field(const OtlpPath *parent, const char *name, const char *expected)
{
	OtlpPath path = {parent, name, -1};

	mals_otlp_malformed(&path, expected);
}

/* Reads the fields of a message, which may be not given. */
void
mals_otlp_message(const JsonbValue *message, const OtlpPath *path, const MalsFieldName *names,
				  int nnames, JsonbValue *values, int nvalues, MalsRest *rest)
{
	if (message->type == jbvNull)
	{
		for (int i = 0; i < nvalues; i++)
			values[i].type = jbvNull;
		rest->pairs = NULL;
		rest->npairs = 0;
		return;
	}
	if (message->type != jbvBinary || !JsonContainerIsObject(message->val.binary.data))
		mals_otlp_malformed(path, "an object");
	mals_fields_read(message->val.binary.data, names, nnames, values, nvalues, rest);
}

/* Starts a walk over a repeated field. */
void
mals_otlp_begin(OtlpElements *elements, const JsonbValue *array, const OtlpPath *parent,
				const char *name)
{
	elements->path = (OtlpPath){parent, name, -1};
	elements->it = NULL;
	elements->count = 0;
	if (array->type == jbvNull)
		return;
	if (array->type != jbvBinary || !JsonContainerIsArray(array->val.binary.data))
		mals_otlp_malformed(&elements->path, "an array");
	elements->it = JsonbIteratorInit(array->val.binary.data);
	elements->count = JsonContainerSize(array->val.binary.data);
	(void) JsonbIteratorNext(&elements->it, &elements->value, true);
}

/* Goes to the next element; false if there is none. */
bool
mals_otlp_next(OtlpElements *elements)
{
	elements->path.index++;
	return elements->it != NULL &&
		   JsonbIteratorNext(&elements->it, &elements->value, true) == WJB_ELEM;
}

/* Requires a field to be a string, if it is given; tells whether there is something in it. */
bool
mals_otlp_has_string(const JsonbValue *value, const OtlpPath *parent, const char *name)
{
	if (value->type != jbvNull && !mals_is_string(value))
		mals_otlp_malformed_field(parent, name, "a string");
	return mals_is_filled(value);
}

/* Writes an integer, given as a number or as a string, into a buffer; false if it is neither. */
static bool
integer_text(const JsonbValue *value, char buf[32])
{
	const char *str;
	int len;

	if (value->type == jbvNumeric)
	{
		str = numeric_normalize(value->val.numeric);
		len = strlen(str);
	}
	else if (mals_is_string(value))
	{
		str = value->val.string.val;
		len = value->val.string.len;
	}
	else
		return false;

	if (len == 0 || len >= 32)
		return false;
	memcpy(buf, str, len);
	buf[len] = '\0';
	return strspn(buf + (*buf == '-'), "0123456789") == strlen(buf) - (*buf == '-');
}

/* Reads a signed 64-bit integer. */
bool
mals_otlp_int64(const JsonbValue *value, int64 *result)
{
	char buf[32];
	char *end;

	if (!integer_text(value, buf))
		return false;
	errno = 0;
	*result = strtoi64(buf, &end, 10);
	return errno == 0 && *end == '\0' && end != buf;
}

/* Reads an unsigned 64-bit integer. */
bool
mals_otlp_uint64(const JsonbValue *value, uint64 *result)
{
	char buf[32];
	char *end;

	if (!integer_text(value, buf) || *buf == '-')
		return false;
	errno = 0;
	*result = strtou64(buf, &end, 10);
	return errno == 0;
}

/* Reads the next pair of a list of KeyValue; false if there is none. */
bool
mals_otlp_next_pair(OtlpElements *elements, JsonbValue *key, JsonbValue *value)
{
	JsonbValue fields[KEY_VALUE_FIELDS];
	MalsRest rest;
	OtlpPath path;

	if (!mals_otlp_next(elements))
		return false;
	if (elements->value.type == jbvNull)
		mals_otlp_malformed(&elements->path, "an object");
	mals_otlp_message(&elements->value, &elements->path, key_value_names, lengthof(key_value_names),
					  fields, KEY_VALUE_FIELDS, &rest);

	*key = fields[KEY_VALUE_KEY];
	if (!mals_otlp_has_string(key, &elements->path, "key"))
	{
		key->type = jbvString;
		key->val.string.val = "";
		key->val.string.len = 0;
	}
	path = (OtlpPath){&elements->path, "value", -1};
	(void) mals_otlp_any(&fields[KEY_VALUE_VALUE], &path, value);
	return true;
}

/* Reads the values of an ArrayValue or a KeyValueList. */
static void
begin_list(OtlpElements *elements, const JsonbValue *list, const OtlpPath *path)
{
	JsonbValue values;
	MalsRest rest;

	mals_otlp_message(list, path, list_names, lengthof(list_names), &values, 1, &rest);
	mals_otlp_begin(elements, &values, path, "values");
}

/* Reads an ArrayValue as a tree in memory. */
static void
read_array(const JsonbValue *list, const OtlpPath *path, JsonbValue *result)
{
	OtlpElements elements;
	int n = 0;

	begin_list(&elements, list, path);
	result->type = jbvArray;
	result->val.array.rawScalar = false;
	result->val.array.elems = palloc_array(JsonbValue, elements.count);
	while (mals_otlp_next(&elements))
		(void) mals_otlp_any(&elements.value, &elements.path, &result->val.array.elems[n++]);
	result->val.array.nElems = n;
}

/* Reads a KeyValueList as a tree in memory. */
static void
read_kvlist(const JsonbValue *list, const OtlpPath *path, JsonbValue *result)
{
	MalsMerge *merge = mals_merge_begin();
	OtlpElements elements;
	JsonbValue key;
	JsonbValue value;

	begin_list(&elements, list, path);
	while (mals_otlp_next_pair(&elements, &key, &value))
		mals_merge_value(merge, key.val.string.val, key.val.string.len, &value, "kvlist");
	mals_merge_end_value(merge, result);
}

/*
 * Reads an AnyValue as the JSON value it stands for, and tells its kind. Bytes
 * stay base64; NaN and the infinities, which JSON lacks, stay strings.
 */
OtlpKind
mals_otlp_any(const JsonbValue *any, const OtlpPath *path, JsonbValue *result)
{
	JsonbValue kinds[OTLP_EMPTY];
	OtlpKind kind = OTLP_EMPTY;
	OtlpPath inner = {path, NULL, -1};
	MalsRest rest;
	int64 integer;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	mals_otlp_message(any, path, any_names, lengthof(any_names), kinds, OTLP_EMPTY, &rest);
	for (int i = 0; i < OTLP_EMPTY; i++)
	{
		if (kinds[i].type == jbvNull)
			continue;
		if (kind != OTLP_EMPTY)
			mals_otlp_malformed(path, "an AnyValue of one kind");
		kind = i;
	}
	if (rest.npairs > 0)
		mals_otlp_malformed(
			path, "an AnyValue (stringValue, boolValue, intValue, doubleValue, arrayValue, "
				  "kvlistValue or bytesValue)");

	if (kind == OTLP_EMPTY)
	{
		result->type = jbvNull;
		return kind;
	}

	*result = kinds[kind];
	switch (kind)
	{
		case OTLP_STRING:
			(void) mals_otlp_has_string(result, path, "stringValue");
			break;
		case OTLP_BYTES:
			(void) mals_otlp_has_string(result, path, "bytesValue");
			break;
		case OTLP_BOOL:
			if (result->type != jbvBool)
				mals_otlp_malformed_field(path, "boolValue", "true or false");
			break;
		case OTLP_INT:
			if (!mals_otlp_int64(result, &integer))
				mals_otlp_malformed_field(path, "intValue", "a 64-bit integer");
			result->type = jbvNumeric;
			result->val.numeric = int64_to_numeric(integer);
			break;
		case OTLP_DOUBLE:
			if (result->type != jbvNumeric && !mals_is_string(result))
				mals_otlp_malformed_field(path, "doubleValue", "a number");
			break;
		case OTLP_ARRAY:
			inner.name = "arrayValue";
			read_array(&kinds[kind], &inner, result);
			break;
		case OTLP_KVLIST:
			inner.name = "kvlistValue";
			read_kvlist(&kinds[kind], &inner, result);
			break;
		case OTLP_EMPTY:
			break;
	}
	return kind;
}
