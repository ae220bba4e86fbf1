/* dual_audit.c -- an audit of one loop's lanes, with its connections. See dual_audit.h. */
#include "gateway/dual_audit.h"

#include "gateway/audit_board.h"
#include "gateway/dispatch.h"
#include "gateway/dual_inside.h"
#include "gateway/dual_witness.h"
#include "gateway/key_json.h"

#include "lib/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define SHOW_MS 50u

struct dual_audit {
    struct dual *dual;
    struct lane_audit audit;
    uint64_t order, shown_ms;
    bool told; /* its end is on the board */
    struct {   /* what the listing asks for, until there is a connection */
        bool wanted;
        enum lane_side side;
        int32_t db;
        struct buf request;
        uint32_t replies;
        uint64_t round;
    } ask;
};

/* ---- the listing ---- */

static void on_listed(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    if (d != NULL && d->audit != NULL) lane_audit_answered(&d->audit->audit, req->arg, reply);
}

static void ask(void *self, enum lane_side side, int32_t db, struct slice request, uint32_t replies,
                uint64_t round) {
    struct dual_audit *a = self;
    buf_clear(&a->ask.request);
    buf_add(&a->ask.request, request);
    a->ask.wanted = true;
    a->ask.side = side;
    a->ask.db = db;
    a->ask.replies = replies;
    a->ask.round = round;
}

static void send_ask(struct dual_audit *a) {
    struct worker *w = a->dual->worker;
    if (!a->ask.wanted) return;
    struct backend *b = dispatch_shared(w, dual_side(a->dual, a->ask.side), 2, 0);
    if (b == NULL) return; /* being dialled */
    a->ask.wanted = false;
    backend_use_db(b, a->ask.db);
    backend_write(b, buf_slice(&a->ask.request));
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, a->ask.replies);
    req->done = on_listed;
    req->arg = a->ask.round;
}

static const struct lane_audit_ops ops = {ask, lane_audit_digest};

/* ---- the board ---- */

static unsigned count_slots(const struct dual_audit *a) {
    unsigned slots = 0;
    for (unsigned i = 0; i < a->audit.count; i++) {
        const struct lane *l = &a->audit.lanes[i];
        for (unsigned slot = l->number; slot < LANE_SLOTS; slot += l->lanes)
            if (lane_keys_owns(&l->keys, slot)) slots++;
    }
    return slots;
}

static json_t *digest_json(const struct lane_seen *seen) {
    char text[DIGEST_TEXT_SIZE] = "";
    bool read = seen->digest.low != 0 || seen->digest.high != 0;
    if (seen->present && read) digest_write(seen->digest, text);
    return json_string(text);
}

/* A module's type has nine letters in its id (Redis's documentation of modules). */
static const char *type_name(const struct lane_difference *d, char text[10]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (d->module == 0) return value_type_name(d->type);
    for (unsigned i = 0; i < 9; i++)
        text[i] = letters[(d->module >> (LANE_MODULE_VERSION_BITS + 6 * (8 - i))) & 63];
    text[9] = '\0';
    return text;
}

static void add_named(json_t *sample, json_t *undecided, const struct lane_difference *d) {
    struct slice name = slice_from(d->name, d->name_bytes);
    char type[10];
    if (d->differs == LANE_UNDECIDED) {
        json_array_append_new(undecided, json_pack("{s:i,s:o,s:s}", "db", (int)d->db, "key",
                                                   key_json(name), "why", d->why));
        return;
    }
    json_array_append_new(
        sample, json_pack("{s:i,s:o,s:s,s:s,s:o,s:o,s:i}", "db", (int)d->db, "key", key_json(name),
                          "type", type_name(d, type), "kind", lane_differs_text(d->differs),
                          "source_digest", digest_json(&d->seen[LANE_P]), "target_digest",
                          digest_json(&d->seen[LANE_F]), "slot", (int)slot_cluster(name)));
}

