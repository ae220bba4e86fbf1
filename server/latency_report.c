/* latency_report.c -- what the latency monitor saw, as a drawing and in words. */
#include "server/latency_inside.h"

#include "server/engine.h"

#include <stdio.h>

#define COLUMNS 80
#define ROWS 4
#define LEVELS 3 /* a row has so many */

static void age_text(int64_t age_s, char text[24]) {
    if (age_s < 60)
        snprintf(text, 24, "%llds", (long long)age_s);
    else if (age_s < 3600)
        snprintf(text, 24, "%lldm", (long long)(age_s / 60));
    else if (age_s < 86400)
        snprintf(text, 24, "%lldh", (long long)(age_s / 3600));
    else
        snprintf(text, 24, "%lldd", (long long)(age_s / 86400));
}

static void extremes(const struct event *e, uint64_t *low, uint64_t *high) {
    *low = UINT64_MAX;
    *high = 0;
    for (size_t i = 0; i < event_kept(e); i++) {
        uint64_t ms = e->samples[event_sample(e, i)].ms;
        if (ms < *low) *low = ms;
        if (ms > *high) *high = ms;
    }
}

/* One column for each sample: a bar of up to ROWS x LEVELS steps. */
static void draw_bars(const struct event *e, size_t from, size_t to, uint64_t low, uint64_t high,
                      struct buf *out) {
    for (int row = ROWS - 1; row >= 0; row--) {
        for (size_t i = from; i < to; i++) {
            uint64_t above = e->samples[event_sample(e, i)].ms - low, range = high - low;
            int step = range ? (int)(above * (ROWS * LEVELS - 1) / range) : 0;
            int here = step - row * LEVELS;
            buf_byte(out, (uint8_t)(here < 0 ? ' ' : here >= LEVELS ? '|' : "_o#"[here]));
        }
        buf_byte(out, '\n');
    }
}

/* Below each bar its age, from top to bottom. */
static void draw_ages(const struct event *e, size_t from, size_t to, int64_t now_s,
                      struct buf *out) {
    char text[24];
    bool more = true;
    for (size_t line = 0; more; line++) {
        more = false;
        for (size_t i = from; i < to; i++) {
            age_text(now_s - e->samples[event_sample(e, i)].at_s, text);
            size_t size = strlen(text);
            buf_byte(out, (uint8_t)(line < size ? text[line] : ' '));
            more = more || line + 1 < size;
        }
        buf_byte(out, '\n');
    }
}

void latency_draw(const struct event *e, int64_t now_s, struct buf *out) {
    uint64_t low, high;
    extremes(e, &low, &high);
    buf_printf(out, "%s - high %llu ms, low %llu ms (all time high %llu ms)\n", e->name,
               (unsigned long long)high, (unsigned long long)low, (unsigned long long)e->max_ms);
    for (int i = 0; i < COLUMNS; i++) buf_byte(out, '-');
    buf_byte(out, '\n');
    for (size_t from = 0; from < event_kept(e); from += COLUMNS) {
        size_t to = from + COLUMNS < event_kept(e) ? from + COLUMNS : event_kept(e);
        draw_bars(e, from, to, low, high, out);
        buf_byte(out, '\n');
        draw_ages(e, from, to, now_s, out);
    }
}

/* ---- in words ---- */

static const struct {
    const char *event, *advice;
} advices[] = {
    {"command", "Some commands take their time: SLOWLOG GET tells which. Look for commands whose "
                "work grows with the data (KEYS, SMEMBERS, SORT, long scripts)."},
    {"fast-command", "Commands that should be fast were not: the machine itself is slow at times. "
                     "Look at its load, at swapping, and at other machines on the same host."},
    {"expire-cycle", "Many keys are due in the same moment. Spread their times to live."},
    {"eviction-cycle", "Keys are thrown away to stay below maxmemory. Give it more memory, or less "
                       "data."},
    {"eviction-del", "Big keys are evicted: set lazyfree-lazy-eviction."},
    {"aof-fsync-always", "The disk is slow to sync: appendfsync everysec waits for it less."},
    {"aof-write", "The disk is slow to take writes of the AOF."},
};

static void report_event(const struct event *e, struct buf *out) {
    uint64_t sum = 0, low, high, deviation = 0;
    size_t kept = event_kept(e);
    for (size_t i = 0; i < kept; i++) sum += e->samples[event_sample(e, i)].ms;
    uint64_t mean = kept ? sum / kept : 0;
    for (size_t i = 0; i < kept; i++) {
        uint64_t ms = e->samples[event_sample(e, i)].ms;
        deviation += ms > mean ? ms - mean : mean - ms;
    }
    extremes(e, &low, &high);
    int64_t span_s =
        kept ? e->samples[event_sample(e, kept - 1)].at_s - e->samples[event_sample(e, 0)].at_s : 0;
    buf_printf(out,
               "%s: %zu spikes in %lld seconds, %llu ms on average (mean deviation %llu ms), "
               "worst %llu ms.\n",
               e->name, kept, (long long)span_s, (unsigned long long)mean,
               (unsigned long long)(kept ? deviation / kept : 0), (unsigned long long)e->max_ms);
    for (size_t i = 0; i < COUNT(advices); i++)
        if (strcmp(advices[i].event, e->name) == 0) buf_printf(out, "    %s\n", advices[i].advice);
}

void latency_report(struct engine *engine, struct buf *out) {
    const struct engine_latency *l = engine->latency;
    if (engine->settings.latency_monitor_threshold_ms == 0)
        buf_printf(out, "The latency monitor is off. CONFIG SET latency-monitor-threshold "
                        "<milliseconds> turns it on.\n");
    else if (l == NULL || l->count == 0)
        buf_printf(out, "No spike over %lld ms was seen since the last LATENCY RESET.\n",
                   (long long)engine->settings.latency_monitor_threshold_ms);
    for (size_t i = 0; l && i < l->count; i++) report_event(&l->events[i], out);
}
