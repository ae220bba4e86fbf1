/* client_memory.c -- bytes of connections; see client_memory.h. */
#include "server/client_memory.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/args.h"
#include "server/block.h"
#include "server/gates.h"
#include "server/multi.h"
#include "server/pubsub.h"
#include "server/reply.h"
#include "server/tracking.h"

#define SMALLEST_BITS 15      /* the first bucket: below 32 KB */
#define INPUT_BIG (32u << 10) /* bytes; smaller buffers are left alone while they are used */
#define INPUT_IDLE_MS 2000
#define OUTPUT_SMALL 1024 /* bytes, of a client that was not sent much lately */
#define OUTPUT_IDLE_MS 5000

static size_t text_bytes(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

size_t client_memory(const struct client *c) {
    return sizeof *c + c->in.cap + c->out.cap + text_bytes(c->name) + text_bytes(c->lib_name) +
           text_bytes(c->lib_ver) + block_memory(c) + multi_memory(c) + pubsub_memory(c) +
           tracking_memory(c);
}

/* Heads and arguments of a request that is not whole yet have been looked at already. */
size_t client_input_waiting(const struct client *c) {
    const struct resp_request *request = c->request;
    size_t size = buf_size(&c->in), seen = request && request->want ? request->at : 0;
    return seen < size ? size - seen : 0;
}

/* ---- the sum, and the lists by size ---- */

size_t client_memory_limit(const struct engine *engine) {
    int64_t limit = engine->settings.maxmemory_clients;
    if (limit >= 0) return (size_t)limit;
    return (size_t)((double)engine->settings.maxmemory * (double)-limit / 100);
}

static unsigned bucket_of(size_t bytes) {
    unsigned bits = bytes ? 64u - (unsigned)__builtin_clzll(bytes) : 0;
    if (bits <= SMALLEST_BITS) return 0;
    return bits - SMALLEST_BITS < CLIENT_BUCKETS ? bits - SMALLEST_BITS : CLIENT_BUCKETS - 1;
}

static void leave_bucket(struct client *c) {
    if (!c->in_bucket) return;
    if (c->bucket_prev)
        c->bucket_prev->bucket_next = c->bucket_next;
    else
        c->engine->client_memory->buckets[c->bucket] = c->bucket_next;
    if (c->bucket_next) c->bucket_next->bucket_prev = c->bucket_prev;
    c->bucket_next = c->bucket_prev = NULL;
    c->in_bucket = false;
}

static void enter_bucket(struct client *c, unsigned bucket) {
    struct client **first = &c->engine->client_memory->buckets[bucket];
    c->bucket = (uint8_t)bucket;
    c->bucket_prev = NULL;
    c->bucket_next = *first;
    if (*first) (*first)->bucket_prev = c;
    *first = c;
    c->in_bucket = true;
}

void client_memory_note_slow(struct client *c) {
    struct engine_client_memory *all = c->engine->client_memory;
    const uint64_t others = CLIENT_FAKE | CLIENT_MASTER | CLIENT_REPLICA | CLIENT_CLOSE_NOW;
    bool counts = !(c->flags & others) ||
                  (c->flags & (others | CLIENT_MONITOR)) == (CLIENT_REPLICA | CLIENT_MONITOR);
    size_t bytes = counts ? client_memory(c) : 0;
    all->bytes = all->bytes - c->counted_bytes + bytes;
    c->counted_bytes = bytes;
    unsigned bucket = bucket_of(bytes);
    bool evictable = counts && !(c->flags & CLIENT_NO_EVICT);
    if (c->in_bucket && evictable && c->bucket == bucket) return;
    leave_bucket(c);
    if (evictable) enter_bucket(c, bucket);
}

void client_memory_forget(struct client *c) {
    if (c->counted_bytes) c->engine->client_memory->bytes -= c->counted_bytes;
    c->counted_bytes = 0;
    leave_bucket(c);
}

void client_memory_recount(struct engine *engine) {
    for (struct client *c = engine->clients; c; c = c->next) {
        if (engine->settings.maxmemory_clients)
            client_memory_note_slow(c);
        else
            client_memory_forget(c);
    }
}

bool client_memory_evict(struct engine *engine) {
    struct engine_client_memory *all = engine->client_memory;
    bool any = false;
    if (engine->settings.maxmemory_clients == 0) return false;
    size_t limit = client_memory_limit(engine);
    int bucket = CLIENT_BUCKETS - 1;
    while (limit > 0 && all->bytes > limit) {
        while (bucket >= 0 && all->buckets[bucket] == NULL) bucket--;
        if (bucket < 0) return any; /* all that is left may not be closed */
        struct client *c = all->buckets[bucket];
        engine_log(engine, '*',
                   "Evicting client id=%llu addr=%s: clients take more than maxmemory-clients, "
                   "this one %zu bytes.",
                   (unsigned long long)c->id, c->peer, c->counted_bytes);
        engine->stats.evicted_clients++;
        client_close_later(c);
        if (c != engine->current) buf_close(&c->out);
        client_memory_note_slow(c);
        any = true;
    }
    return any;
}

/* ---- buffers ---- */

/* A buffer of exactly CAP bytes, which its contents fit into. */
static void refit(struct buf *buf, size_t cap) {
    struct buf old = *buf;
    *buf = (struct buf){0};
    if (cap > 0) {
        buf->data = mem_alloc(cap);
        buf->cap = cap;
        buf_add(buf, buf_slice(&old));
    }
    buf_close(&old);
}

static void fit_input(struct client *c, uint64_t now_ms) {
    size_t size = buf_size(&c->in), peak = c->in_peak;
    const struct resp_request *request = c->request;
    size_t need = request ? resp_request_wants(request) : 0;
    c->in_peak = size > need ? size : need;
    if (c->in.cap == 0) return;
    if (now_ms - c->active_ms > INPUT_IDLE_MS) {
        if (c->in.cap - size > INPUT_BIG / 8 && need <= size) refit(&c->in, size);
    } else if (c->in.cap > INPUT_BIG && peak < c->in.cap / 2) {
        refit(&c->in, peak > size ? peak : size);
    }
}

static void fit_output(struct client *c, uint64_t now_ms) {
    const struct engine_client_memory *all = c->engine->client_memory;
    if (all->out_fixed || all->out_idle_ms < 0 || buf_size(&c->out) > 0) return;
    if (c->out.cap <= OUTPUT_SMALL && c->out.cap > 0) return;
    if (c->out.cap == 0 || now_ms - c->out_used_ms <= (uint64_t)all->out_idle_ms) return;
    refit(&c->out, OUTPUT_SMALL);
    c->engine->stats.output_shrinks++;
}

void client_memory_tick(struct engine *engine) {
    uint64_t now_ms = engine->now_us / 1000;
    for (struct client *c = engine->clients; c; c = c->next) {
        if (c->flags & (CLIENT_FAKE | CLIENT_CLOSE_NOW | CLIENT_REPLICA)) continue;
        fit_input(c, now_ms);
        fit_output(c, now_ms);
        client_memory_note(c);
    }
}

/* DEBUG REPLYBUFFER (peak-reset-time (<ms>|never|reset) | resizing (0|1)) */
static void debug_replybuffer(struct client *c) {
    struct engine_client_memory *all = c->engine->client_memory;
    int64_t number = 0;
    if (c->argc == 4 && arg_is(c->argv[2], "peak-reset-time")) {
        if (arg_is(c->argv[3], "never"))
            all->out_idle_ms = -1;
        else if (arg_is(c->argv[3], "reset"))
            all->out_idle_ms = OUTPUT_IDLE_MS;
        else if (!arg_int_range(c, c->argv[3], 0, INT32_MAX, &all->out_idle_ms, NULL))
            return;
        reply_ok(c);
    } else if (c->argc == 4 && arg_is(c->argv[2], "resizing")) {
        if (!arg_int(c, c->argv[3], &number, NULL)) return;
        all->out_fixed = number == 0;
        reply_ok(c);
    } else
        reply_syntax_error(c);
}

void client_memory_open(struct engine *engine) {
    engine->client_memory->out_idle_ms = OUTPUT_IDLE_MS;
    engine_debug_add(engine, "replybuffer", debug_replybuffer,
                     "REPLYBUFFER (PEAK-RESET-TIME (<ms>|NEVER|RESET) | RESIZING <0|1>)");
}
