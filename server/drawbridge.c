/* drawbridge.c -- DRAWBRIDGE CHECKPOINT, EPOCH, JOIN; how checkpoints come in by the stream;
 * WAITAOF.
 *
 * docs/CONTROL.md has the words; checkpoints.h how they travel.
 */
#include "server/cluster.h"
#include "server/drawbridge.h"
#include "lib/base/mem.h"
#include "server/aof.h"
#include "server/args.h"
#include "server/block.h"
#include "server/persistence.h"
#include "server/pubsub.h"
#include "server/replication.h"
#include "server/reply.h"

/* A write on a server that takes none. */
static bool is_refused(struct client *c) {
    if (c->engine->role == ROLE_MASTER || c->flags & (CLIENT_MASTER | CLIENT_LOADING)) return false;
    if (!c->engine->settings.replica_read_only) return false;
    reply_error(c, "READONLY You can't write against a read only replica.");
    return true;
}

/* NAME=VALUE on the channel of checkpoints. */
static void propagate_message(struct client *c, struct slice name, struct slice value) {
    struct buf message = {0};
    buf_add(&message, name);
    buf_byte(&message, '=');
    buf_add(&message, value);
    c->engine->dirty++;
    PROPAGATE_INSTEAD(c, SLICE("PUBLISH"), SLICE(CHECKPOINT_CHANNEL), buf_slice(&message));
    buf_close(&message);
}

static void checkpoint_set(struct client *c, struct slice name, struct slice value) {
    if (!checkpoint_name_is_fine(name)) {
        reply_error(c,
                    "ERR a checkpoint's name has 1 to %d bytes of printable ASCII without '=', and "
                    "does not begin with ':'",
                    CHECKPOINT_NAME_SIZE_MAX);
    } else if (!checkpoint_value_is_fine(value)) {
        reply_error(c, "ERR a checkpoint's value has 1 to %d bytes of printable ASCII",
                    CHECKPOINT_VALUE_SIZE_MAX);
    } else if (!is_refused(c)) {
        if (!checkpoints_set(&persistence_of(c->engine)->checkpoints, name, value)) {
            reply_error(c, "ERR there are %d checkpoints already", CHECKPOINTS_MAX);
            return;
        }
        propagate_message(c, name, value);
        reply_ok(c);
    }
}

static void checkpoint_del(struct client *c, struct slice name) {
    if (is_refused(c)) return;
    bool was_there = checkpoints_remove(&persistence_of(c->engine)->checkpoints, name);
    if (was_there) propagate_message(c, name, SLICE(""));
    reply_int(c, was_there);
}

static void checkpoint_list(struct client *c) {
    const struct checkpoints *all = &persistence_of(c->engine)->checkpoints;
    reply_array(c, all->count);
    for (size_t i = 0; i < all->count; i++) {
        reply_array(c, 2);
        reply_bulk_text(c, all->list[i].name);
        reply_bulk_text(c, all->list[i].value);
    }
}

static void checkpoint(struct client *c) {
    struct slice verb = c->argc >= 3 ? c->argv[2] : SLICE("");
    if (arg_is(verb, "set") && c->argc == 5) {
        checkpoint_set(c, c->argv[3], c->argv[4]);
    } else if (arg_is(verb, "get") && c->argc == 4) {
        const char *value = checkpoints_get(&persistence_of(c->engine)->checkpoints, c->argv[3]);
        if (value)
            reply_bulk_text(c, value);
        else
            reply_null(c);
    } else if (arg_is(verb, "del") && c->argc == 4) {
        checkpoint_del(c, c->argv[3]);
    } else if (arg_is(verb, "list") && c->argc == 3) {
        checkpoint_list(c);
    } else {
        reply_error(
            c, "ERR syntax: DRAWBRIDGE CHECKPOINT SET name value | GET name | DEL name | LIST");
    }
}

static void epoch(struct client *c) {
    struct checkpoints *all = &persistence_of(c->engine)->checkpoints;
    int64_t number;
    if (c->argc == 3) {
        char text[24];
        if (!arg_int_range(c, c->argv[2], 0, INT64_MAX, &number, NULL) || is_refused(c)) return;
        if ((uint64_t)number > all->epoch) {
            all->epoch = (uint64_t)number;
            propagate_message(c, SLICE(CHECKPOINT_EPOCH_NAME),
                              slice_from(text, number_write_int(text, number)));
        }
    }
    reply_int(c, (int64_t)all->epoch);
}

static void join(struct client *c) {
    const struct checkpoints *all = &persistence_of(c->engine)->checkpoints;
    int64_t number;
    struct slice name = c->argv[2];
    if (!arg_int_range(c, c->argv[3], 0, INT64_MAX, &number, NULL)) return;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < '!' || name.data[i] > '~') {
            reply_error(c,
                        "ERR Client names cannot contain spaces, newlines or special characters.");
            return;
        }
    if ((uint64_t)number < all->epoch) {
        reply_error(c, "STALEEPOCH %llu", (unsigned long long)all->epoch);
        return;
    }
    mem_free(c->name);
    c->name = NULL;
    if (name.size) {
        struct buf text = {0};
        buf_add(&text, name);
        c->name = mem_strdup(buf_text(&text));
        buf_close(&text);
    }
    reply_ok(c);
}

/* What was published at another node of the cluster: to our own subscribers, and no further. */
static void deliver(struct client *c, bool sharded) {
    int64_t receivers = pubsub_publish(c->engine, c->argv[2], c->argv[3], sharded);
    c->engine->stats.pubsub_messages += (uint64_t)receivers;
    reply_int(c, receivers);
}

