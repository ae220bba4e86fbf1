/* turn.c -- a turn of the engine: requests of all clients that have some, in batches of up to 64.
 *
 *     parse --> hash the first keys --> fetch segment, bucket, entry, value --> execute in order
 *
 * A GET of a key that is not in the processor's cache waits for memory four times, one after the
 * other. The stages fetch for the whole batch at once, so the waits overlap.
 *
 * Arguments point into the clients' input, which nobody moves before the batch is done. When a
 * client may not go on (blocked, paused, closing) the rest of its requests is forgotten and read
 * again later.
 */
#include "server/execute.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/client_memory.h"
#include "server/net.h"
#include "server/reply.h"

#define BATCH 64
#define ARGS_KEPT                                                                                  \
    128 /* arguments for which a client, or a batch for each request, keeps its memory */
#define KEY_HASHED_MAX 1024 /* bytes; longer keys are hashed when they are used */

struct pending {
    struct client *c;
    const struct command *spec;
    int argc;
    size_t first;      /* in batch.argv */
    size_t size_bytes; /* of the request in the client's input */
    struct slice key;  /* data NULL: none */
    uint64_t hash;
    unsigned table; /* its place in the database */
    const struct entry *entry;
};

struct batch {
    struct pending items[BATCH];
    int count, at; /* at: the one that is executed */
    struct slice *argv;
    size_t used, room;
};

static struct batch *batch_of(struct engine *engine) {
    if (engine->batch == NULL) engine->batch = NEW(struct batch);
    return engine->batch;
}

/* ---- parsing ---- */

static struct resp_request_limits limits_of(const struct client *c) {
    if (acl_must_authenticate(c)) return resp_request_limits_closed;
    struct resp_request_limits limits = resp_request_limits_open;
    limits.bulk_bytes_max = (size_t)c->engine->settings.proto_max_bulk_len;
    limits.total_bytes_max = (size_t)c->engine->settings.client_query_buffer_limit;
    return limits;
}

static void keep_request(struct batch *b, struct client *c, const struct resp_request *request,
                         size_t size_bytes) {
    if (b->used + request->argc > b->room) {
        b->room = (b->used + request->argc) * 2;
        b->argv = mem_realloc(b->argv, b->room * sizeof *b->argv);
    }
    memcpy(b->argv + b->used, request->argv, request->argc * sizeof *b->argv);
    b->items[b->count++] = (struct pending){
        .c = c, .argc = (int)request->argc, .first = b->used, .size_bytes = size_bytes};
    b->used += request->argc;
}

static void forget_progress(struct client *c) {
    struct resp_request *request = c->request;
    request->at = request->count = 0;
    request->want = 0;
    request->bulk = -1;
}

/* Requests of one client into the batch. One that is broken hangs the client up, but only when all
 * in front of it have been answered. */
static void parse_client(struct batch *b, struct client *c) {
    struct resp_request *request = c->request;
    struct resp_request_limits limits = limits_of(c);
    struct slice rest = buf_slice(&c->in);
    int before = b->count;
    c->again = false;
    while (b->count < BATCH) {
        size_t used = 0;
        struct why why;
        enum step step = resp_request_next(request, &limits, rest, &used, &why);
        if (step == STEP_MORE) {
            c->again = false;
            break;
        }
        if (step == STEP_FAIL && b->count > before) {
            c->again = true;
            forget_progress(c);
            break;
        }
        if (step == STEP_FAIL) {
            reply_error(c, "ERR %s", why.text);
            client_close_after_reply(c);
            return;
        }
        rest = slice_drop(rest, used);
        if (request->argc == 0) {
            if (b->count > before)
                b->items[b->count - 1].size_bytes += used;
            else
                buf_consume(&c->in, used);
            continue;
        }
        keep_request(b, c, request, used);
        c->again = rest.size > 0;
        if (request->is_inline) return; /* its words live in the reader, which holds one request */
        if (!c->authenticated && acl_must_authenticate(c)) return; /* the next may be read with other limits */
    }
}

/* ---- fetching ahead ---- */

static void find_key(struct batch *b, struct pending *p) {
    struct slice *argv = b->argv + p->first;
    p->spec = command_lookup_here(p->c->engine, (size_t)p->argc, argv);
    if (p->spec == NULL || p->spec->specs[0].begin != COMMAND_BEGIN_INDEX) return;
    int at = p->spec->specs[0].at;
    if (at <= 0 || at >= p->argc || argv[at].size == 0 || argv[at].size > KEY_HASHED_MAX) return;
    p->key = argv[at];
    p->hash = table_hash(p->key);
    p->table = db_table(p->c->db, p->key);
}

static struct table *table_of(const struct pending *p) {
    return &p->c->db->partitions->tables[p->table];
}

