/* slots.h -- which gateway owns which slots (C10): decided without I/O.
 *
 *   joins   it is in the table, and gets slots that nobody owns
 *   lost    its slots stay its own for SLOTS_LEASE_MS; then it is to be fenced at both sides (C25):
 *           only when every connection of its name is known to be gone do its slots go to others,
 *           for whom they are dirty (C20). A gateway that comes back meanwhile waits for the end.
 *   moves   slots go from a gateway that lives to another one while every gateway holds, and the
 *           one that loses them has brought its lanes to rest
 *
 * The lease only says when it is tried to fence a gateway; it never fences. A gateway that cannot
 * reach state goes on with its slots for as long as its connections live; it can open none, because
 * state is asked before (DRAWBRIDGE EPOCH).
 *
 * A change is a new version, which is in the ledger before anybody hears of it.
 */
#ifndef STATE_SLOTS_H
#define STATE_SLOTS_H

#include "lib/control/slot_table.h"

#include <stdbool.h>

#define SLOTS_LEASE_MS 3000u

struct slots_seat {
    bool here;
    uint64_t lost_ms; /* monotonic, while it is not here */
    bool leaving;     /* it is here, and wants to end: it gets nothing, and what it has goes to others */
    bool fencing;     /* it is being fenced: it may not come back before the end */
    uint64_t barred;  /* a version: connections of an earlier one are refused (EPOCH) */
};

struct slots {
    struct slot_table table;
    struct slots_seat seat[SLOT_TABLE_GATEWAYS]; /* as table.gateway[] */
};

/* From the ledger, or none. Nobody is here yet: all are lost at NOW_MS. */
void slots_init(struct slots *slots, const struct slot_table *table, uint64_t now_ms);

enum slots_step {
    SLOTS_SAME,
    SLOTS_CHANGED, /* the table has a new version */
    SLOTS_REFUSED, /* not now, or never: WHY says it */
};

/* NAME is here, and reached by its peers at PEER ("": by none: then it must be alone). */
enum slots_step slots_joined(struct slots *slots, const char *name, const char *peer,
                             struct why *why);
/* NAME is about to end (until it is lost). False: nobody stays who could have its slots. */
bool slots_leaving(struct slots *slots, const char *name);
bool slots_any_leaving(const struct slots *slots);
void slots_lost(struct slots *slots, const char *name, uint64_t now_ms);

/* Whose lease is over: to be fenced at both sides now, until slots_gone() or slots_not_gone().
 * NULL: nobody's. */
const char *slots_to_fence(struct slots *slots, uint64_t now_ms);
/* Its connections are known to be gone. */
enum slots_step slots_gone(struct slots *slots, const char *name);
void slots_not_gone(struct slots *slots, const char *name, uint64_t now_ms); /* tried again later */

/* Whether connections that NAME opens under VERSION may be used (C25). */
bool slots_admit(const struct slots *slots, struct slice name, uint64_t version);

/* The table as it would be with slots dealt out evenly among those who are here and stay.
 * SLOTS_SAME: it is so already, or nobody stays. Only while all hold, and those who lose are at rest, may it be taken over. */
enum slots_step slots_even(const struct slots *slots, struct slot_table *even);
void slots_take(struct slots *slots, const struct slot_table *table);

#endif
