/*
 * deliver.c
 *		Sends what is due of mals._alert_deliveries, many at once by curl's multi
 *		interface, so that one slow receiver holds up no other.
 *
 * To each receiver goes one delivery at a time. What the outcome was is written
 * in a transaction of its own after it: a delivery that is interrupted is sent
 * again, with the same idempotency key. One that failed is tried again after 1,
 * 2, 4, … seconds, up to an hour, each time by chance up to half of it earlier,
 * until mals.alert_give_up after the alert.
 *
 * No transaction is open while this waits, and it waits in slices short enough
 * for a shutdown. Only one process in a database delivers at a time.
 */
#include "mals_errors.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "alert/alert.h"
#include "alert/channel.h"
#include "mals_guc.h"
#include "mals_spi.h"
#include "partition/partition.h"

/* Deliveries at once. */
#define MAX_TRANSFERS 16

/* Milliseconds: between two notifications, a slice of waiting, and what is worth waiting for. */
#define NOTIFY_INTERVAL 250
#define SLICE 100
#define LINGER 1000

/* Notifications that may wait to be sent one by one, and most alerts that else are in one. */
#define MAX_WAITING 20
#define MAX_TOGETHER 101

/* Characters of a message that are sent, and bytes of a notification. */
#define MESSAGE_CHARACTERS "16000"
#define MAX_NOTIFICATION 7999

/* Which receivers are being sent to. */
typedef struct Delivery
{
	CURLM *multi;
	MalsTransfer *transfers[MAX_TRANSFERS]; /* NULL: the place is free */
	int ntransfers;
	TimestampTz notified; /* when the last notification was */
	TimestampTz looked;   /* when it was last looked for transfers to start */
	int64 delivered;
} Delivery;

/* The first delivery that is due to each receiver but those in $1; at most $2. */
static const char *const take_due =
	"SELECT d.alert, d.channel, d.target, p.payload, m.subject, m.body FROM ("
	"SELECT * FROM (SELECT DISTINCT ON (target) * FROM mals._alert_deliveries"
	" WHERE due_at <= clock_timestamp() AND target <> ALL ($1) AND target <> '\"notify\"'"
	" ORDER BY target, due_at, alert) q ORDER BY due_at LIMIT $2) d"
	" CROSS JOIN LATERAL mals._alert_payload(d.alert, " MESSAGE_CHARACTERS ", true) AS p (payload)"
	" CROSS JOIN LATERAL mals._alert_mail(p.payload) m";

static const char *const take_notifications =
	"SELECT d.alert, d.channel FROM mals._alert_deliveries d JOIN mals.alerts a ON a.id = d.alert"
	" WHERE d.due_at <= clock_timestamp() AND d.target = '\"notify\"'"
	" ORDER BY a.fired_at, d.alert LIMIT " CppAsString2(MAX_TOGETHER);

/* Alert $1 with $2 characters of the message, and the ids of others ($3). */
static const char *const make_notification =
	"SELECT (mals._alert_payload($1, $2, false) - CASE WHEN EXISTS (SELECT FROM "
	"mals.agent_bindings)"
	" THEN '{count,fingerprint,agent_id,entry}'::text[] ELSE '{}' END || CASE WHEN $3 = '{}' THEN "
	"'{}'"
	" ELSE jsonb_build_object('others', to_jsonb($3)) END)::text";

static const char *const note_success =
	"WITH done AS (DELETE FROM mals._alert_deliveries WHERE alert = $1 AND channel = $2"
	" RETURNING attempts)"
	" UPDATE mals.alerts a SET attempts = greatest(a.attempts, done.attempts + 1),"
	" delivered_at = CASE WHEN NOT EXISTS (SELECT FROM mals._alert_deliveries d"
	" WHERE d.alert = $1 AND d.channel <> $2) THEN clock_timestamp() END"
	" FROM done WHERE a.id = $1";

/* $3 is why, $4 how long after the alert to give up. */
static const char *const note_failure =
	"WITH tried AS (UPDATE mals._alert_deliveries d SET attempts = d.attempts + 1,"
	" due_at = CASE WHEN clock_timestamp() < a.fired_at + $4 THEN clock_timestamp()"
	" + least(2 ^ least(d.attempts, 12), 3600) * (0.5 + random() / 2) * interval '1 second' END"
	" FROM mals.alerts a WHERE a.id = d.alert AND d.alert = $1 AND d.channel = $2"
	" RETURNING d.attempts, d.due_at)"
	" UPDATE mals.alerts a SET attempts = greatest(a.attempts, t.attempts), last_error = $3"
	" || CASE WHEN t.due_at IS NULL THEN '; given up' ELSE '' END FROM tried t WHERE a.id = $1";

