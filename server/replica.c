/* replica.c -- what one replica of ours is sent: the RDB of a moment, then the stream from there
 * on.
 *
 *     QUEUED -> SNAPSHOT -> WAIT_ACK (mark) -> ONLINE
 *                  \------- ONLINE (length)          SNAPSHOT: full_sync.c
 *
 * From SNAPSHOT on its place pins the backlog: what it has not been sent is kept there, in memory
 * or on disk, and never copied. The limit of its class (client-output-buffer-limit replica) counts
 * what it makes us hold in memory beyond repl-backlog-memory: it is passed only when the disk is
 * full, or slower than the writes. Who reads nothing at all is dropped after repl-timeout.
 */
#include "server/replication.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define SEND_BYTES ((size_t)256 * 1024) /* given to the socket at once */

/* As Redis says it: while the RDB is being made, also if it is sent at the same time, a replica
 * waits for it; what is sent is a file. */
const char *replica_state_name(const struct replica *replica) {
    switch (replica->state) {
    case REPLICA_NEW:
    case REPLICA_QUEUED: return "wait_bgsave";
    case REPLICA_SNAPSHOT: return replica->fd < 0 ? "wait_bgsave" : "send_bulk";
    case REPLICA_WAIT_ACK: return "send_bulk";
    case REPLICA_ONLINE: return "online";
    }
    UNREACHABLE("a state without a name");
}

void replica_address(const struct replica *replica, char *text, size_t size, int64_t *port) {
    const char *from = replica->address[0] ? replica->address : replica->client->peer;
    size_t length = strlen(from);
    const char *colon = strrchr(from, ':');
    if (!replica->address[0] && colon) length = (size_t)(colon - from);
    if (length >= size) length = size - 1;
    memcpy(text, from, length);
    text[length] = '\0';
    *port = replica->port;
}

/* ---- ends ---- */

static void drop_file(struct replica *replica) {
    if (replica->temp) persistence_remove_file(replica->client->engine, replica->temp, replica->fd);
    replica->fd = -1;
    mem_free(replica->temp);
    replica->temp = NULL;
}

static void replica_free(struct client *c) {
    struct replica *replica = c->owner_data;
    struct replication *r = replication_of(c->engine);
    if (replica->sync) full_sync_leave(replica);
    drop_file(replica);
    buf_close(&replica->rdb);
    mem_free(replica->slots);
    slot_filter_free(replica->filter);
    if (replica->is_linked) {
        if (replica->prev)
            replica->prev->next = replica->next;
        else
            r->replicas = replica->next;
        if (replica->next) replica->next->prev = replica->prev;
        if (--r->replica_count == 0) r->no_replicas_since_ms = replication_now_ms(r);
        engine_log(c->engine, '#', "Connection with replica %s lost.", c->peer);
    }
    c->owner_data = NULL;
    mem_free(replica);
    r->fresh_bytes = true; /* a pin may be gone */
}

struct replica *replica_new(struct client *c) {
    struct replica *replica = NEW(struct replica);
    replica->client = c;
    replica->fd = -1;
    replica->aof_ack_offset = -1;
    c->owner_data = replica;
    c->on_free = replica_free;
    return replica;
}

void replicas_disconnect(struct replication *r) {
    for (struct replica *replica = r->replicas; replica; replica = replica->next)
        client_close_later(replica->client);
}

/* ---- sending ---- */

