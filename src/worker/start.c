/*
 * start.c
 *		How background workers of mals start: the one place that fills in
 *		BackgroundWorker, and the one that connects to a database.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "worker/shared.h"
#include "worker/worker.h"

char mals_worker_database[NAMEDATALEN];

/* Describes a worker that runs a function of this library. */
static void
describe(BackgroundWorker *worker, const char *type, const char *function, Datum argument)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	/* none on a standby, until it is promoted */
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, "mals", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	worker->bgw_main_arg = argument;
}

BackgroundWorkerHandle *
mals_worker_start(const char *type, const char *function, Datum argument)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	describe(&worker, type, function, argument);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

void
mals_worker_connect(Oid database, uint32 flags)
{
	MalsDatabase *slot = NULL;

	if (mals_shared != NULL)
	{
		LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
		slot = mals_database_slot(database, false);
		LWLockRelease(mals_shared->lock);
	}
	if (slot != NULL && !mals_database_join(slot))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, flags);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	StartTransactionCommand();
	strlcpy(mals_worker_database, get_database_name(database), NAMEDATALEN);
	CommitTransactionCommand();
}

/* Registers the launcher, which the postmaster starts and starts again. */
void
mals_launcher_init(void)
{
	BackgroundWorker worker;

	/* nothing may be written in a server that pg_upgrade has started */
	if (IsBinaryUpgrade)
		return;
	describe(&worker, "mals launcher", "mals_launcher_main", (Datum) 0);
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}
