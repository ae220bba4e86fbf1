/* order.h -- the order of one connection to a whole Cluster: what may leave, what is asked again,
 * what is answered next (C22b); decided without I/O.
 *
 *              may leave            answered
 *   add -> WAITS -------> SENT ----------------------> DONE -> popped, in the order of adding
 *            ^              |  MOVED, ASK, TRYAGAIN
 *            +--------------+  the slot is stopped
 *
 * Units of one slot are executed in the order in which they were added: all go to the node that
 * owns the slot, over one connection. When one of them is redirected the slot *stops*: nothing of
 * it leaves until everything of it that was sent is answered; then its units leave one by one, each
 * when the one before is answered, until none waits. The same happens when the slot turns out to
 * have another owner while something of it is unanswered.
 *
 * What had been sent behind a redirected unit may have been executed before it. Such a unit is
 * `displaced`: its answer comes in its place, but its keys are dirty by an event from outside the
 * order, as far as it wrote any (C13a).
 *
 * A unit without a slot (no key, or no key that anybody knows) has no order with others; when a
 * redirection names its slot it gets that order.
 *
 * Owner of units: whoever adds them; they are embedded in larger ones. Times are the caller's.
 */
#ifndef GATEWAY_SHARDS_ORDER_H
#define GATEWAY_SHARDS_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARDS_NO_SLOT UINT16_MAX

enum shards_state { SHARDS_WAITS, SHARDS_SENT, SHARDS_DONE };

struct shards_unit {
    struct shards_unit *next;
    uint8_t state; /* enum shards_state */
    bool redirected, displaced;
    uint16_t slot;     /* or SHARDS_NO_SLOT */
    uint32_t tries;    /* redirections so far */
    uint64_t since_ms; /* of the first of them */
    uint64_t due_ms;   /* not before */
};

struct shards_stop;

struct shards_order {
    struct shards_unit *head, *tail;
    size_t count, waiting;
    struct shards_stop *stops;
};

void shards_order_close(struct shards_order *order); /* the units are the caller's */

void shards_order_add(struct shards_order *order, struct shards_unit *unit);

/* The next one behind AFTER (NULL: from the front) that may leave at NOW_MS, or NULL. */
struct shards_unit *shards_order_next(const struct shards_order *order,
                                      const struct shards_unit *after, uint64_t now_ms);
void shards_order_sent(struct shards_order *order, struct shards_unit *unit);

/* It is answered: DONE. It may never have been sent (then it is answered here). */
void shards_order_answered(struct shards_order *order, struct shards_unit *unit);

/* It was not executed: it waits again, until DUE_MS. SLOT as the redirection says, or the unit's. */
void shards_order_redirected(struct shards_order *order, struct shards_unit *unit, uint16_t slot,
                             uint64_t now_ms, uint64_t due_ms);

/* SLOT has another owner: whatever of it is unanswered is answered first. */
void shards_order_stop(struct shards_order *order, uint16_t slot);

/* The front, if it is DONE: off the order, the caller's. */
struct shards_unit *shards_order_pop(struct shards_order *order);

#endif
