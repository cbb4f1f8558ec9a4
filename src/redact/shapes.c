/*
 * shapes.c
 *		Secrets that are known by their shape: JSON web tokens, private keys,
 *		passwords in URLs, what follows an authentication scheme, bot tokens.
 */
#include "secret.h"

/* Classes of what an HTTP header takes as a token. */
#define C_TOKEN68 (C_DOTTED | C_BASE64 | C_TILDE)

/* How far before a place its beginning is looked for, at most. */
#define LOOK_BACK 128

/* How much of a value tells what it is. */
#define LOOK_AHEAD 256

/* Finds a JSON web token: three parts, or the five of an encrypted one, between dots. */
bool
mals_shape_jwt(const char *s, int len, int at, MalsSecret *secret)
{
	int end = at;
	int parts = 0;

	if (!starts_with(s + at, len - at, "eyJ") || !mals_token_begins(s, at))
		return false;
	while (parts < 5)
	{
		int start = parts == 0 ? at : end + 1;
		int stop = run_end(s, start, len, C_TOKEN);

		/* only an encrypted token's key may be empty */
		if (stop - start < 10 && !(stop == start && parts == 1))
			break;
		end = stop;
		parts++;
		if (end == len || s[end] != '.')
			break;
	}
	secret->start = at;
	secret->end = end;
	secret->kind = "jwt";
	return parts >= 3;
}

/* Skips white space, written out or as an escape such as \n. */
static int
skip_space(const char *s, int pos, int len)
{
	while (pos < len)
	{
		if (class_of(s[pos]) & C_SPACE)
			pos++;
		else if (s[pos] == '\\' && pos + 1 < len && strchr("nrt\\", s[pos + 1]) != NULL)
			pos += 2;
		else
			break;
	}
	return pos;
}

/*
 * Tells whether what follows the line of BEGIN is a key and not a sentence: it
 * begins with eight bytes of base64 or a header, or it is closed and has lines.
 */
static bool
is_key_body(const char *s, int len, int start, int end)
{
	int body = skip_space(s, start, len);

	if (run_end(s, body, Min(len, body + 8), C_ALNUM | C_BASE64) == body + 8 ||
		starts_with(s + body, len - body, "Proc-Type:") ||
		starts_with(s + body, len - body, "Version:") ||
		starts_with(s + body, len - body, "Comment:"))
		return true;
	return end > body && s[start] != ' ';
}

/*
 * Finds a private key between its lines of BEGIN and END; without the last one
 * (logs cut) all that follows is taken for the key. at is that of BEGIN.
 */
bool
mals_shape_pem(const char *s, int len, int at, MalsSecret *secret)
{
	int label = at + 5;
	int body;
	int end;

	if (at < 5 || memcmp(s + at - 5, "-----BEGIN", Min(10, len - at + 5)) != 0)
		return false;
	body = run_end(s, label, Min(len, label + 64), C_UP | C_DIGIT | C_SPACE);
	if (find_literal(s, label, body, "PRIVATE KEY", 11) < 0 ||
		!starts_with(s + body, len - body, "-----"))
		return false;
	body += 5;

	end = find_literal(s, body, len, "-----", 5);
	if (end >= 0 && !starts_with(s + end + 5, len - end - 5, "END"))
		end = -1;
	if (!is_key_body(s, len, body, end) ||
		(end >= 0 && find_literal(s, body, end, MALS_MARK, sizeof(MALS_MARK) - 1) >= 0))
		return false;
	if (end >= 0)
	{
		end = run_end(s, end + 8, Min(len, end + 72), C_UP | C_DIGIT | C_SPACE);
		end = run_end(s, end, Min(len, end + 5), C_DASH);
	}
	secret->start = at - 5;
	secret->end = end < 0 ? len : end;
	secret->kind = "private_key";
	return true;
}

/* Fills in a password of a URL or a connection string, unless it is no real one. */
static bool
url_password(const char *s, int start, int end, MalsSecret *secret)
{
	if (start >= end || mals_is_placeholder(s + start, end - start))
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = "url_password";
	return true;
}

