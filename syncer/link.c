/* link.c -- opening, closing and ordering links. See link.h. */
#include "syncer/link.h"

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "syncer/copy.h"
#include "syncer/disk.h"
#include "syncer/target.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const state_names[] = {"dialing", "snapshot", "copying", "following", "draining",
                                          "standby", "paused",   "blocked", "stopped"};

const char *link_state_name(enum link_state state) { return state_names[state]; }

/* ---- notes on disk ---- */

static void active_path(const struct link *link, char *path, size_t size) { snprintf(path, size, "%s/active", link->folder); }

enum err link_note_active(struct link *link, struct why *why) {
    char path[4352];
    struct buf text = {0};
    active_path(link, path, sizeof path);
    buf_printf(&text, "%" PRIu64 "\n", link->epoch);
    enum err err = fs_replace(path, buf_slice(&text), why);
    buf_close(&text);
    if (err == OK) link->active_epoch = link->epoch;
    return err;
}

static void read_active(struct link *link) {
    char path[4352];
    struct buf text = {0};
    struct why why;
    active_path(link, path, sizeof path);
    if (fs_read_file(path, 64, &text, &why) != OK || sscanf(buf_text(&text), "%" SCNu64, &link->active_epoch) != 1) link->active_epoch = 0;
    buf_close(&text);
}

/* ---- opening and closing ---- */

static struct link *make(const struct link_options *options) {
    char folder[4200];
    struct link *link = NEW(struct link);
    snprintf(link->name, sizeof link->name, "%s", options->name);
    snprintf(link->other, sizeof link->other, "%s", strcmp(options->name, "forward") == 0 ? "reverse" : "forward");
    snprintf(folder, sizeof folder, "%s/%s", options->spool_dir, options->name);
    link->folder = mem_strdup(folder);
    link->from = options->from;
    link->to = options->to;
    link->epoch = options->epoch;
    link->sent = options->sent;
    link->others_sent = options->others_sent;
    link->pieces_over = options->pieces_over ? options->pieces_over : LINK_PIECES_OVER;
    link->may_copy = options->may_copy;
    link->on_change = options->on_change;
    link->self = options->self;
    link->orders.role = options->role;
    link->orders.limit = UINT64_MAX;
    link->orders.throttle_ops = options->throttle_ops;
    link->orders.throttle_bytes = options->throttle_bytes;
    link->status.since_ms = clock_wall_ms(clock_real());
    link->status.copy.eta_ms = -1;
    link->status.way_back = true;
    link->own_until = options->own_until;
    link->by_lanes = options->by_lanes;
    pthread_mutex_init(&link->lock, NULL);
    return link;
}

static void destroy(struct link *link) {
    spool_close(link->spool);
    for (size_t i = 0; i < LINK_QUARANTINE_SHOWN; i++) buf_close(&link->quarantined[i].key);
    foreign_close(&link->foreign);
    buf_close(&link->repair);
    buf_close(&link->repair_foreign);
    buf_close(&link->recent);
    pthread_mutex_destroy(&link->lock);
    mem_free(link->folder);
    mem_free(link);
}

enum err link_open(struct link **link, const struct link_options *options, struct why *why) {
    struct link *made = make(options);
    struct spool_options spool = {.limit_bytes = options->limit_bytes, .segment_bytes = UINT64_C(64) << 20};
    if (spool.segment_bytes > spool.limit_bytes / 8) spool.segment_bytes = spool.limit_bytes / 8 + 1;
    enum err err = spool_open(made->folder, &spool, &made->spool, why);
    if (err != OK) {
        destroy(made);
        return why_add(why, err, "link %s", options->name);
    }
    struct spool_info info;
    spool_look(made->spool, &info);
    if (info.discarded_rdb)
        log_warn("link.rdb_cut", LOG_S("link", made->name),
                 LOG_S("effect", "the process ended before the RDB was complete; the source must send a new one"));
    made->status.received_offset = info.end;
    read_active(made);
    copy_note_read(made);
    if (pthread_create(&made->receiver, NULL, link_receive_main, made) != 0 ||
        pthread_create(&made->applier, NULL, link_apply_main, made) != 0)
        check_failed("pthread_create", __FILE__, __LINE__, __func__);
    made->running = true;
    *link = made;
    return OK;
}

