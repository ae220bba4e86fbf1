/* lane_burst.c -- simple commands as one item. See lane_burst.h. */
#include "gateway/lane_inside.h"

#define BLOCKS_KEPT 64u

/* ---- memory ---- */

static struct lane_block *block_new(struct lane *l) {
    struct lane_block *block = l->free_blocks;
    if (block != NULL) {
        l->free_blocks = block->next;
        l->free_count--;
    } else {
        block = mem_alloc(sizeof *block);
    }
    memset(block, 0, offsetof(struct lane_block, keys));
    block->lane = l;
    block->refs = 1;
    return block;
}

static void block_let_go(struct lane_block *block) {
    struct lane *l = block->lane;
    if (--block->refs > 0) return;
    if (l->free_count >= BLOCKS_KEPT) {
        mem_free(block);
        return;
    }
    block->next = l->free_blocks;
    l->free_blocks = block;
    l->free_count++;
}

void lane_blocks_close(struct lane *l) {
    if (l->block != NULL) block_let_go(l->block);
    l->block = NULL;
    for (struct lane_block *next, *block = l->free_blocks; block != NULL; block = next) {
        next = block->next;
        mem_free(block);
    }
    l->free_blocks = NULL;
    l->free_count = 0;
}

void lane_burst_free(struct lane_burst *burst) {
    buf_close(&burst->item.bytes);
    block_let_go(burst->block);
    mem_free(burst);
}

/* ---- what leaves ---- */

static bool has_room(const struct lane_block *block, size_t size) {
    return block != NULL && block->count < LANE_BURST_MAX && LANE_BLOCK_BYTES - block->size >= size;
}

/* The one that is being filled, if it is the last in flight and there is room for SIZE bytes. */
static struct lane_burst *opened(struct lane *l, int32_t db, size_t size) {
    struct lane_burst *burst = l->open;
    if (burst != NULL && l->flight.tail == &burst->item && burst->item.db == db &&
        has_room(burst->block, size))
        return burst;
    lane_burst_close(l);
    if (!has_room(l->block, size)) {
        if (l->block != NULL) block_let_go(l->block);
        l->block = block_new(l);
    }
    burst = mem_alloc(sizeof *burst);
    memset(burst, 0, offsetof(struct lane_item, one_key));
    struct lane_block *block = burst->block = l->block;
    struct lane_item *item = &burst->item;
    block->refs++;
    burst->commands = block->commands + block->count;
    burst->weight = burst->nothing = burst->unclear = 0;
    item->kind = LANE_BURST;
    item->burst = burst;
    item->id = l->next_id++;
    item->keys = block->keys + block->count;
    item->db = item->db_after = db;
    item->replies = 1;
    lane_queue_push(&l->flight, item);
    l->open = burst;
    return burst;
}

void lane_burst_add(struct lane *l, const struct effect_simple *simple, int32_t db,
                    struct slice name, struct slice raw, void *client) {
    ASSERT(lane_may_send(l) && raw.size <= LANE_BURST_BYTES_MAX);
    ASSERT(name.data >= raw.data && name.data + name.size <= raw.data + raw.size);
    struct lane_burst *burst = opened(l, db, raw.size);
    struct lane_block *block = burst->block;
    struct lane_item *item = &burst->item;
    uint8_t *to = block->bytes + block->size;
    struct effect_key *key = &item->keys[item->key_count];
    memcpy(to, raw.data, raw.size);
    *key = simple->key;
    key->name = slice_from(to + (name.data - raw.data), name.size);
    key->db = db;
    burst->commands[item->key_count++] = (struct lane_simple){
        .simple = simple, .client = client, .at = (uint32_t)block->size, .size = (uint32_t)raw.size};
    block->size += raw.size;
    block->count++;
    l->flight.count++;
    l->figures.commands++;
    l->figures.simple++;
    item->client = client;
    l->ops->to_primary(l, item, slice_from(to, raw.size), 1, db, db);
    item->client = NULL;
}

/* C20: the keys are in the journal before the commands leave. */
void lane_burst_close(struct lane *l) {
    struct lane_burst *burst = l->open;
    struct lane_journal_key keys[LANE_BURST_MAX];
    if (burst == NULL) return;
    const struct lane_item *item = &burst->item;
    l->open = NULL;
    for (size_t i = 0; i < item->key_count; i++)
        keys[i] = (struct lane_journal_key){item->keys[i].name, item->keys[i].db};
    l->journal->entry(l->journal->self, item->id, keys, item->key_count);
}

