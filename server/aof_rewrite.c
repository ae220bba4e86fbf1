/* aof_rewrite.c -- a new base for the AOF from a point in time. See aof.h.
 *
 *     ON       manifest: base 1, incr 1, incr 2 (opened at once) --> snapshot --> base 2, incr 2
 *     WAITING  manifest as it was; temp incr file              --> snapshot --> base 2, incr 2
 * (renamed)
 *
 * The manifest changes in one rename, so that a crash at any point leaves one of the two. With
 * aof-use-rdb-preamble no the snapshot's RDB becomes commands (aof_base.c) before it is the base.
 * Files are opened, named and removed on the disk's thread (disk_thread.h), in line with what is
 * written.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"

#include <fcntl.h>
#include <unistd.h>

#define RETRY_MS 5000         /* after the first failure; twice as long after each more */
#define RETRY_DOUBLINGS_MAX 9 /* about 45 minutes: each try leaves an incr file more */

static void end_rewrite(struct aof *aof, bool good) {
    aof->last_rewrite_took_ms = aof->engine->now_ms - aof->rewrite_began_ms;
    aof->last_rewrite_ok = good;
    aof->failures = good ? 0 : aof->failures + 1;
    if (!good) {
        persistence_remove_file(aof->engine, aof->rewrite_temp, -1);
        if (aof->ready) persistence_remove_file(aof->engine, aof->ready, -1);
        if (aof->state == AOF_WAITING) aof->rewrite_scheduled = true;
    }
    mem_free(aof->rewrite_temp);
    mem_free(aof->ready);
    aof->rewrite_temp = aof->ready = NULL;
    aof->rewrite = NULL;
    aof->rewriting = false;
}

static void rewrite_failed(struct aof *aof, const struct why *why) {
    end_rewrite(aof, false);
    engine_log(aof->engine, '#', "Background AOF rewrite failed: %s", why->text);
}

/* ---- the base is whole: names and manifest, on the disk's thread ---- */

struct install {
    struct disk_job job;
    struct aof *aof;
    struct aof_manifest manifest; /* owned, as the paths */
    char *folder, *temp, *base, *manifest_path;
    char *temp_incr, *incr; /* NULL: it has its name */
    uint64_t base_size;
    enum err err;
    struct why why;
};

static void install_work(struct disk_job *job) {
    struct install *in = (struct install *)job;
    in->err = fs_make_dirs(in->folder, &in->why);
    if (!in->err) in->err = fs_rename(in->temp, in->base, &in->why);
    if (!in->err && in->temp_incr) in->err = fs_rename(in->temp_incr, in->incr, &in->why);
    if (!in->err) in->err = aof_put_manifest(in->manifest_path, &in->manifest, &in->why);
    if (!in->err) in->err = fs_size(in->base, &in->base_size, &in->why);
}

static void free_install(struct install *in) {
    aof_manifest_close(&in->manifest);
    mem_free(in->folder);
    mem_free(in->temp);
    mem_free(in->base);
    mem_free(in->manifest_path);
    mem_free(in->temp_incr);
    mem_free(in->incr);
    mem_free(in);
}

static void install_done(struct disk_job *job) {
    struct install *in = (struct install *)job;
    struct aof *aof = in->aof;
    engine_read_clock(aof->engine);
    aof->installing = false;
    if (in->err) {
        rewrite_failed(aof, &in->why);
        free_install(in);
        return;
    }
    aof_manifest_close(&aof->manifest);
    aof->manifest = in->manifest;
    in->manifest = (struct aof_manifest){0};
    aof->base_size = in->base_size;
    free_install(in);
    end_rewrite(aof, true);
    engine_log(aof->engine, '*', "Background AOF rewrite finished successfully");
    if (aof->state == AOF_WAITING) aof->state = AOF_ON;
    aof_collect_history(aof);
    aof_is_rewritten(aof);
    aof_sync_soon(aof);
}

/* The temporary incr file of WAITING gets its name. */
static void name_incr(struct aof *aof, struct install *in) {
    char *temp_name = aof_temp_incr_name(aof);
    in->temp_incr = aof_path(aof, temp_name);
    mem_free(temp_name);
    aof_manifest_retire_incr(&in->manifest, 0);
    in->incr = aof_path(
        aof,
        aof_manifest_new_incr(&in->manifest, aof->engine->settings.appendfilename)->name);
}

