/*
 * ring.c
 *		The rings: memory through which units of entries go from the sessions
 *		of a database to its writer.
 *
 * Layout. One area of shared memory of mals.ring_size, made when the server
 * starts, is cut into blocks of 64 kB. A ring is a chain of blocks in the slot
 * of its database: records are put at the end of the last block, in a new one
 * where there is not enough room, and read from the first. A record never
 * crosses blocks; one that is larger than a block is put into a dynamic shared
 * memory segment, and its record in the ring names that. There are only
 * offsets and numbers in shared memory, no pointers.
 *
 * Sharing. A ring may take another block as long as more blocks are free than
 * it has: one busy database gets half of the area, and however stuck its writer
 * is, others get some, too. An empty ring has no block.
 *
 * Order. Units are numbered when they are put, and are read in that order: what
 * one session puts first is written first.
 *
 * Locks. All of a ring is protected by its lock, which is held for no longer
 * than it takes to copy one record, and under which nothing can fail and no
 * other lock is taken but the spinlocks of the free blocks and of sessions'
 * places. So a session that is
 * cancelled or terminated has either put a whole record or nothing. A record
 * is not changed after it was put, but for its flags; so the writer reads
 * records without the lock, up to the last number that it has taken in hand.
 *
 * Waiting. Where there is no room, or no writer, sessions wait on one condition
 * variable. The writer sleeps on its latch; it notes under the lock how it is
 * going to sleep, so that a session which puts something knows whether to wake
 * it. A session that waits for its outcome has a place of its own, by its number
 * among PGPROCs: the writer fills it in under the place's spinlock, if it still
 * waits for that unit, and sets the session's latch.
 *
 * Owners. A ring comes to a database with its slot, and is cleared when it goes:
 * sessions that have found it before see under the lock that it is another's.
 *
 * Death. A record stays in its ring until it is committed; a writer that dies
 * leaves it to the next, and what it has committed has a mark that is set
 * before anything else can happen. A crash of any process takes all of shared
 * memory with it, by the server's own rules: nothing that is left half done is
 * ever seen.
 *
 * Shutdown. Only an open ring takes entries, and only its writer opens it. Told
 * to stop, the writer writes what is there, and closes the ring under the lock
 * if there is nothing more: so nothing is taken that will not be written.
 */
#include "mals_errors.h"

#include <signal.h>

#include "access/htup_details.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/wait_event.h"

#include "mals_guc.h"
#include "worker/shared.h"
#include "write/ring.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_ring_status);

#define AREA_MAGIC 0x6d616c72
#define NO_BLOCK PG_UINT32_MAX

/* So many bytes in a ring are worth a transaction. */
#define ENOUGH_BYTES (256 * 1024)

typedef struct Block
{
	uint32 next; /* in the chain, or among the free ones */
	uint32 used; /* bytes from the block's start on */
	char data[MALS_RING_MAX_RECORD];
} Block;

/* Where a session finds the outcome of the unit that it waits for. */
typedef struct Waiter
{
	slock_t lock;  /* protects all: the place's last owner may have waited for another ring */
	uint64 number; /* 0: it does not wait */
	int ring;      /* the slot's number */
	bool answered; /* read without the lock */
	int sqlerrcode;
	uint32 duplicates;
	pg_uuid_t id;
	char message[384];
	char detail[256];
	char hint[256];
} Waiter;

typedef struct Area
{
	uint32 magic;
	uint32 nblocks;
	slock_t lock; /* protects free and nfree */
	uint32 free;
	uint32 nfree;
	ConditionVariable changed; /* there is room, or a ring was opened */
	Waiter waiters[FLEXIBLE_ARRAY_MEMBER];
} Area;

static Area *area = NULL;
static Block *blocks = NULL;

/* How many blocks the area has. */
static uint32
count_blocks(void)
{
	return mals_ring_size / (MALS_RING_BLOCK / 1024);
}

/* The size of what is before the blocks. */
static Size
area_header_size(void)
{
	return MAXALIGN(offsetof(Area, waiters) + (Size) MaxBackends * sizeof(Waiter));
}

Size
mals_ring_area_size(void)
{
	return area_header_size() + (Size) count_blocks() * sizeof(Block);
}

