/*
 * mals_spi.c
 *		Running SQL by SPI: the few shapes that all modules use.
 */
#include "mals_errors.h"

#include "mals_spi.h"

void
mals_spi_connect(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

uint64
mals_run(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	return SPI_processed;
}

uint64
mals_run_with(const char *sql, int nargs, const Oid *types, Datum *args, const char *nulls)
{
	if (SPI_execute_with_args(sql, nargs, (Oid *) types, args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	return SPI_processed;
}

int64
mals_run_int64(const char *sql)
{
	if (mals_run(sql) != 1)
		elog(ERROR, "could not run: %s", sql);
	return mals_result_int64(0, 1);
}

Datum
mals_result_datum(uint64 row, int column, bool *isnull)
{
	bool ignored;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
						 isnull != NULL ? isnull : &ignored);
}

int64
mals_result_int64(uint64 row, int column)
{
	return DatumGetInt64(mals_result_datum(row, column, NULL));
}
