/* command.h -- what is known about each command of Redis 7.0: one table for gateway, syncer and
 * server (operations.md: "keys of a command").
 *
 * The rows stand in command_table.inc. Names are found in any case. Arity counts the name; a
 * negative one means "at least".
 *
 *     const struct command *command = command_admit(argc, argv, &error);
 *     if (command == NULL) ... send `error` ...
 *     struct command_key keys[16];
 *     err = command_keys(command, argc, argv, keys, 16, &count, &why);
 *
 * Source: the answers of COMMAND, COMMAND DOCS and COMMAND GETKEYSANDFLAGS of redis-server 7.0.15;
 * commands of 7.2 that client libraries send when they connect. The effect column is C16's.
 */
#ifndef LIB_REDIS_COMMAND_H
#define LIB_REDIS_COMMAND_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"
#include "lib/base/why.h"

/* The flags of COMMAND INFO, and after them two that it does not show. */
#define COMMAND_FLAG_LIST(X)                                                                       \
    X(WRITE, "write")                                                                              \
    X(READONLY, "readonly")                                                                        \
    X(DENYOOM, "denyoom")                                                                          \
    X(ADMIN, "admin")                                                                              \
    X(PUBSUB, "pubsub")                                                                            \
    X(NOSCRIPT, "noscript")                                                                        \
    X(BLOCKING, "blocking")                                                                        \
    X(LOADING, "loading")                                                                          \
    X(STALE, "stale")                                                                              \
    X(SKIP_MONITOR, "skip_monitor")                                                                \
    X(SKIP_SLOWLOG, "skip_slowlog")                                                                \
    X(ASKING, "asking")                                                                            \
    X(FAST, "fast")                                                                                \
    X(NO_AUTH, "no_auth")                                                                          \
    X(NO_MANDATORY_KEYS, "no_mandatory_keys")                                                      \
    X(NO_ASYNC_LOADING, "no_async_loading")                                                        \
    X(NO_MULTI, "no_multi")                                                                        \
    X(MOVABLEKEYS, "movablekeys")                                                                  \
    X(ALLOW_BUSY, "allow_busy")                                                                    \
    X(MAY_REPLICATE, "may_replicate")                                                              \
    X(PROTECTED, "protected")

#define COMMAND_ACL_LIST(X)                                                                        \
    X(KEYSPACE, "keyspace")                                                                        \
    X(READ, "read")                                                                                \
    X(WRITE, "write")                                                                              \
    X(SET, "set")                                                                                  \
    X(SORTEDSET, "sortedset")                                                                      \
    X(LIST, "list")                                                                                \
    X(HASH, "hash")                                                                                \
    X(STRING, "string")                                                                            \
    X(BITMAP, "bitmap")                                                                            \
    X(HYPERLOGLOG, "hyperloglog")                                                                  \
    X(GEO, "geo")                                                                                  \
    X(STREAM, "stream")                                                                            \
    X(PUBSUB, "pubsub")                                                                            \
    X(ADMIN, "admin")                                                                              \
    X(FAST, "fast")                                                                                \
    X(SLOW, "slow")                                                                                \
    X(BLOCKING, "blocking")                                                                        \
    X(DANGEROUS, "dangerous")                                                                      \
    X(CONNECTION, "connection")                                                                    \
    X(TRANSACTION, "transaction")                                                                  \
    X(SCRIPTING, "scripting")

/* How a key is used. One of RO, RW, OW (overwritten), RM (removed) for the value as a whole, and
 * what happens to the data that the user sees. */
#define COMMAND_KEY_LIST(X)                                                                        \
    X(RO, "RO")                                                                                    \
    X(RW, "RW")                                                                                    \
    X(OW, "OW")                                                                                    \
    X(RM, "RM")                                                                                    \
    X(ACCESS, "access")                                                                            \
    X(UPDATE, "update")                                                                            \
    X(INSERT, "insert")                                                                            \
    X(DELETE, "delete")                                                                            \
    X(NOT_KEY, "not_key")                                                                          \
    X(INCOMPLETE, "incomplete")                                                                    \
    X(VARIABLE_FLAGS, "variable_flags")

