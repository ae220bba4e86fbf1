/* test_chunks.c -- values element by element: what is asked, what becomes of the answers. See gateway/chunks.h. */
#include "gateway/chunks.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants those four first */
#include <cmocka.h>
#include <stdio.h>

#define R7 70015

struct dialogue {
    struct chunks chunks;
    struct buf asked, out;
    uint32_t requests;
};

static void begin(struct dialogue *d, int32_t version) {
    *d = (struct dialogue){0};
    chunks_begin(&d->chunks, version, R7, SLICE("k"), 64);
}

static void end(struct dialogue *d) {
    chunks_close(&d->chunks);
    buf_close(&d->asked);
    buf_close(&d->out);
}

/* The next question, then ANSWER, in a heap block of its exact size. */
static enum chunks_said say(struct dialogue *d, struct slice answer) {
    uint8_t *exact = mem_alloc(answer.size > 0 ? answer.size : 1);
    if (answer.size > 0) memcpy(exact, answer.data, answer.size);
    buf_clear(&d->asked);
    buf_clear(&d->out);
    d->requests = 0;
    (void)chunks_ask(&d->chunks, &d->asked);
    enum chunks_said said = chunks_take(&d->chunks, slice_from(exact, answer.size), &d->out, &d->requests);
    mem_free(exact);
    return said;
}

static bool holds(const struct buf *text, const char *word) {
    return buf_size(text) > 0 && memmem(text->data, text->end, word, strlen(word)) != NULL;
}

#define STATE(when, length) SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:" when "\r\n:" length "\r\n")