static void stop(struct link *link) {
    if (!link->running) return;
    pthread_mutex_lock(&link->lock);
    link->orders.stop = true;
    for (int i = 0; i < 2; i++)
        if (link->interruptible[i]) rblock_interrupt(link->interruptible[i]);
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    pthread_join(link->receiver, NULL);
    pthread_join(link->applier, NULL);
    link->running = false;
}

void link_close(struct link *link) {
    if (!link) return;
    stop(link);
    destroy(link);
}

void link_remove(struct link *link) {
    struct target target = {0};
    struct why why;
    if (!link) return;
    stop(link);
    enum err err = target_open(&target, link->to, NULL, link->folder, &why);
    if (err == OK) err = target_remove_checkpoint(&target, link->name, &why);
    if (err == OK) err = target_import(&target, false, &why);
    target_close(&target);
    if (err != OK) log_warn("link.checkpoint_stays", LOG_S("link", link->name), LOG_WHY(&why));
    disk_remove_folder(link->folder);
    destroy(link);
}

/* ---- for the threads ---- */

bool link_stopping(struct link *link) {
    pthread_mutex_lock(&link->lock);
    bool stopping = link->orders.stop;
    pthread_mutex_unlock(&link->lock);
    return stopping;
}

void link_wake(struct link *link) { spool_wake(link->spool); }

void link_sleep(struct link *link, int ms) {
    static _Thread_local uint64_t seen; /* a thread belongs to one link */
    spool_wait(link->spool, &seen, ms);
}

void link_rest(struct link *link, int ms) {
    uint64_t until = clock_mono_ms(clock_real()) + (uint64_t)ms, now;
    while (!link_stopping(link) && (now = clock_mono_ms(clock_real())) < until) link_sleep(link, (int)(until - now));
}

void link_set_interruptible(struct link *link, int which, struct rblock *conn) {
    pthread_mutex_lock(&link->lock);
    link->interruptible[which] = conn;
    if (conn && link->orders.stop) rblock_interrupt(conn);
    pthread_mutex_unlock(&link->lock);
}

void link_set_state(struct link *link, enum link_state state, const char *error) {
    pthread_mutex_lock(&link->lock);
    struct link_status *s = &link->status;
    bool moved = s->state != state;
    bool changed = moved || strcmp(s->error, error ? error : "") != 0;
    if (moved) s->since_ms = clock_wall_ms(clock_real());
    s->state = state;
    snprintf(s->error, sizeof s->error, "%s", error ? error : "");
    pthread_mutex_unlock(&link->lock);
    if (moved) log_info("link.moved", LOG_S("link", link->name), LOG_S("to", link_state_name(state)), LOG_S("error", error));
    if (changed && link->on_change) link->on_change(link->self, link);
}

void link_note_received(struct link *link, uint64_t offset) {
    int64_t now = (int64_t)clock_mono_ms(clock_real());
    pthread_mutex_lock(&link->lock);
    link->status.received_offset = offset;
    while (link->sample_count > 0 && /* of a history that ended, whose offsets were larger */
           link->samples[(link->sample_first + link->sample_count - 1) % LINK_SAMPLES].offset > offset)
        link->sample_count--;
    size_t last = (link->sample_first + link->sample_count + LINK_SAMPLES - 1) % LINK_SAMPLES;
    if (link->sample_count > 0 && now - link->samples[last].at_ms < 10) {
        link->samples[last].offset = offset;
    } else {
        if (link->sample_count == LINK_SAMPLES) { /* forget the second: the oldest tells the lag */
            size_t second = (link->sample_first + 1) % LINK_SAMPLES;
            link->samples[second] = link->samples[link->sample_first];
            link->sample_first = second;
            link->sample_count--;
        }
        link->samples[(link->sample_first + link->sample_count++) % LINK_SAMPLES] = (struct link_sample){now, offset};
    }
    pthread_mutex_unlock(&link->lock);
}

int64_t link_lag_ms(struct link *link) {
    int64_t lag = 0, now = (int64_t)clock_mono_ms(clock_real());
    pthread_mutex_lock(&link->lock);
    uint64_t applied = link->status.positioned ? link->status.applied.offset : 0;
    while (link->sample_count > 0 && link->samples[link->sample_first].offset <= applied) {
        link->sample_first = (link->sample_first + 1) % LINK_SAMPLES;
        link->sample_count--;
    }
    if (link->sample_count > 0) lag = now - link->samples[link->sample_first].at_ms;
    pthread_mutex_unlock(&link->lock);
    return lag;
}

