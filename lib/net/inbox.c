/* inbox.c -- messages into a thread that may block: a bounded queue to wait at. */
#include "lib/base/mem.h"
#include "lib/net/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct mail *oldest, **end; /* all below under the lock */
    size_t waiting, limit;
    bool shut;
};

struct inbox *inbox_open(size_t limit) {
    ASSERT(limit > 0);
    struct inbox *inbox = NEW(struct inbox);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&inbox->arrived, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->end = &inbox->oldest;
    inbox->limit = limit;
    return inbox;
}

bool inbox_post(struct inbox *inbox, struct mail *mail) {
    pthread_mutex_lock(&inbox->lock);
    bool taken = !inbox->shut && inbox->waiting < inbox->limit;
    if (taken) {
        mail->next = NULL;
        *inbox->end = mail;
        inbox->end = &mail->next;
        inbox->waiting++;
        pthread_cond_signal(&inbox->arrived);
    }
    pthread_mutex_unlock(&inbox->lock);
    return taken;
}

static struct timespec deadline_after(int64_t ms) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

struct mail *inbox_wait(struct inbox *inbox, int64_t timeout_ms) {
    struct timespec deadline = deadline_after(timeout_ms > 0 ? timeout_ms : 0);
    pthread_mutex_lock(&inbox->lock);
    int code = 0;
    while (inbox->oldest == NULL && !inbox->shut && code != ETIMEDOUT)
        code = timeout_ms < 0 ? pthread_cond_wait(&inbox->arrived, &inbox->lock)
                              : pthread_cond_timedwait(&inbox->arrived, &inbox->lock, &deadline);
    struct mail *mail = inbox->oldest;
    if (mail) {
        inbox->oldest = mail->next;
        if (inbox->oldest == NULL) inbox->end = &inbox->oldest;
        mail->next = NULL;
        inbox->waiting--;
    }
    pthread_mutex_unlock(&inbox->lock);
    return mail;
}

size_t inbox_waiting(const struct inbox *inbox) {
    struct inbox *self = (struct inbox *)(uintptr_t)inbox;
    pthread_mutex_lock(&self->lock);
    size_t waiting = self->waiting;
    pthread_mutex_unlock(&self->lock);
    return waiting;
}

void inbox_shut(struct inbox *inbox) {
    pthread_mutex_lock(&inbox->lock);
    inbox->shut = true;
    pthread_cond_broadcast(&inbox->arrived);
    pthread_mutex_unlock(&inbox->lock);
}

bool inbox_is_shut(const struct inbox *inbox) {
    struct inbox *self = (struct inbox *)(uintptr_t)inbox;
    pthread_mutex_lock(&self->lock);
    bool shut = self->shut;
    pthread_mutex_unlock(&self->lock);
    return shut;
}

void inbox_close(struct inbox *inbox) {
    if (inbox == NULL) return;
    ASSERT(inbox->oldest == NULL);
    pthread_cond_destroy(&inbox->arrived);
    pthread_mutex_destroy(&inbox->lock);
    mem_free(inbox);
}
