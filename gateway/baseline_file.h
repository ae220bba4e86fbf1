/* baseline_file.h -- the items of an RDB file, read and checked by a thread of their own (C15).
 *
 *     thread: read, check, make payloads --> at most BASELINE_WAITING_MAX bytes --> baseline_next()
 *
 * The file says when it was begun (its `ctime`): one that was begun before the time that is asked
 * for has no items. What is larger than BASELINE_ITEM_MAX comes by its name alone. The thread stands
 * still while nobody takes what it has read; `wake` is called in it when there is something again,
 * and may only post.
 *
 * Nothing of the file is believed: see lib/redis/rdb_read.h. A file that turns out to be broken, or
 * is not whole yet, ends with an error after some of its items were given.
 */
#ifndef GATEWAY_BASELINE_FILE_H
#define GATEWAY_BASELINE_FILE_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

#include <stdbool.h>
#include <stdint.h>

#define BASELINE_WAITING_MAX (16u << 20) /* bytes */
#define BASELINE_ITEM_MAX (4u << 20)     /* bytes */

struct baseline_item {
    int32_t db;
    bool is_big;
    int64_t deadline_ms;        /* 0: none */
    struct slice name, payload; /* of DUMP; both live until baseline_taken() */
};

enum baseline_state { BASELINE_READING, BASELINE_DONE, BASELINE_FAILED };

struct baseline_file;

/* AFTER_MS: wall clock of the server that wrote it. */
MUST_CHECK enum err baseline_open(struct baseline_file **file, const char *path, int64_t after_ms,
                                  void (*wake)(void *self), void *self, struct why *why);
/* Whether a file could be put to PATH, for baseline_open() to find; *THERE: there is one, an RDB by its first
 * bytes. */
MUST_CHECK enum err baseline_look(const char *path, bool *there, struct why *why);
void baseline_close(struct baseline_file *file); /* WAKE is not called any more; NULL is fine */

/* The next item, or NULL: none now. */
const struct baseline_item *baseline_next(struct baseline_file *file);
void baseline_taken(struct baseline_file *file); /* what baseline_next() gave is not needed any more */
/* Once there is no item: DONE, every item of the whole file was given; FAILED: WHY says why not. */
enum baseline_state baseline_state(struct baseline_file *file, struct why *why);

#endif
