/* master_link.c -- from REPLICAOF to the first byte of the master's stream. See replication.h.
 *
 *     NONE <-> WAIT -> RESOLVING -> CONNECTING -> HANDSHAKE -> TRANSFER -> LOADING -> CONNECTED
 *               ^___________________________________________________________________/  any break
 *
 * What comes in TRANSFER, and LOADING: master_load.c. Loading is done in slices (loading.h), with the socket unread: what the master streams meanwhile
 * waits there and at the master. It hears an empty line each second, so that it goes on waiting.
 */
#include "server/replication.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/aof.h"
#include "server/block.h"
#include "server/oom.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 * 1024)
#define RETRY_FIRST_MS 100
#define RETRY_MS 1000

const char *master_link_state_name(const struct master_link *link) {
    switch (link->state) {
    case LINK_NONE: return "none";
    case LINK_WAIT:
    case LINK_RESOLVING: return "connect";
    case LINK_CONNECTING: return "connecting";
    case LINK_HANDSHAKE: return "handshake";
    case LINK_TRANSFER:
    case LINK_LOADING: return "sync";
    case LINK_CONNECTED: return "connected";
    }
    UNREACHABLE("a state without a name");
}

static struct replication *of(struct master_link *link) {
    return replication_of(link->engine);
}

/* ---- the end of a connection ---- */

static void poll_closed(uv_handle_t *handle) {
    mem_free(handle);
}

static void hide(struct master_link *link) {
    if (!link->is_shown) return;
    client_hide_fake(link->client);
    link->is_shown = false;
    link->client->flags &= ~(uint64_t)CLIENT_CLOSE_NOW;
    link->client->is_pending_out = false;
}

static void show(struct master_link *link) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    char host[64] = "?", port[16] = "0";
    if (getpeername(link->fd, (struct sockaddr *)&peer, &size) == 0)
        (void)getnameinfo((struct sockaddr *)&peer, size, host, sizeof host, port, sizeof port,
                          NI_NUMERICHOST | NI_NUMERICSERV);
    bool is_v6 = strchr(host, ':') != NULL;
    (void)snprintf(link->client->peer, sizeof link->client->peer,
                   is_v6 ? "[%.45s]:%.5s" : "%.45s:%.5s", host, port);
    client_show_fake(link->client);
    link->is_shown = true;
}

void master_link_check_killed(struct replication *r) {
    struct master_link *link = &r->link;
    if (link->is_shown && link->client->flags & CLIENT_CLOSE_NOW) master_link_lost(link, NULL);
}

static void hang_up(struct master_link *link) {
    link->generation++;
    hide(link);
    if (link->poll) uv_close((uv_handle_t *)link->poll, poll_closed);
    link->poll = NULL;
    transport_close(&link->transport);
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
    buf_close(&link->in);
    buf_close(&link->out);
    master_load_drop(link);
    if (link->state == LINK_CONNECTED) {
        obey_reset(link);
        link->down_since_ms = link->engine->now_ms;
        engine_log(link->engine, '*', "Connection with master lost.");
    }
}

void master_link_lost(struct master_link *link, const char *words) {
    bool was_up =
        link->state == LINK_CONNECTED || (link->state == LINK_LOADING && link->is_diskless);
    if (words) engine_log(link->engine, '#', "%s", words);
    hang_up(link);
    link->state = LINK_WAIT;
    link->retry_at_ms = replication_now_ms(of(link)) + (was_up ? RETRY_FIRST_MS : RETRY_MS);
}

/* ---- bytes ---- */

static void socket_ready(uv_poll_t *poll, int status, int events);

static void watch(struct master_link *link) {
    bool writable = link->state == LINK_CONNECTING || link->transport.read_wants_write ||
                    (buf_size(&link->out) && !link->transport.write_wants_read);
    int events = UV_READABLE | (writable ? UV_WRITABLE : 0);
    (void)uv_poll_start(link->poll, events, socket_ready);
}

void master_link_send(struct master_link *link) {
    if (link->fd < 0 || link->state == LINK_CONNECTING || link->state == LINK_LOADING) return;
    struct slice bytes = buf_slice(&link->out);
    ssize_t sent =
        bytes.size ? transport_write(&link->transport, link->fd, bytes.data, bytes.size) : 0;
    if (sent > 0) buf_consume(&link->out, (size_t)sent);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return; /* the reader will hear of it */
    watch(link);
}

static void connected(struct master_link *link);

