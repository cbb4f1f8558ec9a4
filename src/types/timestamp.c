/*
 * timestamp.c
 *		Times as they stand in queries and in JSON entries: ISO 8601.
 *
 * PostgreSQL's own parser reads them, held to what is unambiguous: the text
 * begins with a year of four or more digits, and without a time zone it is
 * UTC. So neither TimeZone nor DateStyle matters, and words such as now or
 * infinity are no times.
 */
#include "types/types.h"

#include "mals_compat.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

/*
 * Tells whether a text begins with YYYY- or YYYY/ or is a date of eight digits.
 */
static bool
begins_with_year(const char *str)
{
	int digits = strspn(str, "0123456789");

	if (str[digits] == '-' || str[digits] == '/')
		return digits >= 4;
	return digits == 8 && (str[digits] == '\0' || strchr("Tt ", str[digits]) != NULL);
}

/*
 * Reads a time or a date in ISO 8601, UTC if it names no zone; false if it is none.
 */
bool
mals_parse_timestamp(const char *str, int len, TimestampTz *out)
{
	char input[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t fsec;
	int tz = 0;

	if (len <= 0 || len > MAXDATELEN)
		return false;
	memcpy(input, str, len);
	input[len] = '\0';
	if (!begins_with_year(input))
		return false;

	/* The decoder refuses a zone in the first round, and requires one in the second. */
	for (int with_zone = 0; with_zone <= 1; with_zone++)
	{
		char work[MAXDATELEN + MAXDATEFIELDS];
		char *field[MAXDATEFIELDS];
		int ftype[MAXDATEFIELDS];
		int nf;
		int dtype;

		if (ParseDateTime(input, work, sizeof(work), field, ftype, MAXDATEFIELDS, &nf) != 0)
			return false;
		if (mals_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, with_zone ? &tz : NULL) == 0)
			return dtype == DTK_DATE && tm2timestamp(&tm, fsec, &tz, out) == 0 &&
				   IS_VALID_TIMESTAMP(*out);
	}
	return false;
}
