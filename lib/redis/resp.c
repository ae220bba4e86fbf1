/* resp.c -- read RESP one token, one reply or one request at a time. See resp.h. */
#include "lib/redis/resp.h"

#include "lib/base/mem.h"

#include <stdlib.h>

#define CRLF_BYTES 2

const struct resp_limits resp_limits_server = {
    .line_bytes_max = 1u << 20, .bulk_bytes_max = 512u << 20, .items_max = 64u << 20};

/* Find "\r\n". The line excludes it. */
static enum step read_line(struct slice bytes, size_t limit, struct slice *line, struct why *why) {
    size_t window = bytes.size < limit ? bytes.size : limit;
    const uint8_t *end = window ? memchr(bytes.data, '\n', window) : NULL;
    if (end == NULL) {
        if (bytes.size < limit) return STEP_MORE;
        why_set(why, ERR_LIMIT, "line of more than %zu bytes", limit);
        return STEP_FAIL;
    }
    size_t size = (size_t)(end - bytes.data);
    if (size == 0 || bytes.data[size - 1] != '\r') {
        why_set(why, ERR_PROTO, "line does not end in CRLF");
        return STEP_FAIL;
    }
    *line = slice_from(bytes.data, size - 1);
    return STEP_DONE;
}

/* Parse a length: -1 means null, anything else must be 0..MAX. */
static enum step read_count(struct slice text, size_t max, int64_t *count, struct why *why) {
    if (!slice_to_int(text, count) || *count < -1) {
        why_set(why, ERR_PROTO, "bad length");
        return STEP_FAIL;
    }
    if (*count > 0 && (uint64_t)*count > max) {
        why_set(why, ERR_LIMIT, "length %lld is over the limit of %zu", (long long)*count, max);
        return STEP_FAIL;
    }
    return STEP_DONE;
}

