/* test_loop.c -- timers, work at the end of a turn, threads and mailboxes. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "lib/net/loop.h"
#include "lib/net/mailbox.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct loop *loop;

struct timer {
    struct loop_timer timer;
    uint64_t due_ms;
    int fired;
    struct timer *stops;
};

static uint64_t last_due_ms;
static size_t fired;

static void on_timer(void *self) {
    struct timer *timer = self;
    assert_true(loop_now_ms(loop) >= timer->due_ms);
    assert_true(timer->due_ms >= last_due_ms); /* in the order they are due */
    assert_false(loop_timer_is_running(&timer->timer));
    last_due_ms = timer->due_ms;
    timer->fired++;
    fired++;
    if (timer->stops) loop_timer_stop(&timer->stops->timer);
}

#define TIMERS 2000

static void test_timers_fire_once_in_order_unless_stopped(void **state) {
    (void)state;
    uint64_t seed = rand_test_seed();
    printf("SEED=%llu\n", (unsigned long long)seed);
    struct rng rng = rng_from(seed);
    struct timer *timers = NEW_ARRAY(struct timer, TIMERS);
    bool *stopped = NEW_ARRAY(bool, TIMERS);
    size_t expected = 0;
    loop_turn(loop, false);
    for (size_t i = 0; i < TIMERS; i++) {
        uint64_t after_ms = rng_below(&rng, 40);
        timers[i].due_ms = loop_now_ms(loop) + after_ms;
        loop_timer_start(loop, &timers[i].timer, after_ms, 0, on_timer, &timers[i]);
    }
    for (size_t i = 0; i < TIMERS; i++) {
        size_t which = rng_below(&rng, TIMERS);
        if (rng_below(&rng, 2)) {
            loop_timer_stop(&timers[which].timer);
            stopped[which] = true;
        } else if (!stopped[which]) { /* started anew */
            uint64_t after_ms = rng_below(&rng, 40);
            timers[which].due_ms = loop_now_ms(loop) + after_ms;
            loop_timer_start(loop, &timers[which].timer, after_ms, 0, on_timer, &timers[which]);
        }
    }
    for (size_t i = 0; i < TIMERS; i++) expected += !stopped[i];
    last_due_ms = 0;
    fired = 0;
    while (fired < expected) loop_turn(loop, true);
    for (int i = 0; i < 5; i++) loop_turn(loop, false);
    for (size_t i = 0; i < TIMERS; i++) assert_int_equal(timers[i].fired, !stopped[i]);
    mem_free(timers);
    mem_free(stopped);
}

struct ticker {
    struct loop_timer timer;
    int ticks;
};

static void on_tick(void *self) {
    struct ticker *ticker = self;
    if (++ticker->ticks == 3) {
        loop_timer_stop(&ticker->timer);
        mem_free(ticker); /* in its own callback */
        fired = 3;
    }
}

static void test_a_repeating_timer_may_free_itself(void **state) {
    (void)state;
    struct ticker *ticker = NEW(struct ticker);
    fired = 0;
    loop_timer_start(loop, &ticker->timer, 1, 1, on_tick, ticker);
    while (fired < 3) loop_turn(loop, true);
    loop_turn(loop, false);
}

static char order[16];
static struct loop_work flush_work, end_work, cancelled;

static void note(const char *what) {
    strcat(order, what);
}
static void on_end(void *self) {
    note("e");
    if (self) loop_at_end(loop, &end_work, on_end, NULL); /* at the next turn's end */
}
static void on_flush(void *self) {
    (void)self;
    note("f");
}
static void on_work_timer(void *self) {
    (void)self;
    loop_at_end(loop, &end_work, on_end, loop);
    loop_at_end(loop, &end_work, on_end, loop); /* asking twice is asking once */
    loop_at_end(loop, &cancelled, on_end, loop);
    loop_at_flush(loop, &flush_work, on_flush, NULL);
    loop_free_later(loop, mem_alloc(10));
    loop_work_cancel(&cancelled);
    note("t");
}

static void test_flush_comes_before_the_end_and_both_after_callbacks(void **state) {
    (void)state;
    struct loop_timer timer = {0};
    loop_timer_start(loop, &timer, 0, 0, on_work_timer, NULL);
    while (strlen(order) < 4) loop_turn(loop, true);
    for (int i = 0; i < 5; i++) loop_turn(loop, false);
    assert_string_equal(order, "tfee");
}

/* ---- threads ---- */

static enum err fail_start(void *self, struct loop *in, struct why *why) {
    (void)self;
    (void)in;
    return why_set(why, ERR_IO, "no such luck");
}

static void test_a_thread_that_cannot_start_says_why(void **state) {
    (void)state;
    struct loop_thread *thread;
    struct why why;
    assert_int_equal(loop_thread_open(&thread, "x", fail_start, NULL, NULL, &why), ERR_IO);
    assert_string_equal(why.text, "no such luck");
}

#define SENDERS 4
#define PER_SENDER 20000

struct letter {
    struct mail mail;
    unsigned sender, number;
};

struct office {
    struct mailbox *mailbox;
    unsigned next[SENDERS];
    _Atomic size_t received, refused;
    size_t at_once_max;
};

