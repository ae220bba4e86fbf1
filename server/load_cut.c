/* load_cut.c -- pieces of an RDB file. See load_cut.h. */
#include "server/load_cut.h"

#include "lib/base/fs.h"
#include "lib/redis/crc64.h"
#include "lib/redis/rdb_skim.h"

#include <errno.h>
#include <unistd.h>

#define HEAD_BYTES 9u
#define SUM_BYTES 8u
#define SUM_VERSION_MIN 5u

void load_cut_init(struct load_cut *cut, int fd) {
    *cut = (struct load_cut){.fd = fd};
}

void load_cut_close(struct load_cut *cut) {
    buf_close(&cut->rest);
}

/* So that SIZE bytes wait; fewer only at the end of the file. */
static enum err read_up_to(struct load_cut *cut, size_t size, struct why *why) {
    while (buf_size(&cut->rest) < size && !cut->at_end) {
        size_t wanted = size - buf_size(&cut->rest);
        ssize_t got = read(cut->fd, buf_room(&cut->rest, wanted), wanted);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return why_set(why, ERR_IO, "read: %s", strerror(errno));
        cut->at_end = got == 0;
        buf_filled(&cut->rest, (size_t)got);
    }
    return OK;
}

/* The first SIZE bytes of what waits become the piece. The smaller part is the one that is copied.
 */
static void give(struct load_cut *cut, struct load_bytes *piece, size_t size) {
    struct slice all = buf_slice(&cut->rest);
    cut->sum = crc64_add(cut->sum, slice_take(all, size));
    cut->at.offset += size;
    if (all.size - size > size) {
        buf_add(&piece->bytes, slice_take(all, size));
        buf_consume(&cut->rest, size);
        return;
    }
    buf_add(&piece->bytes, slice_drop(all, size));
    struct buf bytes = cut->rest;
    cut->rest = piece->bytes;
    piece->bytes = bytes;
    buf_truncate(&piece->bytes, size);
}

/* What cannot be cut off is read by others, from here on. */
static enum load_kind leave(const struct load_cut *cut, struct load_bytes *piece,
                            enum load_kind kind) {
    piece->sum = cut->sum;
    return kind;
}

/* False: it is no RDB that is known. */
static bool take_head(struct load_cut *cut) {
    struct slice all = buf_slice(&cut->rest);
    unsigned version = 0;
    if (all.size < HEAD_BYTES || memcmp(all.data, "REDIS", 5) != 0) return false;
    for (size_t i = 5; i < HEAD_BYTES; i++) {
        if (all.data[i] < '0' || all.data[i] > '9') return false;
        version = version * 10 + (unsigned)(all.data[i] - '0');
    }
    if (version < 1 || version > RDB_VERSION_MAX) return false;
    cut->sum = crc64_add(0, slice_take(all, HEAD_BYTES));
    buf_consume(&cut->rest, HEAD_BYTES);
    cut->at = (struct rdb_position){.offset = HEAD_BYTES, .version = version};
    return true;
}

/* How many bytes of whole keys lie in front, if a piece may have them. Sizes of slots, which stand
 * before the keys of each, go with them. */
static size_t keys_in_front(struct slice bytes) {
    size_t at = 0, used;
    uint64_t db;
    for (;; at += used) {
        struct slice left = slice_drop(bytes, at);
        if (left.size == 0 || at >= LOAD_PIECE_BYTES) return at;
        enum step step = left.data[0] == RDB_OP_SLOT_INFO ? rdb_skim_between(left, &used, &db)
                                                          : rdb_skim_key(left, &used);
        if (step != STEP_DONE) return at;
    }
}

/* Likewise of what stands between keys. False: a database that cannot be. */
static bool between_in_front(struct load_cut *cut, struct slice bytes, size_t *size) {
    uint64_t db = cut->at.db;
    size_t used;
    for (*size = 0; *size < bytes.size; *size += used) {
        struct slice left = slice_drop(bytes, *size);
        if (left.data[0] == RDB_OP_SLOT_INFO) break;
        if (rdb_skim_between(left, &used, &db) != STEP_DONE) break;
        if (db > UINT32_MAX) return false;
    }
    cut->at.db = (uint32_t)db;
    return true;
}

static enum load_kind take_end(struct load_cut *cut, struct load_bytes *piece) {
    struct slice all = buf_slice(&cut->rest);
    size_t size = 1 + (cut->at.version >= SUM_VERSION_MIN ? SUM_BYTES : 0);
    if (all.size < size) return leave(cut, piece, LOAD_REST);
    piece->sum = crc64_add(cut->sum, slice_take(all, 1));
    give(cut, piece, size);
    return LOAD_END;
}

/* Nothing whole stands in front: read more, or leave it to others. */
static enum load_kind cut_short(const struct load_cut *cut, struct load_bytes *piece, bool *more) {
    struct slice all = buf_slice(&cut->rest);
    size_t used;
    uint64_t db;
    bool is_key = rdb_skim_key(all, &used) == STEP_MORE;
    bool goes_on = is_key || rdb_skim_between(all, &used, &db) == STEP_MORE;
    *more = goes_on && !cut->at_end && all.size < LOAD_KEY_BYTES_MAX;
    if (*more) return LOAD_KEYS;
    return leave(cut, piece, is_key && !cut->at_end ? LOAD_BIG : LOAD_REST);
}

static enum load_kind cut_off(struct load_cut *cut, struct load_bytes *piece, bool *more) {
    struct slice all = buf_slice(&cut->rest);
    size_t size = keys_in_front(all);
    *more = false;
    if (size > 0) {
        give(cut, piece, size);
        return LOAD_KEYS;
    }
    if (!between_in_front(cut, all, &size)) return leave(cut, piece, LOAD_REST);
    if (size > 0) {
        give(cut, piece, size);
        return LOAD_BETWEEN;
    }
    if (all.size && all.data[0] == RDB_OP_END) return take_end(cut, piece);
    return cut_short(cut, piece, more);
}

enum load_kind load_cut_next(struct load_cut *cut, struct load_bytes *piece, struct why *why) {
    buf_clear(&piece->bytes);
    for (size_t size = LOAD_PIECE_BYTES;; size = buf_size(&cut->rest) * 2) {
        bool more;
        if (read_up_to(cut, size, why)) return piece->kind = LOAD_FAILED;
        bool is_known = cut->at.version > 0 || take_head(cut);
        piece->at = cut->at;
        if (!is_known) return piece->kind = leave(cut, piece, LOAD_REST);
        piece->kind = cut_off(cut, piece, &more);
        if (!more) return piece->kind;
    }
}

enum err load_cut_seek(struct load_cut *cut, struct why *why) {
    buf_clear(&cut->rest);
    cut->at_end = false;
    if (lseek(cut->fd, (off_t)cut->at.offset, SEEK_SET) >= 0) return OK;
    return why_set(why, ERR_IO, "lseek: %s", strerror(errno));
}

enum err load_cut_go_on(struct load_cut *cut, uint64_t offset, uint64_t sum, struct why *why) {
    cut->at.offset = offset;
    cut->sum = sum;
    return load_cut_seek(cut, why);
}
