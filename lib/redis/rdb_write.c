/* rdb_write.c -- RDB pieces into a buffer, and files of them. See rdb_write.h. */
#include "lib/redis/rdb_write.h"

#include "lib/redis/bytes.h"
#include "lib/redis/crc64.h"
#include "lib/redis/listpack.h"
#include "lib/redis/lzf.h"

#include <math.h>
#include <stdio.h>

#define NUMBER_TEXT_MAX 11u /* longer strings are no 32-bit integers */
#define PACK_BYTES_MIN 21u  /* shorter strings are not tried */
#define PACK_SAVES_MIN 4u
#define SPECIAL 0xc0u
#define SPECIAL_LZF 3u

void rdb_put_length(struct buf *out, uint64_t length) {
    uint8_t *p = buf_room(out, 9);
    if (length < 64) {
        p[0] = (uint8_t)length;
        buf_filled(out, 1);
    } else if (length < 16384) {
        bytes_put_be(p, 0x4000 | length, 2);
        buf_filled(out, 2);
    } else {
        size_t count = length <= UINT32_MAX ? 4 : 8;
        p[0] = count == 4 ? 0x80 : 0x81;
        bytes_put_be(p + 1, length, count);
        buf_filled(out, 1 + count);
    }
}

/* False when NUMBER needs more than four bytes. */
static bool put_small_number(struct buf *out, int64_t number) {
    if (number < INT32_MIN || number > INT32_MAX) return false;
    unsigned kind = number >= INT8_MIN && number <= INT8_MAX     ? 0
                    : number >= INT16_MIN && number <= INT16_MAX ? 1
                                                                 : 2;
    uint8_t *p = buf_room(out, 5);
    p[0] = (uint8_t)(SPECIAL | kind);
    bytes_put_le(p + 1, (uint64_t)number, 1u << kind);
    buf_filled(out, 1 + (1u << kind));
    return true;
}

/* The size of a length as it is written. */
static size_t length_bytes(uint64_t length) {
    return length < 64 ? 1 : length < 16384 ? 2 : length <= UINT32_MAX ? 5 : 9;
}

/* False when it does not save enough. The compressed bytes are made where the longest lengths
 * would end, then moved down to where the real ones do. */
static bool put_packed(struct buf *out, struct slice text) {
    if (text.size < PACK_BYTES_MIN || text.size > UINT32_MAX) return false;
    size_t head_max = 1 + 9 + length_bytes(text.size), room = text.size - PACK_SAVES_MIN;
    uint8_t *packed = buf_room(out, head_max + room) + head_max;
    size_t size = lzf_pack(text, packed, room);
    if (size == 0) return false;
    buf_byte(out, SPECIAL | SPECIAL_LZF); /* there is room: nothing moves */
    rdb_put_length(out, size);
    rdb_put_length(out, text.size);
    memmove(out->data + out->end, packed, size);
    buf_filled(out, size);
    return true;
}

/* ---- tapes */

struct rdb_mark {
    size_t at, head_bytes, size; /* of the length in front of the string; of the string */
};

static void note_mark(struct buf *out, struct slice text) {
    struct rdb_tape *tape = (struct rdb_tape *)(void *)out;
    struct rdb_mark mark = {buf_size(out), length_bytes(text.size), text.size};
    buf_append(&tape->marks, &mark, sizeof mark);
}

void rdb_tape_close(struct rdb_tape *tape) {
    buf_close(&tape->bytes);
    buf_close(&tape->marks);
}

void rdb_tape_play(const struct rdb_tape *tape, struct buf *out) {
    struct slice bytes = buf_slice(&tape->bytes), marks = buf_slice(&tape->marks);
    size_t done = 0;
    for (size_t i = 0; i < marks.size; i += sizeof(struct rdb_mark)) {
        struct rdb_mark mark;
        memcpy(&mark, marks.data + i, sizeof mark);
        size_t text = mark.at + mark.head_bytes;
        buf_append(out, bytes.data + done, mark.at - done);
        rdb_put_string(out, slice_from(bytes.data + text, mark.size), RDB_PACK);
        done = text + mark.size;
    }
    if (bytes.size > done) buf_append(out, bytes.data + done, bytes.size - done);
}