static void test_a_set_is_scanned_and_its_length_is_looked_at_before_and_behind(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, R7);
    assert_int_equal(say(&d, SLICE("+set\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, STATE("-1", "3")), CHUNKS_MORE);
    assert_true(holds(&d.asked, "SCARD") && holds(&d.out, "UNLINK") && d.requests == 1);
    assert_int_equal(say(&d, SLICE("*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n")), CHUNKS_MORE);
    assert_true(holds(&d.out, "SADD") && d.requests == 1);
    assert_int_equal(say(&d, SLICE("*2\r\n$1\r\n0\r\n*0\r\n")), CHUNKS_MORE);
    assert_true(holds(&d.asked, "$2\r\n17") && d.requests == 0);
    assert_int_equal(say(&d, STATE("5000", "3")), CHUNKS_DONE);
    assert_true(d.requests == 2 && holds(&d.out, "PEXPIREAT"));
    assert_int_equal(d.chunks.deadline_ms, 5000);
    end(&d);
}

static void test_another_length_behind_the_elements_begins_again(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, R7);
    assert_int_equal(say(&d, SLICE("+set\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, STATE("-1", "3")), CHUNKS_MORE);
    assert_int_equal(say(&d, SLICE("*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, STATE("-1", "2")), CHUNKS_CHANGED);
    end(&d);
}

static void test_a_key_that_is_gone_and_a_type_of_a_module_have_no_chunks(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, R7);
    assert_int_equal(say(&d, SLICE("+none\r\n")), CHUNKS_CHANGED);
    end(&d);
    begin(&d, R7);
    assert_int_equal(say(&d, SLICE("+ReJSON-RL\r\n")), CHUNKS_CANNOT);
    end(&d);
    begin(&d, R7);
    assert_int_equal(say(&d, SLICE("+list\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, STATE("-2", "0")), CHUNKS_CHANGED);
    end(&d);
}

static void test_where_fields_of_a_hash_may_expire_it_has_no_chunks(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, 70400);
    assert_int_equal(say(&d, SLICE("+hash\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, SLICE("*1\r\n:-1\r\n")), CHUNKS_CANNOT);
    assert_true(holds(&d.asked, "HPEXPIRETIME"));
    end(&d);
    begin(&d, 70204);
    assert_int_equal(say(&d, SLICE("+hash\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, SLICE("-ERR unknown command 'HPEXPIRETIME'\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, STATE("-1", "1")), CHUNKS_MORE);
    end(&d);
}

static void test_an_answer_that_is_too_long_is_asked_for_in_smaller_ones_down_to_one_element(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, R7);
    d.chunks.count = 100;
    assert_int_equal(say(&d, SLICE("+list\r\n")), CHUNKS_MORE);
    assert_int_equal(chunks_limit(&d.chunks), 0);
    assert_int_equal(say(&d, STATE("-1", "3")), CHUNKS_MORE);
    while (chunks_limit(&d.chunks) > 0) chunks_less(&d.chunks);
    assert_int_equal(d.chunks.count, 1);
    assert_int_equal(say(&d, SLICE("*1\r\n$1\r\na\r\n")), CHUNKS_MORE);
    assert_true(holds(&d.asked, "$1\r\n0\r\n$1\r\n0"));
    end(&d);
}

/* From 6.2, which has no word for it, as Redis 7.0 would estimate it. */
static void test_entries_read_of_an_old_stream_are_estimated(void **state) {
    struct dialogue d;
    (void)state;
    begin(&d, 60200);
    assert_int_equal(say(&d, SLICE("+stream\r\n")), CHUNKS_MORE);
    assert_int_equal(say(&d, SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*5\r\n*2\r\n$1\r\n9\r\n$1\r\n0\r\n:-1\r\n:2\r\n"
                                   "*4\r\n$17\r\nlast-generated-id\r\n$3\r\n7-0\r\n$11\r\nfirst-entry\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
                                   "*1\r\n*4\r\n$4\r\nname\r\n$1\r\ng\r\n$17\r\nlast-delivered-id\r\n$3\r\n7-0\r\n")),
                     CHUNKS_MORE);
    assert_true(holds(&d.out, "MKSTREAM"));
    assert_int_equal(say(&d, SLICE("*1\r\n*4\r\n$3\r\n1-0\r\n$1\r\nc\r\n:5\r\n:1\r\n")), CHUNKS_MORE);
    assert_true(holds(&d.out, "XCLAIM") && holds(&d.out, "XTRIM"));
    assert_int_equal(say(&d, SLICE("*1\r\n*2\r\n$4\r\nname\r\n$1\r\nc\r\n")), CHUNKS_MORE);
    assert_true(holds(&d.out, "ENTRIESREAD\r\n$1\r\n2\r\n"));
    end(&d);
}

/* Whatever comes, nothing is read past its end, and the dialogue goes on or ends. */
static void test_answers_may_be_anything(void **state) {
    static const char *const bits[] = {"+set\r\n", "+hash\r\n", "+zset\r\n", "+stream\r\n", "+string\r\n", "+list\r\n", "+OK\r\n", "+QUEUED\r\n",
                                       "*2\r\n", "*4\r\n", "*1\r\n", "*0\r\n", ":1\r\n", ":-1\r\n", ":2\r\n", "$1\r\n0\r\n", "$3\r\n1-1\r\n",
                                       "$4\r\nname\r\n", "%1\r\n", "_\r\n", "-ERR x\r\n", "$-1\r\n", ",1.5\r\n", "*9223372036854775807\r\n"};
    struct rng rng = rng_from(rand_test_seed());
    (void)state;
    for (int i = 0; i < 30000; i++) {
        struct dialogue d;
        begin(&d, rng_below(&rng, 2) ? R7 : 60200);
        enum chunks_said said = CHUNKS_MORE;
        for (int turn = 0; turn < 8 && said == CHUNKS_MORE; turn++) {
            struct buf answer = {0};
            if (turn == 0) buf_add(&answer, slice_text(bits[rng_below(&rng, 6)]));
            else if (turn == 1) buf_add(&answer, STATE("-1", "2"));
            else for (uint64_t n = rng_below(&rng, 9); n > 0; n--) buf_add(&answer, slice_text(bits[6 + rng_below(&rng, 18)]));
            if (turn > 0 && rng_below(&rng, 4) == 0 && buf_size(&answer) > 0) buf_consume(&answer, rng_below(&rng, buf_size(&answer)));
            said = say(&d, buf_slice(&answer));
            buf_close(&answer);
        }
        end(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_is_scanned_and_its_length_is_looked_at_before_and_behind),
        cmocka_unit_test(test_another_length_behind_the_elements_begins_again),
        cmocka_unit_test(test_a_key_that_is_gone_and_a_type_of_a_module_have_no_chunks),
        cmocka_unit_test(test_where_fields_of_a_hash_may_expire_it_has_no_chunks),
        cmocka_unit_test(test_an_answer_that_is_too_long_is_asked_for_in_smaller_ones_down_to_one_element),
        cmocka_unit_test(test_entries_read_of_an_old_stream_are_estimated),
        cmocka_unit_test(test_answers_may_be_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
