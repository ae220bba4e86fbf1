/* lane_apply.c -- what a command did at P, done at F or not (C12, C12a, C16, C18). See lane.h. */
#include "gateway/lane_inside.h"

#include "lib/redis/resp.h"

#include <stdio.h>

/* What the requests of one item are put together in. */
struct block {
    size_t requests;
    int32_t db, db_now;
};

static uint64_t hash_of(const struct effect_key *key) {
    return lane_deadlines_hash(key->db, key->name);
}

/* C12a: whether F may have lost the key, or P may have, at a time when the other side had not. What
 * only replaces or deletes a value does not care. */
static bool is_in_doubt(const struct lane *l, const struct effect_key *key) {
    bool depends = (key->use & EFFECT_READ) || !(key->use & EFFECT_WHOLE);
    if (!depends) return false;
    if (lane_deadlines_none(&l->deadlines)) return false;
    int64_t deadline = lane_deadlines_find(&l->deadlines, hash_of(key));
    if (deadline == LANE_DEADLINE_NONE) return false;
    if (!l->rules.follower_keeps_expired) return true;
    return clock_wall_ms(l->clock) + 2 * l->rules.clock_difference_ms >= deadline;
}

/* C12: F has P's value of everything that the request touches. */
bool lane_may_follow(const struct lane *l, const struct effect_key *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!lane_owns(l, keys[i].name)) return false; /* not in this lane's order */
        if (lane_keys_is_dirty(&l->keys, keys[i].db, keys[i].name)) return false;
        if (is_in_doubt(l, &keys[i])) return false;
    }
    return true;
}

/* No key is in doubt, and what was this lane's when it was sent is so still: the same for all. */
bool lane_all_may_follow(const struct lane *l) {
    const struct lane_keys *k = &l->keys;
    return k->count == 0 && k->dirty_slot_count == 0 && k->pinned_all == 0 &&
           (k->owned == NULL || k->owns_all) && lane_deadlines_none(&l->deadlines);
}

void lane_set_deadlines(struct lane *l, const struct effect_key *keys, size_t count) {
    int64_t gone_ms = 0;
    if (count == 1 && keys->expiry == EFFECT_EXPIRY_NONE && lane_deadlines_none(&l->deadlines))
        return;
    if (!l->rules.follower_keeps_expired)
        gone_ms = clock_wall_ms(l->clock) - 2 * l->rules.clock_difference_ms - 60000;
    int64_t moved[2] = {LANE_DEADLINE_NONE, LANE_DEADLINE_NONE};
    ASSERT(count < UINT32_MAX);
    for (size_t i = 0; i < count && i < 2; i++) /* RENAME, COPY: of two keys */
        if (keys[i].expiry == EFFECT_EXPIRY_OF && keys[i].from < count)
            moved[i] = lane_deadlines_find(&l->deadlines, hash_of(&keys[keys[i].from]));
    for (size_t i = 0; i < count; i++) {
        int64_t at_ms = LANE_DEADLINE_NONE;
        if (keys[i].expiry == EFFECT_EXPIRY_KEPT) continue;
        if (keys[i].expiry == EFFECT_EXPIRY_NONE && lane_deadlines_none(&l->deadlines)) continue;
        if (keys[i].expiry == EFFECT_EXPIRY_AT)
            at_ms = keys[i].deadline_ms == LANE_DEADLINE_NONE ? LANE_DEADLINE_NONE - 1
                                                              : keys[i].deadline_ms;
        if (keys[i].expiry == EFFECT_EXPIRY_OF) at_ms = i < 2 ? moved[i] : 1;
        lane_deadlines_set(&l->deadlines, hash_of(&keys[i]), at_ms, gone_ms);
    }
}

static void add_keys(struct lane_item *item, const struct effect_key *keys, size_t count) {
    if (count == 0) return;
    size_t had = item->key_count;
    if (had + count == 1) {
        item->keys = &item->one_key;
    } else {
        struct effect_key *few = item->keys == &item->one_key ? item->keys : NULL;
        item->keys = mem_realloc(few != NULL ? NULL : item->keys, (had + count) * sizeof *keys);
        if (few != NULL) item->keys[0] = *few;
    }
    memcpy(item->keys + had, keys, count * sizeof *keys);
    item->key_count = had + count;
}

/* The first one need not be copied, if it is the only one and stands in the effect's memory. */
static void add_request(struct lane_item *item, struct block *b, const struct effect_outcome *out,
                        const struct effect_item *did) {
    int32_t db = did->db;
    if (b->requests == 0) {
        b->db = b->db_now = db;
        b->requests = 1;
        item->verbatim = did->verbatim;
        if (did->verbatim.size == 0) buf_add(&item->bytes, effect_item_request(out, did));
        return;
    }
    buf_add(&item->bytes, item->verbatim);
    item->verbatim = (struct slice){0};
    if (db != b->db_now) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", db);
        resp_write_words(&item->bytes, "SELECT", text, NULL);
        b->requests++;
        b->db_now = db;
    }
    buf_add(&item->bytes, effect_item_request(out, did));
    b->requests++;
}

/* What was done as one, is done as one at F (C18). */
static void seal(struct lane_item *item, const struct block *b) {
    item->db = b->db;
    item->db_after = b->db_now;
    item->replies = 1;
    if (b->requests == 1) return;
    struct buf whole = {0};
    buf_add(&whole, SLICE("*1\r\n$5\r\nMULTI\r\n"));
    buf_add(&whole, buf_slice(&item->bytes));
    buf_add(&whole, SLICE("*1\r\n$4\r\nEXEC\r\n"));
    buf_close(&item->bytes);
    item->bytes = whole;
    item->replies = (uint32_t)b->requests + 2;
}

static void apply_one(struct lane *l, struct lane_item *item, const struct effect_item *did,
                      struct block *b) {
    const struct effect_key *keys = l->outcome.keys + did->key_at;
    if (did->kind == EFFECT_DIRTY_ALL ||
        (did->kind == EFFECT_REQUEST && did->scope != EFFECT_SCOPE_KEYS)) {
        l->ops->mark_everything(l); /* in a barrier such a request has its place */
        return;
    }
    if (did->kind == EFFECT_DIRTY || !l->follower_up || !lane_may_follow(l, keys, did->key_count)) {
        lane_mark_keys(l, keys, did->key_count, false);
        return;
    }
    lane_set_deadlines(l, keys, did->key_count);
    add_keys(item, keys, did->key_count);
    add_request(item, b, &l->outcome, did);
}

void lane_apply_as_it_is(struct lane *l, struct lane_item *item) {
    const struct effect *e = item->effect;
    if (!l->follower_up || !lane_may_follow(l, e->keys, e->key_count)) {
        lane_mark_keys(l, e->keys, e->key_count, false);
        lane_forget(l, item);
        return;
    }
    lane_set_deadlines(l, e->keys, e->key_count);
    add_keys(item, e->keys, e->key_count);
    item->db = item->db_after = e->db;
    item->replies = 1;
    l->figures.effects++;
    lane_follow(l, item);
}

void lane_apply(struct lane *l, struct lane_item *item) {
    struct block block = {0};
    for (size_t i = 0; i < l->outcome.item_count; i++)
        apply_one(l, item, &l->outcome.items[i], &block);
    if (block.requests == 0) {
        lane_forget(l, item);
        return;
    }
    seal(item, &block);
    l->figures.effects++;
    lane_follow(l, item);
}
