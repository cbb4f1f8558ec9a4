/*
 * mals_guc.c
 *		Every setting of mals, in alphabetical order.
 *
 * A setting that is text for the user and something else for the code keeps the
 * parsed value in a static beside it. Check hooks parse without raising errors
 * (they also run where an error would stop the server), assign hooks parse
 * again: they are only given what was checked.
 */
#include "mals_errors.h"

#include "access/parallel.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "alert/alert.h"
#include "entry/entry.h"
#include "worker/shared.h"
#include "write/write.h"

bool mals_worker_enabled = true;
char *mals_agent_id = NULL;
bool mals_allow_drop = false;
char *mals_archive_directory = NULL;
char *mals_category = NULL;
char *mals_correlation_id = NULL;
char *mals_databases = NULL;
char *mals_session_key = NULL;
char *mals_smtp_from = NULL;
const char *mals_smtp_url = "";
char *mals_source = NULL;
int mals_capture_query_length = 1024;
int mals_capture_server_log = MALS_CAPTURE_OFF;
int mals_flush_interval = 200;
int mals_max_partitions = 2000;
int mals_partition_interval = MALS_PARTITION_DAY;
bool mals_redacting = true;
int mals_rate_limit = 0;
int mals_repeat_limit = 0;
int mals_ring_size = 16 * 1024;
int mals_write_mode = MALS_WRITE_TRANSACTIONAL;
int mals_write_timeout = 30 * 1000;
int mals_premake = 3;
bool mals_keep_unresolved = false;
char *mals_webhook_allow = NULL;
char *mals_webhook_ca_file = NULL;
const char *mals_webhook_secret = "";
int mals_webhook_timeout = 10000;
int64 mals_alert_give_up;
int64 mals_max_future;
int64 mals_max_size = 0;
int64 mals_retention;

/* The texts of settings that are read through their parsed values. */
static char *alert_give_up_text = NULL;
static char *alert_retention_text = NULL;
static char *audit_retention_text = NULL;
static char *context_text = NULL;
static char *level_text = NULL;
static char *max_future_text = NULL;
static char *max_past_text = NULL;
static char *max_size_text = NULL;
static char *min_level_text = NULL;
static char *parent_id_text = NULL;
static char *retention_text = NULL;
static char *smtp_url_text = NULL; /* empty, as is that of the other secret */
static char *trace_id_text = NULL;
static char *webhook_secret_text = NULL;

/* The parsed values. */
static Jsonb *context_object = NULL; /* in TopMemoryContext, made at first use */
static bool has_default_level = false;
static MalsLevel default_level;
static MalsLevel min_level = MALS_LEVEL_TRACE;
static bool has_parent_id = false;
static bool has_trace_id = false;
static pg_uuid_t parent_id;
static pg_uuid_t trace_id;
static int64 max_past;

static bool defining = false; /* mals_guc_init is at work */

static const struct config_enum_entry partition_intervals[] = {
	{"1 hour", MALS_PARTITION_HOUR, false},
	{"1 day", MALS_PARTITION_DAY, false},
	{"1 week", MALS_PARTITION_WEEK, false},
	{"hour", MALS_PARTITION_HOUR, true},
	{"day", MALS_PARTITION_DAY, true},
	{"week", MALS_PARTITION_WEEK, true},
	{NULL, 0, false},
};

static const struct config_enum_entry capture_levels[] = {
	{"off", MALS_CAPTURE_OFF, false},         {"trace", MALS_LEVEL_TRACE, false},
	{"debug", MALS_LEVEL_DEBUG, false},       {"info", MALS_LEVEL_INFO, false},
	{"warn", MALS_LEVEL_WARN, false},         {"error", MALS_LEVEL_ERROR, false},
	{"critical", MALS_LEVEL_CRITICAL, false}, {"dbg", MALS_LEVEL_DEBUG, true},
	{"verbose", MALS_LEVEL_DEBUG, true},      {"notice", MALS_LEVEL_INFO, true},
	{"log", MALS_LEVEL_INFO, true},           {"information", MALS_LEVEL_INFO, true},
	{"warning", MALS_LEVEL_WARN, true},       {"err", MALS_LEVEL_ERROR, true},
	{"severe", MALS_LEVEL_ERROR, true},       {"fatal", MALS_LEVEL_CRITICAL, true},
	{"panic", MALS_LEVEL_CRITICAL, true},     {"crit", MALS_LEVEL_CRITICAL, true},
	{"alert", MALS_LEVEL_CRITICAL, true},     {"emerg", MALS_LEVEL_CRITICAL, true},
	{"emergency", MALS_LEVEL_CRITICAL, true}, {NULL, 0, false},
};

