/* aof.c -- append what commands did, and see that it gets to the disk. See aof.h. */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/aof_internal.h"
#include "server/drawbridge.h"
#include "server/resume.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_MS 1000
#define SYNC_EVERY_MS 1000
#define BUFFER_KEPT_BYTES ((size_t)1 << 20)

bool aof_is_on(const struct aof *aof) {
    return aof->state != AOF_OFF;
}
uint64_t aof_appended(const struct aof *aof) {
    return aof->appended;
}
uint64_t aof_synced(const struct aof *aof) {
    return aof->synced;
}

const char *aof_fault(const struct aof *aof) {
    if (aof->state == AOF_OFF) return NULL;
    if (aof->fault[0]) return aof->fault;
    return aof->sync_fault[0] ? aof->sync_fault : NULL;
}

/* ---- the sink ---- */

static bool is_left_out(int argc, const struct slice *argv) {
    if (argc != 3) return false;
    if (slice_equal_nocase(argv[0], SLICE("spublish"))) return true;
    return slice_equal_nocase(argv[0], SLICE("publish")) &&
           !slice_equal(argv[1], SLICE(CHECKPOINT_CHANNEL));
}

static void put_stamp(struct aof *aof) {
    int64_t now_s = aof->engine->now_ms / 1000;
    if (!aof->engine->settings.aof_timestamp_enabled || now_s == aof->stamped_s) return;
    aof->stamped_s = now_s;
    buf_printf(&aof->buffer, "#TS:%lld\r\n", (long long)now_s);
}

static void put_select(struct aof *aof, int db) {
    char number[24];
    int size = snprintf(number, sizeof number, "%d", db);
    struct slice words[] = {SLICE("SELECT"), slice_from(number, (size_t)size)};
    resp_write_command(&aof->buffer, 2, words);
    aof->selected_db = db;
}

/* SELECT stands before MULTI, and a block of nothing but left out messages is left out whole. */
static void append(void *ctx, int db, int argc, const struct slice *argv) {
    struct aof *aof = ctx;
    if (aof->state == AOF_OFF || is_left_out(argc, argv)) return;
    bool is_multi = db < 0 && slice_equal_nocase(argv[0], SLICE("MULTI"));
    if (is_multi || (db < 0 && aof->multi_pending)) {
        aof->multi_pending = is_multi;
        return;
    }
    size_t before = buf_size(&aof->buffer);
    put_stamp(aof);
    if (db >= 0 && db != aof->selected_db) put_select(aof, db);
    if (aof->multi_pending) resp_write_words(&aof->buffer, "MULTI", NULL);
    aof->multi_pending = false;
    resp_write_command(&aof->buffer, (size_t)argc, argv);
    aof->appended += buf_size(&aof->buffer) - before;
}

/* The kernel tells of what it could not write once, and takes it for written from then on: that a
 * later sync works says nothing of what came before. Only a rewrite that begins now brings all of
 * it to the disk again; until it is done nothing counts as synced, and writes are refused. */
static void sync_failed(struct aof *aof, const struct why *why) {
    engine_log(aof->engine, '#',
               "Fail to fsync the AOF file: %s. It is rewritten, as nobody knows what of it is on "
               "the disk",
               why->text);
    (void)snprintf(aof->sync_fault, sizeof aof->sync_fault, "%s", why->text);
    aof->doubted_until = aof->rewrites + 1;
    aof->rewrite_scheduled = true;
}

void aof_is_rewritten(struct aof *aof) {
    if (aof->rewrites >= aof->doubted_until) aof->doubted_until = 0;
}

void aof_use_file(struct aof *aof, int fd, uint64_t size) {
    struct why why;
    ASSERT(buf_size(&aof->buffer) == 0 || aof->fd < 0);
    if (aof->fd >= 0) {
        if (aof->old_fd >= 0) { /* two files in one second: rare enough to wait for the disk */
            if (fs_sync(aof->old_fd, "AOF", &why)) sync_failed(aof, &why);
            close(aof->old_fd);
        }
        aof->old_fd = aof->fd;
    }
    aof->fd = fd;
    aof->file_size = size;
    aof->selected_db = -1;
}

/* ---- syncing ---- */

struct sync_job {
    uv_work_t work;
    struct aof *aof;
    int fd, old_fd; /* duplicates; closed here */
    uint64_t upto;
    enum err err;
    struct why why;
};

static void sync_work(uv_work_t *work) {
    struct sync_job *job = work->data;
    if (job->old_fd >= 0) job->err = fs_sync(job->old_fd, "AOF", &job->why);
    if (!job->err) job->err = fs_sync(job->fd, "AOF", &job->why);
}

static void note_synced(struct aof *aof, uint64_t upto) {
    if (aof->doubted_until) return;
    if (aof->state == AOF_ON && upto > aof->synced) {
        aof->synced = upto;
        drawbridge_check_waiting(aof->engine);
    }
    aof->sync_fault[0] = '\0';
}

