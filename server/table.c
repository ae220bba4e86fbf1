/* table.c -- the hash table: find, add, take, and how segments grow, split and merge. */
#include "server/table_inside.h"

#include "lib/base/mem.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t seed = UINT64_C(0x5bd1e995c0ffee11);

void table_seed(uint64_t new_seed) {
    seed = new_seed;
}

uint64_t table_hash(struct slice key) {
    return XXH3_64bits_withSeed(key.data, key.size, seed);
}

static uint8_t tag_of(uint64_t hash) {
    uint8_t tag = (uint8_t)hash;
    return tag == 0 ? 1 : tag == TAG_CHILD ? TAG_CHILD - 1 : tag;
}

void table_init(struct table *t, const struct table_type *type) {
    *t = (struct table){.type = type, .due_ms = INT64_MAX};
}

/* ---- one bucket ---- */

#define EVERY_BYTE UINT64_C(0x0101010101010101)
#define SLOT_BITS UINT64_C(0x0080808080808080)

/* One bit per slot whose tag may be TAG: the lowest is certain, others may be false. */
static uint64_t match(const struct bucket *b, uint8_t tag) {
    uint64_t word;
    memcpy(&word, b->tags, sizeof word);
    word ^= EVERY_BYTE * tag;
    return (word - EVERY_BYTE) & ~word & SLOT_BITS;
}

static unsigned match_slot(uint64_t bits) {
    return (unsigned)__builtin_ctzll(bits) / 8;
}

static int slot_of_key(const struct table *t, const struct bucket *b, struct slice key,
                       uint8_t tag) {
    for (uint64_t bits = match(b, tag); bits; bits &= bits - 1) {
        unsigned slot = match_slot(bits);
        if (b->tags[slot] == tag && slice_equal(t->type->key(b->items[slot]), key))
            return (int)slot;
    }
    return -1;
}

static int slot_of_item(const struct bucket *b, const void *item) {
    for (int slot = 0; slot < SLOTS; slot++)
        if (b->items[slot] == item && b->tags[slot] != 0 && b->tags[slot] != TAG_CHILD) return slot;
    return -1;
}

static bool bucket_put(struct bucket *b, void *item, uint8_t tag) {
    uint64_t bits = match(b, 0);
    if (bits == 0) return false;
    b->tags[match_slot(bits)] = tag;
    b->items[match_slot(bits)] = item;
    return true;
}

/* Where an item is: its bucket (perhaps a child), and for a child its parent. */
struct place {
    struct segment *segment;
    struct bucket *bucket, *head; /* head: the bucket of the array that the chain begins at */
    int slot;
};

/* Look through the chain that begins at HEAD. With ITEM set the pointer is looked for, not the key.
 */
static bool find_in_chain(const struct table *t, struct bucket *head, struct slice key, uint8_t tag,
                          const void *item, struct place *place) {
    for (struct bucket *b = head;; b = b->child) {
        place->slot = item ? slot_of_item(b, item) : slot_of_key(t, b, key, tag);
        place->bucket = b;
        place->head = head;
        if (place->slot >= 0) return true;
        if (!bucket_has_child(b)) return false;
    }
}

static bool find_place(const struct table *t, struct slice key, uint64_t hash, const void *item,
                       struct place *place) {
    if (t->count == 0) return false;
    struct segment *s = place->segment = segment_of(t, hash);
    unsigned home = bucket_of(s, hash);
    uint8_t tag = tag_of(hash);
    if (find_in_chain(t, &s->buckets[home], key, tag, item, place)) return true;
    if (!s->buckets[home].spilled) return false;
    return find_in_chain(t, &s->buckets[neighbour_of(s, home)], key, tag, item, place);
}

void *table_find_hashed(const struct table *t, struct slice key, uint64_t hash) {
    struct place place;
    return find_place(t, key, hash, NULL, &place) ? place.bucket->items[place.slot] : NULL;
}

void *table_find(const struct table *t, struct slice key) {
    return t->count == 0 ? NULL : table_find_hashed(t, key, table_hash(key));
}

void table_moved(struct table *t, const void *old, void *new, uint64_t hash) {
    struct place place;
    bool found = find_place(t, slice_from(NULL, 0), hash, old, &place);
    ASSERT(found);
    place.bucket->items[place.slot] = new;
}

