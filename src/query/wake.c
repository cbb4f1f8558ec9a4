/*
 * wake.c
 *		Waiting for commits, see wake.h.
 */
#include "mals_errors.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "query/wake.h"
#include "worker/shared.h"

/* Of libpq/libpq.h, which needs the headers of Kerberos. */
extern bool pq_check_connection(void);

/* Microseconds. */
#define POLL_INTERVAL (100 * INT64CONST(1000))
#define MAX_PAUSE (1000 * INT64CONST(1000))

/* How far back entries are recent, at least. */
#define RECENT USECS_PER_HOUR

/* The longest sleep: a slot may go to another database meanwhile. */
#define MAX_SLEEP (1000 * INT64CONST(1000))

void
mals_tails_init(MalsTails *tails)
{
	ConditionVariableInit(&tails->news);
	pg_atomic_init_u32(&tails->armed, 0);
	pg_atomic_init_u32(&tails->count, 0);
	pg_atomic_init_u32(&tails->look_time, 0);
	SpinLockInit(&tails->mutex);
	pg_atomic_init_u64(&tails->recent, (uint64) DT_NOBEGIN);
	tails->early = tails->moved = 0;
}

void
mals_tails_reset(MalsTails *tails)
{
	SpinLockAcquire(&tails->mutex);
	pg_atomic_write_u64(&tails->recent, (uint64) DT_NOBEGIN);
	SpinLockRelease(&tails->mutex);
}

void
mals_tails_note(TimestampTz ts)
{
	MalsDatabase *slot = mals_database();

	if (slot != NULL && ts < (TimestampTz) pg_atomic_read_u64(&slot->tails.recent))
	{
		uint64 xid = U64FromFullTransactionId(GetTopFullTransactionId());

		SpinLockAcquire(&slot->tails.mutex);
		slot->tails.early = Max(slot->tails.early, xid);
		SpinLockRelease(&slot->tails.mutex);
	}
}

/* Moves recent on, unless another one does. */
static void
move_recent(MalsTails *tails, TimestampTz to)
{
	bool mine;
	uint64 next;

	SpinLockAcquire(&tails->mutex);
	mine = (TimestampTz) pg_atomic_read_u64(&tails->recent) < to - RECENT;
	if (mine)
	{
		pg_atomic_write_u64(&tails->recent, (uint64) to);
		tails->moved = PG_UINT64_MAX;
	}
	SpinLockRelease(&tails->mutex);
	if (!mine)
		return;
	next = U64FromFullTransactionId(ReadNextFullTransactionId());
	SpinLockAcquire(&tails->mutex);
	tails->moved = next;
	SpinLockRelease(&tails->mutex);
}

TimestampTz
mals_tails_since(uint64 xid)
{
	MalsDatabase *slot = mals_database();
	TimestampTz hour_ago = GetCurrentTimestamp() - RECENT;
	TimestampTz recent;
	bool known;

	if (slot == NULL || RecoveryInProgress())
		return DT_NOBEGIN;
	if ((TimestampTz) pg_atomic_read_u64(&slot->tails.recent) < hour_ago - RECENT)
		move_recent(&slot->tails, hour_ago);
	SpinLockAcquire(&slot->tails.mutex);
	recent = (TimestampTz) pg_atomic_read_u64(&slot->tails.recent);
	known = slot->tails.early < xid && slot->tails.moved <= xid;
	SpinLockRelease(&slot->tails.mutex);
	return known ? recent : DT_NOBEGIN;
}

void
mals_tails_wake(MalsTails *tails)
{
	/* counting was a full barrier */
	if (pg_atomic_read_u32(&tails->armed) != 0 && pg_atomic_exchange_u32(&tails->armed, 0) != 0)
		ConditionVariableBroadcast(&tails->news);
}

