/* lane_keys.c -- which keys are not clean. See lane_keys.h. */
#include "gateway/lane_keys.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS_FIRST 64u

static uint64_t hash_of(int32_t db, struct slice name) {
    return XXH3_64bits_withSeed(name.data, name.size, (uint64_t)(uint32_t)db);
}

void lane_keys_init(struct lane_keys *k, const struct lane_journal *journal, size_t keys_max,
                    unsigned number, unsigned lanes) {
    *k = (struct lane_keys){
        .journal = journal, .keys_max = keys_max, .number = number, .lanes = lanes};
    list_init(&k->soon);
    list_init(&k->later);
    k->bucket_count = BUCKETS_FIRST;
    k->buckets = NEW_ARRAY(struct lane_key *, BUCKETS_FIRST);
}

void lane_keys_close(struct lane_keys *k) {
    for (size_t i = 0; i < k->bucket_count; i++)
        for (struct lane_key *next, *key = k->buckets[i]; key != NULL; key = next) {
            next = key->next;
            mem_free(key);
        }
    mem_free(k->buckets);
    k->buckets = NULL;
    k->bucket_count = k->count = 0;
}

struct lane_key *lane_keys_find(const struct lane_keys *k, int32_t db, struct slice name) {
    if (k->count == 0) return NULL;
    uint64_t hash = hash_of(db, name);
    struct lane_key *key = k->buckets[hash & (k->bucket_count - 1)];
    while (key != NULL &&
           (key->hash != hash || key->db != db || !slice_equal(lane_key_name(key), name)))
        key = key->next;
    return key;
}

static void grow(struct lane_keys *k) {
    size_t cap = k->bucket_count * 2;
    struct lane_key **wider = NEW_ARRAY(struct lane_key *, cap);
    for (size_t i = 0; i < k->bucket_count; i++)
        for (struct lane_key *next, *key = k->buckets[i]; key != NULL; key = next) {
            next = key->next;
            key->next = wider[key->hash & (cap - 1)];
            wider[key->hash & (cap - 1)] = key;
        }
    mem_free(k->buckets);
    k->buckets = wider;
    k->bucket_count = cap;
}

static struct lane_key *add(struct lane_keys *k, int32_t db, struct slice name) {
    if (k->count >= k->bucket_count) grow(k);
    struct lane_key *key = mem_zalloc(sizeof *key + name.size);
    key->hash = hash_of(db, name);
    key->db = db;
    key->name_bytes = (uint32_t)name.size;
    if (name.size > 0) memcpy(key->name, name.data, name.size);
    struct lane_key **at = &k->buckets[key->hash & (k->bucket_count - 1)];
    key->next = *at;
    *at = key;
    k->count++;
    return key;
}

/* Nothing is left to be said about it. */
static void forget_clean(struct lane_keys *k, struct lane_key *key) {
    if (key->dirty || key->copying || key->pins > 0) return;
    struct lane_key **at = &k->buckets[key->hash & (k->bucket_count - 1)];
    while (*at != key) at = &(*at)->next;
    *at = key->next;
    list_remove(&key->want);
    k->count--;
    mem_free(key);
}