#define COMMAND_GROUP_LIST(X)                                                                      \
    X(BITMAP, "bitmap")                                                                            \
    X(CLUSTER, "cluster")                                                                          \
    X(CONNECTION, "connection")                                                                    \
    X(GENERIC, "generic")                                                                          \
    X(GEO, "geo")                                                                                  \
    X(HASH, "hash")                                                                                \
    X(HYPERLOGLOG, "hyperloglog")                                                                  \
    X(LIST, "list")                                                                                \
    X(PUBSUB, "pubsub")                                                                            \
    X(SCRIPTING, "scripting")                                                                      \
    X(SERVER, "server")                                                                            \
    X(SET, "set")                                                                                  \
    X(SORTED_SET, "sorted-set")                                                                    \
    X(STREAM, "stream")                                                                            \
    X(STRING, "string")                                                                            \
    X(TRANSACTIONS, "transactions")

#define COMMAND_BIT_NUMBER(name, text) COMMAND_BIT_##name,
enum command_flag_bit { COMMAND_FLAG_LIST(COMMAND_BIT_NUMBER) COMMAND_FLAGS };
#undef COMMAND_BIT_NUMBER
#define COMMAND_FLAG(name, text) COMMAND_##name = 1u << COMMAND_BIT_##name,
enum command_flag { COMMAND_FLAG_LIST(COMMAND_FLAG) };
#undef COMMAND_FLAG
#define COMMAND_BIT_NUMBER(name, text) COMMAND_ACL_BIT_##name,
enum command_acl_bit { COMMAND_ACL_LIST(COMMAND_BIT_NUMBER) COMMAND_ACLS };
#undef COMMAND_BIT_NUMBER
#define COMMAND_FLAG(name, text) COMMAND_ACL_##name = 1u << COMMAND_ACL_BIT_##name,
enum command_acl { COMMAND_ACL_LIST(COMMAND_FLAG) };
#undef COMMAND_FLAG
#define COMMAND_BIT_NUMBER(name, text) COMMAND_KEY_BIT_##name,
enum command_key_bit { COMMAND_KEY_LIST(COMMAND_BIT_NUMBER) COMMAND_KEY_FLAGS };
#undef COMMAND_BIT_NUMBER
#define COMMAND_FLAG(name, text) COMMAND_KEY_##name = 1u << COMMAND_KEY_BIT_##name,
enum command_key_flag { COMMAND_KEY_LIST(COMMAND_FLAG) };
#undef COMMAND_FLAG
#define COMMAND_GROUP(name, text) COMMAND_GROUP_##name,
enum command_group { COMMAND_GROUP_LIST(COMMAND_GROUP) COMMAND_GROUPS };
#undef COMMAND_GROUP

/* What the follower side must be sent when the primary side executed the command (C16). */
enum command_effect {
    COMMAND_EFFECT_NONE,         /* changes no data */
    COMMAND_EFFECT_VERBATIM,     /* the command as it was sent */
    COMMAND_EFFECT_EXPIRE,       /* the same, after relative times became absolute (C3) */
    COMMAND_EFFECT_INCRBYFLOAT,  /* SET key reply KEEPTTL */
    COMMAND_EFFECT_HINCRBYFLOAT, /* HSET key field reply */
    COMMAND_EFFECT_ZINCRBY,      /* ZADD key reply member */
    COMMAND_EFFECT_ZADD,         /* verbatim; with INCR as ZINCRBY */
    COMMAND_EFFECT_SPOP,         /* SREM of what was popped */
    COMMAND_EFFECT_GETDEL,       /* DEL */
    COMMAND_EFFECT_LMPOP,        /* LPOP or RPOP of the key and count in the reply */
    COMMAND_EFFECT_ZMPOP,        /* ZREM of what was popped */
    COMMAND_EFFECT_BLPOP,        /* LPOP or RPOP of the key in the reply */
    COMMAND_EFFECT_BZPOP,        /* ZREM of what was popped */
    COMMAND_EFFECT_BLMOVE,       /* LMOVE or RPOPLPUSH, unless the reply is null */
    COMMAND_EFFECT_XADD,         /* XADD with the id of the reply; approximate trimming: dirty */
    COMMAND_EFFECT_XTRIM,        /* verbatim when exact, else dirty */
    COMMAND_EFFECT_XREADGROUP,   /* the same without BLOCK */
    COMMAND_EFFECT_XCLAIM,       /* XCLAIM of what was claimed, however long it was idle */
    COMMAND_EFFECT_DIRTY,        /* cannot be told: the keys that it writes become dirty */
    COMMAND_EFFECT_BARRIER,      /* everything else waits (C19) */
};

