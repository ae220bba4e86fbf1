/* lane_big.h -- the copy of a big key, in chunks under a fence (C14a).
 *
 * Every copy begins with a question for the key's size (lane_big_measure()). A small value goes in
 * one DUMP; a big one, and one whose DUMP F has refused, goes piece by piece (chunks.h), one key of
 * a lane at a time. All questions go down the lane, and no write of the key leaves between the first
 * and the last: so they all read the same value, and the last piece has the place of the copy.
 *
 *   the fence is closed   when the copy should take less than rules.fence_ms: clients that want to
 *                         write the key wait (lane_big_stops()). When one has waited for that long,
 *                         the copy is given up.
 *   the fence is open     when it would take longer: the first write of the key ends the copy
 *
 * A copy that was given up is tried again later and later, up to a minute; while clients are held
 * for a barrier (lane->hurry) at once. After three of them a key of up to eight times rules.big_bytes
 * goes in one DUMP all the same. A larger one that is written all the time and takes longer than
 * fence_ms is copied in a hold only: lane_big_estimate_ms() tells beforehand how long that will be.
 *
 * Whatever comes from outside the lane's order ends the copy by the key's generation (C13a); a
 * barrier (C19) does too. F has half a value meanwhile, and the key is dirty.
 *
 * Memory: one chunk at P, and bytes for F up to rules.big_queue_bytes before the next is asked for.
 */
#ifndef GATEWAY_LANE_BIG_H
#define GATEWAY_LANE_BIG_H

#include "gateway/lane_keys.h"
#include "gateway/chunks.h"

struct lane;
struct lane_item;
struct effect;

struct lane_big {
    struct lane_key *key; /* that is being copied; NULL: none */
    uint64_t gen;         /* of the key, when it began */
    bool asked;           /* a question is on its way */
    bool closed;          /* writes wait */
    uint64_t began;       /* how many copies were begun: what was asked for another is void */
    uint64_t began_ms, waited_since_ms; /* monotonic; 0: nobody waits */
    struct chunks chunks;
    /* figures */
    uint64_t copied, given_up, bytes_per_s; /* bytes_per_s: of the last copies; 0: not known */
    uint64_t keys, bytes;                   /* big ones that are dirty now, as far as known */
};

void lane_big_close(struct lane *lane);

/* ---- for lane.c ---- */

/* Append the question for the key's size; returns how many replies it will have. */
uint32_t lane_big_measure(const struct lane *lane, struct buf *out, struct slice key);
/* What it says; 0: there is no key. False: it was refused; ask again, in another way. */
MUST_CHECK bool lane_big_measured(struct lane *lane, struct slice answer, uint64_t *size);

/* Whether a key of SIZE has to go by chunks. */
bool lane_big_is(const struct lane *lane, const struct lane_key *key, uint64_t size);
/* Begin with KEY, which is being copied; false: another one is under way. */
MUST_CHECK bool lane_big_begin(struct lane *lane, struct lane_key *key, uint64_t size);
void lane_big_turn(struct lane *lane);
/* ITEM is the question. */
void lane_big_answered(struct lane *lane, struct lane_item *item, struct slice answer);
void lane_big_lost(struct lane *lane);
void lane_big_forget(struct lane *lane, struct lane_key *key); /* it is clean, or unknown */

/* ---- for the owner ---- */

/* EFFECT is about to leave, down this or another lane. True: it has to wait. */
MUST_CHECK bool lane_big_stops(struct lane *lane, const struct effect *effect);
/* Give up what is under way. */
void lane_big_end(struct lane *lane);
/* How long the big keys that are dirty will take. */
uint64_t lane_big_estimate_ms(const struct lane *lane);

/* What the owner says in place of an answer that was longer than an item's limit. */
extern const struct slice lane_big_too_long;

#endif
