/*
 * stamp.c
 *		Stamps of transactions, which rows carry wherever they are moved.
 */
#include "types/types.h"

#include "common/hashfn.h"

#define XID_BITS 48

int64
mals_xact_stamp(FullTransactionId xid)
{
	static uint64 cluster = 0; /* its bits, at their place */
	static bool known = false;

	if (!known)
	{
		uint64 identity = GetSystemIdentifier();

		cluster = hash_bytes_extended((unsigned char *) &identity, sizeof(identity), 0) << XID_BITS;
		known = true;
	}
	return (int64) (cluster | U64FromFullTransactionId(xid));
}

uint64
mals_xact_id(int64 stamp)
{
	return (uint64) stamp & ((UINT64CONST(1) << XID_BITS) - 1);
}
