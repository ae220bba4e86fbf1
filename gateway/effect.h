/* effect.h -- what a command will be sent as, which keys it touches, and what it did (C2, C3, C16).
 *
 * Pure: no I/O, no clock. A lane uses it in this order:
 *
 *     request --effect_new()--> struct effect        the bytes for the primary side P, the keys
 *             --> journal the keys, send effect->send to P, wait for effect->replies replies
 *     answer  --effect_answer()--> what the client gets
 *             --effect_tell()----> struct effect_outcome: nothing, requests for the follower F,
 *                                  or keys that become dirty
 *
 * What is prepared. Relative expiry times become absolute before P sees them (EXPIRE, SETEX,
 * SET .. EX, GETEX .. EX, RESTORE ttl). A command that blocks gets its non-blocking form (C17): it
 * is sent inside a MULTI of its own, where every Redis answers 'nothing there' at once and in the
 * words of the command itself. Approximate trimming of a stream is sent with an XLEN in the same
 * MULTI. What Redis will refuse is sent as it came, so that the client reads Redis' own words.
 *
 * What is told. The requests for F do not depend on what they can avoid depending on: SET NX that
 * was done is a plain SET, SPOP an SREM. They do what P did if F has P's value of each key that
 * the item names, which is the lane's business (C12). Whatever is not surely understood, an answer
 * of an unexpected form included, makes the keys that the command writes dirty.
 *
 * Not done here: `$` of XREAD (the lane puts the id there before effect_new()), MOVED and ASK (the
 * lane sends again; see effect_refusal()), and WATCH.
 *
 * Ownership: an effect owns a copy of its request; names of keys, here and in an outcome, point
 * into it. An outcome owns its bytes and arrays and is meant to be used again and again.
 * Hostile input: requests and answers may be anything; no length in them is believed unchecked.
 * Source: Redis 7.0.15, and what is known of 4.0 to 7.2 where a version is asked for.
 */
#ifndef GATEWAY_EFFECT_H
#define GATEWAY_EFFECT_H

#include "lib/redis/command.h"

/* A version as one number: 7.0.15 is 70015. Valkey counts as the Redis that it says it is. */
#define EFFECT_VERSION(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))

/* What must be known about the sides. Copied. */
struct effect_facts {
    int64_t now_ms;           /* the gateway's clock, since 1970 */
    int32_t primary_version;  /* 0: unknown, taken for an old one */
    int32_t follower_version; /* likewise */
    int32_t databases;        /* that P has; 0: unknown. For SELECT inside MULTI */
    size_t room_bytes;        /* that the effect's owner wants for itself, beside it */
    bool proxied;             /* P is behind a proxy: no MULTI of ours, and an error of a command
                               * with several keys does not prove that nothing was done (C2) */
};

enum effect_use {
    EFFECT_READ = 1,  /* what the command does depends on the value, or on whether there is one */
    EFFECT_WRITE = 2, /* it may change the value or its expiry time */
    EFFECT_WHOLE = 4, /* the whole value is replaced or deleted, whatever it was (C12a) */
};

enum effect_expiry {
    EFFECT_EXPIRY_KEPT, /* not changed, as far as this item goes */
    EFFECT_EXPIRY_NONE, /* the key has none now, or is gone */
    EFFECT_EXPIRY_AT,   /* deadline_ms */
    EFFECT_EXPIRY_OF, /* what the key number `from` of the same item had before it (RENAME, COPY) */
};

struct effect_key {
    struct slice name; /* of the effect's memory */
    int32_t db;
    uint8_t use;    /* enum effect_use */
    uint8_t expiry; /* enum effect_expiry; in an outcome only */
    uint16_t from;
    int64_t deadline_ms;
};

/* How much of P's answer effect_tell() and effect_answer() must be shown. */
enum effect_needs {
    EFFECT_NEEDS_NOTHING, /* it writes nothing, and its answer goes to the client as it is */
    EFFECT_NEEDS_HEAD,    /* the first EFFECT_HEAD_BYTES, or all if there are fewer */
    EFFECT_NEEDS_ALL,     /* all bytes of all its replies */
};
#define EFFECT_HEAD_BYTES 128

struct effect {
    const struct command *command; /* NULL: not in the table; or a block */
    struct slice send;             /* the bytes for P */
    const struct effect_key *keys; /* each key of each database once */
    size_t key_count;
    uint32_t replies;  /* that P gives to `send`; all of them together are 'the answer' */
    int32_t db;        /* that must be selected when it is sent */
    int32_t db_after;  /* that is selected after it; differs only for a block with SELECT */
    uint8_t needs;     /* enum effect_needs */
    bool is_block;     /* made by effect_block_new() */
    bool writes;       /* it may change data or scripts */
    bool plain;        /* an error proves that nothing was done (C2) */
    bool blocking;     /* the client may have to wait: see effect_would_block() */
    bool barrier;      /* everything else must be drained (C19) */
    bool no_data;      /* ... and it changes scripts or functions only */
    bool keys_unknown; /* it may write any key: `keys` are not all (C16) */
    void *room; /* its owner's: facts->room_bytes for anything, not cleared, freed with it */
    size_t room_bytes;
    struct effect_inside *inside; /* of effect.c's own */
};

/* Prepare one request. COMMAND is command_lookup()'s row (NULL when there is none), also when the
 * arity is wrong: P refuses that itself. argc > 0. The arguments are copied. */
