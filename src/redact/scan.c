/*
 * scan.c
 *		Finds the next secret in a text, in one pass over its bytes.
 *
 * Whatever is a secret has a place where it can be recognised: the prefix of a
 * vendor's key, the = or : of a pair, the :// of a URL. Such a trigger is one to
 * three bytes. Each of up to 32 triggers is a bit; three tables say which
 * triggers have a byte first, second and third, and a place where the three
 * agree is looked at closely. Text without secrets costs three loads a byte.
 *
 * What looks at a place looks no further than a few hundred bytes before it is
 * sure, or eats what it looks at: the time is linear in the length of the text,
 * whatever is in it.
 */
#include "secret.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

const uint16 mals_byte_class[256] = {
	['0' ... '9'] = C_DIGIT, ['a' ... 'f'] = C_HEX, ['g' ... 'z'] = C_LOW,
	['A' ... 'Z'] = C_UP,    ['_'] = C_UNDER,       ['-'] = C_DASH,
	['.'] = C_DOT,           ['+'] = C_BASE64,      ['/'] = C_BASE64,
	['='] = C_BASE64,        [' '] = C_SPACE,       ['\t' ... '\r'] = C_SPACE,
	[0] = C_SPACE,           ['"'] = C_QUOTE,       ['\''] = C_QUOTE,
	['`'] = C_QUOTE,         [','] = C_END,         [';'] = C_END,
	['&'] = C_END,           ['|'] = C_END,         [')'] = C_END,
	[']'] = C_END,           ['}'] = C_END,         ['>'] = C_END,
	['~'] = C_TILDE,         ['%'] = C_TILDE,
};

/* Vendors share this many triggers, by the first byte of their prefixes. */
#define VENDOR_TRIGGERS 16
#define VENDOR_TRIGGER(c) ((unsigned char) (c) % VENDOR_TRIGGERS)

/* How many bytes are scanned between two looks at interrupts. */
#define SCAN_STRETCH (1024 * 1024)

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* A trigger's bytes; NULL is any. */
typedef struct Trigger
{
	const char *bytes[3];
	bool (*look)(const char *s, int len, int at, MalsSecret *secret);
} Trigger;

static const Trigger triggers[] = {
	{{"=:", NULL, NULL}, mals_pair_separator},
	{{":", "/", "/"}, mals_shape_url},
	{{"e", "y", "J"}, mals_shape_jwt},
	{{"B", "E", "G"}, mals_shape_pem},
	{{"bB", "eEaA", "aAsS"}, mals_shape_scheme},
	{{"-", "-", LETTERS}, mals_option_long},
	{{"-", "u", " "}, mals_option_user},
	{{"-", "apw", NULL}, mals_option_letter},
	{{"rwbeRWBE", "dyDY", " "}, mals_pair_words},
	{{">", NULL, NULL}, mals_pair_element},
	{{DIGITS, ":", "A"}, mals_shape_telegram},
	{{DIGITS, "Q", "~"}, mals_shape_azure},
	{{"MNO", "DTjz", LETTERS DIGITS}, mals_shape_discord},
	{{"@", "tu", "cn"}, mals_shape_dsn},
};

static uint32 table[3][256];
static uint8 vendors_of[VENDOR_TRIGGERS][UINT8_MAX + 1]; /* those of a trigger, */
static int nvendors_of[VENDOR_TRIGGERS];                 /* so many */
static bool ready = false;

StaticAssertDecl(VENDOR_TRIGGERS + lengthof(triggers) <= 32, "a trigger has no bit");

/* Enters the bytes that a trigger may have at a place; NULL is any. */
static void
enter(int place, const char *bytes, uint32 bit)
{
	if (bytes == NULL)
	{
		for (int i = 0; i < 256; i++)
			table[place][i] |= bit;
		return;
	}
	for (; *bytes; bytes++)
		table[place][(unsigned char) *bytes] |= bit;
}

