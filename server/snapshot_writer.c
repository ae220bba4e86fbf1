/* snapshot_writer.c -- the thread beside a snapshot. See snapshot_writer.h.
 *
 * Everything under `shared` is read and written under its lock; `engine` belongs to the engine's
 * thread and `worker` to the writer's. The engine does not wait for the lock while clients are
 * served: the thread may lose the processor while it has it, and as it comes after all others, for
 * long. What could not be given is given the next time. Nor does it wait for the thread to end: the
 * last that the thread does is to let go of the lock, with `done` set, and who sees that has it all.
 */
#include "server/snapshot_writer.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/snapshot_memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define PUSH_BYTES ((size_t)64 * 1024)
#define READY_MAX_BYTES ((size_t)1 << 20)
#define BATCH_BYTES ((size_t)64 * 1024)
#define SYNC_EVERY_BYTES (UINT64_C(32) << 20) /* never a long queue of dirty pages */
#define NICE 10

#define WAITING_MAX_BYTES ((size_t)2 << 20) /* more is not asked for before half of it is done */
#define SPARE_BYTES_MAX ((size_t)256 * 1024)
#define SPARE_ROOM_BYTES ((size_t)128 * 1024)
#define SPARE_READY_BYTES ((size_t)80 * 1024) /* of the room; a usual tape is 64 KB */
#define SPARE_MARKS_BYTES ((size_t)8 * 1024)
#define SPARES_WANTED 8 /* empty pieces that wait to be filled */
#define SPARES_MAX 40
#define SPARES_A_TURN 4 /* what a turn of the walk may fill, and more */

/* Bytes on the way to the engine. */
struct chunk {
    struct chunk *next;
    struct buf bytes;
    size_t noted; /* snapshot_memory.h */
};

struct chunks {
    struct chunk *first, **last; /* LAST is NULL for an empty list */
    size_t bytes;
};

struct snapshot_writer {
    struct snapshot_writer_want want;
    pthread_mutex_t lock;
    pthread_cond_t news;
    _Atomic bool is_hungry; /* hungry() is to be called */
    struct {
        struct tapes waiting, spares;
        size_t spares_of_engine; /* when it last looked */
        size_t working_bytes; /* taken from `waiting`, not packed yet */
        bool finished, stop, done;
        bool sleeps;    /* the thread waits for news */
        bool told_full; /* the engine waits for hungry() */
        enum err err;
        struct why why;
        struct chunks ready;    /* for the engine */
        uint64_t spilled_bytes; /* behind `ready`, in the file */
    } shared;
    struct {
        struct rdb_writer rdb;
        struct rdb_sink sink;
        int fd; /* of the file, or of what is spilled; -1: none yet */
        uint64_t unsynced_bytes, spill_written, spill_read;
        bool ended;
        size_t noted; /* snapshot_memory.h: of `rdb` */
    } worker;
    struct {
        uv_async_t async;
        struct chunks out;   /* what batches are cut from */
        struct tapes given;  /* not in `waiting` yet */
        struct tapes spares; /* a few of the empty pieces */
        bool wants, delivering, aborted;
        bool finishes, stops; /* the thread is to be told: `finished`, `stop` */
    } engine;
};

static void chunks_add(struct chunks *chunks, struct chunk *chunk) {
    snapshot_memory_note(&chunk->noted, sizeof *chunk + chunk->bytes.cap);
    if (chunks->last == NULL) chunks->last = &chunks->first;
    *chunks->last = chunk;
    chunks->last = &chunk->next;
    chunks->bytes += buf_size(&chunk->bytes);
}

static void chunks_drop_first(struct chunks *chunks) {
    struct chunk *chunk = chunks->first;
    chunks->first = chunk->next;
    if (chunks->first == NULL) chunks->last = NULL;
    snapshot_memory_note(&chunk->noted, 0);
    buf_close(&chunk->bytes);
    mem_free(chunk);
}

static struct snapshot_writer *of_sink(struct rdb_sink *sink) {
    return (struct snapshot_writer *)(void *)((char *)sink -
                                              offsetof(struct snapshot_writer, worker.sink));
}

/* ---- the writer's thread ---- */

