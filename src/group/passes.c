/*
 * passes.c
 *		Turns tokens into variables by what stands beside them, then joins
 *		variables that stand together.
 *
 * Each pass is one walk over the tokens that looks a few ahead and behind.
 */
#include "group_private.h"

/* Tokens that the brackets after the value of an assignment may hold. */
#define VALUE_TOKENS_MAX 48

/* Tells whether a token is this one punctuation character; false beyond the ends. */
static inline bool
is_char(const Tokens *tokens, int at, unsigned char c)
{
	const Token *token = tokens->token;

	return at < tokens->count && at >= 0 && token[at].kind == TOKEN_PUNCT && token[at].len == 1 &&
		   tokens->text[token[at].start] == c;
}

/* Tells whether a token is of a kind; false beyond the ends. */
static inline bool
is_kind(const Tokens *tokens, int at, TokenKind kind)
{
	return at >= 0 && at < tokens->count && tokens->token[at].kind == kind;
}

/* Tells whether white space, or the end, is before a token. */
static inline bool
is_spaced(const Tokens *tokens, int at)
{
	return at >= tokens->count || (tokens->token[at].flags & TOKEN_SPACE);
}

/* Returns what a word token may stand for. */
static inline uint32
sets_at(const Tokens *tokens, int at)
{
	if (!is_kind(tokens, at, TOKEN_WORD))
		return 0;
	return mals_group_word(tokens->text + tokens->token[at].start, tokens->token[at].len);
}

/* Tells whether a token is this word, in any case. */
static inline bool
is_word(const Tokens *tokens, int at, const char *word, int len)
{
	return is_kind(tokens, at, TOKEN_WORD) && tokens->token[at].len == len &&
		   pg_strncasecmp((const char *) tokens->text + tokens->token[at].start, word, len) == 0;
}

/* Returns what a key may stand for. */
static inline uint32
key_sets(const Tokens *tokens, int at)
{
	return mals_group_key(tokens->text + tokens->token[at].start, tokens->token[at].len);
}

/* Makes one variable of the tokens from one to another. */
static inline void
make_variable(Tokens *tokens, int from, int to)
{
	tokens->token[from].kind = TOKEN_VAR;
	for (int i = from + 1; i <= to; i++)
		tokens->token[i].kind = TOKEN_NONE;
}

/* Tells whether a variable is a plain number of so many digits at most. */
static bool
is_short_number(const Tokens *tokens, int at, int digits)
{
	const Token *token = &tokens->token[at];

	if (token->len > digits)
		return false;
	for (int i = 0; i < token->len; i++)
	{
		if (!group_is_digit(tokens->text[token->start + i]))
			return false;
	}
	return true;
}

/* Tells whether a number is three digits long, as the statuses of HTTP are. */
static bool
is_http_status(const Tokens *tokens, int at)
{
	return is_kind(tokens, at, TOKEN_VAR) && tokens->token[at].len == 3 &&
		   is_short_number(tokens, at, 3) && tokens->text[tokens->token[at].start] >= '1' &&
		   tokens->text[tokens->token[at].start] <= '5';
}

/* Keeps a number that tells events apart: a status of HTTP, an exit code. */
static void
pass_number(Tokens *tokens, int at)
{
	int before = at - 1;

	if (is_kind(tokens, before, TOKEN_PUNCT) && tokens->text[tokens->token[before].start] == '"')
		before--;
	if ((is_kind(tokens, before, TOKEN_VAR) && is_word(tokens, before - 1, "HTTP/", 5)) ||
		is_word(tokens, before, "HTTP", 4))
	{
		if (is_http_status(tokens, at))
			tokens->token[at].kind = TOKEN_WORD;
		return;
	}
	before = at - 1;
	/* GET <*> 404, GET <*> -> 404 */
	for (int skipped = 0; skipped < 2 && is_kind(tokens, before, TOKEN_PUNCT); skipped++)
		before--;
	if (is_kind(tokens, before, TOKEN_VAR) && (sets_at(tokens, before - 1) & WORD_METHOD) &&
		group_is_upper(tokens->text[tokens->token[before - 1].start]))
	{
		if (is_http_status(tokens, at))
			tokens->token[at].kind = TOKEN_WORD;
		return;
	}
	before = at - 1;
	if (is_char(tokens, before, ':'))
		before--;
	if (is_word(tokens, before, "code", 4) && (sets_at(tokens, before - 1) & WORD_CODE) &&
		is_short_number(tokens, at, 3))
		tokens->token[at].kind = TOKEN_WORD;
	else if (is_kind(tokens, before, TOKEN_KEY) && before == at - 1 &&
			 (key_sets(tokens, before) & WORD_STATUS) && is_http_status(tokens, at))
		tokens->token[at].kind = TOKEN_WORD;
}

