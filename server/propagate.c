/* propagate.c -- collects what a unit changed and gives it to the sinks when the unit ends. */
#include "server/propagate.h"

#include "lib/base/mem.h"
#include "server/engine.h"
#include "server/older.h"
#include "server/replication.h"

struct op {
    int db, argc;
    unsigned missing; /* kinds of sinks that do not get it */
    size_t first;     /* in spans */
};

struct span {
    size_t at, size;
};

struct engine_propagate {
    struct propagate_sink sinks[PROPAGATE_SINKS];
    int sink_count, depth;
    bool flushing, unwrapped;
    unsigned missing; /* kinds of sinks that get nothing now */
    struct buf bytes;
    struct op *ops;
    struct span *spans;
    size_t op_count, op_room, span_count, span_room;
    struct slice *argv; /* scratch for one op */
    size_t argv_room;
};

static struct engine_propagate *of(struct engine *engine) {
    if (engine->propagation == NULL) engine->propagation = NEW(struct engine_propagate);
    return engine->propagation;
}

void propagate_attach(struct engine *engine, const struct propagate_sink *sink) {
    struct engine_propagate *p = of(engine);
    ASSERT(p->sink_count < PROPAGATE_SINKS);
    p->sinks[p->sink_count++] = *sink;
}

void propagate_detach(struct engine *engine, const void *ctx) {
    struct engine_propagate *p = of(engine);
    int kept = 0;
    for (int i = 0; i < p->sink_count; i++)
        if (p->sinks[i].ctx != ctx) p->sinks[kept++] = p->sinks[i];
    p->sink_count = kept;
}

void propagate_detach_all(struct engine *engine) {
    of(engine)->sink_count = 0;
}

bool propagate_is_on(const struct engine *engine) {
    return engine->propagation != NULL && engine->propagation->sink_count > 0;
}

static void record(struct engine_propagate *p, unsigned missing, int db, int argc, const struct slice *argv) {
    if (p->op_count == p->op_room) {
        p->op_room = p->op_room ? p->op_room * 2 : 8;
        p->ops = mem_realloc(p->ops, p->op_room * sizeof *p->ops);
    }
    while (p->span_count + (size_t)argc > p->span_room) {
        p->span_room = p->span_room ? p->span_room * 2 : 32;
        p->spans = mem_realloc(p->spans, p->span_room * sizeof *p->spans);
    }
    p->ops[p->op_count++] = (struct op){db, argc, missing, p->span_count};
    for (int i = 0; i < argc; i++) {
        p->spans[p->span_count++] = (struct span){buf_size(&p->bytes), argv[i].size};
        buf_add(&p->bytes, argv[i]);
    }
}

static void give(struct engine_propagate *p, int db, unsigned missing, int argc, const struct slice *argv) {
    for (int i = 0; i < p->sink_count; i++)
        if ((p->sinks[i].kind & missing) == 0) p->sinks[i].op(p->sinks[i].ctx, db, argc, argv);
}

static void give_op(struct engine_propagate *p, const struct op *op) {
    if ((size_t)op->argc > p->argv_room) {
        p->argv_room = (size_t)op->argc * 2;
        p->argv = mem_realloc(p->argv, p->argv_room * sizeof *p->argv);
    }
    const uint8_t *base = buf_slice(&p->bytes).data;
    for (int i = 0; i < op->argc; i++) {
        struct span span = p->spans[op->first + (size_t)i];
        p->argv[i] = slice_from(base + span.at, span.size);
    }
    give(p, op->db, op->missing, op->argc, p->argv);
}

static void flush(struct engine_propagate *p) {
    if (p->op_count == 0 || p->flushing) return;
    p->flushing = true;
    bool wrapped = p->op_count > 1 && !p->unwrapped;
    struct slice multi = SLICE("MULTI"), exec = SLICE("EXEC");
    if (wrapped) give(p, -1, 0, 1, &multi);
    for (size_t i = 0; i < p->op_count; i++) give_op(p, &p->ops[i]);
    if (wrapped) give(p, -1, 0, 1, &exec);
    for (int i = 0; i < p->sink_count; i++)
        if (p->sinks[i].unit_end) p->sinks[i].unit_end(p->sinks[i].ctx);
    p->op_count = p->span_count = 0;
    buf_clear(&p->bytes);
    buf_shrink(&p->bytes, 1u << 20);
    p->flushing = false;
}

/* ---- replicas that do not know all words */

static void record_older(void *ctx, int db, int argc, const struct slice *argv) {
    struct engine_propagate *p = ctx;
    record(p, p->missing | PROPAGATE_AOF, db, argc, argv);
}

static bool has_sink(const struct engine_propagate *p, enum propagate_kind kind) {
    for (int i = 0; i < p->sink_count; i++)
        if (p->sinks[i].kind == kind) return true;
    return false;
}

/* The AOF has the words of 7.0, replicas those that the oldest of them knows. */
static void record_for_all(struct engine *engine, struct engine_propagate *p, int db, int argc,
                           const struct slice *argv) {
    enum older_version oldest = (enum older_version)engine->settings.oldest_replica;
    enum older said = OLDER_SAME;
    if (oldest < OLDER_7_0 && !(p->missing & PROPAGATE_REPLICAS) && engine->role == ROLE_MASTER &&
        has_sink(p, PROPAGATE_REPLICAS))
        said = older_say(engine, oldest, db, argc, argv, record_older, p);
    if (said == OLDER_UNSAID) replication_unsaid(engine, argv[0]);
    record(p, said == OLDER_SAME ? p->missing : p->missing | PROPAGATE_REPLICAS, db, argc, argv);
}

void propagate(struct engine *engine, int db, int argc, const struct slice *argv) {
    if (!propagate_is_on(engine)) return;
    struct engine_propagate *p = engine->propagation;
    record_for_all(engine, p, db, argc, argv);
    if (p->depth == 0) flush(p);
}

unsigned propagate_aim(struct engine *engine, unsigned kinds) {
    struct engine_propagate *p = of(engine);
    unsigned before = PROPAGATE_ALL & ~p->missing;
    p->missing = PROPAGATE_ALL & ~kinds;
    return before;
}

void propagate_unit_begin(struct engine *engine) {
    of(engine)->depth++;
}

void propagate_unit_end(struct engine *engine) {
    struct engine_propagate *p = engine->propagation;
    ASSERT(p->depth > 0);
    if (--p->depth > 0) return;
    flush(p);
    p->unwrapped = false;
}

void propagate_unwrapped(struct client *c) {
    if (c->engine->nesting == 1) of(c->engine)->unwrapped = true;
}

void propagate_nothing(struct client *c) {
    c->flags |= CLIENT_PREVENT_PROP;
}

void propagate_also(struct client *c, int argc, const struct slice *argv) {
    if (!(c->flags & CLIENT_LOADING)) propagate(c->engine, c->db->id, argc, argv);
}

void propagate_instead(struct client *c, int argc, const struct slice *argv) {
    propagate_also(c, argc, argv);
    propagate_nothing(c);
}