static void send_stream(struct replica *replica) {
    struct replication *r = replication_of(replica->client->engine);
    struct buf *out = &replica->client->out;
    uint64_t end = aof_stream_limit(persistence_of(r->engine)->aof);
    if (end > r->backlog.end) end = r->backlog.end;
    while (buf_size(out) < SEND_BYTES && replica->next_offset < end) {
        if (replica->next_offset < r->backlog.begin) { /* lost by the disk */
            engine_log(r->engine, '#', "Replica %s needs what cannot be read back: %s",
                       replica->client->peer, r->backlog.disk_why.text);
            client_close_later(replica->client);
            return;
        }
        struct slice bytes = backlog_at(&r->backlog, replica->next_offset);
        if (bytes.size == 0) { /* woken when it is there */
            backlog_want(&r->backlog, replica->next_offset);
            return;
        }
        struct why why;
        bytes = slice_take(bytes, end - replica->next_offset < bytes.size
                                      ? (size_t)(end - replica->next_offset)
                                      : bytes.size);
        if (!replica->filter) {
            buf_add(out, bytes);
        } else if (slot_filter_take(replica->filter, bytes, out, &why)) {
            engine_log(r->engine, '#', "Replica %s cannot be sent the stream of its slots: %s",
                       replica->client->peer, why.text);
            client_close_later(replica->client);
            return;
        }
        replica->next_offset += bytes.size;
    }
}

static void go_online(struct replica *replica) {
    struct engine *engine = replica->client->engine;
    replica->state = REPLICA_ONLINE;
    replica->ack_ms = (int64_t)(engine->now_us / 1000);
    engine_log(engine, '*', "Synchronization with replica %s succeeded", replica->client->peer);
    engine_acks_changed(engine);
    client_wake_writer(replica->client);
}

/* The RDB is in the socket. */
static void rdb_sent(struct replica *replica) {
    drop_file(replica);
    if (replica->rdb_only)
        client_close_after_reply(replica->client);
    else if (replica->knows_eof)
        replica->state = REPLICA_WAIT_ACK;
    else
        go_online(replica);
    if (replica->state == REPLICA_ONLINE) send_stream(replica);
}

static void send_batch(struct replica *replica) {
    struct buf *out = &replica->client->out;
    if (!replica->rdb_started) return;
    buf_add(out, buf_slice(&replica->rdb));
    buf_clear(&replica->rdb);
    if (replica->sync)
        full_sync_taken(replica);
    else if (replica->rdb_ended)
        rdb_sent(replica);
}

static void send_file(struct replica *replica) {
    struct why why;
    size_t got;
    if (replica->fd < 0) return;
    if (replica->file_at == replica->file_size) {
        rdb_sent(replica);
        return;
    }
    uint64_t left = replica->file_size - replica->file_at;
    size_t size = left < SEND_BYTES ? (size_t)left : SEND_BYTES;
    struct buf *out = &replica->client->out;
    enum err err = fs_read_at(replica->fd, buf_room(out, size), size, replica->file_at, &got,
                              replica->temp, &why);
    if (err || got != size) {
        engine_log(replica->client->engine, '#', "Read error sending DB to replica: %s",
                   err ? why.text : "the file is too short");
        client_close_later(replica->client);
        return;
    }
    buf_filled(out, got);
    replica->file_at += got;
}

static void refill(struct client *c) {
    struct replica *replica = c->owner_data;
    if (!replica || buf_size(&c->out) >= SEND_BYTES) return;
    if (replica->state == REPLICA_ONLINE)
        send_stream(replica);
    else if (replica->state == REPLICA_SNAPSHOT && replica->temp)
        send_file(replica);
    else if (replica->state == REPLICA_SNAPSHOT)
        send_batch(replica);
}

/* ---- joining ---- */

static void link_in(struct replica *replica) {
    struct replication *r = replication_of(replica->client->engine);
    if (replica->is_linked) return;
    replica->is_linked = true;
    replica->next = r->replicas;
    if (r->replicas) r->replicas->prev = replica;
    r->replicas = replica;
    if (r->replica_count++ == 0)
        r->last_ping_ms = replication_now_ms(r); /* the first PING is due in a period */
    if (replica->slots) replica->filter = slot_filter_new(replica->slots);
    replica->client->flags |= CLIENT_REPLICA;
    replica->client->refill = refill;
    replica->ack_ms = (int64_t)replication_now_ms(r);
}

/* repl-diskless-sync-delay: others may come who can have the same RDB. */
static bool waits_for_others(const struct replica *replica) {
    const struct settings *s = &replica->client->engine->settings;
    return s->repl_diskless_sync && s->repl_diskless_sync_delay_s > 0 &&
           full_sync_may_share(replica);
}

