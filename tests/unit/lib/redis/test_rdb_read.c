/* test_rdb_read.c -- what is written is read; what is broken is refused, and nothing of it kept. */
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/redis/crc64.h"
#include "lib/redis/dump.h"
#include "lib/redis/listpack.h"
#include "lib/redis/rdb_read.h"
#include "lib/redis/rdb_write.h"
#include "tests/support/rdb_random.h"
#include "tests/support/rdb_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct rng rng;

/* A source that gives a random number of bytes at a time, from a block of their exact size. */
struct dripping {
    struct rdb_source source;
    struct slice left;
    size_t most;
};

static enum err drip(struct rdb_source *source, void *into, size_t size, size_t *got,
                     struct why *why) {
    (void)why;
    struct dripping *d = (struct dripping *)source;
    size_t most = d->most < size ? d->most : size;
    *got = most < d->left.size ? 1 + rng_below(&rng, most) : d->left.size;
    memcpy(into, d->left.data, *got);
    d->left = slice_drop(d->left, *got);
    return OK;
}

struct sink {
    struct rdb_sink sink;
    struct buf bytes;
};

static enum err sink_write(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    (void)why;
    buf_add(&((struct sink *)sink)->bytes, bytes);
    return OK;
}

/* A payload is read again as one of DUMP would be. */
static enum err whole_to_text(void *self, const struct rdb_key *key, struct slice payload,
                              struct why *why) {
    struct rdb_text *text = self;
    struct buf dump = {0};
    struct rdb_key copy = *key;
    dump_put(&dump, key->rdb_type, payload);
    enum err err = dump_read(buf_slice(&dump), RDB_LIMITS_DEFAULT, &copy, &text->handler, why);
    buf_close(&dump);
    return err;
}

/* Read BYTES (a copy in a block of its exact size); lines into TEXT. */
static enum err read_text(struct slice bytes, struct rdb_limits limits, size_t most,
                          struct rdb_text *text, struct why *why) {
    uint8_t *exact = mem_dup(bytes.data, bytes.size);
    struct dripping source = {{drip}, slice_from(exact, bytes.size), most};
    struct rdb_handler handler = text->handler;
    handler.value_raw = whole_to_text;
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &handler);
    enum err err = rdb_reader_run(reader, why);
    if (err == OK) assert_int_equal(rdb_reader_offset(reader), bytes.size);
    rdb_reader_close(reader);
    mem_free(exact);
    return err;
}

/* A file with one key for each of COUNT kinds from FIRST, and what is to be read from it. */
static void write_random(struct sink *sink, struct rdb_text *expect, unsigned first, unsigned count,
                         unsigned scale) {
    struct rdb_writer writer;
    struct why why;
    sink->sink.write = sink_write;
    rdb_writer_open(&writer, &sink->sink, 11);
    rdb_writer_aux(&writer, SLICE("redis-ver"), SLICE("7.0.15"));
    assert_int_equal(expect->handler.aux(expect, SLICE("redis-ver"), SLICE("7.0.15"), &why), OK);
    rdb_writer_function(&writer, SLICE("#!lua name=x\n"));
    assert_int_equal(expect->handler.function(expect, SLICE("#!lua name=x\n"), &why), OK);
    for (unsigned i = 0; i < count; i++) {
        struct buf name = {0}, value = {0};
        buf_printf(&name, "key:%u", i);
        struct rdb_key key = {.db = i % 16, .key = buf_slice(&name)};
        key.expire_at_ms = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, 1ull << 45);
        key.idle_s = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, 1ull << 40);
        key.freq = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, 256);
        rdb_random_value(&rng, (first + i) % RDB_RANDOM_KINDS, scale, &key, &value,
                         &expect->handler);
        rdb_writer_select(&writer, key.db);
        if (i == 3) rdb_writer_resize(&writer, 100, 20000);
        rdb_put_key(&writer.out, &key, true);
        buf_add(&writer.out, buf_slice(&value));
        assert_int_equal(rdb_writer_push(&writer, rng_below(&rng, 10000), &why), OK);
        buf_close(&value);
        buf_close(&name);
    }
    assert_int_equal(rdb_writer_end(&writer, &why), OK);
    assert_int_equal(writer.written_bytes, buf_size(&sink->bytes));
    rdb_writer_close(&writer);
}

