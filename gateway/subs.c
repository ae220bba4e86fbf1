/* subs.c -- clients that subscribe. See subs.h. */
#include "gateway/subs.h"

#include "gateway/backend.h"
#include "gateway/policy.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

static const char *const verbs[SUBS_KINDS] = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"};

size_t subs_count_of(const struct client *c, enum subs_kind kind) {
    return c->subs ? c->subs->count[kind] : 0;
}

size_t subs_count(const struct client *c) {
    size_t sum = c->subs ? c->subs->awaited : 0;
    for (unsigned kind = 0; kind < SUBS_KINDS; kind++)
        sum += subs_count_of(c, (enum subs_kind)kind);
    return sum;
}

static void forget_all(struct subs *subs, unsigned kind) {
    for (size_t i = 0; i < subs->count[kind]; i++)
        mem_free((void *)(uintptr_t)subs->names[kind][i].data);
    subs->count[kind] = 0;
}

void subs_free(struct client *c) {
    struct subs *subs = c->subs;
    if (subs == NULL) return;
    subs_forget_shadow(c);
    for (unsigned kind = 0; kind < SUBS_KINDS; kind++) {
        forget_all(subs, kind);
        mem_free(subs->names[kind]);
    }
    buf_close(&subs->kept);
    mem_free(subs);
    c->subs = NULL;
}

static size_t find(const struct subs *subs, unsigned kind, struct slice name) {
    size_t i = 0;
    while (i < subs->count[kind] && !slice_equal(subs->names[kind][i], name)) i++;
    return i;
}

static void add(struct subs *subs, unsigned kind, struct slice name) {
    if (find(subs, kind, name) < subs->count[kind]) return;
    if (subs->count[kind] == subs->cap[kind]) {
        subs->cap[kind] = subs->cap[kind] ? subs->cap[kind] * 2 : 8;
        subs->names[kind] =
            mem_realloc(subs->names[kind], subs->cap[kind] * sizeof *subs->names[kind]);
    }
    subs->names[kind][subs->count[kind]++] =
        slice_from(mem_dup(name.data, name.size ? name.size : 1), name.size);
}

static void drop(struct subs *subs, unsigned kind, struct slice name) {
    size_t i = find(subs, kind, name);
    if (i == subs->count[kind]) return;
    mem_free((void *)(uintptr_t)subs->names[kind][i].data);
    subs->names[kind][i] = subs->names[kind][--subs->count[kind]];
}

/* Which set a command concerns, and whether it adds to it. */
static unsigned kind_of(const struct command *command, bool *adds) {
    const char *name = command->name;
    unsigned kind = SUBS_CHANNEL;
    if (name[0] == 'p') kind = SUBS_PATTERN;
    if (strcmp(name, "ssubscribe") == 0 || strcmp(name, "sunsubscribe") == 0) kind = SUBS_SHARD;
    *adds = strstr(name, "unsub") == NULL;
    return kind;
}

static void note(struct client *c, unsigned kind, bool adds) {
    const struct resp_request *r = &c->request;
    struct subs *subs = c->subs;
    if (!adds && r->argc == 1) {
        size_t confirmations = subs->count[kind] ? subs->count[kind] : 1;
        if (c->proto == 2) subs->awaited += confirmations;
        forget_all(subs, kind);
        return;
    }
    if (c->proto == 2) subs->awaited += r->argc - 1;
    for (size_t i = 1; i < r->argc; i++) {
        if (adds)
            add(subs, kind, r->argv[i]);
        else
            drop(subs, kind, r->argv[i]);
    }
}

/* UNSUBSCRIBE of a client that never subscribed: as Redis answers it. */
static enum take nothing_to_end(struct client *c, const struct command *command) {
    const struct resp_request *r = &c->request;
    struct buf *out = &c->worker->scratch;
    buf_clear(out);
    for (size_t i = 1; i < r->argc || i == 1; i++) {
        resp_write_push(out, c->proto, 3);
        resp_write_text(out, command->name);
        if (r->argc == 1)
            resp_write_null(out, c->proto);
        else
            resp_write_bulk(out, r->argv[i]);
        resp_write_int(out, 0);
    }
    client_reply_scratch(c);
    return TAKE_DONE;
}

