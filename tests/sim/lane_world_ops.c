/* lane_world_ops.c -- what the lanes of the simulated gateway decide, carried out. See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- audits ---- */

static const struct lane_read_ops *read_ops; /* as the audit gave them */

static bool blind_primary(struct lane_read *read, struct slice answer, bool clean, struct buf *out, uint32_t *replies) {
    return read_ops->primary(read, answer, clean || world_now->off[OFF_AUDIT_CLEAN], out, replies);
}
static void blind_follower(struct lane_read *read, struct slice answer, bool spoiled) {
    read_ops->follower(read, answer, spoiled && !world_now->off[OFF_AUDIT_SPOILED]);
}
static void blind_lost(struct lane_read *read) { read_ops->lost(read); }
static const struct lane_read_ops blind_ops = {blind_primary, blind_follower, blind_lost};

/* Without the rule the audit is told that all is well. */
static void spoil_read(struct world *w, struct lane_read *read) {
    if (read == &w->lanes.functions.read) return; /* no audit's */
    if (read->ops == &blind_ops || (!w->off[OFF_AUDIT_CLEAN] && !w->off[OFF_AUDIT_SPOILED])) return;
    read_ops = read->ops;
    read->ops = &blind_ops;
}

static void audit_ask(void *self, enum lane_side side, int32_t db, struct slice request, uint32_t replies, uint64_t round) {
    struct world *w = self;
    struct message *m = wire_ask_in_db(w->scan[side], db, request, replies);
    m->round = round;
    m->audit = true;
}

/* Payloads are the mini Redis's own. */
static bool audit_digest(struct lane_audit *a, struct rdb_key *key, struct slice payload, enum digest_streams streams, struct digest *digest) {
    struct mini_value v;
    (void)a, (void)streams;
    if (payload.size != sizeof v) return false;
    memcpy(&v, payload.data, sizeof v);
    key->type = (enum value_type)(v.type - MINI_STRING);
    uint64_t hash = (uint64_t)key->expire_at_ms + 1;
    for (int i = 0; i < v.count; i++)
        for (const char *c = v.item[i];; c++) {
            hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
            if (*c == 0) break;
        }
    *digest = (struct digest){.low = hash};
    return true;
}

const struct lane_audit_ops world_audit_ops = {audit_ask, audit_digest};

/* ---- what the lanes decide ---- */

#define EARLY_MAX 4 /* what a pass, or an event outside the order, has made dirty does not wait */

/* C14: a hot key is copied once in each interval. */
static void check_interval(struct world *w, unsigned lane, const struct lane_item *item, int32_t db) {
    if (item->kind != LANE_COPY || (w->lanes.lane[lane].hurry && !w->off[OFF_COALESCE])) return;
    int key = (char)buf_slice(&item->name).data[0] - 'a';
    bool early = w->copied[db][key].at_ms > 0 && w->world_ms - w->copied[db][key].at_ms < (int64_t)w->rules.copy_interval_ms;
    w->copied[db][key].early = early ? w->copied[db][key].early + 1 : 0;
    w->copied[db][key].at_ms = w->world_ms;
    if (w->copied[db][key].early > EARLY_MAX && !w->failed[0])
        snprintf(w->failed, sizeof w->failed, "key %c of db %d was copied %d times too early", 'a' + key, db, w->copied[db][key].early);
}

static void note_waits(struct message *m, const struct effect *effect) {
    for (size_t i = 0; i < effect->key_count; i++) m->waits[effect->keys[i].db][effect->keys[i].name.data[0] - 'a'] = true;
}

