/* keyspace.c -- the store: partitions of entries, every change told to the observer. */
#include "server/keyspace.h"

#include "lib/base/mem.h"
#include "server/access.h"
#include "server/block.h"
#include "server/engine.h"
#include "server/helper.h"
#include "server/replica_expiry.h"

static struct slice key_of_entry(const void *item) {
    return entry_key(item);
}

static const struct table_type entries = {key_of_entry};

static struct partitions *partitions_new(uint32_t count) {
    struct partitions *p = mem_alloc(sizeof *p + count * sizeof p->tables[0]);
    memset(p, 0, sizeof *p);
    p->count = count;
    p->share_bits = count == PARTITIONS ? 0 : 8;
    ASSERT(count == (uint32_t)PARTITIONS << p->share_bits);
    for (unsigned i = 0; i < PARTITIONS; i++) p->due_ms[i] = INT64_MAX;
    for (uint32_t i = 0; i < count; i++) table_init(&p->tables[i], &entries);
    return p;
}

/* The partition that a table belongs to. */
static unsigned partition_of(const struct partitions *p, unsigned table) {
    return table >> p->share_bits;
}

void db_init(struct db *db, struct engine *engine, int id) {
    unsigned tables = engine->settings.cluster_enabled ? SLOT_CLUSTER_COUNT : PARTITIONS;
    *db = (struct db){.engine = engine, .id = id, .partitions = partitions_new(tables)};
}

uint64_t db_size(const struct db *db) {
    uint64_t count = 0;
    for (unsigned i = 0; i < PARTITIONS; i++) count += db->partitions->keys[i];
    return count;
}

unsigned db_table(const struct db *db, struct slice key) {
    unsigned slot = slot_cluster(key);
    return slot >> (8 - db->partitions->share_bits);
}

/* Where a key belongs. The key whose hash was computed ahead of the command is not hashed again. */
struct where {
    struct table *table;
    uint64_t hash;
    unsigned partition;
};

static struct where where(const struct db *db, struct slice key) {
    const struct client *c = db->engine->current;
    unsigned at;
    uint64_t hash;
    if (c != NULL && c->hashed_key.data == key.data && c->hashed_key.size == key.size &&
        key.size > 0) {
        at = c->key_table;
        hash = c->key_hash;
    } else {
        at = db_table(db, key);
        hash = table_hash(key);
    }
    return (struct where){&db->partitions->tables[at], hash, partition_of(db->partitions, at)};
}

struct entry *db_find(const struct db *db, struct slice key) {
    struct where w = where(db, key);
    return table_find_hashed(w.table, key, w.hash);
}

static void note_due(struct db *db, struct where w, int64_t due_ms) {
    table_due(w.table, w.hash, due_ms);
    int64_t *first = &db->partitions->due_ms[w.partition];
    if (due_ms < *first) *first = due_ms;
}

static void note_expiry(struct db *db, struct where w, int64_t expiry_ms) {
    if (expiry_ms == -1) return;
    db->expires++;
    note_due(db, w, expiry_ms);
}

/* Of what no snapshot needs. */
static uint8_t colours_at(const struct db *db, struct where w) {
    return db->engine->snapshot_polarity[w.table - db->partitions->tables];
}

static struct entry *add_at(struct db *db, struct where w, struct slice key,
                            const struct value *value, int64_t expiry_ms) {
    struct entry *e = entry_new(key, value, expiry_ms);
    access_start(db->engine, e);
    e->colours = colours_at(db, w);
    table_add_hashed(w.table, e, w.hash);
    db->partitions->keys[w.partition]++;
    note_expiry(db, w, expiry_ms);
    if (expiry_ms != -1) replica_expiry_note(db, key);
    return e;
}

struct entry *db_add(struct db *db, struct slice key, const struct value *value,
                     int64_t expiry_ms) {
    return add_at(db, where(db, key), key, value, expiry_ms);
}

