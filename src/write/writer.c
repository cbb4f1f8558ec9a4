/*
 * writer.c
 *		The row writer: stores finished entries in the partition of their time,
 *		or hands them to unit.c where mals.write_mode says so.
 *
 * Entries with an id made by the server cannot clash with anything, so they
 * wait in slots of their partition and are written many at a time. An entry
 * with a sender's id may be stored already: it is written at once, by
 * speculative insertion into the primary key, as INSERT … ON CONFLICT DO
 * NOTHING does it. Ids that could not be used (refused by the clock rule, or
 * taken by an entry that the caller must not know of) are remembered under a
 * hash in mals._refused_ids, so that a retry is recognised all the same.
 */
#include "mals_errors.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "partition/partition.h"
#include "worker/shared.h"
#include "write/sights.h"
#include "write/target.h"
#include "write/unit.h"
#include "write/write.h"

/* What may wait in a writer before it is flushed. */
#define MAX_WAITING 1000
#define MAX_WAITING_BYTES (1024 * 1024)

/* Partitions of a writer whose last pages stay pinned between two flushes. */
#define MAX_PINNED 4

/*
 * Columns of mals.entries, as the install script lays them out. What a later
 * version of the extension adds after them is left NULL.
 */
enum
{
	COLUMN_ID,
	COLUMN_TS,
	COLUMN_CREATED_AT,
	COLUMN_LEVEL,
	COLUMN_AGENT_ID,
	COLUMN_MESSAGE,
	COLUMN_CATEGORY,
	COLUMN_SOURCE,
	COLUMN_SESSION_KEY,
	COLUMN_TRACE_ID,
	COLUMN_PARENT_ID,
	COLUMN_CORRELATION_ID,
	COLUMN_METADATA,
	COLUMN_FINGERPRINT,
	COLUMN_XACT,
	COLUMNS
};

/* A partition that is written to. */
typedef struct Partition
{
	MalsPlace place;
	MalsTarget target;
	TupleConversionMap *map;   /* from mals.entries' layout; NULL: the same */
	TupleConversionMap *unmap; /* and back */
	TupleDesc layout;          /* a copy, not counted */
	TupleTableSlot **waiting;  /* MAX_WAITING slots, made as needed */
	int nslots;
	int nwaiting;
	BulkInsertState bulk; /* NULL until many rows come at once */
} Partition;

struct MalsWriter
{
	MemoryContext context; /* owns all below */
	EState *estate;
	Relation entries;
	TupleTableSlot *slot; /* an entry in mals.entries' layout */
	MalsPolicy *policy;
	MalsUnit *unit;     /* entries go through the ring; none of what follows is used */
	bool bound;         /* see mals_writer_bind */
	List *partitions;   /* of Partition, last used first */
	MalsTarget refused; /* mals._refused_ids, open if rri is set */
	int nwaiting;
	Size waiting_bytes;
};

/* Raises an error unless the current user may log. */
static void
check_access(const char *what, MalsWriteMode mode)
{
	Oid logs = mals_relation_oid("logs");

	PreventCommandIfParallelMode(what);
	/* what is written by another transaction does not ask of what kind this one is */
	if (mode == MALS_WRITE_TRANSACTIONAL ? XactReadOnly : RecoveryInProgress())
		mals_error_read_only(what);
	if (pg_class_aclcheck(logs, GetUserId(), ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(logs, GetUserId(), ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied to log entries"),
				errdetail("Role \"%s\" lacks INSERT on mals.logs.",
						  GetUserNameFromId(GetUserId(), false)),
				errhint("An administrator can grant it: SELECT mals_grant('role', 'writer')."));
	mals_require_preload();
}

/* Makes a writer, with mals.entries open if it is needed. */
static MalsWriter *
make_writer(LOCKMODE lockmode)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "mals writer", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MalsWriter *writer = palloc0(sizeof(MalsWriter));

	writer->context = context;
	if (lockmode != NoLock)
	{
		writer->estate = CreateExecutorState();
		writer->entries = table_open(mals_relation_oid("entries"), lockmode);
		mals_check_columns(writer->entries, COLUMNS);
		writer->slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->entries), &TTSOpsVirtual);
		memset(writer->slot->tts_isnull, true,
			   writer->slot->tts_tupleDescriptor->natts * sizeof(bool));
		writer->policy = mals_policy_begin(RelationGetRelid(writer->entries), writer->estate);
	}
	MemoryContextSwitchTo(old);
	return writer;
}

