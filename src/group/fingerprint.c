/*
 * fingerprint.c
 *		Fingerprints: 64-bit hashes of templates and exceptions. SQL functions
 *		mals_template, mals_fingerprint, mals_fingerprint_version,
 *		mals._merge_groups.
 *
 * The hash is the same on every platform and version of PostgreSQL, see
 * hash.c; the version of the rules is its seed. Of a message's template the
 * bytes are hashed as mals_template shows them. An exception adds its type and
 * its innermost frames.
 */
#include "group_private.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "group/group.h"
#include "group/merge.h"
#include "mals_compat.h"

/* What a hash is of, so that the same text hashed for two reasons differs. */
#define HASH_OF_TEMPLATE MALS_FINGERPRINT_VERSION
#define HASH_OF_OWN 0x6f776e
#define HASH_OF_TYPE 0x747970
#define HASH_OF_FRAME 0x667261

/* Innermost frames of an exception in metadata that count. */
#define METADATA_FRAMES_MAX 8

PG_FUNCTION_INFO_V1(mals_template);
PG_FUNCTION_INFO_V1(mals_fingerprint);
PG_FUNCTION_INFO_V1(mals_fingerprint_version);
PG_FUNCTION_INFO_V1(mals_merge_groups_array);

/* Finds a value of an object by its key. */
static JsonbValue *
find_key(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), value);
}

/* Finds the first of some keys, up to a NULL, of which the value has a type. */
static bool
find_typed(JsonbContainer *object, const char *const *keys, enum jbvType type, JsonbValue *value)
{
	for (; *keys; keys++)
	{
		if (find_key(object, *keys, value) && value->type == type)
			return true;
	}
	return false;
}

/* Adds the function and file of a frame that is an object; never its line. */
static uint64
hash_frame(uint64 hash, JsonbContainer *frame)
{
	static const char *const function_keys[] = {"function", "name", "method", "func", NULL};
	static const char *const file_keys[] = {"file", "filename", "module", "abs_path", "path", NULL};
	JsonbValue value;

	if (find_typed(frame, function_keys, jbvString, &value))
		hash = mals_group_hash(hash ^ HASH_OF_FRAME, value.val.string.val, value.val.string.len);
	if (find_typed(frame, file_keys, jbvString, &value))
	{
		const char *name = value.val.string.val;
		int len = value.val.string.len;

		/* the base name */
		for (int i = len; i > 0; i--)
		{
			if (name[i - 1] == '/' || name[i - 1] == '\\')
			{
				name += i;
				len -= i;
				break;
			}
		}
		hash = mals_group_hash(hash ^ HASH_OF_FRAME, name, len);
	}
	return hash;
}

/* Adds a stack trace that is text. */
static uint64
hash_trace_text(uint64 hash, const char *text, int len)
{
	char template[GROUP_OUTPUT_MAX];
	int written = mals_group_template(template, text, len);

	return mals_group_hash(hash ^ HASH_OF_FRAME, template, written);
}

/* Adds a stack trace that is an array of lines, or of frames of which the last is innermost. */
static uint64
hash_trace_array(uint64 hash, JsonbContainer *array)
{
	int count = JsonContainerSize(array);
	char text[GROUP_INPUT_MAX];
	int len = 0;

	/* frames from the last ones, lines from the first until there are enough */
	for (int i = 0; i < count && len < GROUP_INPUT_MAX; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array, i);

		if (item->type == jbvString)
		{
			int n = Min(item->val.string.len, GROUP_INPUT_MAX - 1 - len);

			memcpy(text + len, item->val.string.val, n);
			len += n;
			if (len == 0 || text[len - 1] != '\n')
				text[len++] = '\n';
		}
		else if (len == 0 && i + METADATA_FRAMES_MAX < count)
			i = count - METADATA_FRAMES_MAX - 1;
		else if (item->type == jbvBinary && JsonContainerIsObject(item->val.binary.data))
			hash = hash_frame(hash, item->val.binary.data);
		pfree(item);
	}
	return len > 0 ? hash_trace_text(hash, text, len) : hash;
}

