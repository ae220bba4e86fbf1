/* conn.c -- one connection to a whole Cluster: what goes where, and what is answered. See shards.h;
 * how requests come in is in intake.c. */
#include "gateway/shards/inside.h"

#include "gateway/dual.h"

#include "lib/base/mem.h"

#define TRIES_AT_ONCE 3u
#define TRY_MS 10u
#define TRY_MS_MAX 200u

static struct unit *unit_of(struct shards_unit *order) {
    return (struct unit *)(void *)order;
}

void shards_unit_free(struct unit *u) {
    buf_close(&u->bytes);
    buf_close(&u->answer);
    buf_close(&u->refusal);
    for (unsigned i = 0; u->parts != NULL && i < u->part_count; i++) buf_close(&u->parts[i]);
    mem_free(u->parts);
    mem_free(u);
}

/* ---- out ---- */

static struct shards_branch *branch_to(struct shards_conn *c, unsigned host, bool *ready) {
    struct shards *s = c->shards;
    *ready = false;
    if (host >= s->count || !s->host[host].present) return NULL;
    LIST_EACH(&c->branches, at) {
        struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        if (l->host != host) continue;
        *ready = l->state == BRANCH_READY;
        return l;
    }
    if (s->host[host].run_id[0] == '\0' || shards_now_ms(s) < s->host[host].branch_retry_ms)
        return NULL;
    return shards_branch_open(c, host);
}

static bool send_to(struct shards_conn *c, struct unit *u, unsigned host) {
    bool ready = false;
    struct shards_branch *l = branch_to(c, host, &ready);
    if (!ready) return false;
    shards_order_sent(&c->order, &u->order);
    c->waiting_bytes -= buf_size(&u->bytes);
    shards_branch_send(l, u, 0);
    return true;
}

/* To all masters, or to none. */
static bool send_to_all(struct shards_conn *c, struct unit *u) {
    struct shards *s = c->shards;
    bool all = true;
    unsigned count = 0;
    for (unsigned i = 0; i < s->count; i++) {
        bool ready = false;
        if (!s->host[i].present || s->host[i].at.slots == 0) continue;
        (void)branch_to(c, i, &ready);
        all = all && ready;
        count++;
    }
    if (!all || count == 0) return false;
    u->parts = NEW_ARRAY(struct buf, count);
    u->part_count = u->parts_left = count;
    shards_order_sent(&c->order, &u->order);
    c->waiting_bytes -= buf_size(&u->bytes);
    for (unsigned i = 0, part = 0; i < s->count; i++) {
        bool ready = false;
        if (!s->host[i].present || s->host[i].at.slots == 0) continue;
        shards_branch_send(branch_to(c, i, &ready), u, part++);
    }
    return true;
}

static void answer(struct shards_conn *c, struct unit *u, struct slice text) {
    if (u->order.state == SHARDS_WAITS) c->waiting_bytes -= buf_size(&u->bytes);
    buf_clear(&u->answer);
    buf_add(&u->answer, text);
    shards_order_answered(&c->order, &u->order);
    if (u->watched) {
        c->watching = false;
        c->watch_branch = NULL;
    }
    shards_conn_schedule(c);
}

/* The last reply of a block is TEXT, and the others are as if it had been queued. */
static void write_block(const struct unit *u, struct slice text, struct buf *out) {
    if (u->block) buf_add(out, SLICE("+OK\r\n"));
    for (uint32_t i = 2; u->block && i < u->replies; i++) buf_add(out, SLICE("+QUEUED\r\n"));
    buf_add(out, text);
}

void shards_conn_answer_here(struct shards_conn *c, struct unit *u, struct slice text) {
    struct buf out = {0};
    write_block(u, text, &out);
    answer(c, u, buf_slice(&out));
    buf_close(&out);
}

/* WATCH has failed: what it watched is somewhere else by now. */
static void answer_nil(struct shards_conn *c, struct unit *u) {
    if (u->to == SHARDS_TO_UNWATCH)
        shards_conn_answer_here(c, u, SLICE("+OK\r\n"));
    else
        shards_conn_answer_here(c, u, u->proto == 3 ? SLICE("_\r\n") : SLICE("*-1\r\n"));
}

static bool send_watched(struct shards_conn *c, struct unit *u) {
    if (c->watch_branch == NULL) return false; /* WATCH is not answered yet */
    if (c->shards->owner[c->watch_slot] != c->watch_branch->host) {
        answer_nil(c, u);
        return true;
    }
    return send_to(c, u, c->watch_branch->host);
}

