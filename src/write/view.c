/*
 * view.c
 *		INSERT and COPY into the views mals.logs and mals.inbox.
 *
 * A statement trigger opens a writer before the statement and closes it after;
 * a row trigger in between makes an entry of each row. Statements nest (a
 * function that the statement calls may insert too), so the open writers form
 * a stack; rows go to the top one of their view. Where the caller of an INSERT
 * ... RETURNING has enough rows and stops it, the statement trigger is not called
 * again: the executor's hook closes the writer. A (sub)transaction that aborts
 * takes the writers that were opened in it, whose memory and locks are the
 * transaction's own.
 */
#include "mals_errors.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "partition/partition.h"
#include "write/sights.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_insert_statement);
PG_FUNCTION_INFO_V1(mals_insert_log);
PG_FUNCTION_INFO_V1(mals_insert_json);
PG_FUNCTION_INFO_V1(mals_refuse_change);

/*
 * Columns of mals.logs, as the install script lays them out. What a later
 * version of the extension adds after them is not looked at, and NULL.
 */
enum
{
	LOGS_ID,
	LOGS_TS,
	LOGS_CREATED_AT,
	LOGS_LEVEL,
	LOGS_AGENT_ID,
	LOGS_MESSAGE,
	LOGS_CATEGORY,
	LOGS_SOURCE,
	LOGS_SESSION_KEY,
	LOGS_TRACE_ID,
	LOGS_PARENT_ID,
	LOGS_CORRELATION_ID,
	LOGS_METADATA,
	LOGS_FINGERPRINT,
	LOGS_RESOLVED,
	LOGS_RESOLVED_AT,
	LOGS_RESOLVED_BY,
	LOGS_COLUMNS
};

/* The writer of one statement. */
typedef struct Statement
{
	struct Statement *outer;
	Oid view;
	const Trigger *trigger; /* which opened it: of one executor's own copy */
	MalsWriter *writer;
	SubTransactionId subid;
} Statement;

static Statement *statements = NULL; /* the stack's top */

/* Forgets the writers of a transaction that has ended. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (statements != NULL)
				elog(ERROR, "rows of an INSERT into a view of mals were left unwritten");
			break;
		case XACT_EVENT_ABORT:
			statements = NULL;
			break;
		default:
			break;
	}
}

/* Forgets the writers of a subtransaction that has aborted. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent,
					  void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (statements != NULL && statements->subid >= subid)
		statements = statements->outer;
}

void
mals_write_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	mals_sights_init();
}

/* Raises an error for a trigger function that is used elsewhere than on the views. */
static void
not_a_view(void)
{
	ereport(
		ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		errmsg("this function of mals can only be called as a trigger of mals.logs or mals.inbox"),
		errhint("INSERT into mals.logs or mals.inbox."));
}

/* Gives what a trigger function is called with. */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		not_a_view();
	return (TriggerData *) fcinfo->context;
}

/* Opens a writer for a statement that inserts into one of the views. */
static void
open_statement(Oid view, const Trigger *trigger)
{
	MemoryContext old = MemoryContextSwitchTo(CurTransactionContext);
	Statement *statement = palloc(sizeof(Statement));

	statement->view = view;
	statement->trigger = trigger;
	statement->writer = mals_writer_begin("INSERT");
	statement->subid = GetCurrentSubTransactionId();
	statement->outer = statements;
	statements = statement;
	MemoryContextSwitchTo(old);
}

/* Writes what waits in the writer of a statement and closes it. */
static void
close_statement(Statement **link)
{
	Statement *statement = *link;

	(void) mals_writer_end(statement->writer);
	*link = statement->outer;
	pfree(statement);
}

/* Tells whether a trigger is one of an executor's. */
static bool
has_trigger(EState *estate, const Trigger *trigger)
{
	ListCell *lc;

	foreach (lc, estate->es_opened_result_relations)
	{
		TriggerDesc *triggers = ((ResultRelInfo *) lfirst(lc))->ri_TrigDesc;

		if (triggers != NULL && trigger >= triggers->triggers &&
			trigger < triggers->triggers + triggers->numtriggers)
			return true;
	}
	return false;
}

void
mals_write_finish(EState *estate)
{
	Statement **link = &statements;

	while (*link != NULL)
		if (has_trigger(estate, (*link)->trigger))
			close_statement(link);
		else
			link = &(*link)->outer;
}

/*
 * Finds the innermost open statement on the trigger's relation. Two parts of
 * one query may be open at once, on both views: WITH ... AS (INSERT ...).
 */
static Statement **
find_statement(TriggerData *trigger)
{
	Statement **link = &statements;

	while (*link != NULL && (*link)->view != RelationGetRelid(trigger->tg_relation))
		link = &(*link)->outer;
	if (*link == NULL)
		not_a_view();
	return link;
}

/* Trigger: opens the writer before a statement, closes it after. */
Datum
mals_insert_statement(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	Oid view = RelationGetRelid(trigger->tg_relation);

	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
	{
		if (view != mals_relation_oid("logs") && view != mals_relation_oid("inbox"))
			not_a_view();
		open_statement(view, trigger->tg_trigger);
	}
	else
		close_statement(find_statement(trigger));
	return PointerGetDatum(NULL);
}

/* Finishes a row's entry and hands it to the statement's writer; false: no row. */
static bool
write_row(Statement *statement, MalsEntry *entry)
{
	return mals_write_accept(entry) && mals_writer_add(statement->writer, entry);
}

/* Reads a text column, or NULL. */
static text *
text_column(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : DatumGetTextPP(values[column]);
}

/* Reads a UUID column, if it is given. */
static bool
uuid_column(const Datum *values, const bool *nulls, int column, pg_uuid_t *id)
{
	if (!nulls[column])
		*id = *DatumGetUUIDP(values[column]);
	return !nulls[column];
}

