/* link_apply.c -- the apply thread: finds out where the target stands, then copies, follows or stands by. */
#include "syncer/link_apply.h"

#include "lib/base/clock.h"
#include "lib/base/fs.h"
#include "lib/base/log.h"
#include "lib/control/rblock.h"
#include "syncer/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000
#define AGAIN_MS 50
#define LOG_BYTES_MAX ((size_t)1 << 30)

/* ---- files of the decider ---- */

void applier_close_files(struct applier *a) {
    if (a->files.dirty_fd >= 0) close(a->files.dirty_fd);
    if (a->files.deadlines_fd >= 0) close(a->files.deadlines_fd);
    a->files.dirty_fd = a->files.deadlines_fd = -1;
}

enum err applier_open_files(struct applier *a, bool fresh, struct why *why) {
    char dirty[4352], deadlines[4352];
    uint64_t size = 0;
    snprintf(dirty, sizeof dirty, "%s/dirty", a->link->folder);
    snprintf(deadlines, sizeof deadlines, "%s/deadlines", a->link->folder);
    applier_close_files(a);
    if (fresh) {
        disk_remove(dirty);
        disk_remove(deadlines);
    }
    enum err err = disk_open_append(dirty, &a->files.dirty_fd, &size, why);
    return err == OK ? disk_open_append(deadlines, &a->files.deadlines_fd, &size, why) : err;
}

static enum err append(int fd, struct buf *log, struct why *why) {
    size_t written = 0;
    if (buf_size(log) == 0) return OK;
    enum err err = disk_write(fd, buf_slice(log), &written, why);
    buf_consume(log, written);
    return err == OK ? OK : why_add(why, err, "the log of dirty keys");
}

/* Deadlines first: what they lack is found again only in units whose answers were not seen. */
enum err applier_write_logs(struct applier *a, struct why *why) {
    enum err err = append(a->files.deadlines_fd, &a->apply.deadlines.log, why);
    return err == OK ? append(a->files.dirty_fd, &a->apply.dirty.log, why) : err;
}

/* ---- reading ---- */

enum err applier_move(struct applier *a, uint64_t offset, int db, struct why *why) {
    spool_reader_close(&a->reader);
    unit_reader_move(&a->units, offset, db);
    a->have_unit = false;
    return spool_reader_open(&a->reader, a->link->spool, offset, why);
}

enum step applier_next(struct applier *a, enum err *err, struct why *why) {
    if (a->have_unit) return STEP_DONE;
    for (;;) {
        size_t got = 0;
        enum step step = unit_next(&a->units, &a->unit, why);
        *err = step == STEP_FAIL ? ERR_PROTO : OK;
        a->have_unit = step == STEP_DONE;
        if (step != STEP_MORE) return step;
        *err = spool_read(&a->reader, buf_room(&a->units.in, 256 << 10), 256 << 10, &got, why);
        if (*err != OK) return STEP_FAIL;
        if (got == 0) return STEP_MORE;
        buf_filled(&a->units.in, got);
    }
}

/* ---- where to begin ---- */

enum plan { PLAN_WAIT, PLAN_COPY, PLAN_RESUME_COPY, PLAN_STREAM, PLAN_BLOCKED };

/* Tell the receiver where to begin. It is told again and again while we wait for it, and woken once: a
 * wake ends our own wait, too. */
static void begin(struct link *link, enum link_begin how, const struct checkpoint *at, bool again) {
    pthread_mutex_lock(&link->lock);
    bool news = link->orders.begin != how || (again && !link->orders.begin_again);
    link->orders.begin = how;
    if (at) {
        memcpy(link->orders.begin_replid, at->replid, sizeof link->orders.begin_replid);
        link->orders.begin_at = at->place;
    }
    if (again) link->orders.begin_again = true;
    pthread_mutex_unlock(&link->lock);
    if (news) link_wake(link);
}

static enum plan need_copy(struct applier *a, bool again, struct why *why) {
    struct link *link = a->link;
    if (!link->may_copy) {
        pthread_mutex_lock(&link->lock);
        link->status.way_back = false;
        pthread_mutex_unlock(&link->lock);
        (void)why_set(why, ERR_STATE, "the way back needs a full copy, which waits for the operator");
        return PLAN_BLOCKED;
    }
    begin(link, LINK_BEGIN_COPY, NULL, again);
    return PLAN_WAIT;
}

/* Whether the log of dirty keys is here and knows all answers up to the checkpoint. Without that, and
 * without the stream before it, nobody knows which keys are dirty (C7b). */
