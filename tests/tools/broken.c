/* broken.c -- the whole program, with one rule of the lanes broken: proof that a test can fail.
 *
 *     BREAK=c12 build/tests/tools/broken gateway FILE
 *
 * The linker leads the lanes' calls of the functions below here (--wrap, see the Makefile); nothing
 * of this is in the program itself. tests/e2e/test_lanes_load.py must find each of RULES.
 */
#include "main.c"

#include "gateway/journal.h"
#include "gateway/lanes.h"
#include "gateway/witness.h"

#include <stdlib.h>
#include <string.h>

static bool broken(const char *rule) {
    const char *which = getenv("BREAK");
    return which != NULL && strcmp(which, rule) == 0;
}

/* C12: effects go to F whether it has P's values or not. */
bool __real_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name);
bool __wrap_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name);
bool __wrap_lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name) {
    return !broken("c12") && __real_lane_keys_is_dirty(keys, db, name);
}

/* C12, C16: what cannot be told, or counts on a dirty key, is forgotten. */
void __real_lane_mark_keys(struct lane *lane, const struct effect_key *keys, size_t count,
                           bool outside);
void __wrap_lane_mark_keys(struct lane *lane, const struct effect_key *keys, size_t count,
                           bool outside);
void __wrap_lane_mark_keys(struct lane *lane, const struct effect_key *keys, size_t count,
                           bool outside) {
    if (!broken("c16")) __real_lane_mark_keys(lane, keys, count, outside);
}

/* C12a: nobody thinks of keys that vanish by themselves. */
int64_t __real_lane_deadlines_find(const struct lane_deadlines *deadlines, uint64_t hash);
int64_t __wrap_lane_deadlines_find(const struct lane_deadlines *deadlines, uint64_t hash);
int64_t __wrap_lane_deadlines_find(const struct lane_deadlines *deadlines, uint64_t hash) {
    return broken("c12a") ? LANE_DEADLINE_NONE : __real_lane_deadlines_find(deadlines, hash);
}

/* C10a: other lanes do not learn that their keys are written. */
void __real_lane_pin(struct lane *lane, const struct effect *effect);
void __real_lane_unpin(struct lane *lane, const struct effect *effect);
void __wrap_lane_pin(struct lane *lane, const struct effect *effect);
void __wrap_lane_unpin(struct lane *lane, const struct effect *effect);
void __wrap_lane_pin(struct lane *lane, const struct effect *effect) {
    if (!broken("c10a")) __real_lane_pin(lane, effect);
}
void __wrap_lane_unpin(struct lane *lane, const struct effect *effect) {
    if (!broken("c10a")) __real_lane_unpin(lane, effect);
}

/* C15: what both sides list is not copied. */
void __real_lane_pass_name(struct lane *lane, int32_t db, struct slice name);
void __wrap_lane_pass_name(struct lane *lane, int32_t db, struct slice name);
void __wrap_lane_pass_name(struct lane *lane, int32_t db, struct slice name) {
    if (!broken("c15")) __real_lane_pass_name(lane, db, name);
}

/* C20: nothing is written down before it leaves. */
void __real_journal_entry(struct journal *journal, uint64_t id, const struct journal_key *keys,
                          size_t count);
void __wrap_journal_entry(struct journal *journal, uint64_t id, const struct journal_key *keys,
                          size_t count);
void __wrap_journal_entry(struct journal *journal, uint64_t id, const struct journal_key *keys,
                          size_t count) {
    if (!broken("c20")) __real_journal_entry(journal, id, keys, count);
}

/* C22: what others did is told, and nobody listens. */
void __real_witness_name(struct witness *witness, struct slice name);
void __wrap_witness_name(struct witness *witness, struct slice name);
void __wrap_witness_name(struct witness *witness, struct slice name) {
    if (!broken("c22")) __real_witness_name(witness, name);
}

/* C22, C22b: names of slots that are about to change hands are nobody's (test_lanes_handover_stranger.py). */
void __real_witness_owned(struct witness *witness);
void __wrap_witness_owned(struct witness *witness);
void __wrap_witness_owned(struct witness *witness) {
    if (!broken("c22b")) __real_witness_owned(witness);
}

/* C22a: a server that was started again is taken for one that kept everything. */
size_t __real_lane_follower_restarted(struct lane *lane, struct slice answer);
size_t __wrap_lane_follower_restarted(struct lane *lane, struct slice answer);
size_t __wrap_lane_follower_restarted(struct lane *lane, struct slice answer) {
    return broken("c22a") ? 0 : __real_lane_follower_restarted(lane, answer);
}
