/* hooks.c -- where the other parts plug in: lists of functions, called in the order of their
 * registration. */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/gates.h"
#include "server/reply.h"

#define EACH_MAX 32

struct engine_hooks {
    engine_hook *hooks[HOOK_KINDS][EACH_MAX];
    struct {
        const char *section;
        void (*fn)(struct engine *engine, struct buf *out);
    } infos[EACH_MAX];
    struct {
        const char *name, *help;
        command_run *run;
    } debugs[EACH_MAX];
    command_gate *gates[EACH_MAX];
    shutdown_step *shutdowns[EACH_MAX];
    size_t hook_count[HOOK_KINDS], info_count, debug_count, gate_count, shutdown_count;
    const struct engine_acks *acks;
};

static struct engine_hooks *of(struct engine *engine) {
    if (engine->hooks == NULL) engine->hooks = NEW(struct engine_hooks);
    return engine->hooks;
}

void engine_hook_add(struct engine *engine, enum hook_kind kind, engine_hook *fn) {
    struct engine_hooks *h = of(engine);
    ASSERT(h->hook_count[kind] < EACH_MAX);
    h->hooks[kind][h->hook_count[kind]++] = fn;
}

void hooks_forget(struct engine *engine, enum hook_kind kind) {
    of(engine)->hook_count[kind] = 0;
}

void engine_info_add(struct engine *engine, const char *section,
                     void (*fn)(struct engine *engine, struct buf *out)) {
    struct engine_hooks *h = of(engine);
    ASSERT(h->info_count < EACH_MAX);
    h->infos[h->info_count].section = section;
    h->infos[h->info_count++].fn = fn;
}

void engine_debug_add(struct engine *engine, const char *name, command_run *run,
                      const char *help_line) {
    struct engine_hooks *h = of(engine);
    ASSERT(h->debug_count < EACH_MAX);
    h->debugs[h->debug_count].name = name;
    h->debugs[h->debug_count].help = help_line;
    h->debugs[h->debug_count++].run = run;
}

void engine_gate_add(struct engine *engine, command_gate *gate) {
    struct engine_hooks *h = of(engine);
    ASSERT(h->gate_count < EACH_MAX);
    h->gates[h->gate_count++] = gate;
}

void engine_shutdown_add(struct engine *engine, shutdown_step *step) {
    struct engine_hooks *h = of(engine);
    ASSERT(h->shutdown_count < EACH_MAX);
    h->shutdowns[h->shutdown_count++] = step;
}

void engine_acks_set(struct engine *engine, const struct engine_acks *acks) {
    of(engine)->acks = acks;
}

const struct engine_acks *hooks_acks(const struct engine *engine) {
    return engine->hooks ? engine->hooks->acks : NULL;
}

bool gates_admit(struct client *c, const struct command *command) {
    struct engine_hooks *h = of(c->engine);
    for (size_t i = 0; i < h->gate_count; i++)
        if (!h->gates[i](c, command)) return false;
    return true;
}

void hooks_run(struct engine *engine, enum hook_kind kind) {
    struct engine_hooks *h = of(engine);
    for (size_t i = 0; i < h->hook_count[kind]; i++) h->hooks[kind][i](engine);
}

void hooks_info(struct engine *engine, const char *section, struct buf *out) {
    struct engine_hooks *h = of(engine);
    for (size_t i = 0; i < h->info_count; i++)
        if (strcmp(h->infos[i].section, section) == 0) h->infos[i].fn(engine, out);
}

bool hooks_debug(struct client *c) {
    struct engine_hooks *h = of(c->engine);
    for (size_t i = 0; i < h->debug_count; i++) {
        if (!arg_is(c->argv[1], h->debugs[i].name)) continue;
        h->debugs[i].run(c);
        return true;
    }
    return false;
}

void hooks_debug_help(struct client *c, const char **lines, size_t *count, size_t max) {
    struct engine_hooks *h = of(c->engine);
    for (size_t i = 0; i < h->debug_count && *count < max; i++)
        lines[(*count)++] = h->debugs[i].help;
}

bool hooks_shutdown(struct engine *engine, unsigned flags, struct why *why) {
    struct engine_hooks *h = of(engine);
    for (size_t i = 0; i < h->shutdown_count; i++)
        if (h->shutdowns[i](engine, flags, why)) return false;
    return true;
}
