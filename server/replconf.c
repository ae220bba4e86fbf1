/* replconf.c -- what replicas say: REPLCONF, PSYNC, SYNC. See replication.h. */
#include "server/args.h"
#include "server/drawbridge.h"
#include "server/replication.h"

#include "lib/base/mem.h"
#include "server/reply.h"

struct replica *replica_of(struct client *c) {
    return c->flags & CLIENT_MASTER ? NULL : c->owner_data;
}

static struct replica *replica_made(struct client *c) {
    struct replica *replica = replica_of(c);
    return replica ? replica : replica_new(c);
}

/* ---- REPLCONF ---- */

static void take_ack(struct replica *replica, int64_t offset, int64_t aof_offset) {
    struct engine *engine = replica->client->engine;
    bool more = false;
    replica->ack_ms = (int64_t)(engine->now_us / 1000);
    if (offset > replica->ack_offset) {
        replica->ack_offset = offset;
        more = true;
    }
    if (aof_offset > replica->aof_ack_offset) {
        replica->aof_ack_offset = aof_offset;
        more = true;
    }
    if (replica->state == REPLICA_WAIT_ACK) {
        replica->state = REPLICA_ONLINE;
        engine_log(engine, '*', "Streamed replica with replica %s succeeded",
                   replica->client->peer);
        client_wake_writer(replica->client);
        more = true;
    }
    if (!more) return;
    engine_acks_changed(engine);
    drawbridge_check_waiting(engine);
}

/* REPLCONF ACK <offset> [FACK <offset>]: never answered. */
static void ack(struct client *c, int at) {
    struct replica *replica = replica_of(c);
    int64_t offset, aof_offset = -1;
    if (!replica || !replica->is_linked || !slice_to_int(c->argv[at + 1], &offset)) return;
    if (at + 3 < c->argc && arg_is(c->argv[at + 2], "fack") &&
        !slice_to_int(c->argv[at + 3], &aof_offset))
        aof_offset = -1;
    take_ack(replica, offset, aof_offset);
}

static bool take_address(struct client *c, struct slice text) {
    struct replica *replica = replica_made(c);
    if (text.size >= sizeof replica->address) {
        reply_error(c,
                    "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes",
                    text.size);
        return false;
    }
    memcpy(replica->address, text.data, text.size);
    replica->address[text.size] = '\0';
    return true;
}