struct db_addition db_addition_make(unsigned share_bits, uint32_t db, struct slice key,
                                    const struct value *value, int64_t expiry_ms, uint32_t access) {
    struct db_addition a = {.e = entry_new(key, value, expiry_ms),
                            .hash = table_hash(key),
                            .expiry_ms = expiry_ms,
                            .table = (unsigned)slot_cluster(key) >> (8 - share_bits),
                            .db = db};
    entry_set_access(a.e, access);
    return a;
}

void db_addition_fetch(const struct db *db, const struct db_addition *a, int stage) {
    table_prefetch(&db->partitions->tables[a->table], a->hash, stage);
}

bool db_addition_end(struct db *db, const struct db_addition *a) {
    struct partitions *p = db->partitions;
    struct where w = {&p->tables[a->table], a->hash, partition_of(p, a->table)};
    uint8_t colours = colours_at(db, w);
    if (!table_add_new(w.table, a->e, w.hash)) return false;
    if (colours) a->e->colours = colours; /* only then: it is in another core's cache */
    p->keys[w.partition]++;
    note_expiry(db, w, a->expiry_ms);
    return true;
}

void db_reserve(struct db *db, uint64_t keys) {
    if (db_size(db) > 0) return;
    for (uint32_t i = 0; i < db->partitions->count; i++)
        table_reserve(&db->partitions->tables[i], keys / db->partitions->count);
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
    new->colours = colours_at(db, w);
    table_moved(w.table, old, new, w.hash);
    note_expiry(db, w, entry_expiry(new));
    if (entry_expires(new)) replica_expiry_note(db, entry_key(new));
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
        if (expiry_ms != -1) note_due(db, w, expiry_ms);
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
    db->partitions->keys[w.partition]--;
    drop(db, e, false);
    return true;
}

