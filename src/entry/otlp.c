/*
 * otlp.c
 *		Makes entries of an OpenTelemetry ExportLogsServiceRequest in JSON.
 *
 * A request is resourceLogs[].scopeLogs[].logRecords[]; what is said of the
 * resource and of the scope holds for all their records. Field names are taken
 * in camelCase (OTLP/JSON) and in snake_case (protobuf's names), 64-bit integers
 * as numbers and as strings. A field that is absent, null or has protobuf's
 * default (0, "", ids of zeros) is not given.
 *
 * What has no column goes to the metadata: a record's attributes under their
 * own keys, the rest under the fields' snake_case names. A malformed request is
 * an error that names the path of what is wrong.
 */
#include "mals_errors.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "entry.h"
#include "otlp.h"

/* What a record has from its resource and scope. */
typedef struct Origin
{
	JsonbValue resource; /* jbvNull: none */
	JsonbValue scope;
	text *service_name;
	text *scope_name;
} Origin;

/* A request on its way to the sink. */
typedef struct Request
{
	MalsEntrySink sink;
	void *arg;
	int nrecords;
	MemoryContext record_context; /* reset after every record */
} Request;

/* The fields of the messages, names in jsonb's order of keys. */

static const MalsFieldName request_names[] = {
	MALS_FIELD_NAME("resourceLogs", 0),
	MALS_FIELD_NAME("resource_logs", 0),
};

enum
{
	RESOURCE_LOGS_RESOURCE,
	RESOURCE_LOGS_SCOPES,
	RESOURCE_LOGS_SCHEMA,
	RESOURCE_LOGS_FIELDS
};

static const MalsFieldName resource_logs_names[] = {
	MALS_FIELD_NAME("resource", RESOURCE_LOGS_RESOURCE),
	MALS_FIELD_NAME("schemaUrl", RESOURCE_LOGS_SCHEMA),
	MALS_FIELD_NAME("scopeLogs", RESOURCE_LOGS_SCOPES),
	MALS_FIELD_NAME("schema_url", RESOURCE_LOGS_SCHEMA),
	MALS_FIELD_NAME("scope_logs", RESOURCE_LOGS_SCOPES),
};

enum
{
	SCOPE_LOGS_SCOPE,
	SCOPE_LOGS_RECORDS,
	SCOPE_LOGS_SCHEMA,
	SCOPE_LOGS_FIELDS
};

static const MalsFieldName scope_logs_names[] = {
	MALS_FIELD_NAME("scope", SCOPE_LOGS_SCOPE),
	MALS_FIELD_NAME("schemaUrl", SCOPE_LOGS_SCHEMA),
	MALS_FIELD_NAME("logRecords", SCOPE_LOGS_RECORDS),
	MALS_FIELD_NAME("schema_url", SCOPE_LOGS_SCHEMA),
	MALS_FIELD_NAME("log_records", SCOPE_LOGS_RECORDS),
};

/* Resource and InstrumentationScope; a resource has no name and version. */
enum
{
	ORIGIN_NAME,
	ORIGIN_VERSION,
	ORIGIN_ATTRIBUTES,
	ORIGIN_DROPPED,
	ORIGIN_FIELDS
};

static const MalsFieldName origin_names[] = {
	MALS_FIELD_NAME("name", ORIGIN_NAME),
	MALS_FIELD_NAME("version", ORIGIN_VERSION),
	MALS_FIELD_NAME("attributes", ORIGIN_ATTRIBUTES),
	MALS_FIELD_NAME("droppedAttributesCount", ORIGIN_DROPPED),
	MALS_FIELD_NAME("dropped_attributes_count", ORIGIN_DROPPED),
};

enum
{
	RECORD_BODY,
	RECORD_FLAGS,
	RECORD_SPAN_ID,
	RECORD_TRACE_ID,
	RECORD_EVENT_NAME,
	RECORD_ATTRIBUTES,
	RECORD_TIME,
	RECORD_OBSERVED,
	RECORD_SEVERITY_TEXT,
	RECORD_SEVERITY_NUMBER,
	RECORD_DROPPED,
	RECORD_FIELDS
};