static void sync_done(uv_work_t *work, int status) {
    struct sync_job *job = work->data;
    struct aof *aof = job->aof;
    (void)status;
    close(job->fd);
    if (job->old_fd >= 0) close(job->old_fd);
    aof->sync_running = false;
    if (!job->err)
        note_synced(aof, job->upto);
    else if (aof->state != AOF_OFF)
        sync_failed(aof, &job->why);
    mem_free(job);
    if (aof->sync_asked && aof->state != AOF_OFF) aof_sync_soon(aof);
}

void aof_sync_soon(struct aof *aof) {
    if (aof->state == AOF_OFF) return;
    aof->sync_asked = true;
    if (aof->sync_running) return;
    struct sync_job *job = NEW(struct sync_job);
    *job = (struct sync_job){
        .aof = aof, .fd = dup(aof->fd), .old_fd = aof->old_fd, .upto = aof->written};
    job->work.data = job;
    if (job->fd < 0) { /* no descriptors left: try at the next tick */
        mem_free(job);
        return;
    }
    aof->old_fd = -1;
    aof->sync_asked = false;
    aof->sync_running = true;
    aof->last_sync_ms = (int64_t)(aof->engine->now_us / 1000);
    (void)uv_queue_work(aof->engine->loop, &job->work, sync_work, sync_done);
}

/* appendfsync always: no answer before the disk has it. */
static void sync_now(struct aof *aof) {
    struct why why;
    enum err err = OK;
    if (aof->old_fd >= 0) {
        err = fs_sync(aof->old_fd, "AOF", &why);
        close(aof->old_fd);
        aof->old_fd = -1;
    }
    if (!err) err = fs_sync(aof->fd, "AOF", &why);
    if (err) {
        engine_log(aof->engine, '#',
                   "Can't persist AOF for fsync error when the AOF fsync policy is 'always': %s. "
                   "Exiting...",
                   why.text);
        exit(1);
    }
    aof->last_sync_ms = (int64_t)(aof->engine->now_us / 1000);
    note_synced(aof, aof->written);
}

/* ---- writing ---- */

/* What was written in part would be a broken command: cut it off, so that the whole can come again.
 */
static void write_failed(struct aof *aof, const struct why *why) {
    if (aof->engine->settings.appendfsync == APPENDFSYNC_ALWAYS) {
        engine_log(aof->engine, '#',
                   "Can't recover from AOF write error when the AOF fsync policy is 'always': %s. "
                   "Exiting...",
                   why->text);
        exit(1);
    }
    if (!aof->fault[0])
        engine_log(aof->engine, '#', "Error writing to the AOF file: %s", why->text);
    (void)snprintf(aof->fault, sizeof aof->fault, "%s", why->text);
    resume_void(aof->engine);
    aof->last_retry_ms = (int64_t)(aof->engine->now_us / 1000);
    struct why cut;
    if (fs_truncate(aof->fd, aof->file_size, "AOF", &cut))
        engine_log(aof->engine, '#',
                   "Could not remove a short write from the AOF: %s. Redis may refuse to load it.",
                   cut.text);
}

/* Whatever dies from here on: the size of the file will say where in the stream it stands. */
static void note_history(struct aof *aof) {
    const struct aof_file *file = aof_manifest_last_incr(&aof->manifest);
    if (aof->state != AOF_ON || aof->fault[0] || !file)
        resume_void(aof->engine);
    else
        resume_note(aof->engine, file->seq, aof->file_size,
                    aof->file_size + buf_size(&aof->buffer));
}

void aof_set_flush_sleep(struct aof *aof, int64_t sleep_us) {
    aof->flush_sleep_us = sleep_us;
}

void aof_flush(struct aof *aof) {
    size_t size = buf_size(&aof->buffer);
    if (size == 0 || aof->fd < 0) return;
    struct why why;
    note_history(aof);
    if (aof->flush_sleep_us > 0) (void)usleep((useconds_t)aof->flush_sleep_us);
    if (fs_write(aof->fd, buf_slice(&aof->buffer), "AOF", &why)) {
        write_failed(aof, &why);
        return;
    }
    if (aof->fault[0])
        engine_log(aof->engine, '#', "AOF write error looks solved. The server can write again.");
    aof->fault[0] = '\0';
    aof->file_size += size;
    aof->written += size;
    buf_consume(&aof->buffer, size);
    buf_shrink(&aof->buffer, BUFFER_KEPT_BYTES);
    if (aof->engine->settings.appendfsync == APPENDFSYNC_ALWAYS) sync_now(aof);
}

static void before_reply(struct engine *engine) {
    struct aof *aof = persistence_of(engine)->aof;
    if (!aof->fault[0]) aof_flush(aof);
    if (aof->state != AOF_OFF) note_history(aof); /* the stream may have moved on by itself */
}

