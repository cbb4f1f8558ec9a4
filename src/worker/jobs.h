/*
 * jobs.h
 *		Private header of src/worker: what a database's worker does, as a table, see
 *		jobs.c.
 */
#ifndef MALS_JOBS_H
#define MALS_JOBS_H

#include "mals_errors.h"

#include "datatype/timestamp.h"

#include "worker/shared.h"

typedef struct MalsJob
{
	const char *name;
	int every;          /* seconds after which it is due again whatever happened; 0: never */
	uint32 work;        /* MALS_WORK_… that makes it due */
	int delay;          /* milliseconds it then waits, for more to come */
	bool aside;         /* may take long: in a process of its own */
	int64 (*run)(void); /* called outside a transaction; returns how much was done */

	/*
	 * When it is due by itself, asked after each turn in a transaction that is
	 * connected to SPI; DT_NOEND: never. NULL: every says all.
	 */
	TimestampTz (*next)(void);
} MalsJob;

extern const MalsJob mals_jobs[];
extern const int mals_njobs;

/*
 * Runs a job and keeps its outcome in mals._jobs; an error is caught, reported
 * to the server's log and kept too. Called outside a transaction, with a
 * memory context that may be reset after. Returns whether it went well.
 */
extern bool mals_job_run(int job);

/* Asks a job when it is due by itself, likewise. Returns whether that went well. */
extern bool mals_job_next(int job, TimestampTz *due);

#endif /* MALS_JOBS_H */
