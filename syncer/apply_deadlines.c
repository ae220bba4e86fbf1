/* apply_deadlines.c -- which deadlines a command of the stream gives, takes and moves (C8). See apply.h. */
#include "syncer/apply.h"

static void note_special(struct deadlines *deadlines, enum apply_class class, const struct unit_command *c, uint64_t offset) {
    int a = 0, b = 0;
    if (class == APPLY_FLUSHALL) deadlines_flush(deadlines, -1, offset);
    else if (class == APPLY_FLUSHDB) deadlines_flush(deadlines, c->db, offset);
    else if (apply_swapped(c->argc, c->argv, &a, &b)) deadlines_swap(deadlines, a, b, offset);
}

/* RENAME, MOVE and COPY: the last key takes the deadline of the first, which goes unless it is a COPY. */
static void note_moved(struct deadlines *deadlines, const struct apply_keys *keys, const struct command *command, bool again) {
    const struct apply_key *from = &keys->at[0], *to = &keys->at[keys->count - 1];
    int64_t moved = deadlines_find(deadlines, from->db, from->key);
    if (!again && strcmp(command->name, "copy") != 0) deadlines_remove(deadlines, from->db, from->key);
    if (!again) deadlines_remove(deadlines, to->db, to->key);
    if (moved != DEADLINE_NONE) deadlines_set(deadlines, to->db, to->key, moved);
}

void apply_note_deadlines(struct deadlines *deadlines, const struct apply_keys *keys, enum apply_class class,
                          const struct unit_command *c, uint64_t offset, int64_t now_ms) {
    if (class == APPLY_FLUSHALL || class == APPLY_FLUSHDB || class == APPLY_SWAPDB) note_special(deadlines, class, c, offset);
    if (keys->count == 0) return;
    bool again = offset == APPLY_AGAIN;
    int64_t given = apply_deadline_of(c->command, c->argc, c->argv, now_ms);
    if (given == APPLY_DEADLINE_MOVED) {
        note_moved(deadlines, keys, c->command, again);
        return;
    }
    for (size_t i = 0; i < keys->count; i++) {
        const struct apply_key *k = &keys->at[i];
        bool last = i + 1 == keys->count;
        if (!again && k->written && (k->replaced || (given >= 0 && last))) deadlines_remove(deadlines, k->db, k->key);
        if (given > 0 && last) deadlines_set(deadlines, k->db, k->key, given);
    }
}
