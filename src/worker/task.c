/*
 * task.c
 *		One task for one background worker, handed over in a dynamic shared
 *		memory segment.
 *
 * The caller makes the segment, starts the worker and waits until it has
 * reported or stopped; the worker alone writes to the segment, between attaching
 * and reporting, so neither needs a lock. After the report a worker may go on
 * with what can only be done when the caller's snapshot has gone. Works without
 * shared_preload_libraries.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "alert/alert.h"
#include "partition/partition.h"
#include "worker/shared.h"
#include "worker/worker.h"

#define TASK_MAGIC 0x6d616c73 /* "mals" */

/* How many workers are tried, and how long a statement may keep them away, in milliseconds. */
#define MAX_TRIES 3
#define AWAY_TIMEOUT 5000

typedef struct Task
{
	uint32 magic;
	Oid database;
	MalsTaskKind kind;
	MalsTaskArguments arguments;

	/* written by the worker */
	volatile bool reported; /* last, after a barrier */
	bool begun;             /* it has come into the database */
	bool done;
	int64 result;
	int sqlerrcode; /* 0 unless it failed */
	char message[512];
	char hint[256];
} Task;

/* The tasks: each calls what its module has for it. */
static int64
make_partitions(const MalsTaskArguments *arguments)
{
	return mals_partition_make_span(arguments->from, arguments->to, arguments->unit);
}

static int64
premake(const MalsTaskArguments *arguments)
{
	return mals_partition_premake();
}

static int64
prune(const MalsTaskArguments *arguments)
{
	return mals_retention_run(&arguments->retention);
}

static int64
maintain_alerts(const MalsTaskArguments *arguments)
{
	return mals_alerts_maintain();
}

/* What each kind of task calls, in MalsTaskKind's order. */
static int64 (*const task_functions[])(const MalsTaskArguments *) = {
	make_partitions,
	premake,
	prune,
	maintain_alerts,
};

/* Does the task in the worker and notes its result, or its error. */
static void
perform(Task *task)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		task->result = task_functions[task->kind](&task->arguments);
		task->done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		EmitErrorReport();
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		task->sqlerrcode = error->sqlerrcode;
		strlcpy(task->message, error->message ? error->message : "", sizeof(task->message));
		strlcpy(task->hint, error->hint ? error->hint : "", sizeof(task->hint));
	}
	PG_END_TRY();
}

void
mals_task_main(Datum handle)
{
	dsm_segment *segment;
	Task *task;
	PGPROC *caller;
	bool goes_on;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "mals task");
	segment = dsm_attach(DatumGetUInt32(handle));
	if (segment == NULL)
		return; /* the caller has gone */
	dsm_pin_mapping(segment);
	task = dsm_segment_address(segment);
	if (task->magic != TASK_MAGIC)
		elog(ERROR, "mals: bad magic number in the segment of a task");

	mals_worker_connect(task->database, BGWORKER_BYPASS_ALLOWCONN);
	task->begun = true;
	SetConfigOption("lock_timeout", "5s", PGC_SUSET, PGC_S_OVERRIDE);
	goes_on = task->kind == MALS_TASK_PRUNE && !task->arguments.retention.dry_run;
	perform(task);
	goes_on = goes_on && task->done;
	pg_write_barrier();
	task->reported = true;
	dsm_detach(segment);
	caller = BackendPidGetProc(MyBgworkerEntry->bgw_notify_pid);
	if (caller != NULL)
		SetLatch(&caller->procLatch);
	if (goes_on)
		mals_retention_compact();
	pgstat_report_stat(true);
}

/*
 * Waits until the worker has reported or stopped. Where the caller is
 * cancelled, what takes long is stopped with it; partitions are made to the
 * end, which others may wait for.
 */
static void
wait_for_report(BackgroundWorkerHandle *handle, const Task *task)
{
	PG_TRY();
	{
		pid_t pid;

		while (!task->reported)
		{
			BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);

			if (status == BGWH_STOPPED)
				break;
			if (status == BGWH_POSTMASTER_DIED)
				ereport(FATAL, errcode(ERRCODE_ADMIN_SHUTDOWN),
						errmsg("postmaster died while a background worker of mals was at work"));
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		pg_read_barrier();
	}
	PG_CATCH();
	{
		if (task->kind == MALS_TASK_PRUNE)
			TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Waits while a statement keeps processes of mals out of this database (watch.c),
 * as long as a worker waits for a lock.
 */
static void
wait_while_held(void)
{
	MalsDatabase *slot = mals_database();

	for (int waited = 0; slot != NULL; waited += 20)
	{
		bool held;

		LWLockAcquire(mals_shared->lock, LW_SHARED);
		held = slot->database == MyDatabaseId && slot->holders > 0;
		LWLockRelease(mals_shared->lock);
		if (!held)
			return;
		if (waited >= AWAY_TIMEOUT)
			ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("another session keeps background workers of mals out of this database"),
					errdetail("Statements on the database or the extension itself do."),
					errhint("Try again when it has ended its transaction."));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Hands the task to a worker and waits for its report; false: none can be started. */
static bool
try_task(Task *task, dsm_segment *segment)
{
	BackgroundWorkerHandle *handle = mals_worker_start("mals task", "mals_task_main",
													   UInt32GetDatum(dsm_segment_handle(segment)));

	if (handle == NULL)
		return false;
	wait_for_report(handle, task);
	return true;
}

bool
mals_task_run(MalsTaskKind kind, const MalsTaskArguments *arguments, int64 *result)
{
	dsm_segment *segment;
	Task *task;

	if (!IsUnderPostmaster)
		return false;
	(void) mals_database(); /* the worker is noted in its slot */
	segment = dsm_create(sizeof(Task), DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment == NULL)
		return false;
	task = dsm_segment_address(segment);
	memset(task, 0, sizeof(*task));
	task->magic = TASK_MAGIC;
	task->database = MyDatabaseId;
	task->kind = kind;
	task->arguments = *arguments;

	/* whoever ends a worker on purpose does not want another one; but loggers need partitions */
	for (int tries = 0; !task->reported && tries < MAX_TRIES &&
						(!task->begun || kind == MALS_TASK_MAKE_PARTITIONS);
		 tries++)
	{
		wait_while_held();
		if (!try_task(task, segment))
		{
			dsm_detach(segment);
			return false;
		}
	}

	if (task->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		ereport(
			ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("another session holds a lock on mals.entries that keeps a background worker "
				   "out"),
			errdetail("The worker gave up after 5 seconds."),
			errhint("Find the session in pg_locks, and try again when it has ended its "
					"transaction."));
	if (task->sqlerrcode != 0)
		ereport(ERROR, errcode(task->sqlerrcode), errmsg("%s", pstrdup(task->message)),
				errdetail("The error was raised in a background worker of mals."),
				errhint("%s", task->hint[0] ? pstrdup(task->hint)
											: "See the server's log for the rest of its report."));
	if (!task->done)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("a background worker of mals stopped before its task was done"),
				errhint("See the server's log for the reason, and try again."));
	*result = task->result;
	dsm_detach(segment);
	return true;
}
