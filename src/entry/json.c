/*
 * json.c
 *		Fills in an entry from a JSON object as existing systems send it.
 *
 * A column is taken from the key of its own name or from one of its aliases, in
 * a fixed order. Whatever is not taken ends up in the metadata under its own
 * key, so nothing is lost: losers, unknown keys, and values of a kind that does
 * not fit their column. JSON null counts as not given.
 *
 * "Taking" a field empties its slot; what is still in a slot at the end is kept.
 */
#include "mals_errors.h"

#include "common/int.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "entry.h"
#include "fields.h"

/* The keys we know, in jsonb's order: by length, then by bytes. */
typedef enum Field
{
	F_ID,
	F_TS,
	F_MSG,
	F_BODY,
	F_TIME,
	F_AGENT,
	F_LEVEL,
	F_SOURCE,
	F_CONTEXT,
	F_MESSAGE,
	F_AGENT_ID,
	F_CATEGORY,
	F_EVENT_ID,
	F_METADATA,
	F_RESOLVED,
	F_SEVERITY,
	F_TRACE_ID,
	F_COMPONENT,
	F_LOG_LEVEL,
	F_PARENT_ID,
	F_TIMESTAMP,
	F_AGENT_NAME,
	F_ATTRIBUTES,
	F_CREATED_AT,
	F_EVENT_DATA,
	F_EVENT_TYPE,
	F_SESSION_ID,
	F_FINGERPRINT,
	F_RESOLVED_AT,
	F_RESOLVED_BY,
	F_SESSION_KEY,
	F_SEVERITY_TEXT,
	F_CORRELATION_ID,
	F_EVENT_TIMESTAMP,
	FIELDS
} Field;

static const MalsFieldName field_names[FIELDS] = {
	MALS_FIELD_NAME("id", F_ID),
	MALS_FIELD_NAME("ts", F_TS),
	MALS_FIELD_NAME("msg", F_MSG),
	MALS_FIELD_NAME("body", F_BODY),
	MALS_FIELD_NAME("time", F_TIME),
	MALS_FIELD_NAME("agent", F_AGENT),
	MALS_FIELD_NAME("level", F_LEVEL),
	MALS_FIELD_NAME("source", F_SOURCE),
	MALS_FIELD_NAME("context", F_CONTEXT),
	MALS_FIELD_NAME("message", F_MESSAGE),
	MALS_FIELD_NAME("agent_id", F_AGENT_ID),
	MALS_FIELD_NAME("category", F_CATEGORY),
	MALS_FIELD_NAME("event_id", F_EVENT_ID),
	MALS_FIELD_NAME("metadata", F_METADATA),
	MALS_FIELD_NAME("resolved", F_RESOLVED),
	MALS_FIELD_NAME("severity", F_SEVERITY),
	MALS_FIELD_NAME("trace_id", F_TRACE_ID),
	MALS_FIELD_NAME("component", F_COMPONENT),
	MALS_FIELD_NAME("log_level", F_LOG_LEVEL),
	MALS_FIELD_NAME("parent_id", F_PARENT_ID),
	MALS_FIELD_NAME("timestamp", F_TIMESTAMP),
	MALS_FIELD_NAME("agent_name", F_AGENT_NAME),
	MALS_FIELD_NAME("attributes", F_ATTRIBUTES),
	MALS_FIELD_NAME("created_at", F_CREATED_AT),
	MALS_FIELD_NAME("event_data", F_EVENT_DATA),
	MALS_FIELD_NAME("event_type", F_EVENT_TYPE),
	MALS_FIELD_NAME("session_id", F_SESSION_ID),
	MALS_FIELD_NAME("fingerprint", F_FINGERPRINT),
	MALS_FIELD_NAME("resolved_at", F_RESOLVED_AT),
	MALS_FIELD_NAME("resolved_by", F_RESOLVED_BY),
	MALS_FIELD_NAME("session_key", F_SESSION_KEY),
	MALS_FIELD_NAME("severity_text", F_SEVERITY_TEXT),
	MALS_FIELD_NAME("correlation_id", F_CORRELATION_ID),
	MALS_FIELD_NAME("event_timestamp", F_EVENT_TIMESTAMP),
};

/* Where each column comes from, first wins; the list ends with FIELDS. */
static const Field agent_fields[] = {F_AGENT_ID, F_AGENT, F_AGENT_NAME, FIELDS};
static const Field message_fields[] = {F_MESSAGE, F_MSG, F_BODY, F_EVENT_DATA, FIELDS};
static const Field level_fields[] = {F_LEVEL, F_SEVERITY, F_LOG_LEVEL, F_SEVERITY_TEXT, FIELDS};
static const Field time_fields[] = {F_TS,         F_TIMESTAMP, F_TIME, F_EVENT_TIMESTAMP,
									F_CREATED_AT, FIELDS};
