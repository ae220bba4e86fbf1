/* aof_sync.c -- see that the AOF gets to the disk under everysec, and what a failed sync means. See
 * aof.h.
 *
 * The kernel tells of what it could not write once, and takes it for written from then on: that a
 * later sync works says nothing of what came before. What is in memory is right, so only a rewrite
 * that begins now brings all of it to the disk again; until it is done nothing counts as synced, and
 * writes are refused.
 *
 * A process that ends before that (under appendfsync always at once) leaves a mark beside the
 * files: as long as the machine runs, its page cache shows a file as if it were on the disk. The
 * next start of this boot then makes a new base of what it loaded, before it serves anybody.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"
#include "server/drawbridge.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SYNC_EVERY_MS 1000

/* ---- the mark ---- */

#define BOOT_BYTES_MAX 64

char *aof_doubt_path(const struct aof *aof) {
    struct buf path = {0};
    buf_printf(&path, "%s/%s.doubted", aof->engine->settings.appenddirname,
               aof->engine->settings.appendfilename);
    char *copy = mem_strdup(buf_text(&path));
    buf_close(&path);
    return copy;
}

static void read_boot(struct buf *boot) {
    struct why why;
    if (fs_read_file("/proc/sys/kernel/random/boot_id", BOOT_BYTES_MAX, boot, &why))
        buf_clear(boot);
}

/* It need not be synced: with the power the page cache goes, too. */
void aof_doubt_mark(const char *path) {
    struct why why;
    struct buf boot = {0};
    int fd;
    read_boot(&boot);
    if (fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, &fd, &why) == OK) {
        /* An empty mark counts as one of this boot. */
        if (fs_write(fd, buf_slice(&boot), path, &why)) (void)ftruncate(fd, 0);
        close(fd);
    }
    buf_close(&boot);
}

bool aof_doubt_found(const struct aof *aof) {
    char *path = aof_doubt_path(aof);
    struct buf mark = {0}, boot = {0};
    struct why why;
    enum err err = fs_read_file(path, BOOT_BYTES_MAX, &mark, &why);
    read_boot(&boot);
    bool is_other_boot = !err && buf_size(&mark) && buf_size(&boot) &&
                         !slice_equal(buf_slice(&mark), buf_slice(&boot));
    if (is_other_boot && fs_remove(path, &why)) engine_log(aof->engine, '#', "%s", why.text);
    buf_close(&mark);
    buf_close(&boot);
    mem_free(path);
    return err != ERR_ABSENT && !is_other_boot;
}

/* ---- doubt ---- */

struct mark_job {
    struct disk_job job;
    char *path;
    bool is_set;
};

static void mark_work(struct disk_job *job) {
    struct mark_job *mark = (struct mark_job *)job;
    struct why why;
    if (mark->is_set)
        aof_doubt_mark(mark->path);
    else if (fs_remove(mark->path, &why))
        (void)why; /* the next start makes a base more than it needs to */
}

static void mark_done(struct disk_job *job) {
    struct mark_job *mark = (struct mark_job *)job;
    mem_free(mark->path);
    mem_free(mark);
}

/* In order, whatever thread heard of a failure first. */
static void set_mark(struct aof *aof, bool is_set) {
    struct mark_job *mark = NEW(struct mark_job);
    *mark = (struct mark_job){.job = {.work = mark_work, .done = mark_done},
                              .path = aof_doubt_path(aof),
                              .is_set = is_set};
    disk_thread_give(aof->thread, &mark->job);
}

void aof_sync_failed(struct aof *aof, const struct why *why) {
    engine_log(aof->engine, '#',
               "Fail to fsync the AOF file: %s. It is rewritten, as nobody knows what of it is on "
               "the disk",
               why->text);
    const char *reason = strstr(why->text, "AOF: "); /* the system's alone, as in Redis */
    (void)snprintf(aof->sync_fault, sizeof aof->sync_fault, "%s", reason ? reason + 5 : why->text);
    aof->doubted_until = aof->rewrites + 1;
    aof->rewrite_scheduled = true;
    set_mark(aof, true);
}

void aof_is_rewritten(struct aof *aof) {
    if (aof->rewrites < aof->doubted_until) return;
    aof->doubted_until = 0;
    set_mark(aof, false);
}

void aof_note_synced(struct aof *aof, uint64_t upto) {
    if (aof->doubted_until) return;
    if (aof->state == AOF_ON && upto > aof->synced) {
        aof->synced = upto;
        drawbridge_check_waiting(aof->engine);
    }
    aof->sync_fault[0] = '\0';
}

/* ---- syncing beside the writes ---- */

struct sync_job {
    uv_work_t work;
    struct aof *aof;
    int fd; /* a duplicate; closed here */
    uint64_t upto;
    char *mark;
    enum err err;
    struct why why;
};

static void sync_work(uv_work_t *work) {
    struct sync_job *job = work->data;
    job->err = fs_sync(job->fd, "AOF", &job->why);
    if (job->err) aof_doubt_mark(job->mark);
    close(job->fd);
}

static void sync_done(uv_work_t *work, int status) {
    struct sync_job *job = work->data;
    struct aof *aof = job->aof;
    (void)status;
    engine_read_clock(aof->engine);
    aof->sync_running = false;
    if (!job->err)
        aof_note_synced(aof, job->upto);
    else if (aof->state != AOF_OFF)
        aof_sync_failed(aof, &job->why);
    bool more = aof->sync_wanted > job->upto && aof->written > job->upto;
    mem_free(job->mark);
    mem_free(job);
    if (more) aof_sync_go_on(aof);
}

static void start_sync(struct aof *aof) {
    if (aof->sync_running || aof->fd < 0) return;
    struct sync_job *job = NEW(struct sync_job);
    *job = (struct sync_job){
        .aof = aof, .fd = dup(aof->fd), .upto = aof->written, .mark = aof_doubt_path(aof)};
    job->work.data = job;
    if (job->fd < 0) { /* no descriptors left: try at the next tick */
        mem_free(job->mark);
        mem_free(job);
        return;
    }
    aof->sync_running = true;
    aof->last_sync_ms = aof_now_ms(aof);
    (void)uv_queue_work(aof->engine->loop, &job->work, sync_work, sync_done);
}

void aof_sync_go_on(struct aof *aof) {
    if (aof->state != AOF_OFF && aof->sync_wanted > aof->synced && aof->written > aof->synced &&
        !aof->doubted_until)
        start_sync(aof);
}

void aof_sync_soon(struct aof *aof) {
    if (aof->state == AOF_OFF) return;
    aof->sync_wanted = aof->appended;
    aof_sync_go_on(aof);
}

void aof_sync_tick(struct aof *aof) {
    bool due = aof->engine->settings.appendfsync == APPENDFSYNC_EVERYSEC &&
               aof->written > aof->synced && aof_now_ms(aof) - aof->last_sync_ms >= SYNC_EVERY_MS;
    if (due)
        start_sync(aof);
    else
        aof_sync_go_on(aof);
}
