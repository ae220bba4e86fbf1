/* helper.c -- the helper thread: a queue under a lock. */
#include "server/helper.h"

#include "lib/base/mem.h"
#include "server/allocator.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some, none;
    struct job *first, **last;
    size_t pending;
    uint64_t given;
    bool started, is_copy;
} helper = {.lock = PTHREAD_MUTEX_INITIALIZER,
            .some = PTHREAD_COND_INITIALIZER,
            .none = PTHREAD_COND_INITIALIZER};

static struct job *take(void) {
    pthread_mutex_lock(&helper.lock);
    bool has_none = helper.first == NULL;
    pthread_mutex_unlock(&helper.lock);
    if (has_none) allocator_flush(); /* what was freed here counts as free; the engine may want the lock */
    pthread_mutex_lock(&helper.lock);
    while (helper.first == NULL) pthread_cond_wait(&helper.some, &helper.lock);
    struct job *job = helper.first;
    helper.first = job->next;
    if (helper.first == NULL) helper.last = &helper.first;
    pthread_mutex_unlock(&helper.lock);
    return job;
}

static void finish(struct job *job) {
    mem_free(job);
    pthread_mutex_lock(&helper.lock);
    if (--helper.pending == 0) pthread_cond_broadcast(&helper.none);
    pthread_mutex_unlock(&helper.lock);
}

/* A copy of the process has no helper: what is given to it is done at once (script_debug.h). */
static void before_fork(void) {
    pthread_mutex_lock(&helper.lock);
}

static void after_fork(void) {
    pthread_mutex_unlock(&helper.lock);
}

static void in_copy(void) {
    helper.is_copy = true;
    helper.pending = 0;
    pthread_mutex_unlock(&helper.lock);
}

static void *work(void *unused) {
    (void)unused;
    for (;;) {
        struct job *job = take();
        job->fn(job->arg);
        finish(job);
    }
    return NULL;
}

static void start(void) {
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the engine's */
    (void)pthread_atfork(before_fork, after_fork, in_copy);
    helper.started = pthread_create(&thread, NULL, work, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (helper.started) pthread_detach(thread);
}

void helper_run(void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&helper.lock);
    if (helper.last == NULL) helper.last = &helper.first;
    if (!helper.started) start();
    if (!helper.started || helper.is_copy) { /* no thread to be had: the caller stalls, but nothing is lost */
        pthread_mutex_unlock(&helper.lock);
        fn(arg);
        return;
    }
    struct job *job = NEW(struct job);
    *job = (struct job){.fn = fn, .arg = arg};
    *helper.last = job;
    helper.last = &job->next;
    helper.pending++;
    helper.given++;
    pthread_cond_signal(&helper.some);
    pthread_mutex_unlock(&helper.lock);
}

uint64_t helper_given(void) {
    pthread_mutex_lock(&helper.lock);
    uint64_t given = helper.given;
    pthread_mutex_unlock(&helper.lock);
    return given;
}

size_t helper_pending(void) {
    pthread_mutex_lock(&helper.lock);
    size_t pending = helper.pending;
    pthread_mutex_unlock(&helper.lock);
    return pending;
}

void helper_drain(void) {
    pthread_mutex_lock(&helper.lock);
    while (helper.pending > 0) pthread_cond_wait(&helper.none, &helper.lock);
    pthread_mutex_unlock(&helper.lock);
}