static const Field category_fields[] = {F_CATEGORY, F_EVENT_TYPE, FIELDS};
static const Field source_fields[] = {F_SOURCE, F_COMPONENT, FIELDS};
static const Field session_fields[] = {F_SESSION_KEY, F_SESSION_ID, FIELDS};
static const Field correlation_fields[] = {F_CORRELATION_ID, FIELDS};

/* The server's own columns, dropped where a sender gives them. */
static const Field server_fields[] = {F_FINGERPRINT, F_RESOLVED, F_RESOLVED_AT, F_RESOLVED_BY,
									  FIELDS};

/* Metadata of the sender that is an object, and the name its losers get. */
static const struct
{
	Field field;
	const char *name;
} metadata_fields[] = {
	{F_METADATA, "metadata"},
	{F_CONTEXT, "context"},
	{F_ATTRIBUTES, "attributes"},
	{F_EVENT_DATA, "event_data"},
};

/* An object that is being read. */
typedef struct Reader
{
	JsonbValue values[FIELDS]; /* jbvNull: not given, or taken */
	MalsRest rest;
	JsonbValue refused_ts; /* a number no timestamp can hold, or jbvNull */
	bool message_in_data;  /* the message was taken out of event_data */
} Reader;

/* Empties a slot. */
static inline void
take(Reader *reader, Field field)
{
	reader->values[field].type = jbvNull;
}

/* Takes the first string of some fields as text; NULL if there is none. */
static text *
take_text(Reader *reader, const Field *fields)
{
	for (; *fields != FIELDS; fields++)
	{
		JsonbValue *value = &reader->values[*fields];

		if (mals_is_string(value))
		{
			take(reader, *fields);
			return mals_string_text(value);
		}
	}
	return NULL;
}

/* Tells whether a value is an object. */
static inline bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

/* Writes a value as JSON text, strings without quotes. */
static char *
value_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return numeric_normalize(value->val.numeric);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	}
}

/* Takes the agent's name, which must be a string. */
static void
take_agent(Reader *reader, MalsEntry *entry)
{
	for (const Field *field = agent_fields; *field != FIELDS; field++)
	{
		JsonbValue *value = &reader->values[*field];

		if (value->type == jbvNull)
			continue;
		if (!mals_is_string(value))
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s: must be a string", mals_entry_field(entry, "agent_id")),
					errhint("Give the agent's name as a JSON string of 1 to 64 characters."));
		entry->agent_id = mals_string_text(value);
		take(reader, *field);
		return;
	}
}

/* Reads a level's name or number. */
static bool
read_level(const JsonbValue *value, MalsLevel *level)
{
	if (mals_is_string(value))
		return mals_level_parse(value->val.string.val, value->val.string.len, level);
	if (value->type == jbvNumeric)
	{
		char *number = value_text(value);

		return mals_level_parse(number, strlen(number), level);
	}
	return false;
}

/* Takes the level. A severity may mean something else; the others must be levels. */
static void
take_level(Reader *reader, MalsEntry *entry)
{
	for (const Field *field = level_fields; *field != FIELDS; field++)
	{
		JsonbValue *value = &reader->values[*field];

		if (value->type == jbvNull)
			continue;
		if (read_level(value, &entry->level))
		{
			entry->has_level = true;
			take(reader, *field);
			return;
		}
		if (*field != F_SEVERITY)
			ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("%s: invalid input syntax for type mals_level: \"%s\" is none of %s",
						   mals_entry_field(entry, "level"), value_text(value), MALS_LEVEL_NAMES),
					errhint("A level may also be one of the aliases of these, or one of Python's "
							"numbers."));
	}
}

/* Tells whether a string is one of PostgreSQL's infinite times. */
static bool
is_infinity(const JsonbValue *value)
{
	const char *str = value->val.string.val;
	int len = value->val.string.len;

	if (len > 0 && (*str == '-' || *str == '+'))
	{
		str++;
		len--;
	}
	return len == strlen("infinity") && pg_strncasecmp(str, "infinity", len) == 0;
}

