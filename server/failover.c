/* failover.c -- FAILOVER: a master hands its role to one of its replicas, and follows it.
 *
 *     NONE --FAILOVER--> WAIT_FOR_SYNC --the target has everything--> IN_PROGRESS --PSYNC taken--> NONE
 *               (writes wait)      \--TIMEOUT: abort, or FORCE--/    \--refused: abort, a master again
 *
 * Nothing is lost without FORCE: the role is given away in the same turn in which the target is
 * seen to have acknowledged the last byte. Source of behaviour: replication.c of Redis 7.0.
 */
#include "lib/base/mem.h"
#include "server/args.h"
#include "server/pause.h"
#include "server/replication.h"
#include "server/reply.h"

const char *failover_state_name(const struct replication *r) {
    switch (r->failover.state) {
    case FAILOVER_NONE: return "no-failover";
    case FAILOVER_WAIT_FOR_SYNC: return "waiting-for-sync";
    case FAILOVER_IN_PROGRESS: return "failover-in-progress";
    }
    UNREACHABLE("a state without a name");
}

static void clear(struct replication *r) {
    mem_free(r->failover.host);
    r->failover = (struct failover){0};
    pause_end(r->engine, PAUSE_FAILOVER);
}

static void abort_it(struct replication *r, const char *words) {
    struct failover *f = &r->failover;
    if (f->state == FAILOVER_NONE) return;
    if (f->host)
        engine_log(r->engine, '*', "FAILOVER to %s:%lld aborted: %s", f->host, (long long)f->port,
                   words);
    else
        engine_log(r->engine, '*', "FAILOVER to any replica aborted: %s", words);
    if (f->state == FAILOVER_IN_PROGRESS) master_link_unset_master(r);
    clear(r);
}

void failover_answered(struct replication *r, bool is_accepted) {
    if (r->failover.state != FAILOVER_IN_PROGRESS) return;
    if (is_accepted)
        clear(r);
    else
        abort_it(r, "Failover target rejected psync request");
}

static struct replica *find_replica(const struct replication *r, struct slice host, int64_t port) {
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        char address[64];
        int64_t listens_at;
        replica_address(replica, address, sizeof address, &listens_at);
        if (slice_equal_nocase(slice_text(address), host) && listens_at == port) return replica;
    }
    return NULL;
}

static bool has_everything(const struct replication *r, const struct replica *replica) {
    return replica && replica->state == REPLICA_ONLINE && replica->ack_offset == r->history.offset;
}

static void hand_over(struct replication *r) {
    r->failover.state = FAILOVER_IN_PROGRESS;
    master_link_set_master(r, slice_text(r->failover.host), r->failover.port);
}

static void pick_target(struct replication *r) {
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        char address[64];
        if (!has_everything(r, replica)) continue;
        replica_address(replica, address, sizeof address, &r->failover.port);
        r->failover.host = mem_strdup(address);
        engine_log(r->engine, '*', "Failover target: %s:%lld has been synced.", address,
                   (long long)r->failover.port);
        return;
    }
}

void failover_check(struct replication *r) {
    struct failover *f = &r->failover;
    if (f->state != FAILOVER_WAIT_FOR_SYNC) return;
    if (f->end_ms && r->engine->now_ms >= f->end_ms) {
        if (!f->force) {
            abort_it(r, "Replica never caught up before timeout");
            return;
        }
        engine_log(r->engine, '*', "Failover to %s:%lld time out exceeded, failing over.", f->host,
                   (long long)f->port);
        hand_over(r);
        return;
    }
    if (!f->host) pick_target(r);
    if (!f->host || !has_everything(r, find_replica(r, slice_text(f->host), f->port))) return;
    engine_log(r->engine, '*', "Failover target is synced, failing over.");
    hand_over(r);
}

/* ---- the command ---- */

struct wish {
    bool abort, force;
    struct slice host; /* empty: whoever is first */
    int64_t port, timeout_ms;
};

