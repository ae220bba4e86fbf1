/* pause.c -- CLIENT PAUSE and UNPAUSE. */
#include "server/pause.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/net.h"

struct engine_pause {
    struct one_pause {
        int64_t end_ms; /* 0: no pause */
        bool all;       /* else only what may write or replicate */
    } of[PAUSE_PURPOSES];
};

bool pause_is_active(const struct engine *engine) {
    return pause_end_ms(engine) > 0;
}

int64_t pause_end_ms(const struct engine *engine) {
    int64_t first = 0;
    for (int i = 0; engine->pause && i < PAUSE_PURPOSES; i++) {
        int64_t end_ms = engine->pause->of[i].end_ms;
        if (end_ms && (first == 0 || end_ms < first)) first = end_ms;
    }
    return first;
}

static bool is_for_all(const struct engine *engine) {
    bool all = false;
    for (int i = 0; i < PAUSE_PURPOSES; i++) all = all || engine->pause->of[i].all;
    return all;
}

bool pause_applies(struct client *c, uint32_t flags, bool is_exec) {
    struct engine *engine = c->engine;
    if (!pause_is_active(engine) || c->flags & (CLIENT_MASTER | CLIENT_REPLICA | CLIENT_FAKE))
        return false;
    (void)is_exec; /* its flags are those of what it will run */
    bool may_change = flags & (COMMAND_WRITE | COMMAND_MAY_REPLICATE);
    if (!is_for_all(engine) && !may_change) return false;
    if (c->command && strncmp(c->command->name, "client", 6) == 0) return false;
    c->flags |= CLIENT_PAUSED;
    return true;
}

void pause_start(struct engine *engine, enum pause_purpose purpose, int64_t end_ms, bool all) {
    if (engine->pause == NULL) engine->pause = NEW(struct engine_pause);
    struct one_pause *pause = &engine->pause->of[purpose];
    if (all || pause->end_ms == 0) pause->all = all;
    if (end_ms > pause->end_ms) pause->end_ms = end_ms;
}

static void let_go(struct engine *engine) {
    for (struct client *c = engine->clients; c; c = c->next) {
        if (!(c->flags & CLIENT_PAUSED)) continue;
        c->flags &= ~(uint64_t)CLIENT_PAUSED;
        net_ready(c);
    }
}

/* Those that another pause still holds come back to it by themselves. */
void pause_end(struct engine *engine, enum pause_purpose purpose) {
    if (!engine->pause || engine->pause->of[purpose].end_ms == 0) return;
    engine->pause->of[purpose] = (struct one_pause){0};
    let_go(engine);
}

void pause_check(struct engine *engine) {
    for (int i = 0; engine->pause && i < PAUSE_PURPOSES; i++)
        if (engine->pause->of[i].end_ms && engine->pause->of[i].end_ms <= engine->now_ms)
            pause_end(engine, (enum pause_purpose)i);
}
