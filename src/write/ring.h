/*
 * ring.h
 *		Private header of src/write, and of the slots of worker/shared.h: the ring in
 *		shared memory that takes units of entries from sessions to the writer of their
 *		database. See README.md for its layout, order and locks.
 */
#ifndef MALS_WRITE_RING_H
#define MALS_WRITE_RING_H

#include "mals_errors.h"

#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/uuid.h"

/* What a record carries. */
typedef enum MalsRecordKind
{
	MALS_RECORD_ENTRIES, /* entries, as unit.c packs them */
	MALS_RECORD_SEGMENT, /* the same in a dynamic shared memory segment: a MalsRecordSegment */
	MALS_RECORD_MESSAGE, /* a message of the server, as capture.c packs it */
} MalsRecordKind;

#define MALS_RECORD_AWAITED 0x01   /* a session waits for the outcome */
#define MALS_RECORD_BOUND 0x02     /* its sender may know of its own agents' entries only */
#define MALS_RECORD_WITHDRAWN 0x04 /* lock; must not be written: its sender has given up */
#define MALS_RECORD_DONE 0x08      /* lock; is written, or kept as dead letters */

/* A record: one unit of entries, written wholly or not at all. */
typedef struct MalsRecord
{
	uint32 size; /* with this header, a multiple of MAXALIGN */
	uint8 kind;
	uint8 flags;
	uint8 synchronous; /* the sender's synchronous_commit */
	uint64 number;     /* units are numbered from 1 on in each ring */
	int32 proc;        /* the sender's number among PGPROCs */
	uint32 nentries;
} MalsRecord;

#define mals_record_data(record) ((char *) (record) + MAXALIGN(sizeof(MalsRecord)))

typedef struct MalsRecordSegment
{
	uint32 handle;
	Size size;
} MalsRecordSegment;

/* Part of what a record carries; parts are put one after the other. */
typedef struct MalsPart
{
	const void *data;
	uint32 size;
} MalsPart;

/* Whether and how the writer of a ring sleeps. */
typedef enum MalsRingSleep
{
	MALS_RING_AWAKE,
	MALS_RING_IDLE,  /* until anything is put */
	MALS_RING_TIMED, /* until it is time to write, or something is urgent */
} MalsRingSleep;

/* Counters, since the database got its ring. */
typedef struct MalsRingCounts
{
	uint64 entries;      /* written */
	uint64 flushes;      /* transactions that wrote them */
	uint64 waits;        /* times that a session had to wait for room */
	uint64 timeouts;     /* of mals.write_timeout */
	uint64 dead_letters; /* entries that could not be written; by the writer alone */
	uint64 captured;     /* messages of the server */
	uint64 uncaptured;   /* those that found no room */
} MalsRingCounts;

/* A database's ring. All is protected by lock, where nothing else is said. */
typedef struct MalsRing
{
	LWLock lock;
	Oid database; /* whose ring it is, or InvalidOid; nobody else may put anything */
	bool wanted;  /* no lock; the launcher is to keep a writer running */
	bool open;    /* a writer takes what is put, and will not exit before it has written it */
	bool urgent;  /* what was put is not to wait for more */
	MalsRingSleep sleep;
	int nawaited;    /* units that are awaited and not yet taken */
	pid_t writer;    /* or 0 */
	int writer_proc; /* its number among PGPROCs, or -1 */

	/* the chain of blocks: see ring.c */
	uint32 nblocks;
	uint32 first;
	uint32 first_offset; /* where the first record in it begins that is not released */
	uint32 last;
	Size bytes;         /* of records that are not released */
	Size segment_bytes; /* and in their segments */

	/* numbers of units */
	uint64 sent;  /* the last that was put */
	uint64 taken; /* the last that the writer has in hand: not to be withdrawn any more */
	uint64 done;  /* the last that is released */

	MalsRingCounts counts;

	bool telling;                /* there are entries that limits refused, to be told of */
	pg_atomic_uint64 suppressed; /* atomic; how many since the server started */
} MalsRing;

