/* http_inside.h -- what the HTTP server is made of; for its own files only. */
#ifndef LIB_NET_HTTP_INSIDE_H
#define LIB_NET_HTTP_INSIDE_H

#include "lib/net/http.h"

#include <microhttpd.h>
#include <pthread.h>

#define HTTP_HEADERS_MAX 8

struct http {
    struct MHD_Daemon *daemon;
    void (*handler)(void *self, struct http_request *request);
    void *self;
    size_t body_limit_bytes;
    unsigned max_connections;
    uint16_t port;
    char *unix_path; /* removed at the end; NULL: TCP */
};

struct http_request {
    struct http *http;
    struct MHD_Connection *connection;
    char *method, *path;
    struct buf body;
    bool too_large, handled;
    struct {
        char *name, *value;
    } headers[HTTP_HEADERS_MAX];
    size_t header_count;

    pthread_mutex_t lock;
    struct MHD_Response *response; /* under the lock; NULL until it is answered */
    unsigned status;
    bool suspended;
};

/* Store the answer, and wake the connection if it waits. RESPONSE is taken over. */
void http_submit(struct http_request *request, unsigned status, const char *type,
                 struct MHD_Response *response);

#endif
