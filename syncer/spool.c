/* spool.c -- a link's relay log on disk. See spool.h.
 *
 * Invariants, under the lock:
 *   segments are sorted, each begins where the one before ends, the last one ends at `end`;
 *   begin <= synced <= end; the first segment begins at or before `begin`.
 */
#include "syncer/spool.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "syncer/disk.h"
#include "syncer/spool_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 4352

struct spool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t changes;
    struct spool_options options;
    char *folder;
    struct spool_meta meta;
    struct spool_segments segments;
    uint64_t end, synced;
    uint64_t rdb_received;
    uint64_t copy_offset;
    int rdb_fd;    /* -1 but while RECEIVING */
    int stream_fd; /* the last segment, for appending; -1 when there is none */
    int synced_fd;
    bool discarded_rdb;
};

static void check(const struct spool *spool) {
    ASSERT(spool->synced <= spool->end);
    ASSERT(IMPLIES(spool->meta.kind == SPOOL_COPY || spool->meta.kind == SPOOL_STREAM, spool->meta.begin <= spool->end));
    ASSERT(IMPLIES(spool->rdb_fd >= 0, spool->meta.kind == SPOOL_RECEIVING));
}

static void path_of(const struct spool *spool, const char *name, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%s", spool->folder, name);
}

static void rdb_path(const struct spool *spool, uint64_t generation, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%010" PRIu64 ".rdb", spool->folder, generation);
}

static void segment_path(const struct spool *spool, uint64_t start, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%010" PRIu64 "-%020" PRIu64 ".stream", spool->folder, spool->meta.generation, start);
}

static void notify(struct spool *spool) {
    spool->changes++;
    pthread_cond_broadcast(&spool->changed);
}

static enum err save_meta(struct spool *spool, const struct spool_meta *meta, struct why *why) {
    struct buf text = {0};
    char path[PATH_SIZE];
    struct spool_meta written = *meta;
    disk_boot_id(written.boot);
    spool_meta_encode(&written, &text);
    path_of(spool, "meta", path);
    enum err err = fs_replace(path, buf_slice(&text), why);
    buf_close(&text);
    if (err == OK) spool->meta = written;
    return err;
}

static void close_files(struct spool *spool) {
    if (spool->rdb_fd >= 0) close(spool->rdb_fd);
    if (spool->stream_fd >= 0) close(spool->stream_fd);
    spool->rdb_fd = spool->stream_fd = -1;
}

/* The generation that META begins takes the place of all that is here. */
static enum err begin_generation(struct spool *spool, const struct spool_meta *meta, struct why *why) {
    enum err err = save_meta(spool, meta, why);
    if (err != OK) return err;
    close_files(spool);
    spool_files_remove_others(spool->folder, meta->generation, false);
    spool_segments_clear(&spool->segments);
    spool->end = spool->synced = meta->begin;
    spool->rdb_received = 0;
    notify(spool);
    return OK;
}

/* ---- opening ---- */

static enum err recover_stream(struct spool *spool, bool same_boot, struct why *why) {
    enum err err = spool_files_list(spool->folder, spool->meta.generation, &spool->segments, why);
    if (err != OK) return err;
    struct spool_segments *s = &spool->segments;
    spool->end = s->count ? s->at[s->count - 1].start + s->at[s->count - 1].bytes : spool->meta.begin;
    uint64_t marked = 0;
    if (!spool_mark_read(spool->synced_fd, spool->meta.generation, &marked)) marked = spool->meta.begin;
    if (!same_boot && marked < spool->end) {
        err = spool_files_cut(spool->folder, spool->meta.generation, s, marked, why);
        if (err != OK) return err;
        spool->end = marked;
        spool_meta_cut(&spool->meta, spool->end);
    }
    bool fits = s->count == 0 || s->at[0].start <= spool->meta.begin;
    if (!fits || spool->end < spool->meta.begin)
        return why_set(why, ERR_CORRUPT, "%s: the stream does not begin where the meta file says", spool->folder);
    spool->synced = marked < spool->end && marked >= spool->meta.begin ? marked : spool->meta.begin;
    if (s->count == 0) return OK;
    char path[PATH_SIZE];
    uint64_t size = 0;
    segment_path(spool, s->at[s->count - 1].start, path);
    return disk_open_append(path, &spool->stream_fd, &size, why);
}

