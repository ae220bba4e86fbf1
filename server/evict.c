/* evict.c -- eviction by sampling: of a few random keys the one that is worth least goes. */
#include "server/evict.h"

#include "lib/base/mem.h"
#include "server/access.h"
#include "server/allocator.h"
#include "server/client_memory.h"
#include "server/engine.h"
#include "server/helper.h"
#include "server/pause.h"
#include "server/snapshot_memory.h"

#define EVICTIONS_PER_COMMAND 64
/* Redis remembers the best of earlier samples; we look at more each time, for the same hit ratio. */
#define SAMPLES_FACTOR 3
#define LATELY_US 300
#define SLICE_US 500
#define MEASURE_SAMPLES 5
#define EXACT_BELOW (16 << 20) /* bytes */

size_t memory_used(struct engine *engine) {
    size_t used = allocator_used();
    if (used > engine->stats.memory_peak) engine->stats.memory_peak = used;
    engine->memory_seen = used;
    engine->memory_seen_us = engine->now_us;
    return used;
}

/* What is held for replicas that lag, or for snapshots, is not counted: evicting keys makes more of
 * it. Nor is what the helper thread is about to free: evicting more would not make it any faster. */
static size_t memory_counted(struct engine *engine) {
    struct stream_memory stream;
    size_t used = memory_used(engine);
    engine_stream_memory(engine, &stream);
    if (engine->memory_coming && helper_pending() == 0) {
        engine->memory_coming = 0;
        used = memory_used(engine);
    }
    size_t uncounted =
        stream.unsent + stream.aof + engine->memory_coming + snapshot_memory();
    engine->memory_seen = used > uncounted ? used - uncounted : 0;
    return engine->memory_seen;
}

/* Asking the allocator takes some microseconds, so not for every command. */
static size_t memory_used_lately(struct engine *engine) {
    bool exact = engine->settings.maxmemory < EXACT_BELOW; /* a small limit is soon passed by far */
    if (exact || engine->memory_seen_us == 0 || engine->now_us - engine->memory_seen_us > LATELY_US)
        return memory_counted(engine);
    return engine->memory_seen;
}

/* The higher the sooner it goes. */
static uint64_t worthless(const struct engine *engine, const struct entry *e) {
    switch ((enum maxmemory_policy)engine->settings.maxmemory_policy) {
    case EVICT_VOLATILE_TTL: return UINT64_MAX - (uint64_t)entry_expiry(e);
    case EVICT_VOLATILE_LFU:
    case EVICT_ALLKEYS_LFU: return (uint64_t)(255 - access_frequency(engine, e));
    case EVICT_VOLATILE_LRU:
    case EVICT_ALLKEYS_LRU: return (uint64_t)access_idle_s(engine, e);
    case EVICT_VOLATILE_RANDOM:
    case EVICT_ALLKEYS_RANDOM:
    case EVICT_NOTHING: break;
    }
    return 0;
}

static bool only_volatile(int64_t policy) {
    return policy <= EVICT_VOLATILE_TTL;
}

/* Delete E; how much memory that gives, when it is the helper that frees it, is remembered. */
static void delete (struct db *db, struct slice key, const struct entry *e) {
    struct engine *engine = db->engine;
    size_t bytes = entry_memory(e, MEASURE_SAMPLES);
    uint64_t before = helper_given();
    (void)db_delete(db, key);
    if (helper_given() != before) engine->memory_coming += bytes;
}

static bool evict_one(struct engine *engine) {
    struct entry *worst = NULL;
    struct db *worst_db = NULL;
    bool wants_expiry = only_volatile(engine->settings.maxmemory_policy);
    for (int d = 0; d < engine->db_count; d++) {
        struct db *db = &engine->dbs[d];
        if (wants_expiry ? db->expires == 0 : db_size(db) == 0) continue;
        int64_t samples = engine->settings.maxmemory_samples * SAMPLES_FACTOR;
        for (int64_t i = 0, tries = samples * 20; i < samples && tries > 0; tries--) {
            struct entry *e = db_random(db, &engine->rng);
            if (e == NULL || (wants_expiry && !entry_expires(e))) continue;
            i++;
            if (worst && worthless(engine, e) <= worthless(engine, worst)) continue;
            worst = e;
            worst_db = db;
        }
    }
    if (worst == NULL) return false;
    struct slice key = entry_key(worst);
    key = slice_from(mem_dup(key.data, key.size), key.size);
    struct slice op[] = {engine->settings.lazyfree_lazy_eviction ? SLICE("UNLINK") : SLICE("DEL"),
                         key};
    propagate(engine, worst_db->id, 2, op);
    delete (worst_db, key, worst);
    engine->stats.evicted++;
    key_touched(NULL, worst_db, key);
    notify_key(worst_db, NOTIFY_EVICTED, "evicted", key);
    mem_free((void *)(uintptr_t)key.data);
    return true;
}

static bool is_under(struct engine *engine) {
    return memory_counted(engine) <= (size_t)engine->settings.maxmemory;
}

/* What this thread has freed and keeps for itself counts as used. Giving it back costs some
 * microseconds, so only where it may decide. */
static bool is_under_exactly(struct engine *engine) {
    allocator_flush();
    return is_under(engine);
}

static bool evict_keys(struct engine *engine) {
    for (int i = 0; !is_under(engine); i++) {
        if (i == EVICTIONS_PER_COMMAND) return true; /* going on with the next command */
        if (!evict_one(engine)) return is_under_exactly(engine);
    }
    return true;
}

bool evict_until_under(struct engine *engine) {
    size_t limit = (size_t)engine->settings.maxmemory;
    bool obeys = engine->role == ROLE_REPLICA && engine->settings.replica_ignore_maxmemory;
    if (obeys || engine->loading || engine->async_loading || engine->settings.import_mode) return true;
    if (limit == 0 || memory_used_lately(engine) <= limit) return true;
    if (client_memory_evict(engine)) return true; /* their memory goes at the end of the turn */
    if (limit < EXACT_BELOW && is_under_exactly(engine)) return true;
    if (engine->settings.maxmemory_policy == EVICT_NOTHING || pause_is_active(engine))
        return is_under_exactly(engine);
    return evict_keys(engine);
}

bool evict_for_a_while(struct engine *engine) {
    uint64_t until_us = clock_mono_us(engine->clock) + SLICE_US;
    if (engine->settings.maxmemory == 0) return false;
    do {
        if (!evict_until_under(engine) || is_under(engine)) return false;
    } while (clock_mono_us(engine->clock) < until_us);
    return true;
}
