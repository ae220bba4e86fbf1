/* rblock_io.c -- sockets for threads that may block. See rblock_io.h. */
#include "lib/control/rblock_io.h"

#include "lib/base/clock.h"
#include "lib/net/net_error.h"
#include "lib/net/openssl.h"
#include "lib/net/resolve.h"
#include "lib/net/tls.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void rblock_io_close(struct rblock_io *io) {
    if (io->session) SSL_free(io->session);
    tls_close(io->tls);
    if (io->fd >= 0) close(io->fd);
    if (io->wake >= 0) close(io->wake);
    io->session = NULL;
    io->tls = NULL;
    io->fd = io->wake = -1;
}

void rblock_io_interrupt(struct rblock_io *io) {
    uint64_t one = 1;
    atomic_store(&io->interrupted, true);
    ssize_t wrote = write(io->wake, &one, sizeof one);
    (void)wrote; /* full means that it is readable already */
}

static enum err stopped(const struct rblock_io *io, struct why *why) {
    return why_set(why, ERR_STOPPED, "%s: interrupted", io->peer);
}

enum err rblock_io_wait(struct rblock_io *io, short events, uint32_t timeout_ms, struct why *why) {
    uint64_t deadline_ms = clock_mono_ms(clock_real()) + timeout_ms;
    for (;;) {
        if (atomic_load(&io->interrupted)) return stopped(io, why);
        uint64_t now_ms = clock_mono_ms(clock_real());
        if (now_ms >= deadline_ms)
            return why_set(why, ERR_TIMEOUT, "%s did not answer within %u ms", io->peer,
                           timeout_ms);
        struct pollfd fds[] = {{.fd = io->fd, .events = events},
                               {.fd = io->wake, .events = POLLIN}};
        int code =
            poll(fds, 2, (int)(deadline_ms - now_ms < INT_MAX ? deadline_ms - now_ms : INT_MAX));
        if (code < 0 && errno != EINTR) return net_fail(why, errno, "wait for", io->peer);
        if (code > 0 && fds[0].revents) return OK;
    }
}

/* ---- sending and receiving ---- */

/* What OpenSSL's CODE means: OK to wait, or why it failed. */
static enum err tls_result(struct rblock_io *io, int code, short *waits_for, const char *doing,
                           struct why *why) {
    char what[ENDPOINT_TEXT + 32];
    switch (SSL_get_error(io->session, code)) {
    case SSL_ERROR_WANT_READ: *waits_for = POLLIN; return OK;
    case SSL_ERROR_WANT_WRITE: *waits_for = POLLOUT; return OK;
    case SSL_ERROR_ZERO_RETURN:
        return why_set(why, ERR_CLOSED, "%s closed the connection", io->peer);
    case SSL_ERROR_SYSCALL:
        if (errno) return net_fail(why, errno, doing, io->peer);
        return why_set(why, ERR_CLOSED, "%s closed the connection", io->peer);
    default:
        (void)snprintf(what, sizeof what, "%s %s", doing, io->peer);
        return tls_why(io->session, ERR_PROTO, what, why);
    }
}

enum err rblock_io_send(struct rblock_io *io, struct slice bytes, size_t *size, short *waits_for,
                        struct why *why) {
    *size = 0;
    if (atomic_load(&io->interrupted)) return stopped(io, why);
    if (io->session) {
        ERR_clear_error();
        errno = 0;
        size_t part = bytes.size < (1u << 20) ? bytes.size : 1u << 20;
        int code = SSL_write(io->session, bytes.data, (int)part);
        if (code <= 0) return tls_result(io, code, waits_for, "write to", why);
        *size = (size_t)code;
        return OK;
    }
    ssize_t sent;
    do sent = send(io->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN) {
        *waits_for = POLLOUT;
        return OK;
    }
    if (sent < 0) return net_fail(why, errno, "write to", io->peer);
    *size = (size_t)sent;
    return OK;
}

enum err rblock_io_recv(struct rblock_io *io, uint8_t *bytes, size_t room, size_t *size,
                        short *waits_for, struct why *why) {
    *size = 0;
    if (atomic_load(&io->interrupted)) return stopped(io, why);
    if (io->session) {
        ERR_clear_error();
        errno = 0;
        int code = SSL_read(io->session, bytes, (int)(room < (1u << 20) ? room : 1u << 20));
        if (code <= 0) return tls_result(io, code, waits_for, "read from", why);
        *size = (size_t)code;
        return OK;
    }
    ssize_t got;
    do got = recv(io->fd, bytes, room, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) {
        *waits_for = POLLIN;
        return OK;
    }
    if (got < 0) return net_fail(why, errno, "read from", io->peer);
    if (got == 0) return why_set(why, ERR_CLOSED, "%s closed the connection", io->peer);
    *size = (size_t)got;
    return OK;
}