/* The connection belongs to one node from now on. */
static bool send_stream(struct shards_conn *c, struct unit *u) {
    bool ready = false;
    if (c->order.head != &u->order) return false;
    struct shards_branch *l = branch_to(c, c->shards->owner[0], &ready);
    if (!ready || l->head != NULL) return false;
    c->raw = true;
    c->raw_host = l->host;
    c->waiting_bytes = 0;
    if (u->proto != l->proto) { /* its answer comes before what is to be relayed: it is dialled so */
        shards_conn_fail(c, ERR_STATE, "the protocol was changed before SUBSCRIBE");
        return true;
    }
    for (struct shards_unit *at = c->order.head, *next; at != NULL; at = next) {
        next = at->next;
        stream_write(l->stream, buf_slice(&unit_of(at)->bytes));
        shards_unit_free(unit_of(at));
    }
    shards_order_close(&c->order);
    return true;
}

static bool send_unit(struct shards_conn *c, struct unit *u) {
    const struct shards *s = c->shards;
    if (u->watched && c->watching) return send_watched(c, u);
    if (u->to == SHARDS_TO_ALL) return send_to_all(c, u);
    if (u->to == SHARDS_TO_STREAM) return send_stream(c, u);
    if (u->asking || u->to == SHARDS_TO_SCAN) return send_to(c, u, u->node);
    return send_to(c, u, s->owner[u->order.slot == SHARDS_NO_SLOT ? 0 : u->order.slot]);
}

void shards_conn_pump(struct shards_conn *c) {
    if (c->gone || c->raw || !c->shards->known || c->order.waiting == 0) return;
    uint64_t now_ms = shards_now_ms(c->shards);
    struct shards_unit *at = shards_order_next(&c->order, NULL, now_ms);
    while (at != NULL) {
        struct unit *u = unit_of(at);
        bool sent = send_unit(c, u);
        if (c->gone || c->raw) return; /* U may be gone, too */
        if (!sent && u->order.slot == SHARDS_NO_SLOT && u->to == SHARDS_TO_STREAM) return;
        at = shards_order_next(&c->order, at, now_ms);
    }
}

/* ---- in ---- */

/* Whether it was not executed, but somebody else, or later, would. Of a block: EXEC was refused. */
static bool is_redirected(const struct unit *u, struct slice text, struct shards_redirect *to) {
    struct resp_skip skip = {0};
    struct why why;
    struct shards_redirect found = {.kind = SHARDS_FINE};
    *to = found;
    if (!u->block) {
        if (text.size > 0 && text.data[0] == '-') shards_redirect_read(text, to);
        return to->kind != SHARDS_FINE;
    }
    bool refused = false;
    while (text.size > 0) {
        size_t used = 0;
        if (resp_skip_next(&skip, &resp_limits_server, text, &used, &why) != STEP_DONE) break;
        refused = skip.first == '-';
        if (refused && found.kind == SHARDS_FINE) shards_redirect_read(slice_take(text, used), &found);
        text = slice_drop(text, used);
    }
    if (refused) *to = found;
    return to->kind != SHARDS_FINE;
}

static void again(struct shards_conn *c, struct unit *u, const struct shards_redirect *to,
                  unsigned from, struct slice text) {
    struct shards *s = c->shards;
    uint64_t now_ms = shards_now_ms(s);
    uint32_t tries = u->order.tries;
    if (tries > 0 && now_ms - u->order.since_ms > shards_limit_ms(s)) {
        answer(c, u, text);
        return;
    }
    unsigned node = to->kind == SHARDS_LATER ? s->count : shards_find_place(s, to, from);
    u->asking = to->kind == SHARDS_ASK && node < s->count;
    if (u->asking) u->node = node;
    if (to->kind == SHARDS_ASK) shards_note_ask(s, to->slot);
    uint64_t wait_ms = u->asking && tries < TRIES_AT_ONCE ? 0 : (uint64_t)TRY_MS * (tries + 1);
    uint16_t slot = to->kind == SHARDS_LATER ? u->order.slot : to->slot;
    buf_clear(&u->refusal);
    buf_add(&u->refusal, text);
    c->waiting_bytes += buf_size(&u->bytes);
    s->redirected++;
    shards_order_redirected(&c->order, &u->order, slot, now_ms,
                            now_ms + (wait_ms < TRY_MS_MAX ? wait_ms : TRY_MS_MAX));
    if (!u->asking) shards_want(s, node);
}

static int next_node(const struct shards *s, unsigned node) {
    for (unsigned i = node + 1; i < s->count; i++)
        if (s->host[i].present && s->host[i].at.slots > 0) return (int)i;
    return -1;
}

