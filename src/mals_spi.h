/*
 * mals_spi.h
 *		Running SQL by SPI: the few shapes that all modules use.
 */
#ifndef MALS_SPI_H
#define MALS_SPI_H

#include "mals_errors.h"

#include "executor/spi.h"

/* Connects to SPI; SPI_finish ends that, as does an error. */
extern void mals_spi_connect(void);

/*
 * Run a statement, connected, on a new snapshot, and return how many rows it
 * had. nulls are those of SPI_execute_with_args.
 */
extern uint64 mals_run(const char *sql);
extern uint64 mals_run_with(const char *sql, int nargs, const Oid *types, Datum *args,
							const char *nulls);

/* Runs a SELECT of one bigint, and returns it. */
extern int64 mals_run_int64(const char *sql);

/*
 * Give a column (from 1) of a row (from 0) of the last result, in SPI's memory.
 * isnull may be NULL for a column that never is.
 */
extern Datum mals_result_datum(uint64 row, int column, bool *isnull);
extern int64 mals_result_int64(uint64 row, int column);

#endif /* MALS_SPI_H */