static void install(struct aof *aof) {
    struct install *in = NEW(struct install);
    *in = (struct install){.job = {.work = install_work, .done = install_done},
                           .aof = aof,
                           .folder = mem_strdup(aof->engine->settings.appenddirname),
                           .temp = mem_strdup(aof->ready),
                           .manifest_path = aof_manifest_path(aof)};
    aof_manifest_copy(&in->manifest, &aof->manifest);
    in->base = aof_path(aof, aof_manifest_new_base(&in->manifest,
                                                   aof->engine->settings.appendfilename,
                                                   !aof->rewrites_commands)
                                 ->name);
    if (aof->state == AOF_WAITING)
        name_incr(aof, in);
    else
        aof_manifest_retire_incr(&in->manifest, aof->state == AOF_ON ? 1 : 0);
    aof->installing = true;
    disk_thread_give(aof->thread, &in->job);
}

void aof_base_is_ready(struct aof *aof, const char *path, enum err err, const char *words) {
    struct why why;
    engine_read_clock(aof->engine);
    if (err) {
        aof_change_cancel(aof);
        (void)why_set(&why, err, "%s", words);
        rewrite_failed(aof, &why);
        return;
    }
    aof->ready = mem_strdup(path);
    if (aof->change.kind == CHANGE_NONE) install(aof);
}

void aof_rewrite_changed(struct aof *aof, enum err err, const struct why *why) {
    if (!aof_is_rewriting(aof)) return; /* it has failed meanwhile */
    if (err) {
        if (aof->rewrite) snapshot_abort(aof->rewrite);
        aof_base_drop(aof);
        rewrite_failed(aof, why);
    } else if (aof->ready) { /* the base was faster */
        install(aof);
    }
}

static void snapshot_ended(void *owner, enum err err, const char *words) {
    struct aof *aof = owner;
    struct why why;
    aof->rewrite = NULL;
    if (!err && aof->rewrites_commands) {
        err = aof_base_start(aof, aof->rewrite_temp, &why);
        words = why.text;
        if (!err) return;
    }
    aof_base_is_ready(aof, aof->rewrite_temp, err, words);
}

static enum err start_snapshot(struct aof *aof, struct why *why) {
    struct buf name = {0};
    buf_printf(&name, "temp-rewriteaof-bg-%d-%u.aof", (int)getpid(), aof->rewrites);
    aof->rewrite_temp = mem_strdup(buf_text(&name));
    buf_close(&name);
    struct snapshot_want want = {.scope = SNAPSHOT_ALL,
                                 .path = aof->rewrite_temp,
                                 .aof_base = true,
                                 .plain = !aof->engine->settings.aof_use_rdb_preamble,
                                 .what = "aof-rewrite",
                                 .owner = aof,
                                 .ended = snapshot_ended};
    aof->rewrite_began_ms = aof->last_rewrite_try_ms = aof->engine->now_ms;
    aof->rewrites_commands = !aof->engine->settings.aof_use_rdb_preamble;
    aof->rewrite_scheduled = false;
    aof->rewriting = true;
    aof->rewrites++;
    enum err err = snapshot_start(aof->engine, &want, &aof->rewrite, why);
    if (err)
        end_rewrite(aof, false);
    else
        engine_log(aof->engine, '*', "Background append only file rewriting started");
    return err;
}

/* ---- begin ---- */

enum err aof_rewrite(struct aof *aof, struct why *why) {
    if (aof_is_rewriting(aof) || aof->change.kind != CHANGE_NONE)
        return why_set(why, ERR_STATE, "Background append only file rewriting already in progress");
    if (aof->state == AOF_ON && aof->fault[0])
        return why_set(why, ERR_STATE, "the AOF cannot be written: %s", aof->fault);
    enum err err = OK;
    bool found;
    if (aof->state == AOF_OFF && aof->manifest.count == 0)
        err = aof_read_manifest(aof, &found, why); /* a base and nothing else */
    if (err) return err;
    /* What happens from here on goes into a file of its own; or, if the base is tried anew that the
     * AOF waits for, that will contain what the temporary file has. */
    if (aof->state != AOF_OFF)
        aof_change_file(aof, aof->state == AOF_ON ? CHANGE_NEXT_FILE : CHANGE_EMPTY_FILE);
    err = start_snapshot(aof, why);
    if (err && aof->change.kind == CHANGE_NEXT_FILE) aof_change_cancel(aof);
    aof_go_on(aof);
    return err;
}

