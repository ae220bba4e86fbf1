/* gateway_audit.c -- audits as the main loop orders them, and what all loops found. See
 * dual_audit.h. */
#include "gateway/audit_board.h"
#include "gateway/control.h"
#include "gateway/dual.h"
#include "gateway/dual_audit.h"

#include "lib/redis/slot.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define REPAIR_MS 500u       /* the dirty keys were counted anew by then */
#define REPAIR_MAX_MS 30000u /* a hot key may be dirty for ever */

static void tell_all(struct gateway *gw, const struct tell_message *message) {
    for (unsigned i = 0; i < GATEWAY_LANE_LOOPS; i++) worker_tell(gw->workers[i], message);
}

static uint64_t figure(const struct gateway *gw, enum dual_figure which) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < GATEWAY_LANE_LOOPS; i++)
        sum += counter_get(&gw->workers[i]->counters.lanes[which]);
    return sum;
}

/* ---- adding up ---- */

struct sums {
    bool done;
    struct lane_audit_figures f;
    int64_t started_ms, ended_ms;
    unsigned slots;
    enum lane_audit_state state; /* of the slowest */
    char error[160];
    json_t *sample, *undecided_keys;
    uint64_t repairs, repaired;
    bool repair_full;
};

static void take_named(struct sums *s, const char *text) {
    json_t *object = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (object == NULL) return;
    json_array_extend(s->sample, json_object_get(object, "sample"));
    json_array_extend(s->undecided_keys, json_object_get(object, "undecided_keys"));
    json_decref(object);
}

static void add_board(struct sums *s, struct audit_board *b, uint64_t order) {
    pthread_mutex_lock(&b->lock);
    s->repairs += b->repairs;
    s->repaired += b->repaired;
    s->repair_full |= b->repair_full;
    if (b->order != order) {
        s->done = false;
        pthread_mutex_unlock(&b->lock);
        return;
    }
    s->done &= b->done;
    s->f.keys += b->figures.keys;
    s->f.bytes += b->figures.bytes;
    s->f.listed += b->figures.listed;
    s->f.late += b->figures.late;
    s->f.differences += b->figures.differences;
    s->f.undecided += b->figures.undecided;
    s->slots += b->slots;
    if (s->started_ms == 0 || b->started_ms < s->started_ms) s->started_ms = b->started_ms;
    if (b->ended_ms > s->ended_ms) s->ended_ms = b->ended_ms;
    if (!b->done && (s->state == LANE_AUDIT_DONE || b->state < s->state)) s->state = b->state;
    if (s->error[0] == '\0') memcpy(s->error, b->error, sizeof s->error);
    take_named(s, b->named);
    pthread_mutex_unlock(&b->lock);
}

static struct sums sum_up(struct gateway *gw) {
    struct sums s = {.done = true, .state = LANE_AUDIT_DONE};
    s.sample = json_array();
    s.undecided_keys = json_array();
    for (unsigned i = 0; i < GATEWAY_LANE_LOOPS; i++)
        add_board(&s, gw->workers[i]->audit_board, gw->audit.order);
    return s;
}

static void drop_sums(struct sums *s) {
    json_decref(s->sample);
    json_decref(s->undecided_keys);
}

static json_t *sums_json(const struct gateway *gw, struct sums *s) {
    static const char *const parts[] = {"idle", "primary", "follower", "late", "done"};
    bool done = gw->audit.order > 0 && s->done;
    bool ok = done && s->error[0] == '\0';
    return json_pack("{s:I,s:b,s:b,s:s,s:I,s:I,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:s,s:O,s:O}",
                     "id", (json_int_t)gw->audit.id, "done", (int)done, "ok", (int)ok, "part",
                     parts[s->state], "keys", (json_int_t)s->f.keys, "bytes",
                     (json_int_t)s->f.bytes, "slots", (int)s->slots, "listed",
                     (json_int_t)s->f.listed, "late", (json_int_t)s->f.late, "differences",
                     (json_int_t)s->f.differences, "undecided", (json_int_t)s->f.undecided,
                     "started_ms", (json_int_t)s->started_ms, "ended_ms",
                     (json_int_t)(done ? s->ended_ms : 0), "source_offset", 0, "pause_ms", 0,
                     "error", s->error, "sample", s->sample, "undecided_keys", s->undecided_keys);
}

