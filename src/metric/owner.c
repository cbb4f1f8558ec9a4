/*
 * owner.c
 *		Runs statements as the owner of mals's tables.
 */
#include "mals_errors.h"

#include "executor/spi.h"

#include "access/access.h"
#include "metric/metric_private.h"

void
mals_run_as_owner(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MalsCaller caller;

	mals_become_owner(&caller);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	SPI_finish();
	mals_become_caller(&caller);
}
