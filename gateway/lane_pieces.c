/* lane_pieces.c -- a large value of an audit, read in pieces. See lane_pieces.h. */
#include "gateway/lane_pieces.h"
#include "gateway/reply_token.h"

#include "lib/redis/rdb_value.h"
#include "lib/redis/resp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HAS_PEXPIRETIME 70000

static enum err take_digest(void *self, const struct digest_key *key, struct why *why) {
    struct lane_pieces *p = self;
    (void)why;
    p->digest = key->digest;
    return OK;
}

void lane_pieces_free(struct lane_pieces *p) {
    if (p == NULL) return;
    digester_free(p->digester);
    buf_close(&p->groups);
    mem_free(p);
}

/* ---- answers ---- */

static bool take_number(struct slice *rest, int64_t *number) {
    struct resp_token t;
    if (!reply_token_of(rest, RESP_BULK, &t)) return false;
    return slice_to_int(t.text, number);
}

#define MODULE_UNKNOWN UINT64_MAX

/* TYPE, then PEXPIRETIME; or TIME and PTTL, before 7.0. False: not understood. */
static bool take_kind(struct slice rest, bool modern, struct lane_seen *seen) {
    struct resp_token t;
    int64_t seconds = 0, micros = 0;
    *seen = (struct lane_seen){0};
    if (!reply_token_of(&rest, RESP_SIMPLE, &t)) return false;
    seen->present = !slice_equal(t.text, SLICE("none"));
    bool known = !seen->present;
    for (enum value_type type = VALUE_STRING; type <= VALUE_STREAM; type++)
        if (slice_equal(t.text, slice_text(value_type_name(type)))) {
            seen->type = type;
            known = true;
        }
    if (!known) seen->module = MODULE_UNKNOWN;
    if (!modern && (!reply_token_of(&rest, RESP_ARRAY, &t) || t.number != 2)) return false;
    if (!modern && (!take_number(&rest, &seconds) || !take_number(&rest, &micros))) return false;
    if (seconds < 0 || seconds > INT64_MAX / 2000) return false;
    if (!reply_token_of(&rest, RESP_INT, &t)) return false;
    if (t.number >= 0 && modern) seen->deadline_ms = t.number > 0 ? t.number : 1;
    if (t.number >= 0 && !modern && t.number < INT64_MAX / 4)
        seen->deadline_ms = t.number + seconds * 1000 + micros / 1000;
    return true;
}

static void feed_string(struct lane_pieces *p, struct slice part) {
    digester_string_part(p->digester, part);
    p->counted += part.size;
}

/* Elements one after the other; a hash's and a sorted set's come in pairs. */
static bool feed_elements(struct lane_pieces *p, struct slice rest, int64_t count) {
    const struct rdb_handler *h = digester_handler(p->digester);
    bool pairs = p->key.type == VALUE_HASH || p->key.type == VALUE_ZSET;
    struct why why;
    for (int64_t i = 0; i < count; i += pairs ? 2 : 1) {
        struct resp_token one, two = {0};
        double score = 0;
        enum err err = OK;
        if (!reply_token_of(&rest, RESP_BULK, &one)) return false;
        if (pairs && !reply_token_of(&rest, RESP_BULK, &two)) return false;
        if (p->key.type == VALUE_LIST) err = h->list_item(h->self, one.text, &why);
        if (p->key.type == VALUE_SET) err = h->set_member(h->self, one.text, &why);
        if (p->key.type == VALUE_HASH) err = h->hash_field(h->self, one.text, two.text, &why);
        if (p->key.type == VALUE_ZSET && !rdb_score_parse(two.text, &score)) return false;
        if (p->key.type == VALUE_ZSET) err = h->zset_member(h->self, one.text, score, &why);
        if (err != OK) return false;
        p->counted++;
    }
    return true;
}

