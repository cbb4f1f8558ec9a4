/*
 * mals_catalog.h
 *		What mals asks the catalogs about itself.
 */
#ifndef MALS_CATALOG_H
#define MALS_CATALOG_H

#include "mals_errors.h"

/* The quoted name of the extension's schema, where the type and functions are; palloc'd. */
extern char *mals_extension_schema(void);

#endif /* MALS_CATALOG_H */
