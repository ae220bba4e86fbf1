/* disk_thread.h -- one thread beside the engine for calls that may wait for the disk, in their order.
 *
 *     engine: give --> queue --> thread: work --> engine's loop: done
 *
 * The queue is not bounded: who gives a job sees to it that few are under way (the AOF: one that
 * writes, and what ends a rewrite). A job is its owner's, who embeds it, and may be freed or given
 * again in `done`.
 */
#ifndef SERVER_DISK_THREAD_H
#define SERVER_DISK_THREAD_H

#include <uv.h>

struct disk_thread;

struct disk_job {
    void (*work)(struct disk_job *job); /* on the thread: touches the job and nothing of the engine */
    void (*done)(struct disk_job *job); /* on the engine's thread, from the loop or a drain */
    struct disk_job *next;              /* the queue's */
};

struct disk_thread *disk_thread_open(uv_loop_t *loop) __attribute__((returns_nonnull));
void disk_thread_give(struct disk_thread *thread, struct disk_job *job);
/* Wait for the disk until nothing is under way, that which `done` gives included. Not from within
 * `work` or `done`. */
void disk_thread_drain(struct disk_thread *thread);

#endif
