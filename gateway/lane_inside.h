/* lane_inside.h -- what the files of a lane share; nobody else includes it. */
#ifndef GATEWAY_LANE_INSIDE_H
#define GATEWAY_LANE_INSIDE_H

#include "gateway/lane_burst.h"

/* Bytes that it holds. */
static inline size_t lane_item_weight(const struct lane_item *item) {
    return item->kind == LANE_BURST ? item->burst->weight : lane_item_bytes(item).size;
}

static inline void lane_queue_push(struct lane_queue *q, struct lane_item *item) {
    item->next = NULL;
    if (q->tail == NULL)
        q->head = item;
    else
        q->tail->next = item;
    q->tail = item;
    q->count += lane_item_units(item);
    q->bytes += lane_item_weight(item);
}

static inline struct lane_item *lane_queue_pop(struct lane_queue *q) {
    struct lane_item *item = q->head;
    if (item == NULL) return NULL;
    q->head = item->next;
    if (q->head == NULL) q->tail = NULL;
    item->next = NULL;
    q->count -= lane_item_units(item);
    q->bytes -= lane_item_weight(item);
    return item;
}

/* COUNT commands of its first item are answered; true: with the last one, and it is off the queue. */
static inline bool lane_queue_count_down(struct lane_queue *q, uint32_t count) {
    struct lane_item *item = q->head;
    if (lane_item_units(item) == count) {
        (void)lane_queue_pop(q);
        return true;
    }
    item->done += count;
    q->count -= count;
    return false;
}

static inline uint64_t lane_due(const struct lane *l) {
    return clock_mono_ms(l->clock) + l->rules.copy_interval_ms + 1;
}

/* The written ones of KEYS that the lane owns are dirty. */
void lane_mark_keys(struct lane *lane, const struct effect_key *keys, size_t count, bool outside);
void lane_forget(struct lane *lane, struct lane_item *item); /* off the journal, and freed */

/* lane_follow.c: ITEM has bytes and keys for F. */
void lane_follow(struct lane *lane, struct lane_item *item);
void lane_follow_mark(struct lane *lane); /* when one is due (C22a) */
/* lane_apply.c: what the answer to ITEM, a command of this lane alone, means for F. */
void lane_apply(struct lane *lane, struct lane_item *item);
/* The same when it did what item->verbatim says, with the keys of its effect. */
void lane_apply_as_it_is(struct lane *lane, struct lane_item *item);

/* Whether F has P's value of everything that a request touches that touches KEYS (C12, C12a). / It is
 * about to be queued: when its keys will vanish from now on. */
bool lane_may_follow(const struct lane *lane, const struct effect_key *keys, size_t count);
void lane_set_deadlines(struct lane *lane, const struct effect_key *keys, size_t count);

/* Of any keys of this lane, just now. */
bool lane_all_may_follow(const struct lane *lane);

/* lane_burst.c: up to COUNT commands of BURST, which is first in flight, were answered, all with ANSWER;
 * how many. / It was lost, all that is left of it. / It is freed. */
uint32_t lane_burst_answered(struct lane *lane, struct lane_burst *burst, struct slice answer,
                             uint32_t count);
void lane_burst_lost(struct lane *lane, struct lane_burst *burst);
void lane_burst_free(struct lane_burst *burst);
void lane_blocks_close(struct lane *lane);

/* lane_read.c: an item of kind LANE_READ was answered by P, by F, or will not be. They end it. */
void lane_read_answered(struct lane *lane, struct lane_item *item, struct slice answer);
/* ITEM, a client's command that wrote nothing and has a read, was answered. Ends it as a command. */
void lane_read_shadow(struct lane *lane, struct lane_item *item, struct slice answer);
void lane_read_dropped(struct lane_item *item); /* it was not answered, and goes on as a command */
void lane_read_followed(struct lane_item *item, struct slice answer);
void lane_read_lost(struct lane_item *item);
/* Before the answered COPY goes to F: the read that is to stand behind it, or NULL. VALUE is NULL:
 * no such key. */
struct lane_item *lane_read_behind(struct lane *lane, const struct lane_item *copy,
                                   const struct lane_value *value);
void lane_read_follow_copy(struct lane *lane, struct lane_item *item);

#endif
