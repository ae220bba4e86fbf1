/* lane_pieces_stream.c -- a large stream of an audit, read in pieces. See lane_pieces.h.
 *
 * Who owns which pending entry is told by XPENDING, in order of ids; consumers that own none do not
 * count (DIGEST_STREAM_CARRIED). What a side tells in another order than by growing ids is not
 * understood, so that an answer cannot go in circles.
 */
#include "gateway/lane_pieces.h"
#include "gateway/stream_reply.h"

#include <inttypes.h>
#include <stdio.h>

#define PENDING_AT_ONCE 1000

/* ---- asking ---- */

static void ask_range(const struct lane_pieces *p, struct buf *out, struct slice name) {
    char from[STREAM_ID_BYTES], count[24];
    (void)snprintf(count, sizeof count, "%" PRIu64, p->step);
    const struct slice words[] = {SLICE("XRANGE"), name, stream_id_write(p->next, from),
                                  SLICE("+"),      SLICE("COUNT"), slice_text(count)};
    resp_write_command(out, 6, words);
}

static void ask_pending(const struct lane_pieces *p, struct buf *out, struct slice name) {
    char from[STREAM_ID_BYTES], count[24];
    (void)snprintf(count, sizeof count, "%d", PENDING_AT_ONCE);
    const struct slice words[] = {SLICE("XPENDING"), name, p->group, stream_id_write(p->next, from),
                                  SLICE("+"),        slice_text(count)};
    resp_write_command(out, 6, words);
}

void pieces_stream_ask(const struct lane_pieces *p, struct buf *out, struct slice name) {
    if (p->measured && p->stream_at == PIECES_STREAM_ENTRIES) {
        ask_range(p, out, name);
        return;
    }
    if (p->measured && p->stream_at == PIECES_STREAM_PENDING) {
        ask_pending(p, out, name);
        return;
    }
    const struct slice words[] = {SLICE("XINFO"), p->measured ? SLICE("GROUPS") : SLICE("STREAM"),
                                  name};
    resp_write_command(out, 3, words);
}

/* ---- what is told ---- */

bool pieces_stream_measure(struct lane_pieces *p, struct slice answer, int64_t *length) {
    struct stream_fact facts[] = {{"length", {0}},
                                  {"last-generated-id", {0}},
                                  {"max-deleted-entry-id", {0}},
                                  {"entries-added", {0}}};
    int64_t added = 0;
    p->stream = (struct rdb_stream){0};
    p->stream_at = PIECES_STREAM_ENTRIES;
    p->next = (struct stream_id){0};
    if (!stream_facts(&answer, facts, 4) || !reply_int(&facts[0].value, length)) return false;
    if (!stream_fact_id(facts[1].value, &p->stream.last_id)) return false;
    if (facts[2].value.size > 0 && !stream_fact_id(facts[2].value, &p->stream.max_deleted_id))
        return false;
    if (facts[3].value.size > 0 && !reply_int(&facts[3].value, &added)) return false;
    p->stream.length = (uint64_t)*length;
    p->stream.entries_added = (uint64_t)added;
    return true;
}

/* ID is not behind what was had. */
static bool goes_on(struct lane_pieces *p, struct slice text, struct stream_id *id) {
    if (!stream_id_read(text, id) || stream_id_compare(*id, p->next) < 0) return false;
    p->next = *id;
    return true;
}

static bool feed_entry(struct lane_pieces *p, struct slice *rest) {
    int64_t two = 0, words = 0;
    struct slice text, value;
    struct stream_id id;
    if (!reply_items(rest, &two) || two != 2 || !reply_text(rest, &text)) return false;
    if (!goes_on(p, text, &id) || !reply_items(rest, &words) || words % 2 != 0) return false;
    digester_entry(p->digester, id, (uint64_t)words / 2);
    for (int64_t i = 0; i < words; i += 2) {
        if (!reply_text(rest, &text) || !reply_text(rest, &value)) return false;
        digester_entry_pair(p->digester, text, value);
    }
    p->counted++;
    return true;
}

static bool feed_entries(struct lane_pieces *p, struct slice rest) {
    const struct rdb_handler *h = digester_handler(p->digester);
    struct why why;
    int64_t count = 0;
    bool more = true;
    if (!reply_items(&rest, &count)) return false;
    for (int64_t i = 0; i < count; i++) {
        if (!more || !feed_entry(p, &rest)) return false;
        more = stream_id_after(&p->next);
    }
    if (more && (uint64_t)count >= p->step) return true;
    p->stream_at = PIECES_STREAM_GROUPS;
    return h->stream(h->self, &p->stream, &why) == OK;
}

/* The next group of `groups`, or the end. */
static bool next_group(struct lane_pieces *p, bool *end) {
    const struct rdb_handler *h = digester_handler(p->digester);
    struct slice rest = slice_drop(buf_slice(&p->groups), p->groups_at);
    struct stream_fact facts[] = {{"name", {0}}, {"last-delivered-id", {0}}};
    struct rdb_group group = {.entries_read = -1};
    struct why why;
    *end = p->groups_left == 0;
    if (*end) return true;
    p->groups_left--;
    if (!stream_facts(&rest, facts, 2) || !reply_text(&facts[0].value, &group.name)) return false;
    if (!stream_fact_id(facts[1].value, &group.last_id)) return false;
    p->groups_at = buf_size(&p->groups) - rest.size;
    p->group = group.name;
    p->next = (struct stream_id){0};
    p->stream_at = PIECES_STREAM_PENDING;
    return h->group(h->self, &group, &why) == OK;
}

static bool feed_groups(struct lane_pieces *p, struct slice rest, bool *end) {
    int64_t count = 0;
    if (!reply_items(&rest, &count)) return false;
    buf_clear(&p->groups);
    buf_add(&p->groups, rest);
    p->groups_at = 0;
    p->groups_left = (uint64_t)count;
    return next_group(p, end);
}

static bool feed_pending(struct lane_pieces *p, struct slice rest, bool *end) {
    const struct rdb_handler *h = digester_handler(p->digester);
    struct why why;
    int64_t count = 0, four = 0, number = 0;
    bool more = true;
    if (!reply_items(&rest, &count)) return false;
    for (int64_t i = 0; i < count; i++) {
        struct rdb_consumer consumer = {0};
        struct slice text;
        struct stream_id id;
        if (!more || !reply_items(&rest, &four) || four != 4) return false;
        if (!reply_text(&rest, &text) || !goes_on(p, text, &id)) return false;
        if (!reply_text(&rest, &consumer.name)) return false;
        if (!reply_int(&rest, &number)) return false; /* how long it has been pending */
        if (!reply_int(&rest, &number)) return false; /* how often it was delivered */
        if (h->consumer(h->self, &consumer, &why) != OK) return false;
        if (h->consumer_pending(h->self, id, &why) != OK) return false;
        more = stream_id_after(&p->next);
    }
    if (more && count >= PENDING_AT_ONCE) return true;
    return next_group(p, end);
}

bool pieces_stream_feed(struct lane_pieces *p, struct slice answer, bool *end) {
    switch (p->stream_at) {
    case PIECES_STREAM_ENTRIES: return feed_entries(p, answer);
    case PIECES_STREAM_GROUPS: return feed_groups(p, answer, end);
    case PIECES_STREAM_PENDING: return feed_pending(p, answer, end);
    default: UNREACHABLE("pieces_stream");
    }
}
