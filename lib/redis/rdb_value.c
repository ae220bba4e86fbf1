/* rdb_value.c -- lengths, strings, and collections element by element. See rdb_value.h. */
#include "lib/redis/rdb_value.h"

#include "lib/base/mem.h"
#include "lib/redis/bytes.h"
#include "lib/redis/listpack.h"
#include "lib/redis/lzf.h"

#include <math.h>
#include <stdlib.h>

#define ROOM_KEPT (1u << 20)
#define SCORE_TEXT_MAX 128u

/* What stands instead of a length when the first two bits of it are set. */
enum special { SPECIAL_NONE = -1, SPECIAL_INT8, SPECIAL_INT16, SPECIAL_INT32, SPECIAL_LZF };

void rdb_value_init(struct rdb_value *value, struct rdb_in *in, struct rdb_limits limits) {
    *value = (struct rdb_value){.in = in, .limits = limits};
    twins_init(&value->twins, limits.twins_bytes_max);
    twins_init(&value->more_twins, limits.twins_bytes_max);
}

static void room_close(struct rdb_room *room) {
    mem_free(room->data);
    *room = (struct rdb_room){0};
}

static void room_shrink(struct rdb_room *room) {
    if (room->size > ROOM_KEPT) room_close(room);
}

void rdb_value_close(struct rdb_value *value) {
    room_close(&value->one);
    room_close(&value->two);
    room_close(&value->pending);
    twins_close(&value->twins);
    twins_close(&value->more_twins);
}

enum err rdb_room_take(struct rdb_room *room, uint64_t size, struct why *why) {
    if (size <= room->size && room->data) return OK;
    size_t wanted = size < 256 ? 256 : (size_t)size;
    uint8_t *data = mem_try_alloc(wanted);
    if (data == NULL) return why_set(why, ERR_NOMEM, "no memory for %zu bytes", wanted);
    mem_free(room->data);
    *room = (struct rdb_room){.data = data, .size = wanted};
    return OK;
}

enum err rdb_byte(struct rdb_value *value, uint8_t *byte, struct why *why) {
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, 1, &p, why));
    *byte = *p;
    return OK;
}

enum err rdb_time_ms(struct rdb_value *value, int64_t *ms, struct why *why) {
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, 8, &p, why));
    *ms = (int64_t)bytes_le(p, 8);
    return OK;
}

/* A length, or what stands in its place. */
static enum err length_or_special(struct rdb_value *value, uint64_t *length, enum special *special,
                                  struct why *why) {
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, 1, &p, why));
    uint8_t first = *p;
    *special = SPECIAL_NONE;
    *length = first & 0x3f;
    switch (first >> 6) {
    case 0: return OK;
    case 1:
        RDB_TRY(rdb_in_take(value->in, 1, &p, why));
        *length = *length << 8 | *p;
        return OK;
    case 2: {
        size_t count = first == 0x80 ? 4 : 8;
        if (first > 0x81)
            return why_set(why, ERR_CORRUPT, "%02x does not begin a length", (unsigned)first);
        RDB_TRY(rdb_in_take(value->in, count, &p, why));
        *length = bytes_be(p, count);
        return OK;
    }
    default:
        if (*length > SPECIAL_LZF)
            return why_set(why, ERR_CORRUPT, "%02x does not begin a string", (unsigned)first);
        *special = (enum special) * length;
        return OK;
    }
}

enum err rdb_length(struct rdb_value *value, uint64_t *length, struct why *why) {
    enum special special;
    uint64_t got;
    RDB_TRY(length_or_special(value, &got, &special, why));
    if (special != SPECIAL_NONE)
        return why_set(why, ERR_CORRUPT, "a string stands where a length must be");
    *length = got;
    return OK;
}

