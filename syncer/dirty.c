/* dirty.c -- the dirty keys and their log. See dirty.h.
 *
 * An entry: size of the rest (4), kind (1), offset (8), copies (4), db (4), key, check (4). Little end first.
 */
#include "syncer/dirty.h"

#include "lib/base/mem.h"

#include <stdio.h>

#define ATTEMPTS_MAX 3
#define QUARANTINE_MS 30000
#define HEAD_BYTES 17 /* kind, offset, copies, db */

enum kind { KIND_DIRTY = 1, KIND_CLEAN, KIND_SEEN, KIND_REWIND, KIND_CLEAR };

struct entry {
    enum kind kind;
    struct place place; /* db: of the key; for SEEN the selected one */
    struct slice key;
};

void dirty_init(struct dirty *dirty) {
    *dirty = (struct dirty){0};
    keymap_init(&dirty->keys, sizeof(struct dirty_key));
}

void dirty_close(struct dirty *dirty) {
    keymap_close(&dirty->keys);
    buf_close(&dirty->log);
}

static void put(struct buf *out, const struct entry *e) {
    uint8_t head[4 + HEAD_BYTES];
    uint32_t size = (uint32_t)(HEAD_BYTES + e->key.size);
    memcpy(head, &size, 4);
    head[4] = (uint8_t)e->kind;
    memcpy(head + 5, &e->place.offset, 8);
    memcpy(head + 13, &e->place.copies, 4);
    memcpy(head + 17, &e->place.db, 4);
    size_t start = buf_size(out);
    buf_append(out, head, sizeof head);
    buf_add(out, e->key);
    uint32_t check = (uint32_t)keymap_hash(0, slice_drop(buf_slice(out), start));
    buf_append(out, &check, 4);
}

static void note(struct dirty *dirty, enum kind kind, struct place place, int db, struct slice key) {
    place.db = db;
    put(&dirty->log, &(struct entry){.kind = kind, .place = place, .key = key});
}

/* The entry at the front of LOG; 0 when there is no whole and good one. */
static size_t take(struct slice log, struct entry *e) {
    uint32_t size, check;
    if (log.size < 4) return 0;
    memcpy(&size, log.data, 4);
    if (size < HEAD_BYTES || log.size < (size_t)size + 8) return 0;
    memcpy(&check, log.data + 4 + size, 4);
    if ((uint32_t)keymap_hash(0, slice_take(log, (size_t)size + 4)) != check) return 0;
    if (log.data[4] < KIND_DIRTY || log.data[4] > KIND_CLEAR) return 0;
    e->kind = (enum kind)log.data[4];
    memcpy(&e->place.offset, log.data + 5, 8);
    memcpy(&e->place.copies, log.data + 13, 4);
    memcpy(&e->place.db, log.data + 17, 4);
    e->key = slice_from(log.data + 4 + HEAD_BYTES, size - HEAD_BYTES);
    return (size_t)size + 8;
}

struct dirty_key *dirty_find(const struct dirty *dirty, int db, struct slice key) {
    return keymap_find(&dirty->keys, db, key);
}

static bool add(struct dirty *dirty, int db, struct slice key, const char *reason) {
    bool added = false;
    struct dirty_key *k = keymap_put(&dirty->keys, db, key, &added);
    if (added) snprintf(k->reason, sizeof k->reason, "%s", reason);
    return added;
}

static void drop(struct dirty *dirty, struct dirty_key *key) {
    if (key->quarantined) dirty->quarantined--;
    if (key->foreign) dirty->foreign--;
    keymap_remove(&dirty->keys, key);
}

void dirty_mark(struct dirty *dirty, struct place place, int db, struct slice key, const char *reason) {
    if (add(dirty, db, key, reason)) note(dirty, KIND_DIRTY, place, db, key);
}

void dirty_mark_foreign(struct dirty *dirty, struct place place, int db, struct slice key) {
    dirty_mark(dirty, place, db, key, "somebody else wrote it at the target");
    struct dirty_key *k = dirty_find(dirty, db, key);
    if (!k->foreign) dirty->foreign++;
    k->foreign = true;
}

void dirty_clean(struct dirty *dirty, struct place place, struct dirty_key *key) {
    note(dirty, KIND_CLEAN, place, key->entry.db, key->entry.key);
    drop(dirty, key);
}

void dirty_seen(struct dirty *dirty, struct place place) { note(dirty, KIND_SEEN, place, place.db, (struct slice){0}); }

static void clear_keys(struct dirty *dirty, int db) {
    struct keymap_walk walk = {0};
    for (struct dirty_key *k; (k = keymap_next(&dirty->keys, &walk));)
        if (db < 0 || k->entry.db == db) drop(dirty, k);
}

void dirty_clear(struct dirty *dirty, struct place place, int db) {
    if (dirty->keys.count == 0) return;
    clear_keys(dirty, db);
    note(dirty, KIND_CLEAR, place, db, (struct slice){0});
}

