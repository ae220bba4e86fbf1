/* lanes_control.c -- state's words about lanes. See lanes_control.h. */
#include "gateway/lanes_control.h"

#include "gateway/baseline_file.h"
#include "gateway/control.h"
#include "gateway/dual.h"
#include "gateway/worker.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/slot_table.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Of the lanes that end, or were there before these, nothing holds: neither whose the slots are, nor
 * what was last told. */
static void begin_anew(struct gateway *gw) {
    atomic_store(&gw->slots, NULL);
    gw->lanes_follow = gw->lanes_level = gw->lanes_told = false;
    gw->drain_left = 0;
}

enum err lanes_take_capture(struct gateway *gw, struct slice capture, bool *changed,
                            struct why *why) {
    bool lanes = slice_equal_nocase(capture, SLICE("lane"));
    if (!lanes && !slice_equal_nocase(capture, SLICE("stream")))
        return why_set(why, ERR_PROTO, "capture is stream or lane");
    if (lanes && gw->config->target.cluster)
        return why_set(why, ERR_CONFIG, "capture lane cannot write to a Cluster yet");
    *changed = gw->capture_known && gw->lanes != lanes;
    if (*changed) {
        log_info("gateway.capture", LOG_SL("capture", capture));
        begin_anew(gw);
    }
    gw->capture_known = true;
    gw->lanes = lanes;
    return OK;
}

/* ---- commands ---- */

static void tell_all(struct gateway *gw, const struct tell_message *message) {
    for (unsigned i = 0; i < gw->loops; i++) worker_tell(gw->workers[i], message);
}

static enum err follow(struct gateway *gw, bool open, struct why *why) {
    if (gw->hold.sm.state == HOLD_UNROUTED)
        return why_set(why, ERR_STATE, "there is no route yet");
    gw->lanes_follow = open;
    tell_all(gw, &(struct tell_message){.tell = TELL_FOLLOW, .fine = open});
    return OK;
}

static enum err drain(struct gateway *gw, struct slice barrier, struct why *why) {
    struct hold *hold = &gw->hold;
    if (!hold_is_held(hold) || !slice_equal(slice_text(hold->barrier), barrier))
        return why_set(why, ERR_STATE, "nothing is held for this barrier");
    memcpy(gw->drain_barrier, hold->barrier, sizeof gw->drain_barrier);
    gw->drain_left = GATEWAY_LANE_LOOPS;
    worker_tell(gw->workers[0], &(struct tell_message){.tell = TELL_DRAIN, .round = hold->round});
    return OK;
}

/* WORDS: the number of the hand-over, and the table as it will be. */
static enum err rest(struct gateway *gw, struct slice barrier, size_t count,
                     const struct slice *words, struct why *why) {
    struct hold *hold = &gw->hold;
    int64_t number = 0;
    if (!hold_is_held(hold) || !slice_equal(slice_text(hold->barrier), barrier))
        return why_set(why, ERR_STATE, "nothing is held for this barrier");
    if (!slice_to_int(words[0], &number) || number <= 0)
        return why_set(why, ERR_PROTO, "a hand-over has a number above 0");
    struct slot_table *table = NEW(struct slot_table);
    enum err err = slot_table_read(table, count - 1, words + 1, why);
    if (err != OK) {
        mem_free(table);
        return err;
    }
    worker_tell(gw->workers[0], &(struct tell_message){.tell = TELL_REST,
                                                       .round = (uint64_t)number,
                                                       .planned = table});
    return OK;
}

void lanes_on_rested(struct gateway *gw) {
    if (hold_is_held(&gw->hold)) control_report(gw->control, "RESTED", gw->hold.barrier, SLICE("{}"));
}

/* Each stays for ever: other loops look at it whenever they like. They are few. */
enum err lanes_take_slots(struct gateway *gw, size_t argc, const struct slice *argv,
                          struct why *why) {
    const struct slot_table *before = atomic_load(&gw->slots);
    struct slot_table *table = NEW(struct slot_table);
    if (!gw->capture_known || !gw->lanes) {
        mem_free(table);
        return why_set(why, ERR_STATE, "this gateway has no lanes");
    }
    enum err err = slot_table_read(table, argc - 1, argv + 1, why);
    if (err != OK || (before != NULL && table->version <= before->version)) {
        mem_free(table); /* one that we have is obeyed already */
        return err;
    }
    atomic_store(&gw->slots, table);
    for (unsigned i = 0; i < gw->loops; i++)
        worker_tell(gw->workers[i], &(struct tell_message){.tell = TELL_SLOTS, .table = table});
    return OK;
}

enum err lanes_take_baseline(struct gateway *gw, size_t argc, const struct slice *argv, bool *there,
                             struct why *why) {
    char path[BASELINE_PATH_BYTES];
    int64_t migration = 0;
    *there = false;
    if (argc != 3 || argv[2].size == 0 || argv[2].size >= sizeof path ||
        memchr(argv[2].data, '\0', argv[2].size) != NULL)
        return why_set(why, ERR_PROTO, "BASELINE CHECK path, BASELINE migration path|scan|-");
    (void)snprintf(path, sizeof path, "%.*s", (int)argv[2].size, (const char *)argv[2].data);
    bool named = strcmp(path, "scan") == 0 || strcmp(path, "-") == 0;
    if (!named && path[0] != '/') return why_set(why, ERR_CONFIG, "a path begins with /");
    if (slice_equal_nocase(argv[1], SLICE("CHECK")))
        return named ? OK : baseline_look(path, there, why);
    if (!slice_to_int(argv[1], &migration) || migration <= 0)
        return why_set(why, ERR_PROTO, "a migration has a number above 0");
    baseline_board_order(&gw->baseline, migration,
                         strcmp(path, "-") == 0 ? gw->config->gateway.baseline : path);
    return OK;
}