static enum err write_to_file(struct snapshot_writer *w, struct slice bytes, struct why *why) {
    enum err err = fs_write(w->worker.fd, bytes, w->want.path, why);
    w->worker.unsynced_bytes += bytes.size;
    if (err || !w->want.syncs || w->worker.unsynced_bytes < SYNC_EVERY_BYTES) return err;
    w->worker.unsynced_bytes = 0;
    return fs_sync(w->worker.fd, w->want.path, why);
}

/* A file that has no name: it goes with the process, however that ends. */
static enum err open_spill(struct snapshot_writer *w, struct why *why) {
    static _Atomic unsigned number;
    char path[64];
    (void)snprintf(path, sizeof path, "temp-snapshot-%d-%u.spill", (int)getpid(), ++number);
    enum err err = fs_open(path, O_RDWR | O_CREAT | O_EXCL, &w->worker.fd, why);
    return err ? err : fs_remove(path, why);
}

static enum err spill(struct snapshot_writer *w, struct slice bytes, struct why *why) {
    enum err err = w->worker.fd < 0 ? open_spill(w, why) : OK;
    if (!err)
        err = fs_write_at(w->worker.fd, bytes, w->worker.spill_written,
                          "what a slow reader of a snapshot has not taken", why);
    if (err) return err;
    w->worker.spill_written += bytes.size;
    pthread_mutex_lock(&w->lock);
    w->shared.spilled_bytes += bytes.size;
    pthread_mutex_unlock(&w->lock);
    return OK;
}

static enum err write_bytes(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    struct snapshot_writer *w = of_sink(sink);
    if (w->want.path) return write_to_file(w, bytes, why);
    if (w->want.sink) return w->want.sink->sink.write(&w->want.sink->sink, bytes, why);
    struct chunk *chunk =
        NEW(struct chunk); /* outside of the lock, for which the engine may wait */
    buf_add(&chunk->bytes, bytes);
    pthread_mutex_lock(&w->lock);
    size_t ready = w->shared.ready.bytes;
    bool fits =
        w->shared.spilled_bytes == 0 && (ready == 0 || ready + bytes.size <= READY_MAX_BYTES);
    if (fits) chunks_add(&w->shared.ready, chunk);
    pthread_mutex_unlock(&w->lock);
    if (fits) {
        (void)uv_async_send(&w->engine.async);
        return OK;
    }
    buf_close(&chunk->bytes);
    mem_free(chunk);
    return spill(w, bytes, why);
}

/* A part of what was spilled becomes ready. */
static enum err unspill(struct snapshot_writer *w, struct why *why) {
    struct chunk *part = NEW(struct chunk);
    size_t left = (size_t)(w->worker.spill_written - w->worker.spill_read), got;
    size_t size = left < READY_MAX_BYTES ? left : READY_MAX_BYTES;
    enum err err = fs_read_at(w->worker.fd, buf_room(&part->bytes, size), size,
                              w->worker.spill_read, &got, "what was spilled", why);
    if (!err && got < size) err = why_set(why, ERR_IO, "what was spilled ends too early");
    if (!err && size == left) err = fs_truncate(w->worker.fd, 0, "what was spilled", why);
    if (err) {
        buf_close(&part->bytes);
        mem_free(part);
        return err;
    }
    buf_filled(&part->bytes, size);
    w->worker.spill_read += size;
    if (size == left) w->worker.spill_written = w->worker.spill_read = 0;
    pthread_mutex_lock(&w->lock);
    chunks_add(&w->shared.ready, part);
    w->shared.spilled_bytes -= size;
    pthread_mutex_unlock(&w->lock);
    (void)uv_async_send(&w->engine.async);
    return OK;
}

static enum err write_piece(struct snapshot_writer *w, const struct piece *piece, struct why *why) {
    struct rdb_writer *rdb = &w->worker.rdb;
    rdb_tape_play(&piece->tape, &rdb->out);
    snapshot_memory_note(&w->worker.noted, sizeof *w + rdb->out.cap);
    return rdb_writer_push(rdb, PUSH_BYTES, why);
}

static enum err write_end(struct snapshot_writer *w, struct why *why) {
    w->worker.ended = true;
    enum err err = rdb_writer_end(&w->worker.rdb, why);
    if (!err && w->want.path) err = fs_sync(w->worker.fd, w->want.path, why);
    if (!err && w->want.sink) err = w->want.sink->finish(w->want.sink, why);
    return err;
}

