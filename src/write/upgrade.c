/*
 * upgrade.c
 *		What pg_upgrade cannot restore by itself.
 *
 * The triggers of the views fire always, so that entries are not lost under
 * session_replication_role = replica. ALTER TABLE cannot say that of a view's
 * trigger, so the install script sets it in the catalog; but pg_upgrade dumps
 * the members of an extension one by one, and an ALTER TABLE with them, which
 * would fail. In a server that is being upgraded it is carried out here.
 */
#include "mals_errors.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "write/write.h"

bool
mals_upgrade_utility(Node *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	AlterTableCmd *command;
	Oid types[] = {OIDOID, TEXTOID};
	Datum args[2];
	Oid view;

	if (!IsA(statement, AlterTableStmt) || list_length(alter->cmds) != 1)
		return false;
	command = linitial(alter->cmds);
	if (command->subtype != AT_EnableAlwaysTrig)
		return false;
	view = RangeVarGetRelid(alter->relation, AccessExclusiveLock, false);
	if (get_rel_relkind(view) != RELKIND_VIEW)
		return false;

	args[0] = ObjectIdGetDatum(view);
	args[1] = CStringGetTextDatum(command->name);
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args("UPDATE pg_catalog.pg_trigger SET tgenabled = 'A'"
							  " WHERE tgrelid OPERATOR(pg_catalog.=) $1"
							  " AND tgname OPERATOR(pg_catalog.=) $2::pg_catalog.name",
							  2, types, args, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not enable trigger \"%s\"", command->name);
	SPI_finish();
	return true;
}
