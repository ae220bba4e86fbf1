/* set.h -- the value type set: ENC_INTSET while it is small and all members are integers, else
 * ENC_HASHTABLE (a struct table of members, each one allocation).
 *
 * A set is a struct value of TYPE_SET: its encoding and pointer may change in every function that
 * takes it without const; put both back where they came from (entry_set_ptr). When an encoding
 * changes follows Redis 7.0 (t_set.c): never back.
 *
 * Slices handed out point into the set, or into the scratch beside them if they are numbers; they
 * die with the next change. Slices given in must not lie in the set.
 */
#ifndef SERVER_SET_H
#define SERVER_SET_H

#include "lib/base/rand.h"
#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"
#include "server/limits.h"
#include "server/table.h"
#include "server/value.h"

#define SET_TEXT_SIZE LP_TEXT_SIZE

/* An empty intset. */
struct value set_new(void);
/* Empty, in the encoding that Redis chooses by the first member. */
struct value set_new_for(struct slice member);

/* For loading: a set that will get ROOM members; then set_add() for each. */
struct value set_new_sized(const struct type_limits *limits, size_t room);
/* Take over an intset (valid, not empty). */
struct value set_adopt_intset(const struct type_limits *limits, uint8_t *intset);

size_t set_length(const struct value *set);
bool set_has(const struct value *set, struct slice member);
/* True if the member is new. */
bool set_add(struct value *set, const struct type_limits *limits, struct slice member);
/* False if there was no such member. */
bool set_remove(struct value *set, struct slice member);

/* The member that an item of the table in ENC_HASHTABLE is. */
struct slice set_item(const void *item);

struct set_iter {
    const struct value *set;
    struct table_iter table;
    uint32_t at; /* in the intset */
    char scratch[SET_TEXT_SIZE];
};
void set_iter_init(struct set_iter *iter, const struct value *set);
bool set_next(struct set_iter *iter, struct slice *member);

/* Any member, each with the same probability. The set must not be empty. */
struct slice set_random(const struct value *set, struct rng *rng, char scratch[SET_TEXT_SIZE]);

/* Call VISIT for about WANT members from CURSOR on (an intset: for all); returns the next cursor, 0
 * at the end. As table_scan(). */
typedef void set_visit_fn(void *ctx, struct slice member);
uint64_t set_scan(const struct value *set, uint64_t cursor, size_t want, set_visit_fn *visit,
                  void *ctx);

extern const struct value_ops set_ops;

#endif
