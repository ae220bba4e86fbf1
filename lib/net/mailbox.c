/* mailbox.c -- messages into a loop: a stack that any thread pushes to and the loop takes whole. */
#include "lib/net/mailbox.h"

#include "lib/base/mem.h"
#include "lib/net/loop.h"

#include <stdatomic.h>

struct mailbox {
    uv_async_t async;
    _Atomic(struct mail *) newest; /* a stack, linked from new to old */
    _Atomic size_t waiting;
    _Atomic bool closed;
    struct mail *taken; /* oldest first; being delivered */
    size_t limit;
    struct loop *loop;
    void (*on_mail)(void *self, struct mail *mail);
    void *self;
};

/* Everything that waits, oldest first. */
static struct mail *take_all(struct mailbox *mailbox) {
    struct mail *newest = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    while (newest) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static struct mail *next_taken(struct mailbox *mailbox) {
    struct mail *mail = mailbox->taken;
    if (mail == NULL) return NULL;
    mailbox->taken = mail->next;
    mail->next = NULL;
    atomic_fetch_sub_explicit(&mailbox->waiting, 1, memory_order_relaxed);
    return mail;
}

static void on_async(uv_async_t *async) {
    struct mailbox *mailbox = async->data;
    /* A callback may close the mailbox; that takes what is left, and frees it later. */
    if (mailbox->taken == NULL) mailbox->taken = take_all(mailbox);
    for (struct mail *mail = next_taken(mailbox); mail; mail = next_taken(mailbox))
        mailbox->on_mail(mailbox->self, mail);
}

enum err mailbox_open(struct mailbox **mailbox, struct loop *loop, size_t limit,
                      void (*on_mail)(void *self, struct mail *mail), void *self, struct why *why) {
    ASSERT(limit > 0);
    struct mailbox *made = NEW(struct mailbox);
    int code = uv_async_init(loop_uv(loop), &made->async, on_async);
    if (code) {
        mem_free(made);
        return why_set(why, ERR_IO, "open a mailbox: %s", uv_strerror(code));
    }
    made->async.data = made;
    made->limit = limit;
    made->loop = loop;
    made->on_mail = on_mail;
    made->self = self;
    *mailbox = made;
    return OK;
}

bool mailbox_post(struct mailbox *mailbox, struct mail *mail) {
    if (atomic_load_explicit(&mailbox->closed, memory_order_relaxed)) return false;
    if (atomic_fetch_add_explicit(&mailbox->waiting, 1, memory_order_relaxed) >= mailbox->limit) {
        atomic_fetch_sub_explicit(&mailbox->waiting, 1, memory_order_relaxed);
        return false;
    }
    struct mail *before = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do mail->next = before;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &before, mail,
                                                  memory_order_release, memory_order_relaxed));
    /* Whoever pushed onto an empty stack wakes the loop, once for all that follow. */
    if (before == NULL) uv_async_send(&mailbox->async);
    return true;
}

size_t mailbox_waiting(const struct mailbox *mailbox) {
    return atomic_load_explicit(&mailbox->waiting, memory_order_relaxed);
}

static void on_handle_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void mailbox_close(struct mailbox *mailbox, void (*drop)(void *self, struct mail *mail)) {
    if (mailbox == NULL) return;
    atomic_store(&mailbox->closed, true);
    do {
        for (struct mail *mail = next_taken(mailbox); mail; mail = next_taken(mailbox))
            if (drop) drop(mailbox->self, mail);
        mailbox->taken = take_all(mailbox);
    } while (mailbox->taken);
    uv_close((uv_handle_t *)&mailbox->async, on_handle_closed);
}
