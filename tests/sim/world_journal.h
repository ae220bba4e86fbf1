/* world_journal.h -- the real journal (gateway/journal.h) beside the world's model of one.
 *
 * Everything that the lanes tell goes to both. When the gateway dies, the real one is read and must
 * say what the model says, from which the next gateway begins.
 */
#ifndef TESTS_SIM_WORLD_JOURNAL_H
#define TESTS_SIM_WORLD_JOURNAL_H

#include "tests/sim/lane_world.h"

void world_journal_open(struct world *w);
void world_journal_close(struct world *w);

/* The gateway died: W->failed when the real one says something else than the model. Then an empty one
 * for the next gateway. */
void world_journal_read(struct world *w);

#endif
