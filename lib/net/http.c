/* http.c -- HTTP for metrics and the API, by libmicrohttpd. See http.h.
 *
 *     MHD's thread: first call -> body parts -> whole request -> handler
 *                                                 |  answered at once: queued here
 *                                                 +- kept: the connection is suspended
 *     any thread:   http_answer() -> the answer is stored, the connection resumed
 *     MHD's thread: called again -> queues the stored answer
 *     MHD's thread: completed -> the request is freed
 */
#include "lib/net/http.h"

#include "lib/base/mem.h"
#include "lib/net/http_inside.h"
#include "lib/net/listener.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_LIMIT_DEFAULT (1u << 20)
#define CONNECTIONS_DEFAULT 64
#define SILENCE_S 30
#define CONNECTION_MEMORY_BYTES (32u * 1024)

/* ---- the request, as the handler sees it ---- */

const char *http_method(const struct http_request *request) {
    return request->method;
}
const char *http_path(const struct http_request *request) {
    return request->path;
}
struct slice http_body(const struct http_request *request) {
    return buf_slice(&request->body);
}

const char *http_query(const struct http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_header(const struct http_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void http_set_header(struct http_request *request, const char *name, const char *value) {
    ASSERT(request->header_count < HTTP_HEADERS_MAX);
    request->headers[request->header_count].name = mem_strdup(name);
    request->headers[request->header_count++].value = mem_strdup(value);
}

/* ---- answering ---- */

void http_submit(struct http_request *request, unsigned status, const char *type,
                 struct MHD_Response *response) {
    ASSERT(response != NULL);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < request->header_count; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    pthread_mutex_lock(&request->lock);
    ASSERT(request->response == NULL); /* exactly one answer */
    request->status = status;
    request->response = response;
    bool suspended = request->suspended;
    struct MHD_Connection *connection = request->connection;
    pthread_mutex_unlock(&request->lock);
    /* From here on MHD's thread may free the request. */
    if (suspended) MHD_resume_connection(connection);
}

void http_answer(struct http_request *request, unsigned status, const char *type,
                 struct buf *body) {
    struct slice bytes = body ? buf_slice(body) : slice_from(NULL, 0);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        bytes.size, (void *)(uintptr_t)bytes.data, MHD_RESPMEM_MUST_COPY);
    if (body) buf_close(body);
    http_submit(request, status, type, response);
}

void http_answer_text(struct http_request *request, unsigned status, const char *fmt, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    buf_byte(&text, '\n');
    http_answer(request, status, "text/plain; charset=utf-8", &text);
}

/* ---- MHD's callbacks ---- */

static struct http_request *new_request(struct http *http, struct MHD_Connection *connection,
                                        const char *path, const char *method) {
    struct http_request *request = NEW(struct http_request);
    request->http = http;
    request->connection = connection;
    request->path = mem_strdup(path);
    request->method = mem_strdup(method);
    pthread_mutex_init(&request->lock, NULL);
    return request;
}

static void on_completed(void *self, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code) {
    (void)self;
    (void)connection;
    (void)code;
    struct http_request *request = *slot;
    if (request == NULL) return;
    *slot = NULL;
    if (request->response) MHD_destroy_response(request->response);
    for (size_t i = 0; i < request->header_count; i++) {
        mem_free(request->headers[i].name);
        mem_free(request->headers[i].value);
    }
    pthread_mutex_destroy(&request->lock);
    buf_close(&request->body);
    mem_free(request->path);
    mem_free(request->method);
    mem_free(request);
}

static enum MHD_Result queue_answer(struct http_request *request) {
    pthread_mutex_lock(&request->lock);
    struct MHD_Response *response = request->response;
    unsigned status = request->status;
    pthread_mutex_unlock(&request->lock);
    return response ? MHD_queue_response(request->connection, status, response) : MHD_NO;
}

/* The whole request is here: ask the handler, and wait when it keeps the request. */
static enum MHD_Result handle(struct http_request *request) {
    request->handled = true;
    if (request->too_large)
        http_answer_text(request, 413, "the body has more than %zu bytes",
                         request->http->body_limit_bytes);
    else
        request->http->handler(request->http->self, request);
    pthread_mutex_lock(&request->lock);
    bool answered = request->response != NULL;
    if (!answered) {
        request->suspended = true;
        MHD_suspend_connection(request->connection);
    }
    pthread_mutex_unlock(&request->lock);
    return answered ? queue_answer(request) : MHD_YES;
}

static enum MHD_Result on_access(void *self, struct MHD_Connection *connection, const char *path,
                                 const char *method, const char *version, const char *part,
                                 size_t *part_size, void **slot) {
    (void)version;
    struct http *http = self;
    struct http_request *request = *slot;
    if (request == NULL) {
        *slot = new_request(http, connection, path, method);
        return MHD_YES;
    }
    if (*part_size) {
        size_t room = http->body_limit_bytes - buf_size(&request->body);
        if (*part_size > room)
            request->too_large = true;
        else if (!request->too_large)
            buf_append(&request->body, part, *part_size);
        *part_size = 0; /* taken, or dropped */
        return MHD_YES;
    }
    return request->handled ? queue_answer(request) : handle(request);
}

/* ---- life ---- */

static uint16_t port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_storage room;
    } address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) != 0) return 0;
    if (address.any.sa_family == AF_INET) return ntohs(address.four.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.six.sin6_port) : 0;
}

static void fill(struct http *http, const struct http_options *options,
                 const struct endpoint *listen) {
    static const struct http_options none;
    if (options == NULL) options = &none;
    http->body_limit_bytes =
        options->body_limit_bytes ? options->body_limit_bytes : BODY_LIMIT_DEFAULT;
    http->max_connections =
        options->max_connections ? options->max_connections : CONNECTIONS_DEFAULT;
    if (listen->kind == ENDPOINT_UNIX) http->unix_path = mem_strdup(listen->path);
}

enum err http_open(struct http **http, const struct endpoint *listen,
                   const struct http_options *options,
                   void (*handler)(void *self, struct http_request *request), void *self,
                   struct why *why) {
    struct listener_options socket_options = {.socket_mode = options ? options->socket_mode : 0};
    int fd;
    enum err err = listener_socket(listen, &socket_options, &fd, why);
    if (err) return err;
    struct http *made = NEW(struct http);
    made->handler = handler;
    made->self = self;
    made->port = port_of(fd);
    fill(made, options, listen);
    sigset_t all, before; /* signals belong to the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    made->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME, 0,
        NULL, NULL, on_access, made, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, made->max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made->daemon == NULL) {
        char text[ENDPOINT_TEXT];
        close(fd);
        mem_free(made->unix_path);
        mem_free(made);
        return why_set(why, ERR_IO, "listen on %s: the HTTP server does not start",
                       endpoint_format(listen, text));
    }
    *http = made;
    return OK;
}

uint16_t http_port(const struct http *http) {
    return http->port;
}

void http_close(struct http *http) {
    if (http == NULL) return;
    MHD_stop_daemon(http->daemon);
    if (http->unix_path) unlink(http->unix_path);
    mem_free(http->unix_path);
    mem_free(http);
}
