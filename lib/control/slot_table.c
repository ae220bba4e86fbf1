/* slot_table.c -- which gateway owns which slots. See slot_table.h. */
#include "lib/control/slot_table.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void slot_table_init(struct slot_table *table) {
    memset(table, 0, sizeof *table);
    memset(table->owner, SLOT_TABLE_NOBODY, sizeof table->owner);
}

unsigned slot_table_find(const struct slot_table *table, struct slice name) {
    unsigned i = 0;
    while (i < table->count && !slice_equal(slice_text(table->gateway[i].name), name)) i++;
    return i;
}

unsigned slot_table_owned(const struct slot_table *table, unsigned gateway) {
    unsigned count = 0;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (table->owner[slot] == gateway) count++;
    return count;
}

/* ---- writing ---- */

static void write_ranges(const struct slot_table *table, unsigned gateway, struct buf *out) {
    size_t before = buf_size(out);
    for (unsigned from = 0; from < SLOT_CLUSTER_COUNT; from++) {
        unsigned to = from;
        if (table->owner[from] != gateway) continue;
        while (to + 1 < SLOT_CLUSTER_COUNT && table->owner[to + 1] == gateway) to++;
        if (buf_size(out) > before) buf_add(out, SLICE(","));
        buf_printf(out, to > from ? "%u-%u" : "%u", from, to);
        from = to;
    }
    if (buf_size(out) == before) buf_add(out, SLICE("-"));
}

static size_t each_word(const struct slot_table *table,
                        void (*add)(struct buf *out, struct slice word), struct buf *out) {
    char number[24];
    (void)snprintf(number, sizeof number, "%" PRIu64, table->version);
    add(out, slice_text(number));
    for (unsigned i = 0; i < table->count; i++) {
        const struct slot_table_gateway *g = &table->gateway[i];
        struct buf ranges = {0};
        (void)snprintf(number, sizeof number, "%" PRIu64, g->since);
        write_ranges(table, i, &ranges);
        add(out, slice_text(g->name));
        add(out, g->peer[0] != '\0' ? slice_text(g->peer) : SLICE("-"));
        add(out, slice_text(number));
        add(out, buf_slice(&ranges));
        buf_close(&ranges);
    }
    return 1 + 4 * (size_t)table->count;
}

static void add_spaced(struct buf *out, struct slice word) {
    if (buf_size(out) > 0) buf_add(out, SLICE(" "));
    buf_add(out, word);
}

size_t slot_table_write(const struct slot_table *table, struct buf *out) {
    return each_word(table, resp_write_bulk, out);
}

void slot_table_write_text(const struct slot_table *table, struct buf *out) {
    (void)each_word(table, add_spaced, out);
}

/* ---- reading ---- */

static bool read_number(struct slice text, uint64_t *number) {
    int64_t value = 0;
    if (!slice_to_int(text, &value) || value < 0) return false;
    *number = (uint64_t)value;
    return true;
}

static bool read_word(struct slice text, char *to, size_t room) {
    if (text.size == 0 || text.size >= room || memchr(text.data, 0, text.size)) return false;
    memcpy(to, text.data, text.size);
    to[text.size] = '\0';
    return true;
}

static bool take_slot(struct slice *rest, unsigned *slot) {
    unsigned value = 0;
    size_t at = 0;
    while (at < rest->size && at < 5 && rest->data[at] >= '0' && rest->data[at] <= '9')
        value = value * 10 + (unsigned)(rest->data[at++] - '0');
    *slot = value;
    *rest = slice_drop(*rest, at);
    return at > 0 && value < SLOT_CLUSTER_COUNT;
}

static bool read_ranges(struct slot_table *table, unsigned gateway, struct slice text) {
    if (slice_equal(text, SLICE("-"))) return true;
    for (;;) {
        unsigned from = 0, to = 0;
        if (!take_slot(&text, &from)) return false;
        to = from;
        if (text.size > 0 && text.data[0] == '-') {
            text = slice_drop(text, 1);
            if (!take_slot(&text, &to) || to < from) return false;
        }
        for (unsigned slot = from; slot <= to; slot++) {
            if (table->owner[slot] != SLOT_TABLE_NOBODY) return false;
            table->owner[slot] = (uint8_t)gateway;
        }
        if (text.size == 0) return true;
        if (text.data[0] != ',') return false;
        text = slice_drop(text, 1);
    }
}

static bool read_gateway(struct slot_table *table, const struct slice words[4]) {
    struct slot_table_gateway *g = &table->gateway[table->count];
    if (!read_word(words[0], g->name, sizeof g->name)) return false;
    if (slot_table_find(table, words[0]) < table->count) return false;
    if (!read_word(words[1], g->peer, sizeof g->peer)) return false;
    if (strcmp(g->peer, "-") == 0) g->peer[0] = '\0';
    if (!read_number(words[2], &g->since)) return false;
    if (!read_ranges(table, table->count, words[3])) return false;
    table->count++;
    return true;
}

enum err slot_table_read(struct slot_table *table, size_t count, const struct slice *words,
                         struct why *why) {
    slot_table_init(table);
    bool fine = count % 4 == 1 && count / 4 <= SLOT_TABLE_GATEWAYS &&
                read_number(words[0], &table->version) && table->version > 0;
    for (size_t at = 1; fine && at + 3 < count; at += 4) fine = read_gateway(table, words + at);
    if (fine) return OK;
    slot_table_init(table);
    return why_set(why, ERR_PROTO, "this is no table of slots");
}

enum err slot_table_read_text(struct slot_table *table, struct slice text, struct why *why) {
    struct slice words[1 + 4 * SLOT_TABLE_GATEWAYS];
    size_t count = 0;
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, ' ', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;
        if (count == sizeof words / sizeof *words)
            return why_set(why, ERR_PROTO, "a table of slots with too many words");
        words[count++] = slice_take(text, size);
        text = slice_drop(text, end ? size + 1 : size);
    }
    return slot_table_read(table, count, words, why);
}
