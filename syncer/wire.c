/* wire.c -- a raw connection for threads that may block. See wire.h. */
#include "syncer/wire.h"

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/net/openssl.h"
#include "lib/net/resolve.h"
#include "lib/net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WRITE_TIMEOUT_MS 30000

struct wire {
    int fd;
    SSL *tls; /* NULL: plain */
};

/* ERR_TIMEOUT when the socket is not ready within TIMEOUT_MS. */
static enum err wait_for(int fd, short events, int timeout_ms, struct why *why) {
    struct pollfd pfd = {.fd = fd, .events = events};
    int n;
    do n = poll(&pfd, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n < 0) return why_set(why, ERR_IO, "poll: %s", strerror(errno));
    return n > 0 ? OK : why_set(why, ERR_TIMEOUT, "no answer in %d ms", timeout_ms);
}

static enum err finish_connect(int fd, int timeout_ms, struct why *why) {
    int code = 0;
    socklen_t size = sizeof code;
    enum err err = wait_for(fd, POLLOUT, timeout_ms, why);
    if (err != OK) return err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
    return code == 0 ? OK : why_set(why, ERR_IO, "%s", strerror(code));
}

static enum err connect_to(const struct sockaddr *address, socklen_t size, int timeout_ms, int *out, struct why *why) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return why_set(why, ERR_IO, "socket: %s", strerror(errno));
    enum err err = OK;
    if (connect(fd, address, size) != 0) {
        if (errno == EINPROGRESS) err = finish_connect(fd, timeout_ms, why);
        else err = why_set(why, ERR_IO, "%s", strerror(errno));
    }
    if (err != OK) {
        close(fd);
        return err;
    }
    int on = 1;
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    *out = fd;
    return OK;
}

static enum err connect_name(const struct endpoint *endpoint, int timeout_ms, int *fd, struct why *why) {
    struct addrinfo *list = NULL;
    enum err err = resolve_name(endpoint->host, endpoint->port, (uint32_t)timeout_ms, &list, why);
    if (err != OK) return why_add(why, err, "resolve %s", endpoint->host);
    err = ERR_IO;
    for (const struct addrinfo *a = list; a && err != OK; a = a->ai_next)
        err = connect_to(a->ai_addr, a->ai_addrlen, timeout_ms, fd, why);
    freeaddrinfo(list);
    return err;
}

static enum err connect_unix(const struct endpoint *endpoint, int timeout_ms, int *fd, struct why *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, endpoint->path, sizeof address.sun_path);
    return connect_to((const struct sockaddr *)&address, sizeof address, timeout_ms, fd, why);
}

/* OpenSSL wants to read or write: wait for that. Anything else is an error. */
static enum err tls_wait(struct wire *wire, int code, int timeout_ms, const char *doing, struct why *why) {
    switch (SSL_get_error(wire->tls, code)) {
    case SSL_ERROR_WANT_READ: return wait_for(wire->fd, POLLIN, timeout_ms, why);
    case SSL_ERROR_WANT_WRITE: return wait_for(wire->fd, POLLOUT, timeout_ms, why);
    case SSL_ERROR_ZERO_RETURN: return why_set(why, ERR_CLOSED, "the peer closed the connection");
    default: return tls_why(wire->tls, ERR_IO, doing, why);
    }
}

static enum err start_tls(struct wire *wire, const struct endpoint *endpoint, int timeout_ms, struct why *why) {
    struct tls *context = NULL;
    enum err err = tls_client_open(&context, &endpoint->tls, why);
    if (err == OK) {
        const char *name = endpoint->tls.server_name ? endpoint->tls.server_name : endpoint->host;
        err = tls_new_session(context, name, true, &wire->tls, why);
    }
    tls_close(context);
    if (err != OK) return err;
    if (SSL_set_fd(wire->tls, wire->fd) != 1) return tls_why(wire->tls, ERR_IO, "TLS", why);
    int code;
    while (err == OK && (code = SSL_connect(wire->tls)) != 1)
        err = tls_wait(wire, code, timeout_ms, "TLS handshake", why);
    return err;
}

enum err wire_open(struct wire **wire, const struct endpoint *endpoint, int timeout_ms, struct why *why) {
    char text[ENDPOINT_TEXT];
    struct wire *made = NEW(struct wire);
    made->fd = -1;
    enum err err = endpoint->kind == ENDPOINT_UNIX ? connect_unix(endpoint, timeout_ms, &made->fd, why)
                                                   : connect_name(endpoint, timeout_ms, &made->fd, why);
    if (err == OK && endpoint->tls.on) err = start_tls(made, endpoint, timeout_ms, why);
    if (err != OK) {
        wire_close(made);
        return why_add(why, err, "connect to %s", endpoint_format(endpoint, text));
    }
    *wire = made;
    return OK;
}

void wire_close(struct wire *wire) {
    if (!wire) return;
    if (wire->tls) SSL_free(wire->tls);
    if (wire->fd >= 0) close(wire->fd);
    mem_free(wire);
}

enum err wire_write(struct wire *wire, struct slice bytes, struct why *why) {
    while (bytes.size > 0) {
        enum err err = OK;
        if (wire->tls) {
            int part = bytes.size < 16384 ? (int)bytes.size : 16384;
            int n = SSL_write(wire->tls, bytes.data, part);
            if (n > 0) bytes = slice_drop(bytes, (size_t)n);
            else err = tls_wait(wire, n, WRITE_TIMEOUT_MS, "TLS write", why);
        } else {
            ssize_t n = send(wire->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
            if (n >= 0) bytes = slice_drop(bytes, (size_t)n);
            else if (errno == EAGAIN || errno == EINTR) err = wait_for(wire->fd, POLLOUT, WRITE_TIMEOUT_MS, why);
            else err = why_set(why, ERR_CLOSED, "write: %s", strerror(errno));
        }
        if (err != OK) return err;
    }
    return OK;
}

static enum err read_plain(struct wire *wire, void *data, size_t size, size_t *got, bool *again, struct why *why) {
    ssize_t n = recv(wire->fd, data, size, 0);
    *again = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (*again) return OK;
    if (n < 0) return why_set(why, ERR_CLOSED, "read: %s", strerror(errno));
    if (n == 0) return why_set(why, ERR_CLOSED, "the peer closed the connection");
    *got = (size_t)n;
    return OK;
}

enum err wire_read(struct wire *wire, void *data, size_t size, int timeout_ms, size_t *got, struct why *why) {
    enum err err = OK;
    *got = 0;
    for (int round = 0; round < 2; round++) {
        bool again = false;
        int code = 0;
        if (!wire->tls) {
            err = read_plain(wire, data, size, got, &again, why);
        } else {
            code = SSL_read(wire->tls, data, size < INT32_MAX ? (int)size : INT32_MAX);
            again = code <= 0;
            if (code > 0) *got = (size_t)code;
        }
        if (err != OK || !again) return err;
        err = wire->tls ? tls_wait(wire, code, timeout_ms, "TLS read", why) : wait_for(wire->fd, POLLIN, timeout_ms, why);
        if (err == ERR_TIMEOUT) return OK;
        if (err != OK) return err;
    }
    return OK;
}
