/*
 * search.c
 *		Functions that find entries: mals_get, mals_search, mals_count,
 *		mals_list and mals_context.
 */
#include "mals_errors.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "mals_catalog.h"
#include "entry/entry.h"
#include "entry/entry.h"
#include "query/literal.h"
#include "query/query.h"
#include "query/read.h"
#include "types/types.h"

PG_FUNCTION_INFO_V1(mals_get);
PG_FUNCTION_INFO_V1(mals_search);
PG_FUNCTION_INFO_V1(mals_count);
PG_FUNCTION_INFO_V1(mals_list);
PG_FUNCTION_INFO_V1(mals_context);

#define MAX_LIST_ROWS 1000

/* Makes a JSON array of rows. */
typedef struct Items
{
	JsonbParseState *state;
	MemoryContext context;
} Items;

/* Goes back from an entry. */
typedef struct Before
{
	int64 entries;   /* how many there are */
	pg_uuid_t first; /* the last one reached */
} Before;

/*
 * What mals_context may hold entries together by: SQL that makes, of an entry,
 * the condition that its like meet. What the entry lacks falls back.
 */
#define SAME(column) "'l." column " = ' || quote_literal(l." column "::text)"

static const struct
{
	const char *name;
	const char *condition;
} scopes[] = {
	{"session", "COALESCE(" SAME("session_key") ", " SAME("agent_id") ")"},
	{"agent", SAME("agent_id")},
	{"trace", "COALESCE(" SAME("trace_id") ", " SAME("correlation_id") ", " SAME("agent_id") ")"},
	{"all", "'true'::text"},
};

/* Starts the SQL that reads columns of mals.logs. */
static void
select_where(StringInfo sql, const char *target, const MalsSelection *selection)
{
	initStringInfo(sql);
	appendStringInfo(sql, "SELECT %s FROM mals.logs l WHERE ", target);
	mals_selection_append(sql, selection);
}

/* Counts a selection's entries. */
static int64
count_entries(const MalsSelection *selection)
{
	StringInfoData sql;
	bool isnull;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT count(*)");
	mals_selection_append_from(&sql, selection);
	return DatumGetInt64(mals_read_value(sql.data, &isnull));
}

/* SQL: the entry with an id. */
Datum
mals_get(PG_FUNCTION_ARGS)
{
	MalsSelection selection;
	StringInfoData sql;

	mals_selection_entry(&selection, mals_id_arg(fcinfo, 0, "id"));
	select_where(&sql, "l.*", &selection);
	mals_read_result(sql.data, fcinfo);
	return (Datum) 0;
}

/* Reads the argument sort: NULL and desc are descending. */
static bool
sort_descending(FunctionCallInfo fcinfo, int arg)
{
	char *sort = PG_ARGISNULL(arg) ? "desc" : text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (pg_strcasecmp(sort, "desc") == 0)
		return true;
	if (pg_strcasecmp(sort, "asc") != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("unknown sort: \"%s\"", sort),
				errhint("Use desc for the newest entries first, or asc for the oldest."));
	return false;
}

/* SQL: entries that match a query, in order of time. */
Datum
mals_search(PG_FUNCTION_ARGS)
{
	int64 limit = PG_ARGISNULL(3) ? -1 : mals_number_arg(fcinfo, 3, "max_rows", 0, 0);
	int64 skip = mals_number_arg(fcinfo, 4, "skip", 0, 0);
	bool descending = sort_descending(fcinfo, 5);
	MalsSelection selection;

	mals_selection_read(&selection, fcinfo, 0, 1, 2);
	InitMaterializedSRF(fcinfo, 0);
	mals_walk(&selection, "l.*", descending, skip, limit, mals_store_row, fcinfo->resultinfo);
	return (Datum) 0;
}

/* SQL: how many entries match a query. */
Datum
mals_count(PG_FUNCTION_ARGS)
{
	MalsSelection selection;

	mals_selection_read(&selection, fcinfo, 0, 1, 2);
	PG_RETURN_INT64(count_entries(&selection));
}

/* Appends " AND column = value" where a text argument is given. */
static void
append_equals(StringInfo sql, FunctionCallInfo fcinfo, int arg, const char *column)
{
	if (PG_ARGISNULL(arg))
		return;
	appendStringInfo(sql, " AND l.%s = ", column);
	mals_append_literal(sql, text_to_cstring(PG_GETARG_TEXT_PP(arg)));
}

/* Appends that the message contains a text, as a quoted token of a query says it. */
static void
append_contains(StringInfo sql, char *str)
{
	MalsTerm term = {.kind = MALS_TERM_TEXT, .op = MALS_OP_EQ, .text = str};
	MalsCondition condition = {list_make1(&term)};

	if (*str == '\0')
		return; /* every message contains it */
	appendStringInfoString(sql, " AND ");
	mals_condition_sql(sql, &condition);
}

/* Takes a row of one jsonb into the array. */
static void
take_item(TupleTableSlot *row, void *arg)
{
	Items *items = arg;
	MemoryContext old = MemoryContextSwitchTo(items->context);
	bool isnull;
	Datum item = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot_getattr(row, 1, &isnull)));
	JsonbValue value;

	JsonbToJsonbValue(DatumGetJsonbP(item), &value);
	pushJsonbValue(&items->state, WJB_ELEM, &value);
	MemoryContextSwitchTo(old);
}

