/* cluster.c -- cluster mode: the file, and where a request belongs; see cluster.h. */
#include "server/cluster.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/block.h"
#include "server/cluster_bus.h"
#include "server/engine.h"
#include "server/gates.h"
#include "server/multi.h"
#include "server/replication.h"
#include "server/reply.h"

#include <string.h>

bool cluster_is_ok(const struct engine *engine) {
    const struct topology *t = engine->cluster->topology;
    if (!engine->settings.cluster_require_full_coverage) return true;
    for (unsigned slot = 0; slot < SLOT_CLUSTER_COUNT; slot++)
        if (t->owner[slot] == NULL || t->owner[slot]->is_failed) return false;
    return true;
}

int cluster_port(const struct client *c, const struct node *node) {
    if (c->transport.tls) return node->tls_port ? node->tls_port : node->port;
    return node->port ? node->port : node->tls_port;
}

int cluster_replication_port(const struct engine *engine, const struct node *node) {
    bool by_tls = engine->settings.tls_replication ? node->tls_port != 0 : node->port == 0;
    return by_tls ? node->tls_port : node->port;
}

const char *cluster_endpoint(const struct engine *engine, const struct node *node) {
    switch ((enum cluster_endpoint)engine->settings.cluster_preferred_endpoint_type) {
    case CLUSTER_ENDPOINT_IP: break;
    case CLUSTER_ENDPOINT_HOSTNAME: return node->hostname[0] ? node->hostname : "?";
    case CLUSTER_ENDPOINT_UNKNOWN: return "";
    }
    return node->host;
}

uint64_t cluster_count_keys(const struct engine *engine, unsigned slot) {
    return table_count(&engine->dbs[0].partitions->tables[slot]);
}

/* ---- where a request belongs ---- */

enum verdict { HERE, MOVED, ASK, CROSS_SLOT, UNSTABLE, DOWN, DOWN_FOR_WRITES, NO_OWNER };

struct route {
    struct client *c;
    enum verdict verdict; /* of what was seen so far */
    struct slice first;   /* the first key; its bytes are the request's */
    bool has_key, several, migrating, importing, is_channel, is_migrate;
    unsigned slot;
    size_t here, missing;
};

/* Without touching anything, not even what has expired. */
static bool has_key(struct client *c, struct slice key) {
    const struct entry *e = db_find(&c->engine->dbs[0], key);
    return e && !entry_is_expired(c->engine, e);
}

static void see_first(struct route *r, struct slice key, unsigned slot) {
    const struct topology *t = r->c->engine->cluster->topology;
    r->has_key = true;
    r->first = key;
    r->slot = slot;
    if (t->owner[slot] == NULL)
        r->verdict = NO_OWNER;
    else if (t->owner[slot] == t->myself && t->migrating[slot])
        r->migrating = true;
    else if (t->importing[slot])
        r->importing = true;
}

static void see_key(struct route *r, struct slice key) {
    if (r->verdict != HERE) return;
    unsigned slot = slot_cluster(key);
    if (!r->has_key)
        see_first(r, key, slot);
    else if (slot != r->slot)
        r->verdict = CROSS_SLOT;
    else if (!slice_equal(key, r->first))
        r->several = true;
    if ((!r->migrating && !r->importing) || r->is_channel) return;
    if (has_key(r->c, key))
        r->here++;
    else
        r->missing++;
}

#define KEYS_AT_ONCE 64

static void see_command(void *ctx, const struct command *command, int argc,
                        const struct slice *argv) {
    struct route *r = ctx;
    struct command_key few[KEYS_AT_ONCE], *keys = few;
    size_t count = 0;
    struct why why;
    r->is_channel = strcmp(command->name, "ssubscribe") == 0 ||
                    strcmp(command->name, "sunsubscribe") == 0 ||
                    strcmp(command->name, "spublish") == 0;
    r->is_migrate = strcmp(command->name, "migrate") == 0;
    if (!command_has_keys(command)) return;
    if (argc > KEYS_AT_ONCE) keys = NEW_ARRAY(struct command_key, (size_t)argc);
    if (command_keys(command, (size_t)argc, argv, keys, (size_t)argc, &count, &why) == OK)
        for (size_t i = 0; i < count; i++) see_key(r, argv[keys[i].at]);
    if (keys != few) mem_free(keys);
}

