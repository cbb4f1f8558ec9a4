/*
 * export.c
 *		mals_export: entries as lines of text, oldest first, one at a time.
 *
 * The function gives a value a call, so that a select list and COPY stream
 * what it makes. Rows are fetched from a portal, a part of the walk (walk.c)
 * at a time. The portal may be lost between two calls: a cursor that calls
 * this survives the rollback of the subtransaction in which it fetched last,
 * but a portal that was opened in that subtransaction does not. Therefore the
 * portal is known by its name alone, and opened again beyond the last row if
 * it is gone. The calling query's snapshot stays the same.
 */
#include "mals_errors.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timestamp.h"

#include "mals_spi.h"
#include "query/read.h"

PG_FUNCTION_INFO_V1(mals_export);

#define FETCH_ROWS 1000

struct Export;

/* Appends an entry to a line. */
typedef void (*WriteEntry)(struct Export *export, StringInfo line);

typedef struct Export
{
	MalsSelection selection;
	MalsWalk walk;
	WriteEntry write;
	bool header;           /* a line of names is still to come */
	bool in_part;          /* the walk is within a part */
	int64 left;            /* rows to come at most; -1: all */
	ExprContext *econtext; /* which calls shut_down */

	char portal[NAMEDATALEN]; /* its name; "" if there is none */
	pg_uuid_t last;           /* the last row that was fetched */
	bool has_last;

	/* rows that were fetched */
	MemoryContext batch;
	TupleDesc layout;
	HeapTuple *rows;
	int nrows;
	int next;

	/* the row that is being written */
	MemoryContext scratch;
	Datum *values;
	bool *nulls;
	FmgrInfo *output; /* output functions of the columns */
} Export;

/* Columns of mals.logs that have a place of their own in a text line. */
enum
{
	LOGS_ID = 0,
	LOGS_TS = 1,
	LOGS_LEVEL = 3,
	LOGS_AGENT_ID = 4,
	LOGS_MESSAGE = 5,
	LOGS_CATEGORY = 6,
	LOGS_METADATA = 12
};

/* Gives the text of a column that is not NULL; times as ISO 8601 in UTC. */
static char *
column_text(Export *export, int column)
{
	Datum value = export->values[column];

	switch (TupleDescAttr(export->layout, column)->atttypid)
	{
		case TIMESTAMPTZOID:
		{
			struct pg_tm tm;
			fsec_t fsec;

			if (timestamp2tm(DatumGetTimestampTz(value), NULL, &tm, &fsec, NULL, NULL) != 0)
				elog(ERROR, "timestamp out of range");
			return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon,
							tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
		}
		case BOOLOID:
			return DatumGetBool(value) ? "true" : "false";
		default:
			return OutputFunctionCall(&export->output[column], value);
	}
}

/* Writes a JSON object. */
static void
write_json(Export *export, StringInfo line)
{
	for (int i = 0; i < export->layout->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(export->layout, i);

		appendStringInfoChar(line, i == 0 ? '{' : ',');
		escape_json(line, NameStr(column->attname));
		appendStringInfoChar(line, ':');
		if (export->nulls[i])
			appendStringInfoString(line, "null");
		else if (column->atttypid == JSONBOID || column->atttypid == BOOLOID ||
				 column->atttypid == INT8OID)
			appendStringInfoString(line, column_text(export, i));
		else
			escape_json(line, column_text(export, i));
	}
	appendStringInfoChar(line, '}');
}

/* Appends a CSV field (RFC 4180). An empty string is quoted: NULL is not. */
static void
append_csv(StringInfo line, const char *str)
{
	if (*str != '\0' && strpbrk(str, ",\"\r\n") == NULL)
	{
		appendStringInfoString(line, str);
		return;
	}
	appendStringInfoChar(line, '"');
	for (; *str != '\0'; str++)
	{
		if (*str == '"')
			appendStringInfoChar(line, '"');
		appendStringInfoChar(line, *str);
	}
	appendStringInfoChar(line, '"');
}

/* Writes a CSV record. */
static void
write_csv(Export *export, StringInfo line)
{
	for (int i = 0; i < export->layout->natts; i++)
	{
		if (i > 0)
			appendStringInfoChar(line, ',');
		if (!export->nulls[i])
			append_csv(line, column_text(export, i));
	}
}

/* Appends text with control characters escaped. */
static void
append_one_line(StringInfo line, const char *str)
{
	for (; *str != '\0'; str++)
	{
		unsigned char c = *str;

		if (c == '\n')
			appendStringInfoString(line, "\\n");
		else if (c == '\r')
			appendStringInfoString(line, "\\r");
		else if (c == '\t')
			appendStringInfoString(line, "\\t");
		else if (c < 0x20 || c == 0x7F)
			appendStringInfo(line, "\\x%02x", c);
		else
			appendStringInfoChar(line, c);
	}
}

