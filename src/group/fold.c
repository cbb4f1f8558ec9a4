/*
 * fold.c
 *		Keeps mals._templates: takes over first sights, and merges templates that
 *		are one event into groups.
 *
 * Groups are what merge.c finds, but that templates split by hand are merged
 * with nothing, and those merged by hand are one group whatever they say.
 * Whoever changes groups holds SHARE ROW EXCLUSIVE on mals._templates to the
 * end of the transaction; loggers and readers only read it, and don't wait.
 *
 * What was done about groups (mals.error_status) moves with them: a group made
 * of several is resolved if all of them were, at the earliest time, and
 * ignored likewise; parts of a group that was split have what it had.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "access/access.h"
#include "alert/alert.h"
#include "group/fold.h"
#include "group/group.h"
#include "group/merge.h"
#include "mals_spi.h"

static const char *const take_over_sights =
	"WITH gone AS (DELETE FROM mals._sights RETURNING *)"
	" INSERT INTO mals._templates AS t (fingerprint, version, template, group_id, first_seen,"
	" sample_id) SELECT DISTINCT ON (fingerprint) fingerprint, version, template, fingerprint,"
	" first_seen, sample_id FROM gone ORDER BY fingerprint, first_seen, sample_id"
	" ON CONFLICT (fingerprint) DO UPDATE SET first_seen = excluded.first_seen,"
	" sample_id = excluded.sample_id WHERE excluded.first_seen < t.first_seen";

/* How many templates change their group; $1 are fingerprints, $2 their groups, in all that follow. */
static const char *const count_changes =
	"SELECT count(*) FROM unnest($1, $2) AS n (f, g) JOIN mals._templates t ON t.fingerprint = n.f"
	" WHERE t.group_id <> n.g";

/* What was done about the groups that change, as JSON of the new rows of mals.error_status. */
static const char *const move_status =
	"WITH moves AS (SELECT DISTINCT t.group_id AS old, n.g AS new FROM unnest($1, $2) AS n (f, g)"
	" JOIN mals._templates t ON t.fingerprint = n.f),"
	" changed AS (SELECT new FROM moves GROUP BY new HAVING bool_or(old <> new)),"
	" gone AS (DELETE FROM mals.error_status WHERE fingerprint IN (SELECT m.old FROM moves m"
	" JOIN changed USING (new)) RETURNING *),"
	" moved AS (SELECT m.new AS fingerprint,"
	" CASE WHEN bool_and(g.resolved_at IS NOT NULL) THEN min(g.resolved_at) END AS resolved_at,"
	" (array_agg(g.resolved_by ORDER BY g.resolved_at))[1] AS resolved_by,"
	" (array_agg(g.note ORDER BY g.resolved_at))[1] AS note,"
	" CASE WHEN bool_and(g.ignored_at IS NOT NULL) THEN min(g.ignored_at) END AS ignored_at,"
	" min(g.ignored_until) AS ignored_until,"
	" (array_agg(g.ignored_by ORDER BY g.ignored_at))[1] AS ignored_by"
	" FROM moves m LEFT JOIN gone g ON g.fingerprint = m.old"
	" WHERE m.new IN (SELECT new FROM changed)"
	" OR m.old IN (SELECT x.old FROM moves x JOIN changed USING (new)) GROUP BY m.new)"
	" SELECT jsonb_agg(to_jsonb(moved)) FROM moved"
	" WHERE resolved_at IS NOT NULL OR ignored_at IS NOT NULL";

static const char *const write_status =
	"INSERT INTO mals.error_status SELECT fingerprint, resolved_at,"
	" CASE WHEN resolved_at IS NOT NULL THEN resolved_by END,"
	" CASE WHEN resolved_at IS NOT NULL THEN note END, ignored_at,"
	" CASE WHEN ignored_at IS NOT NULL THEN ignored_until END,"
	" CASE WHEN ignored_at IS NOT NULL THEN ignored_by END"
	" FROM jsonb_populate_recordset(NULL::mals.error_status, $1)";

