/* expire_cycle.c -- the active expire cycle: it goes to segments that know that something is due.
 */
#include "server/expire_cycle.h"

#include "server/engine.h"
#include "server/latency.h"
#include "server/pause.h"

#define SHARE_PERCENT 25 /* of a tick, as Redis at its usual effort */

struct visit {
    struct db *db;
    uint64_t kept, ttl_sum;
};

static int64_t visit_entry(void *ctx, void *item) {
    struct visit *visit = ctx;
    struct entry *e = item;
    if (!entry_expires(e)) return INT64_MAX;
    int64_t expiry_ms = entry_expiry(e), now_ms = visit->db->engine->now_ms;
    if (now_ms > expiry_ms) {
        key_expire_now(visit->db, e);
        return INT64_MIN;
    }
    visit->kept++;
    visit->ttl_sum += (uint64_t)(expiry_ms - now_ms);
    return expiry_ms;
}

/* False when the time is over. */
static bool run_db(struct db *db, uint64_t end_us) {
    struct engine *engine = db->engine;
    struct visit visit = {.db = db};
    if (!db_due_scan(db, engine->now_ms - 1, end_us, visit_entry, &visit)) return false;
    if (visit.kept > 0) db->avg_ttl_ms = (double)visit.ttl_sum / (double)visit.kept;
    return true;
}

void expire_cycle_run(struct engine *engine) {
    if (!engine->expire_active || engine->role == ROLE_REPLICA || engine->loading ||
        engine->settings.import_mode || pause_is_active(engine))
        return;
    uint64_t tick_us = 1000000u / (uint64_t)engine->settings.hz,
             began_us = clock_mono_us(engine->clock);
    uint64_t end_us = began_us + tick_us * SHARE_PERCENT / 100;
    for (int i = 0; i < engine->db_count; i++) {
        struct db *db = &engine->dbs[i];
        if (db->expires == 0) continue;
        if (run_db(db, end_us)) continue;
        engine->stats.expired_time_cap_reached++;
        break;
    }
    uint64_t took_us = clock_mono_us(engine->clock) - began_us;
    engine->stats.expire_cycle_us += took_us;
    latency_note(engine, "expire-cycle", took_us / 1000);
}
