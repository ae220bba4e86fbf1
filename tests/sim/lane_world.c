/* lane_world.c -- lanes between simulated clients and servers. See lane_world.h. */
#include "tests/sim/lane_world.h"

#include "tests/sim/world_journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TALK(...) (w->talk ? (void)printf(__VA_ARGS__) : (void)0)

const char *const world_rule_names[WORLD_RULES] = {
    "kill_p (C21)",       "kill_f (C21)",        "connids (C21)",      "pin (C10a)",          "gen (C13a)",     "spread (C12b)",
    "volatile (C12a)",    "runid_p (C22a)",      "runid_f (C22a)",     "unconfirmed (C20)",   "entry (C20)",    "dirtypersist (C20)",
    "lostjournal (C20)",  "order (C11a)",        "copyerr (C13)",      "extra (C15)",         "unscanned (C15)",  "fence (C14a)",
    "unless changed (C14a)", "swap (C21, C23)",   "mark (C22a)",
    "place (C29)",        "not clean (C29)",     "spoiled (C29)",      "expiry (C29)",        "keys of F (C29)",
    "coalesce (C14)",     "flush (C19)",         "functions (C19)"};

static struct world *the_world; /* one at a time */
static struct lane_journal the_journal;

static int64_t wall_ms(const struct clock *clock) {
    (void)clock;
    return the_world->world_ms + the_world->gateway_skew_ms;
}
static uint64_t mono_us(const struct clock *clock) {
    (void)clock;
    return (uint64_t)the_world->world_ms * 1000;
}

/* ---- messages and wires ---- */

static void push(struct messages *q, struct message *m) {
    m->next = NULL;
    if (q->tail) q->tail->next = m;
    else q->head = m;
    q->tail = m;
}

static struct message *pop(struct messages *q) {
    struct message *m = q->head;
    if (!m) return NULL;
    q->head = m->next;
    if (!q->head) q->tail = NULL;
    return m;
}

static void free_message(struct message *m) {
    buf_close(&m->bytes);
    buf_close(&m->answer);
    mem_free(m->state);
    mem_free(m);
}

static void free_messages(struct messages *q) {
    for (struct message *m = pop(q); m; m = pop(q)) free_message(m);
}

static struct wire *new_wire(struct world *w, enum lane_side side, int lane) {
    struct wire *wire = NEW(struct wire);
    wire->side = side;
    wire->lane = lane;
    wire->id = ++w->ids;
    wire->conn.import_source = side == LANE_F;
    return wire;
}

static void free_wire(struct wire *wire) {
    free_messages(&wire->asked);
    free_messages(&wire->answered);
    mini_conn_close(&wire->conn);
    for (int i = 0; i < wire->owns; i++) effect_free(wire->own[i]);
    mem_free(wire);
}

static void free_wires(struct wire **list) {
    for (struct wire *next, *wire = *list; wire; wire = next) {
        next = wire->next;
        free_wire(wire);
    }
    *list = NULL;
}

static struct message *ask(struct wire *wire, struct slice bytes, uint32_t replies) {
    struct message *m = NEW(struct message);
    m->client = -1;
    m->replies = replies;
    buf_add(&m->bytes, bytes);
    push(&wire->asked, m);
    return m;
}

static struct message *ask_in_db(struct wire *wire, int32_t db, struct slice bytes, uint32_t replies) {
    struct buf all = {0};
    char text[16];
    snprintf(text, sizeof text, "%d", db);
    resp_write_words(&all, "SELECT", text, NULL); /* its answer is not part of the answer */
    buf_add(&all, bytes);
    struct message *m = ask(wire, buf_slice(&all), replies);
    buf_close(&all);
    return m;
}

unsigned world_wires(const struct world *w, enum lane_side side) {
    return w->lane_count + (side == LANE_P ? WORLD_CLIENTS : 0) + 1;
}

static struct wire **wire_at(struct world *w, enum lane_side side, unsigned n) {
    if (n < w->lane_count) return &w->wires[side][n];
    n -= w->lane_count;
    if (side == LANE_P && n < WORLD_CLIENTS) return &w->own[n];
    return &w->scan[side];
}

static void execute(struct world *w, struct wire *wire, struct message *m);

/* ---- audits ---- */

static const struct lane_read_ops *read_ops; /* as the audit gave them */