uint64_t link_came_before(struct link *link, int64_t mono_ms) {
    uint64_t offset = 0;
    pthread_mutex_lock(&link->lock);
    for (size_t i = 0; i < link->sample_count; i++) {
        const struct link_sample *sample = &link->samples[(link->sample_first + i) % LINK_SAMPLES];
        if (sample->at_ms > mono_ms) break;
        offset = sample->offset;
    }
    pthread_mutex_unlock(&link->lock);
    return offset;
}

void link_get_status(struct link *link, struct link_status *status) {
    pthread_mutex_lock(&link->lock);
    *status = link->status;
    status->foreign_units = link->foreign.open;
    status->foreign_total = link->foreign.total;
    pthread_mutex_unlock(&link->lock);
}

void link_get_orders(struct link *link, struct link_orders *orders) {
    pthread_mutex_lock(&link->lock);
    *orders = link->orders;
    pthread_mutex_unlock(&link->lock);
}

/* ---- orders ---- */

void link_pause(struct link *link, bool paused) {
    pthread_mutex_lock(&link->lock);
    link->orders.paused = paused;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

void link_throttle(struct link *link, uint64_t ops, uint64_t bytes) {
    pthread_mutex_lock(&link->lock);
    link->orders.throttle_ops = ops;
    link->orders.throttle_bytes = bytes;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

enum err link_drain(struct link *link, const char *barrier, uint64_t offset, struct why *why) {
    enum err err = OK;
    pthread_mutex_lock(&link->lock);
    if (link->orders.role != LINK_ACTIVE && !link->status.drained) {
        err = why_set(why, ERR_STATE, "the link is in standby");
    } else if (link->orders.role == LINK_ACTIVE) {
        link->orders.drain = true;
        link->orders.drain_offset = offset;
        link->status.drained = false;
    }
    snprintf(link->orders.barrier, sizeof link->orders.barrier, "%s", barrier);
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    return err;
}

void link_undrain(struct link *link) {
    pthread_mutex_lock(&link->lock);
    if (link->orders.drain || link->status.drained) {
        link->orders.drain = false;
        link->orders.role = LINK_ACTIVE;
        link->status.drained = false;
        foreign_forget(&link->foreign); /* what clients wrote since: the link goes on in front of it */
    }
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

enum err link_activate(struct link *link, uint64_t epoch, const char *replid, uint64_t offset, struct why *why) {
    struct spool_info info;
    enum err err = OK;
    spool_look(link->spool, &info);
    pthread_mutex_lock(&link->lock);
    link->epoch = epoch;
    if (link->orders.role == LINK_ACTIVE || link->orders.take_over) {
        pthread_mutex_unlock(&link->lock);
        return OK; /* told again */
    }
    if (link->active_epoch == epoch) { /* carried out before a restart: its checkpoint knows more */
        link->orders.role = LINK_ACTIVE;
        link->status.drained = false;
        foreign_forget(&link->foreign); /* these were its clients */
    } else if (info.kind == SPOOL_EMPTY || info.kind == SPOOL_RECEIVING || offset < info.begin ||
               (offset <= info.end && !spool_holds(link->spool, replid, offset))) {
        err = why_set(why, ERR_ABSENT, "the spool has offsets %" PRIu64 " to %" PRIu64 " of %s, not %" PRIu64 " of %s", info.begin,
                      info.end, info.replid[0] ? info.replid : "nothing", offset, replid);
        link->status.way_back = false;
    } else {
        link->orders.take_over = true;
        link->orders.activate_at = (struct place){.offset = offset, .db = -1};
        snprintf(link->orders.activate_replid, sizeof link->orders.activate_replid, "%s", replid);
    }
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    return err;
}

void link_own_until(struct link *link, uint64_t offset) {
    pthread_mutex_lock(&link->lock);
    if (offset > link->own_until) link->own_until = offset;
    pthread_mutex_unlock(&link->lock);
}

void link_set_by_lanes(struct link *link, bool by_lanes) {
    pthread_mutex_lock(&link->lock);
    link->by_lanes = by_lanes;
    pthread_mutex_unlock(&link->lock);
}

enum err link_discard(struct link *link, uint64_t offset, struct why *why) {
    enum err err = OK;
    pthread_mutex_lock(&link->lock);
    if (link->orders.role != LINK_STANDBY) err = why_set(why, ERR_STATE, "the link is active");
    else if (offset > link->orders.discard) link->orders.discard = offset;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    return err;
}
