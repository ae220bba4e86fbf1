/* baseline_file.c -- an RDB file, item by item; see baseline_file.h. */
#include "gateway/baseline_file.h"

#include "gateway/baseline_board.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/dump.h"
#include "lib/redis/rdb_read.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept {
    struct kept *next;
    struct baseline_item item;
    size_t bytes;
    uint8_t text[];
};

struct baseline_file {
    int fd;
    int64_t after_ms;
    void (*wake)(void *self);
    void *self;
    bool dated; /* the thread's: the file was begun late enough */
    struct buf payload;
    pthread_mutex_t lock;
    pthread_cond_t room;
    /* under the lock */
    struct kept *first, **last;
    size_t waiting; /* bytes */
    bool ended;
    bool stopped; /* its owner is done with it: nobody is woken, and the thread frees it */
    enum err err;
    struct why why;
};

static enum err give(struct baseline_file *f, const struct rdb_key *key, struct slice payload,
                     bool is_big, struct why *why) {
    size_t bytes = sizeof(struct kept) + key->key.size + payload.size;
    if (key->db > INT32_MAX) return why_set(why, ERR_CORRUPT, "database %u", key->db);
    struct kept *kept = mem_alloc(bytes);
    *kept = (struct kept){.bytes = bytes};
    if (key->key.size) memcpy(kept->text, key->key.data, key->key.size);
    if (payload.size) memcpy(kept->text + key->key.size, payload.data, payload.size);
    kept->item = (struct baseline_item){
        .db = (int32_t)key->db,
        .is_big = is_big,
        .deadline_ms = key->expire_at_ms < 0 ? 0 : key->expire_at_ms ? key->expire_at_ms : 1,
        .name = slice_from(kept->text, key->key.size),
        .payload = slice_from(kept->text + key->key.size, payload.size)};
    pthread_mutex_lock(&f->lock);
    while (f->waiting > BASELINE_WAITING_MAX && !f->stopped) pthread_cond_wait(&f->room, &f->lock);
    bool stopped = f->stopped, was_empty = f->first == NULL;
    if (!stopped) {
        *f->last = kept;
        f->last = &kept->next;
        f->waiting += bytes;
        if (was_empty) f->wake(f->self);
    }
    pthread_mutex_unlock(&f->lock);
    if (stopped) mem_free(kept);
    return stopped ? why_set(why, ERR_STOPPED, "it was told to stop") : OK;
}

static enum err on_aux(void *self, struct slice name, struct slice value, struct why *why) {
    struct baseline_file *f = self;
    int64_t s;
    if (!slice_equal(name, SLICE("ctime"))) return OK;
    if (!slice_to_int(value, &s) || s < 0 || s > INT64_MAX / 1000 || s * 1000 < f->after_ms)
        return why_set(why, ERR_STATE, "it is too old: it was begun at %.*s, and is wanted from %lld",
                       (int)(value.size < 24 ? value.size : 24), (const char *)value.data,
                       (long long)((f->after_ms + 999) / 1000));
    f->dated = true;
    return OK;
}

static enum err check_date(const struct baseline_file *f, struct why *why) {
    return f->dated ? OK : why_set(why, ERR_STATE, "it does not say when it was begun");
}

static enum err on_raw(void *self, const struct rdb_key *key, struct slice value,
                       struct why *why) {
    struct baseline_file *f = self;
    enum err err = check_date(f, why);
    if (err) return err;
    buf_clear(&f->payload);
    dump_put(&f->payload, key->rdb_type, value);
    return give(f, key, buf_slice(&f->payload), false, why);
}

/* Larger than an item may be: its elements pass by. */
static enum err on_begin(void *self, const struct rdb_key *key, uint64_t count, struct why *why) {
    (void)count;
    enum err err = check_date(self, why);
    return err ? err : give(self, key, slice_from(NULL, 0), true, why);
}

static struct kept *take_first(struct baseline_file *f) {
    struct kept *kept = f->first;
    f->first = kept->next;
    if (f->first == NULL) f->last = &f->first;
    f->waiting -= kept->bytes;
    return kept;
}

static void forget(struct baseline_file *f) {
    while (f->first) mem_free(take_first(f));
    (void)close(f->fd);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->room);
    buf_close(&f->payload);
    mem_free(f);
}

