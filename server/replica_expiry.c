/* replica_expiry.c -- see replica_expiry.h: a set of names, some of which are looked at in each
 * tick. */
#include "server/replica_expiry.h"

#include "server/client.h"
#include "server/pause.h"
#include "server/set.h"

#define LOOKS_PER_TICK 64
#define DB_BYTES 4 /* in front of the key, in each name */

void replica_expiry_remember(struct db *db, struct slice key) {
    struct engine *engine = db->engine;
    const struct client *c = engine->current;
    if (engine->loading || c == NULL || c->flags & (CLIENT_MASTER | CLIENT_LOADING)) return;
    if (!engine->replica_expiry.ptr) engine->replica_expiry = set_new();
    struct buf name = {0};
    uint32_t number = (uint32_t)db->id;
    buf_add(&name, slice_from(&number, DB_BYTES));
    buf_add(&name, key);
    (void)set_add(&engine->replica_expiry, &engine->settings.types, buf_slice(&name));
    buf_close(&name);
}

size_t replica_expiry_count(const struct engine *engine) {
    return engine->replica_expiry.ptr ? set_length(&engine->replica_expiry) : 0;
}

/* Whether it need not be remembered any longer. */
static bool look_at(struct engine *engine, struct slice name) {
    uint32_t number;
    memcpy(&number, name.data, DB_BYTES);
    struct db *db = &engine->dbs[number];
    struct entry *e = db_find(db, slice_drop(name, DB_BYTES));
    if (e == NULL || !entry_expires(e)) return true;
    if (!entry_is_expired(engine, e)) return false;
    key_expire_now(db, e);
    return true;
}

static void forget_all(struct engine *engine) {
    value_free(&engine->replica_expiry);
    engine->replica_expiry = (struct value){0};
}

static void tick(struct engine *engine) {
    char scratch[SET_TEXT_SIZE];
    if (replica_expiry_count(engine) == 0) return;
    if (engine->role != ROLE_REPLICA) {
        forget_all(engine);
        return;
    }
    if (engine->loading || !engine->expire_active || pause_is_active(engine)) return;
    for (int i = 0; i < LOOKS_PER_TICK && replica_expiry_count(engine) > 0; i++) {
        struct buf name = {0};
        buf_add(&name, set_random(&engine->replica_expiry, &engine->rng, scratch));
        if (look_at(engine, buf_slice(&name)))
            (void)set_remove(&engine->replica_expiry, buf_slice(&name));
        buf_close(&name);
    }
}

void replica_expiry_open(struct engine *engine) {
    engine_hook_add(engine, HOOK_TICK, tick);
}
