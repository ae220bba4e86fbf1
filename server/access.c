/* access.c -- LRU clocks and LFU counters. */
#include "server/access.h"

#include "server/engine.h"

#define LRU_MASK 0xffffffu
#define LFU_START 5

_Static_assert(EVICT_VOLATILE_LFU == 1 && EVICT_ALLKEYS_LFU == 5, "access_is_lfu() knows these");

static bool is_lfu(const struct engine *engine) {
    return access_is_lfu(engine->settings.maxmemory_policy);
}

static uint32_t lru_clock(const struct engine *engine) {
    return (uint32_t)(engine->now_ms / 1000) & LRU_MASK;
}

static uint32_t lfu_minutes(const struct engine *engine) {
    return (uint32_t)(engine->now_ms / 60000) & 0xffff;
}

uint32_t access_word(const struct engine *engine) {
    return is_lfu(engine) ? lfu_minutes(engine) << 8 | LFU_START : lru_clock(engine);
}

void access_start(struct engine *engine, struct entry *e) {
    entry_set_access(e, access_word(engine));
}

int access_frequency(const struct engine *engine, const struct entry *e) {
    uint32_t minutes = entry_access(e) >> 8, counter = entry_access(e) & 255;
    uint32_t elapsed = (lfu_minutes(engine) - minutes) & 0xffff;
    int64_t period = engine->settings.lfu_decay_time;
    int64_t periods = period > 0 ? elapsed / period : 0;
    return periods > counter ? 0 : (int)(counter - periods);
}

static uint32_t lfu_more(struct engine *engine, uint32_t counter) {
    if (counter == 255) return 255;
    double base = counter > LFU_START ? counter - LFU_START : 0;
    double chance = 1.0 / (base * (double)engine->settings.lfu_log_factor + 1);
    return counter + ((double)(rng_next(&engine->rng) >> 11) * 0x1p-53 < chance);
}

void access_touch(struct engine *engine, struct entry *e) {
    if (!is_lfu(engine))
        entry_set_access(e, lru_clock(engine));
    else
        entry_set_access(e, lfu_minutes(engine) << 8 |
                                lfu_more(engine, (uint32_t)access_frequency(engine, e)));
}

int64_t access_idle_s(const struct engine *engine, const struct entry *e) {
    return (int64_t)((lru_clock(engine) - entry_access(e)) & LRU_MASK);
}

void access_set_idle_s(struct engine *engine, struct entry *e, int64_t idle_s) {
    entry_set_access(e, (lru_clock(engine) - (uint32_t)idle_s) & LRU_MASK);
}

void access_set_frequency(struct engine *engine, struct entry *e, int frequency) {
    entry_set_access(e, lfu_minutes(engine) << 8 | ((uint32_t)frequency & 255));
}
