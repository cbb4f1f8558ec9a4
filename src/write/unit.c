/*
 * unit.c
 *		Units: the finished entries of one statement, packed one after the other
 *		for the ring, and what their sender does to get them there.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "write/unit.h"

PG_FUNCTION_INFO_V1(mals_flush);

#define TEXTS 7

/* An entry as it is packed; its texts follow, each at a multiple of 4 bytes. */
typedef struct PackedEntry
{
	uint32 size;           /* with the texts, a multiple of MAXALIGN */
	uint32 lengths[TEXTS]; /* 0: there is none */
	TimestampTz ts;
	TimestampTz created_at;
	int64 fingerprint;
	int32 level;
	bool has_id;
	bool has_trace_id;
	bool has_parent_id;
	bool has_refused_key;
	pg_uuid_t id;
	pg_uuid_t trace_id;
	pg_uuid_t parent_id;
	pg_uuid_t refused_id;
	pg_uuid_t refused_key;
} PackedEntry;

struct MalsUnit
{
	const char *what;
	MalsRing *ring;
	bool awaited;
	bool bound;
	bool flush; /* to be sent without entries */
	uint32 nentries;
	Size size;
	Size room;
	char *data;
};

/* The ring of this session's database, which may be another one at each call. */
static MalsRing *
find_ring(const char *what)
{
	MalsRing *ring = IsUnderPostmaster ? mals_ring() : NULL;

	if (ring == NULL)
		ereport(
			ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("%s: there is no room for another database in the shared memory of mals", what),
			errhint("SET mals.write_mode = 'transactional', or drop databases that are not "
					"used and restart the server."));
	return ring;
}

MalsUnit *
mals_unit_begin(const char *what, bool awaited)
{
	MalsUnit *unit = palloc(sizeof(MalsUnit));

	unit->what = what;
	unit->ring = find_ring(what);
	unit->awaited = awaited;
	unit->bound = unit->flush = false;
	unit->nentries = 0;
	unit->size = 0;
	unit->room = 1024;
	unit->data = palloc(unit->room);
	return unit;
}

/* Lists the texts of an entry in the order in which they are packed. */
static void
list_texts(const MalsEntry *entry, const void *texts[TEXTS])
{
	texts[0] = entry->agent_id;
	texts[1] = entry->message;
	texts[2] = entry->category;
	texts[3] = entry->source;
	texts[4] = entry->session_key;
	texts[5] = entry->correlation_id;
	texts[6] = entry->metadata;
}

/* Makes room for so many bytes more. */
static char *
extend(MalsUnit *unit, Size size)
{
	if (unit->room - unit->size < size)
	{
		unit->room = Max(unit->room * 2, unit->size + size);
		unit->data = repalloc_huge(unit->data, unit->room);
	}
	unit->size += size;
	return unit->data + unit->size - size;
}

void
mals_unit_add(MalsUnit *unit, const MalsEntry *entry, bool bound)
{
	const void *texts[TEXTS];
	PackedEntry *packed;
	Size size = MAXALIGN(sizeof(PackedEntry));
	char *p;

	list_texts(entry, texts);
	for (int i = 0; i < TEXTS; i++)
		size += texts[i] == NULL ? 0 : INTALIGN(VARSIZE_ANY(texts[i]));
	size = MAXALIGN(size);

	p = extend(unit, size);
	memset(p, 0, MAXALIGN(sizeof(PackedEntry)));
	packed = (PackedEntry *) p;
	packed->size = size;
	packed->ts = entry->ts;
	packed->created_at = entry->created_at;
	packed->fingerprint = entry->fingerprint;
	packed->level = entry->level;
	packed->has_id = entry->has_id;
	packed->has_trace_id = entry->has_trace_id;
	packed->has_parent_id = entry->has_parent_id;
	packed->has_refused_key = entry->has_refused_key;
	packed->id = entry->id;
	if (entry->has_trace_id)
		packed->trace_id = entry->trace_id;
	if (entry->has_parent_id)
		packed->parent_id = entry->parent_id;
	if (entry->has_refused_key)
	{
		packed->refused_id = entry->refused_id;
		packed->refused_key = entry->refused_key;
	}
	p += MAXALIGN(sizeof(PackedEntry));
	for (int i = 0; i < TEXTS; i++)
	{
		if (texts[i] == NULL)
			continue;
		packed->lengths[i] = VARSIZE_ANY(texts[i]);
		memcpy(p, texts[i], packed->lengths[i]);
		p += INTALIGN(packed->lengths[i]);
	}
	unit->bound = unit->bound || bound;
	unit->nentries++;
}