static const MalsFieldName record_names[] = {
	MALS_FIELD_NAME("body", RECORD_BODY),
	MALS_FIELD_NAME("flags", RECORD_FLAGS),
	MALS_FIELD_NAME("spanId", RECORD_SPAN_ID),
	MALS_FIELD_NAME("span_id", RECORD_SPAN_ID),
	MALS_FIELD_NAME("traceId", RECORD_TRACE_ID),
	MALS_FIELD_NAME("trace_id", RECORD_TRACE_ID),
	MALS_FIELD_NAME("eventName", RECORD_EVENT_NAME),
	MALS_FIELD_NAME("attributes", RECORD_ATTRIBUTES),
	MALS_FIELD_NAME("event_name", RECORD_EVENT_NAME),
	MALS_FIELD_NAME("severityText", RECORD_SEVERITY_TEXT),
	MALS_FIELD_NAME("timeUnixNano", RECORD_TIME),
	MALS_FIELD_NAME("severity_text", RECORD_SEVERITY_TEXT),
	MALS_FIELD_NAME("severityNumber", RECORD_SEVERITY_NUMBER),
	MALS_FIELD_NAME("time_unix_nano", RECORD_TIME),
	MALS_FIELD_NAME("severity_number", RECORD_SEVERITY_NUMBER),
	MALS_FIELD_NAME("observedTimeUnixNano", RECORD_OBSERVED),
	MALS_FIELD_NAME("droppedAttributesCount", RECORD_DROPPED),
	MALS_FIELD_NAME("observed_time_unix_nano", RECORD_OBSERVED),
	MALS_FIELD_NAME("dropped_attributes_count", RECORD_DROPPED),
};

/* Attributes of a record that fill columns, first wins; exception.* become an object. */
enum
{
	AGENT_FIRST = 0,
	AGENT_LAST = 2,
	SESSION_FIRST = 3,
	SESSION_LAST = 4,
	EXCEPTION_FIRST = 5,
	EXCEPTION_LAST = 7,
	PICKS = 8
};

static const char *const pick_names[PICKS] = {
	"gen_ai.agent.name", "gen_ai.agent.id", "agent.id",          "gen_ai.conversation.id",
	"session.id",        "exception.type",  "exception.message", "exception.stacktrace",
};

/* Merges a value, if it is given. */
static void
merge_given(MalsMerge *merge, const char *key, const JsonbValue *value)
{
	if (value->type != jbvNull)
		mals_merge_value(merge, key, strlen(key), value, "otlp");
}

/* Merges a string, if there is something in it. */
static void
merge_string(MalsMerge *merge, const char *key, const JsonbValue *value, const OtlpPath *parent,
			 const char *name)
{
	if (mals_otlp_has_string(value, parent, name))
		merge_given(merge, key, value);
}

/* Merges a number, unless it is zero. */
static void
merge_number(MalsMerge *merge, const char *key, const JsonbValue *value)
{
	uint64 number;

	if (!mals_otlp_uint64(value, &number) || number != 0)
		merge_given(merge, key, value);
}

/* Merges pairs: attributes, or fields we do not know. */
static void
merge_pairs(MalsMerge *merge, const MalsRest *pairs, const char *source)
{
	for (int i = 0; i < pairs->npairs; i++)
	{
		const JsonbValue *key = &pairs->pairs[i].key;

		mals_merge_value(merge, key->val.string.val, key->val.string.len, &pairs->pairs[i].value,
						 source);
	}
}

/* Ends a merge; an object without keys is no value. */
static void
end_object(MalsMerge *merge, JsonbValue *result)
{
	Jsonb *object = mals_merge_end(merge);

	result->type = jbvNull;
	if (JB_ROOT_COUNT(object) > 0)
		JsonbToJsonbValue(object, result);
}

/* Tells whether a JSON string is this one. */
static inline bool
string_is(const JsonbValue *value, const char *str)
{
	return value->val.string.len == strlen(str) &&
		   memcmp(value->val.string.val, str, value->val.string.len) == 0;
}