enum take subs_request(struct client *c, const struct command *command) {
    bool adds = false;
    unsigned kind = kind_of(command, &adds);
    if (!adds && subs_count(c) == 0) return nothing_to_end(c, command);
    if (adds && subs_count(c) + c->request.argc > SUBS_MAX) {
        client_reply_errorf(c, "ERR drawbridge: more than %u subscriptions", SUBS_MAX);
        return TAKE_DONE;
    }
    enum take take = TAKE_DONE;
    bool new = !c->leased;
    struct backend *b = client_lease(c, &take);
    if (b == NULL) return take;
    if (!new && c->proto == 2 && b->mode != MODE_PUBSUB && c->outstanding > 0)
        return client_wait_idle(c);
    if (c->subs == NULL) c->subs = NEW(struct subs);
    backend_write(b, client_raw(c));
    if (c->proto == 2) b->mode = MODE_PUBSUB;
    note(c, kind, adds);
    if (c->subs->shadow != NULL) backend_write(c->subs->shadow, client_raw(c));
    return TAKE_DONE;
}

static bool are_ending(const struct client *c) {
    bool subscribed = c->proto == 2 && c->leased && c->conn != NULL && c->conn->mode == MODE_PUBSUB;
    for (unsigned kind = 0; kind < SUBS_KINDS; kind++)
        if (subs_count_of(c, (enum subs_kind)kind) > 0) return false;
    return subscribed;
}

bool subs_goes_along(const struct command *command) {
    return command == NULL || strcmp(command->name, "ping") == 0;
}

bool subs_must_wait(const struct client *c, const struct command *command) {
    if (c->subs == NULL || c->proto != 2) return false;
    if (command != NULL && policy_of(command) == POLICY_SUBSCRIBE) return false;
    if (subs_goes_along(command)) return c->subs->awaited == 0 && are_ending(c);
    return c->subs->awaited > 0 || are_ending(c);
}

enum take subs_forward(struct client *c) {
    enum take take = TAKE_DONE;
    struct backend *b = client_lease(c, &take);
    if (b == NULL) return take;
    backend_write(b, client_raw(c));
    c->subs->awaited++;
    return TAKE_DONE;
}

/* Whether REPLY is an array, or a push, that begins with one of WORDS, which end with NULL. */
static bool begins_with(struct slice reply, const char *const *words) {
    struct resp_token head, word;
    struct why why;
    size_t used = 0;
    if (resp_next(&resp_limits_server, reply, &head, &used, &why) != STEP_DONE) return false;
    if ((head.kind != RESP_ARRAY && head.kind != RESP_PUSH) || head.number < 3) return false;
    reply = slice_drop(reply, used);
    if (resp_next(&resp_limits_server, reply, &word, &used, &why) != STEP_DONE) return false;
    while (*words != NULL && !slice_equal(word.text, slice_text(*words))) words++;
    return *words != NULL;
}

/* It was published, and not asked for. */
static bool is_message(struct slice reply) {
    static const char *const words[] = {"message", "pmessage", "smessage", NULL};
    return begins_with(reply, words);
}

/* "*3 subscribe|unsubscribe... name count": it confirms one. */
static bool is_confirmation(struct slice reply) {
    static const char *const words[] = {"subscribe",    "psubscribe",   "ssubscribe", "unsubscribe",
                                        "punsubscribe", "sunsubscribe", NULL};
    return begins_with(reply, words);
}

/* The last subscription ended and all is confirmed: the client is an ordinary one again. */
static void end_pubsub(struct client *c, struct backend *b) {
    if (subs_count(c) > 0 || c->subs->shadow != NULL) return;
    b->mode = MODE_NORMAL;
    if (!c->watching && !c->tracking) client_unlease(c, true);
    client_wake(c);
}

/* It had ended while a barrier was prepared. */
static void end_late(struct client *c) {
    if (c->stream != NULL && are_ending(c)) end_pubsub(c, c->conn);
}

static void take_place(struct client *c);

static bool is_pong(struct slice reply) {
    return slice_starts(reply, SLICE("*2\r\n$4\r\npong\r\n")) ||
           slice_starts(reply, SLICE("+PONG"));
}

/* Messages are looked at whole: false and nothing is used until one is. */
static bool whole_message(struct backend *b, struct slice bytes, size_t *used) {
    struct resp_skip skip = {0};
    struct why why;
    enum step step = resp_skip_next(&skip, &resp_limits_server, bytes, used, &why);
    if (step == STEP_DONE) return true;
    *used = 0;
    if (step == STEP_MORE) return false;
    log_warn("backend.protocol", LOG_S("why", why.text));
    *used = bytes.size;
    backend_abort(b);
    return false;
}

