/* chunks_stream.c -- a stream piece by piece. See chunks.h.
 *
 * At F, for each group:  XGROUP CREATE; XADD and XCLAIM for each pending entry; XTRIM to nothing,
 * XSETID 0-0; XREADGROUP of each consumer's own entries, which only makes the consumer; XGROUP
 * SETID. Then the entries, and XSETID with all that XINFO STREAM told. A pending entry whose entry
 * is there cannot be told from one whose entry is deleted, and so all are made in the same way.
 */
#include "gateway/chunks_inside.h"
#include "gateway/stream_reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PENDING_AT_ONCE 256

static void command(struct buf *out, uint32_t *requests, size_t argc, const struct slice *argv) {
    resp_write_command(out, argc, argv);
    ++*requests;
}

/* ---- groups ---- */

bool chunks_stream_begin(struct chunks *p, struct slice rest) {
    int64_t groups = 0;
    struct slice about = rest;
    if (!reply_skip(&rest)) return false;
    buf_clear(&p->groups);
    buf_add(&p->groups, about); /* what the first entry is may be asked for with the groups */
    struct slice at = slice_drop(buf_slice(&p->groups), about.size - rest.size);
    if (!reply_items(&at, &groups)) return false;
    p->groups_left = (uint64_t)groups + 1; /* with one that is already done */
    p->groups_at = buf_size(&p->groups) - at.size;
    return true;
}

struct group {
    struct slice name;
    struct stream_id last;
    int64_t read; /* -1: not known */
    bool has_read;
    size_t size; /* bytes of it in `groups` */
};

static bool present_group(const struct chunks *p, struct group *g) {
    struct slice rest = slice_drop(buf_slice(&p->groups), p->groups_at), value;
    size_t before = rest.size;
    struct stream_fact facts[] = {{"name", {0}}, {"last-delivered-id", {0}}, {"entries-read", {0}}};
    *g = (struct group){.read = -1};
    if (!stream_facts(&rest, facts, 3)) return false;
    value = facts[0].value;
    if (!reply_text(&value, &g->name) || !stream_fact_id(facts[1].value, &g->last)) return false;
    value = facts[2].value;
    g->has_read = value.size > 0;
    if (g->has_read && !reply_int(&value, &g->read)) g->read = -1;
    g->size = before - rest.size;
    return true;
}

void chunks_stream_next_group(struct chunks *p, struct buf *out, uint32_t *requests) {
    struct group g;
    p->next = (struct stream_id){0, 0};
    p->had_pending = false;
    p->cursor_ended = false;
    p->at = CHUNKS_AT_ELEMENTS;
    if (p->groups_left == 0 || --p->groups_left == 0) return;
    p->at = CHUNKS_AT_PENDING;
    if (!present_group(p, &g)) return; /* and so the answer to it will not be understood */
    struct slice argv[] = {SLICE("XGROUP"), SLICE("CREATE"), chunks_key(p),
                           g.name,          SLICE("0"),      SLICE("MKSTREAM")};
    command(out, requests, 6, argv);
}

void chunks_stream_ask_pending(const struct chunks *p, struct buf *out) {
    struct group g;
    char from[48], count[24];
    (void)snprintf(count, sizeof count, "%d", PENDING_AT_ONCE);
    if (!present_group(p, &g)) g.name = (struct slice){0};
    struct slice argv[] = {SLICE("XPENDING"), chunks_key(p), g.name, stream_id_write(p->next, from),
                           SLICE("+"),        slice_text(count)};
    resp_write_command(out, 6, argv);
}

