/* ledger_barriers.c -- a barrier's records: begun, committed or aborted, completed; checkpoints. */
#include "state/db.h"
#include "state/ledger_tables.h"
#include "state/recapture.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const outcomes[BARRIER_OUTCOMES] = {
    [BARRIER_NONE] = "none",           [BARRIER_OPEN] = "open",
    [BARRIER_ABORTED] = "aborted",     [BARRIER_COMMITTED] = "committed",
    [BARRIER_COMPLETED] = "completed",
};

const char *barrier_outcome_name(enum barrier_outcome outcome) {
    ASSERT(outcome < BARRIER_OUTCOMES);
    return outcomes[outcome];
}

static const char *verb(const struct barrier_row *row) {
    if (row->rehearsal) return "rehearsal";
    if (row->from == row->to) return row->capture_after == CAPTURE_LANE ? "capture lane" : "capture stream";
    return row->to == SIDE_TARGET ? "cutover" : "rollback";
}

static const char *capture_text(enum capture capture) {
    return capture == CAPTURE_AUTO ? "" : capture_name(capture);
}

/* Rehearsals of a cutover hold clients too, so they are a phase like the real thing. */
static enum phase open_phase(const struct barrier_row *row) {
    return row->to == SIDE_TARGET ? PHASE_CUTTING_OVER : PHASE_ROLLING_BACK;
}

enum err ledger_begin_barrier(struct ledger *ledger, struct migration *migration,
                              struct barrier_row *row, const char *reason, struct why *why) {
    row->migration = migration->id;
    row->began_ms = ledger_now(ledger);
    row->outcome = BARRIER_OPEN;
    row->epoch_before = migration->epoch;
    enum err err = db_run(
        ledger_db(ledger), why,
        "INSERT INTO barriers (migration, began_ms, from_side, to_side, rehearsal, max_hold_ms,"
        " epoch_before, outcome, who, capture_before, capture_after) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        "iittiiitttt", row->migration, row->began_ms, side_name(row->from), side_name(row->to),
        (int64_t)row->rehearsal, (int64_t)row->max_hold_ms, (int64_t)row->epoch_before,
        barrier_outcome_name(row->outcome), row->who, capture_text(row->capture_before),
        capture_text(row->capture_after));
    if (err) return why_add(why, err, "begin barrier");
    row->id = db_last_id(ledger_db(ledger));
    char data[256];
    snprintf(data, sizeof data, "{\"barrier\":%" PRId64 ",\"verb\":\"%s\",\"max_hold_ms\":%u}",
             row->id, verb(row), row->max_hold_ms);
    err = ledger_note(ledger, migration->id, "barrier.begun", row->who, data, why,
                      "%s begins: barrier %" PRId64 ", at most %u ms of held clients", verb(row),
                      row->id, row->max_hold_ms);
    if (err || row->from == row->to) return err;
    struct phase_move move = {
        .to = open_phase(row), .primary = migration->primary, .epoch = migration->epoch};
    snprintf(move.who, sizeof move.who, "%s", row->who);
    snprintf(move.reason, sizeof move.reason, "%s", reason);
    return ledger_move_phase(ledger, migration, &move, why);
}

static enum err update_row(struct ledger *ledger, const struct barrier_row *row, struct why *why) {
    enum err err =
        db_run(ledger_db(ledger), why,
               "UPDATE barriers SET ended_ms=?, epoch_after=?, outcome=?, why=?, x_replid=?,"
               " x_offset=?, b_replid=?, b_offset=?, hold_us=?, compared=?, killed=? WHERE id=?",
               "iitttitiiiii", row->ended_ms, (int64_t)row->epoch_after,
               barrier_outcome_name(row->outcome), row->why, row->x.replid, row->x.offset,
               row->b.replid, row->b.offset, row->hold_us, row->compared, row->killed, row->id);
    return err ? why_add(why, err, "barrier %" PRId64, row->id) : OK;
}

static enum err add_checkpoint(struct ledger *ledger, const struct barrier_row *row, enum side side,
                               const struct place *place, const char *meaning, struct why *why) {
    return db_run(ledger_db(ledger), why,
                  "INSERT INTO checkpoints (migration, barrier, at_ms, epoch, side, replid, offset,"
                  " meaning) VALUES (?,?,?,?,?,?,?,?)",
                  "iiiittit", row->migration, row->id, ledger_now(ledger),
                  (int64_t)row->epoch_after, side_name(side), place->replid, place->offset,
                  meaning);
}

