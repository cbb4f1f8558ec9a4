/*
 * worker.h
 *		Public header of src/worker: work that must not happen in a caller's
 *		transaction, done by background workers.
 */
#ifndef MALS_WORKER_H
#define MALS_WORKER_H

#include "mals_errors.h"

#include "datatype/timestamp.h"

/* What a worker can be asked to do; task.c has the table of functions. */
typedef enum MalsTaskKind
{
	MALS_TASK_MAKE_PARTITIONS, /* from, to, unit; result: partitions made */
} MalsTaskKind;

typedef struct MalsTaskArguments
{
	TimestampTz from;
	TimestampTz to;
	int unit; /* MalsPartitionUnit */
} MalsTaskArguments;

/*
 * Has a background worker do a task in this database and waits for its result,
 * interruptibly. Errors of the worker are raised here. Returns false if no
 * worker could be started: then nothing was done.
 */
extern bool mals_task_run(MalsTaskKind kind, const MalsTaskArguments *arguments, int64 *result);

/* The worker's entry point. */
extern PGDLLEXPORT void mals_task_main(Datum handle);

#endif /* MALS_WORKER_H */
