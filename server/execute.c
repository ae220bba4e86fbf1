/* execute.c -- may the command run, and what happens around it when it does.
 *
 *     request --> known? arity? --> allowed now? --> MULTI: queued
 *                                               \--> called: monitor, handler, propagation,
 * statistics
 *
 * The order of the checks is that of processCommand in Redis 7.0 server.c: which error a client
 * sees when two apply is part of the behaviour.
 */
#include "server/cluster.h"
#include "server/execute.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/block.h"
#include "server/evict.h"
#include "server/gates.h"
#include "server/latency.h"
#include "server/monitor.h"
#include "server/multi.h"
#include "server/output.h"
#include "server/pause.h"
#include "server/reply.h"
#include "server/script.h"
#include "server/slowlog.h"
#include "server/tracking.h"

#include <stdio.h>

void command_bind(struct engine *engine, const struct command_binding *bindings, size_t count) {
    for (size_t i = 0; i < count; i++)
        engine->uses[command_named(bindings[i].name)->index].run = bindings[i].run;
}

/* ---- refusing ---- */

static bool is(const struct command *spec, const char *name) {
    return strcmp(spec->name, name) == 0;
}

static bool is_exec(const struct command *spec) {
    static const struct command *exec;
    if (exec == NULL) exec = command_named("exec");
    return spec == exec;
}

void engine_refuse(struct client *c, const char *fmt, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    const char *error = buf_text(&text);
    if (c->flags & CLIENT_MULTI) c->flags |= CLIENT_DIRTY_EXEC;
    if (c->command) c->engine->uses[c->command->index].rejected++;
    if (c->command && is_exec(c->command)) {
        multi_discard(c);
        const char *body = strncmp(error, "ERR ", 4) == 0 ? error + 4 : error;
        reply_error(c, "EXECABORT Transaction discarded because of: %s", body);
    } else {
        reply_error(c, "%s", error);
    }
    buf_close(&text);
}

/* What the client sent, cut short, for "unknown command". */
static void reject_unknown(struct client *c, int argc, const struct slice *argv) {
    struct buf args = {0};
    for (int i = 1; i < argc && buf_size(&args) < 128; i++) {
        size_t room = 128 - buf_size(&args);
        buf_printf(&args, "'%.*s' ", (int)(argv[i].size < room ? argv[i].size : room),
                   (const char *)argv[i].data);
    }
    int shown = (int)(argv[0].size < 128 ? argv[0].size : 128);
    engine_refuse(c, "ERR unknown command '%.*s', with args beginning with: %s", shown,
                  (const char *)argv[0].data, buf_text(&args));
    buf_close(&args);
}

static bool is_bound(const struct engine *engine, const struct command *spec) {
    return engine->uses[spec->index].run != NULL || engine->uses[spec->parent].run != NULL;
}

/* A browser that was lured here must not be able to run commands: its request is hung up before the
 * lines behind its head are looked at. (Redis: POST and Host:) */
static bool looks_like_http(const struct client *c, int argc, const struct slice *argv) {
    static const char *const words[] = {"post", "host:",   "put",  "delete",
                                        "head", "options", "patch"};
    const struct resp_request *request = c->request;
    if (c->fd < 0 || argv[0].size > 7) return false;
    for (size_t i = 0; i < COUNT(words); i++)
        if (slice_equal_nocase(argv[0], slice_text(words[i]))) return true;
    return request && request->is_inline && argc == 3 && slice_starts(argv[2], SLICE("HTTP/"));
}

const struct command *command_resolve(struct client *c, int argc, const struct slice *argv) {
    const struct command *spec = command_lookup_here(c->engine, (size_t)argc, argv);
    if (spec == NULL &&
        argc > 1) { /* a container that we bound as a whole may know more subcommands */
        const struct command *container = command_lookup_here(c->engine, 1, argv);
        if (container != NULL && c->engine->uses[container->index].run != NULL) return container;
        bool some = false;
        for (size_t i = 0; container && i < command_count; i++)
            some = some ||
                   (command_at(i)->parent == container->index && c->engine->uses[i].run != NULL);
        if (some) {
            struct buf error = {0};
            (void)command_admit((size_t)argc, argv, &error);
            const char *text = buf_text(&error);
            engine_refuse(c, "%.*s", (int)strcspn(text + 1, "\r"), text + 1);
            buf_close(&error);
            return NULL;
        }
    }
    if (spec == NULL || (!is_bound(c->engine, spec) && !command_is_container(spec))) {
        reject_unknown(c, argc, argv);
        return NULL;
    }
    if (!command_arity_fits(spec, (size_t)argc) || c->engine->uses[spec->index].run == NULL) {
        if (!is_bound(c->engine, spec) && !command_is_container(spec))
            reject_unknown(c, argc, argv);
        else if (!command_arity_fits(spec, (size_t)argc) || command_is_container(spec)) {
            c->command = spec;
            engine_refuse(c, "ERR wrong number of arguments for '%s' command", spec->name);
        } else
            return command_at(spec->parent);
        return NULL;
    }
    return spec;
}

/* ---- checks ---- */

