/*
 * watch.c
 *		What utility statements mean for the workers.
 *
 * CREATE EXTENSION and databases that appear are told to the launcher, and
 * what may have dropped the extension to the database's worker, once they are
 * committed. Statements that fail while anyone is connected to a database (DROP
 * DATABASE, RENAME, SET TABLESPACE, CREATE DATABASE … TEMPLATE) first stop all
 * processes of mals there, and keep them away until their transaction ends, in
 * whatever way: the server itself stops no background worker for them. So does
 * DROP EXTENSION and ALTER EXTENSION … UPDATE, which lock tables in an order of
 * their own. Nobody has them stopped who may not run the statement.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "worker/shared.h"
#include "worker/worker.h"

/* How long processes of mals may take to leave a database, in milliseconds. */
#define LEAVE_TIMEOUT 10000

/* A database that this transaction keeps processes of mals away from. */
typedef struct Hold
{
	Oid database;
	int level;    /* the subtransaction that does, whose abort ends it */
	bool dropped; /* it is gone, once this is committed */
} Hold;

/* What this transaction has to tell when it ends. */
static List *holds = NIL;         /* of Hold; in TopTransactionContext */
static Oid appeared = InvalidOid; /* the launcher is to look here */
static bool altered = false;      /* the launcher is to look at all databases */
static uint32 wake = 0;           /* MALS_WAKE_… for the worker of … */
static Oid woken = InvalidOid;    /* … this database, or of all (InvalidOid) */

/* Tells whether a process of mals is in a slot's database. */
static bool
has_members(MalsDatabase *slot, bool terminate)
{
	bool found = false;

	for (int i = 0; i < MALS_MAX_MEMBERS; i++)
		if (slot->members[i] != 0)
		{
			found = true;
			if (terminate)
				kill(slot->members[i], SIGTERM);
		}
	return found;
}

/* Notes that a database is held. */
static void
note_hold(Oid database)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Hold *hold = palloc(sizeof(Hold));

	hold->database = database;
	hold->level = GetCurrentTransactionNestLevel();
	hold->dropped = false;
	holds = lappend(holds, hold);
	MemoryContextSwitchTo(old);
}

/* Stops all processes of mals in a database and keeps them away. */
static void
hold(Oid database)
{
	MalsDatabase *slot;
	bool found;

	if (!OidIsValid(database))
		return;
	note_hold(database);
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	slot = mals_database_slot(database, false);
	if (slot == NULL && (slot = mals_database_slot(database, true)) != NULL)
		slot->asked++; /* the launcher frees it where it is of no use */
	if (slot != NULL)
		slot->holders++;
	found = slot != NULL && has_members(slot, true);
	LWLockRelease(mals_shared->lock);
	for (int waited = 0; found && waited < LEAVE_TIMEOUT; waited += 10)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(mals_shared->lock, LW_SHARED);
		found = has_members(slot, false);
		LWLockRelease(mals_shared->lock);
	}
}

/* Lets processes of mals into a database again, or forgets one that is gone. */
static void
release(const Hold *hold, bool committed)
{
	MalsDatabase *slot;

	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	slot = mals_database_slot(hold->database, false);
	if (slot != NULL && slot->holders > 0 && --slot->holders == 0 && hold->dropped && committed)
		mals_database_free(slot);
	LWLockRelease(mals_shared->lock);
	mals_launcher_notify(hold->database);
}

/* Ends the holds of this subtransaction, or passes them on to its parent. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	int level = GetCurrentTransactionNestLevel();
	ListCell *cell;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach (cell, holds)
	{
		Hold *hold = lfirst(cell);

		if (hold->level < level)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			hold->level = level - 1;
		else
		{
			release(hold, false);
			holds = foreach_delete_current (holds, cell);
		}
	}
}

/* Wakes the worker of one database, or of all; has writers start again where settings changed. */
static void
wake_workers(void)
{
	LWLockAcquire(mals_shared->lock, LW_SHARED);
	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];

		if (!OidIsValid(slot->database) || (OidIsValid(woken) && slot->database != woken))
			continue;
		if (slot->worker != 0)
			mals_database_wake(slot, wake);
		if (wake & MALS_WAKE_RESTART)
			mals_ring_stop(&slot->ring, false);
	}
	LWLockRelease(mals_shared->lock);
}

/* Tells what has happened. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	bool committed = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;
	ListCell *cell;

	if (!committed && event != XACT_EVENT_ABORT)
		return;
	foreach (cell, holds)
		release(lfirst(cell), committed);
	if (committed && OidIsValid(appeared))
		mals_launcher_notify(appeared);
	if (committed && altered)
		mals_launcher_notify(InvalidOid);
	if (committed && wake != 0)
		wake_workers();
	holds = NIL;
	appeared = woken = InvalidOid;
	altered = false;
	wake = 0;
}

/* Notes that a database's worker is to be woken at commit; InvalidOid: all. */
static void
note_wake(uint32 reason, Oid database)
{
	if (wake != 0 && woken != database)
		database = InvalidOid;
	wake |= reason;
	woken = database;
}

