/* table_walk.c -- going over a table: scan with a cursor, iterate, pick at random, visit what is
 * due. */
#include "server/table_inside.h"

#include "lib/base/mem.h"

#define PAIR_USUAL                                                                                 \
    64 /* items of a pair that need no memory of their own while they are visited                  \
        */

/* The first hash behind the pair of S that begins at bucket FIRST; PREFIX: any hash in S. 0: the
 * end. */
static uint64_t hash_behind(const struct segment *s, uint64_t prefix, unsigned first) {
    uint64_t start = s->depth ? prefix >> (64 - s->depth) << (64 - s->depth) : 0;
    if (first + 2 < s->size) {
        uint64_t x = ((first + 2) * UINT64_C(65536) + s->size - 1) / s->size;
        return start | (x << (48 - s->depth));
    }
    return s->depth ? start + (UINT64_C(1) << (64 - s->depth)) : 0;
}

uint64_t table_scan(struct table *t, uint64_t cursor, void (*fn)(void *ctx, void *item),
                    void *ctx) {
    if (t->count == 0) return 0;
    struct segment *s = segment_of(t, cursor);
    unsigned first = bucket_of(s, cursor) & ~1u;
    uint64_t next = hash_behind(s, cursor, first);
    void *usual[PAIR_USUAL], **items = usual;
    size_t count = pair_items(s, first, items, PAIR_USUAL);
    if (count > PAIR_USUAL) {
        items = NEW_ARRAY(void *, count);
        (void)pair_items(s, first, items, count);
    }
    for (size_t i = 0; i < count; i++) fn(ctx, items[i]);
    if (items != usual) mem_free(items);
    return next;
}

struct counted {
    void (*fn)(void *ctx, void *item);
    void *ctx;
    size_t items;
};

static void count_item(void *ctx, void *item) {
    struct counted *counted = ctx;
    counted->items++;
    counted->fn(counted->ctx, item);
}

uint64_t table_scan_many(struct table *t, uint64_t cursor, size_t want,
                         void (*fn)(void *ctx, void *item), void *ctx) {
    struct counted counted = {fn, ctx, 0};
    for (size_t calls = 0; calls / 10 <= want && counted.items < want; calls++) {
        cursor = table_scan(t, cursor, count_item, &counted);
        if (cursor == 0) break;
    }
    return cursor;
}

/* ---- iterating ---- */

static struct bucket *first_bucket(const struct table *t) {
    return t->directory ? t->directory[0]->buckets : NULL;
}

void table_iter_init(struct table_iter *iter, const struct table *table) {
    *iter = (struct table_iter){.table = table, .at = first_bucket(table)};
}

/* Go to the next bucket, child or segment; false behind the last one. */
static bool iter_advance(struct table_iter *iter) {
    const struct table *t = iter->table;
    struct segment *s = t->directory[iter->place];
    iter->slot = 0;
    if (bucket_has_child(iter->at)) {
        iter->at = iter->at->child;
        return true;
    }
    if (++iter->bucket == s->size) {
        iter->bucket = 0;
        iter->place += UINT64_C(1) << (t->depth - s->depth);
        if (iter->place >> t->depth) return false;
        s = t->directory[iter->place];
    }
    iter->at = &s->buckets[iter->bucket];
    return true;
}

void *table_iter_next(struct table_iter *iter) {
    while (iter->at != NULL) {
        for (; iter->slot < SLOTS; iter->slot++) {
            uint8_t tag = iter->at->tags[iter->slot];
            if (tag != 0 && tag != TAG_CHILD) return iter->at->items[iter->slot++];
        }
        if (!iter_advance(iter)) iter->at = NULL;
    }
    return NULL;
}

void table_close_items(struct table *t) {
    struct table_iter iter;
    table_iter_init(&iter, t);
    for (void *item; (item = table_iter_next(&iter)) != NULL;) mem_free(item);
    table_close(t);
}

/* ---- at random ---- */

#define DRAW 24 /* more than a pair usually holds */

/* One try: NULL means try again, so that all items are equally likely. */
static void *draw(const struct table *t, struct rng *rng) {
    uint64_t hash = rng_next(rng);
    const struct segment *s = segment_of(t, hash);
    /* A pair of a small, shallow segment stands for more of the hash's range than others. */
    if (t->segments > 1 &&
        rng_below(rng, (uint64_t)BUCKETS_MAX << (t->depth - s->depth)) >= s->size)
        return NULL;
    void *items[DRAW];
    size_t count = pair_items(s, bucket_of(s, hash) & ~1u, items, DRAW);
    uint64_t pick = rng_below(rng, count > DRAW ? count : DRAW);
    return pick < count && pick < DRAW ? items[pick] : NULL;
}

