/*
 * limit.c
 *		How much an agent may log: mals.rate_limit entries a second, and
 *		mals.repeat_limit entries a minute of one fingerprint.
 *
 * Each limit is a token bucket that holds a second's or a minute's worth, kept
 * as one time: when the bucket will be full again. An entry moves it on by its
 * share, and is refused if it would lie further ahead than the bucket holds.
 *
 * Buckets are in two tables of fixed size in shared memory: of agents, and of
 * agents' fingerprints. A bucket may be in one of a few places by its hash; if
 * none is free, it takes that of the one used longest ago, which has long been
 * full again, or is forgotten: tables that are too small make the limits laxer.
 * Each set of places has a spinlock, held for a few instructions.
 *
 * Entries that were refused are counted in their agent's bucket; the writer
 * takes the count each second and writes an entry that tells it.
 */
#include "mals_errors.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "entry/entry.h"
#include "worker/shared.h"
#include "write/limit.h"
#include "write/write.h"

#define LIMITS_MAGIC 0x6d616c6c
#define SETS 256
#define WAYS 4

/* A bucket. */
typedef struct Bucket
{
	uint64 key; /* 0: the place is free */
	TimestampTz full;
} Bucket;

/* An agent's, with what was refused. */
typedef struct Agent
{
	Bucket bucket;
	Oid database;
	MalsSuppressed suppressed;
} Agent;

/* Places for buckets of the same hash; the lock protects all of them. */
typedef struct Set
{
	slock_t lock;
	Agent agents[WAYS];
	Bucket repeats[4 * WAYS];
} Set;

typedef struct Limits
{
	uint32 magic;
	Set sets[SETS];
} Limits;

static Limits *limits = NULL;

Size
mals_limit_size(void)
{
	return MAXALIGN(sizeof(Limits));
}

void
mals_limit_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	limits = ShmemInitStruct("mals limits", mals_limit_size(), &found);
	if (!found)
	{
		memset(limits, 0, sizeof(Limits));
		limits->magic = LIMITS_MAGIC;
		for (int i = 0; i < SETS; i++)
			SpinLockInit(&limits->sets[i].lock);
	}
	LWLockRelease(AddinShmemInitLock);
	if (limits->magic != LIMITS_MAGIC)
		elog(ERROR, "mals: bad magic number in the shared memory of limits");
}

/* Hashes an agent of this database, and a fingerprint or 0. Never 0. */
static uint64
hash_key(const char *agent, int len, int64 fingerprint)
{
	uint64 key = hash_bytes_extended((const unsigned char *) agent, len, MyDatabaseId);

	return hash_combine64(key, (uint64) fingerprint) | 1;
}

/* Finds a bucket's place among some that are size bytes apart, or takes the oldest for it. */
static Bucket *
find_bucket(void *places, int n, Size size, uint64 key, bool *found)
{
	Bucket *oldest = places;

	for (int i = 0; i < n; i++)
	{
		Bucket *bucket = (Bucket *) ((char *) places + i * size);

		*found = bucket->key == key;
		if (*found)
			return bucket;
		if (bucket->full < oldest->full)
			oldest = bucket;
	}
	oldest->key = key;
	oldest->full = 0;
	return oldest;
}

/* Takes one of limit tokens that come in every period, if there is one. */
static bool
take_token(Bucket *bucket, TimestampTz now, int limit, int64 period)
{
	TimestampTz full;

	/* a clock that was set back must not keep an agent from logging */
	bucket->full = Min(Max(bucket->full, now), now + period);
	full = bucket->full + period / limit;
	if (full - now > period)
		return false;
	bucket->full = full;
	return true;
}

/* Finds an agent's place. The caller holds the set's lock. */
static Agent *
find_agent(Set *set, uint64 key, const char *name, int len)
{
	bool found;
	Agent *agent = (Agent *) find_bucket(set->agents, WAYS, sizeof(Agent), key, &found);

	if (!found)
	{
		agent->database = MyDatabaseId;
		agent->suppressed.entries = 0;
		memcpy(agent->suppressed.agent_id, name, len);
		agent->suppressed.agent_id[len] = '\0';
	}
	return agent;
}

/* Notes an entry that is not stored, and has the writer tell of it. */
static void
suppress(void)
{
	MalsDatabase *slot = mals_database_peek();

	if (slot == NULL)
		return;
	pg_atomic_fetch_add_u64(&slot->ring.suppressed, 1);
	mals_ring_tell(&slot->ring);
}

bool
mals_limit_rate(const char *agent, int len)
{
	uint64 key;
	Set *set;
	Agent *place;
	bool allowed;
	TimestampTz now = GetCurrentTimestamp();

	if (mals_rate_limit == 0 || limits == NULL)
		return true;
	len = Min(len, (int) sizeof(place->suppressed.agent_id) - 1);
	key = hash_key(agent, len, 0);
	set = &limits->sets[(key >> 32) % SETS];
	SpinLockAcquire(&set->lock);
	place = find_agent(set, key, agent, len);
	allowed = take_token(&place->bucket, now, mals_rate_limit, USECS_PER_SEC);
	if (!allowed)
		place->suppressed.entries++;
	SpinLockRelease(&set->lock);
	if (!allowed)
		suppress();
	return allowed;
}

/* Tells whether an agent may log one more entry of a fingerprint; counts what it may not. */
static bool
limit_repeats(const char *agent, int len, int64 fingerprint)
{
	uint64 key;
	uint64 agent_key;
	Set *set;
	Agent *place;
	bool found;
	bool allowed;
	TimestampTz now = GetCurrentTimestamp();

	if (mals_repeat_limit == 0 || limits == NULL)
		return true;
	key = hash_key(agent, len, fingerprint);
	set = &limits->sets[(key >> 32) % SETS];
	SpinLockAcquire(&set->lock);
	allowed =
		take_token(find_bucket(set->repeats, lengthof(set->repeats), sizeof(Bucket), key, &found),
				   now, mals_repeat_limit, USECS_PER_MINUTE);
	SpinLockRelease(&set->lock);
	if (allowed)
		return true;

	agent_key = hash_key(agent, len, 0);
	set = &limits->sets[(agent_key >> 32) % SETS];
	SpinLockAcquire(&set->lock);
	place = find_agent(set, agent_key, agent, len);
	place->bucket.full = Max(place->bucket.full, now);
	place->suppressed.entries++;
	SpinLockRelease(&set->lock);
	suppress();
	return false;
}

bool
mals_write_accept(MalsEntry *entry)
{
	const char *agent;
	int len;

	if (!mals_entry_finish(entry))
		return false;
	agent = VARDATA_ANY(entry->agent_id);
	len = VARSIZE_ANY_EXHDR(entry->agent_id);
	return mals_limit_rate(agent, len) && limit_repeats(agent, len, entry->fingerprint);
}

bool
mals_limit_take(int *position, MalsSuppressed *suppressed)
{
	for (; *position < SETS * WAYS; (*position)++)
	{
		Set *set = &limits->sets[*position / WAYS];
		Agent *agent = &set->agents[*position % WAYS];

		suppressed->entries = 0;
		SpinLockAcquire(&set->lock);
		if (agent->database == MyDatabaseId && agent->suppressed.entries > 0)
		{
			*suppressed = agent->suppressed;
			agent->suppressed.entries = 0;
		}
		SpinLockRelease(&set->lock);
		if (suppressed->entries > 0)
			return true;
	}
	return false;
}
