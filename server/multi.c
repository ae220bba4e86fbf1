/* multi.c -- transactions.
 *
 * Who watches what stands twice: the client has its list of watches, and db->watched has for each
 * watched key the list of watches on it.
 */
#include "server/multi.h"

#include "lib/base/mem.h"
#include "server/acl.h"
#include "server/block.h"
#include "server/execute.h"
#include "server/reply.h"

struct queued {
    const struct command *command;
    int argc;
    struct slice *argv; /* one block with the bytes behind it */
};

/* One client's watch on one key. */
struct watch {
    struct client *c;
    struct watched_key *key;
    struct watch *next_of_client, *next_of_key, **link_of_key;
    bool was_expired; /* the key was there, but past its time, when WATCH was called */
};

/* In db->watched. */
struct watched_key {
    struct db *db;
    struct watch *first;
    size_t size;
    uint8_t bytes[];
};

struct client_multi {
    struct queued *queue;
    size_t count, room, bytes; /* of the copied arguments */
    uint32_t some, all; /* flags that some queued command has, and that all have */
    struct watch *watches;
    size_t watch_bytes;
};

static struct slice key_of_watched(const void *item) {
    const struct watched_key *key = item;
    return slice_from(key->bytes, key->size);
}

static const struct table_type watched_type = {key_of_watched};

static struct client_multi *of(struct client *c) {
    if (c->multi == NULL) c->multi = NEW(struct client_multi);
    return c->multi;
}

/* ---- the queue ---- */

struct slice *args_copy(int argc, const struct slice *argv) {
    size_t size = (size_t)argc * sizeof *argv;
    for (int i = 0; i < argc; i++) size += argv[i].size;
    struct slice *copy = mem_alloc(size);
    uint8_t *at = (uint8_t *)(copy + argc);
    for (int i = 0; i < argc; i++) {
        if (argv[i].size) memcpy(at, argv[i].data, argv[i].size);
        copy[i] = slice_from(at, argv[i].size);
        at += argv[i].size;
    }
    return copy;
}

void multi_queue(struct client *c) {
    struct client_multi *m = of(c);
    if (c->flags & (CLIENT_DIRTY_EXEC | CLIENT_DIRTY_CAS))
        return; /* it is lost anyway: take no memory */
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : 8;
        m->queue = mem_realloc(m->queue, m->room * sizeof *m->queue);
    }
    for (int i = 0; i < c->argc; i++) m->bytes += c->argv[i].size + sizeof *c->argv;
    m->queue[m->count++] = (struct queued){c->command, c->argc, args_copy(c->argc, c->argv)};
    uint32_t flags = engine_command_flags(c, c->command);
    m->all = m->count == 1 ? flags : m->all & flags;
    m->some |= flags;
}

uint32_t multi_flags(const struct client *c, uint32_t own) {
    const uint32_t of_all = COMMAND_STALE | COMMAND_LOADING;
    const struct client_multi *m = c->multi;
    if (m == NULL || m->count == 0) return own;
    return (own | (m->some & ~of_all)) & (m->all | ~of_all);
}

void multi_visit(const struct client *c,
                 void (*fn)(void *ctx, const struct command *command, int argc,
                            const struct slice *argv),
                 void *ctx) {
    const struct client_multi *m = c->multi;
    for (size_t i = 0; m && i < m->count; i++)
        fn(ctx, m->queue[i].command, m->queue[i].argc, m->queue[i].argv);
}

size_t multi_queued(const struct client *c) {
    return c->multi ? c->multi->count : 0;
}

size_t multi_memory(const struct client *c) {
    const struct client_multi *m = c->multi;
    return m ? sizeof *m + m->room * sizeof *m->queue + m->bytes + m->watch_bytes : 0;
}

static void drop_queue(struct client *c) {
    struct client_multi *m = of(c);
    for (size_t i = 0; i < m->count; i++) mem_free(m->queue[i].argv);
    mem_free(m->queue);
    m->queue = NULL;
    m->count = m->room = m->bytes = 0;
    m->some = m->all = 0;
    c->flags &= ~(uint64_t)(CLIENT_MULTI | CLIENT_DIRTY_EXEC | CLIENT_DIRTY_CAS);
}

