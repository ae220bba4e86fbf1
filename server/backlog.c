/* backlog.c -- the last bytes of the replication stream. See backlog.h. */
#include "server/backlog.h"

#include "lib/base/mem.h"
#include "server/helper.h"

#define JOBS_MAX 32u /* packing and spilling at a time: the thread's queue stays short */
#define THAWED_MIN 16

/* Bytes are in one of three places, or in `raw` besides. While a job is under way nothing that it
 * reads is freed: `busy`. */
struct backlog_block {
    uint64_t offset; /* of its first byte */
    uint8_t *raw;
    uint8_t *packed;
    size_t packed_size; /* also of what lies in the file */
    uint64_t file_at;
    bool is_in_file;
    bool busy, wanted, dropped;
    bool is_thawed; /* fetched: on the list */
    struct backlog_block *next_thawed;
};

void backlog_open(struct backlog *backlog, uint64_t next_offset) {
    ASSERT(!backlog->exists && backlog->count == 0);
    backlog->base = backlog->begin = backlog->end = next_offset;
    backlog->pack_at = backlog->spill_at = next_offset;
    backlog->thawed = NULL;
    backlog->thawed_end = &backlog->thawed;
    backlog->exists = true;
}

/* ---- blocks ---- */

static struct backlog_block *block_of(const struct backlog *backlog, uint64_t offset) {
    size_t number = (size_t)((offset - backlog->base) / BACKLOG_BLOCK_SIZE);
    ASSERT(number < backlog->count);
    return backlog->blocks[(backlog->head + number) % backlog->room];
}

static void give(struct backlog *backlog, enum backlog_job_kind kind, struct backlog_block *block,
                 struct slice in) {
    struct backlog_job *job = NEW(struct backlog_job);
    *job = (struct backlog_job){.kind = kind,
                                .owner = block,
                                .in = in,
                                .file_at = block ? block->file_at : 0,
                                .file_size = block ? block->packed_size : 0,
                                .out_size = BACKLOG_BLOCK_SIZE};
    bool is_about_bytes = kind == BACKLOG_PACK || kind == BACKLOG_SPILL || kind == BACKLOG_FETCH;
    if (is_about_bytes) block->busy = true;
    if (!is_about_bytes) job->owner = NULL; /* the block may be gone by then */
    if (kind == BACKLOG_PACK || kind == BACKLOG_SPILL) backlog->jobs++;
    backlog_store_give(backlog->store, job);
}

static void free_raw(struct backlog *backlog, struct backlog_block *block) {
    if (!block->raw) return;
    mem_free(block->raw);
    block->raw = NULL;
    backlog->raw_blocks--;
}

static void free_packed(struct backlog *backlog, struct backlog_block *block) {
    if (!block->packed) return;
    mem_free(block->packed);
    block->packed = NULL;
    backlog->packed_bytes -= block->packed_size;
}

/* The block's place in the file is free; the file ends where the last one was. */
static void leave_place(struct backlog *backlog, struct backlog_block *block) {
    if (--backlog->file_blocks) {
        give(backlog, BACKLOG_PUNCH, block, slice_from(NULL, 0));
        return;
    }
    backlog->file_end = 0;
    give(backlog, BACKLOG_EMPTY, NULL, slice_from(NULL, 0));
}

static void leave_file(struct backlog *backlog, struct backlog_block *block) {
    if (!block->is_in_file) return;
    block->is_in_file = false;
    backlog->file_bytes -= block->packed_size;
    leave_place(backlog, block);
}

static void unthaw(struct backlog *backlog, struct backlog_block *block) {
    if (!block->is_thawed) return;
    struct backlog_block **at = &backlog->thawed;
    while (*at != block) at = &(*at)->next_thawed;
    *at = block->next_thawed;
    if (!*at) backlog->thawed_end = at;
    block->is_thawed = false;
    backlog->thawed_count--;
}

/* On the helper thread: giving back so much of what nobody has touched for long takes its time. */
static void free_memory(void *arg) {
    for (struct backlog_block *block = arg, *next; block; block = next) {
        next = block->next_thawed;
        mem_free(block->raw);
        mem_free(block->packed);
        mem_free(block);
    }
}

/* The block is nobody's any more. *FREED: a chain of such. */
static void free_block(struct backlog *backlog, struct backlog_block *block,
                       struct backlog_block **freed) {
    backlog->raw_blocks -= block->raw != NULL;
    backlog->packed_bytes -= block->packed ? block->packed_size : 0;
    leave_file(backlog, block);
    block->next_thawed = *freed;
    *freed = block;
}

static void drop_first(struct backlog *backlog, struct backlog_block **freed) {
    struct backlog_block *block = backlog->blocks[backlog->head];
    backlog->head = (backlog->head + 1) % backlog->room;
    backlog->count--;
    backlog->base += BACKLOG_BLOCK_SIZE;
    unthaw(backlog, block);
    if (block->busy)
        block->dropped = true; /* freed when the thread gives it back */
    else
        free_block(backlog, block, freed);
}

