/* lane_world_file.c -- an RDB file of P, made at some moment after it was asked for, and its items,
 * one now and then (C15). With the rule off copies leave while the file is waited for and read, so
 * that what was copied meanwhile is forgotten. See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include "gateway/lane_copy.h"

#include <stdio.h>

/* As the file has it: with what has expired and was not deleted yet. */
static struct slice payload_of(struct world *w, int db, char key, struct buf *answer) {
    struct mini at_rest = {.state = w->file.state, .world_ms = &w->world_ms, .skew_ms = -w->world_ms};
    struct mini_conn conn = {.db = db};
    struct slice argv[] = {SLICE("DUMP"), slice_from(&key, 1)};
    struct buf request = {0};
    struct resp_token t = {0};
    size_t used = 0;
    struct why why;
    resp_write_command(&request, 2, argv);
    mini_serve(&at_rest, &conn, buf_slice(&request), answer);
    buf_close(&request);
    mini_conn_close(&conn);
    enum step step = resp_next(&resp_limits_server, buf_slice(answer), &t, &used, &why);
    ASSERT(step == STEP_DONE && t.kind == RESP_BULK);
    return t.text;
}

static bool give(struct world *w, int at) {
    int db = at / MINI_KEYS;
    char key = (char)('a' + at % MINI_KEYS);
    const struct mini_value *v = &w->file.state.at[db][at % MINI_KEYS];
    struct buf answer = {0};
    if (v->type == MINI_NONE) return true;
    struct lane_value value = {payload_of(w, db, key, &answer), v->expire_ms < 0 ? 0 : v->expire_ms};
    TALK("the file has %c in %d\n", key, db);
    bool wanted = lane_scan_item(&w->lanes.scan, w->file.round, db, slice_from(&key, 1), at % 5 == 4 ? NULL : &value);
    buf_close(&answer);
    return wanted;
}

static void read_on(struct world *w) {
    struct lane_scan *scan = &w->lanes.scan;
    if (!lane_scan_may_take(scan, w->file.round)) return;
    if (!give(w, w->file.at++)) {
        w->file.reading = w->file.taken = false;
    } else if (w->file.at == MINI_DBS * MINI_KEYS) {
        w->file.reading = false;
        lane_scan_file_ended(scan, w->file.round, rng_below(&w->rng, 4) > 0);
    }
}

void world_file(struct world *w) {
    struct lane_scan *scan = &w->lanes.scan;
    if (!w->by_file) return;
    for (unsigned i = 0; i < w->lane_count && w->off[OFF_FILE] && scan->state >= LANE_SCAN_WAITING; i++) w->lanes.lane[i].holding = false;
    if (w->file.reading) {
        read_on(w);
    } else if (lane_scan_wants_file(scan) && rng_below(&w->rng, 2)) {
        if (!w->file.taken || w->file.waits != scan->waits) {
            TALK("P makes a file\n");
            w->file.state = w->server[LANE_P].state;
            w->file.waits = scan->waits;
            w->file.taken = true;
        } else {
            w->file.round = lane_scan_file_begins(scan);
            w->file.at = 0;
            w->file.reading = true;
            w->figures[7]++;
        }
    }
}
