/* words.h -- sides, phases and places: the words that ledger, deciders and API share. */
#ifndef STATE_WORDS_H
#define STATE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

enum side { SIDE_LEGACY, SIDE_TARGET, SIDES };

static inline enum side side_other(enum side side) {
    return side == SIDE_LEGACY ? SIDE_TARGET : SIDE_LEGACY;
}
const char *side_name(enum side side);

/* The links are named by their direction. The one that leads away from the primary side is active.
 */
enum link_id { LINK_FORWARD, LINK_REVERSE, LINKS };
const char *link_name(enum link_id link);
static inline enum link_id link_from(enum side primary) {
    return primary == SIDE_LEGACY ? LINK_FORWARD : LINK_REVERSE;
}
static inline enum link_id link_other(enum link_id link) {
    return link == LINK_FORWARD ? LINK_REVERSE : LINK_FORWARD;
}
static inline enum side link_source(enum link_id link) {
    return link == LINK_FORWARD ? SIDE_LEGACY : SIDE_TARGET;
}

/* See workflow.h for the map. */
enum phase {
    PHASE_PLANNED,
    PHASE_CHECKED,
    PHASE_COPYING,
    PHASE_FOLLOWING,
    PHASE_LEVEL,
    PHASE_CUTTING_OVER,
    PHASE_GUARDED,
    PHASE_ROLLING_BACK,
    PHASE_COMPLETED,
    PHASE_ABORTED,
    PHASES
};
const char *phase_name(enum phase phase); /* "cutting-over" */
bool phase_parse(const char *name, enum phase *phase);
bool side_parse(const char *name, enum side *side);

/* A place in a server's history of writes. */
struct place {
    char replid[41]; /* empty: not known */
    int64_t offset;
};

#endif
