/* lanes_slots.c -- each lane with its slots. See lanes_slots.h. */
#include "gateway/lanes_slots.h"

#include "gateway/dual_inside.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#define RANGES_MAX 100u /* of dirty slots, of a lane; the rest is in dirty_slots only */

struct question {
    struct gateway *gw;
    void (*done)(void *self, struct slice text);
    void *self;
    struct buf text;
};

static bool is_dirty(const struct lane *l, unsigned slot) {
    return (l->keys.dirty_slots[slot / 64] & (UINT64_C(1) << (slot % 64))) != 0;
}

/* First and last slot of each run, as the lane counts: it has every lanes-th slot. */
static json_t *dirty_ranges(const struct lane *l) {
    json_t *ranges = json_array();
    for (unsigned slot = l->number; slot < LANE_SLOTS; slot += l->lanes) {
        if (!is_dirty(l, slot)) continue;
        unsigned first = slot;
        while (slot + l->lanes < LANE_SLOTS && is_dirty(l, slot + l->lanes)) slot += l->lanes;
        if (json_array_size(ranges) == RANGES_MAX) break;
        json_array_append_new(ranges, json_pack("[i,i]", (int)first, (int)slot));
    }
    return ranges;
}

static json_t *lane_json(const struct lane *l) {
    unsigned slots = (LANE_SLOTS - l->number + l->lanes - 1) / l->lanes;
    return json_pack(
        "{s:i,s:i,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "lane", (int)l->number,
        "slots", (int)slots, "primary_up", (int)l->primary_up, "follower_up", (int)l->follower_up,
        "unanswered", (json_int_t)l->flight.count, "queue_items", (json_int_t)l->tail.count,
        "queue_bytes", (json_int_t)l->tail.bytes + (json_int_t)l->sent.bytes, "unconfirmed",
        (json_int_t)l->sent.count, "buried", (json_int_t)l->primary_lost + (json_int_t)l->follower_lost,
        "dirty_keys", (json_int_t)l->keys.dirty_count, "pinned_keys",
        (json_int_t)l->keys.pinned_count, "failed_keys", (json_int_t)l->keys.failed_count,
        "dirty_slots", (json_int_t)l->keys.dirty_slot_count, "dirty_ranges", dirty_ranges(l));
}

static void on_back(void *self) {
    struct question *q = self;
    q->done(q->self, buf_slice(&q->text));
    buf_close(&q->text);
    mem_free(q);
}

/* In the loop of the lanes. */
static void on_asked(void *self) {
    struct question *q = self;
    const struct dual *d = q->gw->workers[0]->dual;
    json_t *list = json_array();
    for (unsigned i = 0; d != NULL && i < d->lanes.count; i++)
        json_array_append_new(list, lane_json(&d->lanes.lane[i]));
    json_t *object = json_pack("{s:i,s:o}", "slots", (int)LANE_SLOTS, "lanes", list);
    char *text = json_dumps(object, JSON_COMPACT);
    buf_append(&q->text, text, strlen(text));
    free(text);
    json_decref(object);
    if (loop_call(q->gw->main, on_back, q)) return;
    buf_close(&q->text);
    mem_free(q); /* the process ends */
}

void lanes_slots(struct gateway *gw, void (*done)(void *self, struct slice text), void *self) {
    struct question *q = NEW(struct question);
    *q = (struct question){.gw = gw, .done = done, .self = self};
    bool taken = loop_call(gw->workers[0]->loop, on_asked, q);
    ASSERT(taken); /* as worker_tell() */
}