/* What became of a unit, as its sender is told. */
typedef struct MalsOutcome
{
	int sqlerrcode;      /* 0: it is stored */
	uint32 duplicates;   /* entries that were stored already */
	pg_uuid_t id;        /* of its last entry */
	const char *message; /* the error's; detail and hint may be NULL */
	const char *detail;
	const char *hint;
} MalsOutcome;

typedef enum MalsPut
{
	MALS_PUT_DONE,
	MALS_PUT_FULL,  /* no room */
	MALS_PUT_CLOSED /* no writer, or a ring of another database by now */
} MalsPut;

/* Room is given in blocks; what is larger than a record can be goes into a segment. */
#define MALS_RING_BLOCK (64 * 1024)
#define MALS_RING_MAX_RECORD (MALS_RING_BLOCK - 8)
#define MALS_RING_MAX_DATA (MALS_RING_MAX_RECORD - MAXALIGN(sizeof(MalsRecord)))

/* Sets up the ring of a slot, once. */
extern void mals_ring_init(MalsRing *ring, int tranche);

/* Gives the ring of a slot to a database. */
extern void mals_ring_assign(MalsRing *ring, Oid database);

/* Takes it away: what is in it is discarded, and sessions that wait for that are told. */
extern void mals_ring_clear(MalsRing *ring);

/* The ring of this session's database, or NULL. */
extern MalsRing *mals_ring(void);

/*
 * Puts a record, whose kind, flags and nentries are set, and wakes whoever has
 * to know. place is then where it is. Raises no errors, allocates nothing.
 */
extern MalsPut mals_ring_put(MalsRing *ring, MalsRecord *record, const MalsPart *parts, int nparts,
							 MalsRecord **place);

/* Has the writer tell of entries that limits refused; once told, it looks for them. */
extern void mals_ring_tell(MalsRing *ring);
extern void mals_ring_told(MalsRing *ring);

/* Has the launcher start a writer. */
extern void mals_ring_want(MalsRing *ring);

/* Waits up to so many milliseconds until there may be room; to be ended by mals_ring_wait_end. */
extern void mals_ring_wait_begin(void);
extern void mals_ring_wait(long timeout);
extern void mals_ring_wait_end(void);

/* Takes this session's awaited record back. Returns false if it is too late. */
extern bool mals_ring_withdraw(MalsRing *ring, MalsRecord *place, uint64 number);

/*
 * Gives the outcome of this session's last awaited unit; false as long as there
 * is none. Its texts are palloc'd.
 */
extern bool mals_ring_outcome(MalsOutcome *outcome);

/* The writer's side. */
typedef struct MalsRingCursor
{
	uint32 block;
	uint32 offset;
	uint64 number; /* of the unit before */
} MalsRingCursor;

/* Opens a ring for the writer that calls it; false if there is one. */
extern bool mals_ring_open(MalsRing *ring);

/* Closes it if it is empty, or whatever it holds (force). Returns whether it is closed. */
extern bool mals_ring_close(MalsRing *ring, bool force);

/* Has the ring's writer stop when it has written what is there; for good: until it is wanted again. */
extern void mals_ring_stop(MalsRing *ring, bool for_good);

/*
 * Takes what is there in hand, if it is due: urgent, or asked for (now).
 * Else notes how the caller is going to sleep; idle tells that there is nothing.
 * Returns the number of the last unit taken, or 0.
 */
extern uint64 mals_ring_take(MalsRing *ring, bool now, MalsRingCursor *cursor, bool *idle);

/* How many awaited units there are that are not yet taken; a guess, without the lock. */
extern int mals_ring_awaited(const MalsRing *ring);

/* The next record that is in hand, and the cursor behind it. */
extern MalsRecord *mals_ring_read(MalsRing *ring, MalsRingCursor *cursor);

/* Tells senders what became of their units, which are done with. */
extern void mals_ring_answer(MalsRing *ring, MalsRecord **records, const MalsOutcome *outcomes,
							 int n);

/* Gives back the room of all records before the cursor, which had so many entries. */
extern void mals_ring_release(MalsRing *ring, const MalsRingCursor *cursor, uint64 entries);

#endif /* MALS_WRITE_RING_H */
