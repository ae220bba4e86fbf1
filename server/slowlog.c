/* slowlog.c -- the slow log: a list of at most slowlog-max-len entries, newest first. */
#include "server/slowlog.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/reply.h"

#define ARGS_MAX 32
#define ARG_BYTES_MAX 128

struct slow {
    struct slow *next;
    int64_t id, at_s, took_us;
    char peer[64], name[64];
    int argc;
    struct buf args[ARGS_MAX];
};

struct engine_slowlog {
    struct slow *first;
    int64_t count, next_id;
};

static struct engine_slowlog *of(struct engine *engine) {
    if (engine->slowlog == NULL) engine->slowlog = NEW(struct engine_slowlog);
    return engine->slowlog;
}

static void free_slow(struct slow *slow) {
    for (int i = 0; i < slow->argc; i++) buf_close(&slow->args[i]);
    mem_free(slow);
}

static void trim(struct engine_slowlog *log, int64_t max) {
    struct slow **at = &log->first;
    for (int64_t i = 0; i < max && *at; i++) at = &(*at)->next;
    for (struct slow *slow = *at, *next; slow; slow = next, log->count--) {
        next = slow->next;
        free_slow(slow);
    }
    *at = NULL;
}

static void keep_args(struct slow *slow, const struct client *c) {
    slow->argc = c->argc > ARGS_MAX ? ARGS_MAX : c->argc;
    for (int i = 0; i < slow->argc; i++) {
        if (slow->argc != c->argc && i == ARGS_MAX - 1) {
            buf_printf(&slow->args[i], "... (%d more arguments)", c->argc - ARGS_MAX + 1);
            break;
        }
        struct slice arg = c->argv[i];
        buf_add(&slow->args[i],
                slice_take(arg, arg.size > ARG_BYTES_MAX ? ARG_BYTES_MAX : arg.size));
        if (arg.size > ARG_BYTES_MAX)
            buf_printf(&slow->args[i], "... (%zu more bytes)", arg.size - ARG_BYTES_MAX);
    }
}

void slowlog_note(struct client *c, uint64_t took_us) {
    struct engine *engine = c->engine;
    int64_t limit = engine->settings.slowlog_log_slower_than_us;
    if (limit < 0 || took_us < (uint64_t)limit || c->argv == NULL) return;
    struct engine_slowlog *log = of(engine);
    struct slow *slow = NEW(struct slow);
    slow->id = log->next_id++;
    slow->at_s = engine->now_ms / 1000;
    slow->took_us = (int64_t)took_us;
    memcpy(slow->peer, c->peer, sizeof slow->peer);
    if (c->name) strncpy(slow->name, c->name, sizeof slow->name - 1);
    keep_args(slow, c);
    slow->next = log->first;
    log->first = slow;
    log->count++;
    trim(log, engine->settings.slowlog_max_len);
}

static void run_get(struct client *c) {
    struct engine_slowlog *log = of(c->engine);
    int64_t count = 10;
    if (c->argc > 3) {
        reply_unknown_subcommand(c);
        return;
    }
    if (c->argc == 3 && !arg_int_range(c, c->argv[2], -1, INT64_MAX, &count,
                                       "count should be greater than or equal to -1"))
        return;
    if (count == -1 || count > log->count) count = log->count;
    reply_array(c, (size_t)count);
    for (struct slow *slow = log->first; count-- > 0; slow = slow->next) {
        reply_array(c, 6);
        reply_int(c, slow->id);
        reply_int(c, slow->at_s);
        reply_int(c, slow->took_us);
        reply_array(c, (size_t)slow->argc);
        for (int i = 0; i < slow->argc; i++) reply_bulk(c, buf_slice(&slow->args[i]));
        reply_bulk_text(c, slow->peer);
        reply_bulk_text(c, slow->name);
    }
}

static void run_len(struct client *c) {
    reply_int(c, of(c->engine)->count);
}

static void run_reset(struct client *c) {
    trim(of(c->engine), 0);
    reply_ok(c);
}

static void run_help(struct client *c) {
    static const char *const help[] = {"GET [<count>]",
                                       "    The newest entries (10; -1: all).",
                                       "LEN",
                                       "    How many there are.",
                                       "RESET",
                                       "    Forget them all.",
                                       NULL};
    reply_help(c, help);
}

void slowlog_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"slowlog|get", run_get},
                                                      {"slowlog|len", run_len},
                                                      {"slowlog|reset", run_reset},
                                                      {"slowlog|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