/* An empty piece whose memory is there: what the kernel has to find pages for costs some
 * microseconds a page, and here nobody waits for it. */
static struct piece *make_spare(void) {
    struct piece *piece = NEW(struct piece);
    memset(buf_room(&piece->tape.bytes, SPARE_ROOM_BYTES), 0, SPARE_READY_BYTES);
    memset(buf_room(&piece->tape.marks, SPARE_MARKS_BYTES), 0, SPARE_MARKS_BYTES);
    return piece;
}

enum work { WORK_STOP, WORK_SPARE, WORK_UNSPILL, WORK_PIECE, WORK_END };

/* Wait for something to do. Call with the lock. */
static enum work wait_for_work(struct snapshot_writer *w) {
    for (;;) {
        if (w->shared.stop) return WORK_STOP;
        if (w->shared.spilled_bytes > 0 && w->shared.ready.first == NULL) return WORK_UNSPILL;
        if (!w->shared.finished && w->shared.spares.pieces < SPARES_WANTED) return WORK_SPARE;
        if (w->shared.waiting.first) return WORK_PIECE;
        if (w->shared.finished && !w->worker.ended) return WORK_END;
        if (w->worker.ended && w->shared.spilled_bytes == 0) return WORK_STOP;
        w->shared.sleeps = true;
        pthread_cond_wait(&w->news, &w->lock);
        w->shared.sleeps = false;
    }
}

/* Call with the lock. */
static bool is_full(const struct snapshot_writer *w, size_t max_bytes, size_t spares_min) {
    return w->shared.waiting.bytes + w->shared.working_bytes > max_bytes ||
           w->shared.spares.pieces + w->shared.spares_of_engine < spares_min;
}

/* PIECE can be filled again. */
static void give_spare(struct snapshot_writer *w, struct piece *piece) {
    bool keeps = piece->tape.bytes.cap <= SPARE_BYTES_MAX;
    buf_clear(&piece->tape.bytes);
    buf_clear(&piece->tape.marks);
    pthread_mutex_lock(&w->lock);
    w->shared.working_bytes = 0;
    keeps = keeps && w->shared.spares.pieces < SPARES_MAX;
    if (keeps) tapes_add(&w->shared.spares, piece);
    bool is_hungry = w->shared.told_full && !is_full(w, WAITING_MAX_BYTES / 2, SPARES_WANTED / 2);
    if (is_hungry) w->shared.told_full = false;
    pthread_mutex_unlock(&w->lock);
    if (!keeps) piece_free(piece);
    if (is_hungry) {
        atomic_store(&w->is_hungry, true);
        (void)uv_async_send(&w->engine.async);
    }
}

static enum err do_work(struct snapshot_writer *w, enum work work, struct why *why) {
    if (work == WORK_UNSPILL) return unspill(w, why);
    if (work == WORK_END) return write_end(w, why);
    if (work == WORK_SPARE) {
        give_spare(w, make_spare());
        return OK;
    }
    pthread_mutex_lock(&w->lock);
    struct piece *piece = tapes_take(&w->shared.waiting);
    w->shared.working_bytes = buf_size(&piece->tape.bytes);
    pthread_mutex_unlock(&w->lock);
    enum err err = write_piece(w, piece, why);
    give_spare(w, piece);
    return err;
}

/* Serving comes first where there are fewer processors than threads: when this thread is woken it
 * does not push the engine off its processor (SCHED_BATCH), and it gets a small share. Of this thread
 * alone; that it may not work is no harm. */
static void give_way(void) {
    struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
    (void)setpriority(PRIO_PROCESS, 0, NICE);
}

/* Closing a file that has no name any more frees its blocks, which takes the disk a while. */
static void leave_file(struct snapshot_writer *w, enum err err) {
    struct why why;
    if (w->worker.fd >= 0) close(w->worker.fd);
    w->worker.fd = -1;
    pthread_mutex_lock(&w->lock);
    bool is_unwanted = err || w->shared.stop;
    pthread_mutex_unlock(&w->lock);
    if (is_unwanted && w->want.path && fs_remove(w->want.path, &why))
        (void)why; /* its owner tries again, and tells */
}

