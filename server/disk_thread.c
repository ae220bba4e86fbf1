/* disk_thread.c -- the thread that waits for the disk. See disk_thread.h. */
#include "server/disk_thread.h"

#include "lib/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct queue {
    struct disk_job *first, **last;
};

struct disk_thread {
    pthread_mutex_t lock;
    pthread_cond_t some, finished;
    struct queue todo, worked;
    size_t under_way; /* given and not done */
    bool started;
    uv_async_t news;
};

static void push(struct queue *queue, struct disk_job *job) {
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct disk_job *pop(struct queue *queue) {
    struct disk_job *job = queue->first;
    if (job == NULL) return NULL;
    queue->first = job->next;
    if (queue->first == NULL) queue->last = &queue->first;
    return job;
}

static void *run(void *arg) {
    struct disk_thread *thread = arg;
    pthread_mutex_lock(&thread->lock);
    for (;;) {
        struct disk_job *job = pop(&thread->todo);
        if (job == NULL) {
            pthread_cond_wait(&thread->some, &thread->lock);
            continue;
        }
        pthread_mutex_unlock(&thread->lock);
        job->work(job);
        pthread_mutex_lock(&thread->lock);
        push(&thread->worked, job);
        pthread_cond_signal(&thread->finished);
        (void)uv_async_send(&thread->news);
    }
    return NULL;
}

/* On the engine's thread. False: there was none. */
static bool finish_one(struct disk_thread *thread) {
    pthread_mutex_lock(&thread->lock);
    struct disk_job *job = pop(&thread->worked);
    pthread_mutex_unlock(&thread->lock);
    if (job == NULL) return false;
    thread->under_way--;
    job->done(job);
    return true;
}

static void on_news(uv_async_t *news) {
    struct disk_thread *thread = news->data;
    while (finish_one(thread)) {
    }
}

static bool start(struct disk_thread *thread) {
    pthread_t id;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the engine's */
    thread->started = pthread_create(&id, NULL, run, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (thread->started) pthread_detach(id);
    return thread->started;
}

struct disk_thread *disk_thread_open(uv_loop_t *loop) {
    struct disk_thread *thread = NEW(struct disk_thread);
    pthread_mutex_init(&thread->lock, NULL);
    pthread_cond_init(&thread->some, NULL);
    pthread_cond_init(&thread->finished, NULL);
    thread->todo.last = &thread->todo.first;
    thread->worked.last = &thread->worked.first;
    int status = uv_async_init(loop, &thread->news, on_news);
    ASSERT(status == 0);
    thread->news.data = thread;
    uv_unref((uv_handle_t *)&thread->news);
    return thread;
}

void disk_thread_give(struct disk_thread *thread, struct disk_job *job) {
    bool can = thread->started || start(thread);
    thread->under_way++;
    if (!can) job->work(job); /* no thread to be had: the engine stalls, but nothing is lost */
    pthread_mutex_lock(&thread->lock);
    push(can ? &thread->todo : &thread->worked, job);
    pthread_cond_signal(&thread->some);
    pthread_mutex_unlock(&thread->lock);
    if (!can) (void)uv_async_send(&thread->news);
}

void disk_thread_drain(struct disk_thread *thread) {
    while (thread->under_way > 0) {
        pthread_mutex_lock(&thread->lock);
        while (thread->worked.first == NULL) pthread_cond_wait(&thread->finished, &thread->lock);
        pthread_mutex_unlock(&thread->lock);
        while (finish_one(thread)) {
        }
    }
}
