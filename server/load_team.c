/* load_team.c -- reading the pieces of an RDB by several threads. See load_team.h. */
#include "server/load_team.h"

#include "lib/base/mem.h"
#include "server/value_rdb.h"

#include <pthread.h>
#include <time.h>

#define PIECES_OF_ENGINE 2u
#define PIECES_OF_THREAD 2u
#define WAIT_NS 300000               /* of the engine, before it looks at other things */
#define BYTES_KEPT ((size_t)1 << 20) /* of a piece, for the next one */
#define EMPTY_NAMES_BYTES_MAX ((size_t)16 * 1024)

enum piece_state { PIECE_FREE, PIECE_BUSY, PIECE_READY };

struct slot {
    struct load_piece piece;
    enum piece_state state; /* guarded by the lock */
};

/* Whoever reads pieces: a thread, or the engine. */
struct reader {
    struct load_team *team;
    struct value_builder builder;
    struct rdb_reader *in_memory;
    struct load_piece *piece; /* under the hands */
    bool is_engine;
};

struct load_team {
    struct load_plan plan;
    struct load_cut cut; /* of whoever is `cutting` */
    struct reader engine, threads[LOAD_THREADS_MAX];
    pthread_t ids[LOAD_THREADS_MAX];
    unsigned started;
    struct slot *slots;
    uint64_t slot_count;

    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    /* Guarded by the lock: */
    uint64_t begun, given; /* pieces, counted from the start; the engine asks for `given` next */
    bool cutting;          /* somebody is cutting the next one off */
    bool over;             /* there is none */
};

/* ---- making entries ---- */

static struct db_addition *next_addition(struct load_piece *piece) {
    if (piece->count == piece->room) {
        piece->room = piece->room ? piece->room * 2 : 256;
        piece->keys = mem_realloc(piece->keys, piece->room * sizeof *piece->keys);
    }
    return &piece->keys[piece->count++];
}

static enum err take_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    struct reader *reader = self;
    const struct load_plan *plan = &reader->team->plan;
    (void)why;
    *next_addition(reader->piece) = db_addition_make(plan->share_bits, key->db, key->key, value,
                                                     key->expire_at_ms, plan->access);
    return OK;
}

static void take_empty(void *self, const struct rdb_key *key) {
    struct value_builder *builder = self;
    struct reader *reader = builder->self;
    struct load_piece *piece = reader->piece;
    piece->empty_count++;
    if (buf_size(&piece->empty) > EMPTY_NAMES_BYTES_MAX) return;
    size_t size = key->key.size < 100 ? key->key.size : 100;
    buf_byte(&piece->empty, (uint8_t)size);
    buf_add(&piece->empty, slice_take(key->key, size));
}

static void reader_open(struct reader *reader, struct load_team *team, bool is_engine) {
    reader->team = team;
    reader->is_engine = is_engine;
    value_builder_init(&reader->builder, &team->plan.types, reader, take_value);
    reader->builder.handler.key_empty = take_empty;
    reader->in_memory = rdb_reader_open(NULL, team->plan.limits, &reader->builder.handler);
}

static void reader_close(struct reader *reader) {
    rdb_reader_close(reader->in_memory);
    value_builder_close(&reader->builder);
}

/* A key that is too big for a piece: from the file, while nobody else cuts it. */
static enum err read_big(struct reader *reader, struct why *why) {
    struct load_team *team = reader->team;
    struct load_piece *piece = reader->piece;
    struct rdb_source_file file;
    rdb_source_file_init(&file, team->plan.fd);
    enum err err = load_cut_seek(&team->cut, why);
    if (err) return err;
    struct rdb_source *source = reader->is_engine ? team->plan.source : &file.source;
    struct rdb_reader *in = rdb_reader_open(source, team->plan.limits, &reader->builder.handler);
    rdb_reader_resume(in, piece->cut.at);
    rdb_reader_know_sum(in, piece->cut.sum);
    err = rdb_reader_key(in, why);
    piece->end = rdb_reader_offset(in);
    if (!err) err = load_cut_go_on(&team->cut, piece->end, rdb_reader_sum(in), why);
    rdb_reader_close(in);
    return err;
}

static void clean(struct load_piece *piece) {
    for (; piece->taken < piece->count; piece->taken++) entry_free(piece->keys[piece->taken].e);
    piece->count = piece->taken = 0;
    piece->empty_count = 0;
    buf_clear(&piece->empty);
    buf_clear(&piece->cut.bytes);
    buf_shrink(&piece->cut.bytes, BYTES_KEPT);
    piece->err = OK;
}

/* The next piece off the file. Nobody else does so now. */
static void cut_one(struct reader *reader) {
    struct load_team *team = reader->team;
    struct load_piece *piece = reader->piece;
    clean(piece);
    if (load_cut_next(&team->cut, &piece->cut, &piece->why) == LOAD_FAILED) piece->err = ERR_IO;
    piece->end = team->cut.at.offset;
    if (piece->cut.kind == LOAD_BIG) piece->err = read_big(reader, &piece->why);
}

