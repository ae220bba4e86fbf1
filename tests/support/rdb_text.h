/* rdb_text.h -- a handler for RDB readers that writes each key as one line of JSON.
 *
 * All strings are hexadecimal, scores are their eight bytes as a hexadecimal number. A line is made
 * when its key is complete; without emit() of one's own, lines are collected in `all`.
 */
#ifndef TESTS_SUPPORT_RDB_TEXT_H
#define TESTS_SUPPORT_RDB_TEXT_H

#include "lib/base/buf.h"
#include "lib/redis/rdb.h"

struct rdb_text {
    struct rdb_handler handler;
    void (*emit)(struct rdb_text *text, struct slice line);
    struct buf all, line;
    const char *comma;
    bool in_group, in_consumer;
};

void rdb_text_init(struct rdb_text *text); /* it must not move afterwards */
void rdb_text_close(struct rdb_text *text);

#endif
