/* loop_timer.c -- timers of a loop: a heap of its own with one libuv timer under it, so that a
 * timer can be stopped and freed at once. */
#include "lib/net/loop_inside.h"

#include "lib/base/mem.h"

#define CHILDREN 4
#define RUN_AT_ONCE 10000 /* then sockets get their turn */

static void put(struct loop *loop, size_t at, struct loop_timer *timer) {
    loop->heap[at] = timer;
    timer->at = at;
}

static void sift_up(struct loop *loop, size_t at) {
    struct loop_timer *timer = loop->heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / CHILDREN;
        if (loop->heap[parent]->due_ms <= timer->due_ms) break;
        put(loop, at, loop->heap[parent]);
        at = parent;
    }
    put(loop, at, timer);
}

static void sift_down(struct loop *loop, size_t at) {
    struct loop_timer *timer = loop->heap[at];
    for (;;) {
        size_t first = at * CHILDREN + 1, best = 0;
        uint64_t due = timer->due_ms;
        for (size_t i = first; i < first + CHILDREN && i < loop->heap_count; i++)
            if (loop->heap[i]->due_ms < due) {
                best = i;
                due = loop->heap[i]->due_ms;
            }
        if (best == 0) break;
        put(loop, at, loop->heap[best]);
        at = best;
    }
    put(loop, at, timer);
}

static void take_out(struct loop *loop, struct loop_timer *timer) {
    size_t at = timer->at;
    ASSERT(at < loop->heap_count && loop->heap[at] == timer);
    struct loop_timer *last = loop->heap[--loop->heap_count];
    timer->loop = NULL;
    if (last == timer) return;
    put(loop, at, last);
    sift_up(loop, at);
    sift_down(loop, last->at);
}

void loop_timers_arm(struct loop *loop) {
    if (loop->heap_count == 0) {
        uv_timer_stop(&loop->timer);
        return;
    }
    uint64_t now = uv_now(&loop->uv), due = loop->heap[0]->due_ms;
    uv_timer_start(&loop->timer, loop_timers_run, due > now ? due - now : 0, 0);
}

static void put_in(struct loop *loop, struct loop_timer *timer) {
    if (loop->heap_count == loop->heap_cap) {
        loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : 64;
        loop->heap = mem_realloc(loop->heap, loop->heap_cap * sizeof *loop->heap);
    }
    timer->loop = loop;
    loop->heap[loop->heap_count] = timer;
    timer->at = loop->heap_count++;
    sift_up(loop, timer->at);
}

void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms,
                      uint64_t repeat_ms, void (*fn)(void *self), void *self) {
    ASSERT(fn != NULL);
    loop_timer_stop(timer);
    timer->fn = fn;
    timer->self = self;
    timer->repeat_ms = repeat_ms;
    timer->due_ms = uv_now(&loop->uv) + after_ms;
    put_in(loop, timer);
    if (timer->at == 0) loop_timers_arm(loop);
}

void loop_timer_stop(struct loop_timer *timer) {
    struct loop *loop = timer->loop;
    if (loop == NULL) return;
    bool was_first = timer->at == 0;
    take_out(loop, timer);
    if (was_first) loop_timers_arm(loop);
}

void loop_timers_run(uv_timer_t *uv_timer) {
    struct loop *loop = uv_timer->data;
    uint64_t now = uv_now(&loop->uv);
    for (size_t i = 0; i < RUN_AT_ONCE && loop->heap_count > 0; i++) {
        struct loop_timer *timer = loop->heap[0];
        if (timer->due_ms > now) break;
        take_out(loop, timer);
        loop->did_something = true;
        if (timer->repeat_ms) {
            timer->due_ms = now + timer->repeat_ms;
            put_in(loop, timer);
        }
        timer->fn(timer->self); /* may free it */
    }
    loop_timers_arm(loop);
}
