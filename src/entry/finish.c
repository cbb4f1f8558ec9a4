/*
 * finish.c
 *		The one place that completes an entry: the session's context, defaults,
 *		limits, secrets, the clock rule, id and fingerprint.
 */
#include "mals_errors.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "entry/entry.h"
#include "group/group.h"
#include "partition/partition.h"
#include "redact/redact.h"

#define MAX_AGENT_CHARS 64
#define MAX_MESSAGE_BYTES (64 * 1024 * 1024)
#define MAX_COLUMN_CHARS 256

/*
 * What finish adds to the metadata under names of its own: at most ts, id and
 * the four cut columns.
 */
typedef struct Additions
{
	int n;
	const char *key[6];
	JsonbValue value[6];
} Additions;

void
mals_entry_init(MalsEntry *entry, int index)
{
	memset(entry, 0, sizeof(*entry));
	entry->index = index;
}

const char *
mals_entry_field(const MalsEntry *entry, const char *field)
{
	return entry->index < 0 ? field : psprintf("entry %d: %s", entry->index, field);
}

/* Notes a string that goes into the metadata as mals.<column>. */
static void
add_string(Additions *additions, const char *key, const char *data, int len)
{
	JsonbValue *value = &additions->value[additions->n];

	value->type = jbvString;
	value->val.string.val = (char *) data;
	value->val.string.len = len;
	additions->key[additions->n++] = key;
}

/* Tells how many bytes the first limit characters take; -1 if all of it is shorter. */
static int
bytes_of_chars(const text *value, int limit)
{
	int len = VARSIZE_ANY_EXHDR(value);
	int clipped;

	if (len <= limit)
		return -1;
	clipped = pg_mbcharcliplen(VARDATA_ANY(value), len, limit);
	return clipped < len ? clipped : -1;
}

/* Cuts a column that is too long, and keeps the whole of it in the metadata. */
static void
cut_column(text **value, const char *key, Additions *additions)
{
	int len;

	if (*value == NULL || (len = bytes_of_chars(*value, MAX_COLUMN_CHARS)) < 0)
		return;
	add_string(additions, key, VARDATA_ANY(*value), VARSIZE_ANY_EXHDR(*value));
	*value = cstring_to_text_with_len(VARDATA_ANY(*value), len);
}

/* Takes a text setting where the entry has nothing. */
static void
default_text(text **value, const char *setting)
{
	if (*value == NULL && setting != NULL && *setting != '\0')
		*value = cstring_to_text(setting);
}

/* Takes the trace from a correlation id of the form kind-<32 hex>. */
static void
trace_from_correlation(MalsEntry *entry)
{
	const char *data;
	int len;

	if (entry->has_trace_id || entry->correlation_id == NULL)
		return;
	data = VARDATA_ANY(entry->correlation_id);
	len = VARSIZE_ANY_EXHDR(entry->correlation_id);
	if (len < 34 || data[len - 33] != '-' || memchr(data + len - 32, '-', 32) != NULL)
		return;
	entry->has_trace_id = mals_uuid_parse(data + len - 32, 32, &entry->trace_id);
}

/* Fills in what the sender left out from the session's context. */
static void
fill_context(MalsEntry *entry)
{
	const pg_uuid_t *id;

	trace_from_correlation(entry);
	default_text(&entry->agent_id, mals_agent_id);
	default_text(&entry->category, mals_category);
	default_text(&entry->source, mals_source);
	default_text(&entry->session_key, mals_session_key);
	default_text(&entry->correlation_id, mals_correlation_id);
	if (!entry->has_trace_id && (id = mals_default_trace_id()) != NULL)
	{
		entry->trace_id = *id;
		entry->has_trace_id = true;
	}
	if (!entry->has_parent_id && (id = mals_default_parent_id()) != NULL)
	{
		entry->parent_id = *id;
		entry->has_parent_id = true;
	}
	trace_from_correlation(entry);
	if (entry->source == NULL)
		entry->source = cstring_to_text_with_len("api", 3);
	if (!entry->has_level && !mals_default_level(&entry->level))
		entry->level = MALS_LEVEL_INFO;
	entry->has_level = true;
}

void
mals_check_agent_id(const text *agent_id, const char *field)
{
	if (agent_id == NULL || VARSIZE_ANY_EXHDR(agent_id) == 0)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s: a value is required", field),
				errhint("Name the agent that logs, or set mals.agent_id for the session."));
	if (bytes_of_chars(agent_id, MAX_AGENT_CHARS) >= 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: longer than %d characters", field, MAX_AGENT_CHARS),
				errhint("Use a short name for the agent and keep the rest in metadata."));
}

