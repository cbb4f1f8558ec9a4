/*
 * resolve.c
 *		mals_resolve, mals_resolve_batch and mals_unresolve: what became of
 *		entries, written beside them into mals.resolutions.
 *
 * Entries are looked for as the caller, and those that it may read are
 * resolved as the owner: the caller has no need of privileges on the tables.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "access/access.h"
#include "entry/entry.h"
#include "mals_spi.h"

/* How many ids a row of mals.audit shows. */
#define AUDIT_IDS 100

PG_FUNCTION_INFO_V1(mals_resolve);
PG_FUNCTION_INFO_V1(mals_resolve_batch);
PG_FUNCTION_INFO_V1(mals_unresolve);

/* Those of some entries that the current user may read. */
static const char *const find_entries =
	"SELECT l.id FROM mals.logs l WHERE l.id = ANY ($1) AND l.ts = ANY ($2)";

/*
 * Sets the state of those of some entries that are not in it. Two callers who set the same at once wait for each other, in the
 * order of ids, and one of them counts it.
 */
static const char *const set_state =
	"INSERT INTO mals.resolutions AS r (entry_id, resolved, resolved_at, resolved_by, note)"
	" SELECT l.id, $3, clock_timestamp(), $4, $5 FROM mals.logs l"
	" WHERE l.id = ANY ($1) AND l.ts = ANY ($2) AND l.resolved <> $3 ORDER BY l.id"
	" ON CONFLICT (entry_id) DO UPDATE SET resolved = excluded.resolved,"
	" resolved_at = excluded.resolved_at, resolved_by = excluded.resolved_by,"
	" note = excluded.note WHERE r.resolved <> excluded.resolved RETURNING entry_id";

/*
 * Runs a statement on entries, connected to SPI; ids without a time are of no
 * entry. Makes ids those of its rows, and returns how many.
 */
static int
run(const char *sql, bool read_only, Datum **ids, int n, int nargs, Datum *args, const char *nulls)
{
	Oid types[] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, BOOLOID, TEXTOID, TEXTOID};
	Datum *known = palloc(n * sizeof(Datum));
	Datum *times = palloc(n * sizeof(Datum));
	int nknown = 0;

	for (int i = 0; i < n; i++)
	{
		TimestampTz ts;

		if (!mals_uuid_timestamp(DatumGetUUIDP((*ids)[i]), &ts))
			continue;
		known[nknown] = (*ids)[i];
		times[nknown++] = TimestampTzGetDatum(ts);
	}
	args[0] =
		PointerGetDatum(construct_array(known, nknown, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	args[1] = PointerGetDatum(construct_array(times, nknown, TIMESTAMPTZOID, sizeof(TimestampTz),
											  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	if (SPI_execute_with_args(sql, nargs, types, args, nulls, read_only, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	*ids = palloc(SPI_processed * sizeof(Datum));
	for (uint64 i = 0; i < SPI_processed; i++)
		(*ids)[i] = mals_result_datum(i, 1, NULL);
	return SPI_processed;
}

/* Raises an error unless a name is given. */
static Datum
require_name(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(arg)) == 0)
		mals_error_missing("resolved_by",
						   "Say who resolved it, or leave it out for the current user.");
	return PG_GETARG_DATUM(arg);
}

/* Gives an id argument. */
static Datum
require_id(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		mals_error_missing("id", "Give the id of an entry, as mals_log returns it.");
	return PG_GETARG_DATUM(arg);
}

/* Adds what was done to the audit. */
static void
audit(const MalsCaller *caller, bool resolved, Datum *ids, int n, Datum by, text *note)
{
	MalsAudit row = {
		.action = resolved ? "resolve" : "unresolve",
		.entries = n,
		.ids = construct_array(ids, Min(n, AUDIT_IDS), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR),
		.reason = note,
		.detail = {"by", TextDatumGetCString(by)},
	};

	mals_audit(caller, &row);
}

/*
 * Sets the state of entries; returns how many were not in it. found is how many
 * of them the caller may read.
 */
static int
set_entries(const char *what, Datum *ids, int n, bool resolved, Datum by, text *note, int *found)
{
	Datum args[] = {0, 0, BoolGetDatum(resolved), by, PointerGetDatum(note)};
	MalsCaller caller;
	int changed = 0;

	if (XactReadOnly)
		mals_error_read_only(what);
	mals_spi_connect();
	*found = n = run(find_entries, false, &ids, n, 2, args, NULL);
	if (n > 0)
	{
		mals_become_owner(&caller);
		changed =
			run(set_state, false, &ids, n, lengthof(args), args, note != NULL ? NULL : "    n");
		if (changed > 0)
			audit(&caller, resolved, ids, changed, by, note);
		mals_become_caller(&caller);
	}
	SPI_finish();
	return changed;
}

/* Sets the state of the one entry with an id; returns whether it was not in it. */
static bool
set_entry(const char *what, Datum id, bool resolved, Datum by, text *note)
{
	int found;
	bool changed = set_entries(what, &id, 1, resolved, by, note, &found) > 0;

	if (found == 0)
		mals_error_no_entry(DatumGetCString(DirectFunctionCall1(uuid_out, id)));
	return changed;
}

/* Gives the argument note, or NULL. */
static text *
note_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_TEXT_PP(arg);
}

/* SQL: marks an entry as resolved. */
Datum
mals_resolve(PG_FUNCTION_ARGS)
{
	Datum id = require_id(fcinfo, 0);
	Datum by = require_name(fcinfo, 1);

	PG_RETURN_BOOL(set_entry("mals_resolve()", id, true, by, note_argument(fcinfo, 2)));
}

/* SQL: marks entries as resolved. */
Datum
mals_resolve_batch(PG_FUNCTION_ARGS)
{
	Datum by = require_name(fcinfo, 1);
	Datum *ids;
	bool *nulls;
	int n;
	int given = 0;
	int found;

	if (PG_ARGISNULL(0))
		mals_error_missing("ids", "Give an array of ids of entries; it may be empty.");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			ids[given++] = ids[i];
	}
	PG_RETURN_INT64(set_entries("mals_resolve_batch()", ids, given, true, by,
								note_argument(fcinfo, 2), &found));
}

/* SQL: opens an entry again. */
Datum
mals_unresolve(PG_FUNCTION_ARGS)
{
	Datum id = require_id(fcinfo, 0);
	Datum by = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));

	PG_RETURN_BOOL(set_entry("mals_unresolve()", id, false, by, NULL));
}
