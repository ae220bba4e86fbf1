/* link_stream.c -- the stream phase: units from the spool, in transactions with their checkpoint, to
 * the target (C5). The decisions are apply's; here they are carried out.
 */
#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/control/rblock.h"
#include "lib/redis/reply.h"
#include "syncer/link_apply.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TICK_MS 200
#define LEARN_MS 3000
#define COPIES_MS 50
#define COMPACT_MS 60000
#define SOURCE_AWAY_MS 3000
#define IDLE_CHECKPOINT_BYTES (1u << 20)
#define LOG_BYTES_MAX ((size_t)1 << 30)

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }
static int64_t wall_ms(void) { return clock_wall_ms(clock_real()); }

/* ---- status ---- */

static void publish(struct applier *a) {
    struct link *link = a->link;
    struct apply *apply = &a->apply;
    pthread_mutex_lock(&link->lock);
    struct link_status *s = &link->status;
    s->applied = apply->place;
    memcpy(s->applied_replid, apply->replid, sizeof s->applied_replid);
    s->positioned = true;
    s->units_total = apply->units_total;
    s->commands_total = apply->commands_total;
    s->left_out_total = apply->left_out_total;
    s->unknown_total = apply->unknown_total;
    s->dirty_keys = dirty_count(&apply->dirty);
    s->quarantined_keys = apply->dirty.quarantined;
    s->foreign_dirty = apply->dirty.foreign;
    pthread_mutex_unlock(&link->lock);
}

/* The first of the quarantined keys, for people. */
static void publish_quarantine(struct applier *a) {
    struct link *link = a->link;
    struct keymap_walk walk = {0};
    pthread_mutex_lock(&link->lock);
    link->quarantined_shown = 0;
    if (a->apply.dirty.quarantined > 0)
        for (const struct dirty_key *k; link->quarantined_shown < LINK_QUARANTINE_SHOWN && (k = keymap_next(&a->apply.dirty.keys, &walk));) {
            if (!k->quarantined) continue;
            struct link_quarantined *q = &link->quarantined[link->quarantined_shown++];
            q->db = k->entry.db;
            buf_clear(&q->key);
            buf_add(&q->key, slice_take(k->entry.key, k->entry.key.size < 200 ? k->entry.key.size : 200));
            memcpy(q->reason, k->reason, sizeof q->reason);
        }
    pthread_mutex_unlock(&link->lock);
}

/* ---- housekeeping ---- */

static enum err learn_persistence(struct applier *a, struct why *why) {
    const struct resp_reply *reply = NULL;
    enum err err = rblock_words(a->target.conn, &reply, why, "INFO persistence");
    if (err == OK && !resp_reply_is_error(reply)) horizon_learn(&a->horizon, reply->text, a->ahead_ms);
    int64_t seconds = 0, micros = 0, began = wall_ms();
    if (err == OK) err = rblock_words(a->target.conn, &reply, why, "TIME");
    if (err == OK && reply->kind == RESP_ARRAY && reply->count == 2 && resp_reply_to_int(&reply->child[0], &seconds) &&
        resp_reply_to_int(&reply->child[1], &micros))
        a->ahead_ms = seconds * 1000 + micros / 1000 - began;
    return err;
}

/* C5b: keep what the target could fall back to, up to half of the limit. */
static enum err trim(struct applier *a, struct why *why) {
    struct spool_info info;
    struct place safe;
    struct spool *spool = a->link->spool;
    spool_look(spool, &info);
    bool known = horizon_safe(&a->horizon, wall_ms(), &safe);
    if (!known && info.bytes > info.limit_bytes / 2) {
        safe = a->apply.place;
        known = true;
        log_warn("spool.rewind_lost", LOG_S("link", a->link->name),
                 LOG_S("effect", "the target saves nothing; if it dies it needs a new copy"));
    }
    if (!known || safe.copies > 0) return OK;
    if (info.kind == SPOOL_COPY) return safe.offset > info.copy_offset ? spool_drop_rdb(spool, why) : OK;
    if (safe.offset < info.begin + (1u << 20) && info.bytes < info.limit_bytes / 2) return OK; /* not for trifles */
    return spool_keep_from(spool, safe.offset, safe.db, why);
}

