/*
 * sample.c
 *		Functions that tell a metric something: mals_counter, mals_gauge,
 *		mals_observe, and mals_metric_define.
 *
 * A call appends one row to mals._samples, in the caller's transaction and
 * without touching a unique constraint or a row that others change: sessions
 * that bump one counter never wait for each other, and a ROLLBACK takes the
 * sample back. mals._fold_metrics sums samples up in mals._series; readers add
 * what is not folded yet, so that every figure is exact at any time.
 *
 * What kind a metric is says its definition, else its series, else its first
 * sample. So that this can be looked up, a sample whose metric is not known
 * otherwise is marked as first, and only such samples are in an index. Two
 * sessions that use a new name at the same moment for metrics of different
 * kinds do not see each other: then the earlier one's kind holds, and the
 * other's samples are dropped when they are folded.
 */
#include "mals_errors.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "mals_compat.h"
#include "access/access.h"
#include "metric/metric_private.h"
#include "partition/partition.h"
#include "worker/shared.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_counter);
PG_FUNCTION_INFO_V1(mals_gauge);
PG_FUNCTION_INFO_V1(mals_observe);
PG_FUNCTION_INFO_V1(mals_metric_define);
PG_FUNCTION_INFO_V1(mals_float8_add);

#define MAX_BUCKETS 200

/* Columns of mals._samples. */
enum
{
	SAMPLE_NAME,
	SAMPLE_KIND,
	SAMPLE_LABELS,
	SAMPLE_VALUE,
	SAMPLE_RELATIVE,
	SAMPLE_FIRST,
	SAMPLE_TS,
	SAMPLE_COLUMNS
};

/* What a histogram's name is continued by in the names of its series. */
static const char *const histogram_suffixes[] = {"_bucket", "_sum", "_count"};

/* Where the kind of a metric is found: tables whose columns 1 and 2 are name and kind. */
static const struct
{
	const char *table;
	const char *index;
} kind_sources[] = {
	{"_metrics", "_metrics_pkey"},
	{"_series", "_series_pkey"},
	{"_samples", "_samples_first"},
};

/*
 * Finds the kind of a metric, as text; NULL: there is no such metric. Sees what
 * the current command has written, too.
 */
static char *
find_kind(const char *name)
{
	Datum value = CStringGetTextDatum(name);
	char *kind = NULL;

	for (int i = 0; i < lengthof(kind_sources) && kind == NULL; i++)
	{
		Relation rel = table_open(mals_relation_oid(kind_sources[i].table), AccessShareLock);
		SysScanDesc scan;
		ScanKeyData key;
		HeapTuple tuple;

		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, value);
		scan = systable_beginscan(rel, mals_relation_oid(kind_sources[i].index), true, SnapshotSelf,
								  1, &key);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
		{
			bool isnull;

			kind = TextDatumGetCString(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));
		}
		systable_endscan(scan);
		table_close(rel, AccessShareLock);
	}
	return kind;
}

/* Raises the error of a name that would show two things under one name. */
static void
raise_name_taken(const char *name, const char *other)
{
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("name \"%s\" clashes with the metric \"%s\"", name, other),
			errdetail("A histogram also shows series named _bucket, _sum and _count."),
			errhint("Choose another name."));
}

/*
 * Checks that a metric can be of a kind. Returns whether it is known already.
 */
static bool
check_kind(const char *name, const char *kind)
{
	char *known = find_kind(name);

	if (known != NULL && strcmp(known, kind) != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("name: metric \"%s\" is a %s, not a %s", name, known, kind),
				errhint("Choose another name: the kind of a metric does not change."));
	if (known != NULL)
		return true;

	for (int i = 0; i < lengthof(histogram_suffixes); i++)
	{
		const char *suffix = histogram_suffixes[i];
		int stem = strlen(name) - strlen(suffix);

		if (strcmp(kind, MALS_METRIC_PRIVATE_HISTOGRAM) == 0)
		{
			char *series = psprintf("%s%s", name, suffix);

			if (find_kind(series) != NULL)
				raise_name_taken(name, series);
		}
		if (stem > 0 && strcmp(name + stem, suffix) == 0)
		{
			char *base = pnstrdup(name, stem);
			char *base_kind = find_kind(base);

			if (base_kind != NULL && strcmp(base_kind, MALS_METRIC_PRIVATE_HISTOGRAM) == 0)
				raise_name_taken(name, base);
		}
	}
	return false;
}

/*
 * Gives the time of a sample. Times of one session ascend, so that its own
 * changes of a gauge keep their order.
 */
static TimestampTz
sample_time(void)
{
	static TimestampTz last = 0;

	last = Max(GetCurrentTimestamp(), last + 1);
	return last;
}

