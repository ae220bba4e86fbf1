/* ctl.c -- the connection over which a node is asked about itself. See shards.h.
 *
 * It is named, but not as those that write are: nobody has to fence it (C25).
 */
#include "gateway/shards/inside.h"

#include "gateway/others.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

struct ctl_ask {
    struct ctl_ask *next;
    shards_told *told;
    uint64_t arg;
};

struct shards_ctl {
    struct shards *shards; /* NULL: the loop ends */
    unsigned host;
    struct stream *stream;
    struct ctl_ask *head, *tail;
    size_t waiting;
    bool ready;
    int64_t id; /* at its node; 0: not told */
    struct buf in, server; /* INFO server, until the greeting is whole */
    struct resp_reply_reader reader;
};

static const struct resp_reply_limits limits = {
    .bytes_max = 8u << 20, .items_max = 200000, .depth_max = 8};

bool shards_ctl_is_ready(const struct shards_ctl *ctl) {
    return ctl != NULL && ctl->ready;
}
struct shards *shards_ctl_of(const struct shards_ctl *ctl) {
    return ctl->shards;
}
unsigned shards_ctl_host(const struct shards_ctl *ctl) {
    return ctl->host;
}
int64_t shards_ctl_id(const struct shards_ctl *ctl) {
    return ctl->id;
}
size_t shards_ctl_waiting(const struct shards_ctl *ctl) {
    return ctl->waiting;
}

void shards_write_auth(const struct config_side *side, struct buf *out) {
    struct slice password = secret_slice(&side->auth.password);
    if (!secret_is_set(&side->auth.password)) return;
    if (side->auth.user != NULL) {
        struct slice argv[3] = {SLICE("AUTH"), slice_text(side->auth.user), password};
        resp_write_command(out, 3, argv);
    } else {
        struct slice argv[2] = {SLICE("AUTH"), password};
        resp_write_command(out, 2, argv);
    }
}

void shards_ctl_ask(struct shards_ctl *ctl, struct slice request, shards_told *told, uint64_t arg) {
    struct ctl_ask *ask = NEW(struct ctl_ask);
    ask->told = told;
    ask->arg = arg;
    if (ctl->tail == NULL)
        ctl->head = ask;
    else
        ctl->tail->next = ask;
    ctl->tail = ask;
    ctl->waiting++;
    stream_write(ctl->stream, request);
}

static void answer_first(struct shards_ctl *ctl, const struct resp_reply *reply) {
    struct ctl_ask *ask = ctl->head;
    ctl->head = ask->next;
    if (ctl->head == NULL) ctl->tail = NULL;
    ctl->waiting--;
    if (ctl->shards != NULL) ask->told(ctl, ask->arg, reply);
    mem_free(ask);
}

/* ---- the greeting ---- */

static void refused(struct shards_ctl *ctl, const struct resp_reply *reply) {
    log_warn("shards.refused", LOG_S("peer", stream_peer(ctl->stream)),
             LOG_SL("why", slice_take(reply->text, reply->text.size < 200 ? reply->text.size : 200)));
    stream_abort(ctl->stream);
}

static void on_auth(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    (void)arg;
    if (reply != NULL && resp_reply_is_error(reply)) refused(ctl, reply);
}

static void on_id(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    (void)arg;
    if (reply != NULL && !resp_reply_is_error(reply)) (void)resp_reply_to_int(reply, &ctl->id);
}

static void on_server(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    (void)arg;
    if (reply == NULL) return;
    if (resp_reply_is_error(reply))
        refused(ctl, reply);
    else
        buf_add(&ctl->server, reply->text);
}

static void on_replication(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    (void)arg;
    if (reply == NULL) return;
    if (resp_reply_is_error(reply)) {
        refused(ctl, reply);
        return;
    }
    ctl->ready = true;
    shards_on_ctl_info(ctl->shards, ctl->host, buf_slice(&ctl->server), reply->text);
    buf_close(&ctl->server);
}

static void ignore(struct shards_ctl *ctl, uint64_t arg, const struct resp_reply *reply) {
    (void)ctl, (void)arg, (void)reply;
}