/* Outside of the loop. */
static void load_now(struct engine *engine) {
    struct master_link *link = &replication_of(engine)->link;
    struct why why;
    if (link->state != LINK_LOADING) return; /* REPLICAOF came between */
    enum err err = master_load_run(link, &why);
    if (engine->shutting_down) return;
    link->last_io_ms = replication_now_ms(of(link));
    if (err) {
        master_link_lost(link, why.text);
        return;
    }
    connected(link);
    obey_take(link); /* what came behind the RDB */
}

static void begin_loading(struct master_link *link) {
    link->state = LINK_LOADING;
    link->last_io_ms = replication_now_ms(of(link));
    (void)uv_poll_stop(link->poll);
    engine_later(link->engine, load_now);
}

/* ---- the handshake ---- */

static void connected(struct master_link *link) {
    master_load_drop(link);
    link->state = LINK_CONNECTED;
    link->down_since_ms = 0;
    link->last_ack_ms = 0;
    show(link);
    obey_ack(link);
}

static void continued(struct master_link *link) {
    struct replication *r = of(link);
    if (link->psync.id_changed) { /* the master was promoted: our replicas must learn the new id */
        engine_log(link->engine, '*', "Master replication ID changed to %s", link->psync.replid);
        history_rename(&r->history, link->psync.replid);
        replicas_disconnect(r);
    }
    replication_need_backlog(r);
    obey_begin(link, -1);
    connected(link);
    engine_log(link->engine, '*',
               "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
}

/* False: no more for now, or for ever. */
static bool obey_event(struct master_link *link, enum psync_event event, struct why *why) {
    enum err err = OK;
    switch (event) {
    case PSYNC_EV_MORE: return true;
    case PSYNC_EV_SEND: master_link_send(link); return true;
    case PSYNC_EV_FULL:
        failover_answered(of(link), true);
        err = master_load_begin(link, why);
        break;
    case PSYNC_EV_CONTINUE:
        failover_answered(of(link), true);
        continued(link);
        return true;
    case PSYNC_EV_BYTES:
        err = master_load_take(link, link->psync.rdb, why);
        break;
    case PSYNC_EV_RDB_END: begin_loading(link); return false;
    case PSYNC_EV_LATER:
    case PSYNC_EV_REFUSED: err = ERR_REFUSED; break;
    }
    if (err) master_link_lost(link, why->text);
    if (err == ERR_REFUSED) failover_answered(of(link), false);
    return !err;
}

static void take_handshake(struct master_link *link) {
    for (;;) {
        struct why why = {""};
        size_t used = 0;
        enum psync_event event =
            psync_feed(&link->psync, buf_slice(&link->in), &used, &link->out, &why);
        if (event != PSYNC_EV_BYTES) buf_consume(&link->in, used);
        if (!obey_event(link, event, &why)) return;
        if (event == PSYNC_EV_BYTES) buf_consume(&link->in, used);
        if (event == PSYNC_EV_BYTES && link->is_diskless) {
            begin_loading(link); /* it reads on by itself */
            return;
        }
        if (event == PSYNC_EV_MORE || link->state == LINK_CONNECTED) return;
    }
}

static void start_handshake(struct master_link *link) {
    const struct settings *s = &link->engine->settings;
    struct replication *r = of(link);
    struct psync_config config = {
        .user = slice_text(s->masteruser),
        .password = slice_from(s->masterauth, s->masterauth_size),
        .listening_port = (uint16_t)(s->replica_announce_port ? s->replica_announce_port : s->port),
        .address = s->replica_announce_ip[0] ? s->replica_announce_ip : NULL,
        .failover = r->failover.state == FAILOVER_IN_PROGRESS,
        .version = "8.1.0"};
    if (link->may_continue) {
        memcpy(config.replid, r->history.id, sizeof config.replid);
        config.next_offset = r->history.offset + 1;
        engine_log(link->engine, '*', "Trying a partial resynchronization (request %s:%lld).",
                   config.replid, (long long)config.next_offset);
    }
    link->state = LINK_HANDSHAKE;
    psync_start(&link->psync, &config, &link->out);
    master_link_send(link);
}

/* ---- the socket ---- */

static void socket_connected(struct master_link *link) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
        struct why why;
        (void)why_set(&why, ERR_IO, "Error condition on socket for SYNC: %s", strerror(error));
        master_link_lost(link, why.text);
        return;
    }
    struct why why;
    if (link->engine->settings.tls_replication &&
        transport_dial(link->engine, &link->transport, link->fd, link->host, &why)) {
        master_link_lost(link, why.text);
        return;
    }
    engine_log(link->engine, '*', "Non blocking connect for SYNC fired the event.");
    start_handshake(link);
}

