/*
 * archive.c
 *		Writes the entries of a partition into an archive.
 *
 * The rows come from one query, straight from the executor into the file, so
 * memory does not grow with the partition. The file is written under a
 * temporary name, fsynced, and read back: its checksum, how many lines it has,
 * and that each is a JSON object. Only then is it renamed, and its manifest
 * after it. Whoever removes the rows does so only when told that this was done.
 *
 * One session of a database archives at a time (SHARE UPDATE EXCLUSIVE on
 * mals._archive_failures), so temporary names can be fixed, and what a crash
 * has left is removed by the next who comes.
 *
 * A failure is caught here, in a subtransaction, and remembered in
 * mals._archive_failures by the caller's transaction, for mals_health.
 */
#include "mals_errors.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "mals_spi.h"
#include "partition/archive.h"
#include "partition/partition.h"

PG_FUNCTION_INFO_V1(mals_archive);

/*
 * The lines, and their times. What became of an entry is lost with it, so it
 * is told too: what was done with the entry itself, else with its group.
 */
static const char *const select_lines =
	"SELECT row_to_json(x)::text, x.ts FROM (SELECT e.id, e.ts, e.created_at, e.level, e.agent_id,"
	" e.message, e.category, e.source, e.session_key, e.trace_id, e.parent_id, e.correlation_id,"
	" e.metadata, e.fingerprint, e.xact, CASE WHEN r.entry_id IS NOT NULL THEN"
	" json_build_object('of', 'entry', 'resolved', r.resolved, 'resolved_at', r.resolved_at,"
	" 'resolved_by', r.resolved_by, 'note', r.note) WHEN s.resolved_at >= e.ts THEN"
	" json_build_object('of', 'group', 'resolved', true, 'resolved_at', s.resolved_at,"
	" 'resolved_by', s.resolved_by, 'note', s.note) END AS resolution FROM %s e"
	" LEFT JOIN mals.resolutions r ON r.entry_id = e.id"
	" LEFT JOIN mals._templates t ON t.fingerprint = e.fingerprint"
	" LEFT JOIN mals.error_status s ON s.fingerprint = COALESCE(t.group_id, e.fingerprint)"
	" WHERE %s) x";

static const char *const note_failure =
	"INSERT INTO mals._archive_failures AS f (partition, failed_at, message)"
	" VALUES ($1, clock_timestamp(), $2) ON CONFLICT (partition) DO UPDATE"
	" SET failed_at = excluded.failed_at, message = excluded.message";

static const char *const forget_failures =
	"DELETE FROM mals._archive_failures f WHERE f.partition = $1"
	" OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = f.partition)";

/* Takes the rows of the query. */
typedef struct LineReceiver
{
	DestReceiver receiver; /* first */
	MalsArchiveWriter *writer;
	MalsManifest *manifest;
	MemoryContext scratch; /* of one line */
} LineReceiver;

/* Writes a row as a line. */
static bool
receive_line(TupleTableSlot *slot, DestReceiver *self)
{
	LineReceiver *lines = (LineReceiver *) self;
	MalsManifest *manifest = lines->manifest;
	MemoryContext old = MemoryContextSwitchTo(lines->scratch);
	bool isnull;
	text *line = DatumGetTextPP(slot_getattr(slot, 1, &isnull));
	TimestampTz ts = DatumGetTimestampTz(slot_getattr(slot, 2, &isnull));
	char *data = VARDATA_ANY(line);
	int len = VARSIZE_ANY_EXHDR(line);
	char *converted = pg_server_to_any(data, len, manifest->encoding);

	mals_archive_write(lines->writer, converted, converted == data ? len : strlen(converted));
	if (manifest->entries == 0 || ts < manifest->min_ts)
		manifest->min_ts = ts;
	if (manifest->entries == 0 || ts > manifest->max_ts)
		manifest->max_ts = ts;
	manifest->entries++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(lines->scratch);
	return true;
}

