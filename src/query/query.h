/*
 * query.h
 *		Public header of src/query: the query language.
 *
 * A query is a list of terms that all must hold. mals_query_parse makes that
 * list, mals_condition_sql writes it as one condition over the columns of
 * mals.logs, and mals_condition_bounds gives the window of time it implies.
 * Every reader that takes a query goes through these three.
 */
#ifndef MALS_QUERY_H
#define MALS_QUERY_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "types/types.h"

/* What a term looks at. */
typedef enum MalsTermKind
{
	MALS_TERM_LEVEL,
	MALS_TERM_AGENT,
	MALS_TERM_CATEGORY,
	MALS_TERM_SOURCE,
	MALS_TERM_SESSION,
	MALS_TERM_CORRELATION,
	MALS_TERM_TRACE,
	MALS_TERM_ID,
	MALS_TERM_FINGERPRINT,
	MALS_TERM_RESOLVED,
	MALS_TERM_AFTER,  /* ts >= time */
	MALS_TERM_BEFORE, /* ts < time */
	MALS_TERM_META,
	MALS_TERM_TEXT, /* the message contains text, in any case */
	MALS_TERM_REGEX /* the message matches a regular expression */
} MalsTermKind;

/* How it compares. */
typedef enum MalsOperator
{
	MALS_OP_EQ,
	MALS_OP_LT,
	MALS_OP_LE,
	MALS_OP_GT,
	MALS_OP_GE,
	MALS_OP_LIKE,  /* text is a LIKE pattern */
	MALS_OP_EXISTS /* META only */
} MalsOperator;

typedef struct MalsTerm
{
	MalsTermKind kind;
	MalsOperator op;
	bool negated;     /* never for AFTER, BEFORE and RESOLVED: they have opposites */
	int position;     /* of its token in the query: a character, from 1 */
	const char *text; /* value, pattern, regular expression, or number for META's < <= > >= = */
	const char *key;  /* META: the path as written, without "meta." */
	bool ignore_case; /* REGEX */
	bool numeric;     /* META: compare numbers only */
	bool flag;        /* RESOLVED: yes; TRACE: text is a uuid; META: text is JSON, too */
	MalsLevel level;
	int64 number;   /* FINGERPRINT */
	pg_uuid_t uuid; /* ID, TRACE */
	TimestampTz ts; /* AFTER, BEFORE */
} MalsTerm;

typedef struct MalsCondition
{
	List *terms; /* of MalsTerm *, in the query's order */
} MalsCondition;

/*
 * Parses a query of len bytes; argname is what errors (22023) call it. Ages such
 * as 15m count back from the current time. Allocates in the current memory
 * context, and nothing of the result points into the query.
 */
extern MalsCondition *mals_query_parse(const char *query, int len, const char *argname);

/*
 * Appends the condition as SQL over the columns of mals.logs, unqualified;
 * "true" for an empty query. It means the same under any search_path that has
 * pg_catalog first.
 */
extern void mals_condition_sql(StringInfo buf, const MalsCondition *condition);

/* Tells whether a condition has a term of a kind. */
extern bool mals_condition_has(const MalsCondition *condition, MalsTermKind kind);

/*
 * Gives the window [*lo, *hi) of ts outside which nothing matches; an end that
 * is open is DT_NOBEGIN or DT_NOEND. Returns false if the window is empty.
 */
extern bool mals_condition_bounds(const MalsCondition *condition, TimestampTz *lo, TimestampTz *hi);

#endif /* MALS_QUERY_H */
