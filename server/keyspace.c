/* keyspace.c -- the store: partitions of entries, every change told to the observer. */
#include "server/keyspace.h"

#include "lib/base/mem.h"
#include "lib/redis/slot.h"
#include "server/access.h"
#include "server/block.h"
#include "server/engine.h"
#include "server/helper.h"

static struct slice key_of_entry(const void *item) {
    return entry_key(item);
}

static const struct table_type entries = {key_of_entry};

void db_init(struct db *db, struct engine *engine, int id) {
    *db = (struct db){.engine = engine, .id = id};
    for (unsigned i = 0; i < PARTITIONS; i++) table_init(&db->partitions[i], &entries);
}

uint64_t db_size(const struct db *db) {
    uint64_t count = 0;
    for (unsigned i = 0; i < PARTITIONS; i++) count += table_count(&db->partitions[i]);
    return count;
}

unsigned db_partition(struct slice key) {
    return slot_cluster(key) / (SLOT_CLUSTER_COUNT / PARTITIONS);
}

/* Where a key belongs. The key whose hash was computed ahead of the command is not hashed again. */
struct where {
    struct table *table;
    uint64_t hash;
};

static struct where where(const struct db *db, struct slice key) {
    const struct client *c = db->engine->current;
    unsigned partition;
    uint64_t hash;
    if (c != NULL && c->hashed_key.data == key.data && c->hashed_key.size == key.size &&
        key.size > 0) {
        partition = c->key_partition;
        hash = c->key_hash;
    } else {
        partition = db_partition(key);
        hash = table_hash(key);
    }
    const struct table *table = &db->partitions[partition];
    return (struct where){(struct table *)(uintptr_t)table, hash};
}

struct entry *db_find(const struct db *db, struct slice key) {
    struct where w = where(db, key);
    return table_find_hashed(w.table, key, w.hash);
}

static void note_expiry(struct db *db, struct where w, int64_t expiry_ms) {
    if (expiry_ms == -1) return;
    db->expires++;
    table_due(w.table, w.hash, expiry_ms);
}

static struct entry *add_at(struct db *db, struct where w, struct slice key,
                            const struct value *value, int64_t expiry_ms) {
    struct entry *e = entry_new(key, value, expiry_ms);
    access_start(db->engine, e);
    e->colours = db->engine->snapshot_polarity;
    table_add_hashed(w.table, e, w.hash);
    if (db->slot_counts) db->slot_counts[slot_cluster(key)]++;
    note_expiry(db, w, expiry_ms);
    return e;
}

struct entry *db_add(struct db *db, struct slice key, const struct value *value,
                     int64_t expiry_ms) {
    return add_at(db, where(db, key), key, value, expiry_ms);
}

static void drop(struct db *db, struct entry *e, bool shell) {
    if (entry_expires(e)) db->expires--;
    if (entry_type(e) == TYPE_STREAM) block_key_ready(db, entry_key(e));
    struct value value = entry_value(e);
    if (!shell && value_is_big(&value)) db->engine->stats.lazyfreed++;
    struct db_observer *observer = db->engine->observer;
    if (observer && observer->dropped(observer->ctx, db, e, shell)) return;
    if (shell)
        entry_free_shell(e);
    else
        entry_free(e);
}

/* NEW takes OLD's place under the same key; OLD is dropped. */
static void replace(struct db *db, struct where w, struct entry *old, struct entry *new,
                    bool shell) {
    memcpy(new->access, old->access, sizeof new->access);
    new->colours = db->engine->snapshot_polarity;
    table_moved(w.table, old, new, w.hash);
    note_expiry(db, w, entry_expiry(new));
    drop(db, old, shell);
}