/* The AOF's disk is behind, or broken: the stream waits in the socket, and at the master. */
static bool is_choked(struct master_link *link) {
    if (link->state != LINK_CONNECTED || !aof_is_full(persistence_of(link->engine)->aof))
        return false;
    link->is_choked = true;
    (void)uv_poll_stop(link->poll);
    return true;
}

static void check_choked(struct master_link *link) {
    if (!link->is_choked || link->state != LINK_CONNECTED || is_choked(link)) return;
    link->is_choked = false;
    watch(link);
    obey_take(link);
}

static void socket_readable(struct master_link *link) {
    if (is_choked(link)) return;
    ssize_t got =
        transport_read(&link->transport, link->fd, buf_room(&link->in, READ_BYTES), READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        watch(link);
        return;
    }
    if (got <= 0) {
        const char *fault = errno == EPROTO ? transport_fault() : strerror(errno);
        master_link_lost(link, got ? fault : NULL);
        return;
    }
    buf_filled(&link->in, (size_t)got);
    link->engine->stats.net_in_bytes += (uint64_t)got;
    link->engine->stats.repl_in_bytes += (uint64_t)got;
    link->last_io_ms = replication_now_ms(of(link));
    if (link->state != LINK_CONNECTED) take_handshake(link);
    if (link->state == LINK_CONNECTED) obey_take(link);
}

static void socket_ready(uv_poll_t *poll, int status, int events) {
    struct master_link *link = poll->data;
    if (poll != link->poll || link->engine->busy) return;
    engine_read_clock(link->engine);
    if (link->state == LINK_CONNECTING) {
        socket_connected(link);
        return;
    }
    if (status < 0) {
        master_link_lost(link, uv_strerror(status));
        return;
    }
    struct transport *t = &link->transport;
    if (events & UV_WRITABLE || t->write_wants_read) master_link_send(link);
    do {
        if (link->fd < 0 || !(events & UV_READABLE || t->read_wants_write)) return;
        socket_readable(link);
    } while (transport_has_more(t) && poll == link->poll);
}

/* bind-source-addr: which of our addresses the master sees. */
static void bind_source(struct master_link *link, int family) {
    const char *text = link->engine->settings.bind_source_addr;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    int status = 0;
    if (text[0] == '\0') return;
    if (family == AF_INET && inet_pton(AF_INET, text, &in.sin_addr) == 1)
        status = bind(link->fd, (struct sockaddr *)&in, sizeof in);
    else if (family == AF_INET6 && inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        status = bind(link->fd, (struct sockaddr *)&in6, sizeof in6);
    if (status)
        engine_log(link->engine, '#', "bind-source-addr %s: %s", text, strerror(errno));
}

static void dial(struct master_link *link, const struct sockaddr *address, socklen_t size) {
    int yes = 1;
    link->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd >= 0) bind_source(link, address->sa_family);
    if (link->fd < 0 || (connect(link->fd, address, size) && errno != EINPROGRESS)) {
        struct why why;
        (void)why_set(&why, ERR_IO, "Unable to connect to MASTER: %s", strerror(errno));
        master_link_lost(link, why.text);
        return;
    }
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    link->state = LINK_CONNECTING;
    link->last_io_ms = replication_now_ms(of(link));
    link->poll = NEW(uv_poll_t);
    link->poll->data = link;
    (void)uv_poll_init(link->engine->loop, link->poll, link->fd);
    watch(link);
    engine_log(link->engine, '*', "MASTER <-> REPLICA sync started");
}

struct lookup {
    uv_getaddrinfo_t request;
    struct master_link *link;
    unsigned generation;
};

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct lookup *lookup = request->data;
    struct master_link *link = lookup->link;
    bool current = lookup->generation == link->generation;
    mem_free(lookup);
    if (current) engine_read_clock(link->engine);
    if (current && status)
        master_link_lost(link, uv_strerror(status));
    else if (current)
        dial(link, found->ai_addr, found->ai_addrlen);
    if (found) uv_freeaddrinfo(found);
}

