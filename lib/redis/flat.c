/* flat.c -- small collections in one string, walked alike. See flat.h. */
#include "lib/redis/flat.h"

#include "lib/redis/intset.h"
#include "lib/redis/listpack.h"
#include "lib/redis/ziplist.h"

const char *flat_name(enum flat_kind kind) {
    static const char *const names[] = {"listpack", "ziplist", "zipmap", "intset"};
    return names[kind];
}

void flat_rewind(struct flat *flat) {
    switch (flat->kind) {
    case FLAT_LISTPACK: flat->at = lp_first(flat->data); break;
    case FLAT_ZIPLIST: flat->at = ZIPLIST_START; break;
    case FLAT_ZIPMAP: flat->at = ZIPMAP_START; break;
    case FLAT_INTSET: flat->at = 0; break;
    }
    flat->value_next = false;
}

bool flat_open(struct flat *flat, enum flat_kind kind, struct slice blob) {
    *flat = (struct flat){.kind = kind, .data = blob.data};
    bool good = false;
    switch (kind) {
    case FLAT_LISTPACK: good = lp_validate(blob, &flat->count); break;
    case FLAT_ZIPLIST: good = ziplist_validate(blob, &flat->count); break;
    case FLAT_ZIPMAP:
        good = zipmap_validate(blob, &flat->count);
        flat->count *= 2;
        break;
    case FLAT_INTSET:
        good = intset_validate(blob);
        if (good) flat->count = intset_count(blob.data);
        break;
    }
    if (good) flat_rewind(flat);
    return good;
}

static struct slice number_text(struct flat *flat, int64_t number) {
    char *text = flat->text[flat->turn];
    return slice_from(text, lp_write_number(number, text));
}

static bool zipmap_item(struct flat *flat, struct slice *text) {
    if (flat->value_next) {
        *text = flat->value;
        flat->value_next = false;
        return true;
    }
    flat->value_next = zipmap_next(flat->data, &flat->at, text, &flat->value);
    return flat->value_next;
}

bool flat_next(struct flat *flat, struct slice *text) {
    struct lp_item item;
    flat->turn ^= 1;
    switch (flat->kind) {
    case FLAT_LISTPACK:
        if (flat->at == LP_NONE) return false;
        *text = lp_text(flat->data, flat->at, flat->text[flat->turn]);
        flat->at = lp_next(flat->data, flat->at);
        return true;
    case FLAT_ZIPLIST:
        if (!ziplist_next(flat->data, &flat->at, &item)) return false;
        *text = item.is_number ? number_text(flat, item.number) : item.bytes;
        return true;
    case FLAT_ZIPMAP: return zipmap_item(flat, text);
    case FLAT_INTSET:
        if (flat->at == flat->count) return false;
        *text = number_text(flat, intset_get(flat->data, flat->at++));
        return true;
    }
    UNREACHABLE("kind of flat collection");
}
