/*
 * group_private.h
 *		Shared by the files of src/group only: tokens, the table of words, hashing.
 *
 * A message becomes a template in four steps, each linear in its length:
 *
 *	lexer.c			cuts the bytes into tokens, left to right, without going back
 *	passes.c		look at neighbouring tokens and turn some into variables
 *	template.c		writes the tokens that are left as text
 *	fingerprint.c	hashes that text, by hash.c
 *
 * traceback.c comes first: the stack traces in a message are taken out of it
 * and written as exception types and frames. merge.c is the second stage, over
 * templates.
 */
#ifndef MALS_GROUP_PRIVATE_H
#define MALS_GROUP_PRIVATE_H

#include "mals_errors.h"

/* Bytes and tokens of a message that count; the rest is not looked at. */
#define GROUP_INPUT_MAX 8192
#define GROUP_TOKENS_MAX 2048

/* A byte is written as at most four: a digit as a space and a variable. */
#define GROUP_OUTPUT_MAX (4 * GROUP_INPUT_MAX + 64)

/* What is written in place of what varies. */
#define GROUP_VARIABLE "<*>"
#define GROUP_VARIABLE_LEN 3

typedef enum TokenKind
{
	TOKEN_NONE,  /* swallowed by a neighbour */
	TOKEN_WORD,  /* text that stays */
	TOKEN_PUNCT, /* a run of one punctuation character */
	TOKEN_KEY,   /* quoted text before a colon: a key of JSON or the like */
	TOKEN_VAR    /* something that varies */
} TokenKind;

#define TOKEN_SPACE 0x01   /* white space before it */
#define TOKEN_NUMBER 0x02  /* a variable that starts as a number */
#define TOKEN_DIGITS 0x04  /* a word whose runs of digits vary */
#define TOKEN_MEASURE 0x08 /* a number that has taken in its unit */

typedef struct Token
{
	uint16 start;
	uint16 len;
	uint8 kind;
	uint8 flags;
} Token;

typedef struct Tokens
{
	const unsigned char *text;
	int count;
	bool assigns; /* there is an "=" */
	Token token[GROUP_TOKENS_MAX];
} Tokens;

/* What a word may stand for. */
#define WORD_UNIT 0x0001    /* of time or size */
#define WORD_MONTH 0x0002   /* name of a month */
#define WORD_WEEKDAY 0x0004 /* name of a day */
#define WORD_ZONE 0x0008    /* of time, or AM and PM */
#define WORD_TELLS 0x0010   /* a key whose values tell events apart */
#define WORD_LITERAL 0x0020 /* true, null, ... */
#define WORD_COMMON 0x0040  /* letters and digits, but no id */
#define WORD_SUFFIX 0x0080  /* ends the name of a file or host */
#define WORD_SQL 0x0100     /* opens SQL, in capitals */
#define WORD_METHOD 0x0200  /* of HTTP, in capitals */
#define WORD_HOLDER 0x8000  /* has a name: user, namespace, ... */
#define WORD_PLAIN 0x0400   /* after one of those it is not a name */
#define WORD_BEFORE 0x0800  /* before one of those and its name */
#define WORD_NAMED 0x1000   /* before a name with a hyphen in it */
#define WORD_CODE 0x2000    /* before "code N" */
#define WORD_PROCESS 0x4000 /* before a number and its name in brackets */
#define WORD_TOWARD 0x10000 /* before host:port */
#define WORD_AFTER 0x20000  /* after "User X" */
#define WORD_STATUS 0x40000 /* a key whose value may be a status of HTTP */

extern uint32 mals_group_word(const unsigned char *word, int len);
extern uint32 mals_group_key(const unsigned char *key, int len);

/* hash.c */
extern uint64 mals_group_hash(uint64 hash, const char *bytes, int len);
extern uint64 mals_group_hash_add(uint64 hash, uint64 word);

/* lexer.c */
extern void mals_group_lex(Tokens *tokens, const unsigned char *text, int len);
extern bool mals_group_error_name(const unsigned char *name, int len);

/* passes.c */
extern void mals_group_passes(Tokens *tokens);

/* template.c */
extern int mals_group_template(char *dst, const char *message, int len);
extern int mals_group_template_text(char *dst, const unsigned char *text, int len);

/* traceback.c */
extern int mals_group_traceback(char *dst, const unsigned char *text, int len);

static inline bool
group_is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
group_is_lower(unsigned char c)
{
	return c >= 'a' && c <= 'z';
}

static inline bool
group_is_upper(unsigned char c)
{
	return c >= 'A' && c <= 'Z';
}

static inline bool
group_is_alpha(unsigned char c)
{
	return group_is_lower(c | 0x20);
}

static inline bool
group_is_alnum(unsigned char c)
{
	return group_is_alpha(c) || group_is_digit(c);
}

#endif /* MALS_GROUP_PRIVATE_H */