struct entry *db_set(struct db *db, struct slice key, const struct value *value, int64_t expiry_ms,
                     bool keep_expiry) {
    struct where w = where(db, key);
    struct entry *old = table_find_hashed(w.table, key, w.hash);
    if (old == NULL) return add_at(db, w, key, value, expiry_ms);
    if (keep_expiry) expiry_ms = entry_expiry(old);
    if (entry_fits(old, value, expiry_ms)) {
        db_edit(db, old);
        entry_overwrite(old, value, expiry_ms);
        if (expiry_ms != -1) table_due(w.table, w.hash, expiry_ms);
        return old;
    }
    struct entry *new = entry_new(key, value, expiry_ms);
    replace(db, w, old, new, false);
    return new;
}

bool db_delete(struct db *db, struct slice key) {
    struct where w = where(db, key);
    struct entry *e = table_take_hashed(w.table, key, w.hash);
    if (e == NULL) return false;
    if (db->slot_counts) db->slot_counts[slot_cluster(key)]--;
    drop(db, e, false);
    return true;
}

bool db_take(struct db *db, struct slice key, struct value *value, int64_t *expiry_ms,
             void **text) {
    struct where w = where(db, key);
    struct entry *e = table_take_hashed(w.table, key, w.hash);
    if (e == NULL) return false;
    if (db->slot_counts) db->slot_counts[slot_cluster(key)]--;
    *value = entry_value(e);
    *expiry_ms = entry_expiry(e);
    *text = NULL;
    if (value->type == TYPE_STRING && value->encoding != ENC_INT) {
        *text = mem_dup(value->bytes.data, value->bytes.size);
        value->bytes.data = *text;
    }
    drop(db, e, value->type != TYPE_STRING);
    return true;
}

static void tell_edit(struct db *db, struct entry *e, size_t from, size_t to) {
    struct db_observer *observer = db->engine->observer;
    if (observer) observer->before_edit(observer->ctx, db, e, from, to);
}

void db_edit(struct db *db, struct entry *e) {
    tell_edit(db, e, 0, SIZE_MAX);
}

/* NEW has OLD's value now. */
static void give_up_shell(struct db *db, struct entry *old, struct entry *new) {
    struct db_observer *observer = db->engine->observer;
    if (observer) observer->moved(observer->ctx, old, new);
    entry_free_shell(old);
}

struct entry *db_set_expiry(struct db *db, struct entry *e, int64_t expiry_ms) {
    struct slice key = entry_key(e);
    struct where w = where(db, key);
    if (entry_expires(e) == (expiry_ms != -1)) {
        if (expiry_ms == -1) return e;
        tell_edit(db, e, 0, 0);
        entry_overwrite_expiry(e, expiry_ms);
        table_due(w.table, w.hash, expiry_ms);
        return e;
    }
    tell_edit(db, e, 0, 0);
    struct entry *moved = entry_with_expiry(e, expiry_ms);
    table_moved(w.table, e, moved, w.hash);
    if (expiry_ms == -1) db->expires--;
    note_expiry(db, w, expiry_ms);
    give_up_shell(db, e, moved);
    return moved;
}

struct entry *db_string_edit(struct db *db, struct entry *e, size_t new_size, uint8_t **bytes) {
    return db_string_edit_range(db, e, new_size, 0, SIZE_MAX, bytes);
}

struct entry *db_string_edit_range(struct db *db, struct entry *e, size_t new_size, size_t from,
                                   size_t to, uint8_t **bytes) {
    tell_edit(db, e, from, to);
    struct entry *moved = entry_string_resize(e, new_size, bytes);
    if (moved == e) return e;
    table_moved(&db->partitions[db_partition(entry_key(moved))], e, moved,
                table_hash(entry_key(moved)));
    give_up_shell(db, e, moved);
    return moved;
}

struct entry *db_string_set(struct db *db, struct entry *e, const struct value *value) {
    struct slice key = entry_key(e);
    int64_t expiry_ms = entry_expiry(e);
    if (entry_fits(e, value, expiry_ms)) {
        db_edit(db, e);
        entry_overwrite(e, value, expiry_ms);
        return e;
    }
    struct where w = where(db, key);
    struct entry *new = entry_new(key, value, expiry_ms);
    replace(db, w, e, new, false);
    return new;
}

