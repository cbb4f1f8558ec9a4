/*
 * evaluate.c
 *		What fires: rules are evaluated on the entries that were committed since
 *		their last turn.
 *
 * Each rule has a cursor (query/cursor.h) that moves in the transaction that
 * writes what the entries led to. So each entry counts once, also if it was
 * committed late, and also after the worker was down.
 *
 * A turn reads the new entries that match into a relation "fresh" of the
 * statements below, a limited number at a time. Rules that count put what has
 * fired nothing into mals._alert_matches and look at it again with the next
 * ones; time is that of the entries (ts), so it does not matter when they come.
 * What waits there for an hour longer than the rule's interval is given up.
 * Rules that watch for silence only read and keep when they last saw something,
 * of each agent, by the time the server took it (created_at).
 *
 * An error in the evaluation of a rule is kept with it, and does not touch the
 * others.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "alert/alert.h"
#include "mals_spi.h"
#include "query/cursor.h"
#include "query/news.h"
#include "query/query.h"
#include "types/types.h"
#include "worker/shared.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(mals_alerts_evaluate);
PG_FUNCTION_INFO_V1(mals_cursor_saw_stamp);

/* Entries that a rule takes at once. */
#define MAX_FRESH 10000

/* Groups of a rule that fire at once: where others then count together, and where not. */
#define MAX_FIRED "100"
#define MAX_IN_STATE 1000

/* Columns of mals.logs, from 1. */
enum
{
	LOGS_ID = 1,
	LOGS_TS,
	LOGS_CREATED_AT,
	LOGS_AGENT_ID = 5,
	LOGS_FINGERPRINT = 14
};

/* A rule at its turn; Datums are arguments of the statements. */
typedef struct Rule
{
	Datum args[8]; /* name, threshold, within, cooldown, channels, on_state, since, now */
	char nulls[9];
	char *name;
	char *query;
	char *state;  /* or NULL: it counts */
	char *cursor; /* as text */
	TupleDesc layout;
	Tuplestorestate *fresh;
	EphemeralNamedRelation relation; /* that is fresh */
} Rule;

static const Oid arg_types[] = {TEXTOID,  INT4OID, INTERVALOID, INTERVALOID,
								JSONBOID, TEXTOID, TEXTOID,     TIMESTAMPTZOID};

/* Reads a rule, and keeps others from evaluating or changing it; if one does, there is no rule. */
static const char *const read_rule =
	"SELECT r.name, r.threshold, r.within, r.cooldown, r.channels, r.on_state, s.since, r.query,"
	" s.cursor FROM mals._alert_rules r LEFT JOIN mals._alert_state s ON s.rule = r.name"
	" WHERE r.name = $1 FOR NO KEY UPDATE OF r SKIP LOCKED";

static const char *const write_state =
	"INSERT INTO mals._alert_state AS s (rule, since, cursor, error) VALUES ($1, $2, $3, NULL)"
	" ON CONFLICT (rule) DO UPDATE SET since = excluded.since, cursor = excluded.cursor,"
	" error = NULL";

/* What follows the alerts that a statement has fired: their deliveries. */
#define SEND                                                                                       \
	" sent AS (INSERT INTO mals._alert_deliveries (alert, channel, target, due_at)"                \
	" SELECT f.id, c.n, c.channel, $8 FROM fired f,"                                               \
	" jsonb_array_elements($5) WITH ORDINALITY AS c (channel, n))"

/* An alert without channels has nowhere to go. */
#define DELIVERED "CASE WHEN $5 = '[]' THEN $8 END"

/*
 * Groups fire that reach the threshold within the interval; what remains fires
 * together if it does. Groups that are ignored, that fired less than the
 * cooldown ago, or that are not in the state that the rule watches for, do not
 * count, and what waited of them is forgotten. A group is new for a day after
 * its first sight, if that was committed after the rule was set. One that has
 * regressed counts by the entries after its resolution, and fires once for it.
 */
