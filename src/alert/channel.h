/*
 * channel.h
 *		Private header of src/alert: where alerts are sent.
 */
#ifndef MALS_CHANNEL_H
#define MALS_CHANNEL_H

#include "mals_errors.h"

#include <curl/curl.h>

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Kinds of address; an address is of one. */
#define MALS_ADDRESS_PUBLIC 0x01
#define MALS_ADDRESS_LOOPBACK 0x02
#define MALS_ADDRESS_OTHER 0x04 /* private, link-local, multicast, … */
#define MALS_ADDRESS_ANY (MALS_ADDRESS_PUBLIC | MALS_ADDRESS_LOOPBACK | MALS_ADDRESS_OTHER)

/* One delivery by curl; all of it is in a memory context of its own. */
typedef struct MalsTransfer
{
	MemoryContext context;
	Datum alert; /* uuid */
	int32 channel;
	Datum target; /* jsonb: the channel, as it was set */
	char *key;    /* idempotency key */
	bool is_mail; /* else a webhook */

	CURL *easy;
	struct curl_slist *headers;
	struct curl_slist *recipients;
	char *body;
	size_t length;
	size_t sent;
	int addresses;      /* MALS_ADDRESS_… that it may connect to */
	bool refused;       /* an address was not among them */
	const char *reason; /* not NULL: it fails for that, before it starts */
	char error[CURL_ERROR_SIZE];
} MalsTransfer;

/* allow.c: which addresses mals.webhook_allow lets a host have (MALS_ADDRESS_…); 0: none. */
extern int mals_host_addresses(const char *host);
struct sockaddr;
extern int mals_address_kind(const struct sockaddr *address);

/* channels.c: checks the channels of a rule (22023). */
extern void mals_channels_check(Jsonb *channels);

/* The text under a key of a channel, palloc'd; NULL if there is none. */
extern char *mals_channel_text(Datum target, const char *key);

/* Makes a text of the server's encoding UTF-8. */
extern char *mals_utf8(const char *str);

/*
 * secret.c: the secret that is the value of a setting, or that is in the file
 * which the value names; NULL if that cannot be read, which is the reason then.
 */
extern const char *mals_secret(const char *value, const char *setting, const char **reason);

/* The host of a URL of http or https, palloc'd; NULL if it is none. */
extern char *mals_webhook_host(const char *url);

/* webhook.c, mail.c: prepare a transfer of an alert, given as JSON in the server's encoding. */
extern void mals_webhook_prepare(MalsTransfer *transfer, Jsonb *payload);
extern void mals_mail_prepare(MalsTransfer *transfer, const char *subject, const char *body);

/* Appends a header to a list of curl's. */
extern void mals_transfer_header(MalsTransfer *transfer, const char *header);

/* Sets an option of curl's, which must succeed. */
#define mals_setopt(easy, option, value)                                                           \
	do                                                                                             \
	{                                                                                              \
		CURLcode setopt_result_ = curl_easy_setopt((easy), (option), (value));                     \
                                                                                                   \
		if (setopt_result_ != CURLE_OK)                                                            \
			elog(ERROR, "could not set an option of curl: %s",                                     \
				 curl_easy_strerror(setopt_result_));                                              \
	} while (0)

#endif /* MALS_CHANNEL_H */
