/* control.c -- the gateway's two connections to state. See control.h. */
#include "gateway/control.h"

#include "gateway/dual_audit.h"
#include "gateway/lanes_control.h"
#include "gateway/reads.h"
#include "gateway/stats.h"
#include "gateway/worker.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "lib/control/rconn.h"
#include "lib/control/slot_table.h"
#include "lib/net/stream.h"
#include "lib/redis/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REDIAL_MS 500u
#define ASK_TIMEOUT_MS 3000u
#define BY_HAND_MAX 64u

static const struct resp_request_limits task_limits = {
    .args_max = 256, .bulk_bytes_max = 1u << 20, .total_bytes_max = 2u << 20, .authenticated = true};

struct question {
    struct list link; /* in control->waiting, or on its way */
    struct control *control;
    unsigned worker;
    uint64_t backend, epoch;
};

/* What an operator did by hand, until state has recorded it (C24). */
struct by_hand {
    struct list link; /* in control->by_hand; the first is the one that is being told */
    char what[32];
    int64_t at_ms; /* wall clock */
};

struct control {
    struct gateway *gw;
    struct list by_hand;
    size_t by_hand_count;
    bool telling; /* the first of by_hand was sent, and not answered yet */
    struct rconn *ask;
    struct list waiting; /* questions to ask when the connection is up */
    struct stream *task;
    bool greeted;       /* HELLO was answered: commands come */
    bool recaptured;    /* by that answer; the loops hear it with the next route */
    bool release_waits; /* nothing more is taken before it is answered */
    struct buf in;
    struct resp_reply_reader hello;
    struct resp_request request;
    struct loop_timer redial_ask, redial_task;
};

static void dial_ask(void *self);
static void dial_task(void *self);

/* ---- ask ---- */
static void answer(struct question *q, bool fine) {
    struct tell_message message = {.tell = TELL_EPOCH, .backend = q->backend, .fine = fine};
    worker_tell(q->control->gw->workers[q->worker], &message);
    mem_free(q);
}

static void on_answer(void *self, const struct resp_reply *reply, const struct why *why) {
    struct question *q = self;
    (void)why;
    int64_t epoch = -1;
    if (reply == NULL) { /* the connection broke: ask again on the next one */
        list_push(&q->control->waiting, &q->link);
        return;
    }
    const struct resp_reply *field = resp_reply_field(reply, "epoch");
    bool told = field != NULL ? resp_reply_to_int(field, &epoch)
                              : reply->count > 0 && resp_reply_to_int(&reply->child[0], &epoch);
    if (!told) log_warn("control.bad_epoch", LOG_SL("reply", reply->text));
    answer(q, told && (uint64_t)epoch == q->epoch);
}

static void ask_one(struct control *control, struct question *q) {
    char words[128];
    const struct slot_table *slots = atomic_load(&control->gw->slots);
    (void)snprintf(words, sizeof words, "DRAWBRIDGE EPOCH %s %" PRIu64, control->gw->name,
                   slots != NULL ? slots->version : 0);
    rconn_words(control->ask, words, on_answer, q);
}

void control_ask(struct control *control, unsigned worker, uint64_t backend, uint64_t epoch) {
    struct question *q = NEW(struct question);
    *q =
        (struct question){.control = control, .worker = worker, .backend = backend, .epoch = epoch};
    if (control->ask != NULL)
        ask_one(control, q);
    else
        list_push(&control->waiting, &q->link);
}

/* ---- what was done by hand: one after the other, again each second until it is recorded ---- */
static void forget_first(struct control *control) {
    mem_free(LIST_OWNER(list_pop(&control->by_hand), struct by_hand, link));
    control->by_hand_count--;
}

static void on_told(void *self, const struct resp_reply *reply, const struct why *why) {
    struct control *control = self;
    (void)why;
    control->telling = false;
    if (reply == NULL || resp_reply_is_error(reply)) return; /* TRYAGAIN, most likely */
    forget_first(control);
    control_tick(control);
}

void control_tick(struct control *control) {
    if (control == NULL || control->ask == NULL || control->telling) return;
    if (list_is_empty(&control->by_hand)) return;
    const struct by_hand *first = LIST_OWNER(control->by_hand.next, struct by_hand, link);
    char at[24];
    (void)snprintf(at, sizeof at, "%" PRId64, first->at_ms);
    const struct slice argv[] = {SLICE("DRAWBRIDGE"), SLICE("BYHAND"),
                                 slice_text(control->gw->name), slice_text(first->what),
                                 slice_text(at)};
    control->telling = true;
    rconn_command(control->ask, 5, argv, on_told, control);
}

