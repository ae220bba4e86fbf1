/* rdb_in.c -- buffered, summed, recorded bytes of an RDB. See rdb_in.h. */
#include "lib/redis/rdb_in.h"

#include "lib/base/mem.h"
#include "lib/redis/crc64.h"

#include <errno.h>
#include <unistd.h>

#define BIG_STEP (1u << 20) /* memory for a claimed size is taken in steps, as its bytes come */
#define BIG_KEPT (1u << 20) /* more is given back */

void rdb_in_init(struct rdb_in *in, struct rdb_source *source, struct slice bytes) {
    *in = (struct rdb_in){.source = source};
    if (source) {
        in->buffer = mem_alloc(RDB_IN_BUFFER_BYTES);
        in->at = in->end = in->summed = in->buffer;
    } else {
        in->at = bytes.data;
        in->end = bytes.size ? bytes.data + bytes.size : bytes.data;
        in->end_offset = bytes.size;
    }
}

void rdb_in_close(struct rdb_in *in) {
    mem_free(in->buffer);
    mem_free(in->big);
    buf_close(&in->record);
    buf_close(&in->replay);
    *in = (struct rdb_in){0};
}

static void sum_up(struct rdb_in *in) {
    if (in->buffer == NULL) return;
    in->crc = crc64_add(in->crc, slice_from(in->summed, (size_t)(in->at - in->summed)));
    in->summed = in->at;
}

uint64_t rdb_in_crc(struct rdb_in *in) {
    ASSERT(in->live_at == NULL);
    sum_up(in);
    return in->crc;
}

static enum err overflow(struct rdb_in *in, struct why *why) {
    in->overflowed = true;
    return why_set(why, ERR_LIMIT, "the value is larger than may be recorded");
}

/* Move what was taken and must be kept into the record. */
static enum err record_flush(struct rdb_in *in, struct why *why) {
    if (in->recorded_to == NULL) return OK;
    size_t size = (size_t)(in->at - in->recorded_to);
    bool fits = buf_size(&in->record) + size <= in->record_max;
    buf_append(&in->record, in->recorded_to, size); /* even then: the replay needs it */
    in->recorded_to = in->at;
    return fits ? OK : overflow(in, why);
}

/* Get at least one more byte behind the unread ones, which may move. */
static enum err refill(struct rdb_in *in, struct why *why) {
    if (in->live_at != NULL && in->at == in->end) {
        in->end_offset += (uint64_t)(in->live_end - in->live_at);
        in->at = in->live_at;
        in->end = in->live_end;
        in->live_at = in->live_end = NULL;
        buf_shrink(&in->replay, BIG_KEPT);
        if (in->at != in->end) return OK;
    }
    ASSERT(in->live_at == NULL);
    if (in->source == NULL) return why_set(why, ERR_CORRUPT, "it ends too early");
    sum_up(in);
    enum err err = record_flush(in, why);
    if (err != OK) return err;
    size_t unread = (size_t)(in->end - in->at), got = 0;
    ASSERT(unread < RDB_IN_BUFFER_BYTES);
    memmove(in->buffer, in->at, unread);
    in->at = in->summed = in->buffer;
    in->end = in->buffer + unread;
    if (in->recorded_to) in->recorded_to = in->buffer;
    err =
        in->source->read(in->source, in->buffer + unread, RDB_IN_BUFFER_BYTES - unread, &got, why);
    if (err != OK) return err;
    if (got == 0) return why_set(why, ERR_CORRUPT, "it ends too early");
    ASSERT(got <= RDB_IN_BUFFER_BYTES - unread);
    in->end += got;
    in->end_offset += got;
    return OK;
}

/* Room for SIZE bytes in `big`, of which the first KEPT are kept. */
static enum err big_room(struct rdb_in *in, size_t kept, size_t size, struct why *why) {
    if (size <= in->big_size) return OK;
    uint8_t *grown = kept > 0 ? mem_try_realloc(in->big, size) : mem_try_alloc(size);
    if (grown == NULL) return why_set(why, ERR_NOMEM, "no memory for %zu bytes", size);
    if (kept == 0) mem_free(in->big);
    in->big = grown;
    in->big_size = size;
    return OK;
}

