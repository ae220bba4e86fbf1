/* chunks.c -- a value element by element: all but what only streams have. See chunks.h. */
#include "gateway/chunks_inside.h"

#include "gateway/effect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define COUNT_FIRST 64u
#define COUNT_MAX 8192u
#define HAS_PEXPIRETIME EFFECT_VERSION(7, 0, 0)
/* Valkey calls itself 7.2.4, whatever it can. */
#define MAY_HAVE_FIELDS EFFECT_VERSION(7, 2, 0)

static const struct chunks_type types[] = {
    {"string", "STRLEN", "GETRANGE", "APPEND", false, false},
    {"list", "LLEN", "LRANGE", "RPUSH", false, false},
    {"set", "SCARD", "SSCAN", "SADD", true, false},
    {"hash", "HLEN", "HSCAN", "HSET", true, true},
    {"zset", "ZCARD", "ZSCAN", "ZADD", true, true},
    {"stream", "XLEN", "XRANGE", "XADD", false, false},
};
enum { STRING, LIST, SET, HASH, ZSET, STREAM };

static bool is_a(const struct chunks *p, size_t type) {
    return p->type == &types[type];
}

void chunks_begin(struct chunks *p, int32_t primary_version, int32_t follower_version,
                  struct slice key, size_t chunk_bytes) {
    chunks_close(p);
    p->primary_version = primary_version;
    p->follower_version = follower_version;
    p->chunk_bytes = chunk_bytes > 0 ? chunk_bytes : 1;
    p->count = chunk_bytes / 64 < 1            ? 1
               : chunk_bytes / 64 > COUNT_FIRST ? COUNT_FIRST
                                               : chunk_bytes / 64;
    buf_add(&p->key, key);
}

void chunks_close(struct chunks *p) {
    buf_close(&p->key);
    buf_close(&p->groups);
    *p = (struct chunks){0};
}

/* ---- asking ---- */

static void ask_one(const struct chunks *p, struct buf *out, const char *verb) {
    resp_write_array(out, 2);
    resp_write_text(out, verb);
    resp_write_bulk(out, chunks_key(p));
}

/* In one step, so that all of it is of one moment. */
static uint32_t ask_state(const struct chunks *p, struct buf *out) {
    bool modern = p->primary_version >= HAS_PEXPIRETIME;
    uint32_t requests = 2;
    buf_add(out, SLICE("*1\r\n$5\r\nMULTI\r\n"));
    if (!modern) {
        buf_add(out, SLICE("*1\r\n$4\r\nTIME\r\n"));
        requests++;
    }
    ask_one(p, out, modern ? "PEXPIRETIME" : "PTTL");
    ask_one(p, out, p->type->length);
    if (is_a(p, STREAM)) {
        struct slice about[3] = {SLICE("XINFO"), SLICE("STREAM"), chunks_key(p)};
        resp_write_command(out, 3, about);
        about[1] = SLICE("GROUPS");
        resp_write_command(out, 3, about);
        requests += 2;
    }
    buf_add(out, SLICE("*1\r\n$4\r\nEXEC\r\n"));
    return requests + 2;
}

static void ask_range(const struct chunks *p, struct buf *out, uint64_t count) {
    char from[24], to[24];
    (void)snprintf(from, sizeof from, "%" PRIu64, p->cursor);
    (void)snprintf(to, sizeof to, "%" PRIu64, p->cursor + count - 1);
    struct slice argv[4] = {slice_text(p->type->ask), chunks_key(p), slice_text(from),
                            slice_text(to)};
    resp_write_command(out, 4, argv);
}

static void ask_scan(const struct chunks *p, struct buf *out) {
    char cursor[24], count[24];
    (void)snprintf(cursor, sizeof cursor, "%" PRIu64, p->cursor);
    (void)snprintf(count, sizeof count, "%" PRIu64, p->count);
    struct slice argv[5] = {slice_text(p->type->ask), chunks_key(p), slice_text(cursor),
                            SLICE("COUNT"), slice_text(count)};
    resp_write_command(out, 5, argv);
}