static bool blind_primary(struct lane_read *read, struct slice answer, bool clean, struct buf *out, uint32_t *replies) {
    return read_ops->primary(read, answer, clean || the_world->off[OFF_AUDIT_CLEAN], out, replies);
}
static void blind_follower(struct lane_read *read, struct slice answer, bool spoiled) {
    read_ops->follower(read, answer, spoiled && !the_world->off[OFF_AUDIT_SPOILED]);
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
    struct message *m = ask_in_db(w->scan[side], db, request, replies);
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

static const struct lane_audit_ops audit_ops = {audit_ask, audit_digest};

/* ---- what the lanes decide ---- */

static void to_primary(void *self, unsigned lane, struct lane_item *item, struct slice bytes, uint32_t replies, int32_t db, int32_t db_after) {
    struct world *w = self;
    (void)db_after;
    struct message *m = ask_in_db(w->wires[LANE_P][lane], db, bytes, replies);
    if (item->kind == LANE_READ && item->read != &w->lanes.functions.read) spoil_read(w, item->read);
    if (item->client && !item->barrier) {
        m->client = (int)((struct world_client *)item->client - w->clients);
        m->seq = w->clients[m->client].queue[0].seq; /* it is being sent just now */
    }
}

/* Without the rule nobody waits until F has done it: it comes some time later. */
static void flush_late(struct world *w, const struct lane_item *item, struct message *m) {
    struct wire *late = new_wire(w, LANE_F, -1);
    (void)ask_in_db(late, item->db, buf_slice(&item->bytes), item->replies);
    late->next = w->ghosts;
    w->ghosts = late;
    buf_add(&m->answer, SLICE("+OK\r\n"));
    m->early = true;
}

static void to_follower(void *self, unsigned lane, const struct lane_item *item) {
    struct world *w = self;
    struct message *m = ask_in_db(w->wires[LANE_F][lane], item->db, buf_slice(&item->bytes), item->replies);
    if (item->kind == LANE_FENCE && w->off[OFF_FLUSH]) flush_late(w, item, m);
    if (item->kind != LANE_READ) return;
    spoil_read(w, item->read);
    if (!w->off[OFF_AUDIT_PLACE]) return;
    execute(w, w->wires[LANE_F][lane], m); /* in front of what was queued before it */
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
    ask_in_db(w->scan[side], db, buf_slice(&out), 1)->round = round;
    buf_close(&out);
}

static const struct lanes_ops ops = {to_primary, to_follower, answered, nothing_there, lost, wrote, scan};

/* ---- clients ---- */

static size_t split(struct slice text, struct slice argv[12]) {
    size_t argc = 0;
    while (text.size > 0 && argc < 12) {
        const uint8_t *space = memchr(text.data, ' ', text.size);
        size_t size = space ? (size_t)(space - text.data) : text.size;
        argv[argc++] = slice_take(text, size);
        text = slice_drop(text, space ? size + 1 : size);
    }
    return argc;
}

/* "command" or "command;command", which is a MULTI. */
static struct effect *prepare(struct world *w, const struct waiting *q) {
    struct slice argv[2][12];
    struct effect_request requests[2];
    const char *second = strchr(q->text, ';');
    struct slice first = second ? slice_from(q->text, (size_t)(second - q->text)) : slice_text(q->text);
    w->facts.now_ms = clock_wall_ms(&w->clock);
    requests[0].argc = split(first, argv[0]);
    requests[0].argv = argv[0];
    requests[0].command = command_lookup(requests[0].argc, argv[0]);
    if (!second && !q->own) return effect_new(&w->facts, q->db, requests[0].command, requests[0].argc, argv[0]);
    if (!second) return effect_block_new(&w->facts, q->db, 1, requests);
    requests[1].argc = split(slice_text(second + 1), argv[1]);
    requests[1].argv = argv[1];
    requests[1].command = command_lookup(requests[1].argc, argv[1]);
    return effect_block_new(&w->facts, q->db, 2, requests);
}

static void watch(struct world *w, int client, const struct waiting *q) {
    struct slice argv[12];
    struct buf out = {0};
    (void)split(slice_text(q->text), argv);
    bool script = slice_equal(argv[0], SLICE("EVAL"));
    struct slice words[2] = {SLICE("WATCH"), argv[script ? 3 : 1]};
    resp_write_command(&out, 2, words);
    (void)ask_in_db(w->own[client], q->db, buf_slice(&out), 1);
    buf_close(&out);
}

/* EXEC under WATCH: on its own connection, its keys pinned everywhere (C10a). */
static bool send_own(struct world *w, int client, struct effect *e) {
    struct world_client *c = &w->clients[client];
    if (c->place.unanswered > 0 && !w->off[OFF_ORDER]) return false;
    if (!w->off[OFF_FENCE] && lanes_stops(&w->lanes, e)) return false;
    if (!w->off[OFF_PIN]) lanes_pin(&w->lanes, e);
    struct message *m = ask_in_db(w->own[client], e->db, e->send, e->replies);
    m->own = e;
    m->client = client;
    m->seq = c->queue[0].seq;
    c->own_unanswered++;
    return true;
}

static void spoil_key(struct lane *l, const struct effect_key *k) {
    struct lane_key *key = lane_keys_find(&l->keys, k->db, k->name);
    if (!lane_owns(l, k->name) || key == NULL || key->pins > 0 || key->copying || !key->dirty) return;
    list_remove(&key->want);
    key->copying = true;
    lane_keys_copied(&l->keys, key, true, 0);
}

/* With the rule off nobody else learns of a command over several lanes. */
static void spoil_pin(struct world *w, struct lane_item *item) {
    if (!w->off[OFF_PIN] || !item->outside) return;
    item->outside = false;
    unsigned home = lanes_home(&w->lanes, item->effect, &(struct lanes_place){0});
    for (unsigned i = 0; i < w->lane_count; i++)
        if (i != home || item->effect->keys_unknown) {
            lane_unpin(&w->lanes.lane[i], item->effect);
            for (size_t k = 0; k < item->effect->key_count; k++) spoil_key(&w->lanes.lane[i], &item->effect->keys[k]);
        }
}

/* With the rule off a command passes the fence around a big key that is being copied. */
static enum lanes_take send_by_lane(struct world *w, struct world_client *c, struct effect *e, struct lane_item **item) {
    struct lane_key *hidden[WORLD_LANES];
    for (unsigned i = 0; i < w->lane_count; i++) {
        hidden[i] = w->lanes.lane[i].big.key;
        if (w->off[OFF_FENCE]) w->lanes.lane[i].big.key = NULL;
    }
    enum lanes_take take = lanes_send(&w->lanes, &c->place, e, c, item);
    for (unsigned i = 0; w->off[OFF_FENCE] && i < w->lane_count; i++) w->lanes.lane[i].big.key = hidden[i];
    return take;
}

static bool send_first(struct world *w, int client) {
    struct world_client *c = &w->clients[client];
    struct effect *e = prepare(w, &c->queue[0]);
    struct lane_item *item = NULL;
    bool sent = false;
    if (c->queue[0].own) {
        sent = send_own(w, client, e);
    } else if (c->own_unanswered == 0 || w->off[OFF_ORDER]) {
        size_t unanswered = c->place.unanswered;
        if (w->off[OFF_ORDER]) c->place.unanswered = 0;
        sent = send_by_lane(w, c, e, &item) == LANES_SENT;
        c->place.unanswered = unanswered + (sent ? 1 : 0);
        if (sent) spoil_pin(w, item);
    }
    if (!sent) effect_free(e);
    return sent;
}

static void pump(struct world *w) {
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        struct world_client *c = &w->clients[i];
        while (c->count > 0 && send_first(w, i)) {
            c->count--;
            memmove(c->queue, c->queue + 1, sizeof *c->queue * (size_t)c->count);
        }
    }
}

