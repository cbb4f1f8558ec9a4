/*
 * channels.c
 *		The channels of a rule: an array of "notify", {"webhook": url, "headers":
 *		{…}} and {"email": address}.
 *
 * A URL or a header may hold a secret, so no error shows them.
 */
#include "mals_errors.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "alert/alert.h"
#include "alert/channel.h"

#define MAX_CHANNELS 16
#define MAX_HEADERS 32
#define MAX_LENGTH 4096 /* of a URL or a header */

#define channel_error(n, message, hint)                                                            \
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("channels[%d]: " message, n),  \
			errhint(hint))

/* Makes a C string of a JSON string; NULL if it has a NUL or is too long. */
static char *
string_of(const JsonbValue *value)
{
	if (value->val.string.len > MAX_LENGTH)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* Tells whether a text is of printable ASCII without spaces and the characters given. */
static bool
is_plain(const char *text, const char *without)
{
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p <= ' ' || (unsigned char) *p >= 0x7f || strchr(without, *p) != NULL)
			return false;
	}
	return *text != '\0';
}

/*
 * Takes only what needs no quoting in a mail's commands and headers: nothing
 * that is put into an address can add another one, or a line.
 */
bool
mals_mail_address_valid(const char *address)
{
	const char *at = strchr(address, '@');

	return at != NULL && at > address && at[1] != '\0' && strchr(at + 1, '@') == NULL &&
		   strlen(address) <= 254 && is_plain(address, "<>()[]\\,;:\"%`");
}

/* Parses a URL; NULL if it is none, or of another scheme than those two. */
static CURLU *
parse_url(const char *text, const char *scheme, const char *secure)
{
	CURLU *url = curl_url();
	char *found = NULL;
	bool ok;

	if (url == NULL)
		elog(ERROR, "out of memory");
	ok = is_plain(text, "") && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
		 curl_url_get(url, CURLUPART_SCHEME, &found, 0) == CURLUE_OK &&
		 (pg_strcasecmp(found, scheme) == 0 || pg_strcasecmp(found, secure) == 0);
	curl_free(found);
	if (ok)
		return url;
	curl_url_cleanup(url);
	return NULL;
}

bool
mals_smtp_url_valid(const char *url)
{
	CURLU *parsed = parse_url(url, "smtp", "smtps");

	curl_url_cleanup(parsed);
	return parsed != NULL;
}

char *
mals_webhook_host(const char *url)
{
	CURLU *parsed = parse_url(url, "http", "https");
	char *host = NULL;
	char *result = NULL;

	if (parsed != NULL && curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		result = pstrdup(host);
	curl_free(host);
	curl_url_cleanup(parsed);
	return result;
}

/* Checks the URL of a webhook. */
static void
check_webhook(int n, const JsonbValue *value)
{
	char *url = value->type == jbvString ? string_of(value) : NULL;
	char *host = url != NULL ? mals_webhook_host(url) : NULL;

	if (host == NULL)
		channel_error(n, "webhook is no URL of http or https",
					  "Give a URL such as \"https://example.com/hook\", with other than plain "
					  "characters percent-encoded.");
	if (mals_host_addresses(host) == 0)
		channel_error(n, "mals.webhook_allow does not allow the host of the webhook",
					  "Add the host to mals.webhook_allow in the server's configuration.");
}

/* Checks the headers of a webhook. */
static void
check_headers(int n, const JsonbValue *value)
{
	static const char *const reserved[] = {"content-length",  "transfer-encoding", "content-type",
										   "idempotency-key", "x-mals-signature",  "expect"};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	int count = 0;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		channel_error(n, "headers is no object", "Give an object such as {\"X-Token\": \"...\"}.");
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		char *text;

		if (token != WJB_KEY && token != WJB_VALUE)
			continue;
		text = item.type == jbvString ? string_of(&item) : NULL;
		if (text == NULL || strpbrk(text, "\r\n") != NULL || ++count > 2 * MAX_HEADERS ||
			(token == WJB_KEY && !is_plain(text, "()<>@,;:\\\"/[]?={}")))
			channel_error(n, "headers holds something else than names and texts of one line",
						  "Give an object such as {\"X-Token\": \"...\"}.");
		for (int i = 0; token == WJB_KEY && i < lengthof(reserved); i++)
			if (pg_strcasecmp(text, reserved[i]) == 0)
				channel_error(n, "headers holds a header that is not yours to set",
							  "Leave out Content-Type, Content-Length, Transfer-Encoding, Expect, "
							  "Idempotency-Key and X-Mals-Signature.");
	}
}

/* Checks one channel. */
static void
check_channel(int n, const JsonbValue *value)
{
	JsonbContainer *object;
	JsonbValue webhook;
	JsonbValue headers;
	JsonbValue email;
	bool has_webhook;
	bool has_headers;
	char *address;

	if (value->type == jbvString && value->val.string.len == 6 &&
		memcmp(value->val.string.val, "notify", 6) == 0)
		return;
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		channel_error(n, "is no channel",
					  "Channels are \"notify\", {\"webhook\": url, "
					  "\"headers\": {...}} and {\"email\": address}.");
	object = value->val.binary.data;
	has_webhook = getKeyJsonValueFromContainer(object, "webhook", 7, &webhook) != NULL;
	has_headers = getKeyJsonValueFromContainer(object, "headers", 7, &headers) != NULL;
	if (has_webhook && JsonContainerSize(object) == 1 + has_headers)
	{
		check_webhook(n, &webhook);
		if (has_headers)
			check_headers(n, &headers);
		return;
	}
	if (JsonContainerSize(object) != 1 ||
		getKeyJsonValueFromContainer(object, "email", 5, &email) == NULL)
		channel_error(n, "is no channel",
					  "Channels are \"notify\", {\"webhook\": url, "
					  "\"headers\": {...}} and {\"email\": address}.");
	address = email.type == jbvString ? string_of(&email) : NULL;
	if (address == NULL || !mals_mail_address_valid(address))
		channel_error(n, "email is no address",
					  "Give one plain address, such as \"ops@example.com\".");
}

void
mals_channels_check(Jsonb *channels)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;
	int n = 0;

	if (!JB_ROOT_IS_ARRAY(channels) || JB_ROOT_IS_SCALAR(channels) ||
		JB_ROOT_COUNT(channels) > MAX_CHANNELS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("channels is no array of at most %d channels", MAX_CHANNELS),
				errhint("Give an array such as [\"notify\", {\"email\": \"ops@example.com\"}]."));
	it = JsonbIteratorInit(&channels->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			check_channel(n++, &value);
	}
}

char *
mals_channel_text(Datum target, const char *key)
{
	Jsonb *channel = DatumGetJsonbP(target);
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(channel) ||
		getKeyJsonValueFromContainer(&channel->root, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* In a database without an encoding, ? stands for what is no UTF-8. */
char *
mals_utf8(const char *str)
{
	int left = strlen(str);
	char *result;

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		return pg_server_to_any(str, left, PG_UTF8);
	result = pstrdup(str);
	for (char *p = result; left > 0;)
	{
		int len = pg_encoding_verifymbchar(PG_UTF8, p, left);

		if (len <= 0)
		{
			*p = '?';
			len = 1;
		}
		p += len;
		left -= len;
	}
	return result;
}
