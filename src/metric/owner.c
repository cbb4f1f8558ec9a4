/*
 * owner.c
 *		Runs statements as the owner of mals's tables.
 */
#include "mals_errors.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "metric/metric_private.h"
#include "partition/partition.h"

/* Gives the owner of mals.entries. */
static Oid
find_owner(void)
{
	Oid entries = mals_relation_oid("entries");
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(entries));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", entries);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
mals_run_as_owner(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(find_owner(), context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}
