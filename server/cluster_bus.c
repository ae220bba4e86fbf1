/* cluster_bus.c -- messages of pub/sub to the other nodes, from a thread of its own; see
 * cluster_bus.h.
 */
#include "server/cluster_bus.h"

#include "lib/base/mem.h"
#include "lib/control/rconn.h"
#include "lib/net/loop.h"
#include "lib/net/mailbox.h"
#include "lib/redis/reply.h"
#include "server/cluster.h"
#include "server/engine.h"
#include "server/transport.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define MAILS_MAX 65536
#define PENDING_MAX 100000 /* messages at a node without its answer */
#define REDIAL_MS 500
#define ANSWER_MS 15000

struct place {
    struct endpoint endpoint; /* TLS included; owned */
    bool same_shard;
};

struct peer { /* of the thread */
    struct cluster_bus *bus;
    struct place place;
    struct rconn *conn; /* NULL: waiting to dial again */
    struct loop_timer redial;
    struct peer *next;
};

enum letter_kind { LETTER_PLACES, LETTER_MESSAGE };

struct letter {
    struct mail mail; /* first */
    enum letter_kind kind;
    /* LETTER_PLACES; all owned */
    struct place *places;
    size_t place_count;
    char *user;
    struct secret password;
    /* LETTER_MESSAGE */
    bool sharded;
    size_t channel_size, message_size;
    uint8_t bytes[];
};

struct cluster_bus {
    struct loop_thread *thread;
    struct mailbox *mailbox;
    _Atomic size_t waiting; /* bytes in the mailbox */
    _Atomic uint64_t sent, dropped;
    pthread_mutex_t lock;
    char refused[160]; /* under the lock: what a node said; "" when it was logged */
    /* the engine's */
    bool must_learn; /* the mailbox was full */
    size_t peers_told;
    /* the thread's */
    struct loop *loop;
    struct peer *peers;
    char *user;
    struct secret password;
};

/* ---- the thread ---- */

static void dial(void *self);

static void on_down(void *self, enum err err, const struct why *why) {
    (void)err;
    (void)why;
    struct peer *peer = self;
    peer->conn = NULL;
    loop_timer_start(peer->bus->loop, &peer->redial, REDIAL_MS, 0, dial, peer);
}

static const struct rconn_events events = {.on_down = on_down};

static void dial(void *self) {
    struct peer *peer = self;
    struct rconn_options options = {.user = peer->bus->user,
                                    .password = &peer->bus->password,
                                    .name = "drawbridge-cluster",
                                    .reply_timeout_ms = ANSWER_MS,
                                    .max_reply_bytes = 64u << 10};
    peer->conn = rconn_dial(peer->bus->loop, &peer->place.endpoint, &options, &events, peer);
}

static void forget_peers(struct peer *first) {
    for (struct peer *peer; (peer = first) != NULL;) {
        first = peer->next;
        loop_timer_stop(&peer->redial);
        if (peer->conn) rconn_drop(peer->conn);
        endpoint_close(&peer->place.endpoint);
        mem_free(peer);
    }
}

/* Out of the list; NULL: there is none at this place. */
static struct peer *take_peer(struct peer **first, const struct endpoint *endpoint) {
    for (struct peer **at = first; *at; at = &(*at)->next) {
        struct peer *peer = *at;
        if (!endpoint_equal(&peer->place.endpoint, endpoint) ||
            peer->place.endpoint.tls.on != endpoint->tls.on)
            continue;
        *at = peer->next;
        return peer;
    }
    return NULL;
}

/* Who stays keeps his connection: topologies change often while slots move. */
static void take_places(struct cluster_bus *bus, struct letter *letter) {
    struct peer *before = bus->peers;
    bus->peers = NULL;
    mem_free(bus->user);
    secret_close(&bus->password);
    bus->user = letter->user;
    letter->user = NULL;
    bus->password = letter->password;
    letter->password = (struct secret){0};
    for (size_t i = 0; i < letter->place_count; i++) {
        struct peer *peer = take_peer(&before, &letter->places[i].endpoint);
        bool is_new = peer == NULL;
        if (is_new) {
            peer = NEW(struct peer);
            *peer = (struct peer){.bus = bus, .place = letter->places[i]};
            letter->places[i] = (struct place){0};
            dial(peer);
        } else {
            peer->place.same_shard = letter->places[i].same_shard;
        }
        peer->next = bus->peers;
        bus->peers = peer;
    }
    forget_peers(before);
}

