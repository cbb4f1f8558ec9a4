/*
 * group.h
 *		Public header of src/group: which messages are the same event.
 */
#ifndef MALS_GROUP_H
#define MALS_GROUP_H

#include "mals_errors.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Version of the rules that make a template; part of a fingerprint's identity. */
#define MALS_FINGERPRINT_VERSION 1

/* The fingerprint of the messages that have a template, without metadata that adds to it. */
extern int64 mals_template_fingerprint(const char *template, int len);

/* Appends the template of a message (bytes in the server's encoding) to dst. */
extern void mals_template_append(StringInfo dst, const char *message, int len);

/*
 * The fingerprint of an entry: of its metadata's own "fingerprint" if that is a
 * string, else of the message's template and of metadata's exception, if any.
 * metadata may be NULL. Uses memory of the current context and frees it.
 */
extern int64 mals_fingerprint_entry(const char *message, int len, Jsonb *metadata);

#endif /* MALS_GROUP_H */
