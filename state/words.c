/* words.c -- the names behind words.h. */
#include "state/words.h"

#include "lib/base/check.h"

#include <string.h>

static const char *const phase_names[PHASES] = {
    [PHASE_PLANNED] = "planned",     [PHASE_CHECKED] = "checked",
    [PHASE_COPYING] = "copying",     [PHASE_FOLLOWING] = "following",
    [PHASE_LEVEL] = "level",         [PHASE_CUTTING_OVER] = "cutting-over",
    [PHASE_GUARDED] = "guarded",     [PHASE_ROLLING_BACK] = "rolling-back",
    [PHASE_COMPLETED] = "completed", [PHASE_ABORTED] = "aborted",
};

const char *phase_name(enum phase phase) {
    ASSERT(phase < PHASES);
    return phase_names[phase];
}

bool phase_parse(const char *name, enum phase *phase) {
    for (unsigned i = 0; i < PHASES; i++) {
        if (strcmp(phase_names[i], name) != 0) continue;
        *phase = (enum phase)i;
        return true;
    }
    return false;
}

const char *side_name(enum side side) {
    ASSERT(side < SIDES);
    return side == SIDE_LEGACY ? "legacy" : "target";
}

bool side_parse(const char *name, enum side *side) {
    if (strcmp(name, "legacy") == 0)
        *side = SIDE_LEGACY;
    else if (strcmp(name, "target") == 0)
        *side = SIDE_TARGET;
    else
        return false;
    return true;
}

const char *link_name(enum link_id link) {
    ASSERT(link < LINKS);
    return link == LINK_FORWARD ? "forward" : "reverse";
}
