/*
 * limit.h
 *		Private header of src/write: how much an agent may log (mals.rate_limit,
 *		mals.repeat_limit), in shared memory.
 */
#ifndef MALS_WRITE_LIMIT_H
#define MALS_WRITE_LIMIT_H

#include "mals_errors.h"

#include "write/ring.h"

/* An agent's entries that were not stored, of which no entry has told yet. */
typedef struct MalsSuppressed
{
	char agent_id[64 * 4 + 1];
	int64 entries;
} MalsSuppressed;

/* Tells whether an agent may log now by mals.rate_limit; counts what it may not. */
extern bool mals_limit_rate(const char *agent, int len);

/*
 * Takes the next agent from *position on that has entries which were not
 * stored; false if there are no more. *position begins at 0.
 */
extern bool mals_limit_take(int *position, MalsSuppressed *suppressed);

#endif /* MALS_WRITE_LIMIT_H */
