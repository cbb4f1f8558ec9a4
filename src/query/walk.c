/*
 * walk.c
 *		Reads a selection in the order of (ts, id), partition by partition.
 *
 * The windows of the parts touch each other and together are the selection's
 * window: a partition that appears meanwhile is within one of them. Parts read
 * mals.logs, as everyone does; they only narrow the window.
 */
#include "mals_errors.h"

#include "miscadmin.h"

#include "partition/partition.h"
#include "query/read.h"

/* The rows of mals_walk on the way to their taker. */
typedef struct Rows
{
	int64 skip; /* rows to skip yet */
	int64 taken;
	MalsRowTaker take;
	void *arg;
} Rows;

void
mals_walk_begin(MalsWalk *walk, const MalsSelection *selection, bool descending)
{
	walk->whole = walk->part = *selection;
	walk->descending = descending;
	walk->npieces = mals_partition_edges(selection->since, selection->until, &walk->edges) + 1;
	walk->done = 0;
	walk->stride = 1;
}

/* The time at which the piece with this number, from 0 in order of time, begins. */
static TimestampTz
piece_begin(const MalsWalk *walk, int piece)
{
	if (piece == 0)
		return walk->whole.since;
	return piece == walk->npieces ? walk->whole.until : walk->edges[piece - 1];
}

bool
mals_walk_next(MalsWalk *walk)
{
	int n = Min(walk->stride, walk->npieces - walk->done);
	int first = walk->descending ? walk->npieces - walk->done - n : walk->done;

	if (n == 0)
		return false;
	walk->part.since = piece_begin(walk, first);
	walk->part.until = piece_begin(walk, first + n);
	walk->done += n;
	walk->stride *= 2;
	return true;
}

char *
mals_walk_sql(const MalsWalk *walk, const char *target, const pg_uuid_t *beyond, int64 limit)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM mals.logs l WHERE ", target);
	mals_selection_append(&sql, &walk->part);
	if (beyond != NULL)
	{
		appendStringInfoString(&sql, " AND ");
		mals_append_beyond(&sql, walk->descending ? "<" : ">", beyond);
	}
	appendStringInfoString(&sql, walk->descending ? " ORDER BY l.ts DESC, l.id DESC"
												  : " ORDER BY l.ts, l.id");
	if (limit >= 0)
		appendStringInfo(&sql, " LIMIT %lld", (long long) limit);
	return sql.data;
}

/* Skips a row, or hands it on. */
static void
take_row(TupleTableSlot *row, void *arg)
{
	Rows *rows = arg;

	if (rows->skip > 0)
		rows->skip--;
	else
	{
		rows->taken++;
		rows->take(row, rows->arg);
	}
}

void
mals_walk(const MalsSelection *selection, const char *target, bool descending, int64 skip,
		  int64 limit, MalsRowTaker take, void *arg)
{
	Rows rows = {skip, 0, take, arg};
	MalsWalk walk;

	mals_walk_begin(&walk, selection, descending);
	while (mals_walk_next(&walk))
	{
		int64 wanted = limit < 0 ? -1 : rows.skip + limit - rows.taken;
		char *sql = mals_walk_sql(&walk, target, NULL, wanted);

		CHECK_FOR_INTERRUPTS();
		mals_read(sql, take_row, &rows);
		pfree(sql);
		if (limit >= 0 && rows.taken >= limit)
			break;
	}
	pfree(walk.edges);
}
