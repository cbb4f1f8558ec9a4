/*
 * histogram.c
 *		mals_histogram: entries counted by bucket of time and level.
 *
 * One aggregate counts all of them, in an array with a place for each bucket and
 * level: that takes less than grouping, and parallel workers can share it.
 */
#include "mals_errors.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "mals_catalog.h"
#include "query/literal.h"
#include "query/read.h"
#include "types/types.h"

PG_FUNCTION_INFO_V1(mals_histogram);
PG_FUNCTION_INFO_V1(mals_histogram_add);
PG_FUNCTION_INFO_V1(mals_histogram_combine);

#define MAX_BUCKETS 100000

static const MalsLevel levels[] = {MALS_LEVEL_TRACE, MALS_LEVEL_DEBUG, MALS_LEVEL_INFO,
								   MALS_LEVEL_WARN,  MALS_LEVEL_ERROR, MALS_LEVEL_CRITICAL};

#define LEVELS lengthof(levels)

/* Counts of entries by bucket and level. */
typedef struct Histogram
{
	TimestampTz first; /* where the first bucket begins */
	int64 width;       /* microseconds */
	int64 nbuckets;
	int64 *counts; /* LEVELS a bucket */
} Histogram;

/* Reads the argument bucket: microseconds. */
static int64
bucket_width(FunctionCallInfo fcinfo, int arg)
{
	Interval *bucket;
	int64 width;

	if (PG_ARGISNULL(arg))
		mals_error_missing("bucket", "Give the length of a bucket, such as '5 minutes'.");
	bucket = PG_GETARG_INTERVAL_P(arg);
	if (bucket->month != 0)
		mals_error_range("bucket", "Months and years differ in length: give days or less.");
	if (pg_mul_s64_overflow(bucket->day, USECS_PER_DAY, &width) ||
		pg_add_s64_overflow(width, bucket->time, &width) || width <= 0)
		mals_error_range("bucket", "Give an interval above zero, such as '5 minutes'.");
	return width;
}

/* The beginning of the bucket that holds a time; buckets are laid from 2000-01-01 UTC. */
static TimestampTz
bucket_begin(TimestampTz ts, int64 width)
{
	int64 past = ts % width;

	return ts - (past < 0 ? past + width : past);
}

/* Lays the buckets of a window. */
static void
lay_buckets(Histogram *histogram, int64 width, TimestampTz since, TimestampTz until)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->width = width;
	if (since >= until)
		return;
	if (!TIMESTAMP_NOT_FINITE(since) && !TIMESTAMP_NOT_FINITE(until))
	{
		TimestampTz last = bucket_begin(until - 1, width);

		/* unsigned, as the difference may be beyond int64 */
		histogram->first = bucket_begin(since, width);
		histogram->nbuckets = ((uint64) last - (uint64) histogram->first) / width + 1;
	}
	if (histogram->nbuckets > 0 && !IS_VALID_TIMESTAMP(histogram->first))
		mals_error_range("bucket", "Give a shorter bucket: the first would begin before all time.");
	if (histogram->nbuckets < 1 || histogram->nbuckets > MAX_BUCKETS)
		ereport(
			ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("bucket is out of range: since to until has more than %d buckets", MAX_BUCKETS),
			errhint("Give longer buckets or a shorter window."));
	histogram->counts = palloc0(histogram->nbuckets * LEVELS * sizeof(int64));
}

/* Makes the counts of so many buckets, all zero. */
static ArrayType *
make_counts(int64 nbuckets, MemoryContext context)
{
	Size size = ARR_OVERHEAD_NONULLS(1) + nbuckets * LEVELS * sizeof(int64);
	ArrayType *counts = MemoryContextAllocZero(context, size);

	SET_VARSIZE(counts, size);
	counts->ndim = 1;
	counts->elemtype = INT8OID;
	ARR_DIMS(counts)[0] = nbuckets * LEVELS;
	ARR_LBOUND(counts)[0] = 1;
	return counts;
}

