/* sm.h -- a state machine's map: which state may follow which.
 *
 * The owner writes the map as a table and moves only through sm_move(), so the
 * diagram in the header is checked at run time and every move can be traced.
 */
#ifndef LIB_BASE_SM_H
#define LIB_BASE_SM_H

#include "lib/base/check.h"

#include <stdint.h>

#define SM_TO(state) (UINT64_C(1) << (state))

struct sm_rule {
    const char *name;
    uint64_t next; /* SM_TO() of every state that may follow; 0 in a final state */
};

struct sm {
    const struct sm_rule *rules;
    unsigned state;
};

static inline const char *sm_name(const struct sm *m) {
    return m->rules[m->state].name;
}

static inline void sm_move(struct sm *m, unsigned next) {
    ASSERT(next < 64);
    ASSERT(m->rules[m->state].next & SM_TO(next));
    m->state = next;
}

#endif