void world_issue(struct world *w, int client, int db, const char *text, bool own) {
    struct world_client *c = &w->clients[client];
    if (c->count == WORLD_WAITING) return;
    TALK("client %d db %d %s%s  clock %" PRId64 "\n", client, db, text, own ? " (own connection)" : "", w->world_ms);
    struct waiting *q = &c->queue[c->count++];
    *q = (struct waiting){.db = db, .own = own, .seq = ++c->seqs};
    snprintf(q->text, sizeof q->text, "%s", text);
    if (own) watch(w, client, q);
    pump(w);
}

/* ---- servers ---- */

void world_remember(struct world *w, enum lane_side side) {
    int *count = &w->history_count[side];
    if (*count == WORLD_HISTORY) memmove(w->history[side], w->history[side] + 1, sizeof w->history[side][0] * (size_t)--*count);
    w->history[side][(*count)++] = w->server[side].state;
}

static void check_mark(struct world *w, const struct message *m) {
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            if (!m->has[db][k]) continue;
            const struct mini_value *p = &m->state->at[db][k], *f = &w->server[LANE_F].state.at[db][k];
            if ((p->type != MINI_NONE && p->expire_ms >= 0) || (f->type != MINI_NONE && f->expire_ms >= 0)) continue;
            w->figures[1]++;
            if (!mini_same(p, f) && !w->failed[0])
                snprintf(w->failed, sizeof w->failed, "clean key %c of db %d: P had type %d count %d '%s', F has type %d count %d '%s'", 'a' + k, db,
                         (int)p->type, p->count, p->item[0], (int)f->type, f->count, f->item[0]);
        }
}

/* A fence was let through: what was to be compared before it was, or came too late. */
static void drop_marks(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++)
        for (struct message *m = w->wires[LANE_F][i]->asked.head; m; m = m->next) memset(m->has, 0, sizeof m->has);
}

