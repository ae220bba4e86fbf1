/* journal.c -- writing a journal. See journal.h, journal_layout.h.
 *
 * Every store into the memory goes through store_*() or copy(), in the order in which it counts: a
 * process that is killed has made all stores up to some point, and none after it.
 */
#include "gateway/journal.h"

#include "gateway/journal_layout.h"

#include "lib/base/mem.h"

#define PLACES_MIN 1024u
#define RECENT 65536u /* a power of two */

/* Live records may take this much of the log; the rest keeps moving them affordable. */
#define LIVE_MAX(capacity) ((capacity) / 8 * 5)
/* Never less is free, so that there is always room to move a record. */
#define FREE_MIN (4 * JOURNAL_RECORD_MAX)

struct journal_place {
    uint64_t hash;
    uint64_t at; /* position + 1; 0: empty */
};

static struct journal_head *head_of(const struct journal *journal) {
    return (struct journal_head *)(void *)journal->memory;
}

/* POSITION modulo the capacity, of one that is at most so far behind or before the tail. A division
 * would cost more than all the rest. */
static uint64_t place_in_log(const struct journal *journal, uint64_t position) {
    if (position < journal->lap) return position - (journal->lap - journal->capacity);
    uint64_t place = position - journal->lap;
    return place < journal->capacity ? place : place - journal->capacity;
}

static struct journal_record *record_at(const struct journal *journal, uint64_t position) {
    return (struct journal_record *)(void *)(journal->memory + JOURNAL_HEAD_BYTES +
                                             place_in_log(journal, position));
}

/* ---- stores ---- */

static void stored(struct journal *journal) {
    if (journal->stored != NULL) journal->stored(journal->stored_self);
}

static void store_64(struct journal *journal, _Atomic uint64_t *to, uint64_t value) {
    atomic_store_explicit(to, value, memory_order_release);
    stored(journal);
}

static void store_32(struct journal *journal, _Atomic uint32_t *to, uint32_t value) {
    atomic_store_explicit(to, value, memory_order_release);
    stored(journal);
}

/* In two parts when somebody looks, because a copy may be cut anywhere. */
static void copy(struct journal *journal, void *to, const void *from, size_t size) {
    if (size == 0) return;
    size_t half = journal->stored != NULL ? size / 2 : 0;
    memcpy(to, from, half);
    if (half > 0) stored(journal);
    memcpy((uint8_t *)to + half, (const uint8_t *)from + half, size - half);
    stored(journal);
}

/* ---- where records are ---- */

static uint64_t hash_number(enum journal_kind kind, uint64_t number) {
    uint64_t of = kind == JOURNAL_ENTRY_ALL ? JOURNAL_ENTRY : kind;
    return XXH3_64bits_withSeed(&number, sizeof number, of);
}

static uint64_t hash_name(int32_t db, struct slice name) {
    return XXH3_64bits_withSeed(name.size > 0 ? (const void *)name.data : "", name.size,
                                (uint64_t)(uint32_t)db);
}

static size_t home_of(const struct journal *journal, uint64_t hash) {
    return (size_t)hash & (journal->place_cap - 1);
}

static void place_put(struct journal *journal, uint64_t hash, uint64_t position);

static void places_grow(struct journal *journal) {
    struct journal_place *old = journal->places;
    size_t cap = journal->place_cap;
    journal->place_cap = cap * 2;
    journal->places = NEW_ARRAY(struct journal_place, journal->place_cap);
    journal->place_count = 0;
    for (size_t i = 0; i < cap; i++)
        if (old[i].at != 0) place_put(journal, old[i].hash, old[i].at - 1);
    mem_free(old);
}

static void place_put(struct journal *journal, uint64_t hash, uint64_t position) {
    if ((journal->place_count + 1) * 4 > journal->place_cap * 3) places_grow(journal);
    size_t i = home_of(journal, hash);
    while (journal->places[i].at != 0) i = (i + 1) & (journal->place_cap - 1);
    journal->places[i] = (struct journal_place){hash, position + 1};
    journal->place_count++;
}

