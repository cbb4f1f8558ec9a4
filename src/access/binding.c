/*
 * binding.c
 *		Roles that are bound to agents, and what row security asks about them.
 *
 * mals.agent_bindings is kept in the backend's memory and read again when its
 * trigger has said that it changed. A user is under the bindings of all roles
 * whose privileges it has; an agent must match each of them.
 *
 * Policies call mals._is_own(agent_id) and mals._is_free(). Their support
 * function replaces the calls while a query is planned, when the user is known:
 * core makes the plan of a query with row security anew for another user, and
 * the trigger makes it do so for other bindings. For a user who is not bound
 * they become true, which costs nothing and leaves all indexes and other
 * conditions as they are.
 *
 * A view that its owner reads for others (without security_invoker) is under
 * the owner's policies, but functions run as the user who asks. So the bindings
 * of both count.
 *
 * Statistics hold values of all rows, and row security does not keep them from
 * operators that are leakproof: by the row counts of EXPLAIN a bound user could
 * read them digit by digit. So its queries are planned without those of mals.
 */
#include "mals_errors.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "access/access.h"
#include "mals_compat.h"
#include "partition/partition.h"

PG_FUNCTION_INFO_V1(mals_binding_change);
PG_FUNCTION_INFO_V1(mals_binding_support);
PG_FUNCTION_INFO_V1(mals_is_own);
PG_FUNCTION_INFO_V1(mals_is_free);
PG_FUNCTION_INFO_V1(mals_is_bound_now);
PG_FUNCTION_INFO_V1(mals_is_caller_bound);

/* Columns of mals.agent_bindings. */
enum
{
	BINDING_ROLE = 1,
	BINDING_GLOB
};

/* A role and the agents it is bound to. */
typedef struct Binding
{
	Oid role;
	bool is_pattern; /* value is a LIKE pattern, not an agent's name */
	text *value;
} Binding;

static MemoryContext bindings_context = NULL; /* holds all below */
static List *bindings = NIL;                  /* of Binding */
static List *user_bindings = NIL;             /* those that apply to bindings_user */
static Oid bindings_user = InvalidOid;        /* InvalidOid: none was asked for */
static Oid bindings_table = InvalidOid;       /* InvalidOid: not read, or changed since */
static get_relation_stats_hook_type previous_relation_stats = NULL;
static get_index_stats_hook_type previous_index_stats = NULL;

/* Forgets the bindings if their table has changed. */
static void
at_relation_change(Datum arg, Oid relation)
{
	if (relation == bindings_table || relation == InvalidOid)
		bindings_table = InvalidOid;
}

/* Forgets whom they apply to: who is a member of which role has changed. */
static void
at_role_change(Datum arg, int cache, uint32 hash)
{
	bindings_user = InvalidOid;
}

/* Makes a binding of a row of the table. */
static Binding *
make_binding(Oid role, text *glob)
{
	Binding *binding = palloc(sizeof(Binding));
	const char *p = VARDATA_ANY(glob);
	const char *end = p + VARSIZE_ANY_EXHDR(glob);
	StringInfoData pattern;

	binding->role = role;
	binding->is_pattern = memchr(p, '*', end - p) != NULL;
	initStringInfo(&pattern);
	for (; p < end; p++)
	{
		if (!binding->is_pattern)
			appendStringInfoChar(&pattern, *p);
		else if (*p == '*')
			appendStringInfoChar(&pattern, '%');
		else
		{
			if (*p == '%' || *p == '_' || *p == '\\')
				appendStringInfoChar(&pattern, '\\');
			appendStringInfoChar(&pattern, *p);
		}
	}
	binding->value = cstring_to_text_with_len(pattern.data, pattern.len);
	pfree(pattern.data);
	return binding;
}