static enum err recover_rdb(struct spool *spool, bool *usable, struct why *why) {
    char path[PATH_SIZE];
    int fd = -1;
    uint64_t size = 0;
    rdb_path(spool, spool->meta.generation, path);
    enum err err = disk_open_read(path, &fd, &size, why);
    if (err != OK && err != ERR_ABSENT) return err;
    if (err == OK) close(fd);
    *usable = err == OK && size == spool->meta.rdb_bytes;
    spool->rdb_received = *usable ? size : 0;
    return OK;
}

static enum err recover(struct spool *spool, struct why *why) {
    char boot[40], path[PATH_SIZE];
    struct buf text = {0};
    path_of(spool, "meta", path);
    enum err err = fs_read_file(path, 1 << 16, &text, why);
    if (err == OK) err = spool_meta_decode(buf_slice(&text), &spool->meta, why);
    buf_close(&text);
    if (err == ERR_ABSENT) return OK; /* a new spool */
    if (err != OK) return err;
    disk_boot_id(boot);
    bool usable = spool->meta.kind != SPOOL_RECEIVING && spool->meta.kind != SPOOL_EMPTY;
    spool->discarded_rdb = spool->meta.kind == SPOOL_RECEIVING;
    if (spool->meta.kind == SPOOL_COPY) err = recover_rdb(spool, &usable, why);
    if (err != OK) return err;
    if (spool->meta.kind == SPOOL_COPY) spool->copy_offset = spool->meta.history[0].from;
    if (usable) {
        spool_files_remove_others(spool->folder, spool->meta.generation, true);
        return recover_stream(spool, strcmp(boot, spool->meta.boot) == 0, why);
    }
    struct spool_meta empty = {.generation = spool->meta.generation + 1};
    return begin_generation(spool, &empty, why);
}

enum err spool_open(const char *folder, const struct spool_options *options, struct spool **spool, struct why *why) {
    ASSERT(options->segment_bytes > 0);
    enum err err = fs_make_dirs(folder, why);
    if (err != OK) return err;
    disk_sweep(folder);
    struct spool *made = NEW(struct spool);
    pthread_condattr_t attr;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attr);
    pthread_condattr_destroy(&attr);
    made->options = *options;
    made->folder = mem_strdup(folder);
    made->rdb_fd = made->stream_fd = made->synced_fd = -1;
    char path[PATH_SIZE];
    path_of(made, "synced", path);
    made->synced_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made->synced_fd < 0) err = why_set(why, ERR_IO, "open %s: %s", path, strerror(errno));
    if (err == OK) err = recover(made, why);
    if (err != OK) {
        spool_close(made);
        return why_add(why, err, "spool %s", folder);
    }
    check(made);
    *spool = made;
    return OK;
}

void spool_close(struct spool *spool) {
    if (!spool) return;
    close_files(spool);
    if (spool->synced_fd >= 0) close(spool->synced_fd);
    spool_segments_clear(&spool->segments);
    pthread_cond_destroy(&spool->changed);
    pthread_mutex_destroy(&spool->lock);
    mem_free(spool->folder);
    mem_free(spool);
}

/* ---- looking ---- */

static uint64_t bytes_of(const struct spool *spool) {
    uint64_t total = spool->rdb_received;
    const struct spool_segments *s = &spool->segments;
    if (s->count) total += spool->end - s->at[0].start;
    return total;
}

void spool_look(struct spool *spool, struct spool_info *info) {
    pthread_mutex_lock(&spool->lock);
    const struct spool_meta *m = &spool->meta;
    *info = (struct spool_info){.kind = m->kind, .generation = m->generation, .copy_offset = spool->copy_offset,
        .rdb_received = spool->rdb_received, .begin = m->begin, .end = spool->end, .begin_db = m->begin_db,
        .synced = spool->synced, .bytes = bytes_of(spool), .limit_bytes = spool->options.limit_bytes,
        .discarded_rdb = spool->discarded_rdb};
    if (m->histories) memcpy(info->replid, m->history[m->histories - 1].replid, sizeof info->replid);
    memcpy(info->copy_id, m->copy_id, sizeof info->copy_id);
    pthread_mutex_unlock(&spool->lock);
}

bool spool_has_room(struct spool *spool) {
    pthread_mutex_lock(&spool->lock);
    bool room = bytes_of(spool) < spool->options.limit_bytes;
    pthread_mutex_unlock(&spool->lock);
    return room;
}

