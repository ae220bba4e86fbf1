/* topology.c -- nodes and slots; see topology.h. */
#include "server/topology.h"

#include "lib/base/mem.h"
#include "lib/base/rand.h"

#include <string.h>

struct topology *topology_new(const char *id, int port) {
    struct topology *t = NEW(struct topology);
    struct node *me = t->myself = t->nodes[t->count++] = NEW(struct node);
    if (id)
        memcpy(me->id, id, TOPOLOGY_ID);
    else
        rand_hex40(me->id);
    me->port = port;
    me->bus_port = port + 10000;
    return t;
}

void topology_free(struct topology *t) {
    if (t == NULL) return;
    for (size_t i = 0; i < t->count; i++) mem_free(t->nodes[i]);
    mem_free(t);
}

struct node *topology_find(const struct topology *t, struct slice id) {
    for (size_t i = 0; i < t->count; i++)
        if (slice_equal(id, slice_text(t->nodes[i]->id))) return t->nodes[i];
    return NULL;
}

void topology_assign(struct topology *t, unsigned slot, struct node *owner) {
    if (t->owner[slot]) t->owner[slot]->slots--;
    t->owner[slot] = owner;
    if (owner) owner->slots++;
}

void topology_forget(struct topology *t, struct node *node) {
    ASSERT(node != t->myself);
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        if (t->owner[slot] == node) topology_assign(t, slot, NULL);
        if (t->migrating[slot] == node) t->migrating[slot] = NULL;
        if (t->importing[slot] == node) t->importing[slot] = NULL;
    }
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->nodes[i]->master == node) t->nodes[i]->master = NULL;
        if (t->nodes[i] != node) t->nodes[kept++] = t->nodes[i];
    }
    t->count = kept;
    mem_free(node);
}

size_t topology_size(const struct topology *t) {
    size_t size = 0;
    for (size_t i = 0; i < t->count; i++) size += t->nodes[i]->slots > 0;
    return size;
}

bool topology_bump_epoch(struct topology *t) {
    uint64_t highest = t->epoch;
    for (size_t i = 0; i < t->count; i++)
        if (t->nodes[i]->epoch > highest) highest = t->nodes[i]->epoch;
    if (t->myself->epoch != 0 && t->myself->epoch == highest) return false;
    t->epoch = t->myself->epoch = highest + 1;
    return true;
}

/* ---- writing ---- */

static void write_slots(const struct topology *t, const struct node *node, struct buf *out) {
    for (unsigned from = 0; from < SLOT_CLUSTER_COUNT; from++) {
        if (t->owner[from] != node) continue;
        unsigned to = from;
        while (to + 1 < SLOT_CLUSTER_COUNT && t->owner[to + 1] == node) to++;
        if (from == to)
            buf_printf(out, " %u", from);
        else
            buf_printf(out, " %u-%u", from, to);
        from = to;
    }
}

static void write_line(const struct topology *t, const struct node *node, struct buf *out) {
    bool is_me = node == t->myself;
    buf_printf(out, " %s%s%s", is_me ? "myself," : "", node->master ? "slave" : "master",
               node->is_failed ? ",fail" : "");
    buf_printf(out, " %s 0 0 %llu connected", node->master ? node->master->id : "-",
               (unsigned long long)(node->master ? node->master->epoch : node->epoch));
    if (node->slots) write_slots(t, node, out);
    if (!is_me) return;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        if (t->migrating[slot])
            buf_printf(out, " [%u->-%s]", slot, t->migrating[slot]->id);
        else if (t->importing[slot])
            buf_printf(out, " [%u-<-%s]", slot, t->importing[slot]->id);
    }
}

void topology_write_node(const struct topology *t, const struct node *node, int port,
                         struct buf *out) {
    buf_printf(out, "%s %s:%d@%d", node->id, node->host, port, node->bus_port);
    if (node->hostname[0]) buf_printf(out, ",%s", node->hostname);
    write_line(t, node, out);
}

void topology_write(const struct topology *t, struct buf *out) {
    for (size_t i = 0; i < t->count; i++) {
        const struct node *node = t->nodes[i];
        buf_printf(out, "%s %s:%d@%d", node->id, node->host, node->port, node->bus_port);
        if (node->hostname[0] || node->tls_port) buf_printf(out, ",%s", node->hostname);
        if (node->tls_port) buf_printf(out, ",tls-port=%d", node->tls_port);
        write_line(t, node, out);
        buf_byte(out, '\n');
    }
    buf_printf(out, "vars currentEpoch %llu lastVoteEpoch 0\n", (unsigned long long)t->epoch);
}
