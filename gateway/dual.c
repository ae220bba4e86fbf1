/* dual.c -- dual write: connections and what the lanes decide. See dual.h; clients are in
 * dual_client.c. */
#include "gateway/dual_inside.h"

#include "gateway/dispatch.h"
#include "gateway/peers.h"
#include "gateway/dual_audit.h"
#include "gateway/shards/shards.h"
#include "gateway/dual_witness.h"

#include "lib/base/log.h"

#include <inttypes.h>
#include <stdlib.h>

#define JOURNAL_BYTES (16u << 20)
#define SCAN_AGAIN_US 500000u

static struct dual_line *line_of(struct dual *d, enum lane_side side, unsigned lane) {
    return &d->line[side][lane];
}

/* "7.0.15" as effect.h counts it; 0: not known. */
int32_t dual_version(const char *text) {
    int part[3] = {0};
    for (int i = 0; i < 3 && *text >= '0' && *text <= '9'; i++) {
        char *end = NULL;
        long n = strtol(text, &end, 10);
        part[i] = n > 99 ? 99 : (int)n;
        text = *end == '.' ? end + 1 : end;
    }
    return EFFECT_VERSION(part[0], part[1], part[2]);
}

struct effect_facts dual_facts(struct worker *w) {
    return (struct effect_facts){
        .now_ms = worker_wall_ms(w),
        .room_bytes = sizeof(struct lane_item),
        .primary_version = atomic_load(&w->gw->lane_versions[LANE_P]),
        .follower_version = atomic_load(&w->gw->lane_versions[LANE_F]),
    };
}

/* ---- what the lanes decide ---- */

static void on_primary_replies(struct req *req, struct backend *b, struct slice reply,
                               uint32_t count) {
    struct dual_line *line = b->line;
    while (count > 0) {
        if (b->sm.state == BACKEND_GONE || line == NULL) return; /* dual_on_lost() tells it */
        struct lane *lane = &line->dual->lanes.lane[line->lane];
        line->dual->answering = req;
        if (b->shards != NULL && shards_conn_displaced(b->shards)) lane_displaced(lane);
        const struct lane_item *head = lane->flight.head;
        bool writes = head->kind == LANE_BURST || (head->effect != NULL && head->effect->writes);
        if (writes) dual_witness_owe(line->dual->witness);
        if (req->over)
            reply = lane_big_too_long;
        else
            reply = dual_copy_answer(line->dual, lane, reply);
        count -= lane_primary_answered_alike(lane, reply, count);
        line->dual->answering = NULL;
    }
}

static void on_primary_reply(struct req *req, struct backend *b, struct slice reply) {
    on_primary_replies(req, b, reply, 1);
}

static void on_follower_replies(struct req *req, struct backend *b, struct slice reply,
                                uint32_t count) {
    struct dual_line *line = b->line;
    if (b->sm.state == BACKEND_GONE || line == NULL) return;
    struct worker *w = b->worker;
    const struct lane_item *head = line->dual->lanes.lane[line->lane].sent.head;
    enum request_class class =
        head != NULL && head->kind == LANE_READ ? CLASS_READ : CLASS_WRITE;
    if (req->replies == 0) /* of those that it stands for, the last one */
        hist_record_n(&w->counters.latency_us[b->side][class], w->now_us - req->at_us, req->asked);
    while (count > 0 && b->sm.state != BACKEND_GONE && b->line == line)
        count -= lane_follower_answered_alike(&line->dual->lanes.lane[line->lane], reply, count);
}

static void on_follower_reply(struct req *req, struct backend *b, struct slice reply) {
    on_follower_replies(req, b, reply, 1);
}