static void on_reply(void *self, const struct resp_reply *reply, const struct why *why) {
    (void)why;
    struct cluster_bus *bus = self;
    if (!reply || !resp_reply_is_error(reply)) return;
    pthread_mutex_lock(&bus->lock);
    snprintf(bus->refused, sizeof bus->refused, "%.*s",
             (int)(reply->text.size < 150 ? reply->text.size : 150),
             (const char *)reply->text.data);
    pthread_mutex_unlock(&bus->lock);
}

static void send_message(struct cluster_bus *bus, const struct letter *letter) {
    const struct slice argv[] = {
        SLICE("DRAWBRIDGE"), letter->sharded ? SLICE("SPUBLISH") : SLICE("PUBLISH"),
        slice_from(letter->bytes, letter->channel_size),
        slice_from(letter->bytes + letter->channel_size, letter->message_size)};
    for (struct peer *peer = bus->peers; peer; peer = peer->next) {
        if (letter->sharded && !peer->place.same_shard) continue;
        if (!peer->conn || rconn_pending(peer->conn) >= PENDING_MAX ||
            rconn_queued_bytes(peer->conn) >= BUS_QUEUE_MAX) {
            atomic_fetch_add(&bus->dropped, 1);
            continue;
        }
        rconn_command(peer->conn, COUNT(argv), argv, on_reply, bus);
        atomic_fetch_add(&bus->sent, 1);
    }
}

static void free_letter(void *self, struct mail *mail) {
    struct cluster_bus *bus = self;
    struct letter *letter = (struct letter *)mail;
    if (letter->kind == LETTER_MESSAGE)
        atomic_fetch_sub(&bus->waiting, letter->channel_size + letter->message_size);
    for (size_t i = 0; i < letter->place_count; i++) endpoint_close(&letter->places[i].endpoint);
    mem_free(letter->places);
    mem_free(letter->user);
    secret_close(&letter->password);
    mem_free(letter);
}

static void on_mail(void *self, struct mail *mail) {
    struct cluster_bus *bus = self;
    struct letter *letter = (struct letter *)mail;
    if (letter->kind == LETTER_PLACES)
        take_places(bus, letter);
    else
        send_message(bus, letter);
    free_letter(bus, mail);
}

static enum err start(void *self, struct loop *loop, struct why *why) {
    struct cluster_bus *bus = self;
    bus->loop = loop;
    return mailbox_open(&bus->mailbox, loop, MAILS_MAX, on_mail, bus, why);
}

static void stop(void *self, struct loop *loop) {
    (void)loop;
    struct cluster_bus *bus = self;
    forget_peers(bus->peers);
    mailbox_close(bus->mailbox, free_letter);
}

/* ---- the engine ---- */

static bool same_shard(const struct topology *t, const struct node *node) {
    const struct node *mine = t->myself->master ? t->myself->master : t->myself;
    return node == mine || node->master == mine;
}

static size_t list_places(const struct engine *engine, struct place *places) {
    const struct topology *t = engine->cluster->topology;
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct node *node = t->nodes[i];
        int port = cluster_replication_port(engine, node);
        if (node == t->myself || node->host[0] == '\0' || port == 0) continue;
        struct place *place = &places[count++];
        *place = (struct place){.same_shard = same_shard(t, node)};
        place->endpoint = (struct endpoint){.kind = ENDPOINT_TCP, .port = (uint16_t)port};
        memcpy(place->endpoint.host, node->host, sizeof node->host);
        if (port == node->tls_port && (port != node->port || engine->settings.tls_replication)) {
            struct tls_options options = transport_client_options(engine);
            tls_options_copy(&place->endpoint.tls, &options);
        }
    }
    return count;
}