/* ---- all keys ---- */

static void free_partition(struct table *table) {
    struct table_iter iter;
    table_iter_init(&iter, table);
    for (struct entry *e; (e = table_iter_next(&iter)) != NULL;) entry_free(e);
    table_close(table);
}

static void free_partitions(void *arg) {
    struct table *tables = arg;
    for (unsigned i = 0; i < PARTITIONS; i++) free_partition(&tables[i]);
    mem_free(tables);
}

void db_free_tables(struct table *tables, bool lazy) {
    if (lazy)
        helper_run(free_partitions, tables);
    else
        free_partitions(tables);
}

uint64_t db_clear(struct db *db, bool lazy) {
    uint64_t count = db_size(db);
    if (count == 0) return 0;
    struct table *tables = mem_dup(db->partitions, sizeof db->partitions);
    for (unsigned i = 0; i < PARTITIONS; i++) table_init(&db->partitions[i], &entries);
    db->expires = 0;
    db->avg_ttl_ms = 0;
    db->expire_cursor = 0;
    if (db->slot_counts)
        memset(db->slot_counts, 0, SLOT_CLUSTER_COUNT * sizeof *db->slot_counts);
    block_scan_db(db);
    struct db_observer *observer = db->engine->observer;
    if (observer && observer->cleared(observer->ctx, db, tables)) return count;
    if (lazy) db->engine->stats.lazyfreed += count;
    db_free_tables(tables, lazy);
    return count;
}

void db_swap(struct db *a, struct db *b) {
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct table table = a->partitions[i];
        a->partitions[i] = b->partitions[i];
        b->partitions[i] = table;
    }
    uint64_t expires = a->expires;
    a->expires = b->expires;
    b->expires = expires;
    a->expire_cursor = b->expire_cursor = 0;
    struct db_observer *observer = a->engine->observer;
    if (observer) observer->swapped(observer->ctx, a, b);
}

struct visitor {
    void (*fn)(void *ctx, struct entry *e);
    void *ctx;
};

static void visit(void *ctx, void *item) {
    const struct visitor *visitor = ctx;
    visitor->fn(visitor->ctx, item);
}

uint64_t db_scan(struct db *db, uint64_t cursor, void (*fn)(void *ctx, struct entry *e),
                 void *ctx) {
    unsigned partition = (unsigned)(cursor & 0xffff);
    cursor &= ~UINT64_C(0xffff);
    while (partition < PARTITIONS && table_count(&db->partitions[partition]) == 0) {
        partition++;
        cursor = 0;
    }
    if (partition >= PARTITIONS) return 0;
    cursor = table_scan(&db->partitions[partition], cursor, visit, &(struct visitor){fn, ctx});
    if (cursor != 0) return cursor | partition;
    return partition + 1 < PARTITIONS ? partition + 1 : 0;
}

void db_iter_init(struct db_iter *iter, struct db *db) {
    *iter = (struct db_iter){.db = db};
    table_iter_init(&iter->iter, &db->partitions[0]);
}

struct entry *db_iter_next(struct db_iter *iter) {
    for (;;) {
        struct entry *e = table_iter_next(&iter->iter);
        if (e != NULL) return e;
        if (iter->partition + 1 >= PARTITIONS) return NULL;
        table_iter_init(&iter->iter, &iter->db->partitions[++iter->partition]);
    }
}

struct entry *db_random(struct db *db, struct rng *rng) {
    uint64_t count = db_size(db);
    if (count == 0) return NULL;
    uint64_t pick = rng_below(rng, count);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        if (pick < table_count(&db->partitions[i])) return table_random(&db->partitions[i], rng);
        pick -= table_count(&db->partitions[i]);
    }
    UNREACHABLE("counts of partitions do not add up");
}
