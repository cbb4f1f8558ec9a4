/*
 * lexer.c
 *		Cuts a message into tokens, once, from left to right.
 *
 * Between white space and the punctuation that never belongs to a name lie
 * chunks: words, numbers, ids, addresses, paths. One scan over a chunk notes
 * which kinds of bytes it has, and that decides what it is. Where a scan may
 * run far and still fail (a closing quote, a run of hexadecimal groups) the
 * failure is remembered, so that the same bytes are never scanned again.
 */
#include "group_private.h"

/* Classes of bytes. */
#define B_SPACE 0x0001
#define B_DIGIT 0x0002
#define B_HEX 0x0004   /* a to f */
#define B_ALPHA 0x0008 /* g to z */
#define B_UNDER 0x0010
#define B_HIGH 0x0020 /* 0x80 and above */
#define B_DOT 0x0040
#define B_SLASH 0x0080
#define B_AT 0x0100
#define B_JOIN 0x0200 /* other bytes that may stand inside a chunk */
#define B_WORD (B_DIGIT | B_HEX | B_ALPHA | B_UNDER | B_HIGH)
#define B_LETTER (B_HEX | B_ALPHA)
#define B_INNER (B_DOT | B_SLASH | B_AT | B_JOIN)

static const uint16 byte_class[256] = {
	[0 ... ' '] = B_SPACE,   [0x7f] = B_SPACE,      ['0' ... '9'] = B_DIGIT,
	['a' ... 'f'] = B_HEX,   ['A' ... 'F'] = B_HEX, ['g' ... 'z'] = B_ALPHA,
	['G' ... 'Z'] = B_ALPHA, ['_'] = B_UNDER,       [0x80 ... 0xff] = B_HIGH,
	['.'] = B_DOT,           ['/'] = B_SLASH,       ['@'] = B_AT,
	['-'] = B_JOIN,          ['+'] = B_JOIN,        ['~'] = B_JOIN,
	['$'] = B_JOIN,          ['%'] = B_JOIN,
};

typedef struct Lexer
{
	const unsigned char *s;
	int end;
	int pos;
	Tokens *tokens;
	uint8 space;        /* TOKEN_SPACE if white space has been seen since the last token */
	bool sql;           /* a word that opens SQL has been seen */
	int quote_end;      /* where the quoted text that is being read as text ends, or -1 */
	int no_hex_before;  /* no run of hexadecimal groups starts before this */
	int no_quote_to[3]; /* no quote of this kind closes before this: " ' ` */
} Lexer;

/* Returns the byte at a position, a space beyond the end. */
static inline unsigned char
peek(const Lexer *lexer, int pos)
{
	return pos < lexer->end ? lexer->s[pos] : ' ';
}

/* Gives the classes of the byte at a position. */
static inline unsigned
class_at(const Lexer *lexer, int pos)
{
	return byte_class[peek(lexer, pos)];
}

/* Appends a token that reaches to a position, and goes there. */
static inline void
push(Lexer *lexer, TokenKind kind, int flags, int start, int stop)
{
	Token *token = &lexer->tokens->token[lexer->tokens->count++];

	token->start = start;
	token->len = stop - start;
	token->kind = kind;
	token->flags = flags | lexer->space;
	lexer->space = 0;
	lexer->pos = stop;
}

/* Returns the n-th token from the end, or NULL. */
static inline const Token *
last_token(const Lexer *lexer, int n)
{
	int count = lexer->tokens->count;

	return n <= count ? &lexer->tokens->token[count - n] : NULL;
}

/* Tells whether a token is this one punctuation character. */
static inline bool
token_is_char(const Lexer *lexer, const Token *token, unsigned char c)
{
	return token && token->kind == TOKEN_PUNCT && token->len == 1 && lexer->s[token->start] == c;
}

