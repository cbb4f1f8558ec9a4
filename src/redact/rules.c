/*
 * rules.c
 *		Own rules: regular expressions in the table mals.redact_rules.
 *
 * A backend keeps the enabled rules until the table changes: a trigger of the
 * table sends an invalidation, as a change of a catalog would. The table is read
 * like a catalog, too: for whoever logs, whether he may see it or not, and as it
 * is committed, not as his snapshot has it.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "mals_compat.h"
#include "secret.h"

PG_FUNCTION_INFO_V1(mals_check_redact_rule);
PG_FUNCTION_INFO_V1(mals_redact_rules_changed);

/* Columns of mals.redact_rules. */
#define COLUMN_NAME 1
#define COLUMN_PATTERN 2
#define COLUMN_ENABLED 3

typedef struct Rule
{
	char *name;
	text *pattern;
} Rule;

static MemoryContext context = NULL; /* owns the rules */
static List *rules = NIL;            /* enabled ones, by name */
static Oid table = InvalidOid;       /* mals.redact_rules when they were read */
static uint64 changes = 1;           /* invalidations seen */
static uint64 rules_of = 0;          /* and when the rules were read */

/* Relation cache callback: notes that the table may have changed. */
static void
note_change(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || !OidIsValid(table) || relation == table)
		changes++;
}

/* Orders rules by name. */
static int
compare_rules(const ListCell *left, const ListCell *right)
{
	return strcmp(((Rule *) lfirst(left))->name, ((Rule *) lfirst(right))->name);
}

