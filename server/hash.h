/* hash.h -- the value type hash: ENC_LISTPACK (field, value, field, value ...) while it is small,
 * ENC_HASHTABLE (a struct table of items, each one allocation) when it is big.
 *
 * A hash is a struct value of TYPE_HASH: its encoding and pointer may change in every function that
 * takes it without const; put both back where they came from (entry_set_ptr). An encoding only ever
 * grows, and when it does follows Redis 7.0 (t_hash.c).
 *
 * Slices handed out point into the hash, or into the scratch beside them if they are numbers in a
 * listpack; they die with the next change. Slices given in must not lie in the hash.
 */
#ifndef SERVER_HASH_H
#define SERVER_HASH_H

#include "lib/base/rand.h"
#include "lib/redis/listpack.h"
#include "server/limits.h"
#include "server/table.h"
#include "server/value.h"

struct value hash_new(void);

/* For loading: a hash that will get ROOM fields, in the encoding that fits them if no field or
 * value is over the limits; then hash_set() for each. */
struct value hash_new_sized(const struct type_limits *limits, size_t room);
/* Take over a listpack (valid, an even number of items, no field twice, not empty). */
struct value hash_adopt_listpack(const struct type_limits *limits, uint8_t *lp);

size_t hash_length(const struct value *hash);
MUST_CHECK bool hash_get(const struct value *hash, struct slice field, struct slice *value,
                         char scratch[LP_TEXT_SIZE]);
/* True if the field is new. */
bool hash_set(struct value *hash, const struct type_limits *limits, struct slice field,
              struct slice value);
/* False if there was no such field. */
bool hash_remove(struct value *hash, struct slice field);

/* Strings with LARGEST and TOTAL bytes are about to be set: give up the listpack at once if it
 * cannot hold them. (HSET of Redis looks at all its arguments first.) */
void hash_expect(struct value *hash, const struct type_limits *limits, size_t largest,
                 size_t total);

/* What an item of the table in ENC_HASHTABLE holds. */
void hash_item(const void *item, struct slice *field, struct slice *value);

struct hash_iter {
    const struct value *hash;
    struct table_iter table;
    uint32_t at; /* in the listpack */
    char scratch[2][LP_TEXT_SIZE];
};
void hash_iter_init(struct hash_iter *iter, const struct value *hash);
bool hash_next(struct hash_iter *iter, struct slice *field, struct slice *value);

/* Any field, each with the same probability. The hash must not be empty. */
void hash_random(const struct value *hash, struct rng *rng, struct slice *field,
                 struct slice *value, char scratch[2][LP_TEXT_SIZE]);

/* Call VISIT for about WANT fields from CURSOR on (a listpack: for all); returns the next cursor, 0
 * at the end. As table_scan(). */
typedef void hash_visit_fn(void *ctx, struct slice field, struct slice value);
uint64_t hash_scan(const struct value *hash, uint64_t cursor, size_t want, hash_visit_fn *visit,
                   void *ctx);

extern const struct value_ops hash_ops;

#endif
