/*
 * fuzz.c
 *		Fuzz targets: libFuzzer inside a server.
 *
 * What mals parses, it parses with a server's memory, errors and encodings. So
 * the library is compiled for libFuzzer and loaded by a standalone server, where
 * mals_fuzz() hands the process over to libFuzzer. An input that raises one of
 * the contract's errors is refused, and that is right; any other error, a
 * property that does not hold and a crash end the run and leave the input
 * behind. Inputs end where a page ends that is followed by one that cannot be
 * read, so that a byte read too many is a crash.
 */
#include "mals_errors.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "mals_guc.h"
#include "entry/entry.h"
#include "group/group.h"
#include "query/query.h"
#include "redact/redact.h"

extern int LLVMFuzzerRunDriver(int *argc, char ***argv,
							   int (*callback)(const uint8_t *data, size_t size));
extern Datum mals_set_traceparent(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(mals_fuzz);

/* Ends the run because a property does not hold. */
static void
fail(const char *what)
{
	write_stderr("property does not hold: %s\n", what);
	abort();
}

/* The most bytes of an input. */
#define INPUT_MAX 65536

/* The bytes of an input as a text, at the end of what can be read. */
static text *
input_text(const uint8_t *data, size_t size)
{
	static char *end = NULL;
	text *result;

	if (end == NULL)
	{
		char *memory = mmap(NULL, 3 * INPUT_MAX, PROT_READ | PROT_WRITE,
							MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED || mprotect(memory + 2 * INPUT_MAX, INPUT_MAX, PROT_NONE) != 0)
			fail("there is memory for the input");
		end = memory + 2 * INPUT_MAX;
	}
	result = (text *) (end - VARHDRSZ - size);
	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), data, size);
	return result;
}

/* Are two texts the same? */
static bool
is_same(text *a, text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Reads an input as JSON. */
static Jsonb *
input_json(text *input)
{
	return DatumGetJsonbP(
		DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(input))));
}

static void
fuzz_query(text *input)
{
	StringInfoData sql;
	TimestampTz lo;
	TimestampTz hi;
	MalsCondition *condition =
		mals_query_parse(VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input), "query");

	initStringInfo(&sql);
	mals_condition_sql(&sql, condition);
	(void) mals_condition_bounds(condition, &lo, &hi);
	if (!pg_verifymbstr(sql.data, sql.len, true))
		fail("the condition is text in the server's encoding");
}

static void
fuzz_template(text *input)
{
	StringInfoData once;
	StringInfoData again;

	initStringInfo(&once);
	initStringInfo(&again);
	mals_template_append(&once, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	mals_template_append(&again, VARDATA_ANY(input), VARSIZE_ANY_EXHDR(input));
	if (strcmp(once.data, again.data) != 0)
		fail("a message has one template");
	if (!pg_verifymbstr(once.data, once.len, true))
		fail("a template is text in the server's encoding");
}

static void
fuzz_redact(text *input)
{
	text *once = mals_redact_text(input);

	if (!pg_verifymbstr(VARDATA_ANY(once), VARSIZE_ANY_EXHDR(once), true))
		fail("redacted text is text in the server's encoding");
	if (!is_same(once, mals_redact_text(once)))
		fail("what is redacted is redacted");
}

/* Checks what is true of every finished entry. */
static void
check_entry(MalsEntry *entry, void *arg)
{
	Jsonb *metadata;
	text *written;

	if (!mals_entry_finish(entry))
		return;
	metadata = entry->metadata;
	if (!JB_ROOT_IS_OBJECT(metadata))
		fail("metadata is an object");
	if (compareJsonbContainers(&mals_redact_jsonb(metadata)->root, &metadata->root) != 0)
		fail("no secret is left in the metadata");
	written = cstring_to_text(JsonbToCString(NULL, &metadata->root, VARSIZE(metadata)));
	if (compareJsonbContainers(&input_json(written)->root, &metadata->root) != 0)
		fail("metadata reads as it is written");
}

static void
fuzz_entry(text *input)
{
	Jsonb *json = input_json(input);
	MalsEntry entry;

	mals_entry_init(&entry, -1);
	mals_entry_from_json(&entry, &json->root);
	check_entry(&entry, NULL);
}

static void
fuzz_otlp(text *input)
{
	mals_entries_from_otlp(input_json(input), check_entry, NULL);
}

static void
fuzz_traceparent(text *input)
{
	const pg_uuid_t *trace;

	(void) DirectFunctionCall1(mals_set_traceparent, PointerGetDatum(input));
	trace = mals_default_trace_id();
	if (trace == NULL || mals_context_object() == NULL)
		fail("a traceparent sets a trace and a span");
}

static const struct
{
	const char *name;
	void (*run)(text *input);
} targets[] = {
	{"query", fuzz_query}, {"template", fuzz_template}, {"redact", fuzz_redact},
	{"entry", fuzz_entry}, {"otlp", fuzz_otlp},			{"traceparent", fuzz_traceparent},
};

static void (*target)(text *input);
static MemoryContext scratch;

/* Is this error one that a bad input may raise? */
static bool
is_refusal(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_DATA_EXCEPTION ||
		   ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		   sqlstate == ERRCODE_UNTRANSLATABLE_CHARACTER;
}

/* Runs the target on one input. */
static int
run_one(const uint8_t *data, size_t size)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	text *input;

	if (size > INPUT_MAX || !pg_verifymbstr((const char *) data, size, true) ||
		memchr(data, '\0', size) != NULL)
		return -1;
	input = input_text(data, size);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		target(input);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(scratch);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_refusal(error->sqlerrcode))
		{
			write_stderr("%s\n", error->message);
			fail("a bad input raises an error of the contract");
		}
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(scratch);
	return 0;
}

/* SQL: mals_fuzz(target text, options text[]): runs libFuzzer, and ends the process. */
Datum
mals_fuzz(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum *options;
	bool *nulls;
	int count;
	char **argv;

	for (int i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(targets[i].name, name) == 0)
			target = targets[i].run;
	}
	if (target == NULL)
		elog(ERROR, "no fuzz target \"%s\"", name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &options, &nulls,
					  &count);
	argv = palloc0((count + 2) * sizeof(char *));
	argv[0] = "mals_fuzz";
	for (int i = 0; i < count; i++)
		argv[i + 1] = TextDatumGetCString(options[i]);
	count++;
	scratch = AllocSetContextCreate(TopMemoryContext, "mals fuzz", ALLOCSET_DEFAULT_SIZES);
	_exit(LLVMFuzzerRunDriver(&count, &argv, run_one));
}
