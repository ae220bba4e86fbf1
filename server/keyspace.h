/* keyspace.h -- the databases: finding, adding, changing and removing keys.
 *
 * A database is 64 partitions of 256 slots each; a partition is a table of entries (table.h), or in
 * cluster mode 256 of them, one for each slot, so that the keys of a slot can be counted and listed
 * without looking at others.
 *
 * Two levels. db_* is the bare store: no expiry, no statistics; loading, replication's full copy
 * and tests use it. key_* is what commands use: it knows the client, expires what is due (and
 * propagates that), counts hits and misses, and touches the access time.
 *
 * Every change of a value passes one of the functions that tell the observer (db_observer) before
 * it happens. So: find the entry for change with key_write() or key_write_typed() (or db_edit()
 * after a plain find), every time, before touching what entry_ptr() points to. Afterwards call
 * key_changed(). No read ever changes memory that an encoder may look at.
 */
#ifndef SERVER_KEYSPACE_H
#define SERVER_KEYSPACE_H

#include "lib/redis/slot.h"
#include "server/entry.h"
#include "server/notify.h"
#include "server/table.h"

#define PARTITIONS 64

struct client;
struct engine;

/* All keys of a database. */
struct partitions {
    uint32_t count;             /* of tables: PARTITIONS or SLOT_CLUSTER_COUNT */
    unsigned share_bits;        /* 1 << share_bits tables make a partition: 0 or 8 */
    uint64_t keys[PARTITIONS];  /* in the tables of each */
    int64_t due_ms[PARTITIONS]; /* a lower bound of what is due there */
    struct table tables[];      /* in the order of the slots */
};

struct db {
    struct engine *engine;
    int id;
    uint64_t expires;              /* keys that have an expiry */
    struct partitions *partitions; /* owned */
    struct table watched;          /* keys that clients WATCH (multi.c) */
    struct table blocking;         /* keys that clients wait for (block.c) */
    double avg_ttl_ms;
    uint64_t expire_cursor; /* where the active cycle goes on */
};

/* What a snapshot (or whoever needs a point in time) is told. One observer at most:
 * engine->observer. */
struct db_observer {
    void *ctx;
    /* The entry's value, or its expiry, is about to change in place. Of a string only the bytes
     * FROM..TO change, if there are such; 0..0: only the expiry. */
    void (*before_edit)(void *ctx, struct db *db, struct entry *e, size_t from, size_t to);
    /* The entry has a new address; OLD's memory is about to be freed, its value lives on in NEW. */
    void (*moved)(void *ctx, struct entry *old, struct entry *new);
    /* The entry was taken out of the index and is about to be freed. True: the observer keeps it
     * and frees it later with entry_free(). `shell`: only the entry itself; its value lives on
     * under another name (RENAME, MOVE), so what is needed of it must be copied now. */
    bool (*dropped)(void *ctx, struct db *db, struct entry *e, bool shell);
    /* All keys of DB were taken out (FLUSHDB) and stand in KEYS. True: the observer keeps them, and
     * frees them later with db_free_partitions(). */
    bool (*cleared)(void *ctx, struct db *db, struct partitions *keys);
    /* The contents of A and B were exchanged (SWAPDB). */
    void (*swapped)(void *ctx, struct db *a, struct db *b);
};

/* ---- the store ---- */

void db_init(struct db *db, struct engine *engine, int id);
uint64_t db_size(const struct db *db);
/* The place of the key's table. */
unsigned db_table(const struct db *db, struct slice key);
struct entry *db_find(const struct db *db, struct slice key);
/* Add a key that is not there. KEY and the bytes of a string are copied, a container is taken. */
struct entry *db_add(struct db *db, struct slice key, const struct value *value, int64_t expiry_ms);
/* db_add() in steps, for loading. The entry is made where there may be no engine, on any thread:
 * SHARE_BITS are those of the database's partitions, ACCESS what access_word() says. The engine then
 * fetches its place from memory (stage 0, later 1, of keys that come soon), and adds it. */
struct db_addition {
    struct entry *e; /* owned by the addition */
    uint64_t hash;
    int64_t expiry_ms;
    uint32_t table, db;
};
struct db_addition db_addition_make(unsigned share_bits, uint32_t db, struct slice key,
                                    const struct value *value, int64_t expiry_ms, uint32_t access);
void db_addition_fetch(const struct db *db, const struct db_addition *addition, int stage);
/* False: the key is there already; the entry is the caller's. */
bool db_addition_end(struct db *db, const struct db_addition *addition);
/* So many keys will be added to DB; nothing, if it has some. */
void db_reserve(struct db *db, uint64_t keys);
/* Add or replace. KEEP_EXPIRY keeps that of the old entry; else EXPIRY_MS, -1: none. */
struct entry *db_set(struct db *db, struct slice key, const struct value *value, int64_t expiry_ms,
                     bool keep_expiry);
