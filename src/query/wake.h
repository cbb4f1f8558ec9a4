/*
 * wake.h
 *		Public: how commits wake the tails of a database.
 *
 * Committers and tails share two facts: how many transactions have written
 * entries (MalsDatabase.commits), and whether a tail sleeps that wants to hear
 * of the next one ("armed"). A tail arms, then looks at the count once more,
 * then sleeps; a committer counts, and wakes all who sleep if it finds the flag
 * and takes it down. So none sleeps on news, and of many commits one wakes.
 *
 * A tail that is busy does not sleep, it pauses: after each look for as long as
 * a look takes, times the square of one more than there are tails. One tail
 * then takes a fifth of a processor at most, and twenty together a twentieth.
 *
 * Without shared memory and on a standby, where commits tell nobody, tails wake
 * every 100 ms.
 *
 * Nearly all entries are of the last hour, but any may be of any time, and to ask
 * every partition takes its time. So there is a time (recent, one to two hours
 * ago), and it is known which transactions may have written entries from before
 * it: none after "early". An entry is compared with recent by its writer, which
 * has its transaction id by then; so when a tail moves recent on, all who compared
 * with the old one are before the next transaction id at that moment ("moved").
 */
#ifndef MALS_QUERY_WAKE_H
#define MALS_QUERY_WAKE_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"

/* Part of a database's slot in shared memory. */
typedef struct MalsTails
{
	ConditionVariable news;
	pg_atomic_uint32 armed;     /* atomic; 1: wake those who wait for news */
	pg_atomic_uint32 count;     /* atomic; tails at work */
	pg_atomic_uint32 look_time; /* atomic; how long a look takes, in us: a moving average */
	slock_t mutex;
	pg_atomic_uint64 recent; /* mutex to write; a TimestampTz */
	uint64 early;            /* mutex; the last transaction with an entry from before recent */
	uint64 moved;            /* mutex; transactions before this one may have such entries, too */
} MalsTails;

extern void mals_tails_init(MalsTails *tails);

/* Forgets what is known of a database, when the slot gets another one. */
extern void mals_tails_reset(MalsTails *tails);

/* To be called for an entry that this transaction, which has an id, is about to write. */
extern void mals_tails_note(TimestampTz ts);

/* A time before which no transaction from xid on has written entries that can be seen by now. */
extern TimestampTz mals_tails_since(uint64 xid);

/* Wakes tails for a commit that was counted. */
extern void mals_tails_wake(MalsTails *tails);

/* A tail; times are microseconds of a clock that only goes forward. */
typedef struct MalsSleeper
{
	MalsTails *tails; /* that it is counted among; or NULL */
	uint64 commits;   /* the count before the last look */
	int64 deadline;
	int64 look_began;
	int64 look_ended;
} MalsSleeper;

/* Counts a tail in, for at most so many microseconds, and out again. */
extern void mals_sleeper_begin(MalsSleeper *sleeper, int64 timeout);
extern void mals_sleeper_end(MalsSleeper *sleeper);

/* To be called before a look, and after it. */
extern void mals_sleeper_look(MalsSleeper *sleeper);
extern void mals_sleeper_looked(MalsSleeper *sleeper);

/* Pauses before the first look of one who has looked so long ago, in another call. */
extern void mals_sleeper_pause(MalsSleeper *sleeper, int64 ago);

/* Waits after a look until another one may find more; false: the time is up. */
extern bool mals_sleeper_wait(MalsSleeper *sleeper);

#endif /* MALS_QUERY_WAKE_H */