static bool obeyed(const struct client *c) {
    return c->flags & (CLIENT_MASTER | CLIENT_LOADING);
}

static bool may_use_protected(struct client *c, const struct command *spec, int64_t setting,
                              const char *what, const char *option) {
    bool local = c->flags & CLIENT_UNIX || strncmp(c->peer, "127.", 4) == 0 ||
                 strncmp(c->peer, "[::1]", 5) == 0;
    (void)spec;
    if (setting == 1 || (setting == 2 && local)) return true;
    engine_refuse(c,
                  "ERR %s command not allowed. If the %s option is set to \"local\", you can run "
                  "it from a local "
                  "connection, otherwise you need to set this option in the configuration file, "
                  "and then restart the server.",
                  what, option);
    return false;
}

static bool in_pubsub_context(struct client *c, const struct command *spec) {
    static const char *const allowed[] = {"ping",         "subscribe",    "ssubscribe",
                                          "unsubscribe",  "sunsubscribe", "psubscribe",
                                          "punsubscribe", "quit",         "reset"};
    if (!(c->flags & CLIENT_PUBSUB) || c->resp != 2) return false;
    for (size_t i = 0; i < COUNT(allowed); i++)
        if (is(spec, allowed[i])) return false;
    engine_refuse(c,
                  "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                  "RESET are allowed in "
                  "this context",
                  spec->name);
    return true;
}

static bool queues(const struct client *c, const struct command *spec) {
    if (!(c->flags & CLIENT_MULTI)) return false;
    return !is_exec(spec) && !is(spec, "discard") && !is(spec, "multi") && !is(spec, "watch") &&
           !is(spec, "quit") && !is(spec, "reset");
}

/* Flags of the command, or of all that EXEC is going to run. */
uint32_t engine_command_flags(struct client *c, const struct command *spec) {
    if (spec->group == COMMAND_GROUP_SCRIPTING) return script_command_flags(c, spec);
    return is_exec(spec) ? multi_flags(c, spec->flags) : spec->flags;
}

static bool check_memory(struct client *c, const struct command *spec) {
    if (c->engine->busy) return true;
    c->engine->over_memory = c->engine->settings.maxmemory && !evict_until_under(c->engine);
    if (c->flags & CLIENT_CLOSE_NOW) return false; /* evicted itself */
    if (!c->engine->over_memory) return true;
    bool refuse = engine_command_flags(c, spec) & COMMAND_DENYOOM;
    if (queues(c, spec)) refuse = true;
    if (!refuse || obeyed(c)) return true;
    engine_refuse(c, "OOM command not allowed when used memory > 'maxmemory'.");
    return false;
}

static bool may_run(struct client *c, const struct command *spec) {
    enum acl_context context = c->flags & CLIENT_MULTI ? ACL_IN_MULTI : ACL_AT_TOP;
    enum acl_denied denied = acl_admit(c, spec, c->argc, c->argv, context);
    if (denied == ACL_DENIED_COMMAND)
        engine_refuse(c, "NOPERM this user has no permissions to run the '%s' command", spec->name);
    else if (denied != ACL_OK)
        engine_refuse(
            c, "NOPERM this user has no permissions to access one of the %s used as arguments",
            denied == ACL_DENIED_KEY ? "keys" : "channels");
    return denied == ACL_OK;
}

/* Everything that may refuse a command that is known and complete. */
static bool admit(struct client *c, const struct command *spec) {
    struct engine *engine = c->engine;
    if (spec->flags & COMMAND_PROTECTED) {
        if (is(spec, "debug") && !may_use_protected(c, spec, engine->settings.enable_debug_command,
                                                    "DEBUG", "enable-debug-command"))
            return false;
        if (strncmp(spec->name, "module", 6) == 0 &&
            !may_use_protected(c, spec, engine->settings.enable_module_command, "MODULE",
                               "enable-module-command"))
            return false;
    }
    if (!(spec->flags & COMMAND_NO_AUTH) && acl_must_authenticate(c)) {
        engine_refuse(c, "NOAUTH Authentication required.");
        return false;
    }
    if (c->flags & CLIENT_MULTI && spec->flags & COMMAND_NO_MULTI) {
        engine_refuse(c, "ERR Command not allowed inside a transaction");
        return false;
    }
    if (!acl_admits_all(c) && !may_run(c, spec)) return false;
    if (engine->cluster && !obeyed(c) && !cluster_admits(c, spec)) return false;
    if (!check_memory(c, spec)) return false;
    if (!gates_admit(c, spec)) return false;
    if (engine->role == ROLE_REPLICA && engine->settings.replica_read_only && !obeyed(c) &&
        engine_command_flags(c, spec) & COMMAND_WRITE) {
        engine_refuse(c, "READONLY You can't write against a read only replica.");
        return false;
    }
    if (in_pubsub_context(c, spec)) return false;
    if (engine->loading && !(engine_command_flags(c, spec) & COMMAND_LOADING)) {
        engine_refuse(c, "LOADING Redis is loading the dataset in memory");
        return false;
    }
    if (engine->async_loading && engine_command_flags(c, spec) & COMMAND_NO_ASYNC_LOADING) {
        engine_refuse(c, "LOADING Redis is loading the dataset in memory");
        return false;
    }
    if (engine->busy && !(spec->flags & COMMAND_ALLOW_BUSY)) {
        engine_refuse(c, "%s", script_busy_error(engine));
        return false;
    }
    if (c->flags & CLIENT_REPLICA &&
        engine_command_flags(c, spec) & (COMMAND_READONLY | COMMAND_WRITE)) {
        engine_log(engine, '#', "Replica can't interact with the keyspace: '%s' from %s",
                   spec->name, c->peer);
        engine_refuse(c, "ERR Replica can't interact with the keyspace");
        return false;
    }
    return true;
}

