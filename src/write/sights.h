/*
 * sights.h
 *		Private header of src/write: first sights of templates.
 */
#ifndef MALS_WRITE_SIGHTS_H
#define MALS_WRITE_SIGHTS_H

#include "mals_errors.h"

#include "nodes/execnodes.h"

#include "entry/entry.h"

/*
 * Appends the template of a stored entry to mals._sights unless this backend
 * knows that it has been seen. Most calls cost one look-up in a hash table.
 */
extern void mals_sight(const MalsEntry *entry, EState *estate);

/* Registers the callbacks that keep the backend's memory true to what was committed. */
extern void mals_sights_init(void);

#endif /* MALS_WRITE_SIGHTS_H */
