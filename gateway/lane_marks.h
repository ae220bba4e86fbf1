/* lane_marks.h -- what a lane has sent to F since the state that F may fall back to (C22a).
 *
 *     ... item, item, MARK 7, item, item, MARK 8, item          down the lane's connection to F
 *                     '------ keys of 7 ------'   '- of 8 -
 *
 * Now and then a lane writes a mark into F, in its own order: a number, beside the data. A server
 * that was restarted with older data has an older mark. What the lane sent before that mark is in
 * those data; the keys of what it sent behind it are dirty. So a restart costs copies of a few keys
 * and not of all.
 *
 * Only marks of this process are understood (`nonce`): after a restart of the gateway, and of F
 * after it, all keys are dirty.
 *
 * Memory: names stand in one piece, in the order in which they were sent; a key that is written all
 * the time stands there about once for each mark. At most `max` of them, and 64 bytes for each:
 * without room all but the last one of each key go, if that took seconds to fill; then the older
 * half, and the marks up to theirs are worth nothing. So it is with all marks before a FLUSHALL,
 * FLUSHDB and the like.
 * Hostile input: a mark that is read may be anything.
 */
#ifndef GATEWAY_LANE_MARKS_H
#define GATEWAY_LANE_MARKS_H

#include "gateway/effect.h"

#include "lib/base/buf.h"

#define LANE_MARKS_KEY "drawbridge:checkpoint:lanes" /* a hash at a foreign server; hidden (C5a) */
#define LANE_MARK_BYTES 48

struct lane_marks {
    char name[96]; /* of the lane among all that write to F; "": no marks are written */
    uint64_t nonce;
    uint64_t number;  /* of the last one; keys that are sent now are behind it */
    uint64_t oldest;  /* marks from this one on are worth something */
    bool any;         /* something was sent behind the last one */
    uint64_t next_ms; /* monotonic: not before */
    struct buf log;   /* of keys, the oldest first */
    size_t count, max;
    size_t since; /* where in it the keys of the last mark begin */
    struct lane_mark_seen *seen; /* of these, those that were written of late */
};

void lane_marks_init(struct lane_marks *marks, size_t max);
void lane_marks_close(struct lane_marks *marks);
void lane_marks_name(struct lane_marks *marks, const char *name, uint64_t nonce);

/* The written ones of KEYS are being sent. */
void lane_marks_sent(struct lane_marks *marks, const struct effect_key *keys, size_t count);
/* Any key may have been. */
void lane_marks_sent_all(struct lane_marks *marks);

/* A new mark: appends the request to OUT. BUNDLED: F keeps it outside its data. */
void lane_marks_write(struct lane_marks *marks, bool bundled, struct buf *out);
/* The request that removes it: F is not followed any more. */
void lane_marks_remove(const struct lane_marks *marks, bool bundled, struct buf *out);
/* The request whose answer tells which mark is there. */
void lane_marks_ask(const struct lane_marks *marks, bool bundled, struct buf *out);

/* ANSWER, one whole reply. FOUND gets each key that was sent behind it, once. False: all keys may
 * have been. */
MUST_CHECK bool lane_marks_since(const struct lane_marks *marks, struct slice answer,
                                 void (*found)(void *self, int32_t db, struct slice name),
                                 void *self);

#endif
