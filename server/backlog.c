/* backlog.c -- the last bytes of the replication stream. See backlog.h. */
#include "server/backlog.h"

#include "lib/base/mem.h"

void backlog_open(struct backlog *backlog, uint64_t next_offset) {
    ASSERT(!backlog->exists);
    *backlog = (struct backlog){
        .base = next_offset, .begin = next_offset, .end = next_offset, .exists = true};
}

static void drop_first(struct backlog *backlog) {
    mem_free(backlog->blocks[backlog->head]);
    backlog->head = (backlog->head + 1) % backlog->room;
    backlog->count--;
    backlog->base += BACKLOG_BLOCK_SIZE;
}

void backlog_close(struct backlog *backlog) {
    while (backlog->count) drop_first(backlog);
    mem_free(backlog->blocks);
    *backlog = (struct backlog){0};
}

static void add_block(struct backlog *backlog) {
    if (backlog->count == backlog->room) {
        size_t room = backlog->room ? backlog->room * 2 : 16;
        uint8_t **blocks = NEW_ARRAY(uint8_t *, room);
        for (size_t i = 0; i < backlog->count; i++)
            blocks[i] = backlog->blocks[(backlog->head + i) % backlog->room];
        mem_free(backlog->blocks);
        backlog->blocks = blocks;
        backlog->room = room;
        backlog->head = 0;
    }
    backlog->blocks[(backlog->head + backlog->count++) % backlog->room] =
        mem_alloc(BACKLOG_BLOCK_SIZE);
}

void backlog_append(struct backlog *backlog, struct slice bytes) {
    ASSERT(backlog->exists);
    while (bytes.size) {
        uint64_t held = backlog->end - backlog->base;
        size_t used = (size_t)(held % BACKLOG_BLOCK_SIZE);
        if (held == backlog->count * BACKLOG_BLOCK_SIZE) add_block(backlog);
        size_t size =
            BACKLOG_BLOCK_SIZE - used < bytes.size ? BACKLOG_BLOCK_SIZE - used : bytes.size;
        size_t last = (backlog->head + backlog->count - 1) % backlog->room;
        memcpy(backlog->blocks[last] + used, bytes.data, size);
        backlog->end += size;
        bytes = slice_drop(bytes, size);
    }
}

struct slice backlog_at(const struct backlog *backlog, uint64_t offset) {
    ASSERT(backlog->begin <= offset && offset <= backlog->end);
    if (offset == backlog->end) return slice_from(NULL, 0);
    uint64_t into = offset - backlog->base;
    size_t in_block = (size_t)(into % BACKLOG_BLOCK_SIZE);
    size_t at = (backlog->head + (size_t)(into / BACKLOG_BLOCK_SIZE)) % backlog->room;
    uint64_t size = backlog->end - offset;
    if (size > BACKLOG_BLOCK_SIZE - in_block) size = BACKLOG_BLOCK_SIZE - in_block;
    return slice_from(backlog->blocks[at] + in_block, (size_t)size);
}

void backlog_trim(struct backlog *backlog, uint64_t limit_bytes, uint64_t pinned) {
    uint64_t begin =
        backlog->end - backlog->begin > limit_bytes ? backlog->end - limit_bytes : backlog->begin;
    if (begin > pinned) begin = pinned;
    if (begin > backlog->begin) backlog->begin = begin;
    while (backlog->count && backlog->base + BACKLOG_BLOCK_SIZE <= backlog->begin)
        drop_first(backlog);
}

size_t backlog_memory(const struct backlog *backlog) {
    return backlog->count * BACKLOG_BLOCK_SIZE + backlog->room * sizeof *backlog->blocks;
}
