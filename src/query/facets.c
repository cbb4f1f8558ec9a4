/*
 * facets.c
 *		mals_facets: the commonest values of fields.
 *
 * One field is a GROUP BY. All fields at once are counted here, in one pass over
 * the entries: a hash table holds the values, as they are stored, and how many
 * entries have each. When it is full, and at the end, it goes into a sort by
 * field and value as text, in which the counts of a value come together. Kept
 * are the commonest values of a field, and the fields with most entries.
 */
#include "mals_errors.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/nodeHash.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/tuplesort.h"
#include "utils/tuplestore.h"

#include "mals_compat.h"
#include "query/literal.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_facets);

#define SHOWN_KEYS 10 /* metadata keys that are shown when no field is asked for */

/* The fields that are columns; the first ones are shown when no field is asked for. */
static const struct
{
	const char *name;
	const char *column;
} columns[] = {
	{"agent", "agent_id"}, {"level", "level"},         {"category", "category"},
	{"source", "source"},  {"session", "session_key"}, {"correlation", "correlation_id"},
};

#define SHOWN_COLUMNS 4

/* How a value is stored. Values of different bytes may be the same text. */
typedef enum ValueKind
{
	VALUE_TEXT,
	VALUE_NUMBER,
	VALUE_CONTAINER /* an object or an array */
} ValueKind;

/* A value of a field. */
typedef struct FacetKey
{
	int place; /* of the column, or SHOWN_COLUMNS: a metadata key */
	ValueKind kind;
	int field_length;
	int value_length;
	const char *field;
	const char *value;
} FacetKey;

/* How many entries have it. */
typedef struct FacetCount
{
	FacetKey key;
	int64 entries;
	uint32 hash;
	char status;
} FacetCount;

/* The hash of a value. */
static inline uint32
hash_key(const FacetKey *key)
{
	return hash_combine(hash_bytes((const unsigned char *) key->field, key->field_length),
						hash_bytes((const unsigned char *) key->value, key->value_length));
}

/* Tells whether two values are stored alike. */
static inline bool
same_key(const FacetKey *a, const FacetKey *b)
{
	return a->place == b->place && a->kind == b->kind && a->field_length == b->field_length &&
		   a->value_length == b->value_length && memcmp(a->field, b->field, a->field_length) == 0 &&
		   memcmp(a->value, b->value, a->value_length) == 0;
}

#define SH_PREFIX facets
#define SH_ELEMENT_TYPE FacetCount
#define SH_KEY_TYPE FacetKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_key(&(key))
#define SH_EQUAL(table, a, b) same_key(&(a), &(b))
#define SH_STORE_HASH
#define SH_GET_HASH(table, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* What counts. */
typedef struct Counter
{
	MemoryContext memory; /* of the table */
	Size limit;           /* of its size */
	facets_hash *table;
	MemoryContext scratch; /* of what an entry, or a value, takes */
	TupleDesc layout;      /* of sorted rows: place, field, value, entries */
	Tuplesortstate *sort;
} Counter;

/* A value as text, and how many entries have it. */
typedef struct Value
{
	text *value;
	int64 entries;
} Value;

/* A field and its commonest values. */
typedef struct Field
{
	int place;
	text *name;
	int64 entries;
	Value *values;
	int nvalues;
	int room;
} Field;

/* The fields, as they come out of the sort. */
typedef struct Fields
{
	int64 max_values;
	Field current;
	Field best[SHOWN_KEYS + 1]; /* metadata keys, and room for one more */
	int nbest;
	ReturnSetInfo *result;
} Fields;

/* Empties the table. */
static void
empty_table(Counter *counter)
{
	MemoryContextReset(counter->memory);
	counter->table = facets_create(counter->memory, 128, NULL);
}

/* Gives a value as text. */
static text *
value_text(const FacetKey *key)
{
	if (key->kind == VALUE_NUMBER)
		return cstring_to_text(
			DatumGetCString(DirectFunctionCall1(numeric_out, PointerGetDatum(key->value))));
	if (key->kind == VALUE_CONTAINER)
		return cstring_to_text(
			JsonbToCString(NULL, (JsonbContainer *) key->value, key->value_length));
	return cstring_to_text_with_len(key->value, key->value_length);
}

