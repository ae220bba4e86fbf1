/* rdb_flat.c -- values that are one string (listpack, ziplist, zipmap, intset), and lists of
 * such: checked as a whole, then delivered as they are or by their elements. */
#include "lib/redis/flat.h"
#include "lib/redis/rdb_value.h"

static enum err corrupt(const struct rdb_value *value, const char *what, struct why *why) {
    return why_set(why, ERR_CORRUPT, "the %s %s", value_type_name(value->key->type), what);
}

static enum flat_kind kind_of(uint8_t rdb_type) {
    switch (rdb_type) {
    case RDB_HASH_ZIPMAP: return FLAT_ZIPMAP;
    case RDB_SET_INTSET: return FLAT_INTSET;
    case RDB_LIST_ZIPLIST:
    case RDB_ZSET_ZIPLIST:
    case RDB_HASH_ZIPLIST:
    case RDB_LIST_QUICKLIST: return FLAT_ZIPLIST;
    default: return FLAT_LISTPACK;
    }
}

static bool blob_of(uint8_t rdb_type, enum rdb_blob *blob) {
    switch (rdb_type) {
    case RDB_SET_INTSET: *blob = RDB_BLOB_INTSET; return true;
    case RDB_SET_LISTPACK: *blob = RDB_BLOB_SET_LISTPACK; return true;
    case RDB_HASH_LISTPACK: *blob = RDB_BLOB_HASH_LISTPACK; return true;
    case RDB_ZSET_LISTPACK: *blob = RDB_BLOB_ZSET_LISTPACK; return true;
    case RDB_LIST_QUICKLIST_2: *blob = RDB_BLOB_LIST_LISTPACK; return true;
    default: return false;
    }
}

/* Member and score pairs must be in order, because readers search in them. */
static enum err scores_check(const struct rdb_value *value, struct flat *flat, struct why *why) {
    struct slice member, text, last;
    struct flat here = *flat, before = *flat; /* at this pair, and at the one before */
    double score, last_score = 0;
    for (bool first = true; flat_next(flat, &member) && flat_next(flat, &text); first = false) {
        if (!rdb_score_parse(text, &score))
            return corrupt(value, "has a score that is no number", why);
        bool ordered = first || score > last_score;
        if (!ordered && !(score < last_score) && flat_next(&before, &last))
            ordered = slice_compare(last, member) < 0;
        if (!ordered) return corrupt(value, "is not in the order of its scores", why);
        before = here;
        here = *flat;
        last_score = score;
    }
    return OK;
}

static enum err twins_check(struct rdb_value *value, struct flat *flat, bool paired,
                            struct why *why) {
    struct slice text, skipped;
    twins_reset(&value->twins, paired ? flat->count / 2 : flat->count);
    while (flat_next(flat, &text)) {
        if (!twins_add(&value->twins, text)) return corrupt(value, "has an element twice", why);
        if (paired) flat_next(flat, &skipped);
    }
    if (!twins_done(&value->twins)) return corrupt(value, "has an element twice", why);
    return OK;
}

/* All that flat_open() does not look at. */
static enum err flat_check(struct rdb_value *value, struct flat *flat, struct why *why) {
    enum value_type type = value->key->type;
    bool paired = type == VALUE_HASH || type == VALUE_ZSET;
    if (paired && flat->count % 2) return corrupt(value, "has half a pair", why);
    if (type != VALUE_LIST && flat->kind != FLAT_INTSET) { /* which is in order */
        RDB_TRY(twins_check(value, flat, paired, why));
        flat_rewind(flat);
    }
    if (type == VALUE_ZSET) {
        RDB_TRY(scores_check(value, flat, why));
        flat_rewind(flat);
    }
    return OK;
}

static enum err deliver(struct rdb_value *value, struct flat *flat, struct why *why) {
    struct slice one, two;
    double score = 0;
    while (flat_next(flat, &one)) {
        switch (value->key->type) {
        case VALUE_LIST: RDB_CALL(value, list_item, one); break;
        case VALUE_SET: RDB_CALL(value, set_member, one); break;
        case VALUE_HASH:
            flat_next(flat, &two);
            RDB_CALL(value, hash_field, one, two);
            break;
        case VALUE_ZSET:
            flat_next(flat, &two);
            rdb_score_parse(two, &score);
            RDB_CALL(value, zset_member, one, score);
            break;
        case VALUE_STRING:
        case VALUE_STREAM: UNREACHABLE("flat string or stream");
        }
    }
    return OK;
}

static enum err blob_or_elements(struct rdb_value *value, struct flat *flat, struct slice text,
                                 struct why *why) {
    enum rdb_blob blob;
    if (value->handler->blob && blob_of(value->key->rdb_type, &blob)) {
        RDB_CALL(value, blob, blob, text);
        return OK;
    }
    return deliver(value, flat, why);
}

/* Read one string that must be flat; *TEXT is it. */
static enum err flat_take(struct rdb_value *value, struct flat *flat, struct slice *text,
                          struct why *why) {
    enum flat_kind kind = kind_of(value->key->rdb_type);
    RDB_TRY(rdb_text(value, &value->one, false, text, why));
    if (!flat_open(flat, kind, *text))
        return why_set(why, ERR_CORRUPT, "the %s of the %s is broken", flat_name(kind),
                       value_type_name(value->key->type));
    return value->checked ? OK : flat_check(value, flat, why);
}

enum err rdb_flat_read(struct rdb_value *value, struct why *why) {
    struct flat flat;
    struct slice text;
    RDB_TRY(flat_take(value, &flat, &text, why));
    if (flat.count == 0) return rdb_empty(value, why);
    bool paired = value->key->type == VALUE_HASH || value->key->type == VALUE_ZSET;
    RDB_TRY(rdb_begin(value, paired ? flat.count / 2 : flat.count, why));
    return blob_or_elements(value, &flat, text, why);
}

enum err rdb_quicklist_read(struct rdb_value *value, struct why *why) {
    uint64_t nodes, container = 2;
    struct slice text;
    struct flat flat;
    RDB_TRY(rdb_length(value, &nodes, why));
    for (; nodes > 0; nodes--) {
        if (value->key->rdb_type == RDB_LIST_QUICKLIST_2)
            RDB_TRY(rdb_length(value, &container, why));
        if (container == 1) { /* one big item as it is */
            RDB_TRY(rdb_text(value, &value->one, false, &text, why));
            if (text.size == 0) return corrupt(value, "has an empty node", why);
            RDB_TRY(rdb_begin(value, 0, why));
            RDB_CALL(value, list_item, text);
        } else if (container == 2) {
            RDB_TRY(flat_take(value, &flat, &text, why));
            if (flat.count == 0) continue; /* as Redis does */
            RDB_TRY(rdb_begin(value, 0, why));
            RDB_TRY(blob_or_elements(value, &flat, text, why));
        } else {
            return corrupt(value, "has a node of an unknown kind", why);
        }
    }
    return value->begun ? OK : rdb_empty(value, why);
}