void multi_discard(struct client *c) {
    drop_queue(c);
    multi_unwatch(c);
}

/* ---- watching ---- */

static void watch_key(struct client *c, struct slice key) {
    struct client_multi *m = of(c);
    for (struct watch *w = m->watches; w; w = w->next_of_client)
        if (w->key->db == c->db && slice_equal(key_of_watched(w->key), key)) return;
    if (c->db->watched.type == NULL) table_init(&c->db->watched, &watched_type);
    struct watched_key *watched = table_find(&c->db->watched, key);
    if (watched == NULL) {
        watched = mem_alloc(sizeof *watched + key.size);
        *watched = (struct watched_key){.db = c->db, .size = key.size};
        if (key.size) memcpy(watched->bytes, key.data, key.size);
        table_add(&c->db->watched, watched);
    }
    struct watch *w = NEW(struct watch);
    const struct entry *e = db_find(c->db, key);
    *w = (struct watch){.c = c,
                        .key = watched,
                        .next_of_client = m->watches,
                        .next_of_key = watched->first,
                        .link_of_key = &watched->first,
                        .was_expired = e && entry_is_expired(c->engine, e)};
    if (w->next_of_key) w->next_of_key->link_of_key = &w->next_of_key;
    watched->first = w;
    m->watches = w;
    m->watch_bytes += sizeof *w + sizeof *watched + key.size;
}

void multi_unwatch(struct client *c) {
    struct watch *w = c->multi ? c->multi->watches : NULL;
    while (w != NULL) {
        struct watch *next = w->next_of_client;
        *w->link_of_key = w->next_of_key;
        if (w->next_of_key) w->next_of_key->link_of_key = w->link_of_key;
        if (w->key->first == NULL) {
            (void)table_take(&w->key->db->watched, key_of_watched(w->key));
            mem_free(w->key);
        }
        mem_free(w);
        w = next;
    }
    if (c->multi) c->multi->watches = NULL;
    if (c->multi) c->multi->watch_bytes = 0;
}

void multi_key_changed(struct db *db, struct slice key) {
    struct watched_key *watched = table_find(&db->watched, key);
    if (watched == NULL) return;
    const struct entry *e = db_find(db, key);
    for (struct watch *w = watched->first; w; w = w->next_of_key) {
        /* It had expired before WATCH, and now it is really gone: nothing changed for the client.
         */
        if (w->was_expired && e == NULL)
            w->was_expired = false;
        else
            w->c->flags |= CLIENT_DIRTY_CAS;
    }
}

static bool is_expired_in(const struct db *db, struct slice key) {
    const struct entry *e = db_find(db, key);
    return e && entry_is_expired(db->engine, e);
}

/* A key that had expired before WATCH may go, or be replaced by an expired one, and one that was
 * not there may be replaced by an expired one: for the client nothing changed. */
static void db_changes_key(struct watched_key *key, const struct db *db, const struct db *other) {
    struct slice name = key_of_watched(key);
    bool here = db_find(db, name) != NULL, there = other && db_find(other, name) != NULL;
    if (!here && !there) return;
    bool stale_there = there && is_expired_in(other, name);
    for (struct watch *w = key->first; w; w = w->next_of_key) {
        if (w->was_expired && !there)
            w->was_expired = false;
        else if (w->was_expired && stale_there)
            continue;
        else if (!here && stale_there)
            w->was_expired = true;
        else
            w->c->flags |= CLIENT_DIRTY_CAS;
    }
}

void multi_db_changes(struct db *db, struct db *other) {
    if (table_count(&db->watched) == 0) return;
    struct table_iter iter;
    table_iter_init(&iter, &db->watched);
    for (struct watched_key *key; (key = table_iter_next(&iter)) != NULL;)
        db_changes_key(key, db, other);
}

