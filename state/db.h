/* db.h -- the few things that the ledger asks of SQLite.
 *
 *     db_run(db, why, "INSERT INTO gates VALUES (?, ?)", "ti", id, at_ms)
 *     db_query(db, why, on_row, self, "SELECT ...", "")
 *
 * TYPES has a letter for each `?`: t a C string (NULL: SQL NULL), i int64_t, s struct slice as
 * text. Write-ahead log, synchronous=FULL: what was committed survives a power cut. Every statement
 * that writes passes fault_now(FAULT_WRITE), every commit FAULT_SYNC. One thread only, and not a
 * loop's: all of it blocks.
 */
#ifndef STATE_DB_H
#define STATE_DB_H

#include "lib/base/slice.h"
#include "lib/base/why.h"

#include <stdint.h>

struct db;
struct sqlite3_stmt;

/* Makes the file (mode 0600) when there is none. */
MUST_CHECK enum err db_open(struct db **db, const char *path, struct why *why);
void db_close(struct db *db); /* NULL is fine; an open transaction is rolled back */

/* Several statements without parameters: schema, pragmas. */
MUST_CHECK enum err db_script(struct db *db, const char *sql, struct why *why);
MUST_CHECK enum err db_run(struct db *db, struct why *why, const char *sql, const char *types, ...);

/* ON_ROW gets each row; anything but OK ends the query and is returned. */
typedef enum err db_on_row(void *self, struct sqlite3_stmt *row, struct why *why);
MUST_CHECK enum err db_query(struct db *db, struct why *why, db_on_row *on_row, void *self,
                             const char *sql, const char *types, ...);

MUST_CHECK enum err db_begin(struct db *db, struct why *why);
MUST_CHECK enum err db_commit(struct db *db, struct why *why);
void db_rollback(struct db *db);
bool db_in_transaction(const struct db *db);
int64_t db_last_id(const struct db *db);
/* The file's own integrity, as SQLite sees it; OK when it says "ok". */
MUST_CHECK enum err db_integrity(struct db *db, struct why *why);

/* Columns of a row. A text dies with the row; NULL is "". */
const char *db_text(struct sqlite3_stmt *row, int column);
int64_t db_int(struct sqlite3_stmt *row, int column);
void db_copy_text(struct sqlite3_stmt *row, int column, char *to, size_t size); /* cut if longer */

#endif