/* The requests of a message, one after the other; the answer to a SELECT before them is dropped. */
static void execute(struct world *w, struct wire *wire, struct message *m) {
    struct resp_request r = {0};
    struct slice rest = buf_slice(&m->bytes);
    struct why why;
    size_t used = 0;
    bool first = true;
    if (m->is_mark) {
        check_mark(w, m);
        return;
    }
    TALK("%c executes on connection %" PRId64 ":", wire->side == LANE_P ? 'P' : 'F', wire->id);
    while (rest.size > 0 && resp_request_next(&r, &resp_request_limits_open, rest, &used, &why) == STEP_DONE) {
        struct buf drop = {0};
        bool skip = first && slice_equal(r.argv[0], SLICE("SELECT"));
        for (size_t i = 0; w->talk && i < r.argc; i++) printf(" %.*s", r.argv[i].size > 40 ? 1 : (int)r.argv[i].size, (const char *)r.argv[i].data);
        mini_serve(&w->server[wire->side], &wire->conn, slice_take(rest, used), skip ? &drop : &m->answer);
        buf_close(&drop);
        TALK(";");
        first = false;
        rest = slice_drop(rest, used);
    }
    resp_request_close(&r);
    TALK(" -> %.*s\n", buf_size(&m->answer) > 300 ? 60 : (int)buf_size(&m->answer), (const char *)buf_slice(&m->answer).data);
    if (wire->side == LANE_F && memmem(m->bytes.data, m->bytes.end, "FLUSH", 5) != NULL) drop_marks(w);
    w->figures[0]++;
    world_remember(w, wire->side);
}

unsigned world_busy_wire(struct world *w, enum lane_side side, bool answered, unsigned from) {
    unsigned count = world_wires(w, side);
    for (unsigned i = 0; i < count; i++) {
        const struct wire *wire = *wire_at(w, side, (from + i) % count);
        if (answered ? wire->answered.head != NULL : wire->asked.head != NULL) return (from + i) % count;
    }
    return from;
}

static void check_order(struct world *w, const struct message *m) {
    if (m->client < 0) return;
    struct world_client *c = &w->clients[m->client];
    if (m->seq < c->executed) snprintf(w->failed, sizeof w->failed, "client %d: a command was executed before its predecessor", m->client);
    c->executed = m->seq;
}

void world_execute(struct world *w, enum lane_side side, unsigned n) {
    struct wire *wire = *wire_at(w, side, n);
    struct message *m = pop(&wire->asked);
    if (!m) return;
    if (!m->early) execute(w, wire, m);
    if (m->is_mark) {
        free_message(m);
        return;
    }
    if (side == LANE_P) {
        check_order(w, m);
        m->state = mem_dup(&w->server[LANE_P].state, sizeof(struct mini_state));
    }
    push(&wire->answered, m);
}

/* ---- answers ---- */

/* C13: F after this place must equal what P had there, for each clean key that cannot expire. */
static void put_mark(struct world *w, unsigned lane, const struct mini_state *state) {
    struct lane *l = &w->lanes.lane[lane];
    if (!w->check_clean || !l->follower_up || l->tail.count > 0 || w->lanes.barrier.at_f != LANE_FENCE_IDLE) return;
    struct message *m = ask(w->wires[LANE_F][lane], (struct slice){0}, 0);
    m->is_mark = true;
    m->state = mem_dup(state, sizeof *state);
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            struct slice key = slice_from(&name, 1);
            if (!lane_owns(l, key)) continue;
            bool is_volatile = lane_deadlines_find(&l->deadlines, lane_deadlines_hash(db, key)) != LANE_DEADLINE_NONE;
            m->has[db][k] = !is_volatile && !lane_keys_is_dirty(&l->keys, db, key);
        }
}

static void spoil_memory(struct world *w) {
    if (w->off[OFF_FUNCTIONS]) w->lanes.functions.dirty = false;
    for (unsigned i = 0; w->off[OFF_VOLATILE] && i < w->lane_count; i++) lane_deadlines_close(&w->lanes.lane[i].deadlines);
}