/* Reads mals.agent_bindings. */
static void
read_bindings(void)
{
	Oid oid = mals_relation_oid("agent_bindings");
	Relation rel = table_open(oid, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tuple;

	if (bindings_context == NULL)
		bindings_context =
			AllocSetContextCreate(TopMemoryContext, "mals bindings", ALLOCSET_SMALL_SIZES);
	bindings = user_bindings = NIL;
	bindings_user = InvalidOid;
	MemoryContextReset(bindings_context);

	/* from here on a change is noticed */
	bindings_table = oid;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext old;
		bool isnull;
		Oid role =
			DatumGetObjectId(heap_getattr(tuple, BINDING_ROLE, RelationGetDescr(rel), &isnull));
		text *glob =
			DatumGetTextPP(heap_getattr(tuple, BINDING_GLOB, RelationGetDescr(rel), &isnull));

		old = MemoryContextSwitchTo(bindings_context);
		bindings = lappend(bindings, make_binding(role, glob));
		MemoryContextSwitchTo(old);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Gives the bindings that a user is under; none for those whom row security passes over. */
static List *
bindings_of(Oid user)
{
	MemoryContext old;
	ListCell *lc;

	if (!OidIsValid(bindings_table))
		read_bindings();
	if (bindings == NIL ||
		check_enable_rls(mals_relation_oid("entries"), user, true) != RLS_ENABLED)
		return NIL;
	if (user == bindings_user)
		return user_bindings;

	old = MemoryContextSwitchTo(bindings_context);
	list_free(user_bindings);
	user_bindings = NIL;
	foreach (lc, bindings)
	{
		Binding *binding = lfirst(lc);

		if (has_privs_of_role(user, binding->role))
			user_bindings = lappend(user_bindings, binding);
	}
	bindings_user = user;
	MemoryContextSwitchTo(old);
	return user_bindings;
}

bool
mals_is_bound(void)
{
	return bindings_of(GetUserId()) != NIL;
}

void
mals_require_unbound(const char *what)
{
	if (mals_is_bound())
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("permission denied for %s", what),
				errdetail("Role \"%s\" is bound to agents, and this concerns the entries of all.",
						  GetUserNameFromId(GetUserId(), false)),
				errhint("Ask someone who may read the entries of all agents."));
}

/*
 * Tells whether a query with a relation is planned for a user who is bound, and
 * the relation is one of mals. Whoever is bound has been looked for before, when
 * policies were replaced: until then nobody is known to be.
 */
static bool
is_hidden(PlannerInfo *root, Oid relation)
{
	Oid schema;
	ListCell *lc;

	if (bindings == NIL)
		return false;
	schema = get_namespace_oid("mals", true);
	/* the extension may have been dropped since */
	if (get_rel_namespace(relation) != schema ||
		!OidIsValid(get_relname_relid("agent_bindings", schema)))
		return false;
	if (mals_is_bound())
		return true;
	foreach (lc, MALS_PERMISSIONS(root->parse))
	{
		Oid owner = ((MalsPermission *) lfirst(lc))->checkAsUser;

		if (OidIsValid(owner) && bindings_of(owner) != NIL)
			return true;
	}
	return false;
}

/* Planner hook: a bound user's queries are planned without statistics of a table of mals. */
static bool
relation_stats(PlannerInfo *root, RangeTblEntry *relation, AttrNumber column,
			   VariableStatData *stats)
{
	if (!is_hidden(root, relation->relid))
		return previous_relation_stats != NULL &&
			   previous_relation_stats(root, relation, column, stats);
	stats->statsTuple = NULL;
	return true;
}

/* The same for what an index is on. */
static bool
index_stats(PlannerInfo *root, Oid index, AttrNumber column, VariableStatData *stats)
{
	/* indexes are in the schema of their table */
	if (!is_hidden(root, index))
		return previous_index_stats != NULL && previous_index_stats(root, index, column, stats);
	stats->statsTuple = NULL;
	return true;
}

void
mals_access_init(void)
{
	CacheRegisterRelcacheCallback(at_relation_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, at_role_change, (Datum) 0);
	previous_relation_stats = get_relation_stats_hook;
	get_relation_stats_hook = relation_stats;
	previous_index_stats = get_index_stats_hook;
	get_index_stats_hook = index_stats;
}

/* Makes the condition that an agent is within a binding. */
static Expr *
make_condition(Expr *agent, const Binding *binding)
{
	Const *value = makeConst(
		TEXTOID, -1, C_COLLATION_OID, -1,
		PointerGetDatum(PG_DETOAST_DATUM_COPY(PointerGetDatum(binding->value))), false, false);
	Expr *condition =
		make_opclause(binding->is_pattern ? OID_TEXT_LIKE_OP : TextEqualOperator, BOOLOID, false,
					  copyObject(agent), (Expr *) value, InvalidOid, C_COLLATION_OID);

	set_opfuncid((OpExpr *) condition);
	return condition;
}

/* Adds the conditions that a user is under; false is the one of a bound user where there is no agent. */
static List *
add_conditions(List *conditions, Oid user, Expr *agent)
{
	ListCell *lc;

	foreach (lc, bindings_of(user))
		conditions = lappend(conditions, agent == NULL ? (Expr *) makeBoolConst(false, false)
													   : make_condition(agent, lfirst(lc)));
	return conditions;
}

/*
 * Takes the policies off a relation whose rows all pass them: the planner does
 * not look at statistics of a relation that has some, even if they say true.
 * Whose plan this is for is known, and core keeps it for no one else.
 */
static void
remove_policies(PlannerInfo *root, FuncExpr *call)
{
	Var *agent = linitial(call->args);
	RangeTblEntry *relation;
	ListCell *lc;

	if (root == NULL || !IsA(agent, Var) || agent->varlevelsup != 0)
		return;
	relation = rt_fetch(agent->varno, root->parse->rtable);
	foreach (lc, relation->securityQuals)
	{
		Node *policy = lfirst(lc);

		/* NULL is one that was true */
		if (policy != NULL &&
			!(IsA(policy, FuncExpr) && ((FuncExpr *) policy)->funcid == call->funcid) &&
			!(IsA(policy, Const) && !((Const *) policy)->constisnull &&
			  DatumGetBool(((Const *) policy)->constvalue)))
			return;
	}
	relation->securityQuals = NIL;
}

/* Planner support: replaces mals._is_own(agent) and mals._is_free(). */
Datum
mals_binding_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestSimplify *simplify = (SupportRequestSimplify *) request;
	List *conditions;
	Expr *agent;
	ListCell *lc;

	if (!IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(NULL);
	agent = simplify->fcall->args == NIL ? NULL : linitial(simplify->fcall->args);
	conditions = add_conditions(NIL, GetUserId(), agent);
	foreach (lc, simplify->root == NULL ? NIL : MALS_PERMISSIONS(simplify->root->parse))
	{
		Oid owner = ((MalsPermission *) lfirst(lc))->checkAsUser;

		if (OidIsValid(owner) && owner != GetUserId())
			conditions = add_conditions(conditions, owner, agent);
	}
	if (conditions == NIL && agent != NULL)
		remove_policies(simplify->root, simplify->fcall);
	PG_RETURN_POINTER(conditions == NIL ? makeBoolConst(true, false)
										: (Node *) make_ands_explicit(conditions));
}

bool
mals_owns_agent(Datum agent)
{
	ListCell *lc;

	foreach (lc, bindings_of(GetUserId()))
	{
		Binding *binding = lfirst(lc);

		if (!DatumGetBool(DirectFunctionCall2Coll(binding->is_pattern ? textlike : texteq,
												  C_COLLATION_OID, agent,
												  PointerGetDatum(binding->value))))
			return false;
	}
	return true;
}

/* SQL: may the current user log as and read of an agent? */
Datum
mals_is_own(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mals_owns_agent(PG_GETARG_DATUM(0)));
}

/* SQL: is the current user bound to no agent? */
Datum
mals_is_free(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!mals_is_bound());
}

/* SQL: is the current user bound to agents? */
Datum
mals_is_bound_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mals_is_bound());
}

/* SQL: is the user who called the outermost SECURITY DEFINER function bound? */
Datum
mals_is_caller_bound(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(bindings_of(GetOuterUserId()) != NIL);
}

/* Tells all sessions that bindings have changed, and to plan anew what row security is in. */
Datum
mals_binding_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		RelationGetRelid(trigger->tg_relation) != mals_relation_oid("agent_bindings"))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("this function of mals can only be called as a trigger of "
					   "mals.agent_bindings"),
				errhint("Use mals_bind_agent."));
	CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
	CacheInvalidateRelcacheByRelid(mals_relation_oid("entries"));
	CacheInvalidateRelcacheByRelid(mals_relation_oid("resolutions"));
	return PointerGetDatum(NULL);
}
