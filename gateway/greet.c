/* greet.c -- how a connection to a side becomes ready for use. See greet.h and backend.h.
 *
 * The greeting is one pipeline: [AUTH] [HELLO 3] CLIENT SETNAME, CLIENT ID, INFO server, INFO
 * replication. Then, at a bundled server, DRAWBRIDGE JOIN; then state is asked for the epoch.
 */
#include "gateway/greet.h"

#include "gateway/client.h"
#include "gateway/dual.h"
#include "gateway/shards/shards.h"
#include "gateway/dual_witness.h"
#include "gateway/others.h"

#include "lib/base/log.h"

#include <inttypes.h>

#define RETRY_MS_MAX 250u /* clients wait meanwhile, and a failover should not feel longer */

static const struct sm_rule rules[BACKEND_STATES] = {
    [BACKEND_DIALLING] = {"dialling", SM_TO(BACKEND_GREETING) | SM_TO(BACKEND_GONE)},
    [BACKEND_GREETING] = {"greeting",
                          SM_TO(BACKEND_JOINING) | SM_TO(BACKEND_ASKING) | SM_TO(BACKEND_GONE)},
    [BACKEND_JOINING] = {"joining", SM_TO(BACKEND_ASKING) | SM_TO(BACKEND_GONE)},
    [BACKEND_ASKING] = {"asking", SM_TO(BACKEND_READY) | SM_TO(BACKEND_GONE)},
    [BACKEND_READY] = {"ready", SM_TO(BACKEND_GONE)},
    [BACKEND_GONE] = {"gone", 0},
};

static const struct resp_reply_limits greeting_limits = {
    .bytes_max = 1u << 20, .items_max = 1000, .depth_max = 8};
static const struct resp_reply_limits list_limits = {
    .bytes_max = 64u << 20, .items_max = 1, .depth_max = 1}; /* a line for each client */

struct sm greet_machine(void) {
    return (struct sm){rules, BACKEND_DIALLING};
}

static const struct config_side *side_config(const struct backend *b) {
    const struct drawbridge_config *config = b->worker->gw->config;
    return b->side == SIDE_LEGACY ? &config->legacy : &config->target;
}

static void make_name(const struct backend *b, char *text, size_t size) {
    (void)snprintf(text, size, "drawbridge-gw:%s:%" PRIu64 ":%u-%" PRIu64, b->worker->gw->name,
                   b->epoch, b->worker->number, b->id);
}

/* Which replies the greeting has, in order. */
enum greeting {
    GREET_AUTH,
    GREET_HELLO,
    GREET_NAME,
    GREET_ID,
    GREET_SERVER,
    GREET_ROLE,
    GREET_LIST,
    GREETINGS
};

static bool greeting_is_wanted(const struct backend *b, unsigned which) {
    if (which == GREET_AUTH) return secret_is_set(&side_config(b)->auth.password);
    if (which == GREET_HELLO) return b->proto == 3;
    if (which == GREET_LIST) return b->id_by_list;
    return true;
}

static void write_auth(const struct backend *b, struct buf *out) {
    const struct config_side *side = side_config(b);
    struct slice password = secret_slice(&side->auth.password);
    if (side->auth.user != NULL) {
        struct slice argv[3] = {SLICE("AUTH"), slice_text(side->auth.user), password};
        resp_write_command(out, 3, argv);
    } else {
        struct slice argv[2] = {SLICE("AUTH"), password};
        resp_write_command(out, 2, argv);
    }
}

void greet_begin(struct backend *b) {
    char name[192];
    struct buf out = {0};
    sm_move(&b->sm, BACKEND_GREETING);
    make_name(b, name, sizeof name);
    if (greeting_is_wanted(b, GREET_AUTH)) write_auth(b, &out);
    if (greeting_is_wanted(b, GREET_HELLO)) resp_write_words(&out, "HELLO", "3", NULL);
    resp_write_words(&out, "CLIENT", "SETNAME", name, NULL);
    resp_write_words(&out, "CLIENT", "ID", NULL);
    resp_write_words(&out, "INFO", "server", NULL);
    resp_write_words(&out, "INFO", "replication", NULL);
    backend_write(b, buf_slice(&out));
    secret_wipe(out.data, out.cap);
    buf_close(&out);
}

static void ask(struct backend *b) {
    sm_move(&b->sm, BACKEND_ASKING);
    struct gateway *gw = b->worker->gw;
    if (gw->standalone || gw->pinned) {
        backend_on_epoch(b, true);
        return;
    }
    struct report_message message = {.report = REPORT_ASK,
                                     .worker = b->worker->number,
                                     .backend = b->id,
                                     .epoch = b->worker->epoch};
    gateway_tell(gw, &message);
}