static void resolve(struct master_link *link) {
    struct lookup *lookup = NEW(struct lookup);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    *lookup = (struct lookup){.link = link, .generation = link->generation};
    lookup->request.data = lookup;
    (void)snprintf(port, sizeof port, "%u", (unsigned)link->port & 0xffffu);
    link->state = LINK_RESOLVING;
    engine_log(link->engine, '*', "Connecting to MASTER %s:%s", link->host, port);
    int error =
        uv_getaddrinfo(link->engine->loop, &lookup->request, resolved, link->host, port, &hints);
    if (!error) return;
    mem_free(lookup);
    master_link_lost(link, uv_strerror(error));
}

/* ---- roles ---- */

/* What CONFIG GET and CONFIG REWRITE say. */
static void tell_settings(struct master_link *link) {
    struct buf text = {0};
    if (link->host) buf_printf(&text, "%s %lld", link->host, (long long)link->port);
    mem_free(link->engine->settings.replicaof);
    link->engine->settings.replicaof = mem_strdup(buf_text(&text));
    buf_close(&text);
}

void master_link_set_master(struct replication *r, struct slice host, int64_t port) {
    struct master_link *link = &r->link;
    bool was_master = r->engine->role == ROLE_MASTER;
    if (link->host) {
        hang_up(link);
        mem_free(link->host);
    }
    struct buf name = {0};
    buf_add(&name, host);
    link->host = mem_strdup(buf_text(&name));
    buf_close(&name);
    link->port = port;
    tell_settings(link);
    r->engine->role = ROLE_REPLICA;
    oom_role_changed(r->engine);
    if (was_master) {
        block_end_all(r->engine, "UNBLOCKED force unblock from blocking operation, instance state "
                                 "changed (master -> replica?)");
        /* What we have may be the beginning of what the new master has: ask for the rest. */
        link->may_continue = true;
        replication_need_backlog(r);
        obey_begin(link, r->selected_db);
        link->down_since_ms = r->engine->now_ms;
    }
    /* Our replicas stay: they are cut off when it turns out that the history is another one, which
     * is when a copy of it is whole (adopt_history), or it goes on under another id (continued). */
    link->state = LINK_WAIT;
    link->retry_at_ms = 0;
    link->last_io_ms = replication_now_ms(r);
}

void master_link_unset_master(struct replication *r) {
    struct master_link *link = &r->link;
    hang_up(link);
    mem_free(link->host);
    link->host = NULL;
    tell_settings(link);
    link->state = LINK_NONE;
    link->may_continue = false;
    r->engine->role = ROLE_MASTER;
    oom_role_changed(r->engine);
    history_shift_id(&r->history);
    replicas_disconnect(r); /* they come back at once, by the second id, and learn the new one */
    r->selected_db = -1;
    r->multi_pending = false;
    r->no_replicas_since_ms = replication_now_ms(r);
    if (link->client) client_free_fake(link->client);
    link->client = NULL;
}

static void still_here(struct master_link *link, uint64_t now_ms) {
    link->last_io_ms = now_ms;
    if (transport_write(&link->transport, link->fd, "\n", 1) < 0) return; /* found out later */
}

void master_link_tick(struct replication *r) {
    struct master_link *link = &r->link;
    uint64_t now_ms = replication_now_ms(r),
             timeout_ms = (uint64_t)r->engine->settings.repl_timeout_s * 1000;
    if (link->state == LINK_LOADING && now_ms - link->last_io_ms >= 1000) still_here(link, now_ms);
    if (link->state == LINK_NONE || r->engine->loading || r->engine->async_loading) return;
    if (link->state == LINK_WAIT) {
        if (now_ms >= link->retry_at_ms) resolve(link);
        return;
    }
    check_choked(link);
    if (link->is_choked && link->state == LINK_CONNECTED) link->last_io_ms = now_ms;
    if (link->state != LINK_RESOLVING && now_ms - link->last_io_ms > timeout_ms) {
        master_link_lost(
            link, link->state == LINK_CONNECTED  ? "MASTER timeout: no data nor PING received..."
                  : link->state == LINK_TRANSFER ? "Timeout receiving bulk data from MASTER..."
                                                 : "Timeout connecting to the MASTER...");
        return;
    }
    if (link->state == LINK_CONNECTED && now_ms - link->last_ack_ms >= 1000) obey_ack(link);
}

void master_link_open(struct replication *r) {
    r->link.engine = r->engine;
    r->link.fd = r->link.temp_fd = -1;
    r->link.synced_offset = -1;
}
