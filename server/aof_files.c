/* aof_files.c -- the folder of the AOF: paths, manifest, taking over an older file. See aof.h. */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *joined(const char *a, const char *b, const char *c) {
    struct buf text = {0};
    buf_printf(&text, "%s%s%s", a, b, c);
    char *copy = mem_strdup(buf_text(&text));
    buf_close(&text);
    return copy;
}

char *aof_path(const struct aof *aof, const char *name) {
    return joined(aof->engine->settings.appenddirname, "/", name);
}

char *aof_temp_incr_name(const struct aof *aof) {
    return joined("temp-", aof->engine->settings.appendfilename, ".incr");
}

char *aof_manifest_path(const struct aof *aof) {
    char *name = joined(aof->engine->settings.appendfilename, ".manifest", "");
    char *path = aof_path(aof, name);
    mem_free(name);
    return path;
}

enum err aof_make_folder(const struct aof *aof, struct why *why) {
    return fs_make_dirs(aof->engine->settings.appenddirname, why);
}

static bool exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

enum err aof_read_manifest(struct aof *aof, bool *found, struct why *why) {
    char *path = aof_manifest_path(aof);
    struct buf text = {0};
    enum err err = OK;
    *found = exists(path);
    if (*found) err = fs_read_file(path, AOF_MANIFEST_SIZE_MAX, &text, why);
    if (*found && !err) err = aof_manifest_parse(buf_slice(&text), &aof->manifest, why);
    if (err) err = why_add(why, err, "%s", path);
    buf_close(&text);
    mem_free(path);
    return err;
}

enum err aof_write_manifest(const struct aof *aof, const struct aof_manifest *manifest,
                            struct why *why) {
    char *path = aof_manifest_path(aof);
    enum err err = aof_put_manifest(path, manifest, why);
    mem_free(path);
    return err;
}

enum err aof_put_manifest(const char *path, const struct aof_manifest *manifest, struct why *why) {
    struct buf text = {0};
    aof_manifest_format(manifest, &text);
    enum err err = fs_replace(path, buf_slice(&text), why);
    buf_close(&text);
    return err;
}

enum err aof_adopt_old_file(struct aof *aof, bool *found, struct why *why) {
    const char *name = aof->engine->settings.appendfilename;
    *found = exists(name);
    if (!*found) return OK;
    /* The manifest first: if we die in between, the next start finds it, misses the file, and comes
     * here again. */
    aof_manifest_adopt_base(&aof->manifest, name);
    enum err err = aof_make_folder(aof, why);
    if (!err) err = aof_write_manifest(aof, &aof->manifest, why);
    char *path = aof_path(aof, name);
    if (!err) err = fs_rename(name, path, why);
    if (!err)
        engine_log(aof->engine, '*',
                   "Successfully migrated an old-style AOF file (%s) into the AOF directory (%s).",
                   name, aof->engine->settings.appenddirname);
    mem_free(path);
    return err;
}

enum err aof_open_incr(struct aof *aof, struct why *why) {
    const struct aof_file *file = aof_manifest_last_incr(&aof->manifest);
    if (!file) file = aof_manifest_new_incr(&aof->manifest, aof->engine->settings.appendfilename);
    char *path = aof_path(aof, file->name);
    int fd = -1;
    uint64_t size = 0;
    enum err err = fs_open(path, O_WRONLY | O_APPEND | O_CREAT, &fd, why);
    if (!err) err = fs_size(path, &size, why);
    if (!err) err = aof_write_manifest(aof, &aof->manifest, why);
    mem_free(path);
    if (err) {
        if (fd >= 0) close(fd);
        return err;
    }
    aof_use_file(aof, fd, size);
    return OK;
}

/* ---- history files ---- */

/* First they go, beside everything (a big file takes the file system a while), then the manifest
 * forgets them, in line with what else changes it. */
struct tidying {
    struct disk_job job;
    struct aof *aof;
    char **paths; /* of what is to be removed */
    size_t count;
    struct aof_manifest manifest; /* without them */
    char *manifest_path;
    enum err err;
    struct why why;
};

/* A rewrite writes the manifest, too, and has another one in hand; it tidies up when it is done. */
static bool may_tidy(const struct aof *aof) {
    return !aof_is_rewriting(aof) && aof->change.kind == CHANGE_NONE;
}

static void tidied(struct disk_job *job) {
    struct tidying *t = (struct tidying *)job;
    if (t->err)
        engine_log(t->aof->engine, '#', "Cannot remove the AOF's history files: %s", t->why.text);
    for (size_t i = 0; i < t->count; i++) mem_free(t->paths[i]);
    mem_free(t->paths);
    mem_free(t->manifest_path);
    aof_manifest_close(&t->manifest);
    mem_free(t);
}

static void forget_work(struct disk_job *job) {
    struct tidying *t = (struct tidying *)job;
    struct why why;
    enum err err = aof_put_manifest(t->manifest_path, &t->manifest, &why);
    if (!err || t->err) return;
    t->err = err;
    t->why = why;
}

static void removed(struct disk_job *job) {
    struct tidying *t = (struct tidying *)job;
    if (!may_tidy(t->aof)) { /* the next manifest will be without them */
        tidied(job);
        return;
    }
    aof_manifest_copy(&t->manifest, &t->aof->manifest);
    t->manifest_path = aof_manifest_path(t->aof);
    t->job = (struct disk_job){.work = forget_work, .done = tidied};
    disk_thread_give(t->aof->thread, &t->job);
}

static void remove_work(struct disk_job *job) {
    struct tidying *t = (struct tidying *)job;
    for (size_t i = 0; i < t->count; i++) {
        struct why why;
        enum err err = fs_remove(t->paths[i], &why);
        if (!err || t->err) continue;
        t->err = err;
        t->why = why;
    }
}

void aof_collect_history(struct aof *aof) {
    if (aof->engine->settings.aof_disable_auto_gc || !may_tidy(aof)) return;
    struct tidying *t = NEW(struct tidying);
    *t = (struct tidying){.job = {.work = remove_work, .done = removed}, .aof = aof};
    t->paths = NEW_ARRAY(char *, aof->manifest.count + 1);
    for (size_t i = 0; i < aof->manifest.count; i++)
        if (aof->manifest.files[i].type == AOF_HISTORY)
            t->paths[t->count++] = aof_path(aof, aof->manifest.files[i].name);
    if (t->count == 0) {
        mem_free(t->paths);
        mem_free(t);
        return;
    }
    aof_manifest_drop_history(&aof->manifest);
    disk_thread_give(persistence_of(aof->engine)->disk, &t->job);
}