static const char *const count_fresh =
	"WITH matches AS MATERIALIZED (SELECT f.*, true AS is_fresh,"
	" COALESCE(t.group_id, f.fingerprint) AS grp"
	" FROM fresh f LEFT JOIN mals._templates t USING (fingerprint)"
	" UNION ALL SELECT m.entry_id, m.ts, m.created_at, m.agent_id, m.fingerprint, false,"
	" COALESCE(t.group_id, m.fingerprint)"
	" FROM mals._alert_matches m LEFT JOIN mals._templates t USING (fingerprint)"
	" WHERE m.rule = $1),"
	" groups AS MATERIALIZED (SELECT grp, g.ts, s.resolved_at, f.fired_at"
	" FROM (SELECT grp, max(ts) AS ts FROM matches GROUP BY grp) g"
	" LEFT JOIN mals.error_status s ON s.fingerprint = g.grp"
	" LEFT JOIN (SELECT COALESCE(t.group_id, a.fingerprint) AS grp, max(a.fired_at) AS fired_at"
	" FROM mals.alerts a LEFT JOIN mals._templates t USING (fingerprint)"
	" WHERE a.rule = $1 AND a.state <> 'test' GROUP BY 1) f USING (grp)"
	" WHERE s.ignored_at IS NULL OR s.ignored_until <= $8),"
	" sights AS MATERIALIZED (SELECT t.grp, min(t.first_seen) AS first_seen,"
	" bool_and(COALESCE((SELECT NOT mals._cursor_saw($7, e.xact) FROM mals.entries e"
	" WHERE e.ts = t.first_seen AND e.id = t.sample_id), false)) AS since FROM ("
	"SELECT group_id AS grp, first_seen, sample_id FROM mals._templates"
	" WHERE group_id IN (SELECT grp FROM groups) UNION ALL "
	"(SELECT DISTINCT ON (s.fingerprint) s.fingerprint, s.first_seen, s.sample_id"
	" FROM mals._sights s WHERE s.fingerprint IN (SELECT grp FROM groups)"
	" AND NOT EXISTS (SELECT FROM mals._templates t WHERE t.fingerprint = s.fingerprint)"
	" ORDER BY s.fingerprint, s.first_seen, s.sample_id)) t WHERE $6 = 'new' GROUP BY t.grp),"
	" open AS MATERIALIZED (SELECT g.* FROM groups g LEFT JOIN sights s USING (grp)"
	" WHERE COALESCE(g.fired_at + $4 <= $8, true) AND CASE $6 WHEN 'new' THEN"
	" g.fired_at IS NULL AND s.first_seen > g.ts - interval '1 day' AND s.since"
	" WHEN 'regressed' THEN g.resolved_at IS NOT NULL"
	" AND COALESCE(g.fired_at <= g.resolved_at, true) ELSE true END),"
	" counted AS MATERIALIZED (SELECT m.* FROM matches m JOIN open o USING (grp)"
	" WHERE $6 IS DISTINCT FROM 'regressed'"
	" OR m.ts > o.resolved_at AND m.created_at > o.resolved_at),"
	" own AS MATERIALIZED (SELECT * FROM (SELECT DISTINCT ON (grp) grp, n, id, agent_id FROM "
	"(SELECT c.*,"
	" count(*) OVER (PARTITION BY grp ORDER BY ts RANGE BETWEEN $3 PRECEDING AND CURRENT ROW) AS n"
	" FROM counted c) w WHERE n >= $2 ORDER BY grp, n DESC, ts DESC, id DESC) o"
	" ORDER BY n DESC, id LIMIT CASE WHEN $6 IS NULL THEN " MAX_FIRED " ELSE " CppAsString2(
		MAX_IN_STATE) " END),"
					  " rest AS MATERIALIZED (SELECT c.* FROM counted c"
					  " WHERE NOT EXISTS (SELECT FROM own o WHERE o.grp = c.grp)),"
					  " mixed AS MATERIALIZED (SELECT n, id, agent_id FROM (SELECT r.*,"
					  " count(*) OVER (ORDER BY ts RANGE BETWEEN $3 PRECEDING AND CURRENT ROW) AS "
					  "n FROM rest r) w"
					  " WHERE n >= $2 AND $6 IS NULL AND NOT EXISTS (SELECT FROM mals.alerts a "
					  "WHERE a.rule = $1"
					  " AND a.fingerprint IS NULL AND a.state <> 'test' AND a.fired_at + $4 > $8)"
					  " ORDER BY n DESC, ts DESC, id DESC LIMIT 1),"
					  " fired AS (INSERT INTO mals.alerts (fired_at, rule, count, sample_id, "
					  "delivered_at, state,"
					  " fingerprint, agent_id) SELECT $8, $1, n, id, " DELIVERED
					  ", COALESCE($6, 'threshold'),"
					  " grp, agent_id FROM (SELECT grp, n, id, agent_id FROM own"
					  " UNION ALL SELECT NULL, n, id, agent_id FROM mixed) x RETURNING id)," SEND
					  ", gone AS (DELETE FROM mals._alert_matches m WHERE m.rule = $1 AND ("
					  "m.seen_at < $8 - $3 - interval '1 hour' OR EXISTS (SELECT FROM mixed)"
					  " OR NOT EXISTS (SELECT FROM rest r WHERE r.id = m.entry_id))),"
					  " kept AS (INSERT INTO mals._alert_matches"
					  " (rule, entry_id, ts, created_at, fingerprint, agent_id, seen_at)"
					  " SELECT $1, id, ts, created_at, fingerprint, agent_id, $8 FROM rest"
					  " WHERE is_fresh AND NOT EXISTS (SELECT FROM mixed))"
					  " SELECT FROM fired";

