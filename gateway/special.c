/* special.c -- commands that are forwarded with something done to them: replies without our own
 * keys (C5a), scripts that are remembered and healed (C27), MONITOR, CLIENT TRACKING. See client.h.
 */
#include "gateway/backend.h"
#include "gateway/client.h"
#include "gateway/filter.h"

#include "lib/base/mem.h"

#include <xxhash.h>

#define RANDOMKEY_TRIES 16u

static void finish(struct req *req, struct slice reply) {
    struct client *c = req->client;
    if (c->stream != NULL && !req->mute) stream_write(c->stream, reply);
    c->busy = false;
    client_wake(c);
}

/* ---- KEYS, SCAN, DBSIZE, RANDOMKEY ---- */
static void on_hidden(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    (void)b;
    if (c->stream == NULL || req->mute || reply.size == 0) return;
    struct buf out = {0};
    if (req->arg == 'k')
        filter_keys(reply, &out);
    else if (req->arg == 's')
        filter_scan(reply, &out);
    else
        filter_dbsize(reply, &out);
    stream_write_buf(c->stream, &out);
    buf_close(&out);
}

/* A hidden key came: ask again, a few times; then there is nothing but hidden keys. */
static void on_randomkey(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    if (reply.size == 0) {
        c->busy = false;
        return;
    }
    if (!filter_is_hidden_reply(reply)) {
        finish(req, reply);
        return;
    }
    if (req->arg == RANDOMKEY_TRIES) {
        finish(req, c->proto == 3 ? SLICE("_\r\n") : SLICE("$-1\r\n"));
        return;
    }
    backend_use_db(b, c->db);
    backend_write(b, SLICE("*1\r\n$9\r\nRANDOMKEY\r\n"));
    struct req *again = backend_expect(b, c, REQ_WHOLE, 1);
    again->done = on_randomkey;
    again->arg = req->arg + 1;
    again->mute = req->mute;
}

enum take hide_request(struct client *c, const struct command *command) {
    if (c->db != 0) return client_forward(c);
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    backend_write(b, client_raw(c));
    bool dbsize = command->name[0] == 'd', randomkey = command->name[0] == 'r';
    if (dbsize) backend_write(b, filter_exists_request());
    struct req *req = backend_expect(b, c, REQ_WHOLE, dbsize ? 2 : 1);
    req->done = randomkey ? on_randomkey : on_hidden;
    req->arg = randomkey ? 0 : (uint64_t)command->name[0];
    c->busy = randomkey;
    return TAKE_DONE;
}

/* ---- scripts ---- */
/* The hashes that the primary side is known to have, so that EVALSHA needs no care. */
static uint64_t *loaded_place(struct worker *w, struct slice sha, uint64_t *hash) {
    char lower[40];
    for (size_t i = 0; i < 40; i++) lower[i] = (char)(sha.data[i] | 0x20);
    *hash = XXH3_64bits(lower, sizeof lower) | 1;
    return &w->loaded[*hash % LOADED_SLOTS];
}

static void on_evalsha(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    struct buf *request = req->self;
    struct resp_request parsed = {0};
    struct why why;
    size_t used = 0;
    enum step step =
        resp_request_next(&parsed, &resp_request_limits_open, buf_slice(request), &used, &why);
    ASSERT(step == STEP_DONE && parsed.argc >= 3); /* we wrote it ourselves */
    struct buf body = {0};
    uint64_t hash = 0;
    uint64_t *place = loaded_place(c->worker, parsed.argv[1], &hash);
    if (reply.size > 0 && slice_starts(reply, SLICE("-NOSCRIPT")) &&
        scripts_find(c->worker->gw->scripts, parsed.argv[1], &body)) {
        bool ro = parsed.argv[0].size > 7;
        parsed.argv[0] = ro ? SLICE("EVAL_RO") : SLICE("EVAL");
        parsed.argv[1] = buf_slice(&body);
        struct buf out = {0};
        resp_write_command(&out, parsed.argc, parsed.argv);
        backend_use_db(b, c->db);
        backend_write(b, buf_slice(&out));
        buf_close(&out);
        backend_expect(b, c, REQ_RELAY, 1)->mute = req->mute;
        *place = hash;
        c->busy = false;
        client_wake(c);
    } else {
        if (reply.size > 0 && reply.data[0] != '-') *place = hash;
        c->busy = false;
        if (reply.size > 0) finish(req, reply);
    }
    resp_request_close(&parsed);
    buf_close(&body);
    buf_close(request);
    mem_free(request);
}

/* The first EVALSHA of a script since the primary side changed or was started again: the client's
 * next request waits for it, so that it can be healed in its place. */