static enum verdict while_down(const struct route *r, uint32_t flags) {
    const struct settings *s = &r->c->engine->settings;
    if (r->is_channel) return s->cluster_allow_pubsubshard_when_down ? HERE : DOWN;
    if (!s->cluster_allow_reads_when_down) return DOWN;
    return flags & COMMAND_WRITE ? DOWN_FOR_WRITES : HERE;
}

static enum verdict decide(struct route *r, uint32_t flags) {
    const struct client *c = r->c;
    const struct topology *t = c->engine->cluster->topology;
    if (!r->has_key || r->verdict != HERE) return r->verdict;
    if (!cluster_is_ok(c->engine)) {
        enum verdict down = while_down(r, flags);
        if (down != HERE) return down;
    }
    if ((r->migrating || r->importing) && r->is_migrate) return HERE;
    if (r->migrating && r->missing) return r->here ? UNSTABLE : ASK;
    if (r->importing && (c->flags & CLIENT_ASKING || flags & COMMAND_ASKING))
        return r->several && r->missing ? UNSTABLE : HERE;
    const struct node *owner = t->owner[r->slot];
    bool may_read = c->flags & CLIENT_READONLY || r->is_channel;
    if (may_read && !(flags & COMMAND_WRITE) && t->myself->master == owner) return HERE;
    return owner == t->myself ? HERE : MOVED;
}

static void put_verdict(const struct route *r, enum verdict verdict, struct buf *out) {
    const struct topology *t = r->c->engine->cluster->topology;
    const struct node *to = verdict == ASK     ? t->migrating[r->slot]
                            : verdict == MOVED ? t->owner[r->slot]
                                               : NULL;
    static const char *const texts[] = {
        [CROSS_SLOT] = "CROSSSLOT Keys in request don't hash to the same slot",
        [UNSTABLE] = "TRYAGAIN Multiple keys request during rehashing of slot",
        [DOWN] = "CLUSTERDOWN The cluster is down",
        [DOWN_FOR_WRITES] = "CLUSTERDOWN The cluster is down and only accepts read commands",
        [NO_OWNER] = "CLUSTERDOWN Hash slot not served"};
    if (to)
        buf_printf(out, "%s %u %s:%d", verdict == ASK ? "ASK" : "MOVED", r->slot,
                   cluster_endpoint(r->c->engine, to), cluster_port(r->c, to));
    else
        buf_printf(out, "%s", texts[verdict]);
}

const char *cluster_refuses_call(struct client *c, const struct client *caller,
                                 const struct command *command, int *slot) {
    const uint64_t inherited = CLIENT_READONLY | CLIENT_ASKING;
    c->flags = (c->flags & ~inherited) | (caller->flags & inherited);
    struct route r = {.c = c};
    *slot = -1;
    see_command(&r, command, c->argc, c->argv);
    switch (decide(&r, command->flags)) {
    case HERE: break;
    case DOWN_FOR_WRITES:
        return "ERR Script attempted to execute a write command while the cluster is down and "
               "readonly";
    case DOWN: return "ERR Script attempted to execute a command while the cluster is down";
    case MOVED:
    case ASK:
    case CROSS_SLOT:
    case UNSTABLE:
    case NO_OWNER: return "ERR Script attempted to access a non local key in a cluster node";
    }
    if (r.has_key) *slot = (int)r.slot;
    return NULL;
}

bool cluster_admits(struct client *c, const struct command *command) {
    struct route r = {.c = c};
    c->slot = -1;
    bool is_exec = strcmp(command->name, "exec") == 0;
    if (is_exec && c->flags & CLIENT_MULTI)
        multi_visit(c, see_command, &r);
    else
        see_command(&r, command, c->argc, c->argv);
    enum verdict verdict = decide(&r, engine_command_flags(c, command));
    if (verdict == HERE) {
        if (r.has_key) c->slot = (int)r.slot;
        return true;
    }
    struct buf text = {0};
    put_verdict(&r, verdict, &text);
    if (is_exec) { /* Redis does not dress it as EXECABORT: clients look at the first word */
        c->engine->uses[command->index].rejected++;
        multi_discard(c);
        reply_error(c, "%s", buf_text(&text));
    } else {
        engine_refuse(c, "%s", buf_text(&text));
    }
    buf_close(&text);
    return false;
}

