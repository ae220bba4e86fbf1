/* metrics.c -- what Prometheus sees of state. */
#include "state/metrics.h"

#include "lib/base/metrics.h"
#include "state/core.h"

enum {
    M_PHASE,
    M_EPOCH,
    M_PRIMARY,
    M_GATES,
    M_GATE_OPEN,
    M_MEMBERS,
    M_TOPOLOGY_EPOCH,
    M_TOPOLOGY_NODES,
    M_TOPOLOGY_NODE,
    M_SIDE_UP,
    M_SIDE_KEYS,
    M_LINK_UP,
    M_LINK_LAG_S,
    M_LINK_LAG_B,
    M_SPOOL,
    M_SPOOL_LIMIT,
    M_DIRTY,
    M_QUARANTINED,
    M_COPY_KEYS,
    M_WAY_BACK,
    M_AUDIT_TIME,
    M_AUDIT_DIFF,
    M_AUDIT_KEYS,
    M_HOLD_LAST,
    M_HOLD,
    M_BARRIER,
    M_LEDGER_UP,
    M_LEDGER_SEQ,
    M_LEDGER_JOBS,
    M_LEDGER_FAILED,
    M_LEDGER_LAST,
    METRICS
};

/* clang-format off */
static const struct metric table[METRICS] = {
    [M_PHASE] = {"drawbridge_phase", METRIC_GAUGE, "1 for the phase that the migration is in.", 0, 0},
    [M_EPOCH] = {"drawbridge_epoch", METRIC_GAUGE, "The epoch: grows with each change of primary side.", 0, 0},
    [M_PRIMARY] = {"drawbridge_primary", METRIC_GAUGE, "1 for the side that answers clients.", 0, 0},
    [M_GATES] = {"drawbridge_gates", METRIC_GAUGE, "How many gates are in a state.", 0, 0},
    [M_GATE_OPEN] = {"drawbridge_gate_open", METRIC_GAUGE, "1 while this gate passes, warns or is waived.", 0, 0},
    [M_MEMBERS] = {"drawbridge_members", METRIC_GAUGE, "Gateways and syncers that are connected.", 0, 0},
    [M_TOPOLOGY_EPOCH] = {"drawbridge_topology_epoch", METRIC_GAUGE, "The version of the cluster's topology in the file; only with one.", 0, 0},
    [M_TOPOLOGY_NODES] = {"drawbridge_topology_nodes", METRIC_GAUGE, "Nodes of the cluster by what is known of their topology.", 0, 0},
    [M_TOPOLOGY_NODE] = {"drawbridge_topology_node_confirmed", METRIC_GAUGE, "1 for a node that has the topology of the file.", 0, 0},
    [M_SIDE_UP] = {"drawbridge_side_up", METRIC_GAUGE, "1 while this side answers.", 0, 0},
    [M_SIDE_KEYS] = {"drawbridge_side_keys", METRIC_GAUGE, "Keys at this side, as it counts them.", 0, 0},
    [M_LINK_UP] = {"drawbridge_link_up", METRIC_GAUGE, "1 while the link follows or stands by.", 0, 0},
    [M_LINK_LAG_S] = {"drawbridge_link_lag_seconds", METRIC_GAUGE, "Age of the oldest unit that is not applied.", 0, 0},
    [M_LINK_LAG_B] = {"drawbridge_link_lag_bytes", METRIC_GAUGE, "Bytes of the source's stream that are not applied.", 0, 0},
    [M_SPOOL] = {"drawbridge_spool_bytes", METRIC_GAUGE, "Bytes in the spool of a link.", 0, 0},
    [M_SPOOL_LIMIT] = {"drawbridge_spool_limit_bytes", METRIC_GAUGE, "What the spool of a link may hold.", 0, 0},
    [M_DIRTY] = {"drawbridge_dirty_keys", METRIC_GAUGE, "Keys that wait to be copied again.", 0, 0},
    [M_QUARANTINED] = {"drawbridge_quarantined_keys", METRIC_GAUGE, "Keys that cannot be copied.", 0, 0},
    [M_COPY_KEYS] = {"drawbridge_copy_keys", METRIC_GAUGE, "Keys of the copy: done and in all.", 0, 0},
    [M_WAY_BACK] = {"drawbridge_way_back", METRIC_GAUGE, "1 while a rollback is possible, or would be after a cutover.", 0, 0},
    [M_AUDIT_TIME] = {"drawbridge_audit_timestamp_seconds", METRIC_GAUGE, "When the last audit with a claim ended.", 0, 0},
    [M_AUDIT_DIFF] = {"drawbridge_audit_different_keys", METRIC_GAUGE, "Keys that differed in the last audit.", 0, 0},
    [M_AUDIT_KEYS] = {"drawbridge_audit_keys", METRIC_GAUGE, "Keys that the last audit compared.", 0, 0},
    [M_HOLD_LAST] = {"drawbridge_hold_last_seconds", METRIC_GAUGE, "How long the last barrier held clients.", 0, 0},
    [M_HOLD] = {"drawbridge_hold_seconds", METRIC_HISTOGRAM, "How long barriers of this process held clients.", 0, 1e-6},
    [M_BARRIER] = {"drawbridge_barrier_open", METRIC_GAUGE, "1 while a barrier runs.", 0, 0},
    [M_LEDGER_UP] = {"drawbridge_ledger_durable", METRIC_GAUGE, "1 while the ledger takes writes.", 0, 0},
    [M_LEDGER_SEQ] = {"drawbridge_ledger_events_total", METRIC_COUNTER, "Events in the ledger that this process saw.", 0, 0},
    [M_LEDGER_JOBS] = {"drawbridge_ledger_jobs_total", METRIC_COUNTER, "Transactions of the ledger.", 0, 0},
    [M_LEDGER_FAILED] = {"drawbridge_ledger_failures_total", METRIC_COUNTER, "Transactions that failed.", 0, 0},
    [M_LEDGER_LAST] = {"drawbridge_ledger_write_seconds", METRIC_GAUGE, "How long the last transaction took, with its sync.", 0, 0},
};
/* clang-format on */

