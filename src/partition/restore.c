/*
 * restore.c
 *		mals_restore_archive: stores the entries of an archive again.
 *
 * The checksum is compared before anything is stored, and again with what was
 * read, and every line is checked; as all happens in the caller's transaction,
 * nothing is restored by half. Only the partitions that it needs are committed
 * apart.
 *
 * The file is chosen and read with the caller's rights, rows are written with
 * those of the owner of mals.entries: row security is not in the way.
 *
 * Retention must not take restored entries away before they are committed: the
 * row in mals._exemptions is written first, and the lock for it (ROW EXCLUSIVE)
 * keeps out whoever decides under SHARE what is due.
 */
#include "mals_errors.h"

#include <stdlib.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "access/access.h"
#include "entry/entry.h"
#include "mals_catalog.h"
#include "mals_guc.h"
#include "mals_spi.h"
#include "partition/archive.h"
#include "partition/partition.h"
#include "write/write.h"

PG_FUNCTION_INFO_V1(mals_restore_archive);

/* The two files of an archive, without symbolic links. */
typedef struct ArchivePaths
{
	char *manifest;
	char *data;
} ArchivePaths;

/* An archive that is being restored. */
typedef struct Restore
{
	ArchivePaths paths;
	MalsManifest manifest;
	MalsWriter *writer;
	SPIPlanPtr read_line;
	SPIPlanPtr resolve;
	int64 line; /* from 1 */
	int64 restored;
} Restore;

/* %s is the schema of mals_level. */
static const char *const read_line =
	"SELECT x.id, x.ts, x.created_at, x.level, x.agent_id, x.message, x.category, x.source,"
	" x.session_key, x.trace_id, x.parent_id, x.correlation_id, x.metadata, x.fingerprint, x.xact,"
	" r.of = 'entry', r.resolved, r.resolved_at, r.resolved_by, r.note"
	" FROM json_to_record($1::json) AS x (id uuid, ts timestamptz, created_at timestamptz,"
	" level %s.mals_level, agent_id text, message text, category text, source text,"
	" session_key text, trace_id uuid, parent_id uuid, correlation_id text, metadata jsonb,"
	" fingerprint bigint, xact bigint, resolution json) LEFT JOIN LATERAL "
	"json_to_record(x.resolution)"
	" AS r (of text, resolved boolean, resolved_at timestamptz, resolved_by text, note text)"
	" ON x.resolution IS NOT NULL";

/* The columns of read_line. */
enum
{
	L_ID = 1,
	L_TS,
	L_CREATED_AT,
	L_LEVEL,
	L_AGENT_ID,
	L_MESSAGE,
	L_CATEGORY,
	L_SOURCE,
	L_SESSION_KEY,
	L_TRACE_ID,
	L_PARENT_ID,
	L_CORRELATION_ID,
	L_METADATA,
	L_FINGERPRINT,
	L_XACT,
	L_BY_ITSELF,
	L_RESOLVED,
	L_RESOLVED_AT,
	L_RESOLVED_BY,
	L_NOTE,
};

/*
 * Restores what became of an entry ($1; ts $2, fingerprint $3). What it had
 * from its group, it has from there again if the group's resolution is known.
 */
static const char *const resolve =
	"INSERT INTO mals.resolutions (entry_id, resolved, resolved_at, resolved_by, note)"
	" SELECT $1, $5, $6, $7, $8 WHERE $4 OR NOT EXISTS (SELECT FROM mals.error_status s"
	" WHERE s.fingerprint = COALESCE((SELECT t.group_id FROM mals._templates t"
	" WHERE t.fingerprint = $3), $3) AND s.resolved_at >= $2)"
	" ON CONFLICT (entry_id) DO NOTHING";

static const char *const exempt =
	"INSERT INTO mals._exemptions (from_ts, to_ts, until) VALUES ($1, $2, $3)";

