/*
 * agent.c
 *		Agents that say that they are there: mals_agent_register and
 *		mals_heartbeat.
 *
 * Each agent has one row of its own in mals.agents; a heartbeat changes no
 * indexed column of it, so that it stays in its page.
 */
#include "mals_errors.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "mals_guc.h"
#include "entry/entry.h"
#include "access/access.h"
#include "metric/metric_private.h"

PG_FUNCTION_INFO_V1(mals_agent_register);
PG_FUNCTION_INFO_V1(mals_heartbeat);


/* Reads the argument agent_id; NULL is the session's agent. */
static Datum
agent_arg(FunctionCallInfo fcinfo)
{
	text *agent = NULL;

	if (!PG_ARGISNULL(0))
		agent = PG_GETARG_TEXT_PP(0);
	else if (mals_agent_id != NULL)
		agent = cstring_to_text(mals_agent_id);
	mals_check_agent_id(agent, "agent_id");
	if (!mals_owns_agent(PointerGetDatum(agent)))
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied to act as agent \"%s\"", text_to_cstring(agent)),
				errdetail("Role \"%s\" is bound to other agents.",
						  GetUserNameFromId(GetUserId(), false)),
				errhint("Name one of your own agents."));
	return PointerGetDatum(agent);
}

/* SQL: says who an agent is, and that it is there. */
Datum
mals_agent_register(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, INTERVALOID};
	Datum values[lengthof(types)];
	char nulls[lengthof(types)];

	for (int i = 0; i < lengthof(types); i++)
	{
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	values[0] = agent_arg(fcinfo);
	nulls[0] = ' ';
	if (!PG_ARGISNULL(3) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(3)))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("metadata is no JSON object"),
				errhint("Give an object such as {\"model\": \"large\"}."));
	if (!PG_ARGISNULL(4))
	{
		Interval least = {0};
		Interval most = {.month = MONTHS_PER_YEAR};

		if (DatumGetBool(
				DirectFunctionCall2(interval_le, PG_GETARG_DATUM(4), IntervalPGetDatum(&least))) ||
			DatumGetBool(
				DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(4), IntervalPGetDatum(&most))))
			mals_error_range("heartbeat", "Give an interval above zero and up to a year, such as "
										  "'1 minute'.");
	}
	if (XactReadOnly)
		mals_error_read_only("mals_agent_register()");
	mals_run_as_owner("INSERT INTO mals.agents AS a (agent_id, agent_type, capabilities, metadata,"
					  " heartbeat, registered_at, last_heartbeat)"
					  " VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp())"
					  " ON CONFLICT (agent_id) DO UPDATE SET"
					  " agent_type = COALESCE(excluded.agent_type, a.agent_type),"
					  " capabilities = COALESCE(excluded.capabilities, a.capabilities),"
					  " metadata = COALESCE(excluded.metadata, a.metadata),"
					  " heartbeat = COALESCE(excluded.heartbeat, a.heartbeat),"
					  " last_heartbeat = excluded.last_heartbeat",
					  lengthof(types), types, values, nulls);
	PG_RETURN_VOID();
}

/* SQL: says that an agent is there. */
Datum
mals_heartbeat(PG_FUNCTION_ARGS)
{
	Oid type = TEXTOID;
	Datum agent = agent_arg(fcinfo);

	if (XactReadOnly)
		mals_error_read_only("mals_heartbeat()");
	mals_run_as_owner("INSERT INTO mals.agents AS a (agent_id, registered_at, last_heartbeat)"
					  " VALUES ($1, clock_timestamp(), clock_timestamp())"
					  " ON CONFLICT (agent_id) DO UPDATE SET last_heartbeat ="
					  " GREATEST(a.last_heartbeat, excluded.last_heartbeat)",
					  1, &type, &agent, NULL);
	PG_RETURN_VOID();
}
