/* listener.c -- accepting connections. See listener.h. */
#include "lib/net/listener.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/net/loop.h"
#include "lib/net/net_error.h"
#include "lib/net/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_EVENT 64 /* then the streams get their turn */
#define REST_MS 100

struct listen_poll {
    uv_poll_t handle;
    struct listener *listener; /* NULL: closed */
};

struct listener {
    struct loop *loop;
    struct listen_poll *poll;
    int fd;
    struct endpoint endpoint; /* with the real port */
    struct listener_options options;
    struct tls *tls; /* NULL: plain */
    struct loop_timer rest;
    bool paused;
    void (*on_stream)(void *self, struct stream *stream);
    void *self;
};

static void on_readable(uv_poll_t *handle, int status, int events);

static void watch(struct listener *listener) {
    bool wanted = !listener->paused && !loop_timer_is_running(&listener->rest);
    if (wanted)
        uv_poll_start(&listener->poll->handle, UV_READABLE, on_readable);
    else
        uv_poll_stop(&listener->poll->handle);
}

static void end_rest(void *self) {
    watch(self);
}

/* Out of file descriptors, or worse: the pending connection stays in the backlog. */
static void rest(struct listener *listener, int error) {
    char text[ENDPOINT_TEXT], reason[NET_REASON_BYTES];
    log_warn("listener.rests", LOG_S("listen", endpoint_format(&listener->endpoint, text)),
             LOG_S("why", net_reason(error, reason)));
    loop_timer_start(listener->loop, &listener->rest, REST_MS, 0, end_rest, listener);
    watch(listener);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    (void)status;
    (void)events;
    struct listen_poll *poll = handle->data;
    for (int i = 0; i < ACCEPTS_PER_EVENT && poll->listener && !poll->listener->paused; i++) {
        struct listener *listener = poll->listener;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) {
            if (errno != EAGAIN) rest(listener, errno);
            return;
        }
        struct stream *stream =
            stream_adopt(listener->loop, fd, listener->tls, &listener->options.streams, NULL, NULL);
        listener->on_stream(listener->self, stream);
    }
}

enum err listener_reload_tls(struct listener *listener, struct why *why) {
    if (!listener->endpoint.tls.on) return OK;
    struct tls *tls;
    enum err err = tls_server_open(&tls, &listener->endpoint.tls, why);
    if (err) return err;
    tls_close(listener->tls);
    listener->tls = tls;
    return OK;
}

int64_t listener_tls_not_after(const struct listener *listener) {
    return listener->tls ? tls_not_after(listener->tls) : 0;
}

static uint16_t address_port(const struct sockaddr_storage *address) {
    /* The port has the same place in the addresses of both families. */
    _Static_assert(offsetof(struct sockaddr_in, sin_port) ==
                       offsetof(struct sockaddr_in6, sin6_port),
                   "one place for the port");
    uint16_t port;
    memcpy(&port, (const char *)address + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}

static void learn_port(struct listener *listener) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (listener->endpoint.kind != ENDPOINT_TCP || listener->endpoint.port != 0) return;
    if (getsockname(listener->fd, (struct sockaddr *)&address, &size) == 0)
        listener->endpoint.port = address_port(&address);
}

static enum err open_poll(struct listener *listener, struct why *why) {
    struct listen_poll *poll = NEW(struct listen_poll);
    int code = uv_poll_init(loop_uv(listener->loop), &poll->handle, listener->fd);
    if (code) {
        mem_free(poll);
        return why_set(why, ERR_IO, "watch a socket: %s", uv_strerror(code));
    }
    poll->handle.data = poll;
    poll->listener = listener;
    listener->poll = poll;
    return OK;
}

static void free_listener(struct listener *listener) {
    if (listener->fd >= 0) close(listener->fd);
    if (listener->fd >= 0 && listener->endpoint.kind == ENDPOINT_UNIX)
        unlink(listener->endpoint.path);
    tls_close(listener->tls);
    endpoint_close(&listener->endpoint);
    mem_free(listener);
}

enum err listener_open(struct listener **listener, struct loop *loop,
                       const struct endpoint *endpoint, const struct listener_options *options,
                       void (*on_stream)(void *self, struct stream *stream), void *self,
                       struct why *why) {
    struct listener *made = NEW(struct listener);
    made->loop = loop;
    made->fd = -1;
    made->on_stream = on_stream;
    made->self = self;
    if (options) made->options = *options;
    endpoint_copy(&made->endpoint, endpoint);
    char text[ENDPOINT_TEXT];
    enum err err = OK;
    if (endpoint->tls.on) err = tls_server_open(&made->tls, &endpoint->tls, why);
    if (err) (void)why_add(why, err, "listen on %s", endpoint_format(endpoint, text));
    if (err == OK) err = listener_socket(endpoint, options, &made->fd, why);
    if (err == OK) err = open_poll(made, why);
    if (err) {
        free_listener(made);
        return err;
    }
    learn_port(made);
    watch(made);
    *listener = made;
    return OK;
}

uint16_t listener_port(const struct listener *listener) {
    return listener->endpoint.port;
}

const struct endpoint *listener_endpoint(const struct listener *listener) {
    return &listener->endpoint;
}

void listener_pause(struct listener *listener, bool paused) {
    listener->paused = paused;
    watch(listener);
}

static void on_handle_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void listener_close(struct listener *listener) {
    if (listener == NULL) return;
    listener->poll->listener = NULL;
    loop_timer_stop(&listener->rest);
    uv_close((uv_handle_t *)&listener->poll->handle, on_handle_closed);
    free_listener(listener);
}