/* Closes what make_writer has opened. */
static void
free_writer(MalsWriter *writer, LOCKMODE lockmode)
{
	if (writer->entries != NULL)
	{
		ExecDropSingleTupleTableSlot(writer->slot);
		table_close(writer->entries, lockmode);
		FreeExecutorState(writer->estate);
	}
	MemoryContextDelete(writer->context);
}

MalsWriter *
mals_writer_begin_rows(const char *what)
{
	check_access(what, MALS_WRITE_TRANSACTIONAL);
	mals_note_work(MALS_WORK_ENTRIES);
	return make_writer(RowExclusiveLock);
}

/* Opens a writer that packs entries for the ring. */
static MalsWriter *
open_unit(const char *what)
{
	bool policies;
	MalsWriter *writer;
	MemoryContext old;

	check_access(what, mals_write_mode);
	policies = check_enable_rls(mals_relation_oid("entries"), InvalidOid, false) == RLS_ENABLED;
	writer = make_writer(policies ? AccessShareLock : NoLock);
	old = MemoryContextSwitchTo(writer->context);
	writer->unit = mals_unit_begin(what, mals_write_mode == MALS_WRITE_AUTONOMOUS);
	MemoryContextSwitchTo(old);
	return writer;
}

MalsWriter *
mals_writer_begin(const char *what)
{
	return mals_write_mode == MALS_WRITE_TRANSACTIONAL ? mals_writer_begin_rows(what)
													   : open_unit(what);
}

void
mals_writer_bind(MalsWriter *writer, bool bound)
{
	writer->bound = bound;
}

/*
 * Opens the table of a partition; NULL if it was removed while we waited for
 * its lock: a transaction with an old snapshot sees partitions that are being
 * detached.
 */
static Relation
open_table(Oid oid)
{
	Relation rel = OidIsValid(oid) ? try_relation_open(oid, RowExclusiveLock) : NULL;

	if (rel == NULL || rel->rd_rel->relispartition)
		return rel;
	table_close(rel, RowExclusiveLock);
	return NULL;
}

/*
 * Opens the partition of a time, making it where it is missing. Returns NULL if
 * it is being removed.
 */
static Partition *
open_partition(MalsWriter *writer, TimestampTz ts)
{
	TupleDesc layout = writer->slot->tts_tupleDescriptor;
	MemoryContext old;
	Partition *partition;
	MalsPlace place = mals_partition_find(writer->entries, ts);
	Relation rel;

	if (!OidIsValid(place.partition))
	{
		table_close(writer->entries, NoLock);
		place = mals_partition_make(ts);
		writer->entries = table_open(mals_relation_oid("entries"), RowExclusiveLock);
	}
	rel = open_table(place.partition);
	if (rel == NULL)
		return NULL;
	old = MemoryContextSwitchTo(writer->context);
	partition = palloc0(sizeof(Partition));
	partition->place = place;
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("partition \"%s\" of mals.entries is not a plain table",
					   RelationGetRelationName(rel)),
				errhint("Attach plain tables only: mals writes no foreign and no partitioned "
						"ones."));
	mals_target_open(&partition->target, partition->place.partition);
	partition->layout = CreateTupleDescCopy(RelationGetDescr(rel));
	partition->map = convert_tuples_by_name(layout, RelationGetDescr(rel));
	partition->unmap = convert_tuples_by_name(RelationGetDescr(rel), layout);
	table_close(rel, NoLock);
	writer->partitions = lcons(partition, writer->partitions);
	MemoryContextSwitchTo(old);
	return partition;
}