void table_prefetch(const struct table *t, uint64_t hash, int stage) {
    if (t->count == 0) return;
    struct segment *s = segment_of(t, hash);
    if (stage == 0)
        __builtin_prefetch(s);
    else
        __builtin_prefetch(&s->buckets[bucket_of(s, hash)]);
}

const void *table_peek(const struct table *t, uint64_t hash) {
    if (t->count == 0) return NULL;
    struct segment *s = segment_of(t, hash);
    struct bucket *b = &s->buckets[bucket_of(s, hash)];
    uint64_t bits = match(b, tag_of(hash));
    return bits ? b->items[match_slot(bits)] : NULL;
}

/* ---- segments ---- */

static struct segment *segment_new(struct table *t, unsigned size, unsigned depth, int64_t due_ms) {
    struct segment *s = NEW(struct segment);
    s->buckets = NEW_ARRAY(struct bucket, size);
    s->size = (uint8_t)size;
    s->depth = (uint8_t)depth;
    s->due_ms = due_ms;
    t->buckets += size;
    return s;
}

static void bucket_add_child(struct table *t, struct bucket *b) {
    struct bucket *child = NEW(struct bucket);
    child->tags[0] = b->tags[SLOTS - 1];
    child->items[0] = b->items[SLOTS - 1];
    b->tags[SLOTS - 1] = TAG_CHILD;
    b->child = child;
    t->children++;
}

static void segment_put(struct table *t, struct segment *s, void *item, uint64_t hash) {
    unsigned home = bucket_of(s, hash);
    struct bucket *b = &s->buckets[home];
    uint8_t tag = tag_of(hash);
    s->count++;
    if (bucket_put(b, item, tag)) return;
    unsigned neighbour = neighbour_of(s, home);
    if (neighbour != home && bucket_put(&s->buckets[neighbour], item, tag)) {
        b->spilled = 1;
        return;
    }
    while (!bucket_put(b, item, tag)) {
        if (!bucket_has_child(b)) bucket_add_child(t, b);
        b = b->child;
    }
}

static void bucket_free_children(struct table *t, struct bucket *b) {
    if (!bucket_has_child(b)) return;
    for (struct bucket *child = b->child, *next; child != NULL; child = next) {
        next = bucket_has_child(child) ? child->child : NULL;
        mem_free(child);
        t->children--;
    }
}

static void segment_free(struct table *t, struct segment *s) {
    for (unsigned i = 0; i < s->size; i++) bucket_free_children(t, &s->buckets[i]);
    t->buckets -= s->size;
    mem_free(s->buckets);
    mem_free(s);
}

size_t pair_items(const struct segment *s, unsigned first, void **items, size_t max) {
    size_t count = 0;
    for (unsigned i = first; i < first + 2 && i < s->size; i++)
        for (const struct bucket *b = &s->buckets[i]; b != NULL;
             b = bucket_has_child(b) ? b->child : NULL)
            for (unsigned slot = 0; slot < SLOTS; slot++)
                if (b->tags[slot] != 0 && b->tags[slot] != TAG_CHILD) {
                    if (count < max) items[count] = b->items[slot];
                    count++;
                }
    return count;
}

/* Put all items of FROM into LOW, or into HIGH when the bit after SPLIT_DEPTH bits of the hash
 * is 1. */
static void segment_pour(struct table *t, const struct segment *from, struct segment *low,
                         struct segment *high, unsigned split_depth) {
    for (unsigned i = 0; i < from->size; i++) {
        if (i + 1 < from->size)
            for (unsigned slot = 0; slot < SLOTS; slot++)
                __builtin_prefetch(from->buckets[i + 1].items[slot]);
        for (const struct bucket *b = &from->buckets[i]; b != NULL;
             b = bucket_has_child(b) ? b->child : NULL)
            for (unsigned slot = 0; slot < SLOTS; slot++) {
                if (b->tags[slot] == 0 || b->tags[slot] == TAG_CHILD) continue;
                uint64_t hash = table_hash(t->type->key(b->items[slot]));
                bool up = high && (hash << split_depth) >> 63;
                segment_put(t, up ? high : low, b->items[slot], hash);
            }
    }
}

static uint64_t place_count(const struct table *t) {
    return UINT64_C(1) << t->depth;
}

