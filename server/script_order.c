/* script_order.c -- what a script that a master of before 5.0 sends may rely on: order and chance.
 *
 * Such a master sends scripts word by word, and so do AOF files of that time. Their replicas come to
 * the same result because chance begins with the same seed for each script, and because replies
 * whose order is that of a hash table are sorted by their bytes. Source of behaviour: scripting.c of
 * Redis 4.0, as seen from outside (tests/e2e/test_other_versions.py); the names are those that
 * COMMAND INFO marks sort_for_script there.
 */
#include "server/script.h"

#include "lib/base/mem.h"
#include "server/args.h"

#include <stdlib.h>

bool script_is_obeyed(const struct script_run *run) {
    return run->caller->flags & (CLIENT_MASTER | CLIENT_LOADING);
}

bool script_is_replayed(const struct script_run *run) {
    return run->caller->flags & (CLIENT_MASTER | CLIENT_LOADING | CLIENT_IMPORT_SOURCE);
}

static bool has_no_order(const struct command *spec) {
    static const char *const names[] = {"smembers", "sinter", "sunion", "sdiff",
                                        "hkeys",    "hvals",  "keys"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(spec->name, names[i]) == 0) return true;
    return false;
}

/* "$3\r\nabc\r\n" or "*3\r\n" at the front of REST: the number; -1 for anything else. */
static int64_t take_number(struct slice *rest, char kind) {
    const uint8_t *end = rest->size ? memchr(rest->data, '\n', rest->size) : NULL;
    int64_t number;
    if (end == NULL || rest->data[0] != (uint8_t)kind || end - rest->data < 3) return -1;
    size_t size = (size_t)(end - rest->data) + 1;
    bool fine = slice_to_int(slice_from(rest->data + 1, size - 3), &number);
    *rest = slice_drop(*rest, size);
    return fine ? number : -1;
}

static int by_bytes(const void *a, const void *b) {
    const struct slice *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = size ? memcmp(x->data, y->data, size) : 0;
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The items of REST, or fewer if one is no string. */
static int64_t find_items(struct slice rest, struct slice *items, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        int64_t size = take_number(&rest, '$');
        if (size < 0 || (uint64_t)size + 2 > rest.size) return i;
        items[i] = slice_take(rest, (size_t)size);
        rest = slice_drop(rest, (size_t)size + 2);
    }
    return count;
}

void script_order_reply(const struct command *spec, struct buf *reply) {
    if (!has_no_order(spec)) return;
    struct slice rest = buf_slice(reply);
    int64_t count = take_number(&rest, '*');
    if (count < 2 || (uint64_t)count > rest.size) return;
    struct slice *items = NEW_ARRAY(struct slice, (size_t)count);
    if (find_items(rest, items, count) == count) {
        struct buf sorted = {0};
        qsort(items, (size_t)count, sizeof *items, by_bytes);
        buf_printf(&sorted, "*%lld\r\n", (long long)count);
        for (int64_t i = 0; i < count; i++) {
            buf_printf(&sorted, "$%zu\r\n", items[i].size);
            buf_add(&sorted, items[i]);
            buf_append(&sorted, "\r\n", 2);
        }
        buf_clear(reply);
        buf_add(reply, buf_slice(&sorted));
        buf_close(&sorted);
    }
    mem_free(items);
}
