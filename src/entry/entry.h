/*
 * entry.h
 *		Public header of src/entry: what a log entry is before it is stored.
 *
 * Every way in (arguments, JSON, OTLP, rows of the views) fills in a MalsEntry
 * with what the sender gave, and passes it to mals_entry_finish, which alone
 * knows the session's context, defaults, limits, the clock rule, ids and
 * fingerprints. No source has checks or defaults of its own.
 *
 * All pointers of an entry point into the memory context that was current when
 * they were set; the entry owns nothing. A NULL pointer or a false has_ flag
 * means "not given".
 */
#ifndef MALS_ENTRY_H
#define MALS_ENTRY_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "types/types.h"

typedef struct MalsEntry
{
	int index; /* place in its batch, from 0; -1 outside a batch */

	text *agent_id;
	text *message;
	text *category;
	text *source;
	text *session_key;
	text *correlation_id;
	Jsonb *metadata; /* any JSON value until finished, then an object */

	pg_uuid_t id;
	pg_uuid_t trace_id;
	pg_uuid_t parent_id;
	TimestampTz ts;
	TimestampTz created_at; /* set by finish */
	int64 fingerprint;      /* set by finish */
	MalsLevel level;

	bool has_id; /* given by the sender, so it may be stored already */
	bool has_trace_id;
	bool has_parent_id;
	bool has_ts;
	bool has_level;

	/* A row that comes back; xact is the stamp it had, if it had one. */
	bool restored;
	bool has_xact;
	int64 xact;

	/*
	 * Set by finish where the clock rule refused a sender's id: that id, and a
	 * hash of (agent_id, that id). The entry's own id is then the server's, and
	 * the writer recognises a retry by the key, or by the id if it was stored
	 * before it was refused.
	 */
	bool has_refused_key;
	pg_uuid_t refused_id;
	pg_uuid_t refused_key;
} MalsEntry;

/* Makes an empty entry; index is its place in a batch, or -1. */
extern void mals_entry_init(MalsEntry *entry, int index);

/*
 * Fills in, checks and completes an entry; raises the contract's errors.
 * Returns false if the entry is filtered out and must not be stored.
 * Allocates in the current memory context.
 */
extern bool mals_entry_finish(MalsEntry *entry);

/*
 * Checks an entry that was stored once and comes back as it was: everything
 * that finish sees to must hold. Raises the contract's errors.
 */
extern void mals_entry_check(const MalsEntry *entry);

/*
 * Gives a finished entry a server's id in place of the sender's, which is kept
 * as refused_key and in the metadata.
 */
extern void mals_entry_refuse_id(MalsEntry *entry);

/*
 * Has a finished entry stored at the time received, as the clock rule has it:
 * its own time cannot be stored, after all.
 */
extern void mals_entry_refuse_time(MalsEntry *entry);

/*
 * How errors name a field: "level", or "entry 17: level" in a batch. Messages
 * read errmsg("%s: …", mals_entry_field(entry, "level"), …).
 */
extern const char *mals_entry_field(const MalsEntry *entry, const char *field);

/* Checks the id of an agent: raises 22004 or 22023, naming the field. */
extern void mals_check_agent_id(const text *agent_id, const char *field);

/* json.c: fills in an entry from a JSON object (22023 if it is no object). */
extern void mals_entry_from_json(MalsEntry *entry, JsonbContainer *object);

/*
 * otlp.c: calls sink for every log record of an ExportLogsServiceRequest;
 * records are counted from 0 over the whole request. The sink runs in a memory
 * context of one record: the entry is gone when it returns.
 */
typedef void (*MalsEntrySink)(MalsEntry *entry, void *arg);
extern void mals_entries_from_otlp(Jsonb *request, MalsEntrySink sink, void *arg);

/*
 * metadata.c: merges JSON objects and single values into one object. The first
 * to give a key keeps it. What comes later under a taken key is kept as
 * "<source>.<key>", or left out where source is NULL.
 */
typedef struct MalsMerge MalsMerge;
extern MalsMerge *mals_merge_begin(void);
extern void mals_merge_object(MalsMerge *merge, JsonbContainer *object, const char *source);
extern void mals_merge_value(MalsMerge *merge, const char *key, int keylen, const JsonbValue *value,
							 const char *source);
extern Jsonb *mals_merge_end(MalsMerge *merge);

/* The same as a tree in memory (jbvObject); its values must not be jbvBinary. */
extern void mals_merge_end_value(MalsMerge *merge, JsonbValue *result);

/* uuid.c: ids. A UUIDv7 whose 12 bits after the milliseconds carry the microseconds. */
extern void mals_uuid_make(TimestampTz ts, pg_uuid_t *id);
extern bool mals_uuid_timestamp(const pg_uuid_t *id, TimestampTz *ts); /* false: not version 7 */
extern bool mals_uuid_holds(TimestampTz ts); /* can an id carry this time? */
extern bool mals_uuid_parse(const char *str, int len,
							pg_uuid_t *id); /* as uuid_in takes, no error */
extern void mals_uuid_text(const pg_uuid_t *id, char buf[37]);

#endif /* MALS_ENTRY_H */
