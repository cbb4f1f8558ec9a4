/*
 * news.c
 *		Reads the entries that are new since a cursor, see news.h.
 *
 * New are the entries of transactions that the cursor has not seen and the
 * active snapshot sees: of some that were open when the cursor was taken
 * ("late"), and of those that began since ("fresh"). Both are found by the index
 * on xact that each partition has. They are read in the order of (xact, ts, id),
 * which is that of transaction ids within a cluster; so what was read up to an
 * entry is a cursor too. What remains of a transaction that was read in part
 * comes first.
 *
 * The rest of a large transaction is not found by sorting all of it again and
 * again, but by walking the primary key on from the last entry.
 *
 * Plans are kept for all values, and must not depend on how large partitions
 * were when they were made: what would make the planner read whole partitions
 * is switched off, and conditions are in a CASE, so that no other index seems
 * fit for them: all errors of an hour, say, are no help.
 */
#include "mals_errors.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "entry/entry.h"
#include "query/news.h"
#include "query/read.h"
#include "query/wake.h"
#include "types/types.h"
#include "worker/shared.h"

/* A transaction of more entries than this is large. */
#define LARGE "10000"

/* Columns of the SQL's rows after those of mals.logs. */
#define COLUMN_XACT (MALS_NEWS_COLUMNS + 1)
#define COLUMN_ID (MALS_NEWS_COLUMNS + 2)

/* Most parameters of the SQL. */
#define MAX_PARAMS 6

/* A read in progress. */
typedef struct Reading
{
	MemoryContext context;
	const MalsNews *news;
	MalsCursor *cursor;    /* before the rows that are being read */
	const MalsCursor *now; /* how far they go */
	int64 limit;           /* rows wanted in all */
	int64 taken;           /* rows handed over */
	MalsNewsTaker take;
	MalsRowTaker take_agent; /* instead of rows, and of the limit */
	void *arg;
	TupleTableSlot *held; /* the last row of mals.logs: its cursor depends on what follows */
	uint64 held_xid;
	pg_uuid_t held_id;
	int64 rows; /* of one query, also those that mals.logs did not give */
	uint64 xid; /* of the last of them */
	pg_uuid_t id;
} Reading;

/* Makes a part of a condition: terms on what became of entries, or all others. */
static char *
part_of(const MalsCondition *condition, bool resolved)
{
	MalsCondition part = {NIL};
	StringInfoData sql;
	ListCell *lc;

	foreach (lc, condition->terms)
	{
		MalsTerm *term = lfirst(lc);

		if ((term->kind == MALS_TERM_RESOLVED) == resolved)
			part.terms = lappend(part.terms, term);
	}
	if (resolved && part.terms == NIL)
		return NULL;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "CASE WHEN ");
	mals_condition_sql(&sql, &part);
	appendStringInfoString(&sql, " THEN true END");
	return sql.data;
}

void
mals_news_begin(MalsNews *news, const MalsCondition *condition)
{
	news->entries = part_of(condition, false);
	news->logs = part_of(condition, true);
}

/* Makes the cursor that has seen all up to an entry that is being read. */
static void
cursor_after(MalsCursor *result, const Reading *reading, uint64 xid, const pg_uuid_t *id)
{
	mals_cursor_advance(result, reading->cursor, reading->now,
						reading->cursor->within != 0 ? 0 : xid);
	result->within = xid;
	result->last = *id;
}

/* Is a row held? */
static bool
holds(const Reading *reading)
{
	return reading->held != NULL && !TTS_EMPTY(reading->held);
}

/* Hands the row over that was held. */
static void
hand_over(Reading *reading, const MalsCursor *after)
{
	reading->take(reading->held, after, reading->arg);
	ExecClearTuple(reading->held);
	reading->taken++;
}

/* Moves the cursor on. */
static void
move(Reading *reading, const MalsCursor *to)
{
	*reading->cursor = *to;
	if (holds(reading))
		hand_over(reading, to);
}

/* Takes a row of the SQL. */
static void
receive(TupleTableSlot *row, void *arg)
{
	Reading *reading = arg;
	MemoryContext old = MemoryContextSwitchTo(reading->context);
	bool isnull;

	reading->rows++;
	reading->xid = mals_xact_id(DatumGetInt64(slot_getattr(row, COLUMN_XACT, &isnull)));
	reading->id = *DatumGetUUIDP(slot_getattr(row, COLUMN_ID, &isnull));
	if (!slot_attisnull(row, 1))
	{
		if (holds(reading))
		{
			MalsCursor after;

			cursor_after(&after, reading, reading->held_xid, &reading->held_id);
			hand_over(reading, &after);
			pfree(after.open);
		}
		if (reading->held == NULL)
			reading->held = MakeSingleTupleTableSlot(CreateTupleDescCopy(row->tts_tupleDescriptor),
													 &TTSOpsVirtual);
		ExecCopySlot(reading->held, row);
		reading->held_xid = reading->xid;
		reading->held_id = reading->id;
	}
	MemoryContextSwitchTo(old);
}

