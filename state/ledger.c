/* ledger.c -- open and migrate the ledger; the chain of events. */
#include "state/ledger.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "state/db.h"
#include "state/sha256.h"

#include <inttypes.h>
#include <stdio.h>

struct ledger {
    struct db *db;
    const struct clock *clock;
    int64_t head; /* of the last event, those of the open transaction included */
    char hash[65];
    int64_t safe_head; /* as of the last commit */
    char safe_hash[65];
    void (*on_event)(void *, const struct event *);
    void *listener;
};

/* The schema as steps: number n brings a ledger of version n to n+1. Steps are never changed once
 * released; a new one is added. */
/* clang-format off */
static const char *const schema[] = {
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, migration INTEGER NOT NULL,"
    " kind TEXT NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL,"
    " prev TEXT NOT NULL, hash TEXT NOT NULL);"
    "CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, phase TEXT NOT NULL,"
    " phase_since_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, primary_side TEXT NOT NULL,"
    " capture TEXT NOT NULL, created_ms INTEGER NOT NULL);"
    "CREATE TABLE phases (id INTEGER PRIMARY KEY, migration INTEGER NOT NULL REFERENCES migrations,"
    " at_ms INTEGER NOT NULL, from_phase TEXT NOT NULL, to_phase TEXT NOT NULL, who TEXT NOT NULL,"
    " why TEXT NOT NULL, epoch INTEGER NOT NULL, legacy_replid TEXT, legacy_offset INTEGER,"
    " target_replid TEXT, target_offset INTEGER, event INTEGER NOT NULL REFERENCES events);"
    "CREATE TABLE barriers (id INTEGER PRIMARY KEY, migration INTEGER NOT NULL REFERENCES migrations,"
    " began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL DEFAULT 0, from_side TEXT NOT NULL,"
    " to_side TEXT NOT NULL, rehearsal INTEGER NOT NULL, max_hold_ms INTEGER NOT NULL,"
    " epoch_before INTEGER NOT NULL, epoch_after INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL,"
    " why TEXT NOT NULL DEFAULT '', who TEXT NOT NULL, x_replid TEXT NOT NULL DEFAULT '',"
    " x_offset INTEGER NOT NULL DEFAULT 0, b_replid TEXT NOT NULL DEFAULT '',"
    " b_offset INTEGER NOT NULL DEFAULT 0, hold_us INTEGER NOT NULL DEFAULT 0,"
    " compared INTEGER NOT NULL DEFAULT 0, killed INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE checkpoints (id INTEGER PRIMARY KEY, migration INTEGER NOT NULL,"
    " barrier INTEGER NOT NULL, at_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, side TEXT NOT NULL,"
    " replid TEXT NOT NULL, offset INTEGER NOT NULL, meaning TEXT NOT NULL);"
    "CREATE TABLE audits (id INTEGER PRIMARY KEY, migration INTEGER NOT NULL, link TEXT NOT NULL,"
    " epoch INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL DEFAULT 0,"
    " outcome TEXT NOT NULL, keys INTEGER NOT NULL DEFAULT 0, slots INTEGER NOT NULL DEFAULT 0,"
    " differences INTEGER NOT NULL DEFAULT 0, undecided INTEGER NOT NULL DEFAULT 0,"
    " source_offset INTEGER NOT NULL DEFAULT 0, pause_ms INTEGER NOT NULL DEFAULT 0,"
    " error TEXT NOT NULL DEFAULT '', stale TEXT NOT NULL DEFAULT '', repaired INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE differences (audit INTEGER NOT NULL REFERENCES audits, n INTEGER NOT NULL,"
    " db INTEGER NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, kind TEXT NOT NULL,"
    " source_digest TEXT NOT NULL, target_digest TEXT NOT NULL, slot INTEGER NOT NULL,"
    " PRIMARY KEY (audit, n)) WITHOUT ROWID;"
    "CREATE TABLE waivers (gate TEXT NOT NULL, migration INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " until_ms INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY (gate, migration)) WITHOUT ROWID;"
    "CREATE TABLE members (role TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,"
    " pid INTEGER NOT NULL, epoch INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
    " PRIMARY KEY (role, name)) WITHOUT ROWID;"
    "CREATE INDEX phases_of ON phases (migration); CREATE INDEX barriers_of ON barriers (migration);",
    "CREATE TABLE slots (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, owners TEXT NOT NULL);",
    "CREATE TABLE reads (migration INTEGER PRIMARY KEY REFERENCES migrations, wanted TEXT NOT NULL);",
    "CREATE TABLE baselines (migration INTEGER PRIMARY KEY REFERENCES migrations, path TEXT NOT NULL);",
    "ALTER TABLE migrations ADD COLUMN home_capture TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE barriers ADD COLUMN capture_before TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE barriers ADD COLUMN capture_after TEXT NOT NULL DEFAULT '';",
};
/* clang-format on */
#define SCHEMA_VERSION ((int64_t)(sizeof schema / sizeof *schema))
#define APPLICATION_ID 1148348967 /* "Drbg", so that a wrong file is noticed */