void gateway_audit_json(struct gateway *gw, struct buf *out, bool *done) {
    struct sums s = sum_up(gw);
    json_t *object = sums_json(gw, &s);
    char *text = json_dumps(object, JSON_COMPACT);
    buf_append(out, text, strlen(text));
    free(text);
    json_decref(object);
    drop_sums(&s);
    *done = gw->audit.order > 0 && s.done;
}

/* ---- orders ---- */

static bool is_running(struct gateway *gw) {
    if (gw->audit.order == 0) return false;
    struct sums s = sum_up(gw);
    drop_sums(&s);
    return !s.done;
}

enum err gateway_audit_start(struct gateway *gw, int64_t id, const struct audit_wish *wish,
                             struct why *why) {
    if (!gw->lanes) return why_set(why, ERR_STATE, "this gateway has no lanes");
    if (gw->audit.order > 0 && gw->audit.id == id) {
        gw->audit.told = false; /* its end is reported again */
        return OK;
    }
    if (is_running(gw)) return why_set(why, ERR_STATE, "an audit is running already");
    if (figure(gw, DUAL_DIRTY_SLOTS) > 0)
        return why_set(why, ERR_STATE,
                       "the baseline has not ended: there is no copy to be audited");
    gw->audit.id = id;
    gw->audit.told = false;
    tell_all(gw, &(struct tell_message){.tell = TELL_AUDIT,
                                        .round = ++gw->audit.order,
                                        .audit = {.verb = AUDIT_START,
                                                  .keys_per_s = wish->keys_per_s,
                                                  .bytes_per_s = wish->bytes_per_s,
                                                  .whole_bytes = wish->whole_bytes}});
    return OK;
}

void gateway_audit_stop(struct gateway *gw) {
    tell_all(gw, &(struct tell_message){
                     .tell = TELL_AUDIT, .round = gw->audit.order, .audit = {.verb = AUDIT_STOP}});
}

enum err gateway_audit_repair(struct gateway *gw, struct why *why) {
    if (gw->audit.order == 0) return why_set(why, ERR_STATE, "there was no audit");
    if (is_running(gw)) return why_set(why, ERR_STATE, "the audit has not ended");
    struct sums s = sum_up(gw);
    drop_sums(&s);
    if (s.f.differences == 0) return why_set(why, ERR_STATE, "the audit found no difference");
    gw->audit.repairs = s.repairs + GATEWAY_LANE_LOOPS;
    gw->audit.repairing = true;
    gw->audit.repair_ms = loop_now_ms(gw->main);
    tell_all(gw, &(struct tell_message){.tell = TELL_AUDIT,
                                        .round = gw->audit.order,
                                        .audit = {.verb = AUDIT_REPAIR}});
    return OK;
}

/* ---- words ---- */

static enum err read_wish(size_t argc, const struct slice *argv, struct audit_wish *wish,
                          struct why *why) {
    for (size_t i = 0; i + 1 < argc; i += 2) {
        int64_t number = 0;
        uint64_t *to = slice_equal_nocase(argv[i], SLICE("KEYS"))    ? &wish->keys_per_s
                       : slice_equal_nocase(argv[i], SLICE("BYTES")) ? &wish->bytes_per_s
                       : slice_equal_nocase(argv[i], SLICE("WHOLE")) ? &wish->whole_bytes
                                                                     : NULL;
        if (to == NULL || !slice_to_int(argv[i + 1], &number) || number < 1 || number > 1000000000)
            return why_set(why, ERR_PROTO,
                           "KEYS n (a second), BYTES n (a second), WHOLE n (bytes of a value), "
                           "each from 1 to 1000000000");
        *to = (uint64_t)number;
    }
    return argc % 2 == 0 ? OK : why_set(why, ERR_PROTO, "a word without its number");
}