/* The place I is emptied; those behind it move up where they were only passing. */
static void place_remove(struct journal *journal, size_t i) {
    size_t mask = journal->place_cap - 1, hole = i;
    for (size_t next = (i + 1) & mask; journal->places[next].at != 0; next = (next + 1) & mask) {
        size_t home = home_of(journal, journal->places[next].hash);
        if (((next - home) & mask) < ((next - hole) & mask)) continue;
        journal->places[hole] = journal->places[next];
        hole = next;
    }
    journal->places[hole] = (struct journal_place){0};
    journal->place_count--;
}

static bool record_is(const struct journal_record *record, enum journal_kind kind, uint64_t id,
                      int32_t db, struct slice name) {
    if (kind == JOURNAL_ENTRY)
        return (record->kind == JOURNAL_ENTRY || record->kind == JOURNAL_ENTRY_ALL) &&
               record->id == id;
    if (record->kind != kind || record->id != id) return false;
    if (kind != JOURNAL_KEY) return true;
    const struct journal_name *key = (const void *)record->body;
    return key->db == db && slice_equal(slice_from(key->name, key->bytes), name);
}

/* The place of a live record; false: there is none. */
static bool place_find(const struct journal *journal, enum journal_kind kind, uint64_t hash,
                       uint64_t id, int32_t db, struct slice name, size_t *found) {
    size_t mask = journal->place_cap - 1;
    for (size_t i = home_of(journal, hash); journal->places[i].at != 0; i = (i + 1) & mask) {
        if (journal->places[i].hash != hash) continue;
        if (!record_is(record_at(journal, journal->places[i].at - 1), kind, id, db, name)) continue;
        *found = i;
        return true;
    }
    return false;
}

static bool is_entry(const struct journal_record *record) {
    return record->kind == JOURNAL_ENTRY || record->kind == JOURNAL_ENTRY_ALL;
}

/* Each lane's ids begin with its number. */
static uint64_t *recent_of(const struct journal *journal, uint64_t id) {
    return &journal->recent[(id + (id >> 56) * 0x9e37u) % RECENT];
}

static uint64_t record_hash(const struct journal_record *record) {
    if (record->kind != JOURNAL_KEY)
        return hash_number((enum journal_kind)record->kind, record->id);
    const struct journal_name *key = (const void *)record->body;
    return hash_name(key->db, slice_from(key->name, key->bytes));
}

/* An entry whose place another one takes is found by its hash from now on. */
static void index_put(struct journal *journal, const struct journal_record *record,
                      uint64_t position) {
    if (!is_entry(record)) {
        place_put(journal, record_hash(record), position);
        return;
    }
    uint64_t *at = recent_of(journal, record->id);
    if (*at != 0) {
        place_put(journal, record_hash(record_at(journal, *at - 1)), *at - 1);
        journal->elsewhere++;
    }
    *at = position + 1;
}

/* ---- the ring ---- */

static uint64_t free_bytes(const struct journal *journal) {
    const struct journal_head *head = head_of(journal);
    return journal->capacity - (atomic_load(&head->tail) - atomic_load(&head->oldest));
}

/* Where a record of SIZE goes: records do not wrap. */
static uint64_t next_position(const struct journal *journal, size_t size) {
    uint64_t tail = atomic_load(&head_of(journal)->tail);
    uint64_t left = journal->capacity - place_in_log(journal, tail);
    return left < size ? tail + left : tail;
}

/* Write RECORD, of which check and state are not set, and let it count. */
static uint64_t append(struct journal *journal, struct journal_record *record) {
    struct journal_head *head = head_of(journal);
    uint64_t tail = atomic_load_explicit(&head->tail, memory_order_relaxed);
    uint64_t position = next_position(journal, record->size);
    if (position != tail) {
        struct journal_record *pad = record_at(journal, tail);
        uint32_t left = (uint32_t)(position - tail);
        copy(journal, &pad->size, &left, sizeof left);
        store_32(journal, &pad->state, JOURNAL_PAD);
    }
    atomic_store_explicit(&record->state, JOURNAL_LIVE, memory_order_relaxed);
    record->check = journal_record_check(record, position);
    copy(journal, record_at(journal, position), record, record->size);
    store_64(journal, &head->tail, position + record->size);
    if (position + record->size - journal->lap >= journal->capacity)
        journal->lap += journal->capacity;
    return position;
}