/*
 * How long after an agent's last entry its silence counts: so that not every
 * entry of each agent is noted, some more than the interval.
 */
#define SLACK "CASE on_state WHEN 'silent_agent' THEN within / 20 ELSE interval '0' END"

static const char *const note_fresh =
	"INSERT INTO mals._alert_seen AS s (rule, agent_id, last_seen)"
	" SELECT $1, CASE $6 WHEN 'silent' THEN '' ELSE agent_id END, max(created_at) FROM fresh"
	" GROUP BY 2 ON CONFLICT (rule, agent_id) DO UPDATE SET last_seen = excluded.last_seen"
	" WHERE excluded.last_seen > s.last_seen + (SELECT " SLACK
	" FROM mals._alert_rules WHERE name = $1)";

/* A rule that watches for anything waits for it from the beginning. */
static const char *const begin_silence =
	"INSERT INTO mals._alert_seen (rule, agent_id, last_seen) SELECT $1, '', $8"
	" WHERE $6 = 'silent' ON CONFLICT DO NOTHING";

/* When silence is due to fire; nobody could log while the server was down. */
#define SILENT_AT                                                                                  \
	"GREATEST(GREATEST(s.last_seen, pg_postmaster_start_time()) + r.within + " SLACK               \
	", s.fired_at + r.cooldown)"
#define SILENT_FROM                                                                                \
	" FROM mals._alert_rules r JOIN mals._alert_seen s ON s.rule = r.name"                         \
	" WHERE COALESCE(s.fired_at < s.last_seen, true)"

static const char *const fire_silence =
	"WITH due AS (SELECT s.rule, s.agent_id" SILENT_FROM " AND r.name = $1 AND " SILENT_AT
	" <= $8),"
	" noted AS (UPDATE mals._alert_seen s SET fired_at = $8 FROM due d"
	" WHERE s.rule = d.rule AND s.agent_id = d.agent_id),"
	" fired AS (INSERT INTO mals.alerts (fired_at, rule, count, delivered_at, state, agent_id)"
	" SELECT $8, rule, 0, " DELIVERED ", $6, NULLIF(agent_id, '') FROM due RETURNING id)," SEND
	" SELECT FROM fired";

static const char *const next_silence = "SELECT min(" SILENT_AT ")" SILENT_FROM;

/* Milliseconds after which a rule is tried again that was in other hands, or failed. */
#define HELD_DELAY 1000
#define ERROR_DELAY 60000

/* Whether the last turn left entries for the next one. */
static bool more = false;

/* Whether it left groups, which fire without another entry; or one in another process may have. */
static bool cut = true;

/* When the next one is due for rules that the last one could not evaluate. */
static TimestampTz again = DT_NOEND;

/* Makes the next turn due after so many milliseconds at most. */
static void
try_again(int delay)
{
	again = Min(again, GetCurrentTimestamp() + delay * INT64CONST(1000));
}

/* Runs one of the statements above that take what Rule.args has. */
static uint64
run_for(const Rule *rule, const char *sql)
{
	return mals_run_with(sql, lengthof(rule->args), arg_types, (Datum *) rule->args, rule->nulls);
}

/* Gives a text of the last result's first row, or NULL. */
static char *
result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

/* Reads a rule; false: it is gone, or in other hands. */
static bool
load_rule(Rule *rule, char *name)
{
	Datum key = CStringGetTextDatum(name);

	memset(rule, 0, sizeof(*rule));
	rule->name = name;
	if (mals_run_with(read_rule, 1, arg_types, &key, NULL) == 0)
		return false;
	strcpy(rule->nulls, "        ");
	for (int i = 0; i < 7; i++)
	{
		bool isnull;

		rule->args[i] = mals_result_datum(0, i + 1, &isnull);
		if (isnull)
			rule->nulls[i] = 'n';
	}
	rule->state = result_text(6);
	rule->query = result_text(8);
	rule->cursor = result_text(9);
	rule->args[7] = TimestampTzGetDatum(GetCurrentTimestamp());
	return true;
}