bool subs_on_shadow(struct backend *b, struct slice bytes, size_t *used) {
    if (!whole_message(b, bytes, used)) return false;
    struct client *c = b->shadow_of;
    struct slice message = slice_take(bytes, *used);
    if (!c->subs->draining || is_confirmation(message)) return true;
    buf_add(&c->subs->kept, message);
    if (buf_size(&c->subs->kept) > SUBS_KEPT_BYTES) client_close(c);
    return true;
}

bool subs_on_bytes(struct backend *b, struct slice bytes, size_t *used) {
    if (b->shadow_of != NULL) return subs_on_shadow(b, bytes, used);
    if (!whole_message(b, bytes, used)) return false;
    struct client *c = b->lessee;
    if (c == NULL) return true;
    struct slice reply = slice_take(bytes, *used);
    if (c->subs != NULL && c->subs->draining && c->subs->awaited == 0 && is_pong(reply)) {
        take_place(c);
        return false;
    }
    if (c->stream != NULL) stream_write(c->stream, reply);
    if (c->subs != NULL && c->subs->awaited > 0 && !is_message(reply)) {
        if (--c->subs->awaited == 0) {
            client_wake(c);
            end_pubsub(c, b);
        }
    }
    return b->lessee == c;
}

/* ---- barrier ---- */
bool subs_prepare(struct client *c, enum side side) {
    if (subs_count(c) == 0 || c->subs->shadow != NULL) return false;
    struct backend *b = backend_open(c->worker, side, c->proto, true);
    b->shadow_of = c;
    b->prepared = true;
    c->subs->shadow = b;
    return true;
}

static void subscribe_to_all(struct client *c, struct backend *b) {
    struct buf out = {0};
    for (unsigned kind = 0; kind < SUBS_KINDS; kind++) {
        size_t count = c->subs->count[kind];
        if (count == 0) continue;
        resp_write_array(&out, count + 1);
        resp_write_text(&out, verbs[kind]);
        for (size_t i = 0; i < count; i++) resp_write_bulk(&out, c->subs->names[kind][i]);
    }
    backend_write(b, buf_slice(&out));
    buf_close(&out);
}

void subs_on_shadow_ready(struct backend *shadow) {
    struct client *c = shadow->shadow_of;
    if (c->proto == 2) shadow->mode = MODE_PUBSUB;
    subscribe_to_all(c, shadow);
}

void subs_forget_shadow(struct client *c) {
    if (c->subs == NULL || c->subs->shadow == NULL) return;
    struct backend *b = c->subs->shadow;
    c->subs->shadow = NULL;
    b->shadow_of = NULL;
    backend_abort(b);
}

void subs_stay(struct client *c) {
    subs_forget_shadow(c);
    if (c->subs != NULL) end_late(c);
}

void subs_lost_shadow(struct client *c) {
    if (c->subs != NULL) c->subs->shadow = NULL;
}

static void on_drained(struct req *req, struct backend *b, struct slice reply) {
    (void)b;
    struct client *c = req->client;
    if (reply.size > 0 && c->subs != NULL && c->subs->draining) take_place(c);
}

/* The old connection has nothing more to tell; the shadow becomes the client's own. */
static void take_place(struct client *c) {
    struct backend *old = c->conn, *b = c->subs->shadow;
    c->subs->draining = false;
    if (b == NULL || !backend_is_ready(b)) {
        client_close(c); /* it would miss messages: better that it subscribes again */
        return;
    }
    c->subs->shadow = NULL;
    b->shadow_of = NULL;
    b->lessee = c;
    old->lessee = NULL;
    c->conn = b;
    if (c->stream != NULL) stream_write_buf(c->stream, &c->subs->kept);
    buf_clear(&c->subs->kept);
    if (old->head == NULL) backend_abort(old);
    end_late(c);
    client_wake(c);
}

void subs_switch(struct client *c) {
    struct backend *old = c->conn;
    if (c->subs->shadow == NULL) { /* not prepared: it came after PREPARE, or its shadow was lost */
        client_close(c);
        return;
    }
    c->subs->draining = true;
    backend_write(old, SLICE("*1\r\n$4\r\nPING\r\n"));
    if (old->mode != MODE_PUBSUB) backend_expect(old, c, REQ_WHOLE, 1)->done = on_drained;
}
