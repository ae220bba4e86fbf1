/* generic_commands.c -- commands for keys of any type: DEL, EXISTS, TYPE, RENAME, MOVE, COPY,
 * TOUCH. */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/block.h"
#include "server/engine.h"
#include "server/groups.h"
#include "server/multi.h"
#include "server/reply.h"

static void delete_keys(struct client *c) {
    int64_t gone = 0;
    for (int i = 1; i < c->argc; i++) {
        if (!key_delete(c, c->argv[i])) continue;
        key_changed(c, c->argv[i], NOTIFY_GENERIC, "del", 1);
        gone++;
    }
    reply_int(c, gone);
}

static void run_exists(struct client *c) {
    int64_t found = 0;
    uint64_t no_touch = c->flags & CLIENT_NO_TOUCH;
    c->flags |= CLIENT_NO_TOUCH;
    for (int i = 1; i < c->argc; i++) found += key_read(c, c->argv[i]) != NULL;
    c->flags = (c->flags & ~(uint64_t)CLIENT_NO_TOUCH) | no_touch;
    reply_int(c, found);
}

static void run_touch(struct client *c) {
    int64_t found = 0;
    for (int i = 1; i < c->argc; i++) found += key_read(c, c->argv[i]) != NULL;
    reply_int(c, found);
}

static void run_type(struct client *c) {
    uint64_t no_touch = c->flags & CLIENT_NO_TOUCH;
    c->flags |= CLIENT_NO_TOUCH;
    struct entry *e = key_read(c, c->argv[1]);
    c->flags = (c->flags & ~(uint64_t)CLIENT_NO_TOUCH) | no_touch;
    reply_simple(c, e ? type_name(entry_type(e)) : "none");
}

static void run_randomkey(struct client *c) {
    propagate_unwrapped(c);
    for (int tries = 0; tries < 100; tries++) {
        struct entry *e = db_random(c->db, &c->engine->rng);
        if (e == NULL) break;
        struct slice key = entry_key(e);
        char copy[1024];
        if (entry_expires(e) && entry_is_expired(c->engine, e) && key.size <= sizeof copy) {
            memcpy(copy, key.data, key.size);
            if (tries < 99 && key_lookup(c, slice_from(copy, key.size)) == NULL) continue;
        }
        reply_bulk(c, key);
        return;
    }
    reply_null(c);
}

/* ---- RENAME, MOVE, COPY ---- */

/* Put a value that was taken from somewhere under KEY, whatever was there. */
static void put_taken(struct db *db, struct slice key, const struct value *value,
                      int64_t expiry_ms) {
    (void)db_set(db, key, value, expiry_ms, false);
    block_key_ready(db, key);
    notify_key(db, NOTIFY_NEW, "new", key); /* in Redis what was there is deleted first */
}

static void rename_key(struct client *c, bool only_new) {
    struct slice from = c->argv[1], to = c->argv[2];
    if (key_lookup(c, from) == NULL) {
        reply_no_such_key(c);
        return;
    }
    if (slice_equal(from, to)) {
        if (only_new)
            reply_int(c, 0);
        else
            reply_ok(c);
        return;
    }
    if (key_lookup(c, to) != NULL && only_new) {
        reply_int(c, 0);
        return;
    }
    struct value value;
    int64_t expiry_ms;
    void *text;
    (void)db_take(c->db, from, &value, &expiry_ms, &text);
    put_taken(c->db, to, &value, expiry_ms);
    mem_free(text);
    key_changed(c, from, NOTIFY_GENERIC, "rename_from", 1);
    key_changed(c, to, NOTIFY_GENERIC, "rename_to", 0);
    if (only_new)
        reply_int(c, 1);
    else
        reply_ok(c);
}

static void run_rename(struct client *c) {
    rename_key(c, false);
}
static void run_renamenx(struct client *c) {
    rename_key(c, true);
}

static bool read_db(struct client *c, struct slice arg, struct db **db, const char *error) {
    int64_t id;
    if (!arg_int_range(c, arg, INT32_MIN, INT32_MAX, &id, error)) return false;
    if (id < 0 || id >= c->engine->db_count) {
        reply_error(c, "ERR DB index is out of range");
        return false;
    }
    *db = &c->engine->dbs[id];
    return true;
}

/* The entry of KEY in another database, when it is really there. */
static struct entry *lookup_in(struct client *c, struct db *db, struct slice key) {
    struct db *own = c->db;
    c->db = db;
    struct entry *e = key_lookup(c, key);
    c->db = own;
    return e;
}

static void run_move(struct client *c) {
    struct db *to;
    struct slice key = c->argv[1];
    if (c->engine->cluster) {
        reply_error(c, "ERR MOVE is not allowed in cluster mode");
        return;
    }
    if (!read_db(c, c->argv[2], &to, NULL)) return;
    if (to == c->db) {
        reply_error(c, "ERR source and destination objects are the same");
        return;
    }
    if (key_lookup(c, key) == NULL || lookup_in(c, to, key) != NULL) {
        reply_int(c, 0);
        return;
    }
    struct value value;
    int64_t expiry_ms;
    void *text;
    (void)db_take(c->db, key, &value, &expiry_ms, &text);
    put_taken(to, key, &value, expiry_ms);
    mem_free(text);
    key_changed(c, key, NOTIFY_GENERIC, "move_from", 1);
    key_touched(c, to, key);
    notify_key(to, NOTIFY_GENERIC, "move_to", key);
    reply_int(c, 1);
}

static bool read_copy_options(struct client *c, struct db **to, bool *replace) {
    *to = c->db;
    *replace = false;
    for (int i = 3; i < c->argc; i++) {
        if (arg_is(c->argv[i], "replace"))
            *replace = true;
        else if (arg_is(c->argv[i], "db") && i + 1 < c->argc) {
            if (!read_db(c, c->argv[++i], to, NULL)) return false;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static void run_copy(struct client *c) {
    struct db *to;
    bool replace;
    struct slice from = c->argv[1], key = c->argv[2];
    if (!read_copy_options(c, &to, &replace)) return;
    if (to != c->db && c->engine->cluster) {
        reply_error(c, "ERR Copying to another database is not allowed in cluster mode");
        return;
    }
    if (to == c->db && slice_equal(from, key)) {
        reply_error(c, "ERR source and destination objects are the same");
        return;
    }
    struct entry *e = key_read(c, from);
    if (e == NULL || (lookup_in(c, to, key) != NULL && !replace)) {
        reply_int(c, 0);
        return;
    }
    e = db_find(c->db, from);
    struct value value = entry_value(e);
    if (value.type != TYPE_STRING)
        value.ptr = value_ops(value.type)->copy(value.encoding, value.ptr);
    /* A string's bytes are copied by db_set(); a long one in its own database may be dropped by it,
     * so not before the copy was made: replacing another key never frees this one. */
    put_taken(to, key, &value, entry_expiry(e));
    c->engine->dirty++;
    key_touched(c, to, key);
    notify_key(to, NOTIFY_GENERIC, "copy_to", key);
    reply_int(c, 1);
}

void generic_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"del", delete_keys},   {"unlink", delete_keys},    {"exists", run_exists},
        {"touch", run_touch},   {"type", run_type},         {"randomkey", run_randomkey},
        {"rename", run_rename}, {"renamenx", run_renamenx}, {"move", run_move},
        {"copy", run_copy}};
    command_bind(engine, bindings, COUNT(bindings));
}
