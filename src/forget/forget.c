/*
 * forget.c
 *		mals_forget: deletes entries for good, and what is left of them elsewhere.
 *
 * Entries are found as the caller, so that it forgets no more than it may
 * read, and deleted as the owner: nobody else has DELETE on mals.entries, and
 * so nothing is deleted without a row in mals.audit. Ids are gathered from one
 * cursor and deleted many at a time, all in the caller's transaction; memory
 * stays flat. Loggers don't wait; whoever folds or merges templates does.
 *
 * A template is made of words of its messages. One that no entry is left of is
 * deleted, together with what was said about it; one whose sample is gone gets
 * another. What is beside entries by their ids is deleted by
 * mals._forget_beside, which knows all tables that have them. Entries that wait
 * in shared memory are written first, and dead letters are searched as entries.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "access/access.h"
#include "group/fold.h"
#include "mals_catalog.h"
#include "mals_spi.h"
#include "partition/partition.h"
#include "query/query.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_forget);

/* How many entries are deleted by one statement. */
#define BATCH 5000

/* The bounds are for the planner: they leave out partitions. */
static const char *const delete_entries =
	"DELETE FROM mals.entries e USING unnest($1, $2) AS k (id, ts)"
	" WHERE e.id = k.id AND e.ts = k.ts AND e.ts >= $3 AND e.ts <= $4";

/*
 * Among the templates $1, deletes those that no entry is left of, with what was
 * said about them, and has the latest entry take the place of samples that are
 * gone. Counts the deleted ones.
 */
static const char *const clear_templates =
	"WITH kept AS MATERIALIZED (SELECT e.fingerprint, mals._max(e.id) AS id FROM mals.entries e"
	" WHERE e.fingerprint = ANY ($1) GROUP BY 1),"
	" samples AS (UPDATE mals._templates t SET sample_id = k.id FROM kept k"
	" WHERE t.fingerprint = k.fingerprint AND NOT EXISTS (SELECT FROM mals.entries e"
	" WHERE e.id = t.sample_id AND e.ts = %s.mals_id_ts(t.sample_id))),"
	" gone AS (DELETE FROM mals._templates t WHERE t.fingerprint = ANY ($1)"
	" AND NOT EXISTS (SELECT FROM kept k WHERE k.fingerprint = t.fingerprint)"
	" RETURNING t.fingerprint, t.group_id),"
	" merges AS (DELETE FROM mals._hand_merges h USING gone g WHERE g.fingerprint IN (h.a, h.b)),"
	" splits AS (DELETE FROM mals._hand_splits h USING gone g WHERE g.fingerprint = h.fingerprint),"
	" states AS (DELETE FROM mals.error_status s USING gone g WHERE s.fingerprint = g.group_id"
	" AND NOT EXISTS (SELECT FROM mals._templates t WHERE t.group_id = g.group_id"
	" AND NOT EXISTS (SELECT FROM gone o WHERE o.fingerprint = t.fingerprint)))"
	" SELECT count(*) FROM gone";

/* What is to be forgotten. */
typedef struct Search
{
	char *query;
	char *condition; /* SQL over mals.logs */
	TimestampTz since;
	TimestampTz until;
} Search;

/* Counts the entries that match, as the caller. */
static int64
count_entries(const Search *search)
{
	mals_run(psprintf("SELECT (SELECT count(*) FROM mals.logs l WHERE %s)"
					  " + (SELECT count(*) FROM mals._dead_logs l WHERE %s)",
					  search->condition, search->condition));
	return mals_result_int64(0, 1);
}

