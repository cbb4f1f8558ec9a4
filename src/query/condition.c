/*
 * condition.c
 *		What a query's terms mean: SQL over the columns of mals.logs, and the
 *		window of time they imply.
 *
 * A term over columns that may be NULL, or over metadata, is negated as
 * (…) IS NOT TRUE, so that entries without a value are among those that do not
 * match it; one over columns that are never NULL as NOT (…).
 *
 * Text is sought in messages as a literal regular expression, ***=text. On
 * PostgreSQL 15, 300,000 messages of 100 characters, none matching, it takes
 * 0.8 of the time of ILIKE in ASCII and 0.5 to 0.85 in Cyrillic with C.UTF-8
 * and ICU; strpos(lower(message), …) takes 0.85 to 1.5 of its own time, and
 * would fold case otherwise than the words of a query do.
 */
#include "query/query.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "mals_catalog.h"
#include "query/literal.h"

PG_FUNCTION_INFO_V1(mals_query_explain);

static const char *const operator_names[] = {
	[MALS_OP_EQ] = "=", [MALS_OP_LT] = "<",  [MALS_OP_LE] = "<=",
	[MALS_OP_GT] = ">", [MALS_OP_GE] = ">=", [MALS_OP_LIKE] = "LIKE",
};

/*
 * Appends the comparison of a text column.
 */
static void
append_text(StringInfo buf, const char *column, const MalsTerm *term)
{
	appendStringInfo(buf, "%s %s ", column, operator_names[term->op]);
	mals_append_literal(buf, term->text);
}

/*
 * Appends that of a trace: by trace id or by any spelling as a correlation id.
 */
static void
append_trace(StringInfo buf, const MalsTerm *term)
{
	char canonical[37];
	char hex[33];
	char *to = hex;

	if (!term->flag)
	{
		append_text(buf, "correlation_id", term);
		return;
	}
	mals_uuid_text(&term->uuid, canonical);
	for (const char *from = canonical; *from != '\0'; from++)
	{
		if (*from != '-')
			*to++ = *from;
	}
	*to = '\0';

	appendStringInfo(buf, "(trace_id = '%s'::uuid OR correlation_id IN ('%s', '%s'", canonical,
					 canonical, hex);
	if (strcmp(term->text, canonical) != 0 && strcmp(term->text, hex) != 0)
	{
		appendStringInfoString(buf, ", ");
		mals_append_literal(buf, term->text);
	}
	appendStringInfoString(buf, "))");
}

/*
 * Appends that of an entry's id, with its time: the key of a partition is (ts, id),
 * and partitions are pruned by ts.
 */
static void
append_id(StringInfo buf, const MalsTerm *term)
{
	TimestampTz ts;

	appendStringInfoString(buf, "(id = ");
	mals_append_uuid(buf, &term->uuid);
	if (mals_uuid_timestamp(&term->uuid, &ts))
	{
		appendStringInfoString(buf, " AND ts = ");
		mals_append_timestamp(buf, ts);
	}
	appendStringInfoChar(buf, ')');
}

/*
 * Appends that of a metadata value.
 */
static void
append_meta(StringInfo buf, const MalsTerm *term)
{
	StringInfoData value;
	StringInfoData string;

	initStringInfo(&value);
	mals_append_metadata(&value, term->key);

	if (term->op == MALS_OP_EXISTS)
		appendStringInfo(buf, "%s IS NOT NULL", value.data);
	else if (term->numeric)
	{
		appendStringInfo(
			buf, "CASE WHEN jsonb_typeof(%s) = 'number' THEN %s::numeric %s '%s'::numeric END",
			value.data, value.data, operator_names[term->op], term->text);
	}
	else if (term->op == MALS_OP_LIKE)
	{
		appendStringInfo(buf, "%s #>> '{}' LIKE ", value.data);
		mals_append_literal(buf, term->text);
	}
	else
	{
		/* 5, true and null stand for that value and for that string */
		initStringInfo(&string);
		escape_json(&string, term->text);
		appendStringInfo(buf, term->flag ? "%s IN (" : "%s = ", value.data);
		mals_append_literal(buf, string.data);
		appendStringInfoString(buf, "::jsonb");
		if (term->flag)
			appendStringInfo(buf, ", '%s'::jsonb)", term->text);
		pfree(string.data);
	}
	pfree(value.data);
}

/*
 * Appends that of a fingerprint: any one of the group it is in.
 */
static void
append_group(StringInfo buf, int64 fingerprint)
{
	appendStringInfo(buf,
					 "(fingerprint = '" INT64_FORMAT "'::bigint OR fingerprint IN"
					 " (SELECT m.fingerprint FROM mals._templates o JOIN mals._templates m"
					 " USING (group_id) WHERE o.fingerprint = '" INT64_FORMAT "'::bigint))",
					 fingerprint, fingerprint);
}

