/* lane_read.c -- reads of both sides at the same place. See lane_read.h. */
#include "gateway/lane_read.h"

#include "gateway/lane_inside.h"

static struct lane_item *read_item(struct lane *l, struct lane_read *read) {
    struct lane_item *item = NEW(struct lane_item);
    ASSERT(lane_of(l->lanes, read->name) == l->number);
    item->kind = LANE_READ;
    item->id = l->next_id++;
    item->read = read;
    item->db = item->db_after = read->db;
    return item;
}

void lane_read_send(struct lane *l, struct lane_read *read, struct slice request,
                    uint32_t replies) {
    ASSERT(lane_may_send(l) && replies > 0);
    struct lane_item *item = read_item(l, read);
    lane_queue_push(&l->flight, item);
    l->ops->to_primary(l, item, request, replies, read->db, read->db);
}

/* C12b looks at the keys that an item touches: a read of what was refused before it is spoiled. */
static void name_key(struct lane_item *item) {
    item->keys = &item->one_key;
    item->one_key =
        (struct effect_key){.name = item->read->name, .db = item->read->db, .use = EFFECT_READ};
    item->key_count = 1;
}

void lane_read_follow(struct lane *l, struct lane_read *read, struct slice request,
                      uint32_t replies) {
    ASSERT(replies > 0);
    struct lane_item *item = read_item(l, read);
    buf_add(&item->bytes, request);
    item->replies = replies;
    name_key(item);
    lane_follow(l, item);
}

void lane_read_answered(struct lane *l, struct lane_item *item, struct slice answer) {
    struct lane_read *read = item->read;
    bool clean = l->follower_up && !lane_keys_is_dirty(&l->keys, read->db, read->name);
    if (!read->ops->primary(read, answer, clean, &item->bytes, &item->replies)) {
        lane_item_free(item);
        return;
    }
    ASSERT(item->replies > 0);
    name_key(item);
    lane_follow(l, item);
}

void lane_read_shadow(struct lane *l, struct lane_item *item, struct slice answer) {
    item->client = NULL;
    item->kind = LANE_READ;
    item->db = item->db_after = item->read->db;
    lane_read_answered(l, item, answer);
}

struct lane_item *lane_read_behind(struct lane *l, const struct lane_item *copy,
                                   const struct lane_value *value) {
    struct buf out = {0};
    uint32_t replies = 0;
    if (l->watch == NULL) return NULL;
    struct lane_read *read =
        l->watch->copied(l->watch, l, copy->db, buf_slice(&copy->name), value, &out, &replies);
    if (read == NULL) return NULL;
    struct lane_item *item = read_item(l, read);
    item->bytes = out;
    item->replies = replies;
    name_key(item);
    return item;
}

void lane_read_follow_copy(struct lane *l, struct lane_item *item) {
    const struct lane_read *read = item->read;
    if (!lane_keys_is_dirty(&l->keys, read->db, read->name))
        lane_follow(l, item);
    else
        lane_read_lost(item); /* the copy was dropped with F's queue */
}

void lane_read_dropped(struct lane_item *item) {
    item->read->ops->lost(item->read);
    item->read = NULL;
}

void lane_read_lost(struct lane_item *item) {
    item->read->ops->lost(item->read);
    lane_item_free(item);
}

void lane_read_followed(struct lane_item *item, struct slice answer) {
    item->read->ops->follower(item->read, answer, item->spoiled);
    lane_item_free(item);
}
