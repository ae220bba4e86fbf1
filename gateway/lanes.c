/* lanes.c -- all lanes of one loop. See lanes.h. */
#include "gateway/lanes.h"

#include "gateway/lane_burst.h"

static struct lanes *of(struct lane *lane) {
    return lane->self;
}

/* ---- what the lanes decide ---- */

static void to_primary(struct lane *l, struct lane_item *item, struct slice bytes, uint32_t replies,
                       int32_t db, int32_t db_after) {
    of(l)->ops->to_primary(of(l)->self, l->number, item, bytes, replies, db, db_after);
}

static void to_follower(struct lane *l, const struct lane_item *item) {
    of(l)->ops->to_follower(of(l)->self, l->number, item);
}

static void answered(struct lane *l, struct lane_item *item, struct slice answer) {
    of(l)->ops->answered(of(l)->self, item, answer);
}

static void nothing_there(struct lane *l, struct lane_item *item) {
    of(l)->ops->nothing_there(of(l)->self, item);
}

static void lost(struct lane *l, struct lane_item *item) {
    of(l)->ops->lost(of(l)->self, item);
    if (item->barrier) lane_barrier_unanswered(&of(l)->barrier);
}

static void wrote(struct lane *l, const struct effect *effect) {
    of(l)->ops->wrote(of(l)->self, effect);
}

static void mark_everything(struct lane *l) {
    lanes_mark_all(of(l));
}

/* C10a: the keys of other lanes; of all lanes when the command may write any key. */
static void for_others(struct lanes *lanes, unsigned home, const struct effect *effect,
                       void (*act)(struct lane *lane, const struct effect *effect)) {
    for (unsigned i = 0; i < lanes->count; i++)
        if (i != home || effect->keys_unknown) act(&lanes->lane[i], effect);
}

static void settled(struct lane *l, struct lane_item *item, const struct effect_outcome *outcome) {
    struct lanes *lanes = of(l);
    if (item->pins != NULL && lanes->over != NULL) lanes->over(lanes->self, item);
    if (item->barrier) {
        lane_barrier_settled(&lanes->barrier, item, outcome);
        return;
    }
    for_others(lanes, l->number, item->effect, lane_unpin);
    lane_item_free(item);
}

static void at_fence(struct lane *l, struct lane_item *fence) {
    (void)fence;
    lane_barrier_at_fence(&of(l)->barrier, l->number);
}

static void passed_fence(struct lane *l, struct lane_item *fence) {
    lane_barrier_passed(&of(l)->barrier, fence);
}

static void lost_fence(struct lane *l, struct lane_item *fence, bool sent) {
    lane_barrier_lost(&of(l)->barrier, l->number, fence, sent);
}

static const struct lane_ops ops = {to_primary, to_follower,  answered,  nothing_there,
                                    lost,       settled,      wrote,     mark_everything,
                                    at_fence,   passed_fence, lost_fence};

/* ---- what the owner asks for ---- */

void lanes_init(struct lanes *lanes, const struct lanes_ops *lanes_ops, void *self,
                const struct lane_journal *journal, const struct clock *clock,
                const struct lane_rules *rules, unsigned count) {
    *lanes = (struct lanes){.ops = lanes_ops, .self = self, .count = count};
    lanes->lane = NEW_ARRAY(struct lane, count);
    for (unsigned i = 0; i < count; i++)
        lane_init(&lanes->lane[i], &ops, lanes, journal, clock, rules, i, count);
    lane_functions_init(&lanes->functions, &lanes->lane[0]);
    lane_barrier_init(&lanes->barrier, lanes->lane, count, &lanes->functions);
    lane_scan_init(&lanes->scan, lanes->lane, count);
}

void lanes_close(struct lanes *lanes) {
    lane_barrier_close(&lanes->barrier);
    for (unsigned i = 0; i < lanes->count; i++) lane_close(&lanes->lane[i]);
    mem_free(lanes->lane);
}

unsigned lanes_home_of(unsigned count, const struct effect *effect, unsigned before) {
    for (size_t i = 0; i < effect->key_count; i++)
        if (effect->keys[i].use & EFFECT_WRITE) return lane_of(count, effect->keys[i].name);
    if (effect->key_count > 0) return lane_of(count, effect->keys[0].name);
    return before < count ? before : 0;
}