static void read_one(struct reader *reader) {
    struct load_piece *piece = reader->piece;
    if (piece->cut.kind != LOAD_KEYS) return;
    piece->err = rdb_reader_part(reader->in_memory, buf_slice(&piece->cut.bytes), piece->cut.at,
                                 NULL, &piece->why);
}

/* ---- who does what ---- */

/* With the lock. */
static bool may_begin(const struct load_team *team) {
    return !team->over && !team->cutting && team->begun - team->given < team->slot_count;
}

/* With the lock, which is open while it works. */
static void do_one(struct reader *reader) {
    struct load_team *team = reader->team;
    struct slot *slot = &team->slots[team->begun++ % team->slot_count];
    reader->piece = &slot->piece;
    slot->state = PIECE_BUSY;
    team->cutting = true;
    pthread_mutex_unlock(&team->lock);
    cut_one(reader);
    enum load_kind kind = slot->piece.cut.kind;
    pthread_mutex_lock(&team->lock);
    team->cutting = false;
    if (kind == LOAD_END || kind == LOAD_REST || slot->piece.err) team->over = true;
    pthread_cond_signal(&team->work);
    pthread_mutex_unlock(&team->lock);
    read_one(reader);
    pthread_mutex_lock(&team->lock);
    slot->state = PIECE_READY;
    if (slot->piece.err) team->over = true;
    pthread_cond_signal(&team->ready);
}

static void *work(void *arg) {
    struct reader *reader = arg;
    struct load_team *team = reader->team;
    pthread_mutex_lock(&team->lock);
    while (!team->over) {
        if (may_begin(team))
            do_one(reader);
        else
            pthread_cond_wait(&team->work, &team->lock);
    }
    pthread_cond_signal(&team->work); /* the next one shall see it too */
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

struct load_piece *load_team_next(struct load_team *team) {
    pthread_mutex_lock(&team->lock);
    struct slot *slot = &team->slots[team->given % team->slot_count];
    if (slot->state != PIECE_READY && may_begin(team)) {
        do_one(&team->engine);
    } else if (slot->state != PIECE_READY) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAIT_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&team->ready, &team->lock, &until);
    }
    struct load_piece *piece = slot->state == PIECE_READY ? &slot->piece : NULL;
    pthread_mutex_unlock(&team->lock);
    return piece;
}

void load_team_give(struct load_team *team, struct load_piece *piece) {
    clean(piece);
    pthread_mutex_lock(&team->lock);
    team->slots[team->given++ % team->slot_count].state = PIECE_FREE;
    pthread_cond_signal(&team->work);
    pthread_mutex_unlock(&team->lock);
}

enum err load_team_seek(struct load_team *team, struct why *why) {
    return load_cut_seek(&team->cut, why);
}

/* ---- begin and end ---- */

struct load_team *load_team_open(const struct load_plan *plan) {
    struct load_team *team = NEW(struct load_team);
    pthread_condattr_t monotonic;
    team->plan = *plan;
    if (team->plan.threads > LOAD_THREADS_MAX) team->plan.threads = LOAD_THREADS_MAX;
    load_cut_init(&team->cut, plan->fd);
    team->slot_count = PIECES_OF_ENGINE + PIECES_OF_THREAD * team->plan.threads;
    team->slots = NEW_ARRAY(struct slot, team->slot_count);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->work, NULL);
    pthread_cond_init(&team->ready, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    reader_open(&team->engine, team, true);
    for (unsigned i = 0; i < team->plan.threads; i++) {
        reader_open(&team->threads[i], team, false);
        if (pthread_create(&team->ids[i], NULL, work, &team->threads[i])) {
            reader_close(&team->threads[i]);
            break; /* fewer will do */
        }
        team->started++;
    }
    return team;
}

void load_team_close(struct load_team *team) {
    pthread_mutex_lock(&team->lock);
    team->over = true;
    pthread_cond_broadcast(&team->work);
    pthread_mutex_unlock(&team->lock);
    for (unsigned i = 0; i < team->started; i++) {
        pthread_join(team->ids[i], NULL);
        reader_close(&team->threads[i]);
    }
    reader_close(&team->engine);
    for (uint64_t i = 0; i < team->slot_count; i++) {
        struct load_piece *piece = &team->slots[i].piece;
        clean(piece);
        mem_free(piece->keys);
        buf_close(&piece->empty);
        buf_close(&piece->cut.bytes);
    }
    load_cut_close(&team->cut);
    mem_free(team->slots);
    pthread_mutex_destroy(&team->lock);
    pthread_cond_destroy(&team->work);
    pthread_cond_destroy(&team->ready);
    mem_free(team);
}
