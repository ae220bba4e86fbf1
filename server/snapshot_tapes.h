/* snapshot_tapes.h -- a chain of tapes: what a snapshot copied and cannot put out yet, and what
 * goes to its writer.
 *
 * A chain grows at its end and is joined to another one in O(1), whatever it holds: nothing is
 * copied twice on the engine's thread. All-zero is an empty chain. Owned by who holds it.
 */
#ifndef SERVER_SNAPSHOT_TAPES_H
#define SERVER_SNAPSHOT_TAPES_H

#include "lib/redis/rdb_write.h"

struct piece {
    struct piece *next;
    struct rdb_tape tape;
    size_t noted; /* snapshot_memory.h: from when it was first in a chain */
};

struct tapes {
    struct piece *first, *last;
    size_t bytes, pieces;
};

/* The memory of TAPE, in bytes. */
static inline size_t tape_room(const struct rdb_tape *tape) {
    return tape->bytes.cap + tape->marks.cap;
}

void piece_free(struct piece *piece); /* NULL: nothing */

/* PIECE becomes the last one, and the chain's. */
void tapes_add(struct tapes *tapes, struct piece *piece);
/* What TAPE holds becomes the last piece; TAPE is empty then. Nothing, if it was empty. */
void tapes_add_tape(struct tapes *tapes, struct rdb_tape *tape);
/* All of OTHER behind TAPES; OTHER is empty then. */
void tapes_join(struct tapes *tapes, struct tapes *other);
/* The first piece, which becomes the caller's; NULL: there is none. */
struct piece *tapes_take(struct tapes *tapes);
void tapes_close(struct tapes *tapes);

#endif
