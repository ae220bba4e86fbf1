/* memory_report.h -- where the memory is: INFO memory, MEMORY STATS and DOCTOR. Names are Redis's.
 */
#ifndef SERVER_MEMORY_REPORT_H
#define SERVER_MEMORY_REPORT_H

#include <stddef.h>
#include <stdint.h>

struct engine;

/* All in bytes. */
struct memory_report {
    size_t used, peak, startup, rss;
    size_t allocated, active, resident; /* as the allocator tells them */
    size_t clients, replicas, backlog, index;
    size_t unsent; /* of `replicas`: the part of the stream that is only there for them */
    size_t snapshots; /* held by snapshots that are under way */
    size_t aof;       /* what it has not written yet */
    size_t overhead;  /* startup, clients, replicas, backlog, AOF, index and snapshots */
    size_t dataset;  /* what is used beside that */
    uint64_t keys;
};

void memory_report(struct engine *engine, struct memory_report *report);
void memory_commands_bind(struct engine *engine);

static inline double memory_ratio(size_t a, size_t b) {
    return b ? (double)a / (double)b : 0;
}
/* Percent of what is used beyond what was used at the start. */
static inline double memory_dataset_percent(const struct memory_report *r) {
    size_t net = r->used > r->startup ? r->used - r->startup : 0;
    return memory_ratio(r->dataset, net) * 100;
}

#endif
