/* aof_rewrite.c -- a new base for the AOF from a point in time. See aof.h.
 *
 *     ON       manifest: base 1, incr 1, incr 2 (opened first) --> snapshot --> base 2, incr 2
 *     WAITING  manifest as it was; temp incr file              --> snapshot --> base 2, incr 2
 * (renamed)
 *
 * The manifest changes in one rename, so that a crash at any point leaves one of the two. With
 * aof-use-rdb-preamble no the snapshot's RDB becomes commands (aof_base.c) before it is the base.
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
        struct why why;
        if (fs_remove(aof->rewrite_temp, &why)) engine_log(aof->engine, '#', "%s", why.text);
        if (aof->state == AOF_WAITING) aof->rewrite_scheduled = true;
    }
    mem_free(aof->rewrite_temp);
    aof->rewrite_temp = NULL;
    aof->rewrite = NULL;
}

/* The temporary incr file of WAITING gets its name. */
static enum err name_incr(struct aof *aof, struct aof_manifest *manifest, struct why *why) {
    char *temp_name = aof_temp_incr_name(aof);
    char *temp = aof_path(aof, temp_name);
    aof_manifest_retire_incr(manifest, 0);
    const struct aof_file *incr =
        aof_manifest_new_incr(manifest, aof->engine->settings.appendfilename);
    char *path = aof_path(aof, incr->name);
    enum err err = fs_rename(temp, path, why);
    mem_free(temp_name);
    mem_free(temp);
    mem_free(path);
    return err;
}

static enum err install(struct aof *aof, const char *temp, struct why *why) {
    struct aof_manifest manifest;
    aof_manifest_copy(&manifest, &aof->manifest);
    const struct aof_file *base = aof_manifest_new_base(
        &manifest, aof->engine->settings.appendfilename, !aof->rewrites_commands);
    char *path = aof_path(aof, base->name);
    enum err err = fs_rename(temp, path, why);
    if (!err && aof->state == AOF_WAITING)
        err = name_incr(aof, &manifest, why);
    else if (!err)
        aof_manifest_retire_incr(&manifest, aof->state == AOF_ON ? 1 : 0);
    if (!err) err = aof_write_manifest(aof, &manifest, why);
    if (!err) err = fs_size(path, &aof->base_size, why);
    mem_free(path);
    if (err) {
        aof_manifest_close(&manifest);
        return err;
    }
    aof_manifest_close(&aof->manifest);
    aof->manifest = manifest;
    return OK;
}

void aof_base_is_ready(struct aof *aof, const char *path, enum err err, const char *words) {
    struct why why;
    engine_read_clock(aof->engine);
    if (err)
        (void)why_set(&why, err, "%s", words);
    else
        err = install(aof, path, &why);
    end_rewrite(aof, !err);
    if (err) {
        engine_log(aof->engine, '#', "Background AOF rewrite failed: %s", why.text);
        return;
    }
    engine_log(aof->engine, '*', "Background AOF rewrite finished successfully");
    if (aof->state == AOF_WAITING) aof->state = AOF_ON;
    aof_remove_history(aof);
    aof_is_rewritten(aof);
    aof_sync_soon(aof);
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
    aof->rewrite_from = aof->appended;
    aof->rewrites_commands = !aof->engine->settings.aof_use_rdb_preamble;
    aof->rewrite_scheduled = false;
    aof->rewrites++;
    enum err err = snapshot_start(aof->engine, &want, &aof->rewrite, why);
    if (err)
        end_rewrite(aof, false);
    else
        engine_log(aof->engine, '*', "Background append only file rewriting started");
    return err;
}

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

/* What happens from here on goes into a file of its own. */
static enum err open_next_incr(struct aof *aof, struct why *why) {
    struct aof_manifest manifest;
    aof_manifest_copy(&manifest, &aof->manifest);
    const struct aof_file *incr =
        aof_manifest_new_incr(&manifest, aof->engine->settings.appendfilename);
    char *path = aof_path(aof, incr->name);
    int fd = -1;
    aof_flush(aof);
    enum err err = buf_size(&aof->buffer)
                       ? why_set(why, ERR_STATE, "the AOF cannot be written: %s", aof->fault)
                       : OK;
    if (!err) err = fs_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, &fd, why);
    uint64_t size = 0;
    if (!err) err = write_beginning(fd, aof->file_size, &size, why);
    if (!err) err = aof_write_manifest(aof, &manifest, why);
    mem_free(path);
    if (err) {
        if (fd >= 0) close(fd);
        aof_manifest_close(&manifest);
        return err;
    }
    aof_manifest_close(&aof->manifest);
    aof->manifest = manifest;
    aof_use_file(aof, fd, size);
    return OK;
}

/* WAITING, and the base is tried anew: it will contain what the temporary file has. */
static enum err empty_temp_incr(struct aof *aof, struct why *why) {
    enum err err = fs_truncate(aof->fd, 0, "AOF", why);
    if (err) return err;
    buf_clear(&aof->buffer);
    aof->written = aof->appended;
    aof->file_size = 0;
    aof->selected_db = -1;
    return OK;
}

enum err aof_rewrite(struct aof *aof, struct why *why) {
    if (aof_is_rewriting(aof))
        return why_set(why, ERR_STATE, "Background append only file rewriting already in progress");
    enum err err = OK;
    bool found;
    if (aof->state == AOF_ON)
        err = open_next_incr(aof, why);
    else if (aof->state == AOF_WAITING)
        err = empty_temp_incr(aof, why);
    else if (aof->manifest.count == 0)
        err = aof_read_manifest(aof, &found, why); /* OFF: a base and nothing else */
    if (!err) err = aof_make_folder(aof, why);
    return err ? err : start_snapshot(aof, why);
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

enum err aof_restart(struct aof *aof, struct why *why) {
    aof_stop(aof);
    aof_rewrite_abort(aof);
    bool found;
    if (aof->manifest.count == 0) {
        enum err err = aof_read_manifest(aof, &found, why);
        if (err) return err;
    }
    enum err err = open_temp_incr(aof, why);
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
    if (!aof_is_rewriting(aof)) return;
    engine_log(aof->engine, '*', "Killing running AOF rewrite child");
    if (aof->rewrite) snapshot_abort(aof->rewrite);
    aof_base_drop(aof);
    unsigned failures = aof->failures; /* it was not wanted any more: that is none */
    bool ok = aof->last_rewrite_ok;
    end_rewrite(aof, false);
    aof->failures = failures;
    aof->last_rewrite_ok = ok;
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