/* Appends a sample; what is the function that was called, arguments are numbered. */
static void
append_sample(FunctionCallInfo fcinfo, const char *what, const char *kind, float8 value,
			  int labels_arg, bool relative)
{
	Datum values[SAMPLE_COLUMNS];
	bool isnull[SAMPLE_COLUMNS] = {0};
	char *name = mals_metric_name(fcinfo, 0);
	Jsonb *labels = mals_metric_labels(fcinfo, labels_arg, kind);

	if (XactReadOnly)
		mals_error_read_only(what);
	values[SAMPLE_FIRST] = BoolGetDatum(!check_kind(name, kind));
	values[SAMPLE_NAME] = CStringGetTextDatum(name);
	values[SAMPLE_KIND] = CStringGetTextDatum(kind);
	values[SAMPLE_LABELS] = JsonbPGetDatum(labels);
	values[SAMPLE_VALUE] = Float8GetDatum(value);
	values[SAMPLE_RELATIVE] = BoolGetDatum(relative);
	values[SAMPLE_TS] = TimestampTzGetDatum(sample_time());
	mals_write_row(mals_relation_oid("_samples"), SAMPLE_COLUMNS, values, isnull);
	mals_note_work(MALS_WORK_METRICS);
}

/* Gives the argument value; NULL is 22004. */
static float8
value_arg(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		mals_error_missing("value", "Give a number.");
	return PG_GETARG_FLOAT8(arg);
}

/* SQL: adds to a counter. */
Datum
mals_counter(PG_FUNCTION_ARGS)
{
	float8 delta = PG_ARGISNULL(2) ? 1 : PG_GETARG_FLOAT8(2);

	if (isnan(delta) || isinf(delta) || delta < 0)
		mals_error_range("delta",
						 "A counter only goes up, by a finite number that is not negative; "
						 "for what goes down use mals_gauge.");
	append_sample(fcinfo, "mals_counter()", MALS_METRIC_COUNTER, delta, 1, true);
	PG_RETURN_VOID();
}

/* SQL: sets a gauge, or changes it by a value. */
Datum
mals_gauge(PG_FUNCTION_ARGS)
{
	append_sample(fcinfo, "mals_gauge()", MALS_METRIC_GAUGE, value_arg(fcinfo, 1), 2,
				  !PG_ARGISNULL(3) && PG_GETARG_BOOL(3));
	PG_RETURN_VOID();
}

/* SQL: adds an observation to a histogram. */
Datum
mals_observe(PG_FUNCTION_ARGS)
{
	append_sample(fcinfo, "mals_observe()", MALS_METRIC_PRIVATE_HISTOGRAM, value_arg(fcinfo, 1), 2,
				  true);
	PG_RETURN_VOID();
}

/* Reads the argument buckets: upper bounds that ascend, without +Inf, which is always there. */
static ArrayType *
buckets_arg(FunctionCallInfo fcinfo, int arg)
{
	ArrayType *buckets = PG_GETARG_ARRAYTYPE_P(arg);
	Datum *bounds;
	bool *nulls;
	int count;

	deconstruct_array(buckets, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &bounds,
					  &nulls, &count);
	if (ARR_NDIM(buckets) == 1 && count > 0 && !nulls[count - 1] &&
		isinf(DatumGetFloat8(bounds[count - 1])) && DatumGetFloat8(bounds[count - 1]) > 0)
		count--;
	if (ARR_NDIM(buckets) != 1 || count < 1 || count > MAX_BUCKETS)
		mals_error_range("buckets", "Give 1 to %d upper bounds, such as ARRAY[0.1, 1, 10].",
						 MAX_BUCKETS);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i] || isnan(DatumGetFloat8(bounds[i])) || isinf(DatumGetFloat8(bounds[i])) ||
			(i > 0 && DatumGetFloat8(bounds[i]) <= DatumGetFloat8(bounds[i - 1])))
			mals_error_range("buckets", "Give upper bounds that are numbers and ascend, such as "
										"ARRAY[0.1, 1, 10].");
	}
	return construct_array(bounds, count, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

/* SQL: says what a metric is. */
Datum
mals_metric_define(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, FLOAT8ARRAYOID};
	char *name = mals_metric_name(fcinfo, 0);
	Datum values[4];
	char nulls[] = "    ";
	char *kind;

	if (PG_ARGISNULL(1))
		mals_error_missing("kind", "Give counter, gauge or histogram.");
	kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (strcmp(kind, MALS_METRIC_COUNTER) != 0 && strcmp(kind, MALS_METRIC_GAUGE) != 0 &&
		strcmp(kind, MALS_METRIC_PRIVATE_HISTOGRAM) != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("kind \"%s\" is unknown", kind),
				errhint("Give counter, gauge or histogram."));
	if (!PG_ARGISNULL(3) && strcmp(kind, MALS_METRIC_PRIVATE_HISTOGRAM) != 0)
		mals_error_range("buckets", "Only a histogram has buckets: leave them out for a %s.", kind);
	if (XactReadOnly)
		mals_error_read_only("mals_metric_define()");
	(void) check_kind(name, kind);

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(kind);
	values[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	values[3] = PG_ARGISNULL(3) ? (Datum) 0 : PointerGetDatum(buckets_arg(fcinfo, 3));
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	nulls[3] = PG_ARGISNULL(3) ? 'n' : ' ';
	mals_run_as_owner("INSERT INTO mals._metrics AS m (name, kind, help, buckets)"
					  " VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE"
					  " SET help = COALESCE(excluded.help, m.help),"
					  " buckets = COALESCE(excluded.buckets, m.buckets)",
					  lengthof(types), types, values, nulls);
	PG_RETURN_VOID();
}

/* SQL: adds numbers as IEEE 754 has it: what is too large is infinite, no error. */
Datum
mals_float8_add(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(PG_GETARG_FLOAT8(0) + PG_GETARG_FLOAT8(1));
}
