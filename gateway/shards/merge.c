/* merge.c -- the answers of several nodes made into one. See merge.h. */
#include "gateway/shards/merge.h"

#include "lib/redis/resp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NODE_BITS 9u

static const struct slice not_understood =
    {(const uint8_t *)"-ERR drawbridge: an answer of a node was not understood\r\n", 57};

static bool take(struct slice *rest, struct resp_token *t) {
    struct why why;
    size_t used = 0;
    if (resp_next(&resp_limits_server, *rest, t, &used, &why) != STEP_DONE) return false;
    *rest = slice_drop(*rest, used);
    return true;
}

static void merge_numbers(bool sum, size_t count, const struct slice *answers, struct buf *out) {
    int64_t number = 0;
    for (size_t i = 0; i < count; i++) {
        struct resp_token t;
        struct slice rest = answers[i];
        if (!take(&rest, &t) || t.kind != RESP_INT || t.number < 0 || t.number > INT64_MAX / 1024) {
            buf_add(out, not_understood);
            return;
        }
        if (sum)
            number += t.number;
        else if (i == 0 || t.number < number)
            number = t.number;
    }
    resp_write_int(out, number);
}

static void merge_arrays(size_t count, const struct slice *answers, struct buf *out) {
    struct buf items = {0};
    size_t sum = 0;
    bool fine = true;
    for (size_t i = 0; i < count && fine; i++) {
        struct resp_token t;
        struct slice rest = answers[i];
        fine = take(&rest, &t) && t.kind == RESP_ARRAY;
        if (!fine) break;
        sum += (size_t)t.number;
        buf_add(&items, rest);
    }
    if (fine) {
        resp_write_array(out, sum);
        buf_add(out, buf_slice(&items));
    } else {
        buf_add(out, not_understood);
    }
    buf_close(&items);
}

static uint64_t field(struct slice line, const char *name) {
    const uint8_t *at = memmem(line.data, line.size, name, strlen(name));
    uint64_t value = 0;
    if (at == NULL) return 0;
    for (at += strlen(name); at < line.data + line.size && *at >= '0' && *at <= '9'; at++)
        if (value < UINT64_MAX / 100) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

/* "db0:keys=9,expires=1,avg_ttl=70" */
static void merge_keyspace(size_t count, const struct slice *answers, struct buf *out) {
    uint64_t keys = 0, expires = 0;
    char text[160];
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = answers[i].size > 0
                                ? memmem(answers[i].data, answers[i].size, "\ndb0:", 5)
                                : NULL;
        if (at == NULL) continue;
        struct slice line = slice_drop(answers[i], (size_t)(at - answers[i].data) + 1);
        const uint8_t *end = memchr(line.data, '\n', line.size);
        if (end != NULL) line = slice_take(line, (size_t)(end - line.data));
        keys += field(line, "keys=");
        expires += field(line, "expires=");
    }
    int size = snprintf(text, sizeof text, "# Keyspace\r\n");
    if (keys > 0)
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", keys, expires);
    resp_write_bulk(out, slice_from(text, (size_t)size));
}

void shards_merge(enum shards_merge how, size_t count, const struct slice *answers, struct buf *out,
                  bool *split) {
    size_t errors = 0, first = 0;
    for (size_t i = 0; i < count; i++)
        if (answers[i].size > 0 && (answers[i].data[0] == '-' || answers[i].data[0] == '!'))
            if (errors++ == 0) first = i;
    *split = errors > 0 && errors < count;
    if (errors > 0 || how == SHARDS_MERGE_FIRST) {
        buf_add(out, answers[first]);
        return;
    }
    switch (how) {
    case SHARDS_MERGE_SUM: merge_numbers(true, count, answers, out); break;
    case SHARDS_MERGE_MIN: merge_numbers(false, count, answers, out); break;
    case SHARDS_MERGE_ARRAYS: merge_arrays(count, answers, out); break;
    case SHARDS_MERGE_KEYSPACE: merge_keyspace(count, answers, out); break;
    case SHARDS_MERGE_FIRST:
    default: UNREACHABLE("merge");
    }
}

static bool number_of(struct slice text, uint64_t *number) {
    char digits[24];
    if (text.size == 0 || text.size >= sizeof digits) return false;
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    for (size_t i = 0; i < text.size; i++)
        if (digits[i] < '0' || digits[i] > '9') return false;
    errno = 0;
    *number = strtoull(digits, NULL, 10);
    return errno == 0;
}

bool shards_cursor_read(struct slice text, uint64_t *cursor, unsigned *node) {
    uint64_t number = 0;
    if (!number_of(text, &number)) return false;
    *cursor = number >> NODE_BITS;
    *node = (unsigned)(number & ((1u << NODE_BITS) - 1));
    return true;
}

void shards_scan_answer(struct slice reply, unsigned node, int next, struct buf *out) {
    struct slice rest = reply;
    struct resp_token head, cursor;
    uint64_t number = 0;
    bool fine = take(&rest, &head) && head.kind == RESP_ARRAY && head.number == 2 &&
                take(&rest, &cursor) && cursor.kind == RESP_BULK &&
                number_of(cursor.text, &number) && number < UINT64_MAX >> NODE_BITS;
    if (!fine) {
        buf_add(out, reply);
        return;
    }
    if (number == 0 && next >= 0)
        number = (uint64_t)next;
    else if (number != 0)
        number = number << NODE_BITS | node;
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    resp_write_array(out, 2);
    resp_write_text(out, text);
    buf_add(out, rest);
}
