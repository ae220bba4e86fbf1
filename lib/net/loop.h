/* loop.h -- one event loop per thread: timers, work at the end of a turn, a watchdog.
 *
 *     timers -> [flush, end] -> poll: callbacks of streams, listeners, mailboxes -> [flush, end]
 *
 * A turn is what runs between two polls. Streams send what was written in a turn at its `flush`;
 * on_closed callbacks and everything given to loop_at_end() run at its `end`, when no callback of
 * another object is on the stack. A turn of more than 10 ms is logged as "loop.slow".
 *
 * Everything here is for the loop's own thread, but for loop_stop() and loop_call(), which may be
 * called from anywhere. Nothing that runs in a loop may block.
 */
#ifndef LIB_NET_LOOP_H
#define LIB_NET_LOOP_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/queue.h"
#include "lib/base/why.h"

#include <stdint.h>
#include <uv.h>

struct loop;

/* NAME (at most 15 bytes, copied) is the thread's name in logs and metrics. */
MUST_CHECK enum err loop_open(struct loop **loop, const char *name, struct why *why);

/* Run until loop_stop(). May be called again after it returned. */
void loop_run(struct loop *loop);

/* Run one turn; with WAIT it sleeps until something happens. For tests and shutdown. */
void loop_turn(struct loop *loop, bool wait);

/* Make loop_run() return at the end of the turn. From any thread. */
void loop_stop(struct loop *loop);

/* Every stream, listener and mailbox of the loop has been closed by its owner before; what they
 * still had to finish is run here. NULL is fine. */
void loop_close(struct loop *loop);

uv_loop_t *loop_uv(struct loop *loop);
const char *loop_name(const struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop); /* monotonic, as of the start of this turn */
const struct clock *loop_clock(const struct loop *loop); /* reads the machine's clock anew */

/* Run FN(SELF) on the loop, from any thread, soon. At most 65,536 wait; false: full, not taken. */
MUST_CHECK bool loop_call(struct loop *loop, void (*fn)(void *self), void *self);

/* ---- timers ----
 * An embedded timer is zeroed by its owner, belongs to one loop, and may be stopped and freed at
 * any time, in its own callback too. A one-shot timer is idle again before its callback runs. */
struct loop_timer {
    struct loop *loop; /* NULL while idle */
    void (*fn)(void *self);
    void *self;
    uint64_t due_ms, repeat_ms; /* repeat_ms 0: one-shot */
    size_t at;                  /* place in the loop's heap */
};

/* Start, or start anew. REPEAT_MS 0: once. A late repetition is not made up for. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, uint64_t after_ms,
                      uint64_t repeat_ms, void (*fn)(void *self), void *self);
void loop_timer_stop(struct loop_timer *timer); /* idle or zeroed is fine */
static inline bool loop_timer_is_running(const struct loop_timer *timer) {
    return timer->loop != NULL;
}

/* ---- work at the end of the turn ----
 * Embedded and zeroed by the owner; runs once for each time it was asked for, and asking twice in
 * a turn is asking once. What is asked for while the end runs, runs at the next turn's end; the
 * loop does not sleep in between. */
struct loop_work {
    struct list link;
    void (*fn)(void *self);
    void *self;
};

void loop_at_flush(struct loop *loop, struct loop_work *work, void (*fn)(void *self), void *self);
void loop_at_end(struct loop *loop, struct loop_work *work, void (*fn)(void *self), void *self);
void loop_work_cancel(struct loop_work *work);

/* mem_free(BLOCK) at the end of the turn: for objects dropped inside a callback of their own. */
void loop_free_later(struct loop *loop, void *block);

/* ---- memory that the loop's streams share ---- */
#define LOOP_SCRATCH_BYTES (128u * 1024)
uint8_t *loop_scratch(struct loop *loop); /* LOOP_SCRATCH_BYTES; dead when you return */

/* An empty buffer, perhaps with room from an earlier use; loop_give_buf() takes any buffer back. */
struct buf loop_take_buf(struct loop *loop);
void loop_give_buf(struct loop *loop, struct buf *buf);

struct loop_stats {
    uint64_t turns, slow_turns; /* slow: over 10 ms */
    uint64_t longest_turn_ms;
    uint64_t busy_us; /* time not spent in poll */
};
/* From any thread; a snapshot. */
void loop_stats(const struct loop *loop, struct loop_stats *stats);

/* ---- a loop in a thread of its own ---- */
struct loop_thread;

/* Start a thread that opens a loop NAME, calls START(SELF, LOOP) in it, runs it until loop_stop(),
 * calls STOP(SELF, LOOP) (may be NULL) to close what START opened, and closes the loop. Returns
 * when START has returned; when START failed there is no thread and WHY says why. Signals are
 * blocked in the thread: they belong to the main one. */
MUST_CHECK enum err
loop_thread_open(struct loop_thread **thread, const char *name,
                 enum err (*start)(void *self, struct loop *loop, struct why *why),
                 void (*stop)(void *self, struct loop *loop), void *self, struct why *why);
struct loop *loop_thread_loop(struct loop_thread *thread);
void loop_thread_close(struct loop_thread *thread); /* stops, joins, frees; NULL is fine */

#endif