enum err gateway_audit_admin(struct gateway *gw, size_t argc, const struct slice *argv, bool *show,
                             struct why *why) {
    struct slice verb = argc > 0 ? argv[0] : SLICE("SHOW");
    *show = false;
    if (slice_equal_nocase(verb, SLICE("SHOW")) && argc <= 1) {
        *show = true;
        return gw->lanes ? OK : why_set(why, ERR_STATE, "this gateway has no lanes");
    }
    if (slice_equal_nocase(verb, SLICE("START"))) {
        struct audit_wish wish = {0};
        enum err err = read_wish(argc - 1, argv + 1, &wish, why);
        /* Below 0, so that none is ever one of state's. */
        return err == OK ? gateway_audit_start(gw, -(int64_t)gw->audit.order - 1, &wish, why) : err;
    }
    if (slice_equal_nocase(verb, SLICE("REPAIR")) && argc == 1)
        return gateway_audit_repair(gw, why);
    if (slice_equal_nocase(verb, SLICE("STOP")) && argc == 1) {
        gateway_audit_stop(gw);
        return OK;
    }
    return why_set(why, ERR_PROTO,
                   "GATEWAY AUDIT START [KEYS n] [BYTES n] [WHOLE n] | SHOW | REPAIR | STOP");
}

enum err gateway_audit_obey(struct gateway *gw, size_t argc, const struct slice *argv,
                            struct why *why) {
    int64_t id = 0;
    if (argc < 3 || !slice_to_int(argv[2], &id) || id <= 0)
        return why_set(why, ERR_PROTO, "AUDIT START|STOP|REPAIR id");
    if (slice_equal_nocase(argv[1], SLICE("START"))) {
        struct audit_wish wish = {0};
        enum err err = read_wish(argc - 3, argv + 3, &wish, why);
        return err == OK ? gateway_audit_start(gw, id, &wish, why) : err;
    }
    if (gw->audit.id != id)
        return why_set(why, ERR_STATE, "audit %" PRId64 " is not known here; audit again", id);
    if (slice_equal_nocase(argv[1], SLICE("REPAIR"))) return gateway_audit_repair(gw, why);
    if (!slice_equal_nocase(argv[1], SLICE("STOP")))
        return why_set(why, ERR_PROTO, "AUDIT START|STOP|REPAIR id");
    gateway_audit_stop(gw);
    return OK;
}

/* ---- reports ---- */

static void report(struct gateway *gw, const char *kind, struct slice json) {
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRId64, gw->audit.id);
    control_report(gw->control, kind, id, json);
}

/* The repaired keys are clean again when no key is dirty any more. */
static void report_repair(struct gateway *gw) {
    uint64_t spent_ms = loop_now_ms(gw->main) - gw->audit.repair_ms;
    uint64_t dirty = figure(gw, DUAL_DIRTY_KEYS);
    if (spent_ms < REPAIR_MS || (dirty > 0 && spent_ms < REPAIR_MAX_MS)) return;
    struct sums s = sum_up(gw);
    drop_sums(&s);
    if (s.repairs < gw->audit.repairs && spent_ms < REPAIR_MAX_MS) return;
    struct buf json = {0};
    uint64_t failed = dirty < s.repaired ? dirty : s.repaired;
    buf_printf(&json, "{\"keys\":%" PRIu64 ",\"failed\":%" PRIu64 "}", s.repaired, failed);
    report(gw, "REPAIRED", buf_slice(&json));
    buf_close(&json);
    gw->audit.repairing = false;
}

void gateway_audit_tick(struct gateway *gw, bool second) {
    if (!second || gw->audit.id <= 0 || !control_is_up(gw->control)) return;
    if (gw->audit.repairing) report_repair(gw);
    if (gw->audit.told) return;
    struct buf json = {0};
    bool done = false;
    gateway_audit_json(gw, &json, &done);
    report(gw, done ? "AUDITED" : "AUDIT", buf_slice(&json));
    gw->audit.told = done;
    buf_close(&json);
}