void aof_rewrite_later(struct aof *aof) {
    aof->rewrite_scheduled = true;
}

static enum err open_temp_incr(struct aof *aof, struct why *why) {
    char *name = aof_temp_incr_name(aof);
    char *path = aof_path(aof, name);
    int fd = -1;
    enum err err = aof_make_folder(aof, why);
    if (!err) err = fs_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, &fd, why);
    if (!err) aof_use_file(aof, fd, 0);
    mem_free(name);
    mem_free(path);
    return err;
}

/* With the manifest that is there already. */
static enum err open_first(struct aof *aof, struct why *why) {
    bool found;
    enum err err = OK;
    if (aof_take_opened(aof, &err, why)) return err;
    if (aof->manifest.count == 0) err = aof_read_manifest(aof, &found, why);
    return err ? err : open_temp_incr(aof, why);
}

enum err aof_restart(struct aof *aof, struct why *why) {
    aof_stop(aof);
    aof_rewrite_abort(aof);
    enum err err = open_first(aof, why);
    if (err) return err;
    aof_attach(aof, AOF_WAITING);
    /* Inside EXEC what it did will be appended when it ends, so not now; and snapshots that were
     * dropped take a moment to end. */
    if (aof->engine->nesting > 1 || !snapshot_may_start(aof->engine)) {
        aof->rewrite_scheduled = true;
        return OK;
    }
    struct why later;
    if (start_snapshot(aof, &later))
        engine_log(aof->engine, '#', "The AOF's base is tried again later: %s", later.text);
    return OK;
}

void aof_rewrite_abort(struct aof *aof) {
    aof->rewrite_scheduled = false;
    aof_change_cancel(aof);
    disk_thread_drain(aof->thread); /* what has begun of it ends */
    aof_rewrite_drop(aof);
}

void aof_rewrite_drop(struct aof *aof) {
    aof_change_cancel(aof);
    if (aof_is_rewriting(aof) && !aof->installing) {
        engine_log(aof->engine, '*', "Killing running AOF rewrite child");
        if (aof->rewrite) snapshot_abort(aof->rewrite);
        aof_base_drop(aof);
        unsigned failures = aof->failures; /* it was not wanted any more: that is none */
        bool ok = aof->last_rewrite_ok;
        end_rewrite(aof, false);
        aof->failures = failures;
        aof->last_rewrite_ok = ok;
    }
    aof->rewrite_scheduled = false;
}

/* auto-aof-rewrite-percentage: the file has grown by so much since the base was made. */
static bool has_grown(const struct aof *aof) {
    const struct settings *s = &aof->engine->settings;
    uint64_t size = aof->base_size + aof->file_size, base = aof->base_size ? aof->base_size : 1;
    if (aof->state != AOF_ON || aof->fault[0] || !s->auto_aof_rewrite_percentage) return false;
    if (size <= (uint64_t)s->auto_aof_rewrite_min_size) return false;
    return (double)size / (double)base * 100 - 100 >= (double)s->auto_aof_rewrite_percentage;
}

void aof_rewrite_tick(struct aof *aof) {
    struct why why;
    if (aof_is_rewriting(aof) || aof->engine->loading || aof->engine->async_loading ||
        !snapshot_may_start(aof->engine))
        return;
    if (!aof->rewrite_scheduled && !has_grown(aof)) return;
    unsigned doublings = aof->failures > RETRY_DOUBLINGS_MAX ? RETRY_DOUBLINGS_MAX : aof->failures;
    int64_t wait_ms = aof->failures ? (int64_t)RETRY_MS << (doublings - 1) : 0;
    if (aof->engine->now_ms - aof->last_rewrite_try_ms < wait_ms) return;
    if (!aof->rewrite_scheduled)
        engine_log(aof->engine, '*', "Starting automatic rewriting of AOF");
    if (aof_rewrite(aof, &why)) aof->rewrite_scheduled = true; /* said in the log, tried again */
}
