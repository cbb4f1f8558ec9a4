/*
 * archive.h
 *		Private header of src/partition: archives, and the files they are made of.
 *
 * An archive holds entries of one partition. It is two files in
 * <mals.archive_directory>/<database>:
 *
 *	NAME.jsonl.zst	zstd; a JSON object a line, one for each entry
 *	NAME.json		the manifest: a JSON object that says what is in the other
 *
 * NAME is <partition>.<the first 16 digits of the data file's sha256>. What has
 * the same content has the same name, so an archive is never replaced but by
 * itself. Archives appear under their names when they are complete and read
 * back, the data before its manifest; without a manifest there is no archive.
 */
#ifndef MALS_ARCHIVE_H
#define MALS_ARCHIVE_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#define MALS_ARCHIVE_FORMAT "mals archive"
#define MALS_ARCHIVE_VERSION 1
#define MALS_ARCHIVE_DATA ".jsonl.zst"
#define MALS_ARCHIVE_MANIFEST ".json"

/* Longest line, in bytes: a message of 64 MB may take six times that as JSON. */
#define MALS_ARCHIVE_MAX_LINE (512 * 1024 * 1024)

/* How a file's checksum and size are told: sha256 in hexadecimal. */
typedef struct MalsArchiveSum
{
	char sha256[65];
	int64 bytes;
} MalsArchiveSum;

/* What the code reads of a manifest. */
typedef struct MalsManifest
{
	int64 entries;
	TimestampTz min_ts;
	TimestampTz max_ts;
	int encoding; /* of the lines */
	MalsArchiveSum sum;
} MalsManifest;

/*
 * archive_file.c: compressed lines. Writers and readers belong to the memory
 * context that was current when they were made; an error closes their files.
 */
typedef struct MalsArchiveWriter MalsArchiveWriter;
typedef struct MalsArchiveReader MalsArchiveReader;

extern MalsArchiveWriter *mals_archive_create(const char *path);
extern void mals_archive_write(MalsArchiveWriter *writer, const char *line, int len);
extern void mals_archive_finish(MalsArchiveWriter *writer, MalsArchiveSum *sum); /* and fsync */

/* Opens a plain file for reading, as a transient file. */
extern int mals_archive_open_plain(const char *path);

extern MalsArchiveReader *mals_archive_open(const char *path);

/* Reads a file that was just opened to its end and goes back to its start. */
extern void mals_archive_sum(MalsArchiveReader *reader, MalsArchiveSum *sum);

/* Reads the next line, palloc'd, without the newline; false at the end. XX001 for what is no archive. */
extern bool mals_archive_read(MalsArchiveReader *reader, StringInfo line);

/* Closes a file that was read to its end. */
extern void mals_archive_close(MalsArchiveReader *reader, MalsArchiveSum *sum);

/* manifest.c: reads or writes one. The caller has called SPI_connect. */
extern void mals_manifest_read(const char *path, MalsManifest *manifest);
extern void mals_manifest_write(const char *path, Oid partition, const char *condition,
								const char *file, const MalsManifest *manifest);

/* The encoding of lines that this database writes. */
extern int mals_archive_encoding(void);

#endif /* MALS_ARCHIVE_H */
