/* xstream_node.c -- reading and changing one node of a stream. See xstream_node.h. */
#include "server/xstream_node.h"

static int64_t number_at(const uint8_t *lp, uint32_t at) {
    int64_t number = 0;
    ASSERT(at != LP_NONE && lp_number(lp, at, &number));
    return number;
}

int64_t xstream_node_live(const uint8_t *lp) {
    return number_at(lp, lp_first(lp));
}

int64_t xstream_node_deleted(const uint8_t *lp) {
    return number_at(lp, lp_next(lp, lp_first(lp)));
}

static int64_t read_number(const uint8_t *lp, uint32_t *at) {
    int64_t number = number_at(lp, *at);
    *at = lp_next(lp, *at);
    return number;
}

static void skip(const uint8_t *lp, uint32_t *at, int64_t items) {
    for (; items > 0; items--) *at = lp_next(lp, *at);
}

void xstream_walk_init(struct xstream_walk *walk, struct stream_id first, const uint8_t *lp,
                       bool backward) {
    uint32_t at = lp_first(lp);
    *walk = (struct xstream_walk){.lp = lp, .first = first, .backward = backward};
    walk->live = read_number(lp, &at);
    walk->deleted = read_number(lp, &at);
    walk->fields = read_number(lp, &at);
    walk->fields_at = at;
    if (backward) {
        walk->at = lp_last(lp);
        return;
    }
    skip(lp, &at, walk->fields + 1);
    walk->at = at;
}

/* Read the entry at walk->at and go behind it. */
static void read_entry(struct xstream_walk *walk, struct xstream_entry *entry) {
    const uint8_t *lp = walk->lp;
    uint32_t at = walk->at;
    entry->flags_at = at;
    entry->flags = read_number(lp, &at);
    entry->id.ms = walk->first.ms + (uint64_t)read_number(lp, &at);
    entry->id.seq = walk->first.seq + (uint64_t)read_number(lp, &at);
    bool same = entry->flags & XSTREAM_ENTRY_SAME_FIELDS;
    int64_t count = same ? walk->fields : read_number(lp, &at);
    entry->fields = (struct rdb_fields){.count = (uint64_t)count, .lp = lp, .same_fields = same};
    entry->fields.field_at = same ? walk->fields_at : at;
    entry->fields.value_at = at;
    skip(lp, &at, (same ? count : 2 * count) + 1);
    walk->at = at;
}

bool xstream_walk_next(struct xstream_walk *walk, struct xstream_entry *entry) {
    if (walk->at == LP_NONE) return false;
    if (!walk->backward) {
        read_entry(walk, entry);
        return true;
    }
    int64_t items = number_at(walk->lp, walk->at); /* behind an entry; 0 behind the head */
    if (items == 0) return false;
    for (; items > 0; items--) walk->at = lp_prev(walk->lp, walk->at);
    uint32_t start = walk->at;
    read_entry(walk, entry);
    walk->at = lp_prev(walk->lp, start);
    return true;
}

uint8_t *xstream_node_new(const struct slice *argv, int64_t fields, size_t room_bytes) {
    uint8_t *lp = lp_new(room_bytes);
    lp_append_number(&lp, 0);
    lp_append_number(&lp, 0);
    lp_append_number(&lp, fields);
    for (int64_t i = 0; i < fields; i++) lp_append(&lp, argv[2 * i]);
    lp_append_number(&lp, 0);
    return lp;
}

static bool fields_match(const uint8_t *lp, const struct slice *argv, int64_t fields) {
    uint32_t at = lp_next(lp, lp_next(lp, lp_first(lp)));
    if (read_number(lp, &at) != fields) return false;
    for (int64_t i = 0; i < fields; i++, at = lp_next(lp, at))
        if (!lp_equal(lp, at, argv[2 * i])) return false;
    return true;
}

void xstream_node_append(uint8_t **lp, struct stream_id first, struct stream_id id,
                         const struct slice *argv, int64_t fields) {
    bool same = fields_match(*lp, argv, fields);
    (void)lp_insert_number(lp, lp_first(*lp), xstream_node_live(*lp) + 1, LP_REPLACE);
    lp_append_number(lp, same ? XSTREAM_ENTRY_SAME_FIELDS : 0);
    lp_append_number(lp, (int64_t)(id.ms - first.ms));
    lp_append_number(lp, (int64_t)(id.seq - first.seq));
    if (!same) lp_append_number(lp, fields);
    for (int64_t i = 0; i < fields; i++) {
        if (!same) lp_append(lp, argv[2 * i]);
        lp_append(lp, argv[2 * i + 1]);
    }
    lp_append_number(lp, same ? fields + 3 : 2 * fields + 4);
}

void xstream_node_mark(uint8_t **lp, const struct xstream_entry *entry) {
    (void)lp_insert_number(lp, entry->flags_at, entry->flags | XSTREAM_ENTRY_DELETED, LP_REPLACE);
}

void xstream_node_count(uint8_t **lp, int64_t less) {
    int64_t deleted = xstream_node_deleted(*lp);
    (void)lp_insert_number(lp, lp_first(*lp), xstream_node_live(*lp) - less, LP_REPLACE);
    (void)lp_insert_number(lp, lp_next(*lp, lp_first(*lp)), deleted + less, LP_REPLACE);
}