static const struct config_enum_entry write_modes[] = {
	{"transactional", MALS_WRITE_TRANSACTIONAL, false},
	{"autonomous", MALS_WRITE_AUTONOMOUS, false},
	{"async", MALS_WRITE_ASYNC, false},
	{NULL, 0, false},
};

/* Tells whether a text setting holds something. */
static bool
is_set(const char *value)
{
	return value != NULL && *value != '\0';
}

/*
 * Reads an interval as microseconds, a day as 24 hours and a month as 30 days;
 * false if the text is no interval or is of 10,000 years or more.
 */
static bool
parse_interval(const char *text, int64 *result)
{
	char workbuf[256];
	char *field[MAXDATEFIELDS];
	int ftype[MAXDATEFIELDS];
	int nf;
	int dtype;
	struct pg_itm_in itm;
	Interval interval;

	memset(&itm, 0, sizeof(itm));
	if (ParseDateTime(text, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS, &nf) != 0 ||
		DecodeInterval(field, ftype, nf, INTERVAL_FULL_RANGE, &dtype, &itm) != 0 ||
		dtype != DTK_DELTA || itmin2interval(&itm, &interval) != 0 || interval.month <= -120000 ||
		interval.month >= 120000 || interval.day <= -3652500 || interval.day >= 3652500 ||
		interval.time / USECS_PER_DAY <= -3652500 || interval.time / USECS_PER_DAY >= 3652500)
		return false;
	*result =
		interval.time + (interval.day + (int64) interval.month * DAYS_PER_MONTH) * USECS_PER_DAY;
	return true;
}

/* Checks an interval of at least so many microseconds. */
static bool
check_interval(const char *value, int64 least)
{
	int64 interval;

	if (!parse_interval(value, &interval))
	{
		GUC_check_errhint("Give an interval such as \"30 days\" or \"1 hour\".");
		return false;
	}
	if (interval < least)
	{
		GUC_check_errhint(least > 0 ? "The interval must be more than zero."
									: "The interval must not be negative.");
		return false;
	}
	return true;
}

static bool
check_retention(char **value, void **extra, GucSource guc_source)
{
	return check_interval(*value, 1);
}

static void
assign_retention(const char *value, void *extra)
{
	(void) parse_interval(value, &mals_retention);
}

static bool
check_max_future(char **value, void **extra, GucSource guc_source)
{
	return check_interval(*value, 0);
}

static void
assign_max_future(const char *value, void *extra)
{
	(void) parse_interval(value, &mals_max_future);
}

static bool
check_max_past(char **value, void **extra, GucSource guc_source)
{
	return !is_set(*value) || strcmp(*value, "-1") == 0 || check_interval(*value, 0);
}

static void
assign_max_past(const char *value, void *extra)
{
	if (is_set(value) && strcmp(value, "-1") != 0)
		(void) parse_interval(value, &max_past);
}

static bool
check_max_size(char **value, void **extra, GucSource guc_source)
{
	double bytes;
	const char *hint = NULL;

	if (!is_set(*value) || pg_strcasecmp(*value, "off") == 0)
		return true;
	if (!parse_real(*value, &bytes, GUC_UNIT_BYTE, &hint) || bytes >= (double) PG_INT64_MAX)
	{
		GUC_check_errhint("Give a size such as \"20GB\" (units B, kB, MB, GB, TB), or \"off\".");
		return false;
	}
	if (bytes < 1)
	{
		GUC_check_errhint("The size must be more than zero; \"off\" is no limit.");
		return false;
	}
	return true;
}