static void put(struct metrics *m, unsigned id, double value) {
    metrics_add(m, &table[id], value, METRIC_LABELS_END);
}

static void put1(struct metrics *m, unsigned id, double value, const char *label,
                 const char *text) {
    metrics_add(m, &table[id], value, METRIC_LABEL(label, text), METRIC_LABELS_END);
}

static void add_link(struct core *core, struct metrics *m, enum link_id id) {
    const struct link_report *link = &core->link[id];
    const struct gates_link *g = &link->gate;
    bool fresh = g->known && core_now_ms(core) - link->heard_ms <= REPORT_FRESH_MS;
    const char *name = link_name(id);
    bool up = fresh && (g->following || g->standby);
    if (!fresh && workflow_is_final(core->workflow.phase)) return;
    put1(m, M_LINK_UP, up, "link", name);
    if (!fresh) return;
    put1(m, M_LINK_LAG_S, (double)g->lag_ms / 1000, "link", name);
    put1(m, M_LINK_LAG_B, (double)g->lag_bytes, "link", name);
    put1(m, M_SPOOL, (double)g->spool_bytes, "link", name);
    put1(m, M_SPOOL_LIMIT, (double)g->spool_limit, "link", name);
    put1(m, M_DIRTY, (double)g->dirty, "link", name);
    put1(m, M_QUARANTINED, (double)g->quarantined, "link", name);
    if (id == LINK_FORWARD) {
        put1(m, M_COPY_KEYS, (double)link->copy_keys, "state", "done");
        put1(m, M_COPY_KEYS, (double)link->copy_keys_total, "state", "total");
    }
}

static size_t count_members(struct core *core, enum member_role role) {
    size_t count = 0;
    for (struct member *x = members_first(core->members, role); x; x = members_next(x)) count++;
    return count;
}

