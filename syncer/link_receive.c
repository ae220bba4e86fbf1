/* link_receive.c -- the thread that takes what the source sends and lays it into the spool.
 *
 * It never waits for apply while the spool has room (C4): a source drops a replica that does not
 * read. It acknowledges once a second, after the spool was synced, the offset that is on disk.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/control/rblock.h"
#include "lib/redis/psync.h"
#include "lib/redis/reply.h"
#include "syncer/copy.h"
#include "syncer/greet.h"
#include "syncer/link.h"
#include "syncer/target.h"
#include "syncer/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define SILENCE_MS 60000 /* of a source that pings every ten seconds */
#define CONNECT_MS 10000
#define ACK_MS 1000
#define READ_BYTES (256u << 10)
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000

struct receive {
    struct link *link;
    struct wire *wire;
    struct psync psync;
    struct buf in, out;
    uint64_t ack_due_ms, heard_ms;
    bool streaming;
    bool discard_rdb; /* standby: the RDB was not asked for */
    bool warned; /* that the spool is filling */
    bool spool_failed; /* what broke was not the source: our disk, or somebody removed the spool */
    bool blocked;      /* the link's state tells of the source, or of our disk; it is over when the stream goes on */
    int failures;
};

static uint64_t now_ms(void) { return clock_mono_ms(clock_real()); }

/* ---- into the spool ---- */

/* The spool did, or failed to do, what it was told. */
static enum err spooled(struct receive *r, enum err err) {
    r->spool_failed = err != OK;
    return err;
}

/* What was wrong here is over. An active link tells its state itself (link_stream.c). */
static void unblock(struct receive *r) {
    struct link_orders orders;
    link_get_orders(r->link, &orders);
    if (r->blocked && orders.role == LINK_STANDBY) link_set_state(r->link, LINK_STANDING_BY, NULL);
    r->blocked = false;
}

/* Keep trying to store BYTES: a full disk or spool stops the reading and loses nothing. */
static enum err store(struct receive *r, struct slice bytes, bool rdb, struct why *why) {
    struct link *link = r->link;
    bool complained = false;
    while (bytes.size > 0) {
        size_t taken = 0;
        if (link_stopping(link)) return why_set(why, ERR_STOPPED, "the link stops");
        enum err err = rdb ? spool_write_rdb(link->spool, bytes, &taken, why) : spool_append(link->spool, bytes, &taken, why);
        bytes = slice_drop(bytes, taken);
        if (err != ERR_DISK_FULL) (void)spooled(r, err);
        if (err == OK) continue;
        if (err != ERR_DISK_FULL) return err;
        if (!complained) {
            log_error("spool.disk_full", LOG_S("link", link->name), LOG_WHY(why));
            link_set_state(link, LINK_BLOCKED, why->text);
            r->blocked = complained = true;
        }
        link_rest(link, 1000);
    }
    if (complained) {
        log_info("spool.room_again", LOG_S("link", link->name));
        link_set_state(link, rdb ? LINK_SNAPSHOT : LINK_FOLLOWING, NULL);
        unblock(r);
    }
    return OK;
}

static enum err send_out(struct receive *r, struct why *why) {
    enum err err = wire_write(r->wire, buf_slice(&r->out), why);
    buf_clear(&r->out);
    return err;
}

static enum err acknowledge(struct receive *r, struct why *why) {
    uint64_t offset = 0;
    enum err err = spool_sync(r->link->spool, &offset, why);
    if (err != OK) return spooled(r, err);
    psync_write_ack(&r->out, (int64_t)offset);
    r->ack_due_ms = now_ms() + ACK_MS;
    return send_out(r, why);
}

static enum err append_stream(struct receive *r, struct why *why) {
    struct slice bytes = buf_slice(&r->in);
    static const char ask[] = "REPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
    bool asked = bytes.size >= sizeof ask - 1 &&
                 memcmp(bytes.data + bytes.size - (sizeof ask - 1), ask, sizeof ask - 1) == 0;
    enum err err = store(r, bytes, false, why);
    buf_clear(&r->in);
    if (err != OK) return err;
    struct spool_info info;
    spool_look(r->link->spool, &info);
    link_note_received(r->link, info.end);
    return asked ? acknowledge(r, why) : OK;
}