static void
assign_max_size(const char *value, void *extra)
{
	double bytes;

	mals_max_size = is_set(value) && parse_real(value, &bytes, GUC_UNIT_BYTE, NULL) ? bytes : 0;
}

static bool
check_level(char **value, void **extra, GucSource guc_source)
{
	MalsLevel level;

	if (!is_set(*value) || mals_level_parse(*value, strlen(*value), &level))
		return true;
	GUC_check_errhint("Levels are: %s.", MALS_LEVEL_NAMES);
	return false;
}

static void
assign_level(const char *value, void *extra)
{
	has_default_level = is_set(value) && mals_level_parse(value, strlen(value), &default_level);
}

static void
assign_min_level(const char *value, void *extra)
{
	if (!is_set(value) || !mals_level_parse(value, strlen(value), &min_level))
		min_level = MALS_LEVEL_TRACE;
}

/*
 * Takes any text: what is refused here is as if it were not set, and entries
 * would be removed without an archive. The archiver refuses what it cannot use.
 */
static bool
check_directory(char **value, void **extra, GucSource guc_source)
{
	if (is_set(*value))
		canonicalize_path(*value);
	return true;
}

static bool
check_uuid(char **value, void **extra, GucSource guc_source)
{
	pg_uuid_t id;

	if (!is_set(*value) || mals_uuid_parse(*value, strlen(*value), &id))
		return true;
	GUC_check_errhint("Give a UUID, or nothing to unset it.");
	return false;
}

static void
assign_parent_id(const char *value, void *extra)
{
	has_parent_id = is_set(value) && mals_uuid_parse(value, strlen(value), &parent_id);
}

static void
assign_trace_id(const char *value, void *extra)
{
	has_trace_id = is_set(value) && mals_uuid_parse(value, strlen(value), &trace_id);
}

static bool
check_context(char **value, void **extra, GucSource guc_source)
{
	JsonLexContext *lex;
	const char *p = *value;

	if (!is_set(p))
		return true;
	while (isspace((unsigned char) *p))
		p++;
	lex = mals_json_lexer(*value);
	if (*p == '{' && pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS)
		return true;
	GUC_check_errhint("Give a JSON object, such as {\"host\": \"web-1\"}, or nothing to unset it.");
	return false;
}

static void
assign_context(const char *value, void *extra)
{
	if (context_object)
		pfree(context_object);
	context_object = NULL;
}

#define NEEDS_PRELOAD "%s needs mals in shared_preload_libraries"
#define PRELOAD_HINT "Add mals to shared_preload_libraries and restart the server."

/*
 * Refuses what needs shared memory where there is none. Of what a session has
 * set before it loaded the library the server could only warn: that is refused
 * when the session logs. A parallel worker takes what its leader has.
 */
static bool
check_preloaded(const char *what, GucSource source)
{
	if (mals_shared != NULL || process_shared_preload_libraries_in_progress ||
		(defining && source >= PGC_S_CLIENT) || InitializingParallelWorker)
		return true;
	GUC_check_errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	GUC_check_errmsg(NEEDS_PRELOAD, what);
	GUC_check_errhint(PRELOAD_HINT);
	return false;
}

/* Names a mals.write_mode for messages. */
static const char *
write_mode_setting(int mode)
{
	return mode == MALS_WRITE_ASYNC ? "mals.write_mode = async" : "mals.write_mode = autonomous";
}

void
mals_require_preload(void)
{
	const char *what = mals_write_mode != MALS_WRITE_TRANSACTIONAL
						   ? write_mode_setting(mals_write_mode)
					   : mals_rate_limit != 0   ? "mals.rate_limit"
					   : mals_repeat_limit != 0 ? "mals.repeat_limit"
												: NULL;

	if (what != NULL && mals_shared == NULL)
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg(NEEDS_PRELOAD, what), errhint(PRELOAD_HINT));
}

static void
assign_alert_give_up(const char *value, void *extra)
{
	(void) parse_interval(value, &mals_alert_give_up);
}

/*
 * A secret is kept beside its setting, whose own value stays empty: the server
 * logs the value of a setting that changes while it runs. Nor is a value shown
 * that is refused, as the usual message would.
 */