/* Raises 42501 for a file that the caller may not read. */
static void
error_not_allowed(const char *path)
{
	ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg("permission denied to read file \"%s\"", path),
			errdetail("Only members of pg_read_server_files may restore archives that are not in "
					  "mals.archive_directory."),
			errhint("Move the archive below mals.archive_directory."));
}

/* Resolves symbolic links; NULL, and errno, if there is no such file. */
static char *
real_path(const char *path)
{
	char *real = realpath(path, NULL);
	char *result = real ? pstrdup(real) : NULL;

	free(real);
	return result;
}

/* Finds a file that the caller may read. */
static char *
find_file(const char *path, bool any)
{
	char *directory = mals_archive_directory[0] == '\0' ? NULL : real_path(mals_archive_directory);
	char *found = real_path(path);
	int error = errno;

	if (!any &&
		(directory == NULL ||
		 !path_is_prefix_of_path(found ? directory : mals_archive_directory, found ? found : path)))
		error_not_allowed(path);
	errno = error;
	if (found == NULL)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path),
				errhint("An archive is a manifest (%s) and its data (%s) in one directory.",
						MALS_ARCHIVE_MANIFEST, MALS_ARCHIVE_DATA));
	return found;
}

/* Finds the files of the archive that either of them names. */
static void
find_archive(const char *given, ArchivePaths *paths)
{
	static const char *const endings[] = {MALS_ARCHIVE_DATA, MALS_ARCHIVE_MANIFEST};
	bool any = has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	char *path;

	if (!is_absolute_path(given) && !is_absolute_path(mals_archive_directory))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("path is relative, and mals.archive_directory is not set"),
				errhint("Give an absolute path, or set mals.archive_directory."));
	path =
		is_absolute_path(given) ? pstrdup(given) : psprintf("%s/%s", mals_archive_directory, given);
	canonicalize_path(path);
	for (int i = 0; i < lengthof(endings); i++)
	{
		int len = strlen(path) - strlen(endings[i]);

		if (len <= 0 || strcmp(path + len, endings[i]) != 0)
			continue;
		path[len] = '\0';
		paths->manifest = find_file(psprintf("%s" MALS_ARCHIVE_MANIFEST, path), any);
		paths->data = find_file(psprintf("%s" MALS_ARCHIVE_DATA, path), any);
		return;
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("path \"%s\" is not that of an archive", given),
			errhint("Give the path of an archive's manifest (%s) or data (%s).",
					MALS_ARCHIVE_MANIFEST, MALS_ARCHIVE_DATA));
}

/* Raises XX001 unless a file is what its manifest says. */
static void
check_sum(const Restore *restore, const MalsArchiveSum *sum)
{
	const MalsArchiveSum *expected = &restore->manifest.sum;

	if (sum->bytes != expected->bytes || pg_strcasecmp(sum->sha256, expected->sha256) != 0)
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("file \"%s\" is not what its manifest describes", restore->paths.data),
				errdetail("It has " INT64_FORMAT " bytes and the sha256 %s, not " INT64_FORMAT
						  " bytes and %s.",
						  sum->bytes, sum->sha256, expected->bytes, expected->sha256),
				errhint("Use another copy of the file."));
}

/* Raises XX001 for entries that are not those of the manifest. */
static void
error_entries(const Restore *restore, const char *detail)
{
	ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("file \"%s\" does not have the entries that its manifest describes",
				   restore->paths.data),
			errdetail("%s", detail), errhint("Use another copy of the file and its manifest."));
}

/* Says which line an error is about. */
static void
add_context(void *arg)
{
	const Restore *restore = arg;

	errcontext("archive \"%s\", line " INT64_FORMAT, restore->paths.data, restore->line);
	errhint("The archive is not as mals has written it: use another copy. Nothing was restored.");
}

/* Runs a plan; unlike SPI it stays in the memory context that it was called in. */
static int
execute(SPIPlanPtr plan, Datum *args, const char *nulls, bool read_only)
{
	MemoryContext context = CurrentMemoryContext;
	int result = SPI_execute_plan(plan, args, nulls, read_only, 0);

	MemoryContextSwitchTo(context);
	return result;
}