/* Finds the password in scheme://user:password@host; at is that of the colon. */
bool
mals_shape_url(const char *s, int len, int at, MalsSecret *secret)
{
	int user = at + 3;
	int limit = Min(len, user + 4 * LOOK_AHEAD);
	int start = user;
	int end = -1;
	int pos;

	/* the user is without what ends the host, the password may be anything */
	while (start < limit && (class_of(s[start]) & (C_TOKEN68 | C_BASE64)) && s[start] != '/')
		start++;
	if (start == limit || s[start] != ':' || starts_with(s + start, len - start, "://"))
		return false;
	start++;
	pos = run_end(s, start, Min(limit, start + 6), C_DIGIT);
	if (pos > start && (pos == len || strchr("/?#,;:)]}", s[pos]) != NULL ||
						(class_of(s[pos]) & (C_SPACE | C_QUOTE))))
		return false; /* a port */

	/* the last @ before a path, else the first one at all, before another URL */
	for (pos = start; pos < limit && !(class_of(s[pos]) & (C_SPACE | C_QUOTE)); pos++)
	{
		if (s[pos] == '@')
			end = pos;
		else if (s[pos] == '<' || s[pos] == '>' || (end >= 0 && strchr("/?#,", s[pos]) != NULL) ||
				 starts_with(s + pos, limit - pos, "://"))
			break;
		else if (starts_with(s + pos, limit - pos, MALS_MARK))
			return false;
	}
	if (end < 0)
		return false;
	if (mals_secret_specific(s, len, start, secret) && secret->end == end)
		return false;
	return url_password(s, start, end, secret);
}

/* Finds the password in user:password@tcp(host); at is that of the @. */
bool
mals_shape_dsn(const char *s, int len, int at, MalsSecret *secret)
{
	int start = at;

	if (!starts_with(s + at, len - at, "@tcp(") && !starts_with(s + at, len - at, "@unix("))
		return false;
	while (start > 0 && !(class_of(s[start - 1]) & (C_SPACE | C_QUOTE)))
	{
		if (at - start == LOOK_BACK)
			return false;
		start--;
	}
	if (find_literal(s, start, at, MALS_MARK, sizeof(MALS_MARK) - 1) >= 0)
		return false;
	start = find_literal(s, start, at, ":", 1);
	return start >= 0 && url_password(s, start + 1, at, secret);
}

/* Tells whether base64 stands for user:password. */
static bool
is_basic(const char *s, int start, int end)
{
	uint32 bits = 0;
	int nbits = 0;
	bool colon = false;

	for (int i = start; i < end && s[i] != '='; i++)
	{
		unsigned class = class_of(s[i]);
		uint32 six;
		unsigned char byte;

		if (class & C_UP)
			six = s[i] - 'A';
		else if (class & C_LETTER)
			six = s[i] - 'a' + 26;
		else if (class & C_DIGIT)
			six = s[i] - '0' + 52;
		else if (s[i] == '+' || s[i] == '/')
			six = s[i] == '+' ? 62 : 63;
		else
			return false;
		bits = bits << 6 | six;
		nbits += 6;
		if (nbits < 8)
			continue;
		nbits -= 8;
		byte = bits >> nbits;
		if (byte < ' ' || byte == 0x7f)
			return false;
		colon |= byte == ':';
	}
	return colon;
}

/* Tells whether what ends with = before a quote is a name such as realm="x", and not base64. */
static bool
is_parameter(const char *s, int len, int start, int end)
{
	return end < len && (class_of(s[end]) & C_QUOTE) && s[end - 1] == '=' &&
		   run_end(s, start, end, C_HEX | C_LOW | C_UNDER) == end - 1 && !is_basic(s, start, end);
}

/*
 * Finds the credential that follows a scheme at a place. Outside of a header, or
 * where the line goes on, it must look like one: "bearer of" and "basic
 * functionality" are words.
 */
