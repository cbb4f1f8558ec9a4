/*
 * fields.c
 *		Reads the known fields of a JSON object in one walk.
 *
 * jsonb keeps the keys of an object sorted by length, then by bytes. The names
 * a source knows are in the same order, so one walk over both lists finds all
 * of them, as in a merge join: no look-up by key, and most comparisons are of
 * two lengths.
 */
#include "fields.h"

/* Compares a name with a key as jsonb orders them. */
static inline int
compare_name(const MalsFieldName *name, const JsonbValue *key)
{
	if (name->len != key->val.string.len)
		return name->len < key->val.string.len ? -1 : 1;
	return memcmp(name->name, key->val.string.val, name->len);
}

/* Sorts an object's pairs into known fields and the rest. */
void
mals_fields_read(JsonbContainer *object, const MalsFieldName *names, int nnames, JsonbValue *values,
				 int nvalues, MalsRest *rest)
{
	int npairs = JsonContainerSize(object);
	int name = 0;
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue key;

	Assert(JsonContainerIsObject(object));

	for (int i = 0; i < nvalues; i++)
		values[i].type = jbvNull;
	rest->pairs = NULL;
	rest->npairs = 0;

	(void) JsonbIteratorNext(&it, &key, true);
	for (int i = 0; i < npairs; i++)
	{
		int order = 1;
		JsonbValue value;

		(void) JsonbIteratorNext(&it, &key, true);
		(void) JsonbIteratorNext(&it, &value, true);

		while (name < nnames && (order = compare_name(&names[name], &key)) < 0)
			name++;

		if (name < nnames && order == 0)
		{
			JsonbValue *slot = &values[names[name].slot];

			if (value.type == jbvNull)
				continue;
			if (slot->type == jbvNull)
			{
				*slot = value;
				continue;
			}
		}

		if (rest->pairs == NULL)
			rest->pairs = palloc_array(JsonbPair, npairs - i);
		rest->pairs[rest->npairs].key = key;
		rest->pairs[rest->npairs].value = value;
		rest->npairs++;
	}
	pfree(it);
}
