/* ledger_baseline.c -- where the lanes' first copy of all keys comes from, if `start` said so: one
 * word of each migration. */
#include "state/db.h"
#include "state/ledger_tables.h"

enum err ledger_save_baseline(struct ledger *ledger, int64_t migration, const char *path,
                              const char *who, struct why *why) {
    enum err err = db_run(ledger_db(ledger), why, "INSERT OR REPLACE INTO baselines VALUES (?,?)",
                          "it", migration, path);
    if (err) return why_add(why, err, "baselines");
    return ledger_note(ledger, migration, "baseline.wanted", who, NULL, why, "baseline: %s", path);
}

static enum err take_path(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    db_copy_text(row, 0, self, BASELINE_BYTES);
    return OK;
}

enum err ledger_load_baseline(struct ledger *ledger, int64_t migration, char path[BASELINE_BYTES],
                              struct why *why) {
    path[0] = '\0';
    return db_query(ledger_db(ledger), why, take_path, path,
                    "SELECT path FROM baselines WHERE migration=?", "i", migration);
}