static char *named_json(const struct lane_audit *a) {
    json_t *sample = json_array(), *undecided = json_array();
    for (size_t i = 0; i < a->named_count; i++) add_named(sample, undecided, a->named[i]);
    json_t *object = json_pack("{s:o,s:o}", "sample", sample, "undecided_keys", undecided);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static void show(struct dual_audit *a, const char *refused) {
    struct audit_board *board = a->dual->worker->audit_board;
    const struct lane_audit *audit = &a->audit;
    bool done = refused != NULL || !lane_audit_runs(audit);
    char *named = done && refused == NULL ? named_json(audit) : NULL;
    const char *error = refused != NULL ? refused : audit->error;
    pthread_mutex_lock(&board->lock);
    free(board->named);
    board->named = named;
    board->order = a->order;
    board->done = done;
    board->state = audit->state;
    board->figures = refused != NULL ? (struct lane_audit_figures){0} : audit->figures;
    board->started_ms = audit->started_ms;
    board->ended_ms = audit->ended_ms;
    board->slots = count_slots(a);
    (void)snprintf(board->error, sizeof board->error, "%s", error != NULL ? error : "");
    pthread_mutex_unlock(&board->lock);
    a->told = done;
    if (done)
        log_info("lanes.audited", LOG_U("keys", audit->figures.keys),
                 LOG_U("differences", audit->figures.differences),
                 LOG_U("undecided", audit->figures.undecided), LOG_S("error", error));
}

/* ---- the loop's ---- */

void dual_audit_turn(struct dual_audit *a) {
    if (a->told) return;
    a->audit.paused = a->dual->worker->held;
    a->audit.fences = dual_witness_fences(a->dual->witness);
    if (a->audit.late_count > 0) dual_witness_wish(a->dual->witness);
    a->audit.follower_version = dual_facts(a->dual->worker).follower_version;
    lane_audit_turn(&a->audit);
    send_ask(a);
    uint64_t now_ms = loop_now_ms(a->dual->worker->loop);
    if (lane_audit_runs(&a->audit) && now_ms - a->shown_ms < SHOW_MS) return;
    a->shown_ms = now_ms;
    show(a, NULL);
}

void dual_audit_wrote(struct dual_audit *a, const struct effect *effect) {
    lane_audit_wrote(&a->audit, effect);
}

void dual_audit_swapped(struct dual_audit *a) {
    lane_audit_stop(&a->audit, "the sides changed roles meanwhile");
}

void dual_audit_moved(struct dual_audit *a) {
    lane_audit_stop(&a->audit, "slots of the Cluster were moved meanwhile");
}

static void start(struct dual_audit *a, const struct tell_message *m) {
    struct lane_audit_rules rules = lane_audit_rules_default;
    if (m->audit.keys_per_s > 0) rules.keys_per_s = m->audit.keys_per_s;
    if (m->audit.bytes_per_s > 0) rules.bytes_per_s = m->audit.bytes_per_s;
    if (m->audit.whole_bytes > 0) rules.whole_bytes_max = m->audit.whole_bytes;
    rules.slack_ms = 2 * a->dual->lanes.lane[0].rules.clock_difference_ms;
    a->order = m->round;
    a->told = false;
    a->ask.wanted = false;
    const char *no = lane_audit_start(&a->audit, &rules);
    if (no != NULL) {
        show(a, no);
        return;
    }
    log_info("lanes.audit", LOG_U("keys_per_s", rules.keys_per_s));
    show(a, NULL);
}

static void repair(struct dual_audit *a) {
    struct audit_board *board = a->dual->worker->audit_board;
    bool full = false;
    uint64_t keys = lane_audit_repair(&a->audit, &full);
    pthread_mutex_lock(&board->lock);
    board->repairs++;
    board->repaired = keys;
    board->repair_full = full;
    pthread_mutex_unlock(&board->lock);
    log_info("lanes.repair", LOG_U("keys", keys), LOG_B("full", full));
}

static void show_no_lanes(struct worker *w, uint64_t order) {
    struct audit_board *board = w->audit_board;
    pthread_mutex_lock(&board->lock);
    board->order = order;
    board->done = true;
    (void)snprintf(board->error, sizeof board->error, "this gateway has no lanes yet");
    pthread_mutex_unlock(&board->lock);
}

void dual_audit_obey(struct worker *w, const struct tell_message *m) {
    if (w->dual == NULL) {
        show_no_lanes(w, m->round);
        return;
    }
    struct dual_audit *a = w->dual->audit;
    switch (m->audit.verb) {
    case AUDIT_START: start(a, m); break;
    case AUDIT_STOP: lane_audit_stop(&a->audit, "it was stopped"); break;
    case AUDIT_REPAIR: repair(a); break;
    default: UNREACHABLE("audit");
    }
}

struct dual_audit *dual_audit_open(struct dual *dual) {
    struct dual_audit *a = NEW(struct dual_audit);
    a->dual = dual;
    a->told = true;
    lane_audit_init(&a->audit, &ops, a, dual->lanes.lane, dual->lanes.count,
                    loop_clock(dual->worker->loop));
    return a;
}

void dual_audit_close(struct dual_audit *a) {
    if (a == NULL) return;
    lane_audit_close(&a->audit);
    buf_close(&a->ask.request);
    mem_free(a);
}

struct audit_board *audit_board_open(void) {
    struct audit_board *board = NEW(struct audit_board);
    pthread_mutex_init(&board->lock, NULL);
    return board;
}

void audit_board_close(struct audit_board *board) {
    if (board == NULL) return;
    pthread_mutex_destroy(&board->lock);
    free(board->named);
    mem_free(board);
}
