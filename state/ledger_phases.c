/* ledger_phases.c -- migrations, and the row that each move of phase leaves behind. */
#include "state/db.h"
#include "state/ledger_tables.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum err ledger_note(struct ledger *ledger, int64_t migration, const char *kind, const char *who,
                     const char *data, struct why *why, const char *fmt, ...) {
    struct event event = {.migration = migration};
    snprintf(event.kind, sizeof event.kind, "%s", kind);
    snprintf(event.who, sizeof event.who, "%s", who);
    if (data) snprintf(event.data, sizeof event.data, "%s", data);
    va_list args;
    va_start(args, fmt);
    vsnprintf(event.text, sizeof event.text, fmt, args);
    va_end(args);
    return ledger_add_event(ledger, &event, why);
}

const char *capture_name(enum capture capture) {
    return capture == CAPTURE_LANE ? "lane" : capture == CAPTURE_STREAM ? "stream" : "undecided";
}

bool capture_parse(const char *name, enum capture *capture) {
    for (int i = CAPTURE_STREAM; i <= CAPTURE_AUTO; i++) {
        if (strcmp(name, capture_name((enum capture)i)) != 0) continue;
        *capture = (enum capture)i;
        return true;
    }
    return false;
}

struct found {
    struct migration *migration;
    bool any;
};

static enum err take_migration(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct found *found = self;
    struct migration m = {.id = db_int(row, 0),
                          .phase_since_ms = db_int(row, 3),
                          .epoch = (uint64_t)db_int(row, 4),
                          .created_ms = db_int(row, 6)};
    db_copy_text(row, 1, m.name, sizeof m.name);
    if (!phase_parse(db_text(row, 2), &m.phase) || !side_parse(db_text(row, 5), &m.primary) ||
        !capture_parse(db_text(row, 7), &m.capture))
        return why_set(why, ERR_CORRUPT,
                       "migration %" PRId64 ": phase, side or capture is not a known word", m.id);
    if (!capture_parse(db_text(row, 8), &m.home)) m.home = m.capture; /* by an older program */
    *found->migration = m;
    found->any = true;
    return OK;
}

enum err ledger_load_migration(struct ledger *ledger, const char *name, struct migration *migration,
                               struct why *why) {
    struct found found = {.migration = migration};
    enum err err =
        db_query(ledger_db(ledger), why, take_migration, &found,
                 "SELECT id, name, phase, phase_since_ms, epoch, primary_side, created_ms, capture, home_capture"
                 " FROM migrations WHERE name = ? ORDER BY id DESC LIMIT 1",
                 "t", name);
    if (err) return err;
    return found.any ? OK : why_set(why, ERR_ABSENT, "no migration is called %s", name);
}

static enum err take_epoch(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    *(uint64_t *)self = (uint64_t)db_int(row, 0);
    return OK;
}

enum err ledger_add_migration(struct ledger *ledger, const char *name, struct migration *migration,
                              struct why *why) {
    struct migration m = {
        .phase = PHASE_PLANNED, .primary = SIDE_LEGACY, .created_ms = ledger_now(ledger)};
    m.capture = m.home = migration->capture;
    m.phase_since_ms = m.created_ms;
    snprintf(m.name, sizeof m.name, "%s", name);
    enum err err = db_query(ledger_db(ledger), why, take_epoch, &m.epoch,
                            "SELECT coalesce(max(epoch), 0) + 1 FROM migrations", "");
    if (!err)
        err = db_run(ledger_db(ledger), why,
                     "INSERT INTO migrations (name, phase, phase_since_ms, epoch, primary_side,"
                     " capture, created_ms, home_capture) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                     "ttiittit", m.name, phase_name(m.phase), m.phase_since_ms, (int64_t)m.epoch,
                     side_name(m.primary), capture_name(m.capture), m.created_ms,
                     capture_name(m.home));
    if (err) return why_add(why, err, "new migration");
    m.id = db_last_id(ledger_db(ledger));
    err = ledger_note(ledger, m.id, "migration.planned", "state", NULL, why,
                      "migration %s begins at epoch %" PRIu64
                      " with legacy as primary side, capture %s",
                      name, m.epoch, capture_name(m.capture));
    if (!err) *migration = m;
    return err;
}

enum err ledger_choose_capture(struct ledger *ledger, struct migration *migration,
                               enum capture capture, const char *reason, struct why *why) {
    if (migration->phase != PHASE_PLANNED)
        return why_set(why, ERR_STATE, "the capture of a migration that runs is not changed (C1)");
    enum err err = db_run(ledger_db(ledger), why,
                          "UPDATE migrations SET capture = ?, home_capture = ? WHERE id = ?", "tti",
                          capture_name(capture), capture_name(capture), migration->id);
    if (!err)
        err = ledger_note(ledger, migration->id, "capture.chosen", "state", NULL, why,
                          "capture %s: %s", capture_name(capture), reason);
    if (!err) migration->capture = migration->home = capture;
    return err;
}

static enum err insert_phase(struct ledger *ledger, const struct migration *m,
                             const struct phase_move *move, int64_t at_ms, struct why *why) {
    return db_run(ledger_db(ledger), why,
                  "INSERT INTO phases (migration, at_ms, from_phase, to_phase, who, why, epoch,"
                  " legacy_replid, legacy_offset, target_replid, target_offset, event)"
                  " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                  "iittttititii", m->id, at_ms, phase_name(m->phase), phase_name(move->to),
                  move->who, move->reason, (int64_t)move->epoch, move->at[SIDE_LEGACY].replid,
                  move->at[SIDE_LEGACY].offset, move->at[SIDE_TARGET].replid,
                  move->at[SIDE_TARGET].offset, ledger_head(ledger));
}

enum err ledger_move_phase(struct ledger *ledger, struct migration *migration,
                           const struct phase_move *move, struct why *why) {
    struct event event = {.migration = migration->id};
    snprintf(event.kind, sizeof event.kind, "phase.moved");
    snprintf(event.who, sizeof event.who, "%s", move->who);
    snprintf(event.text, sizeof event.text, "%s -> %s%s%s", phase_name(migration->phase),
             phase_name(move->to), move->reason[0] ? ": " : "", move->reason);
    snprintf(event.data, sizeof event.data,
             "{\"from\":\"%s\",\"to\":\"%s\",\"epoch\":%" PRIu64 ",\"primary\":\"%s\","
             "\"legacy\":{\"replid\":\"%s\",\"offset\":%" PRId64 "},"
             "\"target\":{\"replid\":\"%s\",\"offset\":%" PRId64 "}}",
             phase_name(migration->phase), phase_name(move->to), move->epoch,
             side_name(move->primary), move->at[SIDE_LEGACY].replid, move->at[SIDE_LEGACY].offset,
             move->at[SIDE_TARGET].replid, move->at[SIDE_TARGET].offset);
    enum err err = ledger_add_event(ledger, &event, why);
    if (!err) err = insert_phase(ledger, migration, move, event.at_ms, why);
    if (!err)
        err = db_run(ledger_db(ledger), why,
                     "UPDATE migrations SET phase = ?, phase_since_ms = ?, epoch = ?,"
                     " primary_side = ? WHERE id = ?",
                     "tiiti", phase_name(move->to), event.at_ms, (int64_t)move->epoch,
                     side_name(move->primary), migration->id);
    if (err) return why_add(why, err, "move to %s", phase_name(move->to));
    migration->phase = move->to;
    migration->phase_since_ms = event.at_ms;
    migration->epoch = move->epoch;
    migration->primary = move->primary;
    return OK;
}
