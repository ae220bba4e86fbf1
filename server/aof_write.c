/* aof_write.c -- from the buffer to the file, on a thread, and who waits for it. See aof.h.
 *
 *     append --> buffer --> [write, cut, next file] --> written --> replies, replicas
 *                           one at a time, in order
 *
 * So each write takes all that came during the one before: under appendfsync always one sync does
 * for all of them. What resume.h says of the file's two sizes holds because there is one write at a
 * time, and because replies and replicas wait for it.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"
#include "server/output_wait.h"
#include "server/pause.h"
#include "server/replication.h"
#include "server/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_MS 1000
#define LATE_MS_MAX 2000 /* as in Redis; then writes wait */
#define BUFFER_KEPT_BYTES ((size_t)1 << 20)

size_t aof_unwritten(const struct aof *aof) {
    return buf_size(&aof->buffer) + buf_size(&aof->write.bytes);
}

size_t aof_memory(const struct aof *aof) {
    return aof->buffer.cap + aof->write.bytes.cap;
}

static bool is_always(const struct aof *aof) {
    return aof->engine->settings.appendfsync == APPENDFSYNC_ALWAYS;
}

/* What was appended is not in the file, and goes there. */
static bool is_behind(const struct aof *aof) {
    return (aof->state != AOF_OFF || aof->stop.is_running) && aof->written != aof->appended;
}

/* Nobody waits: the disk is slow or broken, and everysec and no promise less. */
static bool is_leaking(const struct aof *aof) {
    bool in_sync = aof->job_given && aof->write.syncs && !aof->change.given;
    return (aof->is_late || aof->fault[0]) && !in_sync && !is_always(aof);
}

/* ---- the history, for a server that is killed ---- */

static void forget_history(struct aof *aof) {
    aof->noted_size = UINT64_MAX;
    resume_void(aof->engine);
}

/* Whatever dies from here on: the size of the file will say where in the stream it stands. COMING
 * bytes are about to be written, and they are ALL that there is. */
static void note_history(struct aof *aof, size_t coming, bool all) {
    const struct aof_file *file = aof_manifest_last_incr(&aof->manifest);
    if (aof->state != AOF_ON || is_leaking(aof) || !file || !all) {
        forget_history(aof);
        return;
    }
    uint64_t after = aof->file_size + coming;
    bool knows_present =
        aof->noted_size == aof->file_size && aof->noted_seq == (uint64_t)file->seq;
    resume_note(aof->engine, file->seq, knows_present ? aof->file_size : after, after);
    aof->noted_seq = (uint64_t)file->seq;
    aof->noted_size = after;
}

static uint64_t stream_end(const struct aof *aof) {
    return (uint64_t)replication_of(aof->engine)->history.offset + 1;
}

uint64_t aof_stream_limit(const struct aof *aof) {
    return is_behind(aof) && !is_leaking(aof) ? aof->stream_free : UINT64_MAX;
}

/* Replicas may have more, and our master may be told of more. */
static void tell_replication(struct aof *aof) {
    struct replication *r = replication_of(aof->engine);
    if (!r) return;
    r->fresh_bytes = r->fresh_bytes || r->replicas;
    replication_flush(r);
    if (!r->link.ack_waits || r->link.state != LINK_CONNECTED) return;
    r->link.ack_waits = false;
    obey_ack(&r->link);
}

/* ---- late ---- */

void aof_let_go(struct aof *aof) {
    output_release(aof->engine, aof->appended);
    tell_replication(aof);
}

void aof_end_choke(struct aof *aof) {
    if (!aof->is_choked) return;
    aof->is_choked = false;
    pause_end(aof->engine, PAUSE_DISK);
}

static void go_late(struct aof *aof) {
    aof->is_late = true;
    aof->times_late++;
    forget_history(aof);
    aof_let_go(aof);
}

static void caught_up(struct aof *aof) {
    if (aof->is_choked)
        engine_log(aof->engine, '*', "The disk has caught up with the AOF: writes go on");
    aof_end_choke(aof);
    aof->is_late = false;
    aof->behind_since_ms = 0;
}

bool aof_is_full(const struct aof *aof) {
    size_t limit = (size_t)aof->engine->settings.aof_buffer_memory;
    return aof->state != AOF_OFF && (aof->is_choked || aof_unwritten(aof) >= limit);
}

static void check_choke(struct aof *aof) {
    bool too_long = aof->is_late && aof->behind_since_ms &&
                    aof_now_ms(aof) - aof->behind_since_ms >= LATE_MS_MAX;
    bool too_much = aof_unwritten(aof) >= (size_t)aof->engine->settings.aof_buffer_memory;
    if (aof->is_choked || aof->fault[0] || !(too_long || too_much)) return;
    aof->is_choked = true;
    aof->times_choked++;
    pause_start(aof->engine, PAUSE_DISK, INT64_MAX, false);
    engine_log(aof->engine, '#',
               "The AOF's disk takes too long (%zu bytes wait): writes wait for it, too",
               aof_unwritten(aof));
}

