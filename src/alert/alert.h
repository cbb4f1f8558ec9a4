/*
 * alert.h
 *		Public header of src/alert: rules that watch for entries, and the delivery
 *		of what they fire.
 *
 *		rules.c		sets, drops and tests rules
 *		evaluate.c	what fires
 *		deliver.c	sends what is due, by channel.h
 */
#ifndef MALS_ALERT_H
#define MALS_ALERT_H

#include "mals_errors.h"

#include "datatype/timestamp.h"

/*
 * A turn of evaluation, called outside a transaction; returns how many alerts
 * fired. mals_alerts_due tells when the next turn is due if no entries come; it
 * is called in a transaction, connected to SPI.
 */
extern int64 mals_alerts_turn(void);
extern TimestampTz mals_alerts_due(void);
extern bool mals_alerts_more(void); /* did the last turn leave something to the next one? */

/*
 * Sends all that is due, called outside a transaction; returns how many
 * deliveries succeeded. mals_delivery_due tells when the next one is due, as above.
 */
extern int64 mals_alerts_deliver(void);
extern TimestampTz mals_delivery_due(void);

/*
 * Both, once, where there may be no worker that does: mals_alerts_ask has a
 * background worker call mals_alerts_maintain, which returns how many alerts
 * fired. It is called connected to SPI; false: there was no worker to be had.
 */
extern bool mals_alerts_ask(int64 *fired);
extern int64 mals_alerts_maintain(void);

/* For the settings: tell whether a text is an address that mail can be sent by, or from. */
extern bool mals_smtp_url_valid(const char *url);
extern bool mals_mail_address_valid(const char *address);

/* Tells whether the value of a secret setting names a file that has it. */
extern bool mals_secret_file(const char *value);

#endif /* MALS_ALERT_H */
