/* ledger_members.c -- waived gates, and who took part. */
#include "state/db.h"
#include "state/ledger_tables.h"

#include <inttypes.h>
#include <stdio.h>

enum err ledger_add_waiver(struct ledger *ledger, int64_t migration, const struct waiver *waiver,
                           struct why *why) {
    enum err err = db_run(
        ledger_db(ledger), why, "INSERT OR REPLACE INTO waivers VALUES (?,?,?,?,?,?)", "tiiitt",
        waiver->gate, migration, waiver->at_ms, waiver->until_ms, waiver->who, waiver->reason);
    if (err) return why_add(why, err, "waiver");
    return ledger_note(ledger, migration, "gate.waived", waiver->who, NULL, why,
                       "gate %s is waived for %" PRId64 " s: %s", waiver->gate,
                       (waiver->until_ms - waiver->at_ms) / 1000, waiver->reason);
}

struct each_waiver {
    ledger_on_waiver *on_waiver;
    void *self;
};

static enum err each_waiver(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each_waiver *each = self;
    struct waiver w = {.at_ms = db_int(row, 1), .until_ms = db_int(row, 2)};
    db_copy_text(row, 0, w.gate, sizeof w.gate);
    db_copy_text(row, 3, w.who, sizeof w.who);
    db_copy_text(row, 4, w.reason, sizeof w.reason);
    return each->on_waiver(each->self, &w, why);
}

enum err ledger_each_waiver(struct ledger *ledger, int64_t migration, ledger_on_waiver *on_waiver,
                            void *self, struct why *why) {
    struct each_waiver each = {on_waiver, self};
    return db_query(ledger_db(ledger), why, each_waiver, &each,
                    "SELECT gate, at_ms, until_ms, who, reason FROM waivers WHERE migration = ?",
                    "i", migration);
}

enum err ledger_member_joined(struct ledger *ledger, int64_t migration,
                              const struct member_row *member, struct why *why) {
    enum err err =
        db_run(ledger_db(ledger), why, "INSERT OR REPLACE INTO members VALUES (?,?,?,?,?,?)",
               "tttiii", member->role, member->name, member->version, member->pid,
               (int64_t)member->epoch, ledger_now(ledger));
    if (err) return why_add(why, err, "member");
    return ledger_note(ledger, migration, "member.joined", "state", NULL, why,
                       "%s %s (version %s, process %" PRId64 ") is here", member->role,
                       member->name, member->version, member->pid);
}

enum err ledger_member_left(struct ledger *ledger, int64_t migration,
                            const struct member_row *member, const char *reason, struct why *why) {
    return ledger_note(ledger, migration, "member.left", "state", NULL, why, "%s %s is gone: %s",
                       member->role, member->name, reason);
}

struct each_member {
    ledger_on_member *on_member;
    void *self;
};

static enum err each_member(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each_member *each = self;
    struct member_row m = {.pid = db_int(row, 3), .epoch = (uint64_t)db_int(row, 4)};
    db_copy_text(row, 0, m.role, sizeof m.role);
    db_copy_text(row, 1, m.name, sizeof m.name);
    db_copy_text(row, 2, m.version, sizeof m.version);
    return each->on_member(each->self, &m, why);
}

enum err ledger_each_member(struct ledger *ledger, ledger_on_member *on_member, void *self,
                            struct why *why) {
    struct each_member each = {on_member, self};
    return db_query(ledger_db(ledger), why, each_member, &each,
                    "SELECT role, name, version, pid, epoch FROM members ORDER BY since_ms DESC",
                    "");
}

static enum err take_count(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    *(int64_t *)self = db_int(row, 0);
    return OK;
}

enum err ledger_gateway_by_hand(struct ledger *ledger, int64_t migration, const char *gateway,
                                const char *what, int64_t at_ms, struct why *why) {
    char text[256];
    int64_t known = 0;
    (void)snprintf(text, sizeof text,
                   "gateway %.64s: %.32s by hand, at %" PRId64
                   " ms since 1970 by its clock; the proof that both sides are level is void",
                   gateway, what, at_ms);
    enum err err =
        db_query(ledger_db(ledger), why, take_count, &known,
                 "SELECT count(*) FROM events WHERE kind='gateway.by-hand' AND text=?", "t", text);
    if (err || known > 0) return err;
    return ledger_note(ledger, migration, "gateway.by-hand", "gateway", NULL, why, "%s", text);
}
