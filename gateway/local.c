/* local.c -- commands that concern the connection itself are answered here: PING, ECHO, AUTH,
 * HELLO, SELECT, QUIT, RESET; see client.h. */
#include "gateway/backend.h"
#include "gateway/dual.h"
#include "gateway/client.h"
#include "gateway/multi.h"
#include "gateway/subs.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

static enum take answer(struct client *c) {
    client_reply_scratch(c);
    return TAKE_DONE;
}

static struct buf *fresh(struct client *c) {
    buf_clear(&c->worker->scratch);
    return &c->worker->scratch;
}

static enum take ping(struct client *c) {
    const struct resp_request *r = &c->request;
    if (r->argc > 2) {
        client_reply_errorf(c, "ERR wrong number of arguments for 'ping' command");
        return TAKE_DONE;
    }
    struct buf *out = fresh(c);
    if (r->argc == 1) {
        client_reply(c, SLICE("+PONG\r\n"));
        return TAKE_DONE;
    }
    resp_write_bulk(out, r->argv[1]);
    return answer(c);
}

static enum take echo(struct client *c) {
    resp_write_bulk(fresh(c), c->request.argv[1]);
    return answer(c);
}

/* USER empty: the default one. */
static bool password_fits(const struct client *c, struct slice user, struct slice password) {
    const struct drawbridge_config *config = c->worker->gw->config;
    const char *name = config->gateway.auth.user ? config->gateway.auth.user : "default";
    bool known = user.size == 0 || slice_equal(user, slice_text(name));
    if (!secret_is_set(&config->gateway.auth.password)) return known;
    bool right = secret_equal(&config->gateway.auth.password, password);
    return known && right;
}

