/*
 * mals_compat.h
 *		The one place that asks which PostgreSQL this is compiled for (15 to 18).
 */
#ifndef MALS_COMPAT_H
#define MALS_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "mals needs PostgreSQL 15 or later"
#endif

/* Input functions report bad text softly where the caller can take it (16+). */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define mals_soft_error(context, ...) ereturn((context), (Datum) 0, __VA_ARGS__)
#else
#define mals_soft_error(context, ...) ereport(ERROR, __VA_ARGS__)
#endif

#endif /* MALS_COMPAT_H */
