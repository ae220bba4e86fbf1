/* sorter.h -- the keys of one side of an audit, sorted on disk, in bounded memory (C28).
 *
 * Records are gathered in memory up to a limit, sorted, and written as a run; reading merges the
 * runs. The order is that of a 128-bit hash of database and key.
 */
#ifndef SYNCER_SORTER_H
#define SYNCER_SORTER_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/redis/digest.h"

struct sorter;

struct sorter_record {
    uint64_t hash_high, hash_low;
    struct digest digest;
    int64_t expire_ms; /* -1: never */
    uint32_t db, type; /* enum value_type */
    struct slice key;  /* owned by the sorter until the next call */
};

/* Files are made as PATH.0, PATH.1, ... and removed at the end. */
struct sorter *sorter_new(const char *path, size_t memory_bytes);
void sorter_free(struct sorter *sorter);

MUST_CHECK enum err sorter_add(struct sorter *sorter, const struct digest_key *key, struct why *why);

/* No more records: begin to read. */
MUST_CHECK enum err sorter_finish(struct sorter *sorter, struct why *why);

/* The next record in order; *END at the end. */
MUST_CHECK enum err sorter_next(struct sorter *sorter, struct sorter_record *record, bool *end, struct why *why);

uint64_t sorter_count(const struct sorter *sorter);

static inline int sorter_compare(const struct sorter_record *a, const struct sorter_record *b) {
    if (a->hash_high != b->hash_high) return a->hash_high < b->hash_high ? -1 : 1;
    return a->hash_low < b->hash_low ? -1 : a->hash_low > b->hash_low;
}

#endif
