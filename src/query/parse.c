/*
 * parse.c
 *		The query language: text to a list of terms.
 *
 * One pass over the query's bytes, a token at a time (every server encoding is
 * a superset of ASCII, and all that has a meaning here is ASCII):
 *
 *	query	:= token { space token }
 *	token	:= ['-'] ( key ':' [operator] value | "text" | /regex/[i] | word )
 *	value	:= "text" | characters up to a space; a * is a glob unless escaped
 *
 * Inside quotes a backslash makes the next character literal. Adjacent words
 * that are not negated make one term. What is no token of another kind is a
 * word, so whether a text is a token is asked of classify and of nothing else.
 */
#include "query/query.h"

#include "mals_compat.h"

#include <errno.h>

#include "catalog/pg_collation.h"
#include "common/int.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "query/literal.h"

/*
 * Limits: no query that a person or a program means is longer, and within them
 * any quoted text is a regular expression that the server can compile.
 */
#define MAX_QUERY_BYTES 16384
#define MAX_TERMS 1000

/* At most this many bytes of a token are shown in an error. */
#define MAX_SHOWN 64

typedef enum TokenKind
{
	TOKEN_WORD,
	TOKEN_QUOTED,
	TOKEN_REGEX,
	TOKEN_KEY
} TokenKind;

/* A token's place in the query. */
typedef struct Token
{
	const char *start; /* its first byte, which may be the '-' */
	const char *body;  /* what follows the '-' */
	const char *end;   /* where the next token may begin */
	TokenKind kind;
	bool negated;

	MalsTermKind key;  /* TOKEN_KEY */
	const char *colon; /* TOKEN_KEY: the end of the key */
	bool ignore_case;  /* TOKEN_REGEX: it ends in /i */
} Token;

/* A value with its quotes and escapes resolved. */
typedef struct Value
{
	char *text;
	char *like; /* the LIKE pattern that it is; NULL without a glob */
} Value;

typedef struct Parser
{
	const char *query;
	const char *end;
	const char *argname;
	MalsCondition *condition;
	bool no_slash; /* no regular expression ends in the rest of the query */

	StringInfoData words; /* adjacent words, and where they stand */
	const char *words_start;
	const char *words_end;
} Parser;

static const struct
{
	const char *name;
	MalsTermKind kind;
} keys[] = {
	{"level", MALS_TERM_LEVEL},
	{"agent", MALS_TERM_AGENT},
	{"category", MALS_TERM_CATEGORY},
	{"source", MALS_TERM_SOURCE},
	{"session", MALS_TERM_SESSION},
	{"correlation", MALS_TERM_CORRELATION},
	{"trace", MALS_TERM_TRACE},
	{"id", MALS_TERM_ID},
	{"fingerprint", MALS_TERM_FINGERPRINT},
	{"resolved", MALS_TERM_RESOLVED},
	{"after", MALS_TERM_AFTER},
	{"before", MALS_TERM_BEFORE},
};

#define META_PREFIX "meta."

/*
 * Tells whether a byte separates tokens.
 */
static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * Tells whether a token may end here.
 */
static inline bool
at_break(const Parser *parser, const char *p)
{
	return p == parser->end || is_space(*p);
}

/*
 * Finds the next space, or the end.
 */
static const char *
find_break(const Parser *parser, const char *p)
{
	while (!at_break(parser, p))
		p++;
	return p;
}

/*
 * Gives the place of a byte in the query as a character, from 1.
 */
static int
position_of(const Parser *parser, const char *p)
{
	return pg_mbstrlen_with_len(parser->query, p - parser->query) + 1;
}

/*
 * Raises the error of a token; detail may be NULL.
 */
pg_noreturn static void
fail(const Parser *parser, const char *start, const char *end, const char *problem,
	 const char *detail, const char *hint)
{
	int len = end - start;
	int shown = pg_mbcliplen(start, len, MAX_SHOWN);

	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("%s: %s in \"%.*s%s\" at character %d", parser->argname, problem, shown, start,
				   shown < len ? "..." : "", position_of(parser, start)),
			detail != NULL ? errdetail_internal("%s", detail) : 0, errhint("%s", hint));
}

/*
 * Raises the error of a key's value.
 */
