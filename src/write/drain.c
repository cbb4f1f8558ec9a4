/*
 * drain.c
 *		The writer: a background process that writes what sessions put into the
 *		ring of its database, many units in one transaction.
 *
 * It sleeps until something comes; then it waits half of mals.flush_interval
 * for more, or until a session waits for the outcome or enough is there. If a
 * transaction fails, each of its units is tried apart, three times in all; what
 * cannot be written goes to mals.dead_letters, and is answered with its error.
 *
 * SIGTERM makes it write what is there and exit: at a shutdown of the server,
 * before DROP DATABASE and its like, or to be started again. From then on it
 * does not wait for locks for long.
 */
#include "mals_errors.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "mals_guc.h"
#include "mals_spi.h"
#include "worker/shared.h"
#include "worker/worker.h"
#include "write/limit.h"
#include "write/unit.h"

/* How long to wait for sessions that were just answered to come again, in microseconds. */
#define GATHER_STEP 50
#define GATHER_MAX 1000

/* What one transaction writes at most, but for the last unit. */
#define MAX_UNITS 4096
#define MAX_BYTES (2 * 1024 * 1024)

/* How often a unit is tried, and how long to wait in between, in milliseconds. */
#define ATTEMPTS 3
#define RETRY_DELAY 100

/* How long to wait for a transaction that is about to store the same id, in milliseconds. */
#define ID_TIMEOUT 2000

/* How long to wait where not even dead letters can be written, in milliseconds. */
#define STUCK_DELAY 1000

/* How long to wait for locks, in all, once it is to stop, in milliseconds. */
#define STOP_TIMEOUT 10000

/* Units with what became of them. */
typedef struct Batch
{
	int n;
	MalsRecord *records[MAX_UNITS];
	MalsOutcome outcomes[MAX_UNITS];
	ErrorData *errors[MAX_UNITS]; /* of those that failed */
	int nempty;                   /* units of mals_flush, answered when all others are done with */
	MalsRecord *empty[MAX_UNITS];
} Batch;

static MalsRing *ring;
static volatile sig_atomic_t stopping = false;
static volatile sig_atomic_t working = false;   /* a transaction is open */
static volatile sig_atomic_t cancelled = false; /* SIGTERM has cancelled it: to be begun anew */
static TimestampTz stop_waiting = 0;            /* stopping: no lock is waited for any longer */

/* The last transaction: units that were awaited, and what its commit took, in microseconds. */
static int answered = 0;
static int64 commit_time = 0;

/* SIGTERM: asks for an end when all is written. */
static void
handle_stop(SIGNAL_ARGS)
{
	int save_errno = errno;

	stopping = true;
	/* a transaction must not wait for a lock, nor a commit for a standby, that may never come */
	if (working)
	{
		working = false;
		cancelled = true;
		QueryCancelPending = InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* SIGINT: ends a wait for a lock in time; a request to cancel must not make entries dead letters. */
static void
handle_cancel(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
}

/* Leaves the ring to another writer. */
static void
leave(int code, Datum arg)
{
	(void) mals_ring_close(ring, true);
	mals_wake_process(mals_shared->launcher_proc);
}

/* Sleeps, whatever happens to the latch, but no longer than to the next SIGTERM. */
static void
rest(long milliseconds)
{
	bool was_stopping = stopping;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);

	while (stopping == was_stopping &&
		   (milliseconds = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Tells whether the database has the extension. */
static bool
has_extension(void)
{
	bool found;

	StartTransactionCommand();
	found = OidIsValid(get_namespace_oid("mals", true));
	CommitTransactionCommand();
	return found;
}

/* Where the entries of a record are; segment is to be detached after. */
static const char *
record_entries(const MalsRecord *record, dsm_segment **segment)
{
	char *data = mals_record_data(record);

	*segment = NULL;
	if (record->kind != MALS_RECORD_SEGMENT)
		return data;
	*segment = dsm_attach(((MalsRecordSegment *) data)->handle);
	if (*segment == NULL)
		elog(ERROR, "could not attach the segment of a unit");
	return dsm_segment_address(*segment);
}

/* Calls a function for each entry of a record, in the order in which they were added. */
static void
for_entries(const MalsRecord *record, void (*function)(MalsEntry *entry, void *arg), void *arg)
{
	dsm_segment *segment;
	const char *data = record_entries(record, &segment);

	if (record->kind == MALS_RECORD_MESSAGE)
	{
		MalsEntry entry;

		mals_message_read(data, &entry);
		if (mals_write_accept(&entry))
			function(&entry, arg);
		return;
	}
	for (uint32 i = 0; i < record->nentries; i++)
	{
		MalsEntry entry;

		data = mals_unit_read(data, &entry);
		function(&entry, arg);
	}
	if (segment != NULL)
		dsm_detach(segment);
}

/*
 * How long to wait for a lock: for tables as long as it takes, as senders would,
 * for a transaction that is about to store the same id not that long.
 */
static int
lock_timeout(bool of_id)
{
	int timeout = of_id ? ID_TIMEOUT : 0;
	long left;

	if (!stopping)
		return timeout;
	if (stop_waiting == 0)
		stop_waiting = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_TIMEOUT);
	left = Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), stop_waiting), 1);
	return timeout == 0 ? left : Min(timeout, left);
}

