/* dual_roles.c -- dual write under state's orders: whether the other side is followed, whether the
 * lanes are drained, and the two sides changing roles at a barrier (C23). See dual.h. */
#include "gateway/dual_inside.h"

#include "gateway/client.h"
#include "gateway/dual_audit.h"
#include "gateway/dual_witness.h"
#include "gateway/peers.h"

#include "lib/base/log.h"

bool worker_take_role(struct worker *w, bool lanes, enum side side) {
    struct why why;
    if (w->routed && lanes != w->lanes) dual_recapture(w, lanes);
    if (w->dual != NULL && !lanes) dual_retire(w->dual);
    if (w->dual != NULL && w->routed && side != w->side) dual_swap(w->dual);
    w->lanes = lanes;
    if (w->dual != NULL || !lanes || w->number > 0) return true;
    w->side = side; /* the journal's connections are told apart by it */
    if (dual_open(&w->dual, w, &why) == OK) {
        const struct slot_table *table = atomic_load(&w->gw->slots);
        if (table != NULL) dual_take_table(w->dual, table);
        return true;
    }
    struct report_message message = {.report = REPORT_FAILED, .worker = w->number};
    (void)snprintf(message.why, sizeof message.why, "%.150s", why.text);
    gateway_tell(w->gw, &message);
    return false;
}

void dual_follow(struct dual *d, bool follow) {
    if (d->follow == follow) return;
    d->follow = follow;
    log_info("lanes.follow", LOG_B("follow", follow));
    if (follow) return;
    for (unsigned i = 0; i < d->lanes.count; i++)
        if (d->line[LANE_F][i].backend != NULL) backend_abort(d->line[LANE_F][i].backend);
    dual_marks_remove(d);
    /* Whoever follows later may be another, or be emptied meanwhile. */
    lane_scan_restart(&d->lanes.scan);
    lanes_mark_all(&d->lanes);
}

/* Copies are reads of ours: for them a hold does not wait. */
bool dual_owes_clients(const struct backend *b) {
    const struct lane *lane = &b->line->dual->lanes.lane[b->line->lane];
    return lane->flight.count > lane->copies;
}

bool dual_stands_still(const struct dual *d) {
    return !lane_barrier_is_idle(&d->lanes.barrier);
}

bool dual_is_drained(const struct dual *d) {
    return lanes_are_level(&d->lanes) && lanes_are_quiet(&d->lanes) &&
           dual_witness_may_turn(d->witness);
}

bool dual_may_be_released(const struct dual *d) {
    return dual_is_drained(d) && peers_are_fenced(d->peers);
}

void dual_drain(struct dual *d) {
    peers_fence(d->peers);
    dual_witness_freeze(d->witness, false);
    dual_witness_owe(d->witness);
}

void dual_drained(struct dual *d) {
    dual_witness_freeze(d->witness, true);
}

void dual_released(struct dual *d) {
    dual_witness_freeze(d->witness, false);
    dual_witness_released(d->witness);
    dual_rest_over(d);
}

/* Slots that are dirty wait for a pass, which the next process makes. */
bool dual_has_settled(const struct dual *d) {
    if (!lanes_are_quiet(&d->lanes) || !dual_witness_has_settled(d->witness)) return false;
    for (unsigned i = 0; i < d->lanes.count; i++) {
        const struct lane *l = &d->lanes.lane[i];
        if (!l->follower_up) continue;
        if (l->keys.dirty_count > 0 || !lane_follower_is_drained(l)) return false;
    }
    return true;
}

#define NEARLY_KEYS 64u /* of a lane: they are copied at once */
#define NEARLY_ITEMS 256u

bool dual_is_nearly_drained(const struct dual *d) {
    for (unsigned i = 0; i < d->lanes.count; i++) {
        const struct lane *l = &d->lanes.lane[i];
        if (l->keys.dirty_count > NEARLY_KEYS || l->tail.count > NEARLY_ITEMS) return false;
    }
    return true;
}

/* ---- the sides change roles ---- */

static void drop_lines(struct dual *d, bool all) {
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < d->lanes.count; i++) {
            struct backend *b = d->line[side][i].backend;
            if (b != NULL && (all || !backend_is_ready(b) || b->shards != NULL)) backend_abort(b);
        }
}

static void swap_line(struct dual *d, unsigned lane) {
    struct dual_line *p = &d->line[LANE_P][lane], *f = &d->line[LANE_F][lane];
    struct backend *old = p->backend;
    bool up = p->up;
    p->backend = f->backend;
    p->up = f->up;
    f->backend = old;
    f->up = up;
    if (p->backend != NULL) p->backend->line = p;
    if (f->backend != NULL) f->backend->line = f;
}

static void swap_run_ids(struct dual *d) {
    char run_id[sizeof d->run_id[0]];
    memcpy(run_id, d->run_id[LANE_P], sizeof run_id);
    memcpy(d->run_id[LANE_P], d->run_id[LANE_F], sizeof run_id);
    memcpy(d->run_id[LANE_F], run_id, sizeof run_id);
}

/* When the lanes are drained every key is clean, and stays so: only the direction is another. When
 * they are not (a release by hand, say) nothing is known about any key, what was under way to either side
 * is lost, and nothing is written to the other side before state says so. */
void dual_swap(struct dual *d) {
    bool drained = dual_is_drained(d);
    enum side next = dual_side(d, LANE_F);
    log_info("lanes.swapped", LOG_S("primary", gateway_side_name(next)), LOG_B("drained", drained));
    dual_audit_swapped(d->audit);
    drop_lines(d, !drained);
    lane_scan_restart(&d->lanes.scan);
    dual_baseline_swapped(d);
    d->scan.wanted = false;
    int32_t databases = d->lanes.scan.databases[LANE_P];
    d->lanes.scan.databases[LANE_P] = d->lanes.scan.databases[LANE_F];
    d->lanes.scan.databases[LANE_F] = databases;
    for (unsigned i = 0; i < d->lanes.count; i++) {
        lane_swap(&d->lanes.lane[i], dual_version(d->worker->version[next]));
        swap_line(d, i);
    }
    swap_run_ids(d);
    dual_know_follower(d);
    d->databases = 0; /* of the other server nobody knows yet */
    for (unsigned i = 0; i < 2; i++)
        atomic_store(&d->worker->gw->lane_versions[i],
                     dual_version(d->worker->version[dual_side(d, (enum lane_side)(1 - i))]));
    for (size_t i = 0; i < d->recovered.count; i++) {
        struct lanes_buried *buried = &d->recovered.buried[i];
        buried->side = buried->side == LANE_P ? LANE_F : LANE_P;
    }
    dual_others_reset(d);
    dual_witness_swapped(d->witness, next);
    if (drained) return;
    lanes_mark_all(&d->lanes);
    d->follow = false; /* who did this may want to look at the other side first: LANES OPEN goes on */
}
