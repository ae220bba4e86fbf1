/* connection_commands.c -- HELLO, PING, ECHO, SELECT, QUIT, RESET. */
#include "server/acl.h"
#include "server/args.h"
#include "server/client_info.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/monitor.h"
#include "server/multi.h"
#include "server/pubsub.h"
#include "server/reply.h"
#include "server/tracking.h"

static void reply_hello(struct client *c) {
    reply_map(c, 7);
    reply_bulk_text(c, "server");
    reply_bulk_text(c, "redis");
    reply_bulk_text(c, "version");
    reply_bulk_text(c, SERVER_VERSION);
    reply_bulk_text(c, "proto");
    reply_int(c, c->resp);
    reply_bulk_text(c, "id");
    reply_int(c, (int64_t)c->id);
    reply_bulk_text(c, "mode");
    reply_bulk_text(c, c->engine->cluster ? "cluster" : "standalone");
    reply_bulk_text(c, "role");
    reply_bulk_text(c, c->engine->role == ROLE_MASTER ? "master" : "replica");
    reply_bulk_text(c, "modules");
    reply_empty_array(c);
}

static void run_hello(struct client *c) {
    int64_t version = c->resp;
    int at = 1;
    struct slice name = SLICE("");
    bool named = false;
    if (c->argc >= 2) {
        if (!arg_int(c, c->argv[1], &version, "Protocol version is not an integer or out of range"))
            return;
        if (version < 2 || version > 3) {
            reply_error(c, "NOPROTO unsupported protocol version");
            return;
        }
        at = 2;
    }
    for (; at < c->argc; at++) {
        int left = c->argc - at - 1;
        if (arg_is(c->argv[at], "auth") && left >= 2) {
            bool good = acl_authenticate(c, c->argv[at + 1], c->argv[at + 2]);
            acl_redact(c, at + 1);
            acl_redact(c, at + 2);
            if (!good) {
                reply_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
                return;
            }
            at += 2;
        } else if (arg_is(c->argv[at], "setname") && left >= 1) {
            name = c->argv[++at];
            named = true;
            if (!client_name_is_good(name)) {
                reply_error(
                    c, "ERR Client names cannot contain spaces, newlines or special characters.");
                return;
            }
        } else {
            reply_error(c, "ERR Syntax error in HELLO option '%.*s'",
                        (int)(c->argv[at].size < 128 ? c->argv[at].size : 128),
                        (const char *)c->argv[at].data);
            return;
        }
    }
    if (!c->authenticated) {
        reply_error(c, "NOAUTH HELLO must be called with the client already authenticated, "
                       "otherwise the HELLO AUTH <user> <pass> "
                       "option can be used to authenticate the client and select the "
                       "RESP protocol version "
                       "at the same time");
        return;
    }
    if (named) client_set_text(&c->name, name);
    c->resp = (int)version;
    reply_hello(c);
}

static void run_ping(struct client *c) {
    if (c->argc > 2) {
        reply_wrong_arity(c);
        return;
    }
    if (c->flags & CLIENT_PUBSUB && c->resp == 2) {
        reply_array(c, 2);
        reply_bulk_text(c, "pong");
        reply_bulk(c, c->argc == 2 ? c->argv[1] : SLICE(""));
    } else if (c->argc == 1)
        reply_raw(c, SLICE("+PONG\r\n"));
    else
        reply_bulk(c, c->argv[1]);
}

static void run_echo(struct client *c) {
    reply_bulk(c, c->argv[1]);
}

static void run_select(struct client *c) {
    int64_t id;
    if (!arg_int_range(c, c->argv[1], INT32_MIN, INT32_MAX, &id, NULL)) return;
    if (c->engine->cluster && id != 0) {
        reply_error(c, "ERR SELECT is not allowed in cluster mode");
        return;
    }
    if (id < 0 || id >= c->engine->db_count) {
        reply_error(c, "ERR DB index is out of range");
        return;
    }
    c->db = &c->engine->dbs[id];
    reply_ok(c);
}

static void run_quit(struct client *c) {
    reply_ok(c);
    client_close_after_reply(c);
}

static void run_reset(struct client *c) {
    if (c->flags & (CLIENT_MASTER | CLIENT_REPLICA)) {
        reply_error(c, "ERR can only reset normal client connections");
        return;
    }
    monitor_forget(c);
    tracking_forget(c);
    multi_discard(c);
    pubsub_unsubscribe_all(c);
    const uint64_t gone = CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT |
                          CLIENT_NO_EVICT | CLIENT_NO_TOUCH | CLIENT_IMPORT_SOURCE |
                          CLIENT_ASKING | CLIENT_READONLY;
    c->flags &= ~gone;
    c->db = &c->engine->dbs[0];
    c->resp = 2;
    acl_welcome(c);
    client_set_text(&c->name, SLICE(""));
    reply_simple(c, "RESET");
}

void connection_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"hello", run_hello}, {"ping", run_ping},
                                                      {"echo", run_echo},   {"select", run_select},
                                                      {"quit", run_quit},   {"reset", run_reset}};
    command_bind(engine, bindings, COUNT(bindings));
}
