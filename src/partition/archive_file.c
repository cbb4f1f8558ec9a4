/*
 * archive_file.c
 *		Lines in a zstd-compressed file, written and read as a stream.
 *
 * Files are opened by PostgreSQL's fd layer and hashes belong to resource
 * owners, so that an error leaks neither; zstd's own memory is freed with the
 * memory context.
 */
#include "mals_errors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "partition/archive.h"

struct MalsArchiveWriter
{
	char *path;
	int fd;
	ZSTD_CCtx *zstd;
	pg_cryptohash_ctx *hash;
	char *buffer; /* compressed */
	Size size;
	int64 bytes;
	MemoryContextCallback callback;
};

struct MalsArchiveReader
{
	char *path;
	int fd;
	ZSTD_DCtx *zstd;
	pg_cryptohash_ctx *hash;
	ZSTD_inBuffer in; /* compressed */
	Size in_size;
	char *out; /* decompressed */
	Size out_size;
	Size out_len;
	Size out_pos;
	int64 bytes;
	bool in_frame; /* not at the end of a frame */
	bool pending;  /* zstd has more output without more input */
	MemoryContextCallback callback;
};

/* Begins a sha256. */
static pg_cryptohash_ctx *
hash_begin(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not begin a sha256: %s", pg_cryptohash_error(hash));
	return hash;
}

/* Adds bytes to a sha256. */
static void
hash_add(pg_cryptohash_ctx *hash, const char *data, Size len)
{
	if (pg_cryptohash_update(hash, (const uint8 *) data, len) < 0)
		elog(ERROR, "could not compute a sha256: %s", pg_cryptohash_error(hash));
}

/* Ends a sha256 and gives it in hexadecimal. */
static void
hash_end(pg_cryptohash_ctx *hash, char hex[65])
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not end a sha256: %s", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);
	hex[hex_encode((const char *) digest, sizeof(digest), hex)] = '\0';
}

/* Frees zstd's memory when a writer's memory context goes. */
static void
free_writer(void *arg)
{
	(void) ZSTD_freeCCtx(((MalsArchiveWriter *) arg)->zstd);
}

/* Likewise a reader's. */
static void
free_reader(void *arg)
{
	(void) ZSTD_freeDCtx(((MalsArchiveReader *) arg)->zstd);
}

MalsArchiveWriter *
mals_archive_create(const char *path)
{
	MalsArchiveWriter *writer = palloc0(sizeof(MalsArchiveWriter));

	writer->callback.func = free_writer;
	writer->callback.arg = writer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &writer->callback);
	writer->path = pstrdup(path);
	writer->size = ZSTD_CStreamOutSize();
	writer->buffer = palloc(writer->size);
	writer->zstd = ZSTD_createCCtx();
	if (writer->zstd == NULL)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
				errdetail("zstd could not be started."), errhint("Free memory on the server."));
	(void) ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
	writer->hash = hash_begin();
	writer->fd = OpenTransientFile(path, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY);
	if (writer->fd < 0)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not create file \"%s\": %m", path),
				errhint("The server's operating system user must be able to write below "
						"mals.archive_directory."));
	return writer;
}

/* Writes what is in the buffer. */
static void
write_buffer(MalsArchiveWriter *writer, Size len)
{
	const char *p = writer->buffer;

	hash_add(writer->hash, p, len);
	writer->bytes += len;
	while (len > 0)
	{
		ssize_t written;

		errno = 0;
		written = write(writer->fd, p, len);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
		{
			/* core takes a write of nothing for a full disk, too */
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR, errcode_for_file_access(),
					errmsg("could not write file \"%s\": %m", writer->path),
					errhint("Free space on the disk of mals.archive_directory."));
		}
		p += written;
		len -= written;
	}
}

/* Compresses bytes, or all that zstd holds back, and writes what comes out. */
static void
compress(MalsArchiveWriter *writer, const char *data, Size len, ZSTD_EndDirective directive)
{
	ZSTD_inBuffer in = {data, len, 0};
	Size left;

	do
	{
		ZSTD_outBuffer out = {writer->buffer, writer->size, 0};

		CHECK_FOR_INTERRUPTS();
		left = ZSTD_compressStream2(writer->zstd, &out, &in, directive);
		if (ZSTD_isError(left))
			elog(ERROR, "could not compress: %s", ZSTD_getErrorName(left));
		if (out.pos > 0)
			write_buffer(writer, out.pos);
	} while (directive == ZSTD_e_end ? left > 0 : in.pos < in.size);
}

void
mals_archive_write(MalsArchiveWriter *writer, const char *line, int len)
{
	if (len > MALS_ARCHIVE_MAX_LINE)
		ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("an entry is longer than %d bytes as JSON", MALS_ARCHIVE_MAX_LINE),
				errhint("Delete the entry, or turn mals.archive_directory off."));
	compress(writer, line, len, ZSTD_e_continue);
	compress(writer, "\n", 1, ZSTD_e_continue);
}

void
mals_archive_finish(MalsArchiveWriter *writer, MalsArchiveSum *sum)
{
	compress(writer, NULL, 0, ZSTD_e_end);
	hash_end(writer->hash, sum->sha256);
	sum->bytes = writer->bytes;
	if (pg_fsync(writer->fd) != 0)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not fsync file \"%s\": %m", writer->path),
				errhint("Check the disk of mals.archive_directory."));
