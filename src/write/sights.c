/*
 * sights.c
 *		First sights of templates.
 *
 * The backend remembers which fingerprints have been seen. One that it does
 * not know is looked up in mals._templates and mals._sights; if it is in
 * neither, its template is appended to mals._sights, in the caller's
 * transaction and without touching a unique constraint, so that two loggers of
 * the same new message never wait for each other. Both may append it; the
 * worker folds such doubles.
 *
 * What a transaction has appended is remembered as pending until it commits,
 * and forgotten where its (sub)transaction aborts. The memory is bounded: when
 * it is full, or the tables are others than they were, it is emptied, and
 * filled again by look-ups.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "group/group.h"
#include "partition/partition.h"
#include "write/sights.h"
#include "write/target.h"

#define MAX_KNOWN 65536

/* A fingerprint that a transaction still open has appended, and in which part of it. */
typedef struct Pending
{
	int64 fingerprint;
	SubTransactionId subid;
} Pending;

static HTAB *known = NULL;  /* of int64 */
static Oid known_tables[2]; /* what known tells of: mals._templates, mals._sights */
static bool known_is_stale = false;

/* Oldest first, so that those of a subtransaction are the last ones. */
static Pending *pending = NULL;
static int npending = 0;
static int pending_size = 0;

/* Makes the table of known fingerprints, empty. */
static void
reset_known(void)
{
	HASHCTL control;

	if (known != NULL)
		hash_destroy(known);
	known = NULL;
	known_tables[0] = mals_relation_oid("_templates");
	known_tables[1] = mals_relation_oid("_sights");
	known_is_stale = false;
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = TopMemoryContext;
	known = hash_create("mals known fingerprints", 256, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Notes that one of the tables may be another than it was: dropped, emptied or made anew. */
static void
at_relation_change(Datum arg, Oid relation)
{
	if (relation == known_tables[0] || relation == known_tables[1] || relation == InvalidOid)
		known_is_stale = true;
}

/* Remembers a fingerprint until the subtransaction ends. */
static void
push_pending(int64 fingerprint)
{
	if (npending == pending_size)
	{
		int size = Max(pending_size * 2, 64);

		if (pending == NULL)
			pending = MemoryContextAlloc(TopMemoryContext, size * sizeof(Pending));
		else
			pending = repalloc(pending, size * sizeof(Pending));
		pending_size = size;
	}
	pending[npending].fingerprint = fingerprint;
	pending[npending++].subid = GetCurrentSubTransactionId();
}

/* Forgets what subtransactions from "from" on have appended. */
static void
forget_pending(SubTransactionId from)
{
	while (npending > 0 && pending[npending - 1].subid >= from)
		(void) hash_search(known, &pending[--npending].fingerprint, HASH_REMOVE, NULL);
}

/* Keeps what a transaction has appended if it commits here and now. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		npending = 0;
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_pending(InvalidSubTransactionId);
}

/* Hands what a subtransaction has appended to its parent, or forgets it. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent,
					  void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = npending - 1; i >= 0 && pending[i].subid >= subid; i--)
			pending[i].subid = parent;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_pending(subid);
}

void
mals_sights_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	CacheRegisterRelcacheCallback(at_relation_change, (Datum) 0);
}

/* Tells whether a table has a row for the fingerprint, by its index. */
static bool
is_in(const char *table, const char *index, int64 fingerprint)
{
	Relation rel = table_open(mals_relation_oid(table), AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool found;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(fingerprint));
	scan = systable_beginscan(rel, mals_relation_oid(index), true, snapshot, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

/* Appends an entry's template to mals._sights. */
static void
append_sight(const MalsEntry *entry, EState *estate)
{
	MalsTarget target;
	Relation rel = table_open(mals_relation_oid("_sights"), RowExclusiveLock);
	TupleTableSlot *slot;
	StringInfoData template;

	initStringInfo(&template);
	mals_template_append(&template, VARDATA_ANY(entry->message), VARSIZE_ANY_EXHDR(entry->message));
	mals_target_open(&target, RelationGetRelid(rel));
	slot = mals_target_empty_slot(&target, 5);
	memset(slot->tts_isnull, false, 5 * sizeof(bool));
	slot->tts_values[0] = Int64GetDatum(entry->fingerprint);
	slot->tts_values[1] = Int32GetDatum(MALS_FINGERPRINT_VERSION);
	slot->tts_values[2] = PointerGetDatum(cstring_to_text_with_len(template.data, template.len));
	slot->tts_values[3] = TimestampTzGetDatum(entry->ts);
	slot->tts_values[4] = UUIDPGetDatum(&entry->id);
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	mals_target_insert(&target, estate, &slot, 1, 0, NULL);
	mals_target_close(&target);
	table_close(rel, NoLock);
}

void
mals_sight(const MalsEntry *entry, EState *estate)
{
	bool seen;

	if (known == NULL ||
		(npending == 0 && (known_is_stale || hash_get_num_entries(known) >= MAX_KNOWN)))
		reset_known();
	if (hash_search(known, &entry->fingerprint, HASH_FIND, NULL) != NULL)
		return;

	seen = is_in("_templates", "_templates_pkey", entry->fingerprint) ||
		   is_in("_sights", "_sights_fingerprint", entry->fingerprint);
	if (!seen)
		append_sight(entry, estate);
	if (hash_get_num_entries(known) >= MAX_KNOWN)
		return; /* all of them pending: not remembered, seen again */
	(void) hash_search(known, &entry->fingerprint, HASH_ENTER, NULL);
	if (!seen)
		push_pending(entry->fingerprint);
}
