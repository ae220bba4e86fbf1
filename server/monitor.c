/* monitor.c -- MONITOR. */
#include "server/monitor.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/output.h"
#include "server/quote.h"
#include "server/reply.h"

struct engine_monitor {
    size_t count;
    struct client *clients[64];
};

void monitor_feed(struct client *c) {
    struct engine *engine = c->engine;
    struct buf line = {0};
    buf_printf(&line, "+%lld.%06lld [%d %s]", (long long)(engine->now_ms / 1000),
               (long long)(engine->now_ms % 1000 * 1000), c->db->id,
               c->flags & CLIENT_SCRIPT ? "lua"
               : c->peer[0]             ? c->peer
                                        : "?");
    for (int i = 0; i < c->argc; i++) {
        buf_byte(&line, ' ');
        quote_add(&line, c->argv[i]);
    }
    buf_append(&line, "\r\n", 2);
    for (size_t i = 0; i < engine->monitor->count; i++) {
        struct client *to = engine->monitor->clients[i];
        reply_raw(to, buf_slice(&line));
        output_check_limit(to);
    }
    buf_close(&line);
}

void monitor_forget(struct client *c) {
    struct engine_monitor *m = c->engine->monitor;
    if (!(c->flags & CLIENT_MONITOR)) return;
    c->flags &= ~(uint64_t)CLIENT_MONITOR;
    size_t kept = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->clients[i] != c) m->clients[kept++] = m->clients[i];
    m->count = kept;
    if (kept > 0) return;
    mem_free(m);
    c->engine->monitor = NULL;
}

static void run_monitor(struct client *c) {
    struct engine *engine = c->engine;
    if (c->flags & CLIENT_EXECUTING) {
        reply_error(c, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if (c->flags & CLIENT_MONITOR) return; /* as Redis: no second answer */
    if (engine->monitor == NULL) engine->monitor = NEW(struct engine_monitor);
    if (engine->monitor->count == COUNT(engine->monitor->clients)) {
        reply_error(c, "ERR too many clients in MONITOR");
        return;
    }
    engine->monitor->clients[engine->monitor->count++] = c;
    c->flags |= CLIENT_MONITOR;
    reply_ok(c);
}

void monitor_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"monitor", run_monitor}};
    command_bind(engine, bindings, COUNT(bindings));
}
