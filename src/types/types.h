/*
 * types.h
 *		Public header of src/types: the SQL types of mals.
 */
#ifndef MALS_TYPES_H
#define MALS_TYPES_H

#include "mals_errors.h"

#include "access/transam.h"
#include "datatype/timestamp.h"

/*
 * mals_level, stored in one byte, passed by value. The numbers are those of
 * Python's logging module (trace is 5), they order the levels and leave room
 * between them.
 */
typedef uint8 MalsLevel;

#define MALS_LEVEL_TRACE 5
#define MALS_LEVEL_DEBUG 10
#define MALS_LEVEL_INFO 20
#define MALS_LEVEL_WARN 30
#define MALS_LEVEL_ERROR 40
#define MALS_LEVEL_CRITICAL 50

#define DatumGetMalsLevel(d) ((MalsLevel) DatumGetUInt8(d))
#define MalsLevelGetDatum(l) UInt8GetDatum(l)
#define PG_GETARG_MALS_LEVEL(n) DatumGetMalsLevel(PG_GETARG_DATUM(n))
#define PG_RETURN_MALS_LEVEL(l) return MalsLevelGetDatum(l)

/* The list of names for hints. */
#define MALS_LEVEL_NAMES "trace, debug, info, warn, error, critical"

/* Reads a level's name, alias or number (surrounding space allowed, any case); false if it is none. */
extern bool mals_level_parse(const char *str, int len, MalsLevel *level);

/* Reads OpenTelemetry's severity number (1 to 24); false outside. */
extern bool mals_level_from_otel_number(int64 number, MalsLevel *level);

/* The level's lower-case name, a static string. */
extern const char *mals_level_name(MalsLevel level);

/* Reads a time or a date in ISO 8601, UTC if it names no zone; false if it is none. */
extern bool mals_parse_timestamp(const char *str, int len, TimestampTz *out);

/*
 * Gives the stamp that rows carry of the top-level transaction that wrote them:
 * 16 bits of the cluster's identity, then 48 of the transaction id. In one
 * cluster stamps order as transaction ids do; a row that comes from another one
 * is outside of every range of them (but for one cluster in 65,536).
 */
extern int64 mals_xact_stamp(FullTransactionId xid);

/* The transaction id in a stamp. */
extern uint64 mals_xact_id(int64 stamp);

#endif /* MALS_TYPES_H */