/* With the rule off nobody looks whether the key is still what it was before its elements were read. */
static struct slice unchanged(struct lane *l, char text[80]) {
    l->big.chunks.length = (int64_t)l->big.chunks.had;
    snprintf(text, 80, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-1\r\n:%" PRIu64 "\r\n", l->big.chunks.had);
    return slice_text(text);
}

static void lane_answered(struct world *w, unsigned n, struct message *m) {
    struct lane *l = &w->lanes.lane[n];
    struct lane_item *item = l->flight.head;
    ASSERT(item);
    struct slice answer = buf_slice(&m->answer);
    if (item->kind == LANE_COPY && w->off[OFF_GEN]) item->gen = item->key->gen;
    if (item->kind == LANE_COPY && w->off[OFF_COPY_ERROR] && memchr(answer.data, '-', answer.size) == answer.data)
        answer = SLICE("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:-2\r\n$-1\r\n");
    bool plain = !item->outside && !item->barrier;
    if (item->limit_bytes > 0 && answer.size > item->limit_bytes) answer = lane_big_too_long;
    char text[80];
    if (item->kind == LANE_QUESTION && w->off[OFF_UNLESS_CHANGED] && l->big.chunks.at == CHUNKS_AT_AFTER) answer = unchanged(l, text);
    lane_primary_answered(l, answer);
    if (plain) put_mark(w, n, m->state);
}

static void own_answered(struct world *w, struct message *m) {
    struct world_client *c = &w->clients[m->client];
    if (w->off[OFF_PIN])
        for (size_t i = 0; i < m->own->key_count; i++)
            lane_mark(&w->lanes.lane[lane_of(w->lane_count, m->own->keys[i].name)], m->own->keys[i].db, m->own->keys[i].name);
    else lanes_unpin(&w->lanes, m->own);
    effect_free(m->own);
    c->own_unanswered--;
}

static void follower_answered(struct world *w, unsigned n, struct message *m) {
    struct lane *l = &w->lanes.lane[n];
    bool refused = memmem(m->answer.data, m->answer.end, "OOM", 3) != NULL;
    for (struct lane_item *later = l->sent.head->next; later && w->off[OFF_SPREAD] && refused; later = later->next) later->key_count = 0;
    lane_follower_answered(l, buf_slice(&m->answer));
}

static void page(struct world *w, enum lane_side side, struct message *m) {
    struct slice answer = buf_slice(&m->answer);
    if (m->audit) {
        if (w->off[OFF_AUDIT_EXTRA] && side == LANE_F && memmem(m->bytes.data, m->bytes.end, "SCAN", 4) != NULL) answer = SLICE("*2\r\n$1\r\n0\r\n*0\r\n");
        lane_audit_answered(&w->audit, m->round, answer);
        return;
    }
    bool blind = (side == LANE_F && w->off[OFF_EXTRA]) || (side == LANE_P && w->off[OFF_LISTED]);
    if (blind) answer = SLICE("*2\r\n$1\r\n0\r\n*0\r\n");
    if (!lane_scan_page(&w->lanes.scan, m->round, answer)) TALK("a page that is none\n");
}

void world_answer(struct world *w, enum lane_side side, unsigned n) {
    struct message *m = pop(&(*wire_at(w, side, n))->answered);
    if (!m) return;
    if (n < w->lane_count && side == LANE_P) lane_answered(w, n, m);
    else if (n < w->lane_count) follower_answered(w, n, m);
    else if (m->own) own_answered(w, m);
    else if (n == world_wires(w, side) - 1) page(w, side, m);
    spoil_memory(w);
    free_message(m);
    pump(w);
}

void world_turn(struct world *w) {
    for (unsigned i = 0; w->off[OFF_COALESCE] && i < w->lane_count; i++) w->lanes.lane[i].hurry = true;
    if (w->off[OFF_FUNCTIONS]) w->lanes.functions.dirty = false;
    lanes_turn(&w->lanes);
    if (w->audits) lane_audit_turn(&w->audit);
    pump(w);
    for (unsigned i = 0; i < w->lane_count; i++) lane_check(&w->lanes.lane[i]);
}

/* ---- breaks ---- */

static void told_gone(struct world *w, const struct wire *wire) {
    for (int i = 0; i < wire->owns && !w->off[OFF_PIN]; i++) lanes_unpin(&w->lanes, wire->own[i]);
    if (wire->lane == -1) return;
    for (unsigned i = 0; i < w->lane_count; i++) {
        if (wire->lane != -2 && (unsigned)wire->lane != i) continue; /* -2: of an earlier process */
        if (wire->side == LANE_P) lane_primary_gone(&w->lanes.lane[i]);
        else lane_follower_gone(&w->lanes.lane[i]);
    }
}

void world_kill(struct world *w) {
    struct wire **at = &w->zombies;
    if (!*at) return;
    while ((*at)->next) at = &(*at)->next;
    struct wire *wire = *at;
    *at = NULL;
    TALK("connection %" PRId64 " is known to be gone\n", wire->id);
    told_gone(w, wire);
    bool ghost = wire->side == LANE_P ? w->off[OFF_KILL_P] : w->off[OFF_KILL_F];
    if (ghost || (w->off[OFF_CONNIDS] && wire->lane == -2)) {
        wire->next = w->ghosts;
        w->ghosts = wire;
    } else {
        free_wire(wire);
    }
    pump(w);
}

void world_zombie(struct world *w) {
    struct wire *list[2] = {w->ghosts, w->zombies};
    for (int i = 0; i < 2; i++)
        for (struct wire *wire = list[i]; wire; wire = wire->next) {
            struct message *m = pop(&wire->asked);
            if (!m) continue;
            if (!m->is_mark) execute(w, wire, m);
            free_message(m);
            return;
        }
}

/* The gateway has lost it: answers that were under way are lost, requests may be executed. */
static void bury(struct world *w, struct wire *wire) {
    for (struct message *m = wire->answered.head; m; m = m->next)
        if (m->own) wire->own[wire->owns++] = m->own;
    for (struct message *m = wire->asked.head; m; m = m->next)
        if (m->own) wire->own[wire->owns++] = m->own;
    ASSERT(wire->owns <= 8);
    free_messages(&wire->answered);
    wire->next = w->zombies;
    w->zombies = wire;
}

static void spoil_unconfirmed(struct world *w, unsigned lane) {
    for (struct lane_item *item = w->lanes.lane[lane].sent.head; item && w->off[OFF_UNCONFIRMED]; item = item->next) item->key_count = 0;
}

/* The connection is gone; what it was used for goes on over a new one. */
static void lose(struct world *w, enum lane_side side, unsigned n) {
    struct wire **at = wire_at(w, side, n), *old = *at;
    int client = n >= w->lane_count && side == LANE_P && n < w->lane_count + WORLD_CLIENTS ? (int)(n - w->lane_count) : -1;
    bury(w, old);
    *at = new_wire(w, side, old->lane);
    if (n < w->lane_count && side == LANE_P) {
        lane_primary_lost(&w->lanes.lane[n]);
        lane_primary_up(&w->lanes.lane[n], w->facts.primary_version);
    } else if (n < w->lane_count) {
        spoil_unconfirmed(w, n);
        lane_follower_lost(&w->lanes.lane[n]);
        lane_follower_up(&w->lanes.lane[n], w->facts.follower_version);
    } else if (client >= 0) {
        w->clients[client].own_unanswered = 0;
        w->clients[client].count = 0;
    } else {
        lane_scan_restart(&w->lanes.scan);
        if (w->audits) lane_audit_answered(&w->audit, w->audit.round, (struct slice){0});
    }
}

void world_break(struct world *w, enum lane_side side, unsigned n) {
    struct wire *old = *wire_at(w, side, n);
    TALK("connection %" PRId64 " breaks\n", old->id);
    w->figures[3]++;
    lose(w, side, n);
    pump(w);
}

static void open_gateway(struct world *w) {
    the_journal = world_journal(w);
    lanes_init(&w->lanes, &ops, w, &the_journal, &w->clock, &w->rules, w->lane_count);
    lane_audit_init(&w->audit, &audit_ops, w, w->lanes.lane, w->lane_count, &w->clock);
    w->audit.follower_version = w->facts.follower_version;
    for (unsigned i = 0; i < w->lane_count; i++) {
        char name[2] = {(char)('0' + i), '\0'};
        lane_marks_name(&w->lanes.lane[i].marks, name, w->figures[2]); /* every process has its own marks */
    }
    w->lanes.scan.databases[LANE_P] = w->lanes.scan.databases[LANE_F] = MINI_DBS;
    for (unsigned i = 0; i < w->lane_count; i++)
        for (int side = 0; side < 2; side++) w->wires[side][i] = new_wire(w, (enum lane_side)side, (int)i);
    for (int i = 0; i < WORLD_CLIENTS; i++) w->own[i] = new_wire(w, LANE_P, -1);
    for (int side = 0; side < 2; side++) w->scan[side] = new_wire(w, (enum lane_side)side, -1);
}

static void connect(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) {
        lane_primary_up(&w->lanes.lane[i], w->facts.primary_version);
        lane_follower_up(&w->lanes.lane[i], w->facts.follower_version);
    }
}

