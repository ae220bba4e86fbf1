/* clock.h -- time as an argument, so that a simulation can own it.
 *
 * Whoever needs time takes a `const struct clock *`. clock_real() is the machine's.
 */
#ifndef LIB_BASE_CLOCK_H
#define LIB_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(const struct clock *clock); /* milliseconds since 1970, UTC; may jump */
    uint64_t (*mono_us)(const struct clock *clock); /* microseconds, never goes back */
};

const struct clock *clock_real(void);

static inline int64_t clock_wall_ms(const struct clock *clock) { return clock->wall_ms(clock); }
static inline uint64_t clock_mono_us(const struct clock *clock) { return clock->mono_us(clock); }
static inline uint64_t clock_mono_ms(const struct clock *clock) { return clock->mono_us(clock) / 1000; }

/* A clock that stands still until it is moved; for tests and simulations. Embed first. */
struct clock_fake {
    struct clock clock;
    int64_t now_ms;
    uint64_t now_us;
};

void clock_fake_init(struct clock_fake *fake, int64_t wall_ms);
void clock_fake_advance(struct clock_fake *fake, uint64_t us);

#endif