/* Reads the enabled rules into a list in the current memory context. */
static List *
read_rules(void)
{
	Relation rel = table_open(table, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List *result = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		bool isnull[3];
		Datum name = heap_getattr(tuple, COLUMN_NAME, desc, &isnull[0]);
		Datum pattern = heap_getattr(tuple, COLUMN_PATTERN, desc, &isnull[1]);
		Datum enabled = heap_getattr(tuple, COLUMN_ENABLED, desc, &isnull[2]);
		Rule *rule;

		if (isnull[0] || isnull[1] || isnull[2] || !DatumGetBool(enabled))
			continue;
		rule = palloc_object(Rule);
		rule->name = TextDatumGetCString(name);
		rule->pattern = DatumGetTextPCopy(pattern);
		result = lappend(result, rule);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(result, compare_rules);
	return result;
}

/* Reads the rules again if they may have changed. */
static void
refresh(void)
{
	static bool registered = false;
	uint64 seen;
	MemoryContext fresh;
	MemoryContext old;
	List *result = NIL;
	Oid schema;

	if (rules_of == changes)
		return;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(note_change, (Datum) 0);
		registered = true;
	}

	seen = changes;
	schema = get_namespace_oid("mals", true);
	table = OidIsValid(schema) ? get_relname_relid("redact_rules", schema) : InvalidOid;
	fresh =
		AllocSetContextCreate(CurrentMemoryContext, "mals redaction rules", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(fresh);
	if (OidIsValid(table))
		result = read_rules();
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(fresh, TopMemoryContext);
	if (context != NULL)
		MemoryContextDelete(context);
	context = fresh;
	rules = result;
	rules_of = seen;
}

bool
mals_rules_exist(void)
{
	refresh();
	return rules != NIL;
}

/*
 * Tells whether a match at start to end is to be replaced, and widens it to the
 * whole of the marks it cuts into. Within a mark nothing is replaced.
 */
static bool
settle_match(const char *s, int len, int *start, int *end)
{
	for (int pos = Max(0, *start - MALS_MARK_MAX); pos < *end; pos++)
	{
		const char *close;

		if (s[pos] != '[' || !starts_with(s + pos, len - pos, MALS_MARK))
			continue;
		close = memchr(s + pos, ']', Min(MALS_MARK_MAX, len - pos));
		if (close == NULL || close + 1 - s <= *start)
			continue;
		if (pos <= *start && close + 1 - s >= *end)
			return false;
		*start = Min(*start, pos);
		*end = Max(*end, close + 1 - s);
	}
	return true;
}

/* Advances over characters; returns where they end. */
static int
skip_characters(const char *s, int pos, int count)
{
	while (count-- > 0)
		pos += pg_mblen(s + pos);
	return pos;
}

/* Replaces the matches of one rule; false if there are none. */
static bool
apply_rule(const Rule *rule, const char *s, int len, StringInfo result)
{
	regex_t *regex = RE_compile_and_cache(rule->pattern, REG_ADVANCED, DEFAULT_COLLATION_OID);
	pg_wchar *wide = palloc_extended(((Size) len + 1) * sizeof(pg_wchar), MCXT_ALLOC_HUGE);
	int nwide = pg_mb2wchar_with_len(s, wide, len);
	int search = 0; /* in characters */
	int at = 0;     /* the same in bytes */
	int copied = 0;
	bool found = false;
	regmatch_t match;

	while (search <= nwide)
	{
		int code = pg_regexec(regex, wide, nwide, search, NULL, 1, &match, 0);
		int start;
		int end;

		CHECK_FOR_INTERRUPTS();
		if (code == REG_NOMATCH)
			break;
		if (code != REG_OKAY)
		{
			char message[100];

			pg_regerror(code, regex, message, sizeof(message));
			ereport(ERROR, errcode(ERRCODE_INVALID_REGULAR_EXPRESSION),
					errmsg("redaction rule \"%s\" failed: %s", rule->name, message),
					errhint("Disable the rule or simplify its pattern in mals.redact_rules."));
		}
		start = skip_characters(s, at, match.rm_so - search);
		end = skip_characters(s, start, match.rm_eo - match.rm_so);
		search = Max(match.rm_eo, match.rm_so + 1);
		at = match.rm_eo > match.rm_so ? end : start < len ? start + pg_mblen(s + start) : len;
		if (start == end || start < copied || !settle_match(s, len, &start, &end))
			continue;
		found = true;
		if (result == NULL)
			break;
		appendBinaryStringInfo(result, s + copied, Max(0, start - copied));
		appendStringInfo(result, MALS_MARK "%s]", rule->name);
		copied = end;
	}
	if (found && result != NULL)
		appendBinaryStringInfo(result, s + copied, len - copied);
	pfree(wide);
	return found;
}

bool
mals_rules_apply(const char *s, int len, StringInfo result)
{
	bool found = false;
	ListCell *lc;

	refresh();
	foreach (lc, rules)
	{
		StringInfoData next;

		if (result == NULL)
		{
			if (apply_rule(lfirst(lc), s, len, NULL))
				return true;
			continue;
		}
		initStringInfo(&next);
		if (!apply_rule(lfirst(lc), s, len, &next))
		{
			pfree(next.data);
			continue;
		}
		if (found)
			pfree(result->data);
		*result = next;
		s = next.data;
		len = next.len;
		found = true;
	}
	return found;
}

/* Raises an error for a pattern that does not compile, or that matches nothing at all. */
static void
check_pattern(const char *name, text *pattern)
{
	int len = VARSIZE_ANY_EXHDR(pattern);
	pg_wchar *wide = palloc_extended(((Size) len + 1) * sizeof(pg_wchar), MCXT_ALLOC_HUGE);
	int nwide = pg_mb2wchar_with_len(VARDATA_ANY(pattern), wide, len);
	char message[100];
	regex_t regex;
	int code = pg_regcomp(&regex, wide, nwide, REG_ADVANCED, DEFAULT_COLLATION_OID);

	if (code != REG_OKAY)
	{
		pg_regerror(code, &regex, message, sizeof(message));
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("pattern of redaction rule \"%s\" is no regular expression", name),
				errdetail("invalid regular expression: %s", message),
				errhint("Give a regular expression as the operator ~ takes it."));
	}
	code = pg_regexec(&regex, wide, 0, 0, NULL, 0, NULL, 0);
	pg_regfree(&regex);
	if (code == REG_OKAY)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("pattern of redaction rule \"%s\" matches the empty text", name),
				errhint("Let it match one character at least: use + in place of *."));
	pfree(wide);
}

/* SQL: trigger that checks a row of mals.redact_rules. */
Datum
mals_check_redact_rule(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple tuple;
	TupleDesc desc;
	bool isnull;
	Datum value;
	char *name;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event))
		elog(ERROR, "not called as a trigger of mals.redact_rules");
	tuple =
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);

	value = heap_getattr(tuple, COLUMN_NAME, desc, &isnull);
	if (isnull)
		mals_error_missing("name", "Name what the rule finds, such as customer_id.");
	name = TextDatumGetCString(value);
	if (name[0] == '\0' || strlen(name) > MALS_KIND_MAX ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("name: \"%s\" is not 1 to %d lower-case letters, digits and _", name,
					   MALS_KIND_MAX),
				errhint("It replaces what the rule finds, as [redacted:name]."));
	value = heap_getattr(tuple, COLUMN_PATTERN, desc, &isnull);
	if (isnull)
		mals_error_missing("pattern", "Give a regular expression.");
	check_pattern(name, DatumGetTextPP(value));
	return PointerGetDatum(tuple);
}

/* SQL: trigger that tells all sessions that mals.redact_rules has changed. */
Datum
mals_redact_rules_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called as a trigger of mals.redact_rules");
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
