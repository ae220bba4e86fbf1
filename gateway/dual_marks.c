/* dual_marks.c -- dual write: F that was restarted, with the data that it had or with older ones
 * (C22a). See dual.h, lane_marks.h.
 *
 * Each lane's first connection to another process asks it for the lane's mark before anything is
 * sent there; the keys of what was sent behind that mark are dirty.
 */
#include "gateway/dual_inside.h"

#include "gateway/dispatch.h"

#include "lib/base/log.h"
#include "lib/base/rand.h"

#define REMOVE_MS_MAX 30000u /* a side that is not reached for so long keeps them */

void dual_marks_open(struct dual *d) {
    char name[96];
    uint64_t nonce = 0;
    rand_secret(&nonce, sizeof nonce);
    for (unsigned i = 0; i < d->lanes.count; i++) {
        (void)snprintf(name, sizeof name, "%.48s:%u", d->worker->gw->name, i);
        lane_marks_name(&d->lanes.lane[i].marks, name, nonce);
    }
    dual_know_follower(d);
}

/* Over a connection of no lane, since those are closed. */
static bool remove_at(struct dual *d, enum lane_side side) {
    struct backend *b = dispatch_shared(d->worker, dual_side(d, side), 2, 0);
    struct buf out = {0};
    if (b == NULL) return false; /* being dialled */
    backend_use_db(b, 0);
    for (unsigned i = 0; i < d->lanes.count; i++) {
        lane_marks_remove(&d->lanes.lane[i].marks, b->is_bundled, &out);
        (void)backend_expect(b, NULL, REQ_DROP, 1);
    }
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    return true;
}

/* At both sides: they may have changed roles. */
void dual_marks_remove(struct dual *d) {
    d->marks_left[LANE_P] = d->marks_left[LANE_F] = true;
    d->marks_until_ms = loop_now_ms(d->worker->loop) + REMOVE_MS_MAX;
}

void dual_marks_tick(struct dual *d) {
    bool late = loop_now_ms(d->worker->loop) > d->marks_until_ms;
    for (unsigned side = 0; side < 2; side++) {
        if (late || d->follow) d->marks_left[side] = false;
        if (d->marks_left[side] && remove_at(d, (enum lane_side)side)) d->marks_left[side] = false;
    }
}

/* The journal knows the servers by their connections, and not which lane has asked for its mark. So
 * until all have, what a process behind us would read there is that any key may be dirty. */
#define DOUBT UINT64_MAX /* as the id of an item; those count from 1 */

void dual_doubt_follower(struct dual *d) {
    d->table.entry_all(d->table.self, DOUBT);
}

static void look(struct dual *d) {
    for (unsigned i = 0; i < d->lanes.count; i++)
        if (strcmp(d->lane_run_id[i], d->run_id[LANE_F]) != 0) return;
    d->table.forget(d->table.self, DOUBT);
}

void dual_know_follower(struct dual *d) {
    for (unsigned i = 0; i < d->lanes.count; i++)
        memcpy(d->lane_run_id[i], d->run_id[LANE_F], sizeof d->lane_run_id[i]);
    look(d);
}

static void on_mark(struct req *req, struct backend *b, struct slice answer) {
    struct dual_line *line = b->line;
    (void)req;
    if (b->sm.state == BACKEND_GONE || line == NULL || line->side != LANE_F) return;
    struct dual *d = line->dual;
    size_t keys = lane_follower_restarted(&d->lanes.lane[line->lane], answer);
    lane_functions_mark(&d->lanes.functions);
    log_info("lanes.restarted", LOG_U("lane", line->lane), LOG_B("all", keys == SIZE_MAX),
             LOG_U("keys", keys == SIZE_MAX ? 0 : keys));
    memcpy(d->lane_run_id[line->lane], b->run_id, sizeof b->run_id);
    look(d);
    dual_line_up(b);
}

bool dual_knows_follower(struct backend *b) {
    struct dual_line *line = b->line;
    struct dual *d = line->dual;
    struct buf out = {0};
    if (strcmp(d->lane_run_id[line->lane], b->run_id) == 0) return true;
    if (d->worker->drop_side[b->side]) return false; /* it dials again */
    backend_use_db(b, 0);
    lane_marks_ask(&d->lanes.lane[line->lane].marks, b->is_bundled, &out);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    backend_expect(b, NULL, REQ_WHOLE, 1)->done = on_mark;
    return false;
}