/* Puts what the table holds into the sort, and empties it. */
static void
sort_table(Counter *counter)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(counter->layout, &TTSOpsVirtual);
	facets_iterator position;
	FacetCount *count;

	facets_start_iterate(counter->table, &position);
	while ((count = facets_iterate(counter->table, &position)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(counter->scratch);

		CHECK_FOR_INTERRUPTS();
		ExecClearTuple(slot);
		memset(slot->tts_isnull, 0, counter->layout->natts * sizeof(bool));
		slot->tts_values[0] = Int32GetDatum(count->key.place);
		slot->tts_values[1] =
			PointerGetDatum(cstring_to_text_with_len(count->key.field, count->key.field_length));
		slot->tts_values[2] = PointerGetDatum(value_text(&count->key));
		slot->tts_values[3] = Int64GetDatum(count->entries);
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(counter->sort, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(counter->scratch);
	}
	ExecDropSingleTupleTableSlot(slot);
	empty_table(counter);
}

/* Counts a value. */
static void
count_value(Counter *counter, const FacetKey *key)
{
	bool found;
	FacetCount *count = facets_insert(counter->table, *key, &found);

	if (!found)
	{
		/* the value first: numbers and containers are aligned */
		char *bytes = MemoryContextAlloc(counter->memory, key->value_length + key->field_length);

		memcpy(bytes, key->value, key->value_length);
		memcpy(bytes + key->value_length, key->field, key->field_length);
		count->key.value = bytes;
		count->key.field = bytes + key->value_length;
		count->entries = 0;
	}
	count->entries++;
}

/* Counts the values of an entry's metadata. */
static void
count_metadata(Counter *counter, Jsonb *metadata)
{
	FacetKey key = {.place = SHOWN_COLUMNS};
	JsonbIterator *position = JsonbIteratorInit(&metadata->root);
	JsonbIteratorToken token;
	JsonbValue value;

	while ((token = JsonbIteratorNext(&position, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key.field = value.val.string.val;
			key.field_length = value.val.string.len;
		}
		if (token != WJB_VALUE || value.type == jbvNull)
			continue;
		key.kind = VALUE_TEXT;
		if (value.type == jbvString)
		{
			key.value = value.val.string.val;
			key.value_length = value.val.string.len;
		}
		else if (value.type == jbvBool)
		{
			key.value = value.val.boolean ? "true" : "false";
			key.value_length = strlen(key.value);
		}
		else if (value.type == jbvNumeric)
		{
			key.kind = VALUE_NUMBER;
			key.value = (char *) value.val.numeric;
			key.value_length = VARSIZE_ANY(value.val.numeric);
		}
		else
		{
			key.kind = VALUE_CONTAINER;
			key.value = (char *) value.val.binary.data;
			key.value_length = value.val.binary.len;
		}
		count_value(counter, &key);
	}
}

/* Counts the values of an entry: the columns, and metadata. */
static void
take_entry(TupleTableSlot *row, void *arg)
{
	Counter *counter = arg;
	MemoryContext old = MemoryContextSwitchTo(counter->scratch);

	slot_getallattrs(row);
	for (int i = 0; i < SHOWN_COLUMNS; i++)
	{
		FacetKey key = {.place = i, .kind = VALUE_TEXT, .field = columns[i].name};
		text *value;

		if (row->tts_isnull[i])
			continue;
		value = DatumGetTextPP(row->tts_values[i]);
		key.field_length = strlen(columns[i].name);
		key.value = VARDATA_ANY(value);
		key.value_length = VARSIZE_ANY_EXHDR(value);
		count_value(counter, &key);
	}
	count_metadata(counter, DatumGetJsonbP(row->tts_values[SHOWN_COLUMNS]));
	MemoryContextSwitchTo(old);
	MemoryContextReset(counter->scratch);
	if (MemoryContextMemAllocated(counter->memory, false) > counter->limit)
		sort_table(counter);
}

/* Compares texts by their bytes. */
static int
compare_texts(const text *a, const text *b)
{
	int length_a = VARSIZE_ANY_EXHDR(a);
	int length_b = VARSIZE_ANY_EXHDR(b);
	int result = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));

	return result != 0 ? result : length_a - length_b;
}

