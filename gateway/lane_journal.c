/* lane_journal.c -- the journal that remembers nothing. See lane_journal.h. */
#include "gateway/lane_journal.h"

static void no_entry(void *self, uint64_t id, const struct lane_journal_key *keys, size_t count) {
    (void)self, (void)id, (void)keys, (void)count;
}
static void no_id(void *self, uint64_t id) {
    (void)self, (void)id;
}
static void no_key(void *self, int32_t db, struct slice name, bool dirty) {
    (void)self, (void)db, (void)name, (void)dirty;
}
static void no_slot(void *self, unsigned slot, bool dirty) {
    (void)self, (void)slot, (void)dirty;
}
static void no_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    (void)self, (void)hash, (void)deadline_ms;
}
static void no_connection(void *self, enum lane_side side, int64_t server_id, const char *run_id) {
    (void)self, (void)side, (void)server_id, (void)run_id;
}

const struct lane_journal lane_journal_none = {.entry = no_entry,
                                               .entry_all = no_id,
                                               .forget = no_id,
                                               .key = no_key,
                                               .slot = no_slot,
                                               .deadline = no_deadline,
                                               .opened = no_connection,
                                               .gone = no_connection};