static void part_answered(struct shards_conn *c, struct unit *u, unsigned part, struct slice text) {
    buf_add(&u->parts[part], text);
    if (--u->parts_left > 0) return;
    struct slice *texts = NEW_ARRAY(struct slice, u->part_count);
    struct buf out = {0};
    bool split = false;
    for (unsigned i = 0; i < u->part_count; i++) texts[i] = buf_slice(&u->parts[i]);
    shards_merge((enum shards_merge)u->merge, u->part_count, texts, &out, &split);
    if (split && u->merge == SHARDS_MERGE_FIRST) /* nobody could say what was done */
        shards_conn_fail(c, ERR_REFUSED, "some nodes did it, and some refused");
    else
        answer(c, u, buf_slice(&out));
    buf_close(&out);
    mem_free(texts);
}

void shards_conn_answered(struct shards_conn *c, struct unit *u, struct shards_branch *l,
                          unsigned part, struct slice text) {
    struct shards_redirect to;
    if (u->to == SHARDS_TO_ALL) {
        part_answered(c, u, part, text);
    } else if (is_redirected(u, text, &to)) {
        if (u->watched)
            answer_nil(c, u);
        else
            again(c, u, &to, l->host, text);
    } else if (u->to == SHARDS_TO_SCAN) {
        struct buf out = {0};
        shards_scan_answer(text, u->node, next_node(c->shards, u->node), &out);
        answer(c, u, buf_slice(&out));
        buf_close(&out);
    } else {
        if (u->to == SHARDS_TO_WATCH && slice_starts(text, SLICE("+OK")))
            c->watch_branch = l;
        else if (u->to == SHARDS_TO_WATCH && c->watch_branch == NULL)
            c->watching = false;
        answer(c, u, text);
    }
}

static void emit(struct shards_conn *c) {
    if (c->emitting) return;
    c->emitting = true;
    for (struct shards_unit *at; !c->gone && (at = shards_order_pop(&c->order)) != NULL;) {
        struct unit *u = unit_of(at);
        struct buf text = u->answer;
        u->answer = (struct buf){0};
        if (u->order.displaced) c->displaced = true;
        shards_unit_free(u);
        c->events->on_bytes(c->backend, buf_slice(&text));
        buf_close(&text);
    }
    c->emitting = false;
}

void shards_conn_turn(struct shards_conn *c) {
    if (c->open_told) emit(c);
    shards_conn_pump(c);
}

/* ---- its life ---- */

static void free_conn(struct shards_conn *c) {
    loop_work_cancel(&c->work);
    buf_close(&c->in);
    resp_request_close(&c->request);
    mem_free(c);
}

static void on_work(void *self) {
    struct shards_conn *c = self;
    if (!c->gone) {
        if (c->opened && !c->open_told) {
            c->open_told = true;
            c->events->on_open(c->backend);
        }
        shards_conn_turn(c);
    }
    if (!c->gone && c->drained) {
        c->drained = false;
        c->events->on_drain(c->backend);
    }
    if (c->gone && !c->gone_told) {
        c->gone_told = true;
        c->events->on_closed(c->backend, c->err, &c->why); /* aborts, and frees the backend */
    }
    if (c->gone_told && c->alive == 0) free_conn(c);
}

void shards_conn_schedule(struct shards_conn *c) {
    if (!list_is_linked(&c->work.link)) loop_at_end(c->loop, &c->work, on_work, c);
}

void shards_conn_branch_closed(struct shards_conn *c) {
    c->alive--;
    if (c->gone_told && c->alive == 0 && !list_is_linked(&c->work.link)) free_conn(c);
}

void shards_conn_fail(struct shards_conn *c, enum err err, const char *why) {
    if (c->gone) return;
    c->gone = true;
    c->err = why_set(&c->why, err, "%s", why);
    shards_conn_schedule(c);
}

static void free_units(struct shards_conn *c) {
    for (struct shards_unit *next, *at = c->order.head; at != NULL; at = next) {
        next = at->next;
        shards_unit_free(unit_of(at));
    }
    shards_order_close(&c->order);
    if (c->block != NULL) shards_unit_free(c->block);
    c->block = NULL;
}

void shards_conn_abort(struct shards_conn *c) {
    if (c->aborted) return;
    c->aborted = c->gone = true;
    list_remove(&c->link);
    for (struct list *next, *at = c->branches.next; at != &c->branches; at = next) {
        next = at->next;
        shards_branch_abort(LIST_OWNER(at, struct shards_branch, link));
    }
    free_units(c);
    shards_conn_schedule(c);
}

struct shards_conn *shards_conn_open(struct shards *s, const struct stream_events *events,
                                     struct backend *b) {
    struct shards_conn *c = NEW(struct shards_conn);
    c->shards = s;
    c->loop = s->worker->loop;
    c->backend = b;
    c->events = events;
    c->proto = b->proto;
    c->id = s->next_id++;
    list_init(&c->branches);
    list_push(&s->conns, &c->link);
    shards_conn_on_map(c);
    return c;
}