/* A lane has one connection, and so one order; its clients may speak either protocol. */
static void use_proto(struct backend *b, uint8_t proto) {
    if (b->proto == proto) return;
    backend_write(b, proto == 3 ? SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
                                : SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n"));
    backend_expect(b, NULL, REQ_DROP, 1)->must_be_ok = true;
    b->proto = proto;
}

enum take dual_hello3(struct client *c, bool *speaks) {
    int32_t version = atomic_load(&c->worker->gw->lane_versions[LANE_P]);
    *speaks = version >= EFFECT_VERSION(6, 0, 0);
    return version == 0 ? client_park(c, PARK_ROUTE) : TAKE_DONE;
}

static void to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes,
                       uint32_t replies, int32_t db, int32_t db_after) {
    struct dual *d = self;
    struct backend *b = line_of(d, LANE_P, lane)->backend;
    if (d->sending != NULL && !item->barrier) item->far = true; /* a barrier's was set before */
    const struct ask *ask = item->far ? item->client : NULL;
    struct client *c = item->far ? NULL : item->client;
    bool selected = true, simple = item->kind == LANE_BURST;
    if (item->kind == LANE_COMMAND) dual_reads_shadow(d, item);
    dual_witness_sent(d->witness, item);
    if (c != NULL) use_proto(b, c->proto);
    if (ask != NULL) use_proto(b, ask->proto);
    if (item->kind == LANE_COPY || item->kind == LANE_MEASURE)
        selected = dual_select_for_copy(d, b, db);
    else
        backend_use_db(b, db);
    backend_write(b, bytes);
    if (item->barrier && c != NULL) c->barrier_item = NULL;
    bool as_is = item->kind == LANE_COMMAND && replies == 1 && c != NULL && !item->barrier &&
                 !item->effect->blocking && effect_answers_as_is(item->effect);
    bool relay = as_is && item->effect->needs == EFFECT_NEEDS_NOTHING && item->read == NULL;
    if (selected) b->db = db_after;
    if (simple || (as_is && !relay)) {
        backend_expect_each(b, c, 1, on_primary_replies);
        return;
    }
    struct req *req = backend_expect(b, c, relay ? REQ_RELAY : REQ_WHOLE, replies);
    req->done = on_primary_reply;
    req->limit_bytes = item->limit_bytes;
}

static void to_follower(void *self, unsigned lane, const struct lane_item *item) {
    struct dual *d = self;
    struct backend *b = line_of(d, LANE_F, lane)->backend;
    bool nothing = dual_is_at_neither(d, item);
    if (item->kind == LANE_READ && item->read->proto != 0) use_proto(b, item->read->proto);
    if (!nothing) backend_use_db(b, item->db);
    backend_write(b, nothing ? SLICE("*1\r\n$4\r\nPING\r\n") : lane_item_bytes(item));
    if (item->kind == LANE_BURST || (item->replies == 1 && item->kind == LANE_COMMAND))
        backend_expect_each(b, NULL, (uint32_t)lane_item_units(item), on_follower_replies);
    else
        backend_expect(b, NULL, REQ_WHOLE, item->replies)->done = on_follower_reply;
    if (!nothing) b->db = item->db_after;
}

static void answered(void *self, struct lane_item *item, struct slice answer) {
    struct dual *d = self;
    if (item->far) {
        dual_ask_answered(d, item, answer);
        return;
    }
    struct req *req = d->answering;
    struct client *c = req->client;
    struct buf scratch = {0};
    if (c == NULL || req->kind == REQ_RELAY || req->kind == REQ_EACH) return;
    struct slice reply = effect_answer(item->effect, answer, &scratch);
    if (c->stream != NULL && !req->mute) {
        counter_add(&c->worker->counters.bytes_out, reply.size);
        stream_write(c->stream, reply);
    }
    buf_close(&scratch);
    if (item->effect->blocking) dual_wait_end(c);
    if (item->barrier) {
        c->busy = false;
        client_wake(c);
    }
}

static void nothing_there(void *self, struct lane_item *item) {
    struct dual *d = self;
    if (item->far)
        dual_ask_nothing(d, item);
    else if (d->answering->client != NULL && d->answering->client->dual_wait != NULL)
        dual_wait_on(d, d->answering->client->dual_wait);
}

/* lose_queue() closes its client. */
static void lost(void *self, struct lane_item *item) {
    struct client *c = item->client;
    if (item->far) {
        dual_ask_lost(self, item);
    } else if (c != NULL && c->barrier_item == item) { /* it had not left, and does not (lanes_own) */
        c->barrier_item = NULL;
        c->busy = false;
        client_close(c);
    }
}

