/* rand.h -- random numbers from a seed that can be printed and replayed (splitmix64).
 *
 * Not for secrets: rand_secret() asks the kernel.
 */
#ifndef LIB_BASE_RAND_H
#define LIB_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline struct rng rng_from(uint64_t seed) { return (struct rng){seed}; }

static inline uint64_t rng_next(struct rng *rng) {
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 <= result < BELOW; BELOW > 0. */
static inline uint64_t rng_below(struct rng *rng, uint64_t below) {
    return (uint64_t)(((__extension__(unsigned __int128)rng_next(rng)) * below) >> 64);
}

/* SIZE unpredictable bytes from the kernel. */
void rand_secret(void *bytes, size_t size);

/* 40 lower-case hexadecimal characters and a NUL, as Redis makes run ids and replication ids. */
void rand_hex40(char text[41]);

/* The seed of a test run: $SEED if set, else a fresh one. Print it. */
uint64_t rand_test_seed(void);

#endif