void
mals_ring_area_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	area = ShmemInitStruct("mals ring", mals_ring_area_size(), &found);
	blocks = (Block *) ((char *) area + area_header_size());
	if (!found)
	{
		memset(area, 0, area_header_size());
		area->magic = AREA_MAGIC;
		area->nblocks = area->nfree = count_blocks();
		SpinLockInit(&area->lock);
		ConditionVariableInit(&area->changed);
		for (int i = 0; i < MaxBackends; i++)
			SpinLockInit(&area->waiters[i].lock);
		for (uint32 i = 0; i < area->nblocks; i++)
			blocks[i].next = i + 1 < area->nblocks ? i + 1 : NO_BLOCK;
	}
	LWLockRelease(AddinShmemInitLock);
	if (area->magic != AREA_MAGIC)
		elog(ERROR, "mals: bad magic number in the shared memory of rings");
}

/* The record at an offset of a block. */
static MalsRecord *
record_at(uint32 block, uint32 offset)
{
	return (MalsRecord *) ((char *) &blocks[block] + offset);
}

/* Takes a block for a ring, if it may have one more. */
static uint32
take_block(MalsRing *ring)
{
	uint32 block = NO_BLOCK;

	SpinLockAcquire(&area->lock);
	if (area->nfree > ring->nblocks)
	{
		block = area->free;
		area->free = blocks[block].next;
		area->nfree--;
	}
	SpinLockRelease(&area->lock);
	if (block != NO_BLOCK)
	{
		blocks[block].next = NO_BLOCK;
		blocks[block].used = offsetof(Block, data);
		ring->nblocks++;
	}
	return block;
}

/* Gives a ring's first block back. */
static void
free_first(MalsRing *ring)
{
	uint32 block = ring->first;

	ring->first = blocks[block].next;
	ring->first_offset = offsetof(Block, data);
	ring->nblocks--;
	if (ring->first == NO_BLOCK)
		ring->last = NO_BLOCK;
	SpinLockAcquire(&area->lock);
	blocks[block].next = area->free;
	area->free = block;
	area->nfree++;
	SpinLockRelease(&area->lock);
}

MalsRing *
mals_ring(void)
{
	MalsDatabase *slot = mals_database();

	return slot != NULL ? &slot->ring : NULL;
}

/* The number of a ring's slot. */
static int
ring_index(const MalsRing *ring)
{
	return (int) (((const char *) ring - (const char *) mals_shared->databases) /
				  sizeof(MalsDatabase));
}

/* The place where this session finds its outcomes. */
static Waiter *
my_waiter(void)
{
	return &area->waiters[MyProc - ProcGlobal->allProcs];
}

/* Finds room for a record at the end of a ring. Returns NULL if there is none. */
static MalsRecord *
make_room(MalsRing *ring, uint32 size)
{
	Block *block = ring->last == NO_BLOCK ? NULL : &blocks[ring->last];
	MalsRecord *room;

	if (block == NULL || sizeof(Block) - block->used < size)
	{
		uint32 taken = take_block(ring);

		if (taken == NO_BLOCK)
			return NULL;
		if (block != NULL)
			block->next = taken;
		else
		{
			ring->first = taken;
			ring->first_offset = offsetof(Block, data);
		}
		ring->last = taken;
		block = &blocks[taken];
	}
	room = record_at(ring->last, block->used);
	block->used += size;
	return room;
}

/* Copies a record to its place. The caller holds the lock. */
static void
fill(MalsRecord *place, MalsRecord *record, const MalsPart *parts, int nparts)
{
	char *p = mals_record_data(place);

	*place = *record;
	for (int i = 0; i < nparts; i++)
	{
		if (parts[i].size > 0)
			memcpy(p, parts[i].data, parts[i].size);
		p += parts[i].size;
	}
}

