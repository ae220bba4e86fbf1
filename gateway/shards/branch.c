/* branch.c -- one connection of a shards_conn to one node. See shards.h.
 *
 * The order of C25: connect, name it, ask state whether the epoch still holds, and only then use
 * it. The node must be a master, and the process that the map's own connection talks to: otherwise
 * the map is old.
 */
#include "gateway/shards/inside.h"

#include "gateway/dual.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#define RETRY_MS 100u

static const struct resp_reply_limits limits = {
    .bytes_max = 1u << 20, .items_max = 1000, .depth_max = 8};

enum greeting { AUTH, HELLO, NAME, ID, SERVER, ROLE, GREETINGS };

static bool is_wanted(const struct shards_branch *l, unsigned which) {
    if (which == AUTH) return secret_is_set(&shards_config(l->conn->shards)->auth.password);
    if (which == HELLO) return l->proto == 3;
    return true;
}

static void on_open(void *self) {
    struct shards_branch *l = self;
    struct buf out = {0};
    if (l->conn == NULL) return;
    l->state = BRANCH_GREETING;
    if (is_wanted(l, AUTH)) shards_write_auth(shards_config(l->conn->shards), &out);
    if (is_wanted(l, HELLO)) resp_write_words(&out, "HELLO", "3", NULL);
    resp_write_words(&out, "CLIENT", "SETNAME", l->conn->name[0] ? l->conn->name : "-", NULL);
    resp_write_words(&out, "CLIENT", "ID", NULL);
    resp_write_words(&out, "INFO", "server", NULL);
    resp_write_words(&out, "INFO", "replication", NULL);
    stream_write(l->stream, buf_slice(&out));
    secret_wipe(out.data, out.cap);
    buf_close(&out);
}

/* It is not used; its node is dialled again later. */
static void not_now(struct shards_branch *l, const char *why) {
    struct shards *s = l->conn->shards;
    log_warn("shards.branch_failed", LOG_S("side", gateway_side_name(s->side)),
             LOG_S("peer", stream_peer(l->stream)), LOG_S("why", why));
    s->host[l->host].branch_retry_ms = shards_now_ms(s) + RETRY_MS;
    shards_want(s, s->count);
    stream_abort(l->stream);
}

/* NULL, or why it cannot be used. */
static const char *on_greeting(struct shards_branch *l, unsigned which,
                               const struct resp_reply *reply) {
    const struct shards *s = l->conn->shards;
    struct slice value;
    bool refused = resp_reply_is_error(reply);
    switch ((enum greeting)which) {
    case AUTH: return refused ? "wrong password" : NULL;
    case HELLO: return refused ? "it does not speak RESP3" : NULL;
    case NAME: return NULL; /* a server that refuses names is used without */
    case ID:
        if (refused || !resp_reply_to_int(reply, &l->server_id)) return "it refuses CLIENT ID";
        return NULL;
    case SERVER:
        if (refused || !resp_info_field(reply->text, "run_id", &value) ||
            value.size >= sizeof l->run_id)
            return "it does not tell its run id";
        memcpy(l->run_id, value.data, value.size);
        l->run_id[value.size] = '\0';
        return strcmp(l->run_id, s->host[l->host].run_id) == 0
                   ? NULL
                   : "it is not the process that the map was read from";
    case ROLE:
        if (refused || !resp_info_field(reply->text, "role", &value)) return "it has no role";
        return slice_equal(value, SLICE("master")) ? NULL : "it is a replica";
    case GREETINGS:
    default: UNREACHABLE("greeting");
    }
}

static bool greet(struct shards_branch *l) {
    struct resp_reply *reply = NULL;
    struct why why;
    size_t used = 0;
    enum step step =
        resp_reply_next(&l->greeting, &limits, buf_slice(&l->in), &reply, &used, &why);
    if (step == STEP_MORE) return false;
    if (step == STEP_FAIL) {
        not_now(l, why.text);
        return false;
    }
    buf_consume(&l->in, used);
    while (!is_wanted(l, l->greeted)) l->greeted++;
    const char *no = on_greeting(l, l->greeted++, reply);
    resp_reply_free(reply);
    if (no != NULL) {
        not_now(l, no);
        return false;
    }
    if (l->greeted < GREETINGS) return true;
    l->state = BRANCH_NAMED;
    shards_conn_ask_epoch(l->conn);
    return false;
}

/* ---- replies ---- */

static void push_due(struct shards_branch *l, struct unit *unit, unsigned part, uint32_t replies) {
    struct due *due = NEW(struct due);
    *due = (struct due){.unit = unit, .part = part, .left = replies};
    if (l->tail == NULL)
        l->head = due;
    else
        l->tail->next = due;
    l->tail = due;
}

/* The replies of the first that is due are whole. */
static void first_is_done(struct shards_branch *l) {
    struct due *due = l->head;
    struct buf answer = l->reply;
    l->reply = (struct buf){0};
    l->head = due->next;
    if (l->head == NULL) l->tail = NULL;
    if (due->unit != NULL) {
        l->unanswered--;
        shards_conn_answered(l->conn, due->unit, l, due->part, buf_slice(&answer));
    } else if (buf_size(&answer) > 0 && buf_slice(&answer).data[0] == '-') {
        log_warn("shards.refused", LOG_S("peer", stream_peer(l->stream)),
                 LOG_SL("why", slice_take(buf_slice(&answer),
                                          buf_size(&answer) < 200 ? buf_size(&answer) : 200)));
    }
    buf_close(&answer);
    mem_free(due);
}

