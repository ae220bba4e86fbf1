/* admin.c -- the gateway's own socket. See admin.h. */
#include "gateway/admin.h"

#include "gateway/clientcmd.h"
#include "gateway/control.h"
#include "gateway/dual.h"
#include "gateway/dual_audit.h"
#include "gateway/lanes_slots.h"
#include "gateway/reads.h"
#include "gateway/stats.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/listener.h"
#include "lib/redis/resp.h"

#include <stdlib.h>

#define VOIDS "by hand: it is not proved any more that both sides are level"

static const struct resp_request_limits limits = {
    .args_max = 16, .bulk_bytes_max = 4096, .total_bytes_max = 16384, .authenticated = true};

struct admin {
    struct gateway *gw;
    struct listener *listener;
    struct list conns;
    uint64_t next_id;
};

struct conn {
    struct list link;
    struct admin *admin;
    struct stream *stream;
    uint64_t id; /* so that a late answer finds it, or finds it gone */
    bool waits;
    struct buf in;
    struct resp_request request;
};

struct listing {
    struct admin *admin;
    uint64_t id;
};

static void take(struct conn *conn);

static void say(struct conn *conn, struct slice text) {
    struct buf out = {0};
    resp_write_bulk(&out, text);
    stream_write(conn->stream, buf_slice(&out));
    buf_close(&out);
}

static void status(struct conn *conn, const char *text) {
    struct buf out = {0};
    if (text[0] == '-')
        resp_write_error(&out, slice_text(text + 1));
    else
        resp_write_simple(&out, slice_text(text));
    stream_write(conn->stream, buf_slice(&out));
    buf_close(&out);
}

static void on_listed(void *self, struct slice text) {
    struct listing *listing = self;
    LIST_EACH(&listing->admin->conns, at) {
        struct conn *conn = LIST_OWNER(at, struct conn, link);
        if (conn->id != listing->id) continue;
        say(conn, text);
        conn->waits = false;
        take(conn);
        break;
    }
    mem_free(listing);
}

/* Into the ledger, as soon as state is there to write it. */
static void record(struct gateway *gw, const char *what, const char *side) {
    char text[32];
    (void)snprintf(text, sizeof text, "%s%s%s", what, side ? "-" : "", side ? side : "");
    control_by_hand(gw->control, text);
}

static void pin(struct conn *conn, enum side side) {
    struct gateway *gw = conn->admin->gw;
    gw->pinned = true;
    record(gw, "pin", gateway_side_name(side));
    log_warn("gateway.pinned", LOG_S("side", gateway_side_name(side)), LOG_S("note", VOIDS));
    if (hold_is_held(&gw->hold))
        gateway_carry_out(
            gw, hold_on_release(&gw->hold, slice_text(gw->hold.barrier), gw->hold.epoch, side));
    else
        gateway_carry_out(gw, hold_on_route(&gw->hold, gw->hold.epoch, side));
    status(conn, "OK pinned " VOIDS);
}

static void release(struct conn *conn, enum side side) {
    struct gateway *gw = conn->admin->gw;
    if (!hold_is_held(&gw->hold)) {
        status(conn, "-ERR nothing is held");
        return;
    }
    record(gw, "release", gateway_side_name(side));
    log_warn("gateway.released", LOG_S("side", gateway_side_name(side)), LOG_S("note", VOIDS));
    gateway_carry_out(
        gw, hold_on_release(&gw->hold, slice_text(gw->hold.barrier), gw->hold.epoch, side));
    status(conn, "OK released " VOIDS);
}

static void reload(struct conn *conn) {
    struct why why;
    char text[sizeof why.text + 64];
    int64_t not_after_s = 0;
    if (gateway_reload(conn->admin->gw, &not_after_s, &why) != OK)
        (void)snprintf(text, sizeof text, "-ERR %s", why.text);
    else
        (void)snprintf(text, sizeof text, "OK the certificate ends at %lld",
                       (long long)not_after_s);
    status(conn, text);
}

/* GATEWAY READS [policy [AFTER ms]] */
static void reads(struct conn *conn, size_t argc, const struct slice *argv) {
    struct gateway *gw = conn->admin->gw;
    struct reads_policy policy;
    struct why why;
    char text[sizeof why.text + 8];
    if (argc > 0 && reads_parse_words(argc, argv, &policy, &why) != OK) {
        (void)snprintf(text, sizeof text, "-ERR %s", why.text);
        status(conn, text);
        return;
    }
    if (argc > 0) {
        reads_set(gw->reads, policy);
        reads_text(policy, text);
        log_info("gateway.reads", LOG_S("policy", text), LOG_U("after_ms", policy.after_ms));
        status(conn, "OK");
        return;
    }
    json_t *object = reads_json(gw->reads);
    char *json = json_dumps(object, JSON_COMPACT);
    say(conn, slice_text(json));
    free(json);
    json_decref(object);
}

static void audit(struct conn *conn, size_t argc, const struct slice *argv) {
    struct gateway *gw = conn->admin->gw;
    struct why why;
    struct buf json = {0};
    char text[sizeof why.text + 8];
    bool shows = false, done = false;
    if (gateway_audit_admin(gw, argc, argv, &shows, &why) != OK) {
        (void)snprintf(text, sizeof text, "-ERR %s", why.text);
        status(conn, text);
    } else if (shows) {
        gateway_audit_json(gw, &json, &done);
        say(conn, buf_slice(&json));
        buf_close(&json);
    } else {
        status(conn, "OK");
    }
}