/* The place that points to POSITION. */
static size_t place_of(const struct journal *journal, uint64_t hash, uint64_t position) {
    size_t mask = journal->place_cap - 1, i = home_of(journal, hash);
    while (journal->places[i].at != position + 1) {
        ASSERT(journal->places[i].at != 0);
        i = (i + 1) & mask;
    }
    return i;
}

static void index_move(struct journal *journal, const struct journal_record *record,
                       uint64_t position, uint64_t to) {
    uint64_t *recent = recent_of(journal, record->id);
    if (is_entry(record) && *recent == position + 1)
        *recent = to + 1;
    else
        journal->places[place_of(journal, record_hash(record), position)].at = to + 1;
}

/* The oldest record goes: a live one is written again behind the tail first. */
static void pass_oldest(struct journal *journal) {
    struct journal_head *head = head_of(journal);
    uint64_t position = atomic_load(&head->oldest);
    struct journal_record *record = record_at(journal, position);
    uint32_t size = record->size;
    if (atomic_load(&record->state) == JOURNAL_LIVE) {
        uint64_t again[JOURNAL_RECORD_MAX / 8];
        memcpy(again, record, size);
        index_move(journal, record, position,
                   append(journal, (struct journal_record *)(void *)again));
        journal->figures.moved++;
    }
    store_64(journal, &head->oldest, position + size);
}

/* Make room for a record of SIZE. A little at a time, unless it is needed at once. What is dropped
 * already goes at once: it is still in the processor's cache. */
static void make_room(struct journal *journal, size_t size) {
    size_t budget = 4 * size + 128;
    const struct journal_head *head = head_of(journal);
    for (;;) {
        uint64_t oldest = atomic_load(&head->oldest);
        bool any = oldest != atomic_load(&head->tail);
        bool must = free_bytes(journal) < FREE_MIN + size;
        if (!any || (!must && budget == 0)) return;
        const struct journal_record *record = record_at(journal, oldest);
        bool half = free_bytes(journal) < journal->capacity / 2;
        if (!must && !half && atomic_load(&record->state) == JOURNAL_LIVE) return;
        uint32_t passed = record->size;
        budget -= passed < budget ? passed : budget;
        pass_oldest(journal);
    }
}

/* False: there is no room for it. */
static bool put(struct journal *journal, struct journal_record *record) {
    ASSERT(record->size % 8 == 0 && record->size <= JOURNAL_RECORD_MAX);
    if (journal->figures.live_bytes + record->size > LIVE_MAX(journal->capacity)) return false;
    make_room(journal, record->size);
    index_put(journal, record, append(journal, record));
    journal->figures.live_bytes += record->size;
    journal->figures.records++;
    return true;
}

static void drop_record(struct journal *journal, struct journal_record *record) {
    journal->figures.live_bytes -= record->size;
    journal->figures.records--;
    store_32(journal, &record->state, JOURNAL_DEAD);
}

static void drop(struct journal *journal, size_t place) {
    struct journal_record *record = record_at(journal, journal->places[place].at - 1);
    place_remove(journal, place);
    drop_record(journal, record);
}

/* ---- slots ---- */

static bool set_bit(struct journal *journal, _Atomic uint64_t *bits, unsigned bit, bool value) {
    ASSERT(bit < JOURNAL_SLOTS);
    uint64_t old = atomic_load(&bits[bit / 64]), mask = UINT64_C(1) << bit % 64;
    if (((old & mask) != 0) == value) return false;
    store_64(journal, &bits[bit / 64], old ^ mask);
    return true;
}

static void spill(struct journal *journal, struct slice name) {
    struct journal_head *head = head_of(journal);
    if (set_bit(journal, head->spilled, slot_cluster(name), true)) journal->figures.spilled++;
}

