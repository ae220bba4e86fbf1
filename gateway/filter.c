/* filter.c -- take our own keys out of replies that list keys. See filter.h. */
#include "gateway/filter.h"

#include "lib/base/check.h"
#include "lib/redis/resp.h"

struct slice filter_exists_request(void) {
    return SLICE("*4\r\n$6\r\nEXISTS\r\n$29\r\ndrawbridge:checkpoint:forward\r\n"
                 "$29\r\ndrawbridge:checkpoint:reverse\r\n"
                 "$27\r\ndrawbridge:checkpoint:lanes\r\n");
}

bool filter_is_hidden(struct slice key) {
    return slice_starts(key, SLICE("drawbridge:checkpoint")) ||
           slice_starts(key, SLICE("drawbridge:marker"));
}

static bool next(struct slice *bytes, struct resp_token *token) {
    struct why why;
    size_t used = 0;
    if (resp_next(&resp_limits_server, *bytes, token, &used, &why) != STEP_DONE) return false;
    *bytes = slice_drop(*bytes, used);
    return true;
}

/* An array (or set) of strings at the front of BYTES goes to OUT; false when it is not one. */
static bool copy_keys(struct slice *bytes, struct buf *out) {
    struct resp_token head, key;
    if (!next(bytes, &head) || (head.kind != RESP_ARRAY && head.kind != RESP_SET)) return false;
    struct slice scan = *bytes;
    int64_t kept = 0;
    for (int64_t i = 0; i < head.number; i++) {
        if (!next(&scan, &key) || key.kind != RESP_BULK) return false;
        if (!filter_is_hidden(key.text)) kept++;
    }
    if (head.kind == RESP_SET)
        resp_write_set(out, 3, (size_t)kept);
    else
        resp_write_array(out, (size_t)kept);
    if (kept == head.number) {
        buf_append(out, bytes->data, (size_t)(scan.data - bytes->data));
        *bytes = scan;
        return true;
    }
    for (int64_t i = 0; i < head.number; i++) {
        if (!next(bytes, &key)) return false;
        if (!filter_is_hidden(key.text)) resp_write_bulk(out, key.text);
    }
    return true;
}

void filter_keys(struct slice reply, struct buf *out) {
    struct slice bytes = reply;
    struct buf kept = {0};
    if (copy_keys(&bytes, &kept))
        buf_add(out, buf_slice(&kept));
    else
        buf_add(out, reply);
    buf_close(&kept);
}

void filter_scan(struct slice reply, struct buf *out) {
    struct slice bytes = reply;
    struct resp_token head, cursor;
    struct buf kept = {0};
    bool fine = next(&bytes, &head) && head.kind == RESP_ARRAY && head.number == 2 &&
                next(&bytes, &cursor) && cursor.kind == RESP_BULK;
    if (fine) {
        resp_write_array(&kept, 2);
        resp_write_bulk(&kept, cursor.text);
        fine = copy_keys(&bytes, &kept);
    }
    buf_add(out, fine ? buf_slice(&kept) : reply);
    buf_close(&kept);
}

void filter_dbsize(struct slice replies, struct buf *out) {
    struct slice bytes = replies;
    struct resp_token all, hidden;
    if (!next(&bytes, &all)) return;
    size_t first = replies.size - bytes.size;
    if (all.kind == RESP_INT && next(&bytes, &hidden) && hidden.kind == RESP_INT &&
        hidden.number <= all.number)
        resp_write_int(out, all.number - hidden.number);
    else
        buf_add(out, slice_take(replies, first));
}

bool filter_is_hidden_reply(struct slice reply) {
    struct resp_token token;
    return next(&reply, &token) && token.kind == RESP_BULK && filter_is_hidden(token.text);
}

/* ---- EXEC ---- */
uint32_t filter_rule_elements(enum filter_kind kind) {
    if (kind == FILTER_DBSIZE) return 2;
    return kind == FILTER_RANDOMKEY ? FILTER_RANDOMKEY_TRIES : 1;
}

/* The next whole reply of any nesting is cut off BYTES. */
static bool cut(struct slice *bytes, struct slice *reply) {
    struct resp_skip skip = {0};
    struct why why;
    size_t used = 0;
    if (resp_skip_next(&skip, &resp_limits_server, *bytes, &used, &why) != STEP_DONE) return false;
    *reply = slice_take(*bytes, used);
    *bytes = slice_drop(*bytes, used);
    return true;
}

/* The first that is not ours; none: there is nothing else, or so it seems. */
static void pick_randomkey(struct slice elements, bool hides, unsigned proto, struct buf *out) {
    struct slice one;
    while (cut(&elements, &one)) {
        if (hides && filter_is_hidden_reply(one)) continue;
        buf_add(out, one);
        return;
    }
    resp_write_null(out, (int)proto);
}

static void filter_element(struct slice elements, const struct filter_rule *rule, unsigned proto,
                           int32_t *db, struct buf *out) {
    bool hides = *db == 0;
    struct slice rest = elements, first;
    if (!cut(&rest, &first)) return; /* the caller has cut it already */
    switch (rule->kind) {
    case FILTER_KEYS:
    case FILTER_SCAN:
        if (!hides)
            buf_add(out, first);
        else if (rule->kind == FILTER_KEYS)
            filter_keys(first, out);
        else
            filter_scan(first, out);
        break;
    case FILTER_DBSIZE: filter_dbsize(hides ? elements : first, out); break;
    case FILTER_RANDOMKEY: pick_randomkey(elements, hides, proto, out); break;
    case FILTER_SELECT:
        if (first.data[0] == '+') *db = rule->db;
        buf_add(out, first);
        break;
    default: UNREACHABLE("filter kind");
    }
}

/* The elements of an array of COUNT_SENT, behind its head. */
static bool filter_elements(struct slice bytes, uint32_t sent, const struct filter_rule *rules,
                            size_t count, unsigned proto, int32_t *db, struct buf *out) {
    const struct filter_rule *rule = rules, *end = rules + count;
    for (uint32_t at = 0; at < sent;) {
        bool ruled = rule < end && rule->at == at;
        uint32_t elements = ruled ? filter_rule_elements(rule->kind) : 1;
        struct slice from = bytes, one;
        for (uint32_t i = 0; i < elements; i++)
            if (!cut(&bytes, &one)) return false;
        struct slice whole = slice_take(from, from.size - bytes.size);
        if (ruled)
            filter_element(whole, rule++, proto, db, out);
        else
            buf_add(out, whole);
        at += elements;
    }
    return rule == end && bytes.size == 0;
}

void filter_exec(struct slice reply, const struct filter_rule *rules, size_t count, unsigned proto,
                 int32_t *db, struct buf *out) {
    struct slice bytes = reply;
    struct resp_token head;
    struct buf made = {0};
    int32_t after = *db;
    int64_t extra = 0;
    for (size_t i = 0; i < count; i++) extra += filter_rule_elements(rules[i].kind) - 1;
    bool fine = next(&bytes, &head) && head.kind == RESP_ARRAY && head.number >= extra &&
                head.number <= UINT32_MAX;
    if (fine) {
        resp_write_array(&made, (size_t)(head.number - extra));
        fine = filter_elements(bytes, (uint32_t)head.number, rules, count, proto, &after, &made);
    }
    if (fine) *db = after;
    buf_add(out, fine ? buf_slice(&made) : reply);
    buf_close(&made);
}