bool spool_holds(struct spool *spool, const char *replid, uint64_t offset) {
    pthread_mutex_lock(&spool->lock);
    bool usable = spool->meta.kind == SPOOL_COPY || spool->meta.kind == SPOOL_STREAM;
    bool holds = usable && offset >= spool->meta.begin && spool_meta_holds(&spool->meta, replid, offset, spool->end);
    pthread_mutex_unlock(&spool->lock);
    return holds;
}

bool spool_copy_replid(struct spool *spool, char replid[REPLID_SIZE + 1]) {
    pthread_mutex_lock(&spool->lock);
    bool copy = spool->meta.kind == SPOOL_COPY || spool->meta.kind == SPOOL_RECEIVING;
    if (copy) memcpy(replid, spool->meta.history[0].replid, REPLID_SIZE + 1);
    pthread_mutex_unlock(&spool->lock);
    return copy;
}

void spool_replid_at(struct spool *spool, uint64_t offset, char replid[REPLID_SIZE + 1]) {
    pthread_mutex_lock(&spool->lock);
    const struct spool_meta *m = &spool->meta;
    replid[0] = '\0';
    for (size_t i = 0; i < m->histories; i++)
        if (i == 0 || m->history[i].from <= offset) memcpy(replid, m->history[i].replid, REPLID_SIZE + 1);
    pthread_mutex_unlock(&spool->lock);
}

/* ---- writing ---- */

enum err spool_start_copy(struct spool *spool, const char *replid, uint64_t offset, struct why *why) {
    char path[PATH_SIZE];
    uint64_t size = 0;
    pthread_mutex_lock(&spool->lock);
    struct spool_meta meta = {.kind = SPOOL_RECEIVING, .generation = spool->meta.generation + 1, .begin = offset};
    spool_meta_rename(&meta, replid, offset);
    rand_hex40(meta.copy_id);
    enum err err = begin_generation(spool, &meta, why);
    rdb_path(spool, meta.generation, path);
    if (err == OK) err = disk_open_append(path, &spool->rdb_fd, &size, why);
    if (err == OK) {
        spool->copy_offset = offset;
        spool->discarded_rdb = false;
    }
    check(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "begin a copy in the spool");
}

enum err spool_write_rdb(struct spool *spool, struct slice bytes, size_t *taken, struct why *why) {
    ASSERT(spool->rdb_fd >= 0);
    enum err err = disk_write(spool->rdb_fd, bytes, taken, why); /* only this thread changes rdb_fd */
    pthread_mutex_lock(&spool->lock);
    spool->rdb_received += *taken;
    notify(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "write the RDB into the spool");
}

enum err spool_finish_rdb(struct spool *spool, struct why *why) {
    ASSERT(spool->rdb_fd >= 0);
    enum err err = fs_sync(spool->rdb_fd, spool->folder, why);
    pthread_mutex_lock(&spool->lock);
    struct spool_meta meta = spool->meta;
    meta.kind = SPOOL_COPY;
    meta.rdb_bytes = spool->rdb_received;
    if (err == OK) err = save_meta(spool, &meta, why);
    if (err == OK) {
        close_files(spool);
        notify(spool);
    }
    check(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "make the RDB in the spool durable");
}

enum err spool_start_stream(struct spool *spool, const char *replid, uint64_t offset, int db, struct why *why) {
    pthread_mutex_lock(&spool->lock);
    struct spool_meta meta = {.kind = SPOOL_STREAM, .generation = spool->meta.generation + 1, .begin = offset, .begin_db = db};
    spool_meta_rename(&meta, replid, offset);
    enum err err = begin_generation(spool, &meta, why);
    check(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "begin a stream in the spool");
}

enum err spool_rename(struct spool *spool, const char *replid, struct why *why) {
    pthread_mutex_lock(&spool->lock);
    struct spool_meta meta = spool->meta;
    spool_meta_rename(&meta, replid, spool->end);
    enum err err = OK;
    if (strcmp(meta.history[meta.histories - 1].replid, spool->meta.history[spool->meta.histories - 1].replid) != 0)
        err = save_meta(spool, &meta, why);
    if (err == OK) notify(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "note the new replication id in the spool");
}

