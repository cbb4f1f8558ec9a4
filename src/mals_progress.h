/*
 * mals_progress.h
 *		How far long operations are, for mals.progress.
 */
#ifndef MALS_PROGRESS_H
#define MALS_PROGRESS_H

#include "mals_errors.h"

/* Begins a long operation of this session; names have up to 31 bytes. */
extern void mals_progress_begin(const char *operation);

/* Reports how much of the operation is done, of how much, in whatever unit. Costs next to nothing. */
extern void mals_progress_report(const char *phase, int64 done, int64 total);

/* Ends it; an error that ends the transaction does so, too. */
extern void mals_progress_end(void);

#endif /* MALS_PROGRESS_H */
