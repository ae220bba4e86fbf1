/* test_value_rdb.c -- a value that goes out as a DUMP payload comes back the same, in every
 * encoding. */
#include "lib/base/mem.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/value_rdb.h"
#include "server/xstream.h"
#include "server/zset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct type_limits limits = TYPE_LIMITS_DEFAULT;

static struct slice word(struct rng *rng, char *text, size_t room) {
    int size;
    switch (rng_below(rng, 4)) {
    case 0:
        size = snprintf(text, room, "%lld", (long long)rng_next(rng) >> rng_below(rng, 64));
        break;
    case 1: size = snprintf(text, room, "m%llu", (unsigned long long)rng_below(rng, 100000)); break;
    case 2: {
        size = (int)rng_below(rng, room);
        for (int i = 0; i < size; i++) text[i] = (char)rng_next(rng);
        break;
    }
    default:
        size = snprintf(text, room, "%.*s%llu", (int)rng_below(rng, 60),
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                        (unsigned long long)rng_below(rng, 1000));
    }
    return slice_from(text, (size_t)size);
}

static struct value random_value(struct rng *rng, struct buf *bytes) {
    char text[2][200];
    size_t count = 1 + rng_below(rng, rng_below(rng, 2) ? 20 : 1500);
    struct value value;
    switch (rng_below(rng, 5)) {
    case 0:
        buf_clear(bytes);
        for (size_t i = 0; i < count % 40; i++) buf_add(bytes, word(rng, text[0], sizeof text[0]));
        return value_string(buf_slice(bytes));
    case 1:
        value = value_container(TYPE_LIST, ENC_QUICKLIST, list_new());
        for (size_t i = 0; i < count; i++)
            list_push(value.ptr, &limits, rng_below(rng, 2) ? LIST_HEAD : LIST_TAIL,
                      word(rng, text[0], sizeof text[0]));
        return value;
    case 2:
        value = set_new();
        for (size_t i = 0; i < count; i++) {
            int size = snprintf(text[0], sizeof text[0], "%lld",
                                (long long)rng_next(rng) >> rng_below(rng, 64));
            (void)set_add(&value, &limits, slice_from(text[0], (size_t)size));
            if (count % 2) (void)set_add(&value, &limits, word(rng, text[0], sizeof text[0]));
        }
        return value;
    case 3:
        value = hash_new();
        for (size_t i = 0; i < count; i++)
            (void)hash_set(&value, &limits, word(rng, text[0], sizeof text[0]),
                           word(rng, text[1], sizeof text[1]));
        return value;
    default:
        value = zset_new(&limits, 8);
        for (size_t i = 0; i < count; i++)
            (void)zset_add(&value, &limits, word(rng, text[0], sizeof text[0]),
                           rng_below(rng, 9) ? (double)(int64_t)rng_next(rng) / 1e9 : 1.0 / 0.0);
        return value;
    }
}

static enum err keep_digest(void *self, const struct digest_key *key, struct why *why) {
    (void)why;
    *(struct digest *)self = key->digest;
    return OK;
}

