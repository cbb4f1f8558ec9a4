/*
 * merge.h
 *		Private header of src/group: its second stage, which templates are the same
 *		event.
 */
#ifndef MALS_MERGE_H
#define MALS_MERGE_H

#include "mals_errors.h"

typedef struct MalsTemplate
{
	int64 fingerprint;
	const char *text;
	int len;
	int64 group_id; /* out: the least fingerprint of the group */
} MalsTemplate;

/*
 * Sets the group of each template: those that differ in one word which varies
 * are in one. The result depends on the set of templates only, not on their
 * order. Uses memory of the current context and frees it.
 */
extern void mals_merge_templates(MalsTemplate *templates, int count);

#endif /* MALS_MERGE_H */
