/* peers_in.c -- other gateways: what they ask of our lanes, and pin here. See peers.h. */
#include "gateway/peers_inside.h"

#include "gateway/blocked.h"

#include "lib/base/log.h"

#include <stdio.h>

/* ---- answers ---- */

static void write_answer(struct visitor *v, char verb, uint64_t id, const struct buf *answer) {
    struct buf out = {0};
    char text[2] = {verb, '\0'};
    peers_begin(&out, text, answer != NULL ? 2 : 1);
    peers_number(&out, id);
    if (answer != NULL) resp_write_bulk(&out, buf_slice(answer));
    stream_write_buf(v->stream, &out);
    buf_close(&out);
}

void peers_answer(struct peers *p, struct ask *ask) {
    (void)p;
    if (ask->visitor != NULL)
        write_answer(ask->visitor, ask->end == ASK_LOST ? 'L' : 'A', ask->far_id,
                     ask->end == ASK_LOST ? NULL : &ask->answer);
    list_remove(&ask->visit);
    ask_free(ask);
}

static void moved(struct ask *ask, uint64_t version) {
    struct buf out = {0};
    peers_begin(&out, "M", 2);
    peers_number(&out, ask->far_id);
    peers_number(&out, version);
    if (ask->visitor != NULL) stream_write(ask->visitor->stream, buf_slice(&out));
    buf_close(&out);
    list_remove(&ask->visit);
    ask_free(ask);
}

void peers_moved(struct peers *p, struct ask *ask) {
    moved(ask, peers_table(p)->version);
}

/* By the next table, which the visitor does not have before its lanes have ended, too. */
void peers_waits_elsewhere(struct peers *p, struct ask *ask) {
    const struct slot_table *table = peers_table(p);
    moved(ask, table != NULL ? table->version + 1 : 1);
}

/* ---- DO ---- */

/* One request, or COUNT of them that are a block. NULL: they are not what they should be. */
static struct effect *read_effect(struct visitor *v, struct ask *ask, struct slice raw) {
    struct worker *w = v->peers->dual->worker;
    struct effect_facts facts = dual_facts(w);
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    struct effect *effect = NULL;
    if (ask->block_count > 0) return dual_block_effect(w, ask->db, raw, ask->block_count);
    enum step step = resp_request_next(&r, &resp_request_limits_open, raw, &used, &why);
    if (step == STEP_DONE && r.argc > 0 && used == raw.size) {
        const struct command *command = command_lookup(r.argc, r.argv);
        effect = effect_new(&facts, ask->db, command, r.argc, r.argv);
        if (effect->blocking) {
            uint64_t timeout_us = blocked_timeout_us(command, &r);
            ask->deadline_us = timeout_us ? w->now_us + timeout_us : 0;
            buf_add(&ask->request, raw);
        }
    }
    resp_request_close(&r);
    return effect;
}

static bool on_do(struct visitor *v, size_t argc, const struct slice *argv) {
    uint64_t n[7];
    if (argc != 9) return false;
    for (size_t i = 0; i < 7; i++)
        if (!peers_read_number(argv[1 + i], &n[i])) return false;
    struct dual *d = v->peers->dual;
    bool fine = n[2] < d->lanes.count && n[3] <= INT32_MAX && (n[4] == 2 || n[4] == 3) &&
                n[5] <= UINT32_MAX;
    if (!fine) return false;
    struct ask *ask = ask_new(d->worker, ASK_DO);
    ask->from_peer = true;
    ask->far_id = n[0];
    ask->version = n[1];
    ask->lane = (unsigned)n[2];
    ask->db = (int32_t)n[3];
    ask->proto = (uint8_t)n[4];
    ask->block_count = (uint32_t)n[5];
    ask->epoch = n[6];
    ask->effect = read_effect(v, ask, argv[8]);
    if (ask->effect == NULL) {
        ask_free(ask);
        return false;
    }
    ask->lane = lanes_home_of(d->lanes.count, ask->effect, ask->lane);
    ask->visitor = v;
    list_push(&v->asks, &ask->visit);
    dual_ask(d, ask);
    return true;
}

static bool on_cancel(struct visitor *v, uint64_t id) {
    LIST_EACH(&v->asks, at) {
        struct ask *ask = LIST_OWNER(at, struct ask, visit);
        if (ask->far_id != id) continue;
        if (ask->wait != NULL) dual_wait_cancel(v->peers->dual, ask->wait);
        return true;
    }
    return true;
}

static bool on_unblock(struct visitor *v, uint64_t id, bool with_error) {
    LIST_EACH(&v->asks, at) {
        struct ask *ask = LIST_OWNER(at, struct ask, visit);
        if (ask->far_id != id) continue;
        if (ask->wait != NULL) dual_wait_unblock(v->peers->dual, ask->wait, with_error);
        return true;
    }
    return true;
}

/* ---- pins ---- */

/* Whoever sends it has been released, and we have not: for us the primary side is still the old one,
 * and what we copied when it is unpinned would overwrite what the command did at the new one (C23).
 * So it waits until we have changed roles, too, and what comes behind it likewise. */
static bool is_early(struct visitor *v) {
    const struct slice *argv = v->request.argv;
    uint64_t epoch = 0;
    if (v->holder == NULL || v->request.argc < 4 || !slice_equal(argv[0], SLICE("PIN"))) return false;
    return peers_read_number(argv[2], &epoch) && epoch > v->peers->dual->worker->epoch;
}

static bool on_pin(struct visitor *v, uint64_t id, size_t argc, const struct slice *argv) {
    if (!holder_pin(&v->peers->holders, v->holder, id, argc, argv)) return false;
    write_answer(v, 'P', id, NULL);
    return true;
}

void peers_on_unpinned(void *dual, const struct effect *effect) {
    dual_waits_wrote(dual, effect);
}