/* Tells whether the values of a key tell events apart. */
static bool
key_tells(const Lexer *lexer, const Token *key)
{
	return (key->kind == TOKEN_WORD || key->kind == TOKEN_KEY) &&
		   (mals_group_key(lexer->s + key->start, key->len) & WORD_TELLS);
}

/* Skips a run of bytes of some classes. */
static inline int
skip_class(const Lexer *lexer, int pos, unsigned classes)
{
	while (pos < lexer->end && (byte_class[lexer->s[pos]] & classes))
		pos++;
	return pos;
}

/* Tells whether a name is that of an error: its last part ends in Error or Exception. */
bool
mals_group_error_name(const unsigned char *name, int len)
{
	static const char *const endings[] = {"Error", "Exception", "Warning", "Failure", "Interrupt"};

	for (int i = 0; i < (int) lengthof(endings); i++)
	{
		int n = strlen(endings[i]);

		if (len >= n && memcmp(name + len - n, endings[i], n) == 0)
			return true;
	}
	return false;
}

/*
 * Returns where a URL or a path ends. Brackets stay while they are opened
 * within it, after a slash, an equals sign or, in a URL, anywhere.
 */
static int
resource_end(const Lexer *lexer, int start, int pos, bool url)
{
	int depth = 0;

	for (; pos < lexer->end; pos++)
	{
		unsigned char c = lexer->s[pos];
		unsigned class = byte_class[c];

		if (class & (B_WORD | B_INNER))
			continue;
		if (class & B_SPACE)
			break;
		if (c == '(' || c == '[' || c == '{')
		{
			unsigned char before = lexer->s[pos - 1];

			if (!url && before != '/' && before != '=')
				break;
			depth++;
		}
		else if (c == ')' || c == ']' || c == '}')
		{
			if (depth-- == 0)
				break;
		}
		else if (c == ',' || c == ';')
		{
			if (!(class_at(lexer, pos + 1) & B_WORD))
				break;
		}
		else if (c == ':')
		{
			unsigned next = class_at(lexer, pos + 1);

			if (!(next & B_DIGIT) && !(url && (next & B_WORD)) && !(next & B_SLASH))
				break;
		}
		else if (c == '"' || c == '\'' || c == '`' || c == '<' || c == '>' || c == '|')
			break;
	}
	while (pos > start + 1 && strchr(".,;:!?&=*-", lexer->s[pos - 1]))
		pos--;
	return pos;
}

/*
 * Returns where a run of hexadecimal groups between colons ends (an IPv6 or
 * MAC address, a fingerprint, a time), or 0 if there is none here.
 */
static int
hex_groups_end(Lexer *lexer, int start)
{
	int pos = start;
	int colons = 0;
	int group = 0;
	bool good = true;

	if (start < lexer->no_hex_before)
		return 0;
	for (; pos < lexer->end; pos++)
	{
		unsigned char c = lexer->s[pos];

		if (byte_class[c] & (B_DIGIT | B_HEX))
		{
			if (++group > 4)
				good = false;
		}
		else if (c == ':' && ((class_at(lexer, pos + 1) & (B_DIGIT | B_HEX)) ||
							  peek(lexer, pos + 1) == ':' || lexer->s[pos - (pos > start)] == ':'))
		{
			colons++;
			group = 0;
		}
		else if (c == '.' && (class_at(lexer, pos + 1) & B_DIGIT))
			group = -8; /* the end of a time, or an IPv4 address */
		else
			break;
	}
	if (good && colons >= 2)
	{
		/* a zone, or the length of a prefix */
		if (peek(lexer, pos) == '%' || peek(lexer, pos) == '/')
		{
			int after = skip_class(lexer, pos + 1, B_WORD);

			if (after > pos + 1)
				return after;
		}
		if (!(class_at(lexer, pos) & B_WORD))
			return pos;
	}
	lexer->no_hex_before = pos;
	return 0;
}