static bool read_double(struct slice text, double *number) {
    char copy[64];
    if (text.size == 0 || text.size >= sizeof copy) return false;
    if ((text.data[0] < '0' || text.data[0] > '9') && strchr("+-.inIN", text.data[0]) == NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    char *end = NULL;
    *number = strtod(copy, &end);
    return end == copy + text.size;
}

static enum step bad(struct why *why, const char *what) {
    why_set(why, ERR_PROTO, "%s", what);
    return STEP_FAIL;
}

/* Kinds by their first byte; RESP_KINDS where there is none. */
static enum resp_kind kind_of(uint8_t byte) {
    switch (byte) {
    case '+': return RESP_SIMPLE;
    case '-': return RESP_ERROR;
    case ':': return RESP_INT;
    case '$': return RESP_BULK;
    case '_': return RESP_NULL;
    case '*': return RESP_ARRAY;
    case ',': return RESP_DOUBLE;
    case '#': return RESP_BOOL;
    case '(': return RESP_BIG;
    case '!': return RESP_BLOB_ERROR;
    case '=': return RESP_VERBATIM;
    case '%': return RESP_MAP;
    case '~': return RESP_SET;
    case '>': return RESP_PUSH;
    case '|': return RESP_ATTRIBUTE;
    default: return RESP_KINDS;
    }
}

/* The head of a token: its line, without the body of a string. A string's length comes back in
 * token->number, -1 for null. */
static enum step read_head(const struct resp_limits *limits, struct slice bytes,
                           struct resp_token *token, size_t *head_bytes, struct why *why) {
    struct slice line = {0};
    enum step step = read_line(bytes, limits->line_bytes_max, &line, why);
    if (step != STEP_DONE) return step;
    if (line.size == 0) return bad(why, "empty line");
    struct slice text = slice_drop(line, 1);
    struct resp_token read = {.kind = kind_of(line.data[0])};
    switch (read.kind) {
    case RESP_SIMPLE:
    case RESP_ERROR: read.text = text; break;
    case RESP_INT:
        if (!slice_to_int(text, &read.number)) return bad(why, "bad integer");
        break;
    case RESP_NULL:
        if (text.size != 0) return bad(why, "bad null");
        break;
    case RESP_DOUBLE:
        read.text = text;
        if (!read_double(text, &read.real)) return bad(why, "bad double");
        break;
    case RESP_BOOL:
        if (text.size != 1 || (text.data[0] != 't' && text.data[0] != 'f'))
            return bad(why, "bad boolean");
        read.number = text.data[0] == 't';
        break;
    case RESP_BIG:
        if (text.size == 0) return bad(why, "bad number");
        read.text = text;
        break;
    case RESP_BULK:
    case RESP_BLOB_ERROR:
    case RESP_VERBATIM:
        step = read_count(text, limits->bulk_bytes_max, &read.number, why);
        if (step != STEP_DONE) return step;
        if (read.number < (read.kind == RESP_VERBATIM ? 4 : read.kind == RESP_BULK ? -1 : 0))
            return bad(why, "bad length");
        break;
    case RESP_ARRAY:
    case RESP_MAP:
    case RESP_SET:
    case RESP_PUSH:
    case RESP_ATTRIBUTE:
        step = read_count(text, limits->items_max, &read.number, why);
        if (step != STEP_DONE) return step;
        if (read.number == -1) {
            if (read.kind != RESP_ARRAY) return bad(why, "bad length");
            read = (struct resp_token){.kind = RESP_NULL};
        }
        if (read.kind == RESP_MAP || read.kind == RESP_ATTRIBUTE) read.number *= 2;
        break;
    case RESP_KINDS:
    default: why_set(why, ERR_PROTO, "unknown type byte 0x%02x", line.data[0]); return STEP_FAIL;
    }
    *token = read;
    *head_bytes = line.size + CRLF_BYTES;
    return STEP_DONE;
}

static bool has_body(enum resp_kind kind) {
    return kind == RESP_BULK || kind == RESP_BLOB_ERROR || kind == RESP_VERBATIM;
}

static bool has_children(enum resp_kind kind) {
    return kind == RESP_ARRAY || kind == RESP_MAP || kind == RESP_SET || kind == RESP_PUSH ||
           kind == RESP_ATTRIBUTE;
}

static enum step read_body(struct slice bytes, size_t head_bytes, struct resp_token *token,
                           size_t *used_bytes, struct why *why) {
    size_t size = (size_t)token->number;
    if (bytes.size - head_bytes < size + CRLF_BYTES) return STEP_MORE;
    const uint8_t *body = bytes.data + head_bytes;
    if (memcmp(body + size, "\r\n", CRLF_BYTES) != 0)
        return bad(why, "bulk string does not end in CRLF");
    token->text = slice_from(body, size);
    token->number = 0;
    if (token->kind == RESP_VERBATIM) {
        if (body[3] != ':') return bad(why, "bad verbatim string");
        token->text = slice_drop(token->text, 4);
    }
    *used_bytes = head_bytes + size + CRLF_BYTES;
    return STEP_DONE;
}

/* "$12\r\n...\r\n", all there and of at most four digits: nearly every string. False: look closely. */
static bool read_short(const struct resp_limits *limits, struct slice bytes, struct slice *text,
                       size_t *used_bytes) {
    size_t at = 1, size = 0, stop = bytes.size < 5 ? bytes.size : 5;
    if (bytes.size < 6 || bytes.data[0] != '$') return false;
    while (at < stop && bytes.data[at] >= '0' && bytes.data[at] <= '9')
        size = size * 10 + (size_t)(bytes.data[at++] - '0');
    if (at == 1 || (bytes.data[1] == '0' && at > 2) || size > limits->bulk_bytes_max) return false;
    if (bytes.size - at < size + 2 * CRLF_BYTES) return false;
    const uint8_t *body = bytes.data + at + CRLF_BYTES;
    if (memcmp(body - CRLF_BYTES, "\r\n", CRLF_BYTES) != 0) return false;
    if (memcmp(body + size, "\r\n", CRLF_BYTES) != 0) return false;
    *text = slice_from(body, size);
    *used_bytes = at + size + 2 * CRLF_BYTES;
    return true;
}

enum step resp_next(const struct resp_limits *limits, struct slice bytes, struct resp_token *token,
                    size_t *used_bytes, struct why *why) {
    struct resp_token read = {.kind = RESP_BULK};
    size_t head_bytes = 0;
    if (read_short(limits, bytes, &read.text, used_bytes)) {
        *token = read;
        return STEP_DONE;
    }
    enum step step = read_head(limits, bytes, &read, &head_bytes, why);
    if (step != STEP_DONE) return step;
    if (has_body(read.kind)) {
        if (read.number == -1) {
            read = (struct resp_token){.kind = RESP_NULL};
        } else {
            size_t used = 0;
            step = read_body(bytes, head_bytes, &read, &used, why);
            if (step != STEP_DONE) return step;
            head_bytes = used;
        }
    }
    *token = read;
    *used_bytes = head_bytes;
    ASSERT(*used_bytes > 0 && *used_bytes <= bytes.size);
    return STEP_DONE;
}

/* Let the body of a string pass; its last two bytes must be CRLF. */
static enum step skip_body(struct resp_skip *skip, struct slice bytes, size_t *at,
                           struct why *why) {
    while (skip->left_bytes > 0 && *at < bytes.size) {
        if (skip->left_bytes > CRLF_BYTES) {
            uint64_t body = skip->left_bytes - CRLF_BYTES;
            size_t here = bytes.size - *at;
            size_t taken = body < here ? (size_t)body : here;
            *at += taken;
            skip->left_bytes -= taken;
            continue;
        }
        if (bytes.data[*at] != (skip->left_bytes == 2 ? '\r' : '\n'))
            return bad(why, "bulk string does not end in CRLF");
        *at += 1;
        skip->left_bytes--;
    }
    return skip->left_bytes == 0 ? STEP_DONE : STEP_MORE;
}

/* The most common replies are one short line or one string: `+OK`, `:1`, `$3`. */
enum step resp_skip_next(struct resp_skip *skip, const struct resp_limits *limits,
                         struct slice bytes, size_t *used_bytes, struct why *why) {
    size_t at = 0;
    *used_bytes = 0;
    if (!skip->open) {
        if (bytes.size == 0) return STEP_MORE;
        if (bytes.size >= 5 && memcmp(bytes.data, "+OK\r\n", 5) == 0) {
            *skip = (struct resp_skip){.items = 1, .first = '+'};
            *used_bytes = 5;
            return STEP_DONE;
        }
        struct slice text;
        if (limits->items_max > 0 && read_short(limits, bytes, &text, used_bytes)) {
            *skip = (struct resp_skip){.items = 1, .first = '$'};
            return STEP_DONE;
        }
        *skip = (struct resp_skip){.open = true, .left_items = 1, .first = bytes.data[0]};
    }
    for (;;) {
        if (skip->left_bytes > 0) {
            enum step step = skip_body(skip, bytes, &at, why);
            *used_bytes = at;
            if (step != STEP_DONE) return step;
        }
        if (skip->left_items == 0) break;
        struct resp_token token;
        size_t head = 0;
        enum step step = read_head(limits, slice_drop(bytes, at), &token, &head, why);
        if (step != STEP_DONE) return step;
        at += head;
        *used_bytes = at;
        if (token.kind != RESP_ATTRIBUTE) skip->left_items--;
        if (has_body(token.kind) && token.number >= 0)
            skip->left_bytes = (uint64_t)token.number + CRLF_BYTES;
        if (has_children(token.kind)) skip->left_items += (uint64_t)token.number;
        skip->items++;
        if (skip->items + skip->left_items > limits->items_max) {
            why_set(why, ERR_LIMIT, "a reply of more than %zu elements", limits->items_max);
            return STEP_FAIL;
        }
    }
    skip->open = false;
    return STEP_DONE;
}