static void expect_text(const struct rdb_text *got, const struct rdb_text *wanted) {
    struct slice a = buf_slice(&got->all), b = buf_slice(&wanted->all);
    if (slice_equal(a, b)) return;
    size_t same = 0;
    while (same < a.size && same < b.size && a.data[same] == b.data[same]) same++;
    size_t from = same > 200 ? same - 200 : 0;
    printf("differ at %zu:\n got %.400s\nwant %.400s\n", same, (const char *)a.data + from,
           (const char *)b.data + from);
    fail();
}

static void test_what_is_written_is_read_in_any_pieces_and_whole_or_not(void **state) {
    (void)state;
    for (unsigned round = 0; round < 14; round++) {
        struct sink sink = {0};
        struct rdb_text expect, got;
        struct rdb_limits limits = RDB_LIMITS_DEFAULT;
        struct why why = {""};
        rdb_text_init(&expect);
        rdb_text_init(&got);
        write_random(&sink, &expect, round, RDB_RANDOM_KINDS, round < 12 ? 10 : 80);
        if (round % 2) limits.raw_bytes_max = UINT64_C(1) << rng_below(&rng, 22);
        size_t most = (size_t)1 << (4 + rng_below(&rng, 16));
        enum err err = read_text(buf_slice(&sink.bytes), limits, most, &got, &why);
        if (err != OK) printf("%s\n", why.text);
        assert_int_equal(err, OK);
        expect_text(&got, &expect);
        rdb_text_close(&expect);
        rdb_text_close(&got);
        buf_close(&sink.bytes);
    }
}

static void test_any_shorter_file_is_refused_and_has_only_whole_keys(void **state) {
    (void)state;
    struct sink sink = {0};
    struct rdb_text expect;
    rdb_text_init(&expect);
    write_random(&sink, &expect, 0, RDB_RANDOM_KINDS, 3);
    struct slice all = buf_slice(&sink.bytes), lines = buf_slice(&expect.all);
    for (size_t size = 0; size<all.size; size += all.size> 3000 ? 1 + size / 10 : 1) {
        struct rdb_text got;
        struct why why;
        struct rdb_limits limits = RDB_LIMITS_DEFAULT;
        if (size % 2) limits.raw_bytes_max = 1000;
        rdb_text_init(&got);
        assert_int_equal(read_text(slice_take(all, size), limits, 1000, &got, &why), ERR_CORRUPT);
        assert_non_null(strstr(why.text, "too early"));
        assert_true(slice_starts(lines, buf_slice(&got.all)));
        rdb_text_close(&got);
    }
    rdb_text_close(&expect);
    buf_close(&sink.bytes);
}

static void test_damage_is_refused_by_the_checksum_at_the_latest(void **state) {
    (void)state;
    struct sink sink = {0};
    struct rdb_text expect;
    rdb_text_init(&expect);
    write_random(&sink, &expect, 0, RDB_RANDOM_KINDS, 5);
    struct slice all = buf_slice(&sink.bytes);
    for (int round = 0; round < 200; round++) {
        uint8_t *bad = mem_dup(all.data, all.size);
        size_t at = rng_below(&rng, all.size - 8);
        bad[at] = (uint8_t)(bad[at] + 1 + rng_below(&rng, 255));
        struct rdb_text got;
        struct why why;
        struct rdb_limits limits = RDB_LIMITS_DEFAULT;
        if (round % 2) limits.raw_bytes_max = 3000;
        rdb_text_init(&got);
        assert_int_not_equal(read_text(slice_from(bad, all.size), limits, 9999, &got, &why), OK);
        rdb_text_close(&got);
        mem_free(bad);
    }
    rdb_text_close(&expect);
    buf_close(&sink.bytes);
}

/* Reads a file of one key with this value; the sentence must have WANTED in it. */
static void expect_refused(uint8_t rdb_type, struct slice value, const char *wanted) {
    struct buf dump = {0};
    struct why why = {""};
    dump_put(&dump, RDB_STRING, value); /* any known type; the right one follows */
    dump.data[dump.start] = rdb_type;
    size_t summed = buf_size(&dump) - 8;
    uint64_t sum = crc64_add(0, slice_take(buf_slice(&dump), summed));
    memcpy(dump.data + dump.start + summed, &sum, 8);
    assert_int_equal(dump_check(buf_slice(&dump), RDB_LIMITS_DEFAULT, &why), ERR_CORRUPT);
    if (!strstr(why.text, wanted)) printf("got: %s\nwant: %s\n", why.text, wanted);
    assert_non_null(strstr(why.text, wanted));
    buf_close(&dump);
}

