/* api.c -- the HTTP API: from the request to the core, and back. */
#include "state/api.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/metrics.h"
#include "lib/net/http.h"
#include "lib/net/mailbox.h"
#include "state/api_reads.h"
#include "state/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FEEDS_MAX 16

struct api {
    struct core *core;
    struct http *http;    /* state.api */
    struct http *metrics; /* state.metrics; NULL: not wanted */
    struct mailbox *mailbox;
    struct http_stream *feeds[FEEDS_MAX];
};

/* A request on its way to the loop and back. */
struct call {
    struct mail mail;
    struct api *api;
    struct http_request *request;
    json_t *params; /* the body; an empty object when there was none */
};

/* ---- answers ---- */

/* The exit code that the command line shall end with (operations.md). */
static int exit_code(enum err err) {
    if (err == ERR_CONFIG) return 2;
    if (err == ERR_STATE) return 3;
    if (err == ERR_REFUSED) return 4;
    if (err == ERR_EXISTS) return 7;
    return err ? 1 : 0;
}

static void free_call(struct call *call) {
    json_decref(call->params);
    mem_free(call);
}

static void answer_json(struct call *call, unsigned status, json_t *json) {
    struct buf body = {0};
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (text) buf_append(&body, text, strlen(text));
    buf_byte(&body, '\n');
    free(text);
    json_decref(json);
    http_answer(call->request, status, "application/json", &body);
    free_call(call);
}

static void answer_error(struct call *call, unsigned status, int code, const char *why,
                         json_t *more) {
    json_t *json = json_pack("{s:s, s:s, s:i}", "schema", "drawbridge.error.v1", "error", why,
                             "exit_code", code);
    if (json_is_object(more)) json_object_update_missing(json, more);
    json_decref(more);
    if (!json_object_get(json, "next_steps"))
        json_object_set_new(json, "next_steps", core_next_steps(call->api->core));
    answer_json(call, status, json);
}

/* A command ended. RESULT is ours. */
static void command_done(void *self, enum err err, const char *why, json_t *result) {
    struct call *call = self;
    struct core *core = call->api->core;
    if (err) {
        answer_error(call,
                     err == ERR_STATE || err == ERR_EXISTS ? 409
                     : err == ERR_REFUSED                  ? 403
                                                           : 500,
                     exit_code(err), why, result);
        return;
    }
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:s}", "schema", "drawbridge.done.v1", "phase",
                  phase_name(core->workflow.phase), "epoch", (json_int_t)core->workflow.epoch,
                  "primary", side_name(core->workflow.primary));
    if (json_is_object(result)) {
        json_object_del(result, "schema");
        json_object_update(json, result);
    }
    json_decref(result);
    json_object_set_new(json, "next_steps", core_next_steps(core));
    answer_json(call, 200, json);
}

/* ---- parameters ---- */

static bool truth(const struct call *call, const char *name) {
    return json_is_true(json_object_get(call->params, name));
}