void journal_slot(struct journal *journal, unsigned slot, bool dirty) {
    set_bit(journal, head_of(journal)->slots, slot, dirty);
}

/* ---- records ---- */

/* A record that is being put together. */
struct draft {
    struct journal_record *record;
    uint64_t bytes[JOURNAL_RECORD_MAX / 8];
};

static void draft_begin(struct draft *draft, enum journal_kind kind, uint64_t id) {
    draft->record = (struct journal_record *)(void *)draft->bytes;
    *draft->record = (struct journal_record){.size = sizeof *draft->record, .id = id, .kind = kind};
}

static bool draft_add(struct draft *draft, int32_t db, struct slice name) {
    size_t size = draft->record->size;
    if (name.size > JOURNAL_RECORD_MAX) return false;
    size_t more = journal_name_bytes(name.size);
    if (size + more > JOURNAL_RECORD_MAX) return false;
    uint8_t *at = (uint8_t *)draft->bytes + size;
    memset(at + more - 8, 0, 8); /* what fills it up */
    struct journal_name *key = (struct journal_name *)(void *)at;
    key->db = db;
    key->bytes = (uint32_t)name.size;
    if (name.size > 0) memcpy(key->name, name.data, name.size);
    draft->record->size = (uint32_t)(size + more);
    draft->record->keys++;
    return true;
}

static void put_keys(struct journal *journal, struct draft *draft) {
    if (draft->record->keys == 0 || put(journal, draft->record)) return;
    const uint8_t *at = draft->record->body;
    for (uint32_t i = 0; i < draft->record->keys; i++) {
        const struct journal_name *key = (const void *)at;
        spill(journal, slice_from(key->name, key->bytes));
        at += journal_name_bytes(key->bytes);
    }
}

void journal_entry(struct journal *journal, uint64_t id, const struct journal_key *keys,
                   size_t count) {
    struct draft draft;
    draft_begin(&draft, JOURNAL_ENTRY, id);
    for (size_t i = 0; i < count; i++) {
        if (draft_add(&draft, keys[i].db, keys[i].name)) continue;
        put_keys(journal, &draft);
        draft_begin(&draft, JOURNAL_ENTRY, id);
        if (!draft_add(&draft, keys[i].db, keys[i].name)) spill(journal, keys[i].name);
    }
    put_keys(journal, &draft);
}

void journal_entry_all(struct journal *journal, uint64_t id) {
    struct draft draft;
    draft_begin(&draft, JOURNAL_ENTRY_ALL, id);
    if (!put(journal, draft.record)) store_32(journal, &head_of(journal)->everything, 1);
}

void journal_forget(struct journal *journal, uint64_t id) {
    uint64_t *recent = recent_of(journal, id);
    size_t place;
    if (*recent != 0 && record_at(journal, *recent - 1)->id == id) {
        struct journal_record *record = record_at(journal, *recent - 1);
        *recent = 0;
        drop_record(journal, record);
    }
    if (journal->elsewhere == 0) return;
    uint64_t hash = hash_number(JOURNAL_ENTRY, id);
    while (place_find(journal, JOURNAL_ENTRY, hash, id, 0, slice_from(NULL, 0), &place)) {
        journal->elsewhere--;
        drop(journal, place);
    }
}

void journal_key(struct journal *journal, int32_t db, struct slice name, bool dirty) {
    struct draft draft;
    uint64_t hash = hash_name(db, name);
    size_t place;
    bool found = place_find(journal, JOURNAL_KEY, hash, hash, db, name, &place);
    if (found == dirty) return;
    if (found) {
        drop(journal, place);
        return;
    }
    draft_begin(&draft, JOURNAL_KEY, hash);
    if (!draft_add(&draft, db, name) || !put(journal, draft.record)) spill(journal, name);
}