/* SQL: counts an entry; the state is an array of counts, which is changed in place. */
Datum
mals_histogram_add(PG_FUNCTION_ARGS)
{
	MalsLevel level = PG_GETARG_MALS_LEVEL(2);
	int64 past = PG_GETARG_TIMESTAMPTZ(1) - PG_GETARG_TIMESTAMPTZ(3);
	int64 width = PG_GETARG_INT64(4);
	int64 nbuckets = PG_GETARG_INT64(5);
	MemoryContext context;
	ArrayType *counts;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "mals_histogram_add called outside of an aggregate");
	if (past < 0 || width < 1 || nbuckets < 1 || nbuckets > MAX_BUCKETS)
		elog(ERROR, "buckets are wrong");
	counts = PG_ARGISNULL(0) ? make_counts(nbuckets, context) : (ArrayType *) PG_GETARG_POINTER(0);
	/* later entries than the clock's time, where that ends the window, have no bucket */
	if (past / width < ARR_DIMS(counts)[0] / LEVELS)
		for (int i = 0; i < LEVELS; i++)
			if (levels[i] == level)
				((int64 *) ARR_DATA_PTR(counts))[past / width * LEVELS + i]++;
	PG_RETURN_POINTER(counts);
}

/* SQL: adds the counts of two states. */
Datum
mals_histogram_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	ArrayType *counts;
	int64 *sums;
	const int64 *other;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "mals_histogram_combine called outside of an aggregate");
	counts = (ArrayType *) PG_GETARG_POINTER(0);
	sums = (int64 *) ARR_DATA_PTR(counts);
	other = (const int64 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(1));
	for (int i = 0; i < ARR_DIMS(counts)[0]; i++)
		sums[i] += other[i];
	PG_RETURN_POINTER(counts);
}

/* Takes the counts. */
static void
take_counts(TupleTableSlot *row, void *arg)
{
	Histogram *histogram = arg;

	slot_getallattrs(row);
	if (!row->tts_isnull[0])
		memcpy(histogram->counts, ARR_DATA_PTR(DatumGetArrayTypeP(row->tts_values[0])),
			   histogram->nbuckets * LEVELS * sizeof(int64));
}

/* SQL: entries by bucket of time and level. */
Datum
mals_histogram(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 width = bucket_width(fcinfo, 0);
	TimestampTz until = PG_ARGISNULL(3) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(3);
	TimestampTz since;
	Histogram histogram;
	MalsSelection selection;
	StringInfoData sql;

	if (!PG_ARGISNULL(2))
		since = PG_GETARG_TIMESTAMPTZ(2);
	else
		since = TIMESTAMP_NOT_FINITE(until) || until < MIN_TIMESTAMP + USECS_PER_DAY
					? DT_NOBEGIN
					: until - USECS_PER_DAY;
	/* without an end, the clock's time is within the last bucket */
	lay_buckets(&histogram, width, since, PG_ARGISNULL(3) ? until + 1 : until);

	mals_selection_read(&selection, fcinfo, 1, 2, 3);
	selection.since = Max(selection.since, since);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT mals._histogram(l.ts, l.level, ");
	mals_append_timestamp(&sql, histogram.first);
	appendStringInfo(&sql, ", " INT64_FORMAT ", " INT64_FORMAT ")", width, histogram.nbuckets);
	mals_selection_append_from(&sql, &selection);
	mals_read(sql.data, take_counts, &histogram);

	InitMaterializedSRF(fcinfo, 0);
	for (int64 bucket = 0; bucket < histogram.nbuckets; bucket++)
	{
		for (int i = 0; i < LEVELS; i++)
		{
			Datum values[3];
			bool nulls[3] = {false, false, false};

			values[0] = TimestampTzGetDatum(histogram.first + bucket * width);
			values[1] = MalsLevelGetDatum(levels[i]);
			values[2] = Int64GetDatum(histogram.counts[bucket * LEVELS + i]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}