/* A unit that is being written. */
typedef struct Writing
{
	MalsWriter *writer;
	MalsOutcome *outcome;
} Writing;

/* Writes an entry. */
static void
write_entry(MalsEntry *entry, void *arg)
{
	Writing *writing = arg;

	LockTimeout = lock_timeout(entry->has_id || entry->has_refused_key);
	if (!mals_writer_add(writing->writer, entry))
		writing->outcome->duplicates++;
	writing->outcome->id = entry->id;
}

/* What is done in one transaction. */
typedef struct Work
{
	MalsRecord **records;
	MalsOutcome *outcomes;
	int n;
	const ErrorData *error; /* why they are dead letters */
} Work;

/* Ends a transaction so that units are known to be done with as soon as they are durable. */
static void
commit(const Work *work)
{
	int level = SYNCHRONOUS_COMMIT_LOCAL_FLUSH;
	TimestampTz begin = GetCurrentTimestamp();

	answered = 0;
	for (int i = 0; i < work->n; i++)
		if (work->records[i]->flags & MALS_RECORD_AWAITED)
		{
			level = Max(level, work->records[i]->synchronous);
			answered++;
		}
	synchronous_commit = stopping ? SYNCHRONOUS_COMMIT_LOCAL_FLUSH : level;

	HOLD_INTERRUPTS();
	CommitTransactionCommand();
	working = cancelled = false;
	QueryCancelPending = false;
	commit_time = GetCurrentTimestamp() - begin;
	mals_ring_answer(ring, work->records, work->outcomes, work->n);
	for (int i = 0; i < work->n; i++)
		if (work->records[i]->kind == MALS_RECORD_SEGMENT)
			dsm_unpin_segment(((MalsRecordSegment *) mals_record_data(work->records[i]))->handle);
	RESUME_INTERRUPTS();
}

