/*
 * read.c
 *		Selections, arguments and results of the functions that read entries.
 */
#include "mals_errors.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "entry/entry.h"
#include "mals_catalog.h"
#include "mals_spi.h"
#include "query/literal.h"
#include "query/query.h"
#include "query/read.h"

/* A DestReceiver that hands rows to a function. */
typedef struct Receiver
{
	DestReceiver pub;
	MalsRowTaker take;
	void *arg;
} Receiver;

/* A plan that is kept for the session. */
typedef struct KeptPlan
{
	char *sql; /* in TopMemoryContext; NULL: the place is free */
	SPIPlanPtr plan;
	uint64 used; /* the clock when it was used last */
	int users;   /* how often it is being run now */
} KeptPlan;

#define KEPT_PLANS 16
#define KEPT_LENGTH 4096

static KeptPlan kept_plans[KEPT_PLANS];
static uint64 plan_clock = 0;

void
mals_selection_init(MalsSelection *selection, TimestampTz since, TimestampTz until)
{
	selection->condition = "true";
	selection->resolved = false;
	selection->since = since;
	selection->until = until;
}

void
mals_selection_read(MalsSelection *selection, FunctionCallInfo fcinfo, int query, int since,
					int until)
{
	TimestampTz lo;
	TimestampTz hi;

	mals_selection_init(selection, PG_ARGISNULL(since) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(since),
						PG_ARGISNULL(until) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(until));
	if (!PG_ARGISNULL(query))
	{
		text *value = PG_GETARG_TEXT_PP(query);
		MalsCondition *condition =
			mals_query_parse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), "query");
		StringInfoData sql;

		initStringInfo(&sql);
		mals_condition_sql(&sql, condition);
		selection->condition = sql.data;
		selection->resolved = mals_condition_has(condition, MALS_TERM_RESOLVED);
		mals_condition_bounds(condition, &lo, &hi);
		selection->since = Max(selection->since, lo);
		selection->until = Min(selection->until, hi);
	}
}

void
mals_selection_append(StringInfo sql, const MalsSelection *selection)
{
	if (selection->since >= selection->until)
	{
		appendStringInfoString(sql, "false");
		return;
	}
	appendStringInfo(sql, "(%s)", selection->condition);
	if (selection->since != DT_NOBEGIN)
	{
		appendStringInfoString(sql, " AND l.ts >= ");
		mals_append_timestamp(sql, selection->since);
	}
	if (selection->until != DT_NOEND)
	{
		appendStringInfoString(sql, " AND l.ts < ");
		mals_append_timestamp(sql, selection->until);
	}
}

void
mals_selection_append_from(StringInfo sql, const MalsSelection *selection)
{
	appendStringInfo(sql, " FROM %s l WHERE ", selection->resolved ? "mals.logs" : "mals.entries");
	mals_selection_append(sql, selection);
}

void
mals_selection_entry(MalsSelection *selection, const pg_uuid_t *id)
{
	StringInfoData sql;
	TimestampTz ts;

	mals_selection_init(selection, DT_NOEND, DT_NOBEGIN);
	if (!mals_uuid_timestamp(id, &ts))
		return; /* no entry has such an id */
	selection->since = ts;
	selection->until = ts + 1;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "l.id = ");
	mals_append_uuid(&sql, id);
	selection->condition = sql.data;
}

void
mals_append_beyond(StringInfo sql, const char *op, const pg_uuid_t *id)
{
	TimestampTz ts;

	if (!mals_uuid_timestamp(id, &ts))
		elog(ERROR, "id of an entry carries no time");
	appendStringInfo(sql, "(l.ts, l.id) %s (", op);
	mals_append_timestamp(sql, ts);
	appendStringInfoString(sql, ", ");
	mals_append_uuid(sql, id);
	appendStringInfoChar(sql, ')');
}

void
mals_append_is_error(StringInfo sql)
{
	appendStringInfo(sql, "l.level OPERATOR(%s.>=) 'error'", mals_extension_schema());
}

/* Hands a row on to whom it is for. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *receiver = (Receiver *) self;

	receiver->take(slot, receiver->arg);
	return true;
}

/* There is nothing to do before the first row, nor after the last. */
static void
receive_startup(DestReceiver *self, int operation, TupleDesc layout)
{
}

