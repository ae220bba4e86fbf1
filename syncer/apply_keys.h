/* apply_keys.h -- what a command of the stream does to keys, as far as apply must know it: which
 * keys it touches, writes, replaces as a whole, and which deadlines it gives them (C7a, C8).
 */
#ifndef SYNCER_APPLY_KEYS_H
#define SYNCER_APPLY_KEYS_H

#include "lib/redis/command.h"

enum apply_class {
    APPLY_ORDINARY,
    APPLY_NOTHING, /* no data: PING, REPLCONF, PUBLISH ... */
    APPLY_FLUSHALL,
    APPLY_FLUSHDB,
    APPLY_SWAPDB,
    APPLY_UNKNOWN, /* not in our table: its first argument is taken for a key that it writes */
};

struct apply_key {
    struct slice key;
    int db;
    bool written;
    bool replaced; /* nothing of its old value or expiry plays a part */
};

/* All zero is ready. Owns the arrays, not the keys. */
struct apply_keys {
    struct apply_key *at;
    size_t count, cap;
    struct command_key *found;
    size_t found_cap;
};

void apply_keys_close(struct apply_keys *keys);

/* argc > 0. COMMAND may be NULL. DB is the selected database. */
enum apply_class apply_keys_of(struct apply_keys *keys, const struct command *command, size_t argc,
                               const struct slice *argv, int db);

/* The deadline that the command gives to the key that it writes; 0: it takes one away or leaves none;
 * -1: it leaves the key's deadline alone; -2: that of its first key. NOW_MS for relative times. */
int64_t apply_deadline_of(const struct command *command, size_t argc, const struct slice *argv, int64_t now_ms);
#define APPLY_DEADLINE_GONE 0
#define APPLY_DEADLINE_KEPT (-1)
#define APPLY_DEADLINE_MOVED (-2)

/* Whether a source sends this command only if it changed something, and the answer NUMBER says that
 * at the target it did not: then the key was not there any more. */
bool apply_changed_nothing(const struct command *command, int64_t number);

/* The two databases of SWAPDB; false when they are not numbers. */
bool apply_swapped(size_t argc, const struct slice *argv, int *a, int *b);

#endif
