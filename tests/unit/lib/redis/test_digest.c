/* test_digest.c -- C31: what counts changes a digest, and what does not count does not. */
#include "lib/base/mem.h"
#include "lib/redis/digest.h"
#include "lib/redis/dump.h"
#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"
#include "lib/redis/rdb_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct digest last;
static uint32_t last_slot;

static enum err keep(void *self, const struct digest_key *key, struct why *why) {
    (void)self, (void)why;
    last = key->digest;
    last_slot = key->slot;
    return OK;
}

static uint32_t slot_is_size(struct slice key) {
    return (uint32_t)key.size;
}

static enum digest_streams streams; /* what counts of them in the current test */

/* The digest of a serialised value, under a key with these properties. */
static struct digest of_key(struct rdb_key key, uint8_t rdb_type, struct slice value) {
    struct digester *digester = digester_new(keep, NULL, slot_is_size);
    digester_streams(digester, streams);
    struct buf dump = {0};
    struct why why = {""};
    dump_put(&dump, rdb_type, value);
    enum err err =
        dump_read(buf_slice(&dump), RDB_LIMITS_DEFAULT, &key, digester_handler(digester), &why);
    if (err != OK) printf("%s\n", why.text);
    assert_int_equal(err, OK);
    buf_close(&dump);
    digester_free(digester);
    return last;
}