pg_noreturn static void
fail_value(const Parser *parser, const Token *token, const char *problem, const char *hint)
{
	fail(parser, token->start, token->end, problem, NULL, hint);
}

/*
 * Adds a term for what stands at start.
 */
static MalsTerm *
add_term(Parser *parser, const char *start, MalsTermKind kind, bool negated)
{
	MalsTerm *term;

	if (list_length(parser->condition->terms) >= MAX_TERMS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s has more than %d terms", parser->argname, MAX_TERMS),
				errhint("Write alternatives as one regular expression: /one|two|three/."));
	CHECK_FOR_INTERRUPTS();
	term = palloc0(sizeof(MalsTerm));
	term->kind = kind;
	term->op = MALS_OP_EQ;
	term->negated = negated;
	term->position = position_of(parser, start);
	parser->condition->terms = lappend(parser->condition->terms, term);
	return term;
}

/*
 * Adds the term of a regular expression, which stands from start to end, or
 * raises what the server has against it.
 */
static void
add_regex(Parser *parser, const char *start, const char *end, const char *pattern, int len,
		  bool ignore_case, bool negated)
{
	MalsTerm *term = add_term(parser, start, MALS_TERM_REGEX, negated);
	pg_wchar *wide = palloc((len + 1) * sizeof(pg_wchar));
	regex_t regex;
	int result;

	result =
		pg_regcomp(&regex, wide, pg_mb2wchar_with_len(pattern, wide, len),
				   REG_ADVANCED | REG_NOSUB | (ignore_case ? REG_ICASE : 0), DEFAULT_COLLATION_OID);
	if (result != REG_OKAY)
	{
		char message[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(result, &regex, message, sizeof(message));
		fail(parser, start, end, "invalid regular expression", message,
			 "Words are a regular expression. Put a text in double quotes to find it as it is.");
	}
	pg_regfree(&regex);
	pfree(wide);

	term->text = pnstrdup(pattern, len);
	term->ignore_case = ignore_case;
}

/*
 * Turns the words collected so far into one term.
 */
static void
flush_words(Parser *parser)
{
	if (parser->words.len == 0)
		return;
	add_regex(parser, parser->words_start, parser->words_end, parser->words.data, parser->words.len,
			  true, false);
	resetStringInfo(&parser->words);
}

/*
 * Finds the end of a regular expression that begins with the slash at body: a
 * later unescaped slash, or slash and i, with a break after it. NULL if none.
 */
static const char *
find_regex_end(Parser *parser, const char *body, bool *ignore_case)
{
	if (parser->no_slash)
		return NULL;
	for (const char *p = body + 1; p < parser->end; p++)
	{
		if (*p == '\\')
			p++;
		else if (*p == '/')
		{
			*ignore_case = p + 1 < parser->end && p[1] == 'i' && at_break(parser, p + 2);
			if (*ignore_case)
				return p + 2;
			if (at_break(parser, p + 1))
				return p + 1;
		}
	}

	/* Escapes pair up alike from any later slash that begins a token. */
	parser->no_slash = true;
	return NULL;
}

/*
 * Finds the key that begins at body; false if none does, an error if it is none
 * of ours.
 */
static bool
find_key(Parser *parser, const char *body, Token *token)
{
	const char *p = body;
	int len;

	if (parser->end - body > strlen(META_PREFIX) &&
		strncmp(body, META_PREFIX, strlen(META_PREFIX)) == 0)
	{
		p += strlen(META_PREFIX);
		while (!at_break(parser, p) && *p != ':' && *p != '"')
			p++;
		if (p == parser->end || *p != ':')
			return false;
		if (p == body + strlen(META_PREFIX))
			fail(parser, token->start, find_break(parser, p), "no key after meta.", NULL,
				 "Write meta.KEY:VALUE, or put the text in double quotes to search for it.");
		token->key = MALS_TERM_META;
		token->colon = p;
		return true;
	}

	while (p < parser->end && ((*p >= 'a' && *p <= 'z') || *p == '_' || *p == '.'))
		p++;
	len = p - body;
	if (len == 0 || p == parser->end || *p != ':')
		return false;
	for (int i = 0; i < lengthof(keys); i++)
	{
		if (strlen(keys[i].name) == len && strncmp(body, keys[i].name, len) == 0)
		{
			token->key = keys[i].kind;
			token->colon = p;
			return true;
		}
	}
	if (at_break(parser, p + 1))
		return false;
	if (parser->end - p > 2 && p[1] == '/' && p[2] == '/')
		return false;
	fail(parser, token->start, find_break(parser, p), psprintf("unknown key \"%.*s\"", len, body),
		 NULL,
		 "Keys are level, agent, category, source, session, correlation, trace, id, fingerprint, "
		 "resolved, after, before and meta.KEY. Put the text in double quotes to search for it.");
}

/*
 * Tells what kind of token begins at body, and what finding that out found.
 */
static TokenKind
classify(Parser *parser, const char *body, Token *token)
{
	if (body == parser->end)
		return TOKEN_WORD;
	if (*body == '"')
		return TOKEN_QUOTED;
	if (*body == '/')
	{
		token->end = find_regex_end(parser, body, &token->ignore_case);
		return token->end != NULL ? TOKEN_REGEX : TOKEN_WORD;
	}
	return find_key(parser, body, token) ? TOKEN_KEY : TOKEN_WORD;
}

/*
 * Reads the value at p, sets the token's end behind it.
 */
static Value
read_value(Parser *parser, Token *token, const char *p)
{
	bool quoted = p < parser->end && *p == '"';
	bool glob = false;
	StringInfoData text;
	StringInfoData like;

	if (quoted)
		p++;
	initStringInfo(&text);
	initStringInfo(&like);

	for (; quoted ? p < parser->end && *p != '"' : !at_break(parser, p); p++)
	{
		bool escaped = quoted && *p == '\\' && p + 1 < parser->end;

		if (escaped)
			p++;
		appendStringInfoChar(&text, *p);
		if (*p == '*' && !escaped)
		{
			glob = true;
			appendStringInfoChar(&like, '%');
			continue;
		}
		if (*p == '%' || *p == '_' || *p == '\\')
			appendStringInfoChar(&like, '\\');
		appendStringInfoChar(&like, *p);
	}

	if (quoted)
	{
		if (p == parser->end)
			fail(parser, token->start, p, "unterminated quote", NULL,
				 "Close the text with a double quote; write \\\" for one inside it.");
		p++;
		if (!at_break(parser, p))
			fail(parser, token->start, find_break(parser, p), "text after the closing quote", NULL,
				 "Put a space after the closing quote; write \\\" for a quote inside the text.");
	}
	token->end = p;
	if (text.len == 0)
		fail_value(parser, token, "empty value",
				   "Write the value directly after the colon, or between the quotes. Put the "
				   "whole in double quotes to search for it.");
	return (Value){.text = text.data, .like = glob ? like.data : NULL};
}

/*
 * Reads an operator, if there is one.
 */
static bool
read_operator(const Parser *parser, const char **p, MalsOperator *op)
{
	bool or_equal;

	if (*p == parser->end || strchr("=<>", **p) == NULL)
		return false;
	or_equal = **p != '=' && *p + 1 < parser->end && (*p)[1] == '=';
	if (**p == '=')
		*op = MALS_OP_EQ;
	else if (**p == '<')
		*op = or_equal ? MALS_OP_LE : MALS_OP_LT;
	else
		*op = or_equal ? MALS_OP_GE : MALS_OP_GT;
	*p += or_equal ? 2 : 1;
	return true;
}

/*
 * Reads an age such as 15m and counts it back from now; false if it is none.
 */
static bool
parse_age(const char *str, TimestampTz *ts)
{
	static const struct
	{
		char unit;
		int64 microseconds;
	} units[] = {{'s', USECS_PER_SEC},
				 {'m', USECS_PER_MINUTE},
				 {'h', USECS_PER_HOUR},
				 {'d', USECS_PER_DAY},
				 {'w', 7 * USECS_PER_DAY}};
	int digits = strspn(str, "0123456789");
	int64 age;

	if (digits == 0 || digits > 18 || str[digits] == '\0' || str[digits + 1] != '\0')
		return false;
	for (int i = 0; i < lengthof(units); i++)
	{
		if (units[i].unit == str[digits])
			return !pg_mul_s64_overflow(strtoi64(str, NULL, 10), units[i].microseconds, &age) &&
				   !pg_sub_s64_overflow(GetCurrentTimestamp(), age, ts) && IS_VALID_TIMESTAMP(*ts);
	}
	return false;
}

/*
 * Tells whether a text is a number that numeric takes, of a length and size
 * that someone may mean.
 */
static bool
is_number(const char *str)
{
	const char *p = str;
	int digits;

	if (*p == '-' || *p == '+')
		p++;
	digits = strspn(p, "0123456789");
	p += digits;
	if (*p == '.')
	{
		int fraction = strspn(++p, "0123456789");

		digits += fraction;
		p += fraction;
	}
	if (digits == 0 || digits > 1000)
		return false;
	if (*p == 'e' || *p == 'E')
	{
		p++;
		if (*p == '-' || *p == '+')
			p++;
		digits = strspn(p, "0123456789");
		if (digits == 0 || digits > 3)
			return false;
		p += digits;
	}
	return *p == '\0';
}

/*
 * Tells whether a text is, read as JSON, a number, true, false or null.
 */
static bool
is_json_literal(const char *str)
{
	return strcmp(str, "true") == 0 || strcmp(str, "false") == 0 || strcmp(str, "null") == 0 ||
		   (is_number(str) && IsValidJsonNumber(str, strlen(str)));
}

/*
 * Sets a term's text to a value, which may be a glob.
 */
static void
set_text(MalsTerm *term, const Value *value)
{
	term->text = value->text;
	if (value->like != NULL)
	{
		term->text = value->like;
		term->op = MALS_OP_LIKE;
	}
}

/*
 * Adds the term of a token with a key.
 */
static void
add_key_term(Parser *parser, Token *token)
{
	MalsTerm *term = add_term(parser, token->start, token->key, token->negated);
	const char *p = token->colon + 1;
	bool with_operator = false;
	int dots = 0;
	Value value;
	char *rest;

	if (term->kind == MALS_TERM_LEVEL)
	{
		term->op = MALS_OP_GE;
		read_operator(parser, &p, &term->op);
	}
	else if (term->kind == MALS_TERM_META)
		with_operator = read_operator(parser, &p, &term->op);
	value = read_value(parser, token, p);

	switch (term->kind)
	{
		case MALS_TERM_LEVEL:
			if (!mals_level_parse(value.text, strlen(value.text), &term->level))
				fail_value(parser, token, "invalid level",
						   "Levels are " MALS_LEVEL_NAMES ". level:warn means warn or worse, "
						   "level:=warn exactly that; <, <=, > and >= work too.");
			break;

		case MALS_TERM_AGENT:
		case MALS_TERM_CATEGORY:
		case MALS_TERM_SOURCE:
		case MALS_TERM_SESSION:
		case MALS_TERM_CORRELATION:
			set_text(term, &value);
			break;

		case MALS_TERM_TRACE:
			set_text(term, &value);
			term->flag = mals_uuid_parse(value.text, strlen(value.text), &term->uuid);
			break;

		case MALS_TERM_ID:
			if (!mals_uuid_parse(value.text, strlen(value.text), &term->uuid))
				fail_value(parser, token, "invalid id",
						   "An id is a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057.");
			break;

		case MALS_TERM_FINGERPRINT:
			errno = 0;
			term->number = strtoi64(value.text, &rest, 10);
			if (errno != 0 || rest == value.text || *rest != '\0' || is_space(*value.text) ||
				*value.text == '+')
				fail_value(parser, token, "invalid fingerprint",
						   "A fingerprint is an integer of 64 bits.");
			break;

		case MALS_TERM_RESOLVED:
			term->flag = strcmp(value.text, "yes") == 0;
			if (!term->flag && strcmp(value.text, "no") != 0)
				fail_value(parser, token, "invalid value", "Write resolved:yes or resolved:no.");
			term->flag ^= term->negated;
			term->negated = false;
			break;

		case MALS_TERM_AFTER:
		case MALS_TERM_BEFORE:
			if (!parse_age(value.text, &term->ts) &&
				!mals_parse_timestamp(value.text, strlen(value.text), &term->ts))
				fail_value(parser, token, "invalid time",
						   "Write a time in ISO 8601, such as 2030-01-31T15:00:00Z (no zone is "
						   "UTC), or an age in s, m, h, d or w, such as 15m.");
			if (term->negated)
			{
				term->kind = term->kind == MALS_TERM_AFTER ? MALS_TERM_BEFORE : MALS_TERM_AFTER;
				term->negated = false;
			}
			break;

		case MALS_TERM_META:
			term->key = pnstrdup(token->body + strlen(META_PREFIX),
								 token->colon - token->body - strlen(META_PREFIX));
			term->numeric = with_operator;
			if (with_operator && !is_number(value.text))
				fail_value(parser, token, "invalid number",
						   "=, <, <=, > and >= compare numbers. Write meta.KEY:VALUE to compare "
						   "text, and double quotes around a text that begins with one of them.");
			for (const char *dot = term->key; (dot = strchr(dot, '.')) != NULL; dot++)
			{
				if (++dots >= MALS_MAX_STEPS)
					fail_value(parser, token,
							   psprintf("path of more than %d steps", MALS_MAX_STEPS),
							   "Ask for less at a time, or filter the result with plain SQL.");
			}
			if (with_operator)
				term->text = value.text;
			else
				set_text(term, &value);
			if (term->op == MALS_OP_LIKE && term->text[strspn(term->text, "%")] == '\0')
				term->op = MALS_OP_EXISTS;
			term->flag = is_json_literal(value.text);
			break;

		case MALS_TERM_TEXT:
		case MALS_TERM_REGEX:
			elog(ERROR, "term kind %d has no key", term->kind);
	}
}

/*
 * Tells whether dashes are all there is up to the next space.
 */
static bool
is_dashes(const Parser *parser, const char *p)
{
	while (p < parser->end && *p == '-')
		p++;
	return at_break(parser, p);
}

/*
 * Parses the token that begins at start; returns its end.
 */
static const char *
parse_token(Parser *parser, const char *start)
{
	Token token = {.start = start, .body = start};

	/* dashes alone negate nothing: they are a word */
	if (*start == '-' && !is_dashes(parser, start))
	{
		token.negated = true;
		token.body++;
	}
	token.kind = classify(parser, token.body, &token);

	if (token.negated && *token.body == '-' &&
		classify(parser, token.body + 1, &token) != TOKEN_WORD)
		fail(parser, start, find_break(parser, start), "more than one -", NULL,
			 "One - negates a token. Put the text in double quotes to search for it.");

	if (token.kind != TOKEN_WORD || token.negated)
		flush_words(parser);

	switch (token.kind)
	{
		case TOKEN_WORD:
			token.end = find_break(parser, token.body);
			if (token.negated)
				add_regex(parser, start, token.end, token.body, token.end - token.body, true, true);
			else
			{
				if (parser->words.len == 0)
					parser->words_start = start;
				else
					appendStringInfoChar(&parser->words, ' ');
				appendBinaryStringInfo(&parser->words, start, token.end - start);
				parser->words_end = token.end;
			}
			break;

		case TOKEN_QUOTED:
		{
			MalsTerm *term = add_term(parser, start, MALS_TERM_TEXT, token.negated);

			term->text = read_value(parser, &token, token.body).text;
		}
		break;

		case TOKEN_REGEX:
		{
			const char *pattern = token.body + 1;
			int len = token.end - pattern - (token.ignore_case ? 2 : 1);

			if (len == 0)
				fail_value(parser, &token, "empty value",
						   "Write a regular expression between the slashes, or put the "
						   "slashes in double quotes to search for them.");
			add_regex(parser, start, token.end, pattern, len, token.ignore_case, token.negated);
		}
		break;

		case TOKEN_KEY:
			add_key_term(parser, &token);
			break;
	}
	return token.end;
}

/*
 * Parses a query into a condition, in one pass.
 */
MalsCondition *
mals_query_parse(const char *query, int len, const char *argname)
{
	Parser parser = {.query = query, .end = query + len, .argname = argname};

	if (len > MAX_QUERY_BYTES)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s is longer than %d bytes", argname, MAX_QUERY_BYTES),
				errhint("Ask for less at a time, or filter the result with plain SQL."));
	parser.condition = palloc0(sizeof(MalsCondition));
	initStringInfo(&parser.words);

	for (const char *p = query; p < parser.end;)
	{
		if (is_space(*p))
			p++;
		else
			p = parse_token(&parser, p);
	}
	flush_words(&parser);
	pfree(parser.words.data);
	return parser.condition;
}