/* Lets a number take in its unit and what it is restated as: 1190 bytes (1.16 KB). */
static void
pass_unit(Tokens *tokens, int at)
{
	Token *token = &tokens->token[at];

	if (is_spaced(tokens, at + 1) && (sets_at(tokens, at + 1) & WORD_UNIT) &&
		!is_char(tokens, at + 2, '='))
	{
		token->flags |= TOKEN_MEASURE;
		tokens->token[at + 1].kind = TOKEN_NONE;
	}
}

/* Makes dates of the names of months and days that stand beside numbers. */
static void
pass_date(Tokens *tokens, int at, uint32 sets)
{
	int next = at + 1;

	if (is_char(tokens, next, ',') || is_char(tokens, next, '.'))
		next++;
	if (sets & WORD_ZONE)
	{
		/* backwards: 08:16:53 PDT */
		if (is_kind(tokens, at - 1, TOKEN_VAR) && (tokens->token[at - 1].flags & TOKEN_NUMBER) &&
			is_spaced(tokens, at))
			tokens->token[at].kind = TOKEN_VAR;
		return;
	}
	if (!group_is_upper(tokens->text[tokens->token[at].start]))
		return;
	if (sets & WORD_WEEKDAY)
	{
		if ((sets_at(tokens, next) & WORD_MONTH) && is_kind(tokens, next + 1, TOKEN_VAR))
			make_variable(tokens, at, next);
		else if (is_kind(tokens, next, TOKEN_VAR) && (tokens->token[next].flags & TOKEN_NUMBER) &&
				 tokens->token[next].len > 1)
			make_variable(tokens, at, next);
	}
	else if (is_kind(tokens, next, TOKEN_VAR) && (tokens->token[next].flags & TOKEN_NUMBER))
		make_variable(tokens, at, next);
	else if (is_kind(tokens, at - 1, TOKEN_VAR) && (tokens->token[at - 1].flags & TOKEN_NUMBER) &&
			 is_short_number(tokens, at - 1, 2))
		tokens->token[at].kind = TOKEN_VAR;
}

/* Masks names that the words around them give away. */
static void
pass_name(Tokens *tokens, int at, uint32 sets)
{
	int next = at + 1;

	if (!is_spaced(tokens, next))
		return;
	if (is_kind(tokens, next, TOKEN_VAR))
	{
		/* process <*> (X) */
		if (is_char(tokens, at + 2, '(') && is_kind(tokens, at + 3, TOKEN_WORD) &&
			is_char(tokens, at + 4, ')') && (sets & WORD_PROCESS))
			make_variable(tokens, next, at + 4);
		return;
	}
	if (!is_kind(tokens, next, TOKEN_WORD))
		return;
	/* for X from <*> */
	if (tokens->token[at].len == 3 && is_word(tokens, at, "for", 3) &&
		is_word(tokens, at + 2, "from", 4) && is_kind(tokens, at + 3, TOKEN_VAR))
	{
		tokens->token[next].kind = TOKEN_VAR;
		return;
	}
	/* for user X, invalid user X, User X has; not: user unknown, user x= */
	if ((sets & WORD_HOLDER) && !is_char(tokens, at + 2, '=') &&
		!(sets_at(tokens, next) & WORD_PLAIN) &&
		((sets_at(tokens, at - 1) & WORD_BEFORE) ||
		 (at == 0 && (sets_at(tokens, at + 2) & WORD_AFTER))))
		tokens->token[next].kind = TOKEN_VAR;
	/* organization a-b; not: node re-started */
	else if (sets & WORD_NAMED)
	{
		const unsigned char *name = tokens->text + tokens->token[next].start;
		const unsigned char *hyphen = memchr(name, '-', tokens->token[next].len);

		if (hyphen != NULL && !(mals_group_word(name, hyphen - name) & WORD_PLAIN))
			tokens->token[next].kind = TOKEN_VAR;
	}
	/* to redis:6379 */
	else if ((sets & WORD_TOWARD) && is_char(tokens, at + 2, ':') && !is_spaced(tokens, at + 2) &&
			 is_kind(tokens, at + 3, TOKEN_VAR) && !is_spaced(tokens, at + 3) &&
			 is_short_number(tokens, at + 3, 5))
		make_variable(tokens, next, at + 3);
}