static bool
check_secret(char **value, void **extra, bool valid, const char *name, const char *hint)
{
	char *shown = valid ? mals_guc_strdup("") : NULL;

	if (!valid)
	{
		GUC_check_errmsg("invalid value for parameter \"%s\"", name);
		GUC_check_errhint("%s", hint);
	}
	if (shown == NULL)
		return false;
	*extra = *value;
	*value = shown;
	return true;
}

/* Tells of a secret only whether there is one. */
static const char *
show_secret(const char *secret)
{
	return *secret != '\0' ? "********" : "";
}

static bool
check_smtp_url(char **value, void **extra, GucSource guc_source)
{
	if (!is_set(*value))
		return true;
	return check_secret(value, extra, mals_secret_file(*value) || mals_smtp_url_valid(*value),
						"mals.smtp_url",
						"Give a URL such as \"smtp://user:password@mail.example.com:587\", with "
						"other than plain characters percent-encoded, or \"file:\" and the path "
						"of a file that has it.");
}

static void
assign_smtp_url(const char *value, void *extra)
{
	mals_smtp_url = extra != NULL ? extra : "";
}

static const char *
show_smtp_url(void)
{
	return show_secret(mals_smtp_url);
}

static bool
check_webhook_secret(char **value, void **extra, GucSource guc_source)
{
	if (!is_set(*value))
		return true;
	return check_secret(value, extra, mals_secret_file(*value) || strncmp(*value, "file:", 5) != 0,
						"mals.webhook_secret", "Give an absolute path after \"file:\".");
}

static void
assign_webhook_secret(const char *value, void *extra)
{
	mals_webhook_secret = extra != NULL ? extra : "";
}

static const char *
show_webhook_secret(void)
{
	return show_secret(mals_webhook_secret);
}

static bool
check_write_mode(int *value, void **extra, GucSource guc_source)
{
	return *value == MALS_WRITE_TRANSACTIONAL ||
		   check_preloaded(write_mode_setting(*value), guc_source);
}

static bool
check_rate_limit(int *value, void **extra, GucSource guc_source)
{
	return *value == 0 || check_preloaded("mals.rate_limit", guc_source);
}

static bool
check_repeat_limit(int *value, void **extra, GucSource guc_source)
{
	return *value == 0 || check_preloaded("mals.repeat_limit", guc_source);
}

static bool
check_smtp_from(char **value, void **extra, GucSource guc_source)
{
	if (!is_set(*value) || mals_mail_address_valid(*value))
		return true;
	GUC_check_errhint("Give one plain address, such as \"mals@example.com\".");
	return false;
}

static bool
check_databases(char **value, void **extra, GucSource guc_source)
{
	char *text = pstrdup(*value);
	List *names;
	bool ok = SplitIdentifierString(text, ',', &names);

	if (!ok)
		GUC_check_errhint("Give names of databases, separated by commas.");
	list_free(names);
	pfree(text);
	return ok;
}

bool
mals_default_level(MalsLevel *level)
{
	if (has_default_level)
		*level = default_level;
	return has_default_level;
}

const pg_uuid_t *
mals_default_trace_id(void)
{
	return has_trace_id ? &trace_id : NULL;
}

const pg_uuid_t *
mals_default_parent_id(void)
{
	return has_parent_id ? &parent_id : NULL;
}

Jsonb *
mals_context_object(void)
{
	if (context_object == NULL && is_set(context_text))
	{
		Jsonb *parsed =
			DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(context_text)));

		context_object = MemoryContextAlloc(TopMemoryContext, VARSIZE(parsed));
		memcpy(context_object, parsed, VARSIZE(parsed));
		pfree(parsed);
	}
	return context_object;
}

MalsLevel
mals_min_level(void)
{
	return min_level;
}

bool
mals_max_past(int64 *age)
{
	if (is_set(max_past_text))
		*age = strcmp(max_past_text, "-1") == 0 ? PG_INT64_MAX : max_past;
	return is_set(max_past_text);
}

void
mals_set_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SET, true, 0, false);
}

