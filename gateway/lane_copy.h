/* lane_copy.h -- a copy in the lane: what P is asked for, and what its answer makes of F (C13, C3).
 *
 *     MULTI; PEXPIRETIME key; DUMP key; EXEC        (before 7.0: TIME and PTTL)
 *     --> RESTORE key deadline payload REPLACE ABSTTL, or DEL when both say that there is no such
 * key
 *
 * Pure. Hostile input: the answer may be anything; what is not understood is a failed copy.
 * Source: Redis 7.0, PEXPIRETIME and RESTORE (ABSTTL since 5.0).
 */
#ifndef GATEWAY_LANE_COPY_H
#define GATEWAY_LANE_COPY_H

#include "lib/base/buf.h"

enum lane_copied {
    LANE_COPY_FAILED, /* an error, or not understood: the key stays dirty */
    LANE_COPY_ABSENT,
    LANE_COPY_VALUE,
};

struct lane_value {
    struct slice payload; /* of DUMP; points into the answer */
    int64_t deadline_ms;  /* 0: the key does not expire */
};

/* Append the requests; returns the number of replies that they will have. VERSION: of P, as in
 * effect.h. */
uint32_t lane_copy_ask(struct buf *out, int32_t version, struct slice key);

/* ANSWER: all replies, whole. */
enum lane_copied lane_copy_read(int32_t version, struct slice answer, struct lane_value *value);

/* The answer of a server that has no such key. */
struct slice lane_copy_absent(int32_t version);

/* A payload that F is too old for is written anew in SCRATCH, and VALUE points there. What cannot be
 * said in F's version stays as it is, for F to refuse. VERSION: of F. */
void lane_copy_fit(int32_t version, struct lane_value *value, struct buf *scratch);

/* Append the one request for F. */
void lane_copy_restore(struct buf *out, struct slice key, const struct lane_value *value);
void lane_copy_delete(struct buf *out, struct slice key);

#endif
