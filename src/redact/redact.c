/*
 * redact.c
 *		Texts and JSON without their secrets.
 *
 * JSON is first walked where it lies, without unpacking it, to find out whether
 * there is a secret at all; only then is it taken apart and built anew. Keys
 * are texts like others. Under a key such as "password" a string or a number is
 * a secret by its place, also in an array.
 */
#include "mals_errors.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "redact/redact.h"
#include "secret.h"

PG_FUNCTION_INFO_V1(mals_redact);

/* Appends a text up to the end of the secret in it, which is replaced. */
static void
append_redacted(StringInfo result, const char *s, const MalsSecret *secret)
{
	appendBinaryStringInfo(result, s, secret->start);
	appendStringInfo(result, MALS_MARK "%s]", secret->kind);
}

/* Sets result to a text without its secrets; false, and not set, if it has none. */
static bool
redact_bytes(const char *s, int len, StringInfo result)
{
	MalsSecret secret;
	StringInfoData ruled;
	bool found = mals_secret_find(s, len, &secret);

	if (found)
	{
		initStringInfo(result);
		/* what comes after a secret is a text of its own: so it reads the same behind a mark */
		do
		{
			append_redacted(result, s, &secret);
			s += secret.end;
			len -= secret.end;
		} while (mals_secret_find(s, len, &secret));
		appendBinaryStringInfo(result, s, len);
		s = result->data;
		len = result->len;
	}
	if (!mals_rules_exist() || !mals_rules_apply(s, len, &ruled))
		return found;
	if (found)
		pfree(result->data);
	*result = ruled;
	return true;
}

text *
mals_redact_text(text *value)
{
	StringInfoData result;

	if (value == NULL || !redact_bytes(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &result))
		return value;
	value = cstring_to_text_with_len(result.data, result.len);
	pfree(result.data);
	return value;
}

/* Tells whether a text has a secret in it. */
static bool
has_secret(const char *s, int len)
{
	MalsSecret secret;

	return mals_secret_find(s, len, &secret) ||
		   (mals_rules_exist() && mals_rules_apply(s, len, NULL));
}

/* Tells whether a number is one under a name. */
static bool
is_secret_number(const MalsSecretName *name, Numeric number)
{
	char *digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	bool result = mals_secret_number(name, digits, strlen(digits));

	pfree(digits);
	return result;
}

static bool container_has_secret(const JsonbContainer *container, const MalsSecretName *name);

/* Tells how many bytes a child of a container takes, which begins at an offset. */
static inline int
child_length(const JsonbContainer *container, int child, uint32 offset)
{
	JEntry entry = container->children[child];

	return JBE_OFFLENFLD(entry) - (JBE_HAS_OFF(entry) ? offset : 0);
}

/* Tells whether there is a secret in a value, under a name or NULL. */
static bool
value_has_secret(JEntry type, const char *value, int len, const MalsSecretName *name)
{
	MalsSecret secret;

	if (JBE_ISSTRING(type))
		return has_secret(value, len) ||
			   (name != NULL && mals_secret_value(name, value, len, &secret));
	if (JBE_ISCONTAINER(type))
		return container_has_secret((const JsonbContainer *) INTALIGN(value), name);
	return JBE_ISNUMERIC(type) && name != NULL && is_secret_number(name, (Numeric) INTALIGN(value));
}

/*
 * Finds the name that the value under a key has: the key, or for {"name":
 * "password", "value": "x"} what the other key says. NULL if it is none of a secret.
 */
static const MalsSecretName *
name_of_key(const JsonbContainer *object, const char *key, int len, MalsSecretName *name)
{
	static const char *const others[] = {"name", "key", "Name", "Key"};

	if (mals_secret_name(key, len, name))
		return name;
	if (len != 5 || (memcmp(key, "value", 5) != 0 && memcmp(key, "Value", 5) != 0))
		return NULL;
	for (int i = 0; i < lengthof(others); i++)
	{
		JsonbValue value;

		if (getKeyJsonValueFromContainer(unconstify(JsonbContainer *, object), others[i],
										 strlen(others[i]), &value) != NULL &&
			value.type == jbvString &&
			mals_secret_name(value.val.string.val, value.val.string.len, name))
			return name;
	}
	return NULL;
}

/*
 * Tells whether there is a secret in a container. An array passes on the name
 * that it stands under, or NULL; the argument after --password is named by that.
 */