MalsPut
mals_ring_put(MalsRing *ring, MalsRecord *record, const MalsPart *parts, int nparts,
			  MalsRecord **place)
{
	MalsPut result = MALS_PUT_FULL;
	bool awaited = (record->flags & MALS_RECORD_AWAITED) != 0;
	int wake = -1;
	Size segment = 0;
	Size size = MAXALIGN(sizeof(MalsRecord));

	for (int i = 0; i < nparts; i++)
		size += parts[i].size;
	record->size = MAXALIGN(size);
	record->proc = (int) (MyProc - ProcGlobal->allProcs);
	if (record->kind == MALS_RECORD_SEGMENT)
		segment = ((const MalsRecordSegment *) parts[0].data)->size;

	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	if (ring->database != MyDatabaseId)
	{
		LWLockRelease(&ring->lock);
		return MALS_PUT_CLOSED;
	}
	/* no one is told that a message is taken */
	if (!ring->open && record->kind != MALS_RECORD_MESSAGE)
		result = MALS_PUT_CLOSED;
	else if ((segment == 0 || ring->segment_bytes == 0 ||
			  ring->segment_bytes + segment <= (Size) mals_ring_size * 1024) &&
			 (*place = make_room(ring, record->size)) != NULL)
	{
		record->number = ++ring->sent;
		fill(*place, record, parts, nparts);
		ring->bytes += record->size;
		ring->segment_bytes += segment;
		if (awaited)
		{
			Waiter *waiter = my_waiter();

			SpinLockAcquire(&waiter->lock);
			waiter->number = record->number;
			waiter->ring = ring_index(ring);
			waiter->answered = false;
			SpinLockRelease(&waiter->lock);
			ring->nawaited++;
		}
		result = MALS_PUT_DONE;
	}
	if (record->kind == MALS_RECORD_MESSAGE)
		*(result == MALS_PUT_DONE ? &ring->counts.captured : &ring->counts.uncaptured) += 1;
	if (awaited || result == MALS_PUT_FULL || ring->bytes + ring->segment_bytes >= ENOUGH_BYTES)
		ring->urgent = true;
	if (ring->sleep == MALS_RING_IDLE || (ring->sleep == MALS_RING_TIMED && ring->urgent))
	{
		ring->sleep = MALS_RING_AWAKE;
		wake = ring->writer_proc;
	}
	LWLockRelease(&ring->lock);
	mals_wake_process(wake);
	return result;
}

void
mals_ring_tell(MalsRing *ring)
{
	int wake = -1;

	if (ring->telling)
		return;
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	ring->telling = true;
	if (ring->sleep == MALS_RING_IDLE)
	{
		ring->sleep = MALS_RING_AWAKE;
		wake = ring->writer_proc;
	}
	LWLockRelease(&ring->lock);
	mals_wake_process(wake);
	mals_ring_want(ring);
}

void
mals_ring_told(MalsRing *ring)
{
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	ring->telling = false;
	LWLockRelease(&ring->lock);
}

void
mals_ring_want(MalsRing *ring)
{
	ring->wanted = true;
	pg_memory_barrier();
	if (ring->writer == 0)
		mals_wake_process(mals_shared->launcher_proc);
}

void
mals_ring_wait_begin(void)
{
	ConditionVariablePrepareToSleep(&area->changed);
}

void
mals_ring_wait(long timeout)
{
	(void) ConditionVariableTimedSleep(&area->changed, timeout, PG_WAIT_EXTENSION);
}

void
mals_ring_wait_end(void)
{
	ConditionVariableCancelSleep();
}

/* Tells whether a session waits for a unit of a ring. The caller holds the place's lock. */
static bool
waits_for(const Waiter *waiter, const MalsRing *ring, uint64 number)
{
	return waiter->number == number && waiter->ring == ring_index(ring);
}

bool
mals_ring_withdraw(MalsRing *ring, MalsRecord *place, uint64 number)
{
	Waiter *waiter = my_waiter();
	bool waits;

	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	SpinLockAcquire(&waiter->lock);
	waits = waits_for(waiter, ring, number);
	waiter->number = 0;
	SpinLockRelease(&waiter->lock);
	/* if it does not, the record was answered, and is not there any more */
	waits = waits && number > ring->taken;
	if (waits)
		place->flags |= MALS_RECORD_WITHDRAWN;
	LWLockRelease(&ring->lock);
	return waits;
}

bool
mals_ring_outcome(MalsOutcome *outcome)
{
	const Waiter *waiter = my_waiter();

	if (!*(const volatile bool *) &waiter->answered)
		return false;
	pg_read_barrier();
	outcome->sqlerrcode = waiter->sqlerrcode;
	outcome->duplicates = waiter->duplicates;
	outcome->id = waiter->id;
	outcome->message = outcome->detail = outcome->hint = NULL;
	if (waiter->sqlerrcode != 0)
	{
		outcome->message = pstrdup(waiter->message);
		outcome->detail = waiter->detail[0] ? pstrdup(waiter->detail) : NULL;
		outcome->hint = waiter->hint[0] ? pstrdup(waiter->hint) : NULL;
	}
	return true;
}

