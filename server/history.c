/* history.c -- which data this is. See history.h. */
#include "server/history.h"

#include "lib/base/rand.h"

static const char no_id[41] = "0000000000000000000000000000000000000000";

void history_new_id(struct history *history) {
    rand_hex40(history->id);
    memcpy(history->id2, no_id, sizeof no_id);
    history->id2_end = -1;
}

void history_init(struct history *history) {
    *history = (struct history){0};
    history_new_id(history);
}

static void keep_as_second(struct history *history) {
    memcpy(history->id2, history->id, sizeof history->id);
    history->id2_end = history->offset + 1;
}

void history_shift_id(struct history *history) {
    keep_as_second(history);
    rand_hex40(history->id);
}

void history_rename(struct history *history, const char id[41]) {
    keep_as_second(history);
    memcpy(history->id, id, 40);
    history->id[40] = '\0';
}

bool history_is_id(struct slice text) {
    if (text.size != 40) return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return true;
}

enum psync_verdict history_judge(const struct history *history, const struct backlog *backlog,
                                 struct slice id, int64_t wanted) {
    bool first = slice_equal_nocase(id, slice_text(history->id));
    bool second = history->id2_end >= 0 && slice_equal_nocase(id, slice_text(history->id2));
    if (!first && !second) return PSYNC_OTHER_HISTORY;
    if (!first && wanted > history->id2_end) return PSYNC_BEYOND_SECOND_ID;
    if (!backlog->exists) return PSYNC_NO_BACKLOG;
    if (wanted < 0 || (uint64_t)wanted < backlog->begin || (uint64_t)wanted > backlog->end)
        return PSYNC_OUT_OF_BACKLOG;
    return PSYNC_CONTINUE;
}
