/* checkpoints.c -- how far links have applied. See checkpoints.h. */
#include "server/checkpoints.h"

#include "lib/base/mem.h"

void checkpoints_close(struct checkpoints *checkpoints) {
    mem_free(checkpoints->list);
    *checkpoints = (struct checkpoints){0};
}

void checkpoints_clear(struct checkpoints *checkpoints) {
    uint64_t epoch = checkpoints->epoch;
    checkpoints_close(checkpoints);
    checkpoints->epoch = epoch;
}

static bool is_printable(struct slice text) {
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e) return false;
    return true;
}

bool checkpoint_name_is_fine(struct slice name) {
    return name.size >= 1 && name.size <= CHECKPOINT_NAME_SIZE_MAX && is_printable(name) &&
           name.data[0] != ':' && !memchr(name.data, '=', name.size);
}

bool checkpoint_value_is_fine(struct slice value) {
    return value.size >= 1 && value.size <= CHECKPOINT_VALUE_SIZE_MAX && is_printable(value);
}

/* Where NAME is, or would be. */
static size_t place_of(const struct checkpoints *checkpoints, struct slice name, bool *found) {
    size_t at = 0;
    int order = 1;
    while (at < checkpoints->count &&
           (order = slice_compare(slice_text(checkpoints->list[at].name), name)) < 0)
        at++;
    *found = at < checkpoints->count && order == 0;
    return at;
}

bool checkpoints_set(struct checkpoints *checkpoints, struct slice name, struct slice value) {
    ASSERT(checkpoint_name_is_fine(name) && checkpoint_value_is_fine(value));
    bool found;
    size_t at = place_of(checkpoints, name, &found);
    if (!found) {
        if (checkpoints->count == CHECKPOINTS_MAX) return false;
        checkpoints->list =
            mem_realloc(checkpoints->list, (checkpoints->count + 1) * sizeof *checkpoints->list);
        struct checkpoint *place = &checkpoints->list[at];
        memmove(place + 1, place, (checkpoints->count - at) * sizeof *place);
        memcpy(place->name, name.data, name.size);
        place->name[name.size] = '\0';
        checkpoints->count++;
    }
    struct checkpoint *checkpoint = &checkpoints->list[at];
    memcpy(checkpoint->value, value.data, value.size);
    checkpoint->value[value.size] = '\0';
    return true;
}

bool checkpoints_remove(struct checkpoints *checkpoints, struct slice name) {
    bool found;
    size_t at = place_of(checkpoints, name, &found);
    if (!found) return false;
    checkpoints->count--;
    struct checkpoint *place = &checkpoints->list[at];
    memmove(place, place + 1, (checkpoints->count - at) * sizeof *place);
    return true;
}

const char *checkpoints_get(const struct checkpoints *checkpoints, struct slice name) {
    bool found;
    size_t at = place_of(checkpoints, name, &found);
    return found ? checkpoints->list[at].value : NULL;
}

bool checkpoints_take_message(struct checkpoints *checkpoints, struct slice message) {
    const uint8_t *sign = message.size ? memchr(message.data, '=', message.size) : NULL;
    if (!sign) return false;
    struct slice name = slice_from(message.data, (size_t)(sign - message.data));
    struct slice value = slice_drop(message, name.size + 1);
    int64_t epoch;
    if (slice_equal(name, SLICE(CHECKPOINT_EPOCH_NAME))) {
        if (!slice_to_int(value, &epoch) || epoch < 0) return false;
        if ((uint64_t)epoch > checkpoints->epoch) checkpoints->epoch = (uint64_t)epoch;
        return true;
    }
    if (!checkpoint_name_is_fine(name)) return false;
    if (value.size == 0) {
        (void)checkpoints_remove(checkpoints, name);
        return true;
    }
    return checkpoint_value_is_fine(value) && checkpoints_set(checkpoints, name, value);
}