static bool take_pending(struct chunks *p, const struct group *g, struct slice *rest,
                         struct buf *out, uint32_t *requests) {
    int64_t four = 0, idle = 0, times = 0;
    struct slice id, consumer;
    char idle_text[24], times_text[24];
    if (!reply_items(rest, &four) || four != 4 || !reply_text(rest, &id)) return false;
    if (!reply_text(rest, &consumer) || !reply_int(rest, &idle)) return false;
    if (!reply_int(rest, &times) || !stream_id_read(id, &p->next)) return false;
    (void)snprintf(idle_text, sizeof idle_text, "%" PRId64, idle < 0 ? 0 : idle);
    (void)snprintf(times_text, sizeof times_text, "%" PRId64, times < 0 ? 0 : times);
    struct slice add[] = {SLICE("XADD"), chunks_key(p), id, SLICE("f"), SLICE("v")};
    struct slice claim[] = {SLICE("XCLAIM"), chunks_key(p),         g->name,
                            consumer,        SLICE("0"),            id,
                            SLICE("IDLE"),   slice_text(idle_text), SLICE("RETRYCOUNT"),
                            slice_text(times_text), SLICE("FORCE"), SLICE("JUSTID")};
    command(out, requests, 5, add);
    command(out, requests, 12, claim);
    p->had_pending = true;
    return true;
}

bool chunks_stream_pending(struct chunks *p, struct slice answer, struct buf *out,
                           uint32_t *requests) {
    struct group g;
    int64_t items = 0;
    if (!present_group(p, &g) || !reply_items(&answer, &items)) return false;
    for (int64_t i = 0; i < items; i++)
        if (!take_pending(p, &g, &answer, out, requests)) return false;
    if (items >= PENDING_AT_ONCE && stream_id_after(&p->next)) return true;
    p->at = CHUNKS_AT_CONSUMERS;
    if (!p->had_pending) return true;
    struct slice trim[] = {SLICE("XTRIM"), chunks_key(p), SLICE("MAXLEN"), SLICE("0")};
    struct slice back[] = {SLICE("XSETID"), chunks_key(p), SLICE("0-0")};
    command(out, requests, 4, trim);
    command(out, requests, 3, back);
    return true;
}

void chunks_stream_ask_consumers(const struct chunks *p, struct buf *out) {
    struct group g;
    if (!present_group(p, &g)) g.name = (struct slice){0};
    struct slice argv[] = {SLICE("XINFO"), SLICE("CONSUMERS"), chunks_key(p), g.name};
    resp_write_command(out, 4, argv);
}

/* What Redis 7.0 takes for the entries read when it loads a stream of an older one. */
static int64_t estimate_read(const struct chunks *p, const struct group *g) {
    struct slice about = buf_slice(&p->groups), first;
    struct stream_fact facts[] = {{"last-generated-id", {0}}, {"first-entry", {0}}};
    struct stream_id last, first_id;
    int64_t two = 0;
    if (!stream_facts(&about, facts, 2) || !stream_fact_id(facts[0].value, &last)) return -1;
    if (p->length == 0) return 0;
    int compared = stream_id_compare(g->last, last);
    if (compared >= 0) return compared == 0 ? p->length : -1;
    first = facts[1].value;
    if (!reply_items(&first, &two) || two != 2 || !stream_fact_id(first, &first_id)) return -1;
    compared = stream_id_compare(g->last, first_id);
    return compared < 0 ? 0 : compared == 0 ? 1 : -1;
}

static void set_group(const struct chunks *p, const struct group *g, struct buf *out,
                      uint32_t *requests) {
    char last[48], read[24];
    int64_t known = g->has_read ? g->read : estimate_read(p, g);
    (void)snprintf(read, sizeof read, "%" PRId64, known);
    struct slice argv[] = {SLICE("XGROUP"),       SLICE("SETID"),       chunks_key(p),   g->name,
                           stream_id_write(g->last, last), SLICE("ENTRIESREAD"), slice_text(read)};
    bool full = known >= 0 && p->follower_version >= CHUNKS_FULL_STREAMS;
    command(out, requests, full ? 7 : 5, argv);
}

