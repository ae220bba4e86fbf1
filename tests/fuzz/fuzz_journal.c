/* fuzz_journal.c -- any bytes as the log of a journal: nothing outside it is read.
 *
 * The head is put in order and every record gets the checksum that it needs, so that what lies
 * behind the checksums is reached. The first bytes say where the ring begins and ends.
 */
#include "gateway/journal_layout.h"

#include "lib/base/mem.h"

static const char boot[JOURNAL_BOOT_SIZE + 1] = "01234567-89ab-cdef-0123-456789abcdef";
static uint64_t sum; /* of what was told, so that it is read */

static void on_key(void *self, int32_t db, struct slice name) {
    (void)self;
    sum += (uint64_t)db + name.size;
    for (size_t i = 0; i < name.size; i++) sum += name.data[i];
}
static void on_slot(void *self, unsigned slot) {
    (void)self;
    ASSERT(slot < JOURNAL_SLOTS);
}
static void on_flag(void *self) {
    (void)self;
    sum++;
}
static void on_deadline(void *self, uint64_t hash, int64_t deadline_ms) {
    (void)self;
    sum += hash + (uint64_t)deadline_ms;
}
static void on_connection(void *self, enum journal_side side, int64_t id, const char *run_id) {
    (void)self;
    ASSERT(side == JOURNAL_P || side == JOURNAL_F);
    sum += (uint64_t)id + strlen(run_id);
}

static void mend(struct journal_head *head, uint8_t *log) {
    uint64_t tail = atomic_load(&head->tail);
    for (uint64_t at = atomic_load(&head->oldest); at < tail;) {
        uint64_t place = at % head->capacity;
        struct journal_record *record = (struct journal_record *)(void *)(log + place);
        if (head->capacity - place < sizeof *record || record->size < sizeof *record ||
            record->size % 8 != 0 || record->size > head->capacity - place)
            return;
        record->check = journal_record_check(record, at);
        at += record->size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 20) return 0;
    size_t capacity = (size - 4) & ~(size_t)7;
    uint8_t *file = mem_zalloc(JOURNAL_HEAD_BYTES + capacity); /* of its exact size */
    struct journal_head *head = (struct journal_head *)(void *)file;
    memcpy(head->magic, JOURNAL_MAGIC, sizeof head->magic);
    head->version = JOURNAL_VERSION;
    head->head_bytes = (uint32_t)JOURNAL_HEAD_BYTES;
    head->capacity = capacity;
    memcpy(head->boot, boot, JOURNAL_BOOT_SIZE);
    head->check = journal_head_check(head);
    memcpy(file + JOURNAL_HEAD_BYTES, data + 4, capacity);
    uint64_t oldest = (uint64_t)data[0] * 8 % capacity;
    atomic_store(&head->oldest, oldest);
    atomic_store(&head->tail, oldest + ((uint64_t)data[1] | (uint64_t)data[2] << 8) * 8);
    if (data[3] & 1) mend(head, file + JOURNAL_HEAD_BYTES);
    struct journal_reader reader = {NULL,        on_key,  on_slot,       on_flag,
                                    on_deadline, on_flag, on_connection, on_flag};
    (void)journal_read(slice_from(file, JOURNAL_HEAD_BYTES + capacity), boot, &reader);
    mem_free(file);
    return 0;
}
