/* backlog_store.c -- the thread beside the replication stream. See backlog_store.h. */
#include "server/backlog_store.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <zstd.h>

#define LEVEL 1 /* the stream comes as fast as the network: packing must keep up */
#define NAME "what replicas have not been sent"

struct job_list {
    struct backlog_job *first, **last;
};

struct backlog_store {
    void (*news)(void *owner);
    void *owner;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t some, none;
    struct job_list urgent, waiting, done; /* under the lock, as is what follows */
    size_t undone;
    bool started, stop;

    /* the thread's own */
    int fd; /* -1: none yet */
    ZSTD_CCtx *packer;
    ZSTD_DCtx *unpacker;
    uint8_t *room; /* what is packed, or was read, before it gets a place of its size */
    size_t room_size;
};

static void list_add(struct job_list *list, struct backlog_job *job) {
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct backlog_job *list_take(struct job_list *list) {
    struct backlog_job *job = list->first;
    if (!job) return NULL;
    list->first = job->next;
    if (!list->first) list->last = &list->first;
    return job;
}

/* ---- the thread ---- */

static uint8_t *room_for(struct backlog_store *store, size_t size) {
    if (store->room_size < size) {
        store->room = mem_realloc(store->room, size);
        store->room_size = size;
    }
    return store->room;
}

static enum err do_pack(struct backlog_store *store, struct backlog_job *job) {
    size_t bound = ZSTD_compressBound(job->in.size);
    uint8_t *room = room_for(store, bound);
    size_t size = ZSTD_compress2(store->packer, room, bound, job->in.data, job->in.size);
    if (ZSTD_isError(size))
        return why_set(&job->why, ERR_NOMEM, "packing: %s", ZSTD_getErrorName(size));
    job->out = mem_dup(room, size);
    job->out_size = size;
    return OK;
}

static enum err open_file(struct backlog_store *store, struct why *why) {
    char path[64];
    (void)snprintf(path, sizeof path, "temp-stream-%d.spill", (int)getpid());
    enum err err = fs_open(path, O_RDWR | O_CREAT | O_EXCL, &store->fd, why);
    return err ? err : fs_remove(path, why);
}

static enum err do_spill(struct backlog_store *store, struct backlog_job *job) {
    uint64_t free_bytes;
    enum err err = fs_free_bytes(".", &free_bytes, &job->why);
    if (!err && free_bytes < BACKLOG_DISK_RESERVE)
        err = why_set(&job->why, ERR_DISK_FULL, "the disk is nearly full");
    if (!err && store->fd < 0) err = open_file(store, &job->why);
    return err ? err : fs_write_at(store->fd, job->in, job->file_at, NAME, &job->why);
}

static enum err read_back(struct backlog_store *store, struct backlog_job *job) {
    size_t got = 0;
    uint8_t *room = room_for(store, job->file_size);
    enum err err =
        fs_read_at(store->fd, room, job->file_size, job->file_at, &got, NAME, &job->why);
    if (!err && got < job->file_size)
        err = why_set(&job->why, ERR_IO, NAME ": the file is too short");
    job->in = slice_from(room, got);
    return err;
}

static enum err do_fetch(struct backlog_store *store, struct backlog_job *job) {
    enum err err = job->in.size ? OK : read_back(store, job);
    if (err) return err;
    job->out = mem_alloc(job->out_size);
    size_t size = ZSTD_decompressDCtx(store->unpacker, job->out, job->out_size, job->in.data,
                                      job->in.size);
    if (!ZSTD_isError(size) && size == job->out_size) return OK;
    mem_free(job->out);
    job->out = NULL;
    return why_set(&job->why, ERR_IO, NAME ": it is damaged (%s)",
                   ZSTD_isError(size) ? ZSTD_getErrorName(size) : "another size");
}

static enum err do_job(struct backlog_store *store, struct backlog_job *job) {
    switch (job->kind) {
    case BACKLOG_PACK: return do_pack(store, job);
    case BACKLOG_SPILL: return do_spill(store, job);
    case BACKLOG_FETCH: return do_fetch(store, job);
    case BACKLOG_PUNCH: /* where a file system cannot, the space is free when all is */
        if (store->fd >= 0)
            (void)fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            (off_t)job->file_at, (off_t)job->file_size);
        return OK;
    case BACKLOG_EMPTY: return store->fd >= 0 ? fs_truncate(store->fd, 0, NAME, &job->why) : OK;
    }
    UNREACHABLE("a job of no kind");
}

