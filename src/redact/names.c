/*
 * names.c
 *		Names that secrets are kept under, such as password, and words that are
 *		none.
 *
 * Names are read backwards from where they end, compared without case and
 * without _ - and dots, and by their end: DB_PASSWORD, dbPassword and
 * db.password are all passwords.
 */
#include "secret.h"

/* Longest part of a name that matters, without separators. */
#define NAME_MAX_LETTERS 24

static const MalsNameRule rules[] = {
	{"password", "password", LEVEL_ANY, 0},
	{"passwd", "password", LEVEL_ANY, 0},
	{"passphrase", "password", LEVEL_ANY, N_LINE},
	{"passcode", "password", LEVEL_ANY, 0},
	{"pwd", "password", LEVEL_ANY, N_PATH},
	{"pw", "password", LEVEL_VALUE, N_WHOLE | N_PROSE},
	{"bindpw", "password", LEVEL_VALUE, 0},
	{"rootpw", "password", LEVEL_VALUE, 0},
	{"pass", "password", LEVEL_VALUE, N_WHOLE | N_PROSE},
	{"passwords", "password", LEVEL_RANDOM, 0},
	{"secret", "secret", LEVEL_VALUE, N_PROSE},
	{"secrets", "secret", LEVEL_RANDOM, 0},
	{"secretaccesskey", "aws", LEVEL_VALUE, 0},
	{"secretkey", "secret", LEVEL_VALUE, 0},
	{"secretkeybase", "secret", LEVEL_VALUE, 0},
	{"token", "token", LEVEL_VALUE, N_PROSE | N_JSON},
	{"pat", "token", LEVEL_RANDOM, N_WHOLE},
	{"apikey", "api_key", LEVEL_VALUE, 0},
	{"apikeys", "api_key", LEVEL_RANDOM, 0},
	{"appkey", "api_key", LEVEL_VALUE, 0},
	{"applicationkey", "api_key", LEVEL_VALUE, 0},
	{"accesskey", "key", LEVEL_VALUE, 0},
	{"accountkey", "key", LEVEL_VALUE, 0},
	{"adminkey", "key", LEVEL_VALUE, 0},
	{"authkey", "key", LEVEL_VALUE, 0},
	{"decryptionkey", "key", LEVEL_VALUE, 0},
	{"encryptionkey", "key", LEVEL_VALUE, 0},
	{"functionskey", "key", LEVEL_VALUE, 0},
	{"hmackey", "key", LEVEL_VALUE, 0},
	{"licensekey", "key", LEVEL_RANDOM, 0},
	{"masterkey", "key", LEVEL_VALUE, 0},
	{"openaikey", "key", LEVEL_VALUE, 0},
	{"privatekey", "private_key", LEVEL_VALUE, 0},
	{"serverkey", "key", LEVEL_RANDOM, 0},
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
	{"cookie", "cookie", LEVEL_COOKIE, N_LINE | N_WHOLE},
	{"cookies", "cookie", LEVEL_COOKIE, N_LINE | N_WHOLE},
	{"jsessionid", "cookie", LEVEL_RANDOM, 0},
	{"phpsessid", "cookie", LEVEL_RANDOM, 0},
	{"connectsid", "cookie", LEVEL_RANDOM, 0},
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
	"a",         "an",        "and",       "any",       "are",       "argon2",    "argon2id",
	"array",     "as",        "ed25519",   "pbkdf2",    "rsa2048",   "rsa4096",   "sha512",
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
 * Tells whether a rule ends with the three bytes before a place: most names are
 * told apart by them.
 */
static bool
may_be_secret_name(const char *s, int end)
{
	static uint32 before[32][32]; /* by the last two letters: which letters stand before them */
	static bool ready = false;

	if (!ready)
	{
		for (int i = 0; i < lengthof(rules); i++)
		{
			int len = strlen(rules[i].name);
			const char *last = rules[i].name + len - 1;

			before[last[0] % 32][last[-1] % 32] |=
				len == 2 ? PG_UINT32_MAX : (uint32) 1 << last[-2] % 32;
		}
		ready = true;
	}
	return end >= 2 && (class_of(s[end - 1]) & C_LETTER) &&
		   (before[s[end - 1] % 32][(unsigned char) s[end - 2] % 32] &
			(uint32) 1 << (end == 2 ? 0 : (unsigned char) s[end - 3] % 32));
}

/* Finds the rule of a name that ends before a place. */
bool
mals_secret_name(const char *s, int end, MalsSecretName *name)
{
	char letters[NAME_MAX_LETTERS];
	int where[NAME_MAX_LETTERS];
	const MalsNameRule *best = NULL;
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

const char *
mals_secret_kind(const MalsSecretName *name)
{
	return name->rule->kind;
}