struct effect *effect_new(const struct effect_facts *facts, int32_t db,
                          const struct command *command, size_t argc, const struct slice *argv);

/* The same, when ARGV are the words of RAW, an array of bulk strings: it is copied as it is where
 * nothing of it is changed. */
struct effect *effect_new_raw(const struct effect_facts *facts, int32_t db,
                              const struct command *command, size_t argc, const struct slice *argv,
                              struct slice raw);

struct effect_request {
    const struct command *command;
    size_t argc;
    const struct slice *argv;
    struct slice raw; /* as effect_new_raw() has it; or empty */
};

/* Prepare the commands between MULTI and EXEC as one block (C18); `send` begins with MULTI and ends
 * with EXEC, `replies` counts +OK, each +QUEUED and EXEC's own. Prepare it when EXEC comes: times
 * begin to run then. */
struct effect *effect_block_new(const struct effect_facts *facts, int32_t db, size_t count,
                                const struct effect_request *requests);

void effect_free(struct effect *effect); /* NULL is fine */

/* ---- the answer ---- */

enum effect_kind {
    EFFECT_REQUEST,   /* send to F if all keys are clean, see C12 and C12a; else what it writes is
                       * dirty */
    EFFECT_DIRTY,     /* the keys (all are written ones) become dirty */
    EFFECT_DIRTY_ALL, /* every key of every database becomes dirty */
};

/* What a request changes beside its keys. */
enum effect_scope {
    EFFECT_SCOPE_KEYS,    /* nothing */
    EFFECT_SCOPE_DB,      /* empties database item->db */
    EFFECT_SCOPE_ALL,     /* empties all databases */
    EFFECT_SCOPE_SWAP,    /* swaps item->db and item->db_other, with dirty and volatile keys */
    EFFECT_SCOPE_SCRIPTS, /* scripts or functions */
};

struct effect_item {
    uint8_t kind;               /* enum effect_kind */
    uint8_t scope;              /* enum effect_scope; of a request */
    int32_t db;                 /* to be selected at F; keys may lie in another one (COPY, MOVE) */
    int32_t db_other;           /* EFFECT_SCOPE_SWAP */
    size_t at, size;            /* the request: outcome->bytes from `at`; one request. Or: */
    struct slice verbatim;      /* it is this, of the effect's memory; else empty */
    uint32_t key_at, key_count; /* outcome->keys */
};

/* In order; an item counts on those before it. All that is sent of it goes as one MULTI .. EXEC
 * when it is more than one request. No items: nothing was done. All zero is ready. */
struct effect_outcome {
    struct effect_item *items;
    struct effect_key *keys;
    size_t item_count, key_count;
    size_t item_cap, key_cap;
    struct buf bytes;
};

/* What the command did, by P's whole ANSWER (or as much as it needs). OUTCOME is overwritten.
 * When no whole answer came (the connection broke) do not ask: all written keys are dirty. */
void effect_tell(const struct effect *effect, struct slice answer, struct effect_outcome *outcome);

/* ANSWER is the most usual one, and effect_tell() would tell one request in effect->db, *REQUEST,
 * with effect->keys; without telling it. */
MUST_CHECK bool effect_tells_itself(const struct effect *effect, struct slice answer,
                                    struct slice *request);

void effect_outcome_close(struct effect_outcome *outcome);

static inline struct slice effect_item_request(const struct effect_outcome *outcome,
                                               const struct effect_item *item) {
    if (item->verbatim.size > 0) return item->verbatim;
    return slice_take(slice_drop(buf_slice(&outcome->bytes), item->at), item->size);
}

/* effect_answer() gives the answer back as it is. */
bool effect_answers_as_is(const struct effect *effect);

/* The reply that is the client's: ANSWER itself, a part of it, or something that is put together in
 * SCRATCH. ANSWER must be whole. */
struct slice effect_answer(const struct effect *effect, struct slice answer, struct buf *scratch);

/* Of a blocking one: whether ANSWER says that there was nothing, so that the client must wait. */
bool effect_would_block(const struct effect *effect, struct slice answer);

/* ---- simple commands ---- */

/* A command of which nothing is changed before it leaves, that writes one key, argv[1], and did
 * either nothing or just what it says: no effect need be made of it (lane_burst.h). What it is told
 * to have done is what effect_tell() would tell, or that it is not known, and its key dirty. */
struct effect_simple {
    const struct effect_rule *rule;
    uint32_t words;        /* it is simple with so many; 0: with any that its arity allows */
    struct effect_key key; /* without its name and its database */
};

enum effect_did {
    EFFECT_DID_NOTHING,
    EFFECT_DID_IT,   /* the request itself is what F is to get, with its key */
    EFFECT_DID_WHAT, /* not understood: the key is dirty */
};

/* NULL: it is none, or has options: effect_new(). It lives for ever. */
const struct effect_simple *effect_simple_of(const struct command *command, size_t argc,
                                             const struct slice *argv);
enum effect_did effect_simple_tell(const struct effect_simple *simple, struct slice answer);

/* The error (without '-' and CRLF) for which P refused the whole of it, for a block the first
 * reason; an empty slice when it was not refused. MOVED, ASK, READONLY ... show here. */
struct slice effect_refusal(const struct effect *effect, struct slice answer);

#endif