static struct digest digest_of(struct slice payload) {
    struct digest digest = {0, 0};
    struct digester *digester = digester_new(keep_digest, &digest, NULL);
    struct rdb_key key = {.key = SLICE("k"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    struct why why;
    assert_int_equal(dump_read(payload, RDB_LIMITS_DEFAULT, &key, digester_handler(digester), &why),
                     OK);
    digester_free(digester);
    return digest;
}

struct copy {
    struct value value;
    struct buf bytes;
    int calls;
};

static enum err keep_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    struct copy *copy = self;
    (void)key;
    (void)why;
    copy->value = *value;
    copy->calls++;
    if (value->type == TYPE_STRING) {
        buf_add(&copy->bytes, value->bytes);
        copy->value.bytes = buf_slice(&copy->bytes);
    }
    return OK;
}

static void dump(const struct value *value, struct buf *payload) {
    struct buf body = {0};
    value_put(&body, value, true);
    dump_put(payload, value_rdb_type(value), buf_slice(&body));
    buf_close(&body);
}

static void test_out_and_in_again_is_the_same_value_in_the_same_encoding(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct buf bytes = {0};
    for (int round = 0; round < 400; round++) {
        struct value value = random_value(&rng, &bytes);
        struct buf first = {0}, second = {0};
        dump(&value, &first);
        struct copy copy = {0};
        struct value_builder builder;
        value_builder_init(&builder, &limits, &copy, keep_value);
        struct rdb_key key = {.key = SLICE("k"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
        struct why why;
        if (dump_read(buf_slice(&first), RDB_LIMITS_DEFAULT, &key, &builder.handler, &why))
            fail_msg("%s", why.text);
        assert_int_equal(copy.calls, 1);
        assert_int_equal(copy.value.type, value.type);
        assert_int_equal(copy.value.encoding, value.encoding);
        dump(&copy.value, &second);
        assert_true(digest_equal(digest_of(buf_slice(&first)), digest_of(buf_slice(&second))));
        value_builder_close(&builder);
        if (value.type != TYPE_STRING) {
            value_ops(value.type)->free(value.encoding, value.ptr);
            value_ops(copy.value.type)->free(copy.value.encoding, copy.value.ptr);
        }
        buf_close(&copy.bytes);
        buf_close(&first);
        buf_close(&second);
    }
    buf_close(&bytes);
}

static void test_what_old_readers_get_is_the_same_value(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct buf bytes = {0};
    for (int round = 0; round < 400; round++) {
        struct value value = random_value(&rng, &bytes);
        struct buf now = {0};
        dump(&value, &now);
        for (unsigned version = 6; version <= 10; version++) {
            struct buf old = {0}, body = {0};
            uint8_t rdb_type = value_rdb_type_for(&value, version);
            assert_true(rdb_type_version(rdb_type) <= version);
            value_put_as(&body, &value, rdb_type, round % 2 ? RDB_PACK : RDB_PLAIN);
            dump_put(&old, rdb_type, buf_slice(&body));
            assert_true(digest_equal(digest_of(buf_slice(&now)), digest_of(buf_slice(&old))));
            buf_close(&old);
            buf_close(&body);
        }
        if (value.type != TYPE_STRING) value_ops(value.type)->free(value.encoding, value.ptr);
        buf_close(&now);
    }
    buf_close(&bytes);
}

/* As XADD k 1-1 f v on redis-server 7.0.15 is dumped. */
static void test_a_stream_of_redis_goes_out_byte_for_byte(void **state) {
    (void)state;
    static const uint8_t stream[] = {
        0x13, 0x01, 0x10, 0,    0,    0,    0, 0,    0, 0,    1, 0,    0, 0,    0,
        0,    0,    0,    1,    0x1d, 0x1d, 0, 0,    0, 0x0a, 0, 0x01, 1, 0x00, 1,
        0x01, 1,    0x81, 'f',  2,    0x00, 1, 0x02, 1, 0x00, 1, 0x00, 1, 0x81, 'v',
        2,    0x04, 1,    0xff, 1,    1,    1, 1,    1, 0,    0, 1,    0};
    struct buf payload = {0};
    dump_put(&payload, stream[0], slice_from(stream + 1, sizeof stream - 1));
    struct copy copy = {0};
    struct value_builder builder;
    value_builder_init(&builder, &limits, &copy, keep_value);
    struct rdb_key key = {
        .db = 3, .key = SLICE("orders"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    struct why why;
    struct buf again = {0};
    if (dump_read(buf_slice(&payload), RDB_LIMITS_DEFAULT, &key, &builder.handler, &why))
        fail_msg("%s", why.text);
    dump(&copy.value, &again);
    assert_true(slice_equal(buf_slice(&payload), buf_slice(&again)));
    xstream_free(copy.value.ptr);
    buf_close(&again);
    value_builder_close(&builder);
    buf_close(&payload);
}

int main(void) {
    value_register(TYPE_LIST, &list_ops);
    value_register(TYPE_SET, &set_ops);
    value_register(TYPE_HASH, &hash_ops);
    value_register(TYPE_ZSET, &zset_ops);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_and_in_again_is_the_same_value_in_the_same_encoding),
        cmocka_unit_test(test_what_old_readers_get_is_the_same_value),
        cmocka_unit_test(test_a_stream_of_redis_goes_out_byte_for_byte),
    };
    return cmocka_run_group_tests_name("value_rdb", tests, NULL, NULL);
}
