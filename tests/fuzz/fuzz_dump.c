/* fuzz_dump.c -- any bytes as a value of any type: refused, or read the same twice.
 *
 * The first byte is the type; foot and checksum are added, so that the value itself is reached.
 */
#include "lib/base/mem.h"
#include "lib/redis/crc64.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"

static struct digest last;

static enum err keep(void *self, const struct digest_key *key, struct why *why) {
    (void)self, (void)why;
    last = key->digest;
    return OK;
}

/* A checked blob can be walked and changed without harm. */
static enum err on_blob(void *self, enum rdb_blob kind, struct slice bytes, struct why *why) {
    (void)self, (void)why;
    uint8_t *copy = mem_dup(bytes.data, bytes.size);
    if (kind == RDB_BLOB_INTSET) {
        intset_add(&copy, 12345678901);
        intset_remove(&copy, intset_get(copy, 0));
    } else {
        lp_append(&copy, SLICE("x"));
        lp_insert(&copy, lp_last(copy), SLICE("12"), LP_BEFORE);
        lp_delete(&copy, lp_first(copy), 2);
        ASSERT(lp_validate(lp_slice(copy), NULL));
    }
    mem_free(copy);
    return OK;
}

static enum err read_value(struct slice payload, const struct rdb_handler *handler) {
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    struct rdb_key key = {.expire_at_ms = -1};
    struct why why;
    limits.value_bytes_max = 1 << 20;
    return dump_read(payload, limits, &key, handler, &why);
}

/* What an old server would get is the same value (streams lose some of what counts). */
static void read_as_old(struct slice payload, const struct rdb_handler *handler) {
    struct buf old = {0};
    struct slice value;
    struct why why;
    uint8_t rdb_type;
    enum value_type type;
    struct digest digest = last;
    ASSERT(dump_open(payload, &rdb_type, &value, &why) == OK);
    ASSERT(rdb_type_value(rdb_type, &type));
    enum err err = dump_put_for(&old, rdb_type, value, type == VALUE_STREAM ? 9 : 6, &why);
    ASSERT(err == OK && read_value(buf_slice(&old), handler) == OK);
    ASSERT(type == VALUE_STREAM || digest_equal(digest, last));
    buf_close(&old);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t *payload = mem_alloc(size + 10);
    memcpy(payload, data, size);
    payload[0] %= 24;
    payload[size] = 11;
    payload[size + 1] = 0;
    uint64_t sum = crc64_add(0, slice_from(payload, size + 2));
    memcpy(payload + size + 2, &sum, 8);
    struct slice all = slice_from(payload, size + 10);
    struct digester *digester = digester_new(keep, NULL, NULL);
    const struct rdb_handler blobs = {.blob = on_blob};
    enum err first = read_value(all, digester_handler(digester));
    struct digest digest = last;
    enum err second = read_value(all, digester_handler(digester));
    ASSERT(first == second && (first != OK || digest_equal(digest, last)));
    ASSERT(read_value(all, &blobs) == first);
    if (first == OK) read_as_old(all, digester_handler(digester));
    digester_free(digester);
    mem_free(payload);
    return 0;
}