static void leave_wires(struct world *w) {
    for (int side = 0; side < 2; side++)
        for (unsigned n = 0; n < world_wires(w, (enum lane_side)side); n++) {
            struct wire *wire = *wire_at(w, (enum lane_side)side, n);
            for (struct message *m = wire->asked.head; m; m = m->next) effect_free(m->own), m->own = NULL;
            for (struct message *m = wire->answered.head; m; m = m->next) effect_free(m->own), m->own = NULL;
            bury(w, wire);
        }
    for (struct wire *wire = w->zombies; wire; wire = wire->next) {
        for (int i = 0; i < wire->owns; i++) effect_free(wire->own[i]);
        wire->owns = 0;
        wire->lane = -2;
    }
}

void world_crash(struct world *w, bool host) {
    TALK("the gateway dies%s\n", host ? ", and its journal is lost" : "");
    w->figures[2]++;
    leave_wires(w);
    lane_audit_close(&w->audit);
    lanes_close(&w->lanes);
    memset(w->clients, 0, sizeof w->clients);
    if (host) world_no_journal(w);
    else world_journal_read(w);
    if (host) world_journal_close(w), world_journal_open(w);
    open_gateway(w);
    for (struct wire *wire = w->zombies; wire; wire = wire->next)
        for (unsigned i = 0; i < w->lane_count; i++) lane_buried(&w->lanes.lane[i], wire->side);
    if (!host) world_recover(w);
    if (host && !w->off[OFF_JOURNAL_LOST]) lanes_mark_all(&w->lanes);
    connect(w);
}