/* Takes secrets out of the texts, before any of them is cut, kept or hashed. */
static void
redact_texts(MalsEntry *entry)
{
	entry->message = mals_redact_text(entry->message);
	entry->category = mals_redact_text(entry->category);
	entry->source = mals_redact_text(entry->source);
	entry->session_key = mals_redact_text(entry->session_key);
	entry->correlation_id = mals_redact_text(entry->correlation_id);
}

/* Raises an error for what is missing or too long. */
static void
check_required(const MalsEntry *entry)
{
	mals_check_agent_id(entry->agent_id, mals_entry_field(entry, "agent_id"));
	if (entry->message == NULL)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("%s: a value is required", mals_entry_field(entry, "message")),
				errhint("Give the text to log; it may be empty."));
	if (VARSIZE_ANY_EXHDR(entry->message) > MAX_MESSAGE_BYTES)
		ereport(
			ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s: longer than 64 MB", mals_entry_field(entry, "message")),
			errdetail("The message has %lld bytes.", (long long) VARSIZE_ANY_EXHDR(entry->message)),
			errhint("Split the message, or store the data elsewhere and log a reference."));
}

/* Checks a sender's id and takes the entry's time from it. */
static void
check_id(MalsEntry *entry)
{
	TimestampTz id_ts;

	if (!mals_uuid_timestamp(&entry->id, &id_ts))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: not a version 7 UUID", mals_entry_field(entry, "id")),
				errhint("Leave the id out, or give a UUIDv7 whose time is the entry's ts."));
	if (entry->has_ts)
	{
		/* both since 1970, so that milliseconds are counted from the same point */
		int64 given = entry->ts / 1000 - (entry->ts % 1000 < 0);
		int64 carried = id_ts / 1000 - (id_ts % 1000 < 0);

		if (given != carried)
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s: does not carry the time of ts", mals_entry_field(entry, "id")),
					errdetail("The id's time is %s, ts is %s.", timestamptz_to_str(id_ts),
							  pstrdup(timestamptz_to_str(entry->ts))),
					errhint("Leave ts out: it is taken from the id."));
	}
	entry->ts = id_ts;
	entry->has_ts = true;
}

/* Tells whether an age is within mals.max_past, by default the longest retention. */
static bool
is_within_past(int64 age)
{
	int64 most;

	if (mals_max_past(&most))
		return age <= most;
	return age <= mals_retention || age <= mals_policy_longest();
}

/* Tells whether the clock rule lets an entry be stored at its own time. */
static bool
clock_accepts(TimestampTz ts, TimestampTz now)
{
	return mals_uuid_holds(ts) && ts - now <= mals_max_future && is_within_past(now - ts) &&
		   mals_partition_available(ts);
}

/* Hashes (agent_id, the sender's id) into a key that stands for a refused id. */
static void
make_refused_key(MalsEntry *entry)
{
	const unsigned char *agent = (const unsigned char *) VARDATA_ANY(entry->agent_id);
	int len = VARSIZE_ANY_EXHDR(entry->agent_id);
	uint64 part[2];

	for (int i = 0; i < 2; i++)
		part[i] = DatumGetUInt64(hash_any_extended(agent, len, i)) ^
				  DatumGetUInt64(hash_any_extended(entry->id.data, UUID_LEN, i + 2));
	memcpy(entry->refused_key.data, part, UUID_LEN);
	entry->refused_id = entry->id;
	entry->has_refused_key = true;
	entry->has_id = false;
}

/* Notes an id that goes into the metadata as mals.id. */
static void
add_refused_id(MalsEntry *entry, Additions *additions)
{
	char *text = palloc(37);

	mals_uuid_text(&entry->id, text);
	add_string(additions, "mals.id", text, 36);
	make_refused_key(entry);
}

/* Has an entry stored at the time received; its own time and id go into the metadata. */
static void
refuse_time(MalsEntry *entry, Additions *additions)
{
	JsonbValue *value = &additions->value[additions->n];
	char *buf = palloc(MAXDATELEN + 1);
	int utc = 0;

	add_string(additions, "mals.ts", buf, 0);
	JsonEncodeDateTime(buf, TimestampTzGetDatum(entry->ts), TIMESTAMPTZOID, &utc);
	value->val.string.len = strlen(buf);
	if (entry->has_id)
		add_refused_id(entry, additions);
	entry->has_ts = false;
	entry->ts = entry->created_at;
}

/* Settles time and id; what the clock rule refuses is kept in the metadata. */
static void
settle_time(MalsEntry *entry, Additions *additions)
{
	entry->created_at = GetCurrentTimestamp();
	if (entry->has_ts && TIMESTAMP_NOT_FINITE(entry->ts))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: must be finite", mals_entry_field(entry, "ts")),
				errhint("Leave ts out for the current time."));
	if (entry->has_id)
		check_id(entry);

	if (entry->has_ts && !clock_accepts(entry->ts, entry->created_at))
		refuse_time(entry, additions);
	if (!entry->has_ts)
		entry->ts = entry->created_at;
	if (!entry->has_id)
		mals_uuid_make(entry->ts, &entry->id);
}

