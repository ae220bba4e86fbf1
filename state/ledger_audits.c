/* ledger_audits.c -- audits: begun, ended with a claim or a list of differences, voided. */
#include "state/db.h"
#include "state/ledger_tables.h"

#include <inttypes.h>
#include <stdio.h>

enum err ledger_begin_audit(struct ledger *ledger, struct audit_row *row, const char *who,
                            struct why *why) {
    row->started_ms = ledger_now(ledger);
    snprintf(row->outcome, sizeof row->outcome, "running");
    enum err err = db_run(ledger_db(ledger), why,
                          "INSERT INTO audits (migration, link, epoch, started_ms, outcome)"
                          " VALUES (?,?,?,?,?)",
                          "itiit", row->migration, link_name(row->link), (int64_t)row->epoch,
                          row->started_ms, row->outcome);
    if (err) return why_add(why, err, "begin audit");
    row->id = db_last_id(ledger_db(ledger));
    return ledger_note(ledger, row->migration, "audit.begun", who, NULL, why,
                       "audit %" PRId64 " compares both ends of the %s link", row->id,
                       link_name(row->link));
}

static enum err update_audit(struct ledger *ledger, const struct audit_row *row, struct why *why) {
    return db_run(
        ledger_db(ledger), why,
        "UPDATE audits SET ended_ms=?, outcome=?, keys=?, slots=?, differences=?,"
        " undecided=?, source_offset=?, pause_ms=?, error=?, stale=?, repaired=? WHERE id=?",
        "itiiiiiittii", row->ended_ms, row->outcome, row->keys, row->slots, row->differences,
        row->undecided, row->source_offset, row->pause_ms, row->error, row->stale, row->repaired,
        row->id);
}

static enum err add_differences(struct ledger *ledger, int64_t audit,
                                const struct difference *differences, size_t count,
                                struct why *why) {
    for (size_t i = 0; i < count; i++) {
        const struct difference *d = &differences[i];
        enum err err = db_run(ledger_db(ledger), why,
                              "INSERT OR REPLACE INTO differences VALUES (?,?,?,?,?,?,?,?,?)",
                              "iiittttti", audit, d->n, d->db, d->key, d->type, d->kind,
                              d->source_digest, d->target_digest, d->slot);
        if (err) return why_add(why, err, "difference %" PRId64, d->n);
    }
    return OK;
}

enum err ledger_end_audit(struct ledger *ledger, struct audit_row *row,
                          const struct difference *differences, size_t count, struct why *why) {
    row->ended_ms = ledger_now(ledger);
    enum err err = update_audit(ledger, row, why);
    if (!err) err = add_differences(ledger, row->id, differences, count, why);
    if (err) return why_add(why, err, "end audit");
    char data[256];
    snprintf(data, sizeof data,
             "{\"audit\":%" PRId64 ",\"outcome\":\"%s\",\"keys\":%" PRId64
             ",\"differences\":%" PRId64 ",\"source_offset\":%" PRId64 "}",
             row->id, row->outcome, row->keys, row->differences, row->source_offset);
    if (row->error[0])
        return ledger_note(ledger, row->migration, "audit.ended", "state", data, why,
                           "audit %" PRId64 " %s: %s", row->id, row->outcome, row->error);
    return ledger_note(ledger, row->migration, "audit.ended", "state", data, why,
                       "audit %" PRId64 ": %s, %" PRId64 " keys compared, %" PRId64 " differ",
                       row->id, row->outcome, row->keys, row->differences);
}

enum err ledger_void_audit(struct ledger *ledger, struct audit_row *row, const char *what,
                           struct why *why) {
    snprintf(row->stale, sizeof row->stale, "%s", what);
    enum err err = update_audit(ledger, row, why);
    if (err) return why_add(why, err, "void audit");
    return ledger_note(ledger, row->migration, "audit.voided", "state", NULL, why,
                       "audit %" PRId64 " proves nothing any more: %s", row->id, what);
}

static enum err take_audit(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    struct audit_row *a = self;
    *a = (struct audit_row){.id = db_int(row, 0),
                            .migration = db_int(row, 1),
                            .link = strcmp(db_text(row, 2), "reverse") == 0 ? LINK_REVERSE
                                                                            : LINK_FORWARD,
                            .epoch = (uint64_t)db_int(row, 3),
                            .started_ms = db_int(row, 4),
                            .ended_ms = db_int(row, 5),
                            .keys = db_int(row, 7),
                            .slots = db_int(row, 8),
                            .differences = db_int(row, 9),
                            .undecided = db_int(row, 10),
                            .source_offset = db_int(row, 11),
                            .pause_ms = db_int(row, 12),
                            .repaired = db_int(row, 15)};
    db_copy_text(row, 6, a->outcome, sizeof a->outcome);
    db_copy_text(row, 13, a->error, sizeof a->error);
    db_copy_text(row, 14, a->stale, sizeof a->stale);
    return OK;
}

enum err ledger_last_audit(struct ledger *ledger, int64_t migration, bool ended,
                           struct audit_row *row, struct why *why) {
    *row = (struct audit_row){0};
    return db_query(ledger_db(ledger), why, take_audit, row,
                    "SELECT * FROM audits WHERE migration = ? AND (? = 0 OR ended_ms > 0)"
                    " ORDER BY id DESC LIMIT 1",
                    "ii", migration, (int64_t)ended);
}

struct each_difference {
    ledger_on_difference *on_difference;
    void *self;
};

static enum err each_difference(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each_difference *each = self;
    struct difference d = {.n = db_int(row, 0), .db = db_int(row, 1), .slot = db_int(row, 7)};
    db_copy_text(row, 2, d.key, sizeof d.key);
    db_copy_text(row, 3, d.type, sizeof d.type);
    db_copy_text(row, 4, d.kind, sizeof d.kind);
    db_copy_text(row, 5, d.source_digest, sizeof d.source_digest);
    db_copy_text(row, 6, d.target_digest, sizeof d.target_digest);
    return each->on_difference(each->self, &d, why);
}

enum err ledger_each_difference(struct ledger *ledger, int64_t audit,
                                ledger_on_difference *on_difference, void *self, struct why *why) {
    struct each_difference each = {on_difference, self};
    return db_query(ledger_db(ledger), why, each_difference, &each,
                    "SELECT n, db, key, type, kind, source_digest, target_digest, slot"
                    " FROM differences WHERE audit = ? ORDER BY n",
                    "i", audit);
}
