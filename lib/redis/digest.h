/* digest.h -- a key's digest that is the same wherever and however the key is stored (C31).
 *
 * Covers database, key, type, value and expiry time; of a stream the entries, last id, max deleted
 * id, entries added, groups with entries read, who owns which pending entry, and consumers. Not:
 * encodings, borders of nodes, delivery times and counts, seen times, LRU and LFU. (Of streams less
 * where the servers cannot know it of each other: digester_streams().)
 *
 * The order of elements counts in lists and streams only. A slot's digest is the sum of its keys'
 * digests, so it can be kept up to date and does not depend on order. Built on XXH3-128: finds
 * differences that happen, not ones that somebody constructs.
 */
#ifndef LIB_REDIS_DIGEST_H
#define LIB_REDIS_DIGEST_H

#include "lib/redis/rdb.h"

struct digest {
    uint64_t low, high;
};

#define DIGEST_TEXT_SIZE 33 /* 32 hexadecimal digits and a NUL */

void digest_add(struct digest *sum, struct digest more);  /* modulo 2^128 */
void digest_take(struct digest *sum, struct digest less); /* undoes digest_add() */
static inline bool digest_equal(struct digest a, struct digest b) {
    return a.low == b.low && a.high == b.high;
}
/* What the expiry time adds to a key's digest: nothing (zero) if it does not expire. So that two
 * digests can be compared but for it. */
struct digest digest_of_expiry(uint32_t db, struct slice name, int64_t expire_at_ms);
void digest_write(struct digest digest, char text[DIGEST_TEXT_SIZE]);

/* What comes out for each key. */
struct digest_key {
    const struct rdb_key *key; /* owned by the reader, for this call */
    uint32_t slot;             /* by slot_of() */
    struct digest digest;
};

struct digester;

/* Makes digests of what a reader reads: give digester_handler() to rdb_reader_open() or
 * dump_read(). EMIT is called for each complete key. SLOT_OF may be NULL: all slots are 0. */
struct digester *
digester_new(enum err (*emit)(void *self, const struct digest_key *key, struct why *why),
             void *self, uint32_t (*slot_of)(struct slice key)) __attribute__((returns_nonnull));
void digester_free(struct digester *digester);

/* How much of a stream counts. Two servers that follow each other exactly may still differ in what
 * nobody told them. */
enum digest_streams {
    DIGEST_STREAM_WHOLE,   /* all of it; how a digester begins */
    DIGEST_STREAM_CARRIED, /* not what Redis 7.0 tells no replica when XREADGROUP gives entries: a
                            * group's entries read, consumers that own no pending entry */
    DIGEST_STREAM_OLD, /* nor what versions before 7.0 do not have: max deleted id, entries added */
};
void digester_streams(struct digester *digester, enum digest_streams what);

/* A string that is read in parts: between key_begin() and key_end() of the handler, instead of its
 * string(). The digest is the same. */
void digester_string_part(struct digester *digester, struct slice part);

/* A stream's entry from elsewhere than an RDB, instead of the handler's entry(): ID, and then each of
 * its PAIRS by digester_entry_pair(). The digest is the same. */
void digester_entry(struct digester *digester, struct stream_id id, uint64_t pairs);
void digester_entry_pair(struct digester *digester, struct slice field, struct slice value);

/* Lives as long as the digester. */
const struct rdb_handler *digester_handler(struct digester *digester);

#endif