static void ask_elements(const struct chunks *p, struct buf *out) {
    if (is_a(p, STREAM))
        chunks_stream_ask_entries(p, out);
    else if (p->type->scans)
        ask_scan(p, out);
    else
        ask_range(p, out, is_a(p, STRING) ? p->chunk_bytes : p->count);
}

uint32_t chunks_ask(const struct chunks *p, struct buf *out) {
    switch (p->at) {
    case CHUNKS_AT_TYPE: ask_one(p, out, "TYPE"); break;
    case CHUNKS_AT_FIELDS: {
        struct slice argv[5] = {SLICE("HPEXPIRETIME"), chunks_key(p), SLICE("FIELDS"), SLICE("1"),
                                SLICE("f")};
        resp_write_command(out, 5, argv);
        break;
    }
    case CHUNKS_AT_BEFORE:
    case CHUNKS_AT_AFTER: return ask_state(p, out);
    case CHUNKS_AT_PENDING: chunks_stream_ask_pending(p, out); break;
    case CHUNKS_AT_CONSUMERS: chunks_stream_ask_consumers(p, out); break;
    case CHUNKS_AT_ELEMENTS: ask_elements(p, out); break;
    default: UNREACHABLE("chunks_at");
    }
    return 1;
}

size_t chunks_limit(const struct chunks *p) {
    bool cuts = p->at == CHUNKS_AT_ELEMENTS && !is_a(p, STRING) && p->count > 1;
    return cuts ? 4 * p->chunk_bytes + 1024 : 0;
}

void chunks_less(struct chunks *p) {
    p->count = p->count > 8 ? p->count / 8 : 1;
}

/* ---- what is answered ---- */

static enum chunks_said on_type(struct chunks *p, struct slice answer) {
    struct resp_token t;
    if (!reply_token(&answer, &t) || t.kind != RESP_SIMPLE) return CHUNKS_CHANGED;
    if (slice_equal(t.text, SLICE("none"))) return CHUNKS_CHANGED;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_equal(t.text, slice_text(types[i].name))) p->type = &types[i];
    if (p->type == NULL) return CHUNKS_CANNOT; /* a module's */
    bool fields = is_a(p, HASH) && p->primary_version >= MAY_HAVE_FIELDS;
    p->at = fields ? CHUNKS_AT_FIELDS : CHUNKS_AT_BEFORE;
    return CHUNKS_MORE;
}

/* Only a server that does not know the command surely has no such fields. */
static enum chunks_said on_fields(struct chunks *p, struct slice answer) {
    if (!slice_starts(answer, SLICE("-ERR unknown command"))) return CHUNKS_CANNOT;
    p->at = CHUNKS_AT_BEFORE;
    return CHUNKS_MORE;
}

static bool take_time(struct slice *rest, int64_t *now_ms) {
    int64_t items = 0, seconds = 0, micros = 0;
    struct slice text;
    if (!reply_items(rest, &items) || items != 2) return false;
    if (!reply_text(rest, &text) || !slice_to_int(text, &seconds)) return false;
    if (!reply_text(rest, &text) || !slice_to_int(text, &micros)) return false;
    if (seconds < 0 || seconds > INT64_MAX / 2000 || micros < 0 || micros >= 1000000) return false;
    *now_ms = seconds * 1000 + micros / 1000;
    return true;
}

