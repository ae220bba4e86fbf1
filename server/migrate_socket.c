/* migrate_socket.c -- the cache of MIGRATE's connections. See migrate_socket.h. */
#include "server/migrate_socket.h"

#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/redis/resp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX 64u
#define IDLE_US UINT64_C(10000000)

struct migrate_sockets {
    size_t count;
    struct migrate_socket sockets[SOCKETS_MAX]; /* the first `count` of them */
};

bool migrate_socket_wait(int fd, short events, int64_t timeout_ms) {
    struct pollfd ready = {.fd = fd, .events = events};
    int timeout = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
    int got;
    while ((got = poll(&ready, 1, timeout)) < 0 && errno == EINTR) {}
    return got > 0;
}

/* ---- opening ---- */

static int connect_one(const struct addrinfo *to, int64_t timeout_ms, bool *timed_out) {
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    int error = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        error = ETIMEDOUT;
        *timed_out = !migrate_socket_wait(fd, POLLOUT, timeout_ms);
        if (!*timed_out) (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    int on = 1;
    if (error == 0) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (error == 0) return fd;
    close(fd);
    return -1;
}

static bool copy_text(char *text, size_t size, struct slice from) {
    if (from.size >= size) return false;
    memcpy(text, from.data, from.size);
    text[from.size] = '\0';
    return true;
}

static int connect_to(const struct migrate_target *target, bool *timed_out) {
    char host[256], port[16];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (!copy_text(host, sizeof host, target->host) ||
        !copy_text(port, sizeof port, target->port) || getaddrinfo(host, port, &wanted, &found))
        return -1;
    int fd = -1;
    for (struct addrinfo *to = found; to && fd < 0; to = to->ai_next)
        fd = connect_one(to, target->timeout_ms, timed_out);
    freeaddrinfo(found);
    return fd;
}

/* ---- keeping ---- */

static void name_target(const struct migrate_target *target, uint8_t name[32]) {
    const struct slice words[] = {target->host, target->port, target->user, target->password};
    struct buf all = {0};
    resp_write_command(&all, COUNT(words), words); /* lengths and bytes: no two targets alike */
    struct slice bytes = buf_slice(&all);
    (void)SHA256(bytes.data, bytes.size, name);
    secret_wipe(all.data, all.cap);
    buf_close(&all);
}

void migrate_socket_drop(struct engine *engine, struct migrate_socket *socket) {
    struct migrate_sockets *all = engine->migrate_sockets;
    close(socket->fd);
    *socket = all->sockets[--all->count];
}

void migrate_socket_give(struct engine *engine, struct migrate_socket *socket) {
    socket->used_us = clock_mono_us(engine->clock);
}

/* The one that was not used for the longest time. */
static struct migrate_socket *oldest(struct migrate_sockets *all) {
    struct migrate_socket *found = all->sockets;
    for (size_t i = 1; i < all->count; i++)
        if (all->sockets[i].used_us < found->used_us) found = &all->sockets[i];
    return found;
}

struct migrate_socket *migrate_socket_take(struct engine *engine,
                                           const struct migrate_target *target, bool *fresh,
                                           bool *timed_out) {
    struct migrate_sockets *all = engine->migrate_sockets;
    uint8_t name[32];
    name_target(target, name);
    *fresh = *timed_out = false;
    for (size_t i = 0; i < all->count; i++)
        if (memcmp(all->sockets[i].name, name, sizeof name) == 0) return &all->sockets[i];
    *fresh = true;
    int fd = connect_to(target, timed_out);
    if (fd < 0) return NULL;
    if (all->count == SOCKETS_MAX) migrate_socket_drop(engine, oldest(all));
    struct migrate_socket *socket = &all->sockets[all->count++];
    *socket = (struct migrate_socket){.fd = fd, .db = -1};
    memcpy(socket->name, name, sizeof name);
    return socket;
}

size_t migrate_sockets_count(const struct engine *engine) {
    return engine->migrate_sockets->count;
}

static void close_idle(struct engine *engine) {
    struct migrate_sockets *all = engine->migrate_sockets;
    for (size_t i = all->count; i-- > 0;)
        if (engine->now_us > all->sockets[i].used_us + IDLE_US)
            migrate_socket_drop(engine, &all->sockets[i]);
}

void migrate_sockets_start(struct engine *engine) {
    engine->migrate_sockets = NEW(struct migrate_sockets);
    engine_hook_add(engine, HOOK_TICK, close_idle);
}
