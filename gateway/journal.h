/* journal.h -- what a lane has to remember when its process dies, in one piece of memory (C20,
 * C21).
 *
 * No I/O: the memory is a mapped file (journal_file.h), or a test's. It survives kill -9 because
 * every store that was made is then in the kernel's hands; it does not survive the host, which is
 * why it names the boot during which it was made.
 *
 *     [ head of the file | slots | connections |  log ............................. ]
 *                                                 ^head: oldest       ^tail: next
 *
 * The log is a ring of records, each with a checksum: keys of commands and effects that are on
 * their way (`entries`), dirty keys, deadlines. A record is written behind the tail, and then the
 * tail is stored: that is the moment at which it counts. It is dropped by one store into it. In
 * front of the tail's way live records are moved behind it, a few for each one that is written, so
 * that the ring never stops. Between any two stores the file reads as before or as after.
 *
 * Bounded: the size never changes. What finds no room is remembered less exactly, and that is
 * always more: a key becomes its slot (`spilled`), a deadline 'all keys may expire', a connection
 * 'there were others'. Spilled slots stay so until the next process has read them.
 *
 * The names of keys are all that is kept of effects: nothing is replayed (C20).
 * Hostile input: journal_read() believes nothing; a file that is not whole is no journal.
 */
#ifndef GATEWAY_JOURNAL_H
#define GATEWAY_JOURNAL_H

#include "lib/base/slice.h"
#include "lib/redis/slot.h"

#define JOURNAL_VERSION 1u
#define JOURNAL_SLOTS SLOT_CLUSTER_COUNT
#define JOURNAL_BOOT_SIZE 36u
#define JOURNAL_RUN_ID_SIZE 40u
#define JOURNAL_CONNECTIONS 256u
#define JOURNAL_SIZE_MIN (160u << 10) /* bytes, with the head */
#define JOURNAL_SIZE_MAX ((size_t)1 << 32)

enum journal_side { JOURNAL_P, JOURNAL_F };

struct journal_key {
    struct slice name; /* borrowed for the call */
    int32_t db;
};

struct journal_figures {
    uint64_t live_bytes, log_bytes; /* of the log: in use, and in all */
    uint64_t records;               /* live ones */
    uint64_t moved;                 /* records that were moved out of the tail's way */
    uint64_t spilled;               /* slots that stand for keys without room */
};

struct journal_place;

struct journal {
    uint8_t *memory;
    size_t size, capacity;
    uint64_t lap; /* the position at which the tail's way through the log began */
    struct journal_place *places; /* where live records are; by what they are about */
    size_t place_cap, place_count;
    uint64_t *recent; /* position + 1 of the last entry by its id, which count up: no search */
    size_t elsewhere; /* entries that are in `places` */
    bool connections_full; /* this process opened more than have room */
    struct journal_figures figures;
    /* For tests: called after every store. */
    void (*stored)(void *self);
    void *stored_self;
};

/* An empty journal in MEMORY (SIZE bytes, all zero, aligned for anything), of this BOOT. The memory
 * stays the caller's. */
void journal_init(struct journal *journal, void *memory, size_t size,
                  const char boot[JOURNAL_BOOT_SIZE + 1]);
void journal_close(struct journal *journal); /* what it holds beside the memory */

/* ID is on its way, and may change KEYS; calls with the same id add up. */
void journal_entry(struct journal *journal, uint64_t id, const struct journal_key *keys,
                   size_t count);
void journal_entry_all(struct journal *journal, uint64_t id); /* any key */
void journal_forget(struct journal *journal, uint64_t id);

void journal_key(struct journal *journal, int32_t db, struct slice name, bool dirty);
void journal_slot(struct journal *journal, unsigned slot, bool dirty);

/* The key whose hash is ID may vanish at DEADLINE_MS; 0: it does not. */
void journal_deadline(struct journal *journal, uint64_t id, int64_t deadline_ms);

/* Every key may have a deadline that is not here. It stays so. */
void journal_deadlines_lost(struct journal *journal);

/* A connection that will be written to; and: it is known to be gone (C21). RUN_ID is cut at
 * JOURNAL_RUN_ID_SIZE. */
void journal_opened(struct journal *journal, enum journal_side side, int64_t server_id,
                    const char *run_id);
void journal_gone(struct journal *journal, enum journal_side side, int64_t server_id,
                  const char *run_id);

/* There are connections that are not here: of an earlier process, until LOST is taken back. One
 * that this process could not write down itself stays lost. */
void journal_connections_lost(struct journal *journal, bool lost);

/* ---- after a crash ---- */

enum journal_found {
    JOURNAL_GOOD,
    JOURNAL_MISSING,
    JOURNAL_OTHER_BOOT, /* the host was restarted: what it holds may be old */
    JOURNAL_OTHER_VERSION,
    JOURNAL_CORRUPT,
};

const char *journal_found_text(enum journal_found found);

/* What was in it. All but JOURNAL_GOOD: nothing was told, everything is dirty (C20). */
struct journal_reader {
    void *self;
    void (*key)(void *self, int32_t db, struct slice name); /* dirty, or of an entry */
    void (*slot)(void *self, unsigned slot);
    void (*everything)(void *self); /* every key is dirty; keys and slots may still be told */
    void (*deadline)(void *self, uint64_t hash, int64_t deadline_ms); /* the last one counts */
    void (*deadlines_lost)(void *self); /* every key may have a deadline */
    void (*connection)(void *self, enum journal_side side, int64_t server_id, const char *run_id);
    void (*connections_lost)(void *self); /* there were others */
};

/* FILE is verified as a whole before READER hears anything. Its address is aligned for anything. */
enum journal_found journal_read(struct slice file, const char boot[JOURNAL_BOOT_SIZE + 1],
                                const struct journal_reader *reader);

#endif