/* There is nothing to do before the first line, nor after the last. */
static void
begin_lines(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
end_lines(DestReceiver *self)
{
}

/* Writes the rows of a partition into a file. */
static void
write_lines(const char *path, Relation rel, const char *condition, MalsManifest *manifest)
{
	LineReceiver lines = {.receiver = {receive_line, begin_lines, end_lines, end_lines, DestNone}};
	SPIExecuteOptions options = {.read_only = true, .dest = &lines.receiver};
	char *sql = psprintf(select_lines,
						 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
													RelationGetRelationName(rel)),
						 condition ? condition : "true");

	lines.writer = mals_archive_create(path);
	lines.manifest = manifest;
	lines.scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals archive line", ALLOCSET_DEFAULT_SIZES);
	if (SPI_execute_extended(sql, &options) < 0)
		elog(ERROR, "could not run: %s", sql);
	if (SPI_processed != manifest->entries)
		elog(ERROR, "wrote " INT64_FORMAT " lines of " UINT64_FORMAT " rows", manifest->entries,
			 SPI_processed);
	mals_archive_finish(lines.writer, &manifest->sum);
	MemoryContextDelete(lines.scratch);
}

/* Tells whether a line is a JSON object. */
static bool
is_object(const StringInfo line, int encoding)
{
	char *json = pg_any_to_server(line->data, line->len, encoding);
	JsonLexContext *lex = mals_json_lexer(json);

	return line->data[0] == '{' && strlen(line->data) == line->len &&
		   pg_parse_json(lex, &nullSemAction) == JSON_SUCCESS;
}

/* Reads a file back and raises XX001 if it is not what was written. */
static void
verify(const char *path, const MalsManifest *manifest)
{
	MalsArchiveReader *reader = mals_archive_open(path);
	MalsArchiveSum sum;
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "mals archive line", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	StringInfoData line;
	int64 entries = 0;
	bool good = true;

	while (good && mals_archive_read(reader, &line))
	{
		good = is_object(&line, manifest->encoding);
		entries++;
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	mals_archive_close(reader, &sum);
	if (!good || entries != manifest->entries || sum.bytes != manifest->sum.bytes ||
		strcmp(sum.sha256, manifest->sum.sha256) != 0)
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("file \"%s\" reads back other than it was written", path),
				errhint("Check the disk of mals.archive_directory."));
}

/* Makes a name fit to be a file's: bytes that could mean something become %XX. */
static char *
file_name(const char *name)
{
	StringInfoData result;

	initStringInfo(&result);
	for (const char *p = name; *p != '\0'; p++)
	{
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			*p == '_' || *p == '-')
			appendStringInfoChar(&result, *p);
		else
			appendStringInfo(&result, "%%%02X", (unsigned char) *p);
	}
	return result.data;
}

/* Gives this database's directory, making it where it is missing. */
static char *
make_directory(void)
{
	char *path =
		psprintf("%s/%s", mals_archive_directory, file_name(get_database_name(MyDatabaseId)));

	if (!is_absolute_path(mals_archive_directory))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("mals.archive_directory is not an absolute path: \"%s\"",
					   mals_archive_directory),
				errhint("Give the absolute path of a directory, or nothing to archive nothing."));
	if (MakePGDirectory(path) == 0)
		fsync_fname(mals_archive_directory, true);
	else if (errno != EEXIST)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not create directory \"%s\": %m", path),
				errhint("mals.archive_directory must name a directory that the server's operating "
						"system user may write to."));
	return path;
}

/* Removes a file of an archive that was not completed. */
static void
remove_file(const char *path)
{
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path),
				errhint("The server's operating system user must be able to write below "
						"mals.archive_directory."));
}

/* Writes the archive of a partition under temporary names, and renames it. */
static int64
write_files(Relation rel, const char *condition, const char *directory, const char *data,
			const char *manifest_data)
{
	MalsManifest manifest = {.encoding = mals_archive_encoding()};
	char *name;

	remove_file(data);
	remove_file(manifest_data);
	write_lines(data, rel, condition, &manifest);
	if (manifest.entries == 0)
		return 0;
	verify(data, &manifest);
	name = psprintf("%s/%s.%.16s", directory, file_name(RelationGetRelationName(rel)),
					manifest.sum.sha256);
	mals_manifest_write(manifest_data, RelationGetRelid(rel), condition,
						psprintf("%s" MALS_ARCHIVE_DATA, strrchr(name, '/') + 1), &manifest);
	(void) durable_rename(data, psprintf("%s" MALS_ARCHIVE_DATA, name), ERROR);
	(void) durable_rename(manifest_data, psprintf("%s" MALS_ARCHIVE_MANIFEST, name), ERROR);
	return manifest.entries;
}