/* What a full copy costs the source, said before it is asked for one. */
static void tell_cost(struct receive *r) {
    struct rblock *conn = NULL;
    const struct resp_reply *reply = NULL;
    struct why why;
    struct slice used, total;
    int64_t bytes = 0, memory = 0;
    struct rblock_options options = side_options(r->link->from, NULL);
    if (rblock_open(&conn, &r->link->from->endpoint, &options, &why) == OK && rblock_words(conn, &reply, &why, "INFO memory") == OK &&
        resp_info_field(reply->text, "used_memory", &used) && slice_to_int(used, &bytes)) {
        if (resp_info_field(reply->text, "total_system_memory", &total)) (void)slice_to_int(total, &memory);
        log_info("link.copy_cost", LOG_S("link", r->link->name), LOG_I("source_used_bytes", bytes), LOG_I("source_memory_bytes", memory),
                 LOG_S("effect", "it forks once: some 20 ms of pause for each GB, and up to as much memory again meanwhile"));
        if (memory > 0 && bytes > memory / 2)
            log_warn("link.copy_memory", LOG_S("link", r->link->name),
                     LOG_S("effect", "the source uses more than half of its memory; under many writes its fork may not fit"));
    }
    rblock_close(conn);
}

/* ---- the handshake ---- */

static void set_where(struct receive *r, struct psync_config *config) {
    struct spool_info info;
    struct link_orders orders;
    spool_look(r->link->spool, &info);
    link_get_orders(r->link, &orders);
    if (info.kind == SPOOL_COPY || info.kind == SPOOL_STREAM) {
        memcpy(config->replid, info.replid, sizeof config->replid);
        config->next_offset = (int64_t)info.end + 1;
    } else if (orders.begin == LINK_BEGIN_AT && info.kind == SPOOL_EMPTY) {
        memcpy(config->replid, orders.begin_replid, sizeof config->replid);
        config->next_offset = (int64_t)orders.begin_at.offset + 1;
    }
}

/* Standby: where the source is now, as its INFO says (C26). */
static enum err ask_where(struct receive *r, struct psync_config *config, bool *filter, struct why *why) {
    struct rblock *conn = NULL;
    const struct resp_reply *reply = NULL;
    struct slice id, offset, backlog;
    int64_t number = 0;
    struct rblock_options options = side_options(r->link->from, NULL);
    enum err err = rblock_open(&conn, &r->link->from->endpoint, &options, why);
    if (err == OK) err = rblock_words(conn, &reply, why, "INFO replication");
    if (err == OK) {
        bool told = resp_info_field(reply->text, "master_replid", &id) && replid_valid(id) &&
                    resp_info_field(reply->text, "master_repl_offset", &offset) && slice_to_int(offset, &number) &&
                    resp_info_field(reply->text, "repl_backlog_active", &backlog) && slice_equal(backlog, SLICE("1"));
        *filter = !told;
        if (told) {
            memcpy(config->replid, id.data, REPLID_SIZE);
            config->next_offset = number + 1;
        }
    }
    rblock_close(conn);
    return err;
}

/* +CONTINUE in the middle of a stream does not say which database is selected. A PUBLISH in two
 * databases makes the source say it; nobody listens to that channel. */
static void make_source_select(struct receive *r) {
    struct rblock *conn = NULL;
    const struct resp_reply *reply = NULL;
    struct why why;
    struct rblock_options options = side_options(r->link->from, NULL);
    static const char *const words[] = {"SELECT 1", "PUBLISH drawbridge:select 1", "SELECT 0", "PUBLISH drawbridge:select 0"};
    enum err err = rblock_open(&conn, &r->link->from->endpoint, &options, &why);
    for (size_t i = 0; i < 4 && err == OK; i++) err = rblock_words(conn, &reply, &why, words[i]);
    if (err != OK) log_warn("link.select_unknown", LOG_S("link", r->link->name), LOG_WHY(&why));
    rblock_close(conn);
}