/* What memory is allocated in between transactions. */
static MemoryContext scratch;

/* Starts a transaction that is connected to SPI. */
static void
begin(void)
{
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	mals_spi_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Ends it. */
static void
commit(void)
{
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
}

/* Keeps other processes from delivering; false: one does, and this one is not to wait for it. */
static bool
lock_deliveries(LOCKTAG *tag, bool wait)
{
	LockAcquireResult result;

	StartTransactionCommand();
	/* of the kind that is released however a process ends, and in none of the users' key spaces */
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, mals_relation_oid("_alert_deliveries"), 0, 3);
	result = LockAcquire(tag, ExclusiveLock, true, !wait);
	CommitTransactionCommand();
	MemoryContextSwitchTo(scratch);
	return result != LOCKACQUIRE_NOT_AVAIL;
}

/* Writes down that a delivery succeeded; in a transaction. */
static void
succeed(Datum alert, int32 channel)
{
	Oid types[] = {UUIDOID, INT4OID};
	Datum args[] = {alert, Int32GetDatum(channel)};

	mals_run_with(note_success, 2, types, args, NULL);
}

/* Writes down that a delivery failed; in a transaction. */
static void
fail(Datum alert, int32 channel, const char *kind, const char *why)
{
	Oid types[] = {UUIDOID, INT4OID, TEXTOID, INTERVALOID};
	Interval give_up = {.time = mals_alert_give_up};
	Datum args[] = {alert, Int32GetDatum(channel),
					CStringGetTextDatum(psprintf("channel %d (%s): %s", channel, kind, why)),
					IntervalPGetDatum(&give_up)};

	mals_run_with(note_failure, 4, types, args, NULL);
}

/*
 * Makes the payload of a notification of an alert, and of others by their ids.
 * So that it fits, it has less and less of the message, and no more of the
 * entry than its id in the end. Who listens need not be allowed to read: where
 * roles are bound to agents it tells nothing of entries; those who may find them
 * in mals.alerts.
 */
static char *
notification_text(Datum alert, Datum others)
{
	static const int characters[] = {2000, 500, 100, -1};
	Oid types[] = {UUIDOID, INT4OID, UUIDARRAYOID};
	char *payload = NULL;
	bool isnull;

	for (int i = 0; i < lengthof(characters); i++)
	{
		Datum args[] = {alert, Int32GetDatum(characters[i]), others};

		mals_run_with(make_notification, 3, types, args, NULL);
		payload = TextDatumGetCString(mals_result_datum(0, 1, &isnull));
		if (strlen(payload) <= MAX_NOTIFICATION)
			break;
	}
	return payload;
}

/* Sends the notification that has waited longest, and many at once where many wait. */
static void
notify(Delivery *delivery)
{
	Datum alerts[MAX_TOGETHER];
	int32 channels[MAX_TOGETHER];
	int n;

	begin();
	n = (int) mals_run(take_notifications);
	if (n > 0 && n <= MAX_WAITING)
		n = 1;
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		alerts[i] = datumCopy(mals_result_datum(i, 1, &isnull), false, UUID_LEN);
		channels[i] = DatumGetInt32(mals_result_datum(i, 2, &isnull));
	}
	if (n > 0)
	{
		ArrayType *others =
			construct_array(alerts + 1, n - 1, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);

		Async_Notify("mals_alert", notification_text(alerts[0], PointerGetDatum(others)));
		delivery->delivered += n;
	}
	for (int i = 0; i < n; i++)
		succeed(alerts[i], channels[i]);
	commit();
	/* those who listen hear it now */
	if (n > 0)
		delivery->notified = GetCurrentTimestamp();
}

/* Frees what curl has allocated for a transfer; when its memory context is reset. */
static void
free_transfer(void *arg)
{
	MalsTransfer *transfer = arg;

	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->recipients);
}

void
mals_transfer_header(MalsTransfer *transfer, const char *header)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, header);

	if (list == NULL)
		elog(ERROR, "out of memory");
	transfer->headers = list;
}