static bool knows_all(const struct applier *a, const struct checkpoint *ck) {
    char path[4352];
    struct buf log = {0};
    struct dirty dirty;
    struct place seen, highest;
    struct why why;
    size_t used = 0;
    snprintf(path, sizeof path, "%s/dirty", a->link->folder);
    dirty_init(&dirty);
    bool knows = fs_read_file(path, LOG_BYTES_MAX, &log, &why) == OK && buf_size(&log) > 0;
    dirty_load(&dirty, buf_slice(&log), ck->place, &seen, &highest, &used);
    knows = knows && place_compare(&seen, &ck->place) == 0;
    dirty_close(&dirty);
    buf_close(&log);
    return knows;
}

/* The target has a checkpoint in the stream; where does the spool stand? */
static enum plan plan_of_stream(struct applier *a, const struct checkpoint *ck, const struct spool_info *info, struct why *why) {
    struct link *link = a->link;
    if (spool_holds(link->spool, ck->replid, ck->place.offset)) return PLAN_STREAM;
    if (info->kind == SPOOL_RECEIVING || info->kind == SPOOL_COPY) return PLAN_COPY;
    if (info->kind == SPOOL_EMPTY) {
        if (!knows_all(a, ck)) return need_copy(a, false, why);
        begin(link, LINK_BEGIN_AT, ck, false);
        return PLAN_WAIT;
    }
    /* The spool lost its end. The receiver goes on there; if the source's history gets another name
     * before it reaches the checkpoint, the checkpoint may be of a history that is no more (C5). */
    if (strcmp(info->replid, ck->replid) == 0 && ck->place.offset > info->end) return PLAN_WAIT;
    log_warn("link.checkpoint_outside", LOG_S("link", link->name), LOG_U("begin", info->begin), LOG_U("end", info->end),
             LOG_U("checkpoint", ck->place.offset));
    return need_copy(a, true, why);
}

static enum plan plan_of(struct applier *a, const struct checkpoint *ck, struct why *why) {
    struct spool_info info;
    struct link_orders orders;
    struct link *link = a->link;
    spool_look(link->spool, &info);
    link_get_orders(link, &orders);
    if (orders.begin_again) return PLAN_WAIT; /* the receiver has not yet obeyed */
    if (info.kind == SPOOL_EMPTY && orders.begin == LINK_BEGIN_COPY) return PLAN_WAIT; /* a copy was asked for */
    if (ck->kind == CHECKPOINT_STREAM) return plan_of_stream(a, ck, &info, why);
    bool has_rdb = info.kind == SPOOL_RECEIVING || info.kind == SPOOL_COPY;
    if (!has_rdb) return need_copy(a, info.kind != SPOOL_EMPTY, why);
    bool same = ck->kind == CHECKPOINT_COPY && strcmp(ck->copy_id, info.copy_id) == 0 && ck->rdb_offset > 0 &&
                ck->rdb_offset <= info.rdb_received;
    return same ? PLAN_RESUME_COPY : PLAN_COPY;
}

void applier_load_others_deadlines(const struct link *link, struct deadlines *deadlines) {
    char path[4352];
    struct buf log = {0};
    struct why why;
    int parent = (int)(strlen(link->folder) - strlen(link->name)); /* both folders lie in the spool's */
    snprintf(path, sizeof path, "%.*s%s/deadlines", parent, link->folder, link->other);
    enum err err = fs_read_file(path, LOG_BYTES_MAX, &log, &why);
    if (err == OK) deadlines_load(deadlines, buf_slice(&log));
    else if (err != ERR_ABSENT) log_warn("link.deadlines_unknown", LOG_S("link", link->name), LOG_WHY(&why));
    buf_close(&log);
}

/* What the other link gave to keys at its target are the deadlines that they have at ours, now that it
 * is drained: both sides are equal (C8, C23). */
static enum err inherit_deadlines(struct applier *a, bool in_doubt, struct why *why) {
    struct deadlines deadlines = {0};
    struct buf log = {0};
    size_t written = 0;
    if (in_doubt) deadlines_doubt(&deadlines);
    else applier_load_others_deadlines(a->link, &deadlines);
    deadlines_save(&deadlines, false, &log);
    enum err err = disk_write(a->files.deadlines_fd, buf_slice(&log), &written, why);
    log_info("link.deadlines", LOG_S("link", a->link->name), LOG_U("keys", deadlines.table.count), LOG_B("in_doubt", deadlines.table.doubt));
    buf_close(&log);
    deadlines_close(&deadlines);
    return err == OK ? OK : why_add(why, err, "the log of deadlines");
}

