/* commands.h -- the commands of simulated clients: words of one line, at random or as they are said. */
#ifndef TESTS_SIM_COMMANDS_H
#define TESTS_SIM_COMMANDS_H

#include "gateway/effect.h"

#include "lib/base/clock.h"
#include "lib/base/rand.h"

/* The words of TEXT, which own nothing. */
size_t command_split(struct slice text, struct slice argv[12]);

/* "command" or "command;command", which is a MULTI; so is one command when it is WATCHED. */
struct effect *command_prepare(struct effect_facts *facts, const struct clock *clock, int db, const char *text, bool watched);

/* A command with keys of 'a' .. 'd'; deadlines are near WORLD_MS. */
void command_random(struct rng *r, int64_t world_ms, char text[48]);

#endif