static void on_mail(void *self, struct mail *mail) {
    struct office *office = self;
    struct letter *letter = (struct letter *)mail;
    assert_int_equal(letter->number, office->next[letter->sender]); /* each sender's in order */
    office->next[letter->sender]++;
    mem_free(letter);
    atomic_fetch_add(&office->received, 1);
}

static enum err start_office(void *self, struct loop *in, struct why *why) {
    struct office *office = self;
    return mailbox_open(&office->mailbox, in, 100, on_mail, office, why);
}

static void stop_office(void *self, struct loop *in) {
    (void)in;
    mailbox_close(((struct office *)self)->mailbox, NULL);
}

struct sender {
    struct office *office;
    unsigned number;
};

static void *send_letters(void *self) {
    struct sender *sender = self;
    for (unsigned i = 0; i < PER_SENDER; i++) {
        struct letter *letter = NEW(struct letter);
        letter->sender = sender->number;
        letter->number = i;
        while (!mailbox_post(sender->office->mailbox, &letter->mail)) {
            atomic_fetch_add(&sender->office->refused, 1);
            sched_yield();
        }
    }
    return NULL;
}

static void test_mail_of_many_threads_arrives_once_and_in_order(void **state) {
    (void)state;
    struct office office = {0};
    struct loop_thread *thread;
    struct why why;
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    assert_int_equal(loop_thread_open(&thread, "office", start_office, stop_office, &office, &why),
                     OK);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&office, i};
        pthread_create(&threads[i], NULL, send_letters, &senders[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    while (atomic_load(&office.received) < SENDERS * PER_SENDER) sched_yield();
    loop_thread_close(thread);
    for (unsigned i = 0; i < SENDERS; i++) assert_int_equal(office.next[i], PER_SENDER);
}

static size_t dropped;
static void on_drop(void *self, struct mail *mail) {
    (void)self;
    (void)mail;
    dropped++;
}

static void test_a_full_mailbox_refuses_and_a_closed_one_drops(void **state) {
    (void)state;
    struct mailbox *mailbox;
    struct why why;
    struct mail mails[4] = {{0}};
    assert_int_equal(mailbox_open(&mailbox, loop, 3, on_drop, NULL, &why), OK);
    for (int i = 0; i < 3; i++) assert_true(mailbox_post(mailbox, &mails[i]));
    assert_false(mailbox_post(mailbox, &mails[3]));
    assert_int_equal(mailbox_waiting(mailbox), 3);
    mailbox_close(mailbox, on_drop);
    assert_int_equal(dropped, 3);
    loop_turn(loop, false);
}

static void *post_to_inbox(void *self) {
    struct inbox *inbox = self;
    for (int i = 0; i < 1000; i++) {
        struct letter *letter = NEW(struct letter);
        letter->number = (unsigned)i;
        while (!inbox_post(inbox, &letter->mail)) sched_yield();
    }
    inbox_shut(inbox);
    return NULL;
}

static void test_an_inbox_wakes_its_thread_and_ends(void **state) {
    (void)state;
    struct inbox *inbox = inbox_open(10);
    pthread_t thread;
    assert_null(inbox_wait(inbox, 1));
    pthread_create(&thread, NULL, post_to_inbox, inbox);
    unsigned next = 0;
    for (struct mail *mail; (mail = inbox_wait(inbox, -1)) != NULL; next++) {
        assert_int_equal(((struct letter *)mail)->number, next);
        mem_free(mail);
    }
    assert_int_equal(next, 1000);
    pthread_join(thread, NULL);
    assert_true(inbox_is_shut(inbox));
    struct mail late;
    assert_false(inbox_post(inbox, &late));
    inbox_close(inbox);
}

static void stop_loop(void *self) {
    loop_stop(self);
}

static void *call_loop(void *self) {
    while (!loop_call(self, stop_loop, self)) sched_yield();
    return NULL;
}

static void test_another_thread_can_call_into_a_loop(void **state) {
    (void)state;
    pthread_t thread;
    struct loop_stats before, after;
    loop_stats(loop, &before);
    pthread_create(&thread, NULL, call_loop, loop);
    loop_run(loop);
    pthread_join(thread, NULL);
    loop_stats(loop, &after);
    assert_true(after.turns > before.turns);
}

static int set_up(void **state) {
    (void)state;
    struct why why;
    return loop_open(&loop, "test", &why) == OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    loop_close(loop);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_once_in_order_unless_stopped),
        cmocka_unit_test(test_a_repeating_timer_may_free_itself),
        cmocka_unit_test(test_flush_comes_before_the_end_and_both_after_callbacks),
        cmocka_unit_test(test_a_thread_that_cannot_start_says_why),
        cmocka_unit_test(test_mail_of_many_threads_arrives_once_and_in_order),
        cmocka_unit_test(test_a_full_mailbox_refuses_and_a_closed_one_drops),
        cmocka_unit_test(test_an_inbox_wakes_its_thread_and_ends),
        cmocka_unit_test(test_another_thread_can_call_into_a_loop),
    };
    return cmocka_run_group_tests_name("loop", tests, set_up, tear_down);
}
