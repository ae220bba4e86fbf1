/* test_effect_simple.c -- a simple command is told as its effect would be: every command of the table,
 * with all kinds of words, and all kinds of answers. */
#include "gateway/effect.h"

#include "lib/base/rand.h"
#include "lib/redis/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define WORDS_MAX 6u
#define TRIES 40

static const char *const words[] = {"1",   "k2",   "nx", "XX", "ch",   "incr", "get", "EX",  "10", "px",   "keepttl", "inf",
                                    "-inf", "+1",  "-2", ".5", "gt",   "~",    "",    "limit", "maxlen", "*", "1-1", "left"};

static const char *const answers[] = {
    "+OK\r\n", ":0\r\n", ":1\r\n", ":-1\r\n", ":-2\r\n", "$-1\r\n", "$1\r\nx\r\n", "$0\r\n\r\n", "*0\r\n", "*-1\r\n", "*1\r\n:1\r\n", "_\r\n",
    "-ERR no\r\n", "-WRONGTYPE no\r\n", "-MOVED 1 a:1\r\n", "!6\r\nERR no\r\n", "(17\r\n", ",1.5\r\n", "#t\r\n", "#f\r\n", "~0\r\n", "%0\r\n",
    "+QUEUED\r\n", "?\r\n", ":x\r\n", "$\r\n", "\r\n"};

static const struct effect_facts facts = {.now_ms = 1000000, .primary_version = 70015, .follower_version = 70015, .databases = 16};

static void compare_told(const struct effect *e, const struct effect_simple *simple, struct slice name, const char *text) {
    struct effect_outcome out = {0};
    struct slice answer = slice_text(text);
    effect_tell(e, answer, &out);
    switch (effect_simple_tell(simple, answer)) {
    case EFFECT_DID_NOTHING: assert_int_equal(out.item_count, 0); break;
    case EFFECT_DID_IT:
        assert_int_equal(out.item_count, 1);
        assert_int_equal(out.items[0].kind, EFFECT_REQUEST);
        assert_int_equal(out.items[0].scope, EFFECT_SCOPE_KEYS);
        assert_int_equal(out.items[0].db, e->db);
        assert_true(slice_equal(effect_item_request(&out, &out.items[0]), e->send));
        assert_int_equal(out.items[0].key_count, 1);
        assert_true(slice_equal(out.keys[0].name, name));
        assert_int_equal(out.keys[0].use, simple->key.use);
        assert_int_equal(out.keys[0].expiry, simple->key.expiry);
        break;
    case EFFECT_DID_WHAT:
    default:
        assert_int_equal(out.item_count, 1);
        assert_int_equal(out.items[0].kind, EFFECT_DIRTY);
        assert_int_equal(out.items[0].key_count, 1);
        assert_true(slice_equal(out.keys[0].name, name));
    }
    effect_outcome_close(&out);
}

/* True: it is simple, and its effect says the same. */
static bool compare(const struct command *command, size_t argc, const struct slice *argv) {
    struct resp_request r = {0};
    struct buf raw = {0};
    struct why why;
    size_t used = 0;
    const struct effect_simple *simple = effect_simple_of(command, argc, argv);
    if (simple == NULL) return false;
    resp_write_command(&raw, argc, argv);
    assert_int_equal(resp_request_next(&r, &resp_request_limits_open, buf_slice(&raw), &used, &why), STEP_DONE);
    struct effect *e = effect_new_raw(&facts, 3, command, r.argc, r.argv, buf_slice(&raw));
    assert_true(slice_equal(e->send, buf_slice(&raw)));
    assert_int_equal(e->replies, 1);
    assert_int_equal(e->db_after, 3);
    assert_int_equal(e->key_count, 1);
    assert_true(slice_equal(e->keys[0].name, argv[1]));
    assert_int_equal(e->keys[0].db, 3);
    assert_int_equal(e->keys[0].use, simple->key.use);
    assert_int_equal(e->keys[0].expiry, simple->key.expiry);
    assert_true(e->writes && e->plain && !e->blocking && !e->barrier && !e->keys_unknown);
    assert_true(effect_answers_as_is(e));
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) compare_told(e, simple, argv[1], answers[i]);
    effect_free(e);
    resp_request_close(&r);
    buf_close(&raw);
    return true;
}

static void test_a_simple_command_is_told_as_its_effect_would_be(void **state) {
    (void)state;
    size_t simple = 0;
    struct rng rng = rng_from(11);
    for (size_t i = 0; i < command_count; i++)
        for (int tries = 0; tries < TRIES; tries++) {
            const struct command *command = command_at(i);
            struct slice argv[WORDS_MAX] = {slice_text(command->name), SLICE("k1")};
            size_t argc = 2 + (size_t)rng_below(&rng, WORDS_MAX - 1);
            for (size_t k = 2; k < argc; k++) argv[k] = slice_text(words[rng_below(&rng, sizeof words / sizeof *words)]);
            simple += compare(command, argc, argv);
        }
    assert_true(simple > 200);
}

static bool is_simple(const char *text) {
    struct slice argv[WORDS_MAX];
    size_t argc = 0;
    struct slice rest = slice_text(text);
    while (rest.size > 0 && argc < WORDS_MAX) {
        const uint8_t *end = memchr(rest.data, ' ', rest.size);
        size_t size = end ? (size_t)(end - rest.data) : rest.size;
        argv[argc++] = slice_take(rest, size);
        rest = slice_drop(rest, end ? size + 1 : size);
    }
    return effect_simple_of(command_lookup(argc, argv), argc, argv) != NULL;
}

static void test_the_usual_writes_are_simple(void **state) {
    (void)state;
    static const char *const are[] = {"SET k v", "INCR k", "DECRBY k 2", "APPEND k v", "HSET k f v", "HSET k f v g w", "LPUSH k a b",
                                      "RPOP k", "SADD k m", "SREM k m", "ZADD k 1 m", "ZADD k -1.5 m", "DEL k", "UNLINK k", "MSET k v",
                                      "SETBIT k 1 1", "PFADD k a", "LTRIM k 0 1", "ZREM k m", "HINCRBY k f 1"};
    for (size_t i = 0; i < sizeof are / sizeof *are; i++)
        if (!is_simple(are[i])) fail_msg("%s", are[i]);
}

static void test_what_has_options_or_more_keys_or_is_random_is_not(void **state) {
    (void)state;
    static const char *const not[] = {"SET k v EX 10", "SET k v NX", "SETEX k 10 v", "EXPIRE k 10", "PERSIST k", "ZADD k NX 1 m", "ZADD k inf m",
                                      "ZADD k ch 1 m", "XADD k * f v", "SPOP k", "DEL k l", "MSET k v l w", "SETNX k v", "GETSET k v",
                                      "INCRBYFLOAT k 1", "BLPOP k 0", "EVAL s 1 k", "FLUSHALL", "GET k", "SINTERSTORE k l", "RENAME k l",
                                      "SET k", "HSET k f", "XREADGROUP k", "SORT k STORE l", "PFCOUNT k", "nonsense k v"};
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (is_simple(not[i])) fail_msg("%s", not[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_simple_command_is_told_as_its_effect_would_be),
        cmocka_unit_test(test_the_usual_writes_are_simple),
        cmocka_unit_test(test_what_has_options_or_more_keys_or_is_random_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
