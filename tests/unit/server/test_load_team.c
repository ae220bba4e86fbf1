/* test_load_team.c -- a file that is read in pieces by several threads gives the same keys, in the
 * same order, and the same words about what is wrong with it, as one reader that reads it from the
 * front to the end. */
#include "server/load_team.h"

#include "lib/base/mem.h"
#include "lib/redis/rdb_skim.h"
#include "lib/redis/rdb_write.h"
#include "server/hash.h"
#include "server/list.h"
#include "server/set.h"
#include "server/value_rdb.h"
#include "server/xstream.h"
#include "server/zset.h"
#include "tests/support/rdb_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const struct type_limits types = TYPE_LIMITS_DEFAULT;
static struct rng rng;

struct sink {
    struct rdb_sink sink;
    struct buf bytes;
};

static enum err sink_write(struct rdb_sink *sink, struct slice bytes, struct why *why) {
    (void)why;
    buf_add(&((struct sink *)(void *)sink)->bytes, bytes);
    return OK;
}

static void put_key(struct rdb_writer *writer, unsigned number, unsigned kind, unsigned scale) {
    static const struct rdb_handler nobody;
    struct buf name = {0}, value = {0};
    struct why why;
    buf_printf(&name, "key:%u", number);
    struct rdb_key key = {
        .db = number / 200 % 16, .key = buf_slice(&name), .idle_s = -1, .freq = -1};
    key.expire_at_ms = rng_below(&rng, 2) ? -1 : (int64_t)rng_below(&rng, UINT64_C(1) << 45);
    rdb_random_value(&rng, kind, scale, &key, &value, &nobody);
    rdb_writer_select(writer, key.db);
    if (number % 300 == 3) rdb_writer_resize(writer, 100, 20000);
    rdb_put_key(&writer->out, &key, true);
    buf_add(&writer->out, buf_slice(&value));
    assert_int_equal(rdb_writer_push(writer, 10000, &why), OK);
    buf_close(&value);
    buf_close(&name);
}

/* More bytes of one key than the team keeps in memory. */
static void put_big(struct rdb_writer *writer, bool is_string) {
    struct rdb_key key = {.key = SLICE("big"), .expire_at_ms = -1, .idle_s = -1, .freq = -1};
    size_t size = LOAD_KEY_BYTES_MAX + (size_t)rng_below(&rng, 1 << 18);
    struct buf text = {0};
    uint8_t *room = buf_room(&text, size);
    for (size_t i = 0; i < size; i++) room[i] = (uint8_t)(i * 2654435761u >> 13);
    buf_filled(&text, size);
    key.rdb_type = is_string ? RDB_STRING : RDB_LIST;
    rdb_put_key(&writer->out, &key, false);
    if (is_string) {
        rdb_put_string(&writer->out, buf_slice(&text), false);
    } else {
        rdb_put_length(&writer->out, size / 1000);
        for (size_t i = 0; i < size / 1000; i++)
            rdb_put_string(&writer->out, slice_take(slice_drop(buf_slice(&text), i * 1000), 1000),
                           false);
    }
    buf_close(&text);
}

static void write_file(struct sink *sink, unsigned keys, unsigned scale, bool with_big) {
    struct rdb_writer writer;
    struct why why;
    sink->sink.write = sink_write;
    rdb_writer_open(&writer, &sink->sink, 11);
    rdb_writer_aux(&writer, SLICE("redis-ver"), SLICE("7.0.15"));
    for (unsigned i = 0; i < keys; i++) {
        put_key(&writer, i, i % RDB_RANDOM_KINDS, scale);
        if (with_big && i == keys / 2) put_big(&writer, true);
        if (with_big && i == keys / 3) put_big(&writer, false);
    }
    assert_int_equal(rdb_writer_end(&writer, &why), OK);
    rdb_writer_close(&writer);
}

/* ---- what was read, as text ---- */

struct outcome {
    struct buf text;
    enum err err;
    struct why why;
    uint64_t end;
};

static void note(struct outcome *o, uint32_t db, struct slice key, const struct value *value,
                 int64_t expiry_ms) {
    buf_printf(&o->text, "%u %lld ", db, (long long)expiry_ms);
    buf_add(&o->text, key);
    value_put(&o->text, value, false);
}

static enum err note_value(void *self, const struct rdb_key *key, const struct value *value,
                           struct why *why) {
    (void)why;
    note(self, key->db, key->key, value, key->expire_at_ms);
    if (value->type != TYPE_STRING) value_free(value);
    return OK;
}

static enum err take_function(void *self, struct slice code, struct why *why) {
    (void)self, (void)code, (void)why;
    return OK;
}

