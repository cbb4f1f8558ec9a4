/*
 * capture.c
 *		Messages of the server that become entries (mals.capture_server_log).
 *
 * The hook runs wherever the server reports something: in a failed transaction,
 * out of memory, with locks held. So it neither allocates, nor reads a catalog,
 * nor waits, nor fails: it puts the message's texts into the ring as they are,
 * if there is room, and the writer makes an entry of them. It does nothing in
 * processes of mals, on a standby, while this process holds a lock of mals, or
 * where it was called by itself.
 *
 * A record holds a CapturedMessage and the texts, one after the other.
 */
#include "mals_errors.h"

#include "access/parallel.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "worker/shared.h"
#include "worker/worker.h"
#include "write/limit.h"
#include "write/unit.h"

/* What may be kept of a text, in bytes; of a statement mals.capture_query_length. */
#define MAX_NAME 256
#define MAX_TEXT 8192

/* The texts of a message, in their order. */
enum
{
	TEXT_AGENT,
	TEXT_MESSAGE,
	TEXT_DETAIL,
	TEXT_HINT,
	TEXT_CONTEXT,
	TEXT_QUERY,
	TEXT_APPLICATION,
	TEXT_SESSION_KEY,
	TEXT_CORRELATION,
	TEXTS
};

typedef struct CapturedMessage
{
	TimestampTz ts;
	int32 level;
	int32 pid;
	int32 sqlerrcode;
	Oid role;
	bool has_trace_id;
	pg_uuid_t trace_id;
	uint32 lengths[TEXTS]; /* 0: there is none */
} CapturedMessage;

/* The level of a message. */
static int
level_of(int elevel)
{
	if (elevel >= FATAL)
		return MALS_LEVEL_CRITICAL;
	if (elevel >= ERROR)
		return MALS_LEVEL_ERROR;
	if (elevel >= WARNING)
		return MALS_LEVEL_WARN;
	return elevel >= LOG ? MALS_LEVEL_INFO : MALS_LEVEL_DEBUG;
}

/* The ring that a message may go to from here, or NULL. */
static MalsRing *
find_ring(void)
{
	MalsDatabase *slot;

	if (MyProc == NULL || proc_exit_inprogress || RecoveryInProgress() || IsParallelWorker() ||
		(MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_library_name, "mals") == 0))
		return NULL;
	slot = mals_database_peek();
	/* only where the extension is */
	if (slot == NULL || (!slot->extension && !slot->ring.wanted))
		return NULL;
	if (LWLockHeldByMe(&slot->ring.lock) || LWLockHeldByMe(mals_shared->lock))
		return NULL;
	return &slot->ring;
}

/* Notes a text, cut to a limit between two characters. */
static void
add_text(CapturedMessage *header, MalsPart *parts, int number, const char *text, int limit)
{
	int len = text == NULL ? 0 : strnlen(text, limit + 1);

	if (len > limit)
		len = pg_mbcliplen(text, len, limit);
	header->lengths[number] = len;
	parts[number].data = text;
	parts[number].size = len;
}

/* Puts a message into a ring. */
static void
put(MalsRing *ring, const ErrorData *message, int level)
{
	CapturedMessage header;
	MalsPart parts[1 + TEXTS];
	MalsPart *texts = parts + 1;
	MalsRecord record;
	MalsRecord *place;
	const pg_uuid_t *trace_id = mals_default_trace_id();
	const char *agent =
		mals_agent_id != NULL && *mals_agent_id != '\0' ? mals_agent_id : "postgres";

	if (!mals_limit_rate(agent, pg_mbcliplen(agent, strlen(agent), MAX_NAME)))
		return;
	memset(&header, 0, sizeof(header));
	header.ts = GetCurrentTimestamp();
	header.level = level;
	header.pid = MyProcPid;
	header.sqlerrcode = message->sqlerrcode;
	header.role = GetSessionUserId();
	header.has_trace_id = trace_id != NULL;
	if (trace_id != NULL)
		header.trace_id = *trace_id;
	parts[0].data = &header;
	parts[0].size = sizeof(header);
	add_text(&header, texts, TEXT_AGENT, agent, MAX_NAME);
	add_text(&header, texts, TEXT_MESSAGE, message->message, MAX_TEXT);
	add_text(&header, texts, TEXT_DETAIL,
			 message->detail_log != NULL ? message->detail_log : message->detail, MAX_TEXT);
	add_text(&header, texts, TEXT_HINT, message->hint, MAX_TEXT);
	add_text(&header, texts, TEXT_CONTEXT, message->context, MAX_TEXT);
	add_text(&header, texts, TEXT_QUERY, message->hide_stmt ? NULL : debug_query_string,
			 mals_capture_query_length);
	add_text(&header, texts, TEXT_APPLICATION, application_name, MAX_NAME);
	add_text(&header, texts, TEXT_SESSION_KEY, mals_session_key, MAX_NAME);
	add_text(&header, texts, TEXT_CORRELATION, mals_correlation_id, MAX_NAME);

	memset(&record, 0, sizeof(record));
	record.kind = MALS_RECORD_MESSAGE;
	record.nentries = 1;
	(void) mals_ring_put(ring, &record, parts, lengthof(parts), &place);
	mals_ring_want(ring);
}

