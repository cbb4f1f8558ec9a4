/*
 * database.c
 *		The worker of one database: does each job of jobs.c when it is due, and
 *		sleeps in between, without a query, for as long as nothing is.
 *
 * A transaction that waits for a lock uses up what sets the latch meanwhile. So
 * the latch is set again after each, and the worker sleeps only after it has
 * looked for work and found none.
 *
 * It exits when the extension is gone, when settings of the database change
 * (the launcher starts it again, with the new ones), and when it is told to.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "worker/jobs.h"
#include "worker/worker.h"

/* The longest wait before a job that failed is tried again, in milliseconds. */
#define MAX_BACKOFF 60000

/* How long to wait where max_worker_processes leaves no place, in milliseconds. */
#define NO_PLACE_DELAY 5000

/* What the worker knows of a job; in TopMemoryContext. */
typedef struct Schedule
{
	TimestampTz due; /* DT_NOEND: when work comes */
	int failures;    /* in a row */
	BackgroundWorkerHandle *aside;
} Schedule;

static MalsDatabase *slot;
static Schedule *schedules;

/*
 * Takes the worker out of its slot and tells the launcher. Jobs aside end too:
 * the next worker begins them anew, with the settings that it has.
 */
static void
leave(int code, Datum arg)
{
	for (int i = 0; schedules != NULL && i < mals_njobs; i++)
	{
		if (schedules[i].aside != NULL)
			TerminateBackgroundWorker(schedules[i].aside);
	}
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	if (slot->worker == MyProcPid)
	{
		slot->worker = 0;
		slot->worker_proc = -1;
		slot->extension = false;
	}
	mals_wake_process(mals_shared->launcher_proc);
	LWLockRelease(mals_shared->lock);
}

/* Puts the worker into its slot; exits if there is another. */
static void
enter(void)
{
	bool entered = false;

	before_shmem_exit(leave, (Datum) 0);
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	if (slot->wanted && slot->worker == 0)
	{
		slot->worker = MyProcPid;
		slot->worker_proc = (int) (MyProc - ProcGlobal->allProcs);
		entered = true;
	}
	LWLockRelease(mals_shared->lock);
	if (!entered)
		proc_exit(0);
}

/* Looks whether the database has the extension; exits if not. */
static void
check_extension(void)
{
	uint32 asked = slot->asked;
	bool found;

	StartTransactionCommand();
	found = OidIsValid(get_extension_oid("mals", true));
	CommitTransactionCommand();
	SetLatch(MyLatch);

	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	slot->extension = found;
	/* one that was made meanwhile has asked for another look */
	if (!found && slot->asked == asked)
		slot->wanted = false;
	else if (!found)
		slot->failures = -1;
	mals_wake_process(mals_shared->launcher_proc);
	LWLockRelease(mals_shared->lock);
	if (!found)
	{
		mals_ring_stop(&slot->ring, true);
		proc_exit(0);
	}
}

/* Makes way for another worker: one with the settings as they are now, or after a statement. */
static void
start_again(void)
{
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	slot->failures = -1;
	LWLockRelease(mals_shared->lock);
	proc_exit(0);
}

/* Plans a job's next turn after one that went well or not. */
static void
plan_next(int job, bool ok)
{
	Schedule *schedule = &schedules[job];
	int64 every = mals_jobs[job].every * USECS_PER_SEC;
	TimestampTz due;
	TimestampTz now;

	ok = ok && mals_job_next(job, &due);
	now = GetCurrentTimestamp();
	schedule->failures = ok ? 0 : schedule->failures + 1;
	if (!ok)
		due = now + Min(1000L << Min(schedule->failures - 1, 16), MAX_BACKOFF) * 1000;
	else if (every > 0)
		due = Min(due, now - now % every + every);
	schedule->due = Min(schedule->due, due);
	SetLatch(MyLatch);
}

/* Makes jobs due that have work. */
static void
note_work(uint32 work)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < mals_njobs; i++)
		if (work & mals_jobs[i].work)
			schedules[i].due = Min(schedules[i].due, now + mals_jobs[i].delay * INT64CONST(1000));
}

/*
 * Does what the worker was woken for, and makes jobs due that have work. That
 * is left marked until one of them begins: so those who commit more of it until
 * then need not wake the worker.
 */
