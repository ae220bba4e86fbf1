/* latency.c -- the latency monitor: the last 160 spikes of each event, one a second; histograms. */
#include "server/latency.h"

#include "lib/base/mem.h"
#include "server/args.h"
#include "server/engine.h"
#include "server/latency_inside.h"
#include "server/reply.h"

static struct event *event_named(struct engine_latency *l, const char *name) {
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->events[i].name, name) == 0) return &l->events[i];
    if (l->count == EVENTS) return NULL;
    l->events[l->count] = (struct event){.name = name};
    return &l->events[l->count++];
}

void latency_note(struct engine *engine, const char *event, uint64_t ms) {
    int64_t limit = engine->settings.latency_monitor_threshold_ms;
    if (limit == 0 || ms < (uint64_t)limit) return;
    if (engine->latency == NULL) engine->latency = NEW(struct engine_latency);
    struct event *e = event_named(engine->latency, event);
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

static struct event *find_event(const struct engine *engine, struct slice name) {
    for (size_t i = 0; i < event_count(engine); i++)
        if (arg_is(name, engine->latency->events[i].name)) return &engine->latency->events[i];
    return NULL;
}

static void run_graph(struct client *c) {
    const struct event *e = find_event(c->engine, c->argv[2]);
    if (e == NULL) {
        reply_error(c, "ERR No samples available for event '%.*s'",
                    (int)(c->argv[2].size < 128 ? c->argv[2].size : 128),
                    (const char *)c->argv[2].data);
        return;
    }
    struct buf text = {0};
    latency_draw(e, c->engine->now_ms / 1000, &text);
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

static void run_doctor(struct client *c) {
    struct buf text = {0};
    latency_report(c->engine, &text);
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

/* ---- histograms ---- */

static struct latency_hist *hist_of(const struct engine *engine, const struct command *command) {
    return engine->uses[command->index].latency;
}

void latency_record(struct engine *engine, const struct command *command, uint64_t took_us) {
    struct command_use *use = &engine->uses[command->index];
    if (!engine->settings.latency_tracking) return;
    if (use->latency == NULL) use->latency = NEW(struct latency_hist);
    latency_hist_record(use->latency, took_us * 1000);
}

void latency_forget_histograms(struct engine *engine) {
    for (size_t i = 0; i < command_count; i++) {
        mem_free(engine->uses[i].latency);
        engine->uses[i].latency = NULL;
    }
}

void latency_info(struct engine *engine, struct buf *out) {
    const struct settings *s = &engine->settings;
    for (size_t i = 0; i < command_count; i++) {
        const struct latency_hist *hist = engine->uses[i].latency;
        if (hist == NULL) continue;
        buf_printf(out, "latency_percentiles_usec_%s:", command_at(i)->name);
        for (int n = 0; n < s->latency_percentile_count; n++)
            buf_printf(out, "%sp%.15g=%.3f", n ? "," : "", s->latency_percentiles[n],
                       (double)latency_hist_at(hist, s->latency_percentiles[n]) / 1000);
        buf_printf(out, "\r\n");
    }
}

/* Calls by time, at doubling steps from 1 us on, as far as there are any. */
static void reply_hist(struct client *c, const char *name, const struct latency_hist *hist) {
    reply_bulk_text(c, name);
    reply_map(c, 2);
    reply_bulk_text(c, "calls");
    reply_int(c, (int64_t)hist->count);
    reply_bulk_text(c, "histogram_usec");
    size_t mark = reply_later(c), steps = 0;
    uint64_t before = 0;
    for (uint64_t ns = 1024; before < hist->count; ns *= 2) {
        uint64_t highest_ns, count = latency_hist_below(hist, ns, &highest_ns);
        if (count == before) continue;
        reply_int(c, (int64_t)(highest_ns / 1000));
        reply_int(c, (int64_t)count);
        steps++;
        before = count;
    }
    reply_later_map(c, mark, steps);
}

static size_t reply_hists_of(struct client *c, const struct command *command) {
    size_t count = 0;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *row = command_at(i);
        if (hist_of(c->engine, row) == NULL) continue;
        if (row != command && (row->parent != command->index || row == command)) continue;
        reply_hist(c, row->name, hist_of(c->engine, row));
        count++;
    }
    return count;
}

static void run_histogram(struct client *c) {
    size_t mark = reply_later(c), count = 0;
    for (int n = 2; n < c->argc; n++) {
        const struct command *command = command_of_path(c->engine, c->argv[n]);
        if (command) count += reply_hists_of(c, command);
    }
    for (size_t i = 0; c->argc == 2 && i < command_count; i++) {
        const struct latency_hist *hist = hist_of(c->engine, command_at(i));
        if (hist) reply_hist(c, command_at(i)->name, hist), count++;
    }
    reply_later_map(c, mark, count);
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
                                       "GRAPH <event>",
                                       "    Its spikes as a drawing.",
                                       "HISTOGRAM [<command> ...]",
                                       "    How long calls took.",
                                       NULL};
    reply_help(c, help);
}

void latency_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"latency|latest", run_latest}, {"latency|history", run_history},
        {"latency|reset", run_reset},   {"latency|doctor", run_doctor},
        {"latency|graph", run_graph},   {"latency|histogram", run_histogram},
        {"latency|help", run_help}};
    command_bind(engine, bindings, COUNT(bindings));
}
