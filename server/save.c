/* save.c -- SAVE, BGSAVE, LASTSAVE, save points, and what INFO says about them. See persistence.h.
 */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/command.h"
#include "server/aof.h"
#include "server/args.h"
#include "server/disk_thread.h"
#include "server/persistence.h"
#include "server/reply.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 5000 /* after a BGSAVE that failed */

static char *rdb_path(const struct engine *engine) {
    return mem_strdup(engine->settings.dbfilename); /* the process works in `dir` */
}

static char *temp_path(const char *kind) {
    static unsigned number;
    struct buf name = {0};
    buf_printf(&name, "temp-%s%d-%u.rdb", kind, (int)getpid(), ++number);
    char *path = mem_strdup(buf_text(&name));
    buf_close(&name);
    return path;
}

static void remove_file(const char *path) {
    struct why why;
    if (fs_remove(path, &why)) return; /* it can stay */
}

static void note_saved(struct engine *engine, uint64_t dirty_left) {
    struct persistence *p = persistence_of(engine);
    engine->dirty = dirty_left;
    p->last_save_ms = engine->now_ms;
    p->last_bgsave_ok = true;
    p->saves++;
}

enum err save_now(struct engine *engine, struct why *why) {
    /* What an older one still names would come over this. */
    if (persistence_of(engine)->namings) disk_thread_drain(persistence_of(engine)->disk);
    struct rdb_save_options options = {.scope = SNAPSHOT_ALL,
                                       .version = (unsigned)engine->settings.rdb_version,
                                       .place = persistence_place(engine)};
    char *temp = temp_path("save-"), *path = rdb_path(engine);
    enum err err = rdb_save_file(engine, temp, &options, why);
    if (!err) err = fs_rename(temp, path, why);
    if (err) {
        remove_file(temp);
        engine_log(engine, '#', "Error saving the DB to %s: %s", path, why->text);
    } else {
        engine_log(engine, '*', "DB saved on disk");
        note_saved(engine, 0);
    }
    mem_free(temp);
    mem_free(path);
    return err;
}

bool bgsave_is_running(const struct engine *engine) {
    return persistence_of(engine)->bgsave || persistence_of(engine)->naming;
}

static void bgsave_failed(struct engine *engine, const char *words) {
    struct persistence *p = persistence_of(engine);
    engine_log(engine, '#', "Background saving error: %s", words);
    p->last_bgsave_took_ms = engine->now_ms - p->bgsave_started_ms;
    p->last_bgsave_ok = false;
}

/* ---- the file gets its name, on the disk's thread ---- */

struct naming {
    struct disk_job job;
    struct engine *engine;
    char *temp, *path; /* owned */
    uint64_t dirty_before;
    _Atomic bool is_dropped; /* nobody wants it any more */
    enum err err;
    struct why why;
};

static void naming_work(struct disk_job *job) {
    struct naming *naming = (struct naming *)job;
    struct why why;
    if (atomic_load(&naming->is_dropped))
        naming->err = why_set(&naming->why, ERR_STATE, "it was not wanted any more");
    else
        naming->err = fs_rename(naming->temp, naming->path, &naming->why);
    if (naming->err && fs_remove(naming->temp, &why)) (void)why; /* the next start removes it */
}

static void naming_done(struct disk_job *job) {
    struct naming *naming = (struct naming *)job;
    struct engine *engine = naming->engine;
    struct persistence *p = persistence_of(engine);
    p->namings--;
    engine_read_clock(engine);
    if (!atomic_load(&naming->is_dropped)) {
        p->naming = NULL;
        if (naming->err) {
            bgsave_failed(engine, naming->why.text);
        } else {
            engine_log(engine, '*', "Background saving terminated with success");
            p->last_bgsave_took_ms = engine->now_ms - p->bgsave_started_ms;
            note_saved(engine, engine->dirty - naming->dirty_before);
        }
    }
    mem_free(naming->temp);
    mem_free(naming->path);
    mem_free(naming);
}