/* Let all places of the directory that HASH's segment of DEPTH bits covers point to S. */
static void directory_point(struct table *t, uint64_t hash, unsigned depth, struct segment *s) {
    uint64_t span = UINT64_C(1) << (t->depth - depth);
    uint64_t first = t->depth ? (hash >> (64 - t->depth)) & ~(span - 1) : 0;
    for (uint64_t i = 0; i < span; i++) t->directory[first + i] = s;
}

static void directory_double(struct table *t) {
    uint64_t count = place_count(t);
    t->directory = mem_realloc(t->directory, count * 2 * sizeof *t->directory);
    for (uint64_t i = count; i-- > 0;)
        t->directory[2 * i] = t->directory[2 * i + 1] = t->directory[i];
    t->depth++;
}

static void segment_resize(struct table *t, struct segment *s, uint64_t hash, unsigned size) {
    struct segment *bigger = segment_new(t, size, s->depth, s->due_ms);
    segment_pour(t, s, bigger, NULL, 0);
    directory_point(t, hash, s->depth, bigger);
    segment_free(t, s);
}

static void segment_split(struct table *t, struct segment *s, uint64_t hash) {
    if (s->depth == t->depth) directory_double(t);
    unsigned depth = s->depth + 1u;
    struct segment *low = segment_new(t, 64, depth, s->due_ms),
                   *high = segment_new(t, 64, depth, s->due_ms);
    segment_pour(t, s, low, high, s->depth);
    uint64_t bit = UINT64_C(1) << (64 - depth);
    directory_point(t, hash & ~bit, depth, low);
    directory_point(t, hash | bit, depth, high);
    segment_free(t, s);
    t->segments++;
}

/* Make room for one more. A directory that is big for the number of items (keys that collide on
 * purpose or by a broken hash) stops growing; chains of children take over. */
static void segment_grow(struct table *t, struct segment *s, uint64_t hash) {
    if (s->size < 64)
        segment_resize(t, s, hash, s->size * 2u);
    else if (s->size < BUCKETS_MAX)
        segment_resize(t, s, hash, BUCKETS_MAX);
    else if (s->depth < DEPTH_MAX && (s->depth < t->depth || place_count(t) * 32 <= t->count))
        segment_split(t, s, hash);
}

#define RESERVED_OF_SEGMENT 480u /* items; three quarters of the biggest */

void table_reserve(struct table *t, uint64_t count) {
    if (t->directory != NULL || count <= RESERVED_OF_SEGMENT) return;
    unsigned depth = 1;
    while (depth < DEPTH_MAX / 2 && count >> depth > RESERVED_OF_SEGMENT) depth++;
    uint64_t buckets = (count >> depth) * 5 / (4 * SLOTS) / 2 * 2 + 2;
    unsigned size = buckets < 64 ? 64 : buckets > BUCKETS_MAX ? BUCKETS_MAX : (unsigned)buckets;
    t->depth = (uint8_t)depth;
    t->segments = (uint32_t)1 << depth;
    t->directory = NEW_ARRAY(struct segment *, t->segments);
    for (uint32_t i = 0; i < t->segments; i++)
        t->directory[i] = segment_new(t, size, depth, INT64_MAX);
}

void table_add_hashed(struct table *t, void *item, uint64_t hash) {
    if (t->watch) value_watch_tell(t->watch, item, WATCH_BORN);
    if (t->directory == NULL) {
        t->directory = NEW_ARRAY(struct segment *, 1);
        t->directory[0] = segment_new(t, 1, 0, INT64_MAX);
        t->segments = 1;
    }
    struct segment *s = segment_of(t, hash);
    if (s->count >= segment_limit(s->size)) {
        segment_grow(t, s, hash);
        s = segment_of(t, hash);
    }
    segment_put(t, s, item, hash);
    t->count++;
}

/* Whether the chain at B has an item with ITEM's key. */
static bool chain_has(const struct table *t, const struct bucket *b, const void *item,
                      uint8_t tag) {
    for (;; b = b->child) {
        if (match(b, tag) && slot_of_key(t, b, t->type->key(item), tag) >= 0) return true;
        if (!bucket_has_child(b)) return false;
    }
}

bool table_add_new(struct table *t, void *item, uint64_t hash) {
    if (t->count > 0) {
        struct segment *s = segment_of(t, hash);
        unsigned home = bucket_of(s, hash);
        const struct bucket *b = &s->buckets[home];
        uint8_t tag = tag_of(hash);
        if (chain_has(t, b, item, tag)) return false;
        if (b->spilled && chain_has(t, &s->buckets[neighbour_of(s, home)], item, tag)) return false;
    }
    table_add_hashed(t, item, hash);
    return true;
}

