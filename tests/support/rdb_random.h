/* rdb_random.h -- random keys of all types, serialised, together with what a reader must say. */
#ifndef TESTS_SUPPORT_RDB_RANDOM_H
#define TESTS_SUPPORT_RDB_RANDOM_H

#include "lib/base/buf.h"
#include "lib/base/rand.h"
#include "lib/redis/rdb.h"

/* How many kinds of values there are: rdb_random_value() takes any KIND below it. */
#define RDB_RANDOM_KINDS 19u

/* Append a random value of KIND to VALUE, and call the pieces of EXPECT as a reader of it must,
 * key_begin() and key_end() included. Sets rdb_type and type of KEY. SCALE: about how many
 * elements. */
void rdb_random_value(struct rng *rng, unsigned kind, unsigned scale, struct rdb_key *key,
                      struct buf *value, const struct rdb_handler *expect);

/* A random string: numbers, short and long ones, ones that compress. */
void rdb_random_text(struct rng *rng, struct buf *text);

#endif
