/*
 * mals_errors.h
 *		What every file of mals includes first: PostgreSQL's basics and the few
 *		shapes of error that are raised in more than one place.
 *
 * SQLSTATEs of mals (part of its contract):
 *	22004	a required value is missing
 *	22023	a value is out of range or unknown
 *	22P02	text does not parse as a value of its type
 *	42501	not allowed
 *	P0002	no such entry
 *	55000	the server or the session is not in the state this needs
 *	25006	the server or the transaction is read-only
 */
#ifndef MALS_ERRORS_H
#define MALS_ERRORS_H

#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "utils/errcodes.h"

/* Raises 22023 for an argument whose value is out of its range. */
#define mals_error_range(arg, fmt, ...)                                                            \
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is out of range", (arg)),  \
			errhint(fmt, ##__VA_ARGS__))

/* Raises 22004 for a required argument that is NULL. */
#define mals_error_missing(arg, fmt, ...)                                                          \
	ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s is required", (arg)),       \
			errhint(fmt, ##__VA_ARGS__))

/* Raises P0002 for the id, as text, of no entry. */
#define mals_error_no_entry(id)                                                                    \
	ereport(ERROR, errcode(ERRCODE_NO_DATA_FOUND), errmsg("no entry has the id \"%s\"", (id)),     \
			errhint("Find it with mals_search; it may have been removed by retention."))

/* Raises 25006 for a call that writes, in a transaction that must not. */
#define mals_error_read_only(what)                                                                 \
	ereport(ERROR, errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),                                     \
			errmsg("cannot execute %s in a read-only transaction", (what)),                        \
			errhint(RecoveryInProgress() ? "This server is a standby: connect to the primary."     \
										 : "Use a transaction that is READ WRITE."))

#endif /* MALS_ERRORS_H */