static int64_t number(const struct call *call, const char *name, int64_t fallback) {
    json_t *value = json_object_get(call->params, name);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static const char *text(const struct call *call, const char *name) {
    const char *value = json_string_value(json_object_get(call->params, name));
    return value ? value : "";
}

static struct core_asker asker_of(const struct call *call) {
    struct core_asker asker;
    snprintf(asker.who, sizeof asker.who, "%s", text(call, "who")[0] ? text(call, "who") : "api");
    snprintf(asker.reason, sizeof asker.reason, "%s", text(call, "reason"));
    return asker;
}

/* ---- commands ---- */

static void run_barrier(struct call *call, enum side from) {
    struct core *core = call->api->core;
    int64_t max_hold_ms = number(call, "max_hold_ms", core->config->cutover.max_hold);
    if (max_hold_ms < 10 || max_hold_ms > 60000) {
        answer_error(call, 400, 2, "max_hold is between 10ms and 60s", NULL);
        return;
    }
    if (truth(call, "dry_run")) {
        answer_json(call, 200, api_plan(core, from, max_hold_ms));
        return;
    }
    int64_t epoch = number(call, "plan_epoch", 0);
    if (epoch && (uint64_t)epoch != core->workflow.epoch) {
        answer_error(call, 409, 7, "the epoch moved on since the plan was made", NULL);
        return;
    }
    struct core_asker asker = asker_of(call);
    core_barrier_start(core, from, truth(call, "rehearse"), (uint32_t)max_hold_ms, &asker,
                       command_done, call);
}

static void call_cutover(struct call *call) {
    run_barrier(call, SIDE_LEGACY);
}
static void call_rollback(struct call *call) {
    run_barrier(call, SIDE_TARGET);
}

static void call_capture(struct call *call) {
    struct core *core = call->api->core;
    int64_t max_hold_ms = number(call, "max_hold_ms", core->config->cutover.max_hold);
    enum capture wanted = CAPTURE_AUTO;
    if (!capture_parse(text(call, "capture"), &wanted) || wanted == CAPTURE_AUTO) {
        answer_error(call, 400, 2, "capture is stream or lane", NULL);
        return;
    }
    if (max_hold_ms < 10 || max_hold_ms > 60000) {
        answer_error(call, 400, 2, "max_hold is between 10ms and 60s", NULL);
        return;
    }
    struct core_asker asker = asker_of(call);
    core_recapture_start(core, wanted, truth(call, "dry_run"), (uint32_t)max_hold_ms, &asker,
                         command_done, call);
}

static void run_move(struct call *call, enum workflow_event event, const char *plan) {
    struct core *core = call->api->core;
    if (truth(call, "dry_run")) {
        answer_json(call, 200, api_simple_plan(core, event, plan));
        return;
    }
    struct core_asker asker = asker_of(call);
    core_move(core, event, &asker, command_done, call);
}

static void call_complete(struct call *call) {
    run_move(
        call, WORKFLOW_COMPLETE,
        "both links are closed, spools and checkpoints are removed; there is no way back any more");
}

static void call_abort(struct call *call) {
    run_move(
        call, WORKFLOW_ABORT,
        "both links are closed, spools and checkpoints are removed; legacy stays the primary side");
}

static void call_start(struct call *call) {
    struct core *core = call->api->core;
    if (truth(call, "dry_run")) {
        answer_json(
            call, 200,
            api_simple_plan(core, WORKFLOW_START,
                            "checks both sides, then copies legacy to target and follows it; "
                            "costs legacy one fork; clients do not notice; can be aborted"));
        return;
    }
    struct core_asker asker = asker_of(call);
    const char *baseline = text(call, "baseline");
    if (strlen(baseline) >= BASELINE_BYTES || (baseline[0] != '\0' && baseline[0] != '/' && strcmp(baseline, "scan") != 0)) {
        answer_error(call, 400, 2, "baseline: a path from / on, as the gateways see it, or scan", NULL);
        return;
    }
    core_start(core, &asker, baseline, command_done, call);
}

static void syncer_answered(void *self, struct member *member, bool ok, struct slice answer) {
    struct call *call = self;
    char why[200];
    (void)member;
    snprintf(why, sizeof why, "%.*s", (int)(answer.size < 190 ? answer.size : 190),
             (const char *)answer.data);
    command_done(call, ok ? OK : ERR_IO, why, NULL);
}

static void run_link(struct call *call, const char *what) {
    struct core *core = call->api->core;
    struct member *syncer = core_syncer(core);
    const char *link = link_name(link_from(core->workflow.primary));
    struct core_asker asker = asker_of(call);
    if (core_has_lanes(core)) {
        answer_error(call, 409, 3,
                     strcmp(what, "THROTTLE") == 0
                         ? "with capture lane there is no link to be throttled: copies give way to "
                           "clients' commands by themselves, and an audit is limited by GATEWAY AUDIT "
                           "START KEYS n BYTES n at each gateway's admin socket"
                         : "with capture lane there is no link that could be paused: the other side may "
                           "be slow, or stopped, as long as you like, and no client waits; "
                           "`drawbridge abort` ends the copying",
                     NULL);
        return;
    }
    if (!syncer) {
        answer_error(call, 409, 3, "no syncer is here", NULL);
        return;
    }
    core_note(core, "link.command", "%s: LINK %s %s", asker.who, what, link);
    if (strcmp(what, "THROTTLE") == 0)
        member_sendf(syncer, syncer_answered, call, "LINK THROTTLE %s %" PRId64 " %" PRId64, link,
                     number(call, "ops", 0), number(call, "bytes", 0));
    else
        member_sendf(syncer, syncer_answered, call, "LINK %s %s", what, link);
}

static void call_pause(struct call *call) {
    run_link(call, "PAUSE");
}
static void call_resume(struct call *call) {
    run_link(call, "RESUME");
}
static void call_throttle(struct call *call) {
    run_link(call, "THROTTLE");
}

static void call_reads(struct call *call) {
    core_reads_ask(call->api->core, command_done, call);
}

static void call_reads_set(struct call *call) {
    struct core_asker asker = asker_of(call);
    struct why why;
    if (core_reads_set(call->api->core, &asker, slice_text(text(call, "target")), &why) != OK) {
        answer_error(call, 400, 2, why.text, NULL);
        return;
    }
    call_reads(call);
}

static void call_audit_start(struct call *call) {
    struct core_asker asker = asker_of(call);
    core_audit_start(call->api->core, &asker, command_done, call);
}

static void call_audit_stop(struct call *call) {
    core_audit_stop(call->api->core, command_done, call);
}

static void call_audit_repair(struct call *call) {
    struct core_asker asker = asker_of(call);
    core_audit_repair(call->api->core, &asker, command_done, call);
}

static void call_waive(struct call *call) {
    enum gate_id gate;
    int64_t for_ms = number(call, "for_ms", 3600 * 1000);
    if (!gate_parse(text(call, "gate"), &gate)) {
        answer_error(call, 400, 2, "there is no such gate; `drawbridge status` lists them", NULL);
        return;
    }
    if (for_ms < 1000 || for_ms > INT64_C(30) * 24 * 3600 * 1000) {
        answer_error(call, 400, 2, "a waiver lasts between 1s and 30d", NULL);
        return;
    }
    struct core_asker asker = asker_of(call);
    core_waive(call->api->core, gate, for_ms, &asker, command_done, call);
}

/* ---- reads ---- */

static void call_status(struct call *call) {
    answer_json(call, 200, core_status(call->api->core));
}

static void call_metrics(struct call *call) {
    struct buf body = {0};
    state_metrics(call->api->core, &body);
    http_answer(call->request, 200, METRICS_CONTENT_TYPE, &body);
    free_call(call);
}

static void read_done(void *self, enum err err, const char *why, json_t *result) {
    struct call *call = self;
    if (err)
        answer_error(call, 500, 1, why, result);
    else
        answer_json(call, 200, result);
}

static int64_t query_number(const struct call *call, const char *name, int64_t fallback) {
    const char *value = http_query(call->request, name);
    int64_t n;
    return value && slice_to_int(slice_text(value), &n) ? n : fallback;
}

static void call_events(struct call *call) {
    int64_t limit = query_number(call, "limit", 1000);
    if (limit < 1 || limit > 10000) limit = 10000;
    api_read_events(call->api->core, query_number(call, "after", 0), limit, read_done, call);
}
static void call_checkpoints(struct call *call) {
    api_read_table(call->api->core, API_CHECKPOINTS, 0, read_done, call);
}
static void call_barriers(struct call *call) {
    api_read_table(call->api->core, API_BARRIERS, 0, read_done, call);
}
static void call_verify(struct call *call) {
    api_read_table(call->api->core, API_VERIFY, 0, read_done, call);
}
static void call_differences(struct call *call) {
    int64_t id = query_number(call, "audit", call->api->core->audit.last.id);
    api_read_table(call->api->core, API_DIFFERENCES, id, read_done, call);
}

/* ---- the feed ---- */

static bool send_event(struct http_stream *stream, const struct event *event) {
    struct buf line = {0};
    char *json = json_dumps(core_event_json(event), JSON_COMPACT | JSON_ENSURE_ASCII);
    buf_printf(&line, "id: %" PRId64 "\ndata: %s\n\n", event->seq, json ? json : "{}");
    free(json);
    bool sent = http_stream_send(stream, buf_slice(&line));
    buf_close(&line);
    return sent;
}

static void on_event(void *self, const struct event *event) {
    struct api *api = self;
    for (size_t i = 0; i < FEEDS_MAX; i++) {
        if (!api->feeds[i]) continue;
        if (!http_stream_is_gone(api->feeds[i]) && send_event(api->feeds[i], event)) continue;
        http_stream_close(api->feeds[i]);
        api->feeds[i] = NULL;
    }
}

/* What is in memory of the time after Last-Event-ID, then what comes. */
static void call_feed(struct call *call) {
    struct api *api = call->api;
    struct core *core = api->core;
    const char *last = http_header(call->request, "Last-Event-ID");
    int64_t after = query_number(call, "after", -1);
    if (last) (void)slice_to_int(slice_text(last), &after);
    for (size_t i = 0; i < FEEDS_MAX; i++) {
        if (api->feeds[i] && !http_stream_is_gone(api->feeds[i])) continue;
        http_stream_close(api->feeds[i]);
        api->feeds[i] = http_stream_open(call->request, "text/event-stream");
        free_call(call);
        size_t have = core->recent_count < CORE_RECENT ? core->recent_count : CORE_RECENT;
        for (size_t n = core->recent_count - have; after >= 0 && n < core->recent_count; n++)
            if (core->recent[n % CORE_RECENT].seq > after)
                (void)send_event(api->feeds[i], &core->recent[n % CORE_RECENT]);
        return;
    }
    answer_error(call, 503, 1, "too many readers of the feed", NULL);
}

/* ---- routes ---- */

static const struct {
    const char *method, *path;
    void (*run)(struct call *call);
} routes[] = {
    {"GET", "/v1/status", call_status},
    {"GET", "/v1/events", call_events},
    {"GET", "/v1/feed", call_feed},
    {"GET", "/v1/checkpoints", call_checkpoints},
    {"GET", "/v1/barriers", call_barriers},
    {"GET", "/v1/ledger/verify", call_verify},
    {"GET", "/v1/audit/differences", call_differences},
    {"GET", "/metrics", call_metrics},
    {"POST", "/v1/start", call_start},
    {"POST", "/v1/cutover", call_cutover},
    {"POST", "/v1/rollback", call_rollback},
    {"POST", "/v1/capture", call_capture},
    {"POST", "/v1/complete", call_complete},
    {"POST", "/v1/abort", call_abort},
    {"POST", "/v1/pause", call_pause},
    {"POST", "/v1/resume", call_resume},
    {"POST", "/v1/throttle", call_throttle},
    {"GET", "/v1/reads", call_reads},
    {"POST", "/v1/reads", call_reads_set},
    {"POST", "/v1/audit/start", call_audit_start},
    {"POST", "/v1/audit/stop", call_audit_stop},
    {"POST", "/v1/audit/repair", call_audit_repair},
    {"POST", "/v1/gates/waive", call_waive},
};

static void on_mail(void *self, struct mail *mail) {
    struct call *call = (struct call *)mail;
    (void)self;
    bool path_known = false;
    struct slice body = http_body(call->request);
    call->params =
        body.size ? json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, NULL)
                  : json_object();
    if (!json_is_object(call->params)) {
        answer_error(call, 400, 2, "the body is not a JSON object", NULL);
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, http_path(call->request)) != 0) continue;
        path_known = true;
        if (strcmp(routes[i].method, http_method(call->request)) != 0) continue;
        routes[i].run(call);
        return;
    }
    answer_error(call, path_known ? 405 : 404, 2,
                 path_known ? "another method, please" : "there is no such path", NULL);
}

