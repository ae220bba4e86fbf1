/* clock.c -- the machine's clock, and one that tests own. */
#include "lib/base/clock.h"

#include <time.h>

static int64_t real_wall_ms(const struct clock *clock) {
    (void)clock;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t real_mono_us(const struct clock *clock) {
    (void)clock;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const struct clock *clock_real(void) {
    static const struct clock real = {real_wall_ms, real_mono_us};
    return &real;
}

static int64_t fake_wall_ms(const struct clock *clock) {
    return ((const struct clock_fake *)clock)->now_ms;
}

static uint64_t fake_mono_us(const struct clock *clock) {
    return ((const struct clock_fake *)clock)->now_us;
}

void clock_fake_init(struct clock_fake *fake, int64_t wall_ms) {
    *fake = (struct clock_fake){{fake_wall_ms, fake_mono_us}, wall_ms, 0};
}

void clock_fake_advance(struct clock_fake *fake, uint64_t us) {
    uint64_t before_ms = fake->now_us / 1000;
    fake->now_us += us;
    fake->now_ms += (int64_t)(fake->now_us / 1000 - before_ms);
}
