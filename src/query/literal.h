/*
 * literal.h
 *		Values and columns as SQL text (private to src/query).
 */
#ifndef MALS_QUERY_LITERAL_H
#define MALS_QUERY_LITERAL_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/uuid.h"

extern void mals_append_literal(StringInfo buf, const char *str);
extern void mals_append_uuid(StringInfo buf, const pg_uuid_t *id);
extern void mals_append_timestamp(StringInfo buf, TimestampTz ts); /* not infinity */

/* Most steps of a path into metadata: each is looked for in as many ways. */
#define MALS_MAX_STEPS 16

/* Raises 22023 for a path of more; argname is what the error calls it. */
extern void mals_check_path(const char *key, const char *argname);

/* The value at a dotted path in metadata, as an expression of type jsonb. */
extern void mals_append_metadata(StringInfo buf, const char *key);

/* The same as text, NULL for null. */
extern void mals_append_metadata_text(StringInfo buf, const char *key);

#endif /* MALS_QUERY_LITERAL_H */