/* In the HTTP thread. */
static void on_request(void *self, struct http_request *request) {
    struct api *api = self;
    struct call *call = NEW(struct call);
    call->api = api;
    call->request = request;
    if (mailbox_post(api->mailbox, &call->mail)) return;
    mem_free(call);
    http_answer_text(request, 503, "state has too much to do\n");
}

/* The port for Prometheus shows nothing else. */
static void on_metrics_request(void *self, struct http_request *request) {
    if (strcmp(http_path(request), "/metrics") == 0)
        on_request(self, request);
    else
        http_answer_text(request, 404, "only /metrics is here\n");
}

static void drop(void *self, struct mail *mail) {
    struct call *call = (struct call *)mail;
    (void)self;
    http_answer_text(call->request, 503, "state is ending\n");
    free_call(call);
}

static enum err open_one(struct api *api, const struct config_listen *listen, const char *option,
                         void (*handler)(void *, struct http_request *), struct http **http,
                         struct why *why) {
    if (listen->endpoint.kind == ENDPOINT_NONE) return OK;
    enum err err = http_open(http, &listen->endpoint, NULL, handler, api, why);
    return err ? why_add(why, err, "%s", option) : OK;
}

enum err api_open(struct api **out, struct core *core, struct why *why) {
    struct api *api = NEW(struct api);
    api->core = core;
    enum err err = mailbox_open(&api->mailbox, core->loop, API_WAITING_MAX, on_mail, api, why);
    if (!err)
        err = open_one(api, &core->config->state.api, "state.api", on_request, &api->http, why);
    if (!err)
        err = open_one(api, &core->config->state.metrics, "state.metrics", on_metrics_request,
                       &api->metrics, why);
    if (err) {
        api_close(api);
        return err;
    }
    if (core->config->state.console.endpoint.kind != ENDPOINT_NONE)
        log_warn("state.console",
                 LOG_S("why", "this version has no console yet; nothing listens there"));
    core->on_event = on_event;
    core->feed = api;
    *out = api;
    return OK;
}

void api_close(struct api *api) {
    if (!api) return;
    api->core->on_event = NULL;
    for (size_t i = 0; i < FEEDS_MAX; i++) http_stream_close(api->feeds[i]);
    if (api->mailbox) mailbox_close(api->mailbox, drop);
    http_close(api->http);
    http_close(api->metrics);
    mem_free(api);
}