static void on_patience(uv_timer_t *timer) {
    struct aof *aof = timer->data;
    int64_t patience_ms = aof->engine->settings.aof_patience_ms;
    engine_read_clock(aof->engine);
    if (!is_behind(aof) || aof->is_late || is_always(aof)) return;
    int64_t age_ms = aof_now_ms(aof) - aof->behind_since_ms;
    if (age_ms >= patience_ms)
        go_late(aof);
    else
        (void)uv_timer_start(timer, on_patience, (uint64_t)(patience_ms - age_ms), 0);
}

static void watch_patience(struct aof *aof) {
    int64_t left_ms = aof->behind_since_ms + aof->engine->settings.aof_patience_ms - aof_now_ms(aof);
    if (aof->is_late || is_always(aof)) return;
    if (left_ms <= 0)
        go_late(aof);
    else if (!uv_is_active((uv_handle_t *)&aof->patience) ||
             uv_timer_get_due_in(&aof->patience) > (uint64_t)left_ms)
        (void)uv_timer_start(&aof->patience, on_patience, (uint64_t)left_ms, 0);
}

void aof_hold_replies(struct aof *aof) {
    bool behind = is_behind(aof);
    if (behind && !aof->behind_since_ms) aof->behind_since_ms = aof_now_ms(aof);
    if (behind && aof->state != AOF_OFF) check_choke(aof);
    if (behind && !is_leaking(aof)) watch_patience(aof);
    output_hold(aof->engine, behind && !is_leaking(aof) ? aof->appended : 0);
}

/* ---- writing ---- */

static void write_work(struct disk_job *job) {
    struct aof_write *w = (struct aof_write *)job;
    struct why cut;
    w->err = w->sync_err = OK;
    if (w->sleep_us > 0) (void)usleep((useconds_t)w->sleep_us);
    if (w->must_cut) w->err = fs_truncate(w->fd, w->at, "AOF", &w->why);
    if (w->err) return;
    w->err = fs_write(w->fd, buf_slice(&w->bytes), "AOF", &w->why);
    /* What was written in part would be a broken command: cut it off, so that the whole can come
     * again. */
    w->must_cut = w->err && !w->syncs && fs_truncate(w->fd, w->at, "AOF", &cut);
    if (!w->err && w->syncs) w->sync_err = fs_sync(w->fd, "AOF", &w->why);
}

static void give_write(struct aof *aof) {
    struct aof_write *w = &aof->write;
    w->fd = aof->fd;
    w->at = aof->file_size;
    w->syncs = is_always(aof);
    w->must_cut = aof->must_cut;
    w->sleep_us = aof->flush_sleep_us;
    aof->given_ms = aof_now_ms(aof);
    aof->job_given = true;
    disk_thread_give(aof->thread, &w->job);
}

static void take_bytes(struct aof *aof) {
    struct aof_write *w = &aof->write;
    bool all = aof->change.kind == CHANGE_NONE ||
               aof->change.bytes_before == buf_size(&aof->buffer);
    if (all) {
        struct buf empty = w->bytes;
        w->bytes = aof->buffer;
        aof->buffer = empty;
    } else {
        buf_add(&w->bytes, slice_take(buf_slice(&aof->buffer), aof->change.bytes_before));
        buf_consume(&aof->buffer, aof->change.bytes_before);
    }
    aof->change.bytes_before = 0;
    w->stream_end = all ? stream_end(aof) : aof->change.stream_end;
    note_history(aof, buf_size(&w->bytes), all);
}

/* What could not be promised is not answered, and nothing can be done here. */
static void end_process(struct aof *aof, const char *what, const struct why *why) {
    engine_log(aof->engine, '#', "%s: %s. Exiting...", what, why->text);
    exit(1);
}

/* The system's reason alone, as in Redis. */
static const char *reason_of(const struct why *why) {
    const char *name = strstr(why->text, "AOF: ");
    return name ? name + 5 : why->text;
}