/* Gives a column of the line; missing is set if it is NULL. */
static Datum
column(int number, bool *missing)
{
	return mals_result_datum(0, number, missing);
}

/* Gives a column that may be NULL, as text. */
static text *
text_column(int number)
{
	bool isnull;
	Datum value = column(number, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* Gives a column that may be NULL, as a UUID. */
static bool
uuid_column(int number, pg_uuid_t *id)
{
	bool isnull;
	Datum value = column(number, &isnull);

	if (!isnull)
		*id = *DatumGetUUIDP(value);
	return !isnull;
}

/* Makes an entry of the row that a line was read as. */
static void
fill_entry(MalsEntry *entry)
{
	bool missing[5];
	bool isnull;
	Datum ts = column(L_TS, &missing[0]);
	Datum created_at = column(L_CREATED_AT, &missing[1]);
	Datum level = column(L_LEVEL, &missing[2]);
	Datum metadata = column(L_METADATA, &missing[3]);
	Datum fingerprint = column(L_FINGERPRINT, &missing[4]);

	mals_entry_init(entry, -1);
	entry->restored = true;
	entry->xact = DatumGetInt64(column(L_XACT, &isnull));
	entry->has_xact = !isnull;
	entry->has_id = uuid_column(L_ID, &entry->id);
	entry->has_trace_id = uuid_column(L_TRACE_ID, &entry->trace_id);
	entry->has_parent_id = uuid_column(L_PARENT_ID, &entry->parent_id);
	entry->agent_id = text_column(L_AGENT_ID);
	entry->message = text_column(L_MESSAGE);
	entry->category = text_column(L_CATEGORY);
	entry->source = text_column(L_SOURCE);
	entry->session_key = text_column(L_SESSION_KEY);
	entry->correlation_id = text_column(L_CORRELATION_ID);
	for (int i = 0; i < lengthof(missing); i++)
	{
		if (missing[i])
			return; /* for mals_entry_check to see */
	}
	entry->ts = DatumGetTimestampTz(ts);
	entry->has_ts = true;
	entry->created_at = DatumGetTimestampTz(created_at);
	entry->level = DatumGetMalsLevel(level);
	entry->has_level = true;
	entry->metadata = DatumGetJsonbP(metadata);
	entry->fingerprint = DatumGetInt64(fingerprint);
}

/* Restores what became of the entry that a line was read as. */
static void
restore_resolution(Restore *restore, const MalsEntry *entry)
{
	Datum args[8];
	char nulls[] = "        ";
	bool isnull;

	args[0] = UUIDPGetDatum(&entry->id);
	args[1] = TimestampTzGetDatum(entry->ts);
	args[2] = Int64GetDatum(entry->fingerprint);
	for (int i = 3; i < lengthof(args); i++)
	{
		args[i] = column(L_BY_ITSELF + i - 3, &isnull);
		if (isnull)
			nulls[i] = 'n';
	}
	if (nulls[4] == 'n')
		return; /* no one has touched it */
	if (execute(restore->resolve, args, nulls, false) != SPI_OK_INSERT)
		elog(ERROR, "could not restore a resolution");
}

/* Restores the entry of a line. */
static void
restore_line(Restore *restore, const StringInfo line)
{
	ErrorContextCallback context = {error_context_stack, add_context, restore};
	char *json;
	Datum arg;
	MalsEntry entry;
	SPITupleTable *row;

	error_context_stack = &context;
	json = pg_any_to_server(line->data, line->len, restore->manifest.encoding);
	if (strlen(line->data) != line->len)
		ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("invalid byte 0 in a line"),
				errhint("Each line of an archive is one JSON object, as mals wrote it."));
	arg = CStringGetTextDatum(json);
	if (execute(restore->read_line, &arg, NULL, true) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read a line");
	row = SPI_tuptable;
	fill_entry(&entry);
	mals_entry_check(&entry);
	error_context_stack = context.previous;

	if (entry.ts < restore->manifest.min_ts || entry.ts > restore->manifest.max_ts)
		error_entries(restore, psprintf("Line " INT64_FORMAT " is not between min_ts and max_ts.",
										restore->line));
	if (mals_writer_add(restore->writer, &entry))
	{
		restore->restored++;
		restore_resolution(restore, &entry);
	}
	SPI_freetuptable(row);
}

/* Prepares a statement. */
static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", sql);
	return plan;
}

/* Restores all lines of the data file. */
static void
restore_lines(Restore *restore, MalsArchiveReader *reader)
{
	Oid resolve_types[] = {UUIDOID, TIMESTAMPTZOID, INT8OID, BOOLOID,
						   BOOLOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Oid line_type = TEXTOID;
	MemoryContext scratch;
	MemoryContext old;
	StringInfoData line;

	restore->read_line = prepare(psprintf(read_line, mals_extension_schema()), 1, &line_type);
	restore->resolve = prepare(resolve, lengthof(resolve_types), resolve_types);
	restore->writer = mals_writer_begin_rows("mals_restore_archive()");
	scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals archive line", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	while (mals_archive_read(reader, &line))
	{
		restore->line++;
		if (restore->line > restore->manifest.entries)
			error_entries(restore, "It has more.");
		restore_line(restore, &line);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	(void) mals_writer_end(restore->writer);
	if (restore->line != restore->manifest.entries)
		error_entries(restore, psprintf("It has " INT64_FORMAT " instead of " INT64_FORMAT ".",
										restore->line, restore->manifest.entries));
	MemoryContextDelete(scratch);
}

/* Keeps the entries of the archive from retention. */
static void
exempt_from_retention(const MalsManifest *manifest, Datum until)
{
	Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum args[] = {TimestampTzGetDatum(manifest->min_ts),
					TimestampTzGetDatum(manifest->max_ts + 1), until};

	mals_run_with(exempt, lengthof(types), types, args, NULL);
}

/* SQL: stores the entries of an archive again. */
Datum
mals_restore_archive(PG_FUNCTION_ARGS)
{
	Datum now = TimestampTzGetDatum(GetCurrentTimestamp());
	Datum until = TimestampTzGetDatum(DT_NOEND);
	Restore restore = {0};
	MalsArchiveReader *reader;
	MalsArchiveSum sum;
	MalsAudit row = {.action = "restore_archive"};
	MalsCaller caller;

	if (PG_ARGISNULL(0))
		mals_error_missing("path", "Give the path of an archive's manifest or data.");
	if (!PG_ARGISNULL(1))
	{
		until = DirectFunctionCall2(timestamptz_pl_interval, now, PG_GETARG_DATUM(1));
		if (DatumGetTimestampTz(until) < DatumGetTimestampTz(now))
			mals_error_range("keep", "Give how long to keep the entries, such as '7 days', or "
									 "NULL for ever.");
	}
	if (XactReadOnly)
		mals_error_read_only("mals_restore_archive()");
	mals_require_unbound("mals_restore_archive()");

	mals_spi_connect();
	find_archive(text_to_cstring(PG_GETARG_TEXT_PP(0)), &restore.paths);
	mals_manifest_read(restore.paths.manifest, &restore.manifest);
	reader = mals_archive_open(restore.paths.data);
	mals_archive_sum(reader, &sum);
	check_sum(&restore, &sum);

	mals_become_owner(&caller);
	exempt_from_retention(&restore.manifest, until);
	(void) DirectFunctionCall2(mals_make_partitions, TimestampTzGetDatum(restore.manifest.min_ts),
							   TimestampTzGetDatum(restore.manifest.max_ts + 1));
	restore_lines(&restore, reader);
	mals_archive_close(reader, &sum);
	check_sum(&restore, &sum);
	row.entries = restore.restored;
	row.detail[0] = "path";
	row.detail[1] = restore.paths.manifest;
	mals_audit(&caller, &row);
	mals_become_caller(&caller);
	SPI_finish();
	PG_RETURN_INT64(restore.restored);
}