/* Throws away what a receiver answers. */
static size_t
ignore_answer(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

/* Makes a transfer of a row of take_due. */
static MalsTransfer *
make_transfer(uint64 row, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "mals delivery", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	MalsTransfer *transfer = palloc0(sizeof(MalsTransfer));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	bool isnull;

	callback->func = free_transfer;
	callback->arg = transfer;
	transfer->context = context;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
		elog(ERROR, "could not start curl");
	MemoryContextRegisterResetCallback(context, callback);
	transfer->alert = datumCopy(mals_result_datum(row, 1, &isnull), false, UUID_LEN);
	transfer->channel = DatumGetInt32(mals_result_datum(row, 2, &isnull));
	transfer->target = PointerGetDatum(PG_DETOAST_DATUM_COPY(mals_result_datum(row, 3, &isnull)));
	transfer->key =
		psprintf("%s-%d", DatumGetCString(DirectFunctionCall1(uuid_out, transfer->alert)),
				 transfer->channel);

	mals_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
	mals_setopt(transfer->easy, CURLOPT_NOSIGNAL, 1L);
	mals_setopt(transfer->easy, CURLOPT_PROXY, "");
	mals_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long) mals_webhook_timeout);
	mals_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, ignore_answer);
	if (*mals_webhook_ca_file != '\0')
		mals_setopt(transfer->easy, CURLOPT_CAINFO, mals_webhook_ca_file);
	transfer->is_mail = mals_channel_text(transfer->target, "email") != NULL;
	if (!transfer->is_mail)
		mals_webhook_prepare(transfer, DatumGetJsonbP(mals_result_datum(row, 4, &isnull)));
	else
		mals_mail_prepare(transfer, TextDatumGetCString(mals_result_datum(row, 5, &isnull)),
						  TextDatumGetCString(mals_result_datum(row, 6, &isnull)));
	MemoryContextSwitchTo(old);
	return transfer;
}

/* Makes a transfer of a row; NULL if it cannot be made, as a text has no UTF-8. */
static MalsTransfer *
try_transfer(uint64 row, MemoryContext parent)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	MalsTransfer *volatile transfer = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		transfer = make_transfer(row, parent);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return transfer;
}

/* What errors call the kind of a transfer's channel. */
static const char *
kind_of(const MalsTransfer *transfer)
{
	if (transfer == NULL)
		return "not made";
	return transfer->is_mail ? "email" : "webhook";
}

/* Makes an array of the receivers that are being sent to. */
static Datum
busy_targets(const Delivery *delivery)
{
	Datum targets[MAX_TRANSFERS];
	int n = 0;

	for (int i = 0; i < MAX_TRANSFERS; i++)
	{
		if (delivery->transfers[i] != NULL)
			targets[n++] = delivery->transfers[i]->target;
	}
	return PointerGetDatum(construct_array(targets, n, JSONBOID, -1, false, TYPALIGN_INT));
}

/* Starts what is due and has a place. */
static void
start_transfers(Delivery *delivery, MemoryContext context)
{
	Oid types[] = {JSONBARRAYOID, INT4OID};
	Datum args[2];
	uint64 rows;

	begin();
	args[0] = busy_targets(delivery);
	args[1] = Int32GetDatum(MAX_TRANSFERS - delivery->ntransfers);
	rows = mals_run_with(take_due, 2, types, args, NULL);
	/* what was committed after settings were changed is sent by them: they are read first */
	if (ConfigReloadPending)
		rows = 0;
	for (uint64 row = 0; row < rows; row++)
	{
		SPITupleTable *due = SPI_tuptable;
		MalsTransfer *transfer = try_transfer(row, context);
		const char *why = transfer == NULL ? "see the server's log" : transfer->reason;
		bool isnull;
		int place = 0;

		if (why != NULL)
		{
			fail(mals_result_datum(row, 1, &isnull),
				 DatumGetInt32(mals_result_datum(row, 2, &isnull)), kind_of(transfer), why);
			SPI_tuptable = due;
			if (transfer != NULL)
				MemoryContextDelete(transfer->context);
			continue;
		}
		while (delivery->transfers[place] != NULL)
			place++;
		if (curl_multi_add_handle(delivery->multi, transfer->easy) != CURLM_OK)
			elog(ERROR, "could not add a transfer to curl");
		delivery->transfers[place] = transfer;
		delivery->ntransfers++;
	}
	commit();
}

/* Why a transfer failed, in words that hold nothing of the channel; NULL: it did not. */
static const char *
failure(MalsTransfer *transfer, CURLcode result)
{
	long answer = 0;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &answer);
	if (transfer->refused)
		return "mals.webhook_allow does not allow the address";
	if (result == CURLE_OK && (transfer->is_mail || answer / 100 == 2))
		return NULL;
	if (result == CURLE_OK)
		return psprintf(answer / 100 == 3 ? "HTTP %ld, redirects are not followed" : "HTTP %ld",
						answer);
	if (transfer->is_mail && answer > 0)
		return psprintf("%s (SMTP %ld)", curl_easy_strerror(result), answer);
	return curl_easy_strerror(result);
}

