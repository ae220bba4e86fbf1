/* net.c -- sockets of the server: accept, read, write; all non-blocking. */
#include "server/net.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/client_memory.h"
#include "server/output.h"
#include "server/output_wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES (16u << 10)
#define ACCEPTS_PER_TURN 1000
#define WRITE_BYTES_PER_TURN (4u << 20) /* of one client, so that the others get their turn */
#define OUT_KEEP (64u << 10)
#define OUT_FIRST 1024 /* bytes of the first buffer */
#define OUT_MUCH 1024  /* bytes sent at once, for which a small buffer does not do */
#define BIG_REQUEST (32u << 10)
#define OUT_UNAUTHENTICATED                                                                        \
    (1u << 10) /* that may stay unread by who has not said a password (CVE-2025-21605) */
#define LISTENERS_MAX 17

struct listener {
    int fd;
    bool is_unix, is_tls;
    uv_poll_t poll;
};

struct engine_net {
    struct client *ready, **ready_end;       /* with input to look at */
    struct client *outgoing, **outgoing_end; /* with output to write, or to be freed */
    struct listener *listeners[LISTENERS_MAX];
    int listener_count;
    uint16_t port, tls_port;
};

static struct engine_net *net_of(struct engine *engine) {
    if (engine->net == NULL) {
        engine->net = NEW(struct engine_net);
        engine->net->ready_end = &engine->net->ready;
        engine->net->outgoing_end = &engine->net->outgoing;
    }
    return engine->net;
}

/* ---- the lists of a turn ---- */

void net_ready(struct client *c) {
    struct engine_net *net = net_of(c->engine);
    if (c->is_ready || c->flags & (CLIENT_CLOSE_NOW | CLIENT_FAKE)) return;
    c->is_ready = true;
    c->next_ready = NULL;
    *net->ready_end = c;
    net->ready_end = &c->next_ready;
}

struct client *net_take_ready(struct engine *engine) {
    struct engine_net *net = net_of(engine);
    struct client *c = net->ready;
    if (c == NULL) return NULL;
    net->ready = c->next_ready;
    if (net->ready == NULL) net->ready_end = &net->ready;
    c->is_ready = false;
    return c;
}

void client_wake_writer(struct client *c) {
    struct engine_net *net = net_of(c->engine);
    if (c->is_pending_out) return;
    c->is_pending_out = true;
    if (c->flags & CLIENT_FAKE) return; /* its owner looks at `out` */
    c->next_pending = NULL;
    *net->outgoing_end = c;
    net->outgoing_end = &c->next_pending;
}

void client_close_later(struct client *c) {
    c->flags |= CLIENT_CLOSE_NOW;
    client_memory_note(c);
    client_wake_writer(c);
}

bool output_open_slow(struct client *c) {
    if (c->flags & (CLIENT_MUTE | CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_CLOSE_NOW))
        return false;
    if (output_is_stream(c)) {
        engine_log(c->engine, '#',
                   "Replica generated a reply to command '%s', disconnecting it: %s",
                   c->command ? c->command->name : "<unknown>", c->peer);
        client_close_later(c);
        return false;
    }
    if (c->out.cap == 0 && c->fd >= 0) (void)buf_room(&c->out, OUT_FIRST);
    client_wake_writer(c);
    return true;
}

static void drop_ready(struct client *c) {
    struct engine_net *net = net_of(c->engine);
    if (!c->is_ready) return;
    struct client **at = &net->ready;
    while (*at != c) at = &(*at)->next_ready;
    *at = c->next_ready;
    if (*at == NULL) net->ready_end = at;
    c->is_ready = false;
}

void net_forget(struct client *c) {
    drop_ready(c);
}

/* ---- reading ---- */

/* A big argument gets a buffer of its size: doubling could take twice as much. */
static void grow_to(struct buf *in, size_t size) {
    struct buf bigger = {.data = mem_alloc(size), .cap = size};
    buf_add(&bigger, buf_slice(in));
    buf_close(in);
    *in = bigger;
}