static void
look_for_work(void)
{
	uint32 wake = pg_atomic_exchange_u32(&slot->wake, 0);

	if (wake & MALS_WAKE_RESTART)
		start_again();
	if (wake & MALS_WAKE_CHECK)
		check_extension();
	for (int i = 0; (wake & MALS_WAKE_JOBS) && i < mals_njobs; i++)
		schedules[i].due = GetCurrentTimestamp();
	note_work(pg_atomic_read_u32(&slot->work));
}

/* Takes the work for a job that begins: what is committed from here on makes it due again. */
static void
take_work(int job)
{
	uint32 work = mals_jobs[job].work;

	if (work != 0)
		note_work(pg_atomic_fetch_and_u32(&slot->work, ~work) & work);
	schedules[job].due = DT_NOEND;
}

/* Plans the next turns of jobs aside that have ended. */
static void
look_aside(void)
{
	for (int i = 0; i < mals_njobs; i++)
	{
		pid_t pid;
		bool ok;

		if (schedules[i].aside == NULL ||
			GetBackgroundWorkerPid(schedules[i].aside, &pid) != BGWH_STOPPED)
			continue;
		pfree(schedules[i].aside);
		schedules[i].aside = NULL;
		ok = (pg_atomic_read_u32(&slot->failed) & ((uint32) 1 << i)) == 0;
		if (!ok)
			check_extension();
		plan_next(i, ok);
	}
}

/* Starts a job aside. */
static void
start_aside(int job)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	int number = (int) (slot - mals_shared->databases);

	take_work(job);
	pg_atomic_fetch_or_u32(&slot->failed, (uint32) 1 << job);
	schedules[job].aside =
		mals_worker_start("mals job", "mals_job_main", Int32GetDatum(number * 256 + job));
	MemoryContextSwitchTo(old);
	if (schedules[job].aside == NULL)
		schedules[job].due = GetCurrentTimestamp() + NO_PLACE_DELAY * INT64CONST(1000);
}

/* Does the jobs that are due. Returns the milliseconds to the next one, or -1. */
static long
do_jobs(MemoryContext scratch)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < mals_njobs; i++)
	{
		if (schedules[i].aside == NULL && schedules[i].due <= GetCurrentTimestamp())
		{
			if (mals_jobs[i].aside)
				start_aside(i);
			else
			{
				bool ok;

				take_work(i);
				ok = mals_job_run(i);
				plan_next(i, ok);
				MemoryContextSwitchTo(scratch);
				MemoryContextReset(scratch);
				CHECK_FOR_INTERRUPTS();
				if (!ok)
				{
					/* maybe because the extension is gone */
					check_extension();
					return 0;
				}
			}
		}
		if (schedules[i].aside == NULL)
			next = Min(next, schedules[i].due);
	}
	if (next == DT_NOEND)
		return -1;
	return Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next), INT_MAX);
}

void
mals_database_main(Datum database)
{
	MemoryContext scratch;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	mals_worker_connect(DatumGetObjectId(database), 0);
	slot = mals_database_peek();
	if (slot == NULL)
		proc_exit(0);
	enter();
	check_extension();

	schedules = MemoryContextAllocZero(TopMemoryContext, mals_njobs * sizeof(Schedule));
	for (int i = 0; i < mals_njobs; i++)
		schedules[i].due = GetCurrentTimestamp();
	scratch = AllocSetContextCreate(TopMemoryContext, "mals worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	for (;;)
	{
		long delay;

		ResetLatch(MyLatch);
		if (ProcDiePending)
			start_again();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		look_for_work();
		look_aside();
		delay = do_jobs(scratch);
		slot->failures = 0;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (delay >= 0 ? WL_TIMEOUT : 0), delay,
						 PG_WAIT_EXTENSION);
	}
}

/* A job in a process of its own; the argument tells the slot and the job. */
void
mals_job_main(Datum argument)
{
	int job = DatumGetInt32(argument) % 256;
	Oid database;

	slot = &mals_shared->databases[DatumGetInt32(argument) / 256];
	database = slot->database;
	if (!OidIsValid(database))
		proc_exit(0); /* the extension, or the database, was dropped meanwhile */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	mals_worker_connect(database, 0);
	MemoryContextSwitchTo(
		AllocSetContextCreate(TopMemoryContext, "mals job", ALLOCSET_DEFAULT_SIZES));
	if (mals_job_run(job))
		pg_atomic_fetch_and_u32(&slot->failed, ~((uint32) 1 << job));
}