void backlog_close(struct backlog *backlog) {
    struct backlog_block *freed = NULL;
    while (backlog->count) drop_first(backlog, &freed);
    free_memory(freed);
    mem_free(backlog->blocks);
    backlog->blocks = NULL;
    backlog->room = backlog->head = 0;
    backlog->begin = backlog->end = backlog->base = 0;
    backlog->exists = false;
}

static void add_block(struct backlog *backlog) {
    if (backlog->count == backlog->room) {
        size_t room = backlog->room ? backlog->room * 2 : 16;
        struct backlog_block **blocks = NEW_ARRAY(struct backlog_block *, room);
        for (size_t i = 0; i < backlog->count; i++)
            blocks[i] = backlog->blocks[(backlog->head + i) % backlog->room];
        mem_free(backlog->blocks);
        backlog->blocks = blocks;
        backlog->room = room;
        backlog->head = 0;
    }
    struct backlog_block *block = NEW(struct backlog_block);
    block->offset = backlog->base + backlog->count * BACKLOG_BLOCK_SIZE;
    block->raw = mem_alloc(BACKLOG_BLOCK_SIZE);
    backlog->raw_blocks++;
    backlog->blocks[(backlog->head + backlog->count++) % backlog->room] = block;
}

void backlog_append(struct backlog *backlog, struct slice bytes) {
    ASSERT(backlog->exists);
    while (bytes.size) {
        uint64_t held = backlog->end - backlog->base;
        size_t used = (size_t)(held % BACKLOG_BLOCK_SIZE);
        if (held == backlog->count * BACKLOG_BLOCK_SIZE) add_block(backlog);
        size_t size =
            BACKLOG_BLOCK_SIZE - used < bytes.size ? BACKLOG_BLOCK_SIZE - used : bytes.size;
        memcpy(block_of(backlog, backlog->end)->raw + used, bytes.data, size);
        backlog->end += size;
        bytes = slice_drop(bytes, size);
    }
}

/* ---- reading ---- */

struct slice backlog_at(const struct backlog *backlog, uint64_t offset) {
    ASSERT(backlog->begin <= offset && offset <= backlog->end);
    if (offset == backlog->end) return slice_from(NULL, 0);
    const struct backlog_block *block = block_of(backlog, offset);
    if (!block->raw) return slice_from(NULL, 0);
    size_t into = (size_t)(offset - block->offset);
    uint64_t size = backlog->end - offset;
    if (size > BACKLOG_BLOCK_SIZE - into) size = BACKLOG_BLOCK_SIZE - into;
    return slice_from(block->raw + into, (size_t)size);
}

static void fetch(struct backlog *backlog, struct backlog_block *block) {
    if (block->raw) return;
    block->wanted = true;
    if (block->busy) return; /* asked for when it is back */
    give(backlog, BACKLOG_FETCH, block,
         block->packed ? slice_from(block->packed, block->packed_size) : slice_from(NULL, 0));
}

void backlog_want(struct backlog *backlog, uint64_t offset) {
    for (int i = 0; i < BACKLOG_AHEAD && offset < backlog->end; i++) {
        fetch(backlog, block_of(backlog, offset));
        offset += BACKLOG_BLOCK_SIZE;
    }
}

uint64_t backlog_hot_begin(const struct backlog *backlog) {
    size_t i = backlog->count;
    while (i && backlog->blocks[(backlog->head + i - 1) % backlog->room]->raw) i--;
    uint64_t offset = backlog->base + i * BACKLOG_BLOCK_SIZE;
    return offset > backlog->begin ? offset : backlog->begin;
}

/* ---- keeping within bounds ---- */

void backlog_trim(struct backlog *backlog, uint64_t limit_bytes, uint64_t pinned) {
    uint64_t begin =
        backlog->end - backlog->begin > limit_bytes ? backlog->end - limit_bytes : backlog->begin;
    if (begin > pinned) begin = pinned;
    if (begin > backlog->begin) backlog->begin = begin;
    struct backlog_block *freed = NULL;
    while (backlog->count && backlog->base + BACKLOG_BLOCK_SIZE <= backlog->begin)
        drop_first(backlog, &freed);
    if (freed) helper_run(free_memory, freed);
    if (backlog->pack_at < backlog->base) backlog->pack_at = backlog->base;
    if (backlog->spill_at < backlog->base) backlog->spill_at = backlog->base;
}

size_t backlog_memory(const struct backlog *backlog) {
    return backlog->raw_blocks * BACKLOG_BLOCK_SIZE + backlog->packed_bytes +
           backlog->count * sizeof(struct backlog_block) + backlog->room * sizeof(void *);
}

/* What was fetched was read, or will be asked for again. */
static void drop_thawed(struct backlog *backlog, size_t keep) {
    while (backlog->thawed_count > keep) {
        struct backlog_block *block = backlog->thawed;
        if (block->busy) return;
        unthaw(backlog, block);
        free_raw(backlog, block);
    }
}

