/*
 * write.h
 *		Public header of src/write: how finished entries become rows, in the
 *		caller's transaction or through the ring.
 */
#ifndef MALS_WRITE_H
#define MALS_WRITE_H

#include "mals_errors.h"

#include "nodes/execnodes.h"
#include "utils/relcache.h"

#include "entry/entry.h"

/*
 * A writer stores the entries of one statement. It lives in a memory context
 * of its own below the one that was current at begin. Entries may wait in it
 * until flush; an error or a (sub)transaction's abort in between takes them
 * with it.
 *
 * By mals.write_mode, it writes rows in this transaction, and then holds ROW
 * EXCLUSIVE on mals.entries and on the partitions it writes until that ends; or
 * it packs the entries as one unit, which goes to the database's writer process
 * when it is closed.
 */
typedef struct MalsWriter MalsWriter;

/* Opens a writer; what names the call for errors. Raises 42501, 25006 or 55000. */
extern MalsWriter *mals_writer_begin(const char *what);

/* Opens one that writes rows, whatever mals.write_mode is. */
extern MalsWriter *mals_writer_begin_rows(const char *what);

/* Whether entries that are added come from a sender that may know of its own agents' only. */
extern void mals_writer_bind(MalsWriter *writer, bool bound);

/* Finishes an entry; false if it is filtered out, or its agent may not log so much. */
extern bool mals_write_accept(MalsEntry *entry);

/*
 * Takes an entry, which is copied. Returns false if its id is stored already:
 * then nothing is written, and entry->id is
 * the stored entry's id. The entry's id may be changed where it clashes with
 * one that the caller must not know of.
 */
extern bool mals_writer_add(MalsWriter *writer, MalsEntry *entry);

/* What became of entries that were added, where it is known only at the end. */
typedef struct MalsWritten
{
	bool known;        /* else what mals_writer_add said holds */
	uint32 duplicates; /* entries that were stored already */
	pg_uuid_t id;      /* of the last entry */
} MalsWritten;

/* Flushes and closes a writer. */
extern MalsWritten mals_writer_end(MalsWriter *writer);

/* Waits until all that sessions of this database have logged before is written. */
extern void mals_write_flush(const char *what);

/* Values of mals.write_mode. */
typedef enum MalsWriteMode
{
	MALS_WRITE_TRANSACTIONAL,
	MALS_WRITE_AUTONOMOUS,
	MALS_WRITE_ASYNC,
} MalsWriteMode;

/*
 * In a server that is being upgraded: carries out a statement of the dump that
 * the server itself would refuse, and tells whether it did.
 */
extern bool mals_upgrade_utility(Node *statement);

/* Raises 55000 if a relation of mals has fewer columns than this version of mals writes. */
extern void mals_check_columns(Relation rel, int columns);

/*
 * Appends a row to a table of mals's own, whatever the caller may do. Columns
 * after those given, which a later version of the extension has added, are NULL.
 */
extern void mals_write_row(Oid relation, int columns, const Datum *values, const bool *isnull);

/*
 * Writes the rows of a query into a table of the same layout that this very
 * transaction has made. Every snapshot sees them, as those that COPY FREEZE
 * writes. Returns how many. The caller has called SPI_connect.
 */
extern int64 mals_write_frozen(Oid table, const char *query);

extern void mals_write_init(void);

/* Writes the rows of INSERTs into the views that an executor has not run to their end. */
extern void mals_write_finish(EState *estate);

/* Shared memory: the area of the rings (ring.c), buckets of limits (limit.c). */
extern Size mals_ring_area_size(void);
extern void mals_ring_area_startup(void);
extern Size mals_limit_size(void);
extern void mals_limit_startup(void);

/* capture.c: makes an entry of a message that is on its way to the server's log. */
extern void mals_capture(ErrorData *message);

/* The process that writes what sessions put into a database's ring (drain.c). */
extern PGDLLEXPORT void mals_writer_main(Datum database);

#endif /* MALS_WRITE_H */