static enum err recapture(struct ledger *ledger, struct migration *migration,
                          const struct barrier_row *row, struct why *why) {
    enum capture home = recapture_home(migration->home, row);
    enum err err = db_run(ledger_db(ledger), why,
                          "UPDATE migrations SET capture = ?, home_capture = ? WHERE id = ?", "tti",
                          capture_name(row->capture_after), capture_name(home), migration->id);
    if (!err)
        err = ledger_note(ledger, migration->id, "capture.changed", row->who, NULL, why,
                          "capture %s instead of %s, from epoch %" PRIu64 " on",
                          capture_name(row->capture_after), capture_name(row->capture_before),
                          row->epoch_after);
    if (err) return err;
    migration->capture = row->capture_after;
    migration->home = home;
    return OK;
}

enum err ledger_commit_barrier(struct ledger *ledger, struct migration *migration,
                               struct barrier_row *row, enum phase to_phase, struct why *why) {
    ASSERT(row->outcome == BARRIER_OPEN && row->epoch_after > migration->epoch);
    row->outcome = BARRIER_COMMITTED;
    enum err err = update_row(ledger, row, why);
    if (!err) err = add_checkpoint(ledger, row, row->from, &row->x, "drained to", why);
    if (!err) err = add_checkpoint(ledger, row, row->to, &row->b, "primary from", why);
    if (err) return why_add(why, err, "commit barrier");
    char data[512];
    snprintf(data, sizeof data,
             "{\"barrier\":%" PRId64 ",\"epoch\":%" PRIu64 ",\"x\":%" PRId64
             ",\"b_replid\":\"%s\",\"b\":%" PRId64 ",\"compared\":%" PRId64 ",\"killed\":%" PRId64
             "}",
             row->id, row->epoch_after, row->x.offset, row->b.replid, row->b.offset, row->compared,
             row->killed);
    err = ledger_note(ledger, migration->id, "barrier.committed", row->who, data, why,
                      "%s is primary from offset %" PRId64 " on, epoch %" PRIu64,
                      side_name(row->to), row->b.offset, row->epoch_after);
    if (err) return err;
    if (barrier_recaptures(row)) err = recapture(ledger, migration, row, why);
    if (err) return err;
    struct phase_move move = {.to = to_phase, .primary = row->to, .epoch = row->epoch_after};
    move.at[row->from] = row->x;
    move.at[row->to] = row->b;
    snprintf(move.who, sizeof move.who, "%s", row->who);
    if (barrier_recaptures(row))
        snprintf(move.reason, sizeof move.reason, "capture %s", capture_name(row->capture_after));
    return ledger_move_phase(ledger, migration, &move, why);
}

enum err ledger_abort_barrier(struct ledger *ledger, struct migration *migration,
                              struct barrier_row *row, enum phase to_phase, struct why *why) {
    ASSERT(row->outcome == BARRIER_OPEN);
    row->outcome = BARRIER_ABORTED;
    row->ended_ms = ledger_now(ledger);
    enum err err = update_row(ledger, row, why);
    if (err) return err;
    err = ledger_note(ledger, migration->id,
                      row->rehearsal ? "barrier.rehearsed" : "barrier.aborted", row->who, NULL, why,
                      "%s goes on as primary: %s", side_name(row->from), row->why);
    if (err || row->from == row->to) return err;
    struct phase_move move = {
        .to = to_phase, .primary = migration->primary, .epoch = migration->epoch};
    move.at[row->from] = row->x;
    snprintf(move.who, sizeof move.who, "state");
    snprintf(move.reason, sizeof move.reason, "%s", row->why);
    return ledger_move_phase(ledger, migration, &move, why);
}

enum err ledger_complete_barrier(struct ledger *ledger, struct barrier_row *row, struct why *why) {
    ASSERT(row->outcome == BARRIER_COMMITTED);
    row->outcome = BARRIER_COMPLETED;
    row->ended_ms = ledger_now(ledger);
    enum err err = update_row(ledger, row, why);
    if (err) return err;
    char data[128];
    snprintf(data, sizeof data, "{\"barrier\":%" PRId64 ",\"hold_us\":%" PRId64 "}", row->id,
             row->hold_us);
    return ledger_note(ledger, row->migration, "barrier.completed", "state", data, why,
                       "clients were held for %" PRId64 ".%03d ms", row->hold_us / 1000,
                       (int)(row->hold_us % 1000));
}

