/* loading.c -- when a slice of loading is over. See loading.h. */
#include "server/loading.h"

#include "server/persistence.h"

#include <unistd.h>

static void begin(struct engine *engine, uint64_t total_bytes) {
    struct persistence *p = persistence_of(engine);
    ASSERT(!engine->loading && !engine->async_loading);
    engine_read_clock(engine);
    p->loading_began_ms = engine->now_ms;
    p->loading_slice_us = engine->now_us;
    p->loading_total_bytes = total_bytes;
    p->loading_done_bytes = 0;
    p->loading_used_memory = 0;
}

void loading_begin(struct engine *engine, uint64_t total_bytes) {
    begin(engine, total_bytes);
    engine->loading = true;
}

void loading_begin_aside(struct engine *engine, uint64_t total_bytes) {
    begin(engine, total_bytes);
    engine->async_loading = true;
}

void loading_end(struct engine *engine) {
    engine->loading = engine->async_loading = false;
    engine_read_clock(engine);
}

/* key-load-delay, for tests; negative: a microsecond for one of so many keys. */
static void delay(struct engine *engine) {
    int64_t delay_us = engine->settings.key_load_delay_us;
    if (delay_us > 0)
        (void)usleep((useconds_t)delay_us);
    else if (delay_us < 0 && rng_below(&engine->rng, (uint64_t)-delay_us) == 0)
        (void)usleep(1);
}

enum err loading_look(struct engine *engine, struct why *why) {
    struct persistence *p = persistence_of(engine);
    if (!engine_may_serve(engine)) return OK;
    if (clock_mono_us(engine->clock) - p->loading_slice_us < LOADING_SLICE_US) return OK;
    engine_serve_once(engine);
    p->loading_slice_us = engine->now_us;
    if (engine->shutting_down) return why_set(why, ERR_STATE, "the server is shutting down");
    return OK;
}

enum err loading_advance(struct engine *engine, uint64_t bytes, struct why *why) {
    persistence_of(engine)->loading_done_bytes += bytes;
    return loading_look(engine, why);
}

enum err loading_key(struct engine *engine, struct why *why) {
    if (engine->settings.key_load_delay_us) delay(engine);
    return loading_look(engine, why);
}