static void tick(struct engine *engine) {
    struct aof *aof = persistence_of(engine)->aof;
    int64_t now_ms = (int64_t)(engine->now_us / 1000);
    if (aof->state == AOF_OFF) return;
    if (!aof->fault[0] || now_ms - aof->last_retry_ms >= RETRY_MS) aof_flush(aof);
    bool due = engine->settings.appendfsync == APPENDFSYNC_EVERYSEC && aof->written > aof->synced &&
               now_ms - aof->last_sync_ms >= SYNC_EVERY_MS;
    if (due || aof->sync_asked) aof_sync_soon(aof);
    aof_rewrite_tick(aof);
}

/* ---- on and off ---- */

void aof_stop(struct aof *aof) {
    if (aof->state == AOF_OFF) return;
    if (!aof->is_last_stop) resume_void(aof->engine);
    struct why why;
    aof_rewrite_abort(aof);
    aof_flush(aof);
    if (aof->old_fd >= 0) {
        if (fs_sync(aof->old_fd, "AOF", &why))
            engine_log(aof->engine, '#', "Fail to fsync the AOF file: %s", why.text);
        close(aof->old_fd);
    }
    if (fs_sync(aof->fd, "AOF", &why))
        engine_log(aof->engine, '#', "Fail to fsync the AOF file: %s", why.text);
    else if (aof->state == AOF_ON)
        aof->synced = aof->written;
    close(aof->fd);
    aof->fd = aof->old_fd = -1;
    buf_close(&aof->buffer);
    aof->written = aof->appended;
    aof->state = AOF_OFF;
    aof->fault[0] = aof->sync_fault[0] = '\0';
    aof->doubted_until = 0;
    propagate_detach(aof->engine, aof);
}

static bool at_shutdown(struct engine *engine, unsigned flags, struct why *why) {
    struct aof *aof = persistence_of(engine)->aof;
    if (aof->state == AOF_WAITING && !(flags & SHUTDOWN_FORCE)) {
        (void)why_set(why, ERR_STATE, "the first base file of the AOF is still being written");
        engine_log(engine, '#', "Writing initial AOF, can't exit.");
        return true;
    }
    if (aof->state != AOF_OFF) {
        engine_log(engine, '*', "Calling fsync() on the AOF file.");
        aof->is_last_stop = true;
        aof_stop(aof);
    }
    return false;
}

static uint64_t current_size(const struct aof *aof) {
    return aof->base_size + aof->file_size + buf_size(&aof->buffer);
}

void aof_info(const struct aof *aof, struct buf *out) {
    bool rewriting = aof_is_rewriting(aof);
    buf_printf(
        out,
        "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:%d\r\n"
        "aof_last_rewrite_time_sec:%lld\r\naof_current_rewrite_time_sec:%lld\r\naof_last_bgrewrite_"
        "status:%s\r\n"
        "aof_rewrites:%u\r\naof_rewrites_consecutive_failures:%u\r\naof_last_write_status:%s\r\n"
        "aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n",
        aof->state != AOF_OFF, rewriting, aof->rewrite_scheduled,
        (long long)(aof->last_rewrite_took_ms < 0 ? -1 : aof->last_rewrite_took_ms / 1000),
        (long long)(rewriting ? (aof->engine->now_ms - aof->rewrite_began_ms) / 1000 : -1),
        aof->last_rewrite_ok ? "ok" : "err", aof->rewrites, aof->failures,
        aof_fault(aof) ? "err" : "ok");
    if (aof->state == AOF_OFF) return;
    buf_printf(out,
               "aof_current_size:%llu\r\naof_base_size:%llu\r\naof_pending_rewrite:0\r\naof_buffer_"
               "length:%zu\r\n"
               "aof_pending_bio_fsync:%d\r\naof_delayed_fsync:0\r\n",
               (unsigned long long)current_size(aof), (unsigned long long)aof->base_size,
               buf_size(&aof->buffer), aof->sync_running);
}

struct aof *aof_open(struct engine *engine) {
    struct aof *aof = NEW(struct aof);
    aof->engine = engine;
    aof->fd = aof->old_fd = -1;
    aof->selected_db = -1;
    aof->last_rewrite_ok = true;
    aof->last_rewrite_took_ms = -1;
    engine_hook_add(engine, HOOK_BEFORE_REPLY, before_reply);
    engine_hook_add(engine, HOOK_TICK, tick);
    engine_shutdown_add(engine, at_shutdown);
    return aof;
}

/* From OFF to STATE, with fd open already. */
void aof_attach(struct aof *aof, enum aof_state state) {
    static struct propagate_sink sink; /* one AOF in a process */
    sink = (struct propagate_sink){.ctx = aof, .op = append, .kind = PROPAGATE_AOF};
    if (aof->state == AOF_OFF) propagate_attach(aof->engine, &sink);
    aof->state = state;
    aof->last_sync_ms = (int64_t)(aof->engine->now_us / 1000);
}
