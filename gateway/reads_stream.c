/* reads_stream.c -- canary and shadow reads with capture `stream`: over shared connections to the
 * side that follows. See reads_loop.h.
 *
 * The other side lags. So a shadow read whose answers differ is asked of both sides again when the
 * lag has passed: it differs only if the primary side still says the same, and the other side still
 * something else (C30).
 */
#include "gateway/reads_inside.h"

#include "gateway/backend.h"
#include "gateway/dispatch.h"

#define OTHER_QUEUE_MAX (1u << 20) /* unsent bytes: it does not read fast enough */

struct stream_canary {
    struct canary canary;
    enum side side;
};

struct shadow {
    struct list link; /* loop->shadows, or loop->again */
    struct reads_loop *loop;
    const struct command *command;
    int32_t db;
    uint8_t proto;
    enum side primary; /* at the first time */
    bool second;       /* it is being read again */
    bool told[2];      /* primary, other */
    uint64_t due_us;
    struct buf request, key, answer[2], first; /* first: the primary side's, of the first time */
};

static enum side other_side(const struct worker *w) {
    return (enum side)(SIDE_TARGET - w->side);
}

static struct backend *other_conn(struct worker *w, unsigned proto, int32_t db) {
    struct backend *b = dispatch_shared(w, other_side(w), proto, db);
    if (b == NULL || backend_queued_bytes(b) > OTHER_QUEUE_MAX) return NULL;
    return b;
}

/* ---- canaries ---- */

static void on_canary(struct req *req, struct backend *b, struct slice reply) {
    struct stream_canary *canary = req->self;
    canary_end(b->worker, &canary->canary, canary->side, reply);
    buf_close(&canary->canary.request);
    mem_free(canary);
}

static bool send_canary(struct client *c, const struct command *command, struct slice raw) {
    struct worker *w = c->worker;
    struct backend *b = other_conn(w, c->proto, c->db);
    if (b == NULL) return false;
    struct stream_canary *canary = NEW(struct stream_canary);
    canary->side = other_side(w);
    canary_begin(&canary->canary, c, command, raw);
    backend_use_db(b, c->db);
    backend_write(b, raw);
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_canary;
    req->self = canary;
    return true;
}

/* ---- shadows ---- */

static void free_shadow(struct shadow *s) {
    list_remove(&s->link);
    s->loop->open--;
    buf_close(&s->request);
    buf_close(&s->key);
    buf_close(&s->answer[0]);
    buf_close(&s->answer[1]);
    buf_close(&s->first);
    mem_free(s);
}

static void end_shadow(struct shadow *s, enum reads_event event) {
    struct worker *w = s->loop->worker;
    if (event == READS_DIFFERENT)
        reads_differ(w->gw->reads, s->command, s->db, buf_slice(&s->key), buf_slice(&s->answer[0]),
                     buf_slice(&s->answer[1]), clock_wall_ms(loop_clock(w->loop)));
    else
        reads_count(w->gw->reads, event, s->command);
    free_shadow(s);
}

/* Both have answered: NULL answers are of lost connections. */
static void judge(struct shadow *s) {
    struct slice p = buf_slice(&s->answer[0]), f = buf_slice(&s->answer[1]);
    struct worker *w = s->loop->worker;
    bool read = p.size > 0 && f.size > 0 && p.size <= READS_BYTES_MAX && f.size <= READS_BYTES_MAX;
    if (!read) {
        end_shadow(s, READS_UNDECIDED);
    } else if (reads_same(s->command, p, f)) {
        end_shadow(s, s->second ? READS_LATE : READS_SAME);
    } else if (s->second) {
        bool unchanged = reads_same(s->command, buf_slice(&s->first), p);
        end_shadow(s, unchanged ? READS_DIFFERENT : READS_UNDECIDED);
    } else {
        list_remove(&s->link);
        list_push(&s->loop->again, &s->link);
        s->due_us = w->now_us + (uint64_t)reads_get(w->gw->reads).after_ms * 1000;
    }
}

static void told(struct shadow *s, int which, struct slice reply) {
    s->told[which] = true;
    buf_add(&s->answer[which], reply);
    if (s->told[0] && s->told[1]) judge(s);
}

