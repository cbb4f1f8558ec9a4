/*
 * pairs.c
 *		Names such as password, and what may be their value.
 *
 * A pair is a name, a separator and a value: password=x, "token": "x", --secret x,
 * PASSWORD 'x', <password>x</password>. Found by its separator; the name is read
 * backwards from there. Names are compared without case and without _ - and dots,
 * and by their end: DB_PASSWORD, dbPassword and db.password are all passwords.
 *
 * What is a word to some is a password to others. So values that are plainly
 * none are left alone (true, required, ${PASSWORD}, a path), and names that are
 * more often words (token, secret, auth) ask for a value that looks random
 * where it stands in prose.
 */
#include "secret.h"

/* Longest part of a name that matters, without separators. */
#define NAME_MAX_LETTERS 24

/* How far a name may reach, with separators. */
#define NAME_MAX_BYTES 64

/* How much of a value is looked at to decide. */
#define VALUE_HEAD 256

typedef enum Level
{
	LEVEL_ANY,    /* anything but words that are no value */
	LEVEL_VALUE,  /* no short numbers, nothing with spaces */
	LEVEL_RANDOM, /* what looks random */
	LEVEL_SCHEME, /* an HTTP header: a scheme and a credential */
} Level;

typedef struct NameRule
{
	const char *name;
	const char *kind;
	Level level;
	int flags;
} NameRule;

#define N_WHOLE 0x01 /* a word of its own: pass, not compass */
#define N_PROSE 0x02 /* alone in prose it is a word: its value must look random */
#define N_JSON 0x04  /* and in JSON */
#define N_LINE 0x08  /* its value goes on to the end of the line */
#define N_PATH 0x10  /* what begins with / is a path */

static const NameRule rules[] = {
	{"password", "password", LEVEL_ANY, 0},
	{"passwd", "password", LEVEL_ANY, 0},
	{"passphrase", "password", LEVEL_ANY, N_LINE},
	{"passcode", "password", LEVEL_ANY, 0},
	{"pwd", "password", LEVEL_ANY, N_PATH},
	{"pass", "password", LEVEL_VALUE, N_WHOLE | N_PROSE},
	{"passwords", "password", LEVEL_RANDOM, 0},
	{"secret", "secret", LEVEL_VALUE, N_PROSE},
	{"secrets", "secret", LEVEL_RANDOM, 0},
	{"secretaccesskey", "aws", LEVEL_VALUE, 0},
	{"secretkey", "secret", LEVEL_VALUE, 0},
	{"token", "token", LEVEL_VALUE, N_PROSE | N_JSON},
	{"apikey", "api_key", LEVEL_VALUE, 0},
	{"apikeys", "api_key", LEVEL_RANDOM, 0},
	{"appkey", "api_key", LEVEL_VALUE, 0},
	{"accesskey", "key", LEVEL_VALUE, 0},
	{"accountkey", "key", LEVEL_VALUE, 0},
	{"authkey", "key", LEVEL_VALUE, 0},
	{"encryptionkey", "key", LEVEL_VALUE, 0},
	{"functionskey", "key", LEVEL_VALUE, 0},
	{"masterkey", "key", LEVEL_VALUE, 0},
	{"privatekey", "private_key", LEVEL_VALUE, 0},
	{"servicekey", "key", LEVEL_VALUE, 0},
	{"servicerolekey", "key", LEVEL_VALUE, 0},
	{"sharedkey", "key", LEVEL_VALUE, 0},
	{"signingkey", "key", LEVEL_VALUE, 0},
	{"storagekey", "key", LEVEL_VALUE, 0},
	{"subscriptionkey", "key", LEVEL_VALUE, 0},
	{"auth", "credential", LEVEL_RANDOM, N_WHOLE},
	{"credential", "credential", LEVEL_RANDOM, 0},
	{"credentials", "credential", LEVEL_RANDOM, 0},
	{"amzsignature", "signature", LEVEL_RANDOM, 0},
	{"googsignature", "signature", LEVEL_RANDOM, 0},
	{"sig", "signature", LEVEL_RANDOM, N_WHOLE},
	{"authorization", "authorization", LEVEL_SCHEME, 0},
};

/* What before "token" says that it is none that opens anything. */
static const char *const harmless_tokens[] = {
	"page",  "next",   "continuation", "pagination", "cursor",      "cancellation", "cancel",
	"bos",   "eos",    "pad",          "unk",        "sep",         "cls",          "mask",
	"stop",  "max",    "min",          "per",        "first",       "last",         "special",
	"start", "end",    "sync",         "lock",       "fencing",     "prompt",       "completion",
	"input", "output", "total",        "num",        "idempotency",
};

