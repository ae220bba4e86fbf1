/* ledger_slots.c -- which gateway owns which slots: the latest table, whatever the migration:
 * gateways know its version. */
#include "lib/control/slot_table.h"
#include "state/db.h"
#include "state/ledger_tables.h"

#include <inttypes.h>

enum err ledger_save_slots(struct ledger *ledger, int64_t migration, const struct slot_table *table,
                           const char *reason, struct why *why) {
    struct buf text = {0};
    slot_table_write_text(table, &text);
    enum err err = db_run(ledger_db(ledger), why, "INSERT OR REPLACE INTO slots VALUES (1,?,?)",
                          "is", (int64_t)table->version, buf_slice(&text));
    buf_close(&text);
    if (err) return why_add(why, err, "slots");
    return ledger_note(ledger, migration, "slots.changed", "state", NULL, why,
                       "slots of gateways, version %" PRIu64 ": %s", table->version, reason);
}

static enum err take_table(void *self, struct sqlite3_stmt *row, struct why *why) {
    static char text[1u << 20]; /* at the start only, in one thread */
    db_copy_text(row, 0, text, sizeof text);
    return slot_table_read_text(self, slice_text(text), why);
}

enum err ledger_load_slots(struct ledger *ledger, struct slot_table *table, struct why *why) {
    slot_table_init(table);
    return db_query(ledger_db(ledger), why, take_table, table, "SELECT owners FROM slots", "");
}
