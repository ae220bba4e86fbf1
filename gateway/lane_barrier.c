/* lane_barrier.c -- commands for which everything else waits. See lane_barrier.h. */
#include "gateway/lane_barrier.h"

#include "gateway/lane_inside.h"

#define HOME 0u /* the lane that carries the request */

void lane_barrier_init(struct lane_barrier *b, struct lane *lanes, unsigned count,
                       struct lane_functions *functions) {
    *b = (struct lane_barrier){.lanes = lanes, .count = count, .functions = functions};
}

void lane_barrier_close(struct lane_barrier *b) {
    for (struct lane_item *item = lane_queue_pop(&b->waiting); item != NULL;
         item = lane_queue_pop(&b->waiting))
        lane_item_free(item);
}

/* NO_DATA: only scripts and functions may differ. */
static void mark_all(struct lane_barrier *b, bool no_data) {
    lane_functions_mark(b->functions);
    if (no_data) return;
    for (unsigned i = 0; i < b->count; i++) lane_mark_all(&b->lanes[i]);
}

/* ---- at P ---- */

void lane_barrier_begin(struct lane_barrier *b, struct lane_item *item) {
    item->barrier = true;
    lane_queue_push(&b->waiting, item);
    if (b->at_p == LANE_BARRIER_IDLE) {
        b->at_p = LANE_BARRIER_STOPPING;
        for (unsigned i = 0; i < b->count; i++) lane_stop(&b->lanes[i]);
    }
}

static bool all_quiet(const struct lane_barrier *b) {
    for (unsigned i = 0; i < b->count; i++)
        if (b->lanes[i].flight.count > 0) return false;
    return true;
}

static void go_on(struct lane_barrier *b) {
    if (b->waiting.count > 0) {
        b->at_p = LANE_BARRIER_STOPPING; /* the next one, while all stand still */
        return;
    }
    b->at_p = LANE_BARRIER_IDLE;
    for (unsigned i = 0; i < b->count; i++) lane_go(&b->lanes[i]);
}

struct lane_item *lane_barrier_take_back(struct lane_barrier *b) {
    struct lane_item *item = lane_queue_pop(&b->waiting);
    if (item != NULL && b->at_p == LANE_BARRIER_STOPPING && b->waiting.count == 0) go_on(b);
    return item;
}

/* ---- at F ---- */

static bool may_fence(const struct lane_barrier *b, const struct effect_outcome *outcome) {
    if (b->at_f != LANE_FENCE_IDLE || outcome->item_count != 1) return false;
    const struct effect_item *did = &outcome->items[0];
    if (did->kind != EFFECT_REQUEST || did->scope == EFFECT_SCOPE_KEYS ||
        did->scope == EFFECT_SCOPE_SWAP || (b->shared && did->scope != EFFECT_SCOPE_SCRIPTS))
        return false;
    for (unsigned i = 0; i < b->count; i++)
        if (!b->lanes[i].follower_up) return false;
    return true;
}

static void put_fences(struct lane_barrier *b, const struct effect_outcome *outcome) {
    b->at_f = LANE_FENCE_FENCING;
    b->reached = 0;
    b->broken = false;
    b->no_data = outcome->items[0].scope == EFFECT_SCOPE_SCRIPTS;
    b->closed = b->count == 64 ? UINT64_MAX : (UINT64_C(1) << b->count) - 1;
    b->fenced++;
    for (unsigned i = 0; i < b->count; i++) {
        struct lane_item *fence = NEW(struct lane_item);
        fence->kind = LANE_FENCE;
        fence->harmless = b->no_data;
        fence->db = fence->db_after = outcome->items[0].db;
        if (i == HOME) {
            buf_add(&fence->bytes, effect_item_request(outcome, &outcome->items[0]));
            fence->replies = 1;
        }
        bool up = lane_fence(&b->lanes[i], fence);
        ASSERT(up);
    }
}

void lane_barrier_settled(struct lane_barrier *b, struct lane_item *item,
                          const struct effect_outcome *outcome) {
    if (outcome == NULL) { /* it may have been done until now; what could still do it is gone */
        mark_all(b, item->effect->no_data);
        lane_item_free(item);
        return;
    }
    ASSERT(b->at_p == LANE_BARRIER_ASKED);
    b->done++;
    if (outcome->item_count > 0) {
        if (may_fence(b, outcome)) {
            put_fences(b, outcome);
        } else {
            b->marked++;
            mark_all(b, item->effect->no_data);
        }
    }
    lane_item_free(item);
    go_on(b);
}

/* Everything is dirty already, and stays so until its connection is known to be gone. */
void lane_barrier_unanswered(struct lane_barrier *b) {
    ASSERT(b->at_p == LANE_BARRIER_ASKED);
    lane_functions_mark(b->functions);
    go_on(b);
}

void lane_barrier_at_fence(struct lane_barrier *b, unsigned lane) {
    b->reached |= UINT64_C(1) << lane;
}

void lane_barrier_passed(struct lane_barrier *b, struct lane_item *fence) {
    if (fence->spoiled) mark_all(b, fence->harmless); /* F refused it */
    lane_item_free(fence);
    ASSERT(b->at_f == LANE_FENCE_PASSING);
    b->closed &= ~(UINT64_C(1) << HOME);
    b->at_f = LANE_FENCE_FENCING;
    b->broken = true; /* the others are let through */
}

void lane_barrier_lost(struct lane_barrier *b, unsigned lane, struct lane_item *fence, bool sent) {
    bool no_data = fence->harmless;
    lane_item_free(fence);
    b->closed &= ~(UINT64_C(1) << lane);
    b->reached &= ~(UINT64_C(1) << lane);
    mark_all(b, no_data);
    b->broken = true;
    if (sent) b->at_f = LANE_FENCE_BURIED;
    if (!sent && lane == HOME && b->at_f == LANE_FENCE_PASSING) b->at_f = LANE_FENCE_FENCING;
}

/* Let through each fence that was reached; at the home lane without its request. */
static void let_through(struct lane_barrier *b) {
    for (unsigned i = 0; i < b->count; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((b->closed & b->reached & bit) == 0) continue;
        b->closed &= ~bit;
        b->lanes[i].tail.head->replies = 0;
        lane_fence_pass(&b->lanes[i]);
    }
    if (b->closed == 0) b->at_f = LANE_FENCE_IDLE;
}

static void turn_at_f(struct lane_barrier *b) {
    if (b->at_f == LANE_FENCE_BURIED && b->lanes[HOME].follower_lost == 0) {
        mark_all(b, b->no_data); /* it may have emptied F until now */
        b->at_f = LANE_FENCE_FENCING;
        b->broken = true;
    }
    if (b->at_f != LANE_FENCE_FENCING) return;
    if (b->broken) {
        let_through(b);
    } else if (b->reached == b->closed) {
        b->at_f = LANE_FENCE_PASSING;
        lane_fence_pass(&b->lanes[HOME]);
    }
}

void lane_barrier_turn(struct lane_barrier *b) {
    turn_at_f(b);
    if (b->at_p != LANE_BARRIER_STOPPING || !all_quiet(b) || !b->lanes[HOME].primary_up) return;
    b->at_p = LANE_BARRIER_ASKED;
    lane_send(&b->lanes[HOME], lane_queue_pop(&b->waiting));
}