/* Reads agents of entries as run does, and when the latest one of each was taken. */
static void
run_agents(Reading *reading, const char *from, const char *where, int nparams, Oid *types,
		   Datum *values)
{
	const char *logs = "";
	char *sql;

	if (reading->news->logs != NULL)
		logs = psprintf(" AND EXISTS (SELECT FROM mals.logs l WHERE l.ts >= $%d AND l.ts = e.ts"
						" AND l.id = e.id AND (%s))",
						nparams, reading->news->logs);
	sql = psprintf("SELECT e.agent_id, max(e.created_at) FROM %s WHERE e.ts >= $%d AND %s%s"
				   " GROUP BY 1",
				   from, nparams, where, logs);
	mals_read_with(sql, nparams, types, values, reading->take_agent, reading->arg);
}

/*
 * Reads entries e of a table expression, none of which are from before a time,
 * and their rows of mals.logs. That time and how many rows are the parameters
 * which this function adds. Returns false if there may be more.
 */
static bool
run(Reading *reading, const char *from, const char *where, TimestampTz since, int nparams,
	Oid *types, Datum *values)
{
	int64 wanted = reading->limit - reading->taken - (holds(reading) ? 1 : 0);
	char *sql;

	types[nparams] = TIMESTAMPTZOID;
	values[nparams++] = TimestampTzGetDatum(since);
	if (reading->take_agent != NULL)
	{
		run_agents(reading, from, where, nparams, types, values);
		return true;
	}
	sql = psprintf(
		"SELECT l.*, k.xact, k.id FROM (SELECT e.xact, e.ts, e.id FROM %s WHERE e.ts >= $%d AND %s"
		" ORDER BY e.xact, e.ts, e.id LIMIT $%d) k LEFT JOIN LATERAL (SELECT l.* FROM mals.logs l"
		" WHERE l.ts >= $%d AND l.ts = k.ts AND l.id = k.id AND %s) l ON true"
		" ORDER BY k.xact, k.ts, k.id",
		from, nparams, where, nparams + 1, nparams,
		reading->news->logs != NULL ? reading->news->logs : "true");
	types[nparams] = INT8OID;
	values[nparams++] = Int64GetDatum(wanted);
	reading->rows = 0;
	mals_read_with(sql, nparams, types, values, receive, reading);
	pfree(sql);
	return reading->rows < wanted;
}

/* Counts rows, for is_large. */
static void
count_row(TupleTableSlot *row, void *count)
{
	bool isnull;

	*(int64 *) count = DatumGetInt64(slot_getattr(row, 1, &isnull));
}

/* Tells whether a transaction has very many entries. */
static bool
is_large(Datum stamp)
{
	Oid type = INT8OID;
	int64 count = 0;

	mals_read_with("SELECT count(*) FROM (SELECT FROM mals.entries e WHERE e.xact = $1"
				   " OFFSET " LARGE " LIMIT 1) q",
				   1, &type, &stamp, count_row, &count);
	return count > 0;
}

/* Reads the rest of the transaction that was read in part. */
static bool
read_rest(Reading *reading)
{
	const MalsCursor *cursor = reading->cursor;
	Oid types[MAX_PARAMS] = {INT8OID, TIMESTAMPTZOID, UUIDOID};
	Datum values[MAX_PARAMS];
	TimestampTz ts;
	char *sql;

	if (!mals_uuid_timestamp(&cursor->last, &ts))
		elog(ERROR, "id in a cursor carries no time");
	values[0] = Int64GetDatum(mals_xact_stamp(FullTransactionIdFromU64(cursor->within)));
	values[1] = TimestampTzGetDatum(ts);
	values[2] = UUIDPGetDatum(&cursor->last);
	if (is_large(values[0]))
	{
		sql = psprintf("e.xact = $1 AND (e.ts, e.id) > ($2, $3) AND (%s)", reading->news->entries);
		return run(reading, "mals.entries e", sql, ts, 3, types, values);
	}
	sql = psprintf("(SELECT e.xact, e.ts, e.id, e.agent_id, e.created_at FROM mals.entries e"
				   " WHERE e.xact = $1 AND (%s) OFFSET 0) e",
				   reading->news->entries);
	return run(reading, sql, "(e.ts, e.id) > ($2, $3)", ts, 3, types, values);
}