/* Close the last segment durably and open the next one. */
static enum err next_segment(struct spool *spool, struct why *why) {
    char path[PATH_SIZE];
    int fd = -1;
    uint64_t size = 0;
    if (spool->stream_fd >= 0) {
        enum err err = fs_sync(spool->stream_fd, spool->folder, why);
        if (err != OK) return err;
    }
    segment_path(spool, spool->end, path);
    enum err err = disk_open_append(path, &fd, &size, why);
    if (err != OK) return err;
    if (size > 0 && ftruncate(fd, 0) != 0) {
        close(fd);
        return why_set(why, ERR_IO, "truncate %s: %s", path, strerror(errno));
    }
    err = fs_sync_dir(spool->folder, why);
    if (err != OK) {
        close(fd);
        return err;
    }
    if (spool->stream_fd >= 0) close(spool->stream_fd);
    spool->stream_fd = fd;
    spool_segments_add(&spool->segments, spool->end);
    return OK;
}

enum err spool_append(struct spool *spool, struct slice bytes, size_t *taken, struct why *why) {
    enum err err = OK;
    *taken = 0;
    pthread_mutex_lock(&spool->lock);
    ASSERT(spool->meta.kind == SPOOL_COPY || spool->meta.kind == SPOOL_STREAM);
    struct spool_segments *s = &spool->segments;
    if (s->count == 0 || spool->stream_fd < 0 || s->at[s->count - 1].bytes >= spool->options.segment_bytes)
        err = next_segment(spool, why);
    pthread_mutex_unlock(&spool->lock);
    if (err == OK) err = disk_write(spool->stream_fd, bytes, taken, why); /* only this thread changes stream_fd */
    pthread_mutex_lock(&spool->lock);
    if (*taken > 0) {
        s->at[s->count - 1].bytes += *taken;
        spool->end += *taken;
        notify(spool);
    }
    check(spool);
    pthread_mutex_unlock(&spool->lock);
    return err == OK ? OK : why_add(why, err, "append to the spool");
}

enum err spool_sync(struct spool *spool, uint64_t *offset, struct why *why) {
    pthread_mutex_lock(&spool->lock);
    uint64_t end = spool->end, generation = spool->meta.generation;
    bool needed = spool->synced < end;
    pthread_mutex_unlock(&spool->lock);
    enum err err = OK;
    if (needed) {
        err = fs_sync(spool->stream_fd, spool->folder, why);
        if (err == OK) err = spool_mark_write(spool->synced_fd, generation, end, why);
    }
    if (err != OK) return why_add(why, err, "sync the spool");
    pthread_mutex_lock(&spool->lock);
    if (generation == spool->meta.generation && spool->synced < end) spool->synced = end;
    pthread_mutex_unlock(&spool->lock);
    *offset = end;
    return OK;
}

/* ---- trimming ---- */

enum err spool_keep_from(struct spool *spool, uint64_t offset, int db, struct why *why) {
    enum err err = OK;
    pthread_mutex_lock(&spool->lock);
    bool sensible = offset > spool->meta.begin && offset <= spool->end && spool->meta.kind == SPOOL_STREAM;
    if (sensible) {
        struct spool_meta meta = spool->meta;
        meta.begin = offset;
        meta.begin_db = db;
        err = save_meta(spool, &meta, why);
    }
    struct spool_segments *s = &spool->segments;
    while (err == OK && sensible && s->count > 1 && s->at[1].start <= offset) {
        char path[PATH_SIZE];
        segment_path(spool, s->at[0].start, path);
        disk_remove(path);
        spool_segments_drop_first(s);
    }
    if (sensible && spool->synced < spool->meta.begin) spool->synced = spool->meta.begin;
    check(spool);
    pthread_mutex_unlock(&spool->lock);
    return err;
}

enum err spool_drop_rdb(struct spool *spool, struct why *why) {
    enum err err = OK;
    pthread_mutex_lock(&spool->lock);
    if (spool->meta.kind == SPOOL_COPY) {
        char path[PATH_SIZE];
        struct spool_meta meta = spool->meta;
        meta.kind = SPOOL_STREAM;
        meta.rdb_bytes = 0;
        meta.copy_id[0] = '\0';
        err = save_meta(spool, &meta, why);
        rdb_path(spool, meta.generation, path);
        if (err == OK) {
            disk_remove(path);
            spool->rdb_received = 0;
        }
    }
    pthread_mutex_unlock(&spool->lock);
    return err;
}

enum err spool_clear(struct spool *spool, struct why *why) {
    pthread_mutex_lock(&spool->lock);
    struct spool_meta meta = {.generation = spool->meta.generation + 1};
    enum err err = begin_generation(spool, &meta, why);
    pthread_mutex_unlock(&spool->lock);
    return err;
}