void control_by_hand(struct control *control, const char *what) {
    if (control == NULL) return;
    struct by_hand *done = NEW(struct by_hand);
    (void)snprintf(done->what, sizeof done->what, "%s", what);
    done->at_ms = clock_wall_ms(loop_clock(control->gw->main));
    if (control->by_hand_count == BY_HAND_MAX && !control->telling) forget_first(control);
    list_push(&control->by_hand, &done->link);
    control->by_hand_count++;
    control_tick(control);
}

static void on_ask_down(void *self, enum err err, const struct why *why) {
    struct control *control = self;
    if (err != OK) log_warn("control.ask_lost", LOG_WHY(why));
    control->ask = NULL;
    loop_timer_start(control->gw->main, &control->redial_ask, REDIAL_MS, 0, dial_ask, control);
}

static const struct rconn_events ask_events = {.on_down = on_ask_down};

static void dial_ask(void *self) {
    struct control *control = self;
    struct gateway *gw = control->gw;
    struct rconn_options options = {.max_reply_bytes = 1u << 20,
                                    .reply_timeout_ms = ASK_TIMEOUT_MS};
    control->ask =
        rconn_dial(gw->main, &gw->config->state.control.endpoint, &options, &ask_events, control);
    struct list waiting;
    list_init(&waiting);
    list_move(&waiting, &control->waiting);
    for (struct list *link; (link = list_pop(&waiting)) != NULL;)
        ask_one(control, LIST_OWNER(link, struct question, link));
}

/* ---- task: what state tells us ---- */
static void reply_text(struct control *control, const char *text) {
    stream_write(control->task, slice_text(text));
}

static void reply_error(struct control *control, const char *fmt, uint64_t number) {
    struct buf out = {0};
    buf_printf(&out, "-%s %" PRIu64 "\r\n", fmt, number);
    stream_write(control->task, buf_slice(&out));
    buf_close(&out);
}

static void reply_why(struct control *control, const struct why *why) {
    struct buf out = {0};
    resp_write_errorf(&out, "ERR %s", why->text);
    stream_write(control->task, buf_slice(&out));
    buf_close(&out);
}

/* Answer, and do what the decider said. */
static void obey(struct control *control, unsigned todo) {
    struct gateway *gw = control->gw;
    if (todo & HOLD_STALE) {
        reply_error(control, "STALEEPOCH", gw->hold.epoch);
        return;
    }
    if (todo & HOLD_WAIT)
        control->release_waits = true;
    else
        reply_text(control, "+OK\r\n");
    gateway_carry_out(gw, todo & ~(unsigned)HOLD_WAIT);
}

static bool read_epoch(struct slice text, uint64_t *epoch) {
    int64_t number = 0;
    if (!slice_to_int(text, &number) || number < 0) return false;
    *epoch = (uint64_t)number;
    return true;
}

static void write_stats(struct control *control) {
    struct buf json = {0}, out = {0};
    stats_write_json(control->gw, &json);
    resp_write_bulk(&out, buf_slice(&json));
    stream_write(control->task, buf_slice(&out));
    buf_close(&json);
    buf_close(&out);
}

static void write_reads(struct control *control) {
    struct buf out = {0};
    json_t *json = reads_json(control->gw->reads);
    char *text = json_dumps(json, JSON_COMPACT);
    resp_write_text(&out, text);
    stream_write(control->task, buf_slice(&out));
    buf_close(&out);
    free(text);
    json_decref(json);
}

/* The loops hear of another capture even when the rest of the route is as it was. */
static unsigned routed(struct control *control, unsigned todo, bool changed) {
    bool serving = control->gw->hold.sm.state == HOLD_SERVING && !(todo & HOLD_STALE);
    if ((changed || control->recaptured) && serving) todo |= HOLD_DO_ROUTE;
    if (todo & (HOLD_DO_ROUTE | HOLD_DO_RELEASE)) control->recaptured = false;
    return todo;
}

