/* hist.c -- reading histograms. */
#include "lib/base/hist.h"

#include <math.h>

#define SUBS (1u << HIST_SUB_BITS)

void hist_merge(struct hist *into, const struct hist *from) {
    uint64_t total = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&from->counts[i], memory_order_relaxed);
        if (n) hist_add_to(&into->counts[i], n);
        total += n;
    }
    /* The sum of the buckets, not the other's count: it may record while we read. */
    hist_add_to(&into->count, total);
    hist_add_to(&into->sum, hist_sum(from));
    if (hist_max(from) > hist_max(into))
        atomic_store_explicit(&into->max, hist_max(from), memory_order_relaxed);
}

void hist_clear(struct hist *hist) {
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        atomic_store_explicit(&hist->counts[i], 0, memory_order_relaxed);
    atomic_store_explicit(&hist->count, 0, memory_order_relaxed);
    atomic_store_explicit(&hist->sum, 0, memory_order_relaxed);
    atomic_store_explicit(&hist->max, 0, memory_order_relaxed);
}

uint64_t hist_bucket_low(unsigned bucket) {
    if (bucket < SUBS) return bucket;
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    return (uint64_t)(SUBS + (bucket & (SUBS - 1))) << shift;
}

uint64_t hist_bucket_high(unsigned bucket) {
    if (bucket < SUBS) return bucket;
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    return hist_bucket_low(bucket) + (UINT64_C(1) << shift) - 1;
}

uint64_t hist_quantile(const struct hist *hist, double quantile) {
    uint64_t total = hist_count(hist);
    if (total == 0) return 0;
    uint64_t rank = (uint64_t)ceil(quantile * (double)total);
    if (rank == 0) rank = 1;
    uint64_t seen = 0, max = hist_max(hist);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += atomic_load_explicit(&hist->counts[i], memory_order_relaxed);
        if (seen >= rank) {
            uint64_t high = hist_bucket_high(i);
            return high < max ? high : max;
        }
    }
    return max;
}

uint64_t hist_count_to(const struct hist *hist, uint64_t value) {
    unsigned last = hist_bucket(value);
    uint64_t seen = 0;
    for (unsigned i = 0; i <= last; i++)
        seen += atomic_load_explicit(&hist->counts[i], memory_order_relaxed);
    return seen;
}
