/* listener_socket.c -- a bound and listening socket, and what is wrong with one that cannot be. */
#include "lib/net/listener.h"

#include "lib/net/net_error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG_DEFAULT 511

static int backlog_of(const struct listener_options *options) {
    return options && options->backlog ? (int)options->backlog : BACKLOG_DEFAULT;
}

static enum err fail(const struct endpoint *endpoint, int fd, int error, struct why *why) {
    char text[ENDPOINT_TEXT];
    if (fd >= 0) close(fd);
    return net_fail(why, error, "listen on", endpoint_format(endpoint, text));
}

/* ---- TCP ---- */

static enum err listen_tcp(const struct endpoint *endpoint, const struct listener_options *options,
                           const struct addrinfo *address, int *fd, struct why *why) {
    int one = 1;
    int made = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return fail(endpoint, -1, errno, why);
    (void)setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (options && options->share_port &&
        setsockopt(made, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0)
        return fail(endpoint, made, errno, why);
    /* An IPv6 socket takes IPv6 only when an IPv6 address was named. */
    if (address->ai_family == AF_INET6)
        (void)setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(made, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(made, backlog_of(options)) != 0)
        return fail(endpoint, made, errno, why);
    *fd = made;
    return OK;
}

/* Start-up only: a name here is looked up at once, and is expected to be local. */
static enum err open_tcp(const struct endpoint *endpoint, const struct listener_options *options,
                         int *fd, struct why *why) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char port[8], text[ENDPOINT_TEXT];
    (void)snprintf(port, sizeof port, "%u", endpoint->port);
    struct addrinfo *found = NULL;
    const char *host = *endpoint->host ? endpoint->host : "0.0.0.0";
    int code = getaddrinfo(host, port, &hints, &found);
    if (code)
        return why_set(why, ERR_IO, "listen on %s: %s", endpoint_format(endpoint, text),
                       gai_strerror(code));
    enum err err = listen_tcp(endpoint, options, found, fd, why);
    freeaddrinfo(found);
    return err;
}

/* ---- Unix sockets ---- */

/* Whether somebody accepts connections at ADDRESS. */
static bool somebody_listens(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return true; /* we cannot know: do not take it away */
    int code = connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool listens = code == 0 || errno == EAGAIN || errno == EACCES;
    close(fd);
    return listens;
}

/* Remove the file of a process that is gone. */
static enum err clear_stale(const struct endpoint *endpoint, const struct sockaddr_un *address,
                            struct why *why) {
    struct stat info;
    if (lstat(endpoint->path, &info) != 0) return OK;
    if (!S_ISSOCK(info.st_mode))
        return why_set(why, ERR_EXISTS, "listen on unix:%s: a file that is no socket is there",
                       endpoint->path);
    if (somebody_listens(address)) return fail(endpoint, -1, EADDRINUSE, why);
    if (unlink(endpoint->path) != 0) return fail(endpoint, -1, errno, why);
    return OK;
}

static enum err open_unix(const struct endpoint *endpoint, const struct listener_options *options,
                          int *fd, struct why *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, endpoint->path, sizeof endpoint->path);
    enum err err = clear_stale(endpoint, &address, why);
    if (err) return err;
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) return fail(endpoint, -1, errno, why);
    if (bind(made, (const struct sockaddr *)&address, sizeof address) != 0)
        return fail(endpoint, made, errno, why);
    /* Nobody can connect before listen(), so there is no moment with a wider mode. */
    mode_t mode = options && options->socket_mode ? (mode_t)options->socket_mode : 0600;
    if (chmod(endpoint->path, mode) != 0 || listen(made, backlog_of(options)) != 0) {
        int error = errno;
        unlink(endpoint->path);
        return fail(endpoint, made, error, why);
    }
    *fd = made;
    return OK;
}

enum err listener_socket(const struct endpoint *endpoint, const struct listener_options *options,
                         int *fd, struct why *why) {
    if (endpoint->kind == ENDPOINT_UNIX) return open_unix(endpoint, options, fd, why);
    if (endpoint->kind == ENDPOINT_TCP) return open_tcp(endpoint, options, fd, why);
    return why_set(why, ERR_CONFIG, "listen: there is no address");
}
