/* latency.c -- the latency monitor: the last 160 spikes of each event, one a second. */
#include "server/latency.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/reply.h"

#define SAMPLES 160
#define EVENTS 16

struct event {
    const char *name;
    uint64_t max_ms;
    size_t count; /* samples ever; the last SAMPLES are kept */
    struct {
        int64_t at_s;
        uint64_t ms;
    } samples[SAMPLES];
};

struct engine_latency {
    size_t count;
    struct event events[EVENTS];
};

static struct event *event_named(struct engine_latency *l, const char *name) {
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->events[i].name, name) == 0) return &l->events[i];
    if (l->count == EVENTS) return NULL;
    l->events[l->count] = (struct event){.name = name};
    return &l->events[l->count++];
}

void latency_note(struct engine *engine, const char *name, uint64_t ms) {
    int64_t limit = engine->settings.latency_monitor_threshold_ms;
    if (limit == 0 || ms < (uint64_t)limit) return;
    if (engine->latency == NULL) engine->latency = NEW(struct engine_latency);
    struct event *e = event_named(engine->latency, name);
    if (e == NULL) return;
    int64_t at_s = engine->now_ms / 1000;
    if (ms > e->max_ms) e->max_ms = ms;
    size_t last = (e->count + SAMPLES - 1) % SAMPLES;
    if (e->count > 0 && e->samples[last].at_s == at_s) {
        if (ms > e->samples[last].ms) e->samples[last].ms = ms;
        return;
    }
    e->samples[e->count % SAMPLES].at_s = at_s;
    e->samples[e->count++ % SAMPLES].ms = ms;
}

static size_t event_count(const struct engine *engine) {
    return engine->latency ? engine->latency->count : 0;
}

static void run_latest(struct client *c) {
    reply_array(c, event_count(c->engine));
    for (size_t i = 0; i < event_count(c->engine); i++) {
        struct event *e = &c->engine->latency->events[i];
        size_t last = (e->count - 1) % SAMPLES;
        reply_array(c, 4);
        reply_bulk_text(c, e->name);
        reply_int(c, e->samples[last].at_s);
        reply_int(c, (int64_t)e->samples[last].ms);
        reply_int(c, (int64_t)e->max_ms);
    }
}

static void run_history(struct client *c) {
    for (size_t i = 0; i < event_count(c->engine); i++) {
        struct event *e = &c->engine->latency->events[i];
        if (!arg_is(c->argv[2], e->name)) continue;
        size_t kept = e->count > SAMPLES ? SAMPLES : e->count;
        reply_array(c, kept);
        for (size_t n = e->count - kept; n < e->count; n++) {
            reply_array(c, 2);
            reply_int(c, e->samples[n % SAMPLES].at_s);
            reply_int(c, (int64_t)e->samples[n % SAMPLES].ms);
        }
        return;
    }
    reply_empty_array(c);
}

static void run_reset(struct client *c) {
    int64_t gone = 0;
    struct engine_latency *l = c->engine->latency;
    for (size_t i = 0; l && i < l->count;) {
        bool named = c->argc == 2;
        for (int n = 2; n < c->argc; n++) named = named || arg_is(c->argv[n], l->events[i].name);
        if (named) {
            l->events[i] = l->events[--l->count];
            gone++;
        } else
            i++;
    }
    reply_int(c, gone);
}

static void run_doctor(struct client *c) {
    reply_verbatim(c, "txt",
                   c->engine->settings.latency_monitor_threshold_ms
                       ? SLICE("LATENCY LATEST lists the spikes that were seen.\n")
                       : SLICE("Nothing is recorded: latency-monitor-threshold is 0.\n"));
}

static void run_help(struct client *c) {
    static const char *const help[] = {"LATEST",
                                       "    The last spike of each event.",
                                       "HISTORY <event>",
                                       "    The spikes of one event, oldest first.",
                                       "RESET [<event> ...]",
                                       "    Forget the spikes of these events, or of all.",
                                       "DOCTOR",
                                       "    What to look at.",
                                       NULL};
    reply_help(c, help);
}

void latency_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"latency|latest", run_latest},
                                                      {"latency|history", run_history},
                                                      {"latency|reset", run_reset},
                                                      {"latency|doctor", run_doctor},
                                                      {"latency|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