/* One piece. *END: it was the last one. */
static bool feed(struct lane_pieces *p, struct slice rest, bool *end) {
    struct resp_token t;
    if (p->key.type == VALUE_STREAM) return pieces_stream_feed(p, rest, end);
    if (p->key.type == VALUE_STRING) {
        if (!reply_token_of(&rest, RESP_BULK, &t)) return false;
        feed_string(p, t.text);
        p->cursor += t.text.size;
        *end = t.text.size == 0 || p->cursor >= p->length;
        return true;
    }
    if (p->key.type == VALUE_LIST) {
        if (!reply_token_of(&rest, RESP_ARRAY, &t) || !feed_elements(p, rest, t.number)) return false;
        p->cursor += (uint64_t)t.number;
        *end = t.number == 0 || p->cursor >= p->length;
        return true;
    }
    if (!reply_token_of(&rest, RESP_ARRAY, &t) || t.number != 2) return false;
    if (!reply_token_of(&rest, RESP_BULK, &t) || t.text.size == 0 || t.text.size > 20) return false;
    char text[24];
    memcpy(text, t.text.data, t.text.size);
    text[t.text.size] = '\0';
    p->cursor = strtoull(text, NULL, 10);
    *end = p->cursor == 0;
    return reply_token_of(&rest, RESP_ARRAY, &t) && feed_elements(p, rest, t.number);
}

/* ---- requests ---- */

static uint32_t ask_kind(struct buf *out, bool modern, struct slice name) {
    const struct slice type[] = {SLICE("TYPE"), name};
    const struct slice when[] = {modern ? SLICE("PEXPIRETIME") : SLICE("PTTL"), name};
    resp_write_command(out, 2, type);
    if (!modern) resp_write_words(out, "TIME", NULL);
    resp_write_command(out, 2, when);
    return modern ? 2 : 3;
}

static void ask_piece(struct lane_pieces *p, struct buf *out, struct slice name) {
    static const char *const lengths[] = {"STRLEN", "LLEN", "SCARD", "ZCARD", "HLEN"};
    static const char *const scans[] = {"GETRANGE", "LRANGE", "SSCAN", "ZSCAN", "HSCAN"};
    char from[24], to[24];
    if (p->key.type == VALUE_STREAM) {
        pieces_stream_ask(p, out, name);
        return;
    }
    if (!p->measured) {
        const struct slice words[] = {slice_text(lengths[p->key.type]), name};
        resp_write_command(out, 2, words);
        return;
    }
    struct slice words[] = {slice_text(scans[p->key.type]), name, {0}, {0}, {0}};
    bool range = p->key.type == VALUE_STRING || p->key.type == VALUE_LIST;
    (void)snprintf(from, sizeof from, "%" PRIu64, p->cursor);
    (void)snprintf(to, sizeof to, "%" PRIu64, range ? p->cursor + p->step - 1 : p->step);
    words[2] = slice_text(from);
    words[3] = range ? slice_text(to) : SLICE("COUNT");
    words[4] = slice_text(to);
    resp_write_command(out, range ? 4 : 5, words);
}

/* ---- a side ---- */

static void begin_side(struct lane_check *c, enum pieces_phase phase) {
    struct lane_pieces *p = c->pieces;
    struct why why;
    const struct lane_seen *seen = phase == PIECES_AT_P ? &c->p : &p->f;
    p->phase = phase;
    p->measured = false;
    p->length = p->counted = p->cursor = 0;
    p->key = (struct rdb_key){.db = (uint32_t)c->read.db,
                              .key = c->read.name,
                              .expire_at_ms = seen->deadline_ms != 0 ? seen->deadline_ms : -1,
                              .idle_s = -1,
                              .freq = -1,
                              .type = seen->type};
    if (p->digester == NULL) p->digester = digester_new(take_digest, p, NULL);
    digester_streams(p->digester, lane_audit_streams(c));
    const struct rdb_handler *h = digester_handler(p->digester);
    enum err err = h->key_begin(h->self, &p->key, 0, &why);
    ASSERT(err == OK);
}

