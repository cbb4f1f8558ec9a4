/*
 * trace.c
 *		mals_trace: the entries of a trace as a tree over parent ids.
 *
 * Rows come in order of their ids, which is the order of time, and wait in a
 * tuplestore while the tree is made of their ids alone. They are then sorted by
 * their place in it. An entry whose parent is not in the trace is a root; of a
 * cycle of parents, its earliest entry is one.
 */
#include "mals_errors.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplesort.h"

#include "entry/entry.h"
#include "query/literal.h"
#include "query/query.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_trace);
PG_FUNCTION_INFO_V1(mals_trace_text);

/* Columns of the rows that are read: those of mals.logs. */
#define LOGS_ID 1
#define LOGS_TS 2
#define LOGS_PARENT_ID 11

#define NONE (-1)

/* An entry; entries are known by their number in order of time. */
typedef struct TraceEntry
{
	pg_uuid_t id;
	pg_uuid_t parent_id;
	bool has_parent;
	TimestampTz ts;
	int parent;      /* NONE: a root */
	int first_child; /* by time */
	int next_sibling;
	int walker; /* the walk up the tree that came by, see cut_cycles */
	int depth;
	int place; /* in the result */
} TraceEntry;

typedef struct Trace
{
	Tuplestorestate *rows;
	TraceEntry *entries;
	int n;
	int size;
} Trace;

/* Takes an entry's row. */
static void
take_entry(TupleTableSlot *row, void *arg)
{
	Trace *trace = arg;
	TraceEntry *entry;
	Datum parent;
	bool isnull;

	if (trace->n == trace->size)
	{
		if (trace->size > PG_INT32_MAX / 2)
			ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("the trace has too many entries"),
					errhint("Search for parts of it with mals_search."));
		trace->size *= 2;
		trace->entries = repalloc_huge(trace->entries, trace->size * sizeof(TraceEntry));
	}
	entry = &trace->entries[trace->n++];
	memset(entry, 0, sizeof(TraceEntry));
	entry->id = *DatumGetUUIDP(slot_getattr(row, LOGS_ID, &isnull));
	entry->ts = DatumGetTimestampTz(slot_getattr(row, LOGS_TS, &isnull));
	parent = slot_getattr(row, LOGS_PARENT_ID, &isnull);
	entry->has_parent = !isnull;
	if (entry->has_parent)
		entry->parent_id = *DatumGetUUIDP(parent);
	tuplestore_puttupleslot(trace->rows, row);
}

/* Finds the entry with an id. */
static int
find_entry(const Trace *trace, const pg_uuid_t *id)
{
	int low = 0;
	int high = trace->n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		int order = memcmp(id, &trace->entries[middle].id, UUID_LEN);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NONE;
}

