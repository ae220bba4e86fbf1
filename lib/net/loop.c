/* loop.c -- a turn of the loop: flush, end, poll, flush, end; and what the turn cost. */
#include "lib/net/loop_inside.h"

#include "lib/base/hist.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <stdio.h>

#define SLOW_TURN_MS 10
#define WORK_PER_PASS 100000 /* the rest waits for the next turn, so that sockets get theirs */

/* ---- work at the end of a turn ---- */

static void ask(struct loop *loop, struct list *list, struct loop_work *work, void (*fn)(void *),
                void *self) {
    if (list_is_linked(&work->link)) return;
    work->fn = fn;
    work->self = self;
    list_push(list, &work->link);
    (void)loop;
}

void loop_at_flush(struct loop *loop, struct loop_work *work, void (*fn)(void *), void *self) {
    ask(loop, &loop->flush, work, fn, self);
}

void loop_at_end(struct loop *loop, struct loop_work *work, void (*fn)(void *), void *self) {
    ask(loop, &loop->end, work, fn, self);
}

void loop_work_cancel(struct loop_work *work) {
    list_remove(&work->link);
}

/* Run what LIST holds now; what is added meanwhile waits for the next pass. */
static void run_list(struct list *list) {
    struct list now;
    list_init(&now);
    list_move(&now, list);
    for (size_t i = 0; i < WORK_PER_PASS && !list_is_empty(&now); i++) {
        struct loop_work *work = LIST_OWNER(list_pop(&now), struct loop_work, link);
        work->fn(work->self);
    }
    list_move(&now, list);
    list_move(list, &now);
}

static void free_dropped(void *self) {
    struct loop *loop = self;
    for (size_t i = 0; i < loop->dropped_count; i++) mem_free(loop->dropped[i]);
    loop->dropped_count = 0;
}

void loop_free_later(struct loop *loop, void *block) {
    if (block == NULL) return;
    if (loop->dropped_count == loop->dropped_cap) {
        loop->dropped_cap = loop->dropped_cap ? loop->dropped_cap * 2 : 16;
        loop->dropped = mem_realloc(loop->dropped, loop->dropped_cap * sizeof *loop->dropped);
    }
    loop->dropped[loop->dropped_count++] = block;
    loop_at_end(loop, &loop->drop_work, free_dropped, loop);
}

static void end_of_part(struct loop *loop) {
    loop->did_something |= !list_is_empty(&loop->flush) || !list_is_empty(&loop->end);
    run_list(&loop->flush);
    run_list(&loop->end);
    run_list(&loop->flush); /* what the end's callbacks wrote */
}

static void on_idle(uv_idle_t *idle) {
    (void)idle;
}

/* ---- the turn ---- */

static void on_check(uv_check_t *check) {
    struct loop *loop = check->data;
    end_of_part(loop);
}

/* A turn goes from one poll to the next; what libuv slept in between is not ours. */
static void begin_turn(struct loop *loop) {
    loop->turn_began_ns = uv_hrtime();
    loop->idle_before_ns = uv_metrics_idle_time(&loop->uv);
}

static void measure_turn(struct loop *loop) {
    uint64_t idle_ns = uv_metrics_idle_time(&loop->uv) - loop->idle_before_ns;
    uint64_t whole_ns = uv_hrtime() - loop->turn_began_ns;
    uint64_t took_ns = whole_ns > idle_ns ? whole_ns - idle_ns : 0;
    hist_add_to(&loop->stats.turns, 1);
    hist_add_to(&loop->stats.busy_us, took_ns / 1000);
    if (took_ns <= SLOW_TURN_MS * UINT64_C(1000000)) return;
    uint64_t took_ms = took_ns / 1000000;
    hist_add_to(&loop->stats.slow_turns, 1);
    if (took_ms > atomic_load_explicit(&loop->stats.longest_turn_ms, memory_order_relaxed))
        atomic_store_explicit(&loop->stats.longest_turn_ms, took_ms, memory_order_relaxed);
    log_warn("loop.slow", LOG_S("loop", loop->name), LOG_U("ms", took_ms));
}

static void on_prepare(uv_prepare_t *prepare) {
    struct loop *loop = prepare->data;
    end_of_part(loop);
    bool more = !list_is_empty(&loop->flush) || !list_is_empty(&loop->end);
    if (more || (loop->one_turn && loop->did_something))
        uv_idle_start(&loop->idle, on_idle);
    else
        uv_idle_stop(&loop->idle);
    measure_turn(loop);
    uint64_t now_ms = uv_now(&loop->uv);
    if (now_ms - loop->repeats_told_ms >= 1000) {
        loop->repeats_told_ms = now_ms;
        log_repeats(false);
    }
    begin_turn(loop);
}

static void on_wake(uv_async_t *wake) {
    struct loop *loop = wake->data;
    pthread_mutex_lock(&loop->calls_lock);
    struct loop_call *calls = loop->calls;
    size_t count = loop->call_count;
    loop->calls = NULL;
    loop->call_count = loop->call_cap = 0;
    pthread_mutex_unlock(&loop->calls_lock);
    for (size_t i = 0; i < count; i++) calls[i].fn(calls[i].self);
    mem_free(calls);
    if (atomic_load(&loop->stopping)) uv_stop(&loop->uv);
}

