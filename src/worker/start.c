/*
 * start.c
 *		How background workers of mals start: the one place that fills in
 *		BackgroundWorker, and the one that connects to a database.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "mals_spi.h"
#include "worker/shared.h"
#include "worker/worker.h"

char mals_worker_database[NAMEDATALEN];

/* What maintenance goes by. */
static const char *const settings[] = {
	"mals.alert_give_up",      "mals.alert_retention", "mals.audit_retention",
	"mals.keep_unresolved",    "mals.max_partitions",  "mals.max_size",
	"mals.partition_interval", "mals.premake",         "mals.redact",
	"mals.retention",
};

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

/*
 * Takes back what ALTER ROLE has set for the role that workers connect as: they
 * work for the database, not for that role's sessions. Given are the values of
 * the configuration file.
 */
static void
forget_role_settings(char **values)
{
	static const char *const sql =
		"WITH found AS ("
		" SELECT s.setrole, s.setdatabase, split_part(c, '=', 1) AS name,"
		"        substr(c, strpos(c, '=') + 1) AS value"
		"   FROM pg_db_role_setting s, unnest(s.setconfig) c"
		"  WHERE s.setdatabase IN (0, $1) AND s.setrole IN (0, $2))"
		" SELECT r.name, (SELECT d.value FROM found d WHERE d.setrole = 0 AND d.name = r.name"
		"                  ORDER BY d.setdatabase DESC LIMIT 1)"
		"   FROM found r WHERE r.setrole = $2 AND r.name LIKE 'mals.%'";
	Oid types[] = {OIDOID, OIDOID};
	Datum args[] = {ObjectIdGetDatum(MyDatabaseId), ObjectIdGetDatum(GetUserId())};
	uint64 rows;

	mals_spi_connect();
	rows = mals_run_with(sql, lengthof(args), types, args, NULL);
	for (uint64 row = 0; row < rows; row++)
	{
		char *name = TextDatumGetCString(mals_result_datum(row, 1, NULL));
		bool isnull;
		Datum value = mals_result_datum(row, 2, &isnull);

		for (int i = 0; i < lengthof(settings); i++)
			if (strcmp(settings[i], name) == 0)
				SetConfigOption(name, isnull ? values[i] : TextDatumGetCString(value), PGC_SUSET,
								PGC_S_OVERRIDE);
	}
	SPI_finish();
}

void
mals_worker_connect(Oid database, uint32 flags)
{
	MalsDatabase *slot = NULL;
	char *values[lengthof(settings)];

	if (mals_shared != NULL)
	{
		LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
		slot = mals_database_slot(database, false);
		LWLockRelease(mals_shared->lock);
	}
	if (slot != NULL && !mals_database_join(slot))
		proc_exit(0);
	for (int i = 0; i < lengthof(settings); i++)
		values[i] =
			MemoryContextStrdup(TopMemoryContext, GetConfigOption(settings[i], false, false));
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, flags);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	StartTransactionCommand();
	strlcpy(mals_worker_database, get_database_name(database), NAMEDATALEN);
	PushActiveSnapshot(GetTransactionSnapshot());
	forget_role_settings(values);
	PopActiveSnapshot();
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