static bool is_full_house(const struct replication *r) {
    int64_t max = r->engine->settings.repl_diskless_sync_max_replicas, waiting = 0;
    for (const struct replica *replica = r->replicas; replica; replica = replica->next)
        waiting += replica->state == REPLICA_QUEUED;
    return max > 0 && waiting >= max;
}

void replica_start_full(struct replica *replica) {
    struct replication *r = replication_of(replica->client->engine);
    r->full_syncs++;
    link_in(replica);
    if (!r->backlog.exists) {
        history_new_id(&r->history);
        replication_need_backlog(r);
        engine_log(r->engine, '*',
                   "Replication backlog created, my new replication IDs are '%s' and '%s'",
                   r->history.id, r->history.id2);
    }
    if (r->engine->role == ROLE_REPLICA && !replica->knows_psync2 && !replica->rdb_only && !replica->old_sync)
        engine_log(r->engine, '#',
                   "Replica %s does not say `capa psync2` (Redis before 4.0): it will not know which database "
                   "the stream that is passed on to it stands in. Let it follow a master.",
                   replica->client->peer);
    replica->state = REPLICA_QUEUED;
    replica->queued_ms = replication_now_ms(r);
    if (waits_for_others(replica) && !is_full_house(r))
        engine_log(r->engine, '*', "Delay next BGSAVE for diskless SYNC");
    else
        full_sync_begin(replica);
}

static void check_queued(struct replica *replica) {
    const struct replication *r = replication_of(replica->client->engine);
    uint64_t delay_ms = (uint64_t)r->engine->settings.repl_diskless_sync_delay_s * 1000;
    bool is_over = replication_now_ms(r) - replica->queued_ms >= delay_ms;
    if (is_over || !waits_for_others(replica) || is_full_house(r)) full_sync_begin(replica);
}

void replica_continue(struct replica *replica, uint64_t next_offset) {
    struct client *c = replica->client;
    struct replication *r = replication_of(c->engine);
    r->partial_syncs++;
    link_in(replica);
    replica->state = REPLICA_ONLINE;
    replica->next_offset = next_offset;
    replica->ack_offset = (int64_t)next_offset - 1;
    if (replica->knows_psync2)
        buf_printf(&c->out, "+CONTINUE %s\r\n", r->history.id);
    else
        buf_printf(&c->out, "+CONTINUE\r\n");
    engine_log(c->engine, '*',
               "Partial resynchronization request from %s accepted. Sending %llu bytes of backlog "
               "starting from offset %llu.",
               c->peer, (unsigned long long)(r->backlog.end - next_offset),
               (unsigned long long)next_offset);
    client_wake_writer(c);
}

/* ---- once a second ---- */

/* What the replica makes us hold, beyond what is held anyway. */
static uint64_t held_bytes(const struct replica *replica) {
    const struct replication *r = replication_of(replica->client->engine);
    const struct settings *s = &r->engine->settings;
    uint64_t lag = r->backlog.end - replica->next_offset;
    if (lag <= (uint64_t)s->repl_backlog_size) return 0; /* the backlog has it */
    if (!s->repl_backlog_memory) return lag;
    uint64_t memory = backlog_memory(&r->backlog), may = (uint64_t)s->repl_backlog_memory;
    uint64_t over = memory > may ? memory - may : 0;
    return over < lag ? over : lag;
}

static bool is_over_limit(struct replica *replica) {
    struct replication *r = replication_of(replica->client->engine);
    const struct output_limit *limit = &r->engine->settings.output_limits[OUTPUT_REPLICA];
    if (replica->rdb_only || replica->state == REPLICA_QUEUED) return false;
    uint64_t lag = held_bytes(replica), now_ms = replication_now_ms(r);
    if (limit->hard_bytes && lag > (uint64_t)limit->hard_bytes) return true;
    if (!limit->soft_bytes || lag <= (uint64_t)limit->soft_bytes) {
        replica->soft_since_ms = 0;
        return false;
    }
    if (!replica->soft_since_ms) replica->soft_since_ms = now_ms;
    return now_ms - replica->soft_since_ms > (uint64_t)limit->soft_seconds * 1000;
}

