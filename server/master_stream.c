/* master_stream.c -- obey the master's stream, and hand its bytes on as they are. See
 * replication.h.
 *
 *     in: | executed, handed on | executed in a MULTI that is open | not whole yet |
 *                               ^ history.offset
 *
 * The offset moves behind a command when it was executed, and over a MULTI block only at its EXEC:
 * so a link that breaks inside a block asks for the whole block again.
 */
#include "server/replication.h"

#include "lib/base/mem.h"
#include "lib/redis/resp.h"
#include "server/aof.h"

void obey_begin(struct master_link *link, int64_t db) {
    struct engine *engine = link->engine;
    bool fresh = !link->client;
    if (fresh) link->client = client_new_fake(engine, CLIENT_FAKE | CLIENT_MUTE | CLIENT_MASTER);
    if (db >= 0 && db < engine->db_count) link->client->db = &engine->dbs[db];
    link->unproxied_bytes = 0;
    resp_request_close(&link->request);
    link->read_offset = replication_of(engine)->history.offset;
}

void obey_reset(struct master_link *link) {
    struct slice discard[] = {SLICE("DISCARD")};
    if (link->client && link->client->flags & CLIENT_MULTI)
        client_execute(link->client, 1, discard);
    link->unproxied_bytes = 0;
    resp_request_close(&link->request);
    link->read_offset = replication_of(link->engine)->history.offset;
}

void obey_ack(struct master_link *link) {
    struct replication *r = replication_of(link->engine);
    const struct aof *aof = persistence_of(link->engine)->aof;
    link->last_ack_ms = replication_now_ms(r);
    char offset[24], aof_offset[24];
    uint64_t limit = aof_stream_limit(aof); /* what a kill would take is not ours yet */
    link->ack_waits = (uint64_t)r->history.offset >= limit;
    int64_t ours = link->ack_waits ? (int64_t)limit - 1 : r->history.offset;
    (void)snprintf(offset, sizeof offset, "%lld", (long long)ours);
    bool all_synced = aof_is_on(aof) && aof_synced(aof) == aof_appended(aof);
    if (all_synced) link->synced_offset = r->history.offset;
    (void)snprintf(aof_offset, sizeof aof_offset, "%lld", (long long)link->synced_offset);
    if (aof_is_on(aof) && link->synced_offset >= 0)
        resp_write_words(&link->out, "REPLCONF", "ACK", offset, "FACK", aof_offset, NULL);
    else
        resp_write_words(&link->out, "REPLCONF", "ACK", offset, NULL);
    master_link_send(link);
}

/* BYTES of the stream were obeyed: count them, and pass them on. */
static void note_obeyed(struct master_link *link, struct slice bytes) {
    struct replication *r = replication_of(link->engine);
    backlog_append(&r->backlog, bytes);
    r->history.offset += (int64_t)bytes.size;
    r->fresh_bytes = true;
}

static bool broken(struct master_link *link, const struct why *why) {
    struct why words;
    (void)why_set(&words, ERR_PROTO, "Protocol error from the master: %s", why->text);
    link->may_continue = false; /* these bytes would come again */
    master_link_lost(link, words.text);
    return false;
}

/* One command. False: there is no whole one, or the link is lost. */
static bool obey_one(struct master_link *link) {
    struct resp_request *request = &link->request;
    struct why why;
    size_t used = 0;
    unsigned generation = link->generation;
    struct slice rest = slice_drop(buf_slice(&link->in), (size_t)link->unproxied_bytes);
    enum step step = resp_request_next(request, &resp_request_limits_open, rest, &used, &why);
    if (step == STEP_MORE) return false;
    if (step == STEP_FAIL) return broken(link, &why);
    if (request->argc) client_execute(link->client, (int)request->argc, request->argv);
    if (link->generation != generation) return false; /* REPLICAOF came from within: it is over */
    link->unproxied_bytes += used;
    if (link->client->flags & CLIENT_MULTI) return true;
    note_obeyed(link, slice_take(buf_slice(&link->in), (size_t)link->unproxied_bytes));
    buf_consume(&link->in, (size_t)link->unproxied_bytes);
    link->unproxied_bytes = 0;
    return true;
}

void obey_take(struct master_link *link) {
    struct replication *r = replication_of(link->engine);
    link->read_offset = r->history.offset + (int64_t)buf_size(&link->in);
    struct aof *aof = persistence_of(link->engine)->aof;
    while (buf_size(&link->in) > link->unproxied_bytes && !aof_is_full(aof) && obey_one(link)) {
    }
    if (aof_is_full(aof)) link->is_choked = true; /* the tick goes on */
    aof_flush(aof);
    replication_flush(r);
}
