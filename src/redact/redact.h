/*
 * redact.h
 *		Public header of src/redact: secrets are replaced by [redacted:kind]
 *		before anything is stored, hashed or shared.
 *
 *	secret.h	what a secret is, for the files of this folder
 *	scan.c		finds the next secret in a text, in one pass
 *	vendors.c	the keys and tokens that vendors give out, as a table
 *	shapes.c	secrets that are known by their shape: JWTs, private keys, URLs
 *	pairs.c		names such as password, and what may be their value
 *	rules.c		own rules, in mals.redact_rules
 *	redact.c	texts and JSON, and the SQL function
 *
 * scan.c, vendors.c, shapes.c and pairs.c neither allocate nor raise errors.
 */
#ifndef MALS_REDACT_H
#define MALS_REDACT_H

#include "mals_errors.h"

#include "utils/jsonb.h"

/*
 * Give the value without its secrets, by the built-in patterns and by own rules.
 * A value without secrets is returned as it is; else a new one is allocated in
 * the current context.
 */
extern text *mals_redact_text(text *value);
extern Jsonb *mals_redact_jsonb(Jsonb *value);

#endif /* MALS_REDACT_H */