static void hear(struct client *c, size_t got) {
    buf_filled(&c->in, got);
    c->bytes_in += got;
    if (buf_size(&c->in) > c->in_peak) c->in_peak = buf_size(&c->in);
    client_memory_note(c);
    c->engine->stats.net_in_bytes += got;
    c->engine->stats.reads++;
    c->active_ms = c->engine->now_us / 1000;
    if (buf_size(&c->in) > (uint64_t)c->engine->settings.client_query_buffer_limit) {
        engine_log(c->engine, '#', "Closing client that reached max query buffer length: %s",
                   c->peer);
        client_close_later(c);
        return;
    }
    net_ready(c);
}

static void read_failed(struct client *c) {
    if (errno == EPROTO)
        engine_log(c->engine, '#', "Error accepting a client connection: %s (addr=%s)",
                   transport_fault(), c->peer);
    client_close_later(c);
}

static void read_some(struct client *c) {
    do {
        size_t want = READ_BYTES;
        size_t need = resp_request_wants(c->request);
        if (need > buf_size(&c->in) + want) want = need - buf_size(&c->in);
        bool fits = need > BIG_REQUEST && c->in.cap - c->in.end > 0;
        if (need > BIG_REQUEST && need > c->in.cap) {
            grow_to(&c->in, need + 2);
            fits = true;
        }
        uint8_t *room = buf_room(&c->in, fits ? 1 : want);
        ssize_t got = transport_read(&c->transport, c->fd, room, c->in.cap - c->in.end);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) {
            read_failed(c);
            return;
        }
        hear(c, (size_t)got);
    } while (transport_has_more(&c->transport) && !(c->flags & CLIENT_CLOSE_NOW));
}

static void want_events(struct client *c);

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct client *c = poll->data;
    if (c == NULL || c->is_held || c->flags & CLIENT_CLOSE_NOW) return;
    if (status < 0) {
        client_close_later(c);
        return;
    }
    if (events & UV_WRITABLE || c->transport.write_wants_read) client_wake_writer(c);
    if (events & (UV_READABLE | UV_DISCONNECT) || c->transport.read_wants_write) read_some(c);
}

static void want_events(struct client *c) {
    if (c->poll == NULL) return;
    if (c->is_held) {
        (void)uv_poll_stop(c->poll);
        return;
    }
    bool writable =
        (c->wants_write && !c->transport.write_wants_read) || c->transport.read_wants_write;
    (void)uv_poll_start(c->poll, UV_READABLE | (writable ? UV_WRITABLE : 0), on_poll);
}

/* ---- writing ---- */

static bool is_master_or_replica(const struct client *c) {
    return c->flags & (CLIENT_MASTER | CLIENT_REPLICA);
}

/* Write until the socket takes no more; false when the client is gone. */
static bool write_some(struct client *c, bool *blocked) {
    size_t written = 0;
    *blocked = false;
    for (;;) {
        if (buf_size(&c->out) == 0 && c->refill) c->refill(c);
        struct slice rest = buf_slice(&c->out);
        if (rest.size == 0) return true;
        if (written > WRITE_BYTES_PER_TURN && !is_master_or_replica(c)) break;
        ssize_t put = transport_write(&c->transport, c->fd, rest.data, rest.size);
        c->engine->stats.writes++;
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) break;
        if (put < 0) return false;
        written += (size_t)put;
        buf_consume(&c->out, (size_t)put);
        c->engine->stats.net_out_bytes += (uint64_t)put;
        if (c->flags & CLIENT_REPLICA) c->engine->stats.repl_out_bytes += (uint64_t)put;
    }
    *blocked = true;
    return true;
}

