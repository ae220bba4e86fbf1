/* tiny_redis.h -- enough of a Redis to tell a right link from a wrong one; for simulations.
 *
 * Strings, lists, sets and hashes under a few one-letter keys in two databases, expiry by a clock of
 * its own with a skew, import mode, refusals. Requests and answers are RESP. A source writes what its
 * clients' commands did into a replication stream, as a real one does: effects, SELECT, MULTI...EXEC.
 */
#ifndef TESTS_SUPPORT_TINY_REDIS_H
#define TESTS_SUPPORT_TINY_REDIS_H

#include "lib/base/buf.h"
#include "lib/base/rand.h"
#include "lib/redis/resp.h"

#define TINY_DBS 2
#define TINY_KEYS 4 /* 'a' .. 'd' */
#define TINY_ITEMS 48
#define TINY_ITEM 24

enum tiny_type { TINY_NONE, TINY_STRING, TINY_LIST, TINY_SET, TINY_HASH };

struct tiny_value {
    enum tiny_type type;
    int64_t expire_ms; /* -1: never */
    int count;         /* of items; a hash has two for each field */
    char item[TINY_ITEMS][TINY_ITEM];
};

struct tiny_state {
    struct tiny_value at[TINY_DBS][TINY_KEYS];
    char checkpoint[512]; /* the key drawbridge:checkpoint:forward; "": none */
};

struct tiny {
    struct tiny_state state;
    const int64_t *world_ms;
    int64_t skew_ms;
    bool import_mode;
    struct rng rng;
    char refuse;       /* commands that write this key err when they are executed; '*': all */
    bool out_of_memory; /* writes err when they are queued, with an error of state */
    struct buf *stream; /* a source's; NULL: none */
    int stream_db;      /* selected in it; -1: none yet */
    struct buf effects[8];
    int effect_db[8];
    int effect_count;
};

int64_t tiny_now(const struct tiny *tiny);

/* A client's command, or MULTI of two (then `second` is not NULL); what it did goes to the stream. */
void tiny_client(struct tiny *tiny, int db, struct slice command, const struct slice *second);

/* Whole requests of a link's connection, MULTI and EXEC among them; answers into OUT. Returns false
 * if the wire ended before EXEC: nothing was done. */
bool tiny_serve(struct tiny *tiny, struct slice wire, struct buf *out);

/* The value as DUMP gives it; empty when there is no such key. Deletes an expired one. */
void tiny_dump(struct tiny *tiny, int db, char key, struct buf *payload, int64_t *expire_ms);

/* Delete what has expired; a source says so in its stream. */
void tiny_expire(struct tiny *tiny);

/* Whether both hold the same for a reader at time AT_MS; WHAT tells the first difference. */
bool tiny_equal(const struct tiny_state *a, const struct tiny_state *b, int64_t at_ms, char what[256]);

#endif
