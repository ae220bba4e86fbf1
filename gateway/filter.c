/* filter.c -- take our own keys out of replies that list keys. See filter.h. */
#include "gateway/filter.h"

#include "lib/redis/resp.h"

struct slice filter_exists_request(void) {
    return SLICE("*3\r\n$6\r\nEXISTS\r\n$29\r\ndrawbridge:checkpoint:forward\r\n"
                 "$29\r\ndrawbridge:checkpoint:reverse\r\n");
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
