/*
 * secret.h
 *		Private header of src/redact: what a secret is, and who finds it.
 *
 * Everything here works on bytes. All patterns are ASCII, and in a server's
 * encoding no byte of a longer character is ASCII: characters are never split.
 */
#ifndef MALS_REDACT_SECRET_H
#define MALS_REDACT_SECRET_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* The bytes start to end of a text, and what they are. */
typedef struct MalsSecret
{
	int start;
	int end;
	const char *kind;
} MalsSecret;

/* Classes of bytes. */
#define C_DIGIT 0x0001
#define C_HEX 0x0002 /* a to f */
#define C_LOW 0x0004 /* g to z */
#define C_UP 0x0008
#define C_UNDER 0x0010
#define C_DASH 0x0020
#define C_DOT 0x0040
#define C_BASE64 0x0080 /* + / = */
#define C_SPACE 0x0100
#define C_QUOTE 0x0200 /* " ' ` */
#define C_END 0x0400   /* , ; & | ) ] } > */
#define C_TILDE 0x0800 /* ~ % */

#define C_LETTER (C_HEX | C_LOW | C_UP)
#define C_HEXADECIMAL (C_DIGIT | C_HEX)
#define C_ALNUM (C_DIGIT | C_LETTER)
#define C_WORD (C_ALNUM | C_UNDER)
#define C_TOKEN (C_WORD | C_DASH)
#define C_DOTTED (C_TOKEN | C_DOT)

extern const uint16 mals_byte_class[256];

#define class_of(c) (mals_byte_class[(unsigned char) (c)])

/* How far a run of bytes of some classes reaches, at most to end. */
static inline int
run_end(const char *s, int start, int end, unsigned classes)
{
	while (start < end && (class_of(s[start]) & classes))
		start++;
	return start;
}

/* Do these bytes begin with a literal? */
#define starts_with(s, len, literal)                                                               \
	((len) >= (int) sizeof(literal) - 1 && memcmp((s), (literal), sizeof(literal) - 1) == 0)

/* The byte in lower case; other than letters some other byte. */
#define fold(c) ((c) | 0x20)

/* Finds where a literal stands, or -1. */
static inline int
find_literal(const char *s, int from, int len, const char *literal, int literal_len)
{
	for (int pos = from; pos <= len - literal_len; pos++)
	{
		const char *hit = memchr(s + pos, literal[0], len - literal_len - pos + 1);

		if (hit == NULL)
			return -1;
		pos = hit - s;
		if (memcmp(hit, literal, literal_len) == 0)
			return pos;
	}
	return -1;
}

/* Do these bytes begin with a literal of lower-case letters, in any case? */
static inline bool
starts_with_any_case(const char *s, int len, const char *literal, int literal_len)
{
	if (len < literal_len)
		return false;
	for (int i = 0; i < literal_len; i++)
	{
		if (fold(s[i]) != literal[i])
			return false;
	}
	return true;
}

/* The mark that replaces a secret begins so, and ends with a bracket. */
#define MALS_MARK "[redacted:"

/* Longest kind, which is an own rule's name, and longest mark. */
#define MALS_KIND_MAX 40
#define MALS_MARK_MAX ((int) sizeof(MALS_MARK) + MALS_KIND_MAX)

/* vendors.c */
typedef struct MalsVendor
{
	const char *kind;
	const char *prefix;
	uint16 alphabet; /* what follows the prefix: these bytes, */
	uint16 min;      /* so many of them */
	uint16 max;      /* to so many, and no more; 0: any number */
	uint16 flags;
	const char *source; /* who says that they look like this */
} MalsVendor;

#define V_MIXED 0x01  /* with a digit, an upper-case letter, or 20 letters without a break */
#define V_STRONG 0x02 /* with a digit, an upper-case and a lower-case letter */
#define V_KEEP 0x04   /* the prefix stays: it is the address of a webhook */

extern const MalsVendor mals_vendors[];
extern const int mals_nvendors;
extern bool mals_vendor_match(const MalsVendor *vendor, const char *s, int len, int pos,
							  MalsSecret *secret);