bool
mals_scheme_credential(const char *s, int len, int at, bool header, MalsSecret *secret)
{
	static const struct
	{
		const char *name;
		const char *kind;
		enum
		{
			IN_HEADERS,
			BASE64_ANYWHERE,
			RANDOM_ANYWHERE
		} known;
	} schemes[] = {
		{"bearer", "bearer", RANDOM_ANYWHERE}, {"basic", "basic", BASE64_ANYWHERE},
		{"token", "token", IN_HEADERS},        {"apikey", "api_key", IN_HEADERS},
		{"api-key", "api_key", IN_HEADERS},    {"key", "api_key", IN_HEADERS},
		{"jwt", "bearer", IN_HEADERS},         {"bot", "token", IN_HEADERS},
		{"oauth", "bearer", IN_HEADERS},       {"negotiate", "bearer", IN_HEADERS},
		{"ntlm", "bearer", IN_HEADERS},
	};
	int word = run_end(s, at, Min(len, at + 12), C_LETTER | C_DASH);
	int start = word;
	int end;
	int i;

	for (i = 0; i < lengthof(schemes); i++)
	{
		if (strlen(schemes[i].name) == word - at &&
			starts_with_any_case(s + at, len - at, schemes[i].name, word - at))
			break;
	}
	if (i == lengthof(schemes) || (!header && schemes[i].known == IN_HEADERS))
		return false;

	while (start < len && start < word + 4 && strchr(" \t:=", s[start]) != NULL)
		start++;
	end = run_end(s, start, len, C_TOKEN68);
	if (starts_with(s + end, len - end, MALS_MARK))
		return false;
	while (end > start && s[end - 1] == '.')
		end--;
	if (start == word || end == start || is_parameter(s, len, start, end))
		return false;

	if (header && (end == len || s[end] != ' '))
	{
		if (mals_is_word(s + start, end - start))
			return false;
	}
	else if (schemes[i].known == BASE64_ANYWHERE ? end - start < 8 || !is_basic(s, start, end)
												 : !mals_looks_random(s + start, end - start))
		return false;
	if (mals_secret_specific(s, len, start, secret) && secret->end >= end)
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = schemes[i].kind;
	return true;
}

/* Finds a bearer or basic credential anywhere in a text. */
bool
mals_shape_scheme(const char *s, int len, int at, MalsSecret *secret)
{
	return mals_token_begins(s, at) && mals_scheme_credential(s, len, at, false, secret);
}

/* Finds a Telegram bot's token, 123456789:AA…; at is that of the last digit. */
bool
mals_shape_telegram(const char *s, int len, int at, MalsSecret *secret)
{
	int start = at + 1;
	int end;

	while (start > 0 && at + 1 - start < 11 && (class_of(s[start - 1]) & C_DIGIT))
		start--;
	if (at + 1 - start < 8 || at + 1 - start > 10 ||
		!(mals_token_begins(s, start) || (start >= 3 && memcmp(s + start - 3, "bot", 3) == 0)))
		return false;
	end = run_end(s, at + 2, len, C_TOKEN);
	secret->start = start;
	secret->end = end;
	secret->kind = "telegram";
	return end - at - 2 >= 30;
}

/* Finds a client secret of Azure AD, abc8Q~…; at is that of the digit. */
bool
mals_shape_azure(const char *s, int len, int at, MalsSecret *secret)
{
	int end = run_end(s, at + 3, len, C_DOTTED | C_TILDE);

	if (at < 3 || run_end(s, at - 3, at, C_DOTTED | C_TILDE) < at ||
		!mals_token_begins(s, at - 3) || (at > 3 && (class_of(s[at - 4]) & (C_DOT | C_TILDE))))
		return false;
	while (s[end - 1] == '.')
		end--;
	secret->start = at - 3;
	secret->end = end;
	secret->kind = "azure";
	return end - at - 3 >= 28;
}

