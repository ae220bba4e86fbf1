/* block.c -- clients that wait.
 *
 * For each waited-for key db->blocking has the queue of waits, oldest first; each client has the
 * list of its waits. Keys that got something are noted in engine->blocking and looked at when the
 * command ended.
 */
#include "server/block.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/latency.h"
#include "server/multi.h"
#include "server/net.h"
#include "server/reply.h"
#include "server/slowlog.h"

struct wait {
    struct client *c;
    struct waited_key *key;
    struct wait *next_of_client;
    struct wait *next, *prev; /* of the key */
};

/* In db->blocking. */
struct waited_key {
    struct db *db;
    struct wait *first, *last;
    bool noted;
    size_t size;
    uint8_t bytes[];
};

struct client_block {
    const struct block_how *how;
    struct wait *waits;
    int64_t deadline_ms; /* 0: none */
    struct slice *argv;  /* our copy */
    uint64_t began_us;
    struct client *next, *prev; /* all blocked clients */
};

struct noted {
    struct noted *next;
    struct db *db;
    size_t size;
    uint8_t bytes[];
};

struct engine_block {
    struct client *first;
    size_t count;
    struct noted *ready, **ready_end;
    bool serving;
};

static struct slice key_of_waited(const void *item) {
    const struct waited_key *key = item;
    return slice_from(key->bytes, key->size);
}

static const struct table_type waited_type = {key_of_waited};

static struct engine_block *of(struct engine *engine) {
    if (engine->blocking == NULL) {
        engine->blocking = NEW(struct engine_block);
        engine->blocking->ready_end = &engine->blocking->ready;
    }
    return engine->blocking;
}

size_t block_count(const struct engine *engine) {
    return engine->blocking ? engine->blocking->count : 0;
}

bool block_is_denied(const struct client *c) {
    return c->flags & (CLIENT_EXECUTING | CLIENT_LOADING | CLIENT_SCRIPT | CLIENT_MASTER);
}

/* ---- begin ---- */

static struct client_block *begin(struct client *c, int64_t deadline_ms,
                                  const struct block_how *how) {
    ASSERT(c->block == NULL && !block_is_denied(c));
    struct engine_block *all = of(c->engine);
    struct client_block *block = NEW(struct client_block);
    *block = (struct client_block){.how = how,
                                   .deadline_ms = deadline_ms,
                                   .argv = args_copy(c->argc, c->argv),
                                   .began_us = c->engine->now_us,
                                   .next = all->first};
    if (all->first) all->first->block->prev = c;
    all->first = c;
    all->count++;
    c->block = block;
    c->argv = block->argv;
    c->flags |= CLIENT_BLOCKED;
    return block;
}

static void add_wait(struct client *c, struct slice key) {
    for (struct wait *w = c->block->waits; w; w = w->next_of_client)
        if (slice_equal(key_of_waited(w->key), key)) return;
    if (c->db->blocking.type == NULL) table_init(&c->db->blocking, &waited_type);
    struct waited_key *waited = table_find(&c->db->blocking, key);
    if (waited == NULL) {
        waited = mem_alloc(sizeof *waited + key.size);
        *waited = (struct waited_key){.db = c->db, .size = key.size};
        if (key.size) memcpy(waited->bytes, key.data, key.size);
        table_add(&c->db->blocking, waited);
    }
    struct wait *w = NEW(struct wait);
    *w = (struct wait){
        .c = c, .key = waited, .next_of_client = c->block->waits, .prev = waited->last};
    if (waited->last)
        waited->last->next = w;
    else
        waited->first = w;
    waited->last = w;
    c->block->waits = w;
}

void block_on_keys(struct client *c, const struct slice *keys, int count, int64_t deadline_ms,
                   const struct block_how *how) {
    (void)begin(c, deadline_ms, how);
    for (int i = 0; i < count; i++) add_wait(c, keys[i]);
}

void block_until(struct client *c, int64_t deadline_ms, const struct block_how *how) {
    (void)begin(c, deadline_ms, how);
}

size_t block_memory(const struct client *c) {
    size_t bytes = c->block ? sizeof *c->block : 0;
    for (int i = 0; c->block && i < c->argc; i++) bytes += sizeof *c->argv + c->argv[i].size;
    return bytes;
}

/* ---- end ---- */

static void remove_wait(struct wait *w) {
    struct waited_key *key = w->key;
    if (w->prev)
        w->prev->next = w->next;
    else
        key->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        key->last = w->prev;
    if (key->first == NULL) {
        (void)table_take(&key->db->blocking, key_of_waited(key));
        mem_free(key);
    }
    mem_free(w);
}

void block_forget(struct client *c) {
    struct client_block *block = c->block;
    if (block == NULL) return;
    struct engine_block *all = of(c->engine);
    for (struct wait *w = block->waits, *next; w; w = next) {
        next = w->next_of_client;
        remove_wait(w);
    }
    if (block->prev)
        block->prev->block->next = block->next;
    else
        all->first = block->next;
    if (block->next) block->next->block->prev = block->prev;
    all->count--;
    mem_free(block->argv);
    mem_free(block);
    c->block = NULL;
    c->argv = NULL;
    c->argc = 0;
    c->flags &= ~(uint64_t)CLIENT_BLOCKED;
}

void block_end(struct client *c) {
    block_forget(c);
    if (c->fd >= 0 && buf_size(&c->in) > 0) net_ready(c);
}