void shards_conn_on_map(struct shards_conn *c) {
    if (!c->shards->known || c->gone) return;
    c->opened = true;
    shards_conn_schedule(c);
}

/* ---- the epoch ---- */

static void branches_are(struct shards_conn *c, enum branch_state from, enum branch_state to) {
    LIST_EACH(&c->branches, at) {
        struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        if (l->state == from) l->state = to;
    }
}

static bool any_branch_is(const struct shards_conn *c, enum branch_state state) {
    LIST_EACH(&c->branches, at)
        if (LIST_OWNER(at, struct shards_branch, link)->state == state) return true;
    return false;
}

/* Lanes' branches are in the journal before their first write (C21). */
static void use_branches(struct shards_conn *c) {
    LIST_EACH(&c->branches, at) {
        struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        if (l->state != BRANCH_ASKED) continue;
        struct shards_end end = {l->server_id, l->run_id, false, &l->journaled};
        l->state = BRANCH_READY;
        if (c->backend->line != NULL) dual_note_branch(c->backend, &end);
    }
    shards_conn_schedule(c);
}

void shards_conn_ask_epoch(struct shards_conn *c) {
    struct gateway *gw = c->shards->worker->gw;
    if (c->asking || c->gone || !any_branch_is(c, BRANCH_NAMED)) return;
    branches_are(c, BRANCH_NAMED, BRANCH_ASKED);
    if (gw->standalone || gw->pinned) {
        use_branches(c);
        return;
    }
    c->asking = true;
    struct report_message message = {.report = REPORT_ASK,
                                     .worker = c->shards->worker->number,
                                     .backend = c->backend->id,
                                     .epoch = c->backend->epoch};
    gateway_tell(gw, &message);
}

void shards_conn_on_epoch(struct shards_conn *c, bool fine) {
    c->asking = false;
    if (!fine) {
        shards_conn_fail(c, ERR_STATE, "the epoch has moved on");
        return;
    }
    use_branches(c);
    shards_conn_ask_epoch(c); /* those that came meanwhile */
}

/* ---- the rest of a stream ---- */

size_t shards_conn_queued_bytes(struct shards_conn *c) {
    size_t bytes = c->waiting_bytes;
    LIST_EACH(&c->branches, at) {
        const struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        if (l->stream != NULL) bytes += stream_queued_bytes(l->stream);
    }
    if (bytes > BACKEND_QUEUE_LOW_BYTES) c->was_full = true;
    return bytes;
}

const char *shards_conn_peer(const struct shards_conn *c) {
    return c->shards->count > 0 ? c->shards->host[0].at.host : "a Cluster";
}

bool shards_conn_displaced(struct shards_conn *c) {
    bool displaced = c->displaced;
    c->displaced = false;
    return displaced;
}

bool shards_conn_is_raw(const struct shards_conn *c) {
    return c->raw;
}

void shards_conn_each(struct shards_conn *c, void (*act)(void *self, struct shards_end *end),
                      void *self) {
    LIST_EACH(&c->branches, at) {
        struct shards_branch *l = LIST_OWNER(at, struct shards_branch, link);
        struct shards_end end = {l->server_id, l->run_id, l->unanswered > 0, &l->journaled};
        if (l->server_id != 0 && l->run_id[0] != '\0') act(self, &end);
    }
}

bool shards_conn_watching(struct shards_conn *c, struct shards_end *end) {
    struct shards_branch *l = c->watch_branch;
    if (l == NULL) return false;
    *end = (struct shards_end){l->server_id, l->run_id, l->unanswered > 0, &l->journaled};
    return true;
}

/* What found no node in time was not sent. */
static void time_out(struct shards_conn *c) {
    uint64_t now_ms = shards_now_ms(c->shards), limit_ms = shards_limit_ms(c->shards);
    for (struct shards_unit *next, *at = c->order.head; at != NULL; at = next) {
        struct unit *u = unit_of(at);
        next = at->next;
        if (at->state != SHARDS_WAITS) continue;
        uint64_t since_ms = at->tries > 0 ? at->since_ms : u->added_ms;
        if (now_ms - since_ms <= limit_ms) continue;
        if (buf_size(&u->refusal) > 0)
            answer(c, u, buf_slice(&u->refusal));
        else
            shards_conn_answer_here(c, u, SLICE("-CLUSTERDOWN drawbridge: the node could not be "
                                                "reached in time; nothing was sent\r\n"));
    }
}

void shards_conn_tick(struct shards_conn *c) {
    if (c->gone) return;
    if (c->order.waiting > 0) time_out(c);
    shards_conn_pump(c);
    if (c->gone || !c->was_full || shards_conn_queued_bytes(c) > BACKEND_QUEUE_LOW_BYTES) return;
    c->was_full = false;
    c->drained = true;
    shards_conn_schedule(c);
}
