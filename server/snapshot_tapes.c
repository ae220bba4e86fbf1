/* snapshot_tapes.c -- chains of tapes. See snapshot_tapes.h. */
#include "server/snapshot_tapes.h"

#include "lib/base/mem.h"
#include "server/snapshot_memory.h"

void piece_free(struct piece *piece) {
    if (piece == NULL) return;
    snapshot_memory_note(&piece->noted, 0);
    rdb_tape_close(&piece->tape);
    mem_free(piece);
}

void tapes_add(struct tapes *tapes, struct piece *piece) {
    piece->next = NULL;
    if (tapes->last)
        tapes->last->next = piece;
    else
        tapes->first = piece;
    tapes->last = piece;
    snapshot_memory_note(&piece->noted, sizeof *piece + tape_room(&piece->tape));
    tapes->bytes += buf_size(&piece->tape.bytes);
    tapes->pieces++;
}

void tapes_add_tape(struct tapes *tapes, struct rdb_tape *tape) {
    if (buf_size(&tape->bytes) == 0) return;
    struct piece *piece = NEW(struct piece);
    piece->tape = *tape;
    *tape = (struct rdb_tape){0};
    tapes_add(tapes, piece);
}

void tapes_join(struct tapes *tapes, struct tapes *other) {
    if (other->first == NULL) return;
    if (tapes->last)
        tapes->last->next = other->first;
    else
        tapes->first = other->first;
    tapes->last = other->last;
    tapes->bytes += other->bytes;
    tapes->pieces += other->pieces;
    *other = (struct tapes){0};
}

struct piece *tapes_take(struct tapes *tapes) {
    struct piece *piece = tapes->first;
    if (piece == NULL) return NULL;
    tapes->first = piece->next;
    if (tapes->first == NULL) tapes->last = NULL;
    tapes->bytes -= buf_size(&piece->tape.bytes);
    tapes->pieces--;
    piece->next = NULL;
    return piece;
}

void tapes_close(struct tapes *tapes) {
    for (struct piece *piece; (piece = tapes_take(tapes)) != NULL;) piece_free(piece);
}
