/* aof_switch.c -- CONFIG SET appendonly, without clients that wait for the disk. See aof.h.
 *
 *     no   from now on nothing is appended; what was, a sync and the closing are one job of the disk's
 *          thread, behind what it has. Whoever set it is answered when that is done; replies and
 *          replicas wait for the file meanwhile as they do for any write.
 *     yes  a job makes the folder and opens the file, before any option is touched; then the command
 *          is executed as if it came only now, so that it has the answer that it has in Redis.
 *
 * Until the job of `no` is done what the thread had before it (a write, another file) belongs to that
 * job: their own ends are put off until then.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"
#include "server/block.h"
#include "server/client.h"
#include "server/config.h"
#include "server/drawbridge.h"
#include "server/reply.h"
#include "server/resume.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- no ---- */

/* All of BYTES behind the first SIZE bytes, or nothing. */
static enum err put(struct aof_stop *stop, struct slice bytes, bool must_cut) {
    struct why ignored;
    enum err err = must_cut ? fs_truncate(stop->fd, stop->size, "AOF", &stop->why) : OK;
    if (err) return err;
    err = fs_write(stop->fd, bytes, "AOF", &stop->why);
    if (!err)
        stop->size += bytes.size;
    else if (fs_truncate(stop->fd, stop->size, "AOF", &ignored))
        (void)ignored; /* a load cuts off what is not whole */
    return err;
}

static void stop_work(struct disk_job *job) {
    struct aof_stop *stop = (struct aof_stop *)job;
    const struct aof_write *w = &stop->aof->write;
    const struct aof_change *change = &stop->aof->change;
    stop->err = OK;
    if (stop->has_write && !w->err)
        stop->size += buf_size(&w->bytes);
    else if (buf_size(&w->bytes))
        stop->err = put(stop, buf_slice(&w->bytes), stop->has_write ? w->must_cut : stop->must_cut);
    if (stop->has_change && !change->err) {
        bool is_next = change->kind == CHANGE_NEXT_FILE;
        if (is_next) stop->fd = change->next_fd;
        stop->size = is_next ? change->next_size : 0;
    }
    if (!stop->err && buf_size(&stop->rest)) stop->err = put(stop, buf_slice(&stop->rest), false);
    stop->sync_err = fs_sync(stop->fd, "AOF", &stop->sync_why);
    close(stop->fd);
}

static const struct block_how stopping = {.type = -1};

static void answer_stopped(struct aof *aof) {
    for (struct client *c = aof->engine->clients, *next; c; c = next) {
        next = c->next;
        if (!block_waits_by(c, &stopping)) continue;
        reply_ok(c);
        block_end(c);
    }
}

static void stop_done(struct disk_job *job) {
    struct aof_stop *stop = (struct aof_stop *)job;
    struct aof *aof = stop->aof;
    engine_read_clock(aof->engine);
    stop->is_running = false;
    bool scheduled = aof->rewrite_scheduled; /* a sync that failed would want one */
    aof_end_given(aof, stop->has_write, stop->has_change);
    aof->rewrite_scheduled = scheduled;
    if (stop->err) aof_last_write_failed(aof, stop->is_always, &stop->why);
    if (stop->sync_err)
        engine_log(aof->engine, '#', "Fail to fsync the AOF file: %s", stop->sync_why.text);
    if (stop->was_whole && !stop->err && !stop->sync_err && !aof->doubted_until)
        aof->synced = aof->appended;
    buf_close(&stop->rest);
    aof_drop_unwritten(aof);
    aof_let_go(aof);
    drawbridge_check_waiting(aof->engine);
    answer_stopped(aof);
}

void aof_stop_begin(struct aof *aof) {
    struct aof_stop *stop = &aof->stop;
    ASSERT(aof->state != AOF_OFF && !stop->is_running);
    aof_rewrite_drop(aof);
    *stop = (struct aof_stop){.job = {.work = stop_work, .done = stop_done},
                              .aof = aof,
                              .is_running = true,
                              .has_write = aof->job_given && !aof->change.given,
                              .has_change = aof->change.given,
                              .was_whole = aof->state == AOF_ON,
                              .is_always =
                                  aof->engine->settings.appendfsync == APPENDFSYNC_ALWAYS,
                              .must_cut = aof->must_cut,
                              .fd = aof->fd,
                              .size = aof->file_size,
                              .rest = aof->buffer};
    aof->buffer = (struct buf){0};
    aof->fd = -1;
    aof->state = AOF_OFF;
    aof_end_choke(aof);
    propagate_detach(aof->engine, aof);
    if (!aof->is_last_stop) resume_void(aof->engine);
    disk_thread_give(aof->thread, &stop->job);
}

void aof_stop(struct aof *aof) {
    if (aof->state != AOF_OFF) {
        aof_rewrite_abort(aof);
        aof_write_all(aof); /* it notes what the file stands for, for a server that ends */
        aof_stop_begin(aof);
    }
    if (aof->stop.is_running) disk_thread_drain(aof->thread);
}