/* Makes an entry of a row of mals.logs. */
static void
entry_from_row(MalsEntry *entry, const Datum *values, const bool *nulls)
{
	mals_entry_init(entry, -1);
	if (!nulls[LOGS_RESOLVED] || !nulls[LOGS_RESOLVED_AT] || !nulls[LOGS_RESOLVED_BY])
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s cannot be given for a new entry", !nulls[LOGS_RESOLVED] ? "resolved"
															 : !nulls[LOGS_RESOLVED_AT]
																 ? "resolved_at"
																 : "resolved_by"),
				errhint("Log the entry first, then call mals_resolve with its id."));
	entry->has_id = uuid_column(values, nulls, LOGS_ID, &entry->id);
	entry->has_ts = !nulls[LOGS_TS];
	if (entry->has_ts)
		entry->ts = DatumGetTimestampTz(values[LOGS_TS]);
	entry->has_level = !nulls[LOGS_LEVEL];
	if (entry->has_level)
		entry->level = DatumGetMalsLevel(values[LOGS_LEVEL]);
	entry->agent_id = text_column(values, nulls, LOGS_AGENT_ID);
	entry->message = text_column(values, nulls, LOGS_MESSAGE);
	entry->category = text_column(values, nulls, LOGS_CATEGORY);
	entry->source = text_column(values, nulls, LOGS_SOURCE);
	entry->session_key = text_column(values, nulls, LOGS_SESSION_KEY);
	entry->has_trace_id = uuid_column(values, nulls, LOGS_TRACE_ID, &entry->trace_id);
	entry->has_parent_id = uuid_column(values, nulls, LOGS_PARENT_ID, &entry->parent_id);
	entry->correlation_id = text_column(values, nulls, LOGS_CORRELATION_ID);
	if (!nulls[LOGS_METADATA])
		entry->metadata = DatumGetJsonbP(values[LOGS_METADATA]);
}

/* Sets a column of the row that RETURNING shows. */
static void
return_column(Datum *values, bool *nulls, int column, bool given, const void *value)
{
	values[column] = PointerGetDatum(value);
	nulls[column] = !given;
}

/* Makes the row that RETURNING shows of a stored entry. */
static HeapTuple
row_from_entry(const MalsEntry *entry, TupleDesc layout, Datum *values, bool *nulls)
{
	memset(nulls, true, layout->natts * sizeof(bool));
	memset(nulls, false, LOGS_COLUMNS * sizeof(bool));
	values[LOGS_ID] = UUIDPGetDatum(&entry->id);
	values[LOGS_TS] = TimestampTzGetDatum(entry->ts);
	values[LOGS_CREATED_AT] = TimestampTzGetDatum(entry->created_at);
	values[LOGS_LEVEL] = MalsLevelGetDatum(entry->level);
	values[LOGS_AGENT_ID] = PointerGetDatum(entry->agent_id);
	values[LOGS_MESSAGE] = PointerGetDatum(entry->message);
	values[LOGS_SOURCE] = PointerGetDatum(entry->source);
	values[LOGS_METADATA] = JsonbPGetDatum(entry->metadata);
	values[LOGS_FINGERPRINT] = Int64GetDatum(entry->fingerprint);
	values[LOGS_RESOLVED] = BoolGetDatum(false);
	return_column(values, nulls, LOGS_CATEGORY, entry->category != NULL, entry->category);
	return_column(values, nulls, LOGS_SESSION_KEY, entry->session_key != NULL, entry->session_key);
	return_column(values, nulls, LOGS_TRACE_ID, entry->has_trace_id, &entry->trace_id);
	return_column(values, nulls, LOGS_PARENT_ID, entry->has_parent_id, &entry->parent_id);
	return_column(values, nulls, LOGS_CORRELATION_ID, entry->correlation_id != NULL,
				  entry->correlation_id);
	nulls[LOGS_RESOLVED_AT] = nulls[LOGS_RESOLVED_BY] = true;
	return heap_form_tuple(layout, values, nulls);
}

/* Trigger: a row for mals.logs becomes an entry. */
Datum
mals_insert_log(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	Statement *statement = *find_statement(trigger);
	TupleDesc layout = RelationGetDescr(trigger->tg_relation);
	Datum *values = palloc(layout->natts * sizeof(Datum));
	bool *nulls = palloc(layout->natts * sizeof(bool));
	MalsEntry entry;

	mals_check_columns(trigger->tg_relation, LOGS_COLUMNS);
	heap_deform_tuple(trigger->tg_trigtuple, layout, values, nulls);
	entry_from_row(&entry, values, nulls);
	if (!write_row(statement, &entry))
		return PointerGetDatum(NULL);
	return PointerGetDatum(row_from_entry(&entry, layout, values, nulls));
}

/* Trigger: a JSON object for mals.inbox becomes an entry. */
Datum
mals_insert_json(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	Statement *statement = *find_statement(trigger);
	MalsEntry entry;
	bool isnull;
	Datum value =
		heap_getattr(trigger->tg_trigtuple, 1, RelationGetDescr(trigger->tg_relation), &isnull);

	if (isnull)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("entry: a value is required"),
				errhint("Give one JSON object a row, with at least agent_id and message."));
	mals_entry_init(&entry, -1);
	mals_entry_from_json(&entry, &DatumGetJsonbP(value)->root);
	if (!write_row(statement, &entry))
		return PointerGetDatum(NULL);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* Trigger: entries are never changed. */
Datum
mals_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);

	ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("cannot %s mals.%s: entries are never changed",
				   TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "update" : "delete from",
				   RelationGetRelationName(trigger->tg_relation)),
			errhint("Log another entry, or use mals_resolve to say what became of this one."));
	PG_RETURN_NULL();
}
