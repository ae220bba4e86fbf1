/* metrics.h -- metrics as tables, and the writer of Prometheus' text format.
 *
 *     static const struct metric link_metrics[] = {
 *         {"drawbridge_link_up", METRIC_GAUGE, "1 while the link follows its source."},
 *         {"drawbridge_spool_bytes", METRIC_GAUGE, "Bytes in the spool.", offsetof(struct x, y),
 * 1},
 *     };
 *     struct metrics metrics; metrics_init(&metrics);
 *     metrics_add(&metrics, &link_metrics[0], 1, METRIC_LABEL("link", id), METRIC_LABELS_END);
 *     metrics_write(&metrics, out); metrics_close(&metrics);
 *
 * Samples of one name are gathered, whatever the order they were added in; a second sample with the
 * same labels is dropped and counted in metrics.dropped. Names and helps are constants; label
 * values may be anything and are escaped, and cut at 128 bytes. At most 10,000 samples.
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4.
 */
#ifndef LIB_BASE_METRICS_H
#define LIB_BASE_METRICS_H

#include "lib/base/buf.h"
#include "lib/base/hist.h"

#include <stdatomic.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name; /* counters end in _total; base units */
    enum metric_type type;
    const char *help;
    size_t offset; /* of a `struct counter` in the owner's struct, for metrics_add_table() */
    double scale;  /* what one unit of it is: 1e-6 for microseconds; 0: 1 */
};

/* A number that one thread (or several, by counter_add_any) changes and any thread reads. */
struct counter {
    _Atomic uint64_t value;
};
static inline void counter_add(struct counter *counter, uint64_t n) { /* one writing thread */
    hist_add_to(&counter->value, n);
}
static inline void counter_add_any(struct counter *counter, uint64_t n) {
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}
static inline void counter_set(struct counter *counter, uint64_t value) {
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}
static inline uint64_t counter_get(const struct counter *counter) {
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

struct metric_label {
    const char *name, *value; /* name NULL ends a list */
};
#define METRIC_LABEL(name, value) ((struct metric_label){(name), (value)})
#define METRIC_LABELS_END ((struct metric_label){NULL, NULL})

struct metric_family;
struct metrics {
    struct metric_family *families; /* a growing array */
    size_t count, cap;
    size_t samples, dropped;
    uint64_t *seen; /* hashes of name and labels, open addressing; 0 is free */
    size_t seen_cap;
};

void metrics_init(struct metrics *metrics);
void metrics_close(struct metrics *metrics);

/* The variable arguments are struct metric_label, the last one METRIC_LABELS_END. */
void metrics_add(struct metrics *metrics, const struct metric *metric, double value, ...);
/* The same with an array of labels that ends with METRIC_LABELS_END. */
void metrics_add_labels(struct metrics *metrics, const struct metric *metric, double value,
                        const struct metric_label *labels);

/* Every counter and gauge of TABLE, out of the struct at BASE by its offset. LABELS as above. */
void metrics_add_table(struct metrics *metrics, const struct metric *table, size_t count,
                       const void *base, const struct metric_label *labels);

/* A histogram with buckets at the BOUNDS (in the metric's own unit, ascending); HIST times
 * metric->scale is that unit. BOUNDS NULL: the 20 usual ones for latencies, 50 us to 10 s, as
 * seconds. */
void metrics_add_hist(struct metrics *metrics, const struct metric *metric, const struct hist *hist,
                      const double *bounds, size_t bound_count, const struct metric_label *labels);

/* What every role has: build info, process CPU and memory, open files, log lines. */
void metrics_add_process(struct metrics *metrics, const char *role);

void metrics_write(struct metrics *metrics, struct buf *out);

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