/* Orders values, the commonest first. */
static int
compare_values(const void *a, const void *b)
{
	const Value *left = a;
	const Value *right = b;

	if (left->entries != right->entries)
		return left->entries > right->entries ? -1 : 1;
	return compare_texts(left->value, right->value);
}

/* Orders a field's values, and keeps the commonest. */
static void
keep_values(Field *field, int64 max_values)
{
	qsort(field->values, field->nvalues, sizeof(Value), compare_values);
	while (field->nvalues > max_values)
		pfree(field->values[--field->nvalues].value);
}

/* Releases a field. */
static void
free_field(Field *field)
{
	keep_values(field, 0);
	pfree(field->values);
	pfree(field->name);
}

/* Puts a field's values into the result. */
static void
store_field(const Fields *fields, const Field *field)
{
	char *name = text_to_cstring(field->name);
	text *shown = cstring_to_text(field->place < SHOWN_COLUMNS ? name : psprintf("meta.%s", name));

	for (int i = 0; i < field->nvalues; i++)
	{
		Datum values[3] = {PointerGetDatum(shown), PointerGetDatum(field->values[i].value),
						   Int64GetDatum(field->values[i].entries)};
		bool nulls[3] = {false, false, false};

		tuplestore_putvalues(fields->result->setResult, fields->result->setDesc, values, nulls);
	}
}

/* Ends the field that came: stores a column, and keeps a key if it is among the best. */
static void
end_field(Fields *fields)
{
	Field *field = &fields->current;
	int i = fields->nbest;

	if (field->name == NULL)
		return;
	keep_values(field, fields->max_values);
	if (field->place < SHOWN_COLUMNS)
	{
		store_field(fields, field);
		free_field(field);
		return;
	}
	/* those of as many entries came in the order of their names */
	for (; i > 0 && fields->best[i - 1].entries < field->entries; i--)
		fields->best[i] = fields->best[i - 1];
	fields->best[i] = *field;
	if (fields->nbest < SHOWN_KEYS)
		fields->nbest++;
	else
		free_field(&fields->best[SHOWN_KEYS]);
}

/* Takes a sorted row. */
static void
take_sorted(Fields *fields, TupleTableSlot *row)
{
	Field *field = &fields->current;
	int place;
	text *name;
	text *value;
	int64 entries;

	slot_getallattrs(row);
	place = DatumGetInt32(row->tts_values[0]);
	name = DatumGetTextPP(row->tts_values[1]);
	value = DatumGetTextPP(row->tts_values[2]);
	entries = DatumGetInt64(row->tts_values[3]);
	if (field->name == NULL || field->place != place || compare_texts(field->name, name) != 0)
	{
		end_field(fields);
		memset(field, 0, sizeof(*field));
		field->place = place;
		field->name = DatumGetTextPCopy(PointerGetDatum(name));
		field->room = 64;
		field->values = palloc(field->room * sizeof(Value));
	}
	field->entries += entries;
	if (field->nvalues > 0 && compare_texts(field->values[field->nvalues - 1].value, value) == 0)
	{
		field->values[field->nvalues - 1].entries += entries;
		return;
	}
	if (field->nvalues == field->room)
	{
		keep_values(field, fields->max_values);
		if (field->nvalues > field->room / 2)
		{
			field->room *= 2;
			field->values = repalloc_huge(field->values, field->room * sizeof(Value));
		}
	}
	field->values[field->nvalues].value = DatumGetTextPCopy(PointerGetDatum(value));
	field->values[field->nvalues].entries = entries;
	field->nvalues++;
}

