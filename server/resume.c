/* resume.c -- go on with the history after a kill. See resume.h. */
#include "server/resume.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "drawbridge-resume-1"
#define HEAD_BYTES ((size_t)4096)
#define BOOT_BYTES 37

/* Which offset of the stream each of two sizes of the AOF is. */
struct mark {
    int64_t aof_seq;
    uint64_t size, size_after;
    int64_t offset, offset_after;
    int64_t db, db_after; /* selected in our master's stream; -1 as a master */
};

/* The first page of the file. */
struct head {
    char magic[sizeof MAGIC];
    char boot[BOOT_BYTES];
    char id[41], id2[41];
    uint64_t device, inode; /* of this file: a copy of the folder is another server */
    int64_t id2_end;
    uint64_t ring_bytes; /* of the stream bytes behind the head; byte O lies at O modulo this */
    uint64_t base;       /* the first offset that was ever put into the ring */
    int64_t role;
    _Atomic uint64_t end; /* one behind the last offset in the ring, or that is being put there */
    _Atomic unsigned current; /* of the marks; 0 or 1 */
    _Atomic unsigned is_valid;
    struct mark marks[2];
};
_Static_assert(sizeof(struct head) <= HEAD_BYTES, "the head fits its page");

struct resume {
    struct head *head;
    uint8_t *ring;
    size_t map_bytes;
    int64_t noted_offset, noted_db; /* at the AOF's present size */
    bool failed;                    /* said in the log; not tried again */
};

static struct resume *resume; /* one engine in a process */

static void read_boot(char boot[BOOT_BYTES]) {
    memset(boot, 0, BOOT_BYTES);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || !fgets(boot, BOOT_BYTES, file)) boot[0] = '\0';
    if (file) fclose(file);
}

/* ---- keeping ---- */

static void unmap(void) {
    if (resume && resume->head) (void)munmap(resume->head, resume->map_bytes);
    if (resume) resume->head = NULL;
}

static enum err map_file(uint64_t ring_bytes, struct why *why) {
    size_t bytes = HEAD_BYTES + (size_t)ring_bytes;
    struct stat about;
    int fd;
    enum err err = fs_open(RESUME_FILE, O_RDWR | O_CREAT | O_TRUNC, &fd, why);
    if (err) return err;
    int failed = fstat(fd, &about) ? errno : 0;
    if (!failed)
        failed = posix_fallocate(
            fd, 0, (off_t)bytes); /* a map of a file with holes dies when the disk is full */
    void *map = failed ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        err = why_set(why, ERR_IO, "%s: %s", RESUME_FILE, strerror(failed ? failed : errno));
    close(fd);
    if (err) return err;
    resume->head = map;
    resume->head->device = (uint64_t)about.st_dev;
    resume->head->inode = (uint64_t)about.st_ino;
    resume->ring = (uint8_t *)map + HEAD_BYTES;
    resume->map_bytes = bytes;
    return OK;
}

static int64_t db_of(const struct replication *r) {
    return r->link.client ? r->link.client->db->id : -1;
}

static void note_present(const struct replication *r) {
    resume->noted_offset = r->history.offset;
    resume->noted_db = db_of(r);
}

/* A fresh file for the history as it stands. */
static bool begin(struct engine *engine) {
    struct replication *r = replication_of(engine);
    struct why why;
    if (!resume) resume = NEW(struct resume);
    if (resume->failed) return false;
    unmap();
    uint64_t ring_bytes = (uint64_t)engine->settings.repl_backlog_size;
    if (ring_bytes < BACKLOG_BLOCK_SIZE) ring_bytes = BACKLOG_BLOCK_SIZE;
    if (map_file(ring_bytes, &why)) {
        engine_log(engine, '#', "Without a file for it, replicas cannot go on after a crash: %s",
                   why.text);
        resume->failed = true;
        return false;
    }
    struct head *head = resume->head;
    memcpy(head->magic, MAGIC, sizeof MAGIC);
    read_boot(head->boot);
    memcpy(head->id, r->history.id, sizeof head->id);
    memcpy(head->id2, r->history.id2, sizeof head->id2);
    head->id2_end = r->history.id2_end;
    head->ring_bytes = ring_bytes;
    head->role = engine->role;
    head->base = backlog_hot_begin(&r->backlog);
    atomic_store(&head->end, head->base);
    note_present(r);
    return true;
}

static bool is_about(const struct head *head, const struct engine *engine) {
    const struct history *history = &replication_of(engine)->history;
    return memcmp(head->id, history->id, sizeof head->id) == 0 &&
           memcmp(head->id2, history->id2, sizeof head->id2) == 0 &&
           head->id2_end == history->id2_end && head->role == (int64_t)engine->role;
}

/* What came to the stream since the last time. The end moves first: what the ring loses by it is
 * then never taken for whole. */
static void put_stream(const struct backlog *backlog) {
    struct head *head = resume->head;
    uint64_t at = atomic_load(&head->end);
    if (at < backlog->begin) at = head->base = backlog->begin; /* the backlog moved on without us */
    atomic_store(&head->end, backlog->end);
    while (at < backlog->end) {
        struct slice bytes = backlog_at(backlog, at);
        if (bytes.size == 0) { /* more came in one turn than stays in memory */
            at = head->base = backlog_hot_begin(backlog);
            continue;
        }
        uint64_t place = at % head->ring_bytes, room = head->ring_bytes - place;
        size_t size = bytes.size < room ? bytes.size : (size_t)room;
        memcpy(resume->ring + place, bytes.data, size);
        at += size;
    }
}