/* C22a: another process at F has what its mark says; with the rule off nobody remembers what was sent behind it. */
static void look_at_marks(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct buf answer = {0};
        struct lane *l = &w->lanes.lane[i];
        const char *mark = w->server[LANE_F].state.mark[i];
        if (mark[0]) resp_write_text(&answer, mark);
        else resp_write_null(&answer, 2);
        for (struct list *at = l->marks.keys.next; w->off[OFF_MARK] && at != &l->marks.keys; at = at->next)
            LIST_OWNER(at, struct lane_mark_key, link)->number = 0;
        size_t keys = lane_follower_restarted(l, buf_slice(&answer));
        w->figures[6] += keys != SIZE_MAX;
        buf_close(&answer);
    }
    lane_functions_mark(&w->lanes.functions);
}

/* Nothing more is executed by a process that is gone; the new one may have older data. */
void world_restart(struct world *w, enum lane_side side, int back) {
    TALK("%c restarts, %d back\n", side == LANE_P ? 'P' : 'F', back);
    if (w->history_count[side] > back) {
        w->history_count[side] -= back;
        w->server[side].state = w->history[side][w->history_count[side] - 1];
        for (int db = 0; db < MINI_DBS; db++)
            for (int k = 0; k < MINI_KEYS; k++) w->server[side].version[db][k]++;
    }
    for (struct wire *wire = w->zombies; wire; wire = wire->next)
        if (wire->side == side) free_messages(&wire->asked);
    for (unsigned n = 0; n < world_wires(w, side); n++) {
        lose(w, side, n);
        free_messages(&w->zombies->asked);
    }
    if (side == LANE_P && !w->off[OFF_RUN_ID_P]) lanes_mark_all(&w->lanes);
    if (side == LANE_F && !w->off[OFF_RUN_ID_F]) look_at_marks(w);
    pump(w);
}

/* ---- the sides change roles ---- */

static bool idle(const struct world *w);

/* The clients' own connections are closed at the old side; what lists is asked anew. */
static void leave_old_side(struct world *w, bool drained) {
    for (unsigned n = w->lane_count; n < world_wires(w, LANE_P); n++) lose(w, LANE_P, n);
    lose(w, LANE_F, world_wires(w, LANE_F) - 1);
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct wire *wire = w->wires[LANE_F][i];
        while (drained && wire->asked.head) { /* marks that are not looked at yet */
            struct message *m = pop(&wire->asked);
            execute(w, wire, m);
            free_message(m);
        }
        for (int side = 0; side < 2 && !drained; side++) {
            bury(w, w->wires[side][i]);
            w->wires[side][i] = new_wire(w, (enum lane_side)side, (int)i);
            if (side == LANE_P) lane_primary_lost(&w->lanes.lane[i]);
            else lane_follower_lost(&w->lanes.lane[i]);
        }
    }
}

static void change_sides(struct wire *wire) {
    for (; wire; wire = wire->next) wire->side = wire->side == LANE_P ? LANE_F : LANE_P;
}

static void swap_servers(struct world *w) {
    struct mini server = w->server[LANE_P];
    struct mini_state history[WORLD_HISTORY];
    int count = w->history_count[LANE_P];
    int32_t version = w->facts.primary_version;
    w->server[LANE_P] = w->server[LANE_F];
    w->server[LANE_F] = server;
    w->server[LANE_P].refuse = 0;
    w->server[LANE_P].import_mode = false; /* it ends with the barrier (C23) */
    memcpy(history, w->history[LANE_P], sizeof history);
    memcpy(w->history[LANE_P], w->history[LANE_F], sizeof history);
    memcpy(w->history[LANE_F], history, sizeof history);
    w->history_count[LANE_P] = w->history_count[LANE_F];
    w->history_count[LANE_F] = count;
    w->facts.primary_version = w->facts.follower_version;
    w->facts.follower_version = version;
    w->rules.follower_keeps_expired = false;
}

static void swap_wires(struct world *w, unsigned lane) {
    struct wire *old = w->wires[LANE_P][lane];
    w->wires[LANE_P][lane] = w->wires[LANE_F][lane];
    w->wires[LANE_F][lane] = old;
    for (int side = 0; side < 2; side++) {
        w->wires[side][lane]->side = (enum lane_side)side;
        w->wires[side][lane]->conn.import_source = side == LANE_F;
    }
}

