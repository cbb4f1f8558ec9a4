/*
 * writer.c
 *		The row writer: stores finished entries in the partition of their time.
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
#include "utils/timestamp.h"

#include "partition/partition.h"
#include "worker/shared.h"
#include "write/sights.h"
#include "write/target.h"
#include "write/write.h"

/* What may wait in a writer before it is flushed. */
#define MAX_WAITING 1000
#define MAX_WAITING_BYTES (1024 * 1024)

/* Columns of mals.entries, as the install script lays them out. */
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
	List *partitions;   /* of Partition, last used first */
	MalsTarget refused; /* mals._refused_ids, open if rri is set */
	int nwaiting;
	Size waiting_bytes;
};

/* Raises an error unless the current user may log. */
static void
check_access(const char *what)
{
	Oid logs = mals_relation_oid("logs");

	PreventCommandIfParallelMode(what);
	if (XactReadOnly)
		mals_error_read_only(what);
	if (pg_class_aclcheck(logs, GetUserId(), ACL_INSERT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(logs, GetUserId(), ACL_INSERT, ACLMASK_ANY) != ACLCHECK_OK)
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied to log entries"),
				errdetail("Role \"%s\" lacks INSERT on mals.logs.",
						  GetUserNameFromId(GetUserId(), false)),
				errhint("An administrator can grant it: SELECT mals_grant('role', 'writer')."));
}

MalsWriter *
mals_writer_begin(const char *what)
{
	MemoryContext context;
	MemoryContext old;
	MalsWriter *writer;

	check_access(what);
	mals_note_work(MALS_WORK_ENTRIES);
	context = AllocSetContextCreate(CurrentMemoryContext, "mals writer", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	writer = palloc0(sizeof(MalsWriter));
	writer->context = context;
	writer->estate = CreateExecutorState();
	writer->entries = table_open(mals_relation_oid("entries"), RowExclusiveLock);
	writer->slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->entries), &TTSOpsVirtual);
	writer->policy = mals_policy_begin(RelationGetRelid(writer->entries), writer->estate);
	MemoryContextSwitchTo(old);
	return writer;
}

/* Opens the partition of a time, making it where it is missing. */
static Partition *
open_partition(MalsWriter *writer, TimestampTz ts)
{
	TupleDesc layout = writer->slot->tts_tupleDescriptor;
	MemoryContext old = MemoryContextSwitchTo(writer->context);
	Partition *partition = palloc0(sizeof(Partition));
	Relation rel;

	partition->place = mals_partition_find(writer->entries, ts);
	if (!OidIsValid(partition->place.partition))
	{
		table_close(writer->entries, NoLock);
		partition->place = mals_partition_make(ts);
		writer->entries = table_open(mals_relation_oid("entries"), RowExclusiveLock);
	}
	rel = table_open(partition->place.partition, RowExclusiveLock);
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

/* Gives the partition of a time, open for writing. */
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

	if (slot->tts_tupleDescriptor->natts != COLUMNS)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("mals.entries does not have the columns that this version of mals writes"),
				errhint("Run ALTER EXTENSION mals UPDATE, and add no columns of your own."));
	ExecClearTuple(slot);
	memset(slot->tts_isnull, 0, COLUMNS * sizeof(bool));
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
		Int64GetDatum(entry->restored ? entry->xact : mals_xact_stamp(GetTopFullTransactionId()));
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
		mals_writer_flush(writer);
}

/* Tells whether the caller may know of the row that has the entry's id. */
static bool
may_know(MalsWriter *writer, Partition *partition, ItemPointer tid)
{
	TupleTableSlot *slot = partition->target.slot;
	bool result;

	if (writer->policy == NULL)
		return true;
	if (!mals_target_fetch(&partition->target, tid, slot))
		return false;
	if (partition->unmap != NULL)
		slot = execute_attr_map_slot(partition->unmap->attrMap, slot, writer->slot);
	result = mals_policy_allows(writer->policy, slot);
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
	slot = ExecClearTuple(writer->refused.slot);
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
	slot = partition->target.slot;
	writer->slot->tts_values[COLUMN_ID] = UUIDPGetDatum(&entry->refused_id);
	writer->slot->tts_values[COLUMN_TS] = TimestampTzGetDatum(ts);
	copy_row(writer, partition, slot);
	if (mals_target_is_free(&partition->target, writer->estate, slot, &conflict) ||
		!may_know(writer, partition, &conflict))
		return false;
	entry->id = entry->refused_id;
	return true;
}

bool
mals_writer_add(MalsWriter *writer, MalsEntry *entry)
{
	Partition *partition = find_partition(writer, entry->ts);

	fill_slot(writer, entry);
	mals_tails_note(entry->ts);
	if (writer->policy != NULL && !mals_policy_allows(writer->policy, writer->slot))
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("%s: not allowed to log as this agent", mals_entry_field(entry, "agent_id")),
				errdetail("The row violates a row-level security policy of mals.entries."),
				errhint("Log as an agent that this role is bound to."));

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
		if (may_know(writer, partition, &conflict))
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

void
mals_writer_flush(MalsWriter *writer)
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
						   partition->nwaiting, partition->bulk);
		for (int i = 0; i < partition->nwaiting; i++)
			ExecClearTuple(partition->waiting[i]);
		partition->nwaiting = 0;
	}
	writer->nwaiting = 0;
	writer->waiting_bytes = 0;
}

void
mals_writer_end(MalsWriter *writer)
{
	ListCell *lc;

	mals_writer_flush(writer);
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
	ExecDropSingleTupleTableSlot(writer->slot);
	table_close(writer->entries, NoLock);
	FreeExecutorState(writer->estate);
	MemoryContextDelete(writer->context);
}