bool
mals_ring_open(MalsRing *ring)
{
	bool opened;

	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	opened = ring->writer == 0 && ring->database == MyDatabaseId;
	if (opened)
	{
		ring->open = true;
		ring->writer = MyProcPid;
		ring->writer_proc = (int) (MyProc - ProcGlobal->allProcs);
		ring->sleep = MALS_RING_AWAKE;
		ring->taken = ring->done;
		ring->urgent = ring->sent > ring->done; /* another writer has left it */
	}
	LWLockRelease(&ring->lock);
	ConditionVariableBroadcast(&area->changed);
	return opened;
}

bool
mals_ring_close(MalsRing *ring, bool force)
{
	bool closed = false;

	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	if (ring->writer == MyProcPid && (force || ring->sent == ring->done))
	{
		ring->open = false;
		ring->writer = 0;
		ring->writer_proc = -1;
		closed = true;
	}
	LWLockRelease(&ring->lock);
	return closed;
}

void
mals_ring_stop(MalsRing *ring, bool for_good)
{
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	if (for_good)
		ring->wanted = false;
	if (ring->writer != 0)
		kill(ring->writer, SIGTERM);
	LWLockRelease(&ring->lock);
}

uint64
mals_ring_take(MalsRing *ring, bool now, MalsRingCursor *cursor, bool *idle)
{
	uint64 taken = 0;

	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	*idle = ring->sent == ring->done;
	if (!*idle && (now || ring->urgent))
	{
		taken = ring->taken = ring->sent;
		ring->urgent = false;
		ring->nawaited = 0;
		ring->sleep = MALS_RING_AWAKE;
		cursor->block = ring->first;
		cursor->offset = ring->first_offset;
		cursor->number = ring->done;
	}
	else
		ring->sleep = *idle ? MALS_RING_IDLE : MALS_RING_TIMED;
	LWLockRelease(&ring->lock);
	return taken;
}

int
mals_ring_awaited(const MalsRing *ring)
{
	return ((const volatile MalsRing *) ring)->nawaited;
}

MalsRecord *
mals_ring_read(MalsRing *ring, MalsRingCursor *cursor)
{
	MalsRecord *record;

	/* a block that is not the last one is not changed any more */
	if (cursor->offset == blocks[cursor->block].used)
	{
		cursor->block = blocks[cursor->block].next;
		cursor->offset = offsetof(Block, data);
	}
	record = record_at(cursor->block, cursor->offset);
	cursor->offset += record->size;
	cursor->number++;
	Assert(record->number == cursor->number);
	return record;
}

/* Copies a text, or nothing, cut to its place between two characters. */
static void
copy_text(char *to, const char *from, int size)
{
	int len = 0;

	if (from != NULL)
	{
		len = pg_mbcliplen(from, strlen(from), size - 1);
		memcpy(to, from, len);
	}
	to[len] = '\0';
}

/* Marks a record as done with, and fills in the place of the session that waits for it. */
static void
answer(const MalsRing *ring, MalsRecord *record, const MalsOutcome *outcome)
{
	Waiter *waiter = &area->waiters[record->proc];

	record->flags |= MALS_RECORD_DONE;
	if (!(record->flags & MALS_RECORD_AWAITED))
		return;
	SpinLockAcquire(&waiter->lock);
	if (waits_for(waiter, ring, record->number))
	{
		waiter->sqlerrcode = outcome->sqlerrcode;
		waiter->duplicates = outcome->duplicates;
		waiter->id = outcome->id;
		if (outcome->sqlerrcode != 0)
		{
			copy_text(waiter->message, outcome->message, sizeof(waiter->message));
			copy_text(waiter->detail, outcome->detail, sizeof(waiter->detail));
			copy_text(waiter->hint, outcome->hint, sizeof(waiter->hint));
		}
		waiter->number = 0;
		pg_write_barrier();
		waiter->answered = true;
	}
	SpinLockRelease(&waiter->lock);
}

void
mals_ring_answer(MalsRing *ring, MalsRecord **records, const MalsOutcome *outcomes, int n)
{
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
		answer(ring, records[i], &outcomes[i]);
	LWLockRelease(&ring->lock);
	for (int i = 0; i < n; i++)
		if (records[i]->flags & MALS_RECORD_AWAITED)
			mals_wake_process(records[i]->proc);
}