/* False: an error was replied. */
static bool read_wish(struct client *c, struct wish *wish) {
    for (int i = 1; i < c->argc; i++) {
        int left = c->argc - i - 1;
        if (arg_is(c->argv[i], "timeout") && left >= 1 && !wish->timeout_ms) {
            if (!arg_int(c, c->argv[++i], &wish->timeout_ms, NULL)) return false;
            if (wish->timeout_ms > 0) continue;
            reply_error(c, "ERR FAILOVER timeout must be greater than 0");
            return false;
        } else if (arg_is(c->argv[i], "abort") && c->argc == 2) {
            wish->abort = true;
        } else if (arg_is(c->argv[i], "to") && left >= 2 && !wish->host.size) {
            wish->host = c->argv[++i];
            if (!arg_int(c, c->argv[++i], &wish->port, NULL)) return false;
        } else if (arg_is(c->argv[i], "force") && !wish->force) {
            wish->force = true;
        } else {
            reply_syntax_error(c);
            return false;
        }
    }
    return true;
}

static const char *objection(const struct replication *r, const struct wish *wish) {
    if (r->failover.state != FAILOVER_NONE) return "ERR FAILOVER already in progress.";
    if (r->engine->role != ROLE_MASTER) return "ERR FAILOVER is not valid when server is a replica.";
    if (!r->replica_count) return "ERR FAILOVER requires connected replicas.";
    if (wish->force && (!wish->timeout_ms || !wish->host.size))
        return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    if (!wish->host.size) return NULL;
    const struct replica *target = find_replica(r, wish->host, wish->port);
    if (!target) return "ERR FAILOVER target HOST and PORT is not a replica.";
    return target->state == REPLICA_ONLINE ? NULL : "ERR FAILOVER target replica is not online.";
}

void failover_command(struct client *c) {
    struct replication *r = replication_of(c->engine);
    struct wish wish = {0};
    if (!read_wish(c, &wish)) return;
    if (wish.abort) {
        if (r->failover.state == FAILOVER_NONE) {
            reply_error(c, "ERR No failover in progress.");
            return;
        }
        abort_it(r, "Failover manually aborted");
        reply_ok(c);
        return;
    }
    const char *words = objection(r, &wish);
    if (words) {
        reply_error(c, "%s", words);
        return;
    }
    struct buf host = {0};
    buf_add(&host, wish.host);
    r->failover = (struct failover){.state = FAILOVER_WAIT_FOR_SYNC,
                                    .host = wish.host.size ? mem_strdup(buf_text(&host)) : NULL,
                                    .port = wish.port,
                                    .force = wish.force,
                                    .end_ms = wish.timeout_ms ? c->engine->now_ms + wish.timeout_ms
                                                              : 0};
    buf_close(&host);
    if (r->failover.host)
        engine_log(r->engine, '*', "FAILOVER requested to %s:%lld.", r->failover.host,
                   (long long)r->failover.port);
    else
        engine_log(r->engine, '*', "FAILOVER requested.");
    pause_start(r->engine, PAUSE_FAILOVER, INT64_MAX, false);
    r->ask_acks = true;
    reply_ok(c);
}

bool failover_take_request(struct client *c, struct slice id, int64_t wanted) {
    struct replication *r = replication_of(c->engine);
    engine_log(c->engine, '#', "Failover request received for replid %.*s.", (int)id.size,
               (const char *)id.data);
    if (c->engine->role == ROLE_MASTER) {
        /* It has asked before, and its connection broke before it heard the answer. */
        if (slice_equal(id, slice_text(r->history.id2)) && wanted <= r->history.id2_end) return true;
        reply_error(c, "ERR PSYNC FAILOVER can't be sent to a master.");
        return false;
    }
    if (!slice_equal(id, slice_text(r->history.id))) {
        reply_error(c, "ERR PSYNC FAILOVER replid must match my replid.");
        return false;
    }
    master_link_unset_master(r);
    engine_log(c->engine, '*', "MASTER MODE enabled (failover request from '%s')", c->peer);
    return true;
}