/* Reads the entries of transactions that were open at the cursor. */
static bool
read_late(Reading *reading)
{
	const MalsCursor *cursor = reading->cursor;
	Oid types[MAX_PARAMS] = {INT8ARRAYOID};
	Datum values[MAX_PARAMS];
	Datum *stamps = palloc((cursor->nopen + 1) * sizeof(Datum));
	uint64 first = 0;
	int n = 0;

	for (int i = cursor->nopen - 1; i >= 0; i--)
		if (mals_cursor_saw(reading->now, cursor->open[i]))
		{
			first = cursor->open[i];
			stamps[n++] = Int64GetDatum(mals_xact_stamp(FullTransactionIdFromU64(first)));
		}
	if (n == 0)
		return true;
	values[0] = PointerGetDatum(
		construct_array(stamps, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	return run(reading, "mals.entries e",
			   psprintf("e.xact = ANY ($1) AND (%s)", reading->news->entries),
			   mals_tails_since(first), 1, types, values);
}

/*
 * Reads the entries of transactions that began after the cursor, but for this
 * one's own. To compare xact, a row's last column, takes as long as all the
 * rest: that is left out where there are none.
 */
static bool
read_fresh(Reading *reading)
{
	uint64 first = reading->cursor->next;
	const char *but_own = mals_noted_work(MALS_WORK_ENTRIES) ? " AND e.xact <> $3" : "";
	Oid types[MAX_PARAMS] = {INT8OID, INT8OID, INT8OID};
	Datum values[MAX_PARAMS];

	values[0] = Int64GetDatum(mals_xact_stamp(FullTransactionIdFromU64(first)));
	values[1] = Int64GetDatum(mals_xact_stamp(FullTransactionIdFromU64(reading->now->next)));
	values[2] = Int64GetDatum(mals_xact_stamp(GetTopFullTransactionIdIfAny()));
	return run(reading, "mals.entries e",
			   psprintf("e.xact >= $1 AND e.xact < $2%s AND (%s)", but_own, reading->news->entries),
			   mals_tails_since(first), 3, types, values);
}

/* Reads what is new; false if the limit came first. */
static bool
read_all(Reading *reading)
{
	if (reading->cursor->within != 0)
	{
		MalsCursor done = *reading->cursor;

		if (!read_rest(reading))
			return false;
		mals_cursor_finish(&done);
		move(reading, &done);
	}
	return read_late(reading) && read_fresh(reading);
}

/* Sets what keeps the planner to the indexes. */
static void
plan_by_index(void)
{
	static const char *const settings[] = {"enable_bitmapscan", "enable_hashjoin",
										   "enable_mergejoin",  "enable_seqscan",
										   "enable_sort",       "jit"};

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

/* Reads until there is no more, or the limit is reached, and moves the cursor on. */
static void
read_news(Reading *reading)
{
	MalsCursor *cursor = reading->cursor;
	const MalsCursor *now = reading->now;
	bool all = false;
	int nest;

	/* a standby may not have yet what was read in part on another server */
	if (cursor->within != 0 && !mals_cursor_saw(now, cursor->within))
		return;
	nest = NewGUCNestLevel();
	plan_by_index();
	while (!all && reading->taken < reading->limit)
	{
		MalsCursor to;

		all = read_all(reading);
		if (all)
		{
			mals_cursor_advance(&to, cursor, now, PG_UINT64_MAX);
			to.taken = now->taken;
		}
		else
			cursor_after(&to, reading, reading->xid, &reading->id);
		move(reading, &to);
	}
	if (reading->held != NULL)
		ExecDropSingleTupleTableSlot(reading->held);
	AtEOXact_GUC(true, nest);
}

int64
mals_news_read(const MalsNews *news, MalsCursor *cursor, const MalsCursor *now, int64 limit,
			   MalsNewsTaker take, void *arg)
{
	Reading reading = {.context = CurrentMemoryContext,
					   .news = news,
					   .cursor = cursor,
					   .now = now,
					   .limit = limit,
					   .take = take,
					   .arg = arg};

	read_news(&reading);
	return reading.taken;
}

void
mals_news_agents(const MalsNews *news, MalsCursor *cursor, const MalsCursor *now, MalsRowTaker take,
				 void *arg)
{
	Reading reading = {.context = CurrentMemoryContext,
					   .news = news,
					   .cursor = cursor,
					   .now = now,
					   .limit = PG_INT64_MAX,
					   .take_agent = take,
					   .arg = arg};

	read_news(&reading);
}
