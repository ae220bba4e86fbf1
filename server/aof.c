/* aof.c -- append what commands did; on, off, and what INFO says. See aof.h. */
#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/aof_internal.h"
#include "server/drawbridge.h"

#include <unistd.h>

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

void aof_use_file(struct aof *aof, int fd, uint64_t size) {
    ASSERT(!aof->job_given);
    aof->fd = fd;
    aof->file_size = size;
    aof->selected_db = -1;
    aof->must_cut = false;
}

/* ---- the turn ---- */

static void before_reply(struct engine *engine) {
    struct aof *aof = persistence_of(engine)->aof;
    if (aof->state != AOF_OFF) aof_flush(aof);
    aof_hold_replies(aof);
}

static void tick(struct engine *engine) {
    struct aof *aof = persistence_of(engine)->aof;
    if (aof->state != AOF_OFF) {
        aof_write_tick(aof);
        aof_sync_tick(aof);
    }
    aof_rewrite_tick(aof); /* BGREWRITEAOF of a MULTI waits for it, also while there is no AOF */
}

/* ---- on and off ---- */

void aof_drop_unwritten(struct aof *aof) {
    buf_close(&aof->buffer);
    buf_close(&aof->write.bytes);
    aof->written = aof->appended;
    aof->behind_since_ms = 0;
    aof->is_late = aof->must_cut = false;
    aof_end_choke(aof);
    aof->fault[0] = aof->sync_fault[0] = '\0';
    aof->doubted_until = 0;
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
    }
    aof_stop(aof); /* or it was turned off a moment ago, and is being written */
    return false;
}

static uint64_t current_size(const struct aof *aof) {
    return aof->base_size + aof->file_size + aof_unwritten(aof);
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
               "aof_pending_bio_fsync:%d\r\naof_delayed_fsync:%llu\r\n"
               "drawbridge_aof_late:%d\r\ndrawbridge_aof_times_late:%llu\r\n",
               (unsigned long long)current_size(aof), (unsigned long long)aof->base_size,
               aof_unwritten(aof), aof->sync_running, (unsigned long long)aof->times_choked,
               aof->is_late, (unsigned long long)aof->times_late);
}

struct aof *aof_open(struct engine *engine) {
    struct aof *aof = NEW(struct aof);
    aof->engine = engine;
    aof->fd = -1;
    aof->selected_db = -1;
    aof->last_rewrite_ok = true;
    aof->last_rewrite_took_ms = -1;
    aof_write_open(aof);
    aof_switch_open(aof);
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
    aof->last_sync_ms = aof_now_ms(aof);
}