static bool parse_outcome(const char *name, enum barrier_outcome *outcome) {
    for (unsigned i = 0; i < BARRIER_OUTCOMES; i++) {
        if (strcmp(outcomes[i], name) != 0) continue;
        *outcome = (enum barrier_outcome)i;
        return true;
    }
    return false;
}

static enum err take_barrier(struct sqlite3_stmt *row, struct barrier_row *b, struct why *why) {
    *b = (struct barrier_row){.id = db_int(row, 0),
                              .migration = db_int(row, 1),
                              .began_ms = db_int(row, 2),
                              .ended_ms = db_int(row, 3),
                              .rehearsal = db_int(row, 6) != 0,
                              .max_hold_ms = (uint32_t)db_int(row, 7),
                              .epoch_before = (uint64_t)db_int(row, 8),
                              .epoch_after = (uint64_t)db_int(row, 9),
                              .hold_us = db_int(row, 17),
                              .compared = db_int(row, 18),
                              .killed = db_int(row, 19)};
    db_copy_text(row, 11, b->why, sizeof b->why);
    db_copy_text(row, 12, b->who, sizeof b->who);
    db_copy_text(row, 13, b->x.replid, sizeof b->x.replid);
    db_copy_text(row, 15, b->b.replid, sizeof b->b.replid);
    if (!capture_parse(db_text(row, 20), &b->capture_before)) b->capture_before = CAPTURE_AUTO;
    if (!capture_parse(db_text(row, 21), &b->capture_after)) b->capture_after = CAPTURE_AUTO;
    b->x.offset = db_int(row, 14);
    b->b.offset = db_int(row, 16);
    if (!side_parse(db_text(row, 4), &b->from) || !side_parse(db_text(row, 5), &b->to) ||
        !parse_outcome(db_text(row, 10), &b->outcome))
        return why_set(why, ERR_CORRUPT, "barrier %" PRId64 ": side or outcome is not a known word",
                       b->id);
    return OK;
}

static enum err take_last(void *self, struct sqlite3_stmt *row, struct why *why) {
    return take_barrier(row, self, why);
}

enum err ledger_last_barrier(struct ledger *ledger, int64_t migration, bool committed,
                             struct barrier_row *row, struct why *why) {
    *row = (struct barrier_row){.outcome = BARRIER_NONE};
    return db_query(ledger_db(ledger), why, take_last, row,
                    "SELECT * FROM barriers WHERE migration = ? AND (? = 0 OR epoch_after > 0)"
                    " ORDER BY id DESC LIMIT 1",
                    "ii", migration, (int64_t)committed);
}

struct each_barrier {
    ledger_on_barrier *on_barrier;
    void *self;
};

static enum err each_barrier(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each_barrier *each = self;
    struct barrier_row barrier;
    enum err err = take_barrier(row, &barrier, why);
    return err ? err : each->on_barrier(each->self, &barrier, why);
}

enum err ledger_each_barrier(struct ledger *ledger, int64_t migration,
                             ledger_on_barrier *on_barrier, void *self, struct why *why) {
    struct each_barrier each = {on_barrier, self};
    return db_query(ledger_db(ledger), why, each_barrier, &each,
                    "SELECT * FROM barriers WHERE migration = ? ORDER BY id", "i", migration);
}

struct each_checkpoint {
    ledger_on_checkpoint *on_checkpoint;
    void *self;
};

static enum err each_checkpoint(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each_checkpoint *each = self;
    struct checkpoint_row c = {
        .barrier = db_int(row, 0), .at_ms = db_int(row, 1), .epoch = (uint64_t)db_int(row, 2)};
    if (!side_parse(db_text(row, 3), &c.side))
        return why_set(why, ERR_CORRUPT, "checkpoint: side is not a known word");
    db_copy_text(row, 4, c.place.replid, sizeof c.place.replid);
    c.place.offset = db_int(row, 5);
    db_copy_text(row, 6, c.meaning, sizeof c.meaning);
    return each->on_checkpoint(each->self, &c, why);
}

enum err ledger_each_checkpoint(struct ledger *ledger, int64_t migration,
                                ledger_on_checkpoint *on_checkpoint, void *self, struct why *why) {
    struct each_checkpoint each = {on_checkpoint, self};
    return db_query(ledger_db(ledger), why, each_checkpoint, &each,
                    "SELECT barrier, at_ms, epoch, side, replid, offset, meaning FROM checkpoints"
                    " WHERE migration = ? ORDER BY id",
                    "i", migration);
}
