/* lane_functions.h -- P's libraries of functions, brought to F (C15, C19).
 *
 * Libraries are no keys: no pass lists them. They change by barriers only (lane_barrier.h), whose
 * requests go down the first lane, at P and at F. So that lane's order is theirs: what P answers to
 * FUNCTION DUMP goes to F as FUNCTION RESTORE .. FLUSH at the same place (lane_read.h).
 *
 * They are to be copied at the start, when everything became dirty, and when a barrier could not be
 * done at F in its place, or F refused it. Until then the lanes are not level. A P that does not
 * know functions (before 7.0), or does not let the gateway's account near them, has none that our
 * clients could use. An F that does not know them has what P has when P has none; else the copy is
 * tried again after rules.copy_interval_ms, and `refused` says why the lanes are not level.
 *
 * Decided without I/O, over the lanes of one loop. Cached scripts are not data: hold.h, scripts.h.
 */
#ifndef GATEWAY_LANE_FUNCTIONS_H
#define GATEWAY_LANE_FUNCTIONS_H

#include "gateway/lane_read.h"

struct lane_functions {
    struct lane *home;
    struct lane_read read;
    char name[40]; /* of no key, in that lane */
    bool dirty;    /* also when it became so again while they were copied */
    bool asking;   /* a copy is under way */
    bool none;     /* ... and P has none */
    bool refused;  /* P has some, and F answered the last copy with an error */
    uint64_t due_ms;
    uint64_t copies, failed; /* figures */
};

/* All dirty. HOME: the lane that carries the requests of barriers. */
void lane_functions_init(struct lane_functions *functions, struct lane *home);

void lane_functions_mark(struct lane_functions *functions);
void lane_functions_turn(struct lane_functions *functions);

/* Append PAYLOAD, of FUNCTION DUMP, with the version of Redis 7.0 if a newer one wrote it: 7.0 refuses
 * that, and libraries are written in the same way. One that is unknown or broken stays as it is, for
 * F to refuse. */
void lane_functions_fit(struct slice payload, struct buf *out);

static inline bool lane_functions_are_clean(const struct lane_functions *functions) {
    return !functions->dirty && !functions->asking;
}

#endif