/* Returns where a variable ends that may have ports, lines or clock times behind colons. */
static int
colon_numbers_end(const Lexer *lexer, int pos)
{
	while (peek(lexer, pos) == ':' && (class_at(lexer, pos + 1) & B_DIGIT))
	{
		pos++;
		while (class_at(lexer, pos) & B_WORD ||
			   ((class_at(lexer, pos) & B_INNER) && (class_at(lexer, pos + 1) & B_WORD)))
			pos++;
	}
	return pos;
}

/* Tells whether a dotted name without digits is that of a host, package or file. */
static bool
dotted_name_varies(const Lexer *lexer, int start, int stop)
{
	int parts = 1;
	int last = start;

	if (mals_group_error_name(lexer->s + start, stop - start))
		return false;
	if (peek(lexer, stop) == '(')
		return false;
	for (int i = start; i < stop; i++)
	{
		if (lexer->s[i] == '.')
		{
			parts++;
			last = i + 1;
		}
	}
	if (parts > 2)
		return true;
	return parts == 2 && (mals_group_word(lexer->s + last, stop - last) & WORD_SUFFIX);
}

/* Tells whether a chunk with slashes but no digits is a path. */
static bool
slashed_name_varies(const Lexer *lexer, int start, int stop, unsigned seen)
{
	int slashes = 0;

	if (seen & B_DOT)
		return true;
	for (int i = start; i < stop; i++)
		slashes += lexer->s[i] == '/';
	return slashes >= 3;
}

/*
 * Tells whether a chunk of letters and digits is a name in code: it has one
 * run of digits, and is called or has members.
 */
static bool
names_code(const Lexer *lexer, int start, int stop)
{
	int runs = 0;

	if (peek(lexer, stop) != '(' && !(peek(lexer, stop) == ':' && peek(lexer, stop + 1) == ':'))
		return false;
	if (group_is_digit(lexer->s[start]))
		return false;
	for (int i = start + 1; i < stop; i++)
		runs += group_is_digit(lexer->s[i]) && !group_is_digit(lexer->s[i - 1]);
	return runs == 1;
}

/* Appends HTTP/1.1, or HTTP/<*>, as two tokens: the name stays, the version varies. */
static bool
lex_http_version(Lexer *lexer, int start, int stop)
{
	if (stop - start < 6 || memcmp(lexer->s + start, "HTTP/", 5) != 0)
		return false;
	push(lexer, TOKEN_WORD, 0, start, start + 5);
	push(lexer, TOKEN_VAR, 0, start + 5, stop);
	return true;
}

