/* test_disk_thread.c -- jobs are worked in order beside the engine, and end on its thread. */
#include "server/disk_thread.h"

#include "lib/base/check.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define JOBS 200

struct one {
    struct disk_job job;
    struct disk_thread *thread;
    pthread_t worker;
    int number;
};

static struct {
    int worked[JOBS], done[JOBS];
    int worked_count, done_count;
    pthread_t engine;
    pthread_mutex_t gate; /* held: the disk stands */
    uv_loop_t *loop;
} seen;

static void work(struct disk_job *job) {
    struct one *one = (struct one *)job;
    pthread_mutex_lock(&seen.gate);
    one->worker = pthread_self();
    seen.worked[seen.worked_count++] = one->number;
    pthread_mutex_unlock(&seen.gate);
}

static void done(struct disk_job *job) {
    struct one *one = (struct one *)job;
    assert_true(pthread_equal(pthread_self(), seen.engine));
    assert_false(pthread_equal(one->worker, seen.engine));
    seen.done[seen.done_count++] = one->number;
    if (seen.done_count == JOBS && seen.loop) uv_stop(seen.loop);
}

static void begin(struct one *jobs, struct disk_thread *thread) {
    memset(&seen, 0, sizeof seen);
    pthread_mutex_init(&seen.gate, NULL);
    seen.engine = pthread_self();
    for (int i = 0; i < JOBS; i++)
        jobs[i] = (struct one){
            .job = {.work = work, .done = done}, .thread = thread, .number = i};
}

static void check_order(void) {
    assert_int_equal(seen.worked_count, JOBS);
    assert_int_equal(seen.done_count, JOBS);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(seen.worked[i], i);
        assert_int_equal(seen.done[i], i);
    }
}

static void too_long(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

static void test_jobs_end_in_order_while_the_loop_runs(void **state) {
    static struct one jobs[JOBS];
    uv_timer_t keeps_alive;
    uv_loop_t *loop = *state;
    struct disk_thread *thread = disk_thread_open(loop);
    begin(jobs, thread);
    seen.loop = loop;
    uv_timer_init(loop, &keeps_alive);
    uv_timer_start(&keeps_alive, too_long, 60000, 0);
    for (int i = 0; i < JOBS; i++) disk_thread_give(thread, &jobs[i].job);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    uv_timer_stop(&keeps_alive);
    check_order();
}

static void test_giving_does_not_wait_and_a_drain_does(void **state) {
    static struct one jobs[JOBS];
    struct disk_thread *thread = disk_thread_open(*state);
    begin(jobs, thread);
    pthread_mutex_lock(&seen.gate);
    for (int i = 0; i < JOBS; i++) disk_thread_give(thread, &jobs[i].job);
    assert_int_equal(seen.worked_count, 0);
    assert_int_equal(seen.done_count, 0);
    pthread_mutex_unlock(&seen.gate);
    disk_thread_drain(thread);
    check_order();
}

static void give_next(struct disk_job *job) {
    struct one *one = (struct one *)job;
    done(job);
    if (one->number + 1 == JOBS) return;
    one->number++;
    disk_thread_give(one->thread, job);
}

static void test_a_drain_waits_for_what_the_end_of_a_job_gives(void **state) {
    static struct one jobs[JOBS];
    struct disk_thread *thread = disk_thread_open(*state);
    begin(jobs, thread);
    jobs[0].job.done = give_next;
    disk_thread_give(thread, &jobs[0].job);
    disk_thread_drain(thread);
    check_order();
}

static int open_loop(void **state) {
    static uv_loop_t loop;
    *state = &loop;
    return uv_loop_init(&loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs_end_in_order_while_the_loop_runs),
        cmocka_unit_test(test_giving_does_not_wait_and_a_drain_does),
        cmocka_unit_test(test_a_drain_waits_for_what_the_end_of_a_job_gives)};
    return cmocka_run_group_tests(tests, open_loop, NULL);
}