/* An order to begin at a given place (C23): the checkpoint says so from now on. */
static enum err obey_activate(struct applier *a, struct why *why) {
    struct link_orders orders;
    struct link *link = a->link;
    link_get_orders(link, &orders);
    if (!orders.activate) return OK;
    struct checkpoint checkpoint = {.kind = CHECKPOINT_STREAM, .place = orders.activate_at};
    memcpy(checkpoint.replid, orders.activate_replid, sizeof checkpoint.replid);
    enum err err = applier_open_files(a, true, why);
    if (err == OK) err = inherit_deadlines(a, orders.in_doubt, why);
    if (err == OK) err = target_write_checkpoint(&a->target, &a->rules, &checkpoint, why);
    if (err == OK) err = link_note_active(link, why);
    if (err != OK) return err;
    pthread_mutex_lock(&link->lock);
    link->orders.activate = false;
    link->status.copy.done = true;
    pthread_mutex_unlock(&link->lock);
    return OK;
}

static void set_rules(struct applier *a) {
    a->rules = (struct apply_rules){.import_mode = a->target.import_mode, .checkpoint_command = a->target.bundled,
                                    .commands_max = 2000, .bytes_max = 2 << 20, .margin_ms = 50};
    snprintf(a->rules.link, sizeof a->rules.link, "%s", a->link->name);
}

static enum err open_target(struct applier *a, struct why *why) {
    char name[96];
    struct link *link = a->link;
    snprintf(name, sizeof name, "drawbridge-link:%s:%" PRIu64 ":1", link->name, link->epoch);
    enum err err = target_open(&a->target, link->to, name, link->folder, why);
    if (err == OK) link_set_interruptible(link, 0, a->target.conn);
    if (err == OK) err = target_import(&a->target, true, why);
    if (err != OK) return err;
    pthread_mutex_lock(&link->lock);
    link->status.target_up = true;
    link->status.weak_fence = a->target.weak_fence;
    pthread_mutex_unlock(&link->lock);
    set_rules(a);
    return OK;
}

static bool still_active(struct applier *a) {
    struct link_orders orders;
    link_get_orders(a->link, &orders);
    return !orders.stop && orders.role == LINK_ACTIVE;
}

/* One connection to the target: find the place, and work until something breaks. */
static enum err run_active(struct applier *a, struct why *why) {
    struct checkpoint ck;
    struct link *link = a->link;
    enum err err = open_target(a, why);
    if (err == OK) err = obey_activate(a, why);
    if (err == OK) err = target_read_checkpoint(&a->target, link->name, &ck, why);
    while (err == OK && still_active(a)) {
        switch (plan_of(a, &ck, why)) {
        case PLAN_WAIT: link_sleep(link, 100); continue;
        case PLAN_BLOCKED:
            link_set_state(link, LINK_BLOCKED, why->text);
            link_rest(link, 1000);
            continue;
        case PLAN_COPY:
            err = applier_open_files(a, true, why);
            if (err == OK) err = copy_run(link, &a->target, &a->rules, &a->files, NULL, why);
            break;
        case PLAN_RESUME_COPY:
            err = applier_open_files(a, false, why);
            if (err == OK) err = copy_run(link, &a->target, &a->rules, &a->files, &ck, why);
            break;
        case PLAN_STREAM: err = link_stream(a, &ck, why); break;
        }
        a->failures = 0;
        if (err == ERR_STATE) { /* the spool began another copy: plan again */
            link_rest(link, AGAIN_MS);
            err = OK;
        }
        if (err == OK) err = target_read_checkpoint(&a->target, link->name, &ck, why);
    }
    return err;
}

static void after_break(struct applier *a, enum err err, const struct why *why) {
    struct link *link = a->link;
    link_set_interruptible(link, 0, NULL);
    target_close(&a->target);
    pthread_mutex_lock(&link->lock);
    link->status.target_up = false;
    if (err != ERR_STOPPED) link->status.reconnects++;
    pthread_mutex_unlock(&link->lock);
    if (err == OK || err == ERR_STOPPED) return;
    if (a->failures >= 3 || err == ERR_REFUSED || err == ERR_STATE || err == ERR_CORRUPT || err == ERR_DISK_FULL ||
        err == ERR_EXISTS) {
        log_warn("link.apply_stopped", LOG_S("link", link->name), LOG_WHY(why));
        link_set_state(link, LINK_BLOCKED, why->text);
    }
    int delay = RETRY_MIN_MS << (a->failures < 6 ? a->failures : 6);
    if (a->failures < 1000) a->failures++;
    link_rest(link, delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS);
}

void *link_apply_main(void *self) {
    struct applier a = {.link = self, .files = {-1, -1}};
    a.reader.fd = -1;
    unit_reader_init(&a.units, 0, -1);
    while (!link_stopping(a.link)) {
        struct why why = {0};
        enum err err = still_active(&a) ? run_active(&a, &why) : link_stand_by(&a, &why);
        after_break(&a, err, &why);
    }
    link_set_interruptible(a.link, 1, NULL);
    rblock_close(a.source);
    spool_reader_close(&a.reader);
    unit_reader_close(&a.units);
    applier_close_files(&a);
    return NULL;
}
