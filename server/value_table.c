/* value_table.c -- what hashes and sets share. See value_table.h. */
#include "server/value_table.h"

#include "lib/base/mem.h"
#include "server/table.h"

void value_table_free(enum encoding encoding, void *ptr) {
    if (encoding == ENC_HASHTABLE) table_close_items(ptr);
    mem_free(ptr);
}

size_t value_table_effort(enum encoding encoding, const void *ptr) {
    return encoding == ENC_HASHTABLE ? table_count(ptr) : 1;
}

size_t value_table_memory(enum encoding encoding, const void *ptr, size_t samples) {
    if (encoding != ENC_HASHTABLE) return mem_size(ptr);
    size_t seen = 0, bytes = 0, count = table_count(ptr);
    struct table_iter iter;
    const void *item;
    table_iter_init(&iter, (struct table *)(uintptr_t)ptr);
    while ((samples == 0 || seen < samples) && (item = table_iter_next(&iter))) {
        bytes += mem_size(item);
        seen++;
    }
    return sizeof(struct table) + table_memory(ptr) + (seen ? bytes * count / seen : 0);
}

struct value_watch **value_table_watch(enum encoding encoding, void *ptr) {
    return encoding == ENC_HASHTABLE ? &((struct table *)ptr)->watch : NULL;
}
