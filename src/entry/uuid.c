/*
 * uuid.c
 *		Ids: version 7 UUIDs that carry their entry's time to the microsecond.
 *
 * Layout (RFC 9562, version 7 with method 3):
 *	48 bits	milliseconds since 1970
 *	 4 bits	version, 7
 *	12 bits	the microseconds within the millisecond, scaled to 4096ths
 *	 2 bits	variant, binary 10
 *	12 bits	random, drawn once a backend
 *	22 bits	the backend's process id
 *	28 bits	a counter that starts at a random value
 * The order of ids is the order of (ts, id), so an index on id is an index on
 * time. Two live backends never make the same id, one backend makes 2^28 ids
 * before its counter comes round.
 */
#include "mals_errors.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "entry/entry.h"

#define UNIX_EPOCH_US ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)
#define MAX_UNIX_MS ((INT64CONST(1) << 48) - 1)

PG_FUNCTION_INFO_V1(mals_id_ts);
PG_FUNCTION_INFO_V1(mals_uuid_larger);

/* The part of ids that tells backends apart; drawn anew after a fork. */
static int id_backend_pid = 0;
static uint64 id_backend_bits;
static uint32 id_counter;

/* Draws the backend's bits and the counter's start. */
static void
draw_backend_bits(void)
{
	uint64 random;

	if (!pg_strong_random(&random, sizeof(random)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values"),
				errhint("The operating system's source of random numbers failed."));
	id_backend_bits = ((random & 0xFFF) << 50) | (((uint64) MyProcPid & 0x3FFFFF) << 28);
	id_counter = (uint32) (random >> 32);
	id_backend_pid = MyProcPid;
}

/* Writes the milliseconds, version, fraction and variant of an id, and its 62 low bits. */
static void
pack(uint64 ms, int fraction, uint64 low, pg_uuid_t *id)
{
	uint64 high = (ms << 16) | UINT64CONST(0x7000) | fraction;

	low |= UINT64CONST(1) << 63;
	for (int i = 0; i < 8; i++)
	{
		id->data[i] = (unsigned char) (high >> (56 - 8 * i));
		id->data[8 + i] = (unsigned char) (low >> (56 - 8 * i));
	}
}

/* Tells whether an id can carry this time: 1970 to the year 10889. */
bool
mals_uuid_holds(TimestampTz ts)
{
	return ts >= -UNIX_EPOCH_US && ts <= MAX_UNIX_MS * 1000 + 999 - UNIX_EPOCH_US;
}

/* Makes a new id of a time that mals_uuid_holds. */
void
mals_uuid_make(TimestampTz ts, pg_uuid_t *id)
{
	int64 us = ts + UNIX_EPOCH_US;

	if (unlikely(id_backend_pid != MyProcPid))
		draw_backend_bits();
	pack(us / 1000, us % 1000 * 4096 / 1000, id_backend_bits | (id_counter++ & 0xFFFFFFF), id);
}

/* Reads the time of a version 7 UUID; false if it is of another kind. */
bool
mals_uuid_timestamp(const pg_uuid_t *id, TimestampTz *ts)
{
	int64 ms = 0;
	int fraction;

	if ((id->data[6] & 0xF0) != 0x70 || (id->data[8] & 0xC0) != 0x80)
		return false;
	for (int i = 0; i < 6; i++)
		ms = (ms << 8) | id->data[i];
	fraction = ((id->data[6] & 0x0F) << 8) | id->data[7];
	/* ids of others may carry random bits here: never leave the millisecond */
	*ts = ms * 1000 + Min((fraction * 1000 + 4095) / 4096, 999) - UNIX_EPOCH_US;
	return true;
}

/* Reads a UUID in any form that uuid_in takes; false if it is none. */
bool
mals_uuid_parse(const char *str, int len, pg_uuid_t *id)
{
	const char *end = str + len;
	bool braces = len > 1 && *str == '{';

	if (braces)
	{
		if (end[-1] != '}')
			return false;
		str++;
		end--;
	}
	for (int i = 0; i < UUID_LEN; i++)
	{
		int byte = 0;

		for (int j = 0; j < 2; j++, str++)
		{
			if (str == end)
				return false;
			if (*str >= '0' && *str <= '9')
				byte = byte << 4 | (*str - '0');
			else if (*str >= 'a' && *str <= 'f')
				byte = byte << 4 | (*str - 'a' + 10);
			else if (*str >= 'A' && *str <= 'F')
				byte = byte << 4 | (*str - 'A' + 10);
			else
				return false;
		}
		id->data[i] = (unsigned char) byte;
		if (str != end && *str == '-' && i % 2 == 1 && i < UUID_LEN - 1)
			str++;
	}
	return str == end;
}

/* Writes a UUID's usual text form. */
void
mals_uuid_text(const pg_uuid_t *id, char buf[37])
{
	static const char hex[] = "0123456789abcdef";
	char *p = buf;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[id->data[i] >> 4];
		*p++ = hex[id->data[i] & 15];
	}
	*p = '\0';
}

/* SQL: the time that an entry's id carries; NULL for a UUID of another version. */
Datum
mals_id_ts(PG_FUNCTION_ARGS)
{
	TimestampTz ts;

	if (!mals_uuid_timestamp(PG_GETARG_UUID_P(0), &ts))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(ts);
}

/* SQL: the greater of two UUIDs, for an aggregate. */
Datum
mals_uuid_larger(PG_FUNCTION_ARGS)
{
	pg_uuid_t *a = PG_GETARG_UUID_P(0);
	pg_uuid_t *b = PG_GETARG_UUID_P(1);

	PG_RETURN_UUID_P(memcmp(a->data, b->data, UUID_LEN) >= 0 ? a : b);
}
