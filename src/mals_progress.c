/*
 * mals_progress.c
 *		How far long operations are.
 *
 * Reports travel as those of VACUUM and COPY do: in the session's own slot of
 * shared memory, as a command of a number that core does not use, whose
 * parameters are ours. So they need neither shared_preload_libraries nor a
 * table, show at once whatever the transaction does, and end with it. Core's own
 * commands (a CREATE INDEX within the operation) take the slot over until the
 * next report.
 */
#include "mals_errors.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "mals_compat.h"
#include "mals_progress.h"

PG_FUNCTION_INFO_V1(mals_progress);

/* "mals", beyond core's commands. */
#define PROGRESS_COMMAND ((ProgressCommandType) 0x6d616c73)

#define NAME_BYTES 32

/* What the parameters of the command hold. */
typedef struct Report
{
	char operation[NAME_BYTES];
	char phase[NAME_BYTES];
	int64 done;
	int64 total;
	int64 started_at; /* 0: nothing was written yet */
} Report;

#define REPORT_PARAMETERS (sizeof(Report) / sizeof(int64))

StaticAssertDecl(REPORT_PARAMETERS <= PGSTAT_NUM_PROGRESS_PARAM,
				 "reports of progress fit into a command's parameters");

/* The operation that is under way. */
static Report current;

void
mals_progress_begin(const char *operation)
{
	memset(&current, 0, sizeof(current));
	strlcpy(current.operation, operation, NAME_BYTES);
	current.started_at = GetCurrentTimestamp();
}

void
mals_progress_report(const char *phase, int64 done, int64 total)
{
	int index[REPORT_PARAMETERS];
	int64 values[REPORT_PARAMETERS];

	memset(current.phase, 0, NAME_BYTES);
	strlcpy(current.phase, phase, NAME_BYTES);
	current.done = done;
	current.total = total;

	memcpy(values, &current, sizeof(Report));
	for (int i = 0; i < REPORT_PARAMETERS; i++)
		index[i] = i;
	pgstat_progress_start_command(PROGRESS_COMMAND, InvalidOid);
	pgstat_progress_update_multi_param(REPORT_PARAMETERS, index, values);
}

void
mals_progress_end(void)
{
	pgstat_progress_end_command();
}

/* SQL: the long operations of all sessions in this database. */
Datum
mals_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	n = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= n; i++)
	{
		PgBackendStatus *status = &mals_backend_status(i)->backendStatus;
		bool nulls[5] = {false};
		Datum values[5];
		Report report;

		if (status->st_databaseid != MyDatabaseId ||
			status->st_progress_command != PROGRESS_COMMAND)
			continue;
		memcpy(&report, status->st_progress_param, sizeof(Report));
		if (report.started_at == 0)
			continue;
		values[0] = CStringGetTextDatum(report.operation);
		values[1] = CStringGetTextDatum(report.phase);
		values[2] = Int64GetDatum(report.done);
		values[3] = Int64GetDatum(report.total);
		values[4] = TimestampTzGetDatum(report.started_at);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
