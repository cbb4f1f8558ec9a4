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
 * The caller has no lock on mals.entries that conflicts with SHARE UPDATE
 * EXCLUSIVE, or one that includes it, and has not opened mals.entries: a table
 * in use cannot be altered in place. Raises 55000 if the partition could not be
 * made.
 */
extern MalsPlace mals_partition_make(TimestampTz ts);

/*
 * In the current transaction, makes the partition that holds *ts unless it is
 * there, and moves *ts to that partition's end. unit is a MalsPartitionUnit.
 * Returns whether one was made. Takes SHARE UPDATE EXCLUSIVE on mals.entries.
 */
extern bool mals_partition_create_next(TimestampTz *ts, int unit);

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

#endif /* MALS_PARTITION_H */