/* Reads a clock that never goes back, in microseconds. */
static int64
clock_now(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

void
mals_sleeper_begin(MalsSleeper *sleeper, int64 timeout)
{
	MalsDatabase *slot = mals_database();

	memset(sleeper, 0, sizeof(*sleeper));
	sleeper->deadline = clock_now() + timeout;
	if (slot != NULL)
	{
		sleeper->tails = &slot->tails;
		pg_atomic_fetch_add_u32(&sleeper->tails->count, 1);
	}
}

void
mals_sleeper_end(MalsSleeper *sleeper)
{
	if (sleeper->tails != NULL)
		pg_atomic_fetch_sub_u32(&sleeper->tails->count, 1);
}

void
mals_sleeper_look(MalsSleeper *sleeper)
{
	MalsDatabase *slot = mals_database();

	if (slot != NULL)
		sleeper->commits = pg_atomic_read_u64(&slot->commits);
	/* whoever is counted by now has left the list of running transactions */
	pg_read_barrier();
	sleeper->look_began = clock_now();
}

void
mals_sleeper_looked(MalsSleeper *sleeper)
{
	sleeper->look_ended = clock_now();
	if (sleeper->tails != NULL)
	{
		int64 average = pg_atomic_read_u32(&sleeper->tails->look_time);
		int64 mine = Min(sleeper->look_ended - sleeper->look_began, MAX_PAUSE);

		pg_atomic_write_u32(&sleeper->tails->look_time, (uint32) ((average * 7 + mine) / 8));
	}
}

/* Waits until a time, or the deadline. */
static void
wait_until(MalsSleeper *sleeper, int64 until)
{
	int64 left;

	until = Min(until, sleeper->deadline);
	while ((left = until - clock_now()) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (left < 1000)
			pg_usleep((long) left);
		else
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 (long) (left / 1000), PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
	}
	CHECK_FOR_INTERRUPTS();
}

/* How long a tail that took so long pauses. */
static int64
pause_after(const MalsSleeper *sleeper, int64 look_time)
{
	int64 tails = sleeper->tails != NULL ? pg_atomic_read_u32(&sleeper->tails->count) : 0;

	return Min(look_time * (tails + 1) * (tails + 1), MAX_PAUSE);
}

void
mals_sleeper_pause(MalsSleeper *sleeper, int64 ago)
{
	int64 pause;

	if (sleeper->tails == NULL || ago < 0)
		return;
	pause = pause_after(sleeper, pg_atomic_read_u32(&sleeper->tails->look_time));
	if (ago < pause)
		wait_until(sleeper, clock_now() + pause - ago);
}

/* Sleeps until a commit, for a while at most. */
static void
sleep_until_commit(MalsSleeper *sleeper, MalsDatabase *slot)
{
	int64 until = Min(clock_now() + MAX_SLEEP, sleeper->deadline);
	MalsTails *tails = &slot->tails;

	ConditionVariablePrepareToSleep(&tails->news);
	for (;;)
	{
		int64 left = until - clock_now();

		pg_atomic_write_u32(&tails->armed, 1);
		pg_memory_barrier();
		if (left <= 0 || pg_atomic_read_u64(&slot->commits) != sleeper->commits)
			break;
		(void) ConditionVariableTimedSleep(&tails->news, (long) ((left + 999) / 1000),
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Ends the session if its client has gone: nobody waits for what may come. */
static void
check_client(void)
{
	if (MyProcPort != NULL && !pq_check_connection())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
	}
	CHECK_FOR_INTERRUPTS();
}

bool
mals_sleeper_wait(MalsSleeper *sleeper)
{
	MalsDatabase *slot = mals_database();

	check_client();
	if (slot == NULL || RecoveryInProgress())
		wait_until(sleeper, clock_now() + POLL_INTERVAL);
	else
	{
		sleep_until_commit(sleeper, slot);
		wait_until(sleeper, sleeper->look_ended +
								pause_after(sleeper, sleeper->look_ended - sleeper->look_began));
	}
	return clock_now() < sleeper->deadline;
}
