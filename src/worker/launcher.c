/*
 * launcher.c
 *		Keeps one worker running in every database that has the extension, and
 *		a writer in each whose sessions have put something into its ring.
 *
 * The launcher looks at all databases once, when it starts or its settings
 * change; after that it is told of new ones by the sessions that make them
 * (watch.c). Only a worker that has connected can tell whether a database has
 * the extension, so to look is to start one: it exits if there is none. A
 * worker that fails is started again after 1 second, then 2, up to 60.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "worker/shared.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mals_worker_trouble);

/* Workers that may look for the extension at once. */
#define MAX_LOOKING 2

/* The longest wait before a worker that failed is started again, in milliseconds. */
#define MAX_BACKOFF 60000

/* Failures in a row that mals_health tells of. */
#define MIN_FAILURES 3

/* How long to wait where max_worker_processes leaves no place, in milliseconds. */
#define NO_PLACE_DELAY 5000

/* Workers started and not seen to have stopped, by slot; in TopMemoryContext. */
static BackgroundWorkerHandle *handles[MALS_MAX_DATABASES];

/* Writers likewise, and when each was last started. */
static BackgroundWorkerHandle *writers[MALS_MAX_DATABASES];
static TimestampTz writers_started[MALS_MAX_DATABASES];

/* Databases that wait to be looked at; in TopMemoryContext. */
static List *waiting = NIL;

/* Lets another process be the launcher. */
static void
leave(int code, Datum arg)
{
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	if (mals_shared->launcher_proc == (int) (MyProc - ProcGlobal->allProcs))
		mals_shared->launcher_proc = -1;
	LWLockRelease(mals_shared->lock);
}

/* Tells whether mals.databases names a database, or none. */
static bool
is_listed(const char *name)
{
	char *text = pstrdup(mals_databases);
	List *names;
	ListCell *cell;

	if (!SplitIdentifierString(text, ',', &names) || names == NIL)
		return true;
	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Tells whether a worker may run in a database. */
static bool
is_allowed(Form_pg_database form)
{
	const char *name = NameStr(form->datname);

	/*
	 * A connection to a template would be in the way of CREATE DATABASE; a
	 * DROP DATABASE that was interrupted leaves a database that is invalid.
	 */
	return form->datallowconn && form->datconnlimit != DATCONNLIMIT_INVALID_DB &&
		   !form->datistemplate && strcmp(name, "template1") != 0 && is_listed(name);
}

/* Lists the databases that there are, and those where a worker may run. */
static void
list_databases(List **all, List **allowed)
{
	MemoryContext context = CurrentMemoryContext;
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		MemoryContextSwitchTo(context);
		*all = lappend_oid(*all, form->oid);
		if (mals_worker_enabled && is_allowed(form))
			*allowed = lappend_oid(*allowed, form->oid);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	/* if it had to wait, what was told meanwhile has not set the latch for good */
	SetLatch(MyLatch);
	MemoryContextSwitchTo(context);
}

/* Ends what runs in a database where nothing may run, or for good where it is gone. */
static void
dismiss(MalsDatabase *slot, bool gone)
{
	slot->wanted = false;
	if (slot->worker != 0)
		kill(slot->worker, SIGTERM);
	if (gone)
	{
		slot->asked++;
		mals_ring_stop(&slot->ring, true);
	}
}

/* Takes in what sessions have told. */
static void
take_news(void)
{
	Oid news[lengthof(mals_shared->news)];
	Oid slots[MALS_MAX_DATABASES];
	int nnews;
	bool look_at_all;
	List *all = NIL;
	List *allowed = NIL;
	MemoryContext old;

	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	look_at_all = mals_shared->look_at_all;
	nnews = mals_shared->nnews;
	memcpy(news, mals_shared->news, nnews * sizeof(Oid));
	mals_shared->look_at_all = false;
	mals_shared->nnews = 0;
	/* before the look at what there is: later ones may be of databases made after that */
	for (int i = 0; i < MALS_MAX_DATABASES; i++)
		slots[i] = mals_shared->databases[i].database;
	LWLockRelease(mals_shared->lock);
	if (!look_at_all && nnews == 0)
		return;

	list_databases(&all, &allowed);
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];

		if (OidIsValid(slots[i]) && slot->database == slots[i] &&
			!list_member_oid(allowed, slots[i]))
			dismiss(slot, !list_member_oid(all, slots[i]));
	}
	LWLockRelease(mals_shared->lock);

	old = MemoryContextSwitchTo(TopMemoryContext);
	if (look_at_all)
		waiting = list_concat_unique_oid(waiting, allowed);
	for (int i = 0; i < nnews; i++)
		if (list_member_oid(allowed, news[i]))
			waiting = list_append_unique_oid(waiting, news[i]);
	MemoryContextSwitchTo(old);
}

