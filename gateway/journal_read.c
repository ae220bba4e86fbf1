/* journal_read.c -- reading a journal that another process left. See journal.h, journal_layout.h.
 */
#include "gateway/journal_layout.h"

const char *journal_found_text(enum journal_found found) {
    switch (found) {
    case JOURNAL_GOOD: return "it is whole";
    case JOURNAL_MISSING: return "there is none";
    case JOURNAL_OTHER_BOOT: return "the host was restarted since";
    case JOURNAL_OTHER_VERSION: return "it was written by another version";
    case JOURNAL_CORRUPT: return "it is damaged";
    default: UNREACHABLE("journal_found");
    }
}

static const struct journal_head *head_of(struct slice file) {
    return (const struct journal_head *)(const void *)file.data;
}

static enum journal_found check_head(struct slice file, const char *boot) {
    const struct journal_head *head = head_of(file);
    if (file.size < JOURNAL_HEAD_BYTES) return JOURNAL_CORRUPT;
    if (memcmp(head->magic, JOURNAL_MAGIC, sizeof head->magic) != 0) return JOURNAL_CORRUPT;
    if (head->version != JOURNAL_VERSION) return JOURNAL_OTHER_VERSION;
    if (head->check != journal_head_check(head)) return JOURNAL_CORRUPT;
    if (head->head_bytes != JOURNAL_HEAD_BYTES || head->capacity % 8 != 0 || head->capacity == 0 ||
        head->capacity > file.size - JOURNAL_HEAD_BYTES)
        return JOURNAL_CORRUPT;
    if (strnlen(boot, JOURNAL_BOOT_SIZE) == 0 || strncmp(head->boot, boot, JOURNAL_BOOT_SIZE) != 0)
        return JOURNAL_OTHER_BOOT;
    uint64_t oldest = atomic_load(&head->oldest), tail = atomic_load(&head->tail);
    bool sane = oldest <= tail && tail - oldest <= head->capacity && oldest % 8 == 0 &&
                tail % 8 == 0 && tail < UINT64_C(1) << 62;
    return sane ? JOURNAL_GOOD : JOURNAL_CORRUPT;
}

static bool check_connections(struct slice file) {
    for (size_t i = 0; i < JOURNAL_CONNECTIONS; i++) {
        const struct journal_connection *connection = &head_of(file)->connections[i];
        uint32_t state = atomic_load(&connection->state);
        if (state == 0) continue;
        if (state != JOURNAL_LIVE || connection->side > JOURNAL_F ||
            connection->check != journal_connection_check(connection) ||
            connection->run_id[JOURNAL_RUN_ID_SIZE] != '\0')
            return false;
    }
    return true;
}

/* The next name of a record at *AT, which is SIZE bytes long; false: it does not fit. */
static bool next_name(const struct journal_record *record, size_t *at,
                      const struct journal_name **name) {
    size_t left = record->size - *at;
    if (left < sizeof **name) return false;
    *name = (const struct journal_name *)(const void *)((const uint8_t *)record + *at);
    if ((*name)->bytes > left || journal_name_bytes((*name)->bytes) > left) return false;
    *at += journal_name_bytes((*name)->bytes);
    return true;
}

static bool check_names(const struct journal_record *record) {
    size_t at = sizeof *record;
    const struct journal_name *name;
    for (uint32_t i = 0; i < record->keys; i++)
        if (!next_name(record, &at, &name)) return false;
    if (record->kind == JOURNAL_KEY && record->keys != 1) return false;
    if (record->kind == JOURNAL_ENTRY && record->keys == 0) return false;
    return at == record->size;
}

/* The record at POSITION; NULL: there is nothing that could be one. */
static const struct journal_record *record_at(struct slice file, uint64_t position) {
    const struct journal_head *head = head_of(file);
    uint64_t place = position % head->capacity;
    uint64_t left = head->capacity - place;
    const struct journal_record *record =
        (const void *)(file.data + JOURNAL_HEAD_BYTES + (size_t)place);
    if (record->size < 8 || record->size % 8 != 0 || record->size > left ||
        record->size > atomic_load(&head->tail) - position)
        return NULL;
    uint32_t state = atomic_load(&record->state);
    if (state == JOURNAL_PAD) return record->size == left ? record : NULL;
    if (record->size < sizeof *record || record->size > JOURNAL_RECORD_MAX) return NULL;
    if (state != JOURNAL_LIVE && state != JOURNAL_DEAD) return NULL;
    if (record->check != journal_record_check(record, position)) return NULL;
    if (record->kind < JOURNAL_ENTRY || record->kind > JOURNAL_DEADLINE) return NULL;
    return check_names(record) ? record : NULL;
}

static bool check_log(struct slice file) {
    uint64_t tail = atomic_load(&head_of(file)->tail);
    uint64_t position = atomic_load(&head_of(file)->oldest);
    while (position < tail) {
        const struct journal_record *record = record_at(file, position);
        if (record == NULL) return false;
        position += record->size;
    }
    return true;
}

/* ---- telling, of what was checked ---- */

static void tell_record(const struct journal_record *record, const struct journal_reader *reader) {
    size_t at = sizeof *record;
    const struct journal_name *name;
    if (record->kind == JOURNAL_DEADLINE)
        reader->deadline(reader->self, record->id, atomic_load(&record->number));
    if (record->kind == JOURNAL_ENTRY_ALL) reader->everything(reader->self);
    for (uint32_t i = 0; i < record->keys; i++) {
        bool fits = next_name(record, &at, &name);
        ASSERT(fits);
        reader->key(reader->self, name->db, slice_from(name->name, name->bytes));
    }
}

static void tell_log(struct slice file, const struct journal_reader *reader) {
    uint64_t tail = atomic_load(&head_of(file)->tail);
    uint64_t position = atomic_load(&head_of(file)->oldest);
    while (position < tail) {
        const struct journal_record *record = record_at(file, position);
        ASSERT(record != NULL);
        if (atomic_load(&record->state) == JOURNAL_LIVE) tell_record(record, reader);
        position += record->size;
    }
}

static void tell_head(struct slice file, const struct journal_reader *reader) {
    const struct journal_head *head = head_of(file);
    if (atomic_load(&head->everything)) reader->everything(reader->self);
    if (atomic_load(&head->deadlines_lost)) reader->deadlines_lost(reader->self);
    if (atomic_load(&head->connections_lost)) reader->connections_lost(reader->self);
    for (unsigned slot = 0; slot < JOURNAL_SLOTS; slot++) {
        uint64_t bits =
            atomic_load(&head->slots[slot / 64]) | atomic_load(&head->spilled[slot / 64]);
        if (bits >> slot % 64 & 1) reader->slot(reader->self, slot);
    }
    for (size_t i = 0; i < JOURNAL_CONNECTIONS; i++) {
        const struct journal_connection *connection = &head->connections[i];
        if (atomic_load(&connection->state) == 0) continue;
        reader->connection(reader->self, (enum journal_side)connection->side, connection->server_id,
                           connection->run_id);
    }
}

enum journal_found journal_read(struct slice file, const char boot[JOURNAL_BOOT_SIZE + 1],
                                const struct journal_reader *reader) {
    enum journal_found found = check_head(file, boot);
    if (found != JOURNAL_GOOD) return found;
    if (!check_connections(file) || !check_log(file)) return JOURNAL_CORRUPT;
    tell_head(file, reader);
    tell_log(file, reader);
    return JOURNAL_GOOD;
}
