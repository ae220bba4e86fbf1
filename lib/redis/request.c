/* request.c -- read requests as clients send them. See resp.h. */
#include "lib/base/mem.h"
#include "lib/redis/resp.h"

#include <ctype.h>

/* A head line ("*3", "$5") and an inline command may be this long. (PROTO_INLINE_MAX_SIZE) */
#define LINE_BYTES_MAX (64u << 10)
#define BULK_UNREAD (-1)

const struct resp_request_limits resp_request_limits_open = {.args_max = 1u << 20,
                                                             .bulk_bytes_max = 512u << 20,
                                                             .total_bytes_max = 1u << 30,
                                                             .authenticated = true};
const struct resp_request_limits resp_request_limits_closed = {.args_max = 10,
                                                               .bulk_bytes_max = 16u << 10,
                                                               .total_bytes_max = 192u << 10,
                                                               .authenticated = false};

void resp_request_close(struct resp_request *request) {
    mem_free(request->argv);
    mem_free(request->spans);
    buf_close(&request->unquoted);
    *request = (struct resp_request){0};
}

static void request_reset(struct resp_request *request) {
    request->at = request->count = 0;
    request->want = 0;
    request->bulk = BULK_UNREAD;
}

/* Arguments that are announced cost nothing until they come. */
static void make_room(struct resp_request *request) {
    if (request->count < request->cap) return;
    request->cap = request->cap ? request->cap * 2 : 8;
    request->spans = mem_realloc(request->spans, request->cap * sizeof *request->spans);
    request->argv = mem_realloc(request->argv, request->cap * sizeof *request->argv);
}

static enum step fail(struct why *why, const char *words) {
    why_set(why, ERR_PROTO, "Protocol error: %s", words);
    return STEP_FAIL;
}

/* The number behind a one-byte mark, fast in the usual case of a few digits. */
static enum step read_number(struct slice bytes, size_t *at, int64_t *number, const char *too_big,
                             struct why *why) {
    size_t i = *at + 1;
    uint64_t sum = 0;
    size_t stop = bytes.size - i > 9 ? i + 9 : bytes.size;
    while (i < stop && bytes.data[i] >= '0' && bytes.data[i] <= '9')
        sum = sum * 10 + (uint64_t)(bytes.data[i++] - '0');
    bool plain = i == *at + 2 || (i > *at + 2 && bytes.data[*at + 1] != '0'); /* no leading zero */
    if (plain && i + 1 < bytes.size && bytes.data[i] == '\r' && bytes.data[i + 1] == '\n') {
        *number = (int64_t)sum;
        *at = i + 2;
        return STEP_DONE;
    }
    const uint8_t *from = bytes.data + *at;
    size_t left = bytes.size - *at;
    const uint8_t *end = memchr(from, '\r', left);
    if (end == NULL || (size_t)(end - from) + 1 >= left) {
        if (left > LINE_BYTES_MAX) return fail(why, too_big);
        return STEP_MORE;
    }
    if (!slice_to_int(slice_from(from + 1, (size_t)(end - from) - 1), number)) *number = INT64_MAX;
    if (end[1] != '\n') *number = INT64_MAX;
    *at += (size_t)(end - from) + 2;
    return STEP_DONE;
}

static enum step read_multibulk_head(struct resp_request *request,
                                     const struct resp_request_limits *limits, struct slice bytes,
                                     struct why *why) {
    int64_t count = 0;
    enum step step = read_number(bytes, &request->at, &count, "too big mbulk count string", why);
    if (step != STEP_DONE) return step;
    if (count > INT32_MAX) return fail(why, "invalid multibulk length");
    if (count > 0 && (uint64_t)count > limits->args_max)
        return fail(why, limits->authenticated ? "invalid multibulk length"
                                               : "unauthenticated multibulk length");
    request->want = count;
    request->bulk = BULK_UNREAD;
    return STEP_DONE;
}