static void finish(struct backlog_store *store, struct backlog_job *job) {
    pthread_mutex_lock(&store->lock);
    list_add(&store->done, job);
    if (--store->undone == 0) pthread_cond_broadcast(&store->none);
    pthread_mutex_unlock(&store->lock);
    store->news(store->owner);
}

static struct backlog_job *next_job(struct backlog_store *store) {
    struct backlog_job *job = NULL;
    pthread_mutex_lock(&store->lock);
    while (!store->stop) {
        job = list_take(&store->urgent);
        if (!job) job = list_take(&store->waiting);
        if (job) break;
        pthread_cond_wait(&store->some, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return job;
}

static void *work(void *arg) {
    struct backlog_store *store = arg;
    for (struct backlog_job *job; (job = next_job(store)) != NULL;) {
        job->err = do_job(store, job);
        finish(store, job);
    }
    return NULL;
}

/* ---- the engine ---- */

struct backlog_store *backlog_store_open(void (*news)(void *owner), void *owner) {
    struct backlog_store *store = NEW(struct backlog_store);
    store->news = news;
    store->owner = owner;
    store->fd = -1;
    store->urgent.last = &store->urgent.first;
    store->waiting.last = &store->waiting.first;
    store->done.last = &store->done.first;
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_cond_init(&store->some, NULL);
    (void)pthread_cond_init(&store->none, NULL);
    return store;
}

static void start(struct backlog_store *store) {
    sigset_t all, old;
    store->packer = ZSTD_createCCtx();
    store->unpacker = ZSTD_createDCtx();
    ASSERT(store->packer && store->unpacker);
    (void)ZSTD_CCtx_setParameter(store->packer, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(store->packer, ZSTD_c_checksumFlag, 1); /* disks do lie */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the engine's */
    store->started = pthread_create(&store->thread, NULL, work, store) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void backlog_store_give(struct backlog_store *store, struct backlog_job *job) {
    if (!store->started && !store->packer) start(store);
    pthread_mutex_lock(&store->lock);
    store->undone++;
    list_add(job->kind == BACKLOG_FETCH ? &store->urgent : &store->waiting, job);
    pthread_cond_signal(&store->some);
    pthread_mutex_unlock(&store->lock);
    if (store->started) return;
    /* No thread to be had: the engine does it itself, and stalls, but nothing is lost. */
    struct backlog_job *mine = list_take(job->kind == BACKLOG_FETCH ? &store->urgent
                                                                     : &store->waiting);
    if (!mine) return;
    mine->err = do_job(store, mine);
    finish(store, mine);
}

struct backlog_job *backlog_store_take(struct backlog_store *store) {
    pthread_mutex_lock(&store->lock);
    struct backlog_job *job = list_take(&store->done);
    pthread_mutex_unlock(&store->lock);
    return job;
}

void backlog_store_wait(struct backlog_store *store) {
    pthread_mutex_lock(&store->lock);
    while (store->undone) pthread_cond_wait(&store->none, &store->lock);
    pthread_mutex_unlock(&store->lock);
}

static void free_list(struct job_list *list) {
    for (struct backlog_job *job; (job = list_take(list)) != NULL;) {
        mem_free(job->out);
        mem_free(job);
    }
}

void backlog_store_close(struct backlog_store *store) {
    if (!store) return;
    pthread_mutex_lock(&store->lock);
    store->stop = true;
    pthread_cond_signal(&store->some);
    pthread_mutex_unlock(&store->lock);
    if (store->started) (void)pthread_join(store->thread, NULL);
    free_list(&store->urgent);
    free_list(&store->waiting);
    free_list(&store->done);
    if (store->fd >= 0) close(store->fd);
    ZSTD_freeCCtx(store->packer);
    ZSTD_freeDCtx(store->unpacker);
    mem_free(store->room);
    pthread_cond_destroy(&store->some);
    pthread_cond_destroy(&store->none);
    pthread_mutex_destroy(&store->lock);
    mem_free(store);
}