static void add_migration(struct core *core, struct metrics *m) {
    for (unsigned p = 0; p < PHASES; p++)
        put1(m, M_PHASE, core->workflow.phase == (enum phase)p, "phase", phase_name((enum phase)p));
    put(m, M_EPOCH, (double)core->workflow.epoch);
    for (unsigned s = 0; s < SIDES; s++) {
        const struct side_facts *facts = side_facts(core->side[s]);
        const char *name = side_name((enum side)s);
        put1(m, M_PRIMARY, core->workflow.primary == (enum side)s, "side", name);
        put1(m, M_SIDE_UP, facts->gate.reachable, "side", name);
        if (facts->gate.reachable) put1(m, M_SIDE_KEYS, (double)facts->keys, "side", name);
    }
    for (unsigned s = 0; s < GATE_STATES; s++)
        put1(m, M_GATES, (double)gates_count(core->gates, (enum gate_state)s), "state",
             gate_state_name((enum gate_state)s));
    for (unsigned g = 0; g < GATES; g++) {
        enum gate_state state = core->gates[g].state;
        put1(m, M_GATE_OPEN, state != GATE_FAIL && state != GATE_UNKNOWN, "gate",
             gate_name((enum gate_id)g));
    }
    put1(m, M_MEMBERS, (double)count_members(core, MEMBER_GATEWAY), "role", "gateway");
    put1(m, M_MEMBERS, (double)count_members(core, MEMBER_SYNCER), "role", "syncer");
    put(m, M_WAY_BACK, core->gates[GATE_WAY_BACK].state == GATE_PASS);
    put(m, M_BARRIER, barrier_is_open(&core->barrier));
    if (core->last.outcome != BARRIER_NONE) put(m, M_HOLD_LAST, (double)core->last.hold_us / 1e6);
    static const struct metric_label none[] = {{NULL, NULL}};
    static const double bounds[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    metrics_add_hist(m, &table[M_HOLD], &core->holds, bounds, sizeof bounds / sizeof *bounds, none);
}

static void add_topology(const struct core *core, struct metrics *m) {
    if (!core->topology) return;
    const struct topology_plan *plan = topology_push_plan(core->topology);
    size_t count[PUSH_STATES] = {0};
    put(m, M_TOPOLOGY_EPOCH, (double)plan->epoch);
    for (size_t i = 0; i < plan->count; i++) {
        struct push_node node = topology_push_node(core->topology, i);
        count[node.state]++;
        put1(m, M_TOPOLOGY_NODE, node.state == PUSH_CONFIRMED, "node", node.node->name);
    }
    for (unsigned s = 0; s < PUSH_STATES; s++)
        put1(m, M_TOPOLOGY_NODES, (double)count[s], "state", push_state_name((enum push_state)s));
}

void state_metrics(struct core *core, struct buf *out) {
    struct metrics m;
    struct store_stats ledger;
    metrics_init(&m);
    store_stats(core->store, &ledger);
    add_migration(core, &m);
    for (unsigned l = 0; l < LINKS; l++) add_link(core, &m, (enum link_id)l);
    add_topology(core, &m);
    if (core->audit.last.id) {
        put(&m, M_AUDIT_TIME, (double)core->audit.last.ended_ms / 1000);
        put(&m, M_AUDIT_DIFF, (double)core->audit.last.differences);
        put(&m, M_AUDIT_KEYS, (double)core->audit.last.keys);
    }
    put(&m, M_LEDGER_UP, !ledger.failed && !core->halted);
    put(&m, M_LEDGER_SEQ, (double)core->recent_count);
    put(&m, M_LEDGER_JOBS, (double)ledger.jobs);
    put(&m, M_LEDGER_FAILED, (double)ledger.failures);
    put(&m, M_LEDGER_LAST, (double)ledger.last_us / 1e6);
    metrics_add_process(&m, "state");
    metrics_write(&m, out);
    metrics_close(&m);
}