/* Writes the archive of a partition that is locked. Only a crash leaves temporary files. */
static int64
write_archive(Relation rel, const char *condition)
{
	char *directory = make_directory();
	uint64 server = GetSystemIdentifier();
	char *data = psprintf("%s/" UINT64_FORMAT ".data.tmp", directory, server);
	char *manifest_data = psprintf("%s/" UINT64_FORMAT ".manifest.tmp", directory, server);
	int64 entries;

	PG_TRY();
	{
		entries = write_files(rel, condition, directory, data, manifest_data);
	}
	PG_FINALLY();
	{
		(void) unlink(data);
		(void) unlink(manifest_data);
	}
	PG_END_TRY();
	return entries;
}

/* Makes times and the order of rows the same everywhere. */
static void
set_settings(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"},
		{"max_parallel_workers_per_gather", "0"},
		{"row_security", "off"},
		{"search_path", "pg_catalog, pg_temp"},
		{"synchronize_seqscans", "off"},
		{"timezone", "UTC"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* Runs a statement on mals._archive_failures. */
static void
run_on_failures(const char *sql, Oid partition, const char *message)
{
	Oid types[] = {OIDOID, TEXTOID};
	Datum args[2];

	args[0] = ObjectIdGetDatum(partition);
	args[1] = message ? CStringGetTextDatum(message) : (Datum) 0;
	mals_spi_connect();
	mals_run_with(sql, message ? 2 : 1, types, args, NULL);
	SPI_finish();
}

/* Archives a partition; raises an error if it cannot be done. */
static int64
archive_partition(Oid partition, const char *condition)
{
	Relation rel = relation_open(partition, AccessShareLock);
	Oid failures = mals_relation_oid("_archive_failures");
	int nest = NewGUCNestLevel();
	int64 entries;

	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("\"%s\" is not a plain table", RelationGetRelationName(rel)),
				errhint("Only plain tables with the columns of mals.entries can be archived."));
	set_settings();
	LockRelationOid(failures, ShareUpdateExclusiveLock);
	mals_spi_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	entries = write_archive(rel, condition);
	PopActiveSnapshot();
	SPI_finish();
	UnlockRelationOid(failures, ShareUpdateExclusiveLock);
	AtEOXact_GUC(true, nest);
	relation_close(rel, NoLock);
	return entries;
}

bool
mals_partition_archive(Oid partition, const char *condition, int64 *entries)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	*entries = 0;
	if (mals_archive_directory[0] == '\0')
		return true;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		*entries = archive_partition(partition, condition);
		run_on_failures(forget_failures, partition, NULL);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;
		char *name;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		name = get_rel_name(partition);
		ereport(WARNING, errcode(error->sqlerrcode),
				errmsg("could not archive partition \"%s\": %s", name ? name : "?", error->message),
				error->detail ? errdetail("%s", error->detail) : 0,
				errhint("%s", error->hint ? error->hint : "The partition is kept."));
		run_on_failures(note_failure, partition, error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/* SQL: archives a partition, or those of its rows that meet a condition. */
Datum
mals_archive(PG_FUNCTION_ARGS)
{
	int64 entries;

	if (PG_ARGISNULL(0))
		mals_error_missing("partition", "Name a partition of mals.entries.");
	if (mals_archive_directory[0] == '\0')
		ereport(ERROR, errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("mals.archive_directory is not set"),
				errhint("Set it in postgresql.conf to an absolute path and reload."));
	if (XactReadOnly)
		mals_error_read_only("mals._archive()");
	if (!mals_partition_archive(PG_GETARG_OID(0),
								PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
								&entries))
		PG_RETURN_NULL();
	PG_RETURN_INT64(entries);
}
