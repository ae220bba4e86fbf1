/* ledger_reads.c -- which side an operator wants reads to be answered by: the last word of each
 * migration. */
#include "lib/control/reads_policy.h"
#include "state/db.h"
#include "state/ledger_tables.h"

enum err ledger_save_reads(struct ledger *ledger, int64_t migration, struct reads_policy wanted,
                           const char *who, struct why *why) {
    char text[READS_TEXT_BYTES];
    reads_text(wanted, text);
    enum err err = db_run(ledger_db(ledger), why, "INSERT OR REPLACE INTO reads VALUES (?,?)", "it",
                          migration, text);
    if (err) return why_add(why, err, "reads");
    return ledger_note(ledger, migration, "reads.wanted", who, NULL, why, "reads: %s", text);
}

struct reads_row {
    struct reads_policy *wanted;
    bool *ordered;
};

static enum err take_policy(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct reads_row *to = self;
    char text[READS_TEXT_BYTES];
    db_copy_text(row, 0, text, sizeof text);
    *to->ordered = true;
    return reads_parse(slice_text(text), to->wanted, why);
}

enum err ledger_load_reads(struct ledger *ledger, int64_t migration, struct reads_policy *wanted,
                           bool *ordered, struct why *why) {
    struct reads_row to = {wanted, ordered};
    return db_query(ledger_db(ledger), why, take_policy, &to,
                    "SELECT wanted FROM reads WHERE migration=?", "i", migration);
}