static void bgsave_ended(void *owner, enum err err, const char *words) {
    struct engine *engine = owner;
    struct persistence *p = persistence_of(engine);
    p->bgsave = NULL;
    if (err) {
        engine_read_clock(engine);
        bgsave_failed(engine, words);
        mem_free(p->bgsave_temp); /* the file is gone: snapshot_writer.h */
    } else {
        p->naming = NEW(struct naming);
        *p->naming = (struct naming){.job = {.work = naming_work, .done = naming_done},
                                     .engine = engine,
                                     .temp = p->bgsave_temp,
                                     .path = rdb_path(engine),
                                     .dirty_before = p->dirty_at_bgsave};
        p->namings++;
        disk_thread_give(p->disk, &p->naming->job);
    }
    p->bgsave_temp = NULL;
}

enum err bgsave_start(struct engine *engine, struct why *why) {
    struct persistence *p = persistence_of(engine);
    ASSERT(!bgsave_is_running(engine));
    p->bgsave_temp = temp_path("");
    struct snapshot_want want = {.scope = SNAPSHOT_ALL,
                                 .version = (unsigned)engine->settings.rdb_version,
                                 .path = p->bgsave_temp,
                                 .what = "bgsave",
                                 .owner = engine,
                                 .ended = bgsave_ended};
    p->dirty_at_bgsave = engine->dirty;
    p->bgsave_started_ms = p->last_bgsave_try_ms = engine->now_ms;
    p->bgsave_scheduled = false;
    enum err err = snapshot_start(engine, &want, &p->bgsave, why);
    if (!err) {
        engine_log(engine, '*', "Background saving started");
        return OK;
    }
    p->last_bgsave_ok = false;
    engine_log(engine, '#', "Can't save in background: %s", why->text);
    mem_free(p->bgsave_temp);
    p->bgsave_temp = NULL;
    return err;
}

void bgsave_stop(struct engine *engine) {
    struct persistence *p = persistence_of(engine);
    if (!bgsave_is_running(engine)) return;
    if (p->bgsave) {
        snapshot_abort(p->bgsave);
        p->bgsave = NULL;
        persistence_remove_file(engine, p->bgsave_temp, -1);
        mem_free(p->bgsave_temp);
        p->bgsave_temp = NULL;
    } else { /* it may have its name already, or be about to get it: save_now() waits for that */
        atomic_store(&p->naming->is_dropped, true);
        p->naming = NULL;
    }
    engine_log(engine, '#', "There is a child saving an .rdb. Killing it!");
}

/* ---- commands ---- */

static void save_command(struct client *c) {
    struct why why;
    propagate_nothing(c); /* it changes the count of changes, and nothing else */
    if (bgsave_is_running(c->engine)) {
        reply_error(c, "ERR Background save already in progress");
        return;
    }
    if (save_now(c->engine, &why))
        reply_error(c, "ERR %s", why.text);
    else
        reply_ok(c);
}

static void bgsave_command(struct client *c) {
    struct persistence *p = persistence_of(c->engine);
    struct why why;
    bool schedule = c->argc == 2 && arg_is(c->argv[1], "schedule");
    if (c->argc > 2 || (c->argc == 2 && !schedule)) {
        reply_syntax_error(c);
    } else if (bgsave_is_running(c->engine)) {
        reply_error(c, "ERR Background save already in progress");
    } else if (c->flags & CLIENT_EXECUTING || !snapshot_may_start(c->engine)) {
        /* The moment of a snapshot lies between commands, never inside of one. */
        p->bgsave_scheduled = true;
        reply_simple(c, "Background saving scheduled");
    } else if (bgsave_start(c->engine, &why)) {
        reply_error(c, "ERR %s", why.text);
    } else {
        reply_simple(c, "Background saving started");
    }
}

static void lastsave_command(struct client *c) {
    reply_int(c, persistence_of(c->engine)->last_save_ms / 1000);
}

/* ---- in the background ---- */

static bool save_point_reached(const struct engine *engine) {
    const struct persistence *p = persistence_of(engine);
    for (int i = 0; i < engine->settings.save_count; i++) {
        const struct save_point *point = &engine->settings.save_points[i];
        if (engine->dirty >= (uint64_t)point->changes &&
            engine->now_ms - p->last_save_ms > point->seconds * 1000)
            return p->last_bgsave_ok || engine->now_ms - p->last_bgsave_try_ms > RETRY_MS;
    }
    return false;
}

