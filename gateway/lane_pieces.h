/* lane_pieces.h -- a large value of an audit, read in pieces (C29).
 *
 *   KIND: type and deadline of both sides, at the same place
 *   P:    length, then piece after piece, each in the lane
 *   F:    likewise, each at the end of F's order at that time
 *
 * Nothing writes the key between the first read and the last one, or the comparison is void
 * (lane_pieces_void()) and begins again later: so all reads stand at the same place as far as this
 * key goes. Nobody is made to wait for that; a large key that is written all the time is undecided.
 *
 * Strings come by GETRANGE, lists by LRANGE, sets, hashes and sorted sets by their SCAN; elements
 * go into the canonical digest one by one. A side that tells another number of elements than its
 * length says (SCAN may tell one twice) is asked again later. Of a stream (lane_pieces_stream.c):
 *
 *     XINFO STREAM --> XRANGE ... --> XINFO GROUPS --> XPENDING ... of each group
 *
 * which is all that counts of one between two servers (DIGEST_STREAM_CARRIED, digest.h).
 *
 * One at a time. Memory: a piece of about LANE_PIECE_BYTES, if elements are of like size, and of a
 * stream what XINFO GROUPS told.
 */
#ifndef GATEWAY_LANE_PIECES_H
#define GATEWAY_LANE_PIECES_H

#include "gateway/lane_audit_inside.h"

#define LANE_PIECE_BYTES (256u << 10)

enum pieces_phase { PIECES_AT_KIND, PIECES_AT_P, PIECES_AT_F };

enum pieces_stream {
    PIECES_STREAM_ENTRIES,
    PIECES_STREAM_GROUPS,
    PIECES_STREAM_PENDING, /* of the present group */
};

struct lane_pieces {
    enum pieces_phase phase;
    bool flying;
    const char *voided; /* NULL: it is not */
    struct lane_seen f;
    /* of the side that is being read */
    bool measured;
    uint64_t length, counted, step;
    uint64_t cursor;
    struct digester *digester;
    struct rdb_key key;
    struct digest digest;
    /* of a stream there */
    enum pieces_stream stream_at;
    struct rdb_stream stream;
    struct stream_id next; /* the first id that is not had */
    struct buf groups;     /* XINFO GROUPS, but for its head */
    size_t groups_at;      /* of what follows the present group */
    uint64_t groups_left;  /* with the present one */
    struct slice group;    /* its name, in `groups` */
};

/* ---- lane_pieces_stream.c ---- */

void pieces_stream_ask(const struct lane_pieces *p, struct buf *out, struct slice name);
/* XINFO STREAM. False: not understood. */
bool pieces_stream_measure(struct lane_pieces *p, struct slice answer, int64_t *length);
/* One piece. *END: it was the last one. False: not understood. */
bool pieces_stream_feed(struct lane_pieces *p, struct slice answer, bool *end);

#endif