/* Reads a resource: an object of its attributes. */
static void
read_resource(JsonbValue *resource_logs, const MalsRest *logs_rest, const OtlpPath *logs_path,
			  Origin *origin)
{
	OtlpPath path = {logs_path, "resource", -1};
	MalsMerge *merge = mals_merge_begin();
	JsonbValue fields[ORIGIN_FIELDS];
	JsonbValue key;
	JsonbValue value;
	MalsRest rest;
	OtlpElements attributes;

	origin->service_name = NULL;
	mals_otlp_message(&resource_logs[RESOURCE_LOGS_RESOURCE], &path, origin_names,
					  lengthof(origin_names), fields, ORIGIN_FIELDS, &rest);
	mals_otlp_begin(&attributes, &fields[ORIGIN_ATTRIBUTES], &path, "attributes");
	while (mals_otlp_next_pair(&attributes, &key, &value))
	{
		if (origin->service_name == NULL && string_is(&key, "service.name") &&
			mals_is_filled(&value))
			origin->service_name = mals_string_text(&value);
		mals_merge_value(merge, key.val.string.val, key.val.string.len, &value, "attributes");
	}
	merge_given(merge, "name", &fields[ORIGIN_NAME]);
	merge_given(merge, "version", &fields[ORIGIN_VERSION]);
	merge_number(merge, "dropped_attributes_count", &fields[ORIGIN_DROPPED]);
	merge_string(merge, "schema_url", &resource_logs[RESOURCE_LOGS_SCHEMA], logs_path, "schemaUrl");
	merge_pairs(merge, &rest, "otlp");
	merge_pairs(merge, logs_rest, "otlp");
	end_object(merge, &origin->resource);
}

/* Reads a scope: an object of its name, its version and its attributes. */
static void
read_scope(JsonbValue *scope_logs, const MalsRest *logs_rest, const OtlpPath *logs_path,
		   Origin *origin)
{
	OtlpPath path = {logs_path, "scope", -1};
	MalsMerge *merge = mals_merge_begin();
	JsonbValue fields[ORIGIN_FIELDS];
	JsonbValue key;
	JsonbValue value;
	MalsRest rest;
	OtlpElements attributes;

	mals_otlp_message(&scope_logs[SCOPE_LOGS_SCOPE], &path, origin_names, lengthof(origin_names),
					  fields, ORIGIN_FIELDS, &rest);
	origin->scope_name = mals_otlp_has_string(&fields[ORIGIN_NAME], &path, "name")
							 ? mals_string_text(&fields[ORIGIN_NAME])
							 : cstring_to_text("otlp");
	merge_string(merge, "name", &fields[ORIGIN_NAME], &path, "name");
	merge_string(merge, "version", &fields[ORIGIN_VERSION], &path, "version");
	mals_otlp_begin(&attributes, &fields[ORIGIN_ATTRIBUTES], &path, "attributes");
	while (mals_otlp_next_pair(&attributes, &key, &value))
		mals_merge_value(merge, key.val.string.val, key.val.string.len, &value, "attributes");
	merge_number(merge, "dropped_attributes_count", &fields[ORIGIN_DROPPED]);
	merge_string(merge, "schema_url", &scope_logs[SCOPE_LOGS_SCHEMA], logs_path, "schemaUrl");
	merge_pairs(merge, &rest, "otlp");
	merge_pairs(merge, logs_rest, "otlp");
	end_object(merge, &origin->scope);
}

/* Remembers an attribute that fills a column; true if it is an exception's, taken out. */
static bool
pick_attribute(JsonbValue *picks, const JsonbValue *key, const JsonbValue *value)
{
	for (int i = 0; i < PICKS; i++)
	{
		if (!string_is(key, pick_names[i]))
			continue;
		if (picks[i].type != jbvNull)
			return false;
		if (i >= EXCEPTION_FIRST)
		{
			picks[i] = *value;
			return value->type != jbvNull;
		}
		if (mals_is_filled(value))
			picks[i] = *value;
		return false;
	}
	return false;
}