static void tick(struct engine *engine) {
    struct persistence *p = persistence_of(engine);
    struct why why;
    if (bgsave_is_running(engine) || engine->loading || engine->async_loading || engine->shutting_down ||
        !snapshot_may_start(engine))
        return;
    if (save_point_reached(engine))
        engine_log(engine, '*', "A save point is reached. Saving...");
    else if (!p->bgsave_scheduled ||
             engine->now_ms - p->last_bgsave_try_ms < (p->last_bgsave_ok ? 0 : RETRY_MS))
        return;
    if (bgsave_start(engine, &why)) return; /* said in the log, tried again */
}

/* FLUSHALL: with save points, a crash right after it must not bring the data back. */
static void flushed(struct engine *engine) {
    struct why why;
    if (engine->loading) return;
    bgsave_stop(engine); /* it would bring the old data back */
    if (engine->settings.save_count == 0) return;
    if (save_now(engine, &why)) return; /* said in the log */
}

static bool at_shutdown(struct engine *engine, unsigned flags, struct why *why) {
    bgsave_stop(engine);
    bool wanted =
        (engine->settings.save_count > 0 || flags & SHUTDOWN_SAVE) && !(flags & SHUTDOWN_NOSAVE);
    if (!wanted || engine->loading) return false; /* half of the data is no data */
    engine_log(engine, '*', "Saving the final RDB snapshot before exiting.");
    if (save_now(engine, why) == OK) return false;
    engine_log(engine, '#', "Error trying to save the DB, %s",
               flags & SHUTDOWN_FORCE ? "exit anyway." : "can't exit.");
    return true;
}

/* Refuse writes while what was accepted cannot be saved. */
static bool disk_gate(struct client *c, const struct command *command) {
    struct engine *engine = c->engine;
    struct persistence *p = persistence_of(engine);
    bool is_write =
        engine_command_flags(c, command) & COMMAND_WRITE || strcmp(command->name, "ping") == 0;
    if (!is_write || engine->role != ROLE_MASTER || c->flags & (CLIENT_LOADING | CLIENT_MASTER))
        return true;
    if (engine->settings.stop_writes_on_bgsave_error && engine->settings.save_count > 0 &&
        !p->last_bgsave_ok) {
        engine_refuse(c, "MISCONF Redis is configured to save RDB snapshots, but it's currently "
                         "unable to persist to "
                         "disk. Commands that may modify the data set are disabled, because this "
                         "instance is configured "
                         "to report errors during writes if RDB snapshotting fails "
                         "(stop-writes-on-bgsave-error option). "
                         "Please check the Redis logs for details about the RDB error.");
        return false;
    }
    const char *fault = aof_fault(p->aof);
    if (!fault) return true;
    engine_refuse(c, "MISCONF Errors writing to the AOF file: %s", fault);
    return false;
}

/* How long the walks of snapshots keep others waiting, and how far those are that are under way. */
static void snapshot_info(const struct engine *engine, struct buf *out) {
    const struct snapshot_turns *turns = snapshot_turns(engine);
    if (turns == NULL) return;
    const struct hist *took = &turns->took, *worked = &turns->worked;
    buf_printf(out,
               "drawbridge_snapshots_active:%u\r\ndrawbridge_snapshot_turns:%llu\r\n"
               "drawbridge_snapshot_turn_p999_usec:%llu\r\n"
               "drawbridge_snapshot_turn_max_usec:%llu\r\n"
               "drawbridge_snapshot_turn_cpu_p999_usec:%llu\r\n"
               "drawbridge_snapshot_turn_cpu_max_usec:%llu\r\n"
               "drawbridge_snapshot_turns_cpu_over_200_usec:%llu\r\n",
               snapshots_active(engine), (unsigned long long)hist_count(took),
               (unsigned long long)hist_quantile(took, 0.999), (unsigned long long)hist_max(took),
               (unsigned long long)hist_quantile(worked, 0.999),
               (unsigned long long)hist_max(worked),
               (unsigned long long)(hist_count(worked) - hist_count_to(worked, 200)));
    struct snapshot_about about;
    for (unsigned place = 0; place < SNAPSHOTS_MAX; place++)
        if (snapshot_about(engine, place, &about))
            buf_printf(out,
                       "drawbridge_snapshot_%u:for=%s,keys=%llu,keys_total=%llu,seconds=%llu\r\n",
                       place, about.what, (unsigned long long)about.keys,
                       (unsigned long long)about.keys_total, (unsigned long long)about.seconds);
}