/* Values that are words, and say something about the secret. */
static const char *const words[] = {
	"a",         "an",        "and",       "any",       "are",       "array",     "as",
	"at",        "available", "await",     "base64",    "basic",     "bearer",    "bool",
	"boolean",   "by",        "bytes",     "can",       "cannot",    "changed",   "check",
	"correct",   "created",   "default",   "deleted",   "denied",    "digest",    "disabled",
	"does",      "empty",     "enabled",   "enter",     "error",     "expired",   "fail",
	"failed",    "failure",   "false",     "filtered",  "for",       "found",     "from",
	"generated", "given",     "has",       "hash",      "hidden",    "hs256",     "if",
	"in",        "input",     "incorrect", "int",       "integer",   "invalid",   "is",
	"it",        "jwt",       "leaked",    "malformed", "mandatory", "masked",    "match",
	"matched",   "may",       "md5",       "minimum",   "mismatch",  "missing",   "must",
	"needed",    "new",       "nil",       "no",        "none",      "not",       "null",
	"number",    "oauth",     "oauth2",    "object",    "of",        "off",       "ok",
	"omitted",   "on",        "only",      "optional",  "or",        "passed",    "please",
	"provided",  "redacted",  "refreshed", "rejected",  "removed",   "required",  "reset",
	"revoked",   "rotated",   "rs256",     "same",      "see",       "set",       "sha256",
	"should",    "str",       "string",    "success",   "text",      "that",      "the",
	"this",      "to",        "too",       "true",      "type",      "undefined", "unknown",
	"unset",     "updated",   "use",       "utf8",      "valid",     "verified",  "was",
	"weak",      "will",      "with",      "wrong",     "yes",       "you",       "your",
};

/*
 * Reads letters backwards from a place, in lower case and without separators,
 * into the end of a buffer; where tells where each stood. Returns how many.
 */
static int
read_name(const char *s, int end, char *letters, int *where)
{
	int least = Max(0, end - NAME_MAX_BYTES);
	int n = 0;

	for (int pos = end - 1; pos >= least && n < NAME_MAX_LETTERS; pos--)
	{
		unsigned class = class_of(s[pos]);

		if (class & C_LETTER)
		{
			n++;
			letters[NAME_MAX_LETTERS - n] = fold(s[pos]);
			where[NAME_MAX_LETTERS - n] = pos;
		}
		else if (!(class & (C_UNDER | C_DASH | C_DOT)) &&
				 /* "api key" is one name */
				 !(s[pos] == ' ' && n == 3 &&
				   memcmp(letters + NAME_MAX_LETTERS - 3, "key", 3) == 0))
			break;
	}
	return n;
}

/* Tells whether a word of its own begins at a place. */
static bool
word_begins(const char *s, int pos)
{
	return pos == 0 || !(class_of(s[pos - 1]) & C_ALNUM) ||
		   ((class_of(s[pos]) & C_UP) && !(class_of(s[pos - 1]) & C_UP));
}

/* Tells whether what stands before "token" makes it a word of something else. */
static bool
is_harmless_token(const char *s, int token)
{
	int end = token;
	int start;

	while (end > 0 && token - end < 2 && (class_of(s[end - 1]) & (C_UNDER | C_DASH | C_DOT)))
		end--;
	for (start = end; start > 0 && end - start < 16 && (class_of(s[start - 1]) & C_LETTER); start--)
	{
		if (start < end && word_begins(s, start))
			break;
	}
	for (int i = 0; i < lengthof(harmless_tokens); i++)
	{
		int len = strlen(harmless_tokens[i]);

		if (len == end - start &&
			starts_with_any_case(s + start, end - start, harmless_tokens[i], len))
			return true;
	}
	return false;
}

/*
 * Tells whether a rule ends with the two bytes before a place: most names are
 * told apart by them.
 */
static bool
may_be_secret_name(const char *s, int end)
{
	static uint32 before[32]; /* by last letter: which letters stand before it */
	static bool ready = false;

	if (!ready)
	{
		for (int i = 0; i < lengthof(rules); i++)
		{
			const char *last = rules[i].name + strlen(rules[i].name) - 1;

			before[last[0] % 32] |= (uint32) 1 << last[-1] % 32;
		}
		ready = true;
	}
	return end >= 3 && (class_of(s[end - 1]) & C_LETTER) &&
		   (before[s[end - 1] % 32] & (uint32) 1 << (unsigned char) s[end - 2] % 32);
}