static enum take careful_evalsha(struct client *c) {
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    struct buf *copy = NEW(struct buf);
    buf_add(copy, client_raw(c));
    backend_write(b, buf_slice(copy));
    struct req *req = backend_expect(b, c, REQ_WHOLE, 1);
    req->done = on_evalsha;
    req->self = copy;
    c->busy = true;
    return TAKE_DONE;
}

static void on_loaded_before(struct req *req, struct backend *b, struct slice reply) {
    if (slice_starts(reply, SLICE("$"))) b->worker->loaded[req->arg % LOADED_SLOTS] = req->arg;
}

void scripts_load_before(struct backend *b, struct slice shas) {
    for (; shas.size >= SCRIPT_SHA_BYTES; shas = slice_drop(shas, SCRIPT_SHA_BYTES)) {
        struct slice sha = slice_take(shas, SCRIPT_SHA_BYTES);
        uint64_t hash = 0;
        struct buf body = {0}, out = {0};
        if (*loaded_place(b->worker, sha, &hash) != hash &&
            scripts_find(b->worker->gw->scripts, sha, &body)) {
            struct slice argv[3] = {SLICE("SCRIPT"), SLICE("LOAD"), buf_slice(&body)};
            resp_write_command(&out, 3, argv);
            backend_write(b, buf_slice(&out));
            struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
            req->done = on_loaded_before;
            req->arg = hash;
        }
        buf_close(&body);
        buf_close(&out);
    }
}

enum take script_request(struct client *c, const struct command *command) {
    struct gateway *gw = c->worker->gw;
    const struct resp_request *r = &c->request;
    if (strncmp(command->name, "evalsha", 7) == 0) {
        uint64_t hash = 0;
        if (r->argv[1].size != 40) return client_forward(c);
        uint64_t *place = loaded_place(c->worker, r->argv[1], &hash);
        if (*place == hash) return client_forward(c);
        if (scripts_find(gw->scripts, r->argv[1], NULL)) return careful_evalsha(c);
        return client_forward(c);
    }
    enum take take = client_forward(c);
    if (take != TAKE_DONE) return take;
    if (strncmp(command->name, "eval", 4) == 0)
        scripts_add(gw->scripts, r->argv[1]);
    else if (strcmp(command->name, "script|load") == 0)
        scripts_add(gw->scripts, r->argv[2]);
    else {
        scripts_clear(gw->scripts);
        memset(c->worker->loaded, 0, sizeof c->worker->loaded);
    }
    return TAKE_DONE;
}

/* ---- MONITOR and CLIENT TRACKING: a connection of the client's own for good ---- */
enum take monitor_request(struct client *c) {
    enum take take = TAKE_DONE;
    if (c->monitor) {
        client_reply_ok(c);
        return TAKE_DONE;
    }
    struct backend *b = client_lease(c, &take);
    if (b == NULL) return take;
    backend_write(b, SLICE("*1\r\n$7\r\nMONITOR\r\n"));
    (void)backend_expect(b, c, REQ_RELAY, 1);
    b->mode = MODE_MONITOR;
    c->monitor = true;
    return TAKE_DONE;
}

enum take tracking_request(struct client *c, const struct command *command) {
    const struct resp_request *r = &c->request;
    bool on = strcmp(command->name, "client|tracking") == 0;
    if (on && slice_equal_nocase(r->argv[2], SLICE("on"))) {
        for (size_t i = 3; i < r->argc; i++) {
            if (!slice_equal_nocase(r->argv[i], SLICE("redirect"))) continue;
            client_reply_errorf(
                c, "ERR drawbridge: tracking with REDIRECT is not possible; use RESP3");
            return TAKE_DONE;
        }
        if (c->proto != 3) {
            client_reply_errorf(c, "ERR Client tracking can be enabled only with RESP3 here, or in "
                                   "RESP2 with REDIRECT, which drawbridge does not have");
            return TAKE_DONE;
        }
        enum take take = TAKE_DONE;
        if (client_lease(c, &take) == NULL) return take;
        take = client_forward(c);
        if (take != TAKE_DONE) return take;
        c->tracking = true;
        buf_clear(&c->tracking_on);
        buf_add(&c->tracking_on, client_raw(c));
        return TAKE_DONE;
    }
    enum take take = TAKE_DONE;
    if (!c->leased && client_lease(c, &take) == NULL) return take;
    take = client_forward(c);
    if (take != TAKE_DONE) return take;
    if (on) { /* off: the connection is clean once that is answered */
        c->tracking = false;
        buf_clear(&c->tracking_on);
    }
    if (!c->tracking && !c->watching && !c->monitor) c->lease_ends = true;
    return TAKE_DONE;
}