/* Reads a chunk: a word, number, id, address, name of a file or host, or relative path. */
static void
lex_chunk(Lexer *lexer)
{
	const unsigned char *s = lexer->s;
	int start = lexer->pos;
	int pos = start;
	unsigned seen = 0;
	unsigned char next;
	int stop;

	/* a sign, a leading dot, a currency, an at */
	if (!(byte_class[s[pos]] & B_WORD))
		pos++;
	for (;;)
	{
		unsigned class;

		while (pos < lexer->end && ((class = byte_class[s[pos]]) & B_WORD))
		{
			seen |= class;
			pos++;
		}
		if (pos + 1 < lexer->end && (byte_class[s[pos]] & B_INNER) &&
			(byte_class[s[pos + 1]] & B_WORD))
			seen |= byte_class[s[pos++]];
		else
			break;
	}
	next = peek(lexer, pos);

	if (next == ':')
	{
		unsigned after = class_at(lexer, pos + 1);

		if (!(seen & (B_SLASH | B_HIGH)) && peek(lexer, pos + 1) == '/' &&
			peek(lexer, pos + 2) == '/' && !group_is_digit(s[start]))
		{
			push(lexer, TOKEN_VAR, 0, start, resource_end(lexer, start, pos + 3, true));
			return;
		}
		if (pos - start == 1 && group_is_alpha(s[start]) &&
			(peek(lexer, pos + 1) == '\\' || peek(lexer, pos + 1) == '/'))
		{
			stop = pos + 1;
			while (stop < lexer->end && !(byte_class[s[stop]] & B_SPACE) &&
				   !strchr("\"'<>|,;()", s[stop]))
				stop++;
			while (stop > pos + 2 && strchr(".:!?", s[stop - 1]))
				stop--;
			push(lexer, TOKEN_VAR, 0, start, stop);
			return;
		}
		if (pos - start <= 4 && !(seen & ~(B_DIGIT | B_HEX)) && (byte_class[s[start]] & B_WORD) &&
			((after & (B_DIGIT | B_HEX)) || peek(lexer, pos + 1) == ':') &&
			(stop = hex_groups_end(lexer, start)) != 0)
		{
			push(lexer, TOKEN_VAR, TOKEN_NUMBER, start, colon_numbers_end(lexer, stop));
			return;
		}
	}

	if (!(seen & B_DIGIT))
	{
		bool varies = false;

		if (seen & B_AT)
			varies = true;
		else if (seen & B_SLASH)
		{
			varies = slashed_name_varies(lexer, start, pos, seen);
		}
		else if (seen & B_DOT)
			varies = dotted_name_varies(lexer, start, pos);
		else if (!(seen & ~B_HEX))
			varies = pos - start >= 8;
		else if (pos - start == 9)
			varies = memcmp(s + start, "localhost", 9) == 0;
		else if (pos - start == 4 && next == '/' && start + 8 <= lexer->end &&
				 memcmp(s + start + 5, GROUP_VARIABLE, GROUP_VARIABLE_LEN) == 0 &&
				 lex_http_version(lexer, start, start + 8))
			return;

		if (varies)
			push(lexer, TOKEN_VAR, 0, start, colon_numbers_end(lexer, pos));
		else
		{
			push(lexer, TOKEN_WORD, 0, start, pos);
			if (pos - start >= 5 && pos - start <= 6 && group_is_upper(s[start]) &&
				group_is_upper(s[pos - 1]) && (mals_group_word(s + start, pos - start) & WORD_SQL))
				lexer->sql = true;
		}
		return;
	}

	if (seen & B_HIGH)
	{
		int digits = skip_class(lexer, start, B_DIGIT | B_DOT);

		if (digits > start && (mals_group_word(s + digits, pos - digits) & WORD_UNIT))
			push(lexer, TOKEN_VAR, TOKEN_NUMBER | TOKEN_MEASURE, start, pos);
		else
			push(lexer, TOKEN_WORD, TOKEN_DIGITS, start, pos);
		return;
	}

	if (!(seen & (B_LETTER | B_UNDER)))
	{
		if (next == '%')
			push(lexer, TOKEN_VAR, TOKEN_NUMBER | TOKEN_MEASURE, start, pos + 1);
		else
			push(lexer, TOKEN_VAR, TOKEN_NUMBER, start, colon_numbers_end(lexer, pos));
		return;
	}

	if ((seen & B_SLASH) && lex_http_version(lexer, start, pos))
		return;
	if (pos - start <= 10 && (mals_group_word(s + start, pos - start) & WORD_COMMON))
		push(lexer, TOKEN_WORD, 0, start, pos);
	else if (!(seen & B_SLASH) && mals_group_error_name(s + start, pos - start))
		push(lexer, TOKEN_WORD, 0, start, pos);
	else if (!(seen & B_INNER) && names_code(lexer, start, pos))
		push(lexer, TOKEN_WORD, TOKEN_DIGITS, start, pos);
	else
	{
		bool number = group_is_digit(s[start]) || !(byte_class[s[start]] & B_WORD);

		stop = colon_numbers_end(lexer, pos);
		/* the tag of an image */
		if ((seen & B_SLASH) && peek(lexer, stop) == ':' && (class_at(lexer, stop + 1) & B_WORD))
			stop = skip_class(lexer, stop + 1, B_WORD | B_INNER);
		/* the padding of base64 */
		else if (stop - start >= 16 && peek(lexer, stop) == '=')
		{
			int padded = stop + 1 + (peek(lexer, stop + 1) == '=');

			if (!(class_at(lexer, padded) & (B_WORD | B_INNER)))
				stop = padded;
		}
		push(lexer, TOKEN_VAR, number ? TOKEN_NUMBER : 0, start, stop);
	}
}

