/* test_dual_figures.c -- who reads the lanes' figures never sees those of two moments at once. */
#include "gateway/dual.h"
#include "gateway/worker.h"

#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 100000u

static void *put(void *arg) {
    struct worker *w = arg;
    uint64_t figures[DUAL_FIGURES];
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < DUAL_FIGURES; i++) figures[i] = round;
        dual_put_figures(w, figures);
    }
    return NULL;
}

static void test_figures_are_those_of_one_moment(void **state) {
    (void)state;
    struct worker *w = NEW(struct worker);
    pthread_t thread;
    assert_int_equal(pthread_mutex_init(&w->lanes_lock, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, put, w), 0);
    uint64_t figures[DUAL_FIGURES] = {0};
    while (figures[0] < ROUNDS) {
        dual_read_figures(w, figures);
        for (unsigned i = 1; i < DUAL_FIGURES; i++) assert_int_equal(figures[i], figures[0]);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_mutex_destroy(&w->lanes_lock), 0);
    mem_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_figures_are_those_of_one_moment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
