/* chunks.h -- a value element by element: what P is asked, and what its answers make of F (C14a).
 *
 *     TYPE --> length, deadline --> elements, a chunk at a time --> length, deadline again --> done
 *                                   SSCAN, HSCAN, ZSCAN, LRANGE, GETRANGE;
 *                                   a stream: groups with pending entries and consumers, XRANGE
 *
 * For values too big for one DUMP, and for those that F's RESTORE does not take. Whoever asks keeps
 * the value from being written between the first question and the last answer; what was changed all
 * the same shows in type, length and, of a stream, what XINFO tells, and then it is CHUNKS_CHANGED.
 * At F the key is deleted first and built under its own name; the last requests begin with its
 * length, which must be struct chunks' `length`.
 *
 * Exact: scores with 17 digits; of a stream last id, entries added and read, max deleted id,
 * consumers without work, and pending entries whose entry was deleted: these are made before the
 * entries, as entries of an empty stream that is emptied again behind them.
 * Not exact: delivery times of pending entries move by the time that the copy takes.
 * Not possible: types of modules, and hashes of servers whose fields may expire (CHUNKS_CANNOT).
 *
 * Memory: chunks are made as long as fits chunk_bytes; chunks_limit() says how much an answer may
 * have before it is asked again with less. What cannot be cut, one element, has no limit.
 * Pure. Hostile input: answers may be anything; what is not understood is CHUNKS_CHANGED.
 * Source: Redis 7.0.15 and the documentation of its commands; P from 4.0, F from 5.0.
 */
#ifndef GATEWAY_CHUNKS_H
#define GATEWAY_CHUNKS_H

#include "lib/base/buf.h"
#include "lib/redis/rdb.h"

enum chunks_said {
    CHUNKS_MORE,    /* ask again */
    CHUNKS_DONE,    /* that was all; deadline_ms and length are set */
    CHUNKS_CHANGED, /* begin again, later */
    CHUNKS_CANNOT,
};

enum chunks_at {
    CHUNKS_AT_TYPE,
    CHUNKS_AT_FIELDS, /* may fields of a hash expire there? */
    CHUNKS_AT_BEFORE,
    CHUNKS_AT_PENDING, /* of a stream's group */
    CHUNKS_AT_CONSUMERS,
    CHUNKS_AT_ELEMENTS,
    CHUNKS_AT_AFTER,
};

struct chunks_type;

struct chunks {
    enum chunks_at at;
    const struct chunks_type *type;
    struct buf key;
    int32_t primary_version, follower_version; /* as in effect.h */
    size_t chunk_bytes;
    uint64_t count;      /* elements to be asked for */
    int64_t length;      /* elements, or bytes of a string */
    int64_t deadline_ms; /* 0: none */
    uint64_t about;      /* hash of what XINFO told */
    uint64_t cursor;     /* of SCAN, or what was had */
    bool cursor_ended;
    struct stream_id next; /* the first id that is not had */
    struct buf groups;     /* XINFO GROUPS, whole */
    size_t groups_at;      /* of the present group, in `groups` */
    uint64_t groups_left;  /* with the present one */
    bool had_pending;      /* of the present group */
    uint64_t had;          /* elements, bytes of a string; for figures */
};

void chunks_begin(struct chunks *p, int32_t primary_version, int32_t follower_version,
                  struct slice key, size_t chunk_bytes);
void chunks_close(struct chunks *p); /* all zero is closed */

/* Append the next question; returns how many replies it will have. */
uint32_t chunks_ask(const struct chunks *p, struct buf *out);

/* Bytes that the answer may have; 0: no limit. Beyond it call chunks_less() and ask again. */
size_t chunks_limit(const struct chunks *p);
void chunks_less(struct chunks *p);

/* ANSWER: all replies, whole. Appends requests for F to OUT, and adds their number to *REQUESTS. */
enum chunks_said chunks_take(struct chunks *p, struct slice answer, struct buf *out,
                             uint32_t *requests);

#endif