/* ---- changes ---- */

static void write_file(struct engine *engine) {
    struct buf text = {0};
    struct why why;
    topology_write(engine->cluster->topology, &text);
    if (fs_replace(engine->settings.cluster_config_file, buf_slice(&text), &why) != OK)
        engine_log(engine, '#', "The topology could not be written: %s", why.text);
    buf_close(&text);
}

/* A client that waits for a key that is elsewhere now would wait for ever. */
static void redirect_blocked(struct engine *engine) {
    struct client *next;
    for (struct client *c = engine->clients; c; c = next) {
        next = c->next;
        if (!(c->flags & CLIENT_BLOCKED) || block_type(c) < 0 || c->command == NULL) continue;
        struct route r = {.c = c};
        see_command(&r, c->command, c->argc, c->argv);
        if (r.importing) continue;
        r.migrating = false; /* Redis lets them wait until the slot has moved */
        enum verdict verdict = decide(&r, c->command->flags);
        if (verdict == HERE) continue;
        struct buf text = {0};
        put_verdict(&r, verdict, &text);
        reply_error(c, "%s", buf_text(&text));
        buf_close(&text);
        block_end(c);
    }
}

void cluster_changed(struct engine *engine) {
    write_file(engine);
    cluster_bus_learn(engine);
    redirect_blocked(engine);
}

void cluster_announce(struct engine *engine) {
    const struct settings *s = &engine->settings;
    struct node *me = engine->cluster->topology->myself;
    int64_t port = s->cluster_announce_port ? s->cluster_announce_port : s->port;
    int64_t tls_port = s->cluster_announce_tls_port ? s->cluster_announce_tls_port : s->tls_port;
    me->port = (int)port;
    me->tls_port = (int)tls_port;
    if (s->cluster_announce_ip[0] && strlen(s->cluster_announce_ip) < sizeof me->host)
        memcpy(me->host, s->cluster_announce_ip, strlen(s->cluster_announce_ip) + 1);
    const char *name = s->cluster_announce_hostname;
    if (name[0] || engine->cluster->names_itself) memcpy(me->hostname, name, strlen(name) + 1);
    engine->cluster->names_itself = name[0] != '\0';
}

/* ---- start ---- */

/* A replica of the topology follows its master from the start. */
static void follow_master(struct engine *engine) {
    const struct node *master = engine->cluster->topology->myself->master;
    if (master)
        master_link_set_master(replication_of(engine), slice_text(master->host),
                               cluster_replication_port(engine, master));
}

enum err cluster_open(struct engine *engine, struct why *why) {
    const struct settings *s = &engine->settings;
    if (!s->cluster_enabled) return OK;
    engine->cluster = NEW(struct cluster);
    struct buf text = {0};
    enum err err = fs_read_file(s->cluster_config_file, TOPOLOGY_TEXT_MAX, &text, why);
    if (err == ERR_ABSENT || (err == OK && buf_size(&text) == 0)) {
        engine->cluster->topology = topology_new(NULL, (int)(s->port ? s->port : s->tls_port));
        write_file(engine);
        err = OK;
    } else if (err == OK) {
        err = topology_read(buf_slice(&text), NULL, &engine->cluster->topology, why);
    }
    buf_close(&text);
    if (err != OK) return why_add(why, err, "cluster-config-file %s", s->cluster_config_file);
    cluster_announce(engine);
    engine_log(engine, '*', "Cluster mode, I'm %s", engine->cluster->topology->myself->id);
    engine_hook_add(engine, HOOK_READY, follow_master);
    engine_hook_add(engine, HOOK_READY, cluster_bus_learn);
    return OK;
}