/* Gives the first pick of a range as text; NULL if there is none. */
static text *
picked_text(const JsonbValue *picks, int first, int last)
{
	for (int i = first; i <= last; i++)
	{
		if (picks[i].type != jbvNull)
			return mals_string_text(&picks[i]);
	}
	return NULL;
}

/* Reads a record's attributes: agent, session, exception, and the pairs for metadata. */
static void
read_attributes(const JsonbValue *attributes, const OtlpPath *path, MalsRest *pairs,
				MalsMerge *merge, MalsEntry *entry)
{
	JsonbValue picks[PICKS];
	JsonbValue exception_value;
	OtlpElements elements;
	MalsMerge *exception = mals_merge_begin();

	for (int i = 0; i < PICKS; i++)
		picks[i].type = jbvNull;
	mals_otlp_begin(&elements, attributes, path, "attributes");
	pairs->pairs = palloc_array(JsonbPair, elements.count);
	pairs->npairs = 0;
	for (;;)
	{
		JsonbPair *pair = &pairs->pairs[pairs->npairs];

		if (!mals_otlp_next_pair(&elements, &pair->key, &pair->value))
			break;
		if (!pick_attribute(picks, &pair->key, &pair->value))
			pairs->npairs++;
	}

	entry->agent_id = picked_text(picks, AGENT_FIRST, AGENT_LAST);
	entry->session_key = picked_text(picks, SESSION_FIRST, SESSION_LAST);
	for (int i = EXCEPTION_FIRST; i <= EXCEPTION_LAST; i++)
		merge_given(exception, pick_names[i] + strlen("exception."), &picks[i]);
	end_object(exception, &exception_value);
	merge_given(merge, "exception", &exception_value);
}

/* Reads a record's body: the message, and metadata if it is no string. */
static void
read_body(const JsonbValue *body, const OtlpPath *record, MalsMerge *merge, MalsEntry *entry)
{
	OtlpPath path = {record, "body", -1};
	JsonbValue value;
	Jsonb *json;

	switch (mals_otlp_any(body, &path, &value))
	{
		case OTLP_STRING:
			entry->message = mals_string_text(&value);
			break;
		case OTLP_EMPTY:
			entry->message = entry->category != NULL ? entry->category : cstring_to_text("");
			break;
		default:
			json = JsonbValueToJsonb(&value);
			entry->message = cstring_to_text(JsonbToCString(NULL, &json->root, VARSIZE(json)));
			if (!JB_ROOT_IS_SCALAR(json))
				JsonbToJsonbValue(json, &value);
			merge_given(merge, "body", &value);
			break;
	}
}

/* Reads a severity by OpenTelemetry's short name, such as INFO or ERROR3. */
static bool
read_severity_name(const char *str, int len, int64 *number)
{
	static const char *const names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
	int step = 1;

	if (len > 0 && str[len - 1] >= '2' && str[len - 1] <= '4')
		step = str[--len] - '0';
	for (int i = 0; i < lengthof(names); i++)
	{
		if (len == strlen(names[i]) && pg_strncasecmp(str, names[i], len) == 0)
		{
			*number = i * 4 + step;
			return true;
		}
	}
	return false;
}

/* Reads a severity number: an integer, or the name of protobuf's enum; 0 if not given. */
static int64
read_severity_number(const JsonbValue *value, const OtlpPath *record)
{
	static const char prefix[] = "SEVERITY_NUMBER_";
	int64 number = 0;

	if (value->type == jbvNull || mals_otlp_int64(value, &number))
		return number;
	if (mals_is_string(value) && value->val.string.len > strlen(prefix) &&
		memcmp(value->val.string.val, prefix, strlen(prefix)) == 0 &&
		read_severity_name(value->val.string.val + strlen(prefix),
						   value->val.string.len - strlen(prefix), &number))
		return number;
	if (!mals_is_string(value) || !string_is(value, "SEVERITY_NUMBER_UNSPECIFIED"))
		mals_otlp_malformed_field(record, "severityNumber",
								  "an integer or the name of a SeverityNumber");
	return 0;
}