static void wrote(void *self, const struct effect *effect) {
    struct dual *d = self;
    dual_waits_wrote(d, effect);
    dual_audit_wrote(d->audit, effect);
}

static void scan(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round) {
    struct dual *d = self;
    d->scan.wanted = true;
    d->scan.side = side;
    d->scan.db = db;
    d->scan.cursor = cursor;
    d->scan.round = round;
}

/* C10a: what it pinned at other gateways is over with it. */
static void over(void *self, struct lane_item *item) {
    struct dual *d = self;
    peers_unpin(d->peers, item->pins);
    item->pins = NULL;
}

static const struct lanes_ops ops = {to_primary, to_follower, answered, nothing_there,
                                     lost,       wrote,       scan};

/* ---- listing both sides ---- */

/* "db3:keys=..." of INFO keyspace: one more than the highest. */
static void on_keyspace(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    int32_t highest = 0;
    for (size_t i = 0; i + 3 < reply.size; i++) {
        if ((i > 0 && reply.data[i - 1] != '\n') || memcmp(reply.data + i, "db", 2) != 0) continue;
        int32_t db = 0;
        for (size_t k = i + 2;
             k < reply.size && reply.data[k] >= '0' && reply.data[k] <= '9' && db < 100000; k++)
            db = db * 10 + (reply.data[k] - '0');
        if (db > highest) highest = db;
    }
    if (d != NULL) d->lanes.scan.databases[req->arg] = highest + 1;
}

static void take_page(struct dual *d, uint64_t round, struct slice page) {
    if (page.size > 0 && lane_scan_page(&d->lanes.scan, round, page)) return;
    lane_scan_restart(&d->lanes.scan);
    d->scan.not_before_us = d->worker->now_us + SCAN_AGAIN_US; /* it loads its data, perhaps */
    log_warn("lanes.no_page", LOG_S("side", gateway_side_name(dual_side(d, d->scan.side))));
}

static void on_page(struct req *req, struct backend *b, struct slice reply) {
    struct dual *d = b->worker->dual;
    if (d == NULL || dual_shards_keep(d, req->arg, reply)) return;
    take_page(d, req->arg, reply);
}

static void take_kept_page(struct dual *d) {
    uint64_t round = 0;
    struct buf page = {0};
    if (!dual_shards_kept(d, &round, &page)) return;
    take_page(d, round, buf_slice(&page));
    buf_close(&page);
}

static void list_page(struct dual *d) {
    char cursor[24];
    struct buf out = {0};
    if (!d->scan.wanted || d->worker->now_us < d->scan.not_before_us) return;
    struct backend *b = dispatch_shared(d->worker, dual_side(d, d->scan.side), 2, 0);
    if (b == NULL) return; /* being dialled; asked again at the next turn */
    if (!dual_shards_may_list(d)) return;
    d->scan.wanted = false;
    if (d->scan.db == 0 && d->scan.cursor == 0) {
        backend_write(b, SLICE("*2\r\n$4\r\nINFO\r\n$8\r\nkeyspace\r\n"));
        struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
        req->done = on_keyspace;
        req->arg = d->scan.side;
    }
    backend_use_db(b, d->scan.db);
    (void)snprintf(cursor, sizeof cursor, "%" PRIu64, d->scan.cursor);
    resp_write_words(&out, "SCAN", cursor, "COUNT", LANE_SCAN_COUNT, NULL);
    backend_write(b, buf_slice(&out));
    buf_close(&out);
    struct req *req = backend_expect(b, NULL, REQ_WHOLE, 1);
    req->done = on_page;
    req->arg = d->scan.round;
}

/* ---- connections ---- */

static void dial(struct dual *d, struct dual_line *line) {
    enum side side = dual_side(d, line->side);
    if (line->backend != NULL || loop_now_ms(d->worker->loop) < d->worker->retry_at_ms[side])
        return;
    if (line->side == LANE_F && d->worker->shards[side] != NULL) return; /* no way back by lanes */
    struct backend *b = backend_open(d->worker, side, 2, true);
    b->line = line;
    line->backend = b;
}