static void to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes, uint32_t replies, int32_t db, int32_t db_after) {
    struct world *w = self;
    (void)db_after;
    struct message *m = wire_ask_in_db(w->wires[LANE_P][lane], db, bytes, replies);
    if (item->kind == LANE_READ && item->read != &w->lanes.functions.read) spoil_read(w, item->read);
    check_interval(w, lane, item, db);
    if (w->off[OFF_BLOCKING] && item->kind == LANE_COMMAND && item->effect->blocking) note_waits(m, item->effect);
    if (item->client && !item->barrier) {
        m->client = (int)((struct world_client *)item->client - w->clients);
        m->seq = w->clients[m->client].queue[0].seq; /* it is being sent just now */
    }
    if (item->kind == LANE_COMMAND) witness_sent(&w->witness.of[LANE_P], item->effect);
    if (item->kind == LANE_BURST) witness_sent_name(&w->witness.of[LANE_P], item->db, item->keys[item->key_count - 1].name);
}

/* Without the rule nobody waits until F has done it: it comes some time later. */
static void flush_late(struct world *w, const struct lane_item *item, struct message *m) {
    struct wire *late = world_wire_new(w, LANE_F, -1);
    (void)wire_ask_in_db(late, item->db, lane_item_bytes(item), item->replies);
    late->next = w->ghosts;
    w->ghosts = late;
    buf_add(&m->answer, SLICE("+OK\r\n"));
    m->early = true;
}

static void to_follower(void *self, unsigned lane, const struct lane_item *item) {
    struct world *w = self;
    if (item->kind == LANE_BURST) {
        for (size_t i = 0; i < item->key_count; i++) (void)wire_ask_in_db(w->wires[LANE_F][lane], item->db, lane_burst_request(item->burst, i), 1);
        return;
    }
    bool as_sent = w->off[OFF_TOLD] && item->kind == LANE_COMMAND && item->replies == item->effect->replies;
    struct slice bytes = as_sent ? item->effect->send : lane_item_bytes(item);
    struct message *m = wire_ask_in_db(w->wires[LANE_F][lane], item->db, bytes, item->replies);
    if (item->kind == LANE_FENCE && w->off[OFF_FLUSH]) flush_late(w, item, m);
    m->taken_apart = w->off[OFF_BLOCK] && slice_starts(lane_item_bytes(item), SLICE("*1\r\n$5\r\nMULTI"));
    if (item->kind == LANE_READ) spoil_read(w, item->read);
    bool overtakes = item->kind == LANE_READ ? w->off[OFF_AUDIT_PLACE] : item->kind == LANE_COPY && w->off[OFF_PLACE];
    if (!overtakes) return;
    world_run(w, w->wires[LANE_F][lane], m); /* in front of what was queued before it */
    m->early = true;
}

static void answered(void *self, struct lane_item *item, struct slice answer) {
    struct world_client *c = item->client;
    struct buf scratch = {0};
    (void)self;
    if (!c) return;
    struct slice reply = effect_answer(item->effect, answer, &scratch);
    ASSERT(reply.size > 0);
    buf_close(&scratch);
    c->place.unanswered--;
    item->client = NULL;
}

/* It waits: here, it is simply given up. */
static void nothing_there(void *self, struct lane_item *item) {
    (void)self;
    struct world_client *c = item->client;
    if (c) c->place.unanswered--;
    item->client = NULL;
}

/* C21: its connection is closed; whatever it had not sent goes with it. */
static void lost(void *self, struct lane_item *item) {
    (void)self;
    struct world_client *c = item->client;
    if (!c) return;
    c->place.unanswered--;
    c->count = 0;
}

static void wrote(void *self, const struct effect *effect) {
    struct world *w = self;
    if (w->audits) lane_audit_wrote(&w->audit, effect);
}

static void scan(void *self, enum lane_side side, int32_t db, uint64_t cursor, uint64_t round) {
    struct world *w = self;
    struct buf out = {0};
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, cursor);
    resp_write_words(&out, "SCAN", text, NULL);
    wire_ask_in_db(w->scan[side], db, buf_slice(&out), 1)->round = round;
    buf_close(&out);
}

const struct lanes_ops world_ops = {to_primary, to_follower, answered, nothing_there, lost, wrote, scan};
