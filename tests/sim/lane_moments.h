/* lane_moments.h -- moments at which a rule of the lanes matters, brought about in a random run: whoever
 * breaks that rule is found sooner. They are nothing that the other random steps could not do. */
#ifndef TESTS_SIM_LANE_MOMENTS_H
#define TESTS_SIM_LANE_MOMENTS_H

#include "tests/sim/lane_world.h"

enum lane_moment_kind { LANE_MOMENT_OUTSIDER, LANE_MOMENT_BIG, LANE_MOMENT_FILE, LANE_MOMENT_CHANCE, LANE_MOMENT_LOADING, LANE_MOMENT_REFUSAL, LANE_MOMENTS };

/* One of them, if it can be brought about now. REFUSALS: F may refuse something, and P may be loading. */
void lane_moment(struct rng *r, struct world *w, enum lane_moment_kind kind, bool refusals);

#endif
