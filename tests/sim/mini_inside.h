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

/* ---- mini_values.c ---- */

int mini_key_of(struct slice name); /* 0 .. MINI_KEYS - 1, or -1 */
struct mini_value *mini_slot(const struct call *c, struct slice name);
/* The value, or NULL; an expired one is deleted, or hidden in import mode. */
struct mini_value *mini_look(const struct call *c, struct slice name);
void mini_touch(const struct call *c, struct slice name); /* it has changed (WATCH) */

void mini_text_of(char *to, struct slice s); /* MINI_ITEM bytes at TO */
struct mini_value *mini_make(struct mini_value *v, enum mini_type type);
struct mini_value *mini_make_string(struct mini_value *v, struct slice text);
int mini_step_of(const struct mini_value *v); /* items of one field or member */
int mini_find(const struct mini_value *v, const char *text);
void mini_insert(struct mini_value *v, int at, const char *text);
/* Into its place by order; a pair when SECOND is not NULL. */
void mini_insert_sorted(struct mini_value *v, const char *text, const char *second);
void mini_take_out(struct mini_value *v, int at, int count);

void mini_number(struct call *c, int64_t n);
void mini_nil(struct call *c);
/* The value of NAME if it has TYPE or there is none; false: an error was answered. */
bool mini_typed(struct call *c, struct slice name, enum mini_type type, struct mini_value **v);
struct mini_value *mini_made(struct call *c, struct mini_value *v, enum mini_type type); /* of argv[1] */
bool mini_is(const struct call *c, size_t at, const char *word);

/* ---- commands ---- */

/* mini_strings.c */
void mini_do_get(struct call *c);
void mini_do_set(struct call *c);
void mini_do_setnx(struct call *c);
void mini_do_getset(struct call *c);
void mini_do_append(struct call *c);
void mini_do_incr(struct call *c);
void mini_do_mset(struct call *c);
/* mini_keys.c */
void mini_do_del(struct call *c);
void mini_do_rename(struct call *c);
void mini_do_expire(struct call *c);
void mini_do_persist(struct call *c);
void mini_do_ttl(struct call *c);
void mini_do_dump(struct call *c);
void mini_do_restore(struct call *c);
void mini_do_exists(struct call *c);
void mini_do_info(struct call *c);
void mini_do_scan(struct call *c);
void mini_do_flush(struct call *c);
void mini_do_swapdb(struct call *c);
/* mini_types.c */
void mini_do_push(struct call *c);
void mini_do_pop(struct call *c);
void mini_do_blpop(struct call *c);
void mini_do_sadd(struct call *c);
void mini_do_remove(struct call *c);
void mini_do_spop(struct call *c);
void mini_do_smove(struct call *c);
void mini_do_sunionstore(struct call *c);
void mini_do_hset(struct call *c);
void mini_do_zadd(struct call *c);
/* mini_chunks.c */
void mini_do_memory(struct call *c);
void mini_do_type(struct call *c);
void mini_do_length(struct call *c); /* STRLEN, LLEN ... */
void mini_do_getrange(struct call *c);
void mini_do_lrange(struct call *c);
void mini_do_scan_of(struct call *c); /* SSCAN, HSCAN, ZSCAN */
void mini_mark(struct call *c); /* HSET of a lane's mark (C22a) */

#endif