/* Returns where the quote that opens at a position closes, or -1. */
static int
closing_quote(Lexer *lexer, int pos, unsigned char quote)
{
	int kind = quote == '"' ? 0 : quote == '\'' ? 1 : 2;
	int limit = lexer->quote_end >= 0 ? lexer->quote_end : lexer->end;

	if (limit <= lexer->no_quote_to[kind])
		return -1;
	for (int i = pos + 1; i < limit; i++)
	{
		unsigned char c = lexer->s[i];

		if (c == '\\' && i + 1 < limit)
			i++;
		else if (c == quote &&
				 (quote != '\'' || (!(class_at(lexer, i + 1) & B_WORD) &&
									(i == pos + 1 || !(byte_class[lexer->s[i - 1]] & B_SPACE)))))
			return i;
	}
	lexer->no_quote_to[kind] = limit;
	return -1;
}

/*
 * Tells whether what is quoted is text to read on in, rather than a value:
 * a line of HTTP, or what tells events apart.
 */
static bool
quoted_is_text(const Lexer *lexer, int start, int stop, unsigned char quote)
{
	const Token *before = last_token(lexer, 1);
	const unsigned char *s = lexer->s;
	int word = start;

	while (word < stop && group_is_upper(s[word]))
		word++;
	if (word - start >= 3 && word + 1 < stop &&
		((s[word] == '/' && word - start == 4 && memcmp(s + start, "HTTP", 4) == 0) ||
		 (s[word] == ' ' && (mals_group_word(s + start, word - start) & WORD_METHOD) &&
		  strchr("/h<", s[word + 1]))))
		return true;
	if (lexer->sql || before == NULL || start == stop)
		return false;
	if (before->kind == TOKEN_PUNCT)
	{
		/* x = 'y' is SQL in small letters */
		if (!token_is_char(lexer, before, '=') ||
			(quote == '\'' && ((before->flags & TOKEN_SPACE) || lexer->space)))
			return false;
		before = last_token(lexer, 2);
	}
	return before && key_tells(lexer, before);
}

/* Reads a quote: a key, a value, text that goes on, or a mark that closes nothing. */
static void
lex_quote(Lexer *lexer, unsigned char quote)
{
	const unsigned char *s = lexer->s;
	int start = lexer->pos;
	const Token *before = last_token(lexer, 1);
	bool attached = start > 0 && (byte_class[s[start - 1]] & B_WORD);
	int stop = -1;
	int after;

	if (start == lexer->quote_end)
	{
		lexer->quote_end = -1;
		lexer->space = 0;
		push(lexer, TOKEN_PUNCT, 0, start, start + 1);
		return;
	}
	if (start > lexer->quote_end)
		lexer->quote_end = -1;
	/* b'...' opens a quote, 5" and don't do not */
	if (!attached || (before && before->len == 1 && group_is_alpha(s[start - 1])) ||
		(quote == '"' && !(class_at(lexer, start + 1) & B_SPACE)))
		stop = closing_quote(lexer, start, quote);
	if (stop < 0)
	{
		push(lexer, TOKEN_PUNCT, 0, start, start + 1);
		return;
	}

	after = skip_class(lexer, stop + 1, B_SPACE);
	if (peek(lexer, after) == ':' && stop > start + 1 && quote != '`' &&
		(before == NULL || token_is_char(lexer, before, '{') || token_is_char(lexer, before, ',')))
	{
		int digits = 0;

		/* an id */
		for (int i = start + 1; i < stop; i++)
			digits += group_is_digit(s[i]);
		if (digits >= 4 || digits == stop - start - 1)
			push(lexer, TOKEN_VAR, 0, start, stop + 1);
		else
		{
			push(lexer, TOKEN_KEY, 0, start + 1, stop);
			lexer->pos = after + 1;
			lexer->space = TOKEN_SPACE;
		}
	}
	else if (lexer->quote_end < 0 && quoted_is_text(lexer, start + 1, stop, quote))
	{
		push(lexer, TOKEN_PUNCT, 0, start, start + 1);
		lexer->quote_end = stop;
	}
	else
		push(lexer, TOKEN_VAR, 0, start, stop + 1);
}

