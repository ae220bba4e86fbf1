/* fuzz_listpack.c -- any bytes as listpack, ziplist, zipmap or intset: refused, or walked whole
 * within their block; a listpack changed at any place stays one, and can be had as a ziplist. */
#include "lib/base/mem.h"
#include "lib/redis/flat.h"
#include "lib/redis/listpack.h"
#include "lib/redis/ziplist.h"

static void walk(enum flat_kind kind, struct slice bytes) {
    struct flat flat;
    struct slice text;
    uint32_t count = 0;
    uint8_t sum = 0;
    if (!flat_open(&flat, kind, bytes)) return;
    for (; flat_next(&flat, &text); count++)
        for (size_t i = 0; i < text.size; i++) sum = (uint8_t)(sum + text.data[i]);
    ASSERT(count == flat.count && sum == sum);
}

static void write_old(const uint8_t *lp) {
    struct buf ziplist = {0};
    uint32_t count;
    ziplist_put(&ziplist, lp);
    ASSERT(ziplist_validate(buf_slice(&ziplist), &count) && count == lp_count(lp));
    buf_close(&ziplist);
}

static void change(struct slice bytes, uint8_t how) {
    if (!lp_validate(bytes, NULL)) return;
    write_old(bytes.data);
    uint8_t *lp = mem_dup(bytes.data, bytes.size);
    uint32_t count = lp_count(lp), at = count ? lp_seek(lp, how % count) : LP_NONE;
    if (at != LP_NONE) {
        at = lp_insert(&lp, at, SLICE("-129"), how & 64 ? LP_BEFORE : LP_AFTER);
        ASSERT(lp_equal(lp, at, SLICE("-129")));
        at = lp_replace(&lp, at,
                        slice_from("some longer text than sixty-four bytes are, so that "
                                   "the head grows by one",
                                   73));
        ASSERT(lp_count(lp) == count + 1);
        if (lp_delete(&lp, at, 1 + how % 3) == LP_NONE) lp_prepend(&lp, SLICE(""));
        if (lp_count(lp) > 1) {
            uint8_t *rest = lp_split(&lp, lp_seek(lp, 1));
            ASSERT(lp_validate(lp_slice(rest), NULL) && lp_count(lp) == 1);
            lp_append_all(&lp, rest);
            mem_free(rest);
        }
    }
    ASSERT(lp_validate(lp_slice(lp), NULL));
    mem_free(lp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t *exact = mem_dup(data + 1, size - 1);
    struct slice bytes = slice_from(exact, size - 1);
    for (int kind = FLAT_LISTPACK; kind <= FLAT_INTSET; kind++) walk((enum flat_kind)kind, bytes);
    change(bytes, data[0]);
    mem_free(exact);
    return 0;
}