/* Sends; whether the client is to be freed is in its flags. */
static void send_some(struct client *c) {
    bool blocked = false;
    if (buf_size(&c->out) > OUT_MUCH) c->out_used_ms = c->engine->now_us / 1000;
    if (!(c->flags & CLIENT_CLOSE_NOW) && c->fd >= 0 && !write_some(c, &blocked))
        c->flags |= CLIENT_CLOSE_NOW;
    if (c->flags & CLIENT_CLOSING && !blocked) c->flags |= CLIENT_CLOSE_NOW;
    if (blocked && buf_size(&c->out) > OUT_UNAUTHENTICATED && acl_must_authenticate(c))
        c->flags |= CLIENT_CLOSE_NOW;
    if (c->flags & CLIENT_CLOSE_NOW) return;
    if (!blocked) buf_shrink(&c->out, OUT_KEEP);
    client_memory_note(c);
    if (blocked != c->wants_write || c->transport.tls) {
        c->wants_write = blocked;
        want_events(c);
    }
}

static void flush_client(struct client *c) {
    send_some(c);
    if (c->flags & CLIENT_CLOSE_NOW) client_free_closed(c);
}

void net_send(struct client *c) {
    if (c->is_held) return; /* net_release() looks again */
    send_some(c);
    if (c->flags & CLIENT_CLOSE_NOW) client_wake_writer(c);
}

void net_send_part(struct client *c, size_t bytes) {
    while (bytes > 0 && !c->is_held && !(c->flags & CLIENT_CLOSE_NOW)) {
        ssize_t put =
            transport_write(&c->transport, c->fd, buf_slice(&c->out).data, bytes);
        c->engine->stats.writes++;
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) return; /* the rest goes with what comes behind it */
        if (put < 0) {
            client_close_later(c);
            return;
        }
        bytes -= (size_t)put;
        buf_consume(&c->out, (size_t)put);
        c->engine->stats.net_out_bytes += (uint64_t)put;
    }
}

void net_writable_later(struct client *c) {
    if (!c->wants_write) return;
    c->wants_write = false;
    want_events(c);
}

void output_flush(struct engine *engine) {
    struct engine_net *net = net_of(engine);
    while (net->outgoing != NULL) {
        struct client *c = net->outgoing;
        net->outgoing = c->next_pending;
        if (net->outgoing == NULL) net->outgoing_end = &net->outgoing;
        c->is_pending_out = false;
        if (!c->is_held && !output_waits(c)) flush_client(c);
    }
}

void net_hold(struct client *c) {
    c->is_held = true;
    drop_ready(c);
    want_events(c);
}

void net_release(struct client *c) {
    c->is_held = false;
    want_events(c);
    client_wake_writer(c);
}

/* ---- connections ---- */

static void on_poll_closed(uv_handle_t *handle) {
    mem_free(handle);
}

void net_start(struct client *c) {
    c->poll = NEW(uv_poll_t);
    if (uv_poll_init(c->engine->loop, c->poll, c->fd) != 0) {
        mem_free(c->poll);
        c->poll = NULL;
        client_close_later(c);
        return;
    }
    c->poll->data = c;
    want_events(c);
}

void net_stop(struct client *c) {
    struct engine_net *net = net_of(c->engine);
    drop_ready(c);
    output_wait_forget(c);
    if (c->is_pending_out) {
        struct client **at = &net->outgoing;
        while (*at != NULL && *at != c) at = &(*at)->next_pending;
        if (*at == c) {
            *at = c->next_pending;
            if (*at == NULL) net->outgoing_end = at;
        }
        c->is_pending_out = false;
    }
    if (c->poll == NULL) return;
    uv_poll_stop(c->poll);
    c->poll->data = NULL;
    uv_close((uv_handle_t *)c->poll, on_poll_closed);
    c->poll = NULL;
}

static void name_address(const struct sockaddr_storage *address, char *text, size_t room) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, room, "%s:%d", host, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, room, "[%s]:%d", host, ntohs(in->sin6_port));
    }
}