/* Reads seconds since 1970 as a time, rounded to microseconds; false if out of range. */
static bool
read_epoch(Numeric number, TimestampTz *ts)
{
	const char *digit = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	bool negative = *digit == '-';
	int64 seconds = 0;
	int64 micros = 0;

	if (negative)
		digit++;
	for (; *digit >= '0' && *digit <= '9'; digit++)
	{
		seconds = seconds * 10 + (*digit - '0');
		if (seconds > END_TIMESTAMP / USECS_PER_SEC * 2)
			return false;
	}
	if (*digit == '.')
		digit++;
	for (int64 unit = USECS_PER_SEC / 10; unit > 0 && *digit != '\0'; unit /= 10)
		micros += (*digit++ - '0') * unit;
	if (*digit >= '5')
		micros++;
	if (negative)
	{
		seconds = -seconds;
		micros = -micros;
	}

	seconds -= (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
	return !pg_mul_s64_overflow(seconds, USECS_PER_SEC, ts) &&
		   !pg_add_s64_overflow(*ts, micros, ts) && IS_VALID_TIMESTAMP(*ts);
}

/* Takes the time; created_at counts only where no other time is given. */
static void
take_time(Reader *reader, MalsEntry *entry)
{
	for (const Field *field = time_fields; *field != FIELDS; field++)
	{
		JsonbValue *value = &reader->values[*field];

		if (mals_is_string(value))
		{
			if (is_infinity(value))
				ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s: must be finite", mals_entry_field(entry, "ts")),
						errhint("Give the time of the event, or none for the current time."));
			if (!mals_parse_timestamp(value->val.string.val, value->val.string.len, &entry->ts))
				continue;
			entry->has_ts = true;
		}
		else if (value->type == jbvNumeric)
		{
			if (read_epoch(value->val.numeric, &entry->ts))
				entry->has_ts = true;
			else
				reader->refused_ts = *value;
		}
		else
			continue;

		take(reader, *field);
		take(reader, F_CREATED_AT);
		return;
	}
}

/* Reads a string as a uuid. */
static bool
read_uuid(const JsonbValue *value, pg_uuid_t *id)
{
	return mals_is_string(value) &&
		   mals_uuid_parse(value->val.string.val, value->val.string.len, id);
}

/* Takes the entry's id, its trace's and its parent's. */
static void
take_ids(Reader *reader, MalsEntry *entry)
{
	TimestampTz ts;

	if (read_uuid(&reader->values[F_ID], &entry->id))
	{
		entry->has_id = true;
		take(reader, F_ID);
	}
	else if (read_uuid(&reader->values[F_EVENT_ID], &entry->id) &&
			 mals_uuid_timestamp(&entry->id, &ts))
	{
		entry->has_id = true;
		take(reader, F_EVENT_ID);
	}

	if (read_uuid(&reader->values[F_TRACE_ID], &entry->trace_id))
	{
		entry->has_trace_id = true;
		take(reader, F_TRACE_ID);
	}
	if (read_uuid(&reader->values[F_PARENT_ID], &entry->parent_id))
	{
		entry->has_parent_id = true;
		take(reader, F_PARENT_ID);
	}
}

/* Takes the correlation id: its own, a trace id that is no uuid, or the metadata's. */
static void
take_correlation(Reader *reader, MalsEntry *entry)
{
	JsonbValue *trace_id = &reader->values[F_TRACE_ID];
	JsonbValue *metadata = &reader->values[F_METADATA];
	JsonbValue inner;

	entry->correlation_id = take_text(reader, correlation_fields);
	if (entry->correlation_id != NULL)
		return;

	if (mals_is_filled(trace_id))
	{
		entry->correlation_id = mals_string_text(trace_id);
		take(reader, F_TRACE_ID);
	}
	else if (is_object(metadata) &&
			 getKeyJsonValueFromContainer(metadata->val.binary.data, "correlation_id",
										  strlen("correlation_id"), &inner) != NULL &&
			 mals_is_filled(&inner))
		entry->correlation_id = mals_string_text(&inner);
}

/* Takes the message; without one, event_data's message or the event type is it. */
static void
take_message(Reader *reader, MalsEntry *entry)
{
	JsonbValue *data = &reader->values[F_EVENT_DATA];
	JsonbValue inner;

	entry->message = take_text(reader, message_fields);
	if (entry->message != NULL)
		return;

	if (is_object(data) &&
		getKeyJsonValueFromContainer(data->val.binary.data, "message", strlen("message"), &inner) !=
			NULL &&
		mals_is_string(&inner))
	{
		entry->message = mals_string_text(&inner);
		reader->message_in_data = true;
	}
	else
		entry->message = entry->category;
}