/* Masks the user in the log of a web server: 10.0.0.1 - X [11/Nov/2001:01:02:03] */
static void
pass_access_log(Tokens *tokens, int at)
{
	int user = at + 1;

	if (is_kind(tokens, at - 1, TOKEN_VAR) && is_spaced(tokens, user) &&
		(is_kind(tokens, user, TOKEN_WORD) || is_char(tokens, user, '-')) &&
		is_char(tokens, user + 1, '[') && is_kind(tokens, user + 2, TOKEN_VAR) &&
		memchr(tokens->text + tokens->token[user + 2].start, '/', tokens->token[user + 2].len))
		tokens->token[user].kind = TOKEN_VAR;
}

/* Masks true, null and the like where they are a value rather than a word of a sentence. */
static void
pass_literal(Tokens *tokens, int at)
{
	int next = at + 1;

	if (next >= tokens->count || !is_spaced(tokens, next) || !is_kind(tokens, next, TOKEN_WORD) ||
		is_char(tokens, at - 1, '=') || is_char(tokens, at - 1, ':') ||
		is_kind(tokens, at - 1, TOKEN_KEY))
		tokens->token[at].kind = TOKEN_VAR;
}

/*
 * Returns the token that closes a bracket, or -1. Brackets that do not close
 * soon are not tried again.
 */
static int
closing_bracket(const Tokens *tokens, int at, int *no_close_before)
{
	int depth = 0;
	int close;

	if (at < *no_close_before)
		return -1;
	for (close = at; close < tokens->count && close - at < VALUE_TOKENS_MAX; close++)
	{
		unsigned char c = tokens->text[tokens->token[close].start];

		if (!is_kind(tokens, close, TOKEN_PUNCT))
			continue;
		if (strchr("([{", c))
			depth++;
		else if (strchr(")]}", c) && --depth == 0)
			return close;
	}
	*no_close_before = close;
	return -1;
}

/*
 * Returns the last token of an assignment's value: the text up to white space
 * or a delimiter, with the brackets that follow a name directly.
 */
static int
value_end(const Tokens *tokens, int at, int *no_close_before)
{
	int to = at;

	for (; to + 1 < tokens->count && !is_spaced(tokens, to + 1); to++)
	{
		const Token *next = &tokens->token[to + 1];
		unsigned char c = tokens->text[next->start];

		if (next->kind == TOKEN_KEY)
			break;
		if (next->kind != TOKEN_PUNCT)
			continue;
		if (strchr(",;)]}>|\"'`&", c))
			break;
		if (strchr("([{", c))
		{
			int close = closing_bracket(tokens, to + 1, no_close_before);

			if (close < 0)
				break;
			to = close - 1;
		}
	}
	/* punctuation that ends a sentence is not part of it */
	while (to > at && tokens->token[to].kind == TOKEN_PUNCT &&
		   strchr(".:!?", tokens->text[tokens->token[to].start]))
		to--;
	return to;
}

/* Masks the values of assignments, but for keys whose values tell events apart. */
static void
pass_assignments(Tokens *tokens)
{
	int no_close_before = 0;

	for (int at = 1; at + 1 < tokens->count; at++)
	{
		int value = at + 1;
		int to;
		bool dotted;

		if (!is_char(tokens, at, '=') || is_char(tokens, value, '=') ||
			!(is_kind(tokens, at - 1, TOKEN_WORD) || is_kind(tokens, at - 1, TOKEN_VAR)))
			continue;
		if (is_char(tokens, value, '['))
		{
			to = closing_bracket(tokens, value, &no_close_before);
			if (to >= 0 && !(key_sets(tokens, at - 1) & WORD_TELLS))
				make_variable(tokens, value, to);
			continue;
		}
		if (!is_kind(tokens, value, TOKEN_WORD) && !is_kind(tokens, value, TOKEN_VAR))
			continue;
		/* an empty value, and the next key: a= b= */
		if (!is_spaced(tokens, at) && is_spaced(tokens, value) && is_char(tokens, value + 1, '='))
			continue;
		to = value_end(tokens, value, &no_close_before);
		if (is_kind(tokens, at - 1, TOKEN_WORD) && (key_sets(tokens, at - 1) & WORD_TELLS))
		{
			/* a code alone is a number of anything */
			if (to == value && (key_sets(tokens, at - 1) & WORD_STATUS) &&
				!is_word(tokens, at - 1, "code", 4) && is_http_status(tokens, value))
				tokens->token[value].kind = TOKEN_WORD;
			at = to;
			continue;
		}
		dotted = !is_spaced(tokens, at) && (is_kind(tokens, at - 1, TOKEN_VAR) ||
											memchr(tokens->text + tokens->token[at - 1].start, '.',
												   tokens->token[at - 1].len));
		/* a property with a dotted name varies as a whole */
		make_variable(tokens, dotted ? at - 1 : value, to);
		at = to;
	}
}