/* C22a: another process, which may have other data. */
static void check_run_id(struct dual *d, enum lane_side side, const char *run_id) {
    if (run_id[0] != '\0' && strcmp(d->run_id[side], run_id) == 0) return;
    log_info("lanes.server", LOG_S("side", gateway_side_name(dual_side(d, side))),
             LOG_S("run_id", run_id), LOG_S("before", d->run_id[side]));
    /* Others may still be connected to the old one: they all dial again. */
    bool first = d->run_id[side][0] == '\0' || run_id[0] == '\0';
    if (!first) d->worker->drop_side[dual_side(d, side)] = true;
    memcpy(d->run_id[side], run_id, sizeof d->run_id[side]);
    if (side == LANE_P) d->databases = 0;
    lane_scan_restart(&d->lanes.scan);
    if (side == LANE_P || first) lanes_mark_all(&d->lanes);
    if (side == LANE_F && first) dual_know_follower(d);
    if (side == LANE_F && !first) dual_doubt_follower(d);
}

/* Once for each connection, before its first write (C21). */
void dual_note_opened(struct dual *d, enum lane_side side, struct backend *b) {
    struct shards_end end;
    if (b->shards != NULL) { /* a lane's branches are noted when they open */
        if (shards_conn_watching(b->shards, &end)) dual_note_branch(b, &end);
        return;
    }
    if (b->journaled) return;
    d->table.opened(d->table.self, side, b->server_id, b->run_id);
    b->journaled = true;
}

void dual_on_ready(struct backend *b) {
    struct dual_line *line = b->line;
    struct dual *d = line->dual;
    check_run_id(d, line->side, b->run_id);
    dual_note_opened(d, line->side, b);
    if (line->side == LANE_F && !dual_knows_follower(b)) return; /* it is asked for its mark */
    dual_line_up(b);
}

void dual_line_up(struct backend *b) {
    struct dual_line *line = b->line;
    struct dual *d = line->dual;
    line->up = true;
    int32_t version = dual_version(d->worker->version[b->side]);
    atomic_store(&d->worker->gw->lane_versions[line->side], version);
    struct lane *lane = &d->lanes.lane[line->lane];
    if (line->side == LANE_F) lane->follower_is_bundled = b->is_bundled;
    if (line->side == LANE_P)
        lane_primary_up(lane, version);
    else
        lane_follower_up(lane, version);
}

/* RESTORE takes absolute times since 5.0. A Cluster is dialled again, as a whole. */
const char *dual_unfit_server(struct backend *b, struct slice info) {
    struct slice mode;
    bool cluster =
        resp_info_field(info, "redis_mode", &mode) && slice_equal(mode, SLICE("cluster"));
    if (cluster && (b->side == SIDE_TARGET || b->side != b->worker->side))
        return "capture lane cannot write to a Cluster as the other side yet";
    if (cluster) {
        dual_shards_open(b->worker, b->side);
        return "it is a Cluster: its nodes are asked which slots they own";
    }
    bool old = dual_version(b->worker->version[b->side]) < EFFECT_VERSION(5, 0, 0);
    if (b->side != b->worker->side && old) return "capture lane needs a target of 5.0 or newer";
    return NULL;
}

static void tell_lost(struct dual_line *line) {
    struct lane *lane = &line->dual->lanes.lane[line->lane];
    line->up = false;
    if (line->side == LANE_P)
        lane_primary_lost(lane);
    else
        lane_follower_lost(lane);
}

static void tell_gone(struct dual *d, enum lane_side side, unsigned lane) {
    if (side == LANE_P)
        lane_primary_gone(&d->lanes.lane[lane]);
    else
        lane_follower_gone(&d->lanes.lane[lane]);
}

/* Nothing was unanswered: then nothing is on its way, and it is gone at once. */
void dual_on_lost(struct backend *b, bool was_ready) {
    struct dual_line *line = b->line;
    struct dual *d = b->worker->dual;
    if (d == NULL) {
        if (b->grave == NULL && b->journaled)
            far_connection_gone(b->worker, b->side, b->server_id, b->run_id);
        b->grave = NULL;
        return;
    }
    enum lane_side side = dual_lane_side(d, b->side);
    if (line != NULL) line->backend = NULL;
    if (line != NULL && was_ready && line->up) {
        tell_lost(line);
        if (b->grave != NULL) {
            b->grave->of_lanes = true;
            b->grave->lane = (int)line->lane;
        } else {
            tell_gone(d, side, line->lane);
        }
    }
    if (b->grave == NULL && b->journaled)
        d->table.gone(d->table.self, side, b->server_id, b->run_id);
    b->grave = NULL;
}