bool chunks_stream_consumers(struct chunks *p, struct slice answer, struct buf *out,
                             uint32_t *requests) {
    struct group g;
    struct slice name;
    int64_t items = 0;
    if (!present_group(p, &g) || !reply_items(&answer, &items)) return false;
    for (int64_t i = 0; i < items; i++) {
        struct stream_fact fact = {"name", {0}};
        if (!stream_facts(&answer, &fact, 1) || !reply_text(&fact.value, &name)) return false;
        struct slice argv[] = {SLICE("XREADGROUP"), SLICE("GROUP"),   g.name,        name,
                               SLICE("COUNT"),      SLICE("1"),       SLICE("STREAMS"),
                               chunks_key(p),       SLICE("0")};
        command(out, requests, 9, argv);
    }
    set_group(p, &g, out, requests);
    p->groups_at += g.size;
    chunks_stream_next_group(p, out, requests);
    return true;
}

/* ---- entries ---- */

void chunks_stream_ask_entries(const struct chunks *p, struct buf *out) {
    char from[48], count[24];
    (void)snprintf(count, sizeof count, "%" PRIu64, p->count);
    struct slice argv[] = {SLICE("XRANGE"), chunks_key(p),  stream_id_write(p->next, from),
                           SLICE("+"),      SLICE("COUNT"), slice_text(count)};
    resp_write_command(out, 6, argv);
}

static bool take_entry(struct chunks *p, struct slice *rest, struct buf *out) {
    int64_t two = 0, words = 0;
    struct slice id, word;
    if (!reply_items(rest, &two) || two != 2 || !reply_text(rest, &id)) return false;
    if (!stream_id_read(id, &p->next) || !reply_items(rest, &words) || words % 2 != 0) return false;
    resp_write_array(out, 3 + (size_t)words);
    resp_write_text(out, "XADD");
    resp_write_bulk(out, chunks_key(p));
    resp_write_bulk(out, id);
    for (int64_t i = 0; i < words; i++) {
        if (!reply_text(rest, &word)) return false;
        resp_write_bulk(out, word);
    }
    return true;
}

bool chunks_stream_entries(struct chunks *p, struct slice answer, struct buf *out,
                           uint32_t *requests) {
    int64_t items = 0;
    if (!reply_items(&answer, &items)) return false;
    for (int64_t i = 0; i < items; i++) {
        if (!take_entry(p, &answer, out)) return false;
        ++*requests;
    }
    p->had += (uint64_t)items;
    p->cursor_ended = (uint64_t)items < p->count || !stream_id_after(&p->next);
    return true;
}

/* ---- the end ---- */

bool chunks_stream_end(struct chunks *p, struct slice about, struct buf *out, uint32_t *requests) {
    struct stream_fact facts[] = {
        {"last-generated-id", {0}}, {"max-deleted-entry-id", {0}}, {"entries-added", {0}}};
    struct stream_id last, deleted = {0, 0};
    int64_t added = p->length;
    char last_text[48], empty_text[48], deleted_text[48], added_text[24];
    if (!stream_facts(&about, facts, 3) || !stream_fact_id(facts[0].value, &last)) return false;
    if (facts[1].value.size > 0 && !stream_fact_id(facts[1].value, &deleted)) return false;
    if (facts[2].value.size > 0 && !reply_int(&facts[2].value, &added)) return false;
    struct stream_id some = last.ms == 0 && last.seq == 0 ? (struct stream_id){0, 1} : last;
    struct slice empty[] = {SLICE("XADD"), chunks_key(p), SLICE("MAXLEN"), SLICE("0"),
                            stream_id_write(some, empty_text), SLICE("f"), SLICE("v")};
    if (p->length == 0) command(out, requests, 7, empty); /* which makes it, if no group did */
    (void)snprintf(added_text, sizeof added_text, "%" PRId64, added);
    struct slice set[] = {SLICE("XSETID"),           chunks_key(p),
                          stream_id_write(last, last_text),  SLICE("ENTRIESADDED"),
                          slice_text(added_text),    SLICE("MAXDELETEDID"),
                          stream_id_write(deleted, deleted_text)};
    command(out, requests, p->follower_version >= CHUNKS_FULL_STREAMS ? 7 : 3, set);
    return true;
}
