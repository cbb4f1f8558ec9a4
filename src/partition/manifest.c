/*
 * manifest.c
 *		The manifests of archives: one JSON object each, made and read by SQL.
 */
#include "mals_errors.h"

#include <fcntl.h>
#include <unistd.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "group/group.h"
#include "mals_spi.h"
#include "partition/archive.h"

/* More than any manifest has. */
#define MAX_MANIFEST_BYTES (64 * 1024)

/*
 * The bounds stand in the partition's constraint, or, once it is detached, in
 * the CHECK constraint that DETACH … CONCURRENTLY has left.
 */
static const char *const make_manifest =
	"SELECT json_build_object('format', $1, 'version', $2, 'database', current_database(),"
	" 'partition', c.relname, 'from', (regexp_match(b.def, 'ts >= ''([^'']+)'))[1]::timestamptz,"
	" 'to', (regexp_match(b.def, 'ts < ''([^'']+)'))[1]::timestamptz, 'condition', $4,"
	" 'entries', $5, 'min_ts', $6, 'max_ts', $7, 'file', $8, 'bytes', $9, 'sha256', $10,"
	" 'compression', 'zstd', 'encoding', $11, 'fingerprint_version', $12, 'mals_version', $13,"
	" 'archived_at', clock_timestamp())::text FROM pg_class c LEFT JOIN LATERAL"
	" (SELECT string_agg(d.def, ' ') AS def FROM (SELECT pg_get_partition_constraintdef(c.oid)"
	" UNION ALL SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k"
	" WHERE k.conrelid = c.oid AND k.contype = 'c') AS d (def)) AS b ON true WHERE c.oid = $3";

static const char *const read_manifest =
	"SELECT m.format, m.version, m.entries, m.min_ts, m.max_ts, m.bytes, m.sha256, m.compression,"
	" m.encoding FROM json_to_record($1::json) AS m (format text, version int, entries bigint,"
	" min_ts timestamptz, max_ts timestamptz, bytes bigint, sha256 text, compression text,"
	" encoding text)";

/* The columns of read_manifest. */
enum
{
	M_FORMAT = 1,
	M_VERSION,
	M_ENTRIES,
	M_MIN_TS,
	M_MAX_TS,
	M_BYTES,
	M_SHA256,
	M_COMPRESSION,
	M_ENCODING,
};

/* Bytes of a database without an encoding are written as they are. */
int
mals_archive_encoding(void)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII ? PG_SQL_ASCII : PG_UTF8;
}

void
mals_manifest_write(const char *path, Oid partition, const char *condition, const char *file,
					const MalsManifest *manifest)
{
	Oid types[] = {TEXTOID, INT4OID, OIDOID,  TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
				   TEXTOID, INT8OID, TEXTOID, TEXTOID, INT4OID, TEXTOID};
	Datum args[] = {CStringGetTextDatum(MALS_ARCHIVE_FORMAT),
					Int32GetDatum(MALS_ARCHIVE_VERSION),
					ObjectIdGetDatum(partition),
					condition ? CStringGetTextDatum(condition) : (Datum) 0,
					Int64GetDatum(manifest->entries),
					TimestampTzGetDatum(manifest->min_ts),
					TimestampTzGetDatum(manifest->max_ts),
					CStringGetTextDatum(file),
					Int64GetDatum(manifest->sum.bytes),
					CStringGetTextDatum(manifest->sum.sha256),
					CStringGetTextDatum(pg_encoding_to_char(manifest->encoding)),
					Int32GetDatum(MALS_FINGERPRINT_VERSION),
					CStringGetTextDatum(MALS_VERSION)};
	char nulls[] = "             ";
	char *json;
	int len;
	int fd;

	if (condition == NULL)
		nulls[3] = 'n';
	if (SPI_execute_with_args(make_manifest, lengthof(types), types, args, nulls, true, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not make the manifest of \"%s\"", file);
	json = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	json = psprintf("%s\n", pg_server_to_any(json, strlen(json), manifest->encoding));
	len = strlen(json);

	fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	errno = 0;
	if (fd < 0 || write(fd, json, len) != len || pg_fsync(fd) != 0 || CloseTransientFile(fd) != 0)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR, errcode_for_file_access(), errmsg("could not write file \"%s\": %m", path),
				errhint("Check the disk of mals.archive_directory."));
	}
}