static void free_pins(struct dual *d, struct grave *grave, bool told) {
    for (struct dual_pin *next, *pin = grave->pins; pin != NULL; pin = next) {
        next = pin->next;
        if (d != NULL && pin->effect != NULL) lanes_unpin(&d->lanes, pin->effect);
        effect_free(pin->effect);
        if (pin->ask != NULL && told)
            far_unpin(pin->ask);
        else if (pin->ask != NULL)
            ask_free(pin->ask);
        mem_free(pin);
    }
    grave->pins = NULL;
}

void dual_on_gone(struct worker *w, struct grave *grave) {
    struct dual *d = w->dual;
    free_pins(d, grave, true);
    if (d == NULL) {
        if (grave->journaled)
            far_connection_gone(w, grave->side, grave->server_id, grave->run_id);
        return;
    }
    enum lane_side side = dual_lane_side(d, grave->side);
    dual_witness_owe(d->witness);
    if (grave->of_lanes && grave->buried != NULL)
        lanes_unbury(&d->lanes, &d->file.journal, grave->buried);
    else if (grave->of_lanes && grave->lane >= 0)
        tell_gone(d, side, (unsigned)grave->lane);
    if (grave->journaled) d->table.gone(d->table.self, side, grave->server_id, grave->run_id);
}

void dual_drop_grave(struct grave *grave) {
    struct grave *whole = grave->whole;
    free_pins(NULL, grave, false);
    mem_free(grave);
    if (whole != NULL && --whole->parts == 0) dual_drop_grave(whole);
}

/* ---- at the start ---- */

static struct grave *dig_grave(struct dual *d, enum lane_side side) {
    struct grave *grave = NEW(struct grave);
    grave->side = dual_side(d, side);
    grave->of_lanes = true;
    grave->lane = -1;
    list_push(&d->worker->graves, &grave->link);
    return grave;
}

/* The connections of the process before us are graves; so the server's run id is known, too. */
static void bury_recovered(struct dual *d) {
    struct lanes_recovered *r = &d->recovered;
    for (size_t i = 0; i < r->count; i++) {
        struct lanes_buried *buried = &r->buried[i];
        struct grave *grave = dig_grave(d, buried->side);
        grave->server_id = buried->server_id;
        grave->buried = buried;
        (void)snprintf(grave->run_id, sizeof grave->run_id, "%s", buried->run_id);
        (void)snprintf(d->run_id[buried->side], sizeof d->run_id[buried->side], "%s",
                       buried->run_id);
    }
    for (unsigned side = 0; side < 2; side++)
        if (d->run_id[side][0] == '\0')
            (void)snprintf(d->run_id[side], sizeof d->run_id[side], "%s", r->run_id[side]);
}

static enum err open_journal(struct dual *d, struct why *why) {
    const struct drawbridge_config *config = d->worker->gw->config;
    struct lane_rules rules = dual_rules(config);
    enum err err =
        journal_file_open(&d->file, config->run_dir, d->worker->gw->name, JOURNAL_BYTES, why);
    if (err != OK) return err;
    lanes_journal_bind(&d->table, &d->file.journal);
    lanes_init(&d->lanes, &ops, d, &d->table, &d->worker->clock, &rules,
               (unsigned)config->gateway.lanes);
    lanes_recover(&d->lanes, &d->file, d->worker->gw->name, &d->recovered);
    err = journal_file_commit(&d->file, why);
    if (err == OK) return OK;
    lanes_close(&d->lanes);
    journal_file_close(&d->file);
    return err;
}

static void raise_to(uint64_t *figure, uint64_t value) {
    if (value > *figure) *figure = value;
}

