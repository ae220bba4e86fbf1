/* resp.h -- read and write RESP2 and RESP3.
 *
 * Reading is done by three readers, none of which does I/O or owns the bytes:
 *
 *   resp_next()          one token (a line, a whole bulk string, the head of an aggregate)
 *   resp_skip_next()     finds the end of one whole reply of any nesting, without looking twice
 *   resp_request_next()  one request as clients send it, as argc and argv
 *
 * Borrowing: token.text and argv point into the bytes that were shown, and die with them.
 * Hostile input: every length is checked against limits before it is used.
 * Kinds that no server sends (streamed strings and aggregates, `$?`, `*?`) are refused.
 * Source: the RESP2 and RESP3 specifications; requests as Redis 7.0 networking.c reads them.
 */
#ifndef LIB_REDIS_RESP_H
#define LIB_REDIS_RESP_H

#include <stdarg.h>

#include "lib/base/buf.h"
#include "lib/base/slice.h"
#include "lib/base/step.h"
#include "lib/base/why.h"

enum resp_kind {
    RESP_SIMPLE,     /* + */
    RESP_ERROR,      /* - */
    RESP_INT,        /* : */
    RESP_BULK,       /* $ */
    RESP_NULL,       /* _ and $-1 and *-1 */
    RESP_ARRAY,      /* * */
    RESP_DOUBLE,     /* , */
    RESP_BOOL,       /* # */
    RESP_BIG,        /* ( */
    RESP_BLOB_ERROR, /* ! */
    RESP_VERBATIM,   /* =  text begins behind the "txt:" */
    RESP_MAP,        /* % */
    RESP_SET,        /* ~ */
    RESP_PUSH,       /* > */
    RESP_ATTRIBUTE,  /* | */
    RESP_KINDS
};

struct resp_token {
    enum resp_kind kind;
    struct slice
        text;       /* the payload of lines and strings; of a double and a big number, its digits */
    int64_t number; /* RESP_INT, RESP_BOOL: the value. Aggregates: how many trees follow that
                     * belong to it (a map or an attribute of n pairs: 2n) */
    double real;    /* RESP_DOUBLE */
};

struct resp_limits {
    size_t line_bytes_max; /* CRLF included */
    size_t bulk_bytes_max;
    size_t items_max; /* of one aggregate; resp_skip: of a whole reply */
};

/* What may come from a Redis that we do not control: 512 MB strings, 64 million elements. */
extern const struct resp_limits resp_limits_server;

/* Read one token from the front of BYTES.
 *   STEP_DONE  *token and *used_bytes are set; 0 < *used_bytes <= bytes.size.
 *   STEP_MORE  nothing was taken; show the same bytes again with more behind them.
 *   STEP_FAIL  not RESP, or over LIMITS; WHY says which. Hang up.
 */
MUST_CHECK enum step resp_next(const struct resp_limits *limits, struct slice bytes,
                               struct resp_token *token, size_t *used_bytes, struct why *why);

/* Finding the end of a reply. All zero is ready for a new reply, and so it is after STEP_DONE. */
struct resp_skip {
    uint64_t left_items; /* trees still to come, when open */
    uint64_t left_bytes; /* of the bulk string that is passing, CRLF included */
    uint64_t items;      /* trees seen in this reply */
    bool open;           /* inside a reply */
    uint8_t first;       /* the reply's type byte; valid when open and after STEP_DONE */
};

/* Take what belongs to the current reply from the front of BYTES.
 *   STEP_DONE  the reply ends at *used_bytes.
 *   STEP_MORE  *used_bytes (may be 0) are of this reply and need not be shown again; the rest of
 *              BYTES must be, with more behind it.
 *   STEP_FAIL  as resp_next().
 * A line that is not whole is never taken, so a reply that is one line (an error!) is taken whole.
 * An attribute counts as part of the reply that follows it. A push is a reply of its own: look at
 * `first`. */
MUST_CHECK enum step resp_skip_next(struct resp_skip *skip, const struct resp_limits *limits,
                                    struct slice bytes, size_t *used_bytes, struct why *why);

/* ---- requests ---- */

struct resp_request_limits {
    size_t args_max;
    size_t bulk_bytes_max;
    size_t total_bytes_max; /* of one request */
    bool authenticated;     /* only chooses the words of an error */
};