/* Defines a text setting. */
static void
define_text(const char *name, const char *description, char **variable, const char *boot,
			GucContext context, GucStringCheckHook check, GucStringAssignHook assign)
{
	DefineCustomStringVariable(name, description, NULL, variable, boot, context, 0, check, assign,
							   NULL);
}

/* Defines a text setting of the configuration file that nobody is shown. */
static void
define_secret(const char *name, const char *description, char **nothing, GucStringCheckHook check,
			  GucStringAssignHook assign, GucShowHook show)
{
	DefineCustomStringVariable(name, description, NULL, nothing, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   check, assign, show);
}

void
mals_guc_init(void)
{
	defining = true;
	define_text("mals.agent_id", "Agent of entries that name none.", &mals_agent_id, "",
				PGC_USERSET, NULL, NULL);
	define_text("mals.alert_give_up",
				"How long after an alert its delivery is tried again, if it fails.",
				&alert_give_up_text, "1 day", PGC_SUSET, check_max_future, assign_alert_give_up);
	define_text("mals.alert_retention", "How long alerts are kept in mals.alerts.",
				&alert_retention_text, "90 days", PGC_SUSET, check_retention, NULL);
	DefineCustomBoolVariable("mals.allow_drop",
							 "Lets the extension be dropped, and all log entries with it.", NULL,
							 &mals_allow_drop, false, PGC_SUSET, 0, NULL, NULL, NULL);
	define_text("mals.archive_directory",
				"Directory that entries are archived in before retention removes them.",
				&mals_archive_directory, "", PGC_SIGHUP, check_directory, NULL);
	DefineCustomIntVariable("mals.capture_query_length",
							"Most bytes of a statement that are kept with a captured message.",
							NULL, &mals_capture_query_length, 1024, 0, 16384, PGC_SIGHUP,
							GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomEnumVariable("mals.capture_server_log",
							 "Messages of the server that become entries: of this level or worse, "
							 "or off.",
							 NULL, &mals_capture_server_log, MALS_CAPTURE_OFF, capture_levels,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_text("mals.audit_retention", "How long rows of mals.audit are kept.",
				&audit_retention_text, "2 years", PGC_SUSET, check_retention, NULL);
	define_text("mals.category", "Category of entries that name none.", &mals_category, "",
				PGC_USERSET, NULL, NULL);
	define_text("mals.context", "JSON object that is merged under the metadata of every entry.",
				&context_text, "", PGC_USERSET, check_context, assign_context);
	define_text("mals.correlation_id", "Correlation id of entries that name none.",
				&mals_correlation_id, "", PGC_USERSET, NULL, NULL);
	define_text("mals.databases",
				"Databases that the background worker works in, separated by commas (default: all "
				"that have the extension).",
				&mals_databases, "", PGC_SIGHUP, check_databases, NULL);
	DefineCustomIntVariable("mals.flush_interval",
							"How long an entry of mals.write_mode = async may wait until it is "
							"durable.",
							NULL, &mals_flush_interval, 200, 1, 60000, PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("mals.keep_unresolved",
							 "Keeps unresolved errors however old they are.", NULL,
							 &mals_keep_unresolved, false, PGC_SUSET, 0, NULL, NULL, NULL);
	define_text("mals.level", "Level of entries that name none (default info).", &level_text, "",
				PGC_USERSET, check_level, assign_level);
	define_text("mals.max_future", "How far ahead of the server's clock an entry's time may be.",
				&max_future_text, "1 hour", PGC_SUSET, check_max_future, assign_max_future);
	DefineCustomIntVariable("mals.max_partitions",
							"Most partitions that logging makes; entries that need more are stored "
							"at the time they are received.",
							NULL, &mals_max_partitions, 2000, 1, 100000, PGC_SUSET, 0, NULL, NULL,
							NULL);
	define_text("mals.max_past",
				"How old an entry's time may be (default: the longest retention; -1: any age).",
				&max_past_text, "", PGC_SUSET, check_max_past, assign_max_past);
	define_text("mals.max_size",
				"Disk space of all entries beyond which the oldest partitions are dropped.",
				&max_size_text, "off", PGC_SUSET, check_max_size, assign_max_size);
	define_text("mals.min_level", "Entries of lower levels are not stored.", &min_level_text,
				"trace", PGC_USERSET, check_level, assign_min_level);
	define_text("mals.parent_id", "Parent entry of entries that name none.", &parent_id_text, "",
				PGC_USERSET, check_uuid, assign_parent_id);
	DefineCustomEnumVariable("mals.partition_interval", "Time that one new partition covers.", NULL,
							 &mals_partition_interval, MALS_PARTITION_DAY, partition_intervals,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"mals.rate_limit", "Entries a second that an agent may log (0: any number).", NULL,
		&mals_rate_limit, 0, 0, 1000000, PGC_SUSET, 0, check_rate_limit, NULL, NULL);
	DefineCustomBoolVariable("mals.redact", "Secrets are replaced before an entry is stored.", NULL,
							 &mals_redacting, true, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("mals.repeat_limit",
							"Entries a minute of one fingerprint that an agent may log (0: any "
							"number).",
							NULL, &mals_repeat_limit, 0, 0, 1000000, PGC_SUSET, 0,
							check_repeat_limit, NULL, NULL);
	DefineCustomIntVariable("mals.premake", "Partitions that maintenance makes ahead of time.",
							NULL, &mals_premake, 3, 0, 1000, PGC_SUSET, 0, NULL, NULL, NULL);
	define_text("mals.retention", "How long entries are kept.", &retention_text, "30 days",
				PGC_SUSET, check_retention, assign_retention);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("mals.ring_size",
								"Shared memory for entries of mals.write_mode autonomous and "
								"async, of all databases.",
								NULL, &mals_ring_size, 16 * 1024, 256, 4 * 1024 * 1024,
								PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	define_text("mals.session_key", "Session of entries that name none.", &mals_session_key, "",
				PGC_USERSET, NULL, NULL);
	define_text("mals.smtp_from", "Sender of alerts by e-mail (default: mals at this host).",
				&mals_smtp_from, "", PGC_SIGHUP, check_smtp_from, NULL);
	define_secret("mals.smtp_url", "Mail server that alerts are sent by.", &smtp_url_text,
				  check_smtp_url, assign_smtp_url, show_smtp_url);
	define_text("mals.source", "Source of entries that name none (default api).", &mals_source, "",
				PGC_USERSET, NULL, NULL);
	define_text("mals.trace_id", "Trace of entries that name none.", &trace_id_text, "",
				PGC_USERSET, check_uuid, assign_trace_id);
	define_text("mals.webhook_allow",
				"Hosts that webhooks may go to: public, loopback, and names in which * stands for "
				"anything, separated by commas.",
				&mals_webhook_allow, "public, loopback", PGC_SIGHUP, NULL, NULL);
	define_text("mals.webhook_ca_file",
				"Certificates that receivers of alerts are checked by (default: the system's).",
				&mals_webhook_ca_file, "", PGC_SIGHUP, NULL, NULL);
	define_secret("mals.webhook_secret", "Key of the signatures of webhooks.", &webhook_secret_text,
				  check_webhook_secret, assign_webhook_secret, show_webhook_secret);
	DefineCustomIntVariable("mals.webhook_timeout", "Longest time that one delivery may take.",
							NULL, &mals_webhook_timeout, 10000, 100, 600000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("mals.worker",
							 "Lets a background worker maintain each database that has the "
							 "extension; needs shared_preload_libraries.",
							 NULL, &mals_worker_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("mals.write_mode",
							 "Whether entries are written in the caller's transaction, or by "
							 "another one, awaited (autonomous) or not (async).",
							 NULL, &mals_write_mode, MALS_WRITE_TRANSACTIONAL, write_modes,
							 PGC_USERSET, 0, check_write_mode, NULL, NULL);
	DefineCustomIntVariable("mals.write_timeout",
							"How long a session waits for the writer of mals.write_mode autonomous "
							"and async (0: for ever).",
							NULL, &mals_write_timeout, 30 * 1000, 0, INT_MAX, PGC_USERSET,
							GUC_UNIT_MS, NULL, NULL, NULL);
	MarkGUCPrefixReserved("mals");
	defining = false;
}