/* Where keys stand: a place to begin, and how many from there. As in COMMAND INFO. */
enum command_begin { COMMAND_BEGIN_UNKNOWN, COMMAND_BEGIN_INDEX, COMMAND_BEGIN_WORD };
enum command_find { COMMAND_FIND_UNKNOWN, COMMAND_FIND_RANGE, COMMAND_FIND_COUNTED };

struct command_key_spec {
    uint16_t flags; /* enum command_key_flag; 0: no spec */
    uint8_t begin, find;
    int16_t at;       /* index; or where the search for WORD starts, backwards if negative */
    const char *word; /* lower case */
    int16_t a, b, c;  /* range: last, step, limit; counted: index of the count, first, step */
};

#define COMMAND_SPECS_MAX 3

/* Which function knows the keys where specs do not tell all. */
enum command_key_rule {
    COMMAND_KEYS_NONE,
    COMMAND_KEYS_SPECS,
    COMMAND_KEYS_COUNTED, /* specs; if they fail, a more lenient reading of the count */
    COMMAND_KEYS_SET,
    COMMAND_KEYS_BITFIELD,
    COMMAND_KEYS_SORT,
    COMMAND_KEYS_SORT_RO,
    COMMAND_KEYS_MIGRATE,
    COMMAND_KEYS_GEORADIUS,
    COMMAND_KEYS_STREAMS, /* specs; if they fail, the options are gone through */
};

struct command {
    const char *name;  /* lower case; "client|setname" */
    const char *since; /* version of Redis */
    int16_t arity;
    uint16_t index;  /* of the row: 0 <= index < command_count; for tables beside this one */
    uint16_t parent; /* index of the container, or its own */
    uint16_t subcommands;
    uint32_t flags; /* enum command_flag */
    uint32_t acl;   /* enum command_acl */
    uint8_t group;  /* enum command_group */
    uint8_t effect; /* enum command_effect */
    uint8_t keys;   /* enum command_key_rule */
    struct command_key_spec specs[COMMAND_SPECS_MAX];
};

/* A role's own facts about commands live in an array of command_count beside this table, filled
 * once at start through command_named(name)->index. */
extern const size_t command_count;
const struct command *command_at(size_t index);

/* NULL when there is no such command. command_find_sub(): a subcommand of CONTAINER. */
const struct command *command_find(struct slice name);
const struct command *command_find_sub(const struct command *container, struct slice name);

/* The row with exactly this full name, "get" or "client|setname"; it must exist. */
const struct command *command_named(const char *name);

/* The row for a request as Redis resolves it: the subcommand if argv[1] names one, the container
 * if there is no argv[1], NULL if the command or the subcommand is unknown. argc > 0. */
const struct command *command_lookup(size_t argc, const struct slice *argv);

/* command_lookup() and the arity; on NULL, ERROR (a reply) was written as Redis 7.0 words it. */
const struct command *command_admit(size_t argc, const struct slice *argv, struct buf *error);

static inline bool command_arity_fits(const struct command *command, size_t argc) {
    return command->arity >= 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
}

static inline bool command_is_container(const struct command *command) {
    return command->subcommands > 0;
}

struct command_key {
    uint32_t at;    /* argv[at] is the key */
    uint16_t flags; /* enum command_key_flag; 0 where Redis does not know either: assume RW */
};

/* Whether it may have keys at all. */
bool command_has_keys(const struct command *command);

/* The keys of a request, in the order in which COMMAND GETKEYSANDFLAGS tells them.
 *   OK         *count keys (it may be 0: EVAL without keys, or a command that has none)
 *   ERR_PROTO  the arguments are not such that keys could be told; the server will refuse them
 *   ERR_LIMIT  more than MAX; nothing is told. argc is always enough for MAX.
 * The arity must fit. */
MUST_CHECK enum err command_keys(const struct command *command, size_t argc,
                                 const struct slice *argv, struct command_key *keys, size_t max,
                                 size_t *count, struct why *why);

/* Whether a key with these flags may be changed. Unknown flags count as yes. */
static inline bool command_key_written(unsigned flags) {
    return (flags & COMMAND_KEY_RO) == 0;
}

/* Names for COMMAND INFO and logs. BIT is the number of the bit. */
const char *command_flag_name(unsigned bit);
const char *command_acl_name(unsigned bit);
const char *command_key_flag_name(unsigned bit);
const char *command_group_name(unsigned group);

#endif
