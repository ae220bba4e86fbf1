/* rdb_in.h -- the bytes of an RDB as its reader takes them: buffered, summed, and, if wanted,
 * recorded, so that a value can be read a second time.
 *
 *     source --> [ given away | unread ] --> rdb_in_take()
 *                 ^ summed     ^ at     ^ end
 *
 * Recording: between rdb_in_record() and rdb_in_recorded() all bytes that are taken are kept, up
 * to a limit. Is it passed, taking fails with ERR_LIMIT and rdb_in_overflowed() is true;
 * rdb_in_replay() then puts what was recorded in front of the source again. Memory is therefore
 * bounded without knowing a value's size beforehand.
 *
 * For rdb_read.c, rdb_value.c and dump.c; a slice that was taken dies with the next take.
 */
#ifndef LIB_REDIS_RDB_IN_H
#define LIB_REDIS_RDB_IN_H

#include "lib/base/buf.h"
#include "lib/redis/rdb_read.h"

#define RDB_IN_BUFFER_BYTES (256u << 10)

struct rdb_in {
    const uint8_t *at, *end;   /* unread bytes, in the buffer, the replay or the caller's memory */
    uint64_t end_offset;       /* of `end`, in the file */
    struct rdb_source *source; /* NULL: nothing comes behind `end` */
    uint8_t *buffer;
    const uint8_t *summed; /* the buffer's bytes before it are in `crc` */
    uint64_t crc;

    const uint8_t *recorded_to; /* NULL: not recording; before it all is in `record` */
    struct buf record;
    uint64_t record_max;
    bool overflowed;

    struct buf replay;
    const uint8_t *live_at, *live_end; /* at and end, while the replay is read; NULL: it is not */

    uint8_t *big; /* a string that the buffer cannot hold */
    size_t big_size;
};

/* From SOURCE, or (NULL) from BYTES, which the caller owns. */
void rdb_in_init(struct rdb_in *in, struct rdb_source *source, struct slice bytes);
void rdb_in_close(struct rdb_in *in);

/* The next SIZE bytes in one piece. */
MUST_CHECK enum err rdb_in_take_slow(struct rdb_in *in, uint64_t size, const uint8_t **bytes,
                                     struct why *why);

static inline MUST_CHECK enum err rdb_in_take(struct rdb_in *in, uint64_t size,
                                              const uint8_t **bytes, struct why *why) {
    if ((uint64_t)(in->end - in->at) < size || in->end == in->at)
        return rdb_in_take_slow(in, size, bytes, why);
    *bytes = in->at;
    in->at += size;
    return OK;
}

static inline uint64_t rdb_in_offset(const struct rdb_in *in) {
    return in->end_offset - (uint64_t)(in->end - in->at);
}

/* The checksum of all bytes taken so far. Not while a replay is read. */
uint64_t rdb_in_crc(struct rdb_in *in);

void rdb_in_record(struct rdb_in *in, uint64_t bytes_max);

/* Stop recording. False when it was too much: then replay. *BYTES lives until the next take. */
bool rdb_in_recorded(struct rdb_in *in, struct slice *bytes);
void rdb_in_replay(struct rdb_in *in);

#endif