static bool take_filter(struct client *c, struct slice text) {
    struct replica *replica = replica_made(c);
    bool functions = false;
    while (text.size) { /* words, separated by spaces */
        const uint8_t *end = memchr(text.data, ' ', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;
        struct slice word = slice_take(text, size);
        text = slice_drop(text, end ? size + 1 : size);
        if (word.size == 0) continue;
        if (!arg_is(word, "functions")) {
            reply_error(c, "ERR Unsupported rdb-filter-only option: %.*s",
                        word.size > 64 ? 64 : (int)word.size, (const char *)word.data);
            return false;
        }
        functions = true;
    }
    replica->scope = functions ? SNAPSHOT_FUNCTIONS : SNAPSHOT_NOTHING;
    return true;
}

/* "7" or "0-100" from the front of TEXT up to a comma. */
static bool next_range(struct slice *text, int64_t *from, int64_t *to) {
    const uint8_t *comma = memchr(text->data, ',', text->size);
    size_t size = comma ? (size_t)(comma - text->data) : text->size;
    struct slice range = slice_take(*text, size);
    *text = slice_drop(*text, comma ? size + 1 : size);
    const uint8_t *dash = range.size ? memchr(range.data, '-', range.size) : NULL;
    size_t first = dash ? (size_t)(dash - range.data) : range.size;
    if (!slice_to_int(slice_take(range, first), from)) return false;
    *to = *from;
    if (dash && !slice_to_int(slice_drop(range, first + 1), to)) return false;
    return *from >= 0 && *from <= *to && *to < SLOT_CLUSTER_COUNT;
}

/* Slots and ranges of them, separated by commas. */
static bool take_slots(struct client *c, struct slice text) {
    struct slot_set slots = {{0}};
    int64_t from, to;
    while (text.size) {
        if (!next_range(&text, &from, &to)) {
            reply_error(c, "ERR rdb-filter-slots: slots and ranges such as 7,100-200");
            return false;
        }
        for (int64_t slot = from; slot <= to; slot++) slot_set_add(&slots, (unsigned)slot);
    }
    struct replica *replica = replica_made(c);
    mem_free(replica->slots);
    replica->slots = mem_dup(&slots, sizeof slots);
    return true;
}

/* One pair of words. False: an error was replied. */
static bool take_option(struct client *c, struct slice name, struct slice value) {
    int64_t number;
    if (arg_is(name, "listening-port")) {
        if (!arg_int(c, value, &number, NULL)) return false;
        replica_made(c)->port = number;
    } else if (arg_is(name, "ip-address")) {
        return take_address(c, value);
    } else if (arg_is(name, "capa")) {
        if (arg_is(value, "eof"))
            replica_made(c)->knows_eof = true;
        else if (arg_is(value, "psync2"))
            replica_made(c)->knows_psync2 = true;
    } else if (arg_is(name, "rdb-only")) {
        if (!arg_int_range(c, value, 0, 1, &number, NULL)) return false;
        replica_made(c)->rdb_only = number == 1;
    } else if (arg_is(name, "rdb-filter-only")) {
        return take_filter(c, value);
    } else if (arg_is(name, "rdb-filter-slots")) {
        return take_slots(c, value);
    } else if (!arg_is(name, "version")) { /* Valkey tells its version; any is fine */
        reply_error(c, "ERR Unrecognized REPLCONF option: %.*s",
                    name.size > 64 ? 64 : (int)name.size, (const char *)name.data);
        return false;
    }
    return true;
}

static void replconf_command(struct client *c) {
    if (c->argc % 2 == 0) {
        reply_syntax_error(c);
        return;
    }
    for (int i = 1; i < c->argc; i += 2) {
        if (arg_is(c->argv[i], "ack")) {
            ack(c, i);
            return;
        }
        if (arg_is(c->argv[i], "getack")) {
            struct master_link *link = &replication_of(c->engine)->link;
            if (c->flags & CLIENT_MASTER && link->client == c) obey_ack(link);
            return;
        }
        if (!take_option(c, c->argv[i], c->argv[i + 1])) return;
    }
    reply_ok(c);
}

/* ---- PSYNC ---- */

/* PSYNC id offset FAILOVER. False: an error was replied. */
static bool take_failover(struct client *c) {
    int64_t wanted;
    if (c->argc < 4 || !arg_is(c->argv[3], "failover")) return true;
    if (!arg_int(c, c->argv[2], &wanted, NULL)) return false;
    return failover_take_request(c, c->argv[1], wanted);
}

static bool may_sync(struct client *c) {
    struct replication *r = replication_of(c->engine);
    struct replica *replica = replica_of(c);
    if (replica && replica->is_linked) return false; /* twice: ignored, as in Redis */
    if (c->engine->role == ROLE_REPLICA && r->link.state != LINK_CONNECTED) {
        reply_error(c, "NOMASTERLINK Can't SYNC while not connected with my master");
        return false;
    }
    if (buf_size(&c->out)) {
        reply_error(c, "ERR SYNC and PSYNC are invalid with pending output");
        return false;
    }
    return true;
}

static const char *verdict_words(enum psync_verdict verdict) {
    switch (verdict) {
    case PSYNC_CONTINUE: return "fine";
    case PSYNC_OTHER_HISTORY: return "Replication ID mismatch";
    case PSYNC_BEYOND_SECOND_ID: return "the offset is beyond what the second ID may ask for";
    case PSYNC_NO_BACKLOG: return "there is no backlog";
    case PSYNC_OUT_OF_BACKLOG: return "the offset is outside of the backlog";
    }
    UNREACHABLE("a verdict without words");
}

static void psync_command(struct client *c) {
    struct replication *r = replication_of(c->engine);
    int64_t wanted;
    const struct replica *known = replica_of(c);
    if (!(known && known->is_linked) && !take_failover(c)) return;
    if (!may_sync(c)) return;
    if (!arg_int(c, c->argv[2], &wanted, NULL)) {
        engine_log(c->engine, '#',
                   "Replica %s asks for synchronization but with a wrong offset", c->peer);
        return;
    }
    struct replica *replica = replica_made(c);
    enum psync_verdict verdict = history_judge(&r->history, &r->backlog, c->argv[1], wanted);
    if (verdict == PSYNC_CONTINUE && !replica->rdb_only) {
        replica_continue(replica, (uint64_t)wanted);
        return;
    }
    if (!slice_equal(c->argv[1], SLICE("?"))) {
        r->refused_partial_syncs++;
        engine_log(c->engine, '*', "Partial resynchronization not accepted: %s (replica %s)",
                   verdict_words(verdict), c->peer);
    }
    replica_start_full(replica);
}

static void sync_command(struct client *c) {
    if (!may_sync(c)) return;
    struct replica *replica = replica_made(c);
    replica->old_sync = true;
    replica_start_full(replica);
}

void replconf_open(struct engine *engine) {
    static const struct command_binding bindings[] = {
        {"replconf", replconf_command}, {"psync", psync_command}, {"sync", sync_command}};
    command_bind(engine, bindings, COUNT(bindings));
}