static enum err take_int(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    *(int64_t *)self = db_int(row, 0);
    return OK;
}

static enum err check_owner(struct db *db, int64_t *version, struct why *why) {
    int64_t owner = 0, tables = 0;
    enum err err = db_query(db, why, take_int, &owner, "PRAGMA application_id", "");
    if (!err) err = db_query(db, why, take_int, version, "PRAGMA user_version", "");
    if (!err) err = db_query(db, why, take_int, &tables, "SELECT count(*) FROM sqlite_schema", "");
    if (err) return err;
    if (owner != APPLICATION_ID && (owner != 0 || tables != 0))
        return why_set(why, ERR_CORRUPT, "it is a database, but not a ledger");
    if (*version > SCHEMA_VERSION)
        return why_set(why, ERR_CORRUPT,
                       "made by a newer drawbridge (schema %" PRId64 ", this one knows %" PRId64
                       ")",
                       *version, SCHEMA_VERSION);
    return OK;
}

static enum err migrate(struct db *db, int64_t version, struct why *why) {
    while (version < SCHEMA_VERSION) {
        char mark[96];
        snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%" PRId64,
                 APPLICATION_ID, version + 1);
        enum err err = db_begin(db, why);
        if (!err) err = db_script(db, schema[version], why);
        if (!err) err = db_script(db, mark, why);
        if (!err) err = db_commit(db, why);
        if (err) {
            db_rollback(db);
            return why_add(why, err, "schema step %" PRId64, version);
        }
        version++;
    }
    return OK;
}

static enum err take_head(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    struct ledger *ledger = self;
    ledger->head = ledger->safe_head = db_int(row, 0);
    db_copy_text(row, 1, ledger->hash, sizeof ledger->hash);
    memcpy(ledger->safe_hash, ledger->hash, sizeof ledger->hash);
    return OK;
}

enum err ledger_open(struct ledger **out, const char *path, const struct clock *clock,
                     struct why *why) {
    struct ledger *ledger = NEW(struct ledger);
    ledger->clock = clock;
    int64_t version = 0;
    enum err err = db_open(&ledger->db, path, why);
    if (!err) err = check_owner(ledger->db, &version, why);
    if (!err) err = migrate(ledger->db, version, why);
    if (!err)
        err = db_query(ledger->db, why, take_head, ledger,
                       "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1", "");
    if (err) {
        ledger_close(ledger);
        return why_add(why, err, "ledger %s", path);
    }
    *out = ledger;
    return OK;
}

void ledger_close(struct ledger *ledger) {
    if (!ledger) return;
    db_close(ledger->db);
    mem_free(ledger);
}

enum err ledger_begin(struct ledger *ledger, struct why *why) {
    return db_begin(ledger->db, why);
}

enum err ledger_commit(struct ledger *ledger, struct why *why) {
    enum err err = db_commit(ledger->db, why);
    if (err) {
        ledger_rollback(ledger);
        return err;
    }
    ledger->safe_head = ledger->head;
    memcpy(ledger->safe_hash, ledger->hash, sizeof ledger->hash);
    return OK;
}

void ledger_rollback(struct ledger *ledger) {
    db_rollback(ledger->db);
    ledger->head = ledger->safe_head;
    memcpy(ledger->hash, ledger->safe_hash, sizeof ledger->hash);
}

/* SHA-256 over the hash before it and every field, each with its length, so that moving a byte
 * from one field to the next changes it. */
static void hash_event(const char *prev, const struct event *event, char hash[65]) {
    struct buf buf = {0};
    buf_printf(&buf, "%s %" PRId64 " %" PRId64 " %" PRId64, prev, event->seq, event->at_ms,
               event->migration);
    const char *const fields[] = {event->kind, event->who, event->text, event->data};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        buf_printf(&buf, " %zu:%s", strlen(fields[i]), fields[i]);
    sha256_hex(buf_slice(&buf), hash);
    buf_close(&buf);
}

