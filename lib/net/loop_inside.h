/* loop_inside.h -- what a loop is made of; for the files of lib/net only. */
#ifndef LIB_NET_LOOP_INSIDE_H
#define LIB_NET_LOOP_INSIDE_H

#include "lib/net/loop.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOOP_CALLS_MAX 65536
#define LOOP_READ_BYTES (128u * 1024) /* one read of a socket */
#define LOOP_PLAIN_BYTES (64u * 1024) /* what TLS decrypts before it is delivered */
#define LOOP_SPARE_BUFS 64
#define LOOP_SPARE_BUF_BYTES (256u * 1024) /* larger ones are freed */

struct loop_call {
    void (*fn)(void *self);
    void *self;
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;   /* active while work waits, so that poll does not sleep */
    uv_timer_t timer; /* for the first of the heap */
    uv_async_t wake;
    char name[16];
    bool one_turn, did_something; /* loop_turn() does not sleep after it did something */

    struct list flush, end; /* struct loop_work */

    struct loop_timer **heap; /* due_ms ascending, 4 children each */
    size_t heap_count, heap_cap;

    pthread_mutex_t calls_lock;
    struct loop_call *calls; /* under the lock */
    size_t call_count, call_cap;
    _Atomic bool stopping;

    uint8_t *scratch;
    uint8_t *read_bytes, *plain_bytes; /* of streams; the latter made with the first TLS one */
    struct buf spare_bufs[LOOP_SPARE_BUFS];
    size_t spare_count;
    void **dropped; /* freed at the end of the turn */
    size_t dropped_count, dropped_cap;
    struct loop_work drop_work;

    uint64_t turn_began_ns, idle_before_ns; /* the latter: libuv's count of time in poll */
    uint64_t repeats_told_ms;               /* when log_repeats() was last called */
    struct {
        _Atomic uint64_t turns, slow_turns, longest_turn_ms, busy_us;
    } stats;
};

/* Point uv's timer to the first of the heap. */
void loop_timers_arm(struct loop *loop);
/* uv's callback: run what is due. */
void loop_timers_run(uv_timer_t *timer);

#endif