#define V(literal) SLICE(literal)

static void test_what_redis_could_never_write_is_refused(void **state) {
    (void)state;
    expect_refused(RDB_SET, V("\x02\x01x\x01x"), "element twice");
    expect_refused(RDB_SET,
                   V("\x02\x01"
                     "5\xc0\x05"),
                   "element twice");
    expect_refused(RDB_HASH, V("\x02\x01x\x01y\x01x\x01z"), "element twice");
    expect_refused(RDB_SET, V("\x00"), "no elements");
    expect_refused(RDB_ZSET_2, V("\x01\x01m\x00\x00\x00\x00\x00\x00\xf8\x7f"), "not a number");
    expect_refused(RDB_ZSET, V("\x01\x01m\xfd"), "not a number");
    expect_refused(RDB_ZSET,
                   V("\x01\x01m\x03"
                     "1x2"),
                   "not a number");
    expect_refused(RDB_ZSET, V("\x01\x01m\x03nan"), "not a number");
    expect_refused(RDB_STRING,
                   V("\xc3\x02\x05"
                     "ab"),
                   "LZF");
    expect_refused(RDB_STRING,
                   V("\xc3\x01\x80\x1f\xff\xff\xff"
                     "a"),
                   "LZF");
    expect_refused(RDB_STRING, V("\xc4"), "does not begin a string");
    expect_refused(RDB_STRING, V("\x82"), "does not begin a length");
    expect_refused(RDB_STRING,
                   V("\x05"
                     "abc"),
                   "too early");
    expect_refused(RDB_STRING,
                   V("\x01"
                     "abc"),
                   "left over");
    expect_refused(RDB_LIST, V("\xc0\x01"), "where a length must be");
    expect_refused(RDB_LIST_QUICKLIST_2, V("\x01\x03\x01x"), "unknown kind");
    expect_refused(RDB_SET_INTSET, V("\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00"),
                   "broken");
    expect_refused(RDB_MODULE_2, V("\x00"), "not known");
    expect_refused(99, V("\x00"), "not known");
}

static void lp_of(struct buf *value, const char *const *texts, size_t count) {
    uint8_t *lp = lp_new(0);
    for (size_t i = 0; i < count; i++) lp_append(&lp, slice_text(texts[i]));
    rdb_put_string(value, lp_slice(lp), false);
    mem_free(lp);
}

#define LP_REFUSED(type, wanted, ...)                                                              \
    do {                                                                                           \
        const char *texts_[] = {__VA_ARGS__};                                                      \
        struct buf value_ = {0};                                                                   \
        lp_of(&value_, texts_, sizeof texts_ / sizeof *texts_);                                    \
        expect_refused(type, buf_slice(&value_), wanted);                                          \
        buf_close(&value_);                                                                        \
    } while (0)

static void test_listpacks_that_are_no_hash_or_zset_are_refused(void **state) {
    (void)state;
    LP_REFUSED(RDB_HASH_LISTPACK, "half a pair", "f", "v", "g");
    LP_REFUSED(RDB_HASH_LISTPACK, "element twice", "f", "v", "f", "w");
    LP_REFUSED(RDB_SET_LISTPACK, "element twice", "a", "7", "7");
    LP_REFUSED(RDB_ZSET_LISTPACK, "no number", "a", "1", "b", "x");
    LP_REFUSED(RDB_ZSET_LISTPACK, "no number", "a", "1", "b", "nan");
    LP_REFUSED(RDB_ZSET_LISTPACK, "order", "a", "2", "b", "1.5");
    LP_REFUSED(RDB_ZSET_LISTPACK, "order", "b", "1", "a", "1");
}

/* A stream of two entries in one node and one group, from parts that can be made wrong. */
struct stream_parts {
    const char *node[16];
    struct rdb_stream stream;
    uint64_t pending[4], owned[2][4]; /* sequence numbers, 0 ends */
    const char *consumers[2];
};