static bool
container_has_secret(const JsonbContainer *container, const MalsSecretName *name)
{
	int size = JsonContainerSize(container);
	int keys = JsonContainerIsObject(container) ? size : 0;
	const char *data = (const char *) (container->children + keys + size);
	uint32 key = 0;
	uint32 value = getJsonbOffset(container, keys);
	const MalsSecretName *under = name;
	MalsSecretName own;

	check_stack_depth();
	for (int i = 0; i < size; i++)
	{
		JEntry type = container->children[keys + i];
		int len = child_length(container, keys + i, value);

		if (keys > 0)
		{
			int key_len = child_length(container, i, key);

			if (has_secret(data + key, key_len))
				return true;
			under = name_of_key(container, data + key, key_len, &own);
			key += key_len;
		}
		if (value_has_secret(type, data + value, len, under))
			return true;
		if (keys == 0)
			under = JBE_ISSTRING(type) && mals_option_name(data + value, len, &own) ? &own : name;
		value += len;
	}
	return false;
}

/* Sets a JSON string. */
static void
set_string(JsonbValue *value, StringInfo string)
{
	value->type = jbvString;
	value->val.string.val = string->data;
	value->val.string.len = string->len;
}

/* Replaces what is secret in a string or a number, under a name or NULL. */
static void
redact_scalar(JsonbValue *value, const MalsSecretName *name)
{
	StringInfoData result;
	MalsSecret secret;

	if (value->type == jbvNumeric && name != NULL && is_secret_number(name, value->val.numeric))
	{
		initStringInfo(&result);
		appendStringInfo(&result, MALS_MARK "%s]", mals_secret_kind(name));
		set_string(value, &result);
	}
	else if (value->type == jbvString)
	{
		const char *s = value->val.string.val;
		int len = value->val.string.len;

		if (name != NULL && mals_secret_value(name, s, len, &secret))
		{
			initStringInfo(&result);
			append_redacted(&result, s, &secret);
			appendBinaryStringInfo(&result, s + secret.end, len - secret.end);
			set_string(value, &result);
		}
		else if (redact_bytes(s, len, &result))
			set_string(value, &result);
	}
}

/*
 * Redacts a key; those of one object stay different from each other, by a mark,
 * which is never taken for a part of a value that precedes it.
 */
static void
redact_key(JsonbValue *key, JsonbContainer *object, int *redacted)
{
	StringInfoData result;
	int len;

	if (!redact_bytes(key->val.string.val, key->val.string.len, &result))
		return;
	len = result.len;
	do
	{
		result.len = len;
		if (++*redacted > 1)
			appendStringInfo(&result, MALS_MARK "%d]", *redacted);
		set_string(key, &result);
	} while (findJsonbValueFromContainer(object, JB_FOBJECT, key) != NULL);
}

/*
 * Builds anew what an iterator gives up to the end of the container that it has
 * just entered. An array passes on the name that it stands under; the argument
 * after --password is named by that.
 */
static JsonbValue *
rebuild(JsonbIterator **it, JsonbParseState **state, const MalsSecretName *name)
{
	const MalsSecretName *under = name;
	MalsSecretName own;
	MalsSecretName next;
	JsonbIteratorToken token;
	JsonbValue value;
	int redacted = 0;

	check_stack_depth();
	for (;;)
	{
		bool is_option = false;

		token = JsonbIteratorNext(it, &value, false);
		switch (token)
		{
			case WJB_KEY:
				under =
					name_of_key((*it)->container, value.val.string.val, value.val.string.len, &own);
				redact_key(&value, (*it)->container, &redacted);
				(void) pushJsonbValue(state, token, &value);
				continue;
			case WJB_VALUE:
			case WJB_ELEM:
				is_option = token == WJB_ELEM && value.type == jbvString &&
							mals_option_name(value.val.string.val, value.val.string.len, &next);
				redact_scalar(&value, under);
				(void) pushJsonbValue(state, token, &value);
				break;
			case WJB_BEGIN_ARRAY:
			case WJB_BEGIN_OBJECT:
				(void) pushJsonbValue(state, token, NULL);
				(void) rebuild(it, state, token == WJB_BEGIN_ARRAY ? under : NULL);
				break;
			default:
				return pushJsonbValue(state, token, NULL);
		}
		under = name;
		if (is_option)
		{
			own = next;
			under = &own;
		}
	}
}

Jsonb *
mals_redact_jsonb(Jsonb *value)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbValue root;
	JsonbIteratorToken token;

	CHECK_FOR_INTERRUPTS();
	if (!container_has_secret(&value->root, NULL))
		return value;
	it = JsonbIteratorInit(&value->root);
	token = JsonbIteratorNext(&it, &root, false);
	(void) pushJsonbValue(&state, token, NULL);
	return JsonbValueToJsonb(rebuild(&it, &state, NULL));
}

/* SQL: a text without its secrets. */
Datum
mals_redact(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(mals_redact_text(PG_GETARG_TEXT_PP(0)));
}
