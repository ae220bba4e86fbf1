/* core_topology.c -- the topology of our own cluster: from the file to the nodes, and to whom asks
 * how it fares. */
#include "state/core.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

/* A confirmed cluster is an event of the ledger; the nodes that lack it are in the status. */
static void changed(void *self, bool all) {
    struct core *core = self;
    const struct topology_plan *plan = topology_push_plan(core->topology);
    if (all && core->topology_noted != plan->epoch) {
        core->topology_noted = plan->epoch;
        core_note(core, "topology", "all %zu nodes have the topology of epoch %lld", plan->count,
                  (long long)plan->epoch);
    }
}

static enum err take(struct core *core, const struct drawbridge_config *config, struct why *why) {
    struct topology_plan *plan = NULL;
    const char *nodes = config->topology.nodes;
    if (!nodes && !core->topology) return OK;
    if (!nodes)
        return why_set(why, ERR_STATE, "topology.nodes: they are kept until the next start");
    enum err err = topology_plan_read(slice_text(nodes), config->topology.epoch,
                                      config->target.tls.on, &plan, why);
    if (err) return err;
    if (core->topology) {
        err = topology_push_replace(core->topology, plan, why);
        if (err) mem_free(plan);
        return err;
    }
    core->topology =
        topology_push_open(core->loop, &core->config->target, plan, changed, core);
    return OK;
}

enum err core_topology_open(struct core *core, struct why *why) {
    return take(core, core->config, why);
}

enum err core_topology_reload(struct core *core, struct why *why) {
    struct drawbridge_config config;
    enum err err = config_load(&config, core->config->path, NULL, why);
    if (err) return err;
    err = take(core, &config, why);
    config_close(&config);
    return err;
}

json_t *core_topology_json(const struct core *core) {
    if (!core->topology) return json_null();
    const struct topology_plan *plan = topology_push_plan(core->topology);
    json_t *nodes = json_array();
    for (size_t i = 0; i < plan->count; i++) {
        struct push_node n = topology_push_node(core->topology, i);
        json_array_append_new(
            nodes, json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:s}", "name", n.node->name, "id",
                             n.node->id, "host", n.node->host, "port", (json_int_t)n.node->port,
                             "replica_of",
                             n.node->master < 0 ? "" : plan->nodes[n.node->master].name, "state",
                             push_state_name(n.state), "epoch", (json_int_t)n.epoch, "why", n.why));
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "epoch", (json_int_t)plan->epoch, "confirmed",
                     (json_int_t)topology_push_confirmed(core->topology), "slots_without_node",
                     (json_int_t)topology_plan_unowned(plan), "nodes", nodes);
}