bool execute_request(struct client *c, int argc, struct slice *argv, const struct command *spec) {
    c->argc = argc;
    c->argv = argv;
    c->command = NULL;
    script_forget_hint(c->engine);
    if (spec == NULL || c->engine->uses[spec->index].run == NULL ||
        !command_arity_fits(spec, (size_t)argc)) {
        if (looks_like_http(c, argc, argv)) {
            engine_log(c->engine, '#',
                       "Client id=%llu addr=%s speaks HTTP; the connection is closed.",
                       (unsigned long long)c->id, c->peer);
            client_close_later(c);
            return true;
        }
        spec = command_resolve(c, argc, argv);
        if (spec == NULL) return true;
    }
    c->command = c->last_command = spec;
    if (!(c->flags & CLIENT_LOADING)) {
        bool admitted = admit(c, spec);
        if (c->flags & CLIENT_ASKING && !is(spec, "asking"))
            c->flags &= ~(uint64_t)CLIENT_ASKING;
        if (!admitted) return true;
        if (pause_applies(c, engine_command_flags(c, spec), is_exec(spec))) return false;
    }
    if (c->engine->tracking) tracking_limit(c->engine);
    if (queues(c, spec)) {
        multi_queue(c);
        reply_raw(c, SLICE("+QUEUED\r\n"));
        return true;
    }
    struct engine *engine = c->engine;
    propagate_unit_begin(engine);
    execute_call(c);
    propagate_unit_end(engine);
    if (engine->nesting == 0) block_serve_ready(engine);
    if (engine->tracking) tracking_command_over(c);
    return true;
}

void client_execute(struct client *c, int argc, struct slice *argv) {
    struct client *before = c->engine->current;
    c->engine->current = c;
    c->hashed_key = slice_from(NULL, 0);
    (void)execute_request(c, argc, argv, NULL);
    c->engine->current = before;
    if (!(c->flags & CLIENT_BLOCKED)) c->argv = NULL;
}

/* ---- calling ---- */

void engine_read_clock(struct engine *engine) {
    engine->now_us = clock_mono_us(engine->clock);
    bool frozen = engine->scripts && engine->scripts->run; /* in a script time stands still */
    if (!frozen) engine->now_ms = clock_wall_ms(engine->clock);
}

static void count_time(struct client *c, const struct command *spec, uint64_t began_us) {
    struct engine *engine = c->engine;
    struct command_use *use = &engine->uses[spec->index];
    uint64_t now_us = clock_mono_us(engine->clock), took_us = now_us - began_us;
    engine->now_us = now_us;
    use->calls++;
    use->micros += took_us;
    if (c->flags & CLIENT_FAILED) use->failed++;
    if (!(c->flags & CLIENT_BLOCKED)) latency_record(engine, spec, took_us);
    if (took_us >= 1000) {
        engine_read_clock(engine);
        latency_note(engine, spec->flags & COMMAND_FAST ? "fast-command" : "command",
                     took_us / 1000);
    }
    if (!(spec->flags & COMMAND_SKIP_SLOWLOG) && !(c->flags & CLIENT_BLOCKED))
        slowlog_note(c, took_us);
}

void execute_call(struct client *c) {
    struct engine *engine = c->engine;
    const struct command *spec = c->command;
    uint64_t dirty = engine->dirty, began_us = engine->now_us;
    const uint64_t own = CLIENT_FORCE_REPL | CLIENT_PREVENT_PROP | CLIENT_FAILED;
    c->flags &= ~own;
    engine->nesting++;
    engine->uses[spec->index].run(c);
    engine->nesting--;
    engine->stats.commands++;
    count_time(c, spec, began_us);
    if (engine->monitor && !(spec->flags & (COMMAND_SKIP_MONITOR | COMMAND_ADMIN)) &&
        !(c->flags & CLIENT_LOADING))
        monitor_feed(c);
    if (engine->tracking && spec->flags & COMMAND_READONLY) tracking_remember(c);
    bool changed = engine->dirty != dirty || c->flags & CLIENT_FORCE_REPL;
    if (changed && !(c->flags & (CLIENT_PREVENT_PROP | CLIENT_LOADING | CLIENT_BLOCKED)) &&
        propagate_is_on(engine))
        propagate(engine, c->db->id, c->argc, c->argv);
    c->flags &= ~own;
    if (!(c->flags & CLIENT_FAKE)) output_check_limit(c);
}