unsigned lanes_home(const struct lanes *lanes, const struct effect *effect,
                    const struct lanes_place *place) {
    return lanes_home_of(lanes->count, effect, place->lane);
}

/* Whether it touches keys that are not in the order of its lane, and writes. A command whose keys are
 * not known is nearly always refused, and then nobody's keys should have become dirty because of it.
 * If it was done, everything does when it is answered: so does whatever counted on what it wrote. */
static bool is_outside(const struct lanes *lanes, const struct effect *effect, unsigned home) {
    if (!effect->writes) return false;
    if (effect->keys_unknown) return effect->is_block;
    for (size_t i = 0; i < effect->key_count; i++)
        if (!lane_owns(&lanes->lane[home], effect->keys[i].name)) return true;
    return false;
}

bool lanes_stops(struct lanes *lanes, const struct effect *effect) {
    bool stops = false;
    for (unsigned i = 0; i < lanes->count; i++)
        if (lane_big_stops(&lanes->lane[i], effect)) stops = true;
    return stops;
}

enum lanes_take lanes_send(struct lanes *lanes, struct lanes_place *place, struct effect *effect,
                           void *client, struct lane_item **item) {
    unsigned home = effect->barrier ? 0 : lanes_home(lanes, effect, place);
    struct lane *lane = &lanes->lane[home];
    if (place->unanswered > 0 && (place->lane != home || effect->barrier)) return LANES_BUSY;
    if (!effect->barrier && !lane_may_send(lane)) return LANES_WAIT;
    if (lanes_stops(lanes, effect)) return LANES_WAIT;
    place->lane = home;
    place->unanswered++;
    *item = lane_item_new(effect, client);
    if (effect->barrier) {
        if (!effect->no_data) lane_scan_flushed(&lanes->scan);
        lane_barrier_begin(&lanes->barrier, *item);
        return LANES_SENT;
    }
    (*item)->outside = place->pinned || is_outside(lanes, effect, home);
    if ((*item)->outside) for_others(lanes, home, effect, lane_pin);
    lane_send(lane, *item);
    return LANES_SENT;
}

/* While a big key is being copied in pieces, all go the long way: it may be written (C14a). */
static bool has_big_copy(const struct lanes *lanes) {
    for (unsigned i = 0; i < lanes->count; i++)
        if (lanes->lane[i].big.key != NULL) return true;
    return false;
}

bool lanes_send_simple(struct lanes *lanes, struct lanes_place *place,
                       const struct effect_simple *simple, int32_t db, struct slice name,
                       struct slice raw, void *client) {
    unsigned home = lane_of(lanes->count, name);
    struct lane *lane = &lanes->lane[home];
    if (place->unanswered > 0 && place->lane != home) return false;
    if (raw.size > LANE_BURST_BYTES_MAX || !lane_may_send(lane)) return false;
    if (!lane_owns(lane, name) || has_big_copy(lanes)) return false;
    place->lane = home;
    place->unanswered++;
    lane_burst_add(lane, simple, db, name, raw, client);
    return true;
}

void lanes_pin(struct lanes *lanes, const struct effect *effect) {
    if (effect->barrier) lane_functions_mark(&lanes->functions);
    for (unsigned i = 0; i < lanes->count; i++) lane_pin(&lanes->lane[i], effect);
}

void lanes_unpin(struct lanes *lanes, const struct effect *effect) {
    if (effect->barrier) lane_functions_mark(&lanes->functions);
    for (unsigned i = 0; i < lanes->count; i++) lane_unpin(&lanes->lane[i], effect);
}

/* They have not left, and may not: their order is that of the owner of slot 0 (C10, C19). */
static void drop_barriers(struct lanes *lanes) {
    for (struct lane_item *item; (item = lane_barrier_take_back(&lanes->barrier)) != NULL;) {
        lanes->ops->lost(lanes->self, item);
        if (item->pins != NULL && lanes->over != NULL) lanes->over(lanes->self, item);
        lane_item_free(item);
    }
}