static void stream_put(const struct stream_parts *p, struct buf *value) {
    uint8_t *lp = lp_new(0);
    for (size_t i = 0; i < 16 && p->node[i]; i++) lp_append(&lp, slice_text(p->node[i]));
    rdb_put_length(value, 1);
    rdb_put_stream_node(value, (struct stream_id){1, 1}, lp_slice(lp), false);
    mem_free(lp);
    rdb_put_stream(value, &p->stream, RDB_STREAM_2);
    rdb_put_length(value, 1);
    rdb_put_group(value, &(struct rdb_group){.name = SLICE("g")}, RDB_STREAM_2);
    size_t count = 0;
    while (count < 4 && p->pending[count]) count++;
    rdb_put_length(value, count);
    for (size_t i = 0; i < count; i++)
        rdb_put_pending(value, &(struct rdb_pending){.id = {1, p->pending[i]}});
    rdb_put_length(value, 2);
    for (size_t c = 0; c < 2; c++) {
        rdb_put_consumer(value, &(struct rdb_consumer){.name = slice_text(p->consumers[c])},
                         RDB_STREAM_2);
        for (count = 0; count < 4 && p->owned[c][count]; count++) {
        }
        rdb_put_length(value, count);
        for (size_t i = 0; i < count; i++)
            rdb_put_stream_id(value, (struct stream_id){1, p->owned[c][i]});
    }
}

static void expect_stream(const struct stream_parts *parts, const char *refused) {
    struct buf value = {0}, dump = {0};
    struct why why = {""};
    stream_put(parts, &value);
    dump_put(&dump, RDB_STREAM_2, buf_slice(&value));
    if (refused) {
        expect_refused(RDB_STREAM_2, buf_slice(&value), refused);
    } else {
        enum err err = dump_check(buf_slice(&dump), RDB_LIMITS_DEFAULT, &why);
        if (err != OK) printf("%s\n", why.text);
        assert_int_equal(err, OK);
    }
    buf_close(&value);
    buf_close(&dump);
}

static void test_streams_that_contradict_themselves_are_refused(void **state) {
    (void)state;
    static const struct stream_parts good = {
        .node = {"2", "0", "1", "f", "0", "2", "0", "0", "v", "4", "2", "0", "1", "w", "4"},
        .stream = {.length = 2, .last_id = {1, 2}, .first_id = {1, 1}, .entries_added = 2},
        .pending = {1, 2},
        .owned = {{1}, {2}},
        .consumers = {"a", "b"}};
    struct stream_parts bad;
    expect_stream(&good, NULL);
    bad = good, bad.node[12] = "0", expect_stream(&bad, "ascend");
    bad = good, bad.node[0] = "3", expect_stream(&bad, "number of entries");
    bad = good, bad.node[9] = "5", expect_stream(&bad, "broken entry");
    bad = good, bad.node[2] = "99", expect_stream(&bad, "broken head");
    bad = good, bad.node[5] = "4", expect_stream(&bad, "broken entry");
    bad = good, bad.node[5] = "x", expect_stream(&bad, "broken entry");
    bad = good, bad.node[14] = NULL, expect_stream(&bad, "broken entry");
    bad = good, bad.stream.length = 3, expect_stream(&bad, "says that it has 3");
    bad = good, bad.stream.last_id.seq = 1, expect_stream(&bad, "behind its last id");
    bad = good, bad.stream.max_deleted_id.seq = 9, bad.stream.max_deleted_id.ms = 1;
    expect_stream(&bad, NULL); /* after XSETID */
    bad = good, bad.stream.entries_added = 1, expect_stream(&bad, "were added");
    bad = good, bad.pending[1] = 1, expect_stream(&bad, "do not ascend");
    bad = good, bad.owned[1][0] = 1, expect_stream(&bad, "not its own");
    bad = good, bad.owned[1][0] = 3, expect_stream(&bad, "not its own");
    bad = good, bad.owned[1][0] = 0, expect_stream(&bad, "without a consumer");
    bad = good, bad.consumers[1] = "a", expect_stream(&bad, "consumer twice");
}

/* ---- limits, resuming, blobs */

