/*
 * retention.h
 *		Private header of src/partition: removing entries whose time has come.
 */
#ifndef MALS_RETENTION_H
#define MALS_RETENTION_H

#include "mals_errors.h"

#include "datatype/timestamp.h"

#include "mals_spi.h"
#include "partition/partition.h"

/* A partition that may have to go, as mals._judge sees it. */
typedef struct MalsJudged
{
	Oid oid;
	char *name;  /* qualified and quoted */
	bool whole;  /* all that it can hold is due by its time */
	bool closed; /* its time has passed */
	char *basis; /* what it was judged by */
	bool kept;   /* not all of it was due, after all */
} MalsJudged;

/* What became of a removal. */
typedef enum MalsRemoval
{
	MALS_DETACHED, /* nobody sees it any more, but it is there */
	MALS_REMOVED,
	MALS_KEPT,       /* not all of it is due, after all */
	MALS_UNFINISHED, /* others are in the way; the next turn goes on */
} MalsRemoval;

/*
 * toplevel.c: transactions and statements of a background worker that is in no
 * transaction. In one, mals_begin and mals_commit only open and close SPI.
 */
extern void mals_begin(void);
extern void mals_begin_as(bool repeatable); /* or with one snapshot for all statements */
extern void mals_commit(void);

/*
 * Gives a column of a row of the last result (see mals_spi.h) as text in the
 * context that was current at mals_begin; NULL if it is null.
 */
extern char *mals_result(uint64 row, int column);

/*
 * Runs a statement that makes transactions of its own. It waits for lockers of
 * tables, which holds nobody up, as long as patience says (in milliseconds; 0:
 * for ever), and for locks on tables no longer than some 75 ms. Returns false if
 * one of these was too long; other errors are raised.
 */
extern bool mals_run_toplevel(const char *sql, int patience);

/* Calls a function between mals_begin and mals_commit, under the same limits. */
extern bool mals_run_limited(void (*function)(void *), void *argument, int patience);

/* The context that was current at mals_begin. */
extern MemoryContext mals_outer_context(void);

/* retention.c: the arguments that mals._due and mals._judge begin with. */
extern char *mals_rules(const MalsRetention *request);

/* remove.c */

/* The SQL condition that an entry e is due. Within mals_begin and mals_commit. */
extern char *mals_due_condition(const MalsRetention *request);

/*
 * Removes partitions: archives and detaches each, makes sure that all in it is
 * due (unless the reason is its size), and drops it; or notes that it is kept.
 * Adds the entries that went to *removed. Returns false if others are in the
 * way: the next turn goes on.
 */
extern bool mals_remove(const MalsRetention *request, MalsJudged *partitions, int count,
						const char *reason, int64 *removed);

/* Goes on with the removals that were interrupted. Returns false if one still is. */
extern bool mals_remove_leftovers(const MalsRetention *request, int64 *removed);

/* sift.c */

/* Deletes the due entries of a partition. Returns whether all of them are gone. */
extern bool mals_sift(const MalsRetention *request, const MalsJudged *partition, int64 *removed);

/* Waits until no snapshot sees what was deleted before. For mals_run_limited. */
extern void mals_wait_for_snapshots(void *unused);

/* compact.c: gives back the space of deleted entries, if that is worth it. */
extern void mals_compact(Oid partition, char *name);

#endif /* MALS_RETENTION_H */
