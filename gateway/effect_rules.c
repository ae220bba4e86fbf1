/* effect_rules.c -- one row for each command that may write: what it is prepared with, which
 * answers say that nothing was done, and what tells its effect (C16). See effect_inside.h.
 *
 * tests/unit/gateway/test_effect.c walks the command table and fails when a command that may write
 * has no row here.
 */
#include "gateway/effect_inside.h"

#include <pthread.h>

#define NEVER NOTHING_NEVER
#define ZERO NOTHING_ZERO
#define MINUS NOTHING_NEGATIVE
#define NIL NOTHING_NULL
#define EMPTY NOTHING_EMPTY
#define HEAD EFFECT_NEEDS_HEAD
#define ALL EFFECT_NEEDS_ALL
#define AS_IS effect_tell_verbatim
#define COPIED effect_tell_dirty
#define TOLD KEYS_AS_TOLD

static const struct effect_rule rules[] = {
    /* strings */
    {"append", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"decr", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"decrby", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"getdel", NIL, HEAD, NULL, effect_tell_getdel, KEYS_REPLACED},
    {"getex", NIL, HEAD, effect_prepare_getex, effect_tell_getex, TOLD},
    {"getset", NEVER, HEAD, NULL, effect_tell_getset, KEYS_REPLACED},
    {"incr", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"incrby", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"incrbyfloat", NEVER, ALL, NULL, effect_tell_incrbyfloat, TOLD},
    {"mset", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"msetnx", ZERO, HEAD, NULL, effect_tell_msetnx, TOLD},
    {"psetex", NEVER, HEAD, effect_prepare_setex, effect_tell_set, TOLD},
    {"set", NEVER, HEAD, effect_prepare_set, effect_tell_set, KEYS_OF_SET},
    {"setex", NEVER, HEAD, effect_prepare_setex, effect_tell_set, TOLD},
    {"setnx", ZERO, HEAD, NULL, effect_tell_setnx, TOLD},
    {"setrange", ZERO, HEAD, NULL, AS_IS, TOLD}, /* 0: still no value */

    /* bits, HyperLogLogs */
    {"bitfield", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"bitop", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"setbit", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"pfadd", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"pfcount", NEVER, HEAD, effect_prepare_pfcount, AS_IS, TOLD},
    {"pfdebug", NEVER, HEAD, NULL, COPIED, TOLD},
    {"pfmerge", NEVER, HEAD, NULL, AS_IS, KEYS_OF_PFMERGE},

    /* keys */
    {"copy", ZERO, HEAD, effect_prepare_copy, effect_tell_copy, KEYS_OF_COPY},
    {"del", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"expire", ZERO, HEAD, effect_prepare_expire, effect_tell_expire, TOLD},
    {"expireat", ZERO, HEAD, effect_prepare_expire, effect_tell_expire, TOLD},
    {"migrate", NEVER, HEAD, NULL, effect_tell_migrate, TOLD},
    {"move", ZERO, HEAD, effect_prepare_move, effect_tell_move, KEYS_OF_MOVE},
    {"persist", ZERO, HEAD, NULL, effect_tell_persist, TOLD},
    {"pexpire", ZERO, HEAD, effect_prepare_expire, effect_tell_expire, TOLD},
    {"pexpireat", ZERO, HEAD, effect_prepare_expire, effect_tell_expire, TOLD},
    {"rename", NEVER, HEAD, NULL, effect_tell_rename, KEYS_FIRST_MOVED},
    {"renamenx", ZERO, HEAD, NULL, effect_tell_rename, KEYS_FIRST_MOVED},
    {"restore", NEVER, HEAD, effect_prepare_restore, effect_tell_restore, KEYS_OF_RESTORE},
    {"restore-asking", NEVER, HEAD, effect_prepare_restore, effect_tell_restore, KEYS_OF_RESTORE},
    {"sort", NEVER, HEAD, NULL, effect_tell_store, TOLD},
    {"unlink", ZERO, HEAD, NULL, AS_IS, TOLD},

    /* hashes */
    {"hdel", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"hincrby", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"hincrbyfloat", NEVER, ALL, NULL, effect_tell_hincrbyfloat, TOLD},
    {"hmset", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"hset", NEVER, HEAD, NULL, AS_IS, TOLD}, /* 0: no new field, but maybe a new value */
    {"hsetnx", ZERO, HEAD, NULL, AS_IS, TOLD},

    /* lists */
    {"blmove", NIL, HEAD, effect_prepare_blocking, effect_tell_blmove, TOLD},
    {"blmpop", NIL, ALL, effect_prepare_mpop, effect_tell_lmpop, TOLD},
    {"blpop", NIL, ALL, effect_prepare_blocking, effect_tell_bpop, TOLD},
    {"brpop", NIL, ALL, effect_prepare_blocking, effect_tell_bpop, TOLD},
    {"brpoplpush", NIL, HEAD, effect_prepare_blocking, effect_tell_blmove, TOLD},
    {"linsert", ZERO | MINUS, HEAD, NULL, AS_IS, TOLD},
    {"lmove", NIL, HEAD, NULL, AS_IS, TOLD},
    {"lmpop", NIL, ALL, effect_prepare_mpop, effect_tell_lmpop, TOLD},
    {"lpop", NIL | EMPTY, HEAD, NULL, AS_IS, TOLD},
    {"lpush", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"lpushx", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"lrem", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"lset", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"ltrim", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"rpop", NIL | EMPTY, HEAD, NULL, AS_IS, TOLD},
    {"rpoplpush", NIL, HEAD, NULL, AS_IS, TOLD},
    {"rpush", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"rpushx", ZERO, HEAD, NULL, AS_IS, TOLD},

    /* sets */
    {"sadd", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"sdiffstore", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"sinterstore", NEVER, HEAD, NULL, AS_IS, KEYS_FIRST_REPLACED},
    {"smove", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"spop", NIL | EMPTY, ALL, NULL, effect_tell_spop, TOLD},
    {"srem", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"sunionstore", NEVER, HEAD, NULL, AS_IS, TOLD},

    /* sorted sets */
    {"bzmpop", NIL, ALL, effect_prepare_mpop, effect_tell_zmpop, TOLD},
    {"bzpopmax", NIL, ALL, effect_prepare_blocking, effect_tell_bzpop, TOLD},
    {"bzpopmin", NIL, ALL, effect_prepare_blocking, effect_tell_bzpop, TOLD},
    {"geoadd", NEVER, HEAD, effect_prepare_geoadd, effect_tell_zadd, TOLD},
    {"georadius", NEVER, HEAD, NULL, effect_tell_store, TOLD},
    {"georadiusbymember", NEVER, HEAD, NULL, effect_tell_store, TOLD},
    {"geosearchstore", NEVER, HEAD, NULL, effect_tell_store, TOLD},
    {"zadd", NIL, ALL, effect_prepare_zadd, effect_tell_zadd, TOLD},
    {"zdiffstore", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"zincrby", NEVER, ALL, NULL, effect_tell_zincrby, TOLD},
    {"zinterstore", NEVER, HEAD, NULL, effect_tell_store, TOLD},
    {"zmpop", NIL, ALL, effect_prepare_mpop, effect_tell_zmpop, TOLD},
    {"zpopmax", NIL | EMPTY, HEAD, NULL, AS_IS, TOLD},
    {"zpopmin", NIL | EMPTY, HEAD, NULL, AS_IS, TOLD},
    {"zrangestore", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"zrem", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"zremrangebylex", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"zremrangebyrank", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"zremrangebyscore", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"zunionstore", NEVER, HEAD, NULL, effect_tell_store, TOLD},

    /* streams */
    {"xack", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"xadd", NIL, ALL, effect_prepare_xadd, effect_tell_xadd, TOLD},
    {"xautoclaim", NEVER, ALL, NULL, effect_tell_xautoclaim, TOLD},
    {"xclaim", NEVER, ALL, effect_prepare_xclaim, effect_tell_xclaim, TOLD},
    {"xdel", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"xgroup|create", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"xgroup|createconsumer", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"xgroup|delconsumer", NEVER, HEAD, NULL, AS_IS, TOLD}, /* 0: it had nothing pending */
    {"xgroup|destroy", ZERO, HEAD, NULL, AS_IS, TOLD},
    {"xgroup|setid", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"xreadgroup", NEVER, HEAD, effect_prepare_xreadgroup, effect_tell_xreadgroup, KEYS_WRITTEN},
    {"xsetid", NEVER, HEAD, NULL, AS_IS, TOLD},
    {"xtrim", ZERO, HEAD, effect_prepare_xtrim, effect_tell_xtrim, TOLD},

    /* scripts, and what concerns everything */
    {"debug", NEVER, HEAD, effect_prepare_debug, COPIED, TOLD},
    {"eval", NEVER, HEAD, NULL, COPIED, TOLD},
    {"evalsha", NEVER, HEAD, NULL, COPIED, TOLD},
    {"fcall", NEVER, HEAD, NULL, COPIED, TOLD},
    {"flushall", NEVER, HEAD, NULL, effect_tell_flushall, TOLD},
    {"flushdb", NEVER, HEAD, NULL, effect_tell_flushdb, TOLD},
    {"function|delete", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"function|flush", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"function|load", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"function|restore", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"script|flush", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"script|load", NEVER, HEAD, NULL, effect_tell_scripts, TOLD},
    {"swapdb", NEVER, HEAD, effect_prepare_swapdb, effect_tell_swapdb, TOLD},
};

#define ROWS (sizeof rules / sizeof *rules)

static const struct effect_rule **by_index; /* command_count places */

static void fill(void) {
    by_index = NEW_ARRAY(const struct effect_rule *, command_count);
    for (size_t i = 0; i < ROWS; i++) by_index[command_named(rules[i].name)->index] = &rules[i];
}

const struct effect_rule *effect_rule_of(const struct command *command) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
    return by_index[command->index];
}