/* The metadata of entries without any; made once. */
static Jsonb *
empty_object(void)
{
	static Jsonb *empty = NULL;

	if (empty == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		empty = mals_merge_end(mals_merge_begin());
		MemoryContextSwitchTo(old);
	}
	return empty;
}

/* Makes the metadata an object, with the additions and the session's context in it. */
static void
settle_metadata(MalsEntry *entry, const Additions *additions)
{
	Jsonb *context = mals_context_object();
	bool object = entry->metadata == NULL || JB_ROOT_IS_OBJECT(entry->metadata);
	MalsMerge *merge;

	if (object && additions->n == 0 && context == NULL)
	{
		if (entry->metadata == NULL)
			entry->metadata = empty_object();
		return;
	}

	merge = mals_merge_begin();
	for (int i = 0; i < additions->n; i++)
		mals_merge_value(merge, additions->key[i], strlen(additions->key[i]), &additions->value[i],
						 NULL);
	if (entry->metadata != NULL && object)
		mals_merge_object(merge, &entry->metadata->root, "metadata");
	else if (entry->metadata != NULL)
	{
		JsonbValue value;

		if (!JsonbExtractScalar(&entry->metadata->root, &value))
			JsonbToJsonbValue(entry->metadata, &value);
		mals_merge_value(merge, "value", 5, &value, "metadata");
	}
	if (context != NULL)
		mals_merge_object(merge, &context->root, NULL);
	entry->metadata = mals_merge_end(merge);
}

/* Puts additions over the metadata of a finished entry, and gives it another id. */
static void
add_to_finished(MalsEntry *entry, const Additions *additions)
{
	MalsMerge *merge = mals_merge_begin();

	for (int i = 0; i < additions->n; i++)
		mals_merge_value(merge, additions->key[i], strlen(additions->key[i]), &additions->value[i],
						 NULL);
	mals_merge_object(merge, &entry->metadata->root, "metadata");
	entry->metadata = mals_merge_end(merge);
	mals_uuid_make(entry->ts, &entry->id);
}

void
mals_entry_refuse_id(MalsEntry *entry)
{
	Additions additions;

	additions.n = 0;
	add_refused_id(entry, &additions);
	add_to_finished(entry, &additions);
}

void
mals_entry_refuse_time(MalsEntry *entry)
{
	Additions additions;

	additions.n = 0;
	refuse_time(entry, &additions);
	add_to_finished(entry, &additions);
}

bool
mals_entry_finish(MalsEntry *entry)
{
	Additions additions;

	additions.n = 0;
	fill_context(entry);
	check_required(entry);
	if (entry->level < mals_min_level())
		return false;

	if (mals_redacting)
		redact_texts(entry);
	settle_time(entry, &additions);
	cut_column(&entry->category, "mals.category", &additions);
	cut_column(&entry->source, "mals.source", &additions);
	cut_column(&entry->session_key, "mals.session_key", &additions);
	cut_column(&entry->correlation_id, "mals.correlation_id", &additions);
	settle_metadata(entry, &additions);
	if (mals_redacting)
		entry->metadata = mals_redact_jsonb(entry->metadata);
	entry->fingerprint = mals_fingerprint_entry(VARDATA_ANY(entry->message),
												VARSIZE_ANY_EXHDR(entry->message), entry->metadata);
	return true;
}

/* Raises an error for a column that is longer than finish leaves it. */
static void
check_column(const text *value, const char *name)
{
	if (value != NULL && bytes_of_chars(value, MAX_COLUMN_CHARS) >= 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: longer than %d characters", name, MAX_COLUMN_CHARS),
				errhint("mals stores no such entry."));
}

void
mals_entry_check(const MalsEntry *entry)
{
	TimestampTz id_ts;

	check_required(entry);
	if (!entry->has_id || !entry->has_ts || !entry->has_level || entry->source == NULL ||
		entry->metadata == NULL || !JB_ROOT_IS_OBJECT(entry->metadata) ||
		TIMESTAMP_NOT_FINITE(entry->created_at))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("a column of the entry is missing or impossible"),
				errhint("Stored entries have id, ts, created_at, level, source, fingerprint, and "
						"metadata that is an object."));
	if (!mals_uuid_timestamp(&entry->id, &id_ts) || id_ts != entry->ts)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: does not carry the time of ts", mals_entry_field(entry, "id")),
				errhint("Ids of stored entries are version 7 UUIDs of their ts."));
	check_column(entry->category, "category");
	check_column(entry->source, "source");
	check_column(entry->session_key, "session_key");
	check_column(entry->correlation_id, "correlation_id");
}