/* Gives the partition of a time, open for writing; NULL if it is being removed. */
static Partition *
find_partition(MalsWriter *writer, TimestampTz ts)
{
	ListCell *lc;

	foreach (lc, writer->partitions)
	{
		Partition *partition = lfirst(lc);

		if (ts >= partition->place.from && ts < partition->place.to)
		{
			int i = foreach_current_index(lc);

			if (i > 0)
			{
				lfirst(lc) = linitial(writer->partitions);
				linitial(writer->partitions) = partition;
			}
			return partition;
		}
	}
	return open_partition(writer, ts);
}

/* Sets a column that may be NULL. */
static void
set_column(TupleTableSlot *slot, int column, bool given, const void *value)
{
	slot->tts_isnull[column] = !given;
	slot->tts_values[column] = PointerGetDatum(value);
}

/* Puts an entry into the writer's slot, without copying. */
static void
fill_slot(MalsWriter *writer, const MalsEntry *entry)
{
	TupleTableSlot *slot = writer->slot;
	Datum *values = slot->tts_values;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, COLUMNS * sizeof(bool));
	values[COLUMN_ID] = UUIDPGetDatum(&entry->id);
	values[COLUMN_TS] = TimestampTzGetDatum(entry->ts);
	values[COLUMN_CREATED_AT] = TimestampTzGetDatum(entry->created_at);
	values[COLUMN_LEVEL] = MalsLevelGetDatum(entry->level);
	values[COLUMN_AGENT_ID] = PointerGetDatum(entry->agent_id);
	values[COLUMN_MESSAGE] = PointerGetDatum(entry->message);
	values[COLUMN_SOURCE] = PointerGetDatum(entry->source);
	values[COLUMN_METADATA] = JsonbPGetDatum(entry->metadata);
	values[COLUMN_FINGERPRINT] = Int64GetDatum(entry->fingerprint);
	slot->tts_isnull[COLUMN_XACT] = entry->restored && !entry->has_xact;
	values[COLUMN_XACT] =
		Int64GetDatum(entry->restored        ? entry->xact
					  : writer->unit != NULL ? 0
											 : mals_xact_stamp(GetTopFullTransactionId()));
	set_column(slot, COLUMN_CATEGORY, entry->category != NULL, entry->category);
	set_column(slot, COLUMN_SESSION_KEY, entry->session_key != NULL, entry->session_key);
	set_column(slot, COLUMN_TRACE_ID, entry->has_trace_id, &entry->trace_id);
	set_column(slot, COLUMN_PARENT_ID, entry->has_parent_id, &entry->parent_id);
	set_column(slot, COLUMN_CORRELATION_ID, entry->correlation_id != NULL, entry->correlation_id);
	ExecStoreVirtualTuple(slot);
}

/* Copies the writer's slot into a slot of a partition. */
static void
copy_row(MalsWriter *writer, Partition *partition, TupleTableSlot *slot)
{
	if (partition->map == NULL)
		ExecCopySlot(slot, writer->slot);
	else
	{
		execute_attr_map_slot(partition->map->attrMap, writer->slot, slot);
		ExecMaterializeSlot(slot);
	}
	slot->tts_tableOid = partition->place.partition;
}

/* Writes what waits. */
static void
flush_waiting(MalsWriter *writer)
{
	ListCell *lc;

	CHECK_FOR_INTERRUPTS();
	foreach (lc, writer->partitions)
	{
		Partition *partition = lfirst(lc);

		if (partition->nwaiting == 0)
			continue;
		if (partition->bulk == NULL && partition->nwaiting > 1)
		{
			MemoryContext old = MemoryContextSwitchTo(writer->context);

			partition->bulk = GetBulkInsertState();
			MemoryContextSwitchTo(old);
		}
		mals_target_insert(&partition->target, writer->estate, partition->waiting,
						   partition->nwaiting, 0, partition->bulk);
		/* many sessions with many partitions would otherwise pin all of shared_buffers */
		if (partition->bulk != NULL && list_length(writer->partitions) > MAX_PINNED)
			ReleaseBulkInsertStatePin(partition->bulk);
		for (int i = 0; i < partition->nwaiting; i++)
			ExecClearTuple(partition->waiting[i]);
		partition->nwaiting = 0;
	}
	writer->nwaiting = 0;
	writer->waiting_bytes = 0;
}