void *table_random(const struct table *t, struct rng *rng) {
    if (t->count == 0) return NULL;
    for (int tries = 0; tries < 2000; tries++) {
        void *item = draw(t, rng);
        if (item != NULL) return item;
    }
    for (uint64_t place = rng_next(rng);; place++) { /* nearly empty: the next item will do */
        const struct segment *s = segment_of(t, place << 40);
        void *item;
        for (unsigned first = 0; first < s->size; first += 2)
            if (pair_items(s, first, &item, 1)) return item;
    }
}

/* ---- what is due ---- */

void table_due(struct table *t, uint64_t hash, int64_t due_ms) {
    struct segment *s = segment_of(t, hash);
    if (due_ms < s->due_ms) s->due_ms = due_ms;
    if (due_ms < t->due_ms) t->due_ms = due_ms;
}

static void **segment_items(const struct segment *s) {
    void **items = NEW_ARRAY(void *, s->count);
    size_t count = 0;
    for (unsigned first = 0; first < s->size; first += 2)
        count += pair_items(s, first, items + count, s->count - count);
    ASSERT(count == s->count);
    return items;
}

static void visit_due(struct table *t, struct segment *s, uint64_t prefix,
                      int64_t (*fn)(void *ctx, void *item), void *ctx) {
    size_t count = s->count;
    void **items = segment_items(s);
    int64_t smallest = INT64_MAX;
    s->due_ms = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (i + 8 < count) __builtin_prefetch(items[i + 8]);
        int64_t due = fn(ctx, items[i]);
        if (due != INT64_MIN && due < smallest) smallest = due;
    }
    mem_free(items);
    if (t->count == 0) return;
    s = segment_of(t, prefix); /* taking items out may have replaced it */
    if (smallest < s->due_ms) s->due_ms = smallest;
}

bool table_due_scan(struct table *t, uint64_t *cursor, int64_t now_ms,
                    int64_t (*fn)(void *ctx, void *item), void *ctx) {
    if (t->count == 0 || t->due_ms > now_ms) return false;
    int64_t smallest = INT64_MAX;
    bool from_start = *cursor == 0;
    for (uint64_t prefix = *cursor;;) {
        struct segment *s = segment_of(t, prefix);
        uint64_t behind = s->depth ? ((prefix >> (64 - s->depth)) + 1) << (64 - s->depth) : 0;
        if (s->due_ms <= now_ms) {
            visit_due(t, s, prefix, fn, ctx);
            *cursor = behind;
            return true;
        }
        if (s->due_ms < smallest) smallest = s->due_ms;
        prefix = behind;
        if (prefix == 0) break;
    }
    *cursor = 0;
    if (from_start) t->due_ms = smallest;
    return false;
}

/* ---- invariants ---- */

static void check_segment(const struct table *t, const struct segment *s, uint64_t place) {
    size_t found = 0;
    for (unsigned i = 0; i < s->size; i++)
        for (struct bucket *b = &s->buckets[i]; b != NULL;
             b = bucket_has_child(b) ? b->child : NULL)
            for (unsigned slot = 0; slot < SLOTS; slot++) {
                if (b->tags[slot] == 0 || b->tags[slot] == TAG_CHILD) continue;
                struct slice key = t->type->key(b->items[slot]);
                uint64_t hash = table_hash(key);
                ASSERT(segment_of(t, hash) == s);
                unsigned home = bucket_of(s, hash);
                ASSERT(home == i || (neighbour_of(s, home) == i && s->buckets[home].spilled));
                ASSERT(table_find_hashed(t, key, hash) == b->items[slot]);
                found++;
            }
    ASSERT(found == s->count);
    ASSERT(s->due_ms >= t->due_ms || t->due_ms == INT64_MAX);
    for (uint64_t i = 0; i < UINT64_C(1) << (t->depth - s->depth); i++)
        ASSERT(t->directory[place + i] == s);
}

void table_check(const struct table *t) {
    uint64_t count = 0, segments = 0, buckets = 0;
    for (uint64_t place = 0; t->directory != NULL && place < UINT64_C(1) << t->depth;) {
        const struct segment *s = t->directory[place];
        check_segment(t, s, place);
        place += UINT64_C(1) << (t->depth - s->depth);
        count += s->count;
        buckets += s->size;
        segments++;
    }
    ASSERT(count == t->count && segments == t->segments && buckets == t->buckets);
}