#ifdef USE_POSIX_FADVISE
	/* reading it back is worth more when it comes from the disk */
	(void) posix_fadvise(writer->fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
	if (CloseTransientFile(writer->fd) != 0)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not close file \"%s\": %m", writer->path),
				errhint("Check the disk of mals.archive_directory."));
}

int
mals_archive_open_plain(const char *path)
{
	/* not to wait for the other end, should it be a pipe */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR, errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path),
				errhint("An archive is a manifest (%s) and its data (%s) in one directory.",
						MALS_ARCHIVE_MANIFEST, MALS_ARCHIVE_DATA));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("\"%s\" is not a plain file", path),
				errhint("Give the path of an archive's manifest or data."));
	return fd;
}

MalsArchiveReader *
mals_archive_open(const char *path)
{
	MalsArchiveReader *reader = palloc0(sizeof(MalsArchiveReader));

	reader->callback.func = free_reader;
	reader->callback.arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reader->callback);
	reader->path = pstrdup(path);
	reader->in_size = ZSTD_DStreamInSize();
	reader->in.src = palloc(reader->in_size);
	reader->out_size = ZSTD_DStreamOutSize();
	reader->out = palloc(reader->out_size);
	reader->in_frame = true;
	reader->zstd = ZSTD_createDCtx();
	if (reader->zstd == NULL)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
				errdetail("zstd could not be started."), errhint("Free memory on the server."));
	reader->hash = hash_begin();
	reader->fd = mals_archive_open_plain(path);
	return reader;
}

/* Reads the next part of the file; false at its end. */
static bool
read_block(MalsArchiveReader *reader)
{
	ssize_t len;

	CHECK_FOR_INTERRUPTS();
	do
		len = read(reader->fd, unconstify(void *, reader->in.src), reader->in_size);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not read file \"%s\": %m", reader->path),
				errhint("Check the disk that it is on."));
	hash_add(reader->hash, reader->in.src, len);
	reader->bytes += len;
	reader->in.size = len;
	reader->in.pos = 0;
	return len > 0;
}

/* Takes the sum of what was read. */
static void
take_sum(MalsArchiveReader *reader, MalsArchiveSum *sum)
{
	hash_end(reader->hash, sum->sha256);
	sum->bytes = reader->bytes;
}

void
mals_archive_sum(MalsArchiveReader *reader, MalsArchiveSum *sum)
{
	while (read_block(reader))
		;
	take_sum(reader, sum);
	reader->hash = hash_begin();
	reader->bytes = 0;
	if (lseek(reader->fd, 0, SEEK_SET) != 0)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not seek in file \"%s\": %m", reader->path),
				errhint("An archive must be a plain file."));
}

/* Raises XX001 for a file that is no archive, or no longer one. */
static void
error_corrupted(MalsArchiveReader *reader, const char *detail)
{
	ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED), errmsg("file \"%s\" is damaged", reader->path),
			errdetail("%s", detail), errhint("Use another copy of the file."));
}

/* Decompresses the next part of the file; false at its end. */
static bool
decompress(MalsArchiveReader *reader)
{
	reader->out_pos = reader->out_len = 0;
	while (reader->out_len == 0)
	{
		ZSTD_outBuffer out = {reader->out, reader->out_size, 0};
		Size left;

		if (reader->in.pos == reader->in.size && !reader->pending && !read_block(reader))
		{
			if (reader->in_frame)
				error_corrupted(reader, "It ends in the middle of compressed data.");
			return false;
		}
		left = ZSTD_decompressStream(reader->zstd, &out, &reader->in);
		if (ZSTD_isError(left))
			error_corrupted(reader, psprintf("zstd: %s.", ZSTD_getErrorName(left)));
		reader->in_frame = left != 0;
		reader->pending = left != 0 && out.pos == out.size;
		reader->out_len = out.pos;
	}
	return true;
}

bool
mals_archive_read(MalsArchiveReader *reader, StringInfo line)
{
	initStringInfo(line);
	for (;;)
	{
		const char *start = reader->out + reader->out_pos;
		const char *newline;
		Size len = reader->out_len - reader->out_pos;

		if (len == 0)
		{
			if (decompress(reader))
				continue;
			if (line->len > 0)
				error_corrupted(reader, "Its last line has no end.");
			return false;
		}
		newline = memchr(start, '\n', len);
		if (newline != NULL)
			len = newline - start;
		if (line->len + len > MALS_ARCHIVE_MAX_LINE)
			error_corrupted(reader, "A line is longer than an entry can be.");
		appendBinaryStringInfo(line, start, len);
		reader->out_pos += len;
		if (newline != NULL)
		{
			reader->out_pos++;
			return true;
		}
	}
}

void
mals_archive_close(MalsArchiveReader *reader, MalsArchiveSum *sum)
{
	take_sum(reader, sum);
	if (CloseTransientFile(reader->fd) != 0)
		ereport(ERROR, errcode_for_file_access(),
				errmsg("could not close file \"%s\": %m", reader->path),
				errhint("Check the disk that it is on."));
}
