/* object_commands.c -- OBJECT and MEMORY: looking at entries from the side. */
#include "server/access.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/evict.h"
#include "server/groups.h"
#include "server/reply.h"

#define SAMPLES_USUAL 5

/* The entry, without touching its access time, and without a "keymiss". */
static struct entry *look(struct client *c, struct slice key) {
    uint64_t no_touch = c->flags & CLIENT_NO_TOUCH;
    c->flags |= CLIENT_NO_TOUCH;
    struct entry *e = key_lookup(c, key);
    *(e ? &c->engine->stats.hits : &c->engine->stats.misses) += 1;
    c->flags = (c->flags & ~(uint64_t)CLIENT_NO_TOUCH) | no_touch;
    return e;
}

static void run_encoding(struct client *c) {
    struct entry *e = look(c, c->argv[2]);
    if (e)
        reply_bulk_text(c, encoding_name(entry_encoding(e)));
    else
        reply_null(c);
}

static void run_refcount(struct client *c) {
    struct entry *e = look(c, c->argv[2]);
    const struct settings *settings = &c->engine->settings;
    bool counted = settings->maxmemory &&
                   (access_is_lfu(settings->maxmemory_policy) ||
                    settings->maxmemory_policy == EVICT_VOLATILE_LRU ||
                    settings->maxmemory_policy == EVICT_ALLKEYS_LRU); /* then Redis shares none */
    bool small = e && !counted && entry_type(e) == TYPE_STRING && entry_encoding(e) == ENC_INT &&
                 entry_number(e) >= 0 && entry_number(e) < 10000;
    if (small)
        reply_int(c, INT32_MAX); /* what Redis says of the numbers that it shares */
    else if (e)
        reply_int(c, 1);
    else
        reply_null(c);
}

static void run_idletime(struct client *c) {
    struct entry *e = look(c, c->argv[2]);
    if (e == NULL)
        reply_null(c);
    else if (access_is_lfu(c->engine->settings.maxmemory_policy))
        reply_error(c, "ERR An LFU maxmemory policy is selected, idle time not tracked. Please "
                       "note that when switching between "
                       "policies at runtime LRU and LFU data will take some time to adjust.");
    else
        reply_int(c, access_idle_s(c->engine, e));
}

static void run_freq(struct client *c) {
    struct entry *e = look(c, c->argv[2]);
    if (e == NULL)
        reply_null(c);
    else if (!access_is_lfu(c->engine->settings.maxmemory_policy))
        reply_error(c,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                    "Please note that when switching "
                    "between policies at runtime LRU and LFU data will take some time to adjust.");
    else
        reply_int(c, access_frequency(c->engine, e));
}

static void run_object_help(struct client *c) {
    static const char *const help[] = {"ENCODING <key>",
                                       "    How the value is kept.",
                                       "FREQ <key>",
                                       "    Its access frequency (LFU policies).",
                                       "IDLETIME <key>",
                                       "    Seconds since it was used.",
                                       "REFCOUNT <key>",
                                       "    Always 1.",
                                       NULL};
    reply_help(c, help);
}

static void run_memory_usage(struct client *c) {
    int64_t samples = SAMPLES_USUAL;
    for (int i = 3; i < c->argc; i += 2) {
        if (!arg_is(c->argv[i], "samples") || i + 1 >= c->argc) {
            reply_syntax_error(c);
            return;
        }
        if (!arg_int(c, c->argv[i + 1], &samples, NULL)) return;
        if (samples < 0) {
            reply_syntax_error(c);
            return;
        }
    }
    struct entry *e = look(c, c->argv[2]);
    if (e)
        reply_int(c, (int64_t)entry_memory(e, (size_t)samples) + 8);
    else
        reply_null(c);
}

void object_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"object|encoding", run_encoding}, {"object|refcount", run_refcount},
        {"object|idletime", run_idletime}, {"object|freq", run_freq},
        {"object|help", run_object_help},  {"memory|usage", run_memory_usage}};
    command_bind(engine, bindings, COUNT(bindings));
}