const char *
mals_unit_read(const char *data, MalsEntry *entry)
{
	const PackedEntry *packed = (const PackedEntry *) data;
	char *texts[TEXTS];
	char *p = (char *) data + MAXALIGN(sizeof(PackedEntry));

	for (int i = 0; i < TEXTS; i++)
	{
		texts[i] = packed->lengths[i] == 0 ? NULL : p;
		p += INTALIGN(packed->lengths[i]);
	}
	mals_entry_init(entry, -1);
	entry->agent_id = (text *) texts[0];
	entry->message = (text *) texts[1];
	entry->category = (text *) texts[2];
	entry->source = (text *) texts[3];
	entry->session_key = (text *) texts[4];
	entry->correlation_id = (text *) texts[5];
	entry->metadata = (Jsonb *) texts[6];
	entry->ts = packed->ts;
	entry->created_at = packed->created_at;
	entry->fingerprint = packed->fingerprint;
	entry->level = packed->level;
	entry->has_ts = entry->has_level = true;
	entry->has_id = packed->has_id;
	entry->has_trace_id = packed->has_trace_id;
	entry->has_parent_id = packed->has_parent_id;
	entry->has_refused_key = packed->has_refused_key;
	entry->id = packed->id;
	entry->trace_id = packed->trace_id;
	entry->parent_id = packed->parent_id;
	entry->refused_id = packed->refused_id;
	entry->refused_key = packed->refused_key;
	return data + packed->size;
}

/* The longest sleep, after which a session asks for a writer once more, in milliseconds. */
#define MAX_SLEEP 1000

/* How many milliseconds of mals.write_timeout are left. */
static long
time_left(TimestampTz begin)
{
	if (mals_write_timeout == 0)
		return MAX_SLEEP;
	return mals_write_timeout - TimestampDifferenceMilliseconds(begin, GetCurrentTimestamp());
}

/* Raises 55000 for a unit that was not written in time. */
static void
raise_timeout(const MalsUnit *unit, bool in_hand)
{
	LWLockAcquire(&unit->ring->lock, LW_EXCLUSIVE);
	unit->ring->counts.timeouts++;
	LWLockRelease(&unit->ring->lock);
	ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("%s: the writer of mals did not write within mals.write_timeout", unit->what),
			in_hand ? errdetail("It is at work on the entries; they may be stored yet.")
					: errdetail("The entries are not stored."),
			errhint("Look at mals_health() and the server's log. The writer needs a place among "
					"max_worker_processes, and locks that this transaction must not hold."));
}

/* Puts a record, waiting for room and for a writer. */
static MalsRecord *
put(MalsUnit *unit, MalsRecord *record, const MalsPart *part)
{
	MalsRecord *place;
	TimestampTz begin;
	MalsPut result = mals_ring_put(unit->ring, record, part, 1, &place);

	if (result == MALS_PUT_DONE)
		return place;
	LWLockAcquire(&unit->ring->lock, LW_EXCLUSIVE);
	unit->ring->counts.waits++;
	LWLockRelease(&unit->ring->lock);
	begin = GetCurrentTimestamp();
	mals_ring_wait_begin();
	while ((result = mals_ring_put(unit->ring, record, part, 1, &place)) != MALS_PUT_DONE)
	{
		long left = time_left(begin);

		if (left <= 0)
			raise_timeout(unit, false);
		unit->ring = find_ring(unit->what);
		if (result == MALS_PUT_CLOSED)
			mals_ring_want(unit->ring);
		mals_ring_wait(Min(left, MAX_SLEEP));
	}
	mals_ring_wait_end();
	return place;
}

/* Drops a segment that was not put. */
static void
drop_segment(int code, Datum handle)
{
	dsm_unpin_segment(DatumGetUInt32(handle));
}