/* Once there is anybody to talk to; it stays until the end. */
static struct cluster_bus *open_bus(struct engine *engine) {
    struct cluster_bus *bus = NEW(struct cluster_bus);
    struct why why;
    pthread_mutex_init(&bus->lock, NULL);
    if (loop_thread_open(&bus->thread, "cluster-bus", start, stop, bus, &why) == OK) return bus;
    engine_log(engine, '#', "PUBLISH will not reach other nodes: %s", why.text);
    pthread_mutex_destroy(&bus->lock);
    mem_free(bus);
    return NULL;
}

static void on_tick(struct engine *engine) {
    struct cluster_bus *bus = engine->cluster->bus;
    char text[sizeof bus->refused];
    if (bus->must_learn) cluster_bus_learn(engine);
    pthread_mutex_lock(&bus->lock);
    memcpy(text, bus->refused, sizeof text);
    bus->refused[0] = '\0';
    pthread_mutex_unlock(&bus->lock);
    if (text[0]) engine_log(engine, '#', "A node of the cluster refuses PUBLISH: %s", text);
}

void cluster_bus_learn(struct engine *engine) {
    struct place *places = NEW_ARRAY(struct place, engine->cluster->topology->count);
    size_t count = list_places(engine, places);
    struct cluster_bus *bus = engine->cluster->bus;
    if (bus == NULL && count > 0) {
        bus = engine->cluster->bus = open_bus(engine);
        if (bus) engine_hook_add(engine, HOOK_TICK, on_tick);
    }
    struct letter *letter = NEW(struct letter);
    *letter = (struct letter){.kind = LETTER_PLACES, .places = places, .place_count = count};
    if (engine->settings.masterauth[0]) {
        const struct settings *s = &engine->settings;
        if (s->masteruser[0]) letter->user = mem_strdup(s->masteruser);
        secret_set(&letter->password, slice_from(s->masterauth, s->masterauth_size));
    }
    bool posted = bus && mailbox_post(bus->mailbox, &letter->mail);
    if (bus) bus->must_learn = !posted;
    if (posted) bus->peers_told = count;
    if (!posted) free_letter(bus, &letter->mail);
}

void cluster_bus_publish(struct engine *engine, struct slice channel, struct slice message,
                         bool sharded) {
    struct cluster_bus *bus = engine->cluster->bus;
    size_t size = channel.size + message.size;
    if (bus == NULL || bus->peers_told == 0) return;
    if (atomic_load(&bus->waiting) + size > BUS_WAITING_MAX) {
        atomic_fetch_add(&bus->dropped, bus->peers_told);
        return;
    }
    struct letter *letter = mem_alloc(sizeof *letter + size);
    *letter = (struct letter){.kind = LETTER_MESSAGE,
                              .sharded = sharded,
                              .channel_size = channel.size,
                              .message_size = message.size};
    if (channel.size) memcpy(letter->bytes, channel.data, channel.size);
    if (message.size) memcpy(letter->bytes + channel.size, message.data, message.size);
    atomic_fetch_add(&bus->waiting, size);
    if (mailbox_post(bus->mailbox, &letter->mail)) return;
    atomic_fetch_add(&bus->dropped, bus->peers_told);
    free_letter(bus, &letter->mail);
}

struct cluster_bus_counts cluster_bus_counts(const struct engine *engine) {
    const struct cluster_bus *bus = engine->cluster->bus;
    if (bus == NULL) return (struct cluster_bus_counts){0};
    return (struct cluster_bus_counts){.sent = atomic_load(&bus->sent),
                                       .dropped = atomic_load(&bus->dropped)};
}

void cluster_bus_close(struct engine *engine) {
    struct cluster_bus *bus = engine->cluster ? engine->cluster->bus : NULL;
    if (bus == NULL) return;
    loop_thread_close(bus->thread);
    mem_free(bus->user);
    secret_close(&bus->password);
    pthread_mutex_destroy(&bus->lock);
    mem_free(bus);
    engine->cluster->bus = NULL;
}