static bool is_loopback(const struct client *c) {
    return c->flags & CLIENT_UNIX || strncmp(c->peer, "127.", 4) == 0 ||
           strncmp(c->peer, "[::1]", 5) == 0;
}

static void refuse(struct client *c, const char *error) {
    buf_printf(&c->out, "-%s\r\n", error);
    c->engine->stats.rejected_connections++;
    client_close_after_reply(c);
}

static const char protected_text[] = "DENIED Drawbridge is running in protected mode because "
                                     "protected mode is enabled and no password is set for the "
                                     "default user. In this mode connections are only accepted "
                                     "from the loopback interface. Set a password "
                                     "(requirepass), or disable protected mode (CONFIG SET "
                                     "protected-mode no) if the network is safe.";

static bool start_tls(struct client *c) {
    struct why why;
    if (transport_accept(c->engine, &c->transport, c->fd, &why) == OK) return true;
    engine_log(c->engine, '#', "Error accepting a client connection: %s", why.text);
    client_close_later(c);
    return false;
}

static void welcome(struct engine *engine, int fd, bool is_unix, bool is_tls) {
    struct client *c = client_new(engine, fd, is_unix);
    if (is_tls && !start_tls(c)) return;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (is_unix) {
        snprintf(c->peer, sizeof c->peer, "%.50s:0", engine->settings.unixsocket);
        snprintf(c->local, sizeof c->local, "%.50s:0", engine->settings.unixsocket);
    } else {
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (engine->settings.tcp_keepalive_s > 0) {
            int idle = (int)engine->settings.tcp_keepalive_s,
                interval = idle / 3 > 0 ? idle / 3 : 1, count = 3;
            (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
            (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
            (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
            (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
        }
        if (getpeername(fd, (struct sockaddr *)&address, &size) == 0)
            name_address(&address, c->peer, sizeof c->peer);
        size = sizeof address;
        if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
            name_address(&address, c->local, sizeof c->local);
    }
    engine->stats.connections++;
    if (engine->client_count > (uint64_t)engine->settings.maxclients)
        refuse(c, "ERR max number of clients reached");
    else if (engine->settings.protected_mode && acl_default_user(engine)->flags & ACL_USER_NOPASS &&
             !is_loopback(c))
        refuse(c, protected_text);
}

static void on_connection(uv_poll_t *poll, int status, int events) {
    struct listener *listener = poll->data;
    struct engine *engine = poll->loop->data;
    (void)events;
    if (status < 0) return;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return; /* none left, or no descriptors: they wait in the backlog */
        welcome(engine, fd, listener->is_unix, listener->is_tls);
    }
}

/* ---- listening ---- */

static enum err add_listener(struct engine *engine, int fd, bool is_unix, bool is_tls,
                             struct why *why) {
    struct engine_net *net = net_of(engine);
    if (net->listener_count == LISTENERS_MAX) {
        close(fd);
        return why_set(why, ERR_LIMIT, "more than %d addresses to listen at", LISTENERS_MAX);
    }
    struct listener *l = NEW(struct listener);
    *l = (struct listener){.fd = fd, .is_unix = is_unix, .is_tls = is_tls};
    if (uv_poll_init(engine->loop, &l->poll, fd) != 0) {
        close(fd);
        mem_free(l);
        return why_set(why, ERR_IO, "poll a listening socket");
    }
    l->poll.data = l;
    net->listeners[net->listener_count++] = l;
    (void)uv_poll_start(&l->poll, UV_READABLE, on_connection);
    return OK;
}

static enum err listen_tcp(struct engine *engine, const char *host, bool is_tls, struct why *why) {
    struct sockaddr_storage address = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
    uint16_t port = (uint16_t)(is_tls ? engine->settings.tls_port : engine->settings.port);
    bool any = strcmp(host, "*") == 0, any6 = strcmp(host, "::*") == 0;
    socklen_t size = sizeof *in;
    if (any || inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
    } else if (any6 || inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        size = sizeof *in6;
    } else
        return why_set(why, ERR_CONFIG, "'%s' is not an address", host);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) return why_set(why, ERR_IO, "socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 ||
        listen(fd, (int)engine->settings.tcp_backlog) != 0) {
        enum err err =
            why_set(why, ERR_IO, "listen at %s port %d: %s", host, port, strerror(errno));
        close(fd);
        return err;
    }
    if (is_tls)
        engine->net->tls_port = port;
    else
        engine->net->port = port;
    return add_listener(engine, fd, false, is_tls, why);
}

static enum err listen_unix(struct engine *engine, struct why *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = engine->settings.unixsocket;
    if (strlen(path) >= sizeof address.sun_path)
        return why_set(why, ERR_CONFIG, "the path of the Unix socket is too long");
    memcpy(address.sun_path, path, strlen(path));
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return why_set(why, ERR_IO, "socket: %s", strerror(errno));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, (int)engine->settings.tcp_backlog) != 0) {
        enum err err = why_set(why, ERR_IO, "listen at %s: %s", path, strerror(errno));
        close(fd);
        return err;
    }
    if (engine->settings.unixsocketperm) (void)chmod(path, (mode_t)engine->settings.unixsocketperm);
    return add_listener(engine, fd, true, false, why);
}