static enum err on_full(struct receive *r, struct why *why) {
    struct link *link = r->link;
    struct spool_info info;
    struct link_orders orders;
    spool_look(link->spool, &info);
    link_get_orders(link, &orders);
    uint64_t offset = (uint64_t)r->psync.offset;
    bool fresh = orders.role == LINK_STANDBY || (info.kind == SPOOL_EMPTY && orders.begin == LINK_BEGIN_NOW);
    if (fresh) { /* what was kept before is of a history that the source does not continue */
        r->discard_rdb = true;
        log_info("link.attached", LOG_S("link", link->name), LOG_S("replid", r->psync.replid), LOG_U("offset", offset));
        return spooled(r, spool_start_stream(link->spool, r->psync.replid, offset, 0, why));
    }
    if (!link->may_copy) {
        pthread_mutex_lock(&link->lock);
        link->status.way_back = false;
        link->status.way_broken = true;
        pthread_mutex_unlock(&link->lock);
        return why_set(why, ERR_STATE, "the source cannot continue at offset %" PRIu64 ": the way back needs a full copy, which waits "
                       "for the operator", info.end);
    }
    log_info("link.full_copy", LOG_S("link", link->name), LOG_S("replid", r->psync.replid), LOG_U("offset", offset),
             LOG_S("why", info.kind == SPOOL_EMPTY ? "first" : info.kind == SPOOL_RECEIVING ? "the RDB before was not complete"
                                                                                           : "the source cannot continue"));
    enum err err = spooled(r, spool_start_copy(link->spool, r->psync.replid, offset, why));
    if (err != OK) return err;
    pthread_mutex_lock(&link->lock);
    link->status.copy = (struct link_copy_status){.copies = link->status.copy.copies + 1, .bytes_total = r->psync.rdb_size,
        .started_ms = clock_wall_ms(clock_real()), .eta_ms = -1};
    link->status.positioned = false;
    link->sample_count = 0;
    pthread_mutex_unlock(&link->lock);
    copy_note_write(link);
    link_set_state(link, LINK_SNAPSHOT, NULL);
    return OK;
}

static enum err on_continue(struct receive *r, struct why *why) {
    struct link *link = r->link;
    struct spool_info info;
    struct link_orders orders;
    spool_look(link->spool, &info);
    link_get_orders(link, &orders);
    r->streaming = true;
    if (info.kind == SPOOL_EMPTY) {
        bool at = orders.begin == LINK_BEGIN_AT;
        const char *id = at ? orders.begin_replid : r->psync.replid;
        enum err err = spool_start_stream(link->spool, id, (uint64_t)r->psync.offset, at ? orders.begin_at.db : -1, why);
        if (err == OK && at) err = spool_rename(link->spool, r->psync.replid, why);
        if (err == OK && !at) make_source_select(r);
        return spooled(r, err);
    }
    if (strcmp(info.replid, r->psync.replid) != 0) {
        log_info("link.renamed", LOG_S("link", link->name), LOG_S("replid", r->psync.replid), LOG_U("offset", info.end));
        return spooled(r, spool_rename(link->spool, r->psync.replid, why));
    }
    return OK;
}

static enum err on_rdb_end(struct receive *r, struct why *why) {
    r->streaming = true;
    if (r->discard_rdb) {
        r->discard_rdb = false;
        return acknowledge(r, why);
    }
    enum err err;
    while ((err = spool_finish_rdb(r->link->spool, why)) == ERR_DISK_FULL && !link_stopping(r->link)) {
        link_set_state(r->link, LINK_BLOCKED, why->text);
        link_rest(r->link, 1000);
    }
    if (err != OK) return spooled(r, err);
    struct spool_info info;
    spool_look(r->link->spool, &info);
    pthread_mutex_lock(&r->link->lock);
    r->link->status.copy.bytes_total = info.rdb_received;
    pthread_mutex_unlock(&r->link->lock);
    log_info("link.rdb_complete", LOG_S("link", r->link->name), LOG_U("bytes", info.rdb_received));
    return acknowledge(r, why);
}

