/* world_journal.c -- the real journal beside the world's model of one. See world_journal.h. */
#include "tests/sim/world_journal.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

static const char boot[JOURNAL_BOOT_SIZE + 1] = "00000000-0000-0000-0000-000000000001";

/* What was read. */
struct reading {
    bool dirty[MINI_DBS][MINI_KEYS], everything;
    uint64_t slots[LANE_SLOTS / 64];
    struct world *w; /* its deadlines are filled again */
};

void world_journal_open(struct world *w) {
    w->journal_memory = mem_zalloc(JOURNAL_SIZE_MIN);
    journal_init(&w->journal, w->journal_memory, JOURNAL_SIZE_MIN, boot);
}

void world_journal_close(struct world *w) {
    journal_close(&w->journal);
    mem_free(w->journal_memory);
}

static void on_key(void *self, int32_t db, struct slice name) {
    ((struct reading *)self)->dirty[db][name.data[0] - 'a'] = true;
}
static void on_slot(void *self, unsigned slot) {
    ((struct reading *)self)->slots[slot / 64] |= UINT64_C(1) << slot % 64;
}
static void on_everything(void *self) { ((struct reading *)self)->everything = true; }
static void on_lost(void *self) { snprintf(((struct reading *)self)->w->failed, 256, "the journal lost something"); }

static void on_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    struct world *w = ((struct reading *)self)->w;
    for (int i = 0; i < w->deadline_count; i++)
        if (w->deadlines[i].hash == hash && w->deadlines[i].at_ms == deadline_ms) return;
    snprintf(w->failed, sizeof w->failed, "a deadline that nobody wrote: %" PRId64, deadline_ms);
}

static void on_connection(void *self, enum journal_side side, int64_t server_id, const char *run_id) {
    (void)self, (void)side, (void)server_id, (void)run_id; /* the world has its own idea of them */
}

/* What the model says is dirty, by keys of their own and by entries. */
static void compare(struct world *w, const struct reading *r) {
    bool dirty[MINI_DBS][MINI_KEYS], everything = false;
    memcpy(dirty, w->dirty, sizeof dirty);
    for (int i = 0; i < w->entry_count; i++) {
        if (w->entries[i].key == 0) everything = true;
        else dirty[w->entries[i].db][w->entries[i].key - 'a'] = true;
    }
    bool same = memcmp(dirty, r->dirty, sizeof dirty) == 0 && everything == r->everything &&
                memcmp(w->dirty_slots, r->slots, sizeof r->slots) == 0;
    if (!same) snprintf(w->failed, sizeof w->failed, "the journal says something else than was told");
}

void world_journal_read(struct world *w) {
    struct reading r = {.w = w};
    struct journal_reader reader = {&r, on_key, on_slot, on_everything, on_deadline, on_lost, on_connection, on_lost};
    if (journal_read(slice_from(w->journal_memory, JOURNAL_SIZE_MIN), boot, &reader) != JOURNAL_GOOD)
        snprintf(w->failed, sizeof w->failed, "the journal is damaged");
    compare(w, &r);
    world_journal_close(w);
    world_journal_open(w);
}
