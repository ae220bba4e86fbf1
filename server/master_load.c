/* master_load.c -- the full copy that a master sends: into a file and then into memory, or
 * (repl-diskless-load) from the socket into memory.
 *
 *     disabled      socket --> file, whole --> the old data go --> databases
 *     on-empty-db   socket --> databases, if they are empty
 *     swapdb        socket --> beside the old data, whole --> takes their place
 *
 * With swapdb the old data stay until the new ones are whole, and come back when the copy breaks
 * off. If they are of the same history as the copy, only older, they are served meanwhile
 * (async_loading); else clients hear -LOADING. Memory then holds both.
 * Source of behaviour: readSyncBulkPayload in Redis 7.0.
 */
#include "server/replication.h"

#include "lib/base/fs.h"
#include "lib/base/mem.h"
#include "server/aof.h"
#include "server/loading.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 * 1024)
#define WAIT_MS 1 /* for the socket, before other things are looked at */

enum diskless_load { DISKLESS_DISABLED, DISKLESS_ON_EMPTY_DB, DISKLESS_SWAPDB };

static struct replication *of(struct master_link *link) {
    return replication_of(link->engine);
}

/* ---- receiving ---- */

static bool wants_diskless(const struct engine *engine) {
    int64_t how = engine->settings.repl_diskless_load;
    if (how != DISKLESS_ON_EMPTY_DB) return how == DISKLESS_SWAPDB;
    for (int i = 0; i < engine->db_count; i++)
        if (db_size(&engine->dbs[i]) > 0) return false;
    return true;
}

enum err master_load_begin(struct master_link *link, struct why *why) {
    link->transfer_bytes = 0;
    link->state = LINK_TRANSFER;
    link->is_diskless = wants_diskless(link->engine);
    link->rdb_ended = false;
    engine_log(link->engine, '*', "Full resync from master: %s:%lld", link->psync.replid,
               (long long)link->psync.offset);
    if (link->is_diskless) return OK;
    struct buf name = {0};
    buf_printf(&name, "temp-repl%d-%u.rdb", (int)getpid(), link->generation);
    link->temp = mem_strdup(buf_text(&name));
    buf_close(&name);
    return fs_open(link->temp, O_WRONLY | O_CREAT | O_TRUNC, &link->temp_fd, why);
}

enum err master_load_take(struct master_link *link, struct slice bytes, struct why *why) {
    link->transfer_total = link->psync.rdb_size;
    link->transfer_bytes += bytes.size;
    if (!link->is_diskless) return fs_write(link->temp_fd, bytes, link->temp, why);
    link->rdb_came_ms = clock_mono_us(link->engine->clock) / 1000;
    buf_add(&link->rdb, bytes);
    return OK;
}

void master_load_drop(struct master_link *link) {
    struct why why;
    if (link->temp_fd >= 0) close(link->temp_fd);
    link->temp_fd = -1;
    if (link->temp && fs_remove(link->temp, &why)) engine_log(link->engine, '#', "%s", why.text);
    mem_free(link->temp);
    link->temp = NULL;
    buf_close(&link->rdb);
}

/* ---- the socket as a source: nothing else reads it meanwhile ---- */

struct link_source {
    struct rdb_source source;
    struct master_link *link;
};

/* Until there is something, or for WAIT_MS; then a turn, if one is due. */
static enum err wait_for_bytes(struct master_link *link, struct why *why) {
    struct pollfd ready = {.fd = link->fd,
                           .events = link->transport.read_wants_write ? POLLOUT : POLLIN};
    uint64_t timeout_ms = (uint64_t)link->engine->settings.repl_timeout_s * 1000;
    (void)poll(&ready, 1, WAIT_MS);
    if (clock_mono_us(link->engine->clock) / 1000 - link->rdb_came_ms > timeout_ms)
        return why_set(why, ERR_TIMEOUT, "Timeout receiving bulk data from MASTER...");
    return loading_look(link->engine, why);
}

