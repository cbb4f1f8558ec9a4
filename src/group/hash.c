/*
 * hash.c
 *		A 64-bit hash that is part of what is stored: its value must not depend
 *		on platform, PostgreSQL's version or settings.
 *
 * Bytes are read as little-endian words put together by shifts, which a
 * compiler makes one load of where it may; each word is taken in by exclusive
 * or, an odd multiplier and a shift, in unsigned 64-bit arithmetic. Every step
 * can be undone, so two texts of one length that differ in one word never
 * have the same hash.
 */
#include "group_private.h"

#define HASH_MULTIPLIER UINT64CONST(0x9e3779b97f4a7c15)

/* Takes a word into a hash. */
static inline uint64
hash_word(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * HASH_MULTIPLIER;
	return hash ^ (hash >> 32);
}

/* Adds a word to a hash, and spreads every bit over all of it. */
uint64
mals_group_hash_add(uint64 hash, uint64 word)
{
	return hash_word(hash_word(hash, word), 0);
}

/* Adds bytes to a hash. */
uint64
mals_group_hash(uint64 hash, const char *bytes, int len)
{
	const unsigned char *s = (const unsigned char *) bytes;
	uint64 word = 0;

	hash = hash_word(hash, len);
	for (; len >= 8; len -= 8, s += 8)
		hash = hash_word(hash, (uint64) s[0] | (uint64) s[1] << 8 | (uint64) s[2] << 16 |
								   (uint64) s[3] << 24 | (uint64) s[4] << 32 | (uint64) s[5] << 40 |
								   (uint64) s[6] << 48 | (uint64) s[7] << 56);
	for (int i = 0; i < len; i++)
		word |= (uint64) s[i] << (8 * i);
	return mals_group_hash_add(hash, word);
}