/* Finds a Discord bot's token: the base64 of a number, and two parts more. */
bool
mals_shape_discord(const char *s, int len, int at, MalsSecret *secret)
{
	int first;
	int second;
	int end;

	if (!mals_token_begins(s, at))
		return false;
	first = run_end(s, at, Min(len, at + 32), C_ALNUM);
	if (first - at < 23 || first - at > 28 || first == len || s[first] != '.')
		return false;
	second = run_end(s, first + 1, Min(len, first + 8), C_TOKEN);
	if (second != first + 7 || second == len || s[second] != '.')
		return false;
	end = run_end(s, second + 1, Min(len, second + 64), C_TOKEN);
	secret->start = at;
	secret->end = end;
	secret->kind = "discord";
	return end - second - 1 >= 25;
}

/* Is this a path, such as /run/secrets/x, ~/.pgpass or C:\keys? */
static bool
is_path(const char *s, int len)
{
	int end;

	if (starts_with(s, len, "./") || starts_with(s, len, "../") || starts_with(s, len, "~/"))
		return true;
	if (len > 2 && (class_of(s[0]) & C_UP) && s[1] == ':' && s[2] == '\\')
		return true;
	if (s[0] != '/')
		return false;
	end = run_end(s, 1, Min(len, 16), C_HEX | C_LOW);
	return end > 1 && end < len && s[end] == '/';
}

/* Is this a variable of a template or a shell, such as ${PASSWORD} or %s? */
static bool
is_variable(const char *s, int len)
{
	int end;

	if (starts_with(s, len, "${") || starts_with(s, len, "$(") || starts_with(s, len, "{{") ||
		starts_with(s, len, "#{") || starts_with(s, len, "%(") || starts_with(s, len, "<%"))
		return true;
	if (s[0] == '$')
		return run_end(s, 1, len, C_UP | C_UNDER | C_DIGIT) == len;
	if (s[0] == '%')
		return len == 2 || (s[len - 1] == '%' && run_end(s, 1, len, C_WORD) == len - 1);
	if (s[0] == '<' && s[len - 1] == '>')
		return true;
	if (s[0] == '{' && s[len - 1] == '}')
		return run_end(s, 1, len, C_WORD | C_DOT) == len - 1;

	/* a call or an element: get_password(), environ["X"]; self.password */
	end = run_end(s, 0, len, C_LETTER | C_UNDER | C_DOT);
	if (end > 0 && end < len && (s[end] == '(' || s[end] == '['))
		return true;
	if (end == len && memchr(s, '.', len) != NULL && s[len - 1] != '.')
	{
		MalsSecretName name;

		return mals_secret_name(s, len, &name);
	}
	return false;
}

/* Do all bytes say "something was here": ***, xxxx, ...? */
static bool
is_masked(const char *s, int len)
{
	int end = 0;

	for (int i = 0; i + 2 < len; i++)
	{
		if (s[i] == '*' && s[i + 1] == '*' && s[i + 2] == '*')
			return true;
	}
	while (end < len && strchr("*xX.-_#?", s[end]) != NULL)
		end++;
	return end == len;
}

bool
mals_is_placeholder(const char *s, int len)
{
	if (len == 0)
		return true;
	len = Min(len, LOOK_AHEAD);
	return find_literal(s, 0, len, MALS_MARK, sizeof(MALS_MARK) - 1) >= 0 ||
		   starts_with(s, len, "[REDACTED") || starts_with(s, len, "http://") ||
		   starts_with(s, len, "https://") || starts_with(s, len, "arn:") || is_path(s, len) ||
		   is_variable(s, len) || is_masked(s, len);
}

bool
mals_looks_random(const char *s, int len)
{
	unsigned seen = 0;
	bool camel = false;
	bool symbol = false;

	if (len < 6)
		return false;
	len = Min(len, LOOK_AHEAD);
	for (int i = 0; i < len; i++)
	{
		unsigned class = class_of(s[i]);

		if (class & C_SPACE)
			return false;
		camel |= i > 0 && (class & C_UP) && (class_of(s[i - 1]) & (C_HEX | C_LOW));
		symbol |= s[i] != '\0' && strchr("!#$^*", s[i]) != NULL;
		seen |= class;
	}
	return len >= 16 || ((seen & C_DIGIT) && (seen & C_LETTER)) || (camel && len >= 8) ||
		   (symbol && (seen & C_LETTER));
}
