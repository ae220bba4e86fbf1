/* What a link itself deleted at its target, so that the other one can tell what it did not (C8). */
#include "syncer/sent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct place at(uint64_t offset, uint32_t copies) { return (struct place){.offset = offset, .copies = copies}; }

static void test_a_key_belongs_to_its_batch_and_database(void **state) {
    (void)state;
    struct sent *sent = sent_new();
    sent_begin(sent, at(100, 0));
    sent_note(sent, at(200, 0), 3, SLICE("k"));
    assert_true(sent_has(sent, at(200, 0), 3, SLICE("k")));
    assert_false(sent_has(sent, at(200, 0), 0, SLICE("k")));
    assert_false(sent_has(sent, at(200, 1), 3, SLICE("k")));
    assert_false(sent_has(sent, at(201, 0), 3, SLICE("k")));
    assert_false(sent_has(sent, at(200, 0), 3, SLICE("kk")));
    sent_free(sent);
}

static void test_batches_of_an_earlier_process_are_not_judged(void **state) {
    (void)state;
    struct sent *sent = sent_new();
    assert_true(sent_has(sent, at(7, 0), 0, SLICE("k"))); /* nothing was sent yet */
    sent_begin(sent, at(100, 2));
    assert_true(sent_has(sent, at(100, 2), 0, SLICE("k")));
    assert_false(sent_has(sent, at(100, 3), 0, SLICE("k")));
    sent_begin(sent, at(500, 0)); /* a connection broke, and the process knows what it sent */
    assert_false(sent_has(sent, at(300, 0), 0, SLICE("k")));
    sent_begin(sent, at(50, 0)); /* a new copy, of another history */
    assert_true(sent_has(sent, at(50, 0), 0, SLICE("k")));
    assert_false(sent_has(sent, at(60, 0), 0, SLICE("k")));
    sent_free(sent);
}

static void test_a_script_may_delete_any_key_of_its_batch(void **state) {
    (void)state;
    struct sent *sent = sent_new();
    sent_begin(sent, at(1, 0));
    sent_note_any(sent, at(10, 0));
    assert_true(sent_has(sent, at(10, 0), 5, SLICE("k")));
    assert_false(sent_has(sent, at(11, 0), 5, SLICE("k")));
    sent_free(sent);
}

static void test_the_latest_keys_are_remembered(void **state) {
    (void)state;
    struct sent *sent = sent_new();
    char key[16];
    size_t known = 0;
    sent_begin(sent, at(1, 0));
    for (unsigned i = 0; i < 1000000; i++) {
        snprintf(key, sizeof key, "k%u", i);
        sent_note(sent, at(2 + i / 100, 0), 0, slice_text(key));
    }
    for (unsigned i = 950000; i < 1000000; i++) {
        snprintf(key, sizeof key, "k%u", i);
        known += sent_has(sent, at(2 + i / 100, 0), 0, slice_text(key));
    }
    assert_true(known > 49900);
    assert_false(sent_has(sent, at(2, 0), 0, SLICE("k0")));
    sent_free(sent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_belongs_to_its_batch_and_database),
        cmocka_unit_test(test_batches_of_an_earlier_process_are_not_judged),
        cmocka_unit_test(test_a_script_may_delete_any_key_of_its_batch),
        cmocka_unit_test(test_the_latest_keys_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