void rdb_tape_join(struct rdb_tape *tape, const struct rdb_tape *other) {
    struct slice marks = buf_slice(&other->marks);
    size_t before = buf_size(&tape->bytes);
    for (size_t i = 0; i < marks.size; i += sizeof(struct rdb_mark)) {
        struct rdb_mark mark;
        memcpy(&mark, marks.data + i, sizeof mark);
        mark.at += before;
        buf_append(&tape->marks, &mark, sizeof mark);
    }
    buf_add(&tape->bytes, buf_slice(&other->bytes));
}

/* ---- pieces */

void rdb_put_string(struct buf *out, struct slice text, enum rdb_pack pack) {
    int64_t number;
    if (text.size <= NUMBER_TEXT_MAX && slice_to_int(text, &number) &&
        put_small_number(out, number))
        return;
    if (pack == RDB_PACK && put_packed(out, text)) return;
    if (pack == RDB_MARK && text.size >= PACK_BYTES_MIN) note_mark(out, text);
    rdb_put_length(out, text.size);
    buf_add(out, text);
}

void rdb_put_number(struct buf *out, int64_t number) {
    if (put_small_number(out, number)) return;
    char text[LP_TEXT_SIZE];
    size_t size = lp_write_number(number, text);
    rdb_put_length(out, size);
    buf_append(out, text, size);
}

static void put_eight(struct buf *out, uint64_t value) {
    bytes_put_le(buf_room(out, 8), value, 8);
    buf_filled(out, 8);
}

void rdb_put_double(struct buf *out, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_eight(out, bits);
}

void rdb_put_score(struct buf *out, double score, uint8_t rdb_type) {
    char text[40];
    if (rdb_type != RDB_ZSET) {
        rdb_put_double(out, score);
        return;
    }
    if (isinf(score)) {
        buf_byte(out, score > 0 ? 254 : 255);
        return;
    }
    int size = snprintf(text, sizeof text, "%.17g", score);
    ASSERT(size > 0 && (size_t)size < sizeof text);
    buf_byte(out, (uint8_t)size);
    buf_append(out, text, (size_t)size);
}

void rdb_put_key(struct buf *out, const struct rdb_key *key, enum rdb_pack pack) {
    if (key->expire_at_ms != -1) {
        buf_byte(out, RDB_OP_EXPIRE_MS);
        put_eight(out, (uint64_t)key->expire_at_ms);
    }
    if (key->idle_s >= 0) {
        buf_byte(out, RDB_OP_IDLE);
        rdb_put_length(out, (uint64_t)key->idle_s);
    }
    if (key->freq >= 0) {
        buf_byte(out, RDB_OP_FREQ);
        buf_byte(out, (uint8_t)key->freq);
    }
    buf_byte(out, key->rdb_type);
    rdb_put_string(out, key->key, pack);
}

void rdb_put_list_node(struct buf *out, struct slice node, bool plain,
                       enum rdb_pack pack) {
    rdb_put_length(out, plain ? 1 : 2);
    rdb_put_string(out, node, pack);
}

/* ---- streams */

void rdb_put_stream_id(struct buf *out, struct stream_id id) {
    uint8_t *p = buf_room(out, 16);
    bytes_put_be(p, id.ms, 8);
    bytes_put_be(p + 8, id.seq, 8);
    buf_filled(out, 16);
}

static void put_id_lengths(struct buf *out, struct stream_id id) {
    rdb_put_length(out, id.ms);
    rdb_put_length(out, id.seq);
}

void rdb_put_stream_node(struct buf *out, struct stream_id first, struct slice listpack,
                         enum rdb_pack pack) {
    rdb_put_length(out, 16);
    rdb_put_stream_id(out, first);
    rdb_put_string(out, listpack, pack);
}

