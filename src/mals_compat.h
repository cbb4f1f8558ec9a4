/*
 * mals_compat.h
 *		The one place that asks which PostgreSQL this is compiled for (15 to 18).
 */
#ifndef MALS_COMPAT_H
#define MALS_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "mals needs PostgreSQL 15 or later"
#endif

/* Macros on varlena datums have a header of their own (16+). */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Marks a function that does not return. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Input functions report bad text softly where the caller can take it (16+). */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define mals_soft_error(context, ...) ereturn((context), (Datum) 0, __VA_ARGS__)
#else
#define mals_soft_error(context, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* Decodes the fields of a date and time; tzp NULL refuses a time zone. */
#if PG_VERSION_NUM >= 160000
#define mals_decode_datetime(field, ftype, nf, dtype, tm, fsec, tzp)                               \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tzp, &(DateTimeErrorExtra){0})
#else
#define mals_decode_datetime(field, ftype, nf, dtype, tm, fsec, tzp)                               \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tzp)
#endif

/* Makes a JSON lexer over a string in the database's encoding that checks escapes too. */
#if PG_VERSION_NUM >= 170000
#define mals_json_lexer(json)                                                                      \
	makeJsonLexContextCstringLen(NULL, (json), strlen(json), GetDatabaseEncoding(), true)
#else
#define mals_json_lexer(json)                                                                      \
	makeJsonLexContextCstringLen((char *) (json), strlen(json), GetDatabaseEncoding(), true)
#endif

/* Inserts a tuple's index entries; checks one constraint ahead of inserting. */
#if PG_VERSION_NUM >= 160000
#define mals_insert_index_tuples(rri, slot, estate, no_dup_error, conflict, arbiters)              \
	ExecInsertIndexTuples(rri, slot, estate, false, no_dup_error, conflict, arbiters, false)
#else
#define mals_insert_index_tuples(rri, slot, estate, no_dup_error, conflict, arbiters)              \
	ExecInsertIndexTuples(rri, slot, estate, false, no_dup_error, conflict, arbiters)
#endif
#if PG_VERSION_NUM >= 180000
#define mals_check_index_constraints(rri, slot, estate, conflict, none, arbiters)                  \
	ExecCheckIndexConstraints(rri, slot, estate, conflict, none, arbiters)
#else
#define mals_check_index_constraints(rri, slot, estate, conflict, none, arbiters)                  \
	ExecCheckIndexConstraints(rri, slot, estate, conflict, arbiters)
#endif

/* Encodes base64 of chars. */
#if PG_VERSION_NUM >= 180000
#define mals_b64_encode(src, len, dst, dstlen)                                                     \
	pg_b64_encode((const uint8 *) (src), len, dst, dstlen)
#else
#define mals_b64_encode(src, len, dst, dstlen) pg_b64_encode(src, len, dst, dstlen)
#endif

/* Goes down a btree to the leaf where a key is to be inserted. */
#if PG_VERSION_NUM >= 170000
#define mals_bt_search(rel, heap, key, buf) _bt_search(rel, heap, key, buf, BT_WRITE)
#elif PG_VERSION_NUM >= 160000
#define mals_bt_search(rel, heap, key, buf) _bt_search(rel, heap, key, buf, BT_WRITE, NULL)
#else
#define mals_bt_search(rel, heap, key, buf) _bt_search(rel, key, buf, BT_WRITE, NULL)
#endif

/* What holds the users whose privileges a query's relations are checked by. */
#if PG_VERSION_NUM >= 160000
#define MALS_PERMISSIONS(query) ((query)->rteperminfos)
#define MalsPermission RTEPermissionInfo
#else
#define MALS_PERMISSIONS(query) ((query)->rtable)
#define MalsPermission RangeTblEntry
#endif

/* The status of the n-th of this server's sessions, from 1. */
#if PG_VERSION_NUM >= 160000
#define mals_backend_status(n) pgstat_get_local_beentry_by_index(n)
#else
#define mals_backend_status(n) pgstat_fetch_stat_local_beentry(n)
#endif

/* Tells whether the current user owns a database, or an extension. */
#if PG_VERSION_NUM >= 160000
#define mals_owns_database(oid) object_ownercheck(DatabaseRelationId, (oid), GetUserId())
#define mals_owns_extension(oid) object_ownercheck(ExtensionRelationId, (oid), GetUserId())
#else
#define mals_owns_database(oid) pg_database_ownercheck((oid), GetUserId())
#define mals_owns_extension(oid) pg_extension_ownercheck((oid), GetUserId())
#endif

/* pg_database.datconnlimit of a DROP DATABASE that was interrupted (since 15.4). */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB -2
#endif

/* Copies a text for the value of a setting; NULL if memory is out. */
#if PG_VERSION_NUM >= 160000
#define mals_guc_strdup(text) guc_strdup(LOG, text)
#else
#define mals_guc_strdup(text) strdup(text)
#endif

#endif /* MALS_COMPAT_H */
