/* others.c -- whether a server still has connections of earlier gateways. See others.h. */
#include "gateway/others.h"

/* The value of " NAME=" in LINE, up to the next space. */
static bool field(struct slice line, struct slice name, struct slice *value) {
    const uint8_t *at = memmem(line.data, line.size, name.data, name.size);
    if (at == NULL) return false;
    *value = slice_drop(line, (size_t)(at - line.data) + name.size);
    const uint8_t *end = value->size > 0 ? memchr(value->data, ' ', value->size) : NULL;
    if (end != NULL) *value = slice_take(*value, (size_t)(end - value->data));
    return true;
}

enum others others_in(struct slice list, int64_t own, int64_t first) {
    enum others found = OTHERS_NONE;
    bool own_seen = false;
    while (list.size > 0) {
        struct slice line = list, name, id;
        int64_t number = 0;
        const uint8_t *end = memchr(list.data, '\n', list.size);
        if (end != NULL) line = slice_take(list, (size_t)(end - list.data));
        list = slice_drop(list, line.size + (end != NULL));
        bool named = field(line, SLICE(" name="), &name);
        bool maps = named && slice_starts(name, SLICE(OTHERS_MAP_NAME));
        if (!named || (!maps && !slice_starts(name, SLICE(OTHERS_NAME)))) continue;
        if (!slice_starts(line, SLICE("id=")) || !field(line, SLICE("id="), &id) ||
            !slice_to_int(id, &number))
            return OTHERS_UNTOLD;
        if (number == own) own_seen = true;
        if (number < first && !maps) found = OTHERS_SOME;
    }
    return own_seen && first > 0 ? found : OTHERS_UNTOLD;
}