/* Begins a transaction. */
static void
begin(void)
{
	/* in this order: SIGTERM is seen, or cancels */
	working = true;
	LockTimeout = lock_timeout(false);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* The step that writes units. */
static void
write_units(const Work *work)
{
	Writing writing;

	begin();
	writing.writer = mals_writer_begin_rows("mals writer");
	for (int i = 0; i < work->n; i++)
	{
		memset(&work->outcomes[i], 0, sizeof(MalsOutcome));
		writing.outcome = &work->outcomes[i];
		mals_writer_bind(writing.writer, (work->records[i]->flags & MALS_RECORD_BOUND) != 0);
		for_entries(work->records[i], write_entry, &writing);
	}
	(void) mals_writer_end(writing.writer);
	PopActiveSnapshot();
	commit(work);
}

/* Writes a dead letter; arg is the error. */
static void
write_dead_letter(MalsEntry *entry, void *arg)
{
	const ErrorData *error = arg;
	Oid types[] = {UUIDOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				   TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,        TEXTOID,
				   TEXTOID, UUIDOID, UUIDOID, JSONBOID};
	Datum values[lengthof(types)] = {
		UUIDPGetDatum(&entry->id),
		Int32GetDatum(ATTEMPTS),
		CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)),
		CStringGetTextDatum(error->message),
		TimestampTzGetDatum(entry->ts),
		TimestampTzGetDatum(entry->created_at),
		CStringGetTextDatum(mals_level_name(entry->level)),
		PointerGetDatum(entry->agent_id),
		PointerGetDatum(entry->message),
		PointerGetDatum(entry->category),
		PointerGetDatum(entry->source),
		PointerGetDatum(entry->session_key),
		PointerGetDatum(entry->correlation_id),
		UUIDPGetDatum(&entry->trace_id),
		UUIDPGetDatum(&entry->parent_id),
		JsonbPGetDatum(entry->metadata),
	};
	char nulls[lengthof(types) + 1];

	for (int i = 0; i < lengthof(types); i++)
		nulls[i] = values[i] == (Datum) 0 ? 'n' : ' ';
	nulls[13] = entry->has_trace_id ? ' ' : 'n';
	nulls[14] = entry->has_parent_id ? ' ' : 'n';
	if (SPI_execute_with_args(
			"INSERT INTO mals.dead_letters (id, agent_id, attempts, sqlstate, error, entry) "
			"VALUES ($1, $8, $2, $3, $4, jsonb_strip_nulls(jsonb_build_object('id', $1, 'ts', $5, "
			"'created_at', $6, 'level', $7, 'agent_id', $8, 'message', $9, 'category', $10, "
			"'source', $11, 'session_key', $12, 'correlation_id', $13, 'trace_id', $14, "
			"'parent_id', $15)) || jsonb_build_object('metadata', $16))",
			lengthof(types), types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into mals.dead_letters");
}

/* The step that keeps units as dead letters. */
static void
write_dead_letters(const Work *work)
{
	begin();
	mals_spi_connect();
	for (int i = 0; i < work->n; i++)
		for_entries(work->records[i], write_dead_letter, (void *) work->error);
	SPI_finish();
	PopActiveSnapshot();
	commit(work);
}

/* The step that tells of entries that limits refused: one entry an agent. */
static void
write_suppressed(const Work *unused)
{
	MalsWriter *writer;
	MalsSuppressed suppressed;
	int position = 0;

	begin();
	writer = mals_writer_begin_rows("mals writer");
	while (mals_limit_take(&position, &suppressed))
	{
		MalsEntry entry;
		MalsMerge *merge = mals_merge_begin();
		JsonbValue count;

		count.type = jbvNumeric;
		count.val.numeric = int64_to_numeric(suppressed.entries);
		mals_merge_value(merge, "suppressed", strlen("suppressed"), &count, NULL);
		mals_entry_init(&entry, -1);
		entry.agent_id = cstring_to_text(suppressed.agent_id);
		entry.message =
			cstring_to_text(psprintf("suppressed %lld entries", (long long) suppressed.entries));
		entry.level = MALS_LEVEL_WARN;
		entry.has_level = true;
		entry.category = cstring_to_text("mals");
		entry.source = cstring_to_text("mals");
		entry.metadata = mals_merge_end(merge);
		if (mals_entry_finish(&entry))
			(void) mals_writer_add(writer, &entry);
	}
	(void) mals_writer_end(writer);
	PopActiveSnapshot();
	CommitTransactionCommand();
	working = false;
}

typedef void (*Step)(const Work *);

/*
 * Takes a step in a transaction of its own, or in a second one where SIGTERM has
 * cancelled the first. Returns its error, or NULL.
 */
static ErrorData *
attempt(Step step, MalsRecord **records, MalsOutcome *outcomes, int n, const ErrorData *why)
{
	Work work = {records, outcomes, n, why};
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error;

	do
	{
		cancelled = false;
		error = NULL;
		PG_TRY();
		{
			step(&work);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			FlushErrorState();
			working = false;
			QueryCancelPending = false;
			AbortCurrentTransaction();
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
	} while (error != NULL && cancelled);
	return error;
}

/* Keeps a unit as dead letters; what cannot even be kept there is told to the server's log. */
static void
bury(MalsRecord *record, MalsOutcome *outcome, const ErrorData *error)
{
	ErrorData *trouble;

	memset(outcome, 0, sizeof(MalsOutcome));
	outcome->sqlerrcode = error->sqlerrcode;
	outcome->message = error->message;
	outcome->detail = error->detail;
	outcome->hint = error->hint;
	for (bool told = false; (trouble = attempt(write_dead_letters, &record, outcome, 1, error));
		 told = true)
	{
		ErrorData *again;
		bool dropped = !has_extension();
		/* whoever waits can be told; entries of others are kept as long as the server runs */
		bool last = stopping || dropped || (record->flags & MALS_RECORD_AWAITED) ||
					record->kind == MALS_RECORD_MESSAGE;

		if (!told || last)
			ereport(LOG, errcode(error->sqlerrcode),
					errmsg("mals could not write %u entries: %s", record->nentries, error->message),
					errdetail("Nor could it keep them in mals.dead_letters: %s", trouble->message),
					last ? errhint("They are not stored.")
						 : errhint("They stay in memory, and are tried again."));
		if (last)
		{
			if (dropped)
				mals_ring_stop(ring, true);
			outcome->hint = "The entries are not stored.";
			mals_ring_answer(ring, &record, outcome, 1);
			if (record->kind == MALS_RECORD_SEGMENT)
				dsm_unpin_segment(((MalsRecordSegment *) mals_record_data(record))->handle);
			return;
		}
		FreeErrorData(trouble);
		rest(STUCK_DELAY);
		again = attempt(write_units, &record, outcome, 1, NULL);
		if (again == NULL)
			return;
		FreeErrorData(again);
	}
	ring->counts.dead_letters += record->nentries;
	ereport(LOG, errcode(error->sqlerrcode),
			errmsg("mals could not write %u entries: %s", record->nentries, error->message),
			errdetail("They are kept in mals.dead_letters."));
}

/* Writes units; those that fail apart, and as dead letters in the end, after all others. */
static void
write_batch(Batch *batch)
{
	if (attempt(write_units, batch->records, batch->outcomes, batch->n, NULL) == NULL)
		return;
	for (int tries = batch->n > 1 ? 0 : 1; batch->n > 0 && tries < ATTEMPTS; tries++)
	{
		int left = 0;

		if (tries > 0)
			rest(RETRY_DELAY);
		for (int i = 0; i < batch->n; i++)
		{
			MalsRecord *record = batch->records[i];
			ErrorData *error = attempt(write_units, &record, &batch->outcomes[i], 1, NULL);

			if (error == NULL)
				continue;
			batch->errors[left] = error;
			batch->records[left++] = record;
		}
		batch->n = left;
	}
	for (int i = 0; i < batch->n; i++)
		bury(batch->records[i], &batch->outcomes[i], batch->errors[i]);
}

/* Writes all that was taken in hand. */
static void
drain(uint64 taken, MalsRingCursor *cursor, Batch *batch)
{
	while (cursor->number < taken)
	{
		uint64 entries = 0;
		Size bytes = 0;

		batch->n = batch->nempty = 0;
		while (cursor->number < taken && batch->n + batch->nempty < MAX_UNITS && bytes < MAX_BYTES)
		{
			MalsRecord *record = mals_ring_read(ring, cursor);
			MalsRecordSegment *segment = NULL;

			if (record->kind == MALS_RECORD_SEGMENT)
				segment = (MalsRecordSegment *) mals_record_data(record);
			if (record->flags & MALS_RECORD_DONE)
				continue;
			if (record->flags & MALS_RECORD_WITHDRAWN)
			{
				mals_ring_answer(ring, &record, batch->outcomes, 1);
				if (segment != NULL)
					dsm_unpin_segment(segment->handle);
				continue;
			}
			bytes += record->size + (segment != NULL ? segment->size : 0);
			entries += record->nentries;
			if (record->nentries > 0)
				batch->records[batch->n++] = record;
			else
				batch->empty[batch->nempty++] = record;
		}
		if (batch->n > 0)
			write_batch(batch);
		memset(batch->outcomes, 0, batch->nempty * sizeof(MalsOutcome));
		mals_ring_answer(ring, batch->empty, batch->outcomes, batch->nempty);
		mals_ring_release(ring, cursor, entries);
		pgstat_report_stat(false);
	}
}

/*
 * Waits for the sessions that were answered to come again, for no longer than
 * half of what a commit takes: so that all of them share the next one, instead
 * of half of them each.
 */
static void
gather(void)
{
	int expected = answered + mals_ring_awaited(ring);
	TimestampTz until = GetCurrentTimestamp() + Min(commit_time / 2, GATHER_MAX);

	while (expected > 1 && mals_ring_awaited(ring) < expected && !stopping &&
		   GetCurrentTimestamp() < until)
		pg_usleep(GATHER_STEP);
	answered = 0;
}

/*
 * Tells of entries that limits refused, a second after they began to. Returns
 * how many milliseconds that is off, or -1; 0 after it has, as what came
 * meanwhile may not have woken the writer.
 */
static long
tell_suppressed(TimestampTz now)
{
	static TimestampTz due = 0;
	ErrorData *error;

	if (!ring->telling)
		return -1;
	if (due == 0)
		due = now + USECS_PER_SEC;
	if (now < due && !stopping)
		return TimestampDifferenceMilliseconds(now, due);
	due = 0;
	mals_ring_told(ring);
	error = attempt(write_suppressed, NULL, NULL, 0, NULL);
	if (error != NULL)
		ereport(LOG, errmsg("mals could not tell of suppressed entries: %s", error->message));
	return 0;
}

/* Writes what comes, until it is asked to stop. */
static void
work(void)
{
	MemoryContext scratch =
		AllocSetContextCreate(TopMemoryContext, "mals writer", ALLOCSET_DEFAULT_SIZES);
	Batch *batch = MemoryContextAllocZero(TopMemoryContext, sizeof(Batch));
	TimestampTz since = 0; /* when something was first seen that waits */

	for (;;)
	{
		TimestampTz now;
		MalsRingCursor cursor;
		uint64 taken;
		bool idle;
		long timeout;
		long tell;

		MemoryContextSwitchTo(scratch);
		MemoryContextReset(scratch);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		now = GetCurrentTimestamp();
		timeout = since == 0 ? 1 : mals_flush_interval / 2 - (now - since) / 1000;
		taken = mals_ring_take(ring, stopping || timeout <= 0, &cursor, &idle);
		if (taken > 0)
		{
			drain(taken, &cursor, batch);
			gather();
			since = 0;
			continue;
		}
		tell = tell_suppressed(now);
		if (idle && stopping)
		{
			if (mals_ring_close(ring, false))
				break;
			continue;
		}
		if (idle)
		{
			pgstat_report_stat(true);
			since = 0;
		}
		else if (since == 0)
		{
			since = now;
			timeout = mals_flush_interval / 2;
		}
		if (idle || (tell >= 0 && tell < timeout))
			timeout = tell;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, PG_WAIT_EXTENSION);
	}
}

void
mals_writer_main(Datum database)
{
	MalsDatabase *slot;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_stop);
	pqsignal(SIGINT, handle_cancel);
	BackgroundWorkerUnblockSignals();
	mals_worker_connect(DatumGetObjectId(database), BGWORKER_BYPASS_ALLOWCONN);
	/* what roles and databases set for their own sessions must not keep entries from being written */
	SetConfigOption("mals.write_mode", "transactional", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	/* senders have asked for their limits */
	SetConfigOption("mals.rate_limit", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	slot = mals_database_peek();
	if (slot == NULL)
		proc_exit(0);
	ring = &slot->ring;
	if (!has_extension())
	{
		mals_ring_stop(ring, true);
		proc_exit(0);
	}
	before_shmem_exit(leave, (Datum) 0);
	if (mals_ring_open(ring))
		work();
}
