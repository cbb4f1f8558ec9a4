/*
 * webhook.c
 *		A delivery by webhook: POST of JSON.
 *
 * With mals.webhook_secret the header X-Mals-Signature is "sha256=" and the
 * HMAC-SHA256 of the body in hexadecimal. Redirects are not followed, proxies
 * of the environment not used, certificates checked.
 */
#include "mals_errors.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "common/hmac.h"
#include "common/sha2.h"
#include "utils/builtins.h"

#include "mals_guc.h"
#include "alert/channel.h"

/* Makes the socket of a transfer, if its address is one that is allowed. */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	MalsTransfer *transfer = arg;

	if ((transfer->addresses & mals_address_kind(&address->addr)) == 0)
	{
		transfer->refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Appends the signature of a body by a key. */
static void
sign(MalsTransfer *transfer, const char *key)
{
	static const char digits[] = "0123456789abcdef";
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	StringInfoData header;

	if (hmac == NULL || pg_hmac_init(hmac, (const uint8 *) key, strlen(key)) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) transfer->body, transfer->length) < 0 ||
		pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not sign a webhook");
	pg_hmac_free(hmac);
	initStringInfo(&header);
	appendStringInfoString(&header, "X-Mals-Signature: sha256=");
	for (int i = 0; i < sizeof(digest); i++)
	{
		appendStringInfoChar(&header, digits[digest[i] >> 4]);
		appendStringInfoChar(&header, digits[digest[i] & 15]);
	}
	mals_transfer_header(transfer, header.data);
}

/* Adds the headers that the channel was set with. */
static void
add_headers(MalsTransfer *transfer)
{
	Jsonb *channel = DatumGetJsonbP(transfer->target);
	JsonbValue headers;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	char *name = NULL;

	if (getKeyJsonValueFromContainer(&channel->root, "headers", 7, &headers) == NULL)
		return;
	it = JsonbIteratorInit(headers.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(item.val.string.val, item.val.string.len);
		else if (token == WJB_VALUE)
			/* "name;" is how curl wants a header without a value */
			mals_transfer_header(transfer, item.val.string.len == 0
											   ? psprintf("%s;", name)
											   : psprintf("%s: %.*s", name, item.val.string.len,
														  item.val.string.val));
	}
}

void
mals_webhook_prepare(MalsTransfer *transfer, Jsonb *payload)
{
	CURL *easy = transfer->easy;
	char *url = mals_channel_text(transfer->target, "webhook");
	char *host = mals_webhook_host(url);
	char *text = JsonbToCString(NULL, &payload->root, VARSIZE(payload));
	const char *key = mals_secret(mals_webhook_secret, "mals.webhook_secret", &transfer->reason);

	transfer->addresses = host != NULL ? mals_host_addresses(host) : 0;
	if (transfer->addresses == 0)
		transfer->reason = "mals.webhook_allow does not allow the host";
	if (transfer->reason != NULL)
		return;
	transfer->body = mals_utf8(text);
	transfer->length = strlen(transfer->body);
	mals_transfer_header(transfer, "Content-Type: application/json");
	mals_transfer_header(transfer, "Expect:");
	mals_transfer_header(transfer, psprintf("Idempotency-Key: %s", transfer->key));
	if (*key != '\0')
		sign(transfer, key);
	add_headers(transfer);

	mals_setopt(easy, CURLOPT_URL, url);
	mals_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	mals_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	mals_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	mals_setopt(easy, CURLOPT_USERAGENT, "mals/" MALS_VERSION);
	mals_setopt(easy, CURLOPT_POST, 1L);
	mals_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) transfer->length);
	mals_setopt(easy, CURLOPT_POSTFIELDS, transfer->body);
	mals_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	mals_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	mals_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
}