/* scan.c */
extern bool mals_secret_find(const char *s, int len, MalsSecret *secret);
extern bool mals_secret_specific(const char *s, int len, int pos, MalsSecret *secret);
extern bool mals_token_begins(const char *s, int pos);

/* shapes.c: each looks at one place; at is where its trigger stands */
extern bool mals_shape_jwt(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_pem(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_url(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_dsn(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_scheme(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_telegram(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_azure(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_shape_discord(const char *s, int len, int at, MalsSecret *secret);

/* Finds the credential after an authentication scheme such as Bearer. */
extern bool mals_scheme_credential(const char *s, int len, int at, bool header, MalsSecret *secret);

/* Are these bytes a reference to a secret, or what is left of one? */
extern bool mals_is_placeholder(const char *s, int len);

/* Do these bytes look like made at random, not written by a person? */
extern bool mals_looks_random(const char *s, int len);

/* names.c */

/* How much a name says that its value is a secret: what the value has to be. */
typedef enum MalsSecretLevel
{
	LEVEL_ANY,    /* anything but words that are no value */
	LEVEL_VALUE,  /* no short numbers, nothing with spaces */
	LEVEL_RANDOM, /* what looks random */
	LEVEL_PROSE,  /* what no word of a sentence looks like */
	LEVEL_COOKIE, /* name=value; name=value, one of which looks random */
	LEVEL_SCHEME, /* an HTTP header: a scheme and a credential */
} MalsSecretLevel;

typedef struct MalsNameRule
{
	const char *name;
	const char *kind;
	MalsSecretLevel level;
	int flags;
} MalsNameRule;

#define N_WHOLE 0x01 /* a word of its own: pass, not compass */
#define N_PROSE 0x02 /* alone in prose it is a word: its value must look random */
#define N_JSON 0x04  /* and in JSON */
#define N_LINE 0x08  /* its value goes on to the end of the line */
#define N_PATH 0x10  /* what begins with / is a path */

/* How far a name may reach, with separators. */
#define NAME_MAX_BYTES 64

typedef struct MalsSecretName
{
	const MalsNameRule *rule;
	int start; /* where the name begins, as far as it was read */
	bool bare; /* it is the whole word: token, not access_token */
} MalsSecretName;

/* Tells whether a name that secrets are kept under ends before a place. */
extern bool mals_secret_name(const char *s, int end, MalsSecretName *name);

/* What a secret under that name is called. */
extern const char *mals_secret_kind(const MalsSecretName *name);

/* Are these bytes a word that says something about a secret, such as "expired"? */
extern bool mals_is_word(const char *s, int len);

/* pairs.c */

/* Is a number under that name a secret? */
extern bool mals_secret_number(const MalsSecretName *name, const char *digits, int len);

/* Finds the secret in a string that stands under that name. */
extern bool mals_secret_value(const MalsSecretName *name, const char *s, int len,
							  MalsSecret *secret);

/* Finds the end of a value without quotes, at most limit. */
extern int mals_bare_value_end(const char *s, int len, int pos, int limit,
							   const MalsSecretName *name);

/* Looks at the value under a name that begins at a place, quotes and all. */
extern bool mals_pair_value(const MalsSecretName *name, MalsSecretLevel level, const char *s,
							int len, int at, MalsSecret *secret);

/* Each looks at one place; at is where its trigger stands. */
extern bool mals_pair_separator(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_pair_words(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_pair_element(const char *s, int len, int at, MalsSecret *secret);

/* options.c: secrets on command lines */
extern bool mals_option_user(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_option_long(const char *s, int len, int at, MalsSecret *secret);
extern bool mals_option_letter(const char *s, int len, int at, MalsSecret *secret);

/* Is this argument an option whose value, a secret, is the next one? */
extern bool mals_option_name(const char *s, int len, MalsSecretName *name);

/* rules.c: are there own rules? */
extern bool mals_rules_exist(void);

/*
 * Replaces what own rules match. Returns false if they match nothing; else, if
 * result is not NULL, sets it to a new string.
 */
extern bool mals_rules_apply(const char *s, int len, StringInfo result);

#endif /* MALS_REDACT_SECRET_H */