/* Tells whether a lone slash is a path: it is assigned, or the target of a method of HTTP. */
static bool
follows_root_word(const Lexer *lexer, bool attached)
{
	const Token *before = last_token(lexer, 1);

	if (attached)
		return token_is_char(lexer, before, '=');
	return before && before->kind == TOKEN_WORD && group_is_upper(lexer->s[before->start]) &&
		   (mals_group_word(lexer->s + before->start, before->len) & WORD_METHOD);
}

/* Reads punctuation, and what may start with it. */
static void
lex_punctuation(Lexer *lexer, unsigned char c)
{
	const unsigned char *s = lexer->s;
	int start = lexer->pos;
	unsigned char next = peek(lexer, start + 1);
	unsigned class = byte_class[next];
	bool attached = start > 0 && !(byte_class[s[start - 1]] & B_SPACE);
	int stop;

	switch (c)
	{
		case '"':
		case '\'':
		case '`':
			lex_quote(lexer, c);
			return;

		case '/':
			if (((class & (B_WORD | B_DOT | B_JOIN)) || next == '*' || next == '{') &&
				!(attached && (s[start - 1] == '<' || (byte_class[s[start - 1]] & B_WORD))))
			{
				push(lexer, TOKEN_VAR, 0, start, resource_end(lexer, start, start + 1, false));
				return;
			}
			/* the root: a=/, GET / */
			if ((class & B_SPACE) && follows_root_word(lexer, attached))
			{
				push(lexer, TOKEN_VAR, 0, start, start + 1);
				return;
			}
			break;

		case '.':
		case '~':
			/* ./a, ../a, ~/a */
			stop = start + 1 + (c == '.' && next == '.');
			if (peek(lexer, stop) == '/' && (class_at(lexer, stop + 1) & (B_WORD | B_DOT)) &&
				!(attached && (byte_class[s[start - 1]] & (B_WORD | B_INNER))))
			{
				push(lexer, TOKEN_VAR, 0, start, resource_end(lexer, start, stop, false));
				return;
			}
			if (c == '.' && (class & B_WORD) && !attached)
			{
				lex_chunk(lexer);
				return;
			}
			break;

		case '@':
		case '#':
			if (attached)
				break;
			/* @name, #name */
			if (class & B_LETTER)
			{
				push(lexer, TOKEN_VAR, 0, start, skip_class(lexer, start + 1, B_WORD | B_JOIN));
				return;
			}
			/* FALLTHROUGH */
		case '-':
		case '+':
		case '$':
			if ((class & B_DIGIT) || (next == '.' && (class_at(lexer, start + 2) & B_DIGIT)))
			{
				lex_chunk(lexer);
				return;
			}
			break;

		case '\\':
			/* white space that has been escaped */
			if (next == 'n' || next == 'r' || next == 't')
			{
				lexer->space = TOKEN_SPACE;
				lexer->pos += 2;
				return;
			}
			if (next == '\\' && (class_at(lexer, start + 2) & B_WORD) && !attached)
			{
				stop = start + 2;
				while (stop < lexer->end &&
					   ((class_at(lexer, stop) & (B_WORD | B_INNER)) || s[stop] == '\\'))
					stop++;
				push(lexer, TOKEN_VAR, 0, start, stop);
				return;
			}
			break;

		case '[':
			if (((class & (B_DIGIT | B_HEX)) || next == ':') &&
				(stop = hex_groups_end(lexer, start + 1)) != 0 && peek(lexer, stop) == ']' &&
				peek(lexer, stop + 1) == ':')
			{
				push(lexer, TOKEN_VAR, 0, start, colon_numbers_end(lexer, stop + 1));
				return;
			}
			break;

		case ':':
			if (next == ':' && (class_at(lexer, start + 2) & (B_DIGIT | B_HEX)) &&
				!(attached && (byte_class[s[start - 1]] & B_WORD)) &&
				(stop = hex_groups_end(lexer, start)) != 0)
			{
				push(lexer, TOKEN_VAR, 0, start, stop);
				return;
			}
			/* a port of any address */
			if ((class & B_DIGIT) && (class_at(lexer, start + 2) & B_DIGIT) &&
				(!attached || s[start - 1] == '='))
			{
				push(lexer, TOKEN_VAR, TOKEN_NUMBER, start, colon_numbers_end(lexer, start));
				return;
			}
			break;

		case '<':
			/* a template's own variable */
			if (next == '*' && peek(lexer, start + 2) == '>')
			{
				push(lexer, TOKEN_VAR, 0, start, start + 3);
				return;
			}
			/* FALLTHROUGH */
		case '>':
			/* a bound: <1 sec */
			if ((class & B_DIGIT) && !attached)
			{
				stop = skip_class(lexer, start + 1, B_DIGIT | B_DOT);
				if (peek(lexer, stop) != '>')
				{
					uint8 space = lexer->space;

					lexer->pos++;
					lexer->space = 0;
					lex_chunk(lexer);
					lexer->tokens->token[lexer->tokens->count - 1].flags |= space;
					return;
				}
			}
			break;

		case '*':
			/* a number of which the first digits are hidden */
			stop = start + 1;
			while (peek(lexer, stop) == '*')
				stop++;
			if (stop - start >= 3 && (class_at(lexer, stop) & B_DIGIT))
			{
				push(lexer, TOKEN_VAR, TOKEN_NUMBER, start, skip_class(lexer, stop, B_DIGIT));
				return;
			}
			push(lexer, TOKEN_PUNCT, 0, start, stop);
			return;

		default:
			break;
	}

	stop = start + 1;
	if (c == '=')
	{
		if (next == '>')
			stop++;
		while (peek(lexer, stop) == '=')
			stop++;
		lexer->tokens->assigns |= stop == start + 1;
	}
	else if (c != '(' && c != ')' && c != '[' && c != ']' && c != '{' && c != '}' && c != '<' &&
			 c != '>')
	{
		while (peek(lexer, stop) == c)
			stop++;
	}
	push(lexer, TOKEN_PUNCT, 0, start, stop);
}

/* Cuts a text of at most GROUP_INPUT_MAX bytes into tokens. */
void
mals_group_lex(Tokens *tokens, const unsigned char *text, int len)
{
	Lexer lexer = {.s = text, .end = len, .tokens = tokens, .quote_end = -1};

	tokens->text = text;
	tokens->count = 0;
	tokens->assigns = false;

	while (lexer.pos < len && tokens->count < GROUP_TOKENS_MAX - 1)
	{
		unsigned char c = text[lexer.pos];
		unsigned class = byte_class[c];

		if (class & B_WORD)
			lex_chunk(&lexer);
		else if (class & B_SPACE)
		{
			lexer.space = TOKEN_SPACE;
			lexer.pos++;
			/* a colour of a terminal */
			if (c == 0x1b && peek(&lexer, lexer.pos) == '[')
			{
				int stop = lexer.pos + 1;

				while (group_is_digit(peek(&lexer, stop)) || peek(&lexer, stop) == ';')
					stop++;
				if (group_is_alpha(peek(&lexer, stop)))
					lexer.pos = stop + 1;
			}
		}
		else
			lex_punctuation(&lexer, c);
	}
}