static void on_other(struct req *req, struct backend *b, struct slice reply) {
    (void)b;
    told(req->self, 1, reply);
}

/* The client's own answer goes to it first. */
static void on_primary(struct req *req, struct backend *b, struct slice reply) {
    struct worker *w = b->worker;
    struct client *c = req->client;
    if (c != NULL && c->stream != NULL && reply.size > 0) {
        counter_add(&w->counters.bytes_out, reply.size);
        if (!req->mute) stream_write(c->stream, reply);
    }
    told(req->self, 0, reply);
}

static void find_key(struct shadow *s, const struct resp_request *r) {
    struct command_key keys[4];
    struct why why;
    size_t count = 0;
    if (command_keys(s->command, r->argc, r->argv, keys, 4, &count, &why) == OK && count > 0)
        buf_add(&s->key, r->argv[keys[0].at]);
}

static void ask_other(struct shadow *s, struct backend *b) {
    backend_use_db(b, s->db);
    backend_write(b, buf_slice(&s->request));
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_other;
    req->self = s;
}

static bool send_shadow(struct client *c, const struct command *command, struct slice raw,
                        enum take *take) {
    struct worker *w = c->worker;
    if (c->leased || c->multi != NULL || !reads_pick(w->gw->reads, READS_SHADOW, &w->reads->dice))
        return false;
    struct backend *other = other_conn(w, c->proto, c->db);
    if (other == NULL || w->reads->open >= READS_OPEN_MAX) {
        reads_count(w->gw->reads, READS_SKIPPED, command);
        return false;
    }
    struct backend *b = client_conn(c, take);
    if (b == NULL) return true;
    struct shadow *s = NEW(struct shadow);
    s->loop = w->reads;
    s->command = command;
    s->db = c->db;
    s->proto = c->proto;
    s->primary = w->side;
    buf_add(&s->request, raw);
    find_key(s, &c->request);
    list_push(&w->reads->shadows, &s->link);
    w->reads->open++;
    backend_write(b, raw);
    struct req *req = backend_expect(b, c, REQ_WHOLE, 1);
    req->done = on_primary;
    req->self = s;
    ask_other(s, other);
    *take = TAKE_DONE;
    return true;
}

static void read_again(struct shadow *s) {
    struct worker *w = s->loop->worker;
    struct backend *b = dispatch_shared(w, w->side, s->proto, s->db);
    struct backend *other = other_conn(w, s->proto, s->db);
    if (b == NULL || other == NULL || w->side != s->primary || !worker_may_send(w)) {
        end_shadow(s, READS_UNDECIDED);
        return;
    }
    s->second = true;
    s->told[0] = s->told[1] = false;
    s->first = s->answer[0];
    s->answer[0] = (struct buf){0};
    buf_clear(&s->answer[1]);
    list_remove(&s->link);
    list_push(&s->loop->shadows, &s->link);
    backend_use_db(b, s->db);
    backend_write(b, buf_slice(&s->request));
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_primary;
    req->self = s;
    ask_other(s, other);
}

void reads_stream_tick(struct reads_loop *loop) {
    while (!list_is_empty(&loop->again)) {
        struct shadow *s = LIST_OWNER(loop->again.next, struct shadow, link);
        if (s->due_us > loop->worker->now_us) return;
        read_again(s);
    }
}

void reads_stream_close(struct reads_loop *loop) {
    while (!list_is_empty(&loop->again))
        free_shadow(LIST_OWNER(loop->again.next, struct shadow, link));
    while (!list_is_empty(&loop->shadows))
        free_shadow(LIST_OWNER(loop->shadows.next, struct shadow, link));
}

bool reads_request(struct client *c, const struct command *command, struct slice raw,
                   enum take *take) {
    struct reads_policy p = reads_get(c->worker->gw->reads);
    if (p.kind == READS_PRIMARY || c->worker->lanes || c->request.is_inline) return false;
    if (!dispatch_may_leave(c, take)) return true;
    if (canary_is_due(c, command) && send_canary(c, command, raw)) {
        *take = TAKE_DONE;
        return true;
    }
    if (p.kind != READS_SHADOW || !reads_fit(command)) return false;
    return send_shadow(c, command, raw, take);
}
