/*
 * metadata.c
 *		Merges JSON objects and single values into one object.
 *
 * The pairs are collected in order of arrival and the result is laid out at the
 * end, in jsonb's own format: keys sorted by length, then by bytes; then the
 * values. Values that are containers already are copied as they are, however
 * deep, which the format allows because offsets in a container are relative to
 * it; so a merge costs what its result weighs.
 *
 * Is a key taken? With few pairs a scan finds out. Beyond SCAN_LIMIT pairs a
 * hash table is built when the question is next asked; one object alone never
 * asks it, since the keys of an object differ from each other.
 */
#include "mals_errors.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "entry.h"

#define SCAN_LIMIT 16

typedef struct MergeKey
{
	const char *str;
	int len;
} MergeKey;

typedef struct MergeKeySlot
{
	MergeKey key;
	uint32 hash;
	char status;
} MergeKeySlot;

#define SH_PREFIX mergekeys
#define SH_ELEMENT_TYPE MergeKeySlot
#define SH_KEY_TYPE MergeKey
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key).str, (key).len)
#define SH_EQUAL(tb, a, b) ((a).len == (b).len && memcmp((a).str, (b).str, (a).len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct MalsMerge
{
	JsonbPair *pairs;
	int npairs;
	int capacity;
	mergekeys_hash *keys; /* of all pairs, once there are many; else NULL */
};

/* What is sorted: a pair is large. */
typedef JsonbPair *PairRef;

/* Where the layout of an object has got to. */
typedef struct Layout
{
	JsonbContainer *container;
	char *data;
	uint32 used;
	int child;
} Layout;

/* Makes an empty merge. */
MalsMerge *
mals_merge_begin(void)
{
	MalsMerge *merge = palloc_object(MalsMerge);

	merge->pairs = palloc_array(JsonbPair, SCAN_LIMIT);
	merge->npairs = 0;
	merge->capacity = SCAN_LIMIT;
	merge->keys = NULL;
	return merge;
}

/* Enters a pair's key into the hash table. */
static void
enter_key(MalsMerge *merge, const JsonbPair *pair)
{
	MergeKey key = {pair->key.val.string.val, pair->key.val.string.len};
	bool found;

	mergekeys_insert(merge->keys, key, &found);
}

/* Tells whether a pair has this key. */
static bool
is_taken(MalsMerge *merge, const char *str, int len)
{
	MergeKey key = {str, len};

	if (merge->npairs <= SCAN_LIMIT)
	{
		for (int i = 0; i < merge->npairs; i++)
		{
			const JsonbValue *other = &merge->pairs[i].key;

			if (other->val.string.len == len && memcmp(other->val.string.val, str, len) == 0)
				return true;
		}
		return false;
	}

	if (merge->keys == NULL)
	{
		merge->keys = mergekeys_create(CurrentMemoryContext, merge->npairs, NULL);
		for (int i = 0; i < merge->npairs; i++)
			enter_key(merge, &merge->pairs[i]);
	}
	return mergekeys_lookup(merge->keys, key) != NULL;
}

/* Adds a pair whose key is free. */
static void
add_pair(MalsMerge *merge, const char *key, int keylen, const JsonbValue *value)
{
	JsonbPair *pair;

	if (merge->npairs == merge->capacity)
	{
		merge->capacity *= 2;
		merge->pairs = repalloc_huge(merge->pairs, merge->capacity * sizeof(JsonbPair));
	}
	pair = &merge->pairs[merge->npairs++];
	pair->key.type = jbvString;
	pair->key.val.string.val = unconstify(char *, key);
	pair->key.val.string.len = keylen;
	pair->value = *value;
	pair->order = 0;
	if (merge->keys != NULL)
		enter_key(merge, pair);
}

/* Merges one value. */
void
mals_merge_value(MalsMerge *merge, const char *key, int keylen, const JsonbValue *value,
				 const char *source)
{
	while (is_taken(merge, key, keylen))
	{
		if (source == NULL)
			return;
		key = psprintf("%s.%.*s", source, keylen, key);
		keylen = strlen(key);
	}
	add_pair(merge, key, keylen, value);
}

/* Merges an object's pairs. */
void
mals_merge_object(MalsMerge *merge, JsonbContainer *object, const char *source)
{
	bool first = merge->npairs == 0;
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue key;
	JsonbValue value;

	if (!JsonContainerIsObject(object))
		elog(ERROR, "only objects can be merged");

	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		CHECK_FOR_INTERRUPTS();
		(void) JsonbIteratorNext(&it, &value, true);
		if (first)
			add_pair(merge, key.val.string.val, key.val.string.len, &value);
		else
			mals_merge_value(merge, key.val.string.val, key.val.string.len, &value, source);
	}
}

