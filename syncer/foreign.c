/* foreign.c -- what others wrote to the source of a standby link. See foreign.h. */
#include "syncer/foreign.h"

#include "lib/base/check.h"

void foreign_close(struct foreign *foreign) { buf_close(&foreign->keys); }

void foreign_put_key(struct buf *list, int db, struct slice key) {
    int32_t number = db;
    uint32_t size = (uint32_t)key.size;
    buf_append(list, &number, sizeof number);
    buf_append(list, &size, sizeof size);
    buf_add(list, key);
}

bool foreign_take_key(struct slice *list, int *db, struct slice *key) {
    int32_t number;
    uint32_t size;
    if (list->size == 0) return false;
    ASSERT(list->size >= 8);
    memcpy(&number, list->data, sizeof number);
    memcpy(&size, list->data + 4, sizeof size);
    ASSERT(size <= list->size - 8);
    *db = number;
    *key = slice_take(slice_drop(*list, 8), size);
    *list = slice_drop(*list, 8 + (size_t)size);
    return true;
}

void foreign_add_key(struct foreign *foreign, uint64_t offset, int db, struct slice key) {
    if (buf_size(&foreign->keys) + key.size + 8 <= FOREIGN_BYTES_MAX) {
        foreign_put_key(&foreign->keys, db, key);
        return;
    }
    foreign->audit = true;
    foreign->last_offset = offset;
    if (foreign->open == 0) foreign->open = 1; /* the gate must show it */
}

void foreign_add_unit(struct foreign *foreign, uint64_t offset, uint64_t now_ms, bool known) {
    foreign->total++;
    foreign->open++;
    foreign->last_offset = offset;
    foreign->last_ms = now_ms;
    if (!known) foreign->audit = true;
}

void foreign_forget(struct foreign *foreign) {
    buf_clear(&foreign->keys);
    foreign->handed = foreign->audit = false;
    foreign->open = 0;
}

bool foreign_settle(struct foreign *foreign, bool noted, bool clean, uint64_t now_ms) {
    if (buf_size(&foreign->keys) > 0) return false;
    if (noted) foreign->handed = false;
    if (!clean || foreign->open == 0 || foreign->audit || now_ms < foreign->last_ms + FOREIGN_QUIET_MS) return false;
    foreign->open = 0;
    return true;
}

void foreign_audited(struct foreign *foreign, uint64_t offset) {
    if (offset < foreign->last_offset) return;
    foreign->audit = false;
    foreign->open = 0;
}
