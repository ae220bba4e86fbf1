/* side_nodes.c -- the fence at a side that is a Cluster: every node of it, masters and replicas
 * (C25). See side.h.
 *
 *   CLUSTER SLOTS, CLUSTER NODES --> dial each node --> CLIENT LIST, KILL, LIST again until none is
 *
 * A node that cannot be reached makes the fence fail, unless it is known to have failed and owns no
 * slot: what it executes then is nobody's data.
 */
#include "lib/base/mem.h"
#include "lib/redis/shards_map.h"
#include "state/side_inside.h"

#include <stdio.h>

#define ROUNDS 20
#define ANSWER_MS 5000u

struct nodes;

struct node {
    struct nodes *all;
    struct rconn *conn; /* NULL: it has ended */
    unsigned rounds;
    bool done;
};

struct nodes {
    struct side_admin *admin;
    side_on_result *on_result;
    void *self;
    bool (*keep)(void *self, const char *name, size_t bytes);
    struct shards_map *map;
    struct node *node;
    size_t count, left; /* left: whose connection has not ended, and one while they are dialled */
    struct side_result result;
    char why[256];
};

/* The first thing that goes wrong is the result. */
static void failed(struct nodes *n, bool refused, const char *text) {
    if (n->result.err != OK) return;
    n->result.err = ERR_REFUSED;
    n->result.refused = refused;
    snprintf(n->why, sizeof n->why, "fence at %s, a Cluster: %.180s", side_name(n->admin->side),
             text);
}

static void one_less(struct nodes *n) {
    if (--n->left > 0) return;
    n->result.why = n->why;
    n->on_result(n->self, &n->result);
    mem_free(n->map);
    mem_free(n->node);
    mem_free(n);
}

/* ---- one node ---- */

static void node_done(struct node *node) {
    node->done = true;
    rconn_close(node->conn);
}

static size_t kill_strangers(struct node *node, struct slice list) {
    struct client_line line;
    struct slice name;
    size_t found = 0;
    while (client_list_next(&list, &line)) {
        if (!client_gateway_name(line.name, &name) || line.id.size == 0) continue;
        if (node->all->keep(node->all->self, (const char *)name.data, name.size)) continue;
        const struct slice argv[] = {SLICE("CLIENT"), SLICE("KILL"), SLICE("ID"), line.id};
        rconn_command(node->conn, 4, argv, NULL, NULL);
        found++;
    }
    return found;
}

static void on_list(void *self, const struct resp_reply *reply, const struct why *why) {
    struct node *node = self;
    char text[160];
    if (reply == NULL) {
        failed(node->all, false, why->text);
        return; /* on_down comes */
    }
    if (resp_reply_is_error(reply)) {
        snprintf(text, sizeof text, "CLIENT LIST: %.*s",
                 (int)(reply->text.size < 100 ? reply->text.size : 100),
                 (const char *)reply->text.data);
        failed(node->all, true, text);
        node_done(node);
        return;
    }
    size_t found = kill_strangers(node, reply->text);
    if (node->rounds++ == 0) node->all->result.count += (int64_t)found;
    if (found > 0 && node->rounds <= ROUNDS) {
        rconn_words(node->conn, "CLIENT LIST", on_list, node); /* answered after the KILLs */
        return;
    }
    if (found > 0) failed(node->all, true, "connections of gateways stay, whatever is killed");
    node_done(node);
}

static void on_ready(void *self) {
    struct node *node = self;
    rconn_words(node->conn, "CLIENT LIST", on_list, node);
}

static void on_down(void *self, enum err err, const struct why *why) {
    struct node *node = self;
    node->conn = NULL;
    if (!node->done) failed(node->all, false, why && why->text[0] ? why->text : err_text(err));
    one_less(node->all);
}

static const struct rconn_events events = {.on_ready = on_ready, .on_down = on_down};

static void dial(struct nodes *n, const struct shards_node *at) {
    const struct config_side *config = n->admin->config;
    struct rconn_options options = {.user = config->auth.user,
                                    .password = &config->auth.password,
                                    .name = "drawbridge-state",
                                    .reply_timeout_ms = ANSWER_MS,
                                    .max_reply_bytes = 64u << 20,
                                    .stream = {.connect_timeout_ms = 3000}};
    struct endpoint to = {0};
    struct node *node = &n->node[n->count++];
    endpoint_copy(&to, &config->endpoint);
    to.kind = ENDPOINT_TCP;
    memcpy(to.host, at->host, sizeof to.host);
    to.port = at->port;
    node->all = n;
    n->left++;
    node->conn = rconn_dial(n->admin->loop, &to, &options, &events, node);
    endpoint_close(&to);
}

/* ---- which nodes there are ---- */

static void on_nodes(void *self, const struct resp_reply *reply, const struct why *why) {
    struct nodes *n = self;
    if (reply == NULL || resp_reply_is_error(reply) || reply->kind != RESP_BULK)
        failed(n, reply != NULL, reply == NULL ? why->text : "CLUSTER NODES is refused");
    if (n->result.err == OK) shards_map_add(n->map, reply->text);
    n->node = NEW_ARRAY(struct node, n->map->count + 1);
    for (size_t i = 0; i < n->map->count && n->result.err == OK; i++) {
        const struct shards_node *at = &n->map->node[i];
        if (at->port != 0 && !(at->failed && at->slots == 0)) dial(n, at);
    }
    one_less(n);
}

static void on_slots(void *self, const struct resp_reply *reply, const struct why *why) {
    struct nodes *n = self;
    struct why no;
    if (reply == NULL)
        failed(n, false, why->text);
    else if (shards_map_read(n->map, reply, n->admin->config->endpoint.host, &no) != OK)
        failed(n, true, no.text);
    if (n->result.err != OK) n->map->count = 0;
}

void side_fence_nodes(struct side_admin *admin,
                      bool (*keep)(void *self, const char *name, size_t bytes),
                      side_on_result *on_result, void *self) {
    struct nodes *n = NEW(struct nodes);
    n->admin = admin;
    n->keep = keep;
    n->on_result = on_result;
    n->self = self;
    n->left = 1;
    n->map = NEW(struct shards_map);
    if (admin->conn == NULL || !rconn_is_ready(admin->conn)) {
        failed(n, false, "not connected");
        one_less(n);
        return;
    }
    rconn_words(admin->conn, "CLUSTER SLOTS", on_slots, n);
    rconn_words(admin->conn, "CLUSTER NODES", on_nodes, n);
}
