/*
 * fold.h
 *		Public header of src/group: the table of templates.
 */
#ifndef MALS_FOLD_H
#define MALS_FOLD_H

#include "mals_errors.h"

/*
 * Takes over first sights into mals._templates; returns how many rows that
 * wrote. Holds SHARE ROW EXCLUSIVE on it until the transaction ends. Like
 * mals_regroup it runs SQL, and the caller has called SPI_connect.
 */
extern uint64 mals_fold_sights(void);

/*
 * Brings groups up to date with templates and hand overrides; returns how many
 * templates changed their group. What the templates of a group have in common
 * is written again if some did, or if templates went. To be called after
 * mals_fold_sights.
 */
extern uint64 mals_regroup(bool templates_went);

#endif /* MALS_FOLD_H */