/* Finds the rule of a name that ends before a place. */
bool
mals_secret_name(const char *s, int end, MalsSecretName *name)
{
	char letters[NAME_MAX_LETTERS];
	int where[NAME_MAX_LETTERS];
	const NameRule *best = NULL;
	int best_len = 0;
	int n;

	/* password2 is one, too */
	for (int i = 0; i < 2 && end > 1 && (class_of(s[end - 1]) & C_DIGIT); i++)
		end--;
	if (!may_be_secret_name(s, end))
		return false;
	n = read_name(s, end, letters, where);
	for (int i = 0; i < lengthof(rules); i++)
	{
		const char *rule = rules[i].name;
		int len = strlen(rule);

		if (len > best_len && len <= n && rule[len - 1] == letters[NAME_MAX_LETTERS - 1] &&
			memcmp(letters + NAME_MAX_LETTERS - len, rule, len) == 0 &&
			(!(rules[i].flags & N_WHOLE) || word_begins(s, where[NAME_MAX_LETTERS - len])))
		{
			best = &rules[i];
			best_len = len;
		}
	}
	if (best == NULL)
		return false;
	name->rule = best;
	name->start = where[NAME_MAX_LETTERS - best_len];
	name->bare = name->start == 0 || !(class_of(s[name->start - 1]) & C_TOKEN);
	return !(best->flags & N_JSON) || !is_harmless_token(s, name->start);
}