static void end_side(struct lane_check *c) {
    struct lane_pieces *p = c->pieces;
    const struct rdb_handler *h = digester_handler(p->digester);
    struct why why;
    if (p->counted != p->length) {
        lane_check_late(c, "it is larger than what is read at once, and SCAN told elements twice");
        return;
    }
    enum err err = h->key_end(h->self, &p->key, &why);
    ASSERT(err == OK);
    if (p->phase == PIECES_AT_P) {
        c->p.digest = p->digest;
        begin_side(c, PIECES_AT_F);
        return;
    }
    p->f.digest = p->digest;
    struct lane_seen f = p->f;
    lane_check_judge(c, &f);
}

static void measure(struct lane_check *c, int64_t length) {
    struct lane_pieces *p = c->pieces;
    p->measured = true;
    p->length = (uint64_t)length;
    uint64_t each = p->length > 0 ? c->usage / p->length + 1 : 1;
    p->step = p->key.type == VALUE_STRING ? LANE_PIECE_BYTES : LANE_PIECE_BYTES / each;
    if (p->step < 16) p->step = 16;
    if (p->step > 5000) p->step = p->key.type == VALUE_STRING ? p->step : 5000;
}

static bool take_length(struct lane_pieces *p, struct slice answer, int64_t *length) {
    bool fine = p->key.type == VALUE_STREAM ? pieces_stream_measure(p, answer, length)
                                            : reply_int(&answer, length);
    return fine && *length >= 0;
}

/* The answer to a piece, or to the length, of either side. */
static void answered(struct lane_check *c, struct slice answer, const char *spoiled) {
    struct lane_pieces *p = c->pieces;
    int64_t length = 0;
    bool end = false;
    p->flying = false;
    c->audit->figures.bytes += answer.size;
    c->audit->byte_credit -= (int64_t)answer.size;
    lane_audit_moved(c->audit);
    if (p->voided != NULL || spoiled != NULL) {
        lane_check_late(c, p->voided != NULL ? p->voided : spoiled);
        return;
    }
    if (!p->measured && take_length(p, answer, &length)) {
        measure(c, length);
    } else if (!p->measured || !feed(p, answer, &end)) {
        lane_check_late(c, "a side does not answer what large values are read with");
    } else if (end) {
        end_side(c);
    }
}

/* ---- reads ---- */

static bool has_ended(struct lane_check *c) {
    if (lane_audit_runs(c->audit)) return false;
    lane_check_free(c);
    return true;
}

static bool is_modern(const struct lane_check *c) {
    return c->lane->primary_version >= HAS_PEXPIRETIME &&
           c->audit->follower_version >= HAS_PEXPIRETIME;
}

static bool on_kind_at_p(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                         uint32_t *replies) {
    struct lane_check *c = LANE_CHECK_OF(read);
    if (has_ended(c)) return false;
    c->pieces->flying = false;
    lane_audit_moved(c->audit);
    if (!clean) {
        lane_check_late(c, "it does not become clean");
        return false;
    }
    if (!take_kind(answer, is_modern(c), &c->p)) {
        lane_check_late(c, "the primary side does not answer TYPE");
        return false;
    }
    if (c->p.module != 0 && c->usage > LANE_AUDIT_MODULE_MAX) {
        lane_check_end(c, LANE_UNDECIDED, NULL, "a module's value of this size is not read");
        return false;
    }
    if (c->p.module != 0) {
        c->usage = 0; /* read whole */
        lane_check_late(c, "a large value of a module's type");
        return false;
    }
    c->pieces->flying = true;
    *replies = ask_kind(out, is_modern(c), c->read.name);
    return true;
}