bool loop_call(struct loop *loop, void (*fn)(void *), void *self) {
    pthread_mutex_lock(&loop->calls_lock);
    bool taken = loop->call_count < LOOP_CALLS_MAX;
    if (taken) {
        if (loop->call_count == loop->call_cap) {
            loop->call_cap = loop->call_cap ? loop->call_cap * 2 : 16;
            loop->calls = mem_realloc(loop->calls, loop->call_cap * sizeof *loop->calls);
        }
        loop->calls[loop->call_count++] = (struct loop_call){fn, self};
    }
    pthread_mutex_unlock(&loop->calls_lock);
    if (taken) uv_async_send(&loop->wake);
    return taken;
}

/* ---- life ---- */

enum err loop_open(struct loop **loop, const char *name, struct why *why) {
    struct loop *made = NEW(struct loop);
    int code = uv_loop_init(&made->uv);
    if (code == 0) code = uv_loop_configure(&made->uv, UV_METRICS_IDLE_TIME);
    if (code) {
        mem_free(made);
        return why_set(why, ERR_IO, "event loop %s: %s", name, uv_strerror(code));
    }
    code = uv_async_init(&made->uv, &made->wake, on_wake);
    if (code) {
        uv_loop_close(&made->uv);
        mem_free(made);
        return why_set(why, ERR_IO, "event loop %s: %s", name, uv_strerror(code));
    }
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    made->uv.data = made;
    uv_prepare_init(&made->uv, &made->prepare);
    uv_check_init(&made->uv, &made->check);
    uv_idle_init(&made->uv, &made->idle);
    uv_timer_init(&made->uv, &made->timer);
    made->prepare.data = made->check.data = made->idle.data = made->timer.data = made->wake.data =
        made;
    list_init(&made->flush);
    list_init(&made->end);
    pthread_mutex_init(&made->calls_lock, NULL);
    made->scratch = mem_alloc(LOOP_SCRATCH_BYTES);
    made->read_bytes = mem_alloc(LOOP_READ_BYTES);
    uv_prepare_start(&made->prepare, on_prepare);
    uv_check_start(&made->check, on_check);
    *loop = made;
    return OK;
}

void loop_run(struct loop *loop) {
    begin_turn(loop);
    while (!atomic_load(&loop->stopping)) uv_run(&loop->uv, UV_RUN_DEFAULT);
    atomic_store(&loop->stopping, false);
}

void loop_turn(struct loop *loop, bool wait) {
    begin_turn(loop);
    loop->one_turn = true;
    loop->did_something = false;
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    loop->one_turn = false;
}

void loop_stop(struct loop *loop) {
    atomic_store(&loop->stopping, true);
    uv_async_send(&loop->wake);
}

static void close_own(struct loop *loop) {
    uv_handle_t *own[] = {(uv_handle_t *)&loop->prepare, (uv_handle_t *)&loop->check,
                          (uv_handle_t *)&loop->idle, (uv_handle_t *)&loop->timer,
                          (uv_handle_t *)&loop->wake};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!uv_is_closing(own[i])) uv_close(own[i], NULL);
}

/* Else loop_close() would wait for ever. */
static void expect_closing(uv_handle_t *handle, void *unused) {
    (void)unused;
    ASSERT(uv_is_closing(handle));
}

void loop_close(struct loop *loop) {
    if (loop == NULL) return;
    begin_turn(loop);
    /* First what closed objects still have to do, then our own handles. */
    for (int i = 0; i < 1000; i++) {
        end_of_part(loop);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        if (list_is_empty(&loop->flush) && list_is_empty(&loop->end)) break;
    }
    close_own(loop);
    uv_walk(&loop->uv, expect_closing, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int code = uv_loop_close(&loop->uv);
    ASSERT(code == 0); /* else somebody's handle is still open */
    for (size_t i = 0; i < loop->spare_count; i++) buf_close(&loop->spare_bufs[i]);
    for (size_t i = 0; i < loop->dropped_count; i++) mem_free(loop->dropped[i]);
    pthread_mutex_destroy(&loop->calls_lock);
    mem_free(loop->dropped);
    mem_free(loop->heap);
    mem_free(loop->calls);
    mem_free(loop->scratch);
    mem_free(loop->read_bytes);
    mem_free(loop->plain_bytes);
    mem_free(loop);
}

/* ---- what a loop lends ---- */

uv_loop_t *loop_uv(struct loop *loop) {
    return &loop->uv;
}
const char *loop_name(const struct loop *loop) {
    return loop->name;
}
uint64_t loop_now_ms(const struct loop *loop) {
    return uv_now(&loop->uv);
}
uint8_t *loop_scratch(struct loop *loop) {
    return loop->scratch;
}

const struct clock *loop_clock(const struct loop *loop) {
    (void)loop;
    return clock_real();
}

struct buf loop_take_buf(struct loop *loop) {
    if (loop->spare_count == 0) return (struct buf){0};
    return loop->spare_bufs[--loop->spare_count];
}

void loop_give_buf(struct loop *loop, struct buf *buf) {
    if (buf->data && buf->cap <= LOOP_SPARE_BUF_BYTES && loop->spare_count < LOOP_SPARE_BUFS) {
        buf_clear(buf);
        loop->spare_bufs[loop->spare_count++] = *buf;
        *buf = (struct buf){0};
        return;
    }
    buf_close(buf);
}

void loop_stats(const struct loop *loop, struct loop_stats *stats) {
    *stats = (struct loop_stats){
        .turns = atomic_load_explicit(&loop->stats.turns, memory_order_relaxed),
        .slow_turns = atomic_load_explicit(&loop->stats.slow_turns, memory_order_relaxed),
        .longest_turn_ms = atomic_load_explicit(&loop->stats.longest_turn_ms, memory_order_relaxed),
        .busy_us = atomic_load_explicit(&loop->stats.busy_us, memory_order_relaxed),
    };
}
