/* mini_redis.h -- a small Redis for the simulation of lanes: enough to tell a right one from a wrong.
 *
 * Strings, lists, sets, hashes and sorted sets under the keys 'a' .. 'f' in two databases; expiry by
 * a clock of its own with a skew, import mode, refusals, MULTI and WATCH on connections of its own,
 * scripts that write at random and err half-way. Requests and answers are RESP2, in the words of
 * Redis 7.0.15 where the gateway looks at them. Values have at most MINI_ITEMS items of 23 bytes;
 * what does not fit falls off the end, at both sides alike.
 */
#ifndef TESTS_SIM_MINI_REDIS_H
#define TESTS_SIM_MINI_REDIS_H

#include "lib/base/buf.h"
#include "lib/base/rand.h"
#include "lib/redis/resp.h"

#define MINI_DBS 2
#define MINI_KEYS 6 /* 'a' .. 'f' */
#define MINI_ITEMS 24
#define MINI_ITEM 24

enum mini_type { MINI_NONE, MINI_STRING, MINI_LIST, MINI_SET, MINI_HASH, MINI_ZSET };

struct mini_value {
    enum mini_type type;
    int64_t expire_ms; /* -1: never */
    int count;         /* items; a hash has two for each field, a sorted set member and score */
    char item[MINI_ITEMS][MINI_ITEM]; /* sets by member, hashes by field, sorted sets by member */
};

#define MINI_MARKS 8

struct mini_state {
    struct mini_value at[MINI_DBS][MINI_KEYS];
    char mark[MINI_MARKS][48]; /* what lanes write beside the data: HSET drawbridge:... N text */
    uint32_t libraries; /* of functions, as bits; FUNCTION LOAD 0 .. 31 stands for one */
};

struct mini {
    struct mini_state state;
    uint64_t version[MINI_DBS][MINI_KEYS]; /* for WATCH */
    const int64_t *world_ms;
    int64_t skew_ms;
    bool import_mode;
    struct rng rng;
    uint32_t changed; /* keys of this turn, as bits, of any database (C22) */
    bool flushed;
    uint64_t scripts; /* that were executed */
    char refuse;  /* writes of this key are refused (OOM), '*': of any; but for DEL and the like */
    bool loading; /* everything is refused */
};

struct mini_conn {
    int db;
    bool import_source; /* sees what has expired, in import mode */
    bool multi, spoiled, watching;
    uint64_t seen[MINI_DBS][MINI_KEYS]; /* 0: not watched; else version + 1 */
    struct buf queued;
    size_t count;
};

int64_t mini_now(const struct mini *mini);

/* One whole request; one reply into OUT. */
void mini_serve(struct mini *mini, struct mini_conn *conn, struct slice request, struct buf *out);

void mini_conn_close(struct mini_conn *conn);

/* Delete what has expired, as active expiry does. */
void mini_expire(struct mini *mini);

/* Whether two values are the same, deadlines included. */
bool mini_same(const struct mini_value *a, const struct mini_value *b);

static inline bool mini_alive(const struct mini_value *v, int64_t at_ms) {
    return v->type != MINI_NONE && (v->expire_ms < 0 || v->expire_ms > at_ms);
}

/* Whether both hold the same for a reader at AT_MS; WHAT tells the first difference. */
bool mini_equal(const struct mini_state *a, const struct mini_state *b, int64_t at_ms,
                char what[256]);

#endif