static void on_kind_at_f(struct lane_read *read, struct slice answer, bool spoiled) {
    struct lane_check *c = LANE_CHECK_OF(read);
    if (has_ended(c)) return;
    struct lane_pieces *p = c->pieces;
    p->flying = false;
    if (spoiled || p->voided != NULL) {
        lane_check_late(c, spoiled ? "the follower side refused a write before it" : p->voided);
        return;
    }
    if (!take_kind(answer, is_modern(c), &p->f)) {
        lane_check_late(c, "the follower side does not answer TYPE");
        return;
    }
    int64_t apart = p->f.deadline_ms - c->p.deadline_ms;
    if (!is_modern(c) && p->f.deadline_ms != 0 && c->p.deadline_ms != 0 && apart >= -2 &&
        apart <= 2)
        p->f.deadline_ms = c->p.deadline_ms;
    if (!p->f.present || !c->p.present || p->f.type != c->p.type || p->f.module != 0) {
        struct lane_seen f = p->f;
        lane_check_judge(c, &f); /* they differ without a look at the values */
        return;
    }
    begin_side(c, PIECES_AT_P);
}

static bool on_piece_of_p(struct lane_read *read, struct slice answer, bool clean, struct buf *out,
                          uint32_t *replies) {
    struct lane_check *c = LANE_CHECK_OF(read);
    (void)out;
    (void)replies;
    if (!has_ended(c)) answered(c, answer, clean ? NULL : "it does not become clean");
    return false;
}

static void on_piece_of_f(struct lane_read *read, struct slice answer, bool spoiled) {
    struct lane_check *c = LANE_CHECK_OF(read);
    if (!has_ended(c))
        answered(c, answer, spoiled ? "the follower side refused a write before it" : NULL);
}

static void on_lost(struct lane_read *read) {
    struct lane_check *c = LANE_CHECK_OF(read);
    if (!has_ended(c)) lane_check_late(c, "its connection broke, or the follower side is too slow");
}

static const struct lane_read_ops kind_ops = {on_kind_at_p, on_kind_at_f, on_lost};
static const struct lane_read_ops p_ops = {on_piece_of_p, NULL, on_lost};
static const struct lane_read_ops f_ops = {NULL, on_piece_of_f, on_lost};

static void send_kind(struct lane_check *c) {
    struct buf *out = &c->audit->scratch;
    c->read.ops = &kind_ops;
    c->pieces->flying = true;
    buf_clear(out);
    uint32_t replies = ask_kind(out, is_modern(c), c->read.name);
    lane_read_send(c->lane, &c->read, buf_slice(out), replies);
}

void lane_pieces_begin(struct lane_check *c) {
    c->pieces = NEW(struct lane_pieces);
    send_kind(c);
}

/* F is read behind what is queued for it now; what is written from here on makes this void. */
void lane_pieces_turn(struct lane_check *c) {
    struct lane_pieces *p = c->pieces;
    struct buf *out = &c->audit->scratch;
    struct lane *l = c->lane;
    if (p == NULL || p->flying) return;
    if (p->voided != NULL) {
        lane_check_late(c, p->voided);
        return;
    }
    if (!lane_may_send(l) || !l->follower_up) return;
    if (lane_keys_is_dirty(&l->keys, c->read.db, c->read.name)) {
        lane_check_late(c, "it does not become clean");
        return;
    }
    buf_clear(out);
    ask_piece(p, out, c->read.name);
    p->flying = true;
    c->read.ops = p->phase == PIECES_AT_P ? &p_ops : &f_ops;
    if (p->phase == PIECES_AT_P)
        lane_read_send(l, &c->read, buf_slice(out), 1);
    else
        lane_read_follow(l, &c->read, buf_slice(out), 1);
}

bool lane_pieces_waits(const struct lane_check *c) {
    return c->pieces != NULL && !c->pieces->flying;
}

void lane_pieces_void(struct lane_check *c, const char *why) {
    if (c->pieces != NULL && c->pieces->voided == NULL) c->pieces->voided = why;
}
