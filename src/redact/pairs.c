/*
 * pairs.c
 *		What stands under a name such as password, and is a secret by that.
 *
 * A pair is a name, a separator and a value: password=x, "token": "x", --secret x,
 * PASSWORD 'x', <password>x</password>. Found by its separator; the name is read
 * backwards from there (names.c).
 *
 * What is a word to some is a password to others. So values that are plainly
 * none are left alone (true, required, ${PASSWORD}, a path), and names that are
 * more often words (token, secret, auth) ask for a value that looks random
 * where it stands in prose.
 */
#include "secret.h"

/* How much of a value is looked at to decide. */
#define VALUE_HEAD 256

/* Tells whether a value in a sentence is none of its words, nor a name, version or date. */
static bool
stands_out(const MalsSecretName *name, const char *s, int len)
{
	bool password = name->rule->level == LEVEL_ANY;
	unsigned seen = 0;

	while (len > 0 && strchr(".:?=", s[len - 1]) != NULL)
		len--;
	for (int i = 0; i < len; i++)
	{
		unsigned class = class_of(s[i]);

		if (!(class & C_ALNUM) && (class != 0 || strchr("!#$*@^", s[i]) == NULL) &&
			(password || strchr("+/", s[i]) == NULL))
			return false;
		seen |= class;
	}
	return len >= (password ? 6 : 16) && (seen & C_DIGIT) && (seen & C_LETTER);
}

/* Tells whether one of some cookies looks random. */
static bool
has_random_cookie(const char *s, int len)
{
	int pos = 0;

	for (;;)
	{
		int start = run_end(s, pos, len, C_DOTTED) + 1;
		int end = start;

		if (start >= len || s[start - 1] != '=')
			return false;
		while (end < len && s[end] != ';')
			end++;
		if (mals_looks_random(s + start, end - start))
			return true;
		pos = run_end(s, Min(len, end + 1), len, C_SPACE);
	}
}

/* Tells whether a value, or its first VALUE_HEAD bytes, is a secret under a name. */
static bool
is_secret(const MalsSecretName *name, MalsSecretLevel level, const char *s, int len)
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
		case LEVEL_PROSE:
			return stands_out(name, s, len);
		case LEVEL_COOKIE:
			return has_random_cookie(s, len);
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
 * Punctuation ends a value where it is followed by nothing that goes on with the
 * value; between cookies it does not.
 */
int
mals_bare_value_end(const char *s, int len, int pos, int limit, const MalsSecretName *name)
{
	bool line = (name->rule->flags & N_LINE) != 0;
	bool cookies = name->rule->level == LEVEL_COOKIE;

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
		else if (cookies && s[pos] == ';')
			continue;
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

/*
 * Tells which level a name's value has to reach where it stands. prose: after a
 * colon and a space; json: after a colon and in quotes.
 */
static MalsSecretLevel
level_at(const MalsSecretName *name, bool prose, bool json)
{
	int flags = name->rule->flags;

	if (name->bare && ((prose && (flags & N_PROSE)) || (json && (flags & N_JSON))))
		return LEVEL_RANDOM;
	return name->rule->level;
}

bool
mals_pair_value(const MalsSecretName *name, MalsSecretLevel level, const char *s, int len, int at,
				MalsSecret *secret)
{
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
		head = mals_bare_value_end(s, len, start, Min(len, start + VALUE_HEAD), name);
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
				: mals_bare_value_end(s, len, start, len, name);
	if (!quote && end - start > 2 && (s[end - 1] == '.' || s[end - 1] == ':'))
		end--;
	if (mals_secret_specific(s, len, start, secret) &&
		(secret->end >= end || s[secret->end] == '@'))
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = name->rule->kind;
	return true;
}

/* Goes back over quotes, behind backslashes too, and other bytes. */
static int
skip_back(const char *s, int pos, const char *others)
{
	for (int least = Max(0, pos - 32); pos > least; pos--)
	{
		if (pos > 1 && s[pos - 2] == '\\' && strchr("nr", s[pos - 1]) != NULL)
			pos--;
		else if (!(class_of(s[pos - 1]) & (C_QUOTE | C_SPACE)) && s[pos - 1] != '\\' &&
				 strchr(others, s[pos - 1]) == NULL)
			break;
	}
	return pos;
}

/* Finds the name that a value has in name: password, value: x; end is that of "value". */
static bool
name_of_value(const char *s, int end, MalsSecretName *name)
{
	int pos = end - 5;
	int start;

	if (pos <= 0 || !starts_with_any_case(s + pos, 5, "value", 5) ||
		(class_of(s[pos - 1]) & C_TOKEN && !(pos > 1 && s[pos - 2] == '\\')))
		return false;
	pos = skip_back(s, pos, ",");
	if (!mals_secret_name(s, pos, name))
		return false;
	for (start = pos; start > 0 && pos - start < NAME_MAX_BYTES; start--)
	{
		if (!(class_of(s[start - 1]) & C_DOTTED))
			break;
	}
	start = skip_back(s, start, "");
	if (start == 0 || strchr(":=", s[start - 1]) == NULL)
		return false;
	start = skip_back(s, start - 1, "");
	return (start >= 4 && starts_with_any_case(s + start - 4, 4, "name", 4)) ||
		   (start >= 3 && starts_with_any_case(s + start - 3, 3, "key", 3));
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
	if (!mals_secret_name(s, before, &name) && !name_of_value(s, before, &name))
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
	return mals_pair_value(&name, level_at(&name, prose, s[at] == ':'), s, len, value, secret);
}

/*
 * Finds what follows a name in words: PASSWORD 'x', IDENTIFIED BY 'x', password is
 * x, aws_secret_access_key x; at is that of the last letter but one.
 */
bool
mals_pair_words(const char *s, int len, int at, MalsSecret *secret)
{
	static const char by[] = "identified by";
	static const char password[] = "password";
	static const char *const links[] = {"is ", "is: ", "was ", "to "};
	int end = at + 2;
	int start = end - (int) (sizeof(by) - 1);
	int value = end + 1;
	MalsSecretName name;

	if (fold(s[at]) == 'b')
	{
		if (start < 0 || !starts_with_any_case(s + start, sizeof(by) - 1, by, sizeof(by) - 1) ||
			!mals_secret_name(password, sizeof(password) - 1, &name))
			return false;
	}
	else if (!mals_secret_name(s, end, &name) || name.rule->level > LEVEL_VALUE ||
			 (name.rule->flags & (N_WHOLE | N_PROSE)))
		return false;
	if (name.rule->level == LEVEL_ANY && value < len && s[value] == '\'')
		return mals_pair_value(&name, LEVEL_ANY, s, len, value, secret);
	for (int i = 0; i < lengthof(links); i++)
	{
		int n = strlen(links[i]);

		if (len - value > n && memcmp(s + value, links[i], n) == 0)
		{
			value += n;
			break;
		}
	}
	return mals_pair_value(&name, LEVEL_PROSE, s, len, value, secret);
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

bool
mals_secret_number(const MalsSecretName *name, const char *digits, int len)
{
	return is_secret(name, level_at(name, false, true), digits, len);
}

bool
mals_secret_value(const MalsSecretName *name, const char *s, int len, MalsSecret *secret)
{
	MalsSecretLevel level = level_at(name, false, true);

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
