/*
 * maintain.c
 *		mals_maintain: what the resident worker does in time, on demand.
 *
 * Partitions are made and removed by background workers, first: nothing that
 * they could wait for is locked by then. If the caller has such locks already,
 * this part is left to another call.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "alert/alert.h"
#include "group/fold.h"
#include "mals_spi.h"
#include "partition/partition.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mals_maintain);

/* Keeps that it was done, as the worker does of its jobs. */
static void
note(TimestampTz started)
{
	Oid type = TIMESTAMPTZOID;
	Datum arg = TimestampTzGetDatum(started);

	mals_run_with("SELECT mals._note_job('maintain', $1, 0, NULL)", 1, &type, &arg, NULL);
}

/* SQL: does the maintenance that is due. */
Datum
mals_maintain(PG_FUNCTION_ARGS)
{
	MalsRetention request = {
		.at = GetCurrentTimestamp(), .before = DT_NOEND, .patience = MALS_PATIENCE};
	MalsTaskArguments none = {0};
	char *premade = "null";
	char *pruned = "null";
	int64 count;
	int64 alerts;
	int64 samples;
	int64 counted;
	int64 expired;
	uint64 folded;
	uint64 regrouped;
	MalsCaller caller;

	if (XactReadOnly)
		mals_error_read_only("mals_maintain()");
	mals_require_unbound("mals_maintain()");
	if (!mals_partition_in_use())
	{
		if (mals_task_run(MALS_TASK_PREMAKE, &none, &count))
			premade = psprintf("%lld", (long long) count);
		pruned = psprintf("%lld", (long long) mals_retention_ask(&request));
	}
	mals_become_owner(&caller);
	mals_spi_connect();
	if (!mals_alerts_ask(&alerts))
		alerts = 0; /* left to the next call */
	folded = mals_fold_sights();
	regrouped = mals_regroup(false);
	samples = mals_run_int64("SELECT mals._fold_metrics()");
	counted = mals_run_int64("SELECT mals._count_entries()");
	expired = mals_run_int64("SELECT mals._expire()");
	note(request.at);
	SPI_finish();
	mals_become_caller(&caller);
	PG_RETURN_DATUM(DirectFunctionCall1(
		jsonb_in,
		CStringGetDatum(psprintf(
			"{\"alerts\": %lld, \"premade\": %s, \"pruned\": %s, \"expired\": %lld,"
			" \"templates_folded\": %llu,"
			" \"templates_regrouped\": %llu, \"samples_folded\": %lld, \"entries_counted\": %lld}",
			(long long) alerts, premade, pruned, (long long) expired, (unsigned long long) folded,
			(unsigned long long) regrouped, (long long) samples, (long long) counted))));
}
