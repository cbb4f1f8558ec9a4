/*
 * shared.c
 *		Shared memory of mals, see shared.h.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "worker/shared.h"

#define SHARED_MAGIC 0x6d616c01

MalsShared *mals_shared = NULL;

/* What this transaction leaves to do: MALS_WORK_… */
static uint32 work = 0;

Size
mals_shared_size(void)
{
	return MAXALIGN(sizeof(MalsShared));
}

void
mals_shared_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	mals_shared = ShmemInitStruct("mals", mals_shared_size(), &found);
	if (!found)
	{
		memset(mals_shared, 0, mals_shared_size());
		mals_shared->magic = SHARED_MAGIC;
		mals_shared->lock = &GetNamedLWLockTranche("mals")->lock;
		mals_shared->launcher_proc = -1;
		for (int i = 0; i < MALS_MAX_DATABASES; i++)
		{
			MalsDatabase *slot = &mals_shared->databases[i];

			slot->worker_proc = -1;
			pg_atomic_init_u32(&slot->wake, 0);
			pg_atomic_init_u32(&slot->work, 0);
			pg_atomic_init_u32(&slot->failed, 0);
			pg_atomic_init_u64(&slot->commits, 0);
			mals_ring_init(&slot->ring, mals_shared->lock->tranche);
			mals_tails_init(&slot->tails);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	if (mals_shared->magic != SHARED_MAGIC)
		elog(ERROR, "mals: bad magic number in shared memory");
}

MalsDatabase *
mals_database_slot(Oid database, bool create)
{
	MalsDatabase *unused = NULL;

	for (int i = 0; i < MALS_MAX_DATABASES; i++)
	{
		MalsDatabase *slot = &mals_shared->databases[i];

		if (slot->database == database)
			return slot;
		if (unused == NULL && !OidIsValid(slot->database))
			unused = slot;
	}
	if (!create || unused == NULL)
		return NULL;
	unused->database = database;
	unused->wanted = false;
	unused->holders = 0;
	unused->extension = false;
	unused->starved = false;
	unused->failures = 0;
	unused->started = 0;
	mals_ring_assign(&unused->ring, database);
	mals_tails_reset(&unused->tails);
	return unused;
}

void
mals_database_free(MalsDatabase *slot)
{
	slot->wanted = false;
	slot->asked = 0;
	slot->database = InvalidOid;
	mals_ring_clear(&slot->ring);
}

MalsDatabase *
mals_database(void)
{
	static MalsDatabase *mine = NULL;

	if (mals_shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	if (mine == NULL || mine->database != MyDatabaseId)
	{
		LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
		mine = mals_database_slot(MyDatabaseId, true);
		LWLockRelease(mals_shared->lock);
	}
	return mine;
}

MalsDatabase *
mals_database_peek(void)
{
	for (int i = 0; mals_shared != NULL && OidIsValid(MyDatabaseId) && i < MALS_MAX_DATABASES; i++)
		if (mals_shared->databases[i].database == MyDatabaseId)
			return &mals_shared->databases[i];
	return NULL;
}

void
mals_wake_process(int proc)
{
	if (proc >= 0)
		SetLatch(&ProcGlobal->allProcs[proc].procLatch);
}

void
mals_database_wake(MalsDatabase *slot, uint32 reasons)
{
	pg_atomic_fetch_or_u32(&slot->wake, reasons);
	mals_wake_process(slot->worker_proc);
}

void
mals_launcher_note(Oid database)
{
	if (!OidIsValid(database) || mals_shared->nnews == lengthof(mals_shared->news))
		mals_shared->look_at_all = true;
	else
		mals_shared->news[mals_shared->nnews++] = database;
	mals_wake_process(mals_shared->launcher_proc);
}

void
mals_launcher_notify(Oid database)
{
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	mals_launcher_note(database);
	LWLockRelease(mals_shared->lock);
}

/* Takes this process from its database's members when it exits. */
static void
leave_database(int code, Datum arg)
{
	MalsDatabase *slot = (MalsDatabase *) DatumGetPointer(arg);

	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MALS_MAX_MEMBERS; i++)
		if (slot->members[i] == MyProcPid)
			slot->members[i] = 0;
	LWLockRelease(mals_shared->lock);
}

bool
mals_database_join(MalsDatabase *slot)
{
	bool joined = false;

	before_shmem_exit(leave_database, PointerGetDatum(slot));
	LWLockAcquire(mals_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; slot->holders == 0 && !joined && i < MALS_MAX_MEMBERS; i++)
		if (slot->members[i] == 0)
		{
			slot->members[i] = MyProcPid;
			joined = true;
		}
	LWLockRelease(mals_shared->lock);
	return joined;
}

void
mals_note_work(uint32 kinds)
{
	work |= kinds;
}

bool
mals_noted_work(uint32 kinds)
{
	return (work & kinds) != 0;
}

/* Tells the database's slot what this transaction has left to do. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	uint32 left = work;
	MalsDatabase *slot;

	if (left == 0 ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	work = 0;
	if (event == XACT_EVENT_ABORT || (slot = mals_database()) == NULL)
		return;
	if (left & MALS_WORK_ENTRIES)
	{
		pg_atomic_fetch_add_u64(&slot->commits, 1);
		mals_tails_wake(&slot->tails);
	}
	/* the first to leave something wakes the worker, which takes it when a job begins */
	if ((pg_atomic_read_u32(&slot->work) & left) != left &&
		(pg_atomic_fetch_or_u32(&slot->work, left) & left) != left)
		mals_wake_process(slot->worker_proc);
}

void
mals_shared_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}