static void *run(void *self) {
    struct baseline_file *f = self;
    struct rdb_handler handler = {
        .self = f, .aux = on_aux, .value_raw = on_raw, .key_begin = on_begin};
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.raw_bytes_max = BASELINE_ITEM_MAX;
    limits.skip_empty = true;
    struct rdb_source_file source;
    struct why why = {""};
    rdb_source_file_init(&source, f->fd);
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &handler);
    enum err err = rdb_reader_run(reader, &why);
    rdb_reader_close(reader);
    if (err == OK) err = check_date(f, &why);
    pthread_mutex_lock(&f->lock);
    bool stopped = f->stopped;
    f->ended = true;
    f->err = err;
    f->why = why;
    if (!stopped) f->wake(f->self);
    pthread_mutex_unlock(&f->lock);
    if (stopped) forget(f);
    return NULL;
}

enum err baseline_open(struct baseline_file **file, const char *path, int64_t after_ms,
                       void (*wake)(void *self), void *self, struct why *why) {
    struct baseline_file *f = NEW(struct baseline_file);
    *f = (struct baseline_file){.fd = -1, .after_ms = after_ms, .wake = wake, .self = self};
    f->last = &f->first;
    enum err err = fs_open(path, O_RDONLY, &f->fd, why);
    if (err) {
        mem_free(f);
        return err;
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->room, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* they are the loop's */
    pthread_t thread;
    int code = pthread_create(&thread, NULL, run, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0) {
        (void)pthread_detach(thread);
        *file = f;
        return OK;
    }
    (void)close(f->fd);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->room);
    mem_free(f);
    return why_set(why, ERR_IO, "no thread to read %s", path);
}

static enum err look_at_file(const char *path, struct why *why) {
    char magic[5] = "";
    int fd = -1;
    enum err err = fs_open(path, O_RDONLY, &fd, why);
    if (err) return err;
    bool fine = read(fd, magic, sizeof magic) == (ssize_t)sizeof magic && memcmp(magic, "REDIS", 5) == 0;
    (void)close(fd);
    return fine ? OK : why_set(why, ERR_CORRUPT, "%.200s is there, and is no RDB file", path);
}

enum err baseline_look(const char *path, bool *there, struct why *why) {
    char folder[BASELINE_PATH_BYTES];
    struct stat is;
    *there = lstat(path, &is) == 0;
    if (*there && !S_ISREG(is.st_mode))
        return why_set(why, ERR_CONFIG, "%.200s is no regular file", path);
    if (*there) return look_at_file(path, why);
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL) return why_set(why, ERR_CONFIG, "%.200s is no path from / on", path);
    slash[slash == folder] = '\0';
    if (stat(folder, &is) != 0 || !S_ISDIR(is.st_mode))
        return why_set(why, ERR_CONFIG, "there is no folder %.200s", folder);
    if (access(folder, R_OK | X_OK) != 0)
        return why_set(why, ERR_REFUSED, "the folder %.200s may not be read", folder);
    return OK;
}

/* The thread may be in the middle of a large value: nobody waits for it. */
void baseline_close(struct baseline_file *f) {
    if (f == NULL) return;
    pthread_mutex_lock(&f->lock);
    bool ended = f->ended;
    f->stopped = true;
    pthread_cond_signal(&f->room);
    pthread_mutex_unlock(&f->lock);
    if (ended) forget(f);
}

const struct baseline_item *baseline_next(struct baseline_file *f) {
    pthread_mutex_lock(&f->lock);
    const struct baseline_item *item = f->first ? &f->first->item : NULL;
    pthread_mutex_unlock(&f->lock);
    return item;
}

void baseline_taken(struct baseline_file *f) {
    pthread_mutex_lock(&f->lock);
    struct kept *kept = take_first(f);
    if (f->waiting <= BASELINE_WAITING_MAX / 2) pthread_cond_signal(&f->room);
    pthread_mutex_unlock(&f->lock);
    mem_free(kept);
}

enum baseline_state baseline_state(struct baseline_file *f, struct why *why) {
    pthread_mutex_lock(&f->lock);
    enum baseline_state state = !f->ended || f->first ? BASELINE_READING
                                : f->err              ? BASELINE_FAILED
                                                      : BASELINE_DONE;
    if (state == BASELINE_FAILED) *why = f->why;
    pthread_mutex_unlock(&f->lock);
    return state;
}
