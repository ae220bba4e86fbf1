/* acl_log.c -- ACL LOG: the last refusals, equal ones within a minute counted together. */
#include "server/acl_inside.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/client_info.h"
#include "server/engine.h"
#include "server/reply.h"

#define SAME_WITHIN_MS 60000
#define LOOK_BACK 10 /* entries in which an equal one is looked for */

struct acl_log {
    struct acl_log_entry *first; /* newest */
    int64_t count;
};

struct acl_log_entry {
    struct acl_log_entry *next;
    uint64_t times;
    enum acl_denied reason;
    enum acl_context context;
    int64_t at_ms;
    struct buf object, user, client;
};

static void free_entry(struct acl_log_entry *entry) {
    buf_close(&entry->object);
    buf_close(&entry->user);
    buf_close(&entry->client);
    mem_free(entry);
}

static void trim(struct acl_log *log, int64_t max) {
    struct acl_log_entry **at = &log->first;
    for (int64_t i = 0; i < max && *at; i++) at = &(*at)->next;
    for (struct acl_log_entry *entry = *at, *next; entry; entry = next, log->count--) {
        next = entry->next;
        free_entry(entry);
    }
    *at = NULL;
}

static struct acl_log_entry *take_equal(struct acl_log *log, enum acl_denied reason,
                                        enum acl_context context, struct slice user,
                                        struct slice object, int64_t now_ms) {
    struct acl_log_entry **at = &log->first;
    for (int i = 0; i < LOOK_BACK && *at; i++, at = &(*at)->next) {
        struct acl_log_entry *entry = *at;
        if (entry->reason != reason || entry->context != context ||
            now_ms - entry->at_ms > SAME_WITHIN_MS ||
            !slice_equal(buf_slice(&entry->object), object) ||
            !slice_equal(buf_slice(&entry->user), user))
            continue;
        *at = entry->next;
        log->count--;
        return entry;
    }
    return NULL;
}

void acl_log_add(struct client *c, enum acl_denied reason, enum acl_context context,
                 struct slice user, struct slice object) {
    struct engine *engine = c->engine;
    struct engine_acl *acl = engine->acl;
    if (acl->log == NULL) acl->log = NEW(struct acl_log);
    struct acl_log_entry *entry =
        take_equal(acl->log, reason, context, user, object, engine->now_ms);
    if (entry == NULL) {
        entry = NEW(struct acl_log_entry);
        entry->reason = reason;
        entry->context = context;
        buf_add(&entry->object, object);
        buf_add(&entry->user, user);
    }
    buf_clear(&entry->client);
    /* A script runs as a client of its own; who called it is what matters. */
    client_describe(context == ACL_IN_SCRIPT && engine->current ? engine->current : c,
                    &entry->client);
    entry->at_ms = engine->now_ms;
    entry->times++;
    entry->next = acl->log->first;
    acl->log->first = entry;
    acl->log->count++;
    trim(acl->log, engine->settings.acllog_max_len);
}

static void reply_entry(struct client *c, const struct acl_log_entry *entry) {
    static const char *const reasons[] = {"unknown", "command", "key", "channel", "auth"};
    static const char *const contexts[] = {"toplevel", "multi", "lua"};
    reply_map(c, 7);
    reply_bulk_text(c, "count");
    reply_int(c, (int64_t)entry->times);
    reply_bulk_text(c, "reason");
    reply_bulk_text(c, reasons[entry->reason]);
    reply_bulk_text(c, "context");
    reply_bulk_text(c, contexts[entry->context]);
    reply_bulk_text(c, "object");
    reply_bulk(c, buf_slice(&entry->object));
    reply_bulk_text(c, "username");
    reply_bulk(c, buf_slice(&entry->user));
    reply_bulk_text(c, "age-seconds");
    reply_double(c, (double)(c->engine->now_ms - entry->at_ms) / 1000);
    reply_bulk_text(c, "client-info");
    reply_bulk(c, buf_slice(&entry->client));
}

void acl_log_run(struct client *c) {
    struct acl_log *log = c->engine->acl->log;
    int64_t wanted = 10;
    if (c->argc == 3 && arg_is(c->argv[2], "reset")) {
        if (log) trim(log, 0);
        reply_ok(c);
        return;
    }
    if (c->argc == 3 && !arg_int(c, c->argv[2], &wanted, NULL)) return;
    if (wanted < 0) wanted = 0;
    int64_t there = log ? log->count : 0;
    if (wanted > there) wanted = there;
    reply_array(c, (size_t)wanted);
    for (const struct acl_log_entry *e = log ? log->first : NULL; wanted-- > 0; e = e->next)
        reply_entry(c, e);
}