/* Lets the entry in the writer's slot wait for the next flush. */
static void
add_waiting(MalsWriter *writer, Partition *partition, Size bytes)
{
	MemoryContext old = MemoryContextSwitchTo(writer->context);

	if (partition->waiting == NULL)
		partition->waiting = palloc(MAX_WAITING * sizeof(TupleTableSlot *));
	if (partition->nwaiting == partition->nslots)
		partition->waiting[partition->nslots++] =
			MakeSingleTupleTableSlot(partition->layout, &TTSOpsHeapTuple);
	copy_row(writer, partition, partition->waiting[partition->nwaiting++]);
	MemoryContextSwitchTo(old);

	writer->nwaiting++;
	writer->waiting_bytes += bytes;
	if (writer->nwaiting == MAX_WAITING || writer->waiting_bytes >= MAX_WAITING_BYTES)
		flush_waiting(writer);
}

/* Tells whether two texts are the same bytes. */
static bool
same_text(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Tells whether the sender may know of the row that has the entry's id. */
static bool
may_know(MalsWriter *writer, const MalsEntry *entry, Partition *partition, ItemPointer tid)
{
	TupleTableSlot *slot = partition->target.slot;
	bool result;

	if (writer->policy == NULL && !writer->bound)
		return true;
	if (!mals_target_fetch(&partition->target, tid, slot))
		return false;
	if (partition->unmap != NULL)
		slot = execute_attr_map_slot(partition->unmap->attrMap, slot, writer->slot);
	if (writer->policy != NULL)
		result = mals_policy_allows(writer->policy, slot);
	else
	{
		Datum agent = slot_getattr(slot, COLUMN_AGENT_ID + 1, &result);

		result = same_text(DatumGetTextPP(agent), entry->agent_id);
	}
	ExecClearTuple(partition->target.slot);
	return result;
}

/*
 * Claims the key of a refused id for the entry's own id. Returns false if an
 * entry was stored for it before: entry->id is then that entry's.
 */
static bool
claim_refused_key(MalsWriter *writer, MalsEntry *entry)
{
	TupleTableSlot *slot;
	ItemPointerData conflict;
	bool isnull;
	Datum stored;

	if (writer->refused.rri == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(writer->context);
		Relation rel = table_open(mals_relation_oid("_refused_ids"), RowExclusiveLock);

		mals_target_open(&writer->refused, RelationGetRelid(rel));
		table_close(rel, NoLock);
		MemoryContextSwitchTo(old);
	}
	slot = mals_target_empty_slot(&writer->refused, 2);
	slot->tts_values[0] = UUIDPGetDatum(&entry->refused_key);
	slot->tts_values[1] = UUIDPGetDatum(&entry->id);
	slot->tts_isnull[0] = slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
	if (mals_target_insert_unique(&writer->refused, writer->estate, slot, &conflict))
		return true;

	if (!mals_target_fetch(&writer->refused, &conflict, slot))
		elog(ERROR, "could not read the conflicting row of mals._refused_ids");
	stored = slot_getattr(slot, 2, &isnull);
	entry->id = *DatumGetUUIDP(stored);
	ExecClearTuple(slot);
	return false;
}

/*
 * Tells whether an id that is refused now was stored when it was not, in an
 * entry that the caller may know of; entry->id is then that id. Spoils the
 * writer's slot.
 */
static bool
was_stored(MalsWriter *writer, MalsEntry *entry)
{
	TimestampTz ts;
	Partition *partition;
	TupleTableSlot *slot;
	ItemPointerData conflict;

	if (!mals_uuid_timestamp(&entry->refused_id, &ts) ||
		!OidIsValid(mals_partition_find(writer->entries, ts).partition))
		return false;
	partition = find_partition(writer, ts);
	if (partition == NULL)
		return false;
	slot = partition->target.slot;
	writer->slot->tts_values[COLUMN_ID] = UUIDPGetDatum(&entry->refused_id);
	writer->slot->tts_values[COLUMN_TS] = TimestampTzGetDatum(ts);
	copy_row(writer, partition, slot);
	if (mals_target_is_free(&partition->target, writer->estate, slot, &conflict) ||
		!may_know(writer, entry, partition, &conflict))
		return false;
	entry->id = entry->refused_id;
	return true;
}

/* Gives the partition for an entry, which takes the current time where its own is being removed. */
static Partition *
place_entry(MalsWriter *writer, MalsEntry *entry)
{
	Partition *partition = find_partition(writer, entry->ts);

	if (partition == NULL)
	{
		mals_entry_refuse_time(entry);
		partition = find_partition(writer, entry->ts);
	}
	if (partition == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("the partition for the current time is being detached"),
				errhint("Try again when ALTER TABLE mals.entries DETACH PARTITION has ended, or "
						"finish it with FINALIZE."));
	return partition;
}

/* Puts an entry into the writer's slot; raises 42501 if the current user may not log it. */
static void
check_policy(MalsWriter *writer, const MalsEntry *entry)
{
	fill_slot(writer, entry);
	mals_tails_note(entry->ts);
	if (writer->policy != NULL && !mals_policy_allows(writer->policy, writer->slot))
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("%s: not allowed to log as this agent", mals_entry_field(entry, "agent_id")),
				errdetail("The row violates a row-level security policy of mals.entries."),
				errhint("Log as an agent that this role is bound to."));
}