/*
 * Appends what a term says, without its negation.
 */
static void
append_assertion(StringInfo buf, const MalsTerm *term)
{
	switch (term->kind)
	{
		case MALS_TERM_LEVEL:
		{
			char *schema = mals_extension_schema();

			appendStringInfo(buf, "level OPERATOR(%s.%s) '%s'::%s.mals_level", schema,
							 operator_names[term->op], mals_level_name(term->level), schema);
			pfree(schema);
		}
		break;
		case MALS_TERM_AGENT:
			append_text(buf, "agent_id", term);
			break;
		case MALS_TERM_CATEGORY:
			append_text(buf, "category", term);
			break;
		case MALS_TERM_SOURCE:
			append_text(buf, "source", term);
			break;
		case MALS_TERM_SESSION:
			append_text(buf, "session_key", term);
			break;
		case MALS_TERM_CORRELATION:
			append_text(buf, "correlation_id", term);
			break;
		case MALS_TERM_TRACE:
			append_trace(buf, term);
			break;
		case MALS_TERM_ID:
			append_id(buf, term);
			break;
		case MALS_TERM_FINGERPRINT:
			append_group(buf, term->number);
			break;
		case MALS_TERM_RESOLVED:
			appendStringInfoString(buf, term->flag ? "resolved" : "NOT resolved");
			break;
		case MALS_TERM_AFTER:
			appendStringInfoString(buf, "ts >= ");
			mals_append_timestamp(buf, term->ts);
			break;
		case MALS_TERM_BEFORE:
			appendStringInfoString(buf, "ts < ");
			mals_append_timestamp(buf, term->ts);
			break;
		case MALS_TERM_META:
			append_meta(buf, term);
			break;
		case MALS_TERM_TEXT:
		{
			char *regex = psprintf("***=%s", term->text);

			appendStringInfoString(buf, "message ~* ");
			mals_append_literal(buf, regex);
			pfree(regex);
		}
		break;
		case MALS_TERM_REGEX:
			appendStringInfo(buf, "message %s ", term->ignore_case ? "~*" : "~");
			mals_append_literal(buf, term->text);
			break;
	}
}

/*
 * Tells whether what a term says may be NULL.
 */
static bool
is_nullable(const MalsTerm *term)
{
	switch (term->kind)
	{
		case MALS_TERM_CATEGORY:
		case MALS_TERM_SESSION:
		case MALS_TERM_CORRELATION:
		case MALS_TERM_TRACE:
		case MALS_TERM_META:
			return true;
		default:
			return false;
	}
}

/*
 * Appends a condition as SQL.
 */
void
mals_condition_sql(StringInfo buf, const MalsCondition *condition)
{
	ListCell *lc;

	if (condition->terms == NIL)
		appendStringInfoString(buf, "true");
	foreach (lc, condition->terms)
	{
		const MalsTerm *term = lfirst(lc);

		if (lc != list_head(condition->terms))
			appendStringInfoString(buf, " AND ");
		if (term->negated)
			appendStringInfoString(buf, is_nullable(term) ? "(" : "NOT (");
		append_assertion(buf, term);
		if (term->negated)
			appendStringInfoString(buf, is_nullable(term) ? ") IS NOT TRUE" : ")");
	}
}

/*
 * Tells whether a condition has a term of a kind.
 */
bool
mals_condition_has(const MalsCondition *condition, MalsTermKind kind)
{
	ListCell *lc;

	foreach (lc, condition->terms)
		if (((const MalsTerm *) lfirst(lc))->kind == kind)
			return true;
	return false;
}

/*
 * Gives the window of time a condition implies; false if it is empty.
 */
bool
mals_condition_bounds(const MalsCondition *condition, TimestampTz *lo, TimestampTz *hi)
{
	ListCell *lc;

	*lo = DT_NOBEGIN;
	*hi = DT_NOEND;
	foreach (lc, condition->terms)
	{
		const MalsTerm *term = lfirst(lc);
		TimestampTz ts;

		if (term->kind == MALS_TERM_AFTER)
			*lo = Max(*lo, term->ts);
		else if (term->kind == MALS_TERM_BEFORE)
			*hi = Min(*hi, term->ts);
		else if (term->kind == MALS_TERM_ID && !term->negated &&
				 mals_uuid_timestamp(&term->uuid, &ts))
		{
			*lo = Max(*lo, ts);
			*hi = Min(*hi, ts + 1);
		}
	}
	return *lo < *hi;
}

/*
 * Shows the condition that a query stands for.
 */
Datum
mals_query_explain(PG_FUNCTION_ARGS)
{
	text *query = PG_GETARG_TEXT_PP(0);
	StringInfoData buf;

	initStringInfo(&buf);
	mals_condition_sql(&buf,
					   mals_query_parse(VARDATA_ANY(query), VARSIZE_ANY_EXHDR(query), "query"));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}