/* Show the handshake what came; go on until it wants more. */
static enum err feed(struct receive *r, struct why *why) {
    for (enum err err = OK; err == OK;) {
        size_t used = 0;
        enum psync_event event = psync_feed(&r->psync, buf_slice(&r->in), &used, &r->out, why);
        switch (event) {
        case PSYNC_EV_MORE: break;
        case PSYNC_EV_SEND: err = send_out(r, why); break;
        case PSYNC_EV_FULL: err = on_full(r, why); break;
        case PSYNC_EV_CONTINUE: err = on_continue(r, why); break;
        case PSYNC_EV_BYTES: err = r->discard_rdb ? OK : store(r, r->psync.rdb, true, why); break;
        case PSYNC_EV_RDB_END: err = on_rdb_end(r, why); break;
        case PSYNC_EV_LATER: err = ERR_STATE; break;
        case PSYNC_EV_REFUSED: err = ERR_REFUSED; break;
        }
        buf_consume(&r->in, used);
        if (err != OK) return err;
        if (r->streaming && buf_size(&r->in) > 0) return append_stream(r, why);
        if (event == PSYNC_EV_MORE) return OK;
    }
    return OK;
}

/* ---- one connection ---- */

static enum err dial(struct receive *r, struct why *why) {
    const struct config_side *side = r->link->from;
    struct psync_config config = {.psync_command = side->commands.psync, .version = "8.1.0"};
    struct spool_info info;
    struct link_orders orders;
    bool filter = false;
    spool_look(r->link->spool, &info);
    link_get_orders(r->link, &orders);
    set_where(r, &config);
    if (info.kind == SPOOL_EMPTY && orders.begin == LINK_BEGIN_NOW) {
        enum err err = ask_where(r, &config, &filter, why);
        if (err != OK) return err;
    }
    if (config.next_offset == 0 && orders.role == LINK_ACTIVE) tell_cost(r);
    if (filter || orders.role == LINK_STANDBY) config.rdb_filter = ""; /* no copy is wanted */
    enum err err = wire_open(&r->wire, &side->endpoint, CONNECT_MS, why);
    char name[96];
    snprintf(name, sizeof name, "drawbridge-link:%s:%" PRIu64 ":r", r->link->name, r->link->epoch);
    if (err == OK) err = wire_greet(r->wire, side, name, &r->in, why);
    if (err != OK) return err;
    psync_start(&r->psync, &config, &r->out);
    return send_out(r, why);
}

static enum err read_more(struct receive *r, int wait_ms, struct why *why) {
    size_t got = 0;
    enum err err = wire_read(r->wire, buf_room(&r->in, READ_BYTES), READ_BYTES, wait_ms, &got, why);
    if (err != OK) return err;
    buf_filled(&r->in, got);
    if (got > 0) {
        r->heard_ms = now_ms();
        return feed(r, why);
    }
    if (now_ms() - r->heard_ms > SILENCE_MS) return why_set(why, ERR_TIMEOUT, "the source has said nothing for a minute");
    return OK;
}

/* Early: at four fifths, once until it is below three fifths again. */
static void warn_of_room(struct receive *r) {
    struct spool_info info;
    spool_look(r->link->spool, &info);
    bool high = info.bytes > info.limit_bytes / 5 * 4;
    if (high && !r->warned)
        log_warn("spool.filling", LOG_S("link", r->link->name), LOG_U("bytes", info.bytes), LOG_U("limit_bytes", info.limit_bytes));
    if (high) r->warned = true;
    else if (info.bytes < info.limit_bytes / 5 * 3) r->warned = false;
}

static void complain_of_room(struct link *link, bool *complained, bool room) {
    if (room == !*complained) return;
    *complained = !room;
    if (room) {
        log_info("spool.room_again", LOG_S("link", link->name));
        return;
    }
    log_error("spool.full", LOG_S("link", link->name),
              LOG_S("effect", "the source is not read until apply has made room; nothing is lost, but it may hang up"));
}

