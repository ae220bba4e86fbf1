/* owners.h -- whose a command is by a table of slots, what goes ahead of it to other owners, and what
 * a new table means for a gateway; decided without I/O (C10, C10a, C20). See peers.h.
 *
 * A gateway decides about a command by its own table, which may be a later one than that by which
 * the command was sent. When it does not own the slot any more, or would have to pin keys at others
 * first, nothing was executed and its client is hung up on: what the client sent besides may have
 * gone another way, or would overtake it (C11a).
 */
#ifndef GATEWAY_OWNERS_H
#define GATEWAY_OWNERS_H

#include "gateway/effect.h"
#include "gateway/lane_keys.h"

#include "lib/control/slot_table.h"

/* Who owns the slot that says where EFFECT goes: slot 0 of a barrier, so that all of them
 * have one order; else that of its first written key, else of its first key; without any SELF. */
unsigned owners_home(const struct slot_table *table, const struct effect *effect, unsigned self);
/* It may write keys that HOME does not own: those are pinned there before it leaves. */
bool owners_are_several(const struct slot_table *table, const struct effect *effect, unsigned home);

/* ---- a command that some loop, or another gateway, asks for ---- */

struct owners_ask {
    bool own;       /* it runs on a connection of its client's: its keys are only to be pinned */
    bool from_peer; /* it was forwarded to us, by a table of VERSION */
    uint64_t version;
    const struct slot_table *table; /* of ours, by which HOME was chosen; NULL: not yet */
    unsigned home;
};

enum owners_way {
    OWNERS_OURS,
    OWNERS_LATER,   /* no table yet, or the other one knows a later one: when that is here */
    OWNERS_FORWARD, /* to *HOME */
    OWNERS_NOBODY,  /* nothing was sent: the client may try again */
    OWNERS_LOST,    /* its slots have moved: hang up */
};
enum owners_way owners_route(const struct slot_table *table, unsigned self,
                             const struct effect *effect, const struct owners_ask *ask,
                             unsigned *home);

/* ---- a new table ---- */

struct owners_news {
    unsigned self; /* in the table; its count: we are not in it */
    unsigned count;
    uint64_t owned[LANE_SLOTS / 64];
    uint64_t since;
    bool gained; /* there are slots that we did not have; always true of a process's first table */
    bool missed; /* slots were another's, perhaps, by a table that we never saw: all are gained */
    bool trusted; /* they are the ones of the process before us, whose journal says all there is */
};

/* HAD: what we own until now, by table SEEN; NULL: this is the first table. When tables between the two
 * were not seen, and we gained something by one of them, what we had may have been another's
 * meanwhile: the lanes are to forget that it was theirs before they get it again. NOTED: since when the journal knows all
 * of our slots; GOOD: it could be read. */
void owners_read(struct owners_news *news, const struct slot_table *table, struct slice name,
                 const uint64_t *had, uint64_t seen, uint64_t noted, bool good);

#endif