/* Rewrite the logs without what no checkpoint can need any more. */
static enum err compact(struct applier *a, struct why *why) {
    char path[4352];
    struct buf log = {0}, out = {0};
    struct spool_info info;
    spool_look(a->link->spool, &info);
    enum err err = applier_write_logs(a, why);
    snprintf(path, sizeof path, "%s/dirty", a->link->folder);
    if (err == OK) err = fs_read_file(path, LOG_BYTES_MAX, &log, why);
    if (err == OK && buf_size(&log) > 4u << 20) {
        struct place horizon = {.offset = info.begin};
        dirty_compact(buf_slice(&log), horizon, &out);
        if (buf_size(&out) * 2 < buf_size(&log)) err = fs_replace(path, buf_slice(&out), why);
    }
    buf_clear(&log);
    buf_clear(&out);
    snprintf(path, sizeof path, "%s/deadlines", a->link->folder);
    if (err == OK) err = fs_read_file(path, LOG_BYTES_MAX, &log, why);
    if (err == OK && buf_size(&log) > (4u << 20)) {
        deadlines_save(&a->apply.deadlines, true, &out);
        if (buf_size(&out) * 2 < buf_size(&log)) err = fs_replace(path, buf_slice(&out), why);
    }
    buf_close(&log);
    buf_close(&out);
    return err == OK ? applier_open_files(a, false, why) : err;
}

static enum err tick(struct applier *a, struct why *why) {
    uint64_t now = now_ms();
    enum err err = OK;
    if (now < a->tick_due_ms) return OK;
    a->tick_due_ms = now + TICK_MS;
    publish(a);
    publish_quarantine(a);
    horizon_note(&a->horizon, wall_ms(), a->apply.place);
    if (now >= a->learn_due_ms) {
        a->learn_due_ms = now + LEARN_MS;
        err = learn_persistence(a, why);
        if (err == OK) err = trim(a, why);
        if (err == ERR_DISK_FULL) err = OK; /* there is room again when something was applied */
    }
    if (err == OK && now >= a->compact_due_ms) {
        a->compact_due_ms = now + COMPACT_MS;
        err = compact(a, why);
    }
    return err;
}

/* ---- batches ---- */

/* For the other link, which will read it in the target's stream (C8). */
static void note_sent(struct applier *a) {
    struct sent *sent = a->link->sent;
    const struct apply *apply = &a->apply;
    struct slice rest = buf_slice(&apply->deletes), key;
    if (!sent) return;
    if (apply->deletes_any) sent_note_any(sent, apply->end);
    for (int db; foreign_take_key(&rest, &db, &key);) sent_note(sent, apply->end, db, key);
}

/* Send what the decider built and show it the answers. */
static enum err exchange(struct applier *a, enum apply_verdict *verdict, struct why *why) {
    struct apply *apply = &a->apply;
    enum err err = applier_write_logs(a, why);
    if (err != OK) return err;
    note_sent(a);
    rblock_append_raw(a->target.conn, buf_slice(&apply->wire));
    err = rblock_flush(a->target.conn, why);
    for (size_t i = 0, count = apply->item_count; i < count && err == OK; i++) {
        const struct resp_reply *reply = NULL;
        err = rblock_read(a->target.conn, &reply, why);
        if (err == OK) apply_answer(apply, reply);
    }
    if (err != OK) return err;
    *verdict = apply_batch_end(apply, why);
    a->refused = *verdict == APPLY_RETRY;
    if (*verdict == APPLY_APPLIED) {
        a->sent_checkpoint = apply->place;
        pthread_mutex_lock(&a->link->lock);
        a->link->status.applied_wall_ms = wall_ms();
        pthread_mutex_unlock(&a->link->lock);
    }
    return applier_write_logs(a, why);
}

