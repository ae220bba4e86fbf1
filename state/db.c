/* db.c -- the few things that the ledger asks of SQLite. */
#include "state/db.h"

#include "lib/base/fault.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct db {
    sqlite3 *handle;
};

static enum err failed(struct db *db, struct why *why, const char *doing) {
    int code = sqlite3_extended_errcode(db->handle);
    int base = code & 0xff;
    enum err err = base == SQLITE_FULL                               ? ERR_DISK_FULL
                   : base == SQLITE_CORRUPT || base == SQLITE_NOTADB ? ERR_CORRUPT
                   : base == SQLITE_BUSY || base == SQLITE_LOCKED    ? ERR_EXISTS
                   : base == SQLITE_CONSTRAINT                       ? ERR_STATE
                                                                     : ERR_IO;
    return why_set(why, err, "%s: %s", doing, sqlite3_errmsg(db->handle));
}

/* SQLite would make the file with the umask's rights; the ledger is nobody else's business. */
static enum err make_file(const char *path, struct why *why) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return why_set(why, ERR_IO, "open %s: %s", path, strerror(errno));
    close(fd);
    return OK;
}

enum err db_open(struct db **out, const char *path, struct why *why) {
    enum err err = make_file(path, why);
    if (err) return err;
    struct db *db = NEW(struct db);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &db->handle, flags, NULL) != SQLITE_OK) {
        err = failed(db, why, path);
        goto out;
    }
    sqlite3_busy_timeout(db->handle, 2000);
    /* EXCLUSIVE: a second state on the same ledger must fail here, not fork history later. */
    err = db_script(db,
                    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                    "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;"
                    "BEGIN IMMEDIATE; COMMIT;"
                    /* What a dead process committed without knowing it is made durable before
                     * anybody acts on having read it. */
                    "PRAGMA wal_checkpoint(TRUNCATE);",
                    why);
    if (err == ERR_EXISTS) why_set(why, err, "%s is in use by another process", path);
    if (!err) *out = db;
out:
    if (err) db_close(db);
    return err;
}

void db_close(struct db *db) {
    if (!db) return;
    sqlite3_close_v2(db->handle);
    mem_free(db);
}

enum err db_script(struct db *db, const char *sql, struct why *why) {
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(db, why, "ledger");
    return OK;
}

static void bind(sqlite3_stmt *stmt, const char *types, va_list args) {
    for (int i = 1; types[i - 1]; i++) {
        switch (types[i - 1]) {
        case 'i': sqlite3_bind_int64(stmt, i, va_arg(args, int64_t)); break;
        case 't': sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC); break;
        case 's': {
            struct slice s = va_arg(args, struct slice);
            ASSERT(s.size <= INT32_MAX);
            sqlite3_bind_text(stmt, i, s.size ? (const char *)s.data : "", (int)s.size,
                              SQLITE_STATIC);
            break;
        }
        default: UNREACHABLE("a type letter that db.h does not know");
        }
    }
}

static enum err prepare(struct db *db, const char *sql, const char *types, va_list args,
                        sqlite3_stmt **stmt, struct why *why) {
    if (sqlite3_prepare_v2(db->handle, sql, -1, stmt, NULL) != SQLITE_OK)
        return failed(db, why, "prepare");
    ASSERT(sqlite3_bind_parameter_count(*stmt) == (int)strlen(types));
    bind(*stmt, types, args);
    return OK;
}

enum err db_run(struct db *db, struct why *why, const char *sql, const char *types, ...) {
    if (fault_now(FAULT_WRITE)) return why_set(why, ERR_IO, "ledger: write: injected fault");
    sqlite3_stmt *stmt = NULL;
    va_list args;
    va_start(args, types);
    enum err err = prepare(db, sql, types, args, &stmt, why);
    va_end(args);
    if (!err && sqlite3_step(stmt) != SQLITE_DONE) err = failed(db, why, "write");
    sqlite3_finalize(stmt);
    return err;
}

enum err db_query(struct db *db, struct why *why, db_on_row *on_row, void *self, const char *sql,
                  const char *types, ...) {
    sqlite3_stmt *stmt = NULL;
    va_list args;
    va_start(args, types);
    enum err err = prepare(db, sql, types, args, &stmt, why);
    va_end(args);
    while (!err) {
        int code = sqlite3_step(stmt);
        if (code == SQLITE_DONE) break;
        err = code == SQLITE_ROW ? on_row(self, stmt, why) : failed(db, why, "read");
    }
    sqlite3_finalize(stmt);
    return err;
}

enum err db_begin(struct db *db, struct why *why) {
    return db_script(db, "BEGIN IMMEDIATE", why);
}

enum err db_commit(struct db *db, struct why *why) {
    if (fault_now(FAULT_SYNC)) {
        db_rollback(db);
        return why_set(why, ERR_IO, "ledger: commit: injected fault");
    }
    enum err err = db_script(db, "COMMIT", why);
    if (err) db_rollback(db);
    return err;
}

void db_rollback(struct db *db) {
    if (db_in_transaction(db)) sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

bool db_in_transaction(const struct db *db) {
    return sqlite3_get_autocommit(db->handle) == 0;
}

int64_t db_last_id(const struct db *db) {
    return sqlite3_last_insert_rowid(db->handle);
}

static enum err on_integrity(void *self, sqlite3_stmt *row, struct why *why) {
    (void)self;
    if (strcmp(db_text(row, 0), "ok") == 0) return OK;
    return why_set(why, ERR_CORRUPT, "ledger: %s", db_text(row, 0));
}

enum err db_integrity(struct db *db, struct why *why) {
    return db_query(db, why, on_integrity, NULL, "PRAGMA integrity_check(1)", "");
}

const char *db_text(sqlite3_stmt *row, int column) {
    const unsigned char *text = sqlite3_column_text(row, column);
    return text ? (const char *)text : "";
}

int64_t db_int(sqlite3_stmt *row, int column) {
    return sqlite3_column_int64(row, column);
}

void db_copy_text(sqlite3_stmt *row, int column, char *to, size_t size) {
    snprintf(to, size, "%s", db_text(row, column));
}
