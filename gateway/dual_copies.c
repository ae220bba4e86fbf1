/* dual_copies.c -- dual write: what the configuration says about copies, and their figures. See
 * dual.h, lane_big.h. */
#include "gateway/dual_inside.h"

struct lane_rules dual_rules(const struct drawbridge_config *config) {
    struct lane_rules rules = lane_rules_default;
    rules.big_bytes = (uint64_t)config->gateway.copy.big;
    rules.fence_ms = (uint64_t)config->gateway.copy.hold;
    return rules;
}

/* Lanes copy side by side: the slowest counts. */
void dual_copy_figures(const struct lane *l, uint64_t figures[DUAL_FIGURES]) {
    uint64_t estimate_ms = lane_big_estimate_ms(l);
    figures[DUAL_BIG_KEYS] += l->big.keys;
    figures[DUAL_BIG_BYTES] += l->big.bytes;
    figures[DUAL_BIG_COPIES] += l->big.copied;
    figures[DUAL_BIG_GIVEN_UP] += l->big.given_up;
    if (figures[DUAL_BIG_MS] < estimate_ms) figures[DUAL_BIG_MS] = estimate_ms;
}