/* Copies a large unit into a segment and puts a record that names it. */
static MalsRecord *
put_segment(MalsUnit *unit, MalsRecord *record)
{
	dsm_segment *segment = dsm_create(unit->size, 0);
	MalsRecordSegment named = {dsm_segment_handle(segment), unit->size};
	MalsPart part = {&named, sizeof(named)};
	MalsRecord *place;

	memcpy(dsm_segment_address(segment), unit->data, unit->size);
	record->kind = MALS_RECORD_SEGMENT;
	dsm_pin_segment(segment);
	PG_ENSURE_ERROR_CLEANUP(drop_segment, UInt32GetDatum(named.handle));
	{
		place = put(unit, record, &part);
	}
	PG_END_ENSURE_ERROR_CLEANUP(drop_segment, UInt32GetDatum(named.handle));
	dsm_detach(segment);
	return place;
}

/* Waits until the writer has told what became of the unit. */
static void
wait_for_outcome(const MalsUnit *unit, MalsRecord *place, uint64 number, MalsOutcome *outcome)
{
	MalsRing *ring = unit->ring;
	TimestampTz begin = 0;

	while (!mals_ring_outcome(outcome))
	{
		long left;

		if (begin == 0)
			begin = GetCurrentTimestamp();
		left = time_left(begin);
		if (left <= 0)
		{
			bool withdrawn = mals_ring_withdraw(ring, place, number);

			/* it may have been answered just now, or while this session was kept from running */
			if (!withdrawn && mals_ring_outcome(outcome))
				break;
			raise_timeout(unit, !withdrawn);
		}
		if (!ring->open)
			mals_ring_want(ring);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, MAX_SLEEP), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Waits for an awaited unit; raises the error that kept the writer from storing it. */
static void
await(const MalsUnit *unit, MalsRecord *place, uint64 number, MalsOutcome *outcome)
{
	PG_TRY();
	{
		wait_for_outcome(unit, place, number, outcome);
	}
	PG_CATCH();
	{
		(void) mals_ring_withdraw(unit->ring, place, number);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (outcome->sqlerrcode != 0)
		ereport(ERROR, errcode(outcome->sqlerrcode), errmsg("%s: %s", unit->what, outcome->message),
				outcome->detail ? errdetail("%s", outcome->detail) : 0,
				errhint("%s", outcome->hint ? outcome->hint
											: "The entries are kept in mals.dead_letters; log them "
											  "again when the cause is gone."));
}

MalsWritten
mals_unit_send(MalsUnit *unit)
{
	MalsWritten written = {0};
	MalsRecord record;
	MalsRecord *place;

	if (unit->nentries == 0 && !unit->flush)
		return written;
	memset(&record, 0, sizeof(record));
	record.kind = MALS_RECORD_ENTRIES;
	record.flags =
		(unit->awaited ? MALS_RECORD_AWAITED : 0) | (unit->bound ? MALS_RECORD_BOUND : 0);
	record.synchronous = synchronous_commit;
	record.nentries = unit->nentries;
	if (unit->size <= MALS_RING_MAX_DATA)
	{
		MalsPart part = {unit->data, unit->size};

		place = put(unit, &record, &part);
	}
	else
		place = put_segment(unit, &record);

	if (unit->awaited)
	{
		MalsOutcome outcome;

		await(unit, place, record.number, &outcome);
		written.known = true;
		written.duplicates = outcome.duplicates;
		written.id = outcome.id;
	}
	return written;
}

void
mals_write_flush(const char *what)
{
	MalsRing *ring = mals_ring();
	MalsUnit *unit;
	bool empty;

	if (ring == NULL)
		return;
	LWLockAcquire(&ring->lock, LW_SHARED);
	empty = ring->sent == ring->done;
	LWLockRelease(&ring->lock);
	if (empty)
		return;
	unit = mals_unit_begin(what, true);
	unit->flush = true;
	(void) mals_unit_send(unit);
}

/* SQL: waits until all that was put into the ring before is written. */
Datum
mals_flush(PG_FUNCTION_ARGS)
{
	if (RecoveryInProgress())
		mals_error_read_only("mals_flush()");
	mals_write_flush("mals_flush()");
	PG_RETURN_VOID();
}