static enum err receive(struct master_link *link, struct why *why) {
    ssize_t got =
        transport_read(&link->transport, link->fd, buf_room(&link->in, READ_BYTES), READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return wait_for_bytes(link, why);
    if (got == 0) return why_set(why, ERR_IO, "the master has hung up");
    if (got < 0) {
        const char *fault = errno == EPROTO ? transport_fault() : strerror(errno);
        return why_set(why, ERR_IO, "%s", fault);
    }
    buf_filled(&link->in, (size_t)got);
    link->engine->stats.net_in_bytes += (uint64_t)got;
    link->engine->stats.repl_in_bytes += (uint64_t)got;
    return OK;
}

/* A step on: a piece of the RDB comes to `rdb`, or its end, or bytes from the socket. */
static enum err step(struct master_link *link, struct why *why) {
    size_t used = 0;
    enum err err = OK;
    enum psync_event event = psync_feed(&link->psync, buf_slice(&link->in), &used, &link->out, why);
    if (event == PSYNC_EV_BYTES) err = master_load_take(link, link->psync.rdb, why);
    buf_consume(&link->in, used);
    link->rdb_ended = event == PSYNC_EV_RDB_END;
    if (event == PSYNC_EV_BYTES || event == PSYNC_EV_RDB_END) return err;
    if (event == PSYNC_EV_MORE) return receive(link, why);
    return why_set(why, ERR_PROTO, "the RDB breaks off");
}

static enum err read_link(struct rdb_source *source, void *into, size_t size, size_t *got,
                          struct why *why) {
    struct master_link *link = ((struct link_source *)(void *)source)->link;
    enum err err = OK;
    while (!err && !link->rdb_ended && buf_size(&link->rdb) == 0) err = step(link, why);
    if (err) return err;
    struct slice have = buf_slice(&link->rdb);
    size_t most = size < LOADING_PIECE_BYTES ? size : LOADING_PIECE_BYTES;
    *got = have.size < most ? have.size : most;
    if (*got) memcpy(into, have.data, *got);
    buf_consume(&link->rdb, *got);
    return loading_advance(link->engine, *got, why);
}

/* Into ASIDE, or into the databases. */
static enum err load_socket(struct master_link *link, struct rdb_aside *aside,
                            struct rdb_place *place, struct why *why) {
    struct link_source source = {.source.read = read_link, .link = link};
    enum err err =
        rdb_load_stream(link->engine, &source.source, aside, RDB_LOAD_KEEP_EXPIRED, place, why);
    while (!err && !link->rdb_ended) err = step(link, why); /* the mark */
    if (!err && buf_size(&link->rdb))
        err = why_set(why, ERR_CORRUPT, "%zu bytes stand behind the end of the RDB",
                      buf_size(&link->rdb));
    return err ? why_add(why, err,
                         "Failed trying to load the MASTER synchronization DB from socket")
               : OK;
}

/* ---- loading ---- */

/* Those who replicate from us had our old history. */
static void adopt_history(struct master_link *link) {
    struct replication *r = of(link);
    replicas_disconnect(r);
    replication_drop_backlog(r);
    history_new_id(&r->history);
    memcpy(r->history.id, link->psync.replid, sizeof r->history.id);
    r->history.offset = link->psync.offset;
    replication_need_backlog(r);
    link->may_continue = true;
}

/* The old data go first. */
static enum err load_in_place(struct master_link *link, struct rdb_place *place, struct why *why) {
    struct engine *engine = link->engine;
    link->may_continue = false; /* until it is whole */
    bgsave_stop(engine);
    rdb_forget_all(engine);
    loading_begin(engine, link->is_diskless ? link->transfer_total : link->transfer_bytes);
    enum err err = link->is_diskless
                       ? load_socket(link, NULL, place, why)
                       : rdb_load_file(engine, link->temp, RDB_LOAD_KEEP_EXPIRED, place, NULL, why);
    loading_end(engine);
    if (err) rdb_forget_all(engine);
    return err;
}

static bool is_same_history(struct master_link *link) {
    return link->may_continue && memcmp(of(link)->history.id, link->psync.replid, 40) == 0;
}

static enum err load_aside(struct master_link *link, struct rdb_place *place, struct why *why) {
    struct engine *engine = link->engine;
    struct rdb_aside *aside = rdb_aside_new(engine);
    if (is_same_history(link))
        loading_begin_aside(engine, link->transfer_total);
    else
        loading_begin(engine, link->transfer_total);
    enum err err = load_socket(link, aside, place, why);
    loading_end(engine);
    if (!err) {
        engine_log(engine, '*', "MASTER <-> REPLICA sync: Swapping active DB with loaded DB");
        bgsave_stop(engine);
        err = rdb_aside_adopt(engine, aside, why);
    }
    engine_log(engine, '*', "MASTER <-> REPLICA sync: Discarding %s DB in background",
               err ? "temporary" : "old");
    rdb_aside_free(engine, aside);
    return err;
}

enum err master_load_run(struct master_link *link, struct why *why) {
    struct engine *engine = link->engine;
    struct rdb_place place;
    engine_log(engine, '*', "MASTER <-> REPLICA sync: Loading DB in memory");
    bool keeps = link->is_diskless && engine->settings.repl_diskless_load == DISKLESS_SWAPDB;
    enum err err = keeps ? load_aside(link, &place, why) : load_in_place(link, &place, why);
    if (err) return err;
    adopt_history(link);
    obey_begin(link, place.db < 0 ? 0 : place.db);
    struct aof *aof = persistence_of(engine)->aof;
    struct why aof_why;
    if (aof_is_on(aof) && aof_restart(aof, &aof_why))
        engine_log(engine, '#', "Can't start the AOF anew: %s", aof_why.text);
    engine_log(engine, '*', "MASTER <-> REPLICA sync: Finished with success");
    return OK;
}
