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

/* Takes a line from the front of LIST: the id of a connection, and its name. */
static bool take_line(struct slice *list, struct slice *name, int64_t *id) {
    struct slice line = *list, text;
    const uint8_t *end = memchr(list->data, '\n', list->size);
    if (end != NULL) line = slice_take(*list, (size_t)(end - list->data));
    *list = slice_drop(*list, line.size + (end != NULL));
    *id = 0;
    if (!field(line, SLICE(" name="), name)) *name = (struct slice){0};
    return slice_starts(line, SLICE("id=")) && field(line, SLICE("id="), &text) &&
           slice_to_int(text, id);
}

int64_t others_id_of(struct slice list, struct slice name) {
    struct slice found;
    int64_t id = 0;
    while (list.size > 0)
        if (take_line(&list, &found, &id) && slice_equal(found, name)) return id > 0 ? id : 0;
    return 0;
}

enum others others_in(struct slice list, int64_t own, int64_t first) {
    enum others found = OTHERS_NONE;
    bool own_seen = false;
    while (list.size > 0) {
        struct slice name;
        int64_t number = 0;
        bool told = take_line(&list, &name, &number);
        bool maps = slice_starts(name, SLICE(OTHERS_MAP_NAME));
        if (!maps && !slice_starts(name, SLICE(OTHERS_NAME))) continue;
        if (!told) return OTHERS_UNTOLD;
        if (number == own) own_seen = true;
        if (number < first && !maps) found = OTHERS_SOME;
    }
    return own_seen && first > 0 ? found : OTHERS_UNTOLD;
}