static void on_command(struct conn *conn) {
    struct gateway *gw = conn->admin->gw;
    const struct resp_request *r = &conn->request;
    struct slice verb = r->argc > 1 ? r->argv[1] : (struct slice){0};
    enum side side = gw->hold.side;
    bool sided = r->argc == 3 && gateway_side_parse(r->argv[2], &side);
    if (slice_equal_nocase(r->argv[0], SLICE("PING"))) {
        status(conn, "PONG");
    } else if (!slice_equal_nocase(r->argv[0], SLICE("GATEWAY"))) {
        status(conn, "-ERR this is the admin socket: GATEWAY STATS|LANES|SLOTS|AUDIT|READS|CLIENTS|HOLD|RELEASE|PIN|UNPIN");
    } else if (slice_equal_nocase(verb, SLICE("STATS"))) {
        struct buf json = {0};
        stats_write_json(gw, &json);
        say(conn, buf_slice(&json));
        buf_close(&json);
    } else if (slice_equal_nocase(verb, SLICE("CLIENTS"))) {
        struct listing *listing = NEW(struct listing);
        *listing = (struct listing){conn->admin, conn->id};
        conn->waits = true;
        clientcmd_list(gw, on_listed, listing);
    } else if (slice_equal_nocase(verb, SLICE("LANES")) && !gw->lanes) {
        status(conn, "-ERR this gateway has no lanes: its capture is stream");
    } else if (slice_equal_nocase(verb, SLICE("LANES"))) {
        struct buf json = {0};
        dual_write_json(gw, &json);
        say(conn, buf_slice(&json));
        buf_close(&json);
    } else if (slice_equal_nocase(verb, SLICE("SLOTS")) && !gw->lanes) {
        status(conn, "-ERR this gateway has no lanes: its capture is stream");
    } else if (slice_equal_nocase(verb, SLICE("SLOTS"))) {
        struct listing *listing = NEW(struct listing);
        *listing = (struct listing){conn->admin, conn->id};
        conn->waits = true;
        lanes_slots(gw, on_listed, listing);
    } else if (slice_equal_nocase(verb, SLICE("READS"))) {
        reads(conn, r->argc - 2, r->argv + 2);
    } else if (slice_equal_nocase(verb, SLICE("AUDIT"))) {
        audit(conn, r->argc - 2, r->argv + 2);
    } else if (slice_equal_nocase(verb, SLICE("HOLD"))) {
        log_warn("gateway.held", LOG_S("note", VOIDS));
        record(gw, "hold", NULL);
        gateway_carry_out(
            gw, hold_on_hold(&gw->hold, SLICE("by-hand"), gw->hold.epoch, loop_now_ms(gw->main)));
        status(conn, "OK");
    } else if (slice_equal_nocase(verb, SLICE("RELEASE")) && (r->argc == 2 || sided)) {
        release(conn, side);
    } else if (slice_equal_nocase(verb, SLICE("PIN")) && sided) {
        pin(conn, side);
    } else if (slice_equal_nocase(verb, SLICE("UNPIN"))) {
        if (gw->pinned) record(gw, "unpin", NULL);
        gw->pinned = false;
        status(conn, "OK");
    } else if (slice_equal_nocase(verb, SLICE("RELOAD"))) {
        reload(conn);
    } else {
        status(conn,
               "-ERR GATEWAY STATS|LANES|SLOTS|AUDIT|READS|CLIENTS|HOLD|RELEASE [side]|PIN legacy|target|UNPIN|RELOAD");
    }
}

static void take(struct conn *conn) {
    while (!conn->waits) {
        struct why why;
        size_t used = 0;
        enum step step =
            resp_request_next(&conn->request, &limits, buf_slice(&conn->in), &used, &why);
        if (step == STEP_MORE) return;
        if (step == STEP_FAIL) {
            stream_close(conn->stream);
            return;
        }
        if (conn->request.argc > 0) on_command(conn);
        buf_consume(&conn->in, used);
    }
}

static void on_bytes(void *self, struct slice bytes) {
    struct conn *conn = self;
    if (buf_size(&conn->in) + bytes.size > (1u << 20)) {
        stream_abort(conn->stream);
        return;
    }
    buf_add(&conn->in, bytes);
    take(conn);
}

static void free_conn(struct conn *conn) {
    list_remove(&conn->link);
    buf_close(&conn->in);
    resp_request_close(&conn->request);
    mem_free(conn);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    (void)err;
    (void)why;
    free_conn(self);
}

static const struct stream_events events = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_stream(void *self, struct stream *stream) {
    struct admin *admin = self;
    struct conn *conn = NEW(struct conn);
    conn->admin = admin;
    conn->stream = stream;
    conn->id = ++admin->next_id;
    list_push(&admin->conns, &conn->link);
    stream_set_owner(stream, &events, conn);
}

enum err admin_open(struct admin **admin, struct gateway *gw, struct why *why) {
    struct admin *a = NEW(struct admin);
    a->gw = gw;
    list_init(&a->conns);
    enum err err = listener_open(&a->listener, gw->main, &gw->config->gateway.admin.endpoint, NULL,
                                 on_stream, a, why);
    if (err != OK) {
        mem_free(a);
        return err;
    }
    *admin = a;
    return OK;
}

void admin_close(struct admin *admin) {
    if (admin == NULL) return;
    listener_close(admin->listener);
    while (!list_is_empty(&admin->conns)) {
        struct conn *conn = LIST_OWNER(admin->conns.next, struct conn, link);
        stream_drop(conn->stream);
        free_conn(conn);
    }
    mem_free(admin);
}