/*
 * Reads a record's level. What the level does not say is metadata: a number
 * between the named ones or outside their range, a text beside a number, a text
 * that names no level.
 */
static void
read_severity(const JsonbValue *fields, const OtlpPath *record, MalsMerge *merge, MalsEntry *entry)
{
	const JsonbValue *number_field = &fields[RECORD_SEVERITY_NUMBER];
	const JsonbValue *text_field = &fields[RECORD_SEVERITY_TEXT];
	int64 number = read_severity_number(number_field, record);
	bool has_text = mals_otlp_has_string(text_field, record, "severityText");

	entry->has_level = mals_level_from_otel_number(number, &entry->level);
	if (number != 0 && (!entry->has_level || number % 4 != 1))
		merge_given(merge, "severity_number", number_field);

	if (!entry->has_level && has_text)
	{
		const char *str = text_field->val.string.val;
		int len = text_field->val.string.len;

		if (mals_level_parse(str, len, &entry->level) ||
			(read_severity_name(str, len, &number) &&
			 mals_level_from_otel_number(number, &entry->level)))
		{
			entry->has_level = true;
			return;
		}
	}
	if (has_text)
		merge_given(merge, "severity_text", text_field);
	if (!entry->has_level)
		entry->level = MALS_LEVEL_INFO;
	entry->has_level = true;
}

/* Reads nanoseconds since 1970; false if not given. */
static bool
read_nanos(const JsonbValue *value, const OtlpPath *record, const char *name, TimestampTz *ts)
{
	uint64 nanos = 0;

	if (value->type != jbvNull && !mals_otlp_uint64(value, &nanos))
		mals_otlp_malformed_field(record, name, "an unsigned 64-bit integer");
	*ts =
		(int64) (nanos / 1000) - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) USECS_PER_DAY;
	return nanos != 0;
}

/* Reads a record's time; the time it was observed serves, or is metadata. */
static void
read_time(const JsonbValue *fields, const OtlpPath *record, MalsMerge *merge, MalsEntry *entry)
{
	TimestampTz observed;
	bool has_observed =
		read_nanos(&fields[RECORD_OBSERVED], record, "observedTimeUnixNano", &observed);

	entry->has_ts = read_nanos(&fields[RECORD_TIME], record, "timeUnixNano", &entry->ts);
	if (entry->has_ts && has_observed)
		merge_given(merge, "observed_time_unix_nano", &fields[RECORD_OBSERVED]);
	else if (has_observed)
	{
		entry->ts = observed;
		entry->has_ts = true;
	}
}

/* Tells whether an id is given: a string of something else than zeros. */
static bool
has_id(const JsonbValue *value, const OtlpPath *record, const char *name)
{
	if (!mals_otlp_has_string(value, record, name))
		return false;
	for (int i = 0; i < value->val.string.len; i++)
	{
		if (value->val.string.val[i] != '0')
			return true;
	}
	return false;
}

/*
 * Fills in an entry from a record. Its metadata merges what has a fixed place
 * there, then the attributes, then the other fields.
 */