static void write_failed(struct aof *aof, const struct why *why) {
    if (aof->write.syncs)
        end_process(aof,
                    "Can't recover from AOF write error when the AOF fsync policy is 'always'", why);
    if (!aof->fault[0])
        engine_log(aof->engine, '#', "Error writing to the AOF file: %s", why->text);
    (void)snprintf(aof->fault, sizeof aof->fault, "%s", reason_of(why));
    if (aof->write.must_cut && !aof->must_cut)
        engine_log(aof->engine, '#',
                   "Could not remove a short write from the AOF yet. Until that is done nothing "
                   "is written behind it.");
    aof->must_cut = aof->write.must_cut;
    aof->last_retry_ms = aof_now_ms(aof);
    forget_history(aof);
    aof_end_choke(aof);
    if (is_always(aof)) /* it was not when this was given */
        end_process(aof,
                    "Can't recover from AOF write error when the AOF fsync policy is 'always'", why);
    aof_let_go(aof);
}

static void count_written(struct aof *aof) {
    struct aof_write *w = &aof->write;
    size_t size = buf_size(&w->bytes);
    if (aof->fault[0])
        engine_log(aof->engine, '#', "AOF write error looks solved. The server can write again.");
    aof->fault[0] = '\0';
    aof->must_cut = false;
    aof->file_size += size;
    aof->written += size;
    aof->stream_free = w->stream_end;
    aof->behind_since_ms = aof->given_ms; /* what is left came after that */
    buf_clear(&w->bytes);
    buf_shrink(&w->bytes, BUFFER_KEPT_BYTES);
    if (w->syncs) {
        aof->last_sync_ms = aof_now_ms(aof);
        aof_note_synced(aof, aof->written);
    }
}

static void go_on_after(struct aof *aof) {
    if (aof->written == aof->appended) caught_up(aof);
    output_release(aof->engine, aof->written);
    aof_go_on(aof);
    tell_replication(aof);
    aof_sync_go_on(aof);
}

static void end_write(struct aof *aof) {
    struct aof_write *w = &aof->write;
    if (w->sync_err) { /* the page cache may serve what the disk never got */
        char *path = aof_doubt_path(aof);
        aof_doubt_mark(path);
        mem_free(path);
        end_process(
            aof, "Can't persist AOF for fsync error when the AOF fsync policy is 'always'", &w->why);
    }
    aof->job_given = false;
    if (w->err) {
        write_failed(aof, &w->why);
        return;
    }
    count_written(aof);
    go_on_after(aof);
}

static void write_done(struct disk_job *job) {
    struct aof *aof = ((struct aof_write *)job)->aof;
    engine_read_clock(aof->engine);
    if (!aof->stop.is_running) end_write(aof);
}

/* ---- another file ---- */

/* The file before may not be on the disk yet. If a power cut takes its end, what this file has must
 * not be taken for what came next: so it begins with the size that the other one had. */
static enum err write_beginning(int fd, uint64_t size_before, uint64_t *size, struct why *why) {
    struct buf line = {0};
    buf_printf(&line, AOF_FOLLOWS "%llu\r\n", (unsigned long long)size_before);
    *size = buf_size(&line);
    enum err err = fs_write(fd, buf_slice(&line), "AOF", why);
    buf_close(&line);
    return err;
}

static void next_file_work(struct aof_change *change) {
    change->sync_err = fs_sync(change->fd, "AOF", &change->sync_why);
    change->err = fs_make_dirs(change->folder, &change->why);
    if (change->err) return;
    change->err = fs_open(change->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, &change->next_fd,
                          &change->why);
    if (change->err) return;
    change->err =
        write_beginning(change->next_fd, change->size, &change->next_size, &change->why);
    if (!change->err)
        change->err = aof_put_manifest(change->manifest_path, &change->manifest, &change->why);
    (void)close(change->err ? change->next_fd : change->fd);
}

static void change_work(struct disk_job *job) {
    struct aof_change *change = (struct aof_change *)job;
    change->err = change->sync_err = OK;
    if (change->kind == CHANGE_NEXT_FILE)
        next_file_work(change);
    else
        change->err = fs_truncate(change->fd, 0, "AOF", &change->why);
}

static void close_change(struct aof_change *change) {
    aof_manifest_close(&change->manifest);
    mem_free(change->folder);
    mem_free(change->path);
    mem_free(change->manifest_path);
    change->folder = change->path = change->manifest_path = NULL;
    change->kind = CHANGE_NONE;
    change->given = false;
    change->bytes_before = 0;
}

static void take_change(struct aof *aof) {
    struct aof_change *change = &aof->change;
    if (change->kind == CHANGE_NEXT_FILE) {
        aof_manifest_close(&aof->manifest);
        aof->manifest = change->manifest;
        change->manifest = (struct aof_manifest){0};
        aof->fd = change->next_fd;
        aof->file_size = change->next_size;
        if (!change->sync_err) aof_note_synced(aof, aof->written);
    } else {
        aof->file_size = 0;
    }
    aof->must_cut = false;
}