static void write_join(struct backend *b, struct buf *out) {
    char name[192], epoch[24];
    make_name(b, name, sizeof name);
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, b->epoch);
    if (b->is_bundled)
        resp_write_words(out, "DRAWBRIDGE", "JOIN", name, epoch, NULL);
    else
        resp_write_words(out, "CLIENT", "SETNAME", name, NULL);
}

static void join(struct backend *b) {
    sm_move(&b->sm, BACKEND_JOINING);
    struct buf out = {0};
    write_join(b, &out);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
}

static void copy_text(char *to, size_t room, struct slice text) {
    size_t size = text.size < room ? text.size : room - 1;
    memcpy(to, text.data, size);
    to[size] = '\0';
}

static void on_server_info(struct backend *b, struct slice info) {
    struct slice value;
    struct worker *w = b->worker;
    if (resp_info_field(info, "run_id", &value)) {
        copy_text(b->run_id, sizeof b->run_id, value);
        if (strcmp(w->run_id[b->side], b->run_id) != 0) {
            memcpy(w->run_id[b->side], b->run_id, sizeof b->run_id);
            memset(w->loaded, 0, sizeof w->loaded); /* another process: its scripts are unknown */
        }
    }
    if (resp_info_field(info, "redis_version", &value))
        copy_text(w->version[b->side], sizeof w->version[b->side], value);
    b->is_bundled = resp_info_field(info, "drawbridge_version", &value);
}

/* Before 5.0 there is no CLIENT ID. Lanes need to name their connections (C21). */
static void ask_for_list(struct backend *b) {
    b->id_by_list = true;
    backend_write(b, SLICE("*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n"));
}

static void on_list(struct backend *b, struct slice list) {
    char name[192];
    make_name(b, name, sizeof name);
    b->server_id = others_id_of(list, slice_text(name));
    if (b->server_id != 0) dual_note_id(b->worker, b->side, b->server_id);
}

/* One reply of the greeting; NULL, or why the connection cannot be used. */
static const char *on_greeting(struct backend *b, unsigned which, const struct resp_reply *reply) {
    struct slice role;
    bool refused = resp_reply_is_error(reply);
    switch ((enum greeting)which) {
    case GREET_AUTH:
        if (refused) return "wrong password";
        break;
    case GREET_HELLO:
        if (refused) return "it does not speak RESP3";
        break;
    case GREET_NAME: break; /* a server that refuses names is used without */
    case GREET_ID:
        if (!refused && resp_reply_to_int(reply, &b->server_id))
            dual_note_id(b->worker, b->side, b->server_id);
        else if (b->worker->lanes)
            ask_for_list(b);
        break;
    case GREET_LIST:
        if (!refused) on_list(b, reply->text);
        break;
    case GREET_SERVER:
        if (!refused) on_server_info(b, reply->text);
        return refused || !b->worker->lanes ? NULL : dual_unfit_server(b, reply->text);
    case GREET_ROLE:
        /* The side that is only prepared may be one until the barrier; READONLY would tell later.
         */
        if (!refused && b->side == b->worker->side && resp_info_field(reply->text, "role", &role) &&
            slice_equal(role, SLICE("slave"))) {
            greet_downgraded(b, "it is a replica");
            return NULL;
        }
        break;
    case GREETINGS:
    default: UNREACHABLE("greeting");
    }
    return NULL;
}

/* An error line, cut so that it fits a sentence. */
static void fail(struct backend *b, const char *what, const struct resp_reply *reply) {
    char text[256];
    int shown = reply->text.size > 100 ? 100 : (int)reply->text.size;
    (void)snprintf(text, sizeof text, "%s: %.*s", what, shown, (const char *)reply->text.data);
    greet_failed(b, ERR_REFUSED, text);
    backend_abort(b);
}

static void take_reply(struct backend *b, const struct resp_reply *reply) {
    if (b->sm.state == BACKEND_JOINING) {
        if (resp_reply_is_error(reply))
            fail(b, "JOIN", reply);
        else
            ask(b);
        return;
    }
    while (!greeting_is_wanted(b, b->greeted)) b->greeted++;
    const char *why = on_greeting(b, b->greeted++, reply);
    if (b->sm.state == BACKEND_GONE) return;
    if (why != NULL) {
        fail(b, why, reply);
        return;
    }
    while (b->greeted < GREETINGS && !greeting_is_wanted(b, b->greeted)) b->greeted++;
    if (b->greeted < GREETINGS) return;
    if (b->is_bundled)
        join(b);
    else
        ask(b);
}

