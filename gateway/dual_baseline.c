/* dual_baseline.c -- dual write: the baseline from an RDB file of legacy (C15; lane_scan.h decides,
 * baseline_file.h reads).
 *
 * The file is `gateway.baseline`. It may come at any time: it is looked at each second, and taken
 * when it was begun late enough after copies were put on hold, and is whole.
 */
#include "gateway/dual_inside.h"

#include "gateway/baseline_file.h"
#include "gateway/lane_copy.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#define LOOK_EVERY_US 1000000u
#define ITEMS_PER_TURN 128
#define BYTES_PER_TURN (1u << 20)
/* From the moment that a snapshot shows to the line in which it says its time: fork, a new file. */
#define BEGINS_LATE_MS 2000

struct dual_baseline {
    char path[BASELINE_PATH_BYTES]; /* or "scan" */
    uint64_t orders;                /* of the board, that were obeyed */
    struct baseline_file *file;
    uint64_t round, waits, look_at_us;
    int64_t after_ms; /* 0: none is waited for */
    char said[200];   /* why the last one was not taken */
};

static struct baseline_board *board_of(const struct dual *d) {
    return &d->worker->gw->baseline;
}

static void obey(struct dual *d) {
    struct dual_baseline *b = d->baseline;
    struct baseline_board *board = board_of(d);
    (void)pthread_mutex_lock(&board->lock);
    memcpy(b->path, board->path, sizeof b->path);
    b->orders = atomic_load(&board->orders);
    (void)pthread_mutex_unlock(&board->lock);
    b->said[0] = '\0';
    d->lanes.scan.by_file =
        strcmp(b->path, "scan") != 0 && dual_side(d, LANE_P) == SIDE_LEGACY;
}

void dual_baseline_open(struct dual *d) {
    d->baseline = NEW(struct dual_baseline);
    obey(d);
}

void dual_baseline_close(struct dual *d) {
    baseline_close(d->baseline->file);
    mem_free(d->baseline);
}

/* It is legacy's file: when the target is the primary side it has nothing to say. */
void dual_baseline_swapped(struct dual *d) {
    d->lanes.scan.by_file = false;
}

int64_t dual_baseline_after_s(const struct dual *d) {
    return d->baseline->after_ms ? (d->baseline->after_ms + 999) / 1000 : 0;
}

static void nothing(void *self) {
    (void)self; /* the loop's turn is what it is for */
}

static void wake(void *self) {
    struct dual *d = self;
    if (!loop_call(d->worker->loop, nothing, NULL)) return; /* it is awake anyway */
}

static void say(struct dual *d, const char *why) {
    struct dual_baseline *b = d->baseline;
    if (strcmp(b->said, why) == 0) return;
    (void)snprintf(b->said, sizeof b->said, "%s", why);
    baseline_board_say(board_of(d), why);
    log_info("lanes.baseline_waits", LOG_S("file", b->path), LOG_S("why", why),
             LOG_I("begun_at_or_after", (b->after_ms + 999) / 1000));
}

static void begin_waiting(struct dual *d) {
    struct dual_baseline *b = d->baseline;
    int64_t differ_ms = d->lanes.lane[0].rules.clock_difference_ms;
    b->after_ms = clock_wall_ms(loop_clock(d->worker->loop)) + differ_ms + BEGINS_LATE_MS;
    b->waits = d->lanes.scan.waits;
    b->said[0] = '\0';
    b->look_at_us = 0;
}

static void look(struct dual *d) {
    struct dual_baseline *b = d->baseline;
    struct why why;
    if (d->worker->now_us < b->look_at_us) return;
    b->look_at_us = d->worker->now_us + LOOK_EVERY_US;
    if (baseline_open(&b->file, b->path, b->after_ms, wake, d, &why) != OK) {
        say(d, why.text);
        return;
    }
    b->round = lane_scan_file_begins(&d->lanes.scan);
}

static void end(struct dual *d, bool whole, const char *why) {
    struct dual_baseline *b = d->baseline;
    uint64_t items = d->lanes.scan.items;
    lane_scan_file_ended(&d->lanes.scan, b->round, whole);
    baseline_close(b->file);
    b->file = NULL;
    if (whole) {
        b->after_ms = 0;
        baseline_board_say(board_of(d), "");
        log_info("lanes.baseline_read", LOG_S("file", b->path), LOG_U("items", items));
    } else {
        say(d, why);
    }
}

static void take(struct dual *d) {
    struct dual_baseline *b = d->baseline;
    struct lane_scan *scan = &d->lanes.scan;
    const struct baseline_item *item = NULL;
    size_t bytes = 0;
    struct why why;
    for (int i = 0; i < ITEMS_PER_TURN && bytes < BYTES_PER_TURN &&
                    lane_scan_may_take(scan, b->round) && (item = baseline_next(b->file)) != NULL;
         i++) {
        bytes += item->name.size + item->payload.size;
        struct lane_value value = {item->payload, item->deadline_ms};
        bool wanted = lane_scan_item(scan, b->round, item->db, item->name,
                                     item->is_big ? NULL : &value);
        baseline_taken(b->file);
        if (!wanted) {
            end(d, false, "the pass began again while it was read");
            return;
        }
    }
    enum baseline_state state = baseline_state(b->file, &why);
    if (state == BASELINE_READING && item != NULL) wake(d); /* more in the next turn */
    if (state != BASELINE_READING) end(d, state == BASELINE_DONE, why.text);
}

/* The file of one node of a Cluster does not have the keys of the others. */
static void refuse_cluster(struct dual *d) {
    struct lane_scan *scan = &d->lanes.scan;
    if (!scan->by_file || d->worker->shards[dual_side(d, LANE_P)] == NULL) return;
    log_warn("lanes.baseline_scans", LOG_S("why", "legacy is a Cluster: one file is not all of it"));
    scan->by_file = false;
    lane_scan_restart(scan);
}

void dual_baseline_turn(struct dual *d) {
    struct dual_baseline *b = d->baseline;
    if (atomic_load(&board_of(d)->orders) != b->orders) {
        if (b->file != NULL) end(d, false, "another one is wanted");
        obey(d);
    }
    refuse_cluster(d);
    const struct lane_scan *scan = &d->lanes.scan;
    if (b->file != NULL) {
        take(d);
    } else if (lane_scan_wants_file(scan)) {
        if (b->after_ms == 0 || b->waits != scan->waits) begin_waiting(d);
        look(d);
    } else {
        b->after_ms = 0;
    }
}
