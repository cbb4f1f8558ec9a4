/*
 * unit.h
 *		Private header of src/write: units of entries, as they go through the
 *		ring; and capture.c's messages, which become entries in the writer.
 */
#ifndef MALS_WRITE_UNIT_H
#define MALS_WRITE_UNIT_H

#include "mals_errors.h"

#include "entry/entry.h"
#include "write/ring.h"
#include "write/write.h"

/* The entries of one statement, on their way to the ring. */
typedef struct MalsUnit MalsUnit;

/*
 * Begins a unit, in the current memory context; awaited: until it is durable.
 * Raises 55000 if there is no ring. what names the call for errors.
 */
extern MalsUnit *mals_unit_begin(const char *what, bool awaited);

/* Adds an entry, which is copied; bound: its sender may know of its agents' entries only. */
extern void mals_unit_add(MalsUnit *unit, const MalsEntry *entry, bool bound);

/*
 * Puts the unit into the ring, unless it is empty, and waits for its outcome if
 * it is awaited; an error of the writer is raised here.
 */
extern MalsWritten mals_unit_send(MalsUnit *unit);

/* Reads an entry; it points into the unit. Returns what follows it. */
extern const char *mals_unit_read(const char *data, MalsEntry *entry);

/* capture.c: makes an entry, not yet finished, of a captured message. */
extern void mals_message_read(const char *data, MalsEntry *entry);

#endif /* MALS_WRITE_UNIT_H */
