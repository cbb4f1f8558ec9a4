/*
 * target.h
 *		Private header of src/write: one table that rows are written to.
 */
#ifndef MALS_WRITE_TARGET_H
#define MALS_WRITE_TARGET_H

#include "mals_errors.h"

#include "access/heapam.h"
#include "access/itup.h"
#include "nodes/execnodes.h"

/*
 * A table with its indexes, open for writing. It belongs to the memory context
 * that was current when it was opened.
 */
typedef struct MalsTarget
{
	ResultRelInfo *rri;
	TupleTableSlot *slot; /* in the table's own layout */
	List *arbiters;       /* its primary key, once opened for unique inserts */
	bool unique;          /* opened for unique inserts */
} MalsTarget;

/*
 * Opens a table that the caller has locked, or closes it again; locks are kept.
 * Raises 55000 if it has a deferrable constraint.
 */
extern void mals_target_open(MalsTarget *target, Oid relation);
extern void mals_target_close(MalsTarget *target);

/* Empties the slot of a table that has at least so many columns (else 55000): all are NULL. */
extern TupleTableSlot *mals_target_empty_slot(MalsTarget *target, int columns);

/*
 * Writes many rows with their index entries. The slots are of the table's
 * layout; options are those of table_multi_insert.
 */
extern void mals_target_insert(MalsTarget *target, EState *estate, TupleTableSlot **slots,
							   int nslots, int options, BulkInsertState bulk);

/*
 * Tells whether no row has the primary key of a slot, waiting for a
 * transaction that is about to insert one. If not, conflict is that row.
 */
extern bool mals_target_is_free(MalsTarget *target, EState *estate, TupleTableSlot *slot,
								ItemPointer conflict);

/* Writes one row if its primary key is free. Returns whether it was. */
extern bool mals_target_insert_unique(MalsTarget *target, EState *estate, TupleTableSlot *slot,
									  ItemPointer conflict);

/* Reads a row by its place into a slot, whoever can see it. */
extern bool mals_target_fetch(MalsTarget *target, ItemPointer tid, TupleTableSlot *slot);

/* indexes.c: writes the index entries of rows that the table has. */
extern void mals_indexes_insert(ResultRelInfo *rri, EState *estate, TupleTableSlot **slots,
								int nslots);

/*
 * btree.c: puts tuples into an index, from the first on as many as go into one
 * leaf without more ado. Returns how many; 0 if index_insert must take the first.
 */
extern bool mals_btree_usable(Relation rel);
extern int mals_btree_insert(Relation rel, Relation heap, IndexTuple *tuples, int ntuples);

/*
 * Row security of mals.entries for the current user, as an INSERT would meet
 * it: NULL if none applies. Rows are checked in the layout of mals.entries.
 */
typedef struct MalsPolicy MalsPolicy;
extern MalsPolicy *mals_policy_begin(Oid entries, EState *estate);
extern bool mals_policy_allows(MalsPolicy *policy, TupleTableSlot *slot);

#endif /* MALS_WRITE_TARGET_H */
