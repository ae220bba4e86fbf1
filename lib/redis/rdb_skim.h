/* rdb_skim.h -- where the parts of an RDB end, without reading what is in them.
 *
 * So that a file can be cut at its keys, and the pieces be read by several threads. No I/O and no
 * memory: the caller owns the bytes. A skim believes everything but the lengths: it must never call
 * that whole what rdb_read.h would read otherwise, so what it is not sure of it refuses. Whoever is
 * refused goes on there with the reader, which knows better, or has the words for what is wrong.
 *
 * Hostile input: no byte behind the end is looked at, and each item of a collection that is counted
 * takes a byte at least.
 * Source: rdb.h and rdb.c of Redis 7.0.
 */
#ifndef LIB_REDIS_RDB_SKIM_H
#define LIB_REDIS_RDB_SKIM_H

#include "lib/base/slice.h"
#include "lib/base/step.h"

/* A key with what decorates it and its value.
 *   STEP_DONE  *used_bytes is its size; 0 < *used_bytes <= bytes.size
 *   STEP_MORE  it goes on behind BYTES, or seems to
 *   STEP_FAIL  this is no key: another opcode, a type that is not known, or broken */
MUST_CHECK enum step rdb_skim_key(struct slice bytes, size_t *used_bytes);

/* A part that is no key and stands between them: aux fields, functions, the choice of a database,
 * sizes. *DB changes where it chooses one. STEP_FAIL: it is none of these (a key, the end). */
MUST_CHECK enum step rdb_skim_between(struct slice bytes, size_t *used_bytes, uint64_t *db);

#endif