static void show_figures(struct dual *d) {
    uint64_t f[DUAL_FIGURES] = {0};
    bool level = lanes_are_level(&d->lanes) && (d->worker->held ? dual_witness_may_turn(d->witness) : dual_witness_is_proved(d->witness));
    if (level && d->worker->held && d->worker->gw->standalone && lanes_are_quiet(&d->lanes)) dual_drained(d);
    f[DUAL_LEVEL] = level;
    f[DUAL_PRIMARY_UP] = f[DUAL_FOLLOWER_UP] = 1;
    for (unsigned i = 0; i < d->lanes.count; i++) {
        const struct lane *l = &d->lanes.lane[i];
        if (!l->primary_up) f[DUAL_PRIMARY_UP] = 0;
        if (!l->follower_up) f[DUAL_FOLLOWER_UP] = 0;
        f[DUAL_DIRTY_KEYS] += l->keys.dirty_count;
        f[DUAL_DIRTY_SLOTS] += l->keys.dirty_slot_count;
        f[DUAL_PINNED_KEYS] += l->keys.pinned_count;
        f[DUAL_QUEUE_ITEMS] += l->tail.count;
        f[DUAL_QUEUE_BYTES] += l->tail.bytes + l->sent.bytes;
        f[DUAL_UNCONFIRMED] += l->sent.count;
        f[DUAL_BURIED] += l->primary_lost + l->follower_lost;
        f[DUAL_COMMANDS] += l->figures.commands;
        f[DUAL_SIMPLE] += l->figures.simple;
        f[DUAL_EFFECTS] += l->figures.effects;
        f[DUAL_COPIES] += l->figures.copies;
        f[DUAL_COPIES_FAILED] += l->figures.copies_failed;
        f[DUAL_REFUSED] += l->figures.refused;
        f[DUAL_DROPPED] += l->figures.dropped;
        f[DUAL_LOST] += l->figures.lost;
        f[DUAL_DISPLACED] += l->figures.displaced;
        f[DUAL_COPY_BYTES] += l->figures.copy_bytes;
        f[DUAL_FAILED_KEYS] += lane_refused_keys(l);
        f[DUAL_QUEUE_LIMIT] += l->rules.queue_bytes_max;
        raise_to(&f[DUAL_COPY_US], l->figures.copy_us);
        raise_to(&f[DUAL_COPY_US_MAX], lane_copy_us_max(l));
        raise_to(&f[DUAL_LAG_MS], lane_lag_us(l) / 1000);
        dual_copy_figures(l, f);
    }
    dual_witness_figures(d->witness, f);
    f[DUAL_FUNCTIONS_DIRTY] = !lane_functions_are_clean(&d->lanes.functions);
    f[DUAL_FUNCTIONS_REFUSED] = d->lanes.functions.refused;
    f[DUAL_FUNCTIONS_FAILED] = d->lanes.functions.failed;
    f[DUAL_PASSES] = d->lanes.scan.passes;
    f[DUAL_PASS_NAMES] = d->lanes.scan.names;
    f[DUAL_PASS_ITEMS] = d->lanes.scan.items;
    f[DUAL_BASELINE_AFTER] = (uint64_t)dual_baseline_after_s(d);
    f[DUAL_WAITING] = d->wait_count;
    f[DUAL_OWNED] = d->owned;
    const struct journal_figures *journal = &d->file.journal.figures;
    f[DUAL_JOURNAL_BYTES] = journal->live_bytes;
    f[DUAL_JOURNAL_LIMIT] = journal->log_bytes;
    f[DUAL_JOURNAL_RECORDS] = journal->records;
    f[DUAL_JOURNAL_MOVED] = journal->moved;
    f[DUAL_JOURNAL_SPILLED] = journal->spilled;
    f[DUAL_FORWARDED] = d->forwarded;
    f[DUAL_PINS_ELSEWHERE] = d->pins_elsewhere;
    for (unsigned side = 0; side < SIDES; side++)
        if (d->worker->shards[side] != NULL)
            f[DUAL_REDIRECTED] += shards_redirected(d->worker->shards[side]);
    dual_put_figures(d->worker, f);
}