bool db_take(struct db *db, struct slice key, struct value *value, int64_t *expiry_ms,
             void **text) {
    struct where w = where(db, key);
    struct entry *e = table_take_hashed(w.table, key, w.hash);
    if (e == NULL) return false;
    db->partitions->keys[w.partition]--;
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
    if (expiry_ms != -1) replica_expiry_note(db, key);
    if (entry_expires(e) == (expiry_ms != -1)) {
        if (expiry_ms == -1) return e;
        tell_edit(db, e, 0, 0);
        entry_overwrite_expiry(e, expiry_ms);
        note_due(db, w, expiry_ms);
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
    struct slice key = entry_key(moved);
    table_moved(&db->partitions->tables[db_table(db, key)], e, moved, table_hash(key));
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

static void free_table(struct table *table) {
    struct table_iter iter;
    table_iter_init(&iter, table);
    for (struct entry *e; (e = table_iter_next(&iter)) != NULL;) entry_free(e);
    table_close(table);
}

static void free_partitions(void *arg) {
    struct partitions *keys = arg;
    for (uint32_t i = 0; i < keys->count; i++) free_table(&keys->tables[i]);
    mem_free(keys);
}

void db_free_partitions(struct partitions *keys, bool lazy) {
    if (lazy)
        helper_run(free_partitions, keys);
    else
        free_partitions(keys);
}

uint64_t db_clear(struct db *db, bool lazy) {
    uint64_t count = db_size(db);
    if (count == 0) return 0;
    struct partitions *keys = db->partitions;
    db->partitions = partitions_new(keys->count);
    db->expires = 0;
    db->avg_ttl_ms = 0;
    db->expire_cursor = 0;
    block_scan_db(db);
    struct db_observer *observer = db->engine->observer;
    if (observer && observer->cleared(observer->ctx, db, keys)) return count;
    if (lazy) db->engine->stats.lazyfreed += count;
    db_free_partitions(keys, lazy);
    return count;
}

void db_give(struct db *from, struct db *to) {
    ASSERT(db_size(to) == 0);
    struct partitions *keys = from->partitions;
    from->partitions = to->partitions;
    to->partitions = keys;
    to->expires = from->expires;
    from->expires = 0;
    to->avg_ttl_ms = 0;
    to->expire_cursor = 0;
}

void db_swap(struct db *a, struct db *b) {
    struct partitions *keys = a->partitions;
    a->partitions = b->partitions;
    b->partitions = keys;
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

/* The first table with keys from AT on; partitions->count when there is none. */
static unsigned next_table(const struct partitions *p, unsigned at) {
    unsigned share = 1u << p->share_bits;
    while (at < p->count) {
        if (p->keys[partition_of(p, at)] == 0)
            at = (partition_of(p, at) + 1) * share;
        else if (table_count(&p->tables[at]) == 0)
            at++;
        else
            break;
    }
    return at;
}

uint64_t db_scan(struct db *db, uint64_t cursor, void (*fn)(void *ctx, struct entry *e),
                 void *ctx) {
    struct partitions *p = db->partitions;
    unsigned from = (unsigned)(cursor & 0xffff), at = next_table(p, from);
    if (at >= p->count) return 0;
    cursor = at == from ? cursor & ~UINT64_C(0xffff) : 0;
    cursor = table_scan(&p->tables[at], cursor, visit, &(struct visitor){fn, ctx});
    if (cursor != 0) return cursor | at;
    return at + 1 < p->count ? at + 1 : 0;
}

/* One partition. False: the time is over. */
static bool due_scan_partition(struct db *db, unsigned partition, int64_t now_ms, uint64_t end_us,
                               int64_t (*fn)(void *ctx, void *item), void *ctx) {
    struct partitions *p = db->partitions;
    unsigned share = 1u << p->share_bits;
    int64_t first_ms = INT64_MAX;
    p->due_ms[partition] = INT64_MAX; /* FN may add some */
    for (unsigned i = partition * share; i < (partition + 1) * share; i++) {
        struct table *table = &p->tables[i];
        uint64_t cursor = 0;
        while (table_due_scan(table, &cursor, now_ms, fn, ctx)) {
            if (clock_mono_us(db->engine->clock) <= end_us) continue;
            p->due_ms[partition] = 0;
            return false;
        }
        if (table->due_ms < first_ms) first_ms = table->due_ms;
    }
    if (first_ms < p->due_ms[partition]) p->due_ms[partition] = first_ms;
    return true;
}

bool db_due_scan(struct db *db, int64_t now_ms, uint64_t end_us,
                 int64_t (*fn)(void *ctx, void *item), void *ctx) {
    for (unsigned i = 0; i < PARTITIONS; i++) {
        unsigned partition = db->expire_cursor++ % PARTITIONS; /* in turn, also when cut short */
        if (db->partitions->due_ms[partition] > now_ms) continue;
        if (!due_scan_partition(db, partition, now_ms, end_us, fn, ctx)) return false;
    }
    return true;
}

void db_iter_init(struct db_iter *iter, struct db *db) {
    *iter = (struct db_iter){.db = db};
    table_iter_init(&iter->iter, &db->partitions->tables[0]);
}

struct entry *db_iter_next(struct db_iter *iter) {
    struct partitions *p = iter->db->partitions;
    for (;;) {
        struct entry *e = table_iter_next(&iter->iter);
        if (e != NULL) return e;
        iter->table = next_table(p, iter->table + 1);
        if (iter->table >= p->count) return NULL;
        table_iter_init(&iter->iter, &p->tables[iter->table]);
    }
}

struct entry *db_random(struct db *db, struct rng *rng) {
    const struct partitions *p = db->partitions;
    uint64_t count = db_size(db);
    if (count == 0) return NULL;
    uint64_t pick = rng_below(rng, count);
    unsigned partition = 0, share = 1u << p->share_bits;
    while (pick >= p->keys[partition]) pick -= p->keys[partition++];
    for (unsigned i = partition * share; i < (partition + 1) * share; i++) {
        if (pick < table_count(&p->tables[i])) return table_random(&p->tables[i], rng);
        pick -= table_count(&p->tables[i]);
    }
    UNREACHABLE("counts of partitions do not add up");
}