void
mals_capture(ErrorData *message)
{
	static bool busy = false;
	int level = level_of(message->elevel);
	MalsRing *ring;

	if (level < mals_capture_server_log || busy)
		return;
	busy = true;
	ring = find_ring();
	if (ring != NULL)
		put(ring, message, level);
	busy = false;
}

/* Copies a text of a message; what is not in the database's encoding becomes question marks. */
static text *
copy_text(const char *data, int len)
{
	text *copy = cstring_to_text_with_len(data, len);

	if (!pg_verifymbstr(data, len, true))
		for (char *p = VARDATA(copy); p < VARDATA(copy) + len; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	return copy;
}

/* Adds a string to an entry's metadata. */
static void
add_string(MalsMerge *merge, const char *key, const text *string)
{
	JsonbValue value;

	if (string == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = VARDATA_ANY(string);
	value.val.string.len = VARSIZE_ANY_EXHDR(string);
	mals_merge_value(merge, key, strlen(key), &value, NULL);
}

void
mals_message_read(const char *data, MalsEntry *entry)
{
	CapturedMessage header;
	const char *p = data + sizeof(header);
	text *texts[TEXTS];
	MalsMerge *merge = mals_merge_begin();
	JsonbValue pid;
	const char *role;

	memcpy(&header, data, sizeof(header));
	role = OidIsValid(header.role) ? GetUserNameFromId(header.role, true) : NULL;
	for (int i = 0; i < TEXTS; i++)
	{
		texts[i] = header.lengths[i] > 0 ? copy_text(p, header.lengths[i]) : NULL;
		p += header.lengths[i];
	}
	mals_entry_init(entry, -1);
	entry->agent_id = texts[TEXT_AGENT];
	entry->message = texts[TEXT_MESSAGE] != NULL ? texts[TEXT_MESSAGE] : cstring_to_text("");
	entry->category = cstring_to_text("postgres");
	entry->source = cstring_to_text("postgres");
	entry->session_key = texts[TEXT_SESSION_KEY];
	entry->correlation_id = texts[TEXT_CORRELATION];
	entry->has_trace_id = header.has_trace_id;
	entry->trace_id = header.trace_id;
	entry->has_level = true;
	entry->level = header.level;
	entry->has_ts = true;
	entry->ts = header.ts;

	add_string(merge, "sqlstate", cstring_to_text(unpack_sql_state(header.sqlerrcode)));
	add_string(merge, "detail", texts[TEXT_DETAIL]);
	add_string(merge, "hint", texts[TEXT_HINT]);
	add_string(merge, "context", texts[TEXT_CONTEXT]);
	add_string(merge, "query", texts[TEXT_QUERY]);
	add_string(merge, "database", cstring_to_text(mals_worker_database));
	if (role != NULL)
		add_string(merge, "user", cstring_to_text(role));
	add_string(merge, "application_name", texts[TEXT_APPLICATION]);
	pid.type = jbvNumeric;
	pid.val.numeric = int64_to_numeric(header.pid);
	mals_merge_value(merge, "pid", 3, &pid, NULL);
	entry->metadata = mals_merge_end(merge);
}