static enum step read_bulk_head(struct resp_request *request,
                                const struct resp_request_limits *limits, struct slice bytes,
                                struct why *why) {
    if (request->at >= bytes.size) return STEP_MORE;
    uint8_t mark = bytes.data[request->at];
    if (mark != '$') {
        why_set(why, ERR_PROTO, "Protocol error: expected '$', got '%c'",
                isprint(mark) ? mark : '?');
        return STEP_FAIL;
    }
    int64_t size = 0;
    size_t at = request->at;
    enum step step = read_number(bytes, &at, &size, "too big bulk count string", why);
    if (step != STEP_DONE) return step;
    if (size < 0 || size == INT64_MAX) return fail(why, "invalid bulk length");
    if ((uint64_t)size > limits->bulk_bytes_max)
        return fail(why,
                    limits->authenticated ? "invalid bulk length" : "unauthenticated bulk length");
    if (at + (size_t)size + 2 > limits->total_bytes_max) return fail(why, "too big request");
    request->at = at;
    request->bulk = size;
    return STEP_DONE;
}

static void finish(struct resp_request *request, const uint8_t *base) {
    for (size_t i = 0; i < request->count; i++)
        request->argv[i] = slice_from(base + request->spans[i].at, request->spans[i].size);
    request->argc = request->count;
    request->size_bytes = request->at;
    request_reset(request);
}

static enum step read_multibulk(struct resp_request *request,
                                const struct resp_request_limits *limits, struct slice bytes,
                                struct why *why) {
    while ((int64_t)request->count < request->want) {
        if (request->bulk == BULK_UNREAD) {
            enum step step = read_bulk_head(request, limits, bytes, why);
            if (step != STEP_DONE) return step;
        }
        size_t size = (size_t)request->bulk;
        if (bytes.size - request->at < size + 2) return STEP_MORE;
        if (memcmp(bytes.data + request->at + size, "\r\n", 2) != 0)
            return fail(why, "invalid bulk length");
        make_room(request);
        request->spans[request->count++] = (struct resp_span){request->at, size};
        request->at += size + 2;
        request->bulk = BULK_UNREAD;
    }
    request->is_inline = false;
    finish(request, bytes.data);
    return STEP_DONE;
}

static enum step read_inline(struct resp_request *request, const struct resp_request_limits *limits,
                             struct slice bytes, struct why *why) {
    size_t max = limits->authenticated ? LINE_BYTES_MAX : limits->bulk_bytes_max;
    size_t window = bytes.size < max ? bytes.size : max;
    const uint8_t *end = memchr(bytes.data, '\n', window);
    if (end == NULL) return bytes.size >= max ? fail(why, "too big inline request") : STEP_MORE;
    size_t size = (size_t)(end - bytes.data);
    struct slice line = slice_take(bytes, size);
    if (size > 0 && line.data[size - 1] == '\r') line.size--;
    size_t words = line.size / 2 + 1; /* never more than that */
    if (words > limits->args_max) words = limits->args_max;
    while (request->cap < words) {
        request->count = request->cap;
        make_room(request);
    }
    buf_clear(&request->unquoted);
    enum err err =
        resp_split_line(line, &request->unquoted, request->spans, words, &request->count, why);
    if (err != OK) {
        if (err == ERR_LIMIT) return fail(why, "unauthenticated multibulk length");
        return fail(why, "unbalanced quotes in request");
    }
    request->at = size + 1;
    request->is_inline = true;
    finish(request, request->unquoted.data);
    return STEP_DONE;
}

/* "12\r\n" of at most four digits from P on, written as every Redis writes it. NULL: it is not. */
static const uint8_t *small_number(const uint8_t *p, const uint8_t *end, size_t *number) {
    size_t sum = 0;
    const uint8_t *from = p, *stop = end - p > 4 ? p + 4 : end;
    while (p < stop && *p >= '0' && *p <= '9') sum = sum * 10 + (size_t)(*p++ - '0');
    if (p == from || (*from == '0' && p - from > 1)) return NULL;
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n') return NULL;
    *number = sum;
    return p + 2;
}

#define FEW_WORDS 8u

