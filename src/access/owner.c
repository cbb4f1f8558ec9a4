/*
 * owner.c
 *		Acting as the owner of the log, in functions whose callers may not write
 *		its tables.
 */
#include "mals_errors.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/syscache.h"

#include "access/access.h"
#include "mals_spi.h"
#include "partition/partition.h"

void
mals_become_owner(MalsCaller *caller)
{
	HeapTuple entries = SearchSysCache1(RELOID, ObjectIdGetDatum(mals_relation_oid("entries")));
	Oid owner;

	if (!HeapTupleIsValid(entries))
		elog(ERROR, "cache lookup failed for mals.entries");
	owner = ((Form_pg_class) GETSTRUCT(entries))->relowner;
	ReleaseSysCache(entries);
	GetUserIdAndSecContext(&caller->user, &caller->context);
	SetUserIdAndSecContext(owner, caller->context | SECURITY_LOCAL_USERID_CHANGE);
}

void
mals_become_caller(const MalsCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->context);
}

void
mals_begin_as_owner(MalsCaller *caller, const char *what)
{
	if (XactReadOnly)
		mals_error_read_only(what);
	mals_require_unbound(what);
	mals_become_owner(caller);
	mals_spi_connect();
}

void
mals_end_as_owner(const MalsCaller *caller)
{
	SPI_finish();
	mals_become_caller(caller);
}

void
mals_run_as_owner(const char *sql, int nargs, const Oid *types, Datum *values, const char *nulls)
{
	MalsCaller caller;

	mals_become_owner(&caller);
	mals_spi_connect();
	mals_run_with(sql, nargs, types, values, nulls);
	SPI_finish();
	mals_become_caller(&caller);
}
