/*
 * policy.c
 *		Row security of mals.entries, for rows that are not written by a plan.
 */
#include "mals_errors.h"

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "rewrite/rowsecurity.h"
#include "storage/lockdefs.h"
#include "utils/acl.h"
#include "utils/rls.h"

#include "write/target.h"

struct MalsPolicy
{
	ExprContext *context;
	List *checks; /* of ExprState, all must be true */
};

/* Asks core which policies an INSERT of the current user must pass. */
static List *
find_checks(Oid entries)
{
	Query *query = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List *quals = NIL;
	List *checks = NIL;
	bool has_security = false;
	bool has_sublinks = false;

	rte->rtekind = RTE_RELATION;
	rte->relid = entries;
	rte->relkind = RELKIND_PARTITIONED_TABLE;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&query->rteperminfos, rte)->requiredPerms = ACL_INSERT;
#else
	rte->requiredPerms = ACL_INSERT;
#endif
	query->commandType = CMD_INSERT;
	query->rtable = list_make1(rte);
	query->resultRelation = 1;
	get_row_security_policies(query, rte, 1, &quals, &checks, &has_security, &has_sublinks);
	if (has_sublinks)
		ereport(ERROR, errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("row security policies for inserts into mals.entries cannot use subqueries"),
				errhint("Put the subquery into a function that the policy calls."));
	return checks;
}

/* Tells whether a check lets every row pass. */
static bool
is_true(Expr *check)
{
	return IsA(check, Const) && !((Const *) check)->constisnull &&
		   DatumGetBool(((Const *) check)->constvalue);
}

MalsPolicy *
mals_policy_begin(Oid entries, EState *estate)
{
	MalsPolicy *policy;
	List *checks = NIL;
	ListCell *lc;

	if (check_enable_rls(entries, InvalidOid, false) != RLS_ENABLED)
		return NULL;
	foreach (lc, find_checks(entries))
	{
		Expr *check = expression_planner((Expr *) lfirst_node(WithCheckOption, lc)->qual);

		if (!is_true(check))
			checks = lappend(checks, ExecInitExpr(check, NULL));
	}
	if (checks == NIL)
		return NULL;
	policy = palloc(sizeof(MalsPolicy));
	policy->context = GetPerTupleExprContext(estate);
	policy->checks = checks;
	return policy;
}

bool
mals_policy_allows(MalsPolicy *policy, TupleTableSlot *slot)
{
	ListCell *lc;

	policy->context->ecxt_scantuple = slot;
	foreach (lc, policy->checks)
	{
		bool isnull;
		Datum result = ExecEvalExprSwitchContext(lfirst(lc), policy->context, &isnull);

		if (isnull || !DatumGetBool(result))
			return false;
	}
	return true;
}