/* KNOWN: of those it is known which keys are dirty, or will be marked next. */
static void own(struct lanes *lanes, const uint64_t owned[LANE_SLOTS / 64], bool shared,
                const uint64_t known[LANE_SLOTS / 64], bool functions_known) {
    bool first = lanes->lane[0].keys.owned == NULL;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        struct lane *l = &lanes->lane[slot % lanes->count];
        uint64_t bit = UINT64_C(1) << (slot % 64);
        bool had = !first && (lanes->owned[slot / 64] & bit) != 0, has = owned[slot / 64] & bit;
        if (!has || had) continue;
        if ((known[slot / 64] & bit) == 0) lane_keys_mark_slot(&l->keys, slot);
        if (!functions_known && slot == 0) lane_functions_mark(&lanes->functions);
    }
    memcpy(lanes->owned, owned, sizeof lanes->owned);
    bool all = true;
    for (unsigned i = 0; i < LANE_SLOTS / 64; i++) all = all && owned[i] == UINT64_MAX;
    for (unsigned i = 0; i < lanes->count; i++) {
        lanes->lane[i].keys.owned = lanes->owned;
        lanes->lane[i].keys.owns_all = all;
        lane_disown(&lanes->lane[i]);
    }
    lanes->barrier.shared = shared;
    if (!lane_keys_owns(&lanes->lane[0].keys, 0)) drop_barriers(lanes);
    lane_scan_restart(&lanes->scan);
}

void lanes_own(struct lanes *lanes, const uint64_t owned[LANE_SLOTS / 64], bool shared,
               bool trusted) {
    static const uint64_t none[LANE_SLOTS / 64];
    own(lanes, owned, shared, trusted ? owned : none, trusted);
}

void lanes_own_carried(struct lanes *lanes, const uint64_t owned[LANE_SLOTS / 64],
                       const uint64_t carried[LANE_SLOTS / 64]) {
    own(lanes, owned, true, carried, false);
}

void lanes_rest(struct lanes *lanes, bool rest) {
    for (unsigned i = 0; i < lanes->count; i++) {
        if (rest) {
            lane_stop(&lanes->lane[i]);
            lane_shed(&lanes->lane[i]);
        } else if (lane_barrier_is_idle(&lanes->barrier)) {
            lane_go(&lanes->lane[i]);
        }
    }
}

bool lanes_are_at_rest(const struct lanes *lanes) {
    if (!lane_barrier_is_idle(&lanes->barrier) || lanes->barrier.at_f != LANE_FENCE_IDLE)
        return false;
    for (unsigned i = 0; i < lanes->count; i++)
        if (!lane_is_quiet(&lanes->lane[i]) || !lane_follower_is_drained(&lanes->lane[i]))
            return false;
    return true;
}

void lanes_mark_all(struct lanes *lanes) {
    lane_functions_mark(&lanes->functions);
    for (unsigned i = 0; i < lanes->count; i++) lane_mark_all(&lanes->lane[i]);
}

void lanes_turn(struct lanes *lanes) {
    enum lane_side side;
    lane_barrier_turn(&lanes->barrier);
    lane_functions_turn(&lanes->functions);
    if (lane_scan_turn(&lanes->scan, &side))
        lanes->ops->scan(lanes->self, side, lanes->scan.db, lanes->scan.cursor, lanes->scan.round);
    for (unsigned i = 0; i < lanes->count; i++) lane_tick(&lanes->lane[i]);
}

bool lanes_are_quiet(const struct lanes *lanes) {
    if (!lane_barrier_is_idle(&lanes->barrier)) return false;
    for (unsigned i = 0; i < lanes->count; i++)
        if (!lane_is_quiet(&lanes->lane[i])) return false;
    return true;
}

bool lanes_are_level(const struct lanes *lanes) {
    if (lanes->barrier.at_f != LANE_FENCE_IDLE || lanes->scan.state != LANE_SCAN_IDLE) return false;
    if (!lane_functions_are_clean(&lanes->functions) && lane_keys_owns(&lanes->lane[0].keys, 0))
        return false;
    for (unsigned i = 0; i < lanes->count; i++)
        if (!lane_is_level(&lanes->lane[i])) return false;
    return true;
}