static void end_change(struct aof *aof) {
    struct aof_change *change = &aof->change;
    aof->job_given = false;
    if (change->sync_err) aof_sync_failed(aof, &change->sync_why);
    if (change->sync_err && is_always(aof))
        end_process(aof,
                    "Can't persist AOF for fsync error when the AOF fsync policy is 'always'",
                    &change->sync_why);
    enum err err = change->err;
    struct why why = change->why;
    if (!err) take_change(aof);
    close_change(change);
    aof_rewrite_changed(aof, err, &why);
    go_on_after(aof);
}

static void change_done(struct disk_job *job) {
    struct aof *aof = ((struct aof_change *)job)->aof;
    engine_read_clock(aof->engine);
    if (!aof->stop.is_running) end_change(aof);
}

void aof_end_given(struct aof *aof, bool write, bool change) {
    if (write) end_write(aof);
    if (change) end_change(aof);
    aof->fd = -1; /* closed with the stop */
}

void aof_last_write_failed(struct aof *aof, bool is_always_on, const struct why *why) {
    if (is_always_on)
        end_process(aof,
                    "Can't recover from AOF write error when the AOF fsync policy is 'always'", why);
    engine_log(aof->engine, '#', "Error writing to the AOF file: %s", why->text);
}

void aof_change_file(struct aof *aof, enum aof_change_kind kind) {
    struct aof_change *change = &aof->change;
    ASSERT(change->kind == CHANGE_NONE);
    change->kind = kind;
    aof->selected_db = -1;
    if (kind == CHANGE_EMPTY_FILE) { /* the base that is begun now has it */
        aof->written += buf_size(&aof->buffer);
        buf_clear(&aof->buffer);
    } else {
        aof_manifest_copy(&change->manifest, &aof->manifest);
        const struct aof_file *incr =
            aof_manifest_new_incr(&change->manifest, aof->engine->settings.appendfilename);
        change->folder = mem_strdup(aof->engine->settings.appenddirname);
        change->path = aof_path(aof, incr->name);
        change->manifest_path = aof_manifest_path(aof);
    }
    change->bytes_before = buf_size(&aof->buffer);
    change->stream_end = stream_end(aof);
}

void aof_change_cancel(struct aof *aof) {
    if (aof->change.kind != CHANGE_NONE && !aof->change.given) close_change(&aof->change);
}

static void give_change(struct aof *aof) {
    struct aof_change *change = &aof->change;
    change->fd = aof->fd;
    change->size = aof->file_size;
    change->given = aof->job_given = true;
    disk_thread_give(aof->thread, &change->job);
}

/* ---- what is next ---- */

void aof_go_on(struct aof *aof) {
    if (aof->state == AOF_OFF || aof->fd < 0 || aof->job_given) return;
    bool is_change_next = aof->change.kind != CHANGE_NONE && aof->change.bytes_before == 0;
    if (aof->fault[0] && aof_now_ms(aof) - aof->last_retry_ms < RETRY_MS && !aof->is_last_try)
        return;
    if (buf_size(&aof->write.bytes) == 0 && !is_change_next && buf_size(&aof->buffer))
        take_bytes(aof);
    if (buf_size(&aof->write.bytes))
        give_write(aof);
    else if (is_change_next)
        give_change(aof);
    else
        note_history(aof, 0, true); /* the stream may have moved on by itself */
}

void aof_write_tick(struct aof *aof) {
    aof_go_on(aof);
    if (aof->written != aof->appended) check_choke(aof);
}

void aof_flush(struct aof *aof) {
    if (!aof->fault[0]) aof_go_on(aof);
}

void aof_write_all(struct aof *aof) {
    if (aof->state == AOF_OFF) return;
    for (;;) {
        disk_thread_drain(aof->thread);
        bool is_failed = aof->is_last_try && aof->fault[0];
        if ((aof->written == aof->appended && aof->change.kind == CHANGE_NONE) || is_failed) break;
        aof->is_last_try = true;
        aof_go_on(aof);
    }
    aof->is_last_try = false;
}

void aof_set_flush_sleep(struct aof *aof, int64_t sleep_us) {
    aof->flush_sleep_us = sleep_us;
}

void aof_write_open(struct aof *aof) {
    aof->thread = disk_thread_open(aof->engine->loop);
    aof->write.job = (struct disk_job){.work = write_work, .done = write_done};
    aof->change.job = (struct disk_job){.work = change_work, .done = change_done};
    aof->write.aof = aof->change.aof = aof;
    aof->noted_size = UINT64_MAX;
    (void)uv_timer_init(aof->engine->loop, &aof->patience);
    uv_unref((uv_handle_t *)&aof->patience);
    aof->patience.data = aof;
}