void resume_note(struct engine *engine, int64_t aof_seq, uint64_t size, uint64_t size_after) {
    struct replication *r = replication_of(engine);
    if (!r->backlog.exists || (engine->role == ROLE_REPLICA && !r->link.may_continue)) {
        resume_void(engine);
        return;
    }
    bool fresh = !resume || !resume->head || !is_about(resume->head, engine);
    if (fresh && !begin(engine)) return;
    struct head *head = resume->head;
    const struct mark *last = &head->marks[atomic_load(&head->current)];
    bool same = atomic_load(&head->is_valid) && last->aof_seq == aof_seq &&
                last->size_after == size_after && last->offset_after == r->history.offset &&
                atomic_load(&head->end) == r->backlog.end;
    if (same) return;
    put_stream(&r->backlog);
    if (fresh || size == size_after) note_present(r);
    unsigned next = 1 - atomic_load(&head->current);
    /* A fresh file does not know what the AOF's present size stands for: only the size to come
     * counts. */
    head->marks[next] = (struct mark){.aof_seq = aof_seq,
                                      .size = fresh ? size_after : size,
                                      .size_after = size_after,
                                      .offset = resume->noted_offset,
                                      .offset_after = r->history.offset,
                                      .db = resume->noted_db,
                                      .db_after = db_of(r)};
    atomic_store(&head->current, next);
    atomic_store(&head->is_valid, 1u);
    note_present(r);
}

void resume_void(struct engine *engine) {
    (void)engine;
    if (resume && resume->head) atomic_store(&resume->head->is_valid, 0u);
}

/* ---- going on ---- */

static bool is_whole(const struct head *head, const struct stat *about) {
    char boot[BOOT_BYTES];
    uint64_t bytes = (uint64_t)about->st_size;
    read_boot(boot);
    return head->device == (uint64_t)about->st_dev && head->inode == (uint64_t)about->st_ino &&
           memcmp(head->magic, MAGIC, sizeof MAGIC) == 0 && boot[0] &&
           memcmp(head->boot, boot, sizeof boot) == 0 && atomic_load(&head->is_valid) &&
           atomic_load(&head->current) <= 1 && head->ring_bytes >= BACKLOG_BLOCK_SIZE &&
           head->ring_bytes == bytes - HEAD_BYTES && head->id[40] == '\0' &&
           head->id2[40] == '\0' && history_is_id(slice_text(head->id));
}

/* The offset that this size of the AOF stands at, and the database; -1: not known. */
static int64_t offset_at(const struct head *head, int64_t aof_seq, uint64_t aof_size, int64_t *db) {
    const struct mark *mark = &head->marks[atomic_load(&head->current)];
    int64_t offset = -1;
    if (mark->aof_seq == aof_seq && mark->size == aof_size) {
        offset = mark->offset;
        *db = mark->db;
    }
    if (mark->aof_seq == aof_seq && mark->size_after == aof_size) {
        offset = mark->offset_after;
        *db = mark->db_after;
    }
    uint64_t end = atomic_load(&head->end);
    return offset >= 0 && (uint64_t)offset + 1 <= end && (uint64_t)offset + 1 >= head->base ? offset
                                                                                            : -1;
}

static void take_ring(struct replication *r, const struct head *head, const uint8_t *ring,
                      int64_t offset) {
    uint64_t end = atomic_load(&head->end), stop = (uint64_t)offset + 1;
    uint64_t at = end - head->base > head->ring_bytes ? end - head->ring_bytes : head->base;
    if (at > stop) at = stop;
    replication_drop_backlog(r);
    r->history.offset = (int64_t)at - 1;
    replication_need_backlog(r);
    while (at < stop) {
        uint64_t place = at % head->ring_bytes, size = head->ring_bytes - place;
        if (size > stop - at) size = stop - at;
        backlog_append(&r->backlog, slice_from(ring + place, (size_t)size));
        at += size;
    }
    r->history.offset = offset;
}

static void take(struct engine *engine, const struct head *head, const uint8_t *ring,
                 int64_t offset, int64_t db) {
    struct replication *r = replication_of(engine);
    take_ring(r, head, ring, offset);
    memcpy(r->history.id, head->id, sizeof r->history.id);
    memcpy(r->history.id2, head->id2, sizeof r->history.id2);
    r->history.id2_end = head->id2_end;
    if (engine->role == ROLE_REPLICA) {
        r->link.may_continue = true;
        obey_begin(&r->link, db);
    }
    engine_log(engine, '*', "The history %s goes on at offset %lld.", r->history.id,
               (long long)offset);
}

void resume_load(struct engine *engine, int64_t aof_seq, uint64_t aof_size, bool *took) {
    struct stat about;
    struct why why;
    *took = false;
    int fd = open(RESUME_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return;
    void *map = MAP_FAILED;
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > (off_t)HEAD_BYTES)
        map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) {
        const struct head *head = map;
        int64_t db = -1;
        int64_t offset = is_whole(head, &about) ? offset_at(head, aof_seq, aof_size, &db) : -1;
        *took = offset >= 0 && head->role == (int64_t)engine->role;
        if (*took) take(engine, head, (const uint8_t *)map + HEAD_BYTES, offset, db);
        (void)munmap(map, (size_t)about.st_size);
    }
    if (fs_remove(RESUME_FILE, &why)) engine_log(engine, '#', "%s", why.text);
}