static void *run(void *arg) {
    struct snapshot_writer *w = arg;
    struct why why = {{0}};
    enum err err = OK;
    give_way();
    if (w->want.path)
        err = fs_open(w->want.path, O_WRONLY | O_CREAT | O_TRUNC, &w->worker.fd, &why);
    while (!err) {
        pthread_mutex_lock(&w->lock);
        enum work work = wait_for_work(w);
        pthread_mutex_unlock(&w->lock);
        if (work == WORK_STOP) break;
        err = do_work(w, work, &why);
    }
    leave_file(w, err);
    pthread_mutex_lock(&w->lock);
    w->shared.err = err;
    w->shared.why = why;
    w->shared.done = true;
    if (w->shared.told_full) atomic_store(&w->is_hungry, true); /* for what is thrown away */
    (void)uv_async_send(&w->engine.async);
    pthread_mutex_unlock(&w->lock); /* the engine may free W now */
    return NULL;
}

/* ---- the engine's thread ---- */

static void free_writer(uv_handle_t *handle) {
    struct snapshot_writer *w = handle->data;
    tapes_close(&w->shared.waiting);
    tapes_close(&w->shared.spares);
    tapes_close(&w->engine.given);
    tapes_close(&w->engine.spares);
    snapshot_memory_note(&w->worker.noted, 0);
    rdb_writer_close(&w->worker.rdb);
    while (w->shared.ready.first) chunks_drop_first(&w->shared.ready);
    while (w->engine.out.first) chunks_drop_first(&w->engine.out);
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    mem_free((void *)(uintptr_t)w->want.path);
    mem_free(w);
}

static void come_to_an_end(struct snapshot_writer *w) {
    bool tell = !w->engine.aborted;
    w->engine.aborted = true;
    uv_close((uv_handle_t *)&w->engine.async, free_writer);
    if (tell) w->want.ended(w->want.owner, w->shared.err, w->shared.why.text);
}

/* Wake the thread. Call with the lock. */
static void wake(struct snapshot_writer *w) {
    if (w->shared.sleeps) pthread_cond_signal(&w->news);
}

/* Get more to hand out; whether the thread has come to its end. */
static bool refill(struct snapshot_writer *w) {
    if (pthread_mutex_trylock(&w->lock)) {
        (void)uv_async_send(&w->engine.async); /* in the next turn */
        return false;
    }
    if (w->engine.out.first == NULL) {
        w->engine.out = w->shared.ready;
        if (w->engine.out.first == NULL) w->engine.out = (struct chunks){0};
        w->shared.ready = (struct chunks){0};
        wake(w);
    }
    bool done = w->shared.done;
    pthread_mutex_unlock(&w->lock);
    return done;
}

static void deliver(struct snapshot_writer *w) {
    if (w->engine.delivering) return;
    w->engine.delivering = true;
    bool done = refill(w);
    while (!w->engine.aborted && w->engine.wants && w->engine.out.first) {
        struct buf *first = &w->engine.out.first->bytes;
        struct slice all = buf_slice(first);
        size_t size = all.size < BATCH_BYTES ? all.size : BATCH_BYTES;
        w->engine.wants = false;
        w->want.batch(w->want.owner, slice_from(all.data, size));
        buf_consume(first, size);
        if (buf_size(first) == 0) chunks_drop_first(&w->engine.out);
        if (w->engine.out.first == NULL) done = refill(w);
    }
    w->engine.delivering = false;
    if (!done) return;
    bool given = w->want.path || w->shared.err || w->engine.out.first == NULL;
    if (given || w->engine.aborted) come_to_an_end(w);
}

/* With the lock: what the engine has goes to the thread, and the other way round. */
static void trade(struct snapshot_writer *w) {
    if (!w->shared.done) tapes_join(&w->shared.waiting, &w->engine.given);
    while (w->engine.spares.pieces < SPARES_A_TURN && w->shared.spares.first)
        tapes_add(&w->engine.spares, tapes_take(&w->shared.spares));
    w->shared.spares_of_engine = w->engine.spares.pieces;
    bool has_work = w->shared.waiting.first || w->shared.spares.pieces < SPARES_WANTED / 2;
    if (has_work) wake(w);
}