/* The commonest values of the columns and of the commonest metadata keys. */
static void
count_all(const MalsSelection *selection, int64 max_values, ReturnSetInfo *result)
{
	AttrNumber keys[] = {1, 2, 3};
	Oid operators[] = {Int4LessOperator, TextLessOperator, TextLessOperator};
	Oid collations[] = {InvalidOid, C_COLLATION_OID, C_COLLATION_OID};
	bool nulls_first[] = {false, false, false};
	Fields fields = {.max_values = max_values, .result = result};
	Counter counter;
	StringInfoData sql;
	TupleTableSlot *slot;

	counter.memory =
		AllocSetContextCreate(CurrentMemoryContext, "mals facets", ALLOCSET_DEFAULT_SIZES);
	counter.scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals facets scratch", ALLOCSET_DEFAULT_SIZES);
	counter.limit = get_hash_memory_limit();
	counter.layout = CreateTemplateTupleDesc(4);
	TupleDescInitEntry(counter.layout, 1, "place", INT4OID, -1, 0);
	TupleDescInitEntry(counter.layout, 2, "field", TEXTOID, -1, 0);
	TupleDescInitEntry(counter.layout, 3, "value", TEXTOID, -1, 0);
	TupleDescInitEntry(counter.layout, 4, "entries", INT8OID, -1, 0);
	counter.sort = tuplesort_begin_heap(counter.layout, lengthof(keys), keys, operators, collations,
										nulls_first, work_mem, NULL, TUPLESORT_NONE);
	empty_table(&counter);

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < SHOWN_COLUMNS; i++)
		appendStringInfo(&sql, "l.%s::text, ", columns[i].column);
	appendStringInfoString(&sql, "l.metadata");
	mals_selection_append_from(&sql, selection);
	mals_read(sql.data, take_entry, &counter);
	sort_table(&counter);

	tuplesort_performsort(counter.sort);
	slot = MakeSingleTupleTableSlot(counter.layout, &TTSOpsMinimalTuple);
	while (tuplesort_gettupleslot(counter.sort, true, false, slot, NULL))
	{
		CHECK_FOR_INTERRUPTS();
		take_sorted(&fields, slot);
	}
	end_field(&fields);
	for (int i = 0; i < fields.nbest; i++)
		store_field(&fields, &fields.best[i]);
	ExecDropSingleTupleTableSlot(slot);
	tuplesort_end(counter.sort);
	MemoryContextDelete(counter.memory);
	MemoryContextDelete(counter.scratch);
}

/* Appends a field's name as it is shown and its value, as SQL. */
static void
append_field(StringInfo sql, const char *name)
{
	for (int i = 0; i < lengthof(columns); i++)
	{
		if (strcmp(name, columns[i].name) == 0)
		{
			appendStringInfo(sql, "'%s' AS field, l.%s AS value", name, columns[i].column);
			return;
		}
	}
	if (strncmp(name, "meta.", 5) == 0)
		name += 5;
	if (*name == '\0')
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("field is empty"),
				errhint("Use agent, level, category, source, session, correlation or meta.<key>."));
	mals_check_path(name, "field");
	mals_append_literal(sql, psprintf("meta.%s", name));
	appendStringInfoString(sql, " AS field, ");
	mals_append_metadata_text(sql, name);
	appendStringInfoString(sql, " COLLATE \"C\" AS value");
}

/* SQL: the commonest values of fields. */
Datum
mals_facets(PG_FUNCTION_ARGS)
{
	int64 max_values = mals_number_arg(fcinfo, 4, "max_values", 1, 10);
	MalsSelection selection;
	StringInfoData sql;

	mals_selection_read(&selection, fcinfo, 0, 1, 2);
	if (PG_ARGISNULL(3))
	{
		InitMaterializedSRF(fcinfo, 0);
		count_all(&selection, max_values, (ReturnSetInfo *) fcinfo->resultinfo);
		return (Datum) 0;
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT field, value::text, entries FROM (SELECT ");
	append_field(&sql, text_to_cstring(PG_GETARG_TEXT_PP(3)));
	appendStringInfoString(&sql, ", count(*) AS entries");
	mals_selection_append_from(&sql, &selection);
	appendStringInfo(&sql,
					 " GROUP BY 2) v WHERE value IS NOT NULL"
					 " ORDER BY entries DESC, value::text COLLATE \"C\" LIMIT " INT64_FORMAT,
					 max_values);
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}
