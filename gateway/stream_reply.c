/* stream_reply.c -- what a side answers about a stream. See stream_reply.h. */
#include "gateway/stream_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct slice stream_id_write(struct stream_id id, char text[STREAM_ID_BYTES]) {
    (void)snprintf(text, STREAM_ID_BYTES, "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    return slice_text(text);
}

bool stream_id_read(struct slice text, struct stream_id *id) {
    char copy[STREAM_ID_BYTES], *end = NULL;
    if (text.size == 0 || text.size >= sizeof copy) return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (copy[0] < '0' || copy[0] > '9') return false;
    uint64_t ms = strtoull(copy, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9') return false;
    uint64_t seq = strtoull(end + 1, &end, 10);
    if (*end != '\0') return false;
    *id = (struct stream_id){ms, seq};
    return true;
}

bool stream_id_after(struct stream_id *id) {
    if (++id->seq != 0) return true;
    return ++id->ms != 0;
}

bool stream_facts(struct slice *rest, struct stream_fact *facts, size_t count) {
    int64_t words = 0;
    struct slice name;
    for (size_t i = 0; i < count; i++) facts[i].value = (struct slice){0};
    if (!reply_items(rest, &words) || words % 2 != 0) return false;
    for (int64_t w = 0; w < words; w += 2) {
        if (!reply_text(rest, &name)) return false;
        struct slice from = *rest;
        if (!reply_skip(rest)) return false;
        for (size_t i = 0; i < count; i++)
            if (slice_equal(name, slice_text(facts[i].name)))
                facts[i].value = slice_take(from, from.size - rest->size);
    }
    return true;
}

bool stream_fact_id(struct slice value, struct stream_id *id) {
    struct slice text;
    return reply_text(&value, &text) && stream_id_read(text, id);
}
