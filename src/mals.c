/*
 * mals.c
 *		The library's table of contents: one call a module, and the server's
 *		hooks, which only this file chains; and its version.
 */
#include "mals_errors.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "access/access.h"
#include "mals_guc.h"
#include "worker/shared.h"
#include "worker/worker.h"
#include "write/write.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(mals_version);

void _PG_init(void);

static emit_log_hook_type next_emit_log = NULL;
static ExecutorFinish_hook_type next_executor_finish = NULL;
static object_access_hook_type next_object_access = NULL;
static shmem_request_hook_type next_shmem_request = NULL;
static shmem_startup_hook_type next_shmem_startup = NULL;
static ProcessUtility_hook_type next_utility = NULL;

/* Asks for shared memory. */
static void
shmem_request(void)
{
	if (next_shmem_request)
		next_shmem_request();
	RequestAddinShmemSpace(mals_shared_size());
	RequestAddinShmemSpace(mals_ring_area_size());
	RequestAddinShmemSpace(mals_limit_size());
	RequestNamedLWLockTranche("mals", 1);
}

/* Finds shared memory, or makes it. */
static void
shmem_startup(void)
{
	if (next_shmem_startup)
		next_shmem_startup();
	mals_shared_startup();
	mals_ring_area_startup();
	mals_limit_startup();
}

/* Captures messages of the server. */
static void
emit_log(ErrorData *message)
{
	if (next_emit_log)
		next_emit_log(message);
	if (message->output_to_server)
		mals_capture(message);
}

/* Writes what INSERTs into the views have not written yet. */
static void
executor_finish(QueryDesc *query)
{
	(next_executor_finish ? next_executor_finish : standard_ExecutorFinish)(query);
	mals_write_finish(query->estate);
}

/* Watches utility statements that matter to background workers. */
static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				DestReceiver *receiver, QueryCompletion *completion)
{
	if (IsBinaryUpgrade && mals_upgrade_utility(statement->utilityStmt))
		return;
	mals_watch_before(statement);
	(next_utility ? next_utility : standard_ProcessUtility)(
		statement, query, read_only_tree, context, params, environment, receiver, completion);
	mals_watch_after(statement);
}

/* Guards the extension. */
static void
object_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (next_object_access)
		next_object_access(access, class, object, sub, arg);
	mals_guard_drop(access, class, object);
}

/* What shared_preload_libraries makes possible. */
static void
init_preloaded(void)
{
	next_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	next_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
	next_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
	mals_shared_init();
	mals_watch_init();
	mals_launcher_init();
}

void
_PG_init(void)
{
	mals_guc_init();
	mals_access_init();
	mals_write_init();
	if (process_shared_preload_libraries_in_progress)
		init_preloaded();
	if (process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
	{
		next_utility = ProcessUtility_hook;
		ProcessUtility_hook = process_utility;
	}
	next_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = executor_finish;
	next_object_access = object_access_hook;
	object_access_hook = object_access;
}

/* SQL: the library's version. */
Datum
mals_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(MALS_VERSION));
}