/* Writes a line to read: time, level, agent, category, message, metadata. */
static void
write_text(Export *export, StringInfo line)
{
	appendStringInfoString(line, column_text(export, LOGS_TS));
	appendStringInfo(line, " %s ", asc_toupper(column_text(export, LOGS_LEVEL), 16));
	append_one_line(line, column_text(export, LOGS_AGENT_ID));
	appendStringInfoChar(line, ' ');
	if (!export->nulls[LOGS_CATEGORY])
	{
		appendStringInfoChar(line, '[');
		append_one_line(line, column_text(export, LOGS_CATEGORY));
		appendStringInfoString(line, "] ");
	}
	append_one_line(line, column_text(export, LOGS_MESSAGE));
	if (JB_ROOT_COUNT(DatumGetJsonbP(export->values[LOGS_METADATA])) > 0)
		appendStringInfo(line, " %s", column_text(export, LOGS_METADATA));
}

/* Appends key=value; characters that a key cannot hold become "_". */
static void
append_pair(StringInfo line, const char *prefix, const char *key, int keylen, const char *value)
{
	bool quote = *value == '\0';

	if (line->len > 0)
		appendStringInfoChar(line, ' ');
	appendStringInfoString(line, prefix);
	for (int i = 0; i < keylen; i++)
	{
		unsigned char c = key[i];

		appendStringInfoChar(line, c <= ' ' || c == '=' || c == '"' || c == 0x7F ? '_' : c);
	}
	appendStringInfoChar(line, '=');

	for (const char *p = value; *p != '\0' && !quote; p++)
		quote = (unsigned char) *p <= ' ' || *p == 0x7F || strchr("=\"\\", *p) != NULL;
	if (quote)
		escape_json(line, value);
	else
		appendStringInfoString(line, value);
}

/* Writes key=value pairs (logfmt); what is NULL is left out, metadata's keys are meta.<key>. */
static void
write_logfmt(Export *export, StringInfo line)
{
	for (int i = 0; i < export->layout->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(export->layout, i)->attname);
		JsonbIterator *iterator;
		JsonbIteratorToken token;
		JsonbValue key;
		JsonbValue value;

		if (export->nulls[i])
			continue;
		if (i != LOGS_METADATA)
		{
			append_pair(line, "", name, strlen(name), column_text(export, i));
			continue;
		}
		iterator = JsonbIteratorInit(&DatumGetJsonbP(export->values[i])->root);
		while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
		{
			if (token != WJB_KEY)
				continue;
			(void) JsonbIteratorNext(&iterator, &value, true);
			append_pair(line, "meta.", key.val.string.val, key.val.string.len,
						value.type == jbvString
							? pnstrdup(value.val.string.val, value.val.string.len)
							: JsonbToCString(NULL, &JsonbValueToJsonb(&value)->root, 0));
		}
	}
}

static const struct
{
	const char *name;
	WriteEntry write;
	bool header;
} formats[] = {
	{"json", write_json, false},
	{"csv", write_csv, true},
	{"text", write_text, false},
	{"logfmt", write_logfmt, false},
};

/* Closes the portal, if it is still there. */
static void
close_portal(Export *export)
{
	Portal portal = export->portal[0] == '\0' ? NULL : GetPortalByName(export->portal);

	if (PortalIsValid(portal))
		SPI_cursor_close(portal);
	export->portal[0] = '\0';
}

/* Cleans up when the calling query ends before the last row, or starts again. */
static void
shut_down(Datum arg)
{
	close_portal((Export *) DatumGetPointer(arg));
}

/* Opens a portal over what is left of a part. */
static Portal
open_portal(Export *export)
{
	SPIParseOpenOptions options = {.read_only = true};
	char *sql =
		mals_walk_sql(&export->walk, "l.*", export->has_last ? &export->last : NULL, export->left);
	Portal portal = SPI_cursor_parse_open(NULL, sql, &options);

	if (portal == NULL)
		elog(ERROR, "could not run: %s", sql);
	pfree(sql);
	strlcpy(export->portal, portal->name, NAMEDATALEN);
	return portal;
}

