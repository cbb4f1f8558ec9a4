/*
 * mail.c
 *		A delivery by e-mail: one message, by the server of mals.smtp_url.
 *
 * A URL smtp:// uses STARTTLS where the server offers it, and must where the URL
 * has a user, so that no password is sent in clear; smtps:// is TLS from the
 * beginning. Texts are UTF-8, in headers as RFC 2047 has it, in the body as
 * base64.
 */
#include "mals_errors.h"

#include <time.h>
#include <unistd.h>

#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "mals_compat.h"
#include "mals_guc.h"
#include "alert/alert.h"
#include "alert/channel.h"

/* Bytes of a text in one encoded word, and of the body in a line of base64. */
#define WORD_BYTES 42
#define LINE_BYTES 57

/* Appends bytes as base64. */
static void
append_base64(StringInfo buf, const char *bytes, int len)
{
	int size = pg_b64_enc_len(len);
	int written;

	enlargeStringInfo(buf, size + 1);
	written = mals_b64_encode(bytes, len, buf->data + buf->len, size);
	if (written < 0)
		elog(ERROR, "could not encode base64");
	buf->len += written;
	buf->data[buf->len] = '\0';
}

/* Appends a header with a text in UTF-8, as encoded words of whole characters. */
static void
append_header(StringInfo buf, const char *name, const char *text)
{
	int left = strlen(text);

	appendStringInfo(buf, "%s:", name);
	while (left > 0)
	{
		int len = pg_encoding_mbcliplen(PG_UTF8, text, left, WORD_BYTES);

		appendStringInfoString(buf, " =?UTF-8?B?");
		append_base64(buf, text, len);
		appendStringInfoString(buf, "?=\r\n");
		text += len;
		left -= len;
	}
}

/* Appends the time, as mail has it. */
static void
append_date(StringInfo buf)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
										 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	appendStringInfo(buf, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
					 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
					 tm.tm_sec);
}

/* Gives the sender's address: mals.smtp_from, or mals at this host. */
static char *
sender(void)
{
	char host[256] = "";

	if (*mals_smtp_from != '\0')
		return mals_smtp_from;
	if (gethostname(host, sizeof(host) - 1) != 0 ||
		host[strspn(host, "abcdefghijklmnopqrstuvwxyz"
						  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
						  "0123456789.-")] != '\0' ||
		host[0] == '\0')
		return "mals@localhost";
	return psprintf("mals@%s", host);
}

/* Hands curl the next part of the message. */
static size_t
read_body(char *buffer, size_t size, size_t count, void *arg)
{
	MalsTransfer *transfer = arg;
	size_t len = Min(size * count, transfer->length - transfer->sent);

	memcpy(buffer, transfer->body + transfer->sent, len);
	transfer->sent += len;
	return len;
}

/* Makes the message. */
static void
make_message(MalsTransfer *transfer, const char *from, const char *to, const char *subject,
			 const char *text)
{
	char *utf8 = mals_utf8(text);
	int left = strlen(utf8);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "From: <%s>\r\nTo: <%s>\r\n", from, to);
	append_header(&buf, "Subject", mals_utf8(subject));
	append_date(&buf);
	appendStringInfo(&buf,
					 "Message-ID: <%s@%s>\r\nIdempotency-Key: %s\r\nAuto-Submitted: "
					 "auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
					 "charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
					 transfer->key, strchr(from, '@') + 1, transfer->key);
	for (; left > 0; utf8 += LINE_BYTES, left -= LINE_BYTES)
	{
		append_base64(&buf, utf8, Min(left, LINE_BYTES));
		appendStringInfoString(&buf, "\r\n");
	}
	transfer->body = buf.data;
	transfer->length = buf.len;
}

/* Tells whether a URL has a user. */
static bool
has_user(const char *text)
{
	CURLU *url = curl_url();
	char *user = NULL;
	bool result;

	if (url == NULL)
		elog(ERROR, "out of memory");
	result = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
			 curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK;
	curl_free(user);
	curl_url_cleanup(url);
	return result;
}

void
mals_mail_prepare(MalsTransfer *transfer, const char *subject, const char *body)
{
	CURL *easy = transfer->easy;
	char *to = mals_channel_text(transfer->target, "email");
	char *from = sender();
	const char *url = mals_secret(mals_smtp_url, "mals.smtp_url", &transfer->reason);

	if (*mals_smtp_url == '\0')
		transfer->reason = "mals.smtp_url is not set";
	else if (url != NULL && !mals_smtp_url_valid(url))
		transfer->reason = "the file that mals.smtp_url names has no URL of smtp or smtps";
	if (transfer->reason != NULL)
		return;
	make_message(transfer, from, to, subject, body);
	transfer->recipients = curl_slist_append(NULL, psprintf("<%s>", to));
	if (transfer->recipients == NULL)
		elog(ERROR, "out of memory");

	mals_setopt(easy, CURLOPT_URL, url);
	mals_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	mals_setopt(easy, CURLOPT_USE_SSL, (long) (has_user(url) ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	mals_setopt(easy, CURLOPT_MAIL_FROM, psprintf("<%s>", from));
	mals_setopt(easy, CURLOPT_MAIL_RCPT, transfer->recipients);
	mals_setopt(easy, CURLOPT_UPLOAD, 1L);
	mals_setopt(easy, CURLOPT_READFUNCTION, read_body);
	mals_setopt(easy, CURLOPT_READDATA, transfer);
}