/* Collect SIZE bytes in `big`. */
static enum err take_big(struct rdb_in *in, uint64_t size, struct why *why) {
    uint64_t have = 0, room = size < BIG_STEP ? size : BIG_STEP;
    enum err err = big_room(in, 0, (size_t)room, why);
    while (err == OK && have < size) {
        if (in->at == in->end) err = refill(in, why);
        if (err == OK && have == room) {
            room = size - room < room ? size : room * 2;
            err = big_room(in, (size_t)have, (size_t)room, why);
        }
        if (err != OK) return err;
        uint64_t part = (uint64_t)(in->end - in->at);
        if (part > room - have) part = room - have;
        memcpy(in->big + have, in->at, (size_t)part);
        in->at += part;
        have += part;
    }
    return err;
}

enum err rdb_in_take_slow(struct rdb_in *in, uint64_t size, const uint8_t **bytes,
                          struct why *why) {
    static const uint8_t nothing[1];
    *bytes = nothing;
    if (size == 0) return OK;
    if (in->source == NULL && in->live_at == NULL)
        return why_set(why, ERR_CORRUPT, "it ends too early");
    if (in->recorded_to != NULL &&
        size + buf_size(&in->record) + (uint64_t)(in->at - in->recorded_to) > in->record_max)
        return overflow(in, why);
    if (in->big_size > BIG_KEPT) {
        mem_free(in->big);
        in->big = NULL;
        in->big_size = 0;
    }
    enum err err = OK;
    if (size > RDB_IN_BUFFER_BYTES / 2 || in->live_at != NULL) {
        err = take_big(in, size, why);
        *bytes = in->big;
        return err;
    }
    while (err == OK && (uint64_t)(in->end - in->at) < size) err = refill(in, why);
    if (err != OK) return err;
    *bytes = in->at;
    in->at += size;
    return OK;
}

void rdb_in_record(struct rdb_in *in, uint64_t bytes_max) {
    ASSERT(in->live_at == NULL && in->source != NULL);
    buf_clear(&in->record);
    buf_shrink(&in->record, BIG_KEPT);
    in->recorded_to = in->at;
    in->record_max = bytes_max;
    in->overflowed = false;
}

bool rdb_in_recorded(struct rdb_in *in, struct slice *bytes) {
    ASSERT(in->recorded_to != NULL);
    size_t rest = (size_t)(in->at - in->recorded_to);
    if (in->overflowed || buf_size(&in->record) + rest > in->record_max) return false;
    *bytes = slice_from(in->recorded_to, rest);
    if (buf_size(&in->record) > 0) {
        buf_append(&in->record, in->recorded_to, rest);
        *bytes = buf_slice(&in->record);
    }
    in->recorded_to = NULL;
    return true;
}

void rdb_in_replay(struct rdb_in *in) {
    ASSERT(in->recorded_to != NULL && in->live_at == NULL);
    buf_append(&in->record, in->recorded_to, (size_t)(in->at - in->recorded_to));
    in->recorded_to = NULL;
    in->overflowed = false;
    if (buf_size(&in->record) == 0) return;
    struct buf old = in->replay;
    in->replay = in->record;
    in->record = old;
    buf_clear(&in->record);
    in->live_at = in->at;
    in->live_end = in->end;
    in->end_offset -= (uint64_t)(in->end - in->at);
    struct slice again = buf_slice(&in->replay);
    in->at = again.data;
    in->end = again.data + again.size;
}

/* ---- the sources that come with it */

static enum err memory_read(struct rdb_source *source, void *into, size_t size, size_t *got,
                            struct why *why) {
    (void)why;
    struct rdb_source_memory *self = (struct rdb_source_memory *)source;
    *got = size < self->left.size ? size : self->left.size;
    if (*got) memcpy(into, self->left.data, *got);
    self->left = slice_drop(self->left, *got);
    return OK;
}

void rdb_source_memory_init(struct rdb_source_memory *source, struct slice bytes) {
    *source = (struct rdb_source_memory){.source = {memory_read}, .left = bytes};
}

static enum err file_read(struct rdb_source *source, void *into, size_t size, size_t *got,
                          struct why *why) {
    struct rdb_source_file *self = (struct rdb_source_file *)source;
    for (;;) {
        ssize_t count = read(self->fd, into, size);
        if (count >= 0) {
            *got = (size_t)count;
            return OK;
        }
        if (errno != EINTR) return why_set(why, ERR_IO, "read: %s", strerror(errno));
    }
}

void rdb_source_file_init(struct rdb_source_file *source, int fd) {
    *source = (struct rdb_source_file){.source = {file_read}, .fd = fd};
}