/* Pushes a key of an object. */
static void
push_key(JsonbParseState **state, char *name)
{
	JsonbValue key = {.type = jbvString};

	key.val.string.val = name;
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

/* SQL: a page of entries and how many there are in all, as JSON. */
Datum
mals_list(PG_FUNCTION_ARGS)
{
	int64 limit = mals_number_arg(fcinfo, 8, "max_rows", 1, 0);
	int64 skip = mals_number_arg(fcinfo, 9, "skip", 0, 0);
	Items items = {NULL, CurrentMemoryContext};
	MalsSelection selection;
	StringInfoData condition;
	JsonbValue total = {.type = jbvNumeric};

	if (limit > MAX_LIST_ROWS)
		mals_error_range("max_rows",
						 "Give a number from 1 to %d, and fetch page by page with skip.",
						 MAX_LIST_ROWS);

	initStringInfo(&condition);
	appendStringInfoString(&condition, "true");
	append_equals(&condition, fcinfo, 0, "agent_id");
	if (!PG_ARGISNULL(1))
		appendStringInfo(&condition, " AND l.level OPERATOR(%s.=) '%s'", mals_extension_schema(),
						 mals_level_name(PG_GETARG_MALS_LEVEL(1)));
	append_equals(&condition, fcinfo, 2, "category");
	append_equals(&condition, fcinfo, 3, "source");
	if (!PG_ARGISNULL(4))
		appendStringInfo(&condition, " AND l.resolved = %s", PG_GETARG_BOOL(4) ? "true" : "false");
	if (!PG_ARGISNULL(7))
		append_contains(&condition, text_to_cstring(PG_GETARG_TEXT_PP(7)));
	mals_selection_init(&selection, PG_ARGISNULL(5) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(5),
						PG_ARGISNULL(6) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(6));
	selection.condition = condition.data;
	selection.resolved = !PG_ARGISNULL(4);

	pushJsonbValue(&items.state, WJB_BEGIN_OBJECT, NULL);
	push_key(&items.state, "total");
	total.val.numeric = int64_to_numeric(count_entries(&selection));
	pushJsonbValue(&items.state, WJB_VALUE, &total);
	push_key(&items.state, "items");
	pushJsonbValue(&items.state, WJB_BEGIN_ARRAY, NULL);
	mals_walk(&selection, "to_jsonb(l)", true, skip, limit, take_item, &items);
	pushJsonbValue(&items.state, WJB_END_ARRAY, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&items.state, WJB_END_OBJECT, NULL)));
}

/* Finds the SQL of a scope of mals_context. */
static const char *
scope_condition(FunctionCallInfo fcinfo, int arg)
{
	char *name = PG_ARGISNULL(arg) ? "session" : text_to_cstring(PG_GETARG_TEXT_PP(arg));

	for (int i = 0; i < lengthof(scopes); i++)
	{
		if (strcmp(name, scopes[i].name) == 0)
			return scopes[i].condition;
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown scope: \"%s\"", name),
			errhint("Use session, agent, trace or all."));
}

/* Takes a row of one id. */
static void
take_before(TupleTableSlot *row, void *arg)
{
	Before *before = arg;
	bool isnull;

	before->entries++;
	before->first = *DatumGetUUIDP(slot_getattr(row, 1, &isnull));
}

/* SQL: the entries around one. */
Datum
mals_context(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id = mals_id_arg(fcinfo, 0, "id");
	int64 nbefore = mals_number_arg(fcinfo, 1, "before", 0, 10);
	int64 nafter = mals_number_arg(fcinfo, 2, "after", 0, 10);
	const char *scope = scope_condition(fcinfo, 3);
	Before before = {0, *id};
	MalsSelection selection;
	StringInfoData sql;
	TimestampTz ts;
	char str[37];
	Datum found;
	char *alike;
	bool isnull;

	mals_selection_entry(&selection, id);
	ts = selection.since;
	select_where(&sql, scope, &selection);
	found = mals_read_value(sql.data, &isnull);
	if (isnull)
	{
		mals_uuid_text(id, str);
		mals_error_no_entry(str);
	}
	alike = TextDatumGetCString(found);

	/* back to the first entry that is wanted, then forward from it */
	resetStringInfo(&sql);
	appendStringInfo(&sql, "%s AND ", alike);
	mals_append_beyond(&sql, "<", id);
	mals_selection_init(&selection, DT_NOBEGIN, ts + 1);
	selection.condition = sql.data;
	mals_walk(&selection, "l.id", true, 0, nbefore, take_before, &before);

	resetStringInfo(&sql);
	appendStringInfo(&sql, "%s AND ", alike);
	mals_append_beyond(&sql, ">=", &before.first);
	(void) mals_uuid_timestamp(&before.first, &ts);
	mals_selection_init(&selection, ts, DT_NOEND);
	selection.condition = sql.data;
	InitMaterializedSRF(fcinfo, 0);
	mals_walk(&selection, "l.*", false, 0, before.entries + 1 + nafter, mals_store_row,
			  fcinfo->resultinfo);
	return (Datum) 0;
}
