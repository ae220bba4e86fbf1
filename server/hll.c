/* hll.c -- registers of a HyperLogLog, dense and sparse. See hll.h. */
#include "server/hll.h"

#define BITS 6
#define ENCODING_AT 4
#define CACHE_AT 8
#define INDEX_BITS 14
#define HASH_SEED 0xadc83b19u
#define RUN_VALUE_MAX 32
#define RUN_VALUE_LENGTH 4 /* registers in a run with a value, at most */
#define RUN_ZEROS 64       /* in a short run of zeros */

bool hll_is(struct slice bytes) {
    if (bytes.size < HLL_HEAD_BYTES || memcmp(bytes.data, "HYLL", 4) != 0) return false;
    if (bytes.data[ENCODING_AT] == HLL_DENSE) return bytes.size == HLL_DENSE_BYTES;
    return bytes.data[ENCODING_AT] == HLL_SPARSE;
}

/* ---- which register an element belongs to ---- */

static uint64_t read_eight(const uint8_t *p) {
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) word = word << 8 | p[i];
    return word;
}

/* MurmurHash64A by Austin Appleby (public domain), little end first on every machine. */
static uint64_t murmur(struct slice text) {
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = HASH_SEED ^ ((uint64_t)text.size * m);
    size_t at = 0;
    for (; at + 8 <= text.size; at += 8) {
        uint64_t k = read_eight(text.data + at) * m;
        k ^= k >> 47;
        h = (h ^ (k * m)) * m;
    }
    uint64_t rest = 0;
    for (size_t i = text.size; i > at; i--) rest = rest << 8 | text.data[i - 1];
    if (at < text.size) h = (h ^ rest) * m;
    h = (h ^ h >> 47) * m;
    return h ^ h >> 47;
}

uint8_t hll_pattern(struct slice element, unsigned *index) {
    uint64_t hash = murmur(element);
    *index = (unsigned)(hash & (HLL_REGISTERS - 1));
    hash = hash >> INDEX_BITS | UINT64_C(1) << (64 - INDEX_BITS);
    return (uint8_t)(__builtin_ctzll(hash) + 1);
}

/* ---- dense ---- */

uint8_t hll_dense_get(const uint8_t *hll, unsigned index) {
    const uint8_t *p = hll + HLL_HEAD_BYTES + index * BITS / 8;
    unsigned shift = index * BITS & 7, both = p[0];
    if (shift > 2) both |= (unsigned)p[1] << 8;
    return (uint8_t)(both >> shift & HLL_REGISTER_MAX);
}

void hll_dense_set(uint8_t *hll, unsigned index, uint8_t value) {
    uint8_t *p = hll + HLL_HEAD_BYTES + index * BITS / 8;
    unsigned shift = index * BITS & 7;
    unsigned clear = (unsigned)HLL_REGISTER_MAX << shift, set = (unsigned)value << shift;
    p[0] = (uint8_t)((p[0] & ~clear) | set);
    if (shift > 2) p[1] = (uint8_t)((p[1] & ~(clear >> 8)) | set >> 8);
}

/* ---- the cached count ---- */

bool hll_cached(struct slice hll, uint64_t *count) {
    *count = read_eight(hll.data + CACHE_AT);
    return !(*count >> 63);
}

void hll_cache(uint8_t *hll, uint64_t count) {
    for (int i = 0; i < 8; i++) hll[CACHE_AT + i] = (uint8_t)(count >> 8 * i);
}

void hll_uncache(uint8_t *hll) {
    hll[CACHE_AT + 7] |= 0x80;
}

/* ---- sparse ---- */

bool hll_run_read(struct slice hll, size_t at, struct hll_run *run) {
    uint8_t first = hll.data[at];
    if (first & 0x80) {
        *run = (struct hll_run){1, (first & 3u) + 1, (uint8_t)((first >> 2 & 31) + 1), false};
        return true;
    }
    if (!(first & 0x40)) {
        *run = (struct hll_run){1, (first & 63u) + 1, 0, false};
        return true;
    }
    if (at + 1 >= hll.size) return false;
    *run = (struct hll_run){2, ((first & 63u) << 8 | hll.data[at + 1]) + 1, 0, true};
    return true;
}

static unsigned put_value(uint8_t *to, uint8_t value, unsigned length) {
    *to = (uint8_t)(0x80u | (value - 1u) << 2 | (length - 1));
    return 1;
}

/* LENGTH registers of VALUE, 0 of them too; the bytes written. */
static unsigned put_run(uint8_t *to, uint8_t value, unsigned length) {
    if (length == 0) return 0;
    if (value) return put_value(to, value, length);
    if (length <= RUN_ZEROS) {
        *to = (uint8_t)(length - 1);
        return 1;
    }
    to[0] = (uint8_t)(0x40u | (length - 1) >> 8);
    to[1] = (uint8_t)((length - 1) & 255);
    return 2;
}

void hll_new(struct buf *hll) {
    static const uint8_t head[HLL_HEAD_BYTES] = {'H', 'Y', 'L', 'L', HLL_SPARSE};
    uint8_t zeros[2];
    buf_append(hll, head, sizeof head);
    buf_append(hll, zeros, put_run(zeros, 0, HLL_REGISTERS));
}