/* What loads, how far it is, and when it will be done if it goes on as it did. */
static void info_loading(const struct engine *engine, struct buf *out) {
    const struct persistence *p = persistence_of(engine);
    uint64_t total = p->loading_total_bytes, done = p->loading_done_bytes;
    double passed_s = (double)(engine->now_ms - p->loading_began_ms) / 1000;
    double left = total > done ? (double)(total - done) : 0;
    double eta_s = passed_s >= 1 ? passed_s * left / (double)(done + 1) : 1; /* too early to tell */
    buf_printf(
        out,
        "loading_start_time:%lld\r\nloading_total_bytes:%llu\r\nloading_rdb_used_mem:%lld\r\n"
        "loading_loaded_bytes:%llu\r\nloading_loaded_perc:%.2f\r\nloading_eta_seconds:%.0f\r\n",
        (long long)(p->loading_began_ms / 1000), (unsigned long long)total,
        (long long)p->loading_used_memory, (unsigned long long)done,
        total ? 100.0 * (double)done / (double)total : 0, eta_s);
}

static void info(struct engine *engine, struct buf *out) {
    const struct persistence *p = persistence_of(engine);
    bool saving = bgsave_is_running(engine);
    uint64_t keys_done = 0, keys_total = 0;
    if (p->bgsave) snapshot_progress(p->bgsave, &keys_done, &keys_total);
    buf_printf(out, "current_cow_peak:0\r\ncurrent_cow_size:0\r\ncurrent_cow_size_age:0\r\n");
    buf_printf(out,
               "current_fork_perc:%.2f\r\ncurrent_save_keys_processed:%llu\r\n"
               "current_save_keys_total:%llu\r\n",
               keys_total ? 100.0 * (double)keys_done / (double)keys_total : 0,
               (unsigned long long)keys_done, (unsigned long long)keys_total);
    buf_printf(out,
               "rdb_changes_since_last_save:%llu\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_"
               "time:%lld\r\n"
               "rdb_last_bgsave_status:%s\r\nrdb_last_bgsave_time_sec:%lld\r\nrdb_current_bgsave_"
               "time_sec:%lld\r\n"
               "rdb_saves:%llu\r\nrdb_last_cow_size:0\r\nrdb_last_load_keys_expired:%lld\r\n"
               "rdb_last_load_keys_loaded:%lld\r\n",
               (unsigned long long)engine->dirty, saving || replication_sends_rdb(engine),
               (long long)(p->last_save_ms / 1000), p->last_bgsave_ok ? "ok" : "err",
               (long long)(p->last_bgsave_took_ms < 0 ? -1 : p->last_bgsave_took_ms / 1000),
               (long long)(saving ? (engine->now_ms - p->bgsave_started_ms) / 1000 : -1),
               (unsigned long long)p->saves, (long long)p->keys_expired_on_load,
               (long long)p->keys_loaded);
    aof_info(p->aof, out);
    snapshot_info(engine, out);
    if (!engine->loading && !engine->async_loading) return;
    info_loading(engine, out);
}

void save_open(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"save", save_command}, {"bgsave", bgsave_command}, {"lastsave", lastsave_command}};
    command_bind(engine, bindings, COUNT(bindings));
    engine_hook_add(engine, HOOK_TICK, tick);
    engine_hook_add(engine, HOOK_FLUSHED, flushed);
    engine_shutdown_add(engine, at_shutdown);
    engine_gate_add(engine, disk_gate);
    engine_info_add(engine, "persistence", info);
}
