/*
 * mals.c
 *		The library's table of contents: one call a module.
 */
#include "mals_errors.h"

#include "mals_guc.h"
#include "write/write.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	mals_guc_init();
	mals_write_init();
}