void dirty_mirror(struct dirty *dirty, struct place place, int a, int b) {
    struct keymap twins;
    struct keymap_walk walk = {0};
    bool added = false;
    keymap_init(&twins, sizeof(struct keymap_entry));
    for (const struct dirty_key *k; (k = keymap_next(&dirty->keys, &walk));) {
        if (k->entry.db == a) (void)keymap_put(&twins, b, k->entry.key, &added);
        if (k->entry.db == b) (void)keymap_put(&twins, a, k->entry.key, &added);
    }
    walk = (struct keymap_walk){0};
    for (const struct keymap_entry *e; (e = keymap_next(&twins, &walk));)
        dirty_mark(dirty, place, e->db, e->key, "its database was swapped with one where it was dirty");
    keymap_close(&twins);
}

void dirty_failed(struct dirty *dirty, struct dirty_key *key, const char *reason, int64_t now_ms) {
    key->asked = false;
    snprintf(key->reason, sizeof key->reason, "%s", reason);
    if (++key->attempts >= ATTEMPTS_MAX && !key->quarantined) {
        key->quarantined = true;
        dirty->quarantined++;
    }
    key->next_try_ms = now_ms + (key->quarantined ? QUARANTINE_MS : 500);
}

/* ---- reading the log again ---- */

struct stack {
    struct entry *at;
    size_t count, cap;
};

/* The entries that no REWIND made void, in their order. */
static size_t read_log(struct slice log, struct stack *stack) {
    size_t used = 0, size;
    struct entry e;
    while ((size = take(slice_drop(log, used), &e)) > 0) {
        used += size;
        if (e.kind == KIND_REWIND) {
            size_t kept = 0;
            for (size_t i = 0; i < stack->count; i++)
                if (place_compare(&stack->at[i].place, &e.place) <= 0) stack->at[kept++] = stack->at[i];
            stack->count = kept;
            continue;
        }
        if (stack->count == stack->cap) {
            stack->cap = stack->cap ? stack->cap * 2 : 256;
            stack->at = mem_realloc(stack->at, stack->cap * sizeof *stack->at);
        }
        stack->at[stack->count++] = e;
    }
    return used;
}

static void replay(struct dirty *dirty, const struct entry *e) {
    struct dirty_key *key;
    switch (e->kind) {
    case KIND_DIRTY: (void)add(dirty, e->place.db, e->key, "dirty before the restart"); break;
    case KIND_CLEAN:
        if ((key = dirty_find(dirty, e->place.db, e->key))) drop(dirty, key);
        break;
    case KIND_CLEAR: clear_keys(dirty, e->place.db); break;
    case KIND_SEEN:
    case KIND_REWIND: break;
    }
}

void dirty_load(struct dirty *dirty, struct slice log, struct place at, struct place *seen, struct place *highest,
                size_t *used_bytes) {
    struct stack stack = {0};
    clear_keys(dirty, -1);
    *used_bytes = read_log(log, &stack);
    *seen = *highest = at;
    const struct entry *last_seen = NULL;
    for (size_t i = 0; i < stack.count; i++) {
        const struct entry *e = &stack.at[i];
        if (e->kind == KIND_SEEN && (!last_seen || place_compare(&last_seen->place, &e->place) < 0)) last_seen = e;
        if (place_compare(&e->place, &at) <= 0) replay(dirty, e);
        else if (place_compare(&e->place, highest) > 0) *highest = e->place;
    }
    if (last_seen && place_compare(&last_seen->place, &at) < 0) *seen = last_seen->place;
    mem_free(stack.at);
    if (place_compare(highest, &at) > 0) note(dirty, KIND_REWIND, at, at.db, (struct slice){0});
}

void dirty_compact(struct slice log, struct place horizon, struct buf *out) {
    struct stack stack = {0};
    struct dirty state;
    dirty_init(&state);
    (void)read_log(log, &stack);
    const struct entry *last_seen = NULL;
    for (size_t i = 0; i < stack.count; i++) {
        if (stack.at[i].kind == KIND_SEEN) last_seen = &stack.at[i];
        if (place_compare(&stack.at[i].place, &horizon) <= 0) replay(&state, &stack.at[i]);
    }
    struct keymap_walk walk = {0};
    for (struct dirty_key *k; (k = keymap_next(&state.keys, &walk));) {
        struct entry e = {.kind = KIND_DIRTY, .place = horizon, .key = k->entry.key};
        e.place.db = k->entry.db;
        put(out, &e);
    }
    for (size_t i = 0; i < stack.count; i++)
        if (place_compare(&stack.at[i].place, &horizon) > 0 && stack.at[i].kind != KIND_SEEN) put(out, &stack.at[i]);
    if (last_seen) put(out, last_seen);
    mem_free(stack.at);
    dirty_close(&state);
}