static bool log_in(struct client *c, struct slice user, struct slice password) {
    if (password_fits(c, user, password)) {
        c->authed = true;
        return true;
    }
    counter_add(&c->worker->counters.rejected, 1);
    log_info("client.wrong_password", LOG_S("peer", stream_peer(c->stream)));
    client_reply_errorf(c, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

static enum take auth(struct client *c) {
    const struct resp_request *r = &c->request;
    const struct drawbridge_config *config = c->worker->gw->config;
    if (r->argc > 3) {
        client_reply_errorf(c, "ERR syntax error");
        return TAKE_DONE;
    }
    if (r->argc == 2 && !secret_is_set(&config->gateway.auth.password)) {
        client_reply_errorf(c, "ERR AUTH <password> called without any password configured for the "
                               "default user. Are you sure your configuration is correct?");
        return TAKE_DONE;
    }
    struct slice user = r->argc == 3 ? r->argv[1] : (struct slice){0};
    if (log_in(c, user, r->argv[r->argc - 1])) client_reply_ok(c);
    return TAKE_DONE;
}

static void write_hello(struct client *c) {
    struct buf *out = fresh(c);
    const char *version = c->worker->version[c->worker->side];
    resp_write_map(out, c->proto, 7);
    resp_write_text(out, "server");
    resp_write_text(out, "redis");
    resp_write_text(out, "version");
    resp_write_text(out, version[0] ? version : "7.0.15");
    resp_write_text(out, "proto");
    resp_write_int(out, c->proto);
    resp_write_text(out, "id");
    resp_write_int(out, (int64_t)c->id);
    resp_write_text(out, "mode");
    resp_write_text(out, "standalone");
    resp_write_text(out, "role");
    resp_write_text(out, "master");
    resp_write_text(out, "modules");
    resp_write_array(out, 0);
    client_reply_scratch(c);
}

/* A name may have no spaces or control characters, as in Redis. */
static bool name_is_fine(struct slice name) {
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < '!' || name.data[i] > '~') return false;
    return true;
}

static enum take hello(struct client *c) {
    const struct resp_request *r = &c->request;
    int64_t proto = c->proto;
    if (r->argc >= 2 && (!slice_to_int(r->argv[1], &proto) || proto < 2 || proto > 3)) {
        client_reply_errorf(c, "NOPROTO unsupported protocol version");
        return TAKE_DONE;
    }
    bool speaks = true;
    if (proto == 3 && c->worker->lanes && dual_hello3(c, &speaks) != TAKE_DONE) return TAKE_WAIT;
    if (!speaks) {
        client_reply_errorf(c, "NOPROTO unsupported protocol version");
        return TAKE_DONE;
    }
    if (proto != c->proto && (c->leased || c->outstanding > 0)) {
        if (c->outstanding > 0) return client_wait_idle(c);
        client_reply_errorf(c, "ERR drawbridge: the protocol cannot be changed while the client "
                               "watches or subscribes");
        return TAKE_DONE;
    }
    struct slice name = {0};
    bool named = false;
    for (size_t i = 2; i < r->argc; i++) {
        size_t left = r->argc - i - 1;
        if (slice_equal_nocase(r->argv[i], SLICE("auth")) && left >= 2) {
            if (!log_in(c, r->argv[i + 1], r->argv[i + 2])) return TAKE_DONE;
            i += 2;
        } else if (slice_equal_nocase(r->argv[i], SLICE("setname")) && left >= 1) {
            name = r->argv[++i];
            named = true;
            if (!name_is_fine(name)) {
                client_reply_errorf(c,
                                    "ERR Client names cannot contain spaces, newlines or special "
                                    "characters.");
                return TAKE_DONE;
            }
        } else {
            client_reply_errorf(c, "ERR Syntax error in HELLO option '%.*s'",
                                (int)(r->argv[i].size > 128 ? 128 : r->argv[i].size),
                                (const char *)r->argv[i].data);
            return TAKE_DONE;
        }
    }
    if (!c->authed) {
        client_reply_errorf(c,
                            "NOAUTH HELLO must be called with the client already authenticated, "
                            "otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
                            "authenticate the client and select the RESP protocol version at the "
                            "same time");
        return TAKE_DONE;
    }
    if (named) client_put_text(&c->name, name);
    c->proto = (uint8_t)proto;
    write_hello(c);
    return TAKE_DONE;
}

/* A database that was seen to exist at this side needs no question again. */
static bool db_is_verified(const struct worker *w, int64_t db) {
    return db < 1024 && (w->verified_dbs[w->side][db / 64] & (UINT64_C(1) << (db % 64))) != 0;
}

static void on_select(struct req *req, struct backend *b, struct slice reply) {
    struct client *c = req->client;
    int64_t db = (int64_t)req->arg;
    if (slice_starts(reply, SLICE("+OK"))) {
        c->db = (int32_t)db;
        if (db < 1024) b->worker->verified_dbs[b->side][db / 64] |= UINT64_C(1) << (db % 64);
    }
    if (c->stream != NULL && !req->mute) stream_write(c->stream, reply);
    c->busy = false;
    if (reply.size > 0) client_wake(c);
}

static enum take select_db(struct client *c) {
    int64_t db = 0;
    if (!slice_to_int(c->request.argv[1], &db) || db < INT32_MIN || db > INT32_MAX) {
        client_reply_errorf(c, "ERR value is not an integer or out of range");
        return TAKE_DONE;
    }
    if (db < 0) {
        client_reply_errorf(c, "ERR DB index is out of range");
        return TAKE_DONE;
    }
    if (db == c->db || db_is_verified(c->worker, db)) {
        c->db = (int32_t)db;
        client_reply_ok(c);
        return TAKE_DONE;
    }
    enum take take = TAKE_DONE;
    struct backend *b = client_conn(c, &take);
    if (b == NULL) return take;
    backend_write(b, client_raw(c));
    struct req *req = backend_expect(b, c, REQ_WHOLE, 1);
    req->done = on_select;
    req->arg = (uint64_t)db;
    b->db = -1; /* until somebody says it anew */
    c->busy = true;
    return TAKE_DONE;
}

static enum take quit(struct client *c) {
    client_reply_ok(c);
    client_close(c);
    return TAKE_STOP;
}

static enum take reset(struct client *c) {
    if (c->outstanding > 0) return client_wait_idle(c);
    multi_free(c);
    if (c->leased) client_unlease(c, false);
    subs_free(c);
    c->watching = c->watch_lost = c->tracking = c->monitor = false;
    client_reset(c);
    client_reply(c, SLICE("+RESET\r\n"));
    return TAKE_DONE;
}

enum take local_request(struct client *c, const struct command *command) {
    switch (command->name[0]) {
    case 'p': return ping(c);
    case 'e': return echo(c);
    case 'a': return auth(c);
    case 'h': return hello(c);
    case 's': return select_db(c);
    case 'q': return quit(c);
    case 'r': return reset(c);
    default: UNREACHABLE("local command");
    }
}
