/*
 * audit.c
 *		The rows of mals.audit: who did what.
 */
#include "mals_errors.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "access/access.h"
#include "mals_spi.h"

/* Gives a string as a text datum. */
static Datum
string_datum(const char *string)
{
	return string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
}

/* Gives strings up to the first NULL as a text array. */
static Datum
strings_datum(const char *const *strings)
{
	Datum values[lengthof(((MalsAudit *) NULL)->detail)];
	int n = 0;

	for (; strings[n] != NULL; n++)
		values[n] = CStringGetTextDatum(strings[n]);
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

void
mals_audit(const MalsCaller *caller, const MalsAudit *row)
{
	Oid types[] = {TEXTOID,      TEXTOID, TEXTOID,      INT8OID,
				   UUIDARRAYOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum args[] = {
		string_datum(GetUserNameFromId(caller->user, false)),
		string_datum(row->action),
		string_datum(row->query),
		Int64GetDatum(row->entries),
		PointerGetDatum(row->ids),
		PointerGetDatum(row->reason),
		PointerGetDatum(row->archives),
		strings_datum(row->detail),
	};
	char nulls[lengthof(args)];

	for (int i = 0; i < lengthof(args); i++)
		nulls[i] = types[i] != INT8OID && DatumGetPointer(args[i]) == NULL ? 'n' : ' ';
	if (row->entries < 0)
		nulls[3] = 'n';
	mals_run_with(
		"INSERT INTO mals.audit (who, action, query, entries, ids, reason, archives, detail)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, jsonb_object($8))",
		lengthof(types), types, args, nulls);
}
