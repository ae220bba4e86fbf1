/* marks.h -- C13, checked item by item: behind an item of a lane stands what P had when it executed it,
 * and F must have the same when it comes there, for each key that was clean. Of both simulations of lanes.
 */
#ifndef TESTS_SIM_MARKS_H
#define TESTS_SIM_MARKS_H

#include "gateway/lane.h"
#include "tests/sim/wires.h"

/* Behind what was asked of F on WIRE; STATE is P's, and is copied. Keys that can expire are left out. */
void mark_put(struct wire *wire, struct lane *lane, const struct mini_state *state);

/* How many keys were compared. FAILED, of SIZE bytes: the first that differs, unless it says something already. */
uint64_t mark_check(const struct message *mark, const struct mini_state *follower, char *failed, size_t size);

/* A fence was let through: what was to be compared before it was, or came too late. NULL is fine. */
void marks_drop(struct wire *wire);

#endif