/* Takes a transfer out that has ended. */
static void
end_transfer(Delivery *delivery, MalsTransfer *transfer, CURLcode result)
{
	const char *why = failure(transfer, result);

	begin();
	if (why == NULL)
	{
		succeed(transfer->alert, transfer->channel);
		delivery->delivered++;
	}
	else
		fail(transfer->alert, transfer->channel, kind_of(transfer), why);
	commit();
	for (int i = 0; i < MAX_TRANSFERS; i++)
	{
		if (delivery->transfers[i] == transfer)
			delivery->transfers[i] = NULL;
	}
	delivery->ntransfers--;
	delivery->looked = 0;
	curl_multi_remove_handle(delivery->multi, transfer->easy);
	MemoryContextDelete(transfer->context);
}

/* Lets curl do what it can without waiting; a thread that it starts takes no signals. */
static void
perform(Delivery *delivery)
{
	sigset_t all;
	sigset_t old;
	CURLMcode result;
	int running;
	int left;
	CURLMsg *message;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	result = curl_multi_perform(delivery->multi, &running);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (result != CURLM_OK)
		elog(ERROR, "curl: %s", curl_multi_strerror(result));
	while ((message = curl_multi_info_read(delivery->multi, &left)) != NULL)
	{
		char *transfer;

		if (message->msg == CURLMSG_DONE &&
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) == CURLE_OK)
			end_transfer(delivery, (MalsTransfer *) transfer, message->data.result);
	}
}

/* When the next delivery is due; in a transaction. */
static TimestampTz
next_due(void)
{
	Datum due;
	bool isnull;

	mals_run("SELECT min(due_at) FROM mals._alert_deliveries");
	due = mals_result_datum(0, 1, &isnull);
	return isnull ? DT_NOEND : DatumGetTimestampTz(due);
}

TimestampTz
mals_delivery_due(void)
{
	return Max(next_due(), GetCurrentTimestamp() + LINGER * INT64CONST(1000));
}

/* Milliseconds until the next delivery is due. */
static long
until_due(void)
{
	TimestampTz due;

	begin();
	due = next_due();
	commit();
	return due == DT_NOEND ? LONG_MAX : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
}

/* Waits a slice, or so many milliseconds if nothing is being sent. */
static void
wait_slice(Delivery *delivery, long delay)
{
	if (delivery->ntransfers > 0)
	{
		(void) curl_multi_wait(delivery->multi, NULL, 0, SLICE, NULL);
		delay = 0;
	}
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, delay,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Sends until nothing is due for a while. */
static void
deliver(Delivery *delivery, MemoryContext context)
{
	long delay;

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		MemoryContextReset(scratch);
		if (TimestampDifferenceExceeds(delivery->notified, now, NOTIFY_INTERVAL))
			notify(delivery);
		if (delivery->ntransfers < MAX_TRANSFERS &&
			TimestampDifferenceExceeds(delivery->looked, now, SLICE))
		{
			start_transfers(delivery, context);
			delivery->looked = now;
		}
		if (delivery->ntransfers > 0)
		{
			perform(delivery);
			delay = 0;
		}
		else
			delay = until_due();
		if (delay > LINGER)
			break;
		wait_slice(delivery, Min(Max(delay, SLICE / 2), SLICE));
	}
}

/*
 * Delivers, if need be after another process that does. An error is not caught:
 * the process that does this ends by it.
 */
static int64
deliver_alone(bool wait)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "mals deliveries", ALLOCSET_DEFAULT_SIZES);
	Delivery delivery = {.notified = GetCurrentTimestamp()};
	LOCKTAG tag;

	scratch = AllocSetContextCreate(context, "mals delivery scratch", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	if (lock_deliveries(&tag, wait))
	{
		pqsignal(SIGPIPE, SIG_IGN);
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
			(delivery.multi = curl_multi_init()) == NULL)
			elog(ERROR, "could not start curl");
		deliver(&delivery, context);
		curl_multi_cleanup(delivery.multi);
		LockRelease(&tag, ExclusiveLock, true);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return delivery.delivered;
}

int64
mals_alerts_deliver(void)
{
	return deliver_alone(true);
}

int64
mals_alerts_maintain(void)
{
	int64 fired = 0;

	do
	{
		fired += mals_alerts_turn();
	} while (mals_alerts_more());
	(void) deliver_alone(false);
	return fired;
}