void rdb_put_stream(struct buf *out, const struct rdb_stream *stream, uint8_t rdb_type) {
    rdb_put_length(out, stream->length);
    put_id_lengths(out, stream->last_id);
    if (rdb_type == RDB_STREAM) return;
    put_id_lengths(out, stream->first_id);
    put_id_lengths(out, stream->max_deleted_id);
    rdb_put_length(out, stream->entries_added);
}

void rdb_put_group(struct buf *out, const struct rdb_group *group, uint8_t rdb_type) {
    rdb_put_string(out, group->name, false);
    put_id_lengths(out, group->last_id);
    if (rdb_type != RDB_STREAM) rdb_put_length(out, (uint64_t)group->entries_read);
}

void rdb_put_pending(struct buf *out, const struct rdb_pending *pending) {
    rdb_put_stream_id(out, pending->id);
    put_eight(out, (uint64_t)pending->delivered_ms);
    rdb_put_length(out, pending->deliveries);
}

void rdb_put_consumer(struct buf *out, const struct rdb_consumer *consumer, uint8_t rdb_type) {
    rdb_put_string(out, consumer->name, false);
    put_eight(out, (uint64_t)consumer->seen_ms);
    if (rdb_type == RDB_STREAM_3) put_eight(out, (uint64_t)consumer->active_ms);
}

/* ---- files */

void rdb_writer_open(struct rdb_writer *writer, struct rdb_sink *sink, unsigned version) {
    ASSERT(version >= 5 && version <= RDB_VERSION_MAX);
    *writer = (struct rdb_writer){.sink = sink};
    buf_printf(&writer->out, "REDIS%04u", version);
}

void rdb_writer_close(struct rdb_writer *writer) {
    buf_close(&writer->out);
    *writer = (struct rdb_writer){0};
}

void rdb_writer_aux(struct rdb_writer *writer, struct slice name, struct slice value) {
    buf_byte(&writer->out, RDB_OP_AUX);
    rdb_put_string(&writer->out, name, false);
    rdb_put_string(&writer->out, value, false);
}

void rdb_writer_aux_number(struct rdb_writer *writer, struct slice name, int64_t value) {
    buf_byte(&writer->out, RDB_OP_AUX);
    rdb_put_string(&writer->out, name, false);
    rdb_put_number(&writer->out, value);
}

void rdb_writer_function(struct rdb_writer *writer, struct slice code) {
    buf_byte(&writer->out, RDB_OP_FUNCTION);
    rdb_put_string(&writer->out, code, false);
}

void rdb_writer_select(struct rdb_writer *writer, uint32_t db) {
    buf_byte(&writer->out, RDB_OP_SELECT);
    rdb_put_length(&writer->out, db);
}

void rdb_writer_resize(struct rdb_writer *writer, uint64_t keys, uint64_t expires) {
    buf_byte(&writer->out, RDB_OP_RESIZE);
    rdb_put_length(&writer->out, keys);
    rdb_put_length(&writer->out, expires);
}

enum err rdb_writer_push(struct rdb_writer *writer, size_t at_least, struct why *why) {
    struct slice bytes = buf_slice(&writer->out);
    if (bytes.size == 0 || bytes.size < at_least) return OK;
    if (!writer->no_sum) writer->crc = crc64_add(writer->crc, bytes);
    enum err err = writer->sink->write(writer->sink, bytes, why);
    if (err != OK) return err;
    writer->written_bytes += bytes.size;
    buf_clear(&writer->out);
    return OK;
}

enum err rdb_writer_end(struct rdb_writer *writer, struct why *why) {
    buf_byte(&writer->out, RDB_OP_END);
    enum err err = rdb_writer_push(writer, 0, why);
    if (err != OK) return err;
    put_eight(&writer->out, writer->crc);
    return rdb_writer_push(writer, 0, why);
}