/* Keeps the rows that SPI has fetched. */
static void
keep_rows(Export *export)
{
	MemoryContext old;

	if (export->layout == NULL)
	{
		TupleDesc layout;

		old = MemoryContextSwitchTo(GetMemoryChunkContext(export));
		layout = export->layout = CreateTupleDescCopy(SPI_tuptable->tupdesc);
		export->values = palloc(layout->natts * sizeof(Datum));
		export->nulls = palloc(layout->natts * sizeof(bool));
		export->output = palloc(layout->natts * sizeof(FmgrInfo));
		for (int i = 0; i < layout->natts; i++)
		{
			Oid function;
			bool varlena;

			getTypeOutputInfo(TupleDescAttr(layout, i)->atttypid, &function, &varlena);
			fmgr_info(function, &export->output[i]);
		}
		MemoryContextSwitchTo(old);
	}

	MemoryContextReset(export->batch);
	old = MemoryContextSwitchTo(export->batch);
	export->nrows = SPI_processed;
	export->next = 0;
	export->rows = palloc(Max(export->nrows, 1) * sizeof(HeapTuple));
	for (int i = 0; i < export->nrows; i++)
		export->rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	MemoryContextSwitchTo(old);

	if (export->nrows > 0)
	{
		bool isnull;
		Datum id =
			heap_getattr(export->rows[export->nrows - 1], LOGS_ID + 1, export->layout, &isnull);

		export->last = *DatumGetUUIDP(id);
		export->has_last = true;
		if (export->left >= 0)
			export->left -= export->nrows;
	}
}

/* Fetches rows; false if there are no more. */
static bool
fetch_rows(Export *export)
{
	export->nrows = 0;
	while (export->nrows == 0 && (export->left != 0 || export->layout == NULL))
	{
		Portal portal = NULL;

		if (!export->in_part)
		{
			if (!mals_walk_next(&export->walk))
				break;
			export->in_part = true;
		}
		mals_spi_connect();
		if (export->portal[0] != '\0')
			portal = GetPortalByName(export->portal);
		if (portal == NULL)
			portal = open_portal(export);
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		keep_rows(export);
		if (export->nrows < FETCH_ROWS)
		{
			close_portal(export);
			export->in_part = false;
		}
		SPI_finish();
	}
	return export->nrows > 0;
}

/* Reads the arguments and gets ready. */
static Export *
begin_export(FunctionCallInfo fcinfo)
{
	char *format = PG_ARGISNULL(0) ? "json" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	Export *export = palloc0(sizeof(Export));

	for (int i = 0; i < lengthof(formats); i++)
	{
		if (strcmp(format, formats[i].name) == 0)
		{
			export->write = formats[i].write;
			export->header = formats[i].header;
		}
	}
	if (export->write == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("unknown format: \"%s\"", format),
				errhint("Use json, csv, text or logfmt."));
	export->left = PG_ARGISNULL(4) ? -1 : PG_GETARG_INT64(4);
	if (!PG_ARGISNULL(4) && export->left < 0)
		mals_error_range("max_rows", "Give 0 or more, or NULL for all entries.");
	mals_selection_read(&export->selection, fcinfo, 1, 2, 3);
	mals_walk_begin(&export->walk, &export->selection, false);
	export->batch =
		AllocSetContextCreate(CurrentMemoryContext, "mals export rows", ALLOCSET_DEFAULT_SIZES);
	export->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals export line", ALLOCSET_DEFAULT_SIZES);
	return export;
}

/* Makes the next line; NULL after the last. */
static text *
next_line(Export *export)
{
	bool more = export->next < export->nrows || fetch_rows(export);
	MemoryContext old;
	StringInfoData line;
	text *result;

	if (!more && !export->header)
		return NULL;
	MemoryContextReset(export->scratch);
	old = MemoryContextSwitchTo(export->scratch);
	initStringInfo(&line);
	if (export->header)
	{
		for (int i = 0; i < export->layout->natts; i++)
		{
			if (i > 0)
				appendStringInfoChar(&line, ',');
			append_csv(&line, NameStr(TupleDescAttr(export->layout, i)->attname));
		}
		export->header = false;
	}
	else
	{
		heap_deform_tuple(export->rows[export->next], export->layout, export->values,
						  export->nulls);
		export->write(export, &line);
		export->next++;
	}
	MemoryContextSwitchTo(old);
	result = cstring_to_text_with_len(line.data, line.len);
	return result;
}

/* SQL: entries as lines of text. */
Datum
mals_export(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FuncCallContext *call;
	Export *export;
	text *line;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		export = begin_export(fcinfo);
		call->user_fctx = export;
		MemoryContextSwitchTo(old);
		export->econtext = result->econtext;
		RegisterExprContextCallback(export->econtext, shut_down, PointerGetDatum(export));
	}
	call = SRF_PERCALL_SETUP();
	export = call->user_fctx;
	line = next_line(export);
	if (line != NULL)
		SRF_RETURN_NEXT(call, PointerGetDatum(line));
	UnregisterExprContextCallback(export->econtext, shut_down, PointerGetDatum(export));
	close_portal(export);
	SRF_RETURN_DONE(call);
}