/* Fill a batch with what the spool has. *ADDED units went in. */
static enum err fill(struct applier *a, uint64_t limit, size_t *added, struct why *why) {
    enum err err = OK;
    *added = 0;
    uint64_t late = link_came_before(a->link, (int64_t)now_ms() - APPLY_SPAN_LATE_MS);
    if (late > a->apply.late_until) a->apply.late_until = late;
    for (;;) {
        enum step step = applier_next(a, &err, why);
        if (step == STEP_FAIL) return err;
        if (step == STEP_MORE) return OK;
        if (a->unit.end > limit) return OK;
        if (!apply_batch_add(&a->apply, &a->unit, wall_ms() + a->ahead_ms)) break;
        a->have_unit = false;
        ++*added;
    }
    return a->apply.broken ? why_set(why, ERR_CORRUPT, "%s", a->apply.trouble.text) : OK;
}

static enum err back_to_place(struct applier *a, struct why *why) {
    return applier_move(a, a->apply.place.offset, a->apply.place.db, why);
}

static enum err obey_verdict(struct applier *a, enum apply_verdict verdict, struct why *why) {
    enum err err = OK;
    switch (verdict) {
    case APPLY_APPLIED: return OK;
    case APPLY_REBUILD: return back_to_place(a, why);
    case APPLY_RETRY:
        log_warn("link.target_refuses", LOG_S("link", a->link->name), LOG_WHY(why));
        link_set_state(a->link, LINK_BLOCKED, why->text);
        link_rest(a->link, 500);
        err = back_to_place(a, why);
        return err;
    case APPLY_BROKEN: return ERR_PROTO;
    }
    return OK;
}

/* One round: a batch of copies that are due, or one of units. *DID: something went on. */
static enum err round_trip(struct applier *a, uint64_t limit, bool *did, struct why *why) {
    struct apply *apply = &a->apply;
    enum apply_verdict verdict = APPLY_APPLIED;
    char replid[REPLID_SIZE + 1];
    size_t added = 0;
    *did = true;
    if (apply_copies_build(apply)) {
        enum err err = exchange(a, &verdict, why);
        if (err != OK) return err;
        if (verdict == APPLY_APPLIED || verdict == APPLY_REBUILD) return OK; /* the stream's place is the same */
        return obey_verdict(a, verdict, why);
    }
    apply_batch_begin(apply);
    enum err err = fill(a, limit, &added, why);
    if (err != OK) return err;
    *did = added > 0;
    if (added == 0) return OK;
    spool_replid_at(a->link->spool, apply->end.offset, replid);
    apply_renamed(apply, replid);
    bool long_idle = apply->end.offset - a->sent_checkpoint.offset > IDLE_CHECKPOINT_BYTES;
    if (!apply_batch_seal(apply, long_idle)) return applier_write_logs(a, why);
    err = exchange(a, &verdict, why);
    return err == OK ? obey_verdict(a, verdict, why) : err;
}

/* ---- the phase ---- */

/* Units that a process applied which died before it saw the answers (C7b). */
static enum err suspects(struct applier *a, struct place from, struct why *why) {
    enum err err = applier_move(a, from.offset, from.db, why);
    if (err == ERR_ABSENT) { /* trimmed: the log of SEEN is older than the spool, which it never is */
        return why_set(why, ERR_CORRUPT, "the log of dirty keys does not fit to the spool");
    }
    while (err == OK && a->units.offset < a->apply.place.offset) {
        enum step step = applier_next(a, &err, why);
        if (step == STEP_FAIL) return err;
        if (step == STEP_MORE) return why_set(why, ERR_CORRUPT, "the checkpoint lies inside a unit");
        apply_suspect(&a->apply, &a->unit);
        a->have_unit = false;
    }
    if (err == OK && a->units.offset != a->apply.place.offset)
        return why_set(why, ERR_CORRUPT, "the checkpoint lies inside a unit");
    return err;
}

