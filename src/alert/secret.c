/*
 * secret.c
 *		Settings that are secrets: a text, or "file:" and the path of a file whose
 *		first line has it. The file is read when the secret is needed.
 */
#include "mals_errors.h"

#include "common/string.h"
#include "storage/fd.h"

#include "alert/alert.h"
#include "alert/channel.h"

#define PREFIX "file:"

bool
mals_secret_file(const char *value)
{
	return strncmp(value, PREFIX, strlen(PREFIX)) == 0 && is_absolute_path(value + strlen(PREFIX));
}

/* Reads the first line of a file, empty if there is none; NULL if it cannot be read. */
static char *
read_line(const char *path)
{
	FILE *file = AllocateFile(path, "r");
	char *line = file != NULL ? pg_get_line(file, NULL) : NULL;

	if (file == NULL || ferror(file))
		ereport(LOG, errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path));
	else if (line == NULL)
		line = "";
	if (file != NULL)
		FreeFile(file);
	return line;
}

const char *
mals_secret(const char *value, const char *setting, const char **reason)
{
	char *line;

	if (!mals_secret_file(value))
		return value;
	line = read_line(value + strlen(PREFIX));
	if (line == NULL)
		*reason = psprintf("the file that %s names cannot be read, see the server's log", setting);
	else if (strcspn(line, "\r\n") == 0)
		*reason = psprintf("the file that %s names begins with an empty line", setting);
	return *reason == NULL ? pnstrdup(line, strcspn(line, "\r\n")) : NULL;
}