/* Reads a small file as a string. */
static char *
read_file(const char *path)
{
	int fd = mals_archive_open_plain(path);
	char *buffer = palloc(MAX_MANIFEST_BYTES + 1);
	ssize_t len = 0;
	ssize_t part;

	while ((part = read(fd, buffer + len, MAX_MANIFEST_BYTES + 1 - len)) > 0)
		len += part;
	if (part < 0)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path),
				errhint("Check the disk that it is on."));
	(void) CloseTransientFile(fd);
	if (len > MAX_MANIFEST_BYTES || memchr(buffer, '\0', len) != NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("file \"%s\" is not a manifest", path),
				errhint("The manifest of an archive is a short JSON object."));
	buffer[len] = '\0';
	return buffer;
}

/* Says which file an error is about. */
static void
add_context(void *arg)
{
	errcontext("manifest \"%s\"", (const char *) arg);
	errhint("The manifest of an archive is a JSON object that mals has written: use another copy "
			"of the file.");
}

/* Gives a text of the manifest; "" where there is none. */
static char *
text_of(int column)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	return value ? value : "";
}

/* Gives another value of the manifest. */
static Datum
value_of(int column, bool *missing)
{
	bool isnull;
	Datum value = mals_result_datum(0, column, &isnull);

	*missing |= isnull;
	return isnull ? Int64GetDatum(0) : value;
}

void
mals_manifest_read(const char *path, MalsManifest *manifest)
{
	ErrorContextCallback context = {error_context_stack, add_context, unconstify(char *, path)};
	char *json = read_file(path);
	Oid type = TEXTOID;
	Datum arg;
	bool missing = false;
	int version;

	error_context_stack = &context;
	arg = CStringGetTextDatum(pg_any_to_server(json, strlen(json), mals_archive_encoding()));
	if (SPI_execute_with_args(read_manifest, 1, &type, &arg, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read a manifest");
	error_context_stack = context.previous;

	version = DatumGetInt32(value_of(M_VERSION, &missing));
	if (missing || strcmp(text_of(M_FORMAT), MALS_ARCHIVE_FORMAT) != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("file \"%s\" is not the manifest of an archive", path),
				errhint("Its \"format\" must be \"%s\".", MALS_ARCHIVE_FORMAT));
	if (version != MALS_ARCHIVE_VERSION || strcmp(text_of(M_COMPRESSION), "zstd") != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("archive \"%s\" has an unknown version (%d) or compression", path, version),
				errhint("Restore it with a newer version of mals."));
	manifest->entries = DatumGetInt64(value_of(M_ENTRIES, &missing));
	manifest->min_ts = DatumGetTimestampTz(value_of(M_MIN_TS, &missing));
	manifest->max_ts = DatumGetTimestampTz(value_of(M_MAX_TS, &missing));
	manifest->sum.bytes = DatumGetInt64(value_of(M_BYTES, &missing));
	strlcpy(manifest->sum.sha256, text_of(M_SHA256), sizeof(manifest->sum.sha256));
	manifest->encoding = pg_char_to_encoding(text_of(M_ENCODING));
	if (missing || manifest->entries <= 0 || manifest->min_ts > manifest->max_ts ||
		!mals_uuid_holds(manifest->min_ts) || !mals_uuid_holds(manifest->max_ts) ||
		strlen(manifest->sum.sha256) != 64 ||
		(manifest->encoding != PG_UTF8 && manifest->encoding != PG_SQL_ASCII))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("manifest \"%s\" lacks a value, or has a wrong one", path),
				errdetail("It must say entries, min_ts, max_ts, bytes, sha256 and encoding."),
				errhint("Use another copy of the file."));
}
