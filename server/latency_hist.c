/* latency_hist.c -- a histogram of times with two digits. */
#include "server/latency_hist.h"

#include "lib/base/check.h"

#define NS_MAX UINT64_C(1000000000)

static unsigned bucket_of(uint64_t ns) {
    if (ns > NS_MAX) ns = NS_MAX;
    if (ns < 1) ns = 1;
    if (ns < 256) return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 7; /* 128 <= ns >> shift < 256 */
    return 256 + (shift - 1) * 128 + (unsigned)((ns >> shift) - 128);
}

static uint64_t highest_of(unsigned bucket) {
    if (bucket < 256) return bucket;
    unsigned shift = (bucket - 256) / 128 + 1;
    uint64_t lowest = (uint64_t)((bucket - 256) % 128 + 128) << shift;
    return lowest + (UINT64_C(1) << shift) - 1;
}

void latency_hist_record(struct latency_hist *hist, uint64_t ns) {
    unsigned bucket = bucket_of(ns);
    ASSERT(bucket < LATENCY_HIST_BUCKETS);
    hist->counts[bucket]++;
    hist->count++;
}

uint64_t latency_hist_at(const struct latency_hist *hist, double percentile) {
    uint64_t wanted = (uint64_t)(percentile / 100 * (double)hist->count + 0.5), seen = 0;
    if (wanted < 1) wanted = 1;
    for (unsigned i = 0; i < LATENCY_HIST_BUCKETS; i++) {
        seen += hist->counts[i];
        if (seen >= wanted) return highest_of(i);
    }
    return 0;
}

uint64_t latency_hist_below(const struct latency_hist *hist, uint64_t ns, uint64_t *highest_ns) {
    unsigned last = bucket_of(ns);
    uint64_t count = 0;
    for (unsigned i = 0; i <= last; i++) count += hist->counts[i];
    *highest_ns = highest_of(last);
    return count;
}
