/*
 * cursor.h
 *		Public: which transactions a reader of new entries has seen.
 *
 * A cursor is a snapshot that can be written down: entries that were committed
 * when it was taken are seen, and all others are new whenever they come, in
 * whatever order their transactions began. It knows top-level transactions
 * only, by their 64-bit ids; entries carry a stamp of theirs (mals_xact_stamp),
 * whichever subtransaction wrote them.
 *
 * A reader that stopped within a transaction's entries notes it and the id of
 * the last one; ids order as (ts, id) does. All transactions before that one
 * are seen, but for those that are open.
 */
#ifndef MALS_QUERY_CURSOR_H
#define MALS_QUERY_CURSOR_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

typedef struct MalsCursor
{
	uint64 next;       /* transactions from here on are not seen */
	int nopen;         /* nor are these: */
	uint64 *open;      /* ascending, all before next */
	TimestampTz taken; /* when all there was had been read; 0: some was left */
	uint64 within;     /* the transaction that was read in part, one not seen; 0: none */
	pg_uuid_t last;    /* its last entry read */
} MalsCursor;

/* Makes the cursor that has seen what a snapshot sees, but for this transaction's own doing. */
extern void mals_cursor_take(MalsCursor *cursor, Snapshot snapshot);

/* Has all of a transaction been seen? */
extern bool mals_cursor_saw(const MalsCursor *cursor, uint64 xid);

/* May there be more to see now? */
extern bool mals_cursor_behind(const MalsCursor *cursor, const MalsCursor *now);

/*
 * Makes the cursor that has seen what either of two has, of the later one only
 * transactions before a limit. It is within none, and shares no memory with them.
 */
extern void mals_cursor_advance(MalsCursor *result, const MalsCursor *cursor,
								const MalsCursor *later, uint64 limit);

/* Marks a transaction as seen that is cursor->next or open; the cursor is within it. */
extern void mals_cursor_finish(MalsCursor *cursor);

/* Writes a cursor down, palloc'd. */
extern char *mals_cursor_text(const MalsCursor *cursor);

/*
 * Reads a cursor; argname is what errors call it: 22P02 for another text, 22023
 * for a cursor of another cluster, of one that was since taken back to an
 * earlier time, or older than 2^31 transactions.
 */
extern void mals_cursor_parse(MalsCursor *cursor, const char *text, const char *argname);

#endif /* MALS_QUERY_CURSOR_H */