enum err ledger_add_event(struct ledger *ledger, struct event *event, struct why *why) {
    ASSERT(db_in_transaction(ledger->db));
    event->seq = ledger->head + 1;
    event->at_ms = ledger_now(ledger);
    hash_event(ledger->hash, event, event->hash);
    enum err err = db_run(ledger->db, why, "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?)",
                          "iiitttttt", event->seq, event->at_ms, event->migration, event->kind,
                          event->who, event->text, event->data, ledger->hash, event->hash);
    if (err) return why_add(why, err, "event %s", event->kind);
    ledger->head = event->seq;
    memcpy(ledger->hash, event->hash, sizeof ledger->hash);
    if (ledger->on_event) ledger->on_event(ledger->listener, event);
    return OK;
}

void ledger_set_listener(struct ledger *ledger, void (*on_event)(void *, const struct event *),
                         void *self) {
    ledger->on_event = on_event;
    ledger->listener = self;
}

static void take_event(struct sqlite3_stmt *row, struct event *event) {
    event->seq = db_int(row, 0);
    event->at_ms = db_int(row, 1);
    event->migration = db_int(row, 2);
    db_copy_text(row, 3, event->kind, sizeof event->kind);
    db_copy_text(row, 4, event->who, sizeof event->who);
    db_copy_text(row, 5, event->text, sizeof event->text);
    db_copy_text(row, 6, event->data, sizeof event->data);
    db_copy_text(row, 8, event->hash, sizeof event->hash);
}

struct each {
    ledger_on_event *on_event;
    void *self;
};

static enum err each_row(void *self, struct sqlite3_stmt *row, struct why *why) {
    struct each *each = self;
    struct event event;
    take_event(row, &event);
    return each->on_event(each->self, &event, why);
}

enum err ledger_each_event(struct ledger *ledger, int64_t after, int64_t limit,
                           ledger_on_event *on_event, void *self, struct why *why) {
    struct each each = {on_event, self};
    return db_query(ledger->db, why, each_row, &each,
                    "SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", "ii", after, limit);
}

/* ---- verify ---- */

struct chain {
    struct ledger_verdict *verdict;
    char prev[65];
};

static enum err check_row(void *self, struct sqlite3_stmt *row, struct why *why) {
    (void)why;
    struct chain *chain = self;
    struct ledger_verdict *verdict = chain->verdict;
    if (verdict->broken_seq) return OK;
    struct event event;
    char hash[65];
    take_event(row, &event);
    hash_event(chain->prev, &event, hash);
    const char *what = event.seq != verdict->events + 1 ? "is missing or out of order"
                       : strcmp(db_text(row, 7), chain->prev) != 0
                           ? "does not follow the one before"
                       : strcmp(event.hash, hash) != 0 ? "was changed after it was written"
                                                       : NULL;
    if (what) {
        verdict->broken_seq = verdict->events + 1;
        snprintf(verdict->text, sizeof verdict->text, "event %" PRId64 " %s", verdict->broken_seq,
                 what);
        return OK;
    }
    verdict->events++;
    memcpy(chain->prev, hash, sizeof hash);
    return OK;
}

/* Rows of other tables that claim an event which is not theirs. */
static const char orphan_sql[] =
    "SELECT count(*) FROM phases p LEFT JOIN events e ON e.seq = p.event"
    " WHERE e.seq IS NULL OR e.kind <> 'phase.moved' OR e.at_ms <> p.at_ms";

enum err ledger_verify(struct ledger *ledger, struct ledger_verdict *verdict, struct why *why) {
    *verdict = (struct ledger_verdict){0};
    struct chain chain = {.verdict = verdict};
    int64_t orphans = 0;
    enum err err = db_integrity(ledger->db, why);
    if (!err)
        err = db_query(ledger->db, why, check_row, &chain, "SELECT * FROM events ORDER BY seq", "");
    if (!err) err = db_query(ledger->db, why, take_int, &orphans, orphan_sql, "");
    if (err) return err;
    memcpy(verdict->head, chain.prev, sizeof verdict->head);
    if (!verdict->broken_seq && orphans) {
        verdict->broken_seq = verdict->events;
        snprintf(verdict->text, sizeof verdict->text,
                 "%" PRId64 " rows of the phases table have no event of their own", orphans);
    }
    if (!verdict->broken_seq)
        snprintf(verdict->text, sizeof verdict->text, "%" PRId64 " events, the chain is whole",
                 verdict->events);
    return OK;
}

int64_t ledger_head(const struct ledger *ledger) {
    return ledger->head;
}
struct db *ledger_db(struct ledger *ledger) {
    return ledger->db;
}
int64_t ledger_now(const struct ledger *ledger) {
    return clock_wall_ms(ledger->clock);
}