/* ---- waiting and reading ---- */

void spool_wait(struct spool *spool, uint64_t *seen, int timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&spool->lock);
    while (spool->changes == *seen)
        if (pthread_cond_timedwait(&spool->changed, &spool->lock, &until) != 0) break;
    *seen = spool->changes;
    pthread_mutex_unlock(&spool->lock);
}

void spool_wake(struct spool *spool) {
    pthread_mutex_lock(&spool->lock);
    notify(spool);
    pthread_mutex_unlock(&spool->lock);
}

enum err spool_reader_open(struct spool_reader *reader, struct spool *spool, uint64_t offset, struct why *why) {
    struct spool_info info;
    spool_look(spool, &info);
    bool stream = info.kind == SPOOL_COPY || info.kind == SPOOL_STREAM;
    if (!stream || offset < info.begin || offset > info.end)
        return why_set(why, ERR_ABSENT, "the spool does not hold offset %" PRIu64, offset);
    *reader = (struct spool_reader){.spool = spool, .generation = info.generation, .offset = offset, .fd = -1};
    return OK;
}

void spool_reader_close(struct spool_reader *reader) {
    if (reader->spool && reader->fd >= 0) close(reader->fd);
    *reader = (struct spool_reader){.fd = -1};
}

/* The segment that holds the reader's offset; how many bytes of it are there from that offset on. */
static enum err find(struct spool_reader *reader, uint64_t *start, uint64_t *bytes, struct why *why) {
    struct spool *spool = reader->spool;
    enum err err = OK;
    pthread_mutex_lock(&spool->lock);
    const struct spool_segments *s = &spool->segments;
    *bytes = 0;
    if (spool->meta.generation != reader->generation) {
        err = why_set(why, ERR_STATE, "the spool began another copy");
    } else if (s->count > 0 && reader->offset < s->at[0].start) {
        err = why_set(why, ERR_ABSENT, "offset %" PRIu64 " was trimmed away", reader->offset);
    } else {
        size_t i = s->count;
        while (i > 0 && s->at[i - 1].start > reader->offset) i--;
        if (i > 0) {
            *start = s->at[i - 1].start;
            *bytes = s->at[i - 1].start + s->at[i - 1].bytes - reader->offset;
        }
    }
    pthread_mutex_unlock(&spool->lock);
    return err;
}

enum err spool_read(struct spool_reader *reader, void *data, size_t size, size_t *got, struct why *why) {
    uint64_t start = 0, bytes = 0, file_size = 0;
    char path[PATH_SIZE];
    *got = 0;
    enum err err = find(reader, &start, &bytes, why);
    if (err != OK || bytes == 0) return err;
    if (reader->fd < 0 || reader->segment != start) {
        if (reader->fd >= 0) close(reader->fd);
        reader->fd = -1;
        snprintf(path, sizeof path, "%s/%010" PRIu64 "-%020" PRIu64 ".stream", reader->spool->folder, reader->generation, start);
        err = disk_open_read(path, &reader->fd, &file_size, why);
        if (err != OK) return err;
        reader->segment = start;
    }
    if (bytes < size) size = (size_t)bytes;
    err = fs_read_at(reader->fd, data, size, reader->offset - start, got, reader->spool->folder, why);
    if (err != OK) return err;
    if (*got < size) return why_set(why, ERR_CORRUPT, "a segment of the spool is shorter than it was");
    reader->offset += *got;
    return OK;
}

enum err spool_read_rdb(struct spool *spool, uint64_t generation, int *fd, uint64_t position, void *data, size_t size,
                        size_t *got, bool *complete, struct why *why) {
    char path[PATH_SIZE];
    uint64_t there = 0, file_size = 0;
    *got = 0;
    pthread_mutex_lock(&spool->lock);
    bool same = spool->meta.generation == generation;
    there = spool->rdb_received;
    *complete = spool->meta.kind == SPOOL_COPY;
    rdb_path(spool, generation, path);
    pthread_mutex_unlock(&spool->lock);
    if (!same) return why_set(why, ERR_STATE, "the spool began another copy");
    if (position >= there) return OK;
    if (*fd < 0) {
        enum err err = disk_open_read(path, fd, &file_size, why);
        if (err != OK) return err;
    }
    *complete = false;
    if (there - position < size) size = (size_t)(there - position);
    return fs_read_at(*fd, data, size, position, got, spool->folder, why);
}
