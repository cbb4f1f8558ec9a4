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
 */
#ifndef MALS_QUERY_WAKE_H
#define MALS_QUERY_WAKE_H

#include "mals_errors.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"

/* Part of a database's slot in shared memory; no lock is needed for it. */
typedef struct MalsTails
{
	ConditionVariable news;
	pg_atomic_uint32 armed;     /* 1: wake those who wait for news */
	pg_atomic_uint32 count;     /* tails at work */
	pg_atomic_uint32 look_time; /* how long a look takes, in microseconds: a moving average */
} MalsTails;

extern void mals_tails_init(MalsTails *tails);

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

extern int64 mals_clock(void);

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
