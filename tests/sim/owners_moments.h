/* owners_moments.h -- moments at which a rule of several gateways matters, brought about in a random run:
 * whoever breaks that rule is found sooner. They are nothing that the other random steps could not do. */
#ifndef TESTS_SIM_OWNERS_MOMENTS_H
#define TESTS_SIM_OWNERS_MOMENTS_H

#include "tests/sim/owners_world.h"

enum owners_moment_kind {
    OWNERS_MOMENT_UNDER_WAY, /* a gate dies while what it has sent is not executed yet */
    OWNERS_MOMENT_BUSY,      /* slots are to be handed over while F is late */
    OWNERS_MOMENT_VOLATILE,  /* likewise, with a key that will vanish */
    OWNERS_MOMENT_OLDER,     /* F is started again with what it had before that */
    OWNERS_MOMENTS
};

/* One of them, if it can be brought about now. FAULTS: something may die. */
void owners_moment(struct rng *r, struct o_world *w, enum owners_moment_kind kind, bool faults);

/* GATE is not heard of for as long as its lease, and longer; state fences it, or cannot. */
void owners_lapse(struct rng *r, struct o_world *w, unsigned gate);
/* Whoever has pinned something elsewhere, or somebody else meanwhile, dies, and is back at once. What
 * the pins were for may be executed late. */
void owners_die_with_pins(struct rng *r, struct o_world *w);

#endif
