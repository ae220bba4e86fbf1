/* effect_stream.c -- what was done to streams and their groups. See effect_inside.h.
 *
 * XADD and approximate trimming: the id is in the answer, and the length after it in that of the
 * XLEN that was sent along; cutting the follower to that length cuts what was cut.
 *
 * XREADGROUP is sent as it is, without BLOCK: with equal streams and groups it delivers the same
 * entries, and it is the only command that also carries entries-read along. Times and counts of
 * delivery are the follower's own; nothing compares them (C31).
 *
 * XCLAIM and XAUTOCLAIM depend on idle times, but their answers name what was claimed: that is
 * claimed at the follower, however long it was idle. Entries that are gone from the stream leave
 * the pending list: XAUTOCLAIM names them; XCLAIM does not, but the same XCLAIM with an idle time
 * that nothing reaches drops exactly those (Redis 7.0 looks for the entry before the time).
 */
#include "gateway/effect_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define VERSION_DELETED EFFECT_VERSION(7, 0, 0)  /* what is deleted leaves the pending list */
#define VERSION_CONSUMER EFFECT_VERSION(7, 2, 0) /* a consumer is created even by an empty read */
#define IDLE_NEVER SLICE("9000000000000000000")

/* ---- what is prepared ---- */

/* The options of XADD and XTRIM from argv[2] on. XADD: *at is where the id stands. */
static bool trim_options(const struct effect_draft *draft, bool xadd, unsigned *bits, size_t *at) {
    const struct slice *argv = draft->argv;
    size_t i;
    for (i = 2; i < draft->argc; i++) {
        size_t more = draft->argc - 1 - i;
        bool trims = effect_arg_is(argv, i, "maxlen") || effect_arg_is(argv, i, "minid");
        if (trims && more >= 1) {
            bool about = slice_equal(argv[i + 1], SLICE("~"));
            if (more >= 2 && (about || slice_equal(argv[i + 1], SLICE("=")))) i++;
            if (about) *bits |= OPTION_APPROX;
            i++;
        } else if (effect_arg_is(argv, i, "limit") && more >= 1) {
            i++;
        } else if (!xadd) {
            return false;
        } else if (!effect_arg_is(argv, i, "nomkstream")) {
            break;
        }
    }
    *at = i;
    return !xadd || i < draft->argc;
}

static void prepare_trim(struct effect_draft *draft, bool xadd) {
    size_t at = 0;
    if (!trim_options(draft, xadd, &draft->options, &at)) {
        draft->unsure = true;
        return;
    }
    draft->at = (uint32_t)at;
    if (!(draft->options & OPTION_APPROX)) return;
    if (draft->facts->proxied)
        draft->unsure = true;
    else
        draft->extra = EXTRA_XLEN;
}

void effect_prepare_xadd(struct effect_draft *draft) {
    prepare_trim(draft, true);
}

void effect_prepare_xtrim(struct effect_draft *draft) {
    prepare_trim(draft, false);
}

/* Where things stand in an XREAD or XREADGROUP; 0: nowhere. */
struct read_places {
    size_t group, block, streams; /* of the words; STREAMS: of the first key */
};

static bool read_options(size_t argc, const struct slice *argv, struct read_places *places) {
    *places = (struct read_places){0};
    for (size_t i = 1; i < argc; i++) {
        size_t more = argc - 1 - i;
        if (effect_arg_is(argv, i, "block") && more >= 1) {
            places->block = i++;
        } else if (effect_arg_is(argv, i, "count") && more >= 1) {
            i++;
        } else if (effect_arg_is(argv, i, "group") && more >= 2) {
            places->group = i;
            i += 2;
        } else if (effect_arg_is(argv, i, "streams") && more >= 1) {
            places->streams = i + 1;
            return (argc - places->streams) % 2 == 0;
        } else if (!effect_arg_is(argv, i, "noack")) {
            return false;
        }
    }
    return false;
}

void effect_prepare_xreadgroup(struct effect_draft *draft) {
    struct read_places places;
    if (!read_options(draft->argc, draft->argv, &places)) {
        draft->unsure = true;
        return;
    }
    draft->blocking = places.block != 0;
}

static bool looks_like_id(struct slice text) {
    return text.size > 0 && text.data[0] >= '0' && text.data[0] <= '9';
}

/* XCLAIM key group consumer min-idle id... [options]: `at` is behind the last id. */
void effect_prepare_xclaim(struct effect_draft *draft) {
    size_t at = 5;
    while (at < draft->argc && looks_like_id(draft->argv[at])) at++;
    draft->at = (uint32_t)at;
    for (size_t i = at; i < draft->argc; i++) {
        if (effect_arg_is(draft->argv, i, "justid")) draft->options |= OPTION_JUSTID;
        if (effect_arg_is(draft->argv, i, "lastid")) draft->options |= OPTION_LASTID;
    }
}