/*
 * Reads a cursor of a rule; false if it is of no use here, as the database was
 * copied, upgraded or taken back in time, or if there is none.
 */
static bool
read_cursor(const Rule *rule, const char *str, MalsCursor *cursor)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool usable = str != NULL;

	PG_TRY();
	{
		if (usable)
			mals_cursor_parse(cursor, str, "cursor");
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		ereport(LOG, errmsg("alert rule \"%s\" goes on with a new cursor", rule->name),
				errdetail("%s", error->message));
		usable = false;
	}
	PG_END_TRY();
	return usable;
}

/* Reads both cursors of a rule; without one that is of use it goes on from now. */
static void
read_cursors(Rule *rule, MalsCursor *cursor, const MalsCursor *now)
{
	char *since = rule->nulls[6] == 'n' ? NULL : TextDatumGetCString(rule->args[6]);
	MalsCursor begin;

	if (!read_cursor(rule, rule->cursor, cursor))
		*cursor = *now;
	if (!read_cursor(rule, since, &begin))
	{
		rule->args[6] = CStringGetTextDatum(mals_cursor_text(cursor));
		rule->nulls[6] = ' ';
	}
}

/* Takes an entry that is new and matches. */
static void
take_entry(TupleTableSlot *row, const MalsCursor *after, void *arg)
{
	static const int columns[] = {LOGS_ID, LOGS_TS, LOGS_CREATED_AT, LOGS_AGENT_ID,
								  LOGS_FINGERPRINT};
	Rule *rule = arg;
	Datum values[lengthof(columns)];
	bool isnull[lengthof(columns)];

	for (int i = 0; i < lengthof(columns); i++)
		values[i] = slot_getattr(row, columns[i], &isnull[i]);
	tuplestore_putvalues(rule->fresh, rule->layout, values, isnull);
}

/* Takes an agent of new entries that match, and when the latest of them was taken. */
static void
take_agent(TupleTableSlot *row, void *arg)
{
	Rule *rule = arg;
	Datum values[5] = {0};
	bool isnull[5] = {true, true, false, false, true};

	values[2] = slot_getattr(row, 2, &isnull[2]);
	values[3] = slot_getattr(row, 1, &isnull[3]);
	tuplestore_putvalues(rule->fresh, rule->layout, values, isnull);
}

/* Makes the relation "fresh", for statements of this connection to SPI. */
static void
make_fresh(Rule *rule)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	rule->layout = CreateTemplateTupleDesc(5);
	TupleDescInitEntry(rule->layout, 1, "id", UUIDOID, -1, 0);
	TupleDescInitEntry(rule->layout, 2, "ts", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(rule->layout, 3, "created_at", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(rule->layout, 4, "agent_id", TEXTOID, -1, 0);
	TupleDescInitEntry(rule->layout, 5, "fingerprint", INT8OID, -1, 0);
	rule->fresh = tuplestore_begin_heap(false, false, work_mem);

	relation->md.name = "fresh";
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = rule->layout;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->reldata = rule->fresh;
	rule->relation = relation;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register a relation");
}

/*
 * Evaluates a rule, also if nothing is new where that is asked for; returns how
 * many alerts fired. Called in a subtransaction.
 */
static uint64
evaluate_rule(char *name, bool anyway)
{
	static const Oid state_types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum state[3];
	Rule rule;
	MalsCursor now;
	MalsCursor cursor;
	MalsNews news;
	uint64 fired = 0;
	int64 taken = 0;
	bool silent;

	mals_spi_connect();
	if (!load_rule(&rule, name))
	{
		/* who holds it may leave it as it is, and without a word */
		try_again(HELD_DELAY);
		SPI_finish();
		return 0;
	}
	make_fresh(&rule);

	/* what is committed up to here, after the rule is locked */
	PushActiveSnapshot(GetTransactionSnapshot());
	mals_cursor_take(&now, GetActiveSnapshot());
	read_cursors(&rule, &cursor, &now);
	mals_news_begin(&news, mals_query_parse(rule.query, strlen(rule.query), "query"));
	silent = rule.state != NULL && strncmp(rule.state, "silent", 6) == 0;
	if (silent)
		mals_news_agents(&news, &cursor, &now, take_agent, &rule);
	else
		taken = mals_news_read(&news, &cursor, &now, MAX_FRESH, take_entry, &rule);
	PopActiveSnapshot();
	rule.relation->md.enrtuples = tuplestore_tuple_count(rule.fresh);
	more |= taken >= MAX_FRESH;

	if (silent)
	{
		run_for(&rule, begin_silence);
		run_for(&rule, note_fresh);
		fired = run_for(&rule, fire_silence);
	}
	else if (taken > 0 || anyway)
	{
		fired = run_for(&rule, count_fresh);
		cut |= fired >= MAX_IN_STATE;
	}

	state[0] = rule.args[0];
	state[1] = rule.args[6];
	state[2] = CStringGetTextDatum(mals_cursor_text(&cursor));
	mals_run_with(write_state, 3, state_types, state, NULL);
	SPI_finish();
	return fired;
}

/* Keeps why a rule could not be evaluated, and reports it if that is new. */
static void
note_error(const char *name, ErrorData *error)
{
	static const Oid types[] = {TEXTOID, TEXTOID};
	Datum args[2];

	mals_spi_connect();
	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(error->message);
	if (mals_run_with("UPDATE mals._alert_state SET error = $2 WHERE rule = $1"
					  " AND error IS DISTINCT FROM $2",
					  2, types, args, NULL) > 0)
		ereport(WARNING, errcode(error->sqlerrcode),
				errmsg("alert rule \"%s\" could not be evaluated: %s", name, error->message));
	SPI_finish();
}

/* Evaluates a rule in a subtransaction of its own. */
static uint64
try_rule(char *name, bool anyway)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile uint64 fired = 0;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		fired = evaluate_rule(name, anyway);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		note_error(name, error);
		try_again(ERROR_DELAY);
	}
	PG_END_TRY();
	return fired;
}