enum err lanes_obey(struct gateway *gw, size_t argc, const struct slice *argv, struct why *why) {
    int64_t epoch = 0;
    struct slice verb = argc > 1 ? argv[1] : (struct slice){0};
    bool drains = slice_equal_nocase(verb, SLICE("DRAIN")) && argc == 4;
    bool rests = slice_equal_nocase(verb, SLICE("REST")) && argc > 5;
    bool keeps = slice_equal_nocase(verb, SLICE("KEEP")) && argc == 3;
    bool opens = slice_equal_nocase(verb, SLICE("OPEN")) && argc == 3;
    bool closes = slice_equal_nocase(verb, SLICE("CLOSE")) && argc == 3;
    if ((!drains && !rests && !keeps && !opens && !closes) || !slice_to_int(argv[argc - 1], &epoch) || epoch < 0)
        return why_set(why, ERR_PROTO, "LANES OPEN|CLOSE|KEEP epoch, LANES DRAIN barrier epoch, "
                       "LANES REST barrier number table epoch");
    if (!gw->capture_known || !gw->lanes)
        return why_set(why, ERR_STATE, "this gateway has no lanes");
    if ((uint64_t)epoch < gw->hold.epoch)
        return why_set(why, ERR_STATE, "epoch %" PRIu64 " is obeyed already", gw->hold.epoch);
    if (keeps) gw->drain.kept = true;
    if (keeps) return OK;
    if (rests) return rest(gw, argv[2], argc - 4, argv + 3, why);
    return drains ? drain(gw, argv[2], why) : follow(gw, opens, why);
}

/* ---- reports ---- */

static uint64_t figure(const struct gateway *gw, enum dual_figure which) {
    return counter_get(&gw->workers[0]->counters.lanes[which]);
}

static void write_text(struct buf *out, const char *name, const char *value) {
    json_t *text = json_string(value);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    buf_printf(out, ",\"%s\":%s", name, quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(text);
}

static void write_baseline(struct gateway *gw, struct buf *out) {
    struct baseline_board *b = &gw->baseline;
    (void)pthread_mutex_lock(&b->lock);
    write_text(out, "baseline", b->path);
    write_text(out, "baseline_why", b->said);
    (void)pthread_mutex_unlock(&b->lock);
}

void lanes_write_report(struct gateway *gw, struct buf *out) {
#define DUAL_NAME(name, text) text,
    static const char *const names[DUAL_FIGURES] = {DUAL_FIGURE_LIST(DUAL_NAME)};
#undef DUAL_NAME
    const struct slot_table *slots = atomic_load(&gw->slots);
    const char *peer = gw->config->gateway.peer.text;
    buf_printf(out, "{\"peer\":\"%s\",\"slots_version\":%" PRIu64 ",", peer ? peer : "",
               slots != NULL ? slots->version : 0);
    buf_printf(out, "\"open\":%s,\"epoch\":%" PRIu64 ",\"primary\":\"%s\",\"held\":%s",
               gw->lanes_follow ? "true" : "false", gw->hold.epoch,
               gateway_side_name(gw->hold.side), hold_is_held(&gw->hold) ? "true" : "false");
    write_baseline(gw, out);
    uint64_t figures[DUAL_FIGURES];
    dual_read_figures(gw->workers[0], figures);
    for (unsigned i = 0; i < DUAL_FIGURES; i++)
        buf_printf(out, ",\"%s\":%" PRIu64, names[i], figures[i]);
    buf_printf(out, "}");
}

static void report(struct gateway *gw, const char *kind, const char *barrier) {
    struct buf json = {0};
    lanes_write_report(gw, &json);
    control_report(gw->control, kind, barrier, buf_slice(&json));
    buf_close(&json);
}

void lanes_on_drained(struct gateway *gw, uint64_t round) {
    if (round != gw->hold.round || gw->drain_left == 0 || --gw->drain_left > 0) return;
    log_info("barrier.drained", LOG_S("barrier", gw->drain_barrier));
    report(gw, "DRAINED", gw->drain_barrier);
}

bool lanes_may_leave(struct gateway *gw) {
    const struct slot_table *slots = atomic_load(&gw->slots);
    if (!gw->lanes || slots == NULL || slots->count < 2 || !control_is_up(gw->control)) return false;
    unsigned self = slot_table_find(slots, slice_text(gw->name));
    return self < slots->count && slot_table_owned(slots, self) > 0;
}

bool lanes_leave(struct gateway *gw) {
    if (!gw->drain.asked) control_report(gw->control, "LEAVING", NULL, SLICE("{}"));
    gw->drain.asked = true;
    return (lanes_may_leave(gw) && !gw->drain.kept) || hold_is_held(&gw->hold);
}

void lanes_tick(struct gateway *gw, bool second) {
    if (!gw->capture_known || !gw->lanes || !control_is_up(gw->control)) return;
    if (figure(gw, DUAL_QUEUE_LIMIT) == 0) return; /* its loop has no lanes yet: nothing is known */
    bool level = figure(gw, DUAL_LEVEL) > 0;
    if (level == gw->lanes_level && gw->lanes_told && !second) return;
    gw->lanes_told = true;
    gw->lanes_level = level;
    report(gw, "LANES", NULL);
}