void journal_deadline(struct journal *journal, uint64_t id, int64_t deadline_ms) {
    struct draft draft;
    struct slice none = {0};
    uint64_t hash = hash_number(JOURNAL_DEADLINE, id);
    size_t place;
    bool found = place_find(journal, JOURNAL_DEADLINE, hash, id, 0, none, &place);
    if (deadline_ms == 0) {
        if (found) drop(journal, place);
        return;
    }
    if (found) {
        struct journal_record *record = record_at(journal, journal->places[place].at - 1);
        atomic_store_explicit(&record->number, deadline_ms, memory_order_release);
        stored(journal);
        return;
    }
    draft_begin(&draft, JOURNAL_DEADLINE, id);
    atomic_store_explicit(&draft.record->number, deadline_ms, memory_order_relaxed);
    if (!put(journal, draft.record)) journal_deadlines_lost(journal);
}

void journal_deadlines_lost(struct journal *journal) {
    store_32(journal, &head_of(journal)->deadlines_lost, 1);
}

/* ---- connections ---- */

static bool connection_is(const struct journal_connection *connection, enum journal_side side,
                          int64_t server_id, const char *run_id) {
    return atomic_load(&connection->state) == JOURNAL_LIVE && connection->side == (uint32_t)side &&
           connection->server_id == server_id &&
           strncmp(connection->run_id, run_id, JOURNAL_RUN_ID_SIZE) == 0;
}

void journal_opened(struct journal *journal, enum journal_side side, int64_t server_id,
                    const char *run_id) {
    struct journal_head *head = head_of(journal);
    for (size_t i = 0; i < JOURNAL_CONNECTIONS; i++) {
        struct journal_connection *to = &head->connections[i];
        if (atomic_load(&to->state) == JOURNAL_LIVE) continue;
        struct journal_connection from = {.side = (uint32_t)side, .server_id = server_id};
        memcpy(from.run_id, run_id, strnlen(run_id, JOURNAL_RUN_ID_SIZE));
        from.check = journal_connection_check(&from);
        const size_t behind = offsetof(struct journal_connection, side);
        copy(journal, (uint8_t *)to + behind, (const uint8_t *)&from + behind,
             sizeof from - behind);
        store_32(journal, &to->state, JOURNAL_LIVE);
        return;
    }
    journal->connections_full = true;
    journal_connections_lost(journal, true);
}

void journal_connections_lost(struct journal *journal, bool lost) {
    if (lost || !journal->connections_full)
        store_32(journal, &head_of(journal)->connections_lost, lost);
}

void journal_gone(struct journal *journal, enum journal_side side, int64_t server_id,
                  const char *run_id) {
    struct journal_head *head = head_of(journal);
    for (size_t i = 0; i < JOURNAL_CONNECTIONS; i++)
        if (connection_is(&head->connections[i], side, server_id, run_id))
            store_32(journal, &head->connections[i].state, 0);
}

/* ---- life ---- */

void journal_init(struct journal *journal, void *memory, size_t size,
                  const char boot[JOURNAL_BOOT_SIZE + 1]) {
    ASSERT(size >= JOURNAL_SIZE_MIN && size <= JOURNAL_SIZE_MAX);
    size_t capacity = (size - JOURNAL_HEAD_BYTES) & ~(size_t)7;
    *journal = (struct journal){.memory = memory, .size = size, .capacity = capacity};
    journal->place_cap = PLACES_MIN;
    journal->places = NEW_ARRAY(struct journal_place, PLACES_MIN);
    journal->recent = NEW_ARRAY(uint64_t, RECENT);
    journal->figures.log_bytes = capacity;
    struct journal_head *head = head_of(journal);
    head->version = JOURNAL_VERSION;
    head->head_bytes = (uint32_t)JOURNAL_HEAD_BYTES;
    head->capacity = capacity;
    memcpy(head->boot, boot, strnlen(boot, JOURNAL_BOOT_SIZE));
    head->check = journal_head_check(head);
    atomic_thread_fence(memory_order_release);
    memcpy(head->magic, JOURNAL_MAGIC, sizeof head->magic);
}

void journal_close(struct journal *journal) {
    mem_free(journal->places);
    mem_free(journal->recent);
    *journal = (struct journal){0};
}
