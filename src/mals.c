/*
 * mals.c
 *		The library's table of contents: one call a module; and its version.
 */
#include "mals_errors.h"

#include "utils/builtins.h"

#include "mals_guc.h"
#include "write/write.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(mals_version);

void _PG_init(void);

void
_PG_init(void)
{
	mals_guc_init();
	mals_write_init();
}

/* SQL: the library's version. */
Datum
mals_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(MALS_VERSION));
}