bool block_waits_by(const struct client *c, const struct block_how *how) {
    return c->block && c->block->how == how;
}

int block_type(const struct client *c) {
    return c->block ? c->block->how->type : -1;
}

bool block_unblock(struct client *c, bool with_error) {
    if (c->block == NULL || c->block->how->timed_out == NULL) return false;
    if (with_error) {
        reply_error(c, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        c->engine->uses[c->command->index].failed++;
    } else
        c->block->how->timed_out(c);
    slowlog_note(c, 0);
    block_end(c);
    return true;
}

void block_check_timeouts(struct engine *engine) {
    struct engine_block *all = of(engine);
    for (struct client *c = all->first, *next; c; c = next) {
        next = c->block->next;
        if (c->block->deadline_ms == 0 || c->block->deadline_ms > engine->now_ms) continue;
        c->block->how->timed_out(c);
        slowlog_note(c, 0);
        block_end(c);
    }
}

int64_t block_next_deadline(struct engine *engine) {
    int64_t first = 0;
    for (struct client *c = of(engine)->first; c; c = c->block->next)
        if (c->block->deadline_ms && (first == 0 || c->block->deadline_ms < first))
            first = c->block->deadline_ms;
    return first;
}

void block_end_all(struct engine *engine, const char *error) {
    struct engine_block *all = of(engine);
    for (struct client *c = all->first, *next; c; c = next) {
        next = c->block->next;
        reply_error(c, "%s", error);
        block_end(c);
        client_close_after_reply(c);
    }
}

/* ---- ready keys ---- */

void block_key_ready(struct db *db, struct slice key) {
    if (table_count(&db->blocking) == 0) return;
    struct waited_key *waited = table_find(&db->blocking, key);
    if (waited == NULL || waited->noted) return;
    waited->noted = true;
    struct engine_block *all = of(db->engine);
    struct noted *noted = mem_alloc(sizeof *noted + key.size);
    *noted = (struct noted){.db = db, .size = key.size};
    if (key.size) memcpy(noted->bytes, key.data, key.size);
    *all->ready_end = noted;
    all->ready_end = &noted->next;
}

void block_scan_db(struct db *db) {
    if (table_count(&db->blocking) == 0) return;
    struct table_iter iter;
    table_iter_init(&iter, &db->blocking);
    for (struct waited_key *key; (key = table_iter_next(&iter)) != NULL;)
        block_key_ready(db, key_of_waited(key));
}

/* Its command, which began to run at BEGAN_US, has written its reply. */
static void end_run(struct client *c, uint64_t began_us) {
    struct engine *engine = c->engine;
    struct command_use *use = &engine->uses[c->command->index];
    uint64_t took_us = clock_mono_us(engine->clock) - began_us;
    use->micros += took_us;
    latency_record(engine, c->command, took_us);
    slowlog_note(c, took_us);
    if (c->flags & CLIENT_FAILED) use->failed++;
    c->flags &= ~(uint64_t)(CLIENT_PREVENT_PROP | CLIENT_FORCE_REPL | CLIENT_FAILED);
    block_end(c);
}

/* Serve one client as if it ran its command now. */
static bool serve(struct client *c, struct slice key, struct entry *e) {
    struct engine *engine = c->engine;
    struct client *before = engine->current;
    const struct block_how *how = c->block->how;
    uint64_t began_us = engine->now_us;
    engine->current = c;
    propagate_unit_begin(engine);
    engine->nesting++;
    bool served = how->serve(c, key, e);
    engine->nesting--;
    propagate_unit_end(engine);
    engine->current = before;
    if (served) end_run(c, began_us);
    return served;
}

void block_run(struct client *c, void (*run)(struct client *c)) {
    struct engine *engine = c->engine;
    struct client *before = engine->current;
    uint64_t began_us = clock_mono_us(engine->clock);
    engine->current = c;
    propagate_unit_begin(engine);
    engine->nesting++;
    run(c);
    engine->nesting--;
    propagate_unit_end(engine);
    engine->current = before;
    end_run(c, began_us);
}

static void serve_key(struct db *db, struct slice key) {
    struct waited_key *waited = table_find(&db->blocking, key);
    if (waited == NULL) return;
    waited->noted = false;
    /* Those that wait now; whoever blocks again meanwhile has to wait for the next time. */
    size_t count = 0;
    for (struct wait *w = waited->first; w; w = w->next) count++;
    for (struct wait *w = waited->first, *next; w && count > 0; w = next, count--) {
        next = w->next;
        if (next == NULL) count = 1;             /* WAITED may be gone after the last one */
        const struct block_how *how = w->c->block->how;
        struct entry *e = key_lookup(w->c, key); /* what has expired meanwhile is not there */
        if (e == NULL && how->type != TYPE_STREAM) continue;
        if (how->serve && !(w->c->flags & CLIENT_CLOSE_NOW)) (void)serve(w->c, key, e);
    }
}

void block_serve_ready(struct engine *engine) {
    struct engine_block *all = engine->blocking;
    if (all == NULL || all->ready == NULL || all->serving) return;
    all->serving = true;
    engine_read_clock(engine);   /* the commands before may have taken long */
    while (all->ready != NULL) { /* serving BLMOVE may make other keys ready */
        struct noted *noted = all->ready;
        all->ready = noted->next;
        if (all->ready == NULL) all->ready_end = &all->ready;
        serve_key(noted->db, slice_from(noted->bytes, noted->size));
        mem_free(noted);
    }
    all->serving = false;
}
