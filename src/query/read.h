/*
 * read.h
 *		What the functions that read entries share (private to src/query).
 *
 * A reader makes SQL over mals.logs and runs it by SPI as the calling user, on
 * the calling query's snapshot: privileges and row security are those of the
 * view, and readers work on a hot standby. SQL calls the view "l".
 */
#ifndef MALS_QUERY_READ_H
#define MALS_QUERY_READ_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* What is read: a condition over mals.logs' columns in a window of time. */
typedef struct MalsSelection
{
	char *condition;   /* SQL */
	bool resolved;     /* the condition asks what became of entries */
	TimestampTz since; /* inclusive; DT_NOBEGIN: unbounded */
	TimestampTz until; /* exclusive; DT_NOEND: unbounded */
} MalsSelection;

/* Selects all entries in a window; a condition may be put in, with what it asks for. */
extern void mals_selection_init(MalsSelection *selection, TimestampTz since, TimestampTz until);

/*
 * Reads a selection from the arguments with these numbers: a query text, since
 * and until, NULL meaning '' and no bound. Time bounds in the query narrow the
 * window.
 */
extern void mals_selection_read(MalsSelection *selection, FunctionCallInfo fcinfo, int query,
								int since, int until);

/* Appends a selection as one SQL condition. */
extern void mals_selection_append(StringInfo sql, const MalsSelection *selection);

/*
 * Appends FROM and WHERE of a selection's entries, "l", of which nothing is read
 * but the columns of mals.entries. From that table, where the condition allows
 * it, the planner reads indexes alone; from the view it does not.
 */
extern void mals_selection_append_from(StringInfo sql, const MalsSelection *selection);

/* Makes the one entry with an id a selection. */
extern void mals_selection_entry(MalsSelection *selection, const pg_uuid_t *id);

/* Appends that entries are before or after the entry with an id; op is <, <=, > or >=. */
extern void mals_append_beyond(StringInfo sql, const char *op, const pg_uuid_t *id);

/* Appends the condition that an entry is an error. */
extern void mals_append_is_error(StringInfo sql);

/* Takes a row of a query's result. What it allocates must not be in the current context. */
typedef void (*MalsRowTaker)(TupleTableSlot *row, void *arg);

/*
 * Runs a SELECT; every row is taken as it comes. The plans of the texts that
 * were run last are kept for the session: planning often costs more than what
 * it is for, and people and programs ask the same again.
 */
extern void mals_read(const char *sql, MalsRowTaker take, void *arg);

/* As mals_read, with values (not NULL) of types for $1, $2, …; one plan serves all values. */
extern void mals_read_with(const char *sql, int nparams, Oid *types, const Datum *values,
						   MalsRowTaker take, void *arg);

/* A taker: puts the row into the result of a function whose ReturnSetInfo is given. */
extern void mals_store_row(TupleTableSlot *row, void *result);

/* Runs a SELECT; its rows, which are of the calling function's type, are the function's result. */
extern void mals_read_result(const char *sql, FunctionCallInfo fcinfo);

/* Runs a SELECT and gives its first row's first column, in the current context; NULL if no row. */
extern Datum mals_read_value(const char *sql, bool *isnull);

/* Reads an int argument: NULL means the number given; less than least is 22023. */
extern int64 mals_number_arg(FunctionCallInfo fcinfo, int arg, const char *name, int64 least,
							 int64 otherwise);

/* Gives an id argument; NULL is 22004. */
extern pg_uuid_t *mals_id_arg(FunctionCallInfo fcinfo, int arg, const char *name);

/*
 * walk.c: reads a selection in the order of (ts, id), partition by partition:
 * first the one where the order begins, then 2, 4, 8, … at a time. What a
 * search costs to plan and to run then depends on the rows that are wanted,
 * not on how many partitions there are.
 */
typedef struct MalsWalk
{
	MalsSelection whole;
	MalsSelection part; /* what is being read */
	bool descending;
	TimestampTz *edges; /* where partitions begin within the window, ascending */
	int npieces;        /* between the edges and the window's ends */
	int done;           /* pieces that parts have covered */
	int stride;         /* pieces of the next part */
} MalsWalk;

extern void mals_walk_begin(MalsWalk *walk, const MalsSelection *selection, bool descending);

/* Goes to the next part, of which there is at least one; false: no more. */
extern bool mals_walk_next(MalsWalk *walk);

/* Makes the SQL that reads target from a part in order: beyond an id if given, limit rows or all (-1). */
extern char *mals_walk_sql(const MalsWalk *walk, const char *target, const pg_uuid_t *beyond,
						   int64 limit);

/* Walks a selection: skips rows, then has up to limit rows (-1: all) taken. */
extern void mals_walk(const MalsSelection *selection, const char *target, bool descending,
					  int64 skip, int64 limit, MalsRowTaker take, void *arg);

#endif /* MALS_QUERY_READ_H */