static void on_command(struct control *control, size_t argc, const struct slice *argv) {
    struct gateway *gw = control->gw;
    uint64_t epoch = 0;
    enum side side = SIDE_LEGACY;
    struct why why;
    enum err err = OK;
    bool changed = false;
    if (gw->pinned && !slice_equal_nocase(argv[0], SLICE("STATS")) &&
        !slice_equal_nocase(argv[0], SLICE("PING"))) {
        reply_text(control, "-PINNED this gateway was pinned by hand; GATEWAY UNPIN ends that\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("ROUTE")) && argc == 4 &&
               read_epoch(argv[1], &epoch) && gateway_side_parse(argv[2], &side)) {
        err = lanes_take_capture(gw, argv[3], &changed, &why);
        if (err != OK)
            reply_why(control, &why);
        else
            obey(control, routed(control, hold_on_route(&gw->hold, epoch, side), changed));
    } else if (slice_equal_nocase(argv[0], SLICE("HOLD")) && argc == 3 &&
               read_epoch(argv[2], &epoch)) {
        obey(control, hold_on_hold(&gw->hold, argv[1], epoch, loop_now_ms(gw->main)));
    } else if (slice_equal_nocase(argv[0], SLICE("RELEASE")) && (argc == 4 || argc == 5) &&
               read_epoch(argv[2], &epoch) && gateway_side_parse(argv[3], &side)) {
        if (argc == 5 && epoch >= gw->hold.epoch) /* with another capture (C1) */
            err = lanes_take_capture(gw, argv[4], &changed, &why);
        /* Clients are served once the capture is known: the ROUTE that follows says it. */
        if (err != OK)
            reply_why(control, &why);
        else if (!gw->capture_known && !hold_is_held(&gw->hold))
            reply_text(control, "+OK\r\n");
        else
            obey(control, routed(control, hold_on_release(&gw->hold, argv[1], epoch, side), changed));
    } else if (slice_equal_nocase(argv[0], SLICE("PREPARE")) && argc == 3 &&
               gateway_side_parse(argv[2], &side)) {
        reply_text(control, "+OK\r\n");
        gateway_prepare(gw, argv[1], side);
    } else if (slice_equal_nocase(argv[0], SLICE("LANES"))) {
        err = lanes_obey(gw, argc, argv, &why);
        if (err != OK)
            reply_why(control, &why);
        else
            reply_text(control, "+OK\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("BASELINE"))) {
        bool there = false;
        err = lanes_take_baseline(gw, argc, argv, &there, &why);
        if (err != OK)
            reply_why(control, &why);
        else
            reply_text(control, there ? "+THERE\r\n" : "+OK\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("READS")) && argc == 1) {
        write_reads(control);
    } else if (slice_equal_nocase(argv[0], SLICE("READS"))) {
        struct reads_policy policy;
        err = reads_parse_words(argc - 1, argv + 1, &policy, &why);
        if (err == OK) reads_set(gw->reads, policy);
        if (err != OK)
            reply_why(control, &why);
        else
            reply_text(control, "+OK\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("SLOTS"))) {
        err = lanes_take_slots(gw, argc, argv, &why);
        if (err != OK)
            reply_why(control, &why);
        else
            reply_text(control, "+OK\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("AUDIT"))) {
        err = gateway_audit_obey(gw, argc, argv, &why);
        if (err != OK)
            reply_why(control, &why);
        else
            reply_text(control, "+OK\r\n");
    } else if (slice_equal_nocase(argv[0], SLICE("STATS"))) {
        write_stats(control);
    } else if (slice_equal_nocase(argv[0], SLICE("PING"))) {
        reply_text(control, "+PONG\r\n");
    } else {
        log_warn("control.unknown", LOG_SL("command", argv[0]), LOG_U("argc", argc));
        reply_text(control, "-ERR a gateway knows ROUTE, PREPARE, HOLD, RELEASE, LANES, BASELINE, AUDIT, READS, STATS, PING\r\n");
    }
}

static void take_commands(struct control *control) {
    while (control->task != NULL && !control->release_waits) {
        struct why why;
        size_t used = 0;
        enum step step = resp_request_next(&control->request, &task_limits, buf_slice(&control->in),
                                           &used, &why);
        if (step == STEP_MORE) return;
        if (step == STEP_FAIL) {
            log_error("control.protocol", LOG_WHY(&why));
            stream_abort(control->task);
            return;
        }
        if (control->request.argc > 0)
            on_command(control, control->request.argc, control->request.argv);
        buf_consume(&control->in, used);
    }
}

void control_released(struct control *control) {
    if (control == NULL || !control->release_waits) return;
    control->release_waits = false;
    if (control->task == NULL) return;
    reply_text(control, "+OK\r\n");
    take_commands(control);
}

void control_report(struct control *control, const char *kind, const char *barrier,
                    struct slice json) {
    if (control == NULL || control->task == NULL || !control->greeted) return;
    struct buf out = {0};
    resp_write_push(&out, 3, barrier ? 3 : 2);
    resp_write_text(&out, kind);
    if (barrier != NULL) resp_write_text(&out, barrier);
    resp_write_bulk(&out, json);
    stream_write(control->task, buf_slice(&out));
    buf_close(&out);
}

/* The answer to HELLO. Its route is not obeyed: ROUTE follows, or a barrier goes on. */
static void take_hello(struct control *control) {
    static const struct resp_reply_limits limits = {1u << 16, 100, 4};
    struct resp_reply *reply = NULL;
    struct why why;
    size_t used = 0;
    enum step step =
        resp_reply_next(&control->hello, &limits, buf_slice(&control->in), &reply, &used, &why);
    if (step == STEP_MORE) return;
    if (step == STEP_FAIL || resp_reply_is_error(reply)) {
        log_error("control.refused",
                  LOG_SL("reply", step == STEP_FAIL ? slice_text(why.text) : reply->text));
        stream_abort(control->task);
    } else {
        struct why not;
        const struct resp_reply *capture = resp_reply_field(reply, "capture");
        control->greeted = true;
        /* A RELEASE may come before the first ROUTE. What is refused here, ROUTE will refuse. */
        bool decided = capture != NULL && !slice_equal(capture->text, SLICE("undecided"));
        if (decided && lanes_take_capture(control->gw, capture->text, &control->recaptured, &not) != OK)
            log_error("control.capture", LOG_WHY(&not));
        log_info("control.joined", LOG_S("name", control->gw->name));
    }
    if (step == STEP_DONE) resp_reply_free(reply);
    buf_consume(&control->in, used);
}

static void on_bytes(void *self, struct slice bytes) {
    struct control *control = self;
    if (buf_size(&control->in) + bytes.size > (4u << 20)) {
        stream_abort(control->task);
        return;
    }
    buf_add(&control->in, bytes);
    if (!control->greeted) take_hello(control);
    if (control->greeted) take_commands(control);
}

static void on_open(void *self) {
    struct control *control = self;
    struct gateway *gw = control->gw;
    char epoch[24], pid[24];
    struct buf out = {0};
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, gw->hold.epoch);
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    resp_write_words(&out, "DRAWBRIDGE", "HELLO", "gateway", gw->name, DRAWBRIDGE_VERSION, epoch,
                     pid, NULL);
    stream_write(control->task, buf_slice(&out));
    buf_close(&out);
}

static void on_closed(void *self, enum err err, const struct why *why) {
    struct control *control = self;
    log_warn("control.task_lost", LOG_S("err", err_text(err)), LOG_WHY(why));
    control->task = NULL;
    control->greeted = control->release_waits = false;
    control->hello = (struct resp_reply_reader){0};
    resp_request_close(&control->request);
    buf_clear(&control->in);
    loop_timer_start(control->gw->main, &control->redial_task, REDIAL_MS, 0, dial_task, control);
}

static const struct stream_events task_events = {
    .on_open = on_open, .on_bytes = on_bytes, .on_closed = on_closed};

static void dial_task(void *self) {
    struct control *control = self;
    struct gateway *gw = control->gw;
    control->task =
        stream_dial(gw->main, &gw->config->state.control.endpoint, NULL, &task_events, control);
}

bool control_is_up(const struct control *control) {
    return control != NULL && control->task != NULL && control->greeted;
}

struct control *control_open(struct gateway *gw) {
    struct control *control = NEW(struct control);
    control->gw = gw;
    list_init(&control->waiting);
    list_init(&control->by_hand);
    dial_ask(control);
    dial_task(control);
    return control;
}

void control_close(struct control *control) {
    if (control == NULL) return;
    loop_timer_stop(&control->redial_ask);
    loop_timer_stop(&control->redial_task);
    if (control->ask != NULL) rconn_drop(control->ask);
    if (control->task != NULL) stream_drop(control->task);
    for (struct list *link; (link = list_pop(&control->waiting)) != NULL;)
        mem_free(LIST_OWNER(link, struct question, link));
    while (!list_is_empty(&control->by_hand)) forget_first(control);
    resp_request_close(&control->request);
    buf_close(&control->in);
    mem_free(control);
}