/* Finds an option of CREATE or ALTER DATABASE. */
static DefElem *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, name) == 0)
			return lfirst(cell);
	return NULL;
}

/* Tells whether an extension is this one, and the user's. */
static bool
owns_named(const char *name)
{
	Oid extension = strcmp(name, "mals") == 0 ? get_extension_oid(name, true) : InvalidOid;

	return OidIsValid(extension) && mals_owns_extension(extension);
}

/* Tells whether a DROP EXTENSION names this one, and may be run. */
static bool
drops_extension(DropStmt *drop)
{
	ListCell *cell;

	if (drop->removeType != OBJECT_EXTENSION || !mals_allow_drop)
		return false;
	foreach (cell, drop->objects)
		if (owns_named(strVal(lfirst(cell))))
			return true;
	return false;
}

/* Looks up a database for a statement that only its owner may run; InvalidOid: not ours. */
static Oid
owned_database(const char *name)
{
	Oid database = get_database_oid(name, true);

	return OidIsValid(database) && mals_owns_database(database) ? database : InvalidOid;
}

/* Likewise one that is to be copied: whoever may make databases may copy templates, too. */
static Oid
copied_database(const char *name)
{
	Oid database = get_database_oid(name, true);
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool template = false;

	if (HeapTupleIsValid(tuple))
	{
		template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		template = template && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return template ? database : owned_database(name);
}

/* Notes which of the databases that are held were dropped. */
static void
note_dropped(void)
{
	ListCell *cell;

	foreach (cell, holds)
	{
		Hold *hold = lfirst(cell);

		hold->dropped = !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(hold->database));
	}
}

void
mals_watch_before(PlannedStmt *statement)
{
	Node *node = statement->utilityStmt;

	if (mals_shared == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_DropdbStmt:
			hold(owned_database(((DropdbStmt *) node)->dbname));
			break;
		case T_DropStmt:
			if (drops_extension((DropStmt *) node))
				hold(MyDatabaseId);
			break;
		case T_AlterExtensionStmt:
			if (owns_named(((AlterExtensionStmt *) node)->extname))
				hold(MyDatabaseId);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) node)->renameType == OBJECT_DATABASE)
				hold(owned_database(((RenameStmt *) node)->subname));
			break;
		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) node)->options, "tablespace"))
				hold(owned_database(((AlterDatabaseStmt *) node)->dbname));
			break;
		case T_CreatedbStmt:
		{
			DefElem *template = find_option(((CreatedbStmt *) node)->options, "template");

			hold(copied_database(template != NULL && template->arg != NULL ? defGetString(template)
																		   : "template1"));
			break;
		}
		default:
			break;
	}
}

void
mals_watch_after(PlannedStmt *statement)
{
	Node *node = statement->utilityStmt;

	if (mals_shared == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_CreateExtensionStmt:
			/* it may be made for another one */
			if (OidIsValid(get_extension_oid("mals", true)))
				appeared = MyDatabaseId;
			break;
		case T_DropdbStmt:
			note_dropped();
			break;
		case T_DropStmt:
		case T_DropOwnedStmt:
			/* the extension itself, or something that it goes with */
			note_wake(MALS_WAKE_CHECK, MyDatabaseId);
			break;
		case T_CreatedbStmt:
			appeared = get_database_oid(((CreatedbStmt *) node)->dbname, true);
			break;
		case T_AlterDatabaseStmt:
			altered = true;
			break;
		case T_AlterDatabaseSetStmt:
			note_wake(MALS_WAKE_RESTART,
					  get_database_oid(((AlterDatabaseSetStmt *) node)->dbname, true));
			break;
		case T_AlterRoleSetStmt:
			if (((AlterRoleSetStmt *) node)->role == NULL)
				note_wake(MALS_WAKE_RESTART, InvalidOid);
			break;
		case T_TransactionStmt:
			/* nobody knows what the transaction that was prepared has left */
			if (((TransactionStmt *) node)->kind == TRANS_STMT_COMMIT_PREPARED &&
				OidIsValid(get_extension_oid("mals", true)))
			{
				const MalsDatabase *slot = mals_database_peek();

				mals_note_work(MALS_WORK_ANY);
				if (slot == NULL || !slot->extension)
					appeared = MyDatabaseId;
			}
			break;
		default:
			break;
	}
}

void
mals_watch_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
