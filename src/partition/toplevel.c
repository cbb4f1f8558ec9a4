/*
 * toplevel.c
 *		Transactions and top-level statements of a background worker.
 *
 * DETACH PARTITION CONCURRENTLY and VACUUM commit and begin transactions
 * themselves, which needs the place that a client's statement has: not SPI, no
 * open transaction, memory that outlives one.
 *
 * DETACH CONCURRENTLY waits for all who use mals.entries, holding no lock that
 * anyone would wait for; that may take as long as a reader's transaction takes.
 * But it also takes the partition's own lock while it holds SHARE UPDATE
 * EXCLUSIVE on mals.entries, which keeps new partitions from being made: a
 * reader of the partition itself would hold up loggers that way. lock_timeout
 * cannot tell one wait from the other. So a watchdog looks at what we wait for
 * every 25 ms, and cancels the statement when it has seen a table twice.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "partition/retention.h"

#define WATCH_INTERVAL 25

static TimeoutId watchdog = MAX_TIMEOUTS;
static volatile sig_atomic_t seen = 0;   /* how often in turn we waited for a table */
static volatile sig_atomic_t barked = 0; /* the statement was cancelled for it */

/* What was current at mals_begin: results are copied there. */
static MemoryContext outer_context = NULL;

/* mals_begin found a transaction open, and leaves it so. */
static bool within = false;

/* Cancels the statement if it waits for the lock of a table. Called by a signal handler. */
static void
watch(void)
{
	LOCK *lock = MyProc->waitLock;

	if (lock == NULL || lock->tag.locktag_type != LOCKTAG_RELATION)
		seen = 0;
	else if (++seen > 2)
	{
		barked = true;
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
}

/* Sets the watchdog, and how long to wait for lockers. */
static void
begin_watch(int patience)
{
	if (watchdog == MAX_TIMEOUTS)
		watchdog = RegisterTimeout(USER_TIMEOUT, watch);
	seen = barked = 0;
	SetConfigOption("lock_timeout", psprintf("%d", patience), PGC_SUSET, PGC_S_OVERRIDE);
	enable_timeout_every(watchdog,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WATCH_INTERVAL),
						 WATCH_INTERVAL);
}

/* Calls the watchdog off; other statements wait for locks as long as they must. */
static void
end_watch(void)
{
	disable_timeout(watchdog, false);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	if (barked)
		QueryCancelPending = false;
}

void
mals_begin_as(bool repeatable)
{
	outer_context = CurrentMemoryContext;
	within = IsTransactionState();
	if (!within)
	{
		StartTransactionCommand();
		if (repeatable)
			XactIsoLevel = XACT_REPEATABLE_READ;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	mals_spi_connect();
}

void
mals_begin(void)
{
	mals_begin_as(false);
}

void
mals_commit(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	PopActiveSnapshot();
	if (!within)
		CommitTransactionCommand();
	MemoryContextSwitchTo(outer_context);
}

MemoryContext
mals_outer_context(void)
{
	return outer_context;
}

char *
mals_result(uint64 row, int column)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(outer_context, value);
}

/* Runs a utility statement as if a client had sent it. */
static void
run_utility(void *sql)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "mals utility", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old_portal = PortalContext;
	PlannedStmt *statement;
	RawStmt *raw;

	StartTransactionCommand();
	MemoryContextSwitchTo(context);
	PortalContext = context;
	PG_TRY();
	{
		raw = linitial_node(RawStmt, pg_parse_query(sql));
		statement = makeNode(PlannedStmt);
		statement->commandType = CMD_UTILITY;
		statement->canSetTag = true;
		statement->utilityStmt = raw->stmt;
		statement->stmt_location = raw->stmt_location;
		statement->stmt_len = raw->stmt_len;
		PushActiveSnapshot(GetTransactionSnapshot());
		ProcessUtility(statement, sql, false, PROCESS_UTILITY_TOPLEVEL, NULL, NULL, None_Receiver,
					   NULL);
		while (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_FINALLY();
	{
		PortalContext = old_portal;
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
}

typedef struct Call
{
	void (*function)(void *);
	void *argument;
} Call;

/* Calls a function within a transaction of its own. */
static void
run_call(void *argument)
{
	Call *call = argument;

	mals_begin();
	call->function(call->argument);
	mals_commit();
}

/* Calls a function under the watchdog; false: it was stopped for waiting too long. */
static bool
run_watched(void (*function)(void *), void *argument, int patience)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool good = true;

	begin_watch(patience);
	PG_TRY();
	{
		function(argument);
		end_watch();
	}
	PG_CATCH();
	{
		int code = geterrcode();

		MemoryContextSwitchTo(context);
		end_watch();
		/* one that we keep waiting may have what we wait for: it is let by */
		if (code != ERRCODE_LOCK_NOT_AVAILABLE && code != ERRCODE_T_R_DEADLOCK_DETECTED &&
			!(code == ERRCODE_QUERY_CANCELED && barked))
			PG_RE_THROW();
		AbortCurrentTransaction();
		FlushErrorState();
		good = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return good;
}

bool
mals_run_toplevel(const char *sql, int patience)
{
	return run_watched(run_utility, (void *) sql, patience);
}

bool
mals_run_limited(void (*function)(void *), void *argument, int patience)
{
	Call call = {function, argument};

	return run_watched(run_call, &call, patience);
}
