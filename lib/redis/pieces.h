/* pieces.h -- a value as ordinary commands, for what RESTORE cannot take (values too big for one
 * command, and encodings that the target is too old for), and for the base of an AOF without RDB.
 *
 * The key is deleted first, unless it is new, and built under its own name; nobody reads it before
 * all of it is there. Elements are gathered into commands of up to 64 KB or 512 of them.
 * Left out, since commands cannot say it: pending entries of a stream whose entry was deleted.
 */
#ifndef LIB_REDIS_PIECES_H
#define LIB_REDIS_PIECES_H

#include "lib/base/buf.h"
#include "lib/redis/rdb.h"

struct pieces_pending {
    struct stream_id id;
    int64_t delivered_ms;
    uint64_t deliveries;
};

struct pieces {
    /* Send one whole command; set by the owner. */
    enum err (*send)(void *self, struct slice command, struct why *why);
    void *self;
    bool is_new; /* no key is there that would have to be deleted; set by the owner */
    /* the key that is being built */
    struct buf key, args, out;
    size_t arg_count;
    const char *verb; /* NULL: nothing gathered */
    struct buf group, consumer;
    struct pieces_pending *pending; /* of one group, by ascending id */
    size_t pending_count, pending_cap;
};

void pieces_close(struct pieces *pieces);

/* Set HANDLER's callbacks for pieces; SELF of the handler must be PIECES. */
void pieces_fill_handler(struct rdb_handler *handler);

#endif
