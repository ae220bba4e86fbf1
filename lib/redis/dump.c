/* dump.c -- DUMP payloads. See dump.h. */
#include "lib/redis/dump.h"

#include "lib/redis/bytes.h"
#include "lib/redis/crc64.h"
#include "lib/redis/rdb_value.h"

#define FOOT_BYTES 10u
#define VERSION_MIN 6u /* that of Redis 2.6, the first with DUMP */

static void put(struct buf *out, uint8_t rdb_type, struct slice value, unsigned version) {
    size_t start = buf_size(out);
    buf_byte(out, rdb_type);
    buf_add(out, value);
    bytes_put_le(buf_room(out, FOOT_BYTES), version, 2);
    buf_filled(out, 2);
    uint64_t sum = crc64_add(0, slice_drop(buf_slice(out), start));
    bytes_put_le(buf_room(out, 8), sum, 8);
    buf_filled(out, 8);
}

void dump_put(struct buf *out, uint8_t rdb_type, struct slice value) {
    unsigned version = rdb_type_version(rdb_type);
    put(out, rdb_type, value, version > VERSION_MIN ? version : VERSION_MIN);
}

void dump_put_as_redis(struct buf *out, uint8_t rdb_type, struct slice value) {
    put(out, rdb_type, value, RDB_VERSION_WRITTEN);
}

enum err dump_open(struct slice payload, uint8_t *rdb_type, struct slice *value, struct why *why) {
    if (payload.size < DUMP_BYTES_MIN)
        return why_set(why, ERR_CORRUPT, "a DUMP payload has at least %u bytes", DUMP_BYTES_MIN);
    size_t summed = payload.size - 8;
    unsigned version = (unsigned)bytes_le(payload.data + summed - 2, 2);
    if (version > RDB_VERSION_MAX)
        return why_set(why, ERR_CORRUPT, "the DUMP payload has RDB version %u, above %d", version,
                       RDB_VERSION_MAX);
    if (crc64_add(0, slice_take(payload, summed)) != bytes_le(payload.data + summed, 8))
        return why_set(why, ERR_CORRUPT, "the checksum of the DUMP payload is wrong");
    *rdb_type = payload.data[0];
    *value = slice_from(payload.data + 1, payload.size - DUMP_BYTES_MIN);
    return OK;
}

/* Read all of BYTES as one value. */
static enum err read_all(struct slice bytes, struct rdb_limits limits, const struct rdb_key *key,
                         const struct rdb_handler *handler, bool checked, struct why *why) {
    struct rdb_in in;
    struct rdb_value value;
    rdb_in_init(&in, NULL, bytes);
    rdb_value_init(&value, &in, limits);
    value.checked = checked;
    enum err err = rdb_value_read(&value, key, handler, why);
    if (err == OK && in.at != in.end)
        err = why_set(why, ERR_CORRUPT, "%zu bytes are left over", (size_t)(in.end - in.at));
    if (err != OK)
        err = why_add(why, err, "DUMP payload of type %u, near byte %llu", (unsigned)key->rdb_type,
                      (unsigned long long)rdb_in_offset(&in) + 1);
    rdb_value_close(&value);
    rdb_in_close(&in);
    return err;
}

enum err dump_read(struct slice payload, struct rdb_limits limits, struct rdb_key *key,
                   const struct rdb_handler *handler, struct why *why) {
    static const struct rdb_handler check_only;
    struct slice bytes;
    uint8_t rdb_type;
    enum value_type type;
    RDB_TRY(dump_open(payload, &rdb_type, &bytes, why));
    if (!rdb_type_value(rdb_type, &type))
        return why_set(why, ERR_CORRUPT, "a DUMP payload of type %u, which is not known",
                       (unsigned)rdb_type);
    limits.skip_empty = false;
    key->rdb_type = rdb_type;
    key->type = type;
    RDB_TRY(read_all(bytes, limits, key, &check_only, false, why));
    RDB_TRY(read_all(bytes, limits, key, handler, true, why));
    key->end_offset = payload.size;
    return handler->key_end ? handler->key_end(handler->self, key, why) : OK;
}

enum err dump_check(struct slice payload, struct rdb_limits limits, struct why *why) {
    static const struct rdb_handler nothing;
    struct rdb_key key = {.expire_at_ms = -1, .idle_s = -1, .freq = -1};
    return dump_read(payload, limits, &key, &nothing, why);
}
