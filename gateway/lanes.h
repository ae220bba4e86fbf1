/* lanes.h -- all lanes of one loop, and what concerns more than one of them (C10a, C11a, C19).
 *
 * A client's command goes down the lane of its first written key (else of its first key). When it
 * may write keys that are not in that lane's order, those are pinned at their lanes before it
 * leaves, and unpinned when it is answered or its connection is known to be gone; what it wrote is
 * copied. Nothing waits for a pin. EXEC under WATCH runs on a connection of its client's own, which
 * is in no lane's order at all: lanes_pin() and lanes_unpin() around it.
 *
 * A command leaves only when its client's earlier commands in other lanes are answered:
 * lanes_take() says so.
 *
 * With several gateways a gateway owns some slots (lanes_own()). What a command writes in others' is
 * pinned there by whoever sends it, before lanes_send(); lanes->over says when that is over.
 *
 * Everything that a lane is told (lane.h) is told to lanes->lane[n]; at the end of each callback
 * call lanes_turn(), which sends copies, goes on with barriers, and asks for pages of a pass.
 */
#ifndef GATEWAY_LANES_H
#define GATEWAY_LANES_H

#include "gateway/lane_barrier.h"
#include "gateway/lane_functions.h"
#include "gateway/lane_scan.h"

struct lanes;

/* As struct lane_ops. None may call back. */
struct lanes_ops {
    void (*to_primary)(void *self, unsigned lane, struct lane_item *item, struct slice bytes,
                       uint32_t replies, int32_t db, int32_t db_after);
    void (*to_follower)(void *self, unsigned lane, const struct lane_item *item);
    void (*answered)(void *self, struct lane_item *item, struct slice answer);
    void (*nothing_there)(void *self, struct lane_item *item);
    void (*lost)(void *self, struct lane_item *item);
    void (*wrote)(void *self, const struct effect *effect);
    /* "SCAN cursor" at SIDE in database db; the answer to lane_scan_page() with this round. */
    void (*scan)(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round);
};

struct lanes {
    const struct lanes_ops *ops;
    void *self;
    unsigned count;
    struct lane *lane; /* count */
    struct lane_barrier barrier;
    struct lane_functions functions;
    struct lane_scan scan;
    uint64_t owned[LANE_SLOTS / 64]; /* slots of this gateway; all, until lanes_own() */
    /* May be NULL: a command whose item->pins are set is answered, or its connection is known to be
     * gone. ITEM is freed when it returns. */
    void (*over)(void *self, struct lane_item *item);
};

void lanes_init(struct lanes *lanes, const struct lanes_ops *ops, void *self,
                const struct lane_journal *journal, const struct clock *clock,
                const struct lane_rules *rules, unsigned count);
void lanes_close(struct lanes *lanes);

enum lanes_take {
    LANES_SENT,
    LANES_BUSY, /* the client's earlier commands in other lanes must be answered first */
    LANES_WAIT, /* the lane is not connected, stands still for a barrier, or a big key that is to
                 * be written is being copied (C14a): try again later */
};

/* Where the client's unanswered commands are; all zero at first. */
struct lanes_place {
    unsigned lane;
    size_t unanswered; /* the owner's to count down */
    bool pinned; /* keys were pinned elsewhere for it: outside it is, whoever owns them by now */
};

/* Which of COUNT lanes EFFECT goes down; without a key: BEFORE, that of the client's last one. */
unsigned lanes_home_of(unsigned count, const struct effect *effect, unsigned before);

/* Which lane EFFECT would go down. */
unsigned lanes_home(const struct lanes *lanes, const struct effect *effect,
                    const struct lanes_place *place);

/* Send it now, if it may leave: then LANES has taken EFFECT and *ITEM is what the ops will name.
 * Else nothing was done and EFFECT is still the caller's. A barrier is taken even if it cannot
 * leave at once. */
enum lanes_take lanes_send(struct lanes *lanes, struct lanes_place *place, struct effect *effect,
                           void *client, struct lane_item **item);

/* The same for a simple command (effect.h): RAW as an array of bulk strings, NAME its key in it. False:
 * nothing was done; it goes by an effect. */
MUST_CHECK bool lanes_send_simple(struct lanes *lanes, struct lanes_place *place,
                                  const struct effect_simple *simple, int32_t db,
                                  struct slice name, struct slice raw, void *client);

/* EFFECT writes a big key that is being copied: it may not leave now, down whichever connection
 * (C14a). lanes_send() asks by itself. */
MUST_CHECK bool lanes_stops(struct lanes *lanes, const struct effect *effect);

/* Around a command on a connection of its own. */
void lanes_pin(struct lanes *lanes, const struct effect *effect);
void lanes_unpin(struct lanes *lanes, const struct effect *effect);

/* Which slots this gateway owns from now on. Those that it gets are dirty, unless TRUSTED: then the
 * journal said all there is. SHARED: other gateways own the rest. What it has lost it forgets;
 * barriers that wait are lost with slot 0. The owner takes back what waits for a slot that is not
 * its own any more. */
void lanes_own(struct lanes *lanes, const uint64_t owned[LANE_SLOTS / 64], bool shared,
               bool trusted);
/* Likewise, shared, but for CARRIED: what is dirty there the caller marks next (C22b). */
void lanes_own_carried(struct lanes *lanes, const uint64_t owned[LANE_SLOTS / 64],
                       const uint64_t carried[LANE_SLOTS / 64]);
/* For a hand-over: nothing more leaves / nothing is under way to either side, or could be (C22b). */
void lanes_rest(struct lanes *lanes, bool rest);
bool lanes_are_at_rest(const struct lanes *lanes);

void lanes_mark_all(struct lanes *lanes);
void lanes_turn(struct lanes *lanes);

/* F equals P, if no client's command is unanswered on a connection of its own. */
bool lanes_are_level(const struct lanes *lanes);
bool lanes_are_quiet(const struct lanes *lanes);

#endif
