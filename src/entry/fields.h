/*
 * fields.h
 *		Private header of src/entry: reads the known fields of a JSON object in
 *		one walk. Shared by the sources that take JSON.
 */
#ifndef MALS_FIELDS_H
#define MALS_FIELDS_H

#include "mals_errors.h"

#include "utils/jsonb.h"

/* A key that a source knows, and the slot its value goes to. */
typedef struct MalsFieldName
{
	const char *name;
	int len;
	int slot;
} MalsFieldName;

#define MALS_FIELD_NAME(name, slot)                                                                \
	{                                                                                              \
		(name), sizeof(name) - 1, (slot)                                                           \
	}

/* What a JSON object has besides its known fields. */
typedef struct MalsRest
{
	JsonbPair *pairs;
	int npairs;
} MalsRest;

/*
 * Sorts an object's pairs into values (nvalues slots, jbvNull where nothing is
 * given) and the rest. names are in jsonb's order of keys: by length, then by
 * bytes. If two names share a slot, the first that is given has it, the other
 * is in the rest. Strings and containers point into the object.
 */
extern void mals_fields_read(JsonbContainer *object, const MalsFieldName *names, int nnames,
							 JsonbValue *values, int nvalues, MalsRest *rest);

/* Is this a string, and one with something in it? */
#define mals_is_string(v) ((v)->type == jbvString)
#define mals_is_filled(v) ((v)->type == jbvString && (v)->val.string.len > 0)

/* A JSON string as text. */
#define mals_string_text(v) cstring_to_text_with_len((v)->val.string.val, (v)->val.string.len)

#endif /* MALS_FIELDS_H */
