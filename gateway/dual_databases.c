/* dual_databases.c -- dual write: databases that the primary side does not have. See dual.h.
 *
 * Everything that a lane sends needs its database selected, and a SELECT that is refused ends the
 * connection: what follows would run elsewhere. Clients' commands come from databases that exist
 * (local.c asks first). But MOVE and COPY name another one, which is dirty when the command runs
 * outside its lane, and then wants a copy, whether it exists or not. So the SELECT before such a
 * copy may fail: then P has no such database and no such key, and the lane is told that. */
#include "gateway/dual_inside.h"

#include "gateway/lane_copy.h"

static bool is_verified(const struct dual *d, int32_t db) {
    const struct worker *w = d->worker;
    return db < 1024 &&
           (w->verified_dbs[dual_side(d, LANE_P)][db / 64] & (UINT64_C(1) << (db % 64))) != 0;
}

static bool is_missing(const struct dual *d, int32_t db) {
    return d->databases > 0 && db >= d->databases;
}

static void on_select(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    int32_t db = (int32_t)req->arg;
    if (b->sm.state == BACKEND_GONE || d == NULL) return;
    if (slice_starts(reply, SLICE("+OK"))) {
        if (db < 1024)
            b->worker->verified_dbs[b->side][db / 64] |= UINT64_C(1) << (db % 64);
    } else if (slice_starts(reply, SLICE("-ERR DB index is out of range"))) {
        if (d->databases == 0 || db < d->databases) d->databases = db;
    } else {
        backend_abort(b); /* not allowed, or it loads its data: what follows may have run elsewhere */
    }
}

bool dual_select_for_copy(struct dual *d, struct backend *b, int32_t db) {
    if (b->db == db) return true;
    if (is_verified(d, db)) {
        backend_use_db(b, db);
        return true;
    }
    if (is_missing(d, db)) return false; /* what is read there instead is not looked at */
    char text[16];
    struct buf out = {0};
    (void)snprintf(text, sizeof text, "%d", db);
    resp_write_words(&out, "SELECT", text, NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_select;
    req->arg = (uint64_t)db;
    b->db = -1; /* until somebody says it anew */
    return false;
}

struct slice dual_copy_answer(const struct dual *d, const struct lane *lane, struct slice reply) {
    const struct lane_item *item = lane->flight.head;
    if (item == NULL || !is_missing(d, item->db)) return reply;
    if (item->kind == LANE_MEASURE) return SLICE("$-1\r\n");
    if (item->kind != LANE_COPY) return reply;
    return lane_copy_absent(lane->primary_version);
}

bool dual_is_at_neither(const struct dual *d, const struct lane_item *item) {
    return item->kind == LANE_COPY && is_missing(d, item->db) &&
           item->db >= d->lanes.scan.databases[LANE_F];
}