/* Joins variables that stand together, and lists of them; removes what was swallowed. */
static void
pass_join(Tokens *tokens)
{
	Token *out = tokens->token;
	const unsigned char *text = tokens->text;
	int n = 0;

	for (int at = 0; at < tokens->count; at++)
	{
		Token token = tokens->token[at];

		if (token.kind == TOKEN_NONE)
			continue;
		if (token.kind == TOKEN_VAR && n > 0)
		{
			if (out[n - 1].kind == TOKEN_VAR)
			{
				out[n - 1].flags |= token.flags & TOKEN_MEASURE;
				continue;
			}
			if (n > 1 && out[n - 1].kind == TOKEN_PUNCT && out[n - 2].kind == TOKEN_VAR)
			{
				unsigned char c = text[out[n - 1].start];

				if (c == ',' || (strchr(":.-/@+_~#&?x*|", c) && !(token.flags & TOKEN_SPACE) &&
								 !(out[n - 1].flags & TOKEN_SPACE)))
				{
					n--;
					continue;
				}
			}
		}
		else if (token.kind == TOKEN_PUNCT)
		{
			unsigned char c = text[token.start];

			/* what is said again in brackets: 10.0.0.1 (a.example), and () */
			if (c == ')' && n > 1)
			{
				int open = out[n - 1].kind == TOKEN_VAR ? n - 2 : n - 1;

				if (open > 0 && out[open].kind == TOKEN_PUNCT && text[out[open].start] == '(' &&
					(out[open].flags & TOKEN_SPACE) && out[open - 1].kind == TOKEN_VAR)
				{
					n = open;
					continue;
				}
			}
		}
		out[n++] = token;
	}
	tokens->count = n;
}

/* Masks a word of which a part is hidden: sk-abc***xyz */
static void
pass_hidden(Tokens *tokens, int at)
{
	int to = at;

	if (!is_kind(tokens, at - 1, TOKEN_WORD) && !is_kind(tokens, at - 1, TOKEN_VAR))
		return;
	if (!is_spaced(tokens, at + 1) &&
		(is_kind(tokens, at + 1, TOKEN_WORD) || is_kind(tokens, at + 1, TOKEN_VAR)))
		to++;
	make_variable(tokens, at - 1, to);
}

/* Turns what varies into variables. */
void
mals_group_passes(Tokens *tokens)
{
	/* counted apart: gcc would warn of a subscript -1 that there cannot be */
	const Token *token = tokens->token;

	for (int at = 0; at < tokens->count; at++, token++)
	{
		if (token->kind == TOKEN_VAR)
		{
			if (token->flags & TOKEN_NUMBER)
			{
				pass_number(tokens, at);
				pass_unit(tokens, at);
			}
		}
		else if (token->kind == TOKEN_WORD)
		{
			uint32 sets = sets_at(tokens, at);

			if (sets & WORD_LITERAL)
				pass_literal(tokens, at);
			if (sets & (WORD_MONTH | WORD_WEEKDAY | WORD_ZONE))
				pass_date(tokens, at, sets);
			if (token->kind == TOKEN_WORD)
				pass_name(tokens, at, sets);
		}
		else if (is_char(tokens, at, '-'))
			pass_access_log(tokens, at);
		else if (token->len >= 3 && token->kind == TOKEN_PUNCT &&
				 tokens->text[token->start] == '*' && !is_spaced(tokens, at))
			pass_hidden(tokens, at);
	}
	if (tokens->assigns)
		pass_assignments(tokens);
	pass_join(tokens);
}
