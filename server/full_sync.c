/* full_sync.c -- one snapshot for all replicas that wait for one.
 *
 *     snapshot --> batch --> rdb of each replica --> its socket
 *         ^--------- all have taken it ----------------'
 *
 * They go at the pace of the slowest, which repl-timeout drops if it takes nothing at all. Who came
 * too late for it has a snapshot of its own, while fewer than SNAPSHOTS_MAX are under way. Replicas
 * that know no mark at the end of an RDB are given a file, and nobody shares with them: its size
 * must be said first.
 * Source of behaviour: replication.c of Redis 7.0 (its diskless replication).
 */
#include "server/replication.h"

#include "server/older.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"

#include <fcntl.h>
#include <unistd.h>

struct full_sync {
    struct snapshot *snapshot;
    struct replica *replicas; /* by sync_next; never none */
    char mark[41];
};

bool full_sync_may_share(const struct replica *replica) {
    return replica->knows_eof && !replica->rdb_only && replica->slots == NULL;
}

static void close_all(struct full_sync *sync) {
    for (struct replica *replica = sync->replicas; replica; replica = replica->sync_next)
        client_close_later(replica->client);
}

static void dissolve(struct full_sync *sync) {
    for (struct replica *replica = sync->replicas, *next; replica; replica = next) {
        next = replica->sync_next;
        replica->sync = NULL;
        replica->sync_next = NULL;
    }
    mem_free(sync);
}

/* ---- what the snapshot says ---- */

static void take_batch(void *owner, struct slice bytes) {
    struct full_sync *sync = owner;
    for (struct replica *replica = sync->replicas; replica; replica = replica->sync_next) {
        if (!replica->rdb_started) {
            replica->rdb_started = true;
            buf_printf(&replica->rdb, "$EOF:%s\r\n", sync->mark);
        }
        buf_add(&replica->rdb, bytes);
        replica->has_batch = true;
        client_wake_writer(replica->client);
    }
}

static void open_file(struct replica *replica) {
    struct why why;
    enum err err = fs_open(replica->temp, O_RDONLY, &replica->fd, &why);
    if (!err) err = fs_size(replica->temp, &replica->file_size, &why);
    if (err) {
        engine_log(replica->client->engine, '#', "SYNC failed. Can't open the RDB: %s", why.text);
        client_close_later(replica->client);
        return;
    }
    buf_printf(&replica->client->out, "$%llu\r\n", (unsigned long long)replica->file_size);
}

static void ended(void *owner, enum err err, const char *words) {
    struct full_sync *sync = owner;
    if (err) {
        engine_log(sync->replicas->client->engine, '#', "SYNC failed. Making the RDB failed: %s",
                   words);
        close_all(sync);
        dissolve(sync);
        return;
    }
    for (struct replica *replica = sync->replicas; replica; replica = replica->sync_next) {
        replica->rdb_ended = true;
        if (replica->temp)
            open_file(replica);
        else
            buf_append(&replica->rdb, sync->mark, 40);
        client_wake_writer(replica->client);
    }
    dissolve(sync);
}

/* ---- its replicas ---- */

/* The next batch, if all have the last one. */
static void go_on(struct full_sync *sync) {
    const struct replica *replica = sync->replicas;
    while (replica && !replica->has_batch) replica = replica->sync_next;
    if (replica == NULL) snapshot_next(sync->snapshot);
}

void full_sync_taken(struct replica *replica) {
    if (!replica->has_batch) return;
    replica->has_batch = false;
    go_on(replica->sync);
}

void full_sync_leave(struct replica *replica) {
    struct full_sync *sync = replica->sync;
    struct replica **place = &sync->replicas;
    while (*place != replica) place = &(*place)->sync_next;
    *place = replica->sync_next;
    bool held_up = replica->has_batch;
    replica->sync = NULL;
    replica->sync_next = NULL;
    if (sync->replicas == NULL) { /* nobody wants it any more */
        snapshot_abort(sync->snapshot);
        mem_free(sync);
    } else if (held_up) {
        go_on(sync);
    }
}

/* ---- the start ---- */

static char *temp_name(void) {
    static unsigned number;
    struct buf name = {0};
    buf_printf(&name, "temp-sync%d-%u.rdb", (int)getpid(), ++number);
    char *copy = mem_strdup(buf_text(&name));
    buf_close(&name);
    return copy;
}

static void admit(struct full_sync *sync, struct replica *replica) {
    replica->sync = sync;
    replica->sync_next = sync->replicas;
    sync->replicas = replica;
}

/* FIRST, and all that wait for the same. */
static void gather(struct full_sync *sync, struct replica *first) {
    struct replication *r = replication_of(first->client->engine);
    admit(sync, first);
    if (!full_sync_may_share(first)) return;
    for (struct replica *replica = r->replicas; replica; replica = replica->next) {
        bool waits = replica != first && replica->state == REPLICA_QUEUED;
        if (waits && full_sync_may_share(replica) && replica->scope == first->scope)
            admit(sync, replica);
    }
}

static void started(struct replica *replica) {
    struct client *c = replica->client;
    const struct history *history = &replication_of(c->engine)->history;
    replica->state = REPLICA_SNAPSHOT;
    replica->next_offset = (uint64_t)history->offset + 1;
    if (!replica->old_sync)
        buf_printf(&c->out, "+FULLRESYNC %s %lld\r\n", history->id, (long long)history->offset);
    client_wake_writer(c);
}

void full_sync_begin(struct replica *first) {
    struct engine *engine = first->client->engine;
    struct why why;
    if (!snapshot_may_start(engine)) return; /* the next tick asks again */
    if (!first->knows_eof) first->temp = temp_name();
    struct full_sync *sync = NEW(struct full_sync);
    rand_hex40(sync->mark);
    gather(sync, first);
    unsigned version = (unsigned)engine->settings.rdb_version,
             oldest = older_rdb_version((enum older_version)engine->settings.oldest_replica);
    struct snapshot_want want = {.scope = first->scope,
                                 .version = version < oldest ? version : oldest,
                                 .slots = first->slots,
                                 .path = first->temp,
                                 .what = "full-sync",
                                 .owner = sync,
                                 .batch = take_batch,
                                 .ended = ended};
    /* The RDB ends where it ends: the stream behind it names its database. */
    replication_of(engine)->selected_db = -1;
    if (snapshot_start(engine, &want, &sync->snapshot, &why)) {
        engine_log(engine, '#', "SYNC failed: %s", why.text);
        close_all(sync);
        dissolve(sync);
        return;
    }
    engine_log(engine, '*', "Starting BGSAVE for SYNC with target: %s",
               first->temp ? "disk" : "replicas sockets");
    for (struct replica *replica = sync->replicas; replica; replica = replica->sync_next)
        started(replica);
}
