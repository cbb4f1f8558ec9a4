/*
 * allow.c
 *		Which hosts webhooks may go to: mals.webhook_allow, a list of the words
 *		public and loopback, and of hosts, in which * stands for anything.
 *
 * The words say what kinds of address any host may have, a host that is listed
 * may have every address. What counts is the address that is connected to, when
 * it is: what a name resolved to before does not matter.
 */
#include "mals_errors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>


#include "mals_guc.h"
#include "alert/channel.h"

/* Networks of IPv4 that are not public. */
static const struct
{
	uint32 network;
	int bits;
	int kind;
} networks[] = {
	{0x7f000000, 8, MALS_ADDRESS_LOOPBACK}, {0x00000000, 8, MALS_ADDRESS_OTHER}, /* this network */
	{0x0a000000, 8, MALS_ADDRESS_OTHER},                                         /* private */
	{0x64400000, 10, MALS_ADDRESS_OTHER},                                        /* of carriers */
	{0xa9fe0000, 16, MALS_ADDRESS_OTHER},                                        /* link-local */
	{0xac100000, 12, MALS_ADDRESS_OTHER},                                        /* private */
	{0xc0000000, 24, MALS_ADDRESS_OTHER}, /* protocol assignments */
	{0xc0a80000, 16, MALS_ADDRESS_OTHER}, /* private */
	{0xc6120000, 15, MALS_ADDRESS_OTHER}, /* benchmarks */
	{0xe0000000, 3, MALS_ADDRESS_OTHER},  /* multicast, reserved, broadcast */
};

/* Tells of which kind an address of IPv4 is. */
static int
kind_of_v4(const uint8 *bytes)
{
	uint32 address = (uint32) bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];

	for (int i = 0; i < lengthof(networks); i++)
	{
		if ((address ^ networks[i].network) >> (32 - networks[i].bits) == 0)
			return networks[i].kind;
	}
	return MALS_ADDRESS_PUBLIC;
}

/* Tells of which kind an address of IPv6 is; public ones begin with the bits 001. */
static int
kind_of_v6(const uint8 *bytes)
{
	static const uint8 mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8 translated[12] = {0x00, 0x64, 0xff, 0x9b};
	static const uint8 loopback[16] = {[15] = 1};

	if (memcmp(bytes, loopback, sizeof(loopback)) == 0)
		return MALS_ADDRESS_LOOPBACK;
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0 ||
		memcmp(bytes, translated, sizeof(translated)) == 0)
		return kind_of_v4(bytes + 12);
	if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4 */
		return kind_of_v4(bytes + 2);
	return (bytes[0] & 0xe0) == 0x20 ? MALS_ADDRESS_PUBLIC : MALS_ADDRESS_OTHER;
}

int
mals_address_kind(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return kind_of_v4((const uint8 *) &((const struct sockaddr_in *) address)->sin_addr);
	if (address->sa_family == AF_INET6)
		return kind_of_v6((const uint8 *) &((const struct sockaddr_in6 *) address)->sin6_addr);
	return MALS_ADDRESS_OTHER;
}

/* Tells whether a text matches a pattern, in any case; * stands for anything. */
static bool
matches(const char *text, const char *pattern)
{
	const char *star = NULL;
	const char *resume = NULL;

	while (*text != '\0')
	{
		if (*pattern == '*')
		{
			star = pattern++;
			resume = text;
		}
		else if (pg_tolower((unsigned char) *pattern) == pg_tolower((unsigned char) *text))
		{
			pattern++;
			text++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			text = ++resume;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

int
mals_host_addresses(const char *host)
{
	char *list = pstrdup(mals_webhook_allow);
	char *state;
	int result = 0;

	for (char *word = strtok_r(list, ", \t\n", &state); word != NULL;
		 word = strtok_r(NULL, ", \t\n", &state))
	{
		if (pg_strcasecmp(word, "public") == 0)
			result |= MALS_ADDRESS_PUBLIC;
		else if (pg_strcasecmp(word, "loopback") == 0)
			result |= MALS_ADDRESS_LOOPBACK;
		else if (matches(host, word))
			result = MALS_ADDRESS_ANY;
	}
	pfree(list);
	return result;
}
