/* stream_poll.c -- the socket under a stream: when it is readable or writable, and its options. */
#include "lib/net/stream_inside.h"

#include "lib/base/mem.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct poller {
    uv_poll_t handle;
    struct stream *stream;
};

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct poller *poller = handle->data;
    if (status < 0) poller->stream->polled = 0; /* libuv has stopped it */
    stream_on_poll(poller->stream, status < 0, events);
}

enum err stream_watch(struct stream *stream, int fd, struct why *why) {
    ASSERT(stream->poller == NULL);
    struct poller *poller = NEW(struct poller);
    int code = uv_poll_init(loop_uv(stream->loop), &poller->handle, fd);
    if (code) {
        mem_free(poller);
        return why_set(why, ERR_IO, "watch a socket: %s", uv_strerror(code));
    }
    poller->handle.data = poller;
    poller->stream = stream;
    stream->poller = poller;
    stream->fd = fd;
    stream->polled = 0;
    return OK;
}

static void on_handle_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void stream_unwatch(struct stream *stream) {
    if (stream->poller) {
        uv_close((uv_handle_t *)&stream->poller->handle, on_handle_closed);
        stream->poller = NULL;
    }
    if (stream->fd >= 0) close(stream->fd);
    stream->fd = -1;
    stream->polled = 0;
}

static int wanted(const struct stream *stream) {
    switch ((enum stream_state)stream->state.state) {
    case STREAM_RESOLVING:
    case STREAM_ENDED: return 0;
    case STREAM_CONNECTING: return UV_WRITABLE;
    case STREAM_HANDSHAKE: return UV_READABLE | (stream->send_blocked ? UV_WRITABLE : 0);
    case STREAM_CLOSING: return stream->send_blocked ? UV_WRITABLE : 0;
    case STREAM_OPEN: break;
    }
    return (stream_wants_bytes(stream) ? UV_READABLE : 0) |
           (stream->send_blocked ? UV_WRITABLE : 0);
}

void stream_update_poll(struct stream *stream) {
    if (stream->poller == NULL) return;
    int events = wanted(stream);
    if (events == stream->polled) return;
    stream->polled = events;
    if (events == 0)
        uv_poll_stop(&stream->poller->handle);
    else
        uv_poll_start(&stream->poller->handle, events, on_poll);
}

static void set_option(int fd, int level, int name, int value) {
    /* An option that this kind of socket does not have changes nothing. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

void stream_set_socket_options(struct stream *stream) {
    int domain = AF_UNIX;
    socklen_t size = sizeof domain;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain == AF_UNIX)
        return;
    set_option(stream->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(stream->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    int idle = (int)stream->options.keepalive_s;
    set_option(stream->fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
    set_option(stream->fd, IPPROTO_TCP, TCP_KEEPINTVL, idle >= 3 ? idle / 3 : 1);
    set_option(stream->fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}