/* That nothing follows, or is wanted any more. */
static void tell_thread(struct snapshot_writer *w) {
    if (!w->engine.finishes && !w->engine.stops) return;
    if (pthread_mutex_trylock(&w->lock)) {
        (void)uv_async_send(&w->engine.async); /* in the next turn */
        return;
    }
    trade(w);
    w->shared.finished = w->shared.finished || w->engine.finishes;
    w->shared.stop = w->shared.stop || w->engine.stops;
    w->engine.finishes = w->engine.stops = false;
    wake(w);
    pthread_mutex_unlock(&w->lock);
}

static void on_news(uv_async_t *async) {
    struct snapshot_writer *w = async->data;
    tell_thread(w);
    if (atomic_exchange(&w->is_hungry, false) && !w->engine.aborted) w->want.hungry(w->want.owner);
    deliver(w);
}

static enum err start_thread(struct snapshot_writer *w, struct why *why) {
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the engine's */
    int error = pthread_create(&thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!error) pthread_detach(thread);
    return error ? why_set(why, ERR_NOMEM, "no thread for it: %s", strerror(error)) : OK;
}

enum err snapshot_writer_open(const struct snapshot_writer_want *want,
                              struct snapshot_writer **writer, struct why *why) {
    struct snapshot_writer *w = NEW(struct snapshot_writer);
    w->want = *want;
    w->want.path = want->path ? mem_strdup(want->path) : NULL;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->news, NULL);
    w->worker.fd = -1;
    w->worker.sink.write = write_bytes;
    rdb_writer_open(&w->worker.rdb, &w->worker.sink, want->version);
    w->worker.rdb.no_sum = want->no_sum;
    w->engine.wants = true;
    w->engine.async.data = w;
    (void)uv_async_init(want->loop, &w->engine.async, on_news);
    enum err err = start_thread(w, why);
    if (err) {
        uv_close((uv_handle_t *)&w->engine.async, free_writer);
        return err;
    }
    *writer = w;
    return OK;
}

struct rdb_writer *snapshot_writer_head(struct snapshot_writer *w) {
    return &w->worker.rdb; /* the thread touches it first when it has a tape */
}

/* False: the thread has the lock. */
static bool try_trade(struct snapshot_writer *w) {
    if (pthread_mutex_trylock(&w->lock)) return false;
    trade(w);
    bool done = w->shared.done;
    pthread_mutex_unlock(&w->lock);
    if (done) tapes_close(&w->engine.given);
    return true;
}

/* The contents of TAPE as a piece of their own; TAPE gets the room of a spare one. */
static struct piece *exchange(struct snapshot_writer *w, struct rdb_tape *tape) {
    if (w->engine.spares.pieces == 0) (void)try_trade(w);
    struct piece *piece = tapes_take(&w->engine.spares);
    if (piece == NULL) piece = NEW(struct piece);
    struct rdb_tape filled = *tape;
    *tape = piece->tape;
    piece->tape = filled;
    return piece;
}

void snapshot_writer_give_all(struct snapshot_writer *w, struct tapes *tapes) {
    tapes_join(&w->engine.given, tapes);
    (void)try_trade(w);
}

void snapshot_writer_set_aside(struct snapshot_writer *w, struct rdb_tape *tape,
                               struct tapes *tapes) {
    if (buf_size(&tape->bytes)) tapes_add(tapes, exchange(w, tape));
}

void snapshot_writer_give(struct snapshot_writer *w, struct rdb_tape *tape) {
    struct tapes one = {0};
    snapshot_writer_set_aside(w, tape, &one);
    snapshot_writer_give_all(w, &one);
}

void snapshot_writer_finish(struct snapshot_writer *w) {
    w->engine.finishes = true;
    tell_thread(w);
}

bool snapshot_writer_is_full(struct snapshot_writer *w) {
    if (pthread_mutex_trylock(&w->lock)) return false; /* not known; it will be the next time */
    trade(w);
    bool full = !w->shared.done && is_full(w, WAITING_MAX_BYTES, SPARES_A_TURN);
    if (full) w->shared.told_full = true;
    if (full) wake(w);
    pthread_mutex_unlock(&w->lock);
    return full;
}

void snapshot_writer_next(struct snapshot_writer *w) {
    if (w->engine.wants) return;
    w->engine.wants = true;
    (void)uv_async_send(&w->engine.async);
}

void snapshot_writer_abort(struct snapshot_writer *w) {
    w->engine.aborted = w->engine.stops = true;
    tell_thread(w);
    (void)uv_async_send(&w->engine.async); /* the thread may have ended long ago */
}
