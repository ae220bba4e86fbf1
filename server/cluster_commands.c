/* cluster_commands.c -- CLUSTER, ASKING, READONLY, READWRITE, and DRAWBRIDGE TOPOLOGY. */
#include "lib/base/mem.h"
#include "lib/base/rand.h"
#include "server/args.h"
#include "server/cluster.h"
#include "server/engine.h"
#include "server/gates.h"
#include "server/groups.h"
#include "server/replication.h"
#include "server/reply.h"

#include <string.h>

static struct topology *of(struct client *c) {
    return c->engine->cluster->topology;
}

static void changed(struct client *c) {
    cluster_changed(c->engine);
    reply_ok(c);
}

/* ---- slots ---- */

static bool read_slot(struct client *c, struct slice arg, int64_t *slot) {
    if (slice_to_int(arg, slot) && *slot >= 0 && *slot < SLOT_CLUSTER_COUNT) return true;
    reply_error(c, "ERR Invalid or out of range slot");
    return false;
}

struct slot_marks {
    bool marked[SLOT_CLUSTER_COUNT];
};

/* FROM..TO may be given to us, or taken from whoever has them, and were not named before. */
static bool mark_slots(struct client *c, struct slot_marks *marks, int64_t from, int64_t to,
                       bool take) {
    for (int64_t slot = from; slot <= to; slot++) {
        const struct node *owner = of(c)->owner[slot];
        if (take ? owner == NULL : owner != NULL) {
            reply_error(c, "ERR Slot %d is already %s", (int)slot, take ? "unassigned" : "busy");
            return false;
        }
        if (marks->marked[slot]) {
            reply_error(c, "ERR Slot %d specified multiple times", (int)slot);
            return false;
        }
        marks->marked[slot] = true;
    }
    return true;
}

static void apply_marks(struct client *c, const struct slot_marks *marks, bool take) {
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++) {
        if (!marks->marked[slot]) continue;
        of(c)->importing[slot] = NULL;
        topology_assign(of(c), slot, take ? NULL : of(c)->myself);
    }
    changed(c);
}

static bool mark_list(struct client *c, struct slot_marks *marks, bool take) {
    int64_t slot;
    for (int i = 2; i < c->argc; i++)
        if (!read_slot(c, c->argv[i], &slot)) return false;
    for (int i = 2; i < c->argc; i++)
        if (!read_slot(c, c->argv[i], &slot) || !mark_slots(c, marks, slot, slot, take))
            return false;
    return true;
}

static bool mark_ranges(struct client *c, struct slot_marks *marks, bool take) {
    for (int i = 2; i < c->argc; i += 2) {
        int64_t from, to;
        if (!read_slot(c, c->argv[i], &from) || !read_slot(c, c->argv[i + 1], &to)) return false;
        if (from > to) {
            reply_error(c, "ERR start slot number %d is greater than end slot number %d", (int)from,
                        (int)to);
            return false;
        }
        if (!mark_slots(c, marks, from, to, take)) return false;
    }
    return true;
}

static void change_slots(struct client *c, bool ranges, bool take) {
    if (ranges && c->argc % 2 == 1) {
        reply_wrong_arity(c);
        return;
    }
    struct slot_marks *marks = NEW(struct slot_marks);
    if (ranges ? mark_ranges(c, marks, take) : mark_list(c, marks, take))
        apply_marks(c, marks, take);
    mem_free(marks);
}

static void run_addslots(struct client *c) {
    change_slots(c, false, false);
}
static void run_delslots(struct client *c) {
    change_slots(c, false, true);
}
static void run_addslotsrange(struct client *c) {
    change_slots(c, true, false);
}
static void run_delslotsrange(struct client *c) {
    change_slots(c, true, true);
}