/* ---- connecting ---- */

static enum err connect_one(struct rblock_io *io, int family, const struct sockaddr *address,
                            socklen_t size, uint32_t timeout_ms, struct why *why) {
    if (io->fd >= 0) close(io->fd);
    io->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (io->fd < 0) return net_fail(why, errno, "connect to", io->peer);
    if (connect(io->fd, address, size) == 0) return OK;
    if (errno != EINPROGRESS) return net_fail(why, errno, "connect to", io->peer);
    enum err err = rblock_io_wait(io, POLLOUT, timeout_ms, why);
    if (err) return why_add(why, err, "connect");
    int error = 0;
    socklen_t error_size = sizeof error;
    (void)getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
    return error ? net_fail(why, error, "connect to", io->peer) : OK;
}

static enum err connect_tcp(struct rblock_io *io, const struct endpoint *endpoint,
                            uint32_t timeout_ms, struct why *why) {
    struct addrinfo *found = NULL;
    const char *host = *endpoint->host ? endpoint->host : "127.0.0.1";
    enum err err = resolve_name(host, endpoint->port, timeout_ms, &found, why);
    if (err) return why_add(why, err, "connect to %s", io->peer);
    for (struct addrinfo *at = found; at; at = at->ai_next) {
        err = connect_one(io, at->ai_family, at->ai_addr, at->ai_addrlen, timeout_ms, why);
        if (err == OK || err == ERR_STOPPED) break;
    }
    freeaddrinfo(found);
    int one = 1;
    if (err == OK) (void)setsockopt(io->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (err == OK) (void)setsockopt(io->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    return err;
}

static enum err connect_unix(struct rblock_io *io, const struct endpoint *endpoint,
                             uint32_t timeout_ms, struct why *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, endpoint->path, sizeof endpoint->path);
    return connect_one(io, AF_UNIX, (const struct sockaddr *)&address, sizeof address, timeout_ms,
                       why);
}

/* OpenSSL writes with write(2), which raises SIGPIPE: nobody here wants to die of that. */
static void ignore_sigpipe(void) {
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)signal(SIGPIPE, SIG_IGN);
}

static enum err start_tls(struct rblock_io *io, const struct endpoint *endpoint,
                          uint32_t timeout_ms, struct why *why) {
    enum err err = tls_client_open(&io->tls, &endpoint->tls, why);
    if (err) return why_add(why, err, "connect to %s", io->peer);
    const char *name = endpoint->tls.server_name ? endpoint->tls.server_name : endpoint->host;
    err = tls_new_session(io->tls, name, true, &io->session, why);
    if (err) return err;
    ignore_sigpipe();
    if (SSL_set_fd(io->session, io->fd) != 1) return why_set(why, ERR_NOMEM, "TLS: out of memory");
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int code = SSL_do_handshake(io->session);
        if (code == 1) return OK;
        short waits_for = POLLIN;
        err = tls_result(io, code, &waits_for, "TLS handshake with", why);
        if (err == OK) err = rblock_io_wait(io, waits_for, timeout_ms, why);
        if (err) return err;
    }
}

enum err rblock_io_open(struct rblock_io *io, const struct endpoint *endpoint, uint32_t timeout_ms,
                        struct why *why) {
    *io = (struct rblock_io){.fd = -1, .wake = -1};
    endpoint_format(endpoint, io->peer);
    io->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->wake < 0) return net_fail(why, errno, "connect to", io->peer);
    enum err err;
    if (endpoint->kind == ENDPOINT_UNIX)
        err = connect_unix(io, endpoint, timeout_ms, why);
    else if (endpoint->kind == ENDPOINT_TCP)
        err = connect_tcp(io, endpoint, timeout_ms, why);
    else
        err = why_set(why, ERR_CONFIG, "connect: there is no address");
    if (err == OK && endpoint->tls.on) err = start_tls(io, endpoint, timeout_ms, why);
    if (err) rblock_io_close(io);
    return err;
}
