/*
 * shared.h
 *		Shared memory of mals: one slot for each database that uses it. There is
 *		none without shared_preload_libraries.
 *
 * What a slot holds is protected as its fields say: "lock" is mals_shared->lock,
 * "atomic" needs none. A slot belongs to its database until the database or the
 * extension in it is dropped; whoever keeps a pointer to one checks its
 * database again before each use, as mals_database() does.
 *
 * A module that wants more in a slot defines a struct in its own header, which
 * is embedded here and set up once, when the server starts, by its own function.
 */
#ifndef MALS_SHARED_H
#define MALS_SHARED_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "write/ring.h"
#include "query/wake.h"

/* Databases that can use mals at once. */
#define MALS_MAX_DATABASES 64

/* Processes of mals in one database: worker, jobs aside, tasks. */
#define MALS_MAX_MEMBERS 16

/* Why a worker is woken: bits of MalsDatabase.wake. */
#define MALS_WAKE_CHECK 0x01   /* the extension may have been dropped */
#define MALS_WAKE_RESTART 0x02 /* settings of the database have changed */
#define MALS_WAKE_JOBS 0x04    /* all jobs are due */

/* What a transaction leaves for the worker: bits of MalsDatabase.work. */
#define MALS_WORK_ENTRIES 0x01    /* entries were written */
#define MALS_WORK_METRICS 0x02    /* metrics were written */
#define MALS_WORK_ALERTS 0x04     /* a rule of alerts was set */
#define MALS_WORK_DELIVERIES 0x08 /* an alert fired */
#define MALS_WORK_ANY 0x0f

typedef struct MalsDatabase
{
	Oid database;        /* lock; InvalidOid: the slot is free */
	bool wanted;         /* lock; a worker should run */
	uint32 asked;        /* lock; how often the launcher was asked to look */
	int holders;         /* lock; statements that want no process of mals in the database */
	bool extension;      /* lock; the worker that runs has seen the extension */
	pid_t worker;        /* lock; the database's worker, or 0 */
	int worker_proc;     /* lock; its number among PGPROCs, or -1 */
	TimestampTz started; /* lock; when a worker was last started */
	int failures;        /* lock; workers in a row that failed */
	bool starved;        /* lock; max_worker_processes left no place for one */
	pid_t members[MALS_MAX_MEMBERS]; /* lock; all processes of mals that are connected, or 0 */

	pg_atomic_uint32 wake;    /* MALS_WAKE_… for the worker */
	pg_atomic_uint32 work;    /* MALS_WORK_… that was committed since a job for it last began */
	pg_atomic_uint32 failed;  /* jobs aside that failed, a bit each */
	pg_atomic_uint64 commits; /* transactions that have written entries, since the start */

	MalsRing ring; /* has a lock of its own */
	MalsTails tails;
} MalsDatabase;

typedef struct MalsShared
{
	uint32 magic;
	LWLock *lock;
	int launcher_proc; /* lock; the launcher's number among PGPROCs, or -1 */
	bool look_at_all;  /* lock; the launcher is to look at every database */
	int nnews;         /* lock */
	Oid news[64];      /* lock; databases for the launcher to look at */
	MalsDatabase databases[MALS_MAX_DATABASES];
} MalsShared;

/* NULL without shared_preload_libraries. */
extern MalsShared *mals_shared;

/*
 * The slot of this session's database, made if there is none; NULL without
 * shared_preload_libraries, or if all slots are taken. Takes the lock at the
 * first call only.
 */
extern MalsDatabase *mals_database(void);

/* The same where there is one, without a lock, wherever this is called. */
extern MalsDatabase *mals_database_peek(void);

/* As mals_database for any database; the caller holds the lock. create: make it. */
extern MalsDatabase *mals_database_slot(Oid database, bool create);

/* Frees the slot of a database that is gone or uses mals no more; the caller holds the lock. */
extern void mals_database_free(MalsDatabase *slot);

/* Sets the latch of a process by its number among PGPROCs, if it is not -1. */
extern void mals_wake_process(int proc);

/* Wakes the worker of a database for MALS_WAKE_… reasons. */
extern void mals_database_wake(MalsDatabase *slot, uint32 reasons);

/* Has the launcher look at a database, or at all (InvalidOid); the caller holds the lock. */
extern void mals_launcher_note(Oid database);

/* The same; takes the lock. */
extern void mals_launcher_notify(Oid database);

/*
 * Notes this process among a database's members, until it exits; false if
 * statements keep mals away from the database. Takes the lock.
 */
extern bool mals_database_join(MalsDatabase *slot);

/*
 * Tells the worker at commit what this transaction leaves for it (MALS_WORK_…).
 * To be called by whoever writes entries or metrics; costs nothing when
 * repeated, and is taken back by an abort.
 */
extern void mals_note_work(uint32 work);

/* Tells whether this transaction has noted one of these kinds of work. */
extern bool mals_noted_work(uint32 work);

/* What mals.c calls. */
extern Size mals_shared_size(void);
extern void mals_shared_startup(void);
extern void mals_shared_init(void);

#endif /* MALS_SHARED_H */
