/* pause.c -- CLIENT PAUSE and UNPAUSE. */
#include "server/pause.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/net.h"

struct engine_pause {
    int64_t end_ms; /* 0: no pause */
    bool all;       /* else only what may write or replicate */
};

bool pause_is_active(const struct engine *engine) {
    return engine->pause != NULL && engine->pause->end_ms > 0;
}

int64_t pause_end_ms(const struct engine *engine) {
    return engine->pause ? engine->pause->end_ms : 0;
}

bool pause_applies(struct client *c, uint32_t flags, bool is_exec) {
    struct engine *engine = c->engine;
    if (!pause_is_active(engine) || c->flags & (CLIENT_MASTER | CLIENT_REPLICA | CLIENT_FAKE))
        return false;
    (void)is_exec; /* its flags are those of what it will run */
    bool may_change = flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE);
    if (!engine->pause->all && !may_change) return false;
    if (c->command && strncmp(c->command->name, "client", 6) == 0) return false;
    c->flags |= CLIENT_PAUSED;
    return true;
}

void pause_start(struct engine *engine, int64_t end_ms, bool all) {
    if (engine->pause == NULL) engine->pause = NEW(struct engine_pause);
    if (all || !pause_is_active(engine)) engine->pause->all = all;
    if (end_ms > engine->pause->end_ms) engine->pause->end_ms = end_ms;
}

void pause_end(struct engine *engine) {
    if (!pause_is_active(engine)) return;
    engine->pause->end_ms = 0;
    engine->pause->all = false;
    for (struct client *c = engine->clients; c; c = c->next) {
        if (!(c->flags & CLIENT_PAUSED)) continue;
        c->flags &= ~(uint64_t)CLIENT_PAUSED;
        net_ready(c);
    }
}

void pause_check(struct engine *engine) {
    if (pause_is_active(engine) && engine->pause->end_ms <= engine->now_ms) pause_end(engine);
}