/* As dual_swap() of the gateway does it. */
void world_swap(struct world *w) {
    bool drained = idle(w);
    TALK("P and F change roles%s\n", drained ? "" : ", and the lanes are not drained");
    w->figures[drained ? 4 : 5]++;
    leave_old_side(w, drained);
    lane_scan_restart(&w->lanes.scan);
    change_sides(w->zombies);
    change_sides(w->ghosts);
    swap_servers(w);
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct lane *l = &w->lanes.lane[i];
        lane_swap(l, w->facts.primary_version);
        l->rules.follower_keeps_expired = false;
        swap_wires(w, i);
        if (drained) continue;
        lane_primary_up(l, w->facts.primary_version);
        lane_follower_up(l, w->facts.follower_version);
    }
    if (!drained) lanes_mark_all(&w->lanes);
    w->off[OFF_KILL_F] |= w->off[OFF_SWAP]; /* nobody waits for them */
    while (w->off[OFF_SWAP] && w->zombies) world_kill(w);
    pump(w);
}

/* ---- a run ---- */

void world_open(struct world *w, uint64_t seed, unsigned lanes, bool import) {
    *w = (struct world){.world_ms = 1000000, .talk = getenv("TALK") != NULL, .lane_count = lanes, .rng = rng_from(seed)};
    the_world = w;
    w->clock = (struct clock){wall_ms, mono_us};
    for (int side = 0; side < 2; side++) {
        w->server[side].world_ms = &w->world_ms;
        w->server[side].rng = rng_from(seed + (uint64_t)side);
    }
    w->server[LANE_F].import_mode = import;
    w->rules = lane_rules_default;
    w->rules.clock_difference_ms = 400;
    w->rules.follower_keeps_expired = import;
    w->rules.copy_interval_ms = 0;
    world_journal_open(w);
    w->facts = (struct effect_facts){.primary_version = 70015, .follower_version = 70015, .databases = MINI_DBS};
}

void world_start(struct world *w, bool baseline) {
    open_gateway(w);
    if (baseline) lanes_mark_all(&w->lanes);
    else w->lanes.functions.dirty = false;
    connect(w);
    for (int db = 0; !baseline && db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            struct slice key = slice_from(&name, 1);
            int64_t at_ms = w->server[LANE_P].state.at[db][k].expire_ms;
            if (w->server[LANE_P].state.at[db][k].type == MINI_NONE || at_ms < 0) continue;
            lane_deadlines_set(&w->lanes.lane[lane_of(w->lane_count, key)].deadlines, lane_deadlines_hash(db, key), at_ms, 0);
        }
}

void world_close(struct world *w) {
    leave_wires(w);
    lane_audit_close(&w->audit);
    lanes_close(&w->lanes);
    free_wires(&w->zombies);
    free_wires(&w->ghosts);
    world_journal_close(w);
}

static bool idle(const struct world *w) {
    for (int i = 0; i < WORLD_CLIENTS; i++)
        if (w->clients[i].count > 0 || w->clients[i].place.unanswered > 0 || w->clients[i].own_unanswered > 0) return false;
    return w->zombies == NULL && lanes_are_quiet(&w->lanes) && lanes_are_level(&w->lanes);
}

static void all_wires(struct world *w) {
    for (int side = 0; side < 2; side++)
        for (unsigned n = 0; n < world_wires(w, (enum lane_side)side); n++) {
            for (int i = 0; i < 50; i++) world_execute(w, (enum lane_side)side, n);
            for (int i = 0; i < 50; i++) world_answer(w, (enum lane_side)side, n);
        }
}

void world_rest(struct world *w) {
    for (int i = 0; i < 100 && !w->failed[0] && !idle(w); i++) {
        w->world_ms += 1;
        world_turn(w);
        all_wires(w);
    }
}

bool world_settle(struct world *w, char what[256]) {
    w->server[LANE_F].refuse = 0;
    w->server[LANE_F].loading = w->server[LANE_P].loading = false;
    for (int i = 0; i < 3000 && !w->failed[0] && !idle(w); i++) {
        w->world_ms += 1;
        for (unsigned n = 0; n < w->lane_count; n++) w->lanes.lane[n].hurry = true; /* clients are held */
        while (w->zombies) world_kill(w);
        world_turn(w);
        all_wires(w);
    }
    if (w->failed[0]) return snprintf(what, 256, "%s", w->failed), false;
    if (!idle(w)) return snprintf(what, 256, "it does not come to rest: lane 0 flight %zu sent %zu tail %zu dirty %zu slots %zu pinned %zu, scan %d, barrier %d %d",
                                  w->lanes.lane[0].flight.count, w->lanes.lane[0].sent.count, w->lanes.lane[0].tail.count, w->lanes.lane[0].keys.dirty_count,
                                  w->lanes.lane[0].keys.dirty_slot_count, w->lanes.lane[0].keys.pinned_count, (int)w->lanes.scan.state,
                                  (int)w->lanes.barrier.at_p, (int)w->lanes.barrier.at_f), false;
    for (int i = 0; i < 500; i++) world_zombie(w); /* what still lies in old sockets is executed last */
    return mini_equal(&w->server[LANE_P].state, &w->server[LANE_F].state, w->world_ms + 1000, what);
}