/* Nearly every request: few words, short ones, and all there. False: nothing was done. */
static bool read_short(struct resp_request *request, const struct resp_request_limits *limits,
                       struct slice bytes) {
    const uint8_t *p = bytes.data + 1, *end = bytes.data + bytes.size;
    size_t count, size;
    if (bytes.data[0] != '*' || (p = small_number(p, end, &count)) == NULL) return false;
    if (count == 0 || count > FEW_WORDS || count > limits->args_max) return false;
    if (request->cap < FEW_WORDS) make_room(request);
    for (size_t i = 0; i < count; i++) {
        if (p == end || *p != '$' || (p = small_number(p + 1, end, &size)) == NULL) return false;
        if ((size_t)(end - p) < size + 2 || p[size] != '\r' || p[size + 1] != '\n') return false;
        request->argv[i] = slice_from(p, size);
        p += size + 2;
    }
    request->argc = count;
    request->size_bytes = (size_t)(p - bytes.data);
    request->is_inline = false;
    if (request->size_bytes > limits->total_bytes_max) return false;
    return true;
}

enum step resp_request_next(struct resp_request *request, const struct resp_request_limits *limits,
                            struct slice bytes, size_t *used_bytes, struct why *why) {
    if (bytes.size == 0) return STEP_MORE;
    enum step step;
    if (request->at == 0 && read_short(request, limits, bytes)) {
        *used_bytes = request->size_bytes;
        return STEP_DONE;
    }
    if (request->at == 0 && bytes.data[0] != '*') {
        step = read_inline(request, limits, bytes, why);
    } else {
        if (request->at == 0) {
            step = read_multibulk_head(request, limits, bytes, why);
            if (step != STEP_DONE) return step;
        }
        step = read_multibulk(request, limits, bytes, why);
    }
    if (step == STEP_DONE) *used_bytes = request->size_bytes;
    return step;
}

size_t resp_request_wants(const struct resp_request *request) {
    if (request->want <= 0 || request->bulk == BULK_UNREAD) return 0;
    return request->at + (size_t)request->bulk + 2;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* What stands behind a backslash inside double quotes; returns how many bytes it took. */
static size_t unescape(struct slice rest, struct buf *text) {
    if (rest.size >= 3 && rest.data[0] == 'x' && hex_digit(rest.data[1]) >= 0 &&
        hex_digit(rest.data[2]) >= 0) {
        buf_byte(text, (uint8_t)(hex_digit(rest.data[1]) * 16 + hex_digit(rest.data[2])));
        return 3;
    }
    uint8_t c = rest.data[0];
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *known = c ? strchr(from, c) : NULL;
    buf_byte(text, known ? (uint8_t)to[known - from] : c);
    return 1;
}

/* One word from position *AT; false when its quotes are not closed or are followed by text. */
static bool read_word(struct slice line, size_t *at, struct buf *text) {
    uint8_t quote = 0;
    for (size_t i = *at;; i++) {
        if (i >= line.size || (quote == 0 && line.data[i] == '\0')) {
            *at = i;
            return quote == 0;
        }
        uint8_t c = line.data[i];
        if (quote == 0 && isspace(c)) {
            *at = i;
            return true;
        }
        if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote == 0) {
            buf_byte(text, c);
        } else if (c == quote) {
            if (i + 1 < line.size && !isspace(line.data[i + 1])) return false;
            *at = i + 1;
            return true;
        } else if (quote == '"' && c == '\\' && i + 1 < line.size) {
            i += unescape(slice_drop(line, i + 1), text);
        } else if (quote == '\'' && c == '\\' && i + 1 < line.size && line.data[i + 1] == '\'') {
            buf_byte(text, '\'');
            i++;
        } else {
            buf_byte(text, c);
        }
    }
}

enum err resp_split_line(struct slice line, struct buf *text, struct resp_span *spans, size_t max,
                         size_t *count, struct why *why) {
    size_t at = 0, words = 0, base = buf_size(text);
    for (;;) {
        while (at < line.size && isspace(line.data[at])) at++;
        if (at >= line.size || line.data[at] == '\0') break;
        if (words == max) return why_set(why, ERR_LIMIT, "more than %zu words", max);
        size_t begin = buf_size(text);
        if (!read_word(line, &at, text)) return why_set(why, ERR_PROTO, "unbalanced quotes");
        spans[words++] = (struct resp_span){begin - base, buf_size(text) - begin};
    }
    (void)buf_room(text, 1); /* so that even words without a byte have an address */
    *count = words;
    return OK;
}
