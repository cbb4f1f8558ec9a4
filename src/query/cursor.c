/*
 * cursor.c
 *		Cursors of readers that follow new entries, see cursor.h.
 *
 * As text a cursor is
 *
 *		m1.CLUSTER.NEXT.OPEN.TAKEN.WITHIN.CRC
 *
 * m1 is the version of the format; all numbers are hexadecimal. CLUSTER is the
 * system identifier; OPEN lists, separated by commas, how far each open
 * transaction lies before the one after it (the last before NEXT); TAKEN are
 * microseconds since 2000; WITHIN is how far that transaction lies before NEXT,
 * a dash, and the entry's id without dashes. Parts that hold nothing are empty.
 * CRC is the CRC-32C of all before it, so that a text that was cut off is not
 * taken for another cursor.
 */
#include "mals_errors.h"

#include "access/transam.h"
#include "access/xact.h"
#include "lib/qunique.h"
#include "lib/stringinfo.h"
#include "port/pg_crc32c.h"
#include "utils/timestamp.h"

#include "entry/entry.h"
#include "query/cursor.h"

#define VERSION "m1"

/* How old a cursor may be, in transactions. */
#define MAX_AGE (UINT64CONST(1) << 31)

/* Compares transaction ids, for qsort. */
static int
compare_xids(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* Gives the 64-bit id of a transaction that is before next, by less than 2^31. */
static uint64
widen(TransactionId xid, FullTransactionId next)
{
	uint64 wide = U64FromFullTransactionId(next);

	return wide - (uint32) ((uint32) wide - xid);
}

/*
 * On a standby a snapshot has all running transactions in subxip, and
 * subtransactions among them: top-level ones stay even if there were too many
 * for all to be known. No entry carries a subtransaction's id, so those do no
 * harm.
 */
void
mals_cursor_take(MalsCursor *cursor, Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();
	FullTransactionId own = GetTopFullTransactionIdIfAny();
	bool standby = snapshot->takenDuringRecovery;
	const TransactionId *xids = standby ? snapshot->subxip : snapshot->xip;
	int nxids = standby ? snapshot->subxcnt : snapshot->xcnt;

	memset(cursor, 0, sizeof(*cursor));
	cursor->next = widen(snapshot->xmax, next);
	cursor->open = palloc((nxids + 1) * sizeof(uint64));
	for (int i = 0; i < nxids; i++)
		cursor->open[cursor->nopen++] = widen(xids[i], next);
	if (FullTransactionIdIsValid(own) && U64FromFullTransactionId(own) < cursor->next)
		cursor->open[cursor->nopen++] = U64FromFullTransactionId(own);
	/* one that is just being prepared is there twice */
	qsort(cursor->open, cursor->nopen, sizeof(uint64), compare_xids);
	cursor->nopen = qunique(cursor->open, cursor->nopen, sizeof(uint64), compare_xids);
	cursor->taken = GetCurrentTimestamp();
}

bool
mals_cursor_saw(const MalsCursor *cursor, uint64 xid)
{
	return xid < cursor->next &&
		   bsearch(&xid, cursor->open, cursor->nopen, sizeof(uint64), compare_xids) == NULL;
}

bool
mals_cursor_behind(const MalsCursor *cursor, const MalsCursor *now)
{
	if (cursor->within != 0 || cursor->next < now->next)
		return true;
	for (int i = 0; i < cursor->nopen; i++)
		if (mals_cursor_saw(now, cursor->open[i]))
			return true;
	return false;
}

void
mals_cursor_advance(MalsCursor *result, const MalsCursor *cursor, const MalsCursor *later,
					uint64 limit)
{
	uint64 next = Min(later->next, limit);
	MalsCursor both = {.next = Max(cursor->next, next)};

	both.open = palloc((cursor->nopen + later->nopen + 1) * sizeof(uint64));
	for (int i = 0; i < cursor->nopen; i++)
		if (cursor->open[i] >= next || !mals_cursor_saw(later, cursor->open[i]))
			both.open[both.nopen++] = cursor->open[i];
	for (int i = 0; i < later->nopen; i++)
		if (later->open[i] >= cursor->next && later->open[i] < next)
			both.open[both.nopen++] = later->open[i];
	*result = both;
}

void
mals_cursor_finish(MalsCursor *cursor)
{
	int n = 0;

	if (cursor->within == cursor->next)
		cursor->next++;
	for (int i = 0; i < cursor->nopen; i++)
		if (cursor->open[i] != cursor->within)
			cursor->open[n++] = cursor->open[i];
	cursor->nopen = n;
	cursor->within = 0;
}

/* Gives the checksum of a text's beginning. */
static uint32
checksum(const char *text, int len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, text, len);
	FIN_CRC32C(crc);
	return crc;
}

