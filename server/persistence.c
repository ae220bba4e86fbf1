/* persistence.c -- put together what is kept on disk, and load it at start. See persistence.h. */
#include "server/persistence.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof.h"
#include "server/block.h"
#include "server/client.h"
#include "server/disk_thread.h"
#include "server/loading.h"
#include "server/replication.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum err persistence_load_rdb(struct engine *engine, struct why *why) {
    struct persistence *p = persistence_of(engine);
    const char *path = engine->settings.dbfilename;
    struct rdb_place place;
    struct stat about;
    if (stat(path, &about) && errno == ENOENT) return OK;
    loading_begin(engine, (uint64_t)about.st_size);
    p->expired_db = -1;
    unsigned flags =
        engine->role == ROLE_REPLICA ? RDB_LOAD_KEEP_EXPIRED : RDB_LOAD_NOTE_EXPIRED;
    enum err err = rdb_load_file(engine, path, flags, &place, NULL, why);
    loading_end(engine);
    if (err == ERR_CORRUPT)
        engine_log(engine, '#',
                   "The RDB file %s cannot be loaded. Put a whole one in its place "
                   "(redis-check-rdb looks at files), or move it away to start without it",
                   path);
    if (err) return err;
    engine_log(engine, '*', "Done loading RDB, keys loaded: %lld, keys expired: %lld.",
               (long long)p->keys_loaded, (long long)p->keys_expired_on_load);
    engine_log(engine, '*', "DB loaded from disk: %.3f seconds",
               (double)(engine->now_ms - p->loading_began_ms) / 1000);
    replication_take_place(engine, &place, &p->expired_deletions);
    buf_close(&p->expired_deletions);
    return OK;
}

enum err persistence_apply_appendonly(struct engine *engine, struct why *why) {
    struct aof *aof = persistence_of(engine)->aof;
    bool wanted = engine->settings.appendonly;
    if (wanted == aof_is_on(aof)) return OK;
    if (wanted) return aof_restart(aof, why);
    if (engine->current && !block_is_denied(engine->current))
        aof_stop_begin(aof); /* persistence_answers_later() */
    else
        aof_stop(aof);
    return OK;
}

bool persistence_waits_to_open(struct client *c, struct slice value) {
    if (!slice_equal_nocase(value, SLICE("yes")) || block_is_denied(c)) return false;
    return aof_waits_to_open(persistence_of(c->engine)->aof, c);
}

bool persistence_answers_later(struct client *c) {
    return !block_is_denied(c) && aof_answers_later(persistence_of(c->engine)->aof, c);
}

enum err persistence_apply_auto_gc(struct engine *engine, struct why *why) {
    (void)why; /* what cannot be removed is in the log */
    aof_collect_history(persistence_of(engine)->aof);
    return OK;
}

enum err persistence_apply_dbfilename(struct engine *engine, struct why *why) {
    const char *name = engine->settings.dbfilename;
    if (*name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) return OK;
    return why_set(why, ERR_CONFIG, "dbfilename can't be a path, just a filename");
}

/* The number of the process that was writing a temporary file of this name; 0: it is none of ours.
 */
static int temp_file_owner(const char *name) {
    static const char *const kinds[] = {"temp-save-", "temp-sync", "temp-repl",
                                        "temp-rewriteaof-bg-", "temp-"};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t size = strlen(kinds[i]);
        if (strncmp(name, kinds[i], size) == 0 && name[size] >= '1' && name[size] <= '9')
            return atoi(name + size);
    }
    return 0;
}

static bool is_alive(int pid) {
    return pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM);
}

/* What processes that were killed had begun to write would fill the disk in the end. */
static void remove_leftovers(struct engine *engine) {
    struct why why;
    DIR *dir = opendir(".");
    if (!dir) return;
    for (struct dirent *at; (at = readdir(dir)) != NULL;) {
        int owner = temp_file_owner(at->d_name);
        if (owner <= 0 || is_alive(owner)) continue;
        if (fs_remove(at->d_name, &why))
            engine_log(engine, '#', "%s", why.text);
        else
            engine_log(engine, '*', "Removed %s, which was never finished", at->d_name);
    }
    closedir(dir);
}

static void started(struct engine *engine) {
    struct persistence *p = persistence_of(engine);
    struct why why;
    remove_leftovers(engine);
    p->last_save_ms = engine->now_ms;
    replication_read_settings(engine);
    enum err err = engine->settings.appendonly ? aof_start_with_data(p->aof, &why)
                                               : persistence_load_rdb(engine, &why);
    if (err && engine->shutting_down) return; /* it was told to, in the middle */
    if (err) {
        engine_log(engine, '#', "Fatal error loading the DB, exiting: %s", why.text);
        exit(1);
    }
    engine->dirty = 0;
}

/* ---- files that go ---- */

struct removal {
    struct disk_job job;
    struct engine *engine;
    char *path;
    int fd;
    enum err err;
    struct why why;
};

static void removal_work(struct disk_job *job) {
    struct removal *removal = (struct removal *)job;
    removal->err = fs_remove(removal->path, &removal->why);
    if (removal->fd >= 0) close(removal->fd); /* now its blocks are free */
}

static void removal_done(struct disk_job *job) {
    struct removal *removal = (struct removal *)job;
    if (removal->err) engine_log(removal->engine, '#', "%s", removal->why.text);
    mem_free(removal->path);
    mem_free(removal);
}

void persistence_remove_file(struct engine *engine, const char *path, int fd) {
    struct removal *removal = NEW(struct removal);
    *removal = (struct removal){.job = {.work = removal_work, .done = removal_done},
                                .engine = engine,
                                .path = mem_strdup(path),
                                .fd = fd};
    disk_thread_give(persistence_of(engine)->disk, &removal->job);
}

static bool at_shutdown(struct engine *engine, unsigned flags, struct why *why) {
    (void)flags;
    (void)why;
    disk_thread_drain(persistence_of(engine)->disk);
    return false;
}

void persistence_open(struct engine *engine) {
    struct persistence *p = NEW(struct persistence);
    p->engine = engine;
    p->last_bgsave_ok = true;
    p->last_bgsave_took_ms = -1;
    p->disk = disk_thread_open(engine->loop);
    engine->persistence = p;
    engine_hook_add(engine, HOOK_STARTED, started);
    save_open(engine);
    p->aof = aof_open(engine);
    restore_open(engine);
    drawbridge_open(engine);
    debug_data_open(engine);
    engine_shutdown_add(engine, at_shutdown); /* behind those that give it work */
}
