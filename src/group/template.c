/*
 * template.c
 *		Writes a message's template: the tokens that stay, and <*> for those
 *		that vary.
 *
 * White space is written as one space, none inside brackets and one after a
 * comma, so that the same object printed by two libraries is the same text.
 * Brackets that repeat the ones just before them are left out: a list of
 * objects or tuples of any length has one template.
 */
#include "group_private.h"

#include "mb/pg_wchar.h"

/* Characters that are written of a run of one: a line, a progress bar. */
#define PUNCT_RUN_MAX 3

/* Brackets open at once of which the start is remembered. */
#define DEPTH_MAX 32


typedef struct Writer
{
	char *dst;
	int len;
	int depth;
	int open[DEPTH_MAX];       /* where the bracket at a depth opened */
	int last_open[DEPTH_MAX];  /* the brackets before it at that depth, */
	int last_close[DEPTH_MAX]; /* or -1 */
} Writer;

/* Appends bytes as they are. */
static inline void
write_bytes(Writer *writer, const unsigned char *bytes, int len)
{
	memcpy(writer->dst + writer->len, bytes, len);
	writer->len += len;
}

/* Appends a variable. */
static inline void
write_variable(Writer *writer)
{
	memcpy(writer->dst + writer->len, GROUP_VARIABLE, GROUP_VARIABLE_LEN);
	writer->len += GROUP_VARIABLE_LEN;
}

/* Writes a word with each run of digits in it as a variable. */
static void
write_masked_digits(Writer *writer, const unsigned char *bytes, int len)
{
	int i = 0;

	while (i < len)
	{
		if (group_is_digit(bytes[i]))
		{
			while (i < len && group_is_digit(bytes[i]))
				i++;
			write_variable(writer);
		}
		else
			writer->dst[writer->len++] = bytes[i++];
	}
}

/* Notes that a bracket opens here. */
static void
open_bracket(Writer *writer)
{
	if (writer->depth < DEPTH_MAX)
		writer->open[writer->depth] = writer->len;
	writer->depth++;
	if (writer->depth < DEPTH_MAX)
		writer->last_close[writer->depth] = -1;
}

/* Notes that a bracket has been closed, and takes it out if it says the same as the one before. */
static void
close_bracket(Writer *writer)
{
	int depth;
	int open;
	int last;
	int gap;

	if (writer->depth == 0)
		return;
	depth = --writer->depth;
	if (depth >= DEPTH_MAX)
		return;
	open = writer->open[depth];
	last = writer->last_close[depth];
	if (last >= 0 && last - writer->last_open[depth] == writer->len - open)
	{
		/* only ", " or " " between them */
		gap = open - last;
		if (((gap == 1 && writer->dst[last] == ' ') ||
			 (gap == 2 && writer->dst[last] == ',' && writer->dst[last + 1] == ' ')) &&
			memcmp(writer->dst + writer->last_open[depth], writer->dst + open,
				   writer->len - open) == 0)
		{
			writer->len = last;
			return;
		}
	}
	writer->last_open[depth] = open;
	writer->last_close[depth] = writer->len;
}

/* Writes tokens as text. */
static int
write_tokens(char *dst, const Tokens *tokens)
{
	Writer writer = {.dst = dst, .last_close[0] = -1};
	const unsigned char *text = tokens->text;
	unsigned char last = '(';

	for (int i = 0; i < tokens->count; i++)
	{
		const Token *token = &tokens->token[i];
		const unsigned char *bytes = text + token->start;
		unsigned char c = token->kind == TOKEN_PUNCT ? bytes[0] : 0;
		bool empty_list;

		if (((token->flags & TOKEN_SPACE) || last == ',') && last != '(' && last != '[' &&
			last != '{' && c != ')' && c != ']' && c != '}' && c != ',')
			dst[writer.len++] = ' ';
		empty_list = i > 0 && last == '[' && (i == 1 || (token[-1].flags & TOKEN_SPACE));
		last = c;
		switch ((TokenKind) token->kind)
		{
			case TOKEN_VAR:
				write_variable(&writer);
				break;
			case TOKEN_KEY:
				dst[writer.len++] = '"';
				write_bytes(&writer, bytes, token->len);
				dst[writer.len++] = '"';
				dst[writer.len++] = ':';
				break;
			case TOKEN_PUNCT:
				if (c == '(' || c == '[' || c == '{')
					open_bracket(&writer);
				/* an empty list is a list */
				if (c == ']' && empty_list)
					write_variable(&writer);
				write_bytes(&writer, bytes, Min(token->len, PUNCT_RUN_MAX));
				if (c == ')' || c == ']' || c == '}')
					close_bracket(&writer);
				break;
			case TOKEN_WORD:
				if (token->flags & TOKEN_DIGITS)
					write_masked_digits(&writer, bytes, token->len);
				else
					write_bytes(&writer, bytes, token->len);
				break;
			case TOKEN_NONE:
				break;
		}
	}
	return writer.len;
}

/* Writes the template of a text without stack traces, returns its length. */
int
mals_group_template_text(char *dst, const unsigned char *text, int len)
{
	Tokens tokens;

	mals_group_lex(&tokens, text, len);
	mals_group_passes(&tokens);
	return write_tokens(dst, &tokens);
}

/*
 * Writes the template of a message of which the white space has been escaped,
 * if it has stack traces in it; else returns -1.
 */
static int
template_of_escaped(char *dst, const unsigned char *text, int len)
{
	unsigned char plain[GROUP_INPUT_MAX];
	int n = 0;
	bool lines = false;

	for (int i = 0; i < len && !lines; i++)
		lines = text[i] == '\\' && i + 1 < len && text[i + 1] == 'n';
	/* in JSON a trace is a value like any other */
	if (!lines || text[0] == '{' || text[0] == '[')
		return -1;
	for (int i = 0; i < len; i++)
	{
		unsigned char c = text[i];

		if (c == '\\' && i + 1 < len)
		{
			c = text[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		plain[n++] = c;
	}
	return mals_group_traceback(dst, plain, n);
}

/* Writes the template of a message to GROUP_OUTPUT_MAX bytes at dst, returns its length. */
int
mals_group_template(char *dst, const char *message, int len)
{
	const unsigned char *text = (const unsigned char *) message;
	int written;

	if (len > GROUP_INPUT_MAX)
	{
		/* not in the middle of a character */
		if (GetDatabaseEncoding() == PG_UTF8)
		{
			for (len = GROUP_INPUT_MAX; (text[len] & 0xc0) == 0x80 && len > 0; len--)
				;
		}
		else
			len = pg_mbcliplen(message, len, GROUP_INPUT_MAX);
	}
	if (memchr(text, '\n', len) != NULL)
		written = mals_group_traceback(dst, text, len);
	else
		written = template_of_escaped(dst, text, len);
	if (written >= 0)
		return written;
	return mals_group_template_text(dst, text, len);
}