char *
mals_cursor_text(const MalsCursor *cursor)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, VERSION ".%llx.%llx.", (unsigned long long) GetSystemIdentifier(),
					 (unsigned long long) cursor->next);
	for (int i = 0; i < cursor->nopen; i++)
	{
		uint64 after = i + 1 < cursor->nopen ? cursor->open[i + 1] : cursor->next;

		appendStringInfo(&buf, "%s%llx", i > 0 ? "," : "",
						 (unsigned long long) (after - cursor->open[i]));
	}
	appendStringInfoChar(&buf, '.');
	if (cursor->taken > 0)
		appendStringInfo(&buf, "%llx", (unsigned long long) cursor->taken);
	appendStringInfoChar(&buf, '.');
	if (cursor->within != 0)
	{
		appendStringInfo(&buf, "%llx-", (unsigned long long) (cursor->next - cursor->within));
		for (int i = 0; i < UUID_LEN; i++)
			appendStringInfo(&buf, "%02x", cursor->last.data[i]);
	}
	appendStringInfoChar(&buf, '.');
	appendStringInfo(&buf, "%08x", checksum(buf.data, buf.len));
	return buf.data;
}

/* Reads a number and moves on behind it; false if there is none. */
static bool
read_number(const char **text, uint64 *number)
{
	const char *start = *text;

	*number = 0;
	for (; isxdigit((unsigned char) **text); (*text)++)
		*number = *number << 4 | (**text <= '9' ? **text - '0' : (**text | 0x20) - 'a' + 10);
	return *text > start && *text - start <= 16;
}

/* Reads one character. */
static bool
read_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* Reads the open transactions, which are written as distances. */
static bool
read_open(const char **text, MalsCursor *cursor)
{
	uint64 *xids = palloc((strlen(*text) / 2 + 1) * sizeof(uint64));
	uint64 after = cursor->next;
	int n = 0;

	if (**text != '.')
	{
		do
		{
			if (!read_number(text, &xids[n++]))
				return false;
		} while (read_char(text, ','));
	}
	for (int i = n - 1; i >= 0; i--)
	{
		if (xids[i] == 0 || xids[i] >= after)
			return false;
		after = xids[i] = after - xids[i];
	}
	cursor->open = xids;
	cursor->nopen = n;
	return true;
}

/* Reads the transaction that was read in part, and its last entry. */
static bool
read_within(const char **text, MalsCursor *cursor)
{
	const char *start;
	uint64 distance;
	TimestampTz ts;

	if (**text == '.')
		return true;
	if (!read_number(text, &distance) || !read_char(text, '-') || distance >= cursor->next)
		return false;
	cursor->within = cursor->next - distance;
	start = *text;
	while (isxdigit((unsigned char) **text))
		(*text)++;
	return *text - start == 2 * UUID_LEN && mals_uuid_parse(start, 2 * UUID_LEN, &cursor->last) &&
		   mals_uuid_timestamp(&cursor->last, &ts) && !mals_cursor_saw(cursor, cursor->within);
}

/* Reads all of a cursor's text. */
static bool
read_cursor(const char *text, MalsCursor *cursor, uint64 *cluster)
{
	const char *start = text;
	uint64 number;

	memset(cursor, 0, sizeof(*cursor));
	if (strncmp(text, VERSION, strlen(VERSION)) != 0)
		return false;
	text += strlen(VERSION);
	if (!read_char(&text, '.') || !read_number(&text, cluster) || !read_char(&text, '.') ||
		!read_number(&text, &cursor->next) || !read_char(&text, '.') || !read_open(&text, cursor) ||
		!read_char(&text, '.'))
		return false;
	if (*text != '.')
	{
		if (!read_number(&text, &number) || number > PG_INT64_MAX)
			return false;
		cursor->taken = (TimestampTz) number;
	}
	if (!read_char(&text, '.') || !read_within(&text, cursor) || !read_char(&text, '.'))
		return false;
	return text[strspn(text, "0123456789abcdef")] == '\0' && strlen(text) == 8 &&
		   strtoul(text, NULL, 16) == checksum(start, text - start);
}

void
mals_cursor_parse(MalsCursor *cursor, const char *text, const char *argname)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64 cluster;

	if (!read_cursor(text, cursor, &cluster))
		ereport(ERROR, errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("invalid input syntax for %s: \"%s\"", argname, text),
				errhint("Give a next_cursor of mals_tail as it was returned, or what "
						"mals_tail_cursor() returns."));
	if (cluster != GetSystemIdentifier())
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s is of another database cluster", argname),
				errhint("Begin anew with mals_tail_cursor(), and read what came before with "
						"mals_search."));
	if (cursor->next > next && !RecoveryInProgress())
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s is ahead of this server", argname),
				errdetail("The server was taken back to an earlier time since."),
				errhint("Begin anew with mals_tail_cursor(), and read what came before with "
						"mals_search."));
	if (cursor->next + MAX_AGE < next)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is too old", argname),
				errdetail("More than 2^31 transactions have begun since."),
				errhint("Begin anew with mals_tail_cursor(), and read what came before with "
						"mals_search."));
}
