/*
 * log.c
 *		The functions that log: mals_log and its kin. Each makes entries of what
 *		it is given, finishes them and hands them to a writer.
 */
#include "mals_errors.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_log);
PG_FUNCTION_INFO_V1(mals_log_json);
PG_FUNCTION_INFO_V1(mals_log_batch);
PG_FUNCTION_INFO_V1(mals_log_otlp);

/* The entries of one call on their way to the writer. */
typedef struct Batch
{
	MalsWriter *writer;
	MemoryContext scratch; /* of one entry, reset after it */
	int64 stored;
} Batch;

/* Finishes one entry and writes it; returns its id, or NULL if it is filtered out. */
static Datum
log_one(FunctionCallInfo fcinfo, MalsEntry *entry, const char *what)
{
	MalsWriter *writer = mals_writer_begin(what);
	bool stored = mals_write_accept(entry);
	MalsWritten written;
	pg_uuid_t *id;

	if (stored)
		(void) mals_writer_add(writer, entry);
	written = mals_writer_end(writer);
	if (!stored)
		PG_RETURN_NULL();
	id = palloc(sizeof(pg_uuid_t));
	*id = written.known ? written.id : entry->id;
	PG_RETURN_UUID_P(id);
}

/* Finishes an entry of a batch and lets it wait in the writer. */
static void
log_in_batch(MalsEntry *entry, void *arg)
{
	Batch *batch = arg;

	if (mals_write_accept(entry) && mals_writer_add(batch->writer, entry))
		batch->stored++;
	MemoryContextReset(batch->scratch);
}

/* Opens a batch and makes its scratch context the current one. */
static MemoryContext
batch_begin(Batch *batch, const char *what)
{
	batch->writer = mals_writer_begin(what);
	batch->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals entry", ALLOCSET_DEFAULT_SIZES);
	batch->stored = 0;
	return MemoryContextSwitchTo(batch->scratch);
}

/* Writes a batch and goes back to the caller's context. */
static void
batch_end(Batch *batch, MemoryContext old)
{
	MemoryContextSwitchTo(old);
	batch->stored -= mals_writer_end(batch->writer).duplicates;
	MemoryContextDelete(batch->scratch);
}

/* The text argument n, or NULL. */
static text *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);
}

/* The UUID argument n, if it is given. */
static bool
uuid_argument(FunctionCallInfo fcinfo, int n, pg_uuid_t *id)
{
	if (!PG_ARGISNULL(n))
		*id = *PG_GETARG_UUID_P(n);
	return !PG_ARGISNULL(n);
}

/* The jsonb argument, which must not be NULL. */
static Jsonb *
required_json(FunctionCallInfo fcinfo, const char *name)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s: a value is required", name),
				errhint("Give the entry as a JSON object with at least agent_id and message."));
	return PG_GETARG_JSONB_P(0);
}

/* SQL: logs one entry given as arguments. */
Datum
mals_log(PG_FUNCTION_ARGS)
{
	MalsEntry entry;

	mals_entry_init(&entry, -1);
	entry.agent_id = text_argument(fcinfo, 0);
	entry.message = text_argument(fcinfo, 1);
	entry.has_level = !PG_ARGISNULL(2);
	if (entry.has_level)
		entry.level = PG_GETARG_MALS_LEVEL(2);
	entry.category = text_argument(fcinfo, 3);
	if (!PG_ARGISNULL(4))
		entry.metadata = PG_GETARG_JSONB_P(4);
	entry.session_key = text_argument(fcinfo, 5);
	entry.source = text_argument(fcinfo, 6);
	entry.has_trace_id = uuid_argument(fcinfo, 7, &entry.trace_id);
	entry.has_parent_id = uuid_argument(fcinfo, 8, &entry.parent_id);
	entry.correlation_id = text_argument(fcinfo, 9);
	entry.has_ts = !PG_ARGISNULL(10);
	if (entry.has_ts)
		entry.ts = PG_GETARG_TIMESTAMPTZ(10);
	entry.has_id = uuid_argument(fcinfo, 11, &entry.id);
	return log_one(fcinfo, &entry, "mals_log()");
}

/* SQL: logs one entry given as a JSON object. */
Datum
mals_log_json(PG_FUNCTION_ARGS)
{
	Jsonb *object = required_json(fcinfo, "entry");
	MalsEntry entry;

	mals_entry_init(&entry, -1);
	mals_entry_from_json(&entry, &object->root);
	return log_one(fcinfo, &entry, "mals_log_json()");
}

/* SQL: logs an array of JSON objects, or one. */
Datum
mals_log_batch(PG_FUNCTION_ARGS)
{
	Jsonb *entries = required_json(fcinfo, "entries");
	MemoryContext old;
	JsonbIterator *it;
	JsonbValue value;
	MalsEntry entry;
	Batch batch;

	old = batch_begin(&batch, "mals_log_batch()");
	if (!JB_ROOT_IS_ARRAY(entries) || JB_ROOT_IS_SCALAR(entries))
	{
		mals_entry_init(&entry, 0);
		mals_entry_from_json(&entry, &entries->root);
		log_in_batch(&entry, &batch);
	}
	else
	{
		int index = 0;

		MemoryContextSwitchTo(old);
		it = JsonbIteratorInit(&entries->root);
		(void) JsonbIteratorNext(&it, &value, false);
		while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
		{
			MemoryContextSwitchTo(batch.scratch);
			mals_entry_init(&entry, index++);
			mals_entry_from_json(&entry, value.type == jbvBinary ? value.val.binary.data : NULL);
			log_in_batch(&entry, &batch);
			MemoryContextSwitchTo(old);
		}
	}
	batch_end(&batch, old);
	PG_RETURN_INT64(batch.stored);
}

/* SQL: logs the records of an OpenTelemetry request. */
Datum
mals_log_otlp(PG_FUNCTION_ARGS)
{
	Jsonb *request = required_json(fcinfo, "request");
	MemoryContext old;
	Batch batch;

	old = batch_begin(&batch, "mals_log_otlp()");
	MemoryContextSwitchTo(old);
	mals_entries_from_otlp(request, log_in_batch, &batch);
	batch_end(&batch, old);
	PG_RETURN_INT64(batch.stored);
}