/* One step through what came; false: no more for now. */
static bool take(struct shards_branch *l) {
    struct slice bytes = buf_slice(&l->in);
    struct why why;
    size_t used = 0;
    bool push = !l->skip.open && bytes.size > 0 && bytes.data[0] == '>';
    if (bytes.size == 0) return false;
    if (l->head == NULL && !push && !l->pushing) {
        shards_conn_fail(l->conn, ERR_PROTO, "a reply that nobody asked for");
        return false;
    }
    if (push) l->pushing = true;
    enum step step = resp_skip_next(&l->skip, &resp_limits_server, bytes, &used, &why);
    if (step == STEP_FAIL) {
        shards_conn_fail(l->conn, ERR_PROTO, why.text);
        return false;
    }
    if (!l->pushing && l->head->unit != NULL) buf_add(&l->reply, slice_take(bytes, used));
    if (!l->pushing && l->head->unit == NULL && l->skip.first == '-' && step == STEP_DONE)
        buf_add(&l->reply, slice_take(bytes, used));
    buf_consume(&l->in, used);
    if (step == STEP_MORE) return false;
    if (l->pushing)
        l->pushing = false;
    else if (--l->head->left == 0)
        first_is_done(l);
    return !l->conn->gone;
}

static void on_bytes(void *self, struct slice bytes) {
    struct shards_branch *l = self;
    struct shards_conn *conn = l->conn;
    if (conn == NULL || conn->gone) return;
    struct worker *w = conn->shards->worker;
    worker_begin(w);
    if (conn->raw) {
        if (l->host == conn->raw_host) conn->events->on_bytes(conn->backend, bytes);
        return;
    }
    buf_add(&l->in, bytes);
    while (l->state == BRANCH_GREETING && greet(l)) {}
    while (l->state == BRANCH_READY && take(l)) {}
    shards_conn_turn(conn);
    worker_run_ready(w);
}

static void on_drain(void *self) {
    struct shards_branch *l = self;
    if (l->conn != NULL && !l->conn->gone) l->conn->events->on_drain(l->conn->backend);
}

static void free_branch(struct shards_branch *l) {
    for (struct due *next, *due = l->head; due != NULL; due = next) {
        next = due->next;
        mem_free(due);
    }
    list_remove(&l->link);
    buf_close(&l->in);
    buf_close(&l->reply);
    mem_free(l);
}

/* One that was used breaks the whole connection: what it sent may still be executed (C21), and
 * another one in its place would have to be allowed by state first (C25). */
static void on_closed(void *self, enum err err, const struct why *why) {
    struct shards_branch *l = self;
    struct shards_conn *conn = l->conn;
    enum branch_state state = l->state;
    l->stream = NULL;
    l->state = BRANCH_GONE;
    if (!conn->aborted) {
        struct shards *s = conn->shards;
        worker_begin(s->worker);
        s->host[l->host].branch_retry_ms = shards_now_ms(s) + RETRY_MS;
        shards_want(s, s->count);
        if (state == BRANCH_READY) {
            shards_conn_fail(conn, err == OK ? ERR_IO : err, why->text);
            worker_run_ready(s->worker);
            return; /* shards_conn_abort() frees it */
        }
        worker_run_ready(s->worker);
    }
    free_branch(l);
    shards_conn_branch_closed(conn);
}

static const struct stream_events events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_drain = on_drain, .on_closed = on_closed};

struct shards_branch *shards_branch_open(struct shards_conn *conn, unsigned host) {
    struct shards *s = conn->shards;
    struct shards_branch *l = NEW(struct shards_branch);
    struct endpoint to = {0};
    struct stream_options options = {.low_water_bytes = BACKEND_QUEUE_LOW_BYTES};
    l->conn = conn;
    l->host = host;
    l->proto = conn->proto;
    list_push(&conn->branches, &l->link);
    conn->alive++;
    shards_endpoint(s, &s->host[host], &to);
    l->stream = stream_dial(s->worker->loop, &to, &options, &events, l);
    endpoint_close(&to);
    return l;
}

void shards_branch_abort(struct shards_branch *l) {
    struct shards_conn *conn = l->conn;
    l->state = BRANCH_GONE;
    if (l->stream != NULL) {
        stream_abort(l->stream);
        return;
    }
    free_branch(l);
    conn->alive--;
}

/* ---- requests ---- */

void shards_branch_drop(struct shards_branch *l, struct slice request) {
    stream_write(l->stream, request);
    push_due(l, NULL, 0, 1);
}

void shards_branch_send(struct shards_branch *l, struct unit *unit, unsigned part) {
    if (unit->proto != l->proto)
        shards_branch_drop(l, unit->proto == 3 ? SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
                                             : SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n"));
    l->proto = unit->proto;
    if (unit->asking) shards_branch_drop(l, SLICE("*1\r\n$6\r\nASKING\r\n"));
    stream_write(l->stream, buf_slice(&unit->bytes));
    push_due(l, unit, part, unit->replies);
    l->unanswered++;
}
