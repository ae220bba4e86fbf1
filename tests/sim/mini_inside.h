/* mini_inside.h -- what the files of the mini Redis share; nobody else includes it. */
#ifndef TESTS_SIM_MINI_INSIDE_H
#define TESTS_SIM_MINI_INSIDE_H

#include "tests/sim/mini_redis.h"

struct call {
    struct mini *m;
    struct mini_conn *conn;
    size_t argc;
    const struct slice *argv;
    struct buf *out;
};

/* The value, or NULL; an expired one is deleted, or hidden in import mode. */
struct mini_value *mini_look(const struct call *c, struct slice name);

/* mini_chunks.c: how big a value is, and parts of it */
void mini_do_memory(struct call *c);
void mini_do_type(struct call *c);
void mini_do_length(struct call *c);
void mini_do_getrange(struct call *c);
void mini_do_lrange(struct call *c);
void mini_mark(struct call *c); /* HSET of a lane's mark (C22a) */
void mini_do_scan_of(struct call *c); /* SSCAN, HSCAN, ZSCAN */

#endif