/* REST is then what XINFO told. False: not understood, or there is no such key. */
static bool take_state(const struct chunks *p, struct slice answer, int64_t *length,
                       int64_t *deadline_ms, struct slice *rest) {
    bool modern = p->primary_version >= HAS_PEXPIRETIME;
    int64_t wanted = (modern ? 2 : 3) + (is_a(p, STREAM) ? 2 : 0), items = 0, now_ms = 0, when = 0;
    struct resp_token t;
    for (int64_t i = 0; i <= wanted; i++) /* +OK, +QUEUED ... */
        if (!reply_token(&answer, &t) || t.kind != RESP_SIMPLE) return false;
    if (!reply_items(&answer, &items) || items != wanted) return false;
    if (!modern && !take_time(&answer, &now_ms)) return false;
    if (!reply_int(&answer, &when) || when < -1) return false;
    if (!reply_int(&answer, length) || *length < 0) return false;
    if (!modern && when >= 0) when = when > INT64_MAX - now_ms ? INT64_MAX - 1 : when + now_ms;
    *deadline_ms = when == -1 ? 0 : when > 0 ? when : 1;
    *rest = answer;
    return true;
}

/* Whether it comes as maps or as arrays is another client's choice, and may change. */
static uint64_t hash_of(struct slice rest) {
    struct resp_token t;
    uint64_t hash = 0;
    while (reply_token(&rest, &t)) {
        hash = XXH3_64bits_withSeed(&t.number, sizeof t.number, hash);
        hash = XXH3_64bits_withSeed(t.text.data, t.text.size, hash);
    }
    return hash;
}

static void request(struct buf *out, uint32_t *requests, const struct chunks *p,
                    const char *verb) {
    ask_one(p, out, verb);
    ++*requests;
}

static enum chunks_said on_before(struct chunks *p, struct slice answer, struct buf *out,
                                  uint32_t *requests) {
    struct slice rest;
    if (!take_state(p, answer, &p->length, &p->deadline_ms, &rest)) return CHUNKS_CHANGED;
    p->about = hash_of(rest);
    request(out, requests, p, "UNLINK");
    p->at = CHUNKS_AT_ELEMENTS;
    if (!is_a(p, STREAM)) return CHUNKS_MORE;
    if (!chunks_stream_begin(p, rest)) return CHUNKS_CHANGED;
    chunks_stream_next_group(p, out, requests);
    return CHUNKS_MORE;
}

static void add_deadline(const struct chunks *p, struct buf *out, uint32_t *requests) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, p->deadline_ms);
    struct slice argv[3] = {SLICE("PEXPIREAT"), chunks_key(p), slice_text(text)};
    resp_write_command(out, 3, argv);
    ++*requests;
}

static enum chunks_said on_after(struct chunks *p, struct slice answer, struct buf *out,
                                 uint32_t *requests) {
    struct slice rest;
    int64_t length = 0;
    if (!take_state(p, answer, &length, &p->deadline_ms, &rest)) return CHUNKS_CHANGED;
    if (length != p->length || hash_of(rest) != p->about) return CHUNKS_CHANGED;
    request(out, requests, p, p->type->length);
    if (is_a(p, STREAM) && !chunks_stream_end(p, rest, out, requests)) return CHUNKS_CHANGED;
    if (p->deadline_ms != 0) add_deadline(p, out, requests);
    return CHUNKS_DONE;
}

/* ---- elements ---- */

static bool on_string(struct chunks *p, struct slice answer, struct buf *out, uint32_t *requests) {
    struct slice text;
    uint64_t left = (uint64_t)p->length - p->cursor;
    if (!reply_text(&answer, &text)) return false;
    if (text.size != (left < p->chunk_bytes ? left : p->chunk_bytes)) return false;
    struct slice argv[3] = {p->cursor == 0 ? SLICE("SET") : SLICE("APPEND"), chunks_key(p), text};
    resp_write_command(out, 3, argv);
    ++*requests;
    p->cursor += text.size;
    p->cursor_ended = p->cursor == (uint64_t)p->length;
    p->had = p->cursor;
    return true;
}

static void add_head(const struct chunks *p, struct buf *out, size_t arguments) {
    resp_write_array(out, 2 + arguments);
    resp_write_text(out, p->type->add);
    resp_write_bulk(out, chunks_key(p));
}

