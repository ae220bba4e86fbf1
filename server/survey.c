/* survey.c -- every key of one moment with its digest. See survey.h. */
#include "server/survey.h"

#include "lib/base/mem.h"
#include "lib/redis/rdb_read.h"
#include "server/engine.h"

#include <pthread.h>
#include <signal.h>

#define PIPE_MAX_BYTES ((size_t)1 << 20)

/* Owned by the engine; the thread has it between start and the snapshot's end. */
struct survey {
    struct snapshot_sink sink;
    struct rdb_source source;
    struct survey_want want;
    pthread_t thread;
    struct { /* under the lock */
        pthread_mutex_t lock;
        pthread_cond_t news;
        struct buf bytes;
        bool ended, broken, cancelled; /* no more comes; nobody reads any more, or shall */
    } pipe;
    enum err err; /* of the thread */
    struct why why;
};

static struct survey *of_sink(void *sink) {
    return (struct survey *)(void *)((char *)sink - offsetof(struct survey, sink));
}

static enum err pipe_write(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    struct survey *s = of_sink(sink);
    pthread_mutex_lock(&s->pipe.lock);
    while (buf_size(&s->pipe.bytes) >= PIPE_MAX_BYTES && !s->pipe.broken)
        pthread_cond_wait(&s->pipe.news, &s->pipe.lock);
    bool broken = s->pipe.broken;
    if (!broken) buf_add(&s->pipe.bytes, bytes);
    pthread_cond_signal(&s->pipe.news);
    pthread_mutex_unlock(&s->pipe.lock);
    return broken ? why_set(why, ERR_IO, "%s", s->why.text) : OK;
}

static enum err pipe_finish(struct snapshot_sink *sink, struct why *why) {
    struct survey *s = of_sink(sink);
    pthread_mutex_lock(&s->pipe.lock);
    s->pipe.ended = true;
    pthread_cond_signal(&s->pipe.news);
    while (!s->pipe.broken) pthread_cond_wait(&s->pipe.news, &s->pipe.lock);
    pthread_mutex_unlock(&s->pipe.lock);
    return s->err ? why_set(why, s->err, "%s", s->why.text) : OK;
}

static enum err pipe_read(struct rdb_source *source, void *into, size_t size, size_t *got,
                          struct why *why) {
    struct survey *s = (struct survey *)(void *)((char *)source - offsetof(struct survey, source));
    pthread_mutex_lock(&s->pipe.lock);
    while (buf_size(&s->pipe.bytes) == 0 && !s->pipe.ended && !s->pipe.cancelled)
        pthread_cond_wait(&s->pipe.news, &s->pipe.lock);
    bool cancelled = s->pipe.cancelled;
    struct slice there = buf_slice(&s->pipe.bytes);
    *got = size < there.size ? size : there.size;
    if (*got) memcpy(into, there.data, *got);
    buf_consume(&s->pipe.bytes, *got);
    pthread_cond_signal(&s->pipe.news);
    pthread_mutex_unlock(&s->pipe.lock);
    return cancelled ? why_set(why, ERR_STOPPED, "nobody waits for it any more") : OK;
}

static uint32_t slot_of(struct slice key) {
    return slot_cluster(key);
}

static enum err take_key(void *self, const struct digest_key *key, struct why *why) {
    struct survey *s = self;
    return s->want.key(s->want.owner, key, why);
}

static void *read_all(void *self) {
    struct survey *s = self;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    struct digester *digester = digester_new(take_key, s, slot_of);
    digester_streams(digester, s->want.streams);
    struct rdb_reader *reader = rdb_reader_open(&s->source, limits, digester_handler(digester));
    s->err = rdb_reader_run(reader, &s->why);
    rdb_reader_close(reader);
    digester_free(digester);
    pthread_mutex_lock(&s->pipe.lock);
    s->pipe.broken = true;
    pthread_cond_signal(&s->pipe.news);
    pthread_mutex_unlock(&s->pipe.lock);
    return NULL;
}

static void survey_free(struct survey *s) {
    buf_close(&s->pipe.bytes);
    pthread_cond_destroy(&s->pipe.news);
    pthread_mutex_destroy(&s->pipe.lock);
    mem_free(s);
}

/* Wait for the thread, which comes to its end. */
static void join(struct survey *s) {
    pthread_mutex_lock(&s->pipe.lock);
    s->pipe.ended = true; /* if it failed before finish() */
    pthread_cond_signal(&s->pipe.news);
    pthread_mutex_unlock(&s->pipe.lock);
    (void)pthread_join(s->thread, NULL);
}

static void snapshot_ended(void *owner, enum err err, const char *why) {
    struct survey *s = owner;
    struct survey_want want = s->want;
    join(s);
    survey_free(s);
    want.ended(want.owner, err, why);
}

static bool start_thread(struct survey *s) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the engine's */
    int error = pthread_create(&s->thread, NULL, read_all, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error == 0;
}

enum err survey_start(struct engine *engine, const struct survey_want *want,
                      struct survey **survey, struct why *why) {
    struct snapshot *snapshot;
    struct survey *s = NEW(struct survey);
    struct snapshot_want wanted = {.slots = want->slots,
                                   .one_db = want->db >= 0,
                                   .db = want->db,
                                   .plain = true,
                                   .sink = &s->sink,
                                   .what = "digests",
                                   .owner = s,
                                   .ended = snapshot_ended};
    s->want = *want;
    s->want.slots = NULL;
    s->sink.sink.write = pipe_write;
    s->sink.finish = pipe_finish;
    s->source.read = pipe_read;
    (void)pthread_mutex_init(&s->pipe.lock, NULL);
    (void)pthread_cond_init(&s->pipe.news, NULL);
    if (!start_thread(s)) {
        survey_free(s);
        return why_set(why, ERR_NOMEM, "no thread for it");
    }
    enum err err = snapshot_start(engine, &wanted, &snapshot, why);
    if (err) {
        join(s);
        survey_free(s);
        return err;
    }
    *survey = s;
    return OK;
}

void survey_cancel(struct survey *s) {
    pthread_mutex_lock(&s->pipe.lock);
    s->pipe.cancelled = true;
    pthread_cond_signal(&s->pipe.news);
    pthread_mutex_unlock(&s->pipe.lock);
}