static enum err resume(struct applier *a, const struct checkpoint *checkpoint, struct why *why) {
    char path[4352];
    struct buf log = {0}, deadlines = {0};
    struct place from = {0};
    size_t good = 0;
    enum err err = applier_open_files(a, false, why);
    snprintf(path, sizeof path, "%s/dirty", a->link->folder);
    if (err == OK) err = fs_read_file(path, LOG_BYTES_MAX, &log, why);
    snprintf(path, sizeof path, "%s/deadlines", a->link->folder);
    if (err == OK) err = fs_read_file(path, LOG_BYTES_MAX, &deadlines, why);
    if (err == OK) {
        apply_resume(&a->apply, checkpoint, buf_slice(&log), buf_slice(&deadlines), &from, &good);
        if (good < buf_size(&log) && ftruncate(a->files.dirty_fd, (off_t)good) != 0)
            err = why_set(why, ERR_IO, "cut the log of dirty keys");
    }
    buf_close(&log);
    buf_close(&deadlines);
    struct spool_info info;
    spool_look(a->link->spool, &info);
    if (from.offset < info.begin) from = (struct place){.offset = info.begin, .db = info.begin_db}; /* no data before it */
    if (err == OK && from.offset < a->apply.place.offset) err = suspects(a, from, why);
    if (err == OK) err = applier_move(a, a->apply.place.offset, a->apply.place.db, why);
    if (err == OK) err = applier_write_logs(a, why);
    return err;
}

static void mark_all(struct applier *a, const struct buf *keys, bool foreign) {
    struct slice rest = buf_slice(keys), key;
    for (int db; foreign_take_key(&rest, &db, &key);) {
        if (foreign) dirty_mark_foreign(&a->apply.dirty, a->apply.place, db, key);
        else dirty_mark(&a->apply.dirty, a->apply.place, db, key, "an audit found a difference");
    }
}

/* Keys that an audit wants to be copied again, and keys that others wrote at the target (C26, C33). */
static enum err obey_repair(struct applier *a, struct why *why) {
    struct link *link = a->link;
    pthread_mutex_lock(&link->lock);
    struct buf keys = link->repair, foreign = link->repair_foreign;
    link->repair = link->repair_foreign = (struct buf){0};
    link->orders.repair = false;
    link->status.foreign_dirty = FOREIGN_UNKNOWN;
    pthread_mutex_unlock(&link->lock);
    mark_all(a, &keys, false);
    mark_all(a, &foreign, true);
    buf_close(&keys);
    buf_close(&foreign);
    enum err err = applier_write_logs(a, why);
    if (err == OK) publish(a);
    return err;
}

static void set_holding(struct link *link, bool holding) {
    pthread_mutex_lock(&link->lock);
    bool changed = link->status.holding != holding;
    link->status.holding = holding;
    pthread_mutex_unlock(&link->lock);
    if (changed) spool_wake(link->spool);
}

/* The keys that were written last, for the barrier's comparison. */
static void publish_recent(struct applier *a) {
    struct link *link = a->link;
    pthread_mutex_lock(&link->lock);
    buf_clear(&link->recent);
    for (size_t i = 0; i < APPLY_RECENT; i++) {
        const struct apply_recent *r = &a->apply.recent[i];
        if (r->used) foreign_put_key(&link->recent, r->db, buf_slice(&r->key));
    }
    pthread_mutex_unlock(&link->lock);
}

/* The drain's end (C23): nothing dirty, applied at least up to the offset; connections gone. */
static enum err finish_drain(struct applier *a, struct why *why) {
    struct link *link = a->link;
    publish(a);
    enum apply_verdict verdict = APPLY_APPLIED;
    if (place_compare(&a->sent_checkpoint, &a->apply.place) < 0) {
        apply_batch_begin(&a->apply);
        if (apply_batch_seal(&a->apply, true)) {
            enum err err = exchange(a, &verdict, why);
            if (err != OK) return err;
            if (verdict != APPLY_APPLIED) return obey_verdict(a, verdict, why);
        }
    }
    publish_recent(a);
    link_set_interruptible(link, 0, NULL);
    enum err err = target_retire(&a->target, link->to, link->folder, why);
    if (err != OK) return err;
    pthread_mutex_lock(&link->lock);
    if (!link->orders.drain) { /* UNDRAIN came meanwhile: the barrier was aborted, and we are active still */
        pthread_mutex_unlock(&link->lock);
        return why_set(why, ERR_STOPPED, "the drain was taken back");
    }
    link->orders.role = LINK_STANDBY;
    link->orders.drain = false;
    link->status.drained = true;
    if (a->apply.place.offset > link->own_until) link->own_until = a->apply.place.offset;
    pthread_mutex_unlock(&link->lock);
    link_set_state(link, LINK_STANDING_BY, NULL);
    log_info("link.drained", LOG_S("link", link->name), LOG_U("offset", a->apply.place.offset));
    return why_set(why, ERR_STOPPED, "drained");
}