/* Merges an object without its message. */
static void
merge_without_message(MalsMerge *merge, JsonbContainer *object, const char *source)
{
	static const MalsFieldName message_name = MALS_FIELD_NAME("message", 0);
	JsonbValue message;
	MalsRest rest;

	mals_fields_read(object, &message_name, 1, &message, 1, &rest);
	for (int i = 0; i < rest.npairs; i++)
		mals_merge_value(merge, rest.pairs[i].key.val.string.val, rest.pairs[i].key.val.string.len,
						 &rest.pairs[i].value, source);
}

/* Makes a datum of a container. */
static Jsonb *
container_jsonb(const JsonbValue *value)
{
	Size size = VARHDRSZ + value->val.binary.len;
	Jsonb *result = palloc(size);

	SET_VARSIZE(result, size);
	memcpy(&result->root, value->val.binary.data, value->val.binary.len);
	return result;
}

/*
 * Gathers the metadata: the sender's objects in order, then all that is left.
 * One object alone, the usual case, is taken as it is.
 */
static void
take_metadata(Reader *reader, MalsEntry *entry)
{
	JsonbValue objects[lengthof(metadata_fields)];
	int nobjects = 0;
	int last = 0;
	int nleft = reader->rest.npairs;
	JsonbValue *other = &reader->values[F_METADATA];
	MalsMerge *merge;

	for (int i = 0; i < lengthof(metadata_fields); i++)
	{
		Field field = metadata_fields[i].field;

		objects[i].type = jbvNull;
		if (!is_object(&reader->values[field]))
			continue;
		if (JsonContainerSize(reader->values[field].val.binary.data) > 0)
		{
			objects[i] = reader->values[field];
			nobjects++;
			last = i;
		}
		take(reader, field);
	}

	for (int i = 0; i < FIELDS; i++)
	{
		if (reader->values[i].type != jbvNull)
			nleft++;
	}
	if (reader->refused_ts.type != jbvNull)
		nleft++;

	if (nobjects == 0 && nleft == 0)
		return;
	if (nobjects == 1 && nleft == 0 && !reader->message_in_data)
	{
		entry->metadata = container_jsonb(&objects[last]);
		return;
	}

	merge = mals_merge_begin();
	if (reader->refused_ts.type != jbvNull)
		mals_merge_value(merge, "mals.ts", strlen("mals.ts"), &reader->refused_ts, "entry");
	if (other->type != jbvNull)
	{
		mals_merge_value(merge, "value", strlen("value"), other, "metadata");
		take(reader, F_METADATA);
	}
	for (int i = 0; i < lengthof(metadata_fields); i++)
	{
		if (objects[i].type == jbvNull)
			continue;
		if (metadata_fields[i].field == F_EVENT_DATA && reader->message_in_data)
			merge_without_message(merge, objects[i].val.binary.data, metadata_fields[i].name);
		else
			mals_merge_object(merge, objects[i].val.binary.data, metadata_fields[i].name);
	}
	for (int i = 0; i < FIELDS; i++)
	{
		if (reader->values[i].type != jbvNull)
			mals_merge_value(merge, field_names[i].name, field_names[i].len, &reader->values[i],
							 "entry");
	}
	for (int i = 0; i < reader->rest.npairs; i++)
		mals_merge_value(merge, reader->rest.pairs[i].key.val.string.val,
						 reader->rest.pairs[i].key.val.string.len, &reader->rest.pairs[i].value,
						 "entry");
	entry->metadata = mals_merge_end(merge);
}

/* Fills in an entry from a JSON object. */
void
mals_entry_from_json(MalsEntry *entry, JsonbContainer *object)
{
	Reader reader;

	if (object == NULL || !JsonContainerIsObject(object))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s: must be a JSON object",
					   entry->index < 0 ? "entry" : psprintf("entry %d", entry->index)),
				errhint("An entry looks like {\"agent_id\": \"crypto\", \"message\": \"Order "
						"placed\", \"level\": \"info\"}."));

	mals_fields_read(object, field_names, FIELDS, reader.values, FIELDS, &reader.rest);
	reader.refused_ts.type = jbvNull;
	reader.message_in_data = false;

	for (const Field *field = server_fields; *field != FIELDS; field++)
		take(&reader, *field);

	take_agent(&reader, entry);
	take_level(&reader, entry);
	take_time(&reader, entry);
	take_ids(&reader, entry);
	take_correlation(&reader, entry);
	entry->category = take_text(&reader, category_fields);
	entry->source = take_text(&reader, source_fields);
	entry->session_key = take_text(&reader, session_fields);
	take_message(&reader, entry);
	take_metadata(&reader, entry);
	if (reader.rest.pairs != NULL)
		pfree(reader.rest.pairs);
}
