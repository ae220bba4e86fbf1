/* dual_witness.h -- dual write: the connections over which both sides tell which keys changed (C22).
 *
 *        P <----- W: CLIENT TRACKING ON BCAST NOLOOP, then INFO as fences ---- witness.h
 *        F <----- a connection that is only ready, and tells names while clients are held: so no
 *                 name is missed when the sides change roles
 *
 * OFF by gateway.witness. REFUSED: the side is older than 6.0 or does not allow it, and is asked again
 * every ten seconds. DOWN: the connection is not there (any more); nothing is level meanwhile. ON.
 *
 * What is safe over the death of the process is in run_dir/NAME.witness (witness_safe).
 */
#ifndef GATEWAY_DUAL_WITNESS_H
#define GATEWAY_DUAL_WITNESS_H

#include "gateway/dual.h"

struct dual_witness;
struct lane_item;

enum dual_witness_state { DUAL_WITNESS_OFF, DUAL_WITNESS_REFUSED, DUAL_WITNESS_DOWN, DUAL_WITNESS_ON };

struct dual_witness *dual_witness_open(struct dual *dual);
void dual_witness_close(struct dual_witness *all); /* NULL is fine */

void dual_witness_turn(struct dual_witness *all);
void dual_witness_tick(struct dual_witness *all);

/* From its connections (backend.c). */
void dual_witness_ready(struct backend *backend);
void dual_witness_lost(struct backend *backend);
/* Names, at the front of BYTES; false: nothing more can be taken now. */
MUST_CHECK bool dual_witness_take(struct backend *backend, struct slice bytes, size_t *used);

/* A client's command leaves for P / was answered, wherever, or can no longer be executed. */
void dual_witness_sent(struct dual_witness *all, const struct lane_item *item);
void dual_witness_owe(struct dual_witness *all);

/* A fence soon, even if nothing happened. */
void dual_witness_wish(struct dual_witness *all);

/* All names of what was answered before dual_witness_owe() are judged; or there is no witness. */
bool dual_witness_is_proved(const struct dual_witness *all);
/* Likewise while clients are held, and names of the other side are told, too: the sides may change
 * roles. */
bool dual_witness_may_turn(const struct dual_witness *all);
/* Before the process ends: the next one need not doubt anything, if nobody runs scripts meanwhile. */
bool dual_witness_has_settled(const struct dual_witness *all);
/* Names are kept for later: both sides are level in a hold, and what P only expires from now on must
 * not undo that. */
void dual_witness_freeze(struct dual_witness *all, bool freeze);
/* NEXT is P from now on. */
void dual_witness_swapped(struct dual_witness *all, enum side next);

/* Clients are not held any more / the lanes own other slots (C22b). */
void dual_witness_released(struct dual_witness *all);
void dual_witness_owned(struct dual_witness *all);

/* It is about to say whether everything is dirty: a pass that began now would be for nothing. */
bool dual_witness_is_awaited(const struct dual_witness *all);

/* How many fences were answered; UINT64_MAX: there is no witness. */
uint64_t dual_witness_fences(const struct dual_witness *all);
void dual_witness_figures(const struct dual_witness *all, uint64_t figures[DUAL_FIGURES]);

#endif
