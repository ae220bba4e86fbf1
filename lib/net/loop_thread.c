/* loop_thread.c -- a loop in a thread of its own. */
#include "lib/net/loop_inside.h"

#include "lib/base/mem.h"

#include <signal.h>
#include <string.h>

struct loop_thread {
    pthread_t thread;
    struct loop *loop;
    enum err (*start)(void *self, struct loop *loop, struct why *why);
    void (*stop)(void *self, struct loop *loop);
    void *self;
    const char *name; /* the caller's, during the start only */
    pthread_mutex_t lock;
    pthread_cond_t started;
    bool has_started; /* under the lock */
    enum err err;     /* of the start */
    struct why why;
};

static void tell_started(struct loop_thread *thread, enum err err) {
    pthread_mutex_lock(&thread->lock);
    thread->err = err;
    thread->has_started = true;
    pthread_cond_signal(&thread->started);
    pthread_mutex_unlock(&thread->lock);
}

static void *thread_main(void *arg) {
    struct loop_thread *thread = arg;
    struct loop *loop = NULL;
    enum err err = loop_open(&loop, thread->name, &thread->why);
    if (err == OK) {
        thread->loop = loop;
        (void)pthread_setname_np(pthread_self(), loop_name(loop));
        err = thread->start(thread->self, loop, &thread->why);
    }
    tell_started(thread, err);
    if (err == OK) {
        loop_run(loop);
        if (thread->stop) thread->stop(thread->self, loop);
    }
    loop_close(loop);
    return NULL;
}

static void free_thread(struct loop_thread *thread) {
    pthread_mutex_destroy(&thread->lock);
    pthread_cond_destroy(&thread->started);
    mem_free(thread);
}

enum err loop_thread_open(struct loop_thread **thread, const char *name,
                          enum err (*start)(void *self, struct loop *loop, struct why *why),
                          void (*stop)(void *self, struct loop *loop), void *self,
                          struct why *why) {
    struct loop_thread *made = NEW(struct loop_thread);
    made->start = start;
    made->stop = stop;
    made->self = self;
    made->name = name;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->started, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int code = pthread_create(&made->thread, NULL, thread_main, made);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) {
        free_thread(made);
        return why_set(why, ERR_IO, "start thread %s: %s", name, strerror(code));
    }
    pthread_mutex_lock(&made->lock);
    while (!made->has_started) pthread_cond_wait(&made->started, &made->lock);
    enum err err = made->err;
    pthread_mutex_unlock(&made->lock);
    if (err) {
        pthread_join(made->thread, NULL);
        *why = made->why;
        free_thread(made);
        return err;
    }
    *thread = made;
    return OK;
}

struct loop *loop_thread_loop(struct loop_thread *thread) {
    return thread->loop;
}

void loop_thread_close(struct loop_thread *thread) {
    if (thread == NULL) return;
    loop_stop(thread->loop);
    pthread_join(thread->thread, NULL);
    free_thread(thread);
}