static bool bit(const uint64_t *bits, unsigned slot) {
    return (bits[slot / 64] >> (slot % 64)) & 1;
}
static void set_bit(uint64_t *bits, unsigned slot) {
    bits[slot / 64] |= UINT64_C(1) << (slot % 64);
}
static void clear_bit(uint64_t *bits, unsigned slot) {
    bits[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

bool lane_keys_is_dirty(const struct lane_keys *k, int32_t db, struct slice name) {
    if (k->pinned_all > 0) return true;
    if (k->dirty_slot_count > 0 && bit(k->dirty_slots, slot_cluster(name))) return true;
    const struct lane_key *key = lane_keys_find(k, db, name);
    return key != NULL && (key->dirty || key->pins > 0);
}

static uint64_t first_due(const struct lane_keys *k) {
    if (list_is_empty(&k->later)) return 0;
    return LIST_OWNER(k->later.next, struct lane_key, want)->due_ms;
}

/* It is another gateway's, and nothing here speaks of it any more. */
static bool let_go(struct lane_keys *k, struct lane_key *key) {
    if (k->owned == NULL || lane_keys_owns(k, slot_cluster(lane_key_name(key)))) return false;
    if (key->copying || key->pins > 0) return true;
    if (key->dirty) {
        k->journal->key(k->journal->self, key->db, lane_key_name(key), false);
        key->dirty = false;
        k->dirty_count--;
    }
    forget_clean(k, key);
    return true;
}

static void want(struct lane_keys *k, struct lane_key *key, uint64_t due_ms) {
    if (let_go(k, key)) return;
    if (!key->dirty || key->copying || key->pins > 0) return;
    if (list_is_linked(&key->want)) {
        if (due_ms != 0 || key->due_ms == 0)
            return; /* it waits already, and not longer than this */
        list_remove(&key->want);
    }
    key->due_ms = due_ms;
    if (due_ms == 0)
        list_push(&k->soon, &key->want);
    else if (due_ms <= first_due(k)) /* it waited before, and was pinned meanwhile */
        list_push_front(&k->later, &key->want);
    else
        list_push(&k->later, &key->want);
}

static void make_dirty(struct lane_keys *k, struct lane_key *key) {
    if (key->dirty) return;
    k->journal->key(k->journal->self, key->db, lane_key_name(key), true);
    key->dirty = true;
    k->dirty_count++;
}

void lane_keys_mark(struct lane_keys *k, int32_t db, struct slice name, bool outside,
                    uint64_t due_ms) {
    struct lane_key *key = lane_keys_find(k, db, name);
    if (key == NULL) {
        unsigned slot = slot_cluster(name);
        /* A slot that waits for its next pass will be listed whole: names add nothing. */
        if (k->dirty_slot_count > 0 && bit(k->dirty_slots, slot) && !bit(k->passing, slot)) return;
        if (k->count >= k->keys_max) {
            lane_keys_mark_slot(k, slot);
            return;
        }
        key = add(k, db, name);
    }
    if (outside) key->gen = ++k->gens;
    make_dirty(k, key);
    want(k, key, due_ms);
}

void lane_keys_mark_slot(struct lane_keys *k, unsigned slot) {
    clear_bit(k->passing, slot);
    if (bit(k->dirty_slots, slot)) return;
    k->journal->slot(k->journal->self, slot, true);
    set_bit(k->dirty_slots, slot);
    k->dirty_slot_count++;
}

void lane_keys_renew(struct lane_keys *k) {
    uint64_t gen = ++k->gens;
    for (size_t i = 0; i < k->bucket_count; i++)
        for (struct lane_key *key = k->buckets[i]; key != NULL; key = key->next) key->gen = gen;
}

/* Copies that are under way read what may not last. */
void lane_keys_mark_all(struct lane_keys *k) {
    for (unsigned slot = k->number; slot < LANE_SLOTS; slot += k->lanes)
        if (lane_keys_owns(k, slot)) lane_keys_mark_slot(k, slot);
    lane_keys_renew(k);
}

void lane_keys_pin(struct lane_keys *k, int32_t db, struct slice name) {
    struct lane_key *key = lane_keys_find(k, db, name);
    if (key == NULL) key = add(k, db, name);
    if (key->pins++ == 0) k->pinned_count++;
    key->gen = ++k->gens;
    if (list_is_linked(&key->want)) key->kept_ms = key->due_ms == 0 ? 1 : key->due_ms;
    list_remove(&key->want);
    make_dirty(k, key);
}

void lane_keys_unpin(struct lane_keys *k, int32_t db, struct slice name, uint64_t due_ms) {
    struct lane_key *key = lane_keys_find(k, db, name);
    ASSERT(key != NULL && key->pins > 0);
    if (--key->pins == 0) k->pinned_count--;
    key->gen = ++k->gens;
    /* Its turn stays where it was: else a key that is pinned once a second is never copied. */
    bool waited = key->kept_ms != 0 && key->kept_ms < due_ms;
    want(k, key, waited ? key->kept_ms : due_ms);
}

struct lane_key *lane_keys_next(struct lane_keys *k, uint64_t now_ms, bool hurry) {
    struct list *head = list_is_empty(&k->soon) ? &k->later : &k->soon;
    if (list_is_empty(head)) return NULL;
    struct lane_key *key = LIST_OWNER(head->next, struct lane_key, want);
    if (head == &k->later && !hurry && key->due_ms > now_ms) return NULL;
    list_remove(&key->want);
    key->copying = true;
    key->kept_ms = 0;
    return key;
}

void lane_keys_copied(struct lane_keys *k, struct lane_key *key, bool clean, uint64_t due_ms) {
    ASSERT(key->copying);
    key->copying = false;
    if (clean) {
        ASSERT(key->dirty && key->pins == 0);
        k->journal->key(k->journal->self, key->db, lane_key_name(key), false);
        key->dirty = false;
        k->dirty_count--;
        forget_clean(k, key);
        return;
    }
    want(k, key, due_ms);
}

void lane_keys_disown(struct lane_keys *k) {
    for (size_t i = 0; i < k->bucket_count; i++)
        for (struct lane_key *next, *key = k->buckets[i]; key != NULL; key = next) {
            next = key->next;
            (void)let_go(k, key);
        }
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        if (!bit(k->dirty_slots, slot) || lane_keys_owns(k, slot)) continue;
        clear_bit(k->dirty_slots, slot);
        clear_bit(k->passing, slot);
        k->dirty_slot_count--;
        k->journal->slot(k->journal->self, slot, false);
    }
}

void lane_keys_pass_begin(struct lane_keys *k) {
    memcpy(k->passing, k->dirty_slots, sizeof k->passing);
}

bool lane_keys_in_pass(const struct lane_keys *k, unsigned slot) {
    return bit(k->passing, slot);
}

void lane_keys_pass_drop(struct lane_keys *k) {
    memset(k->passing, 0, sizeof k->passing);
}

void lane_keys_pass_end(struct lane_keys *k) {
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        if (!bit(k->passing, slot)) continue;
        clear_bit(k->dirty_slots, slot);
        k->dirty_slot_count--;
        k->journal->slot(k->journal->self, slot, false);
    }
    lane_keys_pass_drop(k);
}
