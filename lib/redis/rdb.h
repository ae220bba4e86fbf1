/* rdb.h -- words of the RDB format that its reader, its writer and DUMP payloads share.
 *
 * Versions: 1 to 11 (Redis 2.2 to 7.2, Valkey up to 8.1). The magic is REDISnnnn.
 * Source: Redis 7.0 rdb.h and rdb.c for what is in the files.
 */
#ifndef LIB_REDIS_RDB_H
#define LIB_REDIS_RDB_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

#define RDB_VERSION_MAX 11
#define RDB_VERSION_WRITTEN 10 /* that of Redis 7.0 */

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3, /* scores as text */
    RDB_HASH = 4,
    RDB_ZSET_2 = 5, /* scores as eight bytes */
    RDB_MODULE = 6,
    RDB_MODULE_2 = 7,
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14, /* of ziplists */
    RDB_STREAM = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18, /* of listpacks and plain nodes */
    RDB_STREAM_2 = 19,         /* first id, max deleted id, entries added, entries read */
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_3 = 21, /* active time of consumers */
};

enum rdb_opcode {
    RDB_OP_SLOT_INFO = 244,
    RDB_OP_FUNCTION = 245,
    RDB_OP_FUNCTION_PRE_GA = 246,
    RDB_OP_MODULE_AUX = 247,
    RDB_OP_IDLE = 248,
    RDB_OP_FREQ = 249,
    RDB_OP_AUX = 250,
    RDB_OP_RESIZE = 251,
    RDB_OP_EXPIRE_MS = 252,
    RDB_OP_EXPIRE_S = 253,
    RDB_OP_SELECT = 254,
    RDB_OP_END = 255,
};

/* What a value is to a client, whatever its encoding. */
enum value_type { VALUE_STRING, VALUE_LIST, VALUE_SET, VALUE_ZSET, VALUE_HASH, VALUE_STREAM };

/* "string", "list", ..., as the TYPE command says. */
const char *value_type_name(enum value_type type);

/* The value type of an RDB type; false when this program does not read that RDB type. */
bool rdb_type_value(uint8_t rdb_type, enum value_type *type);

/* The lowest RDB version whose readers know RDB_TYPE. */
unsigned rdb_type_version(uint8_t rdb_type);

struct stream_id {
    uint64_t ms, seq;
};