/* Evaluates all rules, by name; returns how many alerts fired. Connected to SPI. */
static int64
evaluate(void)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(context, "mals alerts", ALLOCSET_DEFAULT_SIZES);
	uint64 nrules = mals_run("SELECT name FROM mals._alert_rules ORDER BY name");
	SPITupleTable *rules = SPI_tuptable;
	int64 fired = 0;
	bool anyway = cut;

	more = cut = false;
	again = DT_NOEND;
	for (uint64 i = 0; i < nrules; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		fired += try_rule(SPI_getvalue(rules->vals[i], rules->tupdesc, 1), anyway);
		MemoryContextSwitchTo(context);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	more |= cut;
	if (fired > 0)
		mals_note_work(MALS_WORK_DELIVERIES);
	return fired;
}

int64
mals_alerts_turn(void)
{
	int64 fired;

	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	mals_spi_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	fired = evaluate();
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	return fired;
}

bool
mals_alerts_more(void)
{
	return more;
}

TimestampTz
mals_alerts_due(void)
{
	Datum due;
	bool isnull;

	if (more)
		return GetCurrentTimestamp();
	mals_run(next_silence);
	due = mals_result_datum(0, 1, &isnull);
	if (isnull)
		return again;
	/* what could not fire at this turn does not make the next one come at once */
	return Min(again, Max(DatumGetTimestampTz(due), GetCurrentTimestamp() + USECS_PER_SEC));
}

bool
mals_alerts_ask(int64 *fired)
{
	MalsTaskArguments none = {0};

	if (mals_run("SELECT WHERE EXISTS (SELECT FROM mals._alert_rules) OR EXISTS (SELECT FROM"
				 " mals._alert_deliveries WHERE due_at <= clock_timestamp())") > 0)
		return mals_task_run(MALS_TASK_ALERTS, &none, fired);
	*fired = 0;
	return true;
}

/* SQL: evaluates all rules, in the caller's transaction. */
Datum
mals_alerts_evaluate(PG_FUNCTION_ARGS)
{
	int64 fired = 0;

	if (XactReadOnly)
		mals_error_read_only("mals._alerts_evaluate()");
	mals_spi_connect();
	do
	{
		fired += evaluate();
	} while (more);
	SPI_finish();
	PG_RETURN_INT64(fired);
}

/* SQL: whether a cursor has seen the transaction of a stamp. */
Datum
mals_cursor_saw_stamp(PG_FUNCTION_ARGS)
{
	int64 stamp = PG_GETARG_INT64(1);
	uint64 xid = mals_xact_id(stamp);
	MalsCursor cursor;

	mals_cursor_parse(&cursor, text_to_cstring(PG_GETARG_TEXT_PP(0)), "cursor");
	PG_RETURN_BOOL(stamp != mals_xact_stamp(FullTransactionIdFromU64(xid)) ||
				   mals_cursor_saw(&cursor, xid));
}
