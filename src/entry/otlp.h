/*
 * otlp.h
 *		Private header of src/entry: reads the parts that OTLP/JSON messages are
 *		made of, and raises errors that name the path of what is wrong.
 */
#ifndef MALS_OTLP_H
#define MALS_OTLP_H

#include "mals_errors.h"

#include "fields.h"

/* Where we are in the request, for errors: a field, or an element of it. */
typedef struct OtlpPath
{
	const struct OtlpPath *parent;
	const char *name;
	int index; /* -1: the field itself */
} OtlpPath;

/* A walk over the elements of a repeated field. */
typedef struct OtlpElements
{
	JsonbIterator *it; /* NULL: the field is not given */
	int count;
	JsonbValue value;
	OtlpPath path;
} OtlpElements;

/* The kinds of an AnyValue. */
typedef enum OtlpKind
{
	OTLP_INT,
	OTLP_BOOL,
	OTLP_ARRAY,
	OTLP_BYTES,
	OTLP_DOUBLE,
	OTLP_KVLIST,
	OTLP_STRING,
	OTLP_EMPTY /* the number of kinds, and none of them */
} OtlpKind;

/* Raises 22023 for what is not as OTLP says: "<path>: must be <expected>". */
extern void mals_otlp_malformed(const OtlpPath *path, const char *expected);
extern void mals_otlp_malformed_field(const OtlpPath *parent, const char *name,
									  const char *expected);

/* Reads the fields of a message; none if it is not given. */
extern void mals_otlp_message(const JsonbValue *message, const OtlpPath *path,
							  const MalsFieldName *names, int nnames, JsonbValue *values,
							  int nvalues, MalsRest *rest);

/* Walks over a repeated field; next is false at its end. */
extern void mals_otlp_begin(OtlpElements *elements, const JsonbValue *array, const OtlpPath *parent,
							const char *name);
extern bool mals_otlp_next(OtlpElements *elements);

/* Goes to the next pair of a list of KeyValue; false if there is none. */
extern bool mals_otlp_next_pair(OtlpElements *elements, JsonbValue *key, JsonbValue *value);

/* Requires a field to be a string, if it is given; tells whether there is something in it. */
extern bool mals_otlp_has_string(const JsonbValue *value, const OtlpPath *parent, const char *name);

/* Read an integer, given as a number or as a string; false if it is none. */
extern bool mals_otlp_int64(const JsonbValue *value, int64 *result);
extern bool mals_otlp_uint64(const JsonbValue *value, uint64 *result);

/*
 * Reads an AnyValue as the JSON value it stands for, lists as trees in memory,
 * and tells its kind. Bytes stay base64; NaN and the infinities, which JSON
 * lacks, stay strings.
 */
extern OtlpKind mals_otlp_any(const JsonbValue *any, const OtlpPath *path, JsonbValue *result);

#endif /* MALS_OTLP_H */