/* Tells whether a value is a word. */
bool
mals_is_word(const char *s, int len)
{
	char word[16];

	while (len > 0 && strchr(".!?:,;", s[len - 1]) != NULL)
		len--;
	if (len == 0 || len >= sizeof(word))
		return len == 0;
	for (int i = 0; i < len; i++)
		word[i] = (class_of(s[i]) & C_LETTER) ? fold(s[i]) : s[i];
	word[len] = '\0';
	for (int i = 0; i < lengthof(words); i++)
	{
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

/* Tells whether a value, or its first VALUE_HEAD bytes, is a secret under a name. */
static bool
is_secret(const MalsSecretName *name, Level level, const char *s, int len)
{
	if (len < 2 || mals_is_placeholder(s, len) || mals_is_word(s, len) ||
		((name->rule->flags & N_PATH) && s[0] == '/'))
		return false;
	switch (level)
	{
		case LEVEL_ANY:
			return true;
		case LEVEL_VALUE:
			if (run_end(s, 0, len, C_DIGIT | C_DOT) == len)
				return len >= 6;
			for (int i = 0; i < len; i++)
			{
				if (class_of(s[i]) & C_SPACE)
					return false;
			}
			return true;
		default:
			return mals_looks_random(s, len);
	}
}

/* Tells whether another pair begins at a place. */
static bool
pair_begins(const char *s, int len, int pos)
{
	int end = run_end(s, pos, Min(len, pos + NAME_MAX_BYTES), C_DOTTED);

	return end > pos && end < len && (s[end] == '=' || s[end] == ':');
}

/*
 * Finds the end of a value without quotes, at most limit. Punctuation ends it
 * where it is followed by nothing that goes on with the value.
 */
static int
bare_value_end(const char *s, int len, int pos, int limit, bool line)
{
	for (; pos < limit; pos++)
	{
		unsigned class = class_of(s[pos]);

		if (class & C_SPACE)
		{
			if (!line || s[pos] != ' ')
				break;
		}
		else if (s[pos] == '<')
			break;
		else if (s[pos] == '\\')
		{
			if (pos + 1 < len && strchr("nrt\\\"'`", s[pos + 1]) != NULL)
				break;
		}
		else if ((class & (C_QUOTE | C_END)) &&
				 (pos + 1 >= len || s[pos + 1] == '\\' || s[pos + 1] == ':' || s[pos + 1] == '<' ||
				  (class_of(s[pos + 1]) & (C_SPACE | C_QUOTE | C_END | C_DOT)) ||
				  pair_begins(s, len, pos + 1)))
			break;
	}
	return pos;
}

/*
 * Finds the end of a value in quotes that were opened behind so many
 * backslashes: the next quote behind as many, not counting pairs of escapes.
 * Without one, the end of the line.
 */
static int
quoted_value_end(const char *s, int start, int limit, char quote, int backslashes)
{
	int run = 0;

	for (int pos = start; pos < limit; pos++)
	{
		if (s[pos] == '\\')
		{
			run++;
			continue;
		}
		if (s[pos] == '\n')
			return pos;
		if (s[pos] == quote && run >= backslashes &&
			(run - backslashes) % (2 * (backslashes + 1)) == 0)
		{
			/* SQL doubles quotes */
			if (backslashes > 0 || quote != '\'' || pos == start || pos + 1 >= limit ||
				s[pos + 1] != quote)
				return pos - backslashes;
			pos++;
		}
		run = 0;
	}
	return limit;
}

/* Tells which level a name's value has to reach where it stands. */
static Level
level_at(const MalsSecretName *name, bool prose, bool json)
{
	int flags = name->rule->flags;

	if (name->bare && ((prose && (flags & N_PROSE)) || (json && (flags & N_JSON))))
		return LEVEL_RANDOM;
	return name->rule->level;
}

/*
 * Looks at the value that begins at a place, quotes and all. prose: after a
 * colon and a space; json: after a colon and in quotes.
 */
static bool
find_value(const MalsSecretName *name, Level level, const char *s, int len, int at,
		   MalsSecret *secret)
{
	bool line = (name->rule->flags & N_LINE) != 0;
	int backslashes = 0;
	char quote = '\0';
	int start;
	int head;
	int end;

	while (at + backslashes < len && backslashes < 32 && s[at + backslashes] == '\\')
		backslashes++;
	start = at + backslashes;
	if (start < len && (class_of(s[start]) & C_QUOTE))
		quote = s[start++];
	else if (backslashes > 0)
		return false;

	if (quote)
		head = quoted_value_end(s, start, Min(len, start + VALUE_HEAD), quote, backslashes);
	else
		head = bare_value_end(s, len, start, Min(len, start + VALUE_HEAD), line);
	if (level == LEVEL_SCHEME)
	{
		if (mals_scheme_credential(s, len, start, true, secret))
			return true;
		level = LEVEL_RANDOM;
	}
	if (!quote && head > start && strchr("{[(", s[start]) != NULL)
		return false;
	if (!is_secret(name, level, s + start, head - start))
		return false;

	end = quote ? quoted_value_end(s, start, len, quote, backslashes)
				: bare_value_end(s, len, start, len, line);
	if (!quote && end - start > 2 && (s[end - 1] == '.' || s[end - 1] == ':'))
		end--;
	if (mals_secret_specific(s, len, start, secret) && secret->end >= end)
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = name->rule->kind;
	return true;
}

/* Finds the value of a pair by its = or :. */
bool
mals_pair_separator(const char *s, int len, int at, MalsSecret *secret)
{
	MalsSecretName name;
	int before = at;
	int after = at + 1;
	int value;
	bool quoted;
	bool prose;

	/* name, "name", \"name\", x['name'] */
	for (int i = 0; i < 2 && before > 0 && s[before - 1] == ' '; i++)
		before--;
	if (before > 1 && s[before - 1] == ']' && (class_of(s[before - 2]) & C_QUOTE))
		before--;
	quoted = before > 0 && (class_of(s[before - 1]) & C_QUOTE);
	if (quoted)
	{
		before--;
		for (int i = 0; i < 8 && before > 0 && s[before - 1] == '\\'; i++)
			before--;
	}
	if (!mals_secret_name(s, before, &name))
		return false;

	/* = : := == => but neither :: nor :// */
	if (after < len && s[at] == ':' &&
		(s[after] == ':' || starts_with(s + after, len - after, "//")))
		return false;
	if (after < len && (s[after] == '=' || (s[at] == '=' && s[after] == '>')))
		after++;
	value = after;
	while (value < len && value < after + 4 && (s[value] == ' ' || s[value] == '\t'))
		value++;
	if (value == len)
		return false;
	if (s[at] == '=' && value > after && pair_begins(s, len, value))
	{
		/* password= user=bob: there is none; but abc== is base64 */
		int end = run_end(s, value, len, C_DOTTED) + 1;

		if (end < len && s[end] != '=' && !(class_of(s[end]) & C_SPACE))
			return false;
	}
	prose = s[at] == ':' && !quoted && value > after && !(class_of(s[value]) & C_QUOTE) &&
			s[value] != '\\';
	return find_value(&name, level_at(&name, prose, s[at] == ':'), s, len, value, secret);
}

/* Finds the password in user:password, which follows the option of curl and others. */
static bool
user_password(const char *s, int len, int at, MalsSecret *secret)
{
	int start;
	int end;

	while (at < len && (s[at] == ' ' || (class_of(s[at]) & C_QUOTE)))
		at++;
	start = run_end(s, at, Min(len, at + NAME_MAX_BYTES), C_DOTTED);
	if (start == at || start == len || s[start] != ':')
		return false;
	start++;
	end = bare_value_end(s, len, start, len, false);
	if (mals_is_placeholder(s + start, end - start) || !mals_looks_random(s + start, end - start))
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = "basic";
	return true;
}

/* Finds the password in curl -u user:password; at is that of the dash. */
bool
mals_pair_user(const char *s, int len, int at, MalsSecret *secret)
{
	return (at == 0 || s[at - 1] == ' ') && user_password(s, len, at + 2, secret);
}

/* Finds the value of an option, --password x; at is that of its first dash. */
bool
mals_pair_option(const char *s, int len, int at, MalsSecret *secret)
{
	MalsSecretName name;
	int end;
	bool quoted;

	if (!mals_token_begins(s, at))
		return false;
	end = run_end(s, at + 2, Min(len, at + 2 + NAME_MAX_BYTES), C_TOKEN);
	if (end - at == 6 && memcmp(s + at, "--user", 6) == 0)
		return user_password(s, len, end, secret);
	if (end + 2 >= len || s[end] != ' ' || s[end + 1] == '-' || !mals_secret_name(s, end, &name))
		return false;
	quoted = (class_of(s[end + 1]) & C_QUOTE) || s[end + 1] == '\\';
	return find_value(&name, quoted ? name.rule->level : LEVEL_RANDOM, s, len, end + 1, secret);
}

/* Finds the password in PASSWORD 'x' or IDENTIFIED BY 'x'; at is that of its last letter. */
bool
mals_pair_sql(const char *s, int len, int at, MalsSecret *secret)
{
	static const char by[] = "identified by";
	static const char password[] = "password";
	int end = at + 1;
	int start = end - (int) (sizeof(by) - 1);
	MalsSecretName name;

	if (start >= 0 && starts_with_any_case(s + start, sizeof(by) - 1, by, sizeof(by) - 1))
	{
		if (!mals_secret_name(password, sizeof(password) - 1, &name))
			return false;
	}
	else if (!mals_secret_name(s, end, &name) || name.rule->level != LEVEL_ANY)
		return false;
	return find_value(&name, LEVEL_ANY, s, len, end + 1, secret);
}

/* Finds the value in <password>x</password>; at is that of the first >. */
bool
mals_pair_element(const char *s, int len, int at, MalsSecret *secret)
{
	MalsSecretName name;
	int start = at + 1;
	int begin;
	int end;

	if (!mals_secret_name(s, at, &name))
		return false;
	begin = name.start;
	while (begin > 0 && at - begin < NAME_MAX_BYTES &&
		   ((class_of(s[begin - 1]) & C_DOTTED) || s[begin - 1] == ':'))
		begin--;
	if (begin == 0 || s[begin - 1] != '<')
		return false;
	for (end = start; end < len && s[end] != '<'; end++)
		;
	if (!starts_with(s + end, len - end, "</") ||
		!is_secret(&name, name.rule->level, s + start, Min(end - start, VALUE_HEAD)))
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = name.rule->kind;
	return true;
}

const char *
mals_secret_kind(const MalsSecretName *name)
{
	return name->rule->kind;
}

bool
mals_secret_number(const MalsSecretName *name, const char *digits, int len)
{
	return is_secret(name, level_at(name, false, true), digits, len);
}

bool
mals_secret_value(const MalsSecretName *name, const char *s, int len, MalsSecret *secret)
{
	Level level = level_at(name, false, true);

	if (level == LEVEL_SCHEME)
	{
		if (mals_scheme_credential(s, len, 0, true, secret))
			return true;
		level = LEVEL_RANDOM;
	}
	if (!is_secret(name, level, s, Min(len, VALUE_HEAD)))
		return false;
	if (mals_secret_specific(s, len, 0, secret) && secret->end == len)
		return false;
	secret->start = 0;
	secret->end = len;
	secret->kind = name->rule->kind;
	return true;
}
