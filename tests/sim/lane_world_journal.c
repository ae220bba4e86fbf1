/* lane_world_journal.c -- the journal of the simulated gateway: it stays when the gateway dies. See
 * lane_world.h. */
#include "tests/sim/lane_world.h"

static int key_of(struct slice name) { return name.data[0] - 'a'; }

static void journal_add(struct world *w, uint64_t id, int db, char key) {
    ASSERT(w->entry_count < 512);
    w->entries[w->entry_count++] = (struct journal_entry){id, db, key};
}
static void j_entry(void *self, uint64_t id, const struct lane_journal_key *keys, size_t count) {
    struct world *w = self;
    for (size_t i = 0; i < count; i++) {
        struct journal_key key = {keys[i].name, keys[i].db};
        journal_entry(&w->journal, id, &key, 1);
        journal_add(w, id, keys[i].db, (char)keys[i].name.data[0]);
    }
}
static void j_entry_all(void *self, uint64_t id) {
    journal_entry_all(&((struct world *)self)->journal, id);
    journal_add(self, id, 0, 0);
}
static void j_forget(void *self, uint64_t id) {
    struct world *w = self;
    int kept = 0;
    journal_forget(&w->journal, id);
    for (int i = 0; i < w->entry_count; i++)
        if (w->entries[i].id != id) w->entries[kept++] = w->entries[i];
    w->entry_count = kept;
}
static void j_key(void *self, int32_t db, struct slice name, bool dirty) {
    journal_key(&((struct world *)self)->journal, db, name, dirty);
    ((struct world *)self)->dirty[db][key_of(name)] = dirty;
}
static void j_slot(void *self, unsigned slot, bool dirty) {
    uint64_t *word = &((struct world *)self)->dirty_slots[slot / 64], bit = UINT64_C(1) << (slot % 64);
    *word = dirty ? *word | bit : *word & ~bit;
    journal_slot(&((struct world *)self)->journal, slot, dirty);
}
static void j_deadline(void *self, uint64_t hash, int64_t at_ms) {
    struct world *w = self;
    int i = 0;
    journal_deadline(&w->journal, hash, at_ms);
    while (i < w->deadline_count && w->deadlines[i].hash != hash) i++;
    if (at_ms == 0) {
        if (i < w->deadline_count) w->deadlines[i] = w->deadlines[--w->deadline_count];
        return;
    }
    if (i == w->deadline_count) w->deadline_count++;
    ASSERT(w->deadline_count <= 64);
    w->deadlines[i].hash = hash;
    w->deadlines[i].at_ms = at_ms;
}
static void j_connection(void *self, enum lane_side side, int64_t id, const char *run_id) {
    (void)self, (void)side, (void)id, (void)run_id;
}

void world_no_journal(struct world *w) {
    w->entry_count = w->deadline_count = 0;
    memset(w->dirty, 0, sizeof w->dirty);
    memset(w->dirty_slots, 0, sizeof w->dirty_slots);
}

struct lane_journal world_journal(struct world *w) {
    return (struct lane_journal){w, j_entry, j_entry_all, j_forget, j_key, j_slot, j_deadline, j_connection, j_connection};
}

/* What the journal says (lane_journal.h), in a world of one-letter keys. */
void world_recover(struct world *w) {
    struct world was = *w;
    world_no_journal(w); /* the next one begins empty, and the lanes fill it again */
    for (int i = 0; i < was.deadline_count; i++)
        for (unsigned n = 0; n < w->lane_count; n++) lane_deadlines_set(&w->lanes.lane[n].deadlines, was.deadlines[i].hash, was.deadlines[i].at_ms, 0);
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++)
        if ((was.dirty_slots[slot / 64] >> (slot % 64)) & 1) lane_keys_mark_slot(&w->lanes.lane[slot % w->lane_count].keys, slot);
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            struct slice key = slice_from(&name, 1);
            if (was.dirty[db][k] && !w->off[OFF_JOURNAL_DIRTY]) lane_mark(&w->lanes.lane[lane_of(w->lane_count, key)], db, key);
        }
    for (int i = 0; i < was.entry_count && !w->off[OFF_JOURNAL_ENTRY]; i++) {
        struct slice key = slice_from(&was.entries[i].key, 1);
        if (was.entries[i].key == 0) lanes_mark_all(&w->lanes);
        else lane_mark(&w->lanes.lane[lane_of(w->lane_count, key)], was.entries[i].db, key);
    }
}
