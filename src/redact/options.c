/*
 * options.c
 *		Secrets on command lines: --password x, curl -u bob:x, mysql -px; also where
 *		the arguments are a list, ["--password", "x"].
 */
#include "secret.h"

/* How far before an option its command may begin. */
#define COMMAND_MAX_BYTES 128

/* Where an option of one letter has its value. */
enum
{
	JOINED = 0x01,
	APART = 0x02
};

/* Options of one letter that are a password: of these commands, and of those that begin so. */
static const struct
{
	const char *command;
	char letter;
	int places;
} letters[] = {
	{"mysql", 'p', JOINED},
	{"mariadb", 'p', JOINED},
	{"sshpass", 'p', JOINED | APART},
	{"docker login", 'p', APART},
	{"redis-cli", 'a', APART},
	{"podman login", 'p', APART},
	{"helm registry login", 'p', APART},
	{"ldap", 'w', APART},
};

/* Gives the name that passwords have. */
static MalsSecretName
password_name(void)
{
	static const char password[] = "password";
	MalsSecretName name;

	if (!mals_secret_name(password, sizeof(password) - 1, &name))
		elog(ERROR, "there is no rule of passwords");
	return name;
}

/* Finds the password in user:password, which follows the option of curl and others. */
static bool
user_password(const char *s, int len, int at, MalsSecret *secret)
{
	MalsSecretName name = password_name();
	int start;
	int end;

	while (at < len && (s[at] == ' ' || s[at] == ',' || (class_of(s[at]) & C_QUOTE)))
		at++;
	start = run_end(s, at, Min(len, at + NAME_MAX_BYTES), C_DOTTED);
	if (start == at || start == len || s[start] != ':')
		return false;
	start++;
	end = mals_bare_value_end(s, len, start, len, &name);
	if (mals_is_placeholder(s + start, end - start) || !mals_looks_random(s + start, end - start))
		return false;
	secret->start = start;
	secret->end = end;
	secret->kind = "basic";
	return true;
}

/* Finds the password in curl -u user:password; at is that of the dash. */
bool
mals_option_user(const char *s, int len, int at, MalsSecret *secret)
{
	return (at == 0 || s[at - 1] == ' ') && user_password(s, len, at + 2, secret);
}

/* Skips what stands between two arguments of a list, from the quote that ends the first one. */
static int
next_argument(const char *s, int len, int pos)
{
	int backslashes = pos;

	while (pos < len && s[pos] == '\\')
		pos++;
	backslashes = pos - backslashes;
	if (pos == len || !(class_of(s[pos]) & C_QUOTE))
		return -1;
	pos++;
	if (pos < len && s[pos] == ',')
		pos++;
	while (pos < len && s[pos] == ' ')
		pos++;
	if (pos + backslashes >= len || !(class_of(s[pos + backslashes]) & C_QUOTE))
		return -1;
	return pos;
}

/* Finds the value of an option, --password x; at is that of its first dash. */
bool
mals_option_long(const char *s, int len, int at, MalsSecret *secret)
{
	MalsSecretName name;
	int value;
	int end;
	bool quoted;

	if (!mals_token_begins(s, at))
		return false;
	end = run_end(s, at + 2, Min(len, at + 2 + NAME_MAX_BYTES), C_TOKEN);
	if (end - at == 6 && memcmp(s + at, "--user", 6) == 0)
		return user_password(s, len, end, secret);
	if (end + 2 >= len || !mals_secret_name(s, end, &name))
		return false;
	value = s[end] == ' ' ? end + 1 : next_argument(s, len, end);
	if (value < 0 || s[value] == '-')
		return false;
	quoted = (class_of(s[value]) & C_QUOTE) || s[value] == '\\';
	return mals_pair_value(&name, quoted ? name.rule->level : LEVEL_RANDOM, s, len, value, secret);
}

/* Finds a password in mysql -px, sshpass -p x and others; at is that of the dash. */
bool
mals_option_letter(const char *s, int len, int at, MalsSecret *secret)
{
	int place = s[at + 2] == ' ' ? APART : JOINED;
	int value = place == APART ? at + 3 : at + 2;
	int line = at;
	MalsSecretName name;

	if (at == 0 || s[at - 1] != ' ' || value >= len || s[value] == '-')
		return false;
	while (line > 0 && at - line < COMMAND_MAX_BYTES && s[line - 1] != '\n')
		line--;
	if (find_literal(s, line, at, MALS_MARK, sizeof(MALS_MARK) - 1) >= 0)
		return false;
	for (int i = 0; i < lengthof(letters); i++)
	{
		int len_command = strlen(letters[i].command);
		int command;

		if (letters[i].letter != s[at + 1] || !(letters[i].places & place))
			continue;
		command = find_literal(s, line, at, letters[i].command, len_command);
		if (command < 0 || (command > 0 && (class_of(s[command - 1]) & C_DOTTED)))
			continue;
		name = password_name();
		return mals_pair_value(&name, LEVEL_ANY, s, len, value, secret);
	}
	return false;
}

bool
mals_option_name(const char *s, int len, MalsSecretName *name)
{
	return len > 2 && s[0] == '-' && mals_secret_name(s, len, name);
}