/* Gives back the room of a ring's first record, which is there until the next one's is. */
static MalsRecord *
release_first(MalsRing *ring)
{
	MalsRecord *record;

	if (ring->first_offset == blocks[ring->first].used)
		free_first(ring);
	record = record_at(ring->first, ring->first_offset);
	ring->first_offset += record->size;
	ring->bytes -= record->size;
	if (record->kind == MALS_RECORD_SEGMENT)
		ring->segment_bytes -= ((MalsRecordSegment *) mals_record_data(record))->size;
	ring->done++;
	return record;
}

void
mals_ring_release(MalsRing *ring, const MalsRingCursor *cursor, uint64 entries)
{
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	ring->counts.entries += entries;
	ring->counts.flushes++;
	while (ring->done < cursor->number)
		(void) release_first(ring);
	if (ring->done == ring->sent && ring->first != NO_BLOCK)
		free_first(ring);
	LWLockRelease(&ring->lock);
	ConditionVariableBroadcast(&area->changed);
}

void
mals_ring_init(MalsRing *ring, int tranche)
{
	memset(ring, 0, sizeof(*ring));
	LWLockInitialize(&ring->lock, tranche);
	ring->writer_proc = -1;
	ring->first = ring->last = NO_BLOCK;
	pg_atomic_init_u64(&ring->suppressed, 0);
}

/* Discards the first record of a ring. Returns its segment's handle, or DSM_HANDLE_INVALID. */
static dsm_handle
discard_first(MalsRing *ring)
{
	static const MalsOutcome gone = {
		.sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		.message = "mals has left this database",
		.hint = "The entries are not stored. CREATE EXTENSION mals, and log them again."};
	MalsRecord *record = release_first(ring);

	if (record->flags & MALS_RECORD_DONE)
		return DSM_HANDLE_INVALID;
	answer(ring, record, &gone);
	if (record->flags & MALS_RECORD_AWAITED)
		mals_wake_process(record->proc);
	return record->kind == MALS_RECORD_SEGMENT
			   ? ((MalsRecordSegment *) mals_record_data(record))->handle
			   : DSM_HANDLE_INVALID;
}

void
mals_ring_assign(MalsRing *ring, Oid database)
{
	LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
	ring->database = database;
	ring->wanted = ring->open = ring->urgent = ring->telling = false;
	memset(&ring->counts, 0, sizeof(ring->counts));
	pg_atomic_write_u64(&ring->suppressed, 0);
	LWLockRelease(&ring->lock);
}

void
mals_ring_clear(MalsRing *ring)
{
	/* from then on nothing is put, by whoever has found the ring before */
	mals_ring_assign(ring, InvalidOid);
	for (bool more = true; more;)
	{
		dsm_handle segment = DSM_HANDLE_INVALID;

		LWLockAcquire(&ring->lock, LW_EXCLUSIVE);
		more = ring->done < ring->sent;
		if (more)
			segment = discard_first(ring);
		else if (ring->first != NO_BLOCK)
			free_first(ring);
		LWLockRelease(&ring->lock);
		if (segment != DSM_HANDLE_INVALID)
			dsm_unpin_segment(segment);
	}
	ConditionVariableBroadcast(&area->changed);
}

/* SQL: what a database's ring holds, and its counters. */
Datum
mals_ring_status(PG_FUNCTION_ARGS)
{
	MalsRing *ring = mals_ring();
	Datum values[12];
	bool nulls[12] = {false};
	TupleDesc layout;

	if (ring == NULL)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &layout) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	LWLockAcquire(&ring->lock, LW_SHARED);
	values[0] = Int64GetDatum((int64) mals_ring_size * 1024);
	values[1] = Int64GetDatum(ring->bytes + ring->segment_bytes);
	values[2] = Int64GetDatum(ring->sent - ring->done);
	values[3] = Int32GetDatum(ring->writer);
	nulls[3] = ring->writer == 0;
	values[4] = Int64GetDatum(ring->counts.entries);
	values[5] = Int64GetDatum(ring->counts.flushes);
	values[6] = Int64GetDatum(ring->counts.waits);
	values[7] = Int64GetDatum(ring->counts.timeouts);
	values[8] = Int64GetDatum(ring->counts.dead_letters);
	values[9] = Int64GetDatum(ring->counts.captured);
	values[10] = Int64GetDatum(ring->counts.uncaptured);
	values[11] = Int64GetDatum(pg_atomic_read_u64(&ring->suppressed));
	LWLockRelease(&ring->lock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(layout), values, nulls)));
}