/* ---- adding and trimming ---- */

/* XTRIM key MAXLEN length, when the length that P had after the command is known. */
static bool tell_length(struct effect_teller *t) {
    struct effect_head head;
    char text[24];
    if (!effect_head_read(t->extra, &head) || head.kind != RESP_INT || head.number < 0)
        return false;
    snprintf(text, sizeof text, "%" PRId64, head.number);
    struct slice argv[] = {SLICE("XTRIM"), effect_arg(t, 1), SLICE("MAXLEN"), slice_text(text)};
    effect_tell_one(t, 4, argv, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
    return true;
}

static bool length_is_known(const struct effect_teller *t) {
    struct effect_head head;
    return effect_head_read(t->extra, &head) && head.kind == RESP_INT && head.number >= 0;
}

static void write_xadd(struct effect_teller *t, struct slice id) {
    const struct effect_inside *in = t->in;
    struct buf *bytes = &t->out->bytes;
    bool exact = !(in->options & OPTION_APPROX);
    size_t options = 0;
    for (size_t i = 2; exact && i < in->at; i++)
        options += !effect_arg_is(in->argv, i, "nomkstream");
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(bytes, 2 + options + in->argc - in->at);
    resp_write_text(bytes, "XADD");
    resp_write_bulk(bytes, in->argv[1]);
    for (size_t i = 2; exact && i < in->at; i++)
        if (!effect_arg_is(in->argv, i, "nomkstream")) resp_write_bulk(bytes, in->argv[i]);
    resp_write_bulk(bytes, id);
    for (size_t i = in->at + 1; i < in->argc; i++) resp_write_bulk(bytes, in->argv[i]);
    item->size = buf_size(bytes) - item->at;
    (void)effect_tell_key(t, in->argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

void effect_tell_xadd(struct effect_teller *t) {
    struct slice rest = t->answer, id;
    bool about = t->in->options & OPTION_APPROX;
    if (!effect_text_take(&rest, &id) || !looks_like_id(id) || (about && !length_is_known(t))) {
        effect_tell_dirty(t);
        return;
    }
    write_xadd(t, id);
    if (about && !tell_length(t)) effect_tell_dirty(t);
}

void effect_tell_xtrim(struct effect_teller *t) {
    if (!(t->in->options & OPTION_APPROX))
        effect_tell_verbatim(t);
    else if (!tell_length(t))
        effect_tell_dirty(t);
}

/* ---- groups ---- */

static void tell_group(struct effect_teller *t, size_t argc, const struct slice *argv,
                       struct slice key) {
    effect_tell_command(t, argc, argv);
    (void)effect_tell_key(t, key, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

/* Newer servers create the consumer whatever there is to read. */
static void tell_consumer(struct effect_teller *t, struct slice key, struct slice group,
                          struct slice consumer) {
    if (t->in->primary_version < VERSION_CONSUMER) return;
    struct slice argv[] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), key, group, consumer};
    tell_group(t, 5, argv, key);
}

static void write_xreadgroup(struct effect_teller *t, const struct read_places *places) {
    const struct effect_inside *in = t->in;
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(&t->out->bytes, in->argc - (places->block ? 2 : 0));
    for (size_t i = 0; i < in->argc; i++) {
        bool left_out = places->block && (i == places->block || i == places->block + 1);
        if (!left_out) resp_write_bulk(&t->out->bytes, in->argv[i]);
    }
    item->size = buf_size(&t->out->bytes) - item->at;
    for (size_t i = 0; i < t->effect->key_count; i++)
        (void)effect_tell_key(t, t->effect->keys[i].name, EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

void effect_tell_xreadgroup(struct effect_teller *t) {
    struct read_places places;
    if (!read_options(t->in->argc, t->in->argv, &places) || places.group == 0) {
        effect_tell_dirty(t);
        return;
    }
    for (size_t i = 0; i < t->effect->key_count; i++)
        tell_consumer(t, t->effect->keys[i].name, effect_arg(t, places.group + 1),
                      effect_arg(t, places.group + 2));
    if (!t->head.null) write_xreadgroup(t, &places);
}

/* One entry of what was claimed: its id alone, or with its fields. */
static bool take_claimed(struct slice *rest, bool justid, struct slice *id) {
    struct slice fields;
    size_t two;
    if (justid) return effect_text_take(rest, id);
    return effect_list_take(rest, &two) && two == 2 && effect_text_take(rest, id) &&
           effect_reply_take(rest, &fields);
}

static bool take_claimed_all(struct slice *rest, bool justid, size_t count) {
    struct slice id;
    for (size_t i = 0; i < count; i++)
        if (!take_claimed(rest, justid, &id)) return false;
    return true;
}

/* XCLAIM key group consumer 0 <claimed ids> <options> */
static void write_xclaim(struct effect_teller *t, struct slice claimed, size_t count, bool justid,
                         const struct slice *options, size_t option_count) {
    const struct effect_inside *in = t->in;
    struct buf *bytes = &t->out->bytes;
    struct slice id;
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(bytes, 5 + count + option_count);
    resp_write_text(bytes, "XCLAIM");
    for (size_t i = 1; i <= 3; i++) resp_write_bulk(bytes, in->argv[i]);
    resp_write_text(bytes, "0");
    for (size_t i = 0; i < count; i++) {
        bool read = take_claimed(&claimed, justid, &id);
        ASSERT(read);
        resp_write_bulk(bytes, id);
    }
    for (size_t i = 0; i < option_count; i++) resp_write_bulk(bytes, options[i]);
    item->size = buf_size(bytes) - item->at;
    (void)effect_tell_key(t, in->argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

/* The same ids with an idle time that none reaches: drops those whose entries are gone, and moves
 * the group's last id if LASTID says so. */
static void write_drop(struct effect_teller *t) {
    const struct effect_inside *in = t->in;
    struct buf *bytes = &t->out->bytes;
    size_t lastid = in->at;
    while (lastid + 1 < in->argc && !effect_arg_is(in->argv, lastid, "lastid")) lastid++;
    bool found = lastid + 1 < in->argc;
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    resp_write_array(bytes, in->at + (found ? 2 : 0));
    resp_write_text(bytes, "XCLAIM");
    for (size_t i = 1; i < in->at; i++) resp_write_bulk(bytes, i == 4 ? IDLE_NEVER : in->argv[i]);
    for (size_t i = lastid; found && i < lastid + 2; i++) resp_write_bulk(bytes, in->argv[i]);
    item->size = buf_size(bytes) - item->at;
    (void)effect_tell_key(t, in->argv[1], EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

void effect_tell_xclaim(struct effect_teller *t) {
    const struct effect_inside *in = t->in;
    bool justid = in->options & OPTION_JUSTID;
    struct slice rest = t->answer, claimed;
    size_t count;
    bool read = effect_list_take(&rest, &count);
    claimed = rest;
    if (!read || !take_claimed_all(&rest, justid, count) || count > in->at - 5) {
        effect_tell_dirty(t);
        return;
    }
    bool lastid = in->options & OPTION_LASTID;
    if (in->primary_version < VERSION_DELETED) { /* what is deleted stays pending there */
        if (count > 0 || lastid) effect_tell_dirty(t);
        return;
    }
    bool drops = count < in->at - 5 || lastid;
    if (drops && in->follower_version < VERSION_DELETED) {
        effect_tell_dirty(t);
        return;
    }
    tell_consumer(t, in->argv[1], in->argv[2], in->argv[3]);
    if (drops) write_drop(t);
    if (count > 0) write_xclaim(t, claimed, count, justid, in->argv + in->at, in->argc - in->at);
}

static void write_xack(struct effect_teller *t, struct slice deleted, size_t count) {
    struct buf *bytes = &t->out->bytes;
    struct effect_item *item = effect_tell_item(t, EFFECT_REQUEST);
    struct slice id;
    resp_write_array(bytes, 3 + count);
    resp_write_text(bytes, "XACK");
    resp_write_bulk(bytes, effect_arg(t, 1));
    resp_write_bulk(bytes, effect_arg(t, 2));
    for (size_t i = 0; i < count; i++) {
        bool read = effect_text_take(&deleted, &id);
        ASSERT(read);
        resp_write_bulk(bytes, id);
    }
    item->size = buf_size(bytes) - item->at;
    (void)effect_tell_key(t, effect_arg(t, 1), EFFECT_READ_WRITE, EFFECT_EXPIRY_KEPT);
}

/* [cursor, claimed, deleted]; before 7.0 without the last. */
void effect_tell_xautoclaim(struct effect_teller *t) {
    const struct effect_inside *in = t->in;
    struct slice rest = t->answer, cursor, claimed, deleted;
    size_t parts = 0, count = 0, gone = 0;
    bool justid = false;
    for (size_t i = 6; i < in->argc; i++) justid |= effect_arg_is(in->argv, i, "justid");
    bool read = effect_list_take(&rest, &parts) && (parts == 2 || parts == 3) &&
                effect_text_take(&rest, &cursor) && effect_list_take(&rest, &count);
    claimed = rest;
    read = read && take_claimed_all(&rest, justid, count);
    if (read && parts == 3) read = effect_list_take(&rest, &gone);
    deleted = rest;
    read = read && take_claimed_all(&rest, true, gone);
    if (!read || (parts == 2 && count > 0)) {
        effect_tell_dirty(t);
        return;
    }
    tell_consumer(t, in->argv[1], in->argv[2], in->argv[3]);
    if (gone > 0) write_xack(t, deleted, gone);
    struct slice option = SLICE("JUSTID");
    if (count > 0) write_xclaim(t, claimed, count, justid, &option, justid ? 1 : 0);
}
