/* slot_table.h -- which gateway owns which slots with capture `lane` (C10), as state keeps it and
 * tells it.
 *
 * As words: a version, then four for each gateway: name, address for its peers ("-": none), the
 * version since which it has had all that it owns, and its slots ("0-99,200", "-": none).
 * A higher version is a later table. Each slot has one owner, or none.
 *
 * Hostile input: what is read is checked as a whole; on an error the table is not usable.
 */
#ifndef LIB_CONTROL_SLOT_TABLE_H
#define LIB_CONTROL_SLOT_TABLE_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/redis/slot.h"

#define SLOT_TABLE_GATEWAYS 32u
#define SLOT_TABLE_NAME_BYTES 64u
#define SLOT_TABLE_PEER_BYTES 128u
#define SLOT_TABLE_NOBODY 255u

struct slot_table_gateway {
    char name[SLOT_TABLE_NAME_BYTES];
    char peer[SLOT_TABLE_PEER_BYTES]; /* "": none */
    uint64_t since;
};

struct slot_table {
    uint64_t version; /* 0: none yet */
    unsigned count;
    struct slot_table_gateway gateway[SLOT_TABLE_GATEWAYS];
    uint8_t owner[SLOT_CLUSTER_COUNT]; /* index into gateway[], or SLOT_TABLE_NOBODY */
};

void slot_table_init(struct slot_table *table); /* nobody, version 0 */

/* The gateway called NAME; table->count: there is none. */
unsigned slot_table_find(const struct slot_table *table, struct slice name);
unsigned slot_table_owned(const struct slot_table *table, unsigned gateway); /* how many */

/* Append the words, each as a bulk string without a header; how many there were. */
size_t slot_table_write(const struct slot_table *table, struct buf *out);
MUST_CHECK enum err slot_table_read(struct slot_table *table, size_t count,
                                    const struct slice *words, struct why *why);

/* The same as one text, words separated by spaces. */
void slot_table_write_text(const struct slot_table *table, struct buf *out);
MUST_CHECK enum err slot_table_read_text(struct slot_table *table, struct slice text,
                                         struct why *why);

#endif