static bool has_unix(const struct engine *engine) {
    for (int i = 0; i < engine->net->listener_count; i++)
        if (engine->net->listeners[i]->is_unix) return true;
    return false;
}

/* At all addresses of `bind`. *HEARD counts those that it listens at. */
static enum err listen_all(struct engine *engine, bool is_tls, int *heard, int *tried,
                           struct why *why) {
    char *copy = mem_strdup(engine->settings.bind), *rest = copy;
    enum err err = OK;
    for (char *host; err == OK && (host = strsep(&rest, " ")) != NULL;) {
        bool optional = host[0] == '-';
        if (host[0] == '\0') continue;
        (*tried)++;
        err = listen_tcp(engine, host + optional, is_tls, why);
        if (err == OK)
            (*heard)++;
        else if (optional || strcmp(host, "::*") == 0)
            err = OK;
    }
    mem_free(copy);
    return err;
}

enum err net_listen(struct engine *engine, struct why *why) {
    struct engine_net *net = net_of(engine);
    enum err err = engine->tls ? OK : transport_configure(engine, why);
    int heard = 0, tried = 0;
    net->port = net->tls_port = 0;
    if (err == OK && engine->settings.port > 0)
        err = listen_all(engine, false, &heard, &tried, why);
    if (err == OK && engine->settings.tls_port > 0)
        err = listen_all(engine, true, &heard, &tried, why);
    if (err == OK && engine->settings.unixsocket[0] && !has_unix(engine)) {
        err = listen_unix(engine, why);
        heard++;
    }
    if (err == OK && heard == 0 && tried > 0) return ERR_IO; /* WHY has the last reason */
    return err;
}

static void on_listener_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

void net_close_listeners(struct engine *engine, bool unix_too) {
    struct engine_net *net = net_of(engine);
    int kept = 0;
    for (int i = 0; i < net->listener_count; i++) {
        struct listener *l = net->listeners[i];
        if (l->is_unix && !unix_too) {
            net->listeners[kept++] = l;
            continue;
        }
        uv_poll_stop(&l->poll);
        close(l->fd);
        if (l->is_unix) (void)unlink(engine->settings.unixsocket);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
    }
    net->listener_count = kept;
}

bool net_port_changed(const struct engine *engine) {
    return engine->net->port != engine->settings.port ||
           engine->net->tls_port != engine->settings.tls_port;
}

uint16_t net_port(const struct engine *engine) {
    if (engine->net == NULL) return 0;
    return engine->net->port ? engine->net->port : engine->net->tls_port;
}