static bool on_list(struct chunks *p, struct slice answer, struct buf *out, uint32_t *requests) {
    int64_t items = 0;
    struct slice text;
    uint64_t left = (uint64_t)p->length - p->cursor, wanted = left < p->count ? left : p->count;
    if (!reply_items(&answer, &items) || items <= 0 || (uint64_t)items != wanted) return false;
    add_head(p, out, (size_t)items);
    for (int64_t i = 0; i < items; i++) {
        if (!reply_text(&answer, &text)) return false;
        resp_write_bulk(out, text);
    }
    ++*requests;
    p->cursor += wanted;
    p->cursor_ended = p->cursor == (uint64_t)p->length;
    p->had = p->cursor;
    return true;
}

static bool take_cursor(struct slice *rest, uint64_t *cursor) {
    struct slice text;
    char digits[24];
    if (!reply_text(rest, &text) || text.size == 0 || text.size >= sizeof digits) return false;
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    errno = 0;
    *cursor = strtoull(digits, NULL, 10);
    return errno == 0;
}

static bool on_scan(struct chunks *p, struct slice answer, struct buf *out, uint32_t *requests) {
    int64_t two = 0, items = 0;
    struct slice first, second = {0};
    if (!reply_items(&answer, &two) || two != 2 || !take_cursor(&answer, &p->cursor)) return false;
    if (!reply_items(&answer, &items) || (p->type->pairs && items % 2 != 0)) return false;
    if (items > 0) add_head(p, out, (size_t)items);
    for (int64_t i = 0; i < items; i += p->type->pairs ? 2 : 1) {
        if (!reply_text(&answer, &first)) return false;
        if (p->type->pairs && !reply_text(&answer, &second)) return false;
        if (is_a(p, ZSET)) resp_write_bulk(out, second); /* ZADD wants the score first */
        resp_write_bulk(out, first);
        if (is_a(p, HASH)) resp_write_bulk(out, second);
    }
    if (items > 0) ++*requests;
    p->had += (uint64_t)items / (p->type->pairs ? 2 : 1);
    p->cursor_ended = p->cursor == 0;
    return true;
}

static enum chunks_said on_elements(struct chunks *p, struct slice answer, struct buf *out,
                                    uint32_t *requests) {
    bool fine = is_a(p, STRING)   ? on_string(p, answer, out, requests)
                : is_a(p, LIST)   ? on_list(p, answer, out, requests)
                : is_a(p, STREAM) ? chunks_stream_entries(p, answer, out, requests)
                                  : on_scan(p, answer, out, requests);
    if (!fine) return CHUNKS_CHANGED;
    if (p->cursor_ended) p->at = CHUNKS_AT_AFTER;
    if (answer.size < p->chunk_bytes / 2 && p->count < COUNT_MAX) p->count *= 2;
    if (answer.size > 2 * p->chunk_bytes && p->count > 1) p->count /= 2;
    return CHUNKS_MORE;
}

enum chunks_said chunks_take(struct chunks *p, struct slice answer, struct buf *out,
                             uint32_t *requests) {
    switch (p->at) {
    case CHUNKS_AT_TYPE: return on_type(p, answer);
    case CHUNKS_AT_FIELDS: return on_fields(p, answer);
    case CHUNKS_AT_BEFORE: return on_before(p, answer, out, requests);
    case CHUNKS_AT_PENDING:
        return chunks_stream_pending(p, answer, out, requests) ? CHUNKS_MORE : CHUNKS_CHANGED;
    case CHUNKS_AT_CONSUMERS:
        return chunks_stream_consumers(p, answer, out, requests) ? CHUNKS_MORE : CHUNKS_CHANGED;
    case CHUNKS_AT_ELEMENTS: return on_elements(p, answer, out, requests);
    case CHUNKS_AT_AFTER: return on_after(p, answer, out, requests);
    default: UNREACHABLE("chunks_at");
    }
}
