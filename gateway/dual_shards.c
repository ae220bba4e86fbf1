/* dual_shards.c -- dual write with a side that is a Cluster: slots that change their owner, and
 * listings that keys may have slipped through (C15, C22a, C22b). See dual.h, shards/shards.h. */
#include "gateway/dual_inside.h"

#include "gateway/dual_audit.h"

#include "gateway/shards/shards.h"

#include "lib/base/log.h"

static unsigned mark_slots(struct dual *d, const uint64_t slots[SHARDS_SLOTS / 64]) {
    unsigned count = 0;
    for (unsigned slot = 0; slot < SHARDS_SLOTS; slot++) {
        struct lane *lane = &d->lanes.lane[slot % d->lanes.count];
        if ((slots[slot / 64] >> (slot % 64) & 1) == 0 || !lane_keys_owns(&lane->keys, slot))
            continue;
        lane_keys_mark_slot(&lane->keys, slot);
        count++;
    }
    return count;
}

/* Keys that were moved have other deadlines by a few milliseconds, and what a failed node had
 * confirmed may be lost: of these slots nothing is known. After a loss, answers of the old owner may
 * still be on their way: no copy that was asked for makes its key clean (C13a). */
static void on_changed(void *self, enum side side, const uint64_t slots[SHARDS_SLOTS / 64],
                       bool lost) {
    struct dual *d = self;
    unsigned count = mark_slots(d, slots);
    log_info("lanes.slots_changed", LOG_S("side", gateway_side_name(side)), LOG_U("slots", count),
             LOG_B("lost", lost));
    dual_audit_moved(d->audit);
    if (!lost) return;
    lane_functions_mark(&d->lanes.functions);
    lane_scan_restart(&d->lanes.scan);
    for (unsigned i = 0; i < d->lanes.count; i++) lane_keys_renew(&d->lanes.lane[i].keys);
}

void dual_shards_watch(struct dual *d) {
    for (unsigned side = 0; side < SIDES; side++)
        if (d->worker->shards[side] != NULL) shards_watch(d->worker->shards[side], on_changed, d);
}

void dual_shards_uncarry(struct dual *d, uint64_t carried[LANE_SLOTS / 64]) {
    for (unsigned side = 0; side < SIDES; side++)
        if (d->worker->shards[side] != NULL) shards_drop_recent(d->worker->shards[side], carried);
}

void dual_shards_open(struct worker *w, enum side side) {
    if (w->shards[side] == NULL) w->shards[side] = shards_open(w, side);
    if (w->dual != NULL) dual_shards_watch(w->dual);
}

/* ---- connections (C21) ---- */

void dual_note_branch(struct backend *b, struct shards_end *end) {
    struct dual *d = b->worker->dual;
    if (d == NULL || *end->journaled) return;
    d->table.opened(d->table.self, dual_lane_side(d, b->side), end->server_id, end->run_id);
    *end->journaled = true;
}

void dual_branch_gone(struct backend *b, const struct shards_end *end) {
    struct dual *d = b->worker->dual;
    if (d == NULL)
        far_connection_gone(b->worker, b->side, end->server_id, end->run_id);
    else
        d->table.gone(d->table.self, dual_lane_side(d, b->side), end->server_id, end->run_id);
}

/* ---- listings ---- */

bool dual_shards_may_list(struct dual *d) {
    struct shards *s = d->worker->shards[dual_side(d, d->scan.side)];
    if (s == NULL || d->scan.db != 0 || d->scan.cursor != 0) return true;
    if (d->look.round != d->scan.round) {
        d->look.round = d->scan.round;
        d->look.stamp = shards_stamp(s);
        d->look.ticket = shards_look(s);
    }
    return shards_looked(s, d->look.ticket);
}

static bool is_last(struct slice page) {
    return slice_starts(page, SLICE("*2\r\n$1\r\n0\r\n"));
}

bool dual_shards_keep(struct dual *d, uint64_t round, struct slice page) {
    struct shards *s = d->worker->shards[dual_side(d, d->scan.side)];
    if (s == NULL || !is_last(page)) return false;
    buf_clear(&d->look.page);
    buf_add(&d->look.page, page);
    d->look.page_round = round;
    d->look.side = d->scan.side;
    d->look.ticket = shards_look(s);
    return true;
}

bool dual_shards_kept(struct dual *d, uint64_t *round, struct buf *page) {
    uint64_t slots[SHARDS_SLOTS / 64];
    if (buf_size(&d->look.page) == 0) return false;
    struct shards *s = d->worker->shards[dual_side(d, d->look.side)];
    if (s != NULL && !shards_looked(s, d->look.ticket)) return false;
    *page = d->look.page;
    d->look.page = (struct buf){0};
    *round = d->look.page_round;
    if (s != NULL && shards_restless(s, d->look.stamp, slots)) {
        unsigned count = mark_slots(d, slots);
        log_info("lanes.restless", LOG_U("slots", count));
    }
    return true;
}