/* Frees the slots of databases that are gone or have no extension; counts those being looked at. */
static int
tidy_slots(void)
{
	int looking = 0;

	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];
		bool member = false;
		pid_t pid;

		if (handles[i] != NULL && GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED)
		{
			pfree(handles[i]);
			handles[i] = NULL;
			if (slot->wanted && slot->worker == 0)
			{
				/* maybe because it may not run there any more */
				slot->failures++;
				mals_launcher_note(slot->database);
			}
		}
		if (writers[i] != NULL && GetBackgroundWorkerPid(writers[i], &pid) == BGWH_STOPPED)
		{
			pfree(writers[i]);
			writers[i] = NULL;
		}
		for (int m = 0; m < MALS_MAX_MEMBERS; m++)
			member = member || slot->members[m] != 0;
		if (OidIsValid(slot->database) && slot->wanted && !slot->extension &&
			(handles[i] != NULL || slot->worker != 0))
			looking++;
		if (!slot->wanted && slot->holders == 0 && handles[i] == NULL && !member &&
			slot->asked > 0 && !slot->ring.wanted)
			mals_database_free(slot);
	}
	return looking;
}

/* Gives databases that wait a slot each, as long as few are being looked at. */
static void
admit(int looking)
{
	while (waiting != NIL && looking < MAX_LOOKING)
	{
		MalsDatabase *slot = mals_database_slot(linitial_oid(waiting), true);

		if (slot == NULL)
		{
			static bool told = false;

			if (!told)
				ereport(LOG,
						errmsg("mals works in no more than %d databases of a server",
							   MALS_MAX_DATABASES),
						errhint("Name those that need a worker in mals.databases."));
			told = true;
			break;
		}
		waiting = list_delete_first(waiting);
		if (!slot->extension)
			looking++;
		slot->asked++;
		slot->wanted = true;
	}
}

/*
 * Starts the workers that are due. Returns how many milliseconds there are
 * until the next one is, or -1.
 */
static long
start_workers(void)
{
	long delay = -1;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];
		long wait = 0;

		if (!OidIsValid(slot->database) || !slot->wanted || slot->holders > 0 ||
			slot->worker != 0 || handles[i] != NULL)
			continue;
		if (slot->failures > 0)
			wait = Min(1000L << Min(slot->failures - 1, 16), MAX_BACKOFF) -
				   TimestampDifferenceMilliseconds(slot->started, now);
		if (wait <= 0)
		{
			MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

			handles[i] = mals_worker_start("mals worker", "mals_database_main",
										   ObjectIdGetDatum(slot->database));
			MemoryContextSwitchTo(old);
			slot->starved = handles[i] == NULL;
			slot->started = now;
			wait = NO_PLACE_DELAY;
		}
		if (handles[i] == NULL && (delay < 0 || wait < delay))
			delay = wait;
	}
	return delay;
}

/*
 * Starts writers where they are wanted; one that stopped at once is started
 * again after a second. Returns the milliseconds until the next is due, or -1.
 */
static long
start_writers(void)
{
	long delay = -1;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];
		long wait;

		if (!OidIsValid(slot->database) || !slot->ring.wanted || slot->holders > 0 ||
			slot->ring.writer != 0 || writers[i] != NULL)
			continue;
		wait = 1000 - TimestampDifferenceMilliseconds(writers_started[i], now);
		if (wait <= 0)
		{
			MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

			writers[i] = mals_worker_start("mals writer", "mals_writer_main",
										   ObjectIdGetDatum(slot->database));
			MemoryContextSwitchTo(old);
			slot->starved = writers[i] == NULL;
			writers_started[i] = now;
			wait = 1000;
		}
		if (writers[i] == NULL && (delay < 0 || wait < delay))
			delay = wait;
	}
	return delay;
}

/* SQL: what keeps background workers from running in this database, or NULL. */
Datum
mals_worker_trouble(PG_FUNCTION_ARGS)
{
	const MalsDatabase *slot = mals_database_peek();
	char *trouble = NULL;

	if (mals_shared == NULL || RecoveryInProgress())
		PG_RETURN_NULL();
	LWLockAcquire(mals_shared->lock, LW_SHARED);
	if (mals_shared->launcher_proc < 0 || (slot != NULL && slot->starved))
		trouble = psprintf("no background worker can be started: raise max_worker_processes, which "
						   "is %d, and restart the server",
						   max_worker_processes);
	else if (slot != NULL && slot->failures >= MIN_FAILURES)
		trouble = psprintf("the background worker of this database has failed %d times in a row: "
						   "see the server's log",
						   slot->failures);
	LWLockRelease(mals_shared->lock);
	if (trouble == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(trouble));
}

void
mals_launcher_main(Datum unused)
{
	MemoryContext scratch;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	before_shmem_exit(leave, (Datum) 0);
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	mals_shared->launcher_proc = (int) (MyProc - ProcGlobal->allProcs);
	mals_shared->look_at_all = true;
	LWLockRelease(mals_shared->lock);

	scratch = AllocSetContextCreate(TopMemoryContext, "mals launcher", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		int looking;
		long delay;
		long writers_delay;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		MemoryContextReset(scratch);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
			mals_shared->look_at_all = true;
			LWLockRelease(mals_shared->lock);
		}
		take_news();
		LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
		looking = tidy_slots();
		if (mals_shared->look_at_all || mals_shared->nnews > 0)
		{
			/* what was told meanwhile, or just now, may be that nothing may run there */
			LWLockRelease(mals_shared->lock);
			continue;
		}
		admit(looking);
		delay = start_workers();
		writers_delay = start_writers();
		if (delay < 0 || (writers_delay >= 0 && writers_delay < delay))
			delay = writers_delay;
		LWLockRelease(mals_shared->lock);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (delay >= 0 ? WL_TIMEOUT : 0), delay,
						 PG_WAIT_EXTENSION);
	}
}
