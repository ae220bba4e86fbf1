/* keys.c -- what commands use of the keyspace: lookups that expire, and changes that are noticed.
 */
#include "lib/base/mem.h"
#include "server/access.h"
#include "server/block.h"
#include "server/engine.h"
#include "server/multi.h"
#include "server/pause.h"
#include "server/reply.h"
#include "server/tracking.h"

bool entry_is_expired(const struct engine *engine, const struct entry *e) {
    return entry_expires(e) && engine->now_ms > entry_expiry(e);
}

void key_expire_now(struct db *db, struct entry *e) {
    struct engine *engine = db->engine;
    struct slice key = slice_from(mem_dup(entry_key(e).data, entry_key(e).size), entry_key(e).size);
    struct slice op[] = {engine->settings.lazyfree_lazy_expire ? SLICE("UNLINK") : SLICE("DEL"),
                         key};
    propagate(engine, db->id, 2, op);
    (void)db_delete(db, key);
    engine->stats.expired++;
    notify_key(db, NOTIFY_EXPIRED, "expired", key);
    key_touched(NULL, db, key);
    mem_free((void *)(uintptr_t)key.data);
}

enum expired { EXPIRED_NOT, EXPIRED_HIDDEN, EXPIRED_GONE };

/* What an entry that may be past its time is for this client. FOR_WRITE: it must not stay in the
 * way of what the client puts there. Rules of Redis 7.0's expireIfNeeded; import mode is C8. */
static enum expired check_expiry(struct client *c, struct db *db, struct entry *e, bool for_write) {
    struct engine *engine = db->engine;
    if (!entry_expires(e) || !entry_is_expired(engine, e)) return EXPIRED_NOT;
    if (engine->loading || (c->flags & (CLIENT_MASTER | CLIENT_LOADING))) return EXPIRED_NOT;
    if (c->flags & CLIENT_IMPORT_SOURCE && engine->settings.import_mode) return EXPIRED_NOT;
    bool ours =
        engine->role == ROLE_MASTER && !engine->settings.import_mode && !pause_is_active(engine);
    if (!ours && !for_write) return EXPIRED_HIDDEN;
    if (engine->role == ROLE_REPLICA && engine->settings.replica_read_only) return EXPIRED_HIDDEN;
    key_expire_now(db, e);
    return EXPIRED_GONE;
}

static struct entry *find(struct client *c, struct db *db, struct slice key, bool for_write) {
    struct entry *e = db_find(db, key);
    return e != NULL && check_expiry(c, db, e, for_write) == EXPIRED_NOT ? e : NULL;
}

static void touch(struct client *c, struct entry *e) {
    if (!(c->flags & CLIENT_NO_TOUCH)) access_touch(c->engine, e);
}

struct entry *key_read_in(struct client *c, struct db *db, struct slice key) {
    struct entry *e = find(c, db, key, false);
    if (e == NULL) {
        c->engine->stats.misses++;
        notify_key(db, NOTIFY_MISS, "keymiss", key);
        return NULL;
    }
    c->engine->stats.hits++;
    touch(c, e);
    return e;
}

struct entry *key_read(struct client *c, struct slice key) {
    return key_read_in(c, c->db, key);
}

struct entry *key_lookup(struct client *c, struct slice key) {
    struct entry *e = find(c, c->db, key, true);
    if (e != NULL) touch(c, e);
    return e;
}

struct entry *key_write(struct client *c, struct slice key) {
    struct entry *e = key_lookup(c, key);
    if (e != NULL) db_edit(c->db, e);
    return e;
}

static struct entry *check_type(struct client *c, struct entry *e, enum type type, bool *wrong) {
    *wrong = e != NULL && entry_type(e) != type;
    if (!*wrong) return e;
    reply_wrong_type(c);
    return NULL;
}

struct entry *key_read_typed(struct client *c, struct slice key, enum type type, bool *wrong) {
    return check_type(c, key_read(c, key), type, wrong);
}

struct entry *key_write_typed(struct client *c, struct slice key, enum type type, bool *wrong) {
    struct entry *e = check_type(c, key_lookup(c, key), type, wrong);
    if (e != NULL) db_edit(c->db, e);
    return e;
}

void key_touched(struct client *c, struct db *db, struct slice key) {
    if (db->engine->tracking) tracking_key_changed(db->engine, c, key);
    if (table_count(&db->watched) > 0) multi_key_changed(db, key);
}

void key_changed(struct client *c, struct slice key, enum notify_class class, const char *event,
                 uint64_t dirty) {
    key_touched(c, c->db, key);
    c->engine->dirty += dirty;
    if (class != NOTIFY_NONE) notify_key(c->db, class, event, key);
}

void key_delete_empty(struct client *c, struct slice key) {
    if (db_delete(c->db, key)) notify_key(c->db, NOTIFY_GENERIC, "del", key);
}

struct entry *key_add(struct client *c, struct slice key, const struct value *value) {
    return key_replace(c, key, value);
}

struct entry *key_replace(struct client *c, struct slice key, const struct value *value) {
    bool tell =
        c->engine->settings.notify_keyspace_events & NOTIFY_NEW && db_find(c->db, key) == NULL;
    struct entry *e = db_set(c->db, key, value, -1, false);
    block_key_ready(c->db, key);
    if (tell) notify_key(c->db, NOTIFY_NEW, "new", key);
    return e;
}

bool key_delete(struct client *c, struct slice key) {
    struct entry *e = find(c, c->db, key, true);
    return e != NULL && db_delete(c->db, key);
}
