/* holders.h -- pins of other gateways at our lanes, and when all of them are known; decided without
 * I/O (C10a). See peers.h.
 *
 * Each other gateway is a holder. What it has pinned here outlives its connections: when it connects
 * anew it tells all its pins again, and SYNCED says that these were all; what it did not tell again
 * is over. A holder that is in the table no more is gone, with its pins: state has seen to it that
 * its connections are (C25).
 *
 * An owner that has just got slots copies nothing before each other gateway has said SYNCED to the
 * table with which it got them: holders_are_known().
 *
 * Hostile input: the words of PIN are checked as a whole.
 */
#ifndef GATEWAY_HOLDERS_H
#define GATEWAY_HOLDERS_H

#include "gateway/lanes.h"

#include "lib/base/queue.h"
#include "lib/control/slot_table.h"

struct visitor;

struct holder {
    struct list link; /* holders->list */
    char name[SLOT_TABLE_NAME_BYTES];
    uint64_t synced; /* the highest version with which it said SYNCED */
    struct list pins;
    struct visitor *visitor; /* the owner's: its latest connection */
};

struct holders {
    struct list list;
    struct lanes *lanes;
    /* The keys of EFFECT, which dies now, are pinned no more: what waits for them may be tried. */
    void (*unpinned)(void *self, const struct effect *effect);
    void *self;
};

void holders_init(struct holders *holders, struct lanes *lanes,
                  void (*unpinned)(void *self, const struct effect *effect), void *self);
void holders_close(struct holders *holders); /* the process ends: nothing is unpinned */

struct holder *holders_get(struct holders *holders, struct slice name); /* a new one, perhaps */
/* It has connected (anew). */
void holder_connected(struct holder *holder, struct visitor *visitor);
/* "all" or "some", then database and name of each key. Told again on a new connection it is pinned
 * already. False: this is no such message. */
MUST_CHECK bool holder_pin(struct holders *holders, struct holder *holder, uint64_t id, size_t argc,
                           const struct slice *argv);
void holder_unpin(struct holders *holders, struct holder *holder, uint64_t id);
void holder_synced(struct holders *holders, struct holder *holder, uint64_t version);
/* It is in the table no more; frees it. */
void holder_gone(struct holders *holders, struct holder *holder);

/* All in TABLE but SELF have said SYNCED since version SINCE. */
bool holders_are_known(const struct holders *holders, const struct slot_table *table,
                       const char *self, uint64_t since);

#endif
