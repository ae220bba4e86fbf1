/* client.c -- clients: made, found, closed, freed. Sockets are net.c's, commands execute.c's. */
#include "server/client.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/acl.h"
#include "server/block.h"
#include "server/client_memory.h"
#include "server/engine.h"
#include "server/monitor.h"
#include "server/multi.h"
#include "server/net.h"
#include "server/pubsub.h"
#include "server/tracking.h"

#include <unistd.h>

static struct client *make(struct engine *engine, uint64_t flags) {
    struct client *c = NEW(struct client);
    c->engine = engine;
    c->db = &engine->dbs[0];
    c->flags = flags;
    c->resp = 2;
    c->fd = -1;
    c->id = ++engine->next_client_id;
    c->created_ms = engine->now_ms;
    c->active_ms = engine->now_us / 1000;
    return c;
}

static struct slice id_of(const void *item) {
    const struct client *c = item;
    return slice_from(&c->id, sizeof c->id);
}

static const struct table_type ids = {id_of};

static void link_in(struct client *c) {
    if (c->engine->client_ids.type == NULL) table_init(&c->engine->client_ids, &ids);
    table_add(&c->engine->client_ids, c);
    c->next = NULL;
    c->prev = c->engine->last_client;
    if (c->prev)
        c->prev->next = c;
    else
        c->engine->clients = c;
    c->engine->last_client = c;
}

static void link_out(struct client *c) {
    (void)table_take(&c->engine->client_ids, id_of(c));
    if (c->prev)
        c->prev->next = c->next;
    else
        c->engine->clients = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        c->engine->last_client = c->prev;
    c->next = c->prev = NULL;
}

struct client *client_new(struct engine *engine, int fd, bool is_unix) {
    struct client *c = make(engine, is_unix ? CLIENT_UNIX : 0);
    c->fd = fd;
    c->request = NEW(struct resp_request);
    acl_welcome(c);
    link_in(c);
    engine->client_count++;
    if (engine->client_count > engine->stats.peak_clients)
        engine->stats.peak_clients = engine->client_count;
    net_start(c);
    return c;
}

struct client *client_new_fake(struct engine *engine, uint64_t flags) {
    struct client *c = make(engine, flags | CLIENT_FAKE);
    c->authenticated = true;
    return c;
}

/* What a client may hold in other parts of the server. */
static void let_go(struct client *c) {
    if (c->on_free) c->on_free(c);
    c->on_free = NULL;
    block_forget(c);
    multi_forget(c);
    pubsub_forget(c);
    monitor_forget(c);
    tracking_forget(c);
    client_memory_forget(c);
}

static void free_memory(struct client *c) {
    if (c->request) resp_request_close(c->request);
    mem_free(c->request);
    mem_free(c->name);
    mem_free(c->lib_name);
    mem_free(c->lib_ver);
    buf_close(&c->in);
    buf_close(&c->out);
    mem_free(c);
}

void client_free_fake(struct client *c) {
    ASSERT(c->flags & CLIENT_FAKE);
    let_go(c);
    net_forget(c);
    free_memory(c);
}

void client_show_fake(struct client *c) {
    ASSERT(c->flags & CLIENT_FAKE);
    link_in(c);
}

void client_hide_fake(struct client *c) {
    ASSERT(c->flags & CLIENT_FAKE);
    link_out(c);
}

void client_free_closed(struct client *c) {
    let_go(c);
    net_stop(c);
    transport_close(&c->transport);
    if (c->fd >= 0) close(c->fd);
    link_out(c);
    c->engine->client_count--;
    free_memory(c);
}

struct client *client_by_id(struct engine *engine, uint64_t id) {
    if (engine->client_ids.type == NULL) return NULL;
    struct client *c = table_find(&engine->client_ids, slice_from(&id, sizeof id));
    return c && !(c->flags & CLIENT_CLOSE_NOW) ? c : NULL;
}

void client_close_after_reply(struct client *c) {
    c->flags |= CLIENT_CLOSING;
    client_wake_writer(c);
}