/* Fills in the tables. */
static void
prepare(void)
{
	for (int i = 0; i < lengthof(triggers); i++)
	{
		for (int place = 0; place < 3; place++)
			enter(place, triggers[i].bytes[place], (uint32) 1 << (VENDOR_TRIGGERS + i));
	}
	for (int i = 0; i < mals_nvendors; i++)
	{
		const char *prefix = mals_vendors[i].prefix;
		int trigger = VENDOR_TRIGGER(prefix[0]);

		for (int place = 0; place < 3; place++)
		{
			const char byte[] = {prefix[place], '\0'};

			enter(place, byte[0] ? byte : LETTERS DIGITS, (uint32) 1 << trigger);
			if (byte[0] == '\0')
				break;
		}
		vendors_of[trigger][nvendors_of[trigger]++] = i;
	}
	ready = true;
}

/* Tells whether bytes before a place are an escape, such as \n, %3D or \u003d. */
static bool
is_escape(const char *s, int pos)
{
	if (pos >= 2 && s[pos - 2] == '\\' && strchr("nrt", s[pos - 1]) != NULL)
		return true;
	if (pos < 3 || !(class_of(fold(s[pos - 1])) & C_HEXADECIMAL) ||
		!(class_of(fold(s[pos - 2])) & C_HEXADECIMAL))
		return false;
	return s[pos - 3] == '%' || (pos >= 6 && s[pos - 6] == '\\' && s[pos - 5] == 'u');
}

/* Tells whether a token may begin at a place: not in the middle of another one. */
bool
mals_token_begins(const char *s, int pos)
{
	return pos == 0 || !(class_of(s[pos - 1]) & C_TOKEN) || is_escape(s, pos);
}

/* Looks for a vendor's key at a place. */
static bool
find_vendor(const char *s, int len, int pos, MalsSecret *secret)
{
	int trigger = VENDOR_TRIGGER(s[pos]);
	bool begins = mals_token_begins(s, pos);

	for (int i = 0; i < nvendors_of[trigger]; i++)
	{
		const MalsVendor *vendor = &mals_vendors[vendors_of[trigger][i]];

		if (vendor->prefix[1] == s[pos + 1] && (begins || (vendor->flags & V_KEEP)) &&
			mals_vendor_match(vendor, s, len, pos, secret))
			return true;
	}
	return false;
}

/* Tells whether something more specific than the value of a pair begins at a place. */
bool
mals_secret_specific(const char *s, int len, int pos, MalsSecret *secret)
{
	return len - pos > 3 &&
		   (find_vendor(s, len, pos, secret) || mals_shape_jwt(s, len, pos, secret) ||
			(starts_with(s + pos, len - pos, "-----BEGIN") &&
			 mals_shape_pem(s, len, pos + 5, secret)));
}

/* Looks closely at a place; secret is the first one found so far, if any. */
static bool
look(const char *s, int len, int at, uint32 hits, bool found, MalsSecret *secret)
{
	MalsSecret seen;

	if ((hits & ((1 << VENDOR_TRIGGERS) - 1)) && find_vendor(s, len, at, &seen))
	{
		*secret = seen;
		found = true;
	}
	for (hits >>= VENDOR_TRIGGERS; hits != 0; hits &= hits - 1)
	{
		const Trigger *trigger = &triggers[pg_rightmost_one_pos32(hits)];

		if (trigger->look(s, len, at, &seen) && (!found || seen.start < secret->start))
		{
			*secret = seen;
			found = true;
		}
	}
	return found;
}

/*
 * Finds the first secret of a text. What a trigger finds may begin further on:
 * until there, others are looked for.
 */
bool
mals_secret_find(const char *s, int len, MalsSecret *secret)
{
	const unsigned char *u = (const unsigned char *) s;
	int last = len - 2; /* a secret has three bytes at least */
	int at = 0;
	bool found = false;

	if (!ready)
		prepare();
	while (at < last)
	{
		int stop = Min(last, at + SCAN_STRETCH);

		CHECK_FOR_INTERRUPTS();
		for (; at < stop; at++)
		{
			uint32 hits = table[0][u[at]] & table[1][u[at + 1]] & table[2][u[at + 2]];

			if (likely(hits == 0))
				continue;
			found = look(s, len, at, hits, found, secret);
			if (found)
				last = stop = Min(stop, secret->start);
		}
	}
	return found;
}
