/*
 * limit.c
 *		run_limited(query text, rows bigint): runs a query through SPI and stops it
 *		after so many rows, as spi_exec_query(query, rows) of PL/Perl and
 *		plpy.execute(query, rows) of PL/Python do. Returns how many came.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(run_limited);

Datum
run_limited(PG_FUNCTION_ARGS)
{
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	uint64 rows;

	SPI_connect();
	if (SPI_execute(query, false, PG_GETARG_INT64(1)) < 0)
		elog(ERROR, "SPI_execute failed");
	rows = SPI_processed;
	SPI_finish();
	PG_RETURN_INT64(rows);
}
