/* zset.h -- the value type sorted set: ENC_LISTPACK (member, score, member, score ... in order)
 * while it is small, ENC_SKIPLIST (so named for clients: a struct table of members beside a B+tree
 * of them in order) when it is big.
 *
 * A sorted set is a struct value of TYPE_ZSET: its encoding and pointer may change in every
 * function that takes it without const; put both back where they came from (entry_set_ptr). When an
 * encoding changes follows Redis 7.0 (t_zset.c): only zset_compact(), for results that were stored,
 * goes back.
 *
 * Order is by score, then by the member's bytes. Positions are ranks, from 0; every kind of range
 * becomes a range of ranks first (zset_count_below). Scores are never NaN.
 * Slices handed out point into the set, or into the scratch beside them if they are numbers in a
 * listpack; they die with the next change. Slices given in must not lie in the set.
 */
#ifndef SERVER_ZSET_H
#define SERVER_ZSET_H

#include "lib/base/rand.h"
#include "lib/redis/listpack.h"
#include "server/limits.h"
#include "server/table.h"
#include "server/value.h"
#include "server/ztree.h"

struct zset; /* the big form */

/* Empty, in the encoding that Redis chooses for a first member of this size. */
struct value zset_new(const struct type_limits *limits, size_t first_member_bytes);

/* For loading: a sorted set that will get ROOM members; then zset_add() for each. */
struct value zset_new_sized(const struct type_limits *limits, size_t room);
/* Take over a listpack (valid, an even number of items, every second one a score that is not NaN,
 * in order, no member twice, not empty). */
struct value zset_adopt_listpack(const struct type_limits *limits, uint8_t *lp);

size_t zset_length(const struct value *zset);
MUST_CHECK bool zset_score(const struct value *zset, struct slice member, double *score);
/* The rank of MEMBER; false if it is not there. */
MUST_CHECK bool zset_rank(const struct value *zset, struct slice member, size_t *rank);

/* Put MEMBER there with SCORE, whether it was there or not; true if it is new. */
bool zset_add(struct value *zset, const struct type_limits *limits, struct slice member,
              double score);
/* False if there was no such member. */
bool zset_remove(struct value *zset, struct slice member);
/* Remove COUNT members from RANK on; RANK + COUNT <= zset_length(). Costs as much as the smaller of
 * what goes and what stays. */
void zset_remove_ranks(struct value *zset, size_t rank, size_t count);

/* How many members lie before a bound. BELOW says of a single one whether it does; it is true for a
 * prefix of the order and false for the rest. */
typedef bool zset_below_fn(struct slice member, double score, const void *bound);
size_t zset_count_below(const struct value *zset, zset_below_fn *below, const void *bound);

/* How many members have a score below SCORE, or up to it. */
size_t zset_count_score(const struct value *zset, double score, bool up_to);

/* A walk from RANK on, in either direction; empty if RANK >= zset_length(). Dies with any change.
 */
/* The table of a big one; its items are struct zitem. */
struct table *zset_members(const struct value *zset);

struct zset_iter {
    const struct value *zset;
    struct ztree_iter tree;
    uint32_t at; /* in the listpack */
    bool backward;
    char scratch[LP_TEXT_SIZE];
};
void zset_iter_init(struct zset_iter *iter, const struct value *zset, size_t rank, bool backward);
bool zset_next(struct zset_iter *iter, struct slice *member, double *score);

/* Any member, each with the same probability. The set must not be empty. */
struct slice zset_random(const struct value *zset, struct rng *rng, double *score,
                         char scratch[LP_TEXT_SIZE]);

/* Call VISIT for about WANT members from CURSOR on (a listpack: for all); returns the next cursor,
 * 0 at the end. As table_scan(). */
typedef void zset_visit_fn(void *ctx, struct slice member, double score);
uint64_t zset_scan(const struct value *zset, uint64_t cursor, size_t want, zset_visit_fn *visit,
                   void *ctx);

/* Whether a listpack stores SCORE as an integer: a whole number in the range of Redis's double2ll.
 */
bool zset_score_as_int(double score, int64_t *number);

/* Turn a big set that is within the limits into a listpack (ZUNIONSTORE and its like do). */
void zset_compact(struct value *zset, const struct type_limits *limits);

extern const struct value_ops zset_ops;

#endif