/* Compares two pairs as jsonb orders keys. */
static inline int
compare_pairs(const JsonbPair *left, const JsonbPair *right)
{
	int len = left->key.val.string.len;

	if (len != right->key.val.string.len)
		return len < right->key.val.string.len ? -1 : 1;
	return memcmp(left->key.val.string.val, right->key.val.string.val, len);
}

#define ST_SORT sort_pairs
#define ST_ELEMENT_TYPE PairRef
#define ST_COMPARE(a, b) compare_pairs(*(a), *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Gives the pairs in the order of their keys. */
static PairRef *
ordered_pairs(const MalsMerge *merge)
{
	PairRef *refs = palloc_array(PairRef, merge->npairs);

	for (int i = 0; i < merge->npairs; i++)
		refs[i] = &merge->pairs[i];
	sort_pairs(refs, merge->npairs);
	return refs;
}

/* Frees a merge. */
static void
free_merge(MalsMerge *merge, PairRef *refs)
{
	if (merge->keys != NULL)
		mergekeys_destroy(merge->keys);
	pfree(refs);
	pfree(merge->pairs);
	pfree(merge);
}

/* Appends a child to the object that is laid out. */
static void
put_child(Layout *layout, JEntry type, const void *bytes, uint32 len, bool aligned)
{
	uint32 start = layout->used;
	int child = layout->child++;

	if (aligned)
	{
		while (layout->used % ALIGNOF_INT != 0)
			layout->data[layout->used++] = '\0';
	}
	memcpy(layout->data + layout->used, bytes, len);
	layout->used += len;
	layout->container->children[child] =
		type |
		(child % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | layout->used : layout->used - start);
}

/* Tells how many bytes a value takes, alignment included; turns trees into containers. */
static Size
prepare_value(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
		case jbvBool:
			return 0;
		case jbvString:
			return value->val.string.len;
		case jbvNumeric:
			return VARSIZE_ANY(value->val.numeric) + ALIGNOF_INT;
		case jbvArray:
		case jbvObject:
			JsonbToJsonbValue(JsonbValueToJsonb(value), value);
			break;
		case jbvBinary:
			break;
		default:
			elog(ERROR, "unexpected type of JSON value: %d", (int) value->type);
	}
	return (Size) value->val.binary.len + ALIGNOF_INT;
}

/* Appends a value to the object that is laid out. */
static void
put_value(Layout *layout, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			put_child(layout, JENTRY_ISNULL, "", 0, false);
			break;
		case jbvBool:
			put_child(layout, value->val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, "", 0,
					  false);
			break;
		case jbvString:
			put_child(layout, JENTRY_ISSTRING, value->val.string.val, value->val.string.len, false);
			break;
		case jbvNumeric:
			put_child(layout, JENTRY_ISNUMERIC, value->val.numeric, VARSIZE_ANY(value->val.numeric),
					  true);
			break;
		default:
			put_child(layout, JENTRY_ISCONTAINER, value->val.binary.data, value->val.binary.len,
					  true);
			break;
	}
}

/* Lays out the merged object, and frees the merge. */
Jsonb *
mals_merge_end(MalsMerge *merge)
{
	PairRef *refs = ordered_pairs(merge);
	Size children = sizeof(JEntry) * 2 * merge->npairs;
	Size size = 0;
	Jsonb *result;
	Layout layout;

	for (int i = 0; i < merge->npairs; i++)
		size += merge->pairs[i].key.val.string.len + prepare_value(&merge->pairs[i].value);
	if (size > JENTRY_OFFLENMASK)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("total size of metadata exceeds the maximum of %d bytes", JENTRY_OFFLENMASK),
				errhint("Log less metadata with one entry."));

	result = palloc(offsetof(Jsonb, root.children) + children + size);
	result->root.header = merge->npairs | JB_FOBJECT;
	layout.container = &result->root;
	layout.data = (char *) result->root.children + children;
	layout.used = 0;
	layout.child = 0;

	for (int i = 0; i < merge->npairs; i++)
		put_child(&layout, JENTRY_ISSTRING, refs[i]->key.val.string.val,
				  refs[i]->key.val.string.len, false);
	for (int i = 0; i < merge->npairs; i++)
		put_value(&layout, &refs[i]->value);
	SET_VARSIZE(result, offsetof(Jsonb, root.children) + children + layout.used);

	free_merge(merge, refs);
	return result;
}

/* Hands out the merged object as a tree in memory, and frees the merge. */
void
mals_merge_end_value(MalsMerge *merge, JsonbValue *result)
{
	PairRef *refs = ordered_pairs(merge);

	result->type = jbvObject;
	result->val.object.nPairs = merge->npairs;
	result->val.object.pairs = palloc_array(JsonbPair, merge->npairs);
	for (int i = 0; i < merge->npairs; i++)
		result->val.object.pairs[i] = *refs[i];
	free_merge(merge, refs);
}
