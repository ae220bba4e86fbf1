/* rdb_write.h -- write RDB: pieces into a buffer, and a file of them with its checksum.
 *
 * rdb_put_*() append to a struct buf and know nothing of files, so that helper threads can encode
 * keys apart; DUMP payloads (dump.h) are made of the same pieces. A value is its count and its
 * elements, in the order given here:
 *     string     rdb_put_string
 *     RDB_LIST, RDB_SET        rdb_put_length(count), rdb_put_string each
 *     RDB_HASH                 rdb_put_length(count), rdb_put_string field and value each
 *     RDB_ZSET_2               rdb_put_length(count), rdb_put_string and rdb_put_double each
 *     RDB_SET_INTSET, RDB_*_LISTPACK     rdb_put_string(the whole blob)
 *     RDB_LIST_QUICKLIST_2     rdb_put_length(nodes), rdb_put_list_node each
 *     RDB_STREAM_2             rdb_put_length(nodes), rdb_put_stream_node each, rdb_put_stream,
 *                              rdb_put_length(groups), for each: rdb_put_group,
 *                              rdb_put_length(pending), rdb_put_pending each,
 *                              rdb_put_length(consumers), for each: rdb_put_consumer,
 *                              rdb_put_length(owned), rdb_put_stream_id each
 * Empty collections do not exist: do not write them.
 */
#ifndef LIB_REDIS_RDB_WRITE_H
#define LIB_REDIS_RDB_WRITE_H

#include "lib/base/buf.h"
#include "lib/redis/rdb.h"

void rdb_put_length(struct buf *out, uint64_t length);

/* What becomes of strings that LZF may shorten. Callers may pass a bool: whether to pack. */
enum rdb_pack {
    RDB_PLAIN, /* they stay as they are */
    RDB_PACK,  /* LZF, where it saves at least four bytes */
    RDB_MARK,  /* as they are, and noted: `out` is the `bytes` of a struct rdb_tape */
};

/* RDB bytes whose long strings somebody else will pack: a thread that must not stall writes plainly
 * and notes where the strings lie; another one plays the tape. All-zero: empty. */
struct rdb_tape {
    struct buf bytes; /* never consumed from */
    struct buf marks; /* struct rdb_mark, ascending */
};
void rdb_tape_close(struct rdb_tape *tape);
/* Append what the tape holds to OUT, with the noted strings packed. */
void rdb_tape_play(const struct rdb_tape *tape, struct buf *out);
/* Append OTHER to TAPE. */
void rdb_tape_join(struct rdb_tape *tape, const struct rdb_tape *other);

/* As an integer of 1, 2 or 4 bytes where that gives the same string, by LZF where PACK says so, or
 * as it is. */
void rdb_put_string(struct buf *out, struct slice text, enum rdb_pack pack);
void rdb_put_number(struct buf *out, int64_t number); /* a string that is a number */
void rdb_put_double(struct buf *out, double number);

/* A score of RDB_ZSET_2, or as the text that RDB_ZSET has. */
void rdb_put_score(struct buf *out, double score, uint8_t rdb_type);

/* Expiry, idle time or frequency where KEY has them, the type, the key's name. */
void rdb_put_key(struct buf *out, const struct rdb_key *key, enum rdb_pack pack);

/* A node of RDB_LIST_QUICKLIST_2: a listpack, or (PLAIN) one big item as it is. */
void rdb_put_list_node(struct buf *out, struct slice node, bool plain, enum rdb_pack pack);

void rdb_put_stream_node(struct buf *out, struct stream_id first, struct slice listpack,
                         enum rdb_pack pack);
void rdb_put_stream(struct buf *out, const struct rdb_stream *stream, uint8_t rdb_type);
void rdb_put_group(struct buf *out, const struct rdb_group *group, uint8_t rdb_type);
void rdb_put_pending(struct buf *out, const struct rdb_pending *pending);
void rdb_put_consumer(struct buf *out, const struct rdb_consumer *consumer, uint8_t rdb_type);
void rdb_put_stream_id(struct buf *out, struct stream_id id);

/* ---- files */

/* Where a file's bytes go; embed it in a struct of yours. Blocking is its own affair. */
struct rdb_sink {
    enum err (*write)(struct rdb_sink *sink, struct slice bytes, struct why *why);
};

struct rdb_writer {
    struct buf out;        /* append keys here, then rdb_writer_push() */
    struct rdb_sink *sink; /* owned by the caller */
    uint64_t crc;
    bool no_sum;            /* set after opening: the file ends with eight zeros in its place */
    uint64_t written_bytes; /* given to the sink */
};

/* An all-zero writer is a closed one. */
void rdb_writer_open(struct rdb_writer *writer, struct rdb_sink *sink, unsigned version);
void rdb_writer_close(struct rdb_writer *writer);

void rdb_writer_aux(struct rdb_writer *writer, struct slice name, struct slice value);
void rdb_writer_aux_number(struct rdb_writer *writer, struct slice name, int64_t value);
void rdb_writer_function(struct rdb_writer *writer, struct slice code);
void rdb_writer_select(struct rdb_writer *writer, uint32_t db);
void rdb_writer_resize(struct rdb_writer *writer, uint64_t keys, uint64_t expires);

/* Give what is in `out` to the sink if it is at least AT_LEAST bytes. After an error: close. */
MUST_CHECK enum err rdb_writer_push(struct rdb_writer *writer, size_t at_least, struct why *why);

/* The end mark and the checksum, all given to the sink. */
MUST_CHECK enum err rdb_writer_end(struct rdb_writer *writer, struct why *why);

#endif