void shards_ctl_tell(struct shards_ctl *ctl, struct slice request) {
    shards_ctl_ask(ctl, request, ignore, 0);
}

static void on_open(void *self) {
    struct shards_ctl *ctl = self;
    if (ctl->shards == NULL) return;
    struct buf out = {0};
    char name[128];
    const struct config_side *side = shards_config(ctl->shards);
    if (secret_is_set(&side->auth.password)) {
        shards_write_auth(side, &out);
        shards_ctl_ask(ctl, buf_slice(&out), on_auth, 0);
        secret_wipe(out.data, out.cap);
        buf_clear(&out);
    }
    (void)snprintf(name, sizeof name, OTHERS_MAP_NAME "%s", ctl->shards->worker->gw->name);
    resp_write_words(&out, "CLIENT", "SETNAME", name, NULL);
    shards_ctl_ask(ctl, buf_slice(&out), ignore, 0);
    buf_clear(&out);
    resp_write_words(&out, "CLIENT", "ID", NULL);
    shards_ctl_ask(ctl, buf_slice(&out), on_id, 0);
    buf_clear(&out);
    resp_write_words(&out, "INFO", "server", NULL);
    shards_ctl_ask(ctl, buf_slice(&out), on_server, 0);
    buf_clear(&out);
    resp_write_words(&out, "INFO", "replication", NULL);
    shards_ctl_ask(ctl, buf_slice(&out), on_replication, 0);
    buf_close(&out);
}

static bool read_one(struct shards_ctl *ctl) {
    struct resp_reply *reply = NULL;
    struct why why;
    size_t used = 0;
    enum step step =
        resp_reply_next(&ctl->reader, &limits, buf_slice(&ctl->in), &reply, &used, &why);
    if (step == STEP_MORE) return false;
    if (step == STEP_FAIL || ctl->head == NULL) {
        log_warn("shards.protocol", LOG_S("peer", stream_peer(ctl->stream)));
        if (step == STEP_DONE) resp_reply_free(reply);
        stream_abort(ctl->stream);
        return false;
    }
    buf_consume(&ctl->in, used);
    answer_first(ctl, reply);
    resp_reply_free(reply);
    return stream_is_open(ctl->stream) && buf_size(&ctl->in) > 0;
}

static void on_bytes(void *self, struct slice bytes) {
    struct shards_ctl *ctl = self;
    if (ctl->shards == NULL) return;
    struct worker *w = ctl->shards->worker;
    worker_begin(w);
    buf_add(&ctl->in, bytes);
    while (read_one(ctl)) {}
    worker_run_ready(w);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct shards_ctl *ctl = self;
    struct shards *s = ctl->shards;
    if (s != NULL && err != OK)
        log_warn("shards.node_lost", LOG_S("side", gateway_side_name(s->side)), LOG_WHY(why));
    ctl->ready = false;
    if (s != NULL) worker_begin(s->worker);
    if (s != NULL) shards_on_ctl_closed(s, ctl);
    while (ctl->head != NULL) answer_first(ctl, NULL);
    buf_close(&ctl->in);
    buf_close(&ctl->server);
    mem_free(ctl);
    if (s != NULL) worker_run_ready(s->worker);
}

static const struct stream_events events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_closed = on_closed};

struct shards_ctl *shards_ctl_open(struct shards *s, unsigned host) {
    struct shards_ctl *ctl = NEW(struct shards_ctl);
    struct endpoint to = {0};
    struct stream_options options = {.connect_timeout_ms = 3000};
    ctl->shards = s;
    ctl->host = host;
    if (host < s->count)
        shards_endpoint(s, &s->host[host], &to);
    else
        endpoint_copy(&to, &shards_config(s)->endpoint);
    ctl->stream = stream_dial(s->worker->loop, &to, &options, &events, ctl);
    endpoint_close(&to);
    return ctl;
}

void shards_ctl_abort(struct shards_ctl *ctl) {
    if (ctl != NULL) stream_abort(ctl->stream);
}

void shards_ctl_forget(struct shards_ctl *ctl) {
    if (ctl == NULL) return;
    ctl->shards = NULL;
    stream_abort(ctl->stream);
}