static void hang_up_on(struct holder *h) {
    if (h->visitor == NULL) return;
    h->visitor->holder = NULL;
    stream_abort(h->visitor->stream);
}

void peers_holder_gone(struct peers *p, struct holder *h) {
    hang_up_on(h);
    holder_gone(&p->holders, h);
}

/* ---- connections ---- */

static bool on_hello(struct visitor *v, const struct slice *argv) {
    struct peers *p = v->peers;
    uint64_t lanes = 0;
    if (argv[1].size == 0 || argv[1].size >= SLOT_TABLE_NAME_BYTES) return false;
    if (!peers_read_number(argv[2], &lanes) || lanes != p->dual->lanes.count) {
        log_error("peer.lanes", LOG_SL("gateway", argv[1]), LOG_U("lanes", lanes),
                  LOG_S("why", "gateway.lanes must be the same everywhere"));
        return false;
    }
    const struct slot_table *table = peers_table(p);
    if (table == NULL || slot_table_find(table, argv[1]) == table->count)
        return false; /* it is not ours yet: it dials again */
    struct holder *h = holders_get(&p->holders, argv[1]);
    hang_up_on(h);
    v->holder = h;
    holder_connected(h, v);
    stream_write(v->stream, SLICE("*1\r\n$2\r\nOK\r\n"));
    peers_look(p);
    return true;
}

static bool on_message(struct visitor *v, size_t argc, const struct slice *argv) {
    uint64_t number = 0;
    bool hello = slice_equal(argv[0], SLICE("HELLO"));
    if (v->holder == NULL) return hello && argc == 3 && on_hello(v, argv);
    if (slice_equal(argv[0], SLICE("DO"))) return on_do(v, argc, argv);
    if (slice_equal(argv[0], SLICE("CARRY"))) return peers_on_carry(v, argc, argv);
    if (hello || argc < 2 || !peers_read_number(argv[1], &number)) return false;
    if (slice_equal(argv[0], SLICE("PIN")))
        return argc > 3 && on_pin(v, number, argc - 3, argv + 3);
    if (slice_equal(argv[0], SLICE("CANCEL"))) return on_cancel(v, number);
    if (slice_equal(argv[0], SLICE("UNBLOCK")) && argc == 3)
        return on_unblock(v, number, slice_equal(argv[2], SLICE("1")));
    if (slice_equal(argv[0], SLICE("FENCE"))) {
        write_answer(v, 'F', number, NULL);
        return true;
    }
    if (slice_equal(argv[0], SLICE("SYNCED"))) {
        holder_synced(&v->peers->holders, v->holder, number);
        peers_look(v->peers);
        return true;
    }
    if (!slice_equal(argv[0], SLICE("UNPIN"))) return false;
    holder_unpin(&v->peers->holders, v->holder, number);
    return true;
}

static void take_messages(struct visitor *v) {
    while (buf_size(&v->in) > 0) {
        struct why why = {0};
        size_t used = 0;
        enum step step =
            resp_request_next(&v->request, &peers_limits, buf_slice(&v->in), &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_DONE && v->request.argc > 0 && is_early(v)) {
            v->early = true;
            v->peers->early++;
            stream_pause(v->stream);
            break;
        }
        bool fine = step == STEP_DONE && v->request.argc > 0 &&
                    on_message(v, v->request.argc, v->request.argv);
        if (!fine) {
            log_warn("peer.hung_up_on", LOG_S("peer", stream_peer(v->stream)));
            stream_abort(v->stream);
            break;
        }
        buf_consume(&v->in, used);
    }
}

static void on_bytes(void *self, struct slice bytes) {
    struct visitor *v = self;
    struct worker *w = v->peers->dual->worker;
    worker_begin(w);
    buf_add(&v->in, bytes);
    if (!v->early) take_messages(v);
    worker_run_ready(w);
}

void peers_turn(struct peers *p) {
    if (p->early == 0) return;
    for (struct list *next, *at = p->visitors.next; at != &p->visitors; at = next) {
        next = at->next;
        struct visitor *v = LIST_OWNER(at, struct visitor, link);
        if (!v->early) continue;
        v->early = false;
        p->early--;
        stream_resume(v->stream);
        take_messages(v); /* it may be early still */
    }
}

/* What it asked goes on, and is answered to nobody; what it has pinned stays so. */
void visitor_close(struct visitor *v) {
    struct dual *d = v->peers->dual;
    if (v->holder != NULL) v->holder->visitor = NULL;
    if (v->early) v->peers->early--;
    for (struct list *link; (link = list_pop(&v->asks)) != NULL;) {
        struct ask *ask = LIST_OWNER(link, struct ask, visit);
        ask->visitor = NULL;
        dual_ask_orphaned(d, ask);
    }
    if (v->stream != NULL) stream_drop(v->stream);
    list_remove(&v->link);
    buf_close(&v->in);
    resp_request_close(&v->request);
    mem_free(v);
}

/* What was written to it is sent. */
void visitor_leave(struct visitor *v) {
    stream_leave(v->stream);
    v->stream = NULL;
    visitor_close(v);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct visitor *v = self;
    struct worker *w = v->peers->dual->worker;
    (void)err;
    (void)why;
    worker_begin(w);
    v->stream = NULL;
    visitor_close(v);
    worker_run_ready(w);
}

static const struct stream_events events = {.on_bytes = on_bytes, .on_closed = on_closed};

void peers_on_visit(void *self, struct stream *stream) {
    struct peers *p = self;
    struct visitor *v = NEW(struct visitor);
    v->peers = p;
    v->stream = stream;
    list_init(&v->asks);
    list_push(&p->visitors, &v->link);
    stream_set_owner(stream, &events, v);
}