/* Keys go to O; from PIECE on, if it is set. */
static void read_on(struct outcome *o, int fd, struct rdb_limits limits,
                    const struct load_piece *piece) {
    struct rdb_source_file source;
    struct value_builder builder;
    rdb_source_file_init(&source, fd);
    value_builder_init(&builder, &types, o, note_value);
    builder.handler.function = take_function;
    struct rdb_reader *reader = rdb_reader_open(&source.source, limits, &builder.handler);
    if (piece && piece->cut.at.version) {
        rdb_reader_resume(reader, piece->cut.at);
        rdb_reader_know_sum(reader, piece->cut.sum);
    }
    o->err = rdb_reader_run(reader, &o->why);
    o->end = rdb_reader_offset(reader);
    rdb_reader_close(reader);
    value_builder_close(&builder);
}

static void take_piece(struct outcome *o, struct load_team *team, int fd, struct rdb_limits limits,
                       const struct load_piece *piece) {
    enum load_kind kind = piece->cut.kind;
    for (size_t i = 0; i < piece->count; i++) {
        const struct db_addition *key = &piece->keys[i];
        struct value value = entry_value(key->e);
        assert_int_equal(entry_expiry(key->e), key->expiry_ms);
        assert_int_equal(key->hash, table_hash(entry_key(key->e)));
        note(o, key->db, entry_key(key->e), &value, key->expiry_ms);
    }
    o->err = piece->err;
    o->why = piece->why;
    o->end = piece->end;
    if (kind == LOAD_REST) {
        assert_int_equal(load_team_seek(team, &o->why), OK);
        read_on(o, fd, limits, piece);
    } else if (kind == LOAD_BETWEEN || kind == LOAD_END) {
        struct value_builder builder;
        value_builder_init(&builder, &types, o, note_value);
        builder.handler.function = take_function;
        struct rdb_reader *reader = rdb_reader_open(NULL, limits, &builder.handler);
        o->err = rdb_reader_part(reader, buf_slice(&piece->cut.bytes), piece->cut.at,
                                 kind == LOAD_END ? &piece->cut.sum : NULL, &o->why);
        rdb_reader_close(reader);
        value_builder_close(&builder);
    }
}

static void read_by_team(struct outcome *o, int fd, struct rdb_limits limits, unsigned threads) {
    struct rdb_source_file source;
    rdb_source_file_init(&source, fd);
    struct load_plan plan = {
        .fd = fd, .threads = threads, .limits = limits, .types = types, .source = &source.source};
    struct load_team *team = load_team_open(&plan);
    for (bool over = false; !over;) {
        struct load_piece *piece = load_team_next(team);
        if (piece == NULL) continue;
        take_piece(o, team, fd, limits, piece);
        over = o->err || piece->cut.kind == LOAD_END || piece->cut.kind == LOAD_REST;
        load_team_give(team, piece);
    }
    load_team_close(team);
}

static int file_of(struct slice bytes) {
    char name[] = "/tmp/test_load_team.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(write(fd, bytes.data, bytes.size), bytes.size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void outcome_close(struct outcome *o) {
    buf_close(&o->text);
    *o = (struct outcome){0};
}

/* The same keys and the same words, whoever reads it. Answers what came of it. */
static enum err expect_same(struct slice bytes, struct rdb_limits limits, unsigned threads) {
    struct outcome want = {0}, got = {0};
    int fd = file_of(bytes);
    read_on(&want, fd, limits, NULL);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    read_by_team(&got, fd, limits, threads);
    close(fd);
    assert_int_equal(got.err, want.err);
    if (want.err) assert_string_equal(got.why.text, want.why.text);
    if (!want.err) assert_int_equal(got.end, want.end);
    assert_true(slice_equal(buf_slice(&got.text), buf_slice(&want.text)));
    enum err err = want.err;
    outcome_close(&want);
    outcome_close(&got);
    return err;
}

static void test_any_number_of_threads_reads_the_same(void **state) {
    (void)state;
    for (unsigned threads = 0; threads < 4; threads++) {
        struct sink sink = {0};
        write_file(&sink, 500, 8, threads % 2);
        assert_true(buf_size(&sink.bytes) > LOAD_PIECE_BYTES);
        assert_int_equal(expect_same(buf_slice(&sink.bytes), RDB_LIMITS_DEFAULT, threads), OK);
        buf_add(&sink.bytes, SLICE("*1\r\n$4\r\nPING\r\n")); /* the tail of an AOF */
        assert_int_equal(expect_same(buf_slice(&sink.bytes), RDB_LIMITS_DEFAULT, threads), OK);
        buf_close(&sink.bytes);
    }
}