static inline int stream_id_compare(struct stream_id a, struct stream_id b) {
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

/* A key with what stands around it in the file. */
struct rdb_key {
    uint32_t db;
    struct slice key;     /* owned by the reader; dies after key_end() or value_raw() */
    int64_t expire_at_ms; /* -1: never */
    int64_t idle_s;       /* -1: not told */
    int64_t freq;         /* -1: not told */
    uint8_t rdb_type;
    enum value_type type;
    uint64_t start_offset; /* of its first byte (with expiry and the like) in the file */
    uint64_t end_offset;   /* behind its last byte; set in key_end() and value_raw(), before it 0 */
};

/* What a stream is besides its entries. For RDB_STREAM (before Redis 7.0) max_deleted_id is 0-0
 * and entries_added is length, as Redis 7.0 takes it. */
struct rdb_stream {
    uint64_t length;
    struct stream_id last_id, first_id, max_deleted_id;
    uint64_t entries_added;
};

struct rdb_group {
    struct slice name;
    struct stream_id last_id;
    int64_t entries_read; /* -1: not known. Before Redis 7.0: as Redis 7.0 estimates it */
};

struct rdb_pending {
    struct stream_id id;
    int64_t delivered_ms; /* wall clock */
    uint64_t deliveries;
};

struct rdb_consumer {
    struct slice name;
    int64_t seen_ms;   /* wall clock */
    int64_t active_ms; /* before RDB_STREAM_3: same as seen_ms; -1: never */
};

/* The fields of one stream entry; a copy of it may be kept for a second walk within the call. */
struct rdb_fields {
    uint64_t count;    /* pairs that are left */
    const uint8_t *lp; /* the rest is for rdb_fields_next() */
    uint32_t field_at, value_at;
    bool same_fields;
    char field_text[24], value_text[24];
};

/* The next pair; false at the end. The slices die with the next call and with the callback. */
bool rdb_fields_next(struct rdb_fields *fields, struct slice *field, struct slice *value);

enum rdb_blob {
    RDB_BLOB_INTSET,        /* a set */
    RDB_BLOB_SET_LISTPACK,  /* member, member ... */
    RDB_BLOB_HASH_LISTPACK, /* field, value ... */
    RDB_BLOB_ZSET_LISTPACK, /* member, score ..., in order */
    RDB_BLOB_LIST_LISTPACK, /* the next node of a list; there may be many */
};

/* What a reader of values calls. Any member may be NULL. A callback that fails ends the reading
 * with its error. Slices die when the callback returns. */
struct rdb_handler {
    void *self; /* first argument of every callback */

    /* ---- around the keys, files only */
    enum err (*aux)(void *self, struct slice name, struct slice value, struct why *why);
    enum err (*function)(void *self, struct slice code, struct why *why); /* one library */
    enum err (*select_db)(void *self, uint32_t db, struct why *why);
    enum err (*resize)(void *self, uint64_t keys, uint64_t expires, struct why *why);
    enum err (*end)(void *self, bool checksum_verified, struct why *why);

    /* ---- a key as one piece: its serialised value, fully checked. Used for a value that is not
     * larger than raw_bytes_max; if NULL, or for a larger one, the pieces below are called. */
    enum err (*value_raw)(void *self, const struct rdb_key *key, struct slice payload,
                          struct why *why);

    /* ---- a key in pieces: key_begin, pieces, key_end. Without key_end the key is not complete
     * and what came of it must be dropped. COUNT: how many elements the file says will come; 0: not
     * told. It is a claim: do not allocate by it without a bound. */
    enum err (*key_begin)(void *self, const struct rdb_key *key, uint64_t count, struct why *why);
    enum err (*string)(void *self, struct slice value, struct why *why);
    enum err (*list_item)(void *self, struct slice item, struct why *why);
    enum err (*set_member)(void *self, struct slice member, struct why *why);
    enum err (*hash_field)(void *self, struct slice field, struct slice value, struct why *why);
    enum err (*zset_member)(void *self, struct slice member, double score, struct why *why);

    /* If not NULL: called instead of the elements where the file has exactly such bytes. They are
     * checked deeply: structure, no element twice, scores are numbers and in order. */
    enum err (*blob)(void *self, enum rdb_blob kind, struct slice bytes, struct why *why);

    /* Streams, in this order: all entries (or nodes), stream, then each group with all its pending
     * entries, then each of its consumers with the ids of the pending entries that it owns.
     * stream_node, if not NULL, is called instead of entries: LISTPACK as Redis keeps it, FIRST
     * the id that it counts from; LIVE entries in it are not marked as deleted. */
    enum err (*entry)(void *self, struct stream_id id, struct rdb_fields *fields, struct why *why);
    enum err (*stream_node)(void *self, struct stream_id first, struct slice listpack,
                            uint64_t live, struct why *why);
    enum err (*stream)(void *self, const struct rdb_stream *stream, struct why *why);
    enum err (*group)(void *self, const struct rdb_group *group, struct why *why);
    enum err (*pending)(void *self, const struct rdb_pending *pending, struct why *why);
    enum err (*consumer)(void *self, const struct rdb_consumer *consumer, struct why *why);
    enum err (*consumer_pending)(void *self, struct stream_id id, struct why *why);

    enum err (*key_end)(void *self, const struct rdb_key *key, struct why *why);

    /* Instead of all of the above: a collection without elements, where the limits skip such. */
    void (*key_empty)(void *self, const struct rdb_key *key);
};

/* What reading may cost. */
struct rdb_limits {
    uint64_t value_bytes_max; /* of one string, list item, or serialised small collection */
    uint64_t raw_bytes_max;   /* for value_raw(); 0: always in pieces */
    uint64_t twins_bytes_max; /* for the table that finds elements twice in one collection; what
                               * does not fit any more is delivered without that check */
    uint64_t databases_max;   /* SELECT of this number and above is refused */
    bool skip_empty;          /* drop collections without elements, which old versions of Redis
                               * could write, as Redis 7.0 does; else they are refused */
};

#define RDB_LIMITS_DEFAULT                                                                         \
    ((struct rdb_limits){.value_bytes_max = UINT64_C(513) << 20,                                   \
                         .raw_bytes_max = 0,                                                       \
                         .twins_bytes_max = UINT64_C(1) << 30,                                     \
                         .databases_max = UINT32_MAX})

#endif
