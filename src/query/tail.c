/*
 * tail.c
 *		mals_tail and mals_tail_cursor: entries as they are committed.
 *
 * A call looks for entries that are new since its cursor and waits until there
 * are some. Each look has a snapshot and locks of its own, in a subtransaction
 * that is rolled back, so that a call that waits holds nothing: it keeps no
 * vacuum from its work, and no partition from being dropped.
 *
 * What remains is the snapshot of the statement that calls. It is given up
 * where nothing can miss it: the statement is the one that a client runs, reads
 * no table, and this function is the one it runs just now. It gets another one
 * afterwards, as if it had begun then. Elsewhere (INSERT … SELECT, a function's
 * body) the statement keeps its snapshot until the call's timeout at most.
 */
#include "mals_errors.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "executor/execdesc.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "query/cursor.h"
#include "query/news.h"
#include "query/query.h"
#include "query/read.h"
#include "query/wake.h"

PG_FUNCTION_INFO_V1(mals_tail);
PG_FUNCTION_INFO_V1(mals_tail_cursor);

#define MAX_TIMEOUT USECS_PER_HOUR

/* Columns of the result: next_cursor, and those of mals.logs. */
#define COLUMNS (1 + MALS_NEWS_COLUMNS)

/* A call of mals_tail. */
typedef struct Tail
{
	ReturnSetInfo *result;
	MalsNews news;
	int64 limit;
	bool looked;
	MalsCursor cursor;
	MemoryContext cursor_context; /* what the cursor is in */
	MalsSleeper sleeper;
} Tail;

/* Puts a row into the result: an entry, or NULLs. */
static void
put_row(Tail *tail, const MalsCursor *cursor, TupleTableSlot *row)
{
	Datum values[COLUMNS];
	bool isnull[COLUMNS];
	char *text = mals_cursor_text(cursor);

	values[0] = CStringGetTextDatum(text);
	isnull[0] = false;
	for (int i = 1; i < COLUMNS; i++)
	{
		isnull[i] = true;
		if (row != NULL)
			values[i] = slot_getattr(row, i, &isnull[i]);
		/* the row may be gone from its table when the result is read */
		if (!isnull[i] && TupleDescAttr(tail->result->setDesc, i)->attlen == -1)
			values[i] = PointerGetDatum(
				detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
	}
	tuplestore_putvalues(tail->result->setResult, tail->result->setDesc, values, isnull);
	pfree(DatumGetPointer(values[0]));
	pfree(text);
}

/* Takes an entry that is new. */
static void
take_entry(TupleTableSlot *row, const MalsCursor *after, void *tail)
{
	put_row(tail, after, row);
}

/* Looks for entries in a subtransaction, which is rolled back; returns how many there were. */
static int64
look_apart(Tail *tail, MemoryContext context)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int64 found = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		MalsCursor now;

		PushActiveSnapshot(GetTransactionSnapshot());
		mals_cursor_take(&now, GetActiveSnapshot());
		if (tail->cursor_context == NULL)
			tail->cursor = now;
		if (!tail->looked || mals_cursor_behind(&tail->cursor, &now))
			found = mals_news_read(&tail->news, &tail->cursor, &now, tail->limit, take_entry, tail);
		else
		{
			mals_cursor_advance(&tail->cursor, &tail->cursor, &now, PG_UINT64_MAX);
			tail->cursor.taken = now.taken;
		}
		PopActiveSnapshot();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
		ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = owner;
	return found;
}

/* Looks for entries once and moves the cursor on; returns how many there were. */
static int64
look(Tail *tail)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mals tail", ALLOCSET_DEFAULT_SIZES);
	int64 found;

	mals_sleeper_look(&tail->sleeper);
	found = look_apart(tail, context);
	mals_sleeper_looked(&tail->sleeper);
	tail->looked = true;
	if (tail->cursor_context != NULL)
		MemoryContextDelete(tail->cursor_context);
	tail->cursor_context = context;
	return found;
}

/*
 * Gives up the statement's snapshot if it can be done, and returns the portal
 * that is to get one back; else NULL.
 */