size_t greet_take(struct backend *b, struct slice bytes) {
    size_t at = 0;
    while (b->sm.state == BACKEND_GREETING || b->sm.state == BACKEND_JOINING) {
        struct resp_reply *reply = NULL;
        struct why why;
        size_t used = 0;
        bool list = b->greeted == GREET_LIST;
        enum step step = resp_reply_next(&b->greeting, list ? &list_limits : &greeting_limits,
                                         slice_drop(bytes, at), &reply, &used, &why);
        if (step == STEP_MORE) break;
        if (step == STEP_FAIL) {
            greet_failed(b, ERR_PROTO, why.text);
            backend_abort(b);
            break;
        }
        at += used;
        take_reply(b, reply);
        resp_reply_free(reply);
    }
    return at;
}

void greet_failed(struct backend *b, enum err err, const char *why) {
    struct worker *w = b->worker;
    (void)err;
    uint64_t failures = ++w->fail_count[b->side];
    uint64_t wait_ms = failures > 3 ? RETRY_MS_MAX : 25u << failures;
    w->retry_at_ms[b->side] = loop_now_ms(w->loop) + wait_ms;
    log_warn("backend.failed", LOG_S("side", gateway_side_name(b->side)),
             LOG_S("state", sm_name(&b->sm)), LOG_S("why", why));
    if (b->prepared) worker_prepared_one(w);
    b->prepared = false;
}

void greet_downgraded(struct backend *b, const char *why) {
    struct worker *w = b->worker;
    struct report_message message = {
        .report = REPORT_DOWNGRADED, .worker = w->number, .side = b->side};
    (void)snprintf(message.why, sizeof message.why, "%s %s", backend_peer(b), why);
    log_warn("backend.downgraded", LOG_S("side", gateway_side_name(b->side)),
             LOG_S("why", message.why));
    gateway_tell(w->gw, &message);
    if (b->sm.state < BACKEND_READY) {
        greet_failed(b, ERR_STATE, why);
        backend_abort(b);
        return;
    }
    /* After the answers that are in hand: at the end of this callback (worker_run_ready). */
    w->drop_side[b->side] = true;
}

/* State's answer: the epoch holds, or it moved on and a ROUTE is on its way. */
void backend_on_epoch(struct backend *b, bool fine) {
    struct worker *w = b->worker;
    if (b->shards != NULL && b->sm.state == BACKEND_READY) {
        shards_conn_on_epoch(b->shards, fine && b->epoch == w->epoch);
        return;
    }
    if (b->sm.state != BACKEND_ASKING) return;
    if (!fine || b->epoch != w->epoch) {
        greet_failed(b, ERR_STATE, "the epoch has moved on");
        backend_abort(b);
        return;
    }
    sm_move(&b->sm, BACKEND_READY);
    w->fail_count[b->side] = 0;
    counter_add(&w->counters.backends_up, 1);
    barrier_on_ready(b);
    if (b->dedicated) {
        w->lease_dialling--;
        if (b->shadow_of != NULL) return;
        if (b->witness != NULL) {
            dual_witness_ready(b);
            return;
        }
        if (b->line != NULL) {
            dual_on_ready(b);
            if (b->side == w->side) worker_unpark_all(w, PARK_ROUTE);
            if (!list_is_empty(&w->graves)) graves_dig(w);
            return;
        }
        list_push(&w->idle[b->proto - 2], &b->idle);
        w->idle_count++;
        if (b->side == w->side) worker_unpark_one(w, PARK_LEASE);
    } else if (b->side == w->side) {
        w->unready_since_ms = 0;
        worker_unpark_all(w, PARK_ROUTE);
    }
    if (!list_is_empty(&w->graves)) graves_dig(w);
}

static void on_renamed(struct req *req, struct backend *b, struct slice reply) {
    (void)req;
    if (!slice_starts(reply, SLICE("-"))) return;
    log_warn("backend.stale", LOG_S("side", gateway_side_name(b->side)), LOG_SL("reply", reply));
    b->worker->drop_side[b->side] = true;
}

void backend_rename(struct backend *b) {
    struct buf out = {0};
    b->epoch = b->worker->epoch;
    write_join(b, &out);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    backend_expect(b, NULL, REQ_WHOLE, 1)->done = on_renamed;
}