static struct rdb_key plain_key(void) {
    return (struct rdb_key){.key = SLICE("key"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
}

static struct digest of(uint8_t rdb_type, struct slice value) {
    return of_key(plain_key(), rdb_type, value);
}

/* Texts as a listpack, or counted (as pairs if PAIRED). */
static struct digest of_texts(uint8_t rdb_type, bool paired, const char *const *texts,
                              size_t count) {
    struct buf value = {0};
    bool flat = rdb_type >= RDB_HASH_LISTPACK;
    uint8_t *lp = lp_new(0);
    if (!flat) rdb_put_length(&value, paired ? count / 2 : count);
    for (size_t i = 0; i < count; i++) {
        if (flat)
            lp_append(&lp, slice_text(texts[i]));
        else if (rdb_type == RDB_ZSET_2 && i % 2)
            rdb_put_double(&value, strtod(texts[i], NULL));
        else
            rdb_put_string(&value, slice_text(texts[i]), false);
    }
    if (rdb_type == RDB_LIST_QUICKLIST_2) rdb_put_length(&value, 1), rdb_put_length(&value, 2);
    if (flat) rdb_put_string(&value, lp_slice(lp), false);
    struct digest digest = of(rdb_type, buf_slice(&value));
    mem_free(lp);
    buf_close(&value);
    return digest;
}

#define OF(type, paired, ...)                                                                      \
    of_texts(type, paired, (const char *const[]){__VA_ARGS__},                                     \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void equal(struct digest a, struct digest b) {
    assert_true(digest_equal(a, b));
}

static void differ(struct digest a, struct digest b) {
    assert_false(digest_equal(a, b));
}

static void test_encodings_and_order_of_sets_do_not_count(void **state) {
    (void)state;
    uint8_t *numbers = intset_new();
    struct buf value = {0};
    intset_add(&numbers, 7), intset_add(&numbers, -30000);
    rdb_put_string(&value, intset_slice(numbers), false);
    struct digest set = OF(RDB_SET, false, "7", "-30000");
    equal(set, OF(RDB_SET, false, "-30000", "7"));
    equal(set, OF(RDB_SET_LISTPACK, false, "7", "-30000"));
    equal(set, of(RDB_SET_INTSET, buf_slice(&value)));
    differ(set, OF(RDB_SET, false, "7", "-30001"));
    differ(set, OF(RDB_SET, false, "7"));
    differ(set, OF(RDB_LIST, false, "7", "-30000"));
    mem_free(numbers);
    buf_close(&value);

    struct digest hash = OF(RDB_HASH, true, "a", "1", "b", "2");
    equal(hash, OF(RDB_HASH_LISTPACK, true, "b", "2", "a", "1"));
    differ(hash, OF(RDB_HASH, true, "a", "2", "b", "1"));
    differ(hash, OF(RDB_HASH, true, "1", "a", "b", "2"));

    struct digest zset = OF(RDB_ZSET_2, true, "a", "0.5", "b", "3");
    equal(zset, OF(RDB_ZSET_2, true, "b", "3", "a", "0.5"));
    equal(zset, OF(RDB_ZSET_LISTPACK, true, "a", "0.5", "b", "3"));
    differ(zset, OF(RDB_ZSET_2, true, "a", "0.50000000000000011", "b", "3"));
    equal(OF(RDB_ZSET_2, true, "a", "-0"), OF(RDB_ZSET_2, true, "a", "0"));
}

static void test_order_of_lists_counts_and_borders_of_nodes_do_not(void **state) {
    (void)state;
    struct digest list = OF(RDB_LIST, false, "a", "b", "5");
    equal(list, OF(RDB_LIST_QUICKLIST_2, false, "a", "b", "5"));
    differ(list, OF(RDB_LIST, false, "b", "a", "5"));
    differ(list, OF(RDB_LIST, false, "ab", "5"));
    differ(OF(RDB_LIST, false, "a", ""), OF(RDB_LIST, false, "a"));
}

static void test_name_database_type_and_expiry_count(void **state) {
    (void)state;
    struct slice value = SLICE("\x03"
                               "abc");
    struct digest digest = of(RDB_STRING, value);
    struct rdb_key key = plain_key();
    assert_int_equal(last_slot, 3);
    key.db = 1;
    differ(digest, of_key(key, RDB_STRING, value));
    key = plain_key(), key.expire_at_ms = 0;
    differ(digest, of_key(key, RDB_STRING, value));
    key = plain_key(), key.key = SLICE("kez");
    differ(digest, of_key(key, RDB_STRING, value));
    key = plain_key(), key.idle_s = 5, key.freq = 9;
    equal(digest, of_key(key, RDB_STRING, value));
    differ(digest, OF(RDB_SET, false, "abc"));
}

/* Two keys that differ in the expiry alone are told from two that differ in more. */
static void test_the_part_of_the_expiry_can_be_taken_out(void **state) {
    (void)state;
    struct slice value = SLICE("\x03"
                               "abc"), other = SLICE("\x03"
                                                     "abd");
    struct rdb_key early = plain_key(), late = plain_key();
    early.expire_at_ms = 1000;
    late.expire_at_ms = 1001;
    struct digest a = of_key(early, RDB_STRING, value), b = of_key(late, RDB_STRING, value), c = of_key(late, RDB_STRING, other);
    differ(a, b);
    digest_take(&a, digest_of_expiry(0, early.key, 1000));
    digest_take(&b, digest_of_expiry(0, late.key, 1001));
    digest_take(&c, digest_of_expiry(0, late.key, 1001));
    equal(a, b);
    differ(a, c);
    equal(a, of(RDB_STRING, value));
    equal(digest_of_expiry(0, early.key, -1), (struct digest){0});
    differ(digest_of_expiry(0, early.key, 1000), digest_of_expiry(1, early.key, 1000));
}

struct stream_parts {
    const char *value;
    struct rdb_stream stream;
    struct rdb_group group;
    struct rdb_pending pending;
    struct rdb_consumer consumers[2];
    unsigned owner;
};

static struct digest of_stream(struct stream_parts p, uint8_t type) {
    struct buf value = {0};
    uint8_t *lp = lp_new(0);
    const char *const texts[] = {"1", "0", "1", "f", "0", "2", "0", "0", p.value, "4"};
    for (size_t i = 0; i < 10; i++) lp_append(&lp, slice_text(texts[i]));
    rdb_put_length(&value, 1);
    rdb_put_stream_node(&value, (struct stream_id){1, 1}, lp_slice(lp), false);
    rdb_put_stream(&value, &p.stream, type);
    rdb_put_length(&value, 1);
    rdb_put_group(&value, &p.group, type);
    rdb_put_length(&value, 1);
    rdb_put_pending(&value, &p.pending);
    rdb_put_length(&value, 2);
    for (unsigned c = 0; c < 2; c++) {
        rdb_put_consumer(&value, &p.consumers[c], type);
        rdb_put_length(&value, p.owner == c);
        if (p.owner == c) rdb_put_stream_id(&value, p.pending.id);
    }
    struct digest digest = of(type, buf_slice(&value));
    mem_free(lp);
    buf_close(&value);
    return digest;
}

static void test_of_streams_all_counts_but_times_and_counts_of_delivery(void **state) {
    (void)state;
    const struct stream_parts good = {
        .value = "v",
        .stream = {.length = 1, .last_id = {9, 9}, .first_id = {1, 1}, .entries_added = 4},
        .group = {.name = SLICE("g"), .last_id = {1, 1}, .entries_read = 1},
        .pending = {.id = {1, 1}, .delivered_ms = 5, .deliveries = 6},
        .consumers = {{.name = SLICE("a"), .seen_ms = 7}, {.name = SLICE("b"), .seen_ms = 8}}};
    struct digest digest = of_stream(good, RDB_STREAM_2);
    struct stream_parts p = good;
    p.pending.delivered_ms = 50, p.pending.deliveries = 60, p.consumers[0].seen_ms = 70;
    p.consumers[1].active_ms = -1, p.stream.first_id.seq = 2;
    equal(digest, of_stream(p, RDB_STREAM_3));
    p = good, p.value = "w", differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.stream.last_id.seq = 8, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.stream.max_deleted_id.ms = 1, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.stream.entries_added = 5, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.group.name = SLICE("h"), differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.group.last_id.ms = 2, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.group.entries_read = -1, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.pending.id.seq = 5, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.owner = 1, differ(digest, of_stream(p, RDB_STREAM_2));
    p = good, p.consumers[1].name = SLICE("c"), differ(digest, of_stream(p, RDB_STREAM_2));
}

static void test_of_streams_less_counts_where_nobody_tells_it(void **state) {
    (void)state;
    const struct stream_parts good = {
        .value = "v",
        .stream = {.length = 1, .last_id = {9, 9}, .first_id = {1, 1}, .entries_added = 4},
        .group = {.name = SLICE("g"), .last_id = {1, 1}, .entries_read = 1},
        .pending = {.id = {1, 1}, .delivered_ms = 5, .deliveries = 6},
        .consumers = {{.name = SLICE("a"), .seen_ms = 7}, {.name = SLICE("b"), .seen_ms = 8}}};
    for (streams = DIGEST_STREAM_CARRIED; streams <= DIGEST_STREAM_OLD; streams++) {
        struct digest digest = of_stream(good, RDB_STREAM_2);
        struct stream_parts p = good;
        p.group.entries_read = -1, equal(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.consumers[1].name = SLICE("c"), equal(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.consumers[0].name = SLICE("c"), differ(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.owner = 1, differ(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.group.last_id.ms = 2, differ(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.value = "w", differ(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.stream.last_id.seq = 8, differ(digest, of_stream(p, RDB_STREAM_2));
        p = good, p.stream.max_deleted_id.ms = 1;
        bool counts = !digest_equal(digest, of_stream(p, RDB_STREAM_2));
        assert_int_equal(counts, streams == DIGEST_STREAM_CARRIED);
        p = good, p.stream.entries_added = 5;
        counts = !digest_equal(digest, of_stream(p, RDB_STREAM_2));
        assert_int_equal(counts, streams == DIGEST_STREAM_CARRIED);
        if (streams == DIGEST_STREAM_OLD) equal(digest, of_stream(good, RDB_STREAM));
    }
    streams = DIGEST_STREAM_WHOLE;
}

static void test_a_sum_can_be_kept_up_to_date(void **state) {
    (void)state;
    struct digest a = {UINT64_MAX, 5}, b = {3, UINT64_MAX}, sum = {0};
    digest_add(&sum, a);
    digest_add(&sum, b);
    assert_true(sum.low == 2 && sum.high == 5);
    digest_take(&sum, a);
    equal(sum, b);
    char text[DIGEST_TEXT_SIZE];
    digest_write(b, text);
    assert_string_equal(text, "ffffffffffffffff0000000000000003");
}

/* As an audit in the lanes reads a large one. */
static void test_a_string_in_parts_has_the_digest_of_the_whole(void **state) {
    (void)state;
    static const char text[] = "a string that is longer than eight bytes, and has several parts";
    struct buf value = {0};
    struct why why;
    rdb_put_string(&value, slice_text(text), false);
    struct digest whole = of(RDB_STRING, buf_slice(&value));
    for (size_t part = 1; part < sizeof text; part += 7) {
        struct digester *digester = digester_new(keep, NULL, slot_is_size);
        const struct rdb_handler *h = digester_handler(digester);
        struct rdb_key key = plain_key();
        key.type = VALUE_STRING;
        assert_int_equal(h->key_begin(h->self, &key, 0, &why), OK);
        for (size_t at = 0; at < strlen(text); at += part) {
            size_t left = strlen(text) - at;
            digester_string_part(digester, slice_from(text + at, left < part ? left : part));
        }
        assert_int_equal(h->key_end(h->self, &key, &why), OK);
        assert_true(digest_equal(last, whole));
        assert_int_equal(h->key_begin(h->self, &key, 0, &why), OK); /* and the next one as ever */
        assert_int_equal(h->string(h->self, slice_text(text), &why), OK);
        assert_int_equal(h->key_end(h->self, &key, &why), OK);
        assert_true(digest_equal(last, whole));
        digester_free(digester);
    }
    buf_close(&value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_string_in_parts_has_the_digest_of_the_whole),
        cmocka_unit_test(test_encodings_and_order_of_sets_do_not_count),
        cmocka_unit_test(test_order_of_lists_counts_and_borders_of_nodes_do_not),
        cmocka_unit_test(test_name_database_type_and_expiry_count),
        cmocka_unit_test(test_the_part_of_the_expiry_can_be_taken_out),
        cmocka_unit_test(test_of_streams_all_counts_but_times_and_counts_of_delivery),
        cmocka_unit_test(test_of_streams_less_counts_where_nobody_tells_it),
        cmocka_unit_test(test_a_sum_can_be_kept_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