static void fetch_ahead(struct batch *b) {
    for (int i = 0; i < b->count; i++) {
        struct pending *p = &b->items[i];
        find_key(b, p);
        if (p->key.data && b->count > 1) table_prefetch(table_of(p), p->hash, 0);
    }
    if (b->count == 1) return;
    for (int i = 0; i < b->count; i++)
        if (b->items[i].key.data) table_prefetch(table_of(&b->items[i]), b->items[i].hash, 1);
    for (int i = 0; i < b->count; i++) {
        struct pending *p = &b->items[i];
        if (p->key.data == NULL) continue;
        p->entry = table_peek(table_of(p), p->hash);
        if (p->entry) __builtin_prefetch(p->entry);
    }
    for (int i = 0; i < b->count; i++) {
        const struct entry *e = b->items[i].entry;
        if (e == NULL) continue;
        if (e->flags & ENTRY_INLINE)
            __builtin_prefetch((const char *)e + 64);
        else if (entry_encoding(e) != ENC_INT)
            __builtin_prefetch(entry_ptr(e));
    }
}

/* ---- executing ---- */

static bool may_go_on(const struct client *c) {
    return !(c->flags & (CLIENT_CLOSE_NOW | CLIENT_CLOSING | CLIENT_BLOCKED | CLIENT_PAUSED |
                         CLIENT_READ_PAUSED)) &&
           !c->rewound && !c->waits_for_aof;
}

static void begin_reply_skip(struct client *c) {
    c->flags &= ~(uint64_t)CLIENT_REPLY_SKIP;
    if (!(c->flags & CLIENT_REPLY_SKIP_NEXT)) return;
    c->flags &= ~(uint64_t)CLIENT_REPLY_SKIP_NEXT;
    c->flags |= CLIENT_REPLY_SKIP;
}

static void execute_one(struct batch *b, struct pending *p) {
    struct client *c = p->c;
    struct engine *engine = c->engine;
    if (!may_go_on(c)) {
        c->rewound = true;
        return;
    }
    c->hashed_key = p->key;
    c->key_hash = p->hash;
    c->key_table = p->table;
    c->commands++;
    engine->current = c;
    bool done = execute_request(c, p->argc, b->argv + p->first, p->spec);
    engine->current = NULL;
    c->hashed_key = slice_from(NULL, 0);
    if (!(c->flags & CLIENT_BLOCKED)) c->argv = NULL;
    if (!done) {
        c->rewound = true;
        return;
    }
    begin_reply_skip(c);
    client_memory_note(c);
    if (c->fd >= 0) buf_consume(&c->in, p->size_bytes);
}

static void end_client(struct client *c) {
    if (c->rewound) {
        c->rewound = false;
        c->again = buf_size(&c->in) > 0;
        forget_progress(c);
    }
    if (c->again && may_go_on(c)) net_ready(c);
    if (buf_size(&c->in) > 0) return;
    struct resp_request *request = c->request;
    if (request && request->cap > ARGS_KEPT) resp_request_close(request);
}

static void end_batch(struct batch *b) {
    for (int i = 0; i < b->count; i++)
        if (b->items[i].c) end_client(b->items[i].c);
    b->count = 0;
    b->used = 0;
    if (b->room > BATCH * ARGS_KEPT) {
        mem_free(b->argv);
        b->argv = NULL;
        b->room = 0;
    }
}

void turn_run(struct engine *engine) {
    struct batch *b = batch_of(engine);
    engine_read_clock(engine);
    for (;;) {
        struct client *c;
        while (b->count < BATCH && (c = net_take_ready(engine)) != NULL)
            if (may_go_on(c)) parse_client(b, c);
        if (b->count == 0) return;
        fetch_ahead(b);
        for (b->at = 0; b->at < b->count; b->at++) execute_one(b, &b->items[b->at]);
        end_batch(b);
    }
}

/* ---- from within a script ---- */

void turn_set_aside(struct engine *engine, struct client *running) {
    struct batch *b = engine->batch;
    if (b == NULL || b->count == 0) return;
    for (int i = b->at + 1; i < b->count; i++) b->items[i].c->rewound = true;
    for (int i = 0; i < b->count; i++) {
        struct client *c = b->items[i].c;
        if (i == b->at) continue;
        b->items[i].c = NULL;
        if (c && c != running) end_client(c);
    }
    b->count = b->at + 1;
}

void turn_nested(struct engine *engine) {
    struct batch *outer = engine->batch;
    engine->batch = NULL;
    (void)uv_run(engine->loop, UV_RUN_NOWAIT);
    if (engine->batch) {
        mem_free(engine->batch->argv);
        mem_free(engine->batch);
    }
    engine->batch = outer;
}
