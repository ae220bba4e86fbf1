/* http.h -- a small HTTP server for metrics and for the API of state (libmicrohttpd inside).
 *
 * It runs in a thread of its own. The handler is called in that thread, with the whole request, and
 * must not block: it answers at once, or keeps the request and answers later from any thread
 * (a loop that got it by a mailbox, say). Exactly one answer per request, even at shutdown.
 * Limits: header lines 32 KB, body body_limit_bytes (413 beyond it), max_connections, 30 s silence.
 * No TLS here: TCP listeners of roles are for loopback or trusted networks.
 */
#ifndef LIB_NET_HTTP_H
#define LIB_NET_HTTP_H

#include "lib/base/buf.h"
#include "lib/base/why.h"
#include "lib/net/endpoint.h"

#include <stdint.h>

struct http;
struct http_request;

struct http_options {
    size_t body_limit_bytes;  /* 0: 1 MiB */
    uint32_t max_connections; /* 0: 64 */
    uint32_t socket_mode;     /* of a Unix socket; 0: 0600 */
};

/* OPTIONS may be NULL. An error names the address. */
MUST_CHECK enum err http_open(struct http **http, const struct endpoint *listen,
                              const struct http_options *options,
                              void (*handler)(void *self, struct http_request *request), void *self,
                              struct why *why);
uint16_t http_port(const struct http *http); /* the real one, if 0 was asked for */

/* Kept requests have been answered (503 will do) and streams closed before. NULL is fine. */
void http_close(struct http *http);

/* ---- the request; everything lives until it is answered ---- */
const char *http_method(const struct http_request *request); /* "GET" */
const char *http_path(const struct http_request *request);   /* "/v1/status", decoded */
const char *http_query(const struct http_request *request, const char *name); /* NULL: not given */
const char *http_header(const struct http_request *request, const char *name);
struct slice http_body(const struct http_request *request);

/* Answer. BODY is taken over and left empty; NULL: none. TYPE as "application/json". */
void http_answer(struct http_request *request, unsigned status, const char *type, struct buf *body);
/* Text made by format, for errors. */
void http_answer_text(struct http_request *request, unsigned status, const char *fmt, ...)
    PRINTF(3, 4);
/* An extra header for the answer to come. */
void http_set_header(struct http_request *request, const char *name, const char *value);

/* ---- an answer without an end (server-sent events) ----
 * http_stream_open() answers 200 with TYPE and keeps the connection; send and close may be called
 * from any thread. The queue is bounded by 1 MiB: false means that the peer does not read, and
 * that nothing was taken; end it then. */
struct http_stream;
struct http_stream *http_stream_open(struct http_request *request, const char *type);
MUST_CHECK bool http_stream_send(struct http_stream *stream, struct slice bytes);
bool http_stream_is_gone(struct http_stream *stream); /* the peer hung up; seen when sending */
void http_stream_close(struct http_stream *stream);   /* yours no more; NULL is fine */

#endif