static void run_flushslots(struct client *c) {
    if (db_size(&c->engine->dbs[0]) != 0) {
        reply_error(c, "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
        return;
    }
    struct topology *t = of(c);
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (t->owner[slot] == t->myself) topology_assign(t, slot, NULL);
    changed(c);
}

/* ---- SETSLOT ---- */

static struct node *read_master(struct client *c, const char *unknown) {
    struct node *node = topology_find(of(c), c->argv[4]);
    if (node == NULL)
        reply_error(c, "ERR %s %.*s", unknown, (int)(c->argv[4].size < 128 ? c->argv[4].size : 128),
                    (const char *)c->argv[4].data);
    else if (node->master)
        reply_error(c, "ERR Target node is not a master");
    return node && !node->master ? node : NULL;
}

static void setslot_migrating(struct client *c, int64_t slot) {
    struct topology *t = of(c);
    if (t->owner[slot] != t->myself) {
        reply_error(c, "ERR I'm not the owner of hash slot %u", (unsigned)slot);
        return;
    }
    struct node *node = read_master(c, "I don't know about node");
    if (node == NULL) return;
    t->migrating[slot] = node;
    changed(c);
}

static void setslot_importing(struct client *c, int64_t slot) {
    struct topology *t = of(c);
    if (t->owner[slot] == t->myself) {
        reply_error(c, "ERR I'm already the owner of hash slot %u", (unsigned)slot);
        return;
    }
    struct node *node = read_master(c, "I don't know about node");
    if (node == NULL) return;
    t->importing[slot] = node;
    changed(c);
}

static void setslot_node(struct client *c, int64_t slot) {
    struct topology *t = of(c);
    struct node *node = read_master(c, "Unknown node");
    if (node == NULL) return;
    uint64_t keys = cluster_count_keys(c->engine, (unsigned)slot);
    if (t->owner[slot] == t->myself && node != t->myself && keys != 0) {
        reply_error(c,
                    "ERR Can't assign hashslot %d to a different node while I still hold keys for "
                    "this hash slot.",
                    (int)slot);
        return;
    }
    if (keys == 0) t->migrating[slot] = NULL;
    topology_assign(t, (unsigned)slot, node);
    if (node == t->myself && t->importing[slot]) {
        (void)topology_bump_epoch(t);
        t->importing[slot] = NULL;
    }
    changed(c);
}

static void run_setslot(struct client *c) {
    int64_t slot;
    if (of(c)->myself->master) {
        reply_error(c, "ERR Please use SETSLOT only with masters.");
        return;
    }
    if (!read_slot(c, c->argv[2], &slot)) return;
    if (arg_is(c->argv[3], "migrating") && c->argc == 5) {
        setslot_migrating(c, slot);
    } else if (arg_is(c->argv[3], "importing") && c->argc == 5) {
        setslot_importing(c, slot);
    } else if (arg_is(c->argv[3], "stable") && c->argc == 4) {
        of(c)->importing[slot] = of(c)->migrating[slot] = NULL;
        changed(c);
    } else if (arg_is(c->argv[3], "node") && c->argc == 5) {
        setslot_node(c, slot);
    } else {
        reply_error(c,
                    "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");
    }
}

/* ---- keys of a slot ---- */

static void run_keyslot(struct client *c) {
    reply_int(c, slot_cluster(c->argv[2]));
}

static void run_countkeysinslot(struct client *c) {
    int64_t slot;
    if (!arg_int(c, c->argv[2], &slot, NULL)) return;
    if (slot < 0 || slot >= SLOT_CLUSTER_COUNT) {
        reply_error(c, "ERR Invalid slot");
        return;
    }
    reply_int(c, (int64_t)cluster_count_keys(c->engine, (unsigned)slot));
}

static void run_getkeysinslot(struct client *c) {
    int64_t slot, most;
    if (!arg_int(c, c->argv[2], &slot, NULL) || !arg_int(c, c->argv[3], &most, NULL)) return;
    if (slot < 0 || slot >= SLOT_CLUSTER_COUNT || most < 0) {
        reply_error(c, "ERR Invalid slot or number of keys");
        return;
    }
    uint64_t count = cluster_count_keys(c->engine, (unsigned)slot);
    if ((uint64_t)most < count) count = (uint64_t)most;
    reply_array(c, count);
    struct table_iter iter;
    table_iter_init(&iter, &c->engine->dbs[0].partitions->tables[slot]);
    for (; count > 0; count--) reply_bulk(c, entry_key(table_iter_next(&iter)));
}

/* ---- nodes ---- */

static void run_nodes(struct client *c) {
    struct topology *t = of(c);
    struct buf text = {0};
    for (size_t i = 0; i < t->count; i++) {
        topology_write_node(t, t->nodes[i], cluster_port(c, t->nodes[i]), &text);
        buf_byte(&text, '\n');
    }
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

static void run_info(struct client *c) {
    struct buf text = {0};
    cluster_info_put(c->engine, &text);
    reply_verbatim(c, "txt", buf_slice(&text));
    buf_close(&text);
}

static void run_myid(struct client *c) {
    reply_bulk_text(c, of(c)->myself->id);
}

static void run_links(struct client *c) {
    reply_empty_array(c); /* there is no bus */
}

static struct node *known_node(struct client *c) {
    struct node *node = topology_find(of(c), c->argv[2]);
    if (node == NULL)
        reply_error(c, "ERR Unknown node %.*s",
                    (int)(c->argv[2].size < 128 ? c->argv[2].size : 128),
                    (const char *)c->argv[2].data);
    return node;
}

static void run_replicas(struct client *c) {
    const struct node *node = known_node(c);
    if (node == NULL) return;
    if (node->master)
        reply_error(c, "ERR The specified node is not a master");
    else
        cluster_reply_replicas(c, node);
}

static void run_failure_reports(struct client *c) {
    if (known_node(c)) reply_int(c, 0);
}

static void run_meet(struct client *c) {
    reply_error(c, "ERR There is no cluster bus here: make nodes known by DRAWBRIDGE TOPOLOGY SET");
}

static void run_forget(struct client *c) {
    struct node *node = known_node(c), *me = of(c)->myself;
    if (node == NULL) return;
    if (node == me) {
        reply_error(c, "ERR I tried hard but I can't forget myself...");
    } else if (me->master == node) {
        reply_error(c, "ERR Can't forget my master!");
    } else {
        topology_forget(of(c), node);
        changed(c);
    }
}

static void run_replicate(struct client *c) {
    struct node *node = known_node(c), *me = of(c)->myself;
    if (node == NULL) return;
    if (node == me) {
        reply_error(c, "ERR Can't replicate myself");
    } else if (node->master) {
        reply_error(c, "ERR I can only replicate a master, not a replica.");
    } else if (!me->master && (me->slots != 0 || db_size(&c->engine->dbs[0]) != 0)) {
        reply_error(c, "ERR To set a master the node must be empty and without assigned slots.");
    } else {
        me->master = node;
        memset(of(c)->migrating, 0, sizeof of(c)->migrating);
        memset(of(c)->importing, 0, sizeof of(c)->importing);
        master_link_set_master(replication_of(c->engine), slice_text(node->host),
                               cluster_replication_port(c->engine, node));
        changed(c);
    }
}

/* Without a bus nobody can be asked, and nobody is told: only by force, and here. */
static void run_failover(struct client *c) {
    struct topology *t = of(c);
    struct node *me = t->myself, *master = me->master;
    bool force = c->argc == 3 && (arg_is(c->argv[2], "force") || arg_is(c->argv[2], "takeover"));
    if (c->argc == 3 && !force) {
        reply_syntax_error(c);
    } else if (master == NULL) {
        reply_error(c, "ERR You should send CLUSTER FAILOVER to a replica");
    } else if (!force) {
        reply_error(c, "ERR There is no cluster bus to agree with the master: use CLUSTER FAILOVER "
                       "TAKEOVER, and tell the other nodes by DRAWBRIDGE TOPOLOGY SET");
    } else {
        me->master = NULL;
        (void)topology_bump_epoch(t);
        for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
            if (t->owner[slot] == master) topology_assign(t, slot, me);
        master->master = me;
        for (size_t i = 0; i < t->count; i++)
            if (t->nodes[i]->master == master) t->nodes[i]->master = me;
        master_link_unset_master(replication_of(c->engine));
        changed(c);
    }
}

static void run_reset(struct client *c) {
    bool hard = c->argc == 3 && arg_is(c->argv[2], "hard");
    if (c->argc == 3 && !hard && !arg_is(c->argv[2], "soft")) {
        reply_syntax_error(c);
        return;
    }
    struct topology *old = of(c);
    if (!old->myself->master && db_size(&c->engine->dbs[0]) != 0) {
        reply_error(c, "ERR CLUSTER RESET can't be called with master nodes containing keys");
        return;
    }
    struct topology *t = topology_new(hard ? NULL : old->myself->id, old->myself->port);
    memcpy(t->myself->host, old->myself->host, sizeof t->myself->host);
    if (!hard) t->epoch = old->epoch, t->myself->epoch = old->myself->epoch;
    if (old->myself->master) {
        master_link_unset_master(replication_of(c->engine));
        (void)db_clear(&c->engine->dbs[0], true);
    }
    c->engine->cluster->topology = t;
    topology_free(old);
    changed(c);
}

static void run_bumpepoch(struct client *c) {
    bool bumped = topology_bump_epoch(of(c));
    char line[64];
    snprintf(line, sizeof line, "%s %llu", bumped ? "BUMPED" : "STILL",
             (unsigned long long)of(c)->myself->epoch);
    cluster_changed(c->engine);
    reply_simple(c, line);
}

static void run_set_config_epoch(struct client *c) {
    int64_t epoch;
    struct topology *t = of(c);
    if (!arg_int(c, c->argv[2], &epoch, NULL)) return;
    if (epoch < 0) {
        reply_error(c, "ERR Invalid config epoch specified: %lld", (long long)epoch);
    } else if (t->count > 1) {
        reply_error(c,
                    "ERR The user can assign a config epoch only when the node does not know any "
                    "other node.");
    } else if (t->myself->epoch != 0) {
        reply_error(c, "ERR Node config epoch is already non-zero");
    } else {
        t->myself->epoch = (uint64_t)epoch;
        if (t->epoch < (uint64_t)epoch) t->epoch = (uint64_t)epoch;
        changed(c);
    }
}

static void run_unknown(struct client *c) {
    reply_unknown_subcommand(c);
}

/* ---- the connection's own ---- */

static bool has_cluster(struct client *c) {
    if (c->engine->cluster) return true;
    reply_error(c, "ERR This instance has cluster support disabled");
    return false;
}

static void run_asking(struct client *c) {
    if (!has_cluster(c)) return;
    c->flags |= CLIENT_ASKING;
    reply_ok(c);
}

static void run_readonly(struct client *c) {
    if (!has_cluster(c)) return;
    c->flags |= CLIENT_READONLY;
    reply_ok(c);
}

static void run_readwrite(struct client *c) {
    if (!has_cluster(c)) return;
    c->flags &= ~(uint64_t)CLIENT_READONLY;
    reply_ok(c);
}

static void run_help(struct client *c);

static const struct {
    const char *name;
    command_run *run;
} subcommands[] = {{"addslots", run_addslots},
                   {"addslotsrange", run_addslotsrange},
                   {"bumpepoch", run_bumpepoch},
                   {"count-failure-reports", run_failure_reports},
                   {"countkeysinslot", run_countkeysinslot},
                   {"delslots", run_delslots},
                   {"delslotsrange", run_delslotsrange},
                   {"failover", run_failover},
                   {"flushslots", run_flushslots},
                   {"forget", run_forget},
                   {"getkeysinslot", run_getkeysinslot},
                   {"help", run_help},
                   {"info", run_info},
                   {"keyslot", run_keyslot},
                   {"links", run_links},
                   {"meet", run_meet},
                   {"myid", run_myid},
                   {"nodes", run_nodes},
                   {"replicas", run_replicas},
                   {"replicate", run_replicate},
                   {"reset", run_reset},
                   {"saveconfig", changed},
                   {"set-config-epoch", run_set_config_epoch},
                   {"setslot", run_setslot},
                   {"shards", cluster_reply_shards},
                   {"slaves", run_replicas},
                   {"slots", cluster_reply_slots}};

static void run_help(struct client *c) {
    static const char *const lines[] = {
        "ADDSLOTS <slot> ... | ADDSLOTSRANGE <from> <to> ...",
        "    This node serves these slots, which nobody served before.",
        "DELSLOTS <slot> ... | DELSLOTSRANGE <from> <to> ... | FLUSHSLOTS",
        "    Nobody serves them any more; FLUSHSLOTS: all of this node.",
        "SETSLOT <slot> (MIGRATING <id> | IMPORTING <id> | STABLE | NODE <id>)",
        "    A slot begins to move, stays after all, or has moved.",
        "COUNTKEYSINSLOT <slot> | GETKEYSINSLOT <slot> <count> | KEYSLOT <key>",
        "    Keys of a slot, and the slot of a key.",
        "INFO | MYID | NODES | SLOTS | SHARDS | REPLICAS <id> | LINKS",
        "    The topology as this node knows it.",
        "FORGET <id> | REPLICATE <id> | FAILOVER TAKEOVER | RESET [HARD|SOFT]",
        "    Change it; other nodes are not told (there is no bus: DRAWBRIDGE TOPOLOGY SET).",
        "BUMPEPOCH | SET-CONFIG-EPOCH <epoch> | SAVECONFIG | COUNT-FAILURE-REPORTS <id>",
        "    Epochs and the file.",
        NULL};
    reply_help(c, lines);
}

/* The subcommand by its name, after the one check that all share. */
static void run_cluster(struct client *c) {
    if (!has_cluster(c)) return;
    for (size_t i = 0; i < COUNT(subcommands); i++) {
        if (!arg_is(c->argv[1], subcommands[i].name)) continue;
        subcommands[i].run(c);
        return;
    }
    run_unknown(c);
}

/* ---- DRAWBRIDGE TOPOLOGY SET ID TEXT | GET ---- */

static void topology_set(struct client *c) {
    struct topology *t, *old = of(c);
    struct why why;
    char id[TOPOLOGY_ID + 1] = {0};
    if (c->argv[3].size != TOPOLOGY_ID) {
        reply_error(c, "ERR a node id has 40 characters");
        return;
    }
    memcpy(id, c->argv[3].data, TOPOLOGY_ID);
    if (topology_read(c->argv[4], id, &t, &why) != OK) {
        reply_error(c, "ERR %s", why.text);
        return;
    }
    if (t->epoch < old->epoch) {
        reply_error(c, "ERR that topology has epoch %llu, this node has %llu already",
                    (unsigned long long)t->epoch, (unsigned long long)old->epoch);
        topology_free(t);
        return;
    }
    c->engine->cluster->topology = t;
    topology_free(old);
    if (t->myself->master)
        master_link_set_master(replication_of(c->engine), slice_text(t->myself->master->host),
                               cluster_replication_port(c->engine, t->myself->master));
    else if (c->engine->role == ROLE_REPLICA)
        master_link_unset_master(replication_of(c->engine));
    changed(c);
}

void cluster_topology_command(struct client *c) {
    if (!has_cluster(c)) return;
    if (c->argc == 5 && arg_is(c->argv[2], "set")) {
        topology_set(c);
    } else if (c->argc == 3 && arg_is(c->argv[2], "get")) {
        struct buf text = {0};
        topology_write(of(c), &text);
        reply_bulk(c, buf_slice(&text));
        buf_close(&text);
    } else {
        reply_error(c, "ERR DRAWBRIDGE TOPOLOGY SET id text, or GET");
    }
}

void cluster_commands_bind(struct engine *engine) {
    static const struct command_binding bindings[] = {{"asking", run_asking},
                                                      {"readonly", run_readonly},
                                                      {"readwrite", run_readwrite},
                                                      {"cluster", run_cluster}};
    command_bind(engine, bindings, COUNT(bindings));
    for (size_t i = 0; i < COUNT(subcommands); i++) {
        char name[40];
        snprintf(name, sizeof name, "cluster|%s", subcommands[i].name);
        struct command_binding one = {name, run_cluster};
        command_bind(engine, &one, 1);
    }
}
