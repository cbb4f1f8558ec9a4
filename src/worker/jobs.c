/*
 * jobs.c
 *		What a database's worker does: the table of jobs, and how one is run.
 *
 * A job does what users can have done by mals_maintain(), only in time. Each
 * runs in transactions of its own. A new job is one entry in the table.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "alert/alert.h"
#include "group/fold.h"
#include "mals_spi.h"
#include "worker/jobs.h"
#include "worker/worker.h"

/* How long an empty database is left to a dump that is restored, in microseconds. */
#define RESTORE_TIME (10 * 60 * USECS_PER_SEC)

/* A run of a job. */
typedef struct Run
{
	const MalsJob *job;
	TimestampTz started;
	int64 result;
	char *error; /* NULL: it went well */
	TimestampTz next;
} Run;

/* Calls a function in a transaction, connected to SPI. */
static int64
in_transaction(int64 (*function)(void))
{
	int64 result;

	StartTransactionCommand();
	mals_spi_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	result = function();
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	return result;
}

/* Takes over first sights of messages, and merges templates that are one event. */
static int64
fold(void)
{
	return mals_fold_sights() + mals_regroup(false);
}

static int64
run_templates(void)
{
	return in_transaction(fold);
}

/* Sums up samples of metrics. */
static int64
fold_metrics(void)
{
	return mals_run_int64("SELECT mals._fold_metrics()");
}

static int64
run_metrics(void)
{
	return in_transaction(fold_metrics);
}

/* Counts entries by agent and level. */
static int64
count_entries(void)
{
	return mals_run_int64("SELECT mals._count_entries()");
}

static int64
run_totals(void)
{
	return in_transaction(count_entries);
}

/*
 * Makes partitions ahead; but where there is none yet, or some are still to be
 * attached, only after a while: a dump may be about to be restored, whose
 * partitions these would stand in the way of.
 */
static int64
run_premake(void)
{
	static TimestampTz begin = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (begin == 0)
		begin = mals_partition_settled() ? now : now + RESTORE_TIME;
	return now >= begin ? mals_partition_premake() : 0;
}

/* Removes what is due, as far as nobody is in the way for long. */
static int64
run_retention(void)
{
	MalsRetention request = {
		.at = GetCurrentTimestamp(), .before = DT_NOEND, .patience = MALS_PATIENCE};
	int64 removed = mals_retention_run(&request);

	mals_retention_compact();
	return removed;
}

/* Clears the tables beside the entries. */
static int64
expire(void)
{
	return mals_run_int64("SELECT mals._expire()");
}

static int64
run_expire(void)
{
	return in_transaction(expire);
}

const MalsJob mals_jobs[] = {
	{"premake", 600, 0, 0, false, run_premake, NULL},
	{"retention", 600, 0, 0, true, run_retention, mals_retention_due},
	{"expire", 3600, 0, 0, false, run_expire, NULL},
	{"metrics", 0, MALS_WORK_METRICS, 5000, false, run_metrics, NULL},
	{"templates", 0, MALS_WORK_ENTRIES, 10000, false, run_templates, NULL},
	{"totals", 0, MALS_WORK_ENTRIES, 60000, true, run_totals, NULL},
	{"alerts", 0, MALS_WORK_ENTRIES | MALS_WORK_ALERTS, 1000, false, mals_alerts_turn,
	 mals_alerts_due},
	{"deliver", 0, MALS_WORK_DELIVERIES, 0, true, mals_alerts_deliver, mals_delivery_due},
};

const int mals_njobs = lengthof(mals_jobs);

/* The step that does a job. */
static void
do_job(Run *run)
{
	run->result = run->job->run();
}

/* The step that keeps a job's outcome. */
static void
keep_outcome(Run *run)
{
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID};
	Datum args[4];

	StartTransactionCommand();
	mals_spi_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	args[0] = CStringGetTextDatum(run->job->name);
	args[1] = TimestampTzGetDatum(run->started);
	args[2] = Int64GetDatum(run->result);
	args[3] = run->error ? CStringGetTextDatum(run->error) : (Datum) 0;
	SPI_execute_with_args("SELECT mals._note_job($1, $2, $3, $4)", 4, types, args,
						  run->error ? "    " : "   n", false, 0);
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
}

/* The step that asks a job when it is due. */
static void
ask_next(Run *run)
{
	StartTransactionCommand();
	mals_spi_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	run->next = run->job->next();
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
}

/* Says in errors where they come from. */
static void
add_context(void *run)
{
	errcontext("job \"%s\" of mals in database \"%s\"", ((Run *) run)->job->name,
			   mals_worker_database);
}

/* Takes a step and reports its error. Returns its message, or NULL. */
static char *
attempt(void (*step)(Run *), Run *run)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback = {error_context_stack, add_context, run};
	char *volatile message = NULL;

	PG_TRY();
	{
		error_context_stack = &callback;
		step(run);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		MemoryContextSwitchTo(context);
		message = CopyErrorData()->message;
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(context);
	return message;
}

bool
mals_job_run(int job)
{
	Run run = {&mals_jobs[job], GetCurrentTimestamp(), 0, NULL, DT_NOEND};
	bool kept;

	pgstat_report_activity(STATE_RUNNING, mals_jobs[job].name);
	run.error = attempt(do_job, &run);
	kept = attempt(keep_outcome, &run) == NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return run.error == NULL && kept;
}

bool
mals_job_next(int job, TimestampTz *due)
{
	Run run = {&mals_jobs[job], 0, 0, NULL, DT_NOEND};
	bool ok = run.job->next == NULL || attempt(ask_next, &run) == NULL;

	*due = run.next;
	return ok;
}
