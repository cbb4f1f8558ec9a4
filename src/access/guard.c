/*
 * guard.c
 *		Keeps DROP EXTENSION from destroying the log by accident.
 *
 * The extension goes with its schema, with its owner's DROP OWNED, and with what
 * it requires, so it is the hook on dropping objects that refuses. A session
 * that has not loaded the library does so at the latest when it begins such a
 * command: an event trigger calls the function below.
 */
#include "mals_errors.h"

#include "catalog/pg_extension.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"

#include "access/access.h"
#include "mals_guc.h"

PG_FUNCTION_INFO_V1(mals_before_drop);

void
mals_guard_drop(ObjectAccessType access, Oid class, Oid object)
{
	char *name;

	if (access != OAT_DROP || class != ExtensionRelationId || mals_allow_drop)
		return;
	name = get_extension_name(object);
	if (name != NULL && strcmp(name, "mals") == 0)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("cannot drop extension mals: all log entries would go with it"),
				errhint("Keep what you need (pg_dump, mals_export), then SET mals.allow_drop = on "
						"and drop it."));
}

/* Event trigger: that it is called is enough, the library is loaded then. */
Datum
mals_before_drop(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("this function of mals can only be called as an event trigger"),
				errhint("It belongs to the event trigger mals_guard."));
	PG_RETURN_NULL();
}