static bool watched_key_expired(const struct client *c) {
    for (const struct watch *w = c->multi ? c->multi->watches : NULL; w; w = w->next_of_client) {
        if (w->was_expired) continue;
        const struct entry *e = db_find(w->key->db, key_of_watched(w->key));
        if (e && entry_is_expired(c->engine, e)) return true;
    }
    return false;
}

void multi_forget(struct client *c) {
    if (c->multi == NULL) return;
    multi_discard(c);
    mem_free(c->multi);
    c->multi = NULL;
}

/* ---- commands ---- */

static void run_multi(struct client *c) {
    if (c->flags & CLIENT_MULTI) {
        reply_error(c, "ERR MULTI calls can not be nested");
        return;
    }
    c->flags |= CLIENT_MULTI;
    reply_ok(c);
}

static void run_discard(struct client *c) {
    if (!(c->flags & CLIENT_MULTI)) {
        reply_error(c, "ERR DISCARD without MULTI");
        return;
    }
    multi_discard(c);
    reply_ok(c);
}

static void run_watch(struct client *c) {
    if (c->flags & CLIENT_MULTI) {
        reply_error(c, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (!(c->flags & CLIENT_DIRTY_CAS))
        for (int i = 1; i < c->argc; i++) watch_key(c, c->argv[i]);
    reply_ok(c);
}

static void run_unwatch(struct client *c) {
    multi_unwatch(c);
    c->flags &= ~(uint64_t)CLIENT_DIRTY_CAS;
    reply_ok(c);
}

/* The user's rules may have changed since the command was queued. */
static bool still_allowed(struct client *c) {
    static const char *const reasons[] = {
        "no permission", "no permission to execute the command or subcommand",
        "no permission to touch the specified keys",
        "no permission to access one of the channels used as arguments to the command",
        "no permission"};
    enum acl_denied denied = acl_admit(c, c->command, c->argc, c->argv, ACL_IN_MULTI);
    if (denied != ACL_OK)
        reply_error(c,
                    "NOPERM ACLs rules changed between the moment the transaction was accumulated "
                    "and the EXEC call. This command is no longer allowed for the following "
                    "reason: %s",
                    reasons[denied]);
    return denied == ACL_OK;
}

static void execute_queue(struct client *c) {
    struct client_multi *m = c->multi;
    const struct command *exec = c->command;
    int argc = c->argc;
    struct slice *argv = c->argv;
    multi_unwatch(c); /* what the transaction itself changes is no conflict */
    c->flags = (c->flags & ~(uint64_t)CLIENT_MULTI) | CLIENT_EXECUTING;
    reply_array(c, m->count);
    for (size_t i = 0; i < m->count; i++) {
        c->command = m->queue[i].command;
        c->argc = m->queue[i].argc;
        c->argv = m->queue[i].argv;
        if (acl_admits_all(c) || still_allowed(c)) execute_call(c);
    }
    c->flags &= ~(uint64_t)CLIENT_EXECUTING;
    c->command = exec;
    c->argc = argc;
    c->argv = argv;
    drop_queue(c);
}

static void run_exec(struct client *c) {
    if (!(c->flags & CLIENT_MULTI)) {
        reply_error(c, "ERR EXEC without MULTI");
        return;
    }
    if (watched_key_expired(c)) c->flags |= CLIENT_DIRTY_CAS;
    if (c->flags & CLIENT_DIRTY_EXEC) {
        multi_discard(c);
        reply_error(c, "EXECABORT Transaction discarded because of previous errors.");
    } else if (c->flags & CLIENT_DIRTY_CAS) {
        multi_discard(c);
        reply_null_array(c);
    } else {
        (void)of(c);
        execute_queue(c);
    }
    propagate_nothing(c); /* the queued commands spoke for themselves */
}

void multi_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"multi", run_multi},
                                                      {"exec", run_exec},
                                                      {"discard", run_discard},
                                                      {"watch", run_watch},
                                                      {"unwatch", run_unwatch}};
    command_bind(engine, bindings, COUNT(bindings));
}