/* There is something for it, and its socket has taken none of it for so long. */
static bool takes_nothing(struct replica *replica, uint64_t now_ms, uint64_t timeout_ms) {
    size_t unsent_bytes = buf_size(&replica->client->out);
    bool same = unsent_bytes && unsent_bytes == replica->unsent_bytes;
    replica->unsent_bytes = unsent_bytes;
    if (!same || !replica->progress_ms) replica->progress_ms = now_ms;
    return now_ms - replica->progress_ms > timeout_ms;
}

void replica_tick(struct replica *replica) {
    struct client *c = replica->client;
    struct replication *r = replication_of(c->engine);
    uint64_t now_ms = replication_now_ms(r),
             timeout_ms = (uint64_t)c->engine->settings.repl_timeout_s * 1000;
    if (replica->state == REPLICA_QUEUED) check_queued(replica);
    bool has_nothing_yet = replica->state == REPLICA_QUEUED ||
                           (replica->state == REPLICA_SNAPSHOT && replica->temp && replica->fd < 0);
    if (has_nothing_yet && !buf_size(&c->out)) { /* says: still here */
        buf_byte(&c->out, '\n');
        client_wake_writer(c);
    }
    /* While it loads it acknowledges nothing, but sends empty lines. */
    uint64_t heard_ms = (uint64_t)replica->ack_ms;
    if (c->active_ms > heard_ms) heard_ms = c->active_ms;
    bool is_online = replica->state == REPLICA_ONLINE;
    if (is_online && !replica->old_sync && now_ms - heard_ms > timeout_ms) {
        engine_log(c->engine, '#', "Disconnecting timedout replica (streaming sync): %s", c->peer);
        client_close_later(c);
    } else if (!is_online && takes_nothing(replica, now_ms, timeout_ms)) {
        engine_log(c->engine, '#', "Disconnecting timedout replica (full sync): %s", c->peer);
        client_close_later(c);
    } else if (is_over_limit(replica)) {
        engine_log(c->engine, '#',
                   "Replica %s lags too far behind: closed (client-output-buffer-limit replica).",
                   c->peer);
        client_close_later(c);
    }
}

/* ---- at shutdown ---- */

/* The process ends, and what a replica has not read yet must not be lost with it: the next start
 * can only go on with replicas that have everything. Give it all, then wait for the replica to hang
 * up, because a socket that is closed with something unread in it takes back what was sent. Bounded
 * in time. */
static void fetch_now(struct replica *replica) {
    struct backlog *backlog = &replication_of(replica->client->engine)->backlog;
    if (!backlog->store || replica->next_offset == backlog->end) return;
    backlog_store_wait(backlog->store);
    (void)backlog_poll(backlog);
    backlog_settle(backlog, 0, 1);
    send_stream(replica);
}

static void drain(struct replica *replica) {
    struct client *c = replica->client;
    struct timeval patience = {.tv_sec = 1};
    uint8_t unread[4096];
    (void)fcntl(c->fd, F_SETFL, 0);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (;;) {
        if (buf_size(&c->out) == 0) send_stream(replica);
        if (buf_size(&c->out) == 0) fetch_now(replica);
        struct slice bytes = buf_slice(&c->out);
        if (bytes.size == 0) break;
        ssize_t sent = transport_write(&c->transport, c->fd, bytes.data, bytes.size);
        if (sent <= 0) return;
        buf_consume(&c->out, (size_t)sent);
    }
    (void)shutdown(c->fd, SHUT_WR);
    for (int reads = 0; reads < 100 && recv(c->fd, unread, sizeof unread, 0) > 0; reads++) {
    }
}

void replicas_drain(struct replication *r) {
    for (struct replica *replica = r->replicas; replica; replica = replica->next)
        if (replica->state == REPLICA_ONLINE && !(replica->client->flags & CLIENT_CLOSE_NOW))
            drain(replica);
}
