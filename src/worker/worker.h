/*
 * worker.h
 *		Public header of src/worker: work that must not happen in a caller's
 *		transaction, done by background workers.
 */
#ifndef MALS_WORKER_H
#define MALS_WORKER_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "nodes/plannodes.h"
#include "postmaster/bgworker.h"

#include "partition/partition.h"

/* What a worker can be asked to do; task.c has the table of functions. */
typedef enum MalsTaskKind
{
	MALS_TASK_MAKE_PARTITIONS, /* from, to, unit; result: partitions made */
	MALS_TASK_PREMAKE,         /* result: partitions made */
	MALS_TASK_PRUNE,           /* retention; result: entries removed */
	MALS_TASK_ALERTS,          /* result: alerts that fired */
} MalsTaskKind;

typedef struct MalsTaskArguments
{
	TimestampTz from;
	TimestampTz to;
	int unit; /* MalsPartitionUnit */
	MalsRetention retention;
} MalsTaskArguments;

/*
 * Has a background worker do a task in this database and waits for its result,
 * interruptibly. Errors of the worker are raised here. Returns false if no
 * worker could be started: then nothing was done.
 */
extern bool mals_task_run(MalsTaskKind kind, const MalsTaskArguments *arguments, int64 *result);

/*
 * Starts a dynamic background worker that runs a function of this library;
 * this process is notified when it starts and stops. NULL if there is no slot
 * for one (max_worker_processes). The handle is in the current memory context.
 */
extern BackgroundWorkerHandle *mals_worker_start(const char *type, const char *function,
												 Datum argument);

/*
 * Connects a background worker to a database as the bootstrap superuser, with
 * search_path pinned and none of that role's settings, and notes it among the database's processes. Exits where
 * a statement keeps mals away from the database (DROP DATABASE and its like).
 * Flags are BGWORKER_BYPASS_….
 */
extern void mals_worker_connect(Oid database, uint32 flags);

/* The name of the database that this process is connected to by mals_worker_connect. */
extern char mals_worker_database[NAMEDATALEN];

/* Around each utility statement: what it means for the workers (watch.c). */
extern void mals_watch_before(PlannedStmt *statement);
extern void mals_watch_after(PlannedStmt *statement);

/* How long maintenance waits for readers before it removes a partition, in milliseconds. */
#define MALS_PATIENCE 5000

extern void mals_watch_init(void);
extern void mals_launcher_init(void);

/* The workers' entry points. */
extern PGDLLEXPORT void mals_launcher_main(Datum unused);
extern PGDLLEXPORT void mals_database_main(Datum database);
extern PGDLLEXPORT void mals_job_main(Datum argument);
extern PGDLLEXPORT void mals_task_main(Datum handle);

#endif /* MALS_WORKER_H */
