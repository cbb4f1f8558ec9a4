/*
 * mals_guc.h
 *		The settings of mals, as the code reads them.
 */
#ifndef MALS_GUC_H
#define MALS_GUC_H

#include "mals_errors.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "types/types.h"

/* The worker. */
extern bool mals_worker_enabled; /* mals.worker */
extern char *mals_databases;     /* names, separated by commas; empty: all */

/* Alerts. */
extern char *mals_smtp_from;            /* address, or empty */
extern const char *mals_smtp_url;       /* or empty; see alert/secret.c */
extern char *mals_webhook_allow;        /* see alert/allow.c */
extern char *mals_webhook_ca_file;      /* or empty */
extern const char *mals_webhook_secret; /* or empty; see alert/secret.c */
extern int mals_webhook_timeout;        /* milliseconds */
extern int64 mals_alert_give_up;        /* microseconds */

/* Context: what fills in an entry's missing fields. NULL or '' is "not set". */
extern char *mals_agent_id;
extern char *mals_category;
extern char *mals_correlation_id;
extern char *mals_session_key;
extern char *mals_source;
extern bool mals_default_level(MalsLevel *level);    /* mals.level; false: not set */
extern const pg_uuid_t *mals_default_trace_id(void); /* NULL: not set */
extern const pg_uuid_t *mals_default_parent_id(void);
extern Jsonb *mals_context_object(void); /* mals.context, lives until it is changed; or NULL */

extern MalsLevel mals_min_level(void);
extern bool mals_redacting; /* mals.redact */

/* How entries are written. */
extern int mals_write_mode;     /* a MalsWriteMode */
extern int mals_write_timeout;  /* milliseconds; 0: none */
extern int mals_flush_interval; /* milliseconds */
extern int mals_ring_size;      /* kilobytes */
extern int mals_rate_limit;     /* entries a second; 0: any number */
extern int mals_repeat_limit;   /* entries a minute; 0: any number */

/* Raises 55000 if one of these needs shared memory where there is none. */
extern void mals_require_preload(void);

/* What the server's log gives: a MalsLevel or worse, or nothing. */
#define MALS_CAPTURE_OFF INT_MAX
extern int mals_capture_server_log;
extern int mals_capture_query_length; /* bytes */

/* The clock rule and partitions. */
extern int mals_max_partitions;
extern int64 mals_max_future;          /* microseconds */
extern int64 mals_retention;           /* microseconds */
extern bool mals_max_past(int64 *age); /* microseconds, INT64_MAX for any; false: not set */

typedef enum MalsPartitionUnit
{
	MALS_PARTITION_HOUR,
	MALS_PARTITION_DAY,
	MALS_PARTITION_WEEK
} MalsPartitionUnit;

extern int mals_partition_interval; /* a MalsPartitionUnit */
extern int mals_premake;            /* partitions to make ahead of time */

/* Retention, besides mals_retention. */
extern bool mals_keep_unresolved;
extern int64 mals_max_size; /* bytes; 0: no limit */

extern char *mals_archive_directory; /* "": none; else it should be absolute */
extern bool mals_allow_drop;         /* of the extension */

/* Sets a setting of this session, as SET would. */
extern void mals_set_setting(const char *name, const char *value);

extern void mals_guc_init(void);

#endif /* MALS_GUC_H */