void table_add(struct table *t, void *item) {
    table_add_hashed(t, item, table_hash(t->type->key(item)));
}

/* ---- taking out ---- */

/* Close the gap at a place: the last item of the chain's children moves up, an empty child goes. */
static void place_clear(struct table *t, const struct place *place) {
    struct bucket *last = place->head, *before = NULL;
    while (bucket_has_child(last)) {
        before = last;
        last = last->child;
    }
    place->bucket->tags[place->slot] = 0;
    place->bucket->items[place->slot] = NULL;
    if (before == NULL) return;
    int from = -1, others = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        if (last->tags[slot] != 0) from >= 0 ? others++ : (from = slot);
    if (from >= 0 && last != place->bucket) {
        place->bucket->tags[place->slot] = last->tags[from];
        place->bucket->items[place->slot] = last->items[from];
        last->tags[from] = 0;
        last->items[from] = NULL;
        from = others > 0 ? 0 : -1;
    }
    if (from >= 0) return;
    before->tags[SLOTS - 1] = 0;
    before->child = NULL;
    mem_free(last);
    t->children--;
}

/* Halve the directory while no segment needs its last bit. */
static void directory_shrink(struct table *t) {
    while (t->depth > 0 && (uint64_t)t->segments * 4 <= place_count(t)) {
        uint64_t half = place_count(t) / 2;
        for (uint64_t i = 0; i < half; i++)
            if (t->directory[2 * i] != t->directory[2 * i + 1]) return;
        for (uint64_t i = 0; i < half; i++) t->directory[i] = t->directory[2 * i];
        t->directory = mem_realloc(t->directory, half * sizeof *t->directory);
        t->depth--;
    }
}

static void segment_merge(struct table *t, struct segment *s, uint64_t hash) {
    uint64_t bit = UINT64_C(1) << (64 - s->depth);
    struct segment *other = segment_of(t, hash ^ bit);
    if (other->depth != s->depth || s->count + other->count > segment_limit(64) / 2) return;
    struct segment *both =
        segment_new(t, 64, s->depth - 1u, s->due_ms < other->due_ms ? s->due_ms : other->due_ms);
    segment_pour(t, s, both, NULL, 0);
    segment_pour(t, other, both, NULL, 0);
    directory_point(t, hash, both->depth, both);
    segment_free(t, s);
    segment_free(t, other);
    t->segments--;
    directory_shrink(t);
}

static void segment_shrink(struct table *t, struct segment *s, uint64_t hash) {
    if (s->size == BUCKETS_MAX)
        segment_resize(t, s, hash, 64);
    else if (s->depth > 0)
        segment_merge(t, s, hash);
    else
        segment_resize(t, s, hash, s->size / 2u);
}

void *table_take_hashed(struct table *t, struct slice key, uint64_t hash) {
    struct place place;
    if (!find_place(t, key, hash, NULL, &place)) return NULL;
    void *item = place.bucket->items[place.slot];
    if (t->watch) value_watch_tell(t->watch, item, WATCH_GONE);
    place_clear(t, &place);
    struct segment *s = place.segment;
    s->count--;
    t->count--;
    if (t->count == 0)
        table_close(t);
    else if (s->size > 1 && s->count < s->size * SLOTS / 4u)
        segment_shrink(t, s, hash);
    return item;
}

void *table_take(struct table *t, struct slice key) {
    return t->count == 0 ? NULL : table_take_hashed(t, key, table_hash(key));
}

void table_close(struct table *t) {
    for (uint64_t i = 0; t->directory != NULL && i < place_count(t);) {
        struct segment *s = t->directory[i];
        i += UINT64_C(1) << (t->depth - s->depth);
        segment_free(t, s);
    }
    mem_free(t->directory);
    struct value_watch *watch = t->watch; /* of a big value that has become empty */
    table_init(t, t->type);
    t->watch = watch;
}

size_t table_memory(const struct table *t) {
    size_t bytes = ((size_t)t->buckets + t->children) * sizeof(struct bucket) +
                   t->segments * sizeof(struct segment);
    return bytes + (t->directory ? place_count(t) * sizeof *t->directory : 0);
}
