/*
 * news.h
 *		Public: reads the entries that are new since a cursor.
 *
 * Used by whatever follows entries as they are committed. Reads as the current
 * user on the active snapshot; every matching entry comes exactly once, if each
 * read goes on with the cursor that the one before left.
 */
#ifndef MALS_QUERY_NEWS_H
#define MALS_QUERY_NEWS_H

#include "mals_errors.h"

#include "executor/tuptable.h"

#include "query/cursor.h"
#include "query/query.h"
#include "query/read.h"

/* What to look for, as SQL. */
typedef struct MalsNews
{
	char *entries; /* the condition over mals.entries */
	char *logs;    /* and over the row in mals.logs, on what became of it; NULL: none */
} MalsNews;

/* Columns of mals.logs, at the beginning of a row that is handed over. */
#define MALS_NEWS_COLUMNS 17

/*
 * Takes a row with the columns of mals.logs, and the cursor that has seen it
 * and what came before it. What it allocates must not be in the current context.
 */
typedef void (*MalsNewsTaker)(TupleTableSlot *row, const MalsCursor *after, void *arg);

extern void mals_news_begin(MalsNews *news, const MalsCondition *condition);

/*
 * Has up to limit rows taken that the cursor has not seen, transaction by
 * transaction in the order of their ids, and moves the cursor on behind them,
 * or up to now if these were all. now was taken from the active snapshot.
 * Returns how many.
 */
extern int64 mals_news_read(const MalsNews *news, MalsCursor *cursor, const MalsCursor *now,
							int64 limit, MalsNewsTaker take, void *arg);

/*
 * Reads all that the cursor has not seen, and moves it on up to now, but has
 * only rows of (agent_id, latest created_at) taken, of each agent one or a few:
 * that takes a fraction of the time.
 */
extern void mals_news_agents(const MalsNews *news, MalsCursor *cursor, const MalsCursor *now,
							 MalsRowTaker take, void *arg);

#endif /* MALS_QUERY_NEWS_H */
