/*
 * access.h
 *		Public header of src/access: roles that are bound to agents, acting as the
 *		owner of the log, the audit, and the guard of DROP EXTENSION.
 */
#ifndef MALS_ACCESS_H
#define MALS_ACCESS_H

#include "mals_errors.h"

#include "catalog/objectaccess.h"
#include "utils/array.h"

/*
 * Tells whether the current user is bound to some agents: row security then
 * shows it only what is theirs.
 */
extern bool mals_is_bound(void);

/* Tells whether the current user may log as and read of an agent (a text). */
extern bool mals_owns_agent(Datum agent);

/* Raises 42501 if the current user is bound: what touches all agents is not for it. */
extern void mals_require_unbound(const char *what);

/*
 * State beside entries is written by functions alone: whoever may call them
 * need not, and cannot, write the tables. They act as the owner of mals.entries
 * in between; an error ends that, too.
 */
typedef struct MalsCaller
{
	Oid user;
	int context;
} MalsCaller;

extern void mals_become_owner(MalsCaller *caller);
extern void mals_become_caller(const MalsCaller *caller);

/*
 * The same for what concerns all agents, connected to SPI: refuses a transaction
 * that is read-only (25006) and a caller that is bound (42501).
 */
extern void mals_begin_as_owner(MalsCaller *caller, const char *what);
extern void mals_end_as_owner(const MalsCaller *caller);

/* Runs one statement as the owner. */
extern void mals_run_as_owner(const char *sql, int nargs, const Oid *types, Datum *values,
							  const char *nulls);

/* A row of mals.audit. What is NULL is not said. */
typedef struct MalsAudit
{
	const char *action;
	const char *query;
	int64 entries;  /* -1: not said */
	ArrayType *ids; /* of the entries, or the first of them */
	const text *reason;
	ArrayType *archives;
	const char *detail[7]; /* key, value, key, value, …, NULL */
} MalsAudit;

/* Adds a row to mals.audit. Called as the owner, connected to SPI. */
extern void mals_audit(const MalsCaller *caller, const MalsAudit *row);

/* What the library's object access hook does: refuses to drop the extension. */
extern void mals_guard_drop(ObjectAccessType access, Oid class, Oid object);

extern void mals_access_init(void);

#endif /* MALS_ACCESS_H */
