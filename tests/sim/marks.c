/* marks.c -- what F must have at a place of a lane. See marks.h. */
#include "tests/sim/marks.h"

#include "lib/base/mem.h"

#include <stdio.h>

void mark_put(struct wire *wire, struct lane *lane, const struct mini_state *state) {
    struct message *m = wire_ask(wire, (struct slice){0}, 0);
    m->is_mark = true;
    m->state = mem_dup(state, sizeof *state);
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            struct slice key = slice_from(&name, 1);
            if (!lane_owns(lane, key)) continue;
            bool is_volatile = lane_deadlines_find(&lane->deadlines, lane_deadlines_hash(db, key)) != LANE_DEADLINE_NONE;
            m->has[db][k] = !is_volatile && !lane_keys_is_dirty(&lane->keys, db, key);
        }
}

static bool can_expire(const struct mini_value *v) {
    return v->type != MINI_NONE && v->expire_ms >= 0;
}

uint64_t mark_check(const struct message *mark, const struct mini_state *follower, char *failed, size_t size) {
    uint64_t compared = 0;
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            if (!mark->has[db][k]) continue;
            const struct mini_value *p = &mark->state->at[db][k], *f = &follower->at[db][k];
            if (can_expire(p) || can_expire(f)) continue;
            compared++;
            if (!mini_same(p, f) && !failed[0])
                snprintf(failed, size, "clean key %c of db %d: P had type %d count %d '%s', F has type %d count %d '%s'", 'a' + k, db,
                         (int)p->type, p->count, p->item[0], (int)f->type, f->count, f->item[0]);
        }
    return compared;
}

void marks_drop(struct wire *wire) {
    for (struct message *m = wire ? wire->asked.head : NULL; m; m = m->next) memset(m->has, 0, sizeof m->has);
}
