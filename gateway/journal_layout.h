/* journal_layout.h -- the bytes of a journal, for those who write and who read it. See journal.h.
 *
 * All in the byte order of the machine: a journal never leaves its host.
 */
#ifndef GATEWAY_JOURNAL_LAYOUT_H
#define GATEWAY_JOURNAL_LAYOUT_H

#include "gateway/journal.h"

#include <stdatomic.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define JOURNAL_MAGIC "DBLANEJ\n"

struct journal_head {
    char magic[8]; /* stored last when the file is made */
    uint32_t version, head_bytes;
    uint64_t capacity; /* of the log */
    char boot[JOURNAL_BOOT_SIZE + 4];
    uint64_t check; /* of all above but the magic */
    /* Positions count on and on; the place is the position modulo the capacity. */
    _Atomic uint64_t oldest, tail;
    _Atomic uint32_t everything, deadlines_lost, connections_lost, unused;
    _Atomic uint64_t slots[JOURNAL_SLOTS / 64], spilled[JOURNAL_SLOTS / 64];
    struct journal_connection {
        _Atomic uint32_t state; /* 0: none; else JOURNAL_LIVE, stored last */
        uint32_t side;
        int64_t server_id;
        char run_id[JOURNAL_RUN_ID_SIZE + 8];
        uint64_t check;
    } connections[JOURNAL_CONNECTIONS];
};

#define JOURNAL_HEAD_BYTES ((sizeof(struct journal_head) + 4095u) & ~(size_t)4095u)

#define JOURNAL_LIVE 0x4556494cu /* "LIVE" */
#define JOURNAL_DEAD 0x44414544u
#define JOURNAL_PAD 0x20444150u /* nothing up to the end of the log */

enum journal_kind { JOURNAL_ENTRY = 1, JOURNAL_ENTRY_ALL, JOURNAL_KEY, JOURNAL_DEADLINE };

struct journal_record {
    uint32_t size; /* with this head; a multiple of 8 */
    _Atomic uint32_t state;
    _Atomic int64_t number; /* a deadline, which may change */
    uint64_t check;         /* of all that follows, and of size and position */
    uint64_t id;            /* of an entry; of a key or deadline the hash */
    uint32_t kind;
    uint32_t keys; /* that follow: each a db, a size, a name, zeros up to a multiple of 8 */
    uint8_t body[];
};

struct journal_name {
    int32_t db;
    uint32_t bytes;
    uint8_t name[];
};

#define JOURNAL_RECORD_MAX (8u << 10) /* bytes; keys with a longer name are spilled */

static inline size_t journal_name_bytes(size_t name) {
    return (sizeof(struct journal_name) + name + 7) & ~(size_t)7;
}

static inline uint64_t journal_record_check(const struct journal_record *record,
                                            uint64_t position) {
    const size_t from = offsetof(struct journal_record, id);
    return XXH3_64bits_withSeed((const uint8_t *)record + from, record->size - from,
                                position * 31 + record->size);
}

static inline uint64_t journal_head_check(const struct journal_head *head) {
    const size_t from = offsetof(struct journal_head, version);
    return XXH3_64bits((const uint8_t *)head + from, offsetof(struct journal_head, check) - from);
}

static inline uint64_t journal_connection_check(const struct journal_connection *connection) {
    const size_t from = offsetof(struct journal_connection, side);
    return XXH3_64bits((const uint8_t *)connection + from,
                       offsetof(struct journal_connection, check) - from);
}

#endif