bool hll_to_dense(struct buf *hll) {
    struct slice sparse = buf_slice(hll);
    if (hll_encoding(sparse) == HLL_DENSE) return true;
    struct buf dense = {0};
    uint8_t *to = buf_room(&dense, HLL_DENSE_BYTES);
    memset(to, 0, HLL_DENSE_BYTES);
    memcpy(to, sparse.data, HLL_HEAD_BYTES);
    to[ENCODING_AT] = HLL_DENSE;
    unsigned index = 0;
    bool good = true;
    struct hll_run run;
    for (size_t at = HLL_HEAD_BYTES; good && at < sparse.size; at += run.bytes) {
        good = hll_run_read(sparse, at, &run) && run.length <= HLL_REGISTERS - index;
        if (!good) break;
        for (unsigned end = index + run.length; index < end; index++)
            if (run.value) hll_dense_set(to, index, run.value);
    }
    if (!good || index != HLL_REGISTERS) {
        buf_close(&dense);
        return false;
    }
    buf_filled(&dense, HLL_DENSE_BYTES);
    buf_close(hll);
    *hll = dense;
    return true;
}

/* Where the run with register INDEX is, and what is before it. */
struct spot {
    size_t at, previous; /* previous: HLL_HEAD_BYTES if there is none */
    unsigned first;      /* register of the run */
    struct hll_run run;
};

static bool find_run(struct slice hll, unsigned index, struct spot *spot) {
    *spot = (struct spot){.at = HLL_HEAD_BYTES, .previous = HLL_HEAD_BYTES};
    while (spot->at < hll.size && hll_run_read(hll, spot->at, &spot->run)) {
        if (spot->run.length > HLL_REGISTERS - spot->first) return false;
        if (index < spot->first + spot->run.length) return true;
        spot->previous = spot->at;
        spot->at += spot->run.bytes;
        spot->first += spot->run.length;
    }
    return false;
}

/* Put runs of the same value together, from AT on, in the order and as far as Redis does. */
static void join_runs(struct buf *hll, size_t at) {
    struct hll_run a, b;
    for (int looked = 0; looked < 5 && at < buf_size(hll); looked++) {
        struct slice bytes = buf_slice(hll);
        if (!hll_run_read(bytes, at, &a)) return;
        bool joins = a.value && at + 1 < bytes.size && bytes.data[at + 1] & 0x80 &&
                     hll_run_read(bytes, at + 1, &b) && a.value == b.value &&
                     a.length + b.length <= RUN_VALUE_LENGTH;
        if (!joins) {
            at += a.bytes;
            continue;
        }
        uint8_t *p = hll->data + hll->start + at;
        (void)put_value(p, a.value, a.length + b.length);
        memmove(p + 1, p + 2, bytes.size - at - 2);
        hll->end--;
    }
}

static enum hll_change raise_dense(struct buf *hll, unsigned index, uint8_t value) {
    uint8_t *bytes = hll->data + hll->start;
    if (hll_dense_get(bytes, index) >= value) return HLL_SAME;
    hll_dense_set(bytes, index, value);
    return HLL_CHANGED;
}

static enum hll_change promote(struct buf *hll, unsigned index, uint8_t value) {
    if (!hll_to_dense(hll)) return HLL_BROKEN;
    return raise_dense(hll, index, value);
}

static enum hll_change raise_sparse(struct buf *hll, size_t sparse_max, unsigned index,
                                    uint8_t value) {
    struct spot spot;
    uint8_t parts[5];
    if (!find_run(buf_slice(hll), index, &spot)) return HLL_BROKEN;
    if (spot.run.value >= value) return HLL_SAME;
    unsigned before = index - spot.first, behind = spot.run.length - before - 1;
    unsigned size = put_run(parts, spot.run.value, before);
    size += put_value(parts + size, value, 1);
    size += put_run(parts + size, spot.run.value, behind);
    size_t old_size = buf_size(hll);
    if (size > spot.run.bytes && old_size + size - spot.run.bytes > sparse_max)
        return promote(hll, index, value);
    (void)buf_room(hll, sizeof parts);
    uint8_t *p = hll->data + hll->start + spot.at;
    memmove(p + size, p + spot.run.bytes, old_size - spot.at - spot.run.bytes);
    memcpy(p, parts, size);
    hll->end += size;
    hll->end -= spot.run.bytes;
    join_runs(hll, spot.previous);
    hll_uncache(hll->data + hll->start);
    return HLL_CHANGED;
}

enum hll_change hll_raise(struct buf *hll, size_t sparse_max, unsigned index, uint8_t value) {
    ASSERT(index < HLL_REGISTERS && value > 0 && value <= HLL_REGISTER_MAX);
    if (hll_encoding(buf_slice(hll)) == HLL_DENSE) return raise_dense(hll, index, value);
    if (value > RUN_VALUE_MAX) return promote(hll, index, value);
    return raise_sparse(hll, sparse_max, index, value);
}