/* Makes the earliest entry of every cycle of parents a root. */
static void
cut_cycles(Trace *trace)
{
	TraceEntry *entries = trace->entries;

	for (int i = 0; i < trace->n; i++)
		entries[i].walker = NONE;
	for (int i = 0; i < trace->n; i++)
	{
		int at;

		/* walk up until there is no parent, or someone has been there */
		for (at = i; at != NONE && entries[at].walker == NONE; at = entries[at].parent)
			entries[at].walker = i;
		if (at != NONE && entries[at].walker == i)
		{
			int earliest = at;

			for (int j = entries[at].parent; j != at; j = entries[j].parent)
				earliest = Min(earliest, j);
			entries[earliest].parent = NONE;
		}
		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

/* Gives every entry its depth and its place: parents first, siblings by time. */
static void
place_entries(Trace *trace)
{
	TraceEntry *entries = trace->entries;
	int first_root = NONE;
	int at;
	int depth = 0;
	int place = 0;

	for (int i = 0; i < trace->n; i++)
	{
		entries[i].parent = entries[i].has_parent ? find_entry(trace, &entries[i].parent_id) : NONE;
		entries[i].first_child = NONE;
	}
	cut_cycles(trace);
	for (int i = trace->n - 1; i >= 0; i--)
	{
		int *head =
			entries[i].parent == NONE ? &first_root : &entries[entries[i].parent].first_child;

		entries[i].next_sibling = *head;
		*head = i;
	}

	at = first_root;
	while (at != NONE)
	{
		entries[at].depth = depth;
		entries[at].place = place++;
		if (entries[at].first_child != NONE)
		{
			at = entries[at].first_child;
			depth++;
			continue;
		}
		while (at != NONE && entries[at].next_sibling == NONE)
		{
			at = entries[at].parent;
			depth--;
		}
		if (at != NONE)
			at = entries[at].next_sibling;
	}
	Assert(place == trace->n);
}

/* Sorts the rows, with depth and elapsed_ms before them, by place into the result. */
static void
return_rows(const Trace *trace, ReturnSetInfo *result)
{
	int natts = result->setDesc->natts;
	TupleDesc logs = CreateTemplateTupleDesc(natts - 2);
	TupleDesc layout = CreateTemplateTupleDesc(natts + 1);
	AttrNumber place = natts + 1;
	Oid less_than = Int4LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	TupleTableSlot *row;
	TupleTableSlot *out;
	Tuplesortstate *sort;

	for (int i = 1; i <= natts - 2; i++)
		TupleDescCopyEntry(logs, i, result->setDesc, i + 2);
	for (int i = 1; i <= natts; i++)
		TupleDescCopyEntry(layout, i, result->setDesc, i);
	TupleDescInitEntry(layout, place, "place", INT4OID, -1, 0);
	row = MakeSingleTupleTableSlot(logs, &TTSOpsMinimalTuple);
	out = MakeSingleTupleTableSlot(layout, &TTSOpsVirtual);
	sort = tuplesort_begin_heap(layout, 1, &place, &less_than, &collation, &nulls_first, work_mem,
								NULL, TUPLESORT_NONE);

	for (int i = 0; tuplestore_gettupleslot(trace->rows, true, false, row); i++)
	{
		const TraceEntry *entry = &trace->entries[i];

		slot_getallattrs(row);
		ExecClearTuple(out);
		memcpy(&out->tts_values[2], row->tts_values, (natts - 2) * sizeof(Datum));
		memcpy(&out->tts_isnull[2], row->tts_isnull, (natts - 2) * sizeof(bool));
		out->tts_values[0] = Int32GetDatum(entry->depth);
		out->tts_values[1] = Float8GetDatum((entry->ts - trace->entries[0].ts) / 1000.0);
		out->tts_values[natts] = Int32GetDatum(entry->place);
		out->tts_isnull[0] = out->tts_isnull[1] = out->tts_isnull[natts] = false;
		tuplesort_puttupleslot(sort, ExecStoreVirtualTuple(out));
		CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(out);

	tuplesort_performsort(sort);
	out = MakeSingleTupleTableSlot(layout, &TTSOpsMinimalTuple);
	while (tuplesort_gettupleslot(sort, true, false, out, NULL))
	{
		slot_getallattrs(out);
		tuplestore_putvalues(result->setResult, result->setDesc, out->tts_values, out->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(out);
	tuplesort_end(sort);
}

/* Makes an empty trace. */
static void
begin_trace(FunctionCallInfo fcinfo, Trace *trace)
{
	InitMaterializedSRF(fcinfo, 0);
	memset(trace, 0, sizeof(*trace));
	trace->size = 64;
	trace->rows = tuplestore_begin_heap(false, false, work_mem);
	trace->entries = palloc(trace->size * sizeof(TraceEntry));
}

/* Returns the entries that were taken as a tree. */
static Datum
return_tree(FunctionCallInfo fcinfo, Trace *trace)
{
	place_entries(trace);
	return_rows(trace, (ReturnSetInfo *) fcinfo->resultinfo);
	tuplestore_end(trace->rows);
	pfree(trace->entries);
	return (Datum) 0;
}

/* SQL: the tree of a trace id. */
Datum
mals_trace(PG_FUNCTION_ARGS)
{
	Oid type = UUIDOID;
	Trace trace;

	if (PG_ARGISNULL(0))
		mals_error_missing("trace_id",
						   "Give a trace id, or call mals_trace with a correlation id.");
	begin_trace(fcinfo, &trace);
	mals_read_with("SELECT l.* FROM mals.logs l WHERE l.trace_id = $1 ORDER BY l.ts, l.id", 1,
				   &type, &fcinfo->args[0].value, take_entry, &trace);
	return return_tree(fcinfo, &trace);
}

/* SQL: the tree of a correlation id, or of a trace id given as text. */
Datum
mals_trace_text(PG_FUNCTION_ARGS)
{
	MalsTerm term = {.kind = MALS_TERM_TRACE, .op = MALS_OP_EQ};
	MalsCondition condition;
	StringInfoData sql;
	Trace trace;

	if (PG_ARGISNULL(0))
		mals_error_missing("correlation", "Give a correlation id or a trace id.");
	term.text = text_to_cstring(PG_GETARG_TEXT_PP(0));
	term.flag = mals_uuid_parse(term.text, strlen(term.text), &term.uuid);
	condition.terms = list_make1(&term);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT l.* FROM mals.logs l WHERE ");
	mals_condition_sql(&sql, &condition);
	appendStringInfoString(&sql, " ORDER BY l.ts, l.id");
	begin_trace(fcinfo, &trace);
	mals_read(sql.data, take_entry, &trace);
	return return_tree(fcinfo, &trace);
}
