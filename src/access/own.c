/*
 * own.c
 *		What a user who is bound to agents may know of the tables beside the
 *		entries: what was done to entries that it may read.
 *
 * Groups are made of the entries of all agents, and their numbers, templates
 * and members tell of others; so a bound user sees none, and to it every
 * fingerprint is a group of its own. But that a group was resolved or ignored
 * holds for the user's entries as for all.
 */
#include "mals_errors.h"

#include "catalog/pg_type.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "access/access.h"
#include "entry/entry.h"
#include "mals_spi.h"

PG_FUNCTION_INFO_V1(mals_sees);
PG_FUNCTION_INFO_V1(mals_status_of);

/* What was done about the groups of fingerprints. The group's number and note are not for all. */
static const char *const find_states =
	"SELECT f, pg_catalog.jsonb_populate_record(NULL::mals.error_status,"
	" pg_catalog.jsonb_build_object('fingerprint', f, 'resolved_at', s.resolved_at,"
	" 'resolved_by', s.resolved_by, 'ignored_at', s.ignored_at,"
	" 'ignored_until', s.ignored_until, 'ignored_by', s.ignored_by)) FROM mals.error_status s LEFT "
	"JOIN mals._templates t"
	" ON t.group_id OPERATOR(pg_catalog.=) s.fingerprint,"
	" LATERAL (SELECT COALESCE(t.fingerprint, s.fingerprint)) AS x (f)";

/* A row of mals.error_status, by the fingerprint of an entry. */
typedef struct State
{
	int64 fingerprint;
	Datum row;
} State;

/* What a query has asked for so far. */
typedef struct Own
{
	bool bound;
	HTAB *states; /* of State */
	HTAB *known;  /* fingerprints of the user's own entries; NULL: not asked for */
} Own;

/* Runs a SELECT on the snapshot of the query that asks; its plan is kept. */
static void
run(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *args)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, nargs, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare: %s", sql);
	}
	if (SPI_execute_plan(*plan, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
}

/* SQL: may the current user read an entry? */
Datum
mals_sees(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {UUIDOID, TIMESTAMPTZOID};
	Datum args[2] = {PG_GETARG_DATUM(0)};
	TimestampTz ts;
	bool found;

	if (!mals_uuid_timestamp(PG_GETARG_UUID_P(0), &ts))
		PG_RETURN_BOOL(false);
	args[1] = TimestampTzGetDatum(ts);
	mals_spi_connect();
	run(&plan,
		"SELECT FROM mals.entries e WHERE e.id OPERATOR(pg_catalog.=) $1"
		" AND e.ts OPERATOR(pg_catalog.=) $2",
		lengthof(types), types, args);
	found = SPI_processed > 0;
	SPI_finish();
	PG_RETURN_BOOL(found);
}

/* Makes a hash table by fingerprint. */
static HTAB *
make_table(const char *name, Size entry, MemoryContext context)
{
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = entry, .hcxt = context};

	return hash_create(name, 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Reads what was done about groups, as the owner. */
static HTAB *
read_states(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	HTAB *states = make_table("mals states", sizeof(State), context);
	MalsCaller caller;

	mals_spi_connect();
	mals_become_owner(&caller);
	run(&plan, find_states, 0, NULL, NULL);
	mals_become_caller(&caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int64 fingerprint = mals_result_int64(i, 1);
		State *state = hash_search(states, &fingerprint, HASH_ENTER, NULL);
		MemoryContext old = MemoryContextSwitchTo(context);

		state->row = datumCopy(mals_result_datum(i, 2, NULL), false, -1);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return states;
}

/* Reads the fingerprints of the entries that the current user may read. */
static HTAB *
read_known(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	HTAB *known = make_table("mals known", sizeof(int64), context);

	mals_spi_connect();
	run(&plan, "SELECT DISTINCT e.fingerprint FROM mals.entries e", 0, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int64 fingerprint = mals_result_int64(i, 1);

		(void) hash_search(known, &fingerprint, HASH_ENTER, NULL);
	}
	SPI_finish();
	return known;
}

/*
 * SQL: what was done about the group of a fingerprint, for a bound user who has
 * an entry with it; NULL for others. Looks once a query, and only where there
 * is something to be known.
 */
Datum
mals_status_of(PG_FUNCTION_ARGS)
{
	int64 fingerprint = PG_GETARG_INT64(0);
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	Own *own = fcinfo->flinfo->fn_extra;
	State *state;

	if (own == NULL)
	{
		own = MemoryContextAllocZero(context, sizeof(Own));
		own->bound = mals_is_bound();
		if (own->bound)
			own->states = read_states(context);
		fcinfo->flinfo->fn_extra = own;
	}
	if (!own->bound)
		PG_RETURN_NULL();
	state = hash_search(own->states, &fingerprint, HASH_FIND, NULL);
	if (state == NULL)
		PG_RETURN_NULL();
	if (own->known == NULL)
		own->known = read_known(context);
	if (hash_search(own->known, &fingerprint, HASH_FIND, NULL) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(state->row);
}