static enum err size_check(const struct rdb_value *value, uint64_t size, struct why *why) {
    if (size <= value->limits.value_bytes_max && size <= UINT32_MAX) return OK;
    return why_set(why, ERR_LIMIT, "a string of %llu bytes is over the limit of %llu",
                   (unsigned long long)size, (unsigned long long)value->limits.value_bytes_max);
}

static enum err text_lzf(struct rdb_value *value, struct rdb_room *room, struct slice *text,
                         struct why *why) {
    uint64_t packed = 0, size = 0;
    RDB_TRY(rdb_length(value, &packed, why));
    RDB_TRY(rdb_length(value, &size, why));
    RDB_TRY(size_check(value, size, why));
    if (!lzf_plausible(packed, size))
        return why_set(why, ERR_CORRUPT, "%llu bytes of LZF cannot become %llu",
                       (unsigned long long)packed, (unsigned long long)size);
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, packed, &p, why));
    RDB_TRY(rdb_room_take(room, size, why));
    if (!lzf_unpack(slice_from(p, (size_t)packed), room->data, (size_t)size))
        return why_set(why, ERR_CORRUPT, "LZF does not expand to the %llu bytes it should",
                       (unsigned long long)size);
    *text = slice_from(room->data, (size_t)size);
    return OK;
}

static enum err text_number(struct rdb_value *value, struct rdb_room *room, size_t bytes,
                            struct slice *text, struct why *why) {
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, bytes, &p, why));
    RDB_TRY(rdb_room_take(room, LP_TEXT_SIZE, why));
    size_t size = lp_write_number(bytes_le_signed(p, bytes), (char *)room->data);
    *text = slice_from(room->data, size);
    return OK;
}

enum err rdb_text(struct rdb_value *value, struct rdb_room *room, bool keep, struct slice *text,
                  struct why *why) {
    uint64_t size;
    enum special special;
    RDB_TRY(length_or_special(value, &size, &special, why));
    switch (special) {
    case SPECIAL_INT8: return text_number(value, room, 1, text, why);
    case SPECIAL_INT16: return text_number(value, room, 2, text, why);
    case SPECIAL_INT32: return text_number(value, room, 4, text, why);
    case SPECIAL_LZF: return text_lzf(value, room, text, why);
    case SPECIAL_NONE: break;
    }
    RDB_TRY(size_check(value, size, why));
    const uint8_t *p;
    RDB_TRY(rdb_in_take(value->in, size, &p, why));
    *text = slice_from(p, (size_t)size);
    if (!keep) return OK;
    RDB_TRY(rdb_room_take(room, size, why));
    memcpy(room->data, p, (size_t)size);
    text->data = room->data;
    return OK;
}

enum err rdb_begin(struct rdb_value *value, uint64_t count, struct why *why) {
    if (value->begun) return OK;
    value->begun = true;
    RDB_CALL(value, key_begin, value->key, count);
    return OK;
}

enum err rdb_empty(struct rdb_value *value, struct why *why) {
    if (!value->limits.skip_empty)
        return why_set(why, ERR_CORRUPT, "the %s has no elements",
                       value_type_name(value->key->type));
    value->empty = true;
    return OK;
}

static enum err twin(const struct rdb_value *value, struct why *why) {
    return why_set(why, ERR_CORRUPT, "the %s has an element twice",
                   value_type_name(value->key->type));
}

static enum err read_string(struct rdb_value *value, struct why *why) {
    struct slice text;
    RDB_TRY(rdb_text(value, &value->one, false, &text, why));
    RDB_TRY(rdb_begin(value, 1, why));
    RDB_CALL(value, string, text);
    return OK;
}

