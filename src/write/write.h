/*
 * write.h
 *		Public header of src/write: how finished entries become rows.
 */
#ifndef MALS_WRITE_H
#define MALS_WRITE_H

#include "mals_errors.h"

#include "nodes/nodes.h"

#include "entry/entry.h"

/*
 * A writer stores the entries of one statement. It lives in a memory context
 * of its own below the one that was current at begin, and holds ROW EXCLUSIVE
 * on mals.entries and on the partitions it writes until the transaction ends.
 * Entries may wait in it until flush; an error or a (sub)transaction's abort
 * in between takes them with it.
 */
typedef struct MalsWriter MalsWriter;

/* Opens a writer; what names the call for errors. Raises 42501 or 25006. */
extern MalsWriter *mals_writer_begin(const char *what);

/*
 * Takes an entry, which is copied. Returns false if its id is stored already:
 * then nothing is written, and entry->id is
 * the stored entry's id. The entry's id may be changed where it clashes with
 * one that the caller must not know of.
 */
extern bool mals_writer_add(MalsWriter *writer, MalsEntry *entry);

/* Writes what waits; checks for interrupts. */
extern void mals_writer_flush(MalsWriter *writer);

/* Flushes and closes a writer. */
extern void mals_writer_end(MalsWriter *writer);

/*
 * In a server that is being upgraded: carries out a statement of the dump that
 * the server itself would refuse, and tells whether it did.
 */
extern bool mals_upgrade_utility(Node *statement);

/* Appends a row to a table of mals's own, whatever the caller may do. */
extern void mals_write_row(Oid relation, const Datum *values, const bool *isnull);

extern void mals_write_init(void);

#endif /* MALS_WRITE_H */