static void
receive_nothing(DestReceiver *self)
{
}

/* Finds the plan of a text among those kept, or makes it, in place of the one used longest ago. */
static KeptPlan *
find_plan(const char *sql, int nparams, Oid *types)
{
	KeptPlan *oldest = NULL;
	SPIPlanPtr plan;

	for (int i = 0; i < KEPT_PLANS; i++)
	{
		KeptPlan *kept = &kept_plans[i];

		if (kept->sql != NULL && strcmp(kept->sql, sql) == 0)
			return kept;
		if (kept->users == 0 && (oldest == NULL || kept->used < oldest->used))
			oldest = kept;
	}
	if (oldest == NULL || strlen(sql) > KEPT_LENGTH)
		return NULL;
	plan = SPI_prepare_cursor(sql, nparams, types,
							  nparams > 0 ? CURSOR_OPT_GENERIC_PLAN : CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", sql);
	if (oldest->sql != NULL)
	{
		pfree(oldest->sql);
		oldest->sql = NULL;
		SPI_freeplan(oldest->plan);
	}
	oldest->plan = plan;
	oldest->used = 0;
	oldest->sql = MemoryContextStrdup(TopMemoryContext, sql);
	SPI_keepplan(plan);
	return oldest;
}

/* Runs a kept plan, which stays while it is run. */
static int
run_plan(KeptPlan *kept, const SPIExecuteOptions *options)
{
	int result;

	kept->used = ++plan_clock;
	kept->users++;
	PG_TRY();
	{
		result = SPI_execute_plan_extended(kept->plan, options);
	}
	PG_FINALLY();
	{
		kept->users--;
	}
	PG_END_TRY();
	return result;
}

void
mals_read_with(const char *sql, int nparams, Oid *types, const Datum *values, MalsRowTaker take,
			   void *arg)
{
	Receiver receiver = {
		{receive_row, receive_startup, receive_nothing, receive_nothing, DestTuplestore},
		take,
		arg};
	SPIExecuteOptions options = {.read_only = true, .dest = &receiver.pub};
	KeptPlan *kept;

	mals_spi_connect();
	if (nparams > 0)
		options.params = makeParamList(nparams);
	for (int i = 0; i < nparams; i++)
	{
		options.params->params[i].value = values[i];
		options.params->params[i].isnull = false;
		options.params->params[i].pflags = PARAM_FLAG_CONST;
		options.params->params[i].ptype = types[i];
	}
	kept = find_plan(sql, nparams, types);
	if ((kept != NULL ? run_plan(kept, &options) : SPI_execute_extended(sql, &options)) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	SPI_finish();
}

void
mals_read(const char *sql, MalsRowTaker take, void *arg)
{
	mals_read_with(sql, 0, NULL, NULL, take, arg);
}

void
mals_store_row(TupleTableSlot *row, void *result)
{
	tuplestore_puttupleslot(((ReturnSetInfo *) result)->setResult, row);
}

void
mals_read_result(const char *sql, FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, 0);
	mals_read(sql, mals_store_row, fcinfo->resultinfo);
}

Datum
mals_read_value(const char *sql, bool *isnull)
{
	Datum value = (Datum) 0;

	mals_spi_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	*isnull = SPI_processed == 0;
	if (!*isnull)
		value = mals_result_datum(0, 1, isnull);
	if (!*isnull)
	{
		Form_pg_attribute column = TupleDescAttr(SPI_tuptable->tupdesc, 0);

		value = SPI_datumTransfer(value, column->attbyval, column->attlen);
	}
	SPI_finish();
	return value;
}

int64
mals_number_arg(FunctionCallInfo fcinfo, int arg, const char *name, int64 least, int64 otherwise)
{
	int64 value = PG_ARGISNULL(arg) ? otherwise : PG_GETARG_INT32(arg);

	if (value < least)
		mals_error_range(name, "Give a number that is at least %lld.", (long long) least);
	return value;
}

pg_uuid_t *
mals_id_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		mals_error_missing(name, "Give the id of an entry, as mals_log returns it.");
	return PG_GETARG_UUID_P(arg);
}
