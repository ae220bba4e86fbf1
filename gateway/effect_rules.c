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

static const struct effect_rule rules[] = {
    /* strings */
    {"append", NEVER, HEAD, NULL, AS_IS},
    {"decr", NEVER, HEAD, NULL, AS_IS},
    {"decrby", NEVER, HEAD, NULL, AS_IS},
    {"getdel", NIL, HEAD, NULL, effect_tell_getdel},
    {"getex", NIL, HEAD, effect_prepare_getex, effect_tell_getex},
    {"getset", NEVER, HEAD, NULL, effect_tell_getset},
    {"incr", NEVER, HEAD, NULL, AS_IS},
    {"incrby", NEVER, HEAD, NULL, AS_IS},
    {"incrbyfloat", NEVER, ALL, NULL, effect_tell_incrbyfloat},
    {"mset", NEVER, HEAD, NULL, AS_IS},
    {"msetnx", ZERO, HEAD, NULL, effect_tell_msetnx},
    {"psetex", NEVER, HEAD, effect_prepare_setex, effect_tell_set},
    {"set", NEVER, HEAD, effect_prepare_set, effect_tell_set},
    {"setex", NEVER, HEAD, effect_prepare_setex, effect_tell_set},
    {"setnx", ZERO, HEAD, NULL, effect_tell_setnx},
    {"setrange", ZERO, HEAD, NULL, AS_IS}, /* 0: still no value */

    /* bits, HyperLogLogs */
    {"bitfield", NEVER, HEAD, NULL, AS_IS},
    {"bitop", NEVER, HEAD, NULL, AS_IS},
    {"setbit", NEVER, HEAD, NULL, AS_IS},
    {"pfadd", ZERO, HEAD, NULL, AS_IS},
    {"pfcount", NEVER, HEAD, effect_prepare_pfcount, AS_IS},
    {"pfdebug", NEVER, HEAD, NULL, COPIED},
    {"pfmerge", NEVER, HEAD, NULL, AS_IS},

    /* keys */
    {"copy", ZERO, HEAD, effect_prepare_copy, effect_tell_copy},
    {"del", ZERO, HEAD, NULL, AS_IS},
    {"expire", ZERO, HEAD, effect_prepare_expire, effect_tell_expire},
    {"expireat", ZERO, HEAD, effect_prepare_expire, effect_tell_expire},
    {"migrate", NEVER, HEAD, NULL, effect_tell_migrate},
    {"move", ZERO, HEAD, effect_prepare_move, effect_tell_move},
    {"persist", ZERO, HEAD, NULL, effect_tell_persist},
    {"pexpire", ZERO, HEAD, effect_prepare_expire, effect_tell_expire},
    {"pexpireat", ZERO, HEAD, effect_prepare_expire, effect_tell_expire},
    {"rename", NEVER, HEAD, NULL, effect_tell_rename},
    {"renamenx", ZERO, HEAD, NULL, effect_tell_rename},
    {"restore", NEVER, HEAD, effect_prepare_restore, effect_tell_restore},
    {"restore-asking", NEVER, HEAD, effect_prepare_restore, effect_tell_restore},
    {"sort", NEVER, HEAD, NULL, effect_tell_store},
    {"unlink", ZERO, HEAD, NULL, AS_IS},

    /* hashes */
    {"hdel", ZERO, HEAD, NULL, AS_IS},
    {"hincrby", NEVER, HEAD, NULL, AS_IS},
    {"hincrbyfloat", NEVER, ALL, NULL, effect_tell_hincrbyfloat},
    {"hmset", NEVER, HEAD, NULL, AS_IS},
    {"hset", NEVER, HEAD, NULL, AS_IS}, /* 0: no new field, but maybe a new value */
    {"hsetnx", ZERO, HEAD, NULL, AS_IS},

    /* lists */
    {"blmove", NIL, HEAD, effect_prepare_blocking, effect_tell_blmove},
    {"blmpop", NIL, ALL, effect_prepare_mpop, effect_tell_lmpop},
    {"blpop", NIL, ALL, effect_prepare_blocking, effect_tell_bpop},
    {"brpop", NIL, ALL, effect_prepare_blocking, effect_tell_bpop},
    {"brpoplpush", NIL, HEAD, effect_prepare_blocking, effect_tell_blmove},
    {"linsert", ZERO | MINUS, HEAD, NULL, AS_IS},
    {"lmove", NIL, HEAD, NULL, AS_IS},
    {"lmpop", NIL, ALL, effect_prepare_mpop, effect_tell_lmpop},
    {"lpop", NIL | EMPTY, HEAD, NULL, AS_IS},
    {"lpush", NEVER, HEAD, NULL, AS_IS},
    {"lpushx", ZERO, HEAD, NULL, AS_IS},
    {"lrem", ZERO, HEAD, NULL, AS_IS},
    {"lset", NEVER, HEAD, NULL, AS_IS},
    {"ltrim", NEVER, HEAD, NULL, AS_IS},
    {"rpop", NIL | EMPTY, HEAD, NULL, AS_IS},
    {"rpoplpush", NIL, HEAD, NULL, AS_IS},
    {"rpush", NEVER, HEAD, NULL, AS_IS},
    {"rpushx", ZERO, HEAD, NULL, AS_IS},

    /* sets */
    {"sadd", ZERO, HEAD, NULL, AS_IS},
    {"sdiffstore", NEVER, HEAD, NULL, AS_IS},
    {"sinterstore", NEVER, HEAD, NULL, AS_IS},
    {"smove", ZERO, HEAD, NULL, AS_IS},
    {"spop", NIL | EMPTY, ALL, NULL, effect_tell_spop},
    {"srem", ZERO, HEAD, NULL, AS_IS},
    {"sunionstore", NEVER, HEAD, NULL, AS_IS},

    /* sorted sets */
    {"bzmpop", NIL, ALL, effect_prepare_mpop, effect_tell_zmpop},
    {"bzpopmax", NIL, ALL, effect_prepare_blocking, effect_tell_bzpop},
    {"bzpopmin", NIL, ALL, effect_prepare_blocking, effect_tell_bzpop},
    {"geoadd", NEVER, HEAD, effect_prepare_geoadd, effect_tell_zadd},
    {"georadius", NEVER, HEAD, NULL, effect_tell_store},
    {"georadiusbymember", NEVER, HEAD, NULL, effect_tell_store},
    {"geosearchstore", NEVER, HEAD, NULL, effect_tell_store},
    {"zadd", NIL, ALL, effect_prepare_zadd, effect_tell_zadd},
    {"zdiffstore", NEVER, HEAD, NULL, AS_IS},
    {"zincrby", NEVER, ALL, NULL, effect_tell_zincrby},
    {"zinterstore", NEVER, HEAD, NULL, effect_tell_store},
    {"zmpop", NIL, ALL, effect_prepare_mpop, effect_tell_zmpop},
    {"zpopmax", NIL | EMPTY, HEAD, NULL, AS_IS},
    {"zpopmin", NIL | EMPTY, HEAD, NULL, AS_IS},
    {"zrangestore", NEVER, HEAD, NULL, AS_IS},
    {"zrem", ZERO, HEAD, NULL, AS_IS},
    {"zremrangebylex", ZERO, HEAD, NULL, AS_IS},
    {"zremrangebyrank", ZERO, HEAD, NULL, AS_IS},
    {"zremrangebyscore", ZERO, HEAD, NULL, AS_IS},
    {"zunionstore", NEVER, HEAD, NULL, effect_tell_store},

    /* streams */
    {"xack", ZERO, HEAD, NULL, AS_IS},
    {"xadd", NIL, ALL, effect_prepare_xadd, effect_tell_xadd},
    {"xautoclaim", NEVER, ALL, NULL, effect_tell_xautoclaim},
    {"xclaim", NEVER, ALL, effect_prepare_xclaim, effect_tell_xclaim},
    {"xdel", ZERO, HEAD, NULL, AS_IS},
    {"xgroup|create", NEVER, HEAD, NULL, AS_IS},
    {"xgroup|createconsumer", ZERO, HEAD, NULL, AS_IS},
    {"xgroup|delconsumer", NEVER, HEAD, NULL, AS_IS}, /* 0: it had nothing pending */
    {"xgroup|destroy", ZERO, HEAD, NULL, AS_IS},
    {"xgroup|setid", NEVER, HEAD, NULL, AS_IS},
    {"xreadgroup", NEVER, HEAD, effect_prepare_xreadgroup, effect_tell_xreadgroup},
    {"xsetid", NEVER, HEAD, NULL, AS_IS},
    {"xtrim", ZERO, HEAD, effect_prepare_xtrim, effect_tell_xtrim},

    /* scripts, and what concerns everything */
    {"debug", NEVER, HEAD, effect_prepare_debug, COPIED},
    {"eval", NEVER, HEAD, NULL, COPIED},
    {"evalsha", NEVER, HEAD, NULL, COPIED},
    {"fcall", NEVER, HEAD, NULL, COPIED},
    {"flushall", NEVER, HEAD, NULL, effect_tell_flushall},
    {"flushdb", NEVER, HEAD, NULL, effect_tell_flushdb},
    {"function|delete", NEVER, HEAD, NULL, effect_tell_scripts},
    {"function|flush", NEVER, HEAD, NULL, effect_tell_scripts},
    {"function|load", NEVER, HEAD, NULL, effect_tell_scripts},
    {"function|restore", NEVER, HEAD, NULL, effect_tell_scripts},
    {"script|flush", NEVER, HEAD, NULL, effect_tell_scripts},
    {"script|load", NEVER, HEAD, NULL, effect_tell_scripts},
    {"swapdb", NEVER, HEAD, effect_prepare_swapdb, effect_tell_swapdb},
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
