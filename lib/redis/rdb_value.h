/* rdb_value.h -- read one value of an RDB: check it, and give it to a handler in pieces.
 *
 * Between rdb_in.h (bytes) and rdb_read.h, dump.h (files, payloads), which are what others use.
 * rdb_value.c reads strings and collections by their elements, rdb_flat.c those in one string,
 * rdb_stream.c streams.
 */
#ifndef LIB_REDIS_RDB_VALUE_H
#define LIB_REDIS_RDB_VALUE_H

#include "lib/redis/rdb_in.h"
#include "lib/redis/twins.h"

/* Memory for one string that had to be unpacked or kept; grows, checked. */
struct rdb_room {
    uint8_t *data;
    size_t size;
};

struct rdb_value {
    struct rdb_in *in;
    struct rdb_limits limits;
    const struct rdb_handler *handler; /* for this value; an empty one only checks */
    const struct rdb_key *key;
    bool begun;               /* key_begin() was called */
    bool empty;               /* the value has no elements and is to be skipped */
    bool checked;             /* known to be good: do not look for twins again */
    struct rdb_room one, two; /* the first and the second string of a pair */
    struct twins twins, more_twins;
    struct rdb_room pending; /* of the group that is read; see rdb_stream.c */
};

void rdb_value_init(struct rdb_value *value, struct rdb_in *in, struct rdb_limits limits);
void rdb_value_close(struct rdb_value *value);

/* Read the value of KEY, whose rdb_type is known, and call HANDLER: key_begin() and pieces, but not
 * key_end(). OK with value->empty set: nothing was called, skip the key. */
MUST_CHECK enum err rdb_value_read(struct rdb_value *value, const struct rdb_key *key,
                                   const struct rdb_handler *handler, struct why *why);

/* ---- for the files that make it up */

MUST_CHECK enum err rdb_room_take(struct rdb_room *room, uint64_t size, struct why *why);
MUST_CHECK enum err rdb_byte(struct rdb_value *value, uint8_t *byte, struct why *why);
MUST_CHECK enum err rdb_length(struct rdb_value *value, uint64_t *length, struct why *why);
MUST_CHECK enum err rdb_time_ms(struct rdb_value *value, int64_t *ms, struct why *why);

/* A string. It lives until the next read; if KEEP, until the next use of ROOM. */
MUST_CHECK enum err rdb_text(struct rdb_value *value, struct rdb_room *room, bool keep,
                             struct slice *text, struct why *why);

/* A score as text; false when it is no number. */
bool rdb_score_parse(struct slice text, double *score);

/* Call key_begin() if that has not been done. */
MUST_CHECK enum err rdb_begin(struct rdb_value *value, uint64_t count, struct why *why);

/* The collection has no elements: skipped or refused. */
MUST_CHECK enum err rdb_empty(struct rdb_value *value, struct why *why);

MUST_CHECK enum err rdb_flat_read(struct rdb_value *value, struct why *why);
MUST_CHECK enum err rdb_quicklist_read(struct rdb_value *value, struct why *why);
MUST_CHECK enum err rdb_stream_read(struct rdb_value *value, struct why *why);

/* Call a handler's function unless it is NULL; return its error from here. */
#define RDB_CALL(value, function, ...)                                                             \
    do {                                                                                           \
        const struct rdb_handler *handler_ = (value)->handler;                                     \
        if (handler_->function) {                                                                  \
            enum err err_ = handler_->function(handler_->self, __VA_ARGS__, why);                  \
            if (err_ != OK) return err_;                                                           \
        }                                                                                          \
    } while (0)

/* Return an error from here. Only for functions that hold nothing. */
#define RDB_TRY(call)                                                                              \
    do {                                                                                           \
        enum err err_ = (call);                                                                    \
        if (err_ != OK) return err_;                                                               \
    } while (0)

#endif