static void test_what_is_wrong_with_a_file_is_said_in_the_same_words(void **state) {
    (void)state;
    struct sink sink = {0};
    unsigned refused = 0;
    write_file(&sink, 200, 6, false);
    size_t size = buf_size(&sink.bytes);
    for (unsigned round = 0; round < 40; round++) {
        uint8_t *copy = mem_dup(buf_slice(&sink.bytes).data, size);
        size_t left = size, at = (size_t)rng_below(&rng, size);
        if (round % 3 == 0)
            left = at; /* cut off */
        else
            copy[at] = (uint8_t)rng_next(&rng);
        if (round % 3 == 2) copy[rng_below(&rng, 60)] ^= 1; /* near the head */
        refused += expect_same(slice_from(copy, left), RDB_LIMITS_DEFAULT, round % 4) != OK;
        mem_free(copy);
    }
    assert_true(refused > 25);
    buf_close(&sink.bytes);
}

static void test_limits_hold_for_each_piece(void **state) {
    (void)state;
    struct sink sink = {0};
    write_file(&sink, 650, 4, true);
    struct rdb_limits limits = RDB_LIMITS_DEFAULT;
    limits.databases_max = 3;
    assert_int_equal(expect_same(buf_slice(&sink.bytes), limits, 2), ERR_LIMIT);
    limits = RDB_LIMITS_DEFAULT;
    limits.value_bytes_max = LOAD_KEY_BYTES_MAX / 2;
    assert_int_equal(expect_same(buf_slice(&sink.bytes), limits, 2), ERR_LIMIT);
    buf_close(&sink.bytes);
}

static void test_a_team_may_end_in_the_middle(void **state) {
    (void)state;
    struct sink sink = {0};
    write_file(&sink, 400, 8, true);
    for (unsigned taken = 0; taken < 4; taken++) {
        int fd = file_of(buf_slice(&sink.bytes));
        struct rdb_source_file source;
        rdb_source_file_init(&source, fd);
        struct load_plan plan = {.fd = fd,
                                 .threads = 3,
                                 .limits = RDB_LIMITS_DEFAULT,
                                 .types = types,
                                 .source = &source.source};
        struct load_team *team = load_team_open(&plan);
        for (unsigned i = 0; i < taken;) {
            struct load_piece *piece = load_team_next(team);
            if (piece == NULL) continue;
            load_team_give(team, piece);
            i++;
        }
        load_team_close(team);
        close(fd);
    }
    buf_close(&sink.bytes);
}

static void test_a_skim_asks_for_more_of_any_shorter_key(void **state) {
    (void)state;
    static const struct rdb_handler nobody;
    for (unsigned kind = 0; kind < RDB_RANDOM_KINDS; kind++) {
        struct buf value = {0}, whole = {0};
        struct rdb_key key = {.key = SLICE("k"), .expire_at_ms = 5, .idle_s = 7, .freq = -1};
        rdb_random_value(&rng, kind, 6, &key, &value, &nobody);
        rdb_put_key(&whole, &key, false);
        buf_add(&whole, buf_slice(&value));
        for (size_t size = 0; size <= buf_size(&whole); size++) {
            uint8_t *exact = mem_dup(buf_slice(&whole).data, size);
            size_t used = 0;
            enum step step = rdb_skim_key(slice_from(exact, size), &used);
            bool is_whole = size == buf_size(&whole);
            assert_int_equal(step, is_whole ? STEP_DONE : STEP_MORE);
            if (is_whole) assert_int_equal(used, size);
            mem_free(exact);
        }
        buf_close(&whole);
        buf_close(&value);
    }
}

static int seed(void **state) {
    (void)state;
    uint64_t value = rand_test_seed();
    printf("seed %llu\n", (unsigned long long)value);
    rng = rng_from(value);
    return 0;
}

int main(void) {
    value_register(TYPE_LIST, &list_ops);
    value_register(TYPE_SET, &set_ops);
    value_register(TYPE_HASH, &hash_ops);
    value_register(TYPE_ZSET, &zset_ops);
    value_register(TYPE_STREAM, &xstream_ops);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_threads_reads_the_same),
        cmocka_unit_test(test_what_is_wrong_with_a_file_is_said_in_the_same_words),
        cmocka_unit_test(test_limits_hold_for_each_piece),
        cmocka_unit_test(test_a_team_may_end_in_the_middle),
        cmocka_unit_test(test_a_skim_asks_for_more_of_any_shorter_key),
    };
    return cmocka_run_group_tests_name("load_team", tests, seed, NULL);
}
