/* typed.c -- see typed.h. */
#include "server/typed.h"

/* Items of hashes, sets and sorted sets count their bytes in 32 bits. */
#define ARG_BYTES_MAX (UINT32_MAX - 64)

static enum found result(struct entry *e, bool wrong, struct typed *t) {
    *t = (struct typed){.entry = e};
    if (wrong) return WRONG_TYPE;
    if (!e) return ABSENT;
    t->value = entry_value(e);
    return FOUND;
}

enum found typed_read(struct client *c, struct slice key, enum type type, struct typed *t) {
    bool wrong = false;
    struct entry *e = key_read_typed(c, key, type, &wrong);
    return result(e, wrong, t);
}

/* What clients send is bounded by proto-max-bulk-len, which an operator may set over our limit. */
static bool args_fit(struct client *c) {
    for (int i = 0; i < c->argc; i++) {
        if (c->argv[i].size <= ARG_BYTES_MAX) continue;
        reply_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return false;
    }
    return true;
}

enum found typed_write(struct client *c, struct slice key, enum type type, struct typed *t) {
    bool wrong = false;
    if (!args_fit(c)) return WRONG_TYPE;
    struct entry *e = key_write_typed(c, key, type, &wrong);
    return result(e, wrong, t);
}

enum found typed_lookup(struct client *c, struct slice key, enum type type, struct typed *t) {
    if (!args_fit(c)) return WRONG_TYPE;
    struct entry *e = key_lookup(c, key);
    bool wrong = e && entry_type(e) != type;
    if (wrong) reply_wrong_type(c);
    return result(e, wrong, t);
}

void typed_edit(struct client *c, struct typed *t) {
    db_edit(c->db, t->entry);
}

void typed_store(struct typed *t) {
    entry_set_ptr(t->entry, t->value.encoding, t->value.ptr);
}

void typed_replace(struct client *c, struct slice key, const struct value *value,
                   enum notify_class class, const char *event) {
    size_t length = value_ops(value->type)->length(value->encoding, value->ptr);
    if (length > 0) {
        key_replace(c, key, value);
        key_changed(c, key, class, event, 1);
    } else {
        value_free(value);
        if (key_delete(c, key)) key_changed(c, key, NOTIFY_GENERIC, "del", 1);
    }
    reply_int(c, (int64_t)length);
}

bool range_clip(int64_t start, int64_t stop, size_t length, size_t *first, size_t *count) {
    int64_t end = (int64_t)length;
    if (start < 0) start = start < -end ? 0 : start + end;
    if (stop < 0) stop = stop < -end ? -1 : stop + end;
    if (stop >= end) stop = end - 1;
    if (start > stop) return false;
    *first = (size_t)start;
    *count = (size_t)(stop - start) + 1;
    return true;
}
