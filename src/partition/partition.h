/*
 * partition.h
 *		Public header of src/partition: where entries of a time are stored.
 */
#ifndef MALS_PARTITION_H
#define MALS_PARTITION_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "utils/relcache.h"

/* Oid of a relation of schema mals; raises 55000 if it is not there. */
extern Oid mals_relation_oid(const char *name);

/* A partition, or the gap between two, that holds a time. */
typedef struct MalsPlace
{
	Oid partition;    /* InvalidOid: a gap */
	TimestampTz from; /* inclusive; DT_NOBEGIN: unbounded */
	TimestampTz to;   /* exclusive; DT_NOEND: unbounded */
} MalsPlace;

/* Finds the place of a time. entries is mals.entries, opened and locked by the caller. */
extern MalsPlace mals_partition_find(Relation entries, TimestampTz ts);

typedef struct MalsRange
{
	MalsPlace place;
	bool detaching; /* nobody reads or writes it as a part of mals.entries any more */
} MalsRange;

/*
 * Lists all partitions by time, palloc'd, with those that are being detached.
 * entries is mals.entries, opened and locked by the caller.
 */
extern MalsRange *mals_partition_list(Relation entries, int *count);

/*
 * Lists where partitions begin after from and before to, in ascending order,
 * without the very first partition. Returns how many.
 */
extern int mals_partition_edges(TimestampTz from, TimestampTz to, TimestampTz **edges);

/*
 * Tells whether entries of a time can be stored at it: the partition is there,
 * or may be made within mals.max_partitions and what one statement may make.
 */
extern bool mals_partition_available(TimestampTz ts);

/*
 * Makes the partition that holds a time, unless it is there: in a transaction
 * of a background worker's, or, where no worker can be had, in the caller's.
 * The partition is InvalidOid if there is one that is being removed.
 * The caller has no lock on mals.entries that conflicts with SHARE UPDATE
 * EXCLUSIVE, or one that includes it, and has not opened mals.entries: a table
 * in use cannot be altered in place. Raises 55000 if the partition could not be
 * made.
 */
extern MalsPlace mals_partition_make(TimestampTz ts);

/* Chooses the name of a partition that begins at a time. */
extern char *mals_partition_name(TimestampTz from);

/* SQL: mals_make_partitions(from_ts, to_ts). */
extern Datum mals_make_partitions(PG_FUNCTION_ARGS);

/*
 * Archives the entries of a partition, attached or not, or those that meet an
 * SQL condition on its columns (alias e), as of now. Returns whether none of
 * them is lost when they are removed; entries is how many were written: 0 if
 * there were none or mals.archive_directory is not set. Where it failed it says
 * so in a warning and, if the current transaction commits, in mals_health until
 * it works; then nothing may be removed. No one should write what is archived
 * meanwhile. Runs SQL as the current user, who must be able to read past row
 * security.
 */
pg_nodiscard extern bool mals_partition_archive(Oid partition, const char *condition,
												int64 *entries);

/* The longest age that a policy gives, in microseconds, INT64_MAX for ever; 0 if there are none. */
extern int64 mals_policy_longest(void);

/* Raises 22023 for an age that entries can't have: up to zero, or over 1000 years. */
extern void mals_check_age(const char *argument, Datum age);

/* What entries are to be removed. */
typedef struct MalsRetention
{
	TimestampTz at;     /* "now" */
	TimestampTz before; /* entries before it are due; DT_NOEND: as the policies say */
	bool thorough;      /* every due entry, at once; else what is worth it */
	bool dry_run;       /* only count them */
	int patience; /* in a worker: how long to wait for readers, in milliseconds; 0: for ever */
} MalsRetention;

/*
 * Removes due entries, and partitions beyond mals.max_size; returns how many
 * entries went. For a background worker that is in no transaction: makes its
 * own. Does nothing if another session does it, unless thorough.
 */
extern int64 mals_retention_run(const MalsRetention *request);

/* When to go on with removals that were begun; DT_NOEND: there are none. For a job. */
extern TimestampTz mals_retention_due(void);

/* Then gives back the space of entries that were deleted one by one, where it is worth it. */
extern void mals_retention_compact(void);

/* Tells whether this transaction has used mals.entries: a worker might have to wait for it. */
extern bool mals_partition_in_use(void);

/*
 * Has a background worker do that. If none can be had, does some of it in place;
 * if this transaction has used mals.entries, deletes what is due.
 */
extern int64 mals_retention_ask(const MalsRetention *request);

/*
 * Keeps others from removing entries, to the end of the transaction, or of the
 * session. Returns false if another session removes entries and wait is false.
 */
extern bool mals_removal_lock(bool session, bool wait);
extern void mals_removal_unlock(void);

/*
 * Makes the partitions of [from, to), or the current one and mals.premake more,
 * each in a transaction of its own; to be called outside of one. Return how many.
 */
extern int64 mals_partition_make_span(TimestampTz from, TimestampTz to, int unit);
extern int64 mals_partition_premake(void);

/*
 * Tells whether there are partitions, and no tables that look as if they were to
 * become some, as they do while a dump is restored. To be called outside of a
 * transaction.
 */
extern bool mals_partition_settled(void);

#endif /* MALS_PARTITION_H */
