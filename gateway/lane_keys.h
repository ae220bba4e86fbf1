/* lane_keys.h -- which keys of a lane are not clean, and which of them wait for a copy.
 *
 * A key is dirty when it is marked here, when it is pinned, or when its slot is dirty; every other
 * key is clean. (C12, C10a)
 *
 *   key dirty    it stands in the table, and on one of two lists of keys that want a copy: `soon`,
 *                or `later`, where it waits so that the copies of a hot key are coalesced (C14)
 *   key pinned   a command that runs outside the lane's order may write it; no copy is of use
 *   slot dirty   nothing is known about any key of the slot. A pass (lane_scan.h) lists both sides
 *                and clears the slots that were dirty when it began; meanwhile a written key is
 *                marked as usual. A slot that becomes dirty again during the pass stays so.
 *
 * Memory: at most `keys_max` keys; instead of one more, its slot becomes dirty and its name is
 * forgotten. Pinned keys and those with a copy under way are always kept: they are bounded by what
 * clients have outstanding.
 *
 * A generation (C13a) counts the events from outside the lane's order that made the key dirty.
 * Dirty marks are told to the journal before the function returns.
 */
#ifndef GATEWAY_LANE_KEYS_H
#define GATEWAY_LANE_KEYS_H

#include "gateway/lane_journal.h"

#include "lib/base/queue.h"
#include "lib/redis/slot.h"

#define LANE_SLOTS SLOT_CLUSTER_COUNT

struct lane_key {
    struct lane_key *next; /* in the bucket */
    struct list want;      /* on `soon` or `later`; on none while pinned or being copied */
    uint64_t hash, gen, stamp;
    uint64_t due_ms;  /* on `later` */
    uint64_t kept_ms; /* when it was due before it was pinned; 0: it did not wait */
    uint32_t pins, failures;
    uint32_t name_bytes;
    int32_t db;
    bool dirty, copying;
    bool by_pieces, whole_only; /* how it is to be copied (lane_big.h), whatever its size */
    uint64_t big_bytes;         /* lane_big.h's; 0: it is not known to be big */
    uint8_t name[]; /* name_bytes */
};

struct lane_keys {
    const struct lane_journal *journal;
    struct lane_key **buckets;
    size_t bucket_count, count, keys_max;
    size_t dirty_count, pinned_count, failed_count; /* failed: copies that were refused or erred */
    struct list soon, later;
    unsigned pinned_all; /* commands outside the order whose keys are not known */
    uint64_t gens, stamps;
    uint64_t dirty_slots[LANE_SLOTS / 64], passing[LANE_SLOTS / 64];
    size_t dirty_slot_count;
    const uint64_t *owned; /* bits of slots that this gateway owns (C10); NULL: all */
    bool owns_all;         /* all of them are set */
    unsigned number, lanes; /* only slots of this lane are ever dirty here: lanes share a journal */
};

void lane_keys_init(struct lane_keys *keys, const struct lane_journal *journal, size_t keys_max,
                    unsigned number, unsigned lanes);
void lane_keys_close(struct lane_keys *keys);

struct lane_key *lane_keys_find(const struct lane_keys *keys, int32_t db, struct slice name);

static inline struct slice lane_key_name(const struct lane_key *key) {
    return slice_from(key->name, key->name_bytes);
}

bool lane_keys_is_dirty(const struct lane_keys *keys, int32_t db, struct slice name);

/* The key is dirty from now on. OUTSIDE: by an event that is not in the lane's order, so that a
 * copy that is under way is of no use (C13a). It wants a copy at DUE_MS, 0: soon. */
void lane_keys_mark(struct lane_keys *keys, int32_t db, struct slice name, bool outside,
                    uint64_t due_ms);

/* Likewise, for slots. A slot that is dirty already is taken out of the pass. */
void lane_keys_mark_slot(struct lane_keys *keys, unsigned slot);
void lane_keys_mark_all(struct lane_keys *keys);
/* No copy that is under way makes its key clean (C13a). */
void lane_keys_renew(struct lane_keys *keys);

/* Pins count. Both ends of one are events from outside. */
void lane_keys_pin(struct lane_keys *keys, int32_t db, struct slice name);
void lane_keys_unpin(struct lane_keys *keys, int32_t db, struct slice name, uint64_t due_ms);

/* The next key that wants a copy now, or NULL; it is then being copied. HURRY: do not coalesce. */
struct lane_key *lane_keys_next(struct lane_keys *keys, uint64_t now_ms, bool hurry);

/* The copy ended. CLEAN: and F will have its value; else it wants another one at DUE_MS. The key
 * may be freed. */
void lane_keys_copied(struct lane_keys *keys, struct lane_key *key, bool clean, uint64_t due_ms);

/* Other slots are owned now, as keys->owned says: nothing more is dirty of those that are not, but
 * for pinned keys, which are forgotten when they are unpinned. */
void lane_keys_disown(struct lane_keys *keys);

static inline bool lane_keys_owns(const struct lane_keys *keys, unsigned slot) {
    return keys->owned == NULL || ((keys->owned[slot / 64] >> (slot % 64)) & 1) != 0;
}

/* A pass: what is dirty now will be clean at its end, unless it is marked meanwhile. */
void lane_keys_pass_begin(struct lane_keys *keys);
bool lane_keys_in_pass(const struct lane_keys *keys, unsigned slot);
void lane_keys_pass_end(struct lane_keys *keys);
void lane_keys_pass_drop(struct lane_keys *keys);

#endif