static const char *const set_groups =
	"UPDATE mals._templates t SET group_id = n.g FROM unnest($1, $2) AS n (f, g)"
	" WHERE t.fingerprint = n.f AND t.group_id <> n.g";

static const char *const set_group_templates =
	"INSERT INTO mals._groups AS o SELECT * FROM unnest($1, $2)"
	" ON CONFLICT (group_id) DO UPDATE SET template = excluded.template"
	" WHERE o.template <> excluded.template";

/* Orders templates by fingerprint. */
static int
compare_fingerprints(const void *a, const void *b)
{
	int64 left = ((const MalsTemplate *) a)->fingerprint;
	int64 right = ((const MalsTemplate *) b)->fingerprint;

	return (left > right) - (left < right);
}

/* Finds the template of a fingerprint among sorted ones; NULL: it is not there. */
static MalsTemplate *
find_template(MalsTemplate *templates, int count, int64 fingerprint)
{
	MalsTemplate key = {.fingerprint = fingerprint};

	return bsearch(&key, templates, count, sizeof(MalsTemplate), compare_fingerprints);
}

/* Makes the groups of two templates one: that of the lesser number. */
static void
unite(MalsTemplate *templates, int count, int64 a, int64 b)
{
	MalsTemplate *one = find_template(templates, count, a);
	MalsTemplate *other = find_template(templates, count, b);
	int64 kept;
	int64 given;

	if (one == NULL || other == NULL || one->group_id == other->group_id)
		return;
	kept = Min(one->group_id, other->group_id);
	given = Max(one->group_id, other->group_id);
	for (int i = 0; i < count; i++)
	{
		if (templates[i].group_id == given)
			templates[i].group_id = kept;
	}
}

/*
 * Reads all templates, sorted by fingerprint, each with the group it belongs
 * in. Those whose fingerprint says more than their text (an exception, the
 * sender's own) are merged by hand only.
 */
static MalsTemplate *
find_groups(int *count)
{
	MalsTemplate *templates;
	MalsTemplate *merged;
	int nmerged = 0;

	mals_run("SELECT t.fingerprint, t.template, h.fingerprint IS NULL FROM mals._templates t"
			 " LEFT JOIN mals._hand_splits h USING (fingerprint) ORDER BY 1");
	*count = SPI_processed;
	templates = palloc_extended(Max(*count, 1) * sizeof(MalsTemplate), MCXT_ALLOC_HUGE);
	merged = palloc_extended(Max(*count, 1) * sizeof(MalsTemplate), MCXT_ALLOC_HUGE);
	for (int i = 0; i < *count; i++)
	{
		text *template = DatumGetTextPP(mals_result_datum(i, 2, NULL));

		CHECK_FOR_INTERRUPTS();
		templates[i].fingerprint = templates[i].group_id = mals_result_int64(i, 1);
		templates[i].text = VARDATA_ANY(template);
		templates[i].len = VARSIZE_ANY_EXHDR(template);
		if (DatumGetBool(mals_result_datum(i, 3, NULL)) &&
			mals_template_fingerprint(templates[i].text, templates[i].len) ==
				templates[i].fingerprint)
			merged[nmerged++] = templates[i];
	}
	mals_merge_templates(merged, nmerged);
	for (int i = 0; i < nmerged; i++)
		find_template(templates, *count, merged[i].fingerprint)->group_id = merged[i].group_id;

	mals_run("SELECT a, b FROM mals._hand_merges");
	for (uint64 i = 0; i < SPI_processed; i++)
		unite(templates, *count, mals_result_int64(i, 1), mals_result_int64(i, 2));
	return templates;
}

/* Orders templates by group. */
static int
compare_groups(const void *a, const void *b)
{
	int64 left = ((const MalsTemplate *) a)->group_id;
	int64 right = ((const MalsTemplate *) b)->group_id;

	return (left > right) - (left < right);
}

/* Gives the end of the word that begins at p. */
static const char *
word_end(const char *p, const char *end)
{
	while (p < end && *p != ' ')
		p++;
	return p;
}

