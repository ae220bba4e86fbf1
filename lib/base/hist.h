/* hist.h -- a log-linear histogram: any latency from 0 to 2^42 with an error of at most 1.6 %.
 *
 * 64 buckets per power of two. One thread records (a loop), any thread may read at the same time:
 * histograms are per loop and merged when they are read. The unit is the owner's (microseconds or
 * nanoseconds, say so in the name of the field).
 */
#ifndef LIB_BASE_HIST_H
#define LIB_BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_TOP_BIT 42 /* larger values count as the largest */
#define HIST_BUCKETS (((HIST_TOP_BIT - HIST_SUB_BITS) + 1) << HIST_SUB_BITS)

struct hist {
    _Atomic uint64_t counts[HIST_BUCKETS];
    _Atomic uint64_t count, sum, max;
};

static inline void hist_add_to(_Atomic uint64_t *counter, uint64_t n) {
    /* One writer: a plain load and store is enough, and cheaper than a locked add. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline unsigned hist_bucket(uint64_t value) {
    if (value >= UINT64_C(1) << HIST_TOP_BIT) value = (UINT64_C(1) << HIST_TOP_BIT) - 1;
    if (value < (1u << HIST_SUB_BITS)) return (unsigned)value;
    unsigned top = 63u - (unsigned)__builtin_clzll(value);
    unsigned shift = top - HIST_SUB_BITS;
    return ((shift + 1) << HIST_SUB_BITS) +
           (unsigned)((value >> shift) & ((1u << HIST_SUB_BITS) - 1));
}

static inline void hist_record_n(struct hist *hist, uint64_t value, uint64_t n) {
    hist_add_to(&hist->counts[hist_bucket(value)], n);
    hist_add_to(&hist->count, n);
    hist_add_to(&hist->sum, value * n);
    if (value > atomic_load_explicit(&hist->max, memory_order_relaxed))
        atomic_store_explicit(&hist->max, value, memory_order_relaxed);
}
static inline void hist_record(struct hist *hist, uint64_t value) {
    hist_record_n(hist, value, 1);
}

void hist_merge(struct hist *into, const struct hist *from);
void hist_clear(struct hist *hist);
static inline uint64_t hist_count(const struct hist *hist) {
    return atomic_load_explicit(&hist->count, memory_order_relaxed);
}
static inline uint64_t hist_sum(const struct hist *hist) {
    return atomic_load_explicit(&hist->sum, memory_order_relaxed);
}
static inline uint64_t hist_max(const struct hist *hist) {
    return atomic_load_explicit(&hist->max, memory_order_relaxed);
}

/* The value that a share QUANTILE (0..1, as 0.9999) of the records does not exceed; 0 if empty. */
uint64_t hist_quantile(const struct hist *hist, double quantile);

/* How many records are at most VALUE (to within a bucket). */
uint64_t hist_count_to(const struct hist *hist, uint64_t value);

/* Smallest and largest value of a bucket. */
uint64_t hist_bucket_low(unsigned bucket);
uint64_t hist_bucket_high(unsigned bucket);

#endif
