/*
 * timestamp.c
 *		Times as they stand in queries and in JSON entries: ISO 8601.
 *
 *	date	:= YYYY-MM-DD | YYYYMMDD		(a year may have up to 6 digits before '-')
 *	time	:= HH[:MM[:SS[fraction]]] | HHMM[SS[fraction]]
 *	zone	:= Z | UTC | (+|-)HH[[:]MM]
 *	all		:= date [(T| ) time [[ ] zone]]
 *
 * PostgreSQL's own parser is of no use here: it raises errors that a caller
 * cannot take softly, reads much that is no ISO 8601, and minds DateStyle and
 * TimeZone. Without a zone the time is UTC.
 */
#include "types/types.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#define MAX_YEAR_DIGITS 6
#define MAX_ZONE_HOURS 15

typedef struct Reader
{
	const char *p;
	const char *end;
} Reader;

/*
 * Reads a number of exactly so many digits.
 */
static bool
read_number(Reader *reader, int digits, int *number)
{
	if (reader->end - reader->p < digits)
		return false;
	*number = 0;
	for (; digits > 0; digits--, reader->p++)
	{
		if (*reader->p < '0' || *reader->p > '9')
			return false;
		*number = *number * 10 + (*reader->p - '0');
	}
	return true;
}

/*
 * Skips the next character if it is one of a set.
 */
static bool
skip_one_of(Reader *reader, const char *set)
{
	if (reader->p == reader->end || *reader->p == '\0' || strchr(set, *reader->p) == NULL)
		return false;
	reader->p++;
	return true;
}

/*
 * Tells whether a digit comes next.
 */
static bool
at_digit(const Reader *reader)
{
	return reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9';
}

/*
 * Reads a date.
 */
static bool
read_date(Reader *reader, struct pg_tm *tm)
{
	const char *start = reader->p;
	int digits;
	bool extended;

	while (at_digit(reader))
		reader->p++;
	digits = reader->p - start;
	extended = reader->p < reader->end && *reader->p == '-';
	reader->p = start;

	if (extended ? digits < 4 || digits > MAX_YEAR_DIGITS : digits != 8)
		return false;
	return read_number(reader, extended ? digits : 4, &tm->tm_year) &&
		   (!extended || skip_one_of(reader, "-")) && read_number(reader, 2, &tm->tm_mon) &&
		   (!extended || skip_one_of(reader, "-")) && read_number(reader, 2, &tm->tm_mday) &&
		   tm->tm_year > 0 && tm->tm_mon >= 1 && tm->tm_mon <= MONTHS_PER_YEAR &&
		   tm->tm_mday >= 1 && tm->tm_mday <= day_tab[isleap(tm->tm_year)][tm->tm_mon - 1];
}

/*
 * Reads a fraction of a second, to the microsecond, rounded.
 */
static bool
read_fraction(Reader *reader, fsec_t *fsec)
{
	int weight = USECS_PER_SEC / 10;

	if (!at_digit(reader))
		return false;
	for (int place = 1; at_digit(reader); place++, reader->p++)
	{
		int digit = *reader->p - '0';

		if (place <= MAX_TIMESTAMP_PRECISION)
			*fsec += digit * weight;
		else if (place == MAX_TIMESTAMP_PRECISION + 1 && digit >= 5)
			(*fsec)++;
		weight /= 10;
	}
	return true;
}

/*
 * Reads a time of day.
 */
static bool
read_time(Reader *reader, struct pg_tm *tm, fsec_t *fsec)
{
	bool extended;

	if (!read_number(reader, 2, &tm->tm_hour))
		return false;
	extended = skip_one_of(reader, ":");
	if (extended || at_digit(reader))
	{
		if (!read_number(reader, 2, &tm->tm_min))
			return false;
		if (extended ? skip_one_of(reader, ":") : at_digit(reader))
		{
			if (!read_number(reader, 2, &tm->tm_sec))
				return false;
			if (skip_one_of(reader, ".,") && !read_fraction(reader, fsec))
				return false;
		}
	}

	/* midnight at the end of a day, and leap seconds, are times */
	if (tm->tm_hour == HOURS_PER_DAY)
		return tm->tm_min == 0 && tm->tm_sec == 0 && *fsec == 0;
	return tm->tm_hour < HOURS_PER_DAY && tm->tm_min < MINS_PER_HOUR &&
		   tm->tm_sec <= SECS_PER_MINUTE;
}

/*
 * Reads a time zone, as seconds west of UTC.
 */
static bool
read_zone(Reader *reader, int *zone)
{
	bool east;
	int hours;
	int minutes = 0;

	if (skip_one_of(reader, "Zz"))
		return true;
	if (reader->end - reader->p == 3 && pg_strncasecmp(reader->p, "UTC", 3) == 0)
	{
		reader->p += 3;
		return true;
	}
	east = skip_one_of(reader, "+");
	if ((!east && !skip_one_of(reader, "-")) || !read_number(reader, 2, &hours))
		return false;
	if ((skip_one_of(reader, ":") || at_digit(reader)) && !read_number(reader, 2, &minutes))
		return false;
	*zone = hours * SECS_PER_HOUR + minutes * SECS_PER_MINUTE;
	if (east)
		*zone = -*zone;
	return hours <= MAX_ZONE_HOURS && minutes < MINS_PER_HOUR;
}

/*
 * Reads a time or a date in ISO 8601, UTC if it names no zone; false if it is none.
 */
bool
mals_parse_timestamp(const char *str, int len, TimestampTz *out)
{
	Reader reader = {.p = str, .end = str + len};
	struct pg_tm tm = {0};
	fsec_t fsec = 0;
	int zone = 0;

	if (!read_date(&reader, &tm))
		return false;
	if (reader.p < reader.end)
	{
		if (!skip_one_of(&reader, "Tt ") || !read_time(&reader, &tm, &fsec))
			return false;
		if (reader.p < reader.end)
		{
			skip_one_of(&reader, " ");
			if (!read_zone(&reader, &zone) || reader.p < reader.end)
				return false;
		}
	}
	return tm2timestamp(&tm, fsec, &zone, out) == 0;
}
