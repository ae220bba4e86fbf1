/* stream_dial.c -- from an endpoint to a connected socket: names, addresses one after the other. */
#include "lib/net/stream_inside.h"

#include "lib/base/mem.h"
#include "lib/net/net_error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A question to the resolver. It lives until libuv answers, whatever becomes of the stream. */
struct lookup {
    uv_getaddrinfo_t request;
    struct stream *stream; /* NULL: nobody waits any more */
};

struct stream_dial {
    struct endpoint endpoint; /* a copy */
    char text[ENDPOINT_TEXT];
    struct lookup *lookup;  /* NULL: none is under way */
    struct addrinfo *found; /* uv_freeaddrinfo() */
    struct addrinfo *next;  /* the one to try next */
    int last_error;         /* errno of the newest attempt */
};

static void try_next(struct stream *stream);

static void end_dial(struct stream *stream, enum err err, struct why *why) {
    (void)why_add(why, err, "connect to %s", stream->dial->text);
    stream_end(stream, err, why);
}

/* ---- connecting ---- */

/* Begin to connect; the outcome shows when the socket is writable. */
static enum err begin_connect(struct stream *stream, int family, const struct sockaddr *address,
                              socklen_t size, struct why *why) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return net_fail(why, stream->dial->last_error = errno, "open a", "socket");
    int code;
    do code = connect(fd, address, size);
    while (code != 0 && errno == EINTR);
    if (code != 0 && errno != EINPROGRESS) {
        stream->dial->last_error = errno;
        close(fd);
        char reason[NET_REASON_BYTES];
        return why_set(why, net_err(stream->dial->last_error), "%s",
                       net_reason(stream->dial->last_error, reason));
    }
    enum err err = stream_watch(stream, fd, why);
    if (err) {
        close(fd);
        return err;
    }
    stream_update_poll(stream);
    return OK;
}

void stream_dial_event(struct stream *stream) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error) {
        stream->dial->last_error = error;
        stream_unwatch(stream);
        try_next(stream);
        return;
    }
    stream_connected(stream);
}

static void try_next(struct stream *stream) {
    struct stream_dial *dial = stream->dial;
    struct why why;
    enum err err = ERR_IO;
    while (dial->next) {
        struct addrinfo *address = dial->next;
        dial->next = address->ai_next;
        err =
            begin_connect(stream, address->ai_family, address->ai_addr, address->ai_addrlen, &why);
        if (err == OK) return;
    }
    char reason[NET_REASON_BYTES];
    err = why_set(&why, net_err(dial->last_error), "%s", net_reason(dial->last_error, reason));
    end_dial(stream, err, &why);
}

/* ---- names ---- */

static void on_names(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct lookup *lookup = request->data;
    struct stream *stream = lookup->stream;
    mem_free(lookup);
    if (stream == NULL) {
        uv_freeaddrinfo(found);
        return;
    }
    stream->dial->lookup = NULL;
    if (status < 0 || found == NULL) {
        struct why why;
        enum err err = why_set(&why, ERR_IO, "the name cannot be resolved: %s",
                               status < 0 ? uv_strerror(status) : "it has no address");
        end_dial(stream, err, &why);
        return;
    }
    stream->dial->found = stream->dial->next = found;
    sm_move(&stream->state, STREAM_CONNECTING);
    try_next(stream);
}

static enum err ask_names(struct stream *stream, struct why *why) {
    struct stream_dial *dial = stream->dial;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    (void)snprintf(port, sizeof port, "%u", dial->endpoint.port);
    struct lookup *lookup = NEW(struct lookup);
    lookup->stream = stream;
    lookup->request.data = lookup;
    int code = uv_getaddrinfo(loop_uv(stream->loop), &lookup->request, on_names,
                              dial->endpoint.host, port, &hints);
    if (code) {
        mem_free(lookup);
        return why_set(why, ERR_IO, "the name cannot be resolved: %s", uv_strerror(code));
    }
    dial->lookup = lookup;
    return OK;
}

/* ---- dialling ---- */

/* Connect at once when the host is an address already; false: it is a name. */
static bool connect_address(struct stream *stream, enum err *err, struct why *why) {
    const struct endpoint *to = &stream->dial->endpoint;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    const char *host = *to->host ? to->host : "127.0.0.1";
    bool is_four = inet_pton(AF_INET, host, &four.sin_addr) == 1;
    if (!is_four && inet_pton(AF_INET6, host, &six.sin6_addr) != 1) return false;
    sm_move(&stream->state, STREAM_CONNECTING);
    if (is_four)
        *err = begin_connect(stream, AF_INET, (const struct sockaddr *)&four, sizeof four, why);
    else
        *err = begin_connect(stream, AF_INET6, (const struct sockaddr *)&six, sizeof six, why);
    return true;
}

static enum err connect_unix(struct stream *stream, struct why *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof address.sun_path >= sizeof stream->dial->endpoint.path, "paths fit");
    memcpy(address.sun_path, stream->dial->endpoint.path, sizeof stream->dial->endpoint.path);
    sm_move(&stream->state, STREAM_CONNECTING);
    return begin_connect(stream, AF_UNIX, (const struct sockaddr *)&address, sizeof address, why);
}

static enum err prepare_tls(struct stream *stream, struct why *why) {
    const struct endpoint *to = &stream->dial->endpoint;
    if (!to->tls.on) return OK;
    enum err err = tls_client_open(&stream->tls, &to->tls, why);
    if (err) return err;
    const char *name = to->tls.server_name ? to->tls.server_name : to->host;
    return stream_tls_begin(stream, name, true, why);
}

struct stream *stream_dial(struct loop *loop, const struct endpoint *endpoint,
                           const struct stream_options *options, const struct stream_events *events,
                           void *self) {
    struct stream *stream = stream_new(loop, options, events, self);
    struct stream_dial *dial = stream->dial = NEW(struct stream_dial);
    endpoint_copy(&dial->endpoint, endpoint);
    endpoint_format(endpoint, dial->text);
    stream_start_timer(stream);
    struct why why;
    enum err err = prepare_tls(stream, &why);
    if (err == OK && endpoint->kind == ENDPOINT_UNIX)
        err = connect_unix(stream, &why);
    else if (err == OK && endpoint->kind == ENDPOINT_NONE)
        err = why_set(&why, ERR_CONFIG, "there is no address");
    else if (err == OK && !connect_address(stream, &err, &why))
        err = ask_names(stream, &why);
    if (err) end_dial(stream, err, &why);
    return stream;
}

void stream_dial_close(struct stream *stream) {
    struct stream_dial *dial = stream->dial;
    if (dial == NULL) return;
    if (dial->lookup) {
        dial->lookup->stream = NULL;
        uv_cancel((uv_req_t *)&dial->lookup->request);
    }
    uv_freeaddrinfo(dial->found);
    endpoint_close(&dial->endpoint);
    mem_free(dial);
    stream->dial = NULL;
}

const char *stream_dial_text(const struct stream *stream) {
    return stream->dial ? stream->dial->text : NULL;
}