static Portal
release_snapshot(FunctionCallInfo fcinfo)
{
	EState *estate = ((ReturnSetInfo *) fcinfo->resultinfo)->econtext->ecxt_estate;
	Portal portal = ActivePortal;
	QueryDesc *query;

	if (portal == NULL || portal->strategy != PORTAL_ONE_SELECT)
		return NULL;
	query = portal->queryDesc;
	if (query == NULL || query->estate != estate || query->plannedstmt->relationOids != NIL ||
		query->snapshot == NULL || query->snapshot != estate->es_snapshot ||
		query->snapshot != GetActiveSnapshot())
		return NULL;

	PopActiveSnapshot();
	UnregisterSnapshotFromOwner(estate->es_snapshot, portal->resowner);
	UnregisterSnapshotFromOwner(query->snapshot, portal->resowner);
	query->snapshot = estate->es_snapshot = NULL;
	return portal;
}

/* Gives a statement a snapshot of now. */
static void
renew_snapshot(Portal portal)
{
	QueryDesc *query = portal->queryDesc;

	PushActiveSnapshot(GetTransactionSnapshot());
	query->snapshot = RegisterSnapshotOnOwner(GetActiveSnapshot(), portal->resowner);
	query->estate->es_snapshot = RegisterSnapshotOnOwner(query->snapshot, portal->resowner);
}

/* Reads the arguments, but the timeout. */
static void
read_arguments(FunctionCallInfo fcinfo, Tail *tail)
{
	text *query = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);

	mals_news_begin(&tail->news,
					mals_query_parse(VARDATA_ANY(query), VARSIZE_ANY_EXHDR(query), "query"));
	if (!PG_ARGISNULL(1))
	{
		tail->cursor_context =
			AllocSetContextCreate(CurrentMemoryContext, "mals tail", ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(tail->cursor_context);
		mals_cursor_parse(&tail->cursor, text_to_cstring(PG_GETARG_TEXT_PP(1)), "cursor");
		MemoryContextSwitchTo(MemoryContextGetParent(tail->cursor_context));
	}
	tail->limit = PG_ARGISNULL(3) ? PG_INT64_MAX : mals_number_arg(fcinfo, 3, "max_rows", 1, 0);
}

/* Reads the argument timeout, in microseconds. */
static int64
timeout_arg(FunctionCallInfo fcinfo, int arg)
{
	Interval *timeout = PG_ARGISNULL(arg) ? NULL : PG_GETARG_INTERVAL_P(arg);
	float8 length = -1;

	if (timeout != NULL)
		length = timeout->time +
				 (timeout->day + timeout->month * (float8) DAYS_PER_MONTH) * (float8) USECS_PER_DAY;
	if (length < 0 || length > MAX_TIMEOUT)
		mals_error_range("timeout", "Give an interval from 0 to 1 hour.");
	return (int64) length;
}

/* Looks and waits until entries have come or the time is up. */
static void
follow(Tail *tail)
{
	if (tail->cursor.taken > 0)
		mals_sleeper_pause(&tail->sleeper, GetCurrentTimestamp() - tail->cursor.taken);
	while (look(tail) == 0)
	{
		InvalidateCatalogSnapshot();
		if (!mals_sleeper_wait(&tail->sleeper))
		{
			put_row(tail, &tail->cursor, NULL);
			return;
		}
	}
}

/* Counts a tail out, also when it ends by an error or with the session. */
static void
leave(int code, Datum tail)
{
	mals_sleeper_end(&((Tail *) DatumGetPointer(tail))->sleeper);
}

/* SQL: waits for entries that match a query. */
Datum
mals_tail(PG_FUNCTION_ARGS)
{
	int64 timeout = timeout_arg(fcinfo, 2);
	Tail tail = {0};
	Portal portal;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("mals_tail() needs the isolation level READ COMMITTED"),
				errdetail("Others never show what is committed after the transaction began."),
				errhint("Call it outside a transaction, or in one that is READ COMMITTED."));
	read_arguments(fcinfo, &tail);
	InitMaterializedSRF(fcinfo, 0);
	tail.result = (ReturnSetInfo *) fcinfo->resultinfo;

	mals_sleeper_begin(&tail.sleeper, timeout);
	PG_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&tail));
	{
		portal = release_snapshot(fcinfo);
		follow(&tail);
		if (portal != NULL)
			renew_snapshot(portal);
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave, PointerGetDatum(&tail));
	mals_sleeper_end(&tail.sleeper);
	return (Datum) 0;
}

/* SQL: the cursor from which on mals_tail gives what the calling statement does not see. */
Datum
mals_tail_cursor(PG_FUNCTION_ARGS)
{
	MalsCursor cursor;

	mals_cursor_take(&cursor, GetActiveSnapshot());
	PG_RETURN_TEXT_P(cstring_to_text(mals_cursor_text(&cursor)));
}