static void spill(struct backlog *backlog, struct backlog_block *block) {
    block->file_at = backlog->file_end;
    backlog->file_end += block->packed_size;
    backlog->file_blocks++; /* its place is taken, whatever becomes of it */
    give(backlog, BACKLOG_SPILL, block, slice_from(block->packed, block->packed_size));
}

void backlog_settle(struct backlog *backlog, uint64_t memory_bytes, size_t readers) {
    if (!backlog->store || !backlog->exists) return;
    drop_thawed(backlog, THAWED_MIN + readers * BACKLOG_AHEAD);
    if (!memory_bytes || backlog_memory(backlog) <= memory_bytes / 2) return;
    while (backlog->jobs < JOBS_MAX &&
           backlog->pack_at + BACKLOG_BLOCK_SIZE + BACKLOG_HOT_BYTES <= backlog->end) {
        struct backlog_block *block = block_of(backlog, backlog->pack_at);
        backlog->pack_at += BACKLOG_BLOCK_SIZE;
        if (!block->busy && !block->packed && !block->is_in_file)
            give(backlog, BACKLOG_PACK, block, slice_from(block->raw, BACKLOG_BLOCK_SIZE));
    }
    if (backlog_memory(backlog) <= memory_bytes || backlog->disk_fails) return;
    while (backlog->jobs < JOBS_MAX && backlog->spill_at < backlog->pack_at) {
        struct backlog_block *block = block_of(backlog, backlog->spill_at);
        if (block->busy) return;
        backlog->spill_at += BACKLOG_BLOCK_SIZE;
        if (block->packed && !block->is_in_file) spill(backlog, block);
    }
}

void backlog_retry(struct backlog *backlog) {
    if (!backlog->disk_fails) return;
    backlog->disk_fails = false;
    backlog->spill_at = backlog->base; /* also those that failed */
}

/* ---- what comes back from the thread ---- */

static void packed(struct backlog *backlog, struct backlog_block *block, struct backlog_job *job) {
    if (job->err) return; /* stays as it is */
    block->packed = job->out;
    block->packed_size = job->out_size;
    job->out = NULL;
    backlog->packed_bytes += block->packed_size;
    if (!block->wanted) free_raw(backlog, block);
}

static void spilled(struct backlog *backlog, struct backlog_block *block,
                    const struct backlog_job *job) {
    if (job->err) {
        leave_place(backlog, block);
        backlog->disk_fails = true;
        backlog->disk_why = job->why;
        return;
    }
    free_packed(backlog, block);
    block->is_in_file = true;
    backlog->file_bytes += block->packed_size;
}

/* Nobody can be sent what is lost: the backlog begins behind it. */
static void lost(struct backlog *backlog, const struct backlog_block *block,
                 const struct backlog_job *job) {
    backlog->disk_why = job->why;
    if (block->dropped) return;
    uint64_t behind = block->offset + BACKLOG_BLOCK_SIZE;
    if (behind > backlog->end) behind = backlog->end;
    if (behind > backlog->begin) backlog->begin = behind;
}

static bool fetched(struct backlog *backlog, struct backlog_block *block, struct backlog_job *job) {
    block->wanted = false;
    if (job->err) {
        lost(backlog, block, job);
        return true;
    }
    block->raw = job->out;
    job->out = NULL;
    backlog->raw_blocks++;
    if (block->dropped) return false;
    block->is_thawed = true;
    block->next_thawed = NULL;
    *backlog->thawed_end = block;
    backlog->thawed_end = &block->next_thawed;
    backlog->thawed_count++;
    return true;
}

static bool take_back(struct backlog *backlog, struct backlog_job *job) {
    struct backlog_block *block = job->owner;
    bool something = false;
    if (!block) return false;
    block->busy = false;
    switch (job->kind) {
    case BACKLOG_PACK:
        backlog->jobs--;
        packed(backlog, block, job);
        break;
    case BACKLOG_SPILL:
        backlog->jobs--;
        spilled(backlog, block, job);
        break;
    case BACKLOG_FETCH: something = fetched(backlog, block, job); break;
    case BACKLOG_PUNCH:
    case BACKLOG_EMPTY: UNREACHABLE("no block is of concern there");
    }
    struct backlog_block *freed = NULL;
    if (block->dropped)
        free_block(backlog, block, &freed);
    else if (block->wanted && !block->raw)
        fetch(backlog, block);
    else
        block->wanted = false;
    free_memory(freed);
    return something;
}

bool backlog_poll(struct backlog *backlog) {
    bool something = false;
    if (!backlog->store) return false;
    for (struct backlog_job *job; (job = backlog_store_take(backlog->store)) != NULL;) {
        something |= take_back(backlog, job);
        mem_free(job->out);
        mem_free(job);
    }
    return something;
}