/* Remove with its value. False when it was not there. */
bool db_delete(struct db *db, struct slice key);
/* Remove, but keep the value: it goes to *VALUE (containers are the caller's now; the bytes of a
 * string are a copy in *TEXT, to be freed by the caller with mem_free). */
bool db_take(struct db *db, struct slice key, struct value *value, int64_t *expiry_ms, void **text);
/* Tell the observer that the entry's value is about to change in place. */
void db_edit(struct db *db, struct entry *e);
/* Set (or with -1 remove) the expiry; the entry may move. */
struct entry *db_set_expiry(struct db *db, struct entry *e, int64_t expiry_ms);
/* Make the string writable with NEW_SIZE bytes (what is new is zero) and in raw encoding; its bytes
 * are at *BYTES until the next change. Tells the observer. The entry may move. */
struct entry *db_string_edit(struct db *db, struct entry *e, size_t new_size, uint8_t **bytes);
/* The same when only the bytes FROM..TO of the old ones change, and the size does not shrink: a
 * snapshot then keeps just these. */
struct entry *db_string_edit_range(struct db *db, struct entry *e, size_t new_size, size_t from,
                                   size_t to, uint8_t **bytes);
/* Replace the string's value and keep its expiry; the entry may move. Tells the observer. */
struct entry *db_string_set(struct db *db, struct entry *e, const struct value *value);
/* Free what cleared() was given; when LAZY on the helper thread. */
void db_free_partitions(struct partitions *keys, bool lazy);
/* Throw all keys away; the freeing happens on the helper thread when LAZY. Returns how many. */
uint64_t db_clear(struct db *db, bool lazy);
void db_swap(struct db *a, struct db *b);
/* FROM, which nobody observed, gives all its keys to TO, which is empty. */
void db_give(struct db *from, struct db *to);
/* As table_scan(), over all partitions; the cursor is that of the SCAN command. */
uint64_t db_scan(struct db *db, uint64_t cursor, void (*fn)(void *ctx, struct entry *e), void *ctx);
/* Call FN for what is due at NOW_MS (table_due_scan) until END_US. False: there is more. */
bool db_due_scan(struct db *db, int64_t now_ms, uint64_t end_us,
                 int64_t (*fn)(void *ctx, void *item), void *ctx);
/* Walk all keys of a db that does not change meanwhile. */
struct db_iter {
    struct db *db;
    unsigned table;
    struct table_iter iter;
};
void db_iter_init(struct db_iter *iter, struct db *db);
struct entry *db_iter_next(struct db_iter *iter);
struct entry *db_random(struct db *db, struct rng *rng);

/* ---- for commands ---- */

/* The entry of KEY in the client's database, or NULL: absent or expired. */
struct entry *key_read(struct client *c, struct slice key);
/* The same when the value is going to be changed in place: the observer has been told. */
struct entry *key_write(struct client *c, struct slice key);
/* The same in two steps, when it is not sure yet that something changes: key_lookup() expires what
 * is due, tells no observer and counts no hit; db_edit() comes later. */
struct entry *key_lookup(struct client *c, struct slice key);
/* With a check of the type. On a wrong type the error is replied and *WRONG is true (result NULL).
 */
struct entry *key_read_typed(struct client *c, struct slice key, enum type type, bool *wrong);
struct entry *key_write_typed(struct client *c, struct slice key, enum type type, bool *wrong);
/* Like the above in another database than the client's. */
struct entry *key_read_in(struct client *c, struct db *db, struct slice key);

/* Something changed under KEY: watchers of the key, client-side caches, the notification EVENT of
 * class CLASS, and DIRTY (the number of changes for `rdb_changes_since_last_save`; a command whose
 * dirty count stays 0 is not propagated). */
void key_changed(struct client *c, struct slice key, enum notify_class class, const char *event,
                 uint64_t dirty);
/* Parts of it: watchers and caches only. */
void key_touched(struct client *c, struct db *db, struct slice key);
/* The container under KEY has become empty: delete it (no lazy freeing needed) and notify "del". */
void key_delete_empty(struct client *c, struct slice key);
/* Add a container under KEY that is not there, and wake clients that are blocked on it. */
struct entry *key_add(struct client *c, struct slice key, const struct value *value);
/* Replace whatever is there (SUNIONSTORE and the like); expiry is dropped. Wakes blocked clients.
 */
struct entry *key_replace(struct client *c, struct slice key, const struct value *value);
/* Delete one key as DEL does, without notification: true when it existed. */
bool key_delete(struct client *c, struct slice key);

/* Whether the entry is past its expiry at the engine's time (says nothing about who may delete it).
 */
bool entry_is_expired(const struct engine *engine, const struct entry *e);
/* Delete an expired entry: propagates DEL (or UNLINK), notifies "expired", counts. */
void key_expire_now(struct db *db, struct entry *e);

#endif
