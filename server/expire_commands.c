/* expire_commands.c -- EXPIRE and its kin, TTL and its kin, PERSIST. */
#include "server/args.h"
#include "server/engine.h"
#include "server/expiry_args.h"
#include "server/groups.h"
#include "server/reply.h"

#include <limits.h>

static bool invalid(struct client *c) {
    reply_error(c, "ERR invalid expire time in '%s' command", c->command->name);
    return false;
}

bool expiry_read(struct client *c, struct slice arg, bool seconds, bool absolute, bool positive,
                 int64_t *expiry_ms) {
    int64_t when;
    if (!arg_int(c, arg, &when, NULL)) return false;
    if (positive && when <= 0) return invalid(c);
    if (seconds && __builtin_mul_overflow(when, 1000, &when)) return invalid(c);
    if (!absolute && __builtin_add_overflow(when, c->engine->now_ms, &when)) return invalid(c);
    *expiry_ms = when < 0 ? 0 : when;
    return true;
}

bool expiry_deletes_now(const struct client *c, int64_t expiry_ms) {
    const struct engine *engine = c->engine;
    if (engine->loading || engine->role == ROLE_REPLICA ||
        c->flags & (CLIENT_MASTER | CLIENT_LOADING))
        return false;
    if (engine->settings.import_mode && c->flags & CLIENT_IMPORT_SOURCE) return false;
    return expiry_ms <= engine->now_ms;
}

/* ---- EXPIRE ---- */

enum { ONLY_NEW = 1, ONLY_OLD = 2, ONLY_LATER = 4, ONLY_EARLIER = 8 };

static bool read_conditions(struct client *c, int *conditions) {
    *conditions = 0;
    for (int i = 3; i < c->argc; i++) {
        if (arg_is(c->argv[i], "nx"))
            *conditions |= ONLY_NEW;
        else if (arg_is(c->argv[i], "xx"))
            *conditions |= ONLY_OLD;
        else if (arg_is(c->argv[i], "gt"))
            *conditions |= ONLY_LATER;
        else if (arg_is(c->argv[i], "lt"))
            *conditions |= ONLY_EARLIER;
        else {
            int size = c->argv[i].size < INT_MAX ? (int)c->argv[i].size : INT_MAX;
            reply_error(c, "ERR Unsupported option %.*s", size, (const char *)c->argv[i].data);
            return false;
        }
    }
    if (*conditions & ONLY_NEW && *conditions & ~ONLY_NEW) {
        reply_error(c, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (*conditions & ONLY_LATER && *conditions & ONLY_EARLIER) {
        reply_error(c, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool holds(const struct entry *e, int conditions, int64_t expiry_ms) {
    int64_t current = entry_expiry(e);
    if (conditions & ONLY_NEW && current != -1) return false;
    if (conditions & ONLY_OLD && current == -1) return false;
    if (conditions & ONLY_LATER && (current == -1 || expiry_ms <= current)) return false;
    if (conditions & ONLY_EARLIER && current != -1 && expiry_ms >= current) return false;
    return true;
}

static void expire(struct client *c, bool seconds, bool absolute) {
    struct slice key = c->argv[1];
    int conditions;
    int64_t expiry_ms;
    if (!read_conditions(c, &conditions)) return;
    if (!expiry_read(c, c->argv[2], seconds, absolute, false, &expiry_ms)) return;
    struct entry *e = key_lookup(c, key);
    if (e == NULL || !holds(e, conditions, expiry_ms)) {
        reply_int(c, 0);
        return;
    }
    if (expiry_deletes_now(c, expiry_ms)) {
        (void)db_delete(c->db, key);
        PROPAGATE_INSTEAD(
            c, c->engine->settings.lazyfree_lazy_expire ? SLICE("UNLINK") : SLICE("DEL"), key);
        key_changed(c, key, NOTIFY_GENERIC, "del", 1);
    } else {
        (void)db_set_expiry(c->db, e, expiry_ms);
        char text[ENTRY_INT_TEXT];
        PROPAGATE_INSTEAD(c, SLICE("PEXPIREAT"), key,
                          slice_from(text, number_write_int(text, expiry_ms)));
        key_changed(c, key, NOTIFY_GENERIC, "expire", 1);
    }
    reply_int(c, 1);
}

static void run_expire(struct client *c) {
    expire(c, true, false);
}
static void run_expireat(struct client *c) {
    expire(c, true, true);
}
static void run_pexpire(struct client *c) {
    expire(c, false, false);
}
static void run_pexpireat(struct client *c) {
    expire(c, false, true);
}

/* ---- TTL ---- */

static void ttl(struct client *c, bool seconds, bool absolute) {
    uint64_t no_touch = c->flags & CLIENT_NO_TOUCH;
    c->flags |= CLIENT_NO_TOUCH;
    struct entry *e = key_read(c, c->argv[1]);
    c->flags = (c->flags & ~(uint64_t)CLIENT_NO_TOUCH) | no_touch;
    if (e == NULL || !entry_expires(e)) {
        reply_int(c, e == NULL ? -2 : -1);
        return;
    }
    int64_t left = absolute ? entry_expiry(e) : entry_expiry(e) - c->engine->now_ms;
    if (left < 0) left = 0;
    reply_int(c, seconds ? (left + 500) / 1000 : left);
}

static void run_ttl(struct client *c) {
    ttl(c, true, false);
}
static void run_pttl(struct client *c) {
    ttl(c, false, false);
}
static void run_expiretime(struct client *c) {
    ttl(c, true, true);
}
static void run_pexpiretime(struct client *c) {
    ttl(c, false, true);
}

static void run_persist(struct client *c) {
    struct entry *e = key_lookup(c, c->argv[1]);
    if (e == NULL || !entry_expires(e)) {
        reply_int(c, 0);
        return;
    }
    (void)db_set_expiry(c->db, e, -1);
    key_changed(c, c->argv[1], NOTIFY_GENERIC, "persist", 1);
    reply_int(c, 1);
}

void expire_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"expire", run_expire},
                                                      {"expireat", run_expireat},
                                                      {"pexpire", run_pexpire},
                                                      {"pexpireat", run_pexpireat},
                                                      {"ttl", run_ttl},
                                                      {"pttl", run_pttl},
                                                      {"expiretime", run_expiretime},
                                                      {"pexpiretime", run_pexpiretime},
                                                      {"persist", run_persist}};
    command_bind(engine, bindings, COUNT(bindings));
}