static void
read_record(const JsonbValue *record, const OtlpPath *path, const Origin *origin, MalsEntry *entry)
{
	MalsMerge *merge = mals_merge_begin();
	JsonbValue fields[RECORD_FIELDS];
	const JsonbValue *trace_id = &fields[RECORD_TRACE_ID];
	MalsRest rest;
	MalsRest attributes;

	if (record->type == jbvNull)
		mals_otlp_malformed(path, "an object");
	mals_otlp_message(record, path, record_names, lengthof(record_names), fields, RECORD_FIELDS,
					  &rest);

	read_attributes(&fields[RECORD_ATTRIBUTES], path, &attributes, merge, entry);
	if (entry->agent_id == NULL)
		entry->agent_id = origin->service_name;
	entry->source = origin->scope_name;
	if (mals_otlp_has_string(&fields[RECORD_EVENT_NAME], path, "eventName"))
		entry->category = mals_string_text(&fields[RECORD_EVENT_NAME]);
	read_body(&fields[RECORD_BODY], path, merge, entry);
	if (has_id(&fields[RECORD_SPAN_ID], path, "spanId"))
		merge_given(merge, "span_id", &fields[RECORD_SPAN_ID]);
	merge_given(merge, "resource", &origin->resource);
	merge_given(merge, "scope", &origin->scope);

	merge_pairs(merge, &attributes, "attributes");

	read_severity(fields, path, merge, entry);
	read_time(fields, path, merge, entry);
	if (has_id(trace_id, path, "traceId"))
	{
		entry->has_trace_id =
			mals_uuid_parse(trace_id->val.string.val, trace_id->val.string.len, &entry->trace_id);
		if (!entry->has_trace_id)
			merge_given(merge, "trace_id", trace_id);
	}
	merge_number(merge, "flags", &fields[RECORD_FLAGS]);
	merge_number(merge, "dropped_attributes_count", &fields[RECORD_DROPPED]);
	merge_pairs(merge, &rest, "otlp");
	entry->metadata = mals_merge_end(merge);
}

/* Hands the records of a scope to the sink. */
static void
read_scope_logs(const JsonbValue *scope_logs, const OtlpPath *path, Origin *origin,
				Request *request)
{
	JsonbValue fields[SCOPE_LOGS_FIELDS];
	MalsRest rest;
	OtlpElements records;

	if (scope_logs->type == jbvNull)
		mals_otlp_malformed(path, "an object");
	mals_otlp_message(scope_logs, path, scope_logs_names, lengthof(scope_logs_names), fields,
					  SCOPE_LOGS_FIELDS, &rest);
	read_scope(fields, &rest, path, origin);

	mals_otlp_begin(&records, &fields[SCOPE_LOGS_RECORDS], path, "logRecords");
	while (mals_otlp_next(&records))
	{
		MemoryContext old = MemoryContextSwitchTo(request->record_context);
		MalsEntry entry;

		CHECK_FOR_INTERRUPTS();
		mals_entry_init(&entry, request->nrecords++);
		read_record(&records.value, &records.path, origin, &entry);
		request->sink(&entry, request->arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(request->record_context);
	}
}

/* Hands the records of a resource to the sink. */
static void
read_resource_logs(const JsonbValue *resource_logs, const OtlpPath *path, Request *request)
{
	JsonbValue fields[RESOURCE_LOGS_FIELDS];
	MalsRest rest;
	OtlpElements scopes;
	Origin origin;

	if (resource_logs->type == jbvNull)
		mals_otlp_malformed(path, "an object");
	mals_otlp_message(resource_logs, path, resource_logs_names, lengthof(resource_logs_names),
					  fields, RESOURCE_LOGS_FIELDS, &rest);
	read_resource(fields, &rest, path, &origin);

	mals_otlp_begin(&scopes, &fields[RESOURCE_LOGS_SCOPES], path, "scopeLogs");
	while (mals_otlp_next(&scopes))
		read_scope_logs(&scopes.value, &scopes.path, &origin, request);
}

/* Calls sink for every log record of a request. */
void
mals_entries_from_otlp(Jsonb *request_json, MalsEntrySink sink, void *arg)
{
	OtlpPath path = {NULL, "request", -1};
	Request request = {sink, arg, 0, NULL};
	JsonbValue root;
	JsonbValue logs;
	MalsRest rest;
	OtlpElements resources;

	JsonbToJsonbValue(request_json, &root);
	mals_otlp_message(&root, &path, request_names, lengthof(request_names), &logs, 1, &rest);
	if (logs.type == jbvNull && rest.npairs > 0)
		mals_otlp_malformed(&path, "an ExportLogsServiceRequest with resourceLogs");

	request.record_context =
		AllocSetContextCreate(CurrentMemoryContext, "mals otlp record", ALLOCSET_DEFAULT_SIZES);
	mals_otlp_begin(&resources, &logs, NULL, "resourceLogs");
	while (mals_otlp_next(&resources))
		read_resource_logs(&resources.value, &resources.path, &request);
	MemoryContextDelete(request.record_context);
}
