/* latency_hist.h -- how long the calls of a command took: LATENCY HISTOGRAM and INFO latencystats.
 *
 * The buckets are those of Redis 7.0, so that the same calls give the same figures: 128 a power of
 * two (two digits), from 1 ns to 1 s; what takes longer counts as 1 s.
 */
#ifndef SERVER_LATENCY_HIST_H
#define SERVER_LATENCY_HIST_H

#include <stdint.h>

#define LATENCY_HIST_BUCKETS (256 + 22 * 128)

struct latency_hist {
    uint64_t count;
    uint64_t counts[LATENCY_HIST_BUCKETS];
};

void latency_hist_record(struct latency_hist *hist, uint64_t ns);
/* The highest time (ns) of the bucket in which the call at PERCENTILE (0..100) is. */
uint64_t latency_hist_at(const struct latency_hist *hist, double percentile);
/* How many calls took at most about NS, and the highest time (ns) of that bucket. */
uint64_t latency_hist_below(const struct latency_hist *hist, uint64_t ns, uint64_t *highest_ns);

#endif