static enum err converse(struct receive *r, struct why *why) {
    bool complained = false;
    r->heard_ms = now_ms();
    r->ack_due_ms = now_ms() + ACK_MS;
    r->streaming = false;
    enum err err = dial(r, why);
    while (err == OK) {
        struct link_orders orders;
        link_get_orders(r->link, &orders);
        if (orders.stop || orders.begin_again) return why_set(why, ERR_STOPPED, "the link stops");
        bool room = spool_has_room(r->link->spool);
        complain_of_room(r->link, &complained, room);
        if (room) err = read_more(r, 100, why);
        else link_sleep(r->link, 100);
        if (!room) r->heard_ms = now_ms();
        if (err == OK && r->streaming) {
            pthread_mutex_lock(&r->link->lock);
            r->link->status.source_up = true;
            if (!r->spool_failed) {
                r->failures = 0;
                r->link->status.source_lost_ms = 0;
                r->link->status.spool_failed = false;
            }
            pthread_mutex_unlock(&r->link->lock);
            if (r->blocked && !r->spool_failed) unblock(r);
            if (now_ms() >= r->ack_due_ms) {
                warn_of_room(r);
                err = acknowledge(r, why);
            }
        }
    }
    return err;
}

/* The first break is nothing worth a word; what lasts is told. */
static void after_break(struct receive *r, enum err err, const struct why *why) {
    struct link *link = r->link;
    struct spool_info info;
    spool_look(link->spool, &info);
    pthread_mutex_lock(&link->lock);
    link->status.source_up = false;
    if (link->status.source_lost_ms == 0) link->status.source_lost_ms = (int64_t)now_ms();
    link->status.spool_failed = r->spool_failed;
    snprintf(link->status.source_error, sizeof link->status.source_error, "%s: %.480s",
             r->spool_failed ? "nothing can be kept" : "the source is away", why->text);
    link->status.reconnects++;
    bool was_copy = info.kind == SPOOL_RECEIVING;
    pthread_mutex_unlock(&link->lock);
    if (was_copy)
        log_warn("link.rdb_cut", LOG_S("link", link->name), LOG_U("bytes", info.rdb_received), LOG_WHY(why),
                 LOG_S("effect", "the source must send a new RDB; the copy starts again"));
    if (r->spool_failed) {
        log_error("spool.failed", LOG_S("link", link->name), LOG_WHY(why));
        link_set_state(link, LINK_BLOCKED, link->status.source_error);
        r->blocked = true;
    } else if (err == ERR_REFUSED || err == ERR_STATE || r->failures >= 3) {
        log_warn("link.source_down", LOG_S("link", link->name), LOG_WHY(why));
        struct link_status status;
        link_get_status(link, &status);
        if (err == ERR_REFUSED || !status.positioned || status.way_broken) {
            link_set_state(link, LINK_BLOCKED, why->text);
            r->blocked = true;
        }
    }
    int delay = RETRY_MIN_MS << (r->failures < 6 ? r->failures : 6);
    if (r->failures < 1000) r->failures++;
    link_rest(link, delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS);
}

static bool knows_where(struct receive *r) {
    struct spool_info info;
    struct link_orders orders;
    spool_look(r->link->spool, &info);
    link_get_orders(r->link, &orders);
    if (orders.begin_again) {
        struct why why;
        if (spool_clear(r->link->spool, &why) != OK) {
            log_error("spool.clear", LOG_S("link", r->link->name), LOG_WHY(&why));
            return false;
        }
        pthread_mutex_lock(&r->link->lock);
        r->link->orders.begin_again = false;
        pthread_mutex_unlock(&r->link->lock);
        return true;
    }
    return info.kind != SPOOL_EMPTY || orders.begin != LINK_BEGIN_UNKNOWN;
}

void *link_receive_main(void *self) {
    struct receive r = {.link = self};
    while (!link_stopping(r.link)) {
        struct why why = {0};
        if (!knows_where(&r)) {
            link_sleep(r.link, 100);
            continue;
        }
        enum err err = converse(&r, &why);
        wire_close(r.wire);
        r.wire = NULL;
        buf_clear(&r.in);
        buf_clear(&r.out);
        if (err != ERR_STOPPED) after_break(&r, err, &why);
    }
    buf_close(&r.in);
    buf_close(&r.out);
    return NULL;
}
