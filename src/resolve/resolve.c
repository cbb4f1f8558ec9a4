/*
 * resolve.c
 *		mals_resolve, mals_resolve_batch and mals_unresolve: what became of
 *		entries, written beside them into mals.resolutions.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "entry/entry.h"

PG_FUNCTION_INFO_V1(mals_resolve);
PG_FUNCTION_INFO_V1(mals_resolve_batch);
PG_FUNCTION_INFO_V1(mals_unresolve);

/*
 * Sets the state of those of some entries that are not in it, as the caller
 * sees them. Two callers who set the same at once wait for each other, in the
 * order of ids, and one of them counts it.
 */
static const char *const set_state =
	"INSERT INTO mals.resolutions AS r (entry_id, resolved, resolved_at, resolved_by, note)"
	" SELECT l.id, $3, clock_timestamp(), $4, $5 FROM mals.logs l"
	" WHERE l.id = ANY ($1) AND l.ts = ANY ($2) AND l.resolved <> $3 ORDER BY l.id"
	" ON CONFLICT (entry_id) DO UPDATE SET resolved = excluded.resolved,"
	" resolved_at = excluded.resolved_at, resolved_by = excluded.resolved_by,"
	" note = excluded.note WHERE r.resolved <> excluded.resolved";

/* Runs a statement on entries; ids without a time are of no entry. Returns how many rows it had. */
static uint64
run(const char *sql, bool read_only, Datum *ids, int n, int nargs, Datum *args, const char *nulls)
{
	Oid types[] = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, BOOLOID, TEXTOID, TEXTOID};
	Datum *known = palloc(n * sizeof(Datum));
	Datum *times = palloc(n * sizeof(Datum));
	uint64 rows;
	int nknown = 0;

	for (int i = 0; i < n; i++)
	{
		TimestampTz ts;

		if (!mals_uuid_timestamp(DatumGetUUIDP(ids[i]), &ts))
			continue;
		known[nknown] = ids[i];
		times[nknown++] = TimestampTzGetDatum(ts);
	}
	args[0] =
		PointerGetDatum(construct_array(known, nknown, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	args[1] = PointerGetDatum(construct_array(times, nknown, TIMESTAMPTZOID, sizeof(TimestampTz),
											  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, nargs, types, args, nulls, read_only, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
	rows = SPI_processed;
	SPI_finish();
	return rows;
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

/* Raises an error unless there is an entry with an id. */
static void
require_entry(Datum id)
{
	Datum args[2];

	if (run("SELECT FROM mals.logs l WHERE l.id = ANY ($1) AND l.ts = ANY ($2)", false, &id, 1, 2,
			args, NULL) == 0)
		mals_error_no_entry(DatumGetCString(DirectFunctionCall1(uuid_out, id)));
}

/* Gives an id argument. */
static Datum
require_id(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		mals_error_missing("id", "Give the id of an entry, as mals_log returns it.");
	return PG_GETARG_DATUM(arg);
}

/* Sets the state of entries; returns how many were not in it. */
static uint64
set_entries(const char *what, Datum *ids, int n, bool resolved, Datum by, Datum note, bool has_note)
{
	Datum args[] = {0, 0, BoolGetDatum(resolved), by, note};

	if (XactReadOnly)
		mals_error_read_only(what);
	return run(set_state, false, ids, n, lengthof(args), args, has_note ? NULL : "    n");
}

/* SQL: marks an entry as resolved. */
Datum
mals_resolve(PG_FUNCTION_ARGS)
{
	Datum id = require_id(fcinfo, 0);
	Datum by = require_name(fcinfo, 1);

	if (set_entries("mals_resolve()", &id, 1, true, by, PG_GETARG_DATUM(2), !PG_ARGISNULL(2)) > 0)
		PG_RETURN_BOOL(true);
	require_entry(id);
	PG_RETURN_BOOL(false);
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

	if (PG_ARGISNULL(0))
		mals_error_missing("ids", "Give an array of ids of entries; it may be empty.");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			ids[given++] = ids[i];
	}
	PG_RETURN_INT64(set_entries("mals_resolve_batch()", ids, given, true, by, PG_GETARG_DATUM(2),
								!PG_ARGISNULL(2)));
}

/* SQL: opens an entry again. */
Datum
mals_unresolve(PG_FUNCTION_ARGS)
{
	Datum id = require_id(fcinfo, 0);
	Datum by = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));

	if (set_entries("mals_unresolve()", &id, 1, false, by, (Datum) 0, false) > 0)
		PG_RETURN_BOOL(true);
	require_entry(id);
	PG_RETURN_BOOL(false);
}