/* What the link's state is when nothing went wrong here. A source that has been away for a while is told. */
static void show_state(struct applier *a, const struct link_orders *orders) {
    struct link_status s;
    if (a->refused) return;
    link_get_status(a->link, &s);
    bool away = s.spool_failed || (s.source_lost_ms > 0 && (int64_t)now_ms() - s.source_lost_ms > SOURCE_AWAY_MS);
    if (orders->drain) link_set_state(a->link, LINK_DRAINING, NULL);
    else if (orders->paused) link_set_state(a->link, LINK_PAUSED, NULL);
    else if (away) link_set_state(a->link, s.way_broken || s.spool_failed ? LINK_BLOCKED : LINK_DIALING, s.source_error);
    else link_set_state(a->link, LINK_FOLLOWING, NULL);
}

/* One turn; ERR_STOPPED when the orders are others now. */
static enum err turn(struct applier *a, struct why *why) {
    struct link *link = a->link;
    struct link_orders orders;
    bool did = false;
    link_get_orders(link, &orders);
    if (orders.stop || orders.role != LINK_ACTIVE || orders.begin_again) return why_set(why, ERR_STOPPED, "other orders");
    enum err err = orders.repair ? obey_repair(a, why) : OK;
    bool hold = orders.paused || orders.audit_pause;
    if (err == OK && !hold) err = round_trip(a, orders.limit, &did, why);
    if (err != OK) return err;
    set_holding(link, hold || (!did && a->apply.place.offset >= orders.limit));
    if (dirty_count(&a->apply.dirty) > 0 && !hold && now_ms() >= a->copies_due_ms) {
        a->copies_due_ms = now_ms() + COPIES_MS;
        link_fetch_copies(a);
    }
    err = tick(a, why);
    if (err != OK) return err;
    show_state(a, &orders);
    if (did) return OK;
    publish(a);
    bool level = a->apply.place.offset >= orders.drain_offset &&
                 dirty_count(&a->apply.dirty) <= a->apply.dirty.quarantined && !a->apply.copies;
    if (orders.drain && level) return finish_drain(a, why);
    link_sleep(link, dirty_count(&a->apply.dirty) > 0 ? 5 : 100);
    return OK;
}

enum err link_stream(struct applier *a, const struct checkpoint *checkpoint, struct why *why) {
    struct link *link = a->link;
    apply_init(&a->apply, &a->rules);
    a->tick_due_ms = a->copies_due_ms = 0;
    a->learn_due_ms = now_ms();
    a->compact_due_ms = now_ms() + COMPACT_MS;
    a->horizon = (struct horizon){0};
    a->refused = false;
    struct spool_info spool;
    spool_look(link->spool, &spool);
    a->apply.late_until = spool.end; /* who knows when that came */
    enum err err = resume(a, checkpoint, why);
    if (err == OK) err = learn_persistence(a, why);
    if (err == OK) {
        a->sent_checkpoint = a->apply.place;
        if (link->sent) sent_begin(link->sent, a->apply.place);
        publish(a);
        pthread_mutex_lock(&link->lock);
        link->status.copy.done = true;
        pthread_mutex_unlock(&link->lock);
        log_info("link.following", LOG_S("link", link->name), LOG_U("offset", a->apply.place.offset),
                 LOG_U("dirty", dirty_count(&a->apply.dirty)));
        link_set_state(link, LINK_FOLLOWING, NULL);
    }
    while (err == OK) err = turn(a, why);
    apply_close(&a->apply);
    spool_reader_close(&a->reader);
    set_holding(link, false);
    return err;
}