/*
 * Makes what templates have in common: words that differ are variables. Where
 * they have no word in common, or not as many words, they were merged by hand
 * and the first stands for all.
 */
static text *
common_template(const MalsTemplate *templates, int count)
{
	const char **at = palloc(count * sizeof(char *));
	StringInfoData common;
	bool any = false;

	initStringInfo(&common);
	for (int i = 0; i < count; i++)
		at[i] = templates[i].text;
	for (;;)
	{
		const char *end = templates[0].text + templates[0].len;
		int len = word_end(at[0], end) - at[0];
		bool same = true;
		bool last = at[0] + len >= end;

		for (int i = 1; i < count; i++)
		{
			const char *other_end = templates[i].text + templates[i].len;
			int other = word_end(at[i], other_end) - at[i];

			same &= other == len && memcmp(at[0], at[i], len) == 0;
			if ((at[i] + other >= other_end) != last)
				return cstring_to_text_with_len(templates[0].text, templates[0].len);
			at[i] += other + 1;
		}
		if (same)
			appendBinaryStringInfo(&common, at[0], len);
		else
			appendStringInfoString(&common, "<*>");
		any |= same;
		if (last && any)
			return cstring_to_text_with_len(common.data, common.len);
		if (last)
			return cstring_to_text_with_len(templates[0].text, templates[0].len);
		appendStringInfoChar(&common, ' ');
		at[0] += len + 1;
	}
}

/* Makes an array of bigint of a member of templates. */
static Datum
bigint_array(Datum *values, int count)
{
	return PointerGetDatum(
		construct_array(values, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Writes what the templates of each merged group have in common. */
static void
write_group_templates(MalsTemplate *templates, int count)
{
	Oid types[] = {INT8ARRAYOID, TEXTARRAYOID};
	Datum args[2];
	Datum *groups = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	Datum *texts = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	int ngroups = 0;
	int next;

	qsort(templates, count, sizeof(MalsTemplate), compare_groups);
	for (int i = 0; i < count; i = next)
	{
		for (next = i + 1; next < count && templates[next].group_id == templates[i].group_id;)
			next++;
		if (next == i + 1)
			continue;
		groups[ngroups] = Int64GetDatum(templates[i].group_id);
		texts[ngroups++] = PointerGetDatum(common_template(templates + i, next - i));
	}
	args[0] = bigint_array(groups, ngroups);
	args[1] = PointerGetDatum(construct_array(texts, ngroups, TEXTOID, -1, false, TYPALIGN_INT));
	mals_run_with("DELETE FROM mals._groups WHERE group_id <> ALL ($1)", 1, types, args, NULL);
	mals_run_with(set_group_templates, 2, types, args, NULL);
}

uint64
mals_regroup(bool templates_went)
{
	Oid types[] = {INT8ARRAYOID, INT8ARRAYOID};
	Oid json = JSONBOID;
	Datum args[2];
	Datum status;
	int count;
	MalsTemplate *templates = find_groups(&count);
	Datum *fingerprints = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	Datum *groups = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	uint64 changed;
	bool isnull;

	for (int i = 0; i < count; i++)
	{
		fingerprints[i] = Int64GetDatum(templates[i].fingerprint);
		groups[i] = Int64GetDatum(templates[i].group_id);
	}
	args[0] = bigint_array(fingerprints, count);
	args[1] = bigint_array(groups, count);
	mals_run_with(count_changes, 2, types, args, NULL);
	changed = mals_result_int64(0, 1);
	if (changed == 0 && !templates_went)
		return 0;

	mals_run_with(move_status, 2, types, args, NULL);
	status = mals_result_datum(0, 1, &isnull);
	if (!isnull)
		mals_run_with(write_status, 1, &json, &status, NULL);
	mals_run_with(set_groups, 2, types, args, NULL);
	write_group_templates(templates, count);
	return changed;
}

uint64
mals_fold_sights(void)
{
	mals_run("LOCK TABLE mals._templates IN SHARE ROW EXCLUSIVE MODE");
	return mals_run(take_over_sights);
}