enum err dual_open(struct dual **dual, struct worker *w, struct why *why) {
    struct dual *d = NEW(struct dual);
    d->worker = w;
    d->follow = w->gw->standalone;
    d->owned = w->gw->standalone ? LANE_SLOTS : 0;
    list_init(&d->waits);
    list_init(&d->early);
    for (unsigned i = 0; i < LANES_MAX; i++) list_init(&d->parked[i]);
    enum err err = open_journal(d, why);
    if (err != OK) {
        lanes_recovered_close(&d->recovered);
        mem_free(d);
        return why_add(why, err, "the lanes' journal");
    }
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < d->lanes.count; i++)
            d->line[side][i] =
                (struct dual_line){.dual = d, .side = (enum lane_side)side, .lane = i};
    err = peers_open(&d->peers, d, why);
    if (err != OK) {
        lanes_close(&d->lanes);
        journal_file_close(&d->file);
        lanes_recovered_close(&d->recovered);
        mem_free(d);
        return err;
    }
    d->lanes.over = over;
    d->audit = dual_audit_open(d);
    d->witness = dual_witness_open(d);
    dual_baseline_open(d);
    list_init(&d->reads);
    dual_shards_watch(d);
    bury_recovered(d);
    dual_marks_open(d);
    log_info("lanes.recovered", LOG_S("journal", journal_found_text(d->recovered.found)),
             LOG_U("keys", d->recovered.keys), LOG_U("slots", d->recovered.slots),
             LOG_U("connections", d->recovered.count));
    show_figures(d);
    *dual = d;
    return OK;
}

void dual_close(struct dual *d) {
    if (d == NULL) return;
    dual_audit_close(d->audit);
    dual_witness_close(d->witness);
    dual_baseline_close(d);
    peers_close(d->peers);
    dual_slots_close(d);
    dual_asks_close(d);
    lanes_close(&d->lanes);
    dual_reads_close(d);
    for (unsigned side = 0; side < 2; side++)
        lanes_note_server(&d->file.journal, (enum lane_side)side, d->run_id[side]);
    journal_file_close(&d->file);
    lanes_recovered_close(&d->recovered);
    buf_close(&d->look.page);
    mem_free(d);
}

/* ---- turns ---- */

void dual_turn(struct dual *d) {
    bool hurry = d->worker->held || d->worker->end.on || loop_now_ms(d->worker->loop) < d->worker->hurry_until_ms;
    for (unsigned i = 0; i < d->lanes.count; i++) d->lanes.lane[i].hurry = hurry;
    d->lanes.scan.put_off = dual_witness_is_awaited(d->witness);
    lanes_turn(&d->lanes);
    take_kept_page(d);
    list_page(d);
    dual_baseline_turn(d);
    dual_audit_turn(d->audit);
    dual_asks_turn(d);
    dual_slots_turn(d);
    dual_witness_turn(d->witness);
    dual_waits_turn(d);
    bool still = !lane_barrier_is_idle(&d->lanes.barrier);
    if (d->stood_still && !still) worker_unpark_all(d->worker, PARK_ROUTE);
    d->stood_still = still;
}

void dual_tick(struct dual *d) {
    if (d->worker->routed && (d->worker->gw->standalone || d->table_of_slots != NULL))
        for (unsigned side = 0; side < 2; side++)
            for (unsigned i = 0; i < d->lanes.count && (side == LANE_P || d->follow); i++)
                dial(d, line_of(d, (enum lane_side)side, i));
    dual_watch_others(d);
    dual_marks_tick(d);
    dual_asks_tick(d);
    dual_reads_tick(d);
    dual_witness_tick(d->witness);
    if (d->table_of_slots != NULL) peers_tick(d->peers);
    show_figures(d);
}

void dual_write_json(struct gateway *gw, struct buf *out) {
#define DUAL_NAME(name, text) text,
    static const char *const names[DUAL_FIGURES] = {DUAL_FIGURE_LIST(DUAL_NAME)};
#undef DUAL_NAME
    uint64_t sums[DUAL_FIGURES] = {0}, figures[DUAL_FIGURES];
    for (unsigned n = 0; n < gw->loops; n++) {
        dual_read_figures(gw->workers[n], figures);
        for (unsigned i = 0; i < DUAL_FIGURES; i++) sums[i] += figures[i];
    }
    for (unsigned i = 0; i < DUAL_FIGURES; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "{", names[i], sums[i]);
    buf_printf(out, "}");
}