bool rdb_score_parse(struct slice text, double *score) {
    char copy[SCORE_TEXT_MAX + 1];
    if (text.size == 0 || text.size > SCORE_TEXT_MAX || text.data[0] <= ' ') return false;
    int64_t number;
    if (text.size < 16 && slice_to_int(text, &number)) { /* exact: below 2^53 */
        *score = (double)number;
        return true;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end;
    double parsed = strtod(copy, &end);
    if (end != copy + text.size || isnan(parsed)) return false;
    *score = parsed;
    return true;
}

/* A score in the text form of RDB_ZSET, or in eight bytes. */
static enum err read_score(struct rdb_value *value, double *score, struct why *why) {
    const uint8_t *p;
    if (value->key->rdb_type == RDB_ZSET_2) {
        RDB_TRY(rdb_in_take(value->in, 8, &p, why));
        uint64_t bits = bytes_le(p, 8);
        memcpy(score, &bits, 8);
        if (!isnan(*score)) return OK;
        return why_set(why, ERR_CORRUPT, "a score is not a number");
    }
    RDB_TRY(rdb_in_take(value->in, 1, &p, why));
    uint8_t size = *p;
    if (size >= 254) {
        *score = size == 254 ? (double)INFINITY : -(double)INFINITY;
        return OK;
    }
    if (size == 253) return why_set(why, ERR_CORRUPT, "a score is not a number");
    RDB_TRY(rdb_in_take(value->in, size, &p, why));
    if (rdb_score_parse(slice_from(p, size), score)) return OK;
    return why_set(why, ERR_CORRUPT, "a score is not a number");
}

/* One element of the collection that is read. */
static enum err read_element(struct rdb_value *value, struct why *why) {
    struct slice one, two;
    double score;
    bool paired = value->key->type == VALUE_HASH || value->key->type == VALUE_ZSET;
    RDB_TRY(rdb_text(value, &value->one, paired, &one, why));
    if (value->key->type == VALUE_LIST) {
        RDB_CALL(value, list_item, one);
        return OK;
    }
    if (!value->checked && !twins_add(&value->twins, one)) return twin(value, why);
    if (value->key->type == VALUE_SET) {
        RDB_CALL(value, set_member, one);
    } else if (value->key->type == VALUE_ZSET) {
        RDB_TRY(read_score(value, &score, why));
        RDB_CALL(value, zset_member, one, score);
    } else {
        RDB_TRY(rdb_text(value, &value->two, false, &two, why));
        RDB_CALL(value, hash_field, one, two);
    }
    return OK;
}

static enum err read_elements(struct rdb_value *value, struct why *why) {
    uint64_t count = 0;
    RDB_TRY(rdb_length(value, &count, why));
    if (count == 0) return rdb_empty(value, why);
    RDB_TRY(rdb_begin(value, count, why));
    if (value->key->type != VALUE_LIST && !value->checked) twins_reset(&value->twins, count);
    for (; count > 0; count--) RDB_TRY(read_element(value, why));
    if (value->key->type != VALUE_LIST && !twins_done(&value->twins)) return twin(value, why);
    return OK;
}

enum err rdb_value_read(struct rdb_value *value, const struct rdb_key *key,
                        const struct rdb_handler *handler, struct why *why) {
    value->key = key;
    value->handler = handler;
    value->begun = value->empty = false;
    room_shrink(&value->one);
    room_shrink(&value->two);
    room_shrink(&value->pending);
    switch ((enum rdb_type)key->rdb_type) {
    case RDB_STRING: return read_string(value, why);
    case RDB_LIST:
    case RDB_SET:
    case RDB_ZSET:
    case RDB_HASH:
    case RDB_ZSET_2: return read_elements(value, why);
    case RDB_HASH_ZIPMAP:
    case RDB_LIST_ZIPLIST:
    case RDB_SET_INTSET:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK: return rdb_flat_read(value, why);
    case RDB_LIST_QUICKLIST:
    case RDB_LIST_QUICKLIST_2: return rdb_quicklist_read(value, why);
    case RDB_STREAM:
    case RDB_STREAM_2:
    case RDB_STREAM_3: return rdb_stream_read(value, why);
    case RDB_MODULE:
    case RDB_MODULE_2: break;
    }
    UNREACHABLE("rdb type of a value");
}