static void drawbridge_command(struct client *c) {
    if (arg_is(c->argv[1], "checkpoint"))
        checkpoint(c);
    else if (arg_is(c->argv[1], "epoch") && c->argc <= 3)
        epoch(c);
    else if (arg_is(c->argv[1], "join") && c->argc == 4)
        join(c);
    else if (arg_is(c->argv[1], "digest") && c->argc >= 3)
        drawbridge_digest(c);
    else if (arg_is(c->argv[1], "publish") && c->argc == 4)
        deliver(c, false);
    else if (arg_is(c->argv[1], "spublish") && c->argc == 4)
        deliver(c, true);
    else if (arg_is(c->argv[1], "audit") && c->argc >= 3)
        drawbridge_audit(c);
    else if (arg_is(c->argv[1], "topology") && c->argc >= 3)
        cluster_topology_command(c);
    else
        reply_unknown_subcommand(c);
}

bool drawbridge_take_publish(struct client *c) {
    if (!(c->flags & (CLIENT_MASTER | CLIENT_LOADING)) || c->argc != 3) return false;
    if (!slice_equal(c->argv[1], SLICE(CHECKPOINT_CHANNEL))) return false;
    if (checkpoints_take_message(&persistence_of(c->engine)->checkpoints, c->argv[2]))
        c->engine->dirty++;
    return true;
}

/* ---- WAITAOF ---- */

struct waiting {
    struct waiting *next;
    uint64_t client_id;
    int64_t local, replicas;
    uint64_t aof_bytes; /* ours must have so many on disk */
    int64_t offset;     /* theirs this one */
};

static struct waiting *waiting; /* of the engine; one in a process */

static int replicas_synced(const struct engine *engine, int64_t offset) {
    int count = 0;
    for (const struct replica *replica = replication_of(engine)->replicas; replica;
         replica = replica->next)
        count += replica->state == REPLICA_ONLINE && replica->aof_ack_offset >= offset;
    return count;
}

static void reply_counts(struct client *c, uint64_t aof_bytes, int64_t offset) {
    const struct aof *aof = persistence_of(c->engine)->aof;
    reply_array(c, 2);
    reply_int(c, aof_is_on(aof) && aof_synced(aof) >= aof_bytes);
    reply_int(c, replicas_synced(c->engine, offset));
}

static bool is_reached(const struct engine *engine, const struct waiting *w) {
    const struct aof *aof = persistence_of(engine)->aof;
    bool local = w->local == 0 || (aof_is_on(aof) && aof_synced(aof) >= w->aof_bytes);
    return local && replicas_synced(engine, w->offset) >= w->replicas;
}

static struct waiting take_waiting(uint64_t client_id) {
    for (struct waiting **at = &waiting; *at; at = &(*at)->next)
        if ((*at)->client_id == client_id) {
            struct waiting *found = *at, copy = *found;
            *at = found->next;
            mem_free(found);
            return copy;
        }
    return (struct waiting){0};
}

static void timed_out(struct client *c) {
    struct waiting w = take_waiting(c->id);
    reply_counts(c, w.aof_bytes, w.offset);
}

void drawbridge_check_waiting(struct engine *engine) {
    for (struct waiting *w = waiting, *next; w; w = next) {
        next = w->next;
        struct client *c = client_by_id(engine, w->client_id);
        bool blocked = c && c->flags & CLIENT_BLOCKED;
        if (blocked && !is_reached(engine, w)) continue;
        struct waiting done = take_waiting(w->client_id);
        if (!blocked) continue;
        reply_counts(c, done.aof_bytes, done.offset);
        block_end(c);
    }
}

static void waitaof_command(struct client *c) {
    static const struct block_how how = {.timed_out = timed_out, .type = -1};
    struct engine *engine = c->engine;
    struct aof *aof = persistence_of(engine)->aof;
    struct waiting w = {.client_id = c->id, .offset = replication_of(engine)->history.offset};
    int64_t deadline_ms;
    if (!arg_int_range(c, c->argv[1], 0, 1, &w.local, NULL) ||
        !arg_int_range(c, c->argv[2], 0, INT32_MAX, &w.replicas, NULL) ||
        !arg_timeout(c, c->argv[3], true, &deadline_ms))
        return;
    if (engine->role == ROLE_REPLICA) {
        reply_error(c, "ERR WAITAOF cannot be used with replica instances. Please also note that "
                       "writes to replicas are "
                       "just local and are not propagated.");
        return;
    }
    if (w.local && !aof_is_on(aof)) {
        reply_error(c,
                    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        return;
    }
    w.aof_bytes = aof_appended(aof);
    if (is_reached(engine, &w) || block_is_denied(c)) {
        reply_counts(c, w.aof_bytes, w.offset);
        return;
    }
    if (w.local) {
        aof_flush(aof);
        aof_sync_soon(aof);
    }
    if (w.replicas) replication_of(engine)->ask_acks = true;
    struct waiting *kept = mem_dup(&w, sizeof w);
    kept->next = waiting;
    waiting = kept;
    block_until(c, deadline_ms, &how);
}

void drawbridge_open(struct engine *engine) {
    static const struct command_binding bindings[] = {{"drawbridge", drawbridge_command},
                                                      {"waitaof", waitaof_command}};
    command_bind(engine, bindings, COUNT(bindings));
    drawbridge_audit_open(engine);
    engine_hook_add(engine, HOOK_TICK, drawbridge_check_waiting);
}