extern const struct resp_request_limits resp_request_limits_open; /* as Redis: 512 MB, 1M args */
extern const struct resp_request_limits
    resp_request_limits_closed; /* before AUTH: 10 args, 16 KB */

struct resp_span {
    size_t at, size; /* bytes, from the start of the request */
};

/* A reader of requests. All zero is ready. Owns the arrays, not what argv points to.
 * Stricter than Redis, which does not look at the LF of heads nor at the CRLF behind a string: what
 * is accepted here, a proxy may pass on as it is, and every server will read the same in it. */
struct resp_request {
    struct slice *argv; /* valid after STEP_DONE until the bytes or this reader change */
    size_t argc;        /* 0: an empty line or an empty array, which Redis ignores: read on */
    size_t size_bytes;  /* of the whole request */
    bool is_inline;     /* argv points into `unquoted`, not into the bytes */
    /* where an unfinished request stands */
    struct resp_span *spans;
    size_t cap, at, count;
    int64_t want; /* arguments announced; 0: the head was not read yet */
    int64_t bulk; /* size of the argument that is being waited for; -1: its head was not read */
    struct buf unquoted;
};

void resp_request_close(struct resp_request *request);

/* Read one request from the front of BYTES (multibulk or inline).
 *   STEP_DONE  request->argv, argc are set; the request takes *used_bytes from BYTES.
 *   STEP_MORE  show the same bytes again with more behind them (they may have moved);
 *              what was read is not read again. See resp_request_wants().
 *   STEP_FAIL  WHY has the words of Redis ("Protocol error: ..."): answer "-ERR words", hang up.
 */
MUST_CHECK enum step resp_request_next(struct resp_request *request,
                                       const struct resp_request_limits *limits, struct slice bytes,
                                       size_t *used_bytes, struct why *why);

/* After STEP_MORE: the size that the bytes must reach before it makes sense to come again, or 0 if
 * that is not known. */
size_t resp_request_wants(const struct resp_request *request);

/* Split a line into words as redis-cli and inline commands do, with quotes and escapes. The words
 * are laid down in TEXT, back to back; SPANS gets up to MAX places in it. ERR_PROTO: unbalanced
 * quotes; ERR_LIMIT: more than MAX words. */
MUST_CHECK enum err resp_split_line(struct slice line, struct buf *text, struct resp_span *spans,
                                    size_t max, size_t *count, struct why *why);

/* ---- writing ---- */

/* CR and LF in TEXT become spaces, so that nobody can smuggle a reply into an error. */
void resp_write_simple(struct buf *out, struct slice text);
void resp_write_error(struct buf *out,
                      struct slice text); /* TEXT begins with the code: "ERR ..." */
void resp_write_errorf(struct buf *out, const char *fmt, ...) PRINTF(2, 3);
void resp_write_verrorf(struct buf *out, const char *fmt, va_list args) PRINTF(2, 0);
void resp_write_ok(struct buf *out);
void resp_write_int(struct buf *out, int64_t number);
void resp_write_bulk(struct buf *out, struct slice bytes);
void resp_write_text(struct buf *out, const char *text); /* a bulk string */
void resp_write_array(struct buf *out, size_t items);

/* PROTO is 2 or 3; with 2 each is written as what Redis sends in its place. */
void resp_write_double(struct buf *out, int proto, double number);
void resp_write_null(struct buf *out, int proto);       /* 2: $-1 */
void resp_write_null_array(struct buf *out, int proto); /* 2: *-1 */
void resp_write_bool(struct buf *out, int proto, bool value);
void resp_write_map(struct buf *out, int proto, size_t pairs); /* 2: an array of twice as many */
void resp_write_set(struct buf *out, int proto, size_t items);
void resp_write_push(struct buf *out, int proto, size_t items);
void resp_write_big(struct buf *out, int proto, struct slice digits);
void resp_write_verbatim(struct buf *out, int proto, const char format[4], struct slice text);

/* The text of a double as Redis 7.0 writes it in replies: inf, -inf, nan, or %.17g. Returns the
 * length without the NUL. */
size_t resp_double_text(double number, char text[40]);

/* A request. */
void resp_write_command(struct buf *out, size_t argc, const struct slice *argv);
/* A request of C strings, ended by NULL: resp_write_words(&out, "CLIENT", "SETNAME", name, NULL).
 */
void resp_write_words(struct buf *out, ...) __attribute__((sentinel));

#endif