/* Deletes the entries of the last result (id, ts, fingerprint; by ts), as the owner. */
static uint64
delete_batch(HTAB *fingerprints)
{
	Oid types[] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	int n = SPI_processed;
	Datum *ids = palloc(n * sizeof(Datum));
	Datum *times = palloc(n * sizeof(Datum));
	Datum args[4];
	MalsCaller caller;
	uint64 deleted;

	for (int i = 0; i < n; i++)
	{
		int64 fingerprint = mals_result_int64(i, 3);

		ids[i] = mals_result_datum(i, 1, NULL);
		times[i] = mals_result_datum(i, 2, NULL);
		(void) hash_search(fingerprints, &fingerprint, HASH_ENTER, NULL);
	}
	args[0] = PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	args[1] = PointerGetDatum(construct_array(times, n, TIMESTAMPTZOID, sizeof(TimestampTz),
											  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	args[2] = times[0];
	args[3] = times[n - 1];
	mals_become_owner(&caller);
	deleted = mals_run_with(delete_entries, lengthof(types), types, args, NULL);
	(void) mals_run_with("SELECT mals._forget_beside($1)", 1, types, args, NULL);
	mals_become_caller(&caller);
	pfree(ids);
	pfree(times);
	return deleted;
}

/* Deletes all entries that match; notes their fingerprints. */
static int64
delete_entries_of(const Search *search, HTAB *fingerprints)
{
	SPIPlanPtr plan = SPI_prepare(psprintf("SELECT l.id, l.ts, l.fingerprint FROM mals.logs l"
										   " WHERE %s ORDER BY l.ts",
										   search->condition),
								  0, NULL);
	int64 deleted = 0;
	Portal portal;

	if (plan == NULL)
		elog(ERROR, "could not prepare the query for entries to forget");
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	for (;;)
	{
		SPITupleTable *rows;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, BATCH);
		rows = SPI_tuptable;
		if (SPI_processed == 0)
			break;
		deleted += delete_batch(fingerprints);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	return deleted;
}

/* Deletes all dead letters that match, as the caller. */
static int64
delete_dead_letters(const Search *search)
{
	return mals_run(psprintf("DELETE FROM mals.dead_letters WHERE ctid = ANY (ARRAY("
							 "SELECT l.letter FROM mals._dead_logs l WHERE %s))",
							 search->condition));
}

/* Clears the templates with some fingerprints, as the owner. */
static void
forget_templates(HTAB *fingerprints)
{
	Oid type = INT8ARRAYOID;
	int n = hash_get_num_entries(fingerprints);
	Datum *values = palloc_extended(Max(n, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS scan;
	int64 *fingerprint;
	Datum array;

	n = 0;
	hash_seq_init(&scan, fingerprints);
	while ((fingerprint = hash_seq_search(&scan)) != NULL)
		values[n++] = Int64GetDatum(*fingerprint);
	array = PointerGetDatum(
		construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	(void) mals_run_with(psprintf(clear_templates, mals_extension_schema()), 1, &type, &array,
						 NULL);
	if (mals_result_int64(0, 1) > 0)
	{
		(void) mals_regroup(true);
		/* sessions remember which templates there are */
		CacheInvalidateRelcacheByRelid(mals_relation_oid("_templates"));
	}
}

/* Gives the archives that may hold entries that match, as the owner. */
static ArrayType *
find_archives(const Search *search)
{
	Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum args[] = {TimestampTzGetDatum(search->since), TimestampTzGetDatum(search->until)};
	bool isnull;
	Datum archives;

	(void) mals_run_with("SELECT mals._archives($1, $2)", lengthof(types), types, args, NULL);
	archives = mals_result_datum(0, 1, &isnull);
	return isnull ? NULL : DatumGetArrayTypeP(archives);
}

/* Forgets all entries that match, and says so in the audit. */
static int64
forget(const Search *search, const text *reason)
{
	HASHCTL control = {
		.keysize = sizeof(int64), .entrysize = sizeof(int64), .hcxt = CurrentMemoryContext};
	HTAB *fingerprints =
		hash_create("mals forgotten", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MalsAudit row = {.action = "forget", .query = search->query, .reason = reason};
	MalsCaller caller;

	/* a partition that is being rewritten would keep what was copied before */
	(void) mals_removal_lock(false, true);
	mals_become_owner(&caller);
	(void) mals_fold_sights();
	mals_become_caller(&caller);
	row.entries = delete_entries_of(search, fingerprints) + delete_dead_letters(search);
	mals_become_owner(&caller);
	forget_templates(fingerprints);
	row.archives = find_archives(search);
	mals_audit(&caller, &row);
	mals_become_caller(&caller);
	return row.entries;
}

/* SQL: deletes the entries that match a query for good, or counts them. */
Datum
mals_forget(PG_FUNCTION_ARGS)
{
	bool dry_run = PG_ARGISNULL(1) || PG_GETARG_BOOL(1);
	Search search = {.query = NULL};
	MalsCondition *condition;
	StringInfoData sql;
	text *query;
	int64 count;

	if (PG_ARGISNULL(0))
		mals_error_missing("query",
						   "Say which entries, such as 'agent:crypto before:365d'; '' is all.");
	if (!dry_run && XactReadOnly)
		mals_error_read_only("mals_forget()");
	query = PG_GETARG_TEXT_PP(0);
	condition = mals_query_parse(VARDATA_ANY(query), VARSIZE_ANY_EXHDR(query), "query");
	initStringInfo(&sql);
	mals_condition_sql(&sql, condition);
	(void) mals_condition_bounds(condition, &search.since, &search.until);
	search.query = text_to_cstring(query);
	search.condition = sql.data;
	if (!RecoveryInProgress())
		mals_write_flush("mals_forget()");

	mals_spi_connect();
	count = dry_run ? count_entries(&search)
					: forget(&search, PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2));
	SPI_finish();
	PG_RETURN_INT64(count);
}