bool aof_answers_later(struct aof *aof, struct client *c) {
    if (!aof->stop.is_running) return false;
    block_until(c, 0, &stopping);
    return true;
}

/* ---- yes ---- */

static enum err read_manifest(struct aof_opening *o) {
    struct buf text = {0};
    enum err err = fs_read_file(o->manifest_path, AOF_MANIFEST_SIZE_MAX, &text, &o->why);
    if (err == ERR_ABSENT) {
        buf_close(&text);
        return OK;
    }
    if (!err) err = aof_manifest_parse(buf_slice(&text), &o->manifest, &o->why);
    if (err) err = why_add(&o->why, err, "%s", o->manifest_path);
    buf_close(&text);
    return err;
}

static void open_work(struct disk_job *job) {
    struct aof_opening *o = (struct aof_opening *)job;
    o->err = o->needs_manifest ? read_manifest(o) : OK;
    if (!o->err) o->err = fs_make_dirs(o->folder, &o->why);
    if (!o->err)
        o->err = fs_open(o->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, &o->fd, &o->why);
}

static void forget_opened(struct aof *aof) {
    struct aof_opening *o = &aof->opening;
    if (o->fd >= 0) close(o->fd);
    aof_manifest_close(&o->manifest);
    mem_free(o->folder);
    mem_free(o->path);
    mem_free(o->manifest_path);
    *o = (struct aof_opening){.fd = -1};
}

static void open_done(struct disk_job *job) {
    struct aof *aof = ((struct aof_opening *)job)->aof;
    aof->opening.state = OPENING_DONE;
    if (aof->opening.is_stale) forget_opened(aof);
    (void)uv_async_send(&aof->opened); /* this may be in the middle of a command that drains */
}

static void give_opening(struct aof *aof) {
    struct aof_opening *o = &aof->opening;
    if (o->state == OPENING_GIVEN) return;
    forget_opened(aof);
    char *name = aof_temp_incr_name(aof);
    *o = (struct aof_opening){.job = {.work = open_work, .done = open_done},
                              .aof = aof,
                              .state = OPENING_GIVEN,
                              .needs_manifest = aof->manifest.count == 0,
                              .folder = mem_strdup(aof->engine->settings.appenddirname),
                              .path = aof_path(aof, name),
                              .manifest_path = aof_manifest_path(aof),
                              .fd = -1};
    mem_free(name);
    disk_thread_give(aof->thread, &o->job);
}

bool aof_take_opened(struct aof *aof, enum err *err, struct why *why) {
    struct aof_opening *o = &aof->opening;
    if (o->state != OPENING_DONE) return false;
    *err = o->err;
    if (o->err) {
        *why = o->why;
        return true;
    }
    if (o->fd < 0) return false; /* it was taken */
    if (aof->manifest.count == 0) {
        aof_manifest_close(&aof->manifest);
        aof->manifest = o->manifest;
        o->manifest = (struct aof_manifest){0};
    }
    aof_use_file(aof, o->fd, 0);
    o->fd = -1;
    return true;
}

static const struct block_how opening = {.type = -1};

bool aof_waits_to_open(struct aof *aof, struct client *c) {
    if (aof->state != AOF_OFF) return false;
    give_opening(aof);
    block_until(c, 0, &opening);
    return true;
}

/* Those who wait for it are executed. */
static void go_on_opened(struct aof *aof) {
    struct engine *engine = aof->engine;
    if (aof->opening.state == OPENING_GIVEN || engine->nesting > 0) return;
    for (struct client *c = engine->clients, *next; c; c = next) {
        next = c->next;
        if (block_waits_by(c, &opening)) block_run(c, config_set_now);
    }
    if (aof->opening.state == OPENING_DONE) forget_opened(aof);
}

static void on_opened(uv_async_t *news) {
    go_on_opened(news->data);
}

/* A script that is busy may have stood in the way. */
static void tick(struct engine *engine) {
    struct aof *aof = persistence_of(engine)->aof;
    if (aof->opening.state == OPENING_DONE) go_on_opened(aof);
}

static enum err dir_changed(struct engine *engine, struct why *why) {
    struct aof *aof = persistence_of(engine)->aof;
    (void)why;
    if (aof->opening.state == OPENING_DONE) forget_opened(aof);
    if (aof->opening.state == OPENING_GIVEN) aof->opening.is_stale = true;
    return OK;
}

void aof_switch_open(struct aof *aof) {
    aof->opening.fd = -1;
    int status = uv_async_init(aof->engine->loop, &aof->opened, on_opened);
    ASSERT(status == 0);
    aof->opened.data = aof;
    uv_unref((uv_handle_t *)&aof->opened);
    engine_hook_add(aof->engine, HOOK_TICK, tick);
    config_watch(aof->engine, "dir", dir_changed);
}