bool
mals_writer_add(MalsWriter *writer, MalsEntry *entry)
{
	Partition *partition;

	if (writer->unit != NULL)
	{
		if (writer->policy != NULL)
			check_policy(writer, entry);
		mals_unit_add(writer->unit, entry, writer->policy != NULL);
		return true;
	}
	partition = place_entry(writer, entry);
	check_policy(writer, entry);
	if (entry->has_id)
	{
		ItemPointerData conflict;
		TupleTableSlot *slot = partition->target.slot;

		copy_row(writer, partition, slot);
		if (mals_target_insert_unique(&partition->target, writer->estate, slot, &conflict))
		{
			mals_sight(entry, writer->estate);
			return true;
		}
		if (may_know(writer, entry, partition, &conflict))
			return false;
		mals_entry_refuse_id(entry);
	}
	if (entry->has_refused_key)
	{
		if (was_stored(writer, entry) || !claim_refused_key(writer, entry))
			return false;
		fill_slot(writer, entry);
	}

	mals_sight(entry, writer->estate);
	add_waiting(writer, partition, VARSIZE_ANY(entry->message) + VARSIZE_ANY(entry->metadata));
	return true;
}

MalsWritten
mals_writer_end(MalsWriter *writer)
{
	MalsWritten written = {0};
	ListCell *lc;

	if (writer->unit != NULL)
	{
		written = mals_unit_send(writer->unit);
		free_writer(writer, AccessShareLock);
		return written;
	}
	flush_waiting(writer);
	foreach (lc, writer->partitions)
	{
		Partition *partition = lfirst(lc);

		if (partition->bulk != NULL)
		{
			FreeBulkInsertState(partition->bulk);
			table_finish_bulk_insert(partition->target.rri->ri_RelationDesc, 0);
		}
		mals_target_close(&partition->target);
	}
	if (writer->refused.rri != NULL)
		mals_target_close(&writer->refused);
	free_writer(writer, NoLock);
	return written;
}
