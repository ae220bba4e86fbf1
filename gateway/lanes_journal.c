/* lanes_journal.c -- the lanes of a loop and their journal in a file. See lanes_journal.h. */
#include "gateway/lanes_journal.h"

#include "lib/base/mem.h"

/* ---- writing ---- */

_Static_assert((int)LANE_P == (int)JOURNAL_P && (int)LANE_F == (int)JOURNAL_F, "sides");
_Static_assert(LANE_SLOTS == JOURNAL_SLOTS, "slots");

#define KEYS_AT_ONCE 128u /* a burst */

static void on_entry(void *self, uint64_t id, const struct lane_journal_key *keys, size_t count) {
    struct journal_key some[KEYS_AT_ONCE];
    for (size_t done = 0; done < count;) {
        size_t n = 0;
        for (; n < KEYS_AT_ONCE && done < count; n++, done++)
            some[n] = (struct journal_key){.name = keys[done].name, .db = keys[done].db};
        journal_entry(self, id, some, n);
    }
}
static void on_entry_all(void *self, uint64_t id) {
    journal_entry_all(self, id);
}
static void on_forget(void *self, uint64_t id) {
    journal_forget(self, id);
}
static void on_key(void *self, int32_t db, struct slice name, bool dirty) {
    journal_key(self, db, name, dirty);
}
static void on_slot(void *self, unsigned slot, bool dirty) {
    journal_slot(self, slot, dirty);
}
static void on_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    journal_deadline(self, hash, deadline_ms);
}
static void on_opened(void *self, enum lane_side side, int64_t server_id, const char *run_id) {
    journal_opened(self, (enum journal_side)side, server_id, run_id);
}
static void on_gone(void *self, enum lane_side side, int64_t server_id, const char *run_id) {
    journal_gone(self, (enum journal_side)side, server_id, run_id);
}

void lanes_journal_bind(struct lane_journal *table, struct journal *journal) {
    *table = (struct lane_journal){.self = journal,
                                   .entry = on_entry,
                                   .entry_all = on_entry_all,
                                   .forget = on_forget,
                                   .key = on_key,
                                   .slot = on_slot,
                                   .deadline = on_deadline,
                                   .opened = on_opened,
                                   .gone = on_gone};
}

/* ---- reading ---- */

struct recovery {
    struct lanes *lanes;
    struct lanes_recovered *out;
    struct journal *journal; /* the new one */
};

static struct lane *lane_of_slot(const struct recovery *r, unsigned slot) {
    return &r->lanes->lane[slot % r->lanes->count];
}

static void read_key(void *self, int32_t db, struct slice name) {
    struct recovery *r = self;
    r->out->keys++;
    lane_mark(lane_of_slot(r, slot_cluster(name)), db, name);
}

static void read_slot(void *self, unsigned slot) {
    struct recovery *r = self;
    r->out->slots++;
    lane_keys_mark_slot(&lane_of_slot(r, slot)->keys, slot);
}

static void read_everything(void *self) {
    struct recovery *r = self;
    lanes_mark_all(r->lanes);
}

static void read_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    struct recovery *r = self;
    r->out->deadlines++;
    struct lane *lane = lane_of_slot(r, lane_deadlines_slot(hash));
    lane_deadlines_set(&lane->deadlines, hash, deadline_ms, 0);
}

static void read_deadlines_lost(void *self) {
    struct recovery *r = self;
    journal_deadlines_lost(r->journal);
    for (unsigned i = 0; i < r->lanes->count; i++) r->lanes->lane[i].deadlines.lost = true;
}

static void bury_in_all(struct lanes *lanes, enum lane_side side) {
    for (unsigned i = 0; i < lanes->count; i++) lane_buried(&lanes->lane[i], side);
}

/* In the journal a server that there is no connection to has this one. */
#define NO_CONNECTION INT64_C(-1)

void lanes_note_server(struct journal *journal, enum lane_side side, const char *run_id) {
    if (run_id[0] != '\0') journal_opened(journal, (enum journal_side)side, NO_CONNECTION, run_id);
}

/* Which lane it was is not known, nor does it matter: lanes may have been more or fewer then. */
static void read_connection(void *self, enum journal_side side, int64_t server_id,
                            const char *run_id) {
    struct recovery *r = self;
    struct lanes_recovered *out = r->out;
    if (server_id == NO_CONNECTION) {
        memcpy(out->run_id[side], run_id, strnlen(run_id, JOURNAL_RUN_ID_SIZE));
        return;
    }
    struct lanes_buried buried = {.side = (enum lane_side)side, .server_id = server_id};
    memcpy(buried.run_id, run_id, strnlen(run_id, JOURNAL_RUN_ID_SIZE));
    out->buried = mem_realloc(out->buried, (out->count + 1) * sizeof *out->buried);
    out->buried[out->count++] = buried;
    journal_opened(r->journal, side, server_id, run_id); /* until it is known to be gone */
    bury_in_all(r->lanes, buried.side);
}

static void others(struct recovery *r) {
    if (r->out->others) return;
    r->out->others = true;
    journal_connections_lost(r->journal, true);
    bury_in_all(r->lanes, LANE_P);
    bury_in_all(r->lanes, LANE_F);
}

static void read_connections_lost(void *self) {
    others(self);
}

static struct journal_reader reader_of(struct recovery *r) {
    return (struct journal_reader){.self = r,
                                   .key = read_key,
                                   .slot = read_slot,
                                   .everything = read_everything,
                                   .deadline = read_deadline,
                                   .deadlines_lost = read_deadlines_lost,
                                   .connection = read_connection,
                                   .connections_lost = read_connections_lost};
}

static void note_found(struct recovery *r, enum journal_found found) {
    if (found == JOURNAL_GOOD) return;
    r->out->found = found;
    lanes_mark_all(r->lanes);
    /* Of another boot: that process is gone, and yet a server may still hold what it sent. */
    others(r);
}

void lanes_recover(struct lanes *lanes, const struct journal_file *file, const char *name,
                   struct lanes_recovered *recovered) {
    struct recovery r = {lanes, recovered, (struct journal *)lanes->lane[0].journal->self};
    struct journal_reader reader = reader_of(&r);
    note_found(&r, journal_file_read(file, name, &reader, &recovered->why));
}

void lanes_recover_bytes(struct lanes *lanes, struct slice bytes,
                         const char boot[JOURNAL_BOOT_SIZE + 1],
                         struct lanes_recovered *recovered) {
    struct recovery r = {lanes, recovered, (struct journal *)lanes->lane[0].journal->self};
    struct journal_reader reader = reader_of(&r);
    note_found(&r, journal_read(bytes, boot, &reader));
}

void lanes_recovered_close(struct lanes_recovered *recovered) {
    mem_free(recovered->buried);
    *recovered = (struct lanes_recovered){0};
}

static void unbury_in_all(struct lanes *lanes, enum lane_side side) {
    for (unsigned i = 0; i < lanes->count; i++) {
        if (side == LANE_P)
            lane_primary_gone(&lanes->lane[i]);
        else
            lane_follower_gone(&lanes->lane[i]);
    }
}

void lanes_unbury(struct lanes *lanes, struct journal *journal, const struct lanes_buried *buried) {
    journal_gone(journal, (enum journal_side)buried->side, buried->server_id, buried->run_id);
    unbury_in_all(lanes, buried->side);
}

void lanes_unbury_others(struct lanes *lanes, struct journal *journal) {
    journal_connections_lost(journal, false);
    unbury_in_all(lanes, LANE_P);
    unbury_in_all(lanes, LANE_F);
}
