/* latency_inside.h -- the events of the latency monitor, shared by latency*.c. */
#ifndef SERVER_LATENCY_INSIDE_H
#define SERVER_LATENCY_INSIDE_H

#include "server/latency.h"
#include "server/latency_hist.h"

#include <stddef.h>

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

/* Sample INDEX of those that are kept, oldest first; there are event_kept(). */
static inline size_t event_kept(const struct event *e) {
    return e->count < SAMPLES ? e->count : SAMPLES;
}
static inline size_t event_sample(const struct event *e, size_t index) {
    return (e->count - event_kept(e) + index) % SAMPLES;
}

/* latency_report.c: LATENCY GRAPH and LATENCY DOCTOR. */
void latency_draw(const struct event *e, int64_t now_s, struct buf *out);
void latency_report(struct engine *engine, struct buf *out);

#endif