static void noise(struct buf *text, size_t size) {
    buf_clear(text);
    while (buf_size(text) < size) {
        uint64_t word = rng_next(&rng);
        buf_append(text, &word, 8);
    }
}

/* Three keys of strings that the reader's buffer cannot hold. */
static void write_large(struct sink *sink, struct rdb_text *expect) {
    struct rdb_writer writer;
    struct why why;
    struct buf text = {0}, field = {0};
    static const uint8_t types[] = {RDB_STRING, RDB_LIST, RDB_HASH};
    const struct rdb_handler *e = &expect->handler;
    sink->sink.write = sink_write;
    rdb_writer_open(&writer, &sink->sink, 10);
    for (unsigned i = 0; i < 3; i++) {
        struct rdb_key key = {.key = SLICE("k"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
        key.rdb_type = types[i];
        assert_true(rdb_type_value(types[i], &key.type));
        rdb_put_key(&writer.out, &key, false);
        unsigned count = i == 0 ? 1 : 5;
        if (i > 0) rdb_put_length(&writer.out, count);
        assert_int_equal(e->key_begin(e->self, &key, count, &why), OK);
        for (unsigned n = 0; n < count; n++) {
            noise(&field, 200000);
            noise(&text, i == 0 ? 2500000 : (size_t)100000 << rng_below(&rng, 3));
            if (i == 2) rdb_put_string(&writer.out, buf_slice(&field), false);
            rdb_put_string(&writer.out, buf_slice(&text), n % 2);
            struct slice one = buf_slice(&field), two = buf_slice(&text);
            assert_int_equal(i == 2 ? e->hash_field(e->self, one, two, &why)
                                    : e->string(e->self, two, &why),
                             OK);
        }
        assert_int_equal(e->key_end(e->self, &key, &why), OK);
    }
    assert_int_equal(rdb_writer_end(&writer, &why), OK);
    rdb_writer_close(&writer);
    buf_close(&text);
    buf_close(&field);
}

static void test_strings_larger_than_the_buffer_are_read_whole_and_in_pieces(void **state) {
    (void)state;
    struct sink sink = {0};
    struct rdb_text expect;
    rdb_text_init(&expect);
    write_large(&sink, &expect);
    static const uint64_t raw[] = {0, 1000, 600000, 3000000, 1 << 26};
    for (size_t i = 0; i < 5; i++) {
        struct rdb_text got;
        struct why why;
        struct rdb_limits limits = RDB_LIMITS_DEFAULT;
        limits.raw_bytes_max = raw[i];
        rdb_text_init(&got);
        size_t most = (size_t)5000 << rng_below(&rng, 8);
        assert_int_equal(read_text(buf_slice(&sink.bytes), limits, most, &got, &why), OK);
        expect_text(&got, &expect);
        rdb_text_close(&got);
    }
    rdb_text_close(&expect);
    buf_close(&sink.bytes);
}

static void test_a_string_over_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.value_bytes_max = 1000;
    struct rdb_text text;
    struct why why;
    rdb_text_init(&text);
    static const char file[] = "REDIS0010\x00\x01k\x80\x00\x00\x03\xe9";
    assert_int_equal(read_text(slice_from(file, sizeof file - 1), limits, 7, &text, &why),
                     ERR_LIMIT);
    assert_non_null(strstr(why.text, "1001"));
    assert_non_null(strstr(why.text, "key \"k\" from byte 9"));
    static const char huge[] = "REDIS0010\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert_int_equal(
        read_text(slice_from(huge, sizeof huge - 1), RDB_LIMITS_DEFAULT, 7, &text, &why),
        ERR_LIMIT);
    static const char claims[] = "REDIS0010\x00\x01k\x80\x1f\xff\xff\xff"
                                 "abc";
    assert_int_equal(
        read_text(slice_from(claims, sizeof claims - 1), RDB_LIMITS_DEFAULT, 7, &text, &why),
        ERR_CORRUPT);
    rdb_text_close(&text);
}

