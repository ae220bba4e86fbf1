/* peers.h -- lanes over several gateways: forwarding to the owner, and pins elsewhere (C10, C10a).
 *
 * State's table (lib/control/slot_table.h) says which gateway owns which slots. All of this happens
 * in loop 0, where the lanes are:
 *
 *     ask of any loop, for another's slot --DO--> the owner's loop 0, as if it were one of its
 * loops its client        <--A--- the answer; L: lost, its client is hung up on ask whose command
 * writes keys of other gateways, at the owner of the first:
 *                       --PIN--> all others   <--P-- pinned: only then does it leave
 *                       --UNPIN--> when it is answered, or its connection is known to be gone
 *
 * Each gateway dials each other one. When such a connection breaks, what was asked over it and is
 * not answered is lost; pins stay, and are told again on the next connection; SYNCED says that they
 * all were. An owner that has just got slots, or was just started, copies nothing until each other
 * gateway has said SYNCED to the table with which it got them: until then a pin may be out there
 * that it does not know (it counts as a connection that is not known to be gone).
 *
 * A PIN, as a DO, names the epoch in which its command leaves: who has not been released to that epoch
 * yet lets it wait, with all that comes behind it. Else its lanes, in their old roles, would copy the
 * key from the old primary side over what the command did at the new one.
 *
 * Pins of a gateway that is in the table no more are gone: state has seen to it that its
 * connections are. Of a process before this one under the same name: SYNCED is said only when the
 * connections in its journal are known to be gone.
 *
 * Whose a command is decides owners.h; what others have pinned here is kept by holders.h.
 *
 * The messages are in docs/CONTROL.md. Hostile input: peers are trusted to be peers (a Unix socket
 * or certificates), not to be right: every message is checked, and what is not understood ends the
 * connection.
 */
#ifndef GATEWAY_PEERS_H
#define GATEWAY_PEERS_H

#include "gateway/far.h"
#include "gateway/owners.h"

#include "lib/control/slot_table.h"

struct dual;
struct peers;
struct visitor;
struct far_pin;
struct lane_item;

MUST_CHECK enum err peers_open(struct peers **peers, struct dual *dual, struct why *why);
void peers_close(struct peers *peers); /* NULL is fine */

/* There is a new table, and the lanes have taken it over. GAINED: there are new slots of ours. */
void peers_on_table(struct peers *peers, bool gained);
void peers_tick(struct peers *peers);
void peers_turn(struct peers *peers); /* at the end of the loop's turn: we may have been released */
/* The listener reads its certificate again, if it has one. */
void peers_reload_tls(struct peers *peers);

/* To the owner, gateway number HOME of the table; takes ASK, whose request is set. */
void peers_forward(struct peers *peers, struct ask *ask, unsigned home);
void peers_cancel(struct peers *peers,
                  const struct ask *cancel); /* a blocking one, if it is there */
void peers_unblock(struct peers *peers, const struct ask *what); /* likewise */
/* Of a visitor: the answer goes back to where it came from; frees ASK. */
void peers_answer(struct peers *peers, struct ask *ask);

/* A visitor's, of which nothing is under way: the slot is another's now, and it may ask there. */
void peers_moved(struct peers *peers, struct ask *ask);

/* All gateways hold: what the others have answered to what blocks here was sent before. / Whether it
 * has come, so that what is not answered now did nothing. */
void peers_fence(struct peers *peers);
bool peers_are_fenced(const struct peers *peers);

/* The lanes end (C1). What blocks and waits here or there is asked anew by what the capture is then:
 * visitors are told so, and ours are given back. Whatever else is under way is lost. */
void peers_retire(struct peers *peers);
void peers_waits_elsewhere(struct peers *peers, struct ask *ask); /* a visitor's, that waited here */

/* Pin what EFFECT may write at all other gateways; DONE(ASK) when they all have. */
struct far_pin *peers_pin(struct peers *peers, const struct effect *effect, struct ask *ask,
                          void (*done)(struct dual *dual, struct ask *ask));
void peers_unpin(struct peers *peers, struct far_pin *pin);

/* ---- a hand-over of slots (peers_carry.c) ---- */

/* We are at rest, and dual->move says what will be: tell each gateway that gets slots of ours what we
 * know about them. / Whether those that can be reached have it. */
void peers_carry(struct peers *peers);
bool peers_have_carried(const struct peers *peers);
/* TABLE comes after BEFORE: adds those of our new slots to SLOTS about which all is known; how many.
 * When the lanes own them: what is known. */
unsigned peers_carried(struct peers *peers, const struct slot_table *before,
                       const struct slot_table *table, uint64_t slots[LANE_SLOTS / 64]);
void peers_unpack(struct peers *peers, const struct slot_table *before,
                  const uint64_t slots[LANE_SLOTS / 64]);
void peers_drop_parcels(struct peers *peers); /* nothing of it holds any more */

#endif
