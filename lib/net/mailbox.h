/* mailbox.h -- bounded queues into a loop from any thread, and into a thread from anywhere.
 *
 *     loop A --+
 *     loop B --+--> mailbox --> on_mail() on the owner's loop, in order of posting
 *     thread --+
 *
 * Messages are structs of the caller's that embed a `struct mail`; posting hands them over, nothing
 * is allocated or copied. A mailbox has a bound: a post to a full one is refused and the sender
 * keeps its message (it stops reading its clients, spills, or degrades; its own rule). One wakeup
 * of the receiving loop delivers everything that waits.
 */
#ifndef LIB_NET_MAILBOX_H
#define LIB_NET_MAILBOX_H

#include "lib/base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

struct mail {
    struct mail *next; /* the mailbox's while it waits */
};

struct mailbox;

/* ON_MAIL takes over each message, on LOOP. LIMIT > 0 is how many may wait. */
MUST_CHECK enum err mailbox_open(struct mailbox **mailbox, struct loop *loop, size_t limit,
                                 void (*on_mail)(void *self, struct mail *mail), void *self,
                                 struct why *why);

/* From any thread. False: full or closed; MAIL is still yours. */
MUST_CHECK bool mailbox_post(struct mailbox *mailbox, struct mail *mail);

/* Messages that wait, about; from any thread. */
size_t mailbox_waiting(const struct mailbox *mailbox);

/* On the mailbox's loop, when no thread will post any more. What still waits is delivered to DROP
 * (NULL: it is forgotten, for messages whose memory belongs to someone else). */
void mailbox_close(struct mailbox *mailbox, void (*drop)(void *self, struct mail *mail));

/* ---- into a thread that may block: a bounded queue to wait at ---- */
struct inbox;

struct inbox *inbox_open(size_t limit);
/* From any thread, never blocks. False: full or closed; MAIL is still yours. */
MUST_CHECK bool inbox_post(struct inbox *inbox, struct mail *mail);
/* The oldest message; NULL after TIMEOUT_MS (negative: for ever) or once it is shut and empty. */
struct mail *inbox_wait(struct inbox *inbox, int64_t timeout_ms);
size_t inbox_waiting(const struct inbox *inbox);
/* No more posts; the waiting thread gets what is left and then NULL. From any thread. */
void inbox_shut(struct inbox *inbox);
bool inbox_is_shut(const struct inbox *inbox);
/* Frees it; it is empty and nobody uses it any more. */
void inbox_close(struct inbox *inbox);

#endif