static void test_headers_and_opcodes_that_are_not_known_are_named(void **state) {
    (void)state;
    static const struct {
        const char *file;
        size_t size;
        const char *wanted;
    } cases[] = {
#define CASE(bytes, text) {bytes, sizeof bytes - 1, text}
        CASE("REDIS0012\xff", "RDB version 12"),
        CASE("REDIS0000\xff", "RDB version 0"),
        CASE("REDIS00x1\xff", "no number"),
        CASE("VALKEY080\xff", "Valkey 9"),
        CASE("hello world", "not an RDB"),
        CASE("REDIS0010\xf6", "before Redis 7.0"),
        CASE("REDIS0011\x18\x01k", "24 is no opcode"),
        CASE("REDIS0009\x07\x01k\x81\x00\x00\x00\x00\x00\x00\x00\x00", "module type AAAAAAAAA"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rdb_text text;
        struct why why;
        rdb_text_init(&text);
        assert_int_equal(read_text(slice_from(cases[i].file, cases[i].size), RDB_LIMITS_DEFAULT,
                                   100, &text, &why),
                         ERR_CORRUPT);
        if (!strstr(why.text, cases[i].wanted)) printf("%s\n", why.text);
        assert_non_null(strstr(why.text, cases[i].wanted));
        rdb_text_close(&text);
    }
}

static void test_any_allocation_may_fail(void **state) {
    (void)state;
    struct sink sink = {0};
    struct rdb_text expect;
    rdb_text_init(&expect);
    write_random(&sink, &expect, 0, RDB_RANDOM_KINDS, 6);
    unsigned fired = 0, refused = 0;
    for (uint64_t n = 1;; n++) {
        struct rdb_text got;
        struct why why;
        rdb_text_init(&got);
        fault_arm(FAULT_MEMORY, n);
        enum err err = read_text(buf_slice(&sink.bytes), RDB_LIMITS_DEFAULT, 5000, &got, &why);
        bool hit = fault_fired(FAULT_MEMORY);
        fault_arm(FAULT_MEMORY, 0);
        assert_true(err == OK || (hit && err == ERR_NOMEM));
        assert_true(slice_starts(buf_slice(&expect.all), buf_slice(&got.all)));
        if (err == OK) expect_text(&got, &expect); /* only a table of twins could not grow */
        rdb_text_close(&got);
        if (!hit) break;
        fired++;
        refused += err != OK;
    }
    assert_true(fired > 5 && refused > 3);
    rdb_text_close(&expect);
    buf_close(&sink.bytes);
}

static enum err note_end(void *self, bool verified, struct why *why) {
    (void)why;
    *(int *)self = verified ? 1 : 0;
    return OK;
}

static void test_files_without_checksum_and_with_slot_info_load(void **state) {
    (void)state;
    static const struct {
        const char *file;
        size_t size;
        int verified; /* 2: refused */
    } cases[] = {
#define CASE(bytes, verified) {bytes, sizeof bytes - 1, verified}
        CASE("REDIS0011\xf4\x05\x01\x00\xff\0\0\0\0\0\0\0\0", 0),
        CASE("REDIS0004\xff", 0),
        CASE("REDIS0004\xff and what follows", 0),
        CASE("REDIS0006\xff\xdc\xb3\x43\xf0\x5a\xdc\xf2\x56", 1),
        CASE("REDIS0006\xff\xdc\xb3\x43\xf0\x5a\xdc\xf2\x57", 2),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int verified = 2;
        struct why why;
        struct rdb_source_memory source;
        const struct rdb_handler handler = {.self = &verified, .end = note_end};
        rdb_source_memory_init(&source, slice_from(cases[i].file, cases[i].size));
        struct rdb_reader *reader = rdb_reader_open(&source.source, RDB_LIMITS_DEFAULT, &handler);
        assert_int_equal(rdb_reader_run(reader, &why) == OK, cases[i].verified < 2);
        assert_int_equal(verified, cases[i].verified);
        if (i == 2) assert_true(slice_equal(rdb_reader_rest(reader), SLICE(" and what follows")));
        rdb_reader_close(reader);
    }
}

struct resume {
    uint64_t end[RDB_RANDOM_KINDS];
    uint32_t db[RDB_RANDOM_KINDS];
    size_t lines_bytes[RDB_RANDOM_KINDS];
    unsigned count;
};

static struct resume *remembering;
static enum err (*text_key_end)(void *self, const struct rdb_key *key, struct why *why);

static enum err remember_end(void *self, const struct rdb_key *key, struct why *why) {
    enum err err = text_key_end(self, key, why);
    struct resume *r = remembering;
    r->end[r->count] = key->end_offset;
    r->db[r->count] = key->db;
    r->lines_bytes[r->count++] = buf_size(&((struct rdb_text *)self)->all);
    return err;
}

static void test_reading_goes_on_behind_any_key(void **state) {
    (void)state;
    struct sink sink = {0};
    struct rdb_text expect, first;
    struct resume resume = {0};
    struct why why;
    rdb_text_init(&expect);
    rdb_text_init(&first);
    write_random(&sink, &expect, 0, RDB_RANDOM_KINDS, 8);
    remembering = &resume;
    text_key_end = first.handler.key_end;
    first.handler.key_end = remember_end;
    assert_int_equal(read_text(buf_slice(&sink.bytes), RDB_LIMITS_DEFAULT, 5000, &first, &why), OK);
    assert_int_equal(resume.count, RDB_RANDOM_KINDS);
    struct slice lines = buf_slice(&first.all);
    for (unsigned i = 0; i < resume.count; i++) {
        struct rdb_text rest;
        struct rdb_source_memory source;
        rdb_text_init(&rest);
        rdb_source_memory_init(&source, slice_drop(buf_slice(&sink.bytes), resume.end[i]));
        struct rdb_reader *reader =
            rdb_reader_open(&source.source, RDB_LIMITS_DEFAULT, &rest.handler);
        rdb_reader_resume(reader, (struct rdb_position){resume.end[i], resume.db[i], 11});
        assert_int_equal(rdb_reader_run(reader, &why), OK);
        assert_int_equal(rdb_reader_offset(reader), buf_size(&sink.bytes));
        rdb_reader_close(reader);
        assert_true(slice_equal(buf_slice(&rest.all), slice_drop(lines, resume.lines_bytes[i])));
        rdb_text_close(&rest);
    }
    rdb_text_close(&expect);
    rdb_text_close(&first);
    buf_close(&sink.bytes);
}

static enum err count_blob(void *self, enum rdb_blob kind, struct slice bytes, struct why *why) {
    (void)why;
    unsigned *blobs = self;
    if (kind == RDB_BLOB_HASH_LISTPACK) assert_true(lp_validate(bytes, NULL));
    blobs[kind]++;
    return OK;
}

static void test_blobs_come_as_they_are(void **state) {
    (void)state;
    struct rdb_key key = {.expire_at_ms = -1};
    struct why why;
    unsigned blobs[5] = {0};
    const struct rdb_handler handler = {.self = blobs, .blob = count_blob};
    struct buf value = {0}, dump = {0};
    const char *texts[] = {"a", "1", "b", "2"};
    lp_of(&value, texts, 4);
    dump_put(&dump, RDB_HASH_LISTPACK, buf_slice(&value));
    assert_int_equal(dump_read(buf_slice(&dump), RDB_LIMITS_DEFAULT, &key, &handler, &why), OK);
    assert_int_equal(blobs[RDB_BLOB_HASH_LISTPACK], 1);
    assert_int_equal(key.type, VALUE_HASH);
    buf_close(&value);
    buf_close(&dump);
}

static int seed(void **state) {
    (void)state;
    uint64_t value = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)value);
    rng = rng_from(value);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_in_any_pieces_and_whole_or_not),
        cmocka_unit_test(test_any_shorter_file_is_refused_and_has_only_whole_keys),
        cmocka_unit_test(test_damage_is_refused_by_the_checksum_at_the_latest),
        cmocka_unit_test(test_what_redis_could_never_write_is_refused),
        cmocka_unit_test(test_listpacks_that_are_no_hash_or_zset_are_refused),
        cmocka_unit_test(test_streams_that_contradict_themselves_are_refused),
        cmocka_unit_test(test_strings_larger_than_the_buffer_are_read_whole_and_in_pieces),
        cmocka_unit_test(test_a_string_over_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(test_headers_and_opcodes_that_are_not_known_are_named),
        cmocka_unit_test(test_any_allocation_may_fail),
        cmocka_unit_test(test_files_without_checksum_and_with_slot_info_load),
        cmocka_unit_test(test_reading_goes_on_behind_any_key),
        cmocka_unit_test(test_blobs_come_as_they_are),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