/* ---- what is answered ---- */

/* Those that F gets move to the front. */
static size_t keep_followed(struct lane *l, struct lane_burst *burst) {
    struct lane_item *item = &burst->item;
    bool all = burst->nothing == 0 && burst->unclear == 0;
    size_t kept = 0;
    if (all && l->follower_up && lane_all_may_follow(l)) return item->key_count;
    for (size_t i = 0; i < item->key_count; i++) {
        const struct effect_key *key = &item->keys[i];
        uint8_t did = burst->commands[i].did;
        if (did == EFFECT_DID_NOTHING) continue;
        if (did == EFFECT_DID_WHAT || !l->follower_up || !lane_may_follow(l, key, 1)) {
            lane_mark_keys(l, key, 1, false);
            continue;
        }
        lane_set_deadlines(l, key, 1);
        if (kept < i) {
            item->keys[kept] = *key;
            burst->commands[kept] = burst->commands[i];
        }
        kept++;
    }
    return kept;
}

/* Waits and audits hear which keys were written by the first COUNT. */
static void tell_wrote(struct lane *l, const struct lane_burst *burst, size_t count) {
    struct effect_key some[LANE_BURST_MAX];
    struct effect written = {.keys = burst->item.keys, .key_count = count, .writes = true};
    if (count == burst->nothing) return;
    if (burst->nothing > 0) {
        written.keys = some;
        written.key_count = 0;
        for (size_t i = 0; i < count; i++)
            if (burst->commands[i].did != EFFECT_DID_NOTHING)
                some[written.key_count++] = burst->item.keys[i];
    }
    l->ops->wrote(l, &written);
}

/* The bytes for F: as they stand, if nothing was left out. */
static void put_together(struct lane_burst *burst, size_t kept) {
    struct lane_item *item = &burst->item;
    if (kept == item->key_count) {
        const struct lane_simple *last = &burst->commands[kept - 1];
        size_t at = burst->commands[0].at;
        item->verbatim = slice_from(burst->block->bytes + at, last->at + last->size - at);
        return;
    }
    item->key_count = kept;
    for (size_t i = 0; i < kept; i++) buf_add(&item->bytes, lane_burst_request(burst, i));
}

static void settle(struct lane *l, struct lane_burst *burst) {
    struct lane_item *item = &burst->item;
    tell_wrote(l, burst, item->key_count);
    size_t kept = keep_followed(l, burst);
    if (kept == 0) {
        lane_forget(l, item);
        return;
    }
    put_together(burst, kept);
    item->done = 0;
    burst->weight = burst->block->weighed ? 0 : sizeof *burst->block;
    burst->block->weighed = true;
    l->figures.effects += kept;
    lane_follow(l, item);
}

uint32_t lane_burst_answered(struct lane *l, struct lane_burst *burst, struct slice answer,
                             uint32_t count) {
    struct lane_item *item = &burst->item;
    const struct effect_simple *simple = NULL;
    enum effect_did did = EFFECT_DID_NOTHING;
    if (burst == l->open) lane_burst_close(l); /* it cannot be P's answer; whatever it is */
    uint32_t units = (uint32_t)lane_item_units(item), n = count < units ? count : units;
    for (struct lane_simple *c = burst->commands + item->done, *end = c + n; c < end; c++) {
        if (c->simple != simple) did = effect_simple_tell(simple = c->simple, answer);
        c->did = (uint8_t)did;
        if (did == EFFECT_DID_NOTHING) burst->nothing++;
        if (did == EFFECT_DID_WHAT) burst->unclear++;
    }
    if (lane_queue_count_down(&l->flight, n)) settle(l, burst);
    return n;
}

/* ---- what is lost ---- */

void lane_burst_lost(struct lane *l, struct lane_burst *burst) {
    struct lane_item *item = &burst->item;
    size_t first = item->done;
    if (burst == l->open) l->open = NULL; /* nothing of it has left; as if it had */
    tell_wrote(l, burst, first);
    for (size_t i = 0; i < item->key_count; i++) {
        if (i < first && burst->commands[i].did == EFFECT_DID_NOTHING) continue;
        lane_mark_keys(l, &item->keys[i], 1, true);
        if (i < first) continue;
        item->client = burst->commands[i].client;
        l->figures.lost++;
        l->ops->lost(l, item);
    }
    item->client = NULL;
    lane_forget(l, item);
}
