/* cluster_reports.c -- what CLUSTER says about nodes and slots, in the forms that clients read. */
#include "server/cluster.h"
#include "server/cluster_bus.h"
#include "server/engine.h"
#include "server/replication.h"
#include "server/reply.h"

#include <string.h>

static bool is_replica_of(const struct node *node, const struct node *master) {
    return node->master == master && master != NULL && !node->is_failed;
}

static void put_text(struct client *c, const char *name, const char *text) {
    reply_bulk_text(c, name);
    reply_bulk_text(c, text);
}

static void put_address(struct client *c, const struct node *node) {
    int64_t type = c->engine->settings.cluster_preferred_endpoint_type;
    bool tells_ip = type != CLUSTER_ENDPOINT_IP,
         tells_name = type != CLUSTER_ENDPOINT_HOSTNAME && node->hostname[0];
    reply_array(c, 4);
    if (type == CLUSTER_ENDPOINT_UNKNOWN)
        reply_null(c);
    else
        reply_bulk_text(c, cluster_endpoint(c->engine, node));
    reply_int(c, cluster_port(c, node));
    reply_bulk_text(c, node->id);
    reply_map(c, (size_t)tells_ip + tells_name);
    if (tells_ip) put_text(c, "ip", node->host);
    if (tells_name) put_text(c, "hostname", node->hostname);
}

static void put_range(struct client *c, const struct topology *t, unsigned from, unsigned to) {
    const struct node *owner = t->owner[from];
    size_t replicas = 0;
    for (size_t i = 0; i < t->count; i++) replicas += is_replica_of(t->nodes[i], owner);
    reply_array(c, 3 + replicas);
    reply_int(c, from);
    reply_int(c, to);
    put_address(c, owner);
    for (size_t i = 0; i < t->count; i++)
        if (is_replica_of(t->nodes[i], owner)) put_address(c, t->nodes[i]);
}

void cluster_reply_slots(struct client *c) {
    const struct topology *t = c->engine->cluster->topology;
    size_t mark = reply_later(c), count = 0;
    for (unsigned from = 0; from < SLOT_CLUSTER_COUNT; from++) {
        if (t->owner[from] == NULL) continue;
        unsigned to = from;
        while (to + 1 < SLOT_CLUSTER_COUNT && t->owner[to + 1] == t->owner[from]) to++;
        put_range(c, t, from, to);
        count++;
        from = to;
    }
    reply_later_array(c, mark, count);
}

static void put_number(struct client *c, const char *name, int64_t number) {
    reply_bulk_text(c, name);
    reply_int(c, number);
}

static void put_node(struct client *c, const struct topology *t, const struct node *node) {
    int64_t offset = node == t->myself ? replication_of(c->engine)->history.offset : 0;
    bool is_known = node == t->myself || !node->master; /* of others nobody tells the offset */
    reply_map(c, 6u + (node->hostname[0] != '\0') + (node->port != 0) + (node->tls_port != 0));
    put_text(c, "id", node->id);
    if (node->port) put_number(c, "port", node->port);
    if (node->tls_port) put_number(c, "tls-port", node->tls_port);
    put_text(c, "ip", node->host);
    put_text(c, "endpoint", cluster_endpoint(c->engine, node));
    if (node->hostname[0]) put_text(c, "hostname", node->hostname);
    put_text(c, "role", node->master ? "replica" : "master");
    put_number(c, "replication-offset", offset);
    put_text(c, "health", node->is_failed ? "fail" : is_known || offset ? "online" : "loading");
}

static void put_shard(struct client *c, const struct topology *t, const struct node *master) {
    reply_map(c, 2);
    reply_bulk_text(c, "slots");
    size_t mark = reply_later(c), count = 0;
    for (unsigned from = 0; from < SLOT_CLUSTER_COUNT; from++) {
        if (t->owner[from] != master) continue;
        unsigned to = from;
        while (to + 1 < SLOT_CLUSTER_COUNT && t->owner[to + 1] == master) to++;
        reply_int(c, from);
        reply_int(c, to);
        count += 2;
        from = to;
    }
    reply_later_array(c, mark, count);
    reply_bulk_text(c, "nodes");
    mark = reply_later(c), count = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->nodes[i] != master && t->nodes[i]->master != master) continue;
        put_node(c, t, t->nodes[i]);
        count++;
    }
    reply_later_array(c, mark, count);
}

void cluster_reply_shards(struct client *c) {
    const struct topology *t = c->engine->cluster->topology;
    size_t mark = reply_later(c), count = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->nodes[i]->master) continue;
        put_shard(c, t, t->nodes[i]);
        count++;
    }
    reply_later_array(c, mark, count);
}

void cluster_reply_replicas(struct client *c, const struct node *master) {
    const struct topology *t = c->engine->cluster->topology;
    size_t mark = reply_later(c), count = 0;
    struct buf line = {0};
    for (size_t i = 0; i < t->count; i++) {
        if (t->nodes[i]->master != master) continue;
        buf_clear(&line);
        topology_write_node(t, t->nodes[i], cluster_port(c, t->nodes[i]), &line);
        reply_bulk(c, buf_slice(&line));
        count++;
    }
    buf_close(&line);
    reply_later_array(c, mark, count);
}

void cluster_info_put(struct engine *engine, struct buf *out) {
    const struct topology *t = engine->cluster->topology;
    unsigned assigned = 0, failed = 0;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        assigned += t->owner[slot] != NULL;
        failed += t->owner[slot] && t->owner[slot]->is_failed;
    }
    const struct node *me = t->myself;
    buf_printf(out, "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n",
               cluster_is_ok(engine) ? "ok" : "fail", assigned, assigned - failed);
    buf_printf(out,
               "cluster_slots_pfail:0\r\ncluster_slots_fail:%u\r\ncluster_known_nodes:%zu\r\n"
               "cluster_size:%zu\r\ncluster_current_epoch:%llu\r\ncluster_my_epoch:%llu\r\n",
               failed, t->count, topology_size(t), (unsigned long long)t->epoch,
               (unsigned long long)(me->master ? me->master->epoch : me->epoch));
    struct cluster_bus_counts bus = cluster_bus_counts(engine);
    if (bus.sent)
        buf_printf(out, "cluster_stats_messages_publish_sent:%llu\r\n",
                   (unsigned long long)bus.sent);
    if (bus.dropped)
        buf_printf(out, "cluster_stats_messages_publish_dropped:%llu\r\n",
                   (unsigned long long)bus.dropped);
    buf_printf(out,
               "cluster_stats_messages_sent:%llu\r\ncluster_stats_messages_received:0\r\n"
               "total_cluster_links_buffer_limit_exceeded:0\r\n",
               (unsigned long long)bus.sent);
}