/* Adds the type and the innermost frames of an exception. */
static uint64
hash_exception(uint64 hash, JsonbContainer *exception)
{
	static const char *const type_keys[] = {"type", "class", "name", NULL};
	static const char *const trace_keys[] = {"stacktrace",  "traceback", "frames",
											 "stack_trace", "stack",     NULL};
	JsonbValue value;

	if (find_typed(exception, type_keys, jbvString, &value))
		hash = mals_group_hash(hash ^ HASH_OF_TYPE, value.val.string.val, value.val.string.len);
	for (int i = 0; trace_keys[i]; i++)
	{
		if (!find_key(exception, trace_keys[i], &value))
			continue;
		if (value.type == jbvString)
			return hash_trace_text(hash, value.val.string.val, value.val.string.len);
		if (value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
			return hash_trace_array(hash, value.val.binary.data);
	}
	return hash;
}

/* Returns the fingerprint of the messages that have a template. */
int64
mals_template_fingerprint(const char *template, int len)
{
	return (int64) mals_group_hash(HASH_OF_TEMPLATE, template, len);
}

/* Appends the template of a message to a string. */
void
mals_template_append(StringInfo dst, const char *message, int len)
{
	char template[GROUP_OUTPUT_MAX];
	int written = mals_group_template(template, message, len);

	appendBinaryStringInfo(dst, template, written);
}

/* Returns the fingerprint of an entry. */
int64
mals_fingerprint_entry(const char *message, int len, Jsonb *metadata)
{
	char template[GROUP_OUTPUT_MAX];
	uint64 hash;

	if (metadata != NULL && JB_ROOT_IS_OBJECT(metadata))
	{
		JsonbValue value;

		if (find_key(&metadata->root, "fingerprint", &value) && value.type == jbvString)
			return (int64) mals_group_hash(HASH_OF_OWN, value.val.string.val, value.val.string.len);
		hash = mals_group_hash(HASH_OF_TEMPLATE, template,
							   mals_group_template(template, message, len));
		if (find_key(&metadata->root, "exception", &value))
		{
			if (value.type == jbvString)
				hash = mals_group_hash(hash ^ HASH_OF_TYPE, value.val.string.val,
									   value.val.string.len);
			else if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
				hash = hash_exception(hash, value.val.binary.data);
		}
		return (int64) hash;
	}
	return (int64) mals_group_hash(HASH_OF_TEMPLATE, template,
								   mals_group_template(template, message, len));
}

/* mals_template(message text) returns text */
Datum
mals_template(PG_FUNCTION_ARGS)
{
	text *message = PG_GETARG_TEXT_PP(0);
	char template[GROUP_OUTPUT_MAX];
	int written = mals_group_template(template, VARDATA_ANY(message), VARSIZE_ANY_EXHDR(message));

	PG_RETURN_TEXT_P(cstring_to_text_with_len(template, written));
}

/* mals_fingerprint(message text, metadata jsonb) returns bigint */
Datum
mals_fingerprint(PG_FUNCTION_ARGS)
{
	text *message;
	Jsonb *metadata = NULL;
	int64 fingerprint;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	message = PG_GETARG_TEXT_PP(0);
	if (!PG_ARGISNULL(1))
		metadata = PG_GETARG_JSONB_P(1);
	fingerprint =
		mals_fingerprint_entry(VARDATA_ANY(message), VARSIZE_ANY_EXHDR(message), metadata);
	PG_FREE_IF_COPY(message, 0);
	if (metadata != NULL)
		PG_FREE_IF_COPY(metadata, 1);
	PG_RETURN_INT64(fingerprint);
}

/* mals_fingerprint_version() returns int */
Datum
mals_fingerprint_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(MALS_FINGERPRINT_VERSION);
}

/* mals._merge_groups(templates text[]) returns bigint[] */
Datum
mals_merge_groups_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum *texts;
	bool *nulls;
	int count;
	MalsTemplate *templates;
	Datum *groups;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &count);
	templates = palloc(count * sizeof(MalsTemplate));
	groups = palloc(count * sizeof(Datum));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			mals_error_missing("templates", "Every element must be a template.");
		templates[i].text = VARDATA_ANY(DatumGetPointer(texts[i]));
		templates[i].len = VARSIZE_ANY_EXHDR(DatumGetPointer(texts[i]));
		templates[i].fingerprint = mals_template_fingerprint(templates[i].text, templates[i].len);
	}
	mals_merge_templates(templates, count);
	for (int i = 0; i < count; i++)
		groups[i] = Int64GetDatum(templates[i].group_id);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(groups, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
