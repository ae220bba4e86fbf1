/* peers_carry.c -- what is known about slots goes with them to their next owner (C22b).
 *
 *     state: LANES REST number table --> all gateways, which hold
 *     who loses slots, at rest:  CARRY number ... --> who gets them
 *                                C number        <--
 *     RESTED --> state --> SLOTS: the very table, before any RELEASE --> the slots are not dirty
 *
 * A parcel says of each slot in it: these keys are dirty, these have a deadline, all others are clean
 * and have none. It is one message, so it came whole or not at all, and has its counts and an end.
 * It is believed only by a gateway that was itself told to rest under its number, takes over the
 * table that was named then, and has to do with the same two processes of P and F. Whatever is not
 * so, or a RELEASE in between, makes the slots dirty, as when their owner had died: who lost them may
 * have written since.
 *
 * Bounded by CARRY_KEYS_MAX and CARRY_BYTES_MAX for each receiver; beyond, its slots are dirty
 * (slots.not_carried in the log).
 */
#include "gateway/peers_inside.h"

#include "lib/base/log.h"

#include <string.h>

#define CARRY_KEYS_MAX 100000u
#define CARRY_BYTES_MAX (16u << 20)
#define CARRY_WORDS 9u /* that are no keys, with the verb */
#define SLOTS_BYTES (LANE_SLOTS / 8)
#define DEADLINE_BYTES 16u

struct parcel {
    struct list link; /* peers->parcels: one of each gateway, the last that it sent */
    char from[SLOT_TABLE_NAME_BYTES];
    uint64_t number;
    char run_id[2][41];
    uint64_t slots[LANE_SLOTS / 64];
    struct buf keys;      /* as words: db, name */
    struct buf deadlines; /* DEADLINE_BYTES each */
    size_t key_count;
};

static bool bit(const uint64_t *bits, unsigned slot) {
    return (bits[slot / 64] >> (slot % 64)) & 1;
}

static void put_u64(uint8_t *at, uint64_t value) {
    for (unsigned i = 0; i < 8; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_u64(const uint8_t *at) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void parcel_free(struct parcel *p) {
    if (p == NULL) return;
    list_remove(&p->link);
    buf_close(&p->keys);
    buf_close(&p->deadlines);
    mem_free(p);
}

/* ---- packing ---- */

/* Which of SLOTS can be told about: those that are dirty as a whole are left out. */
static bool pick_slots(const struct dual *d, const struct slot_table *next, unsigned to,
                       struct parcel *p) {
    bool any = false;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        const struct lane *l = &d->lanes.lane[slot % d->lanes.count];
        if (next->owner[slot] != to || !bit(d->lanes.owned, slot)) continue;
        if (bit(l->keys.dirty_slots, slot)) continue;
        p->slots[slot / 64] |= UINT64_C(1) << (slot % 64);
        any = true;
    }
    return any;
}

/* All lanes know F, and nothing is open that could make any key dirty. */
static bool can_tell(const struct dual *d) {
    const struct drawbridge_config *config = d->worker->gw->config;
    if (config->legacy.cluster || config->target.cluster) return false; /* many run ids */
    if (d->run_id[LANE_P][0] == '\0' || d->run_id[LANE_F][0] == '\0') return false;
    for (unsigned i = 0; i < d->lanes.count; i++) {
        const struct lane *l = &d->lanes.lane[i];
        if (strcmp(d->lane_run_id[i], d->run_id[LANE_F]) != 0) return false;
        if (l->deadlines.lost || l->keys.pinned_all > 0) return false;
    }
    return true;
}

static bool pack_keys(const struct lane_keys *k, struct parcel *p) {
    for (size_t i = 0; i < k->bucket_count; i++)
        for (const struct lane_key *key = k->buckets[i]; key != NULL; key = key->next) {
            if (!bit(p->slots, slot_cluster(lane_key_name(key)))) continue;
            if (!key->dirty && key->pins == 0) continue;
            if (++p->key_count > CARRY_KEYS_MAX || buf_size(&p->keys) > CARRY_BYTES_MAX)
                return false;
            peers_number(&p->keys, (uint64_t)key->db);
            resp_write_bulk(&p->keys, lane_key_name(key));
        }
    return true;
}

static bool pack_deadlines(const struct lane_deadlines *from, struct parcel *p) {
    for (size_t i = 0; i < from->cap; i++) {
        const struct lane_deadline *at = &from->places[i];
        if (at->at_ms == 0 || at->at_ms == LANE_DEADLINE_NONE) continue;
        if (!bit(p->slots, lane_deadlines_slot(at->hash))) continue;
        if (buf_size(&p->deadlines) > CARRY_BYTES_MAX) return false;
        uint8_t *room = buf_room(&p->deadlines, DEADLINE_BYTES);
        put_u64(room, at->hash);
        put_u64(room + 8, (uint64_t)at->at_ms);
        buf_filled(&p->deadlines, DEADLINE_BYTES);
    }
    return true;
}

static bool pack(const struct dual *d, struct parcel *p) {
    for (unsigned i = 0; i < d->lanes.count; i++) {
        const struct lane *l = &d->lanes.lane[i];
        if (!pack_keys(&l->keys, p) || !pack_deadlines(&l->deadlines, p)) return false;
    }
    return true;
}

static void write_parcel(const struct dual *d, const struct parcel *p, struct buf *out) {
    uint8_t slots[SLOTS_BYTES];
    for (unsigned i = 0; i < LANE_SLOTS / 64; i++) put_u64(slots + 8 * (size_t)i, p->slots[i]);
    peers_begin(out, "CARRY", CARRY_WORDS - 1 + 2 * p->key_count);
    peers_number(out, d->move.number);
    resp_write_text(out, d->run_id[LANE_P]);
    resp_write_text(out, d->run_id[LANE_F]);
    resp_write_bulk(out, slice_from(slots, sizeof slots));
    resp_write_bulk(out, buf_slice(&p->deadlines));
    peers_number(out, buf_size(&p->deadlines) / DEADLINE_BYTES);
    peers_number(out, p->key_count);
    buf_add(out, buf_slice(&p->keys));
    resp_write_text(out, "END");
}

static void send_to(struct dual *d, struct peer *peer, unsigned to) {
    struct parcel *p = NEW(struct parcel);
    struct buf out = {0};
    const char *why = NULL;
    if (!pick_slots(d, d->move.table, to, p))
        goto out; /* it gets none of ours, or only dirty ones */
    if (!peer->greeted)
        why = "it is not connected";
    else if (!can_tell(d))
        why = "not all is known about them";
    else if (!pack(d, p))
        why = "too many keys are dirty or have a deadline";
    if (why != NULL) {
        log_warn("slots.not_carried", LOG_S("to", peer->name), LOG_S("why", why));
        goto out;
    }
    write_parcel(d, p, &out);
    log_info("slots.carried", LOG_S("to", peer->name), LOG_U("keys", p->key_count),
             LOG_U("deadlines", buf_size(&p->deadlines) / DEADLINE_BYTES),
             LOG_U("bytes", buf_size(&out)));
    stream_write_buf(peer->stream, &out);
    peer->carried = d->move.number;
out:
    buf_close(&out);
    parcel_free(p);
}

void peers_carry(struct peers *p) {
    struct dual *d = p->dual;
    const struct slot_table *next = d->move.table;
    LIST_EACH(&p->out, at) {
        struct peer *peer = LIST_OWNER(at, struct peer, link);
        unsigned to = slot_table_find(next, slice_text(peer->name));
        if (to < next->count) send_to(d, peer, to);
    }
}

bool peers_have_carried(const struct peers *p) {
    LIST_EACH(&p->out, at) {
        const struct peer *peer = LIST_OWNER(at, struct peer, link);
        if (peer->greeted && peer->carried != 0) return false;
    }
    return true;
}

/* ---- unpacking ---- */

static bool read_run_id(struct slice text, char run_id[41]) {
    if (text.size == 0 || text.size > 40) return false;
    memcpy(run_id, text.data, text.size);
    run_id[text.size] = '\0';
    return true;
}

static bool read_keys(struct parcel *p, const struct slice *words) {
    for (size_t i = 0; i < p->key_count; i++) {
        uint64_t db = 0;
        if (!peers_read_number(words[2 * i], &db) || db > INT32_MAX) return false;
        if (!bit(p->slots, slot_cluster(words[2 * i + 1]))) return false;
        resp_write_bulk(&p->keys, words[2 * i]);
        resp_write_bulk(&p->keys, words[2 * i + 1]);
    }
    return true;
}

static bool read_parcel(struct parcel *p, size_t argc, const struct slice *argv) {
    uint64_t keys = 0, deadlines = 0;
    if (argc < CARRY_WORDS || !peers_read_number(argv[1], &p->number) || p->number == 0)
        return false;
    if (!read_run_id(argv[2], p->run_id[LANE_P]) || !read_run_id(argv[3], p->run_id[LANE_F]))
        return false;
    if (argv[4].size != SLOTS_BYTES || !peers_read_number(argv[6], &deadlines) ||
        !peers_read_number(argv[7], &keys))
        return false;
    if (deadlines > 2 * CARRY_BYTES_MAX / DEADLINE_BYTES || keys > CARRY_KEYS_MAX) return false;
    if (argv[5].size != deadlines * DEADLINE_BYTES || argc != CARRY_WORDS + 2 * keys) return false;
    if (!slice_equal(argv[argc - 1], SLICE("END"))) return false;
    for (unsigned i = 0; i < LANE_SLOTS / 64; i++)
        p->slots[i] = get_u64(argv[4].data + 8 * (size_t)i);
    p->key_count = (size_t)keys;
    buf_add(&p->deadlines, argv[5]);
    return read_keys(p, argv + 8);
}

static struct parcel *find_parcel(const struct peers *p, const char *from) {
    LIST_EACH(&p->parcels, at) {
        struct parcel *parcel = LIST_OWNER(at, struct parcel, link);
        if (strcmp(parcel->from, from) == 0) return parcel;
    }
    return NULL;
}

bool peers_on_carry(struct visitor *v, size_t argc, const struct slice *argv) {
    struct parcel *p = NEW(struct parcel);
    parcel_free(find_parcel(v->peers, v->holder->name));
    if (!read_parcel(p, argc, argv)) {
        parcel_free(p);
        return false;
    }
    memcpy(p->from, v->holder->name, sizeof p->from);
    list_push(&v->peers->parcels, &p->link);
    struct buf out = {0};
    peers_begin(&out, "C", 1);
    peers_number(&out, p->number);
    stream_write_buf(v->stream, &out);
    buf_close(&out);
    return true;
}

/* The parcel of the gateway NAME, if it may be believed. */
static const struct parcel *parcel_of(const struct peers *p, const char *name) {
    const struct dual *d = p->dual;
    const struct parcel *parcel = find_parcel(p, name);
    if (parcel == NULL || parcel->number != d->move.number) return NULL;
    for (unsigned side = 0; side < 2; side++)
        if (d->run_id[side][0] == '\0' || strcmp(parcel->run_id[side], d->run_id[side]) != 0)
            return NULL;
    return parcel;
}

static bool is_planned(const struct dual *d, const struct slot_table *table) {
    const struct slot_table *planned = d->move.table;
    if (d->move.number == 0 || planned == NULL) return false;
    if (planned->version != table->version || planned->count != table->count) return false;
    for (unsigned i = 0; i < table->count; i++)
        if (strcmp(planned->gateway[i].name, table->gateway[i].name) != 0) return false;
    return memcmp(planned->owner, table->owner, sizeof table->owner) == 0;
}

unsigned peers_carried(struct peers *p, const struct slot_table *before,
                       const struct slot_table *table, uint64_t slots[LANE_SLOTS / 64]) {
    const struct parcel *parcels[SLOT_TABLE_GATEWAYS] = {NULL};
    const struct dual *d = p->dual;
    unsigned count = 0;
    if (before == NULL || !is_planned(d, table)) return 0;
    for (unsigned i = 0; i < before->count; i++) parcels[i] = parcel_of(p, before->gateway[i].name);
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        unsigned from = before->owner[slot];
        if (table->owner[slot] != d->self || from >= before->count || from == d->self) continue;
        if (bit(d->lanes.owned, slot) || parcels[from] == NULL || !bit(parcels[from]->slots, slot))
            continue;
        slots[slot / 64] |= UINT64_C(1) << (slot % 64);
        count++;
    }
    return count;
}

/* SLOTS are ours by now, and those of them that FROM had before are told about in P. */
static void unpack(struct dual *d, const struct parcel *p, const struct slot_table *before,
                   unsigned from, const uint64_t slots[LANE_SLOTS / 64]) {
    struct lanes *lanes = &d->lanes;
    struct resp_token db, name;
    struct why why;
    struct slice rest = buf_slice(&p->keys), deadlines = buf_slice(&p->deadlines);
    for (size_t i = 0, used = 0; i < p->key_count; i++) {
        int64_t number = 0;
        enum step step = resp_next(&resp_limits_server, rest, &db, &used, &why);
        rest = slice_drop(rest, used);
        if (step == STEP_DONE) step = resp_next(&resp_limits_server, rest, &name, &used, &why);
        rest = slice_drop(rest, used);
        bool fine = step == STEP_DONE && slice_to_int(db.text, &number);
        ASSERT(fine); /* peers_on_carry() wrote it */
        unsigned slot = slot_cluster(name.text);
        if (before->owner[slot] != from || !bit(slots, slot)) continue;
        lane_mark(&lanes->lane[slot % lanes->count], (int32_t)number, name.text);
    }
    for (; deadlines.size > 0; deadlines = slice_drop(deadlines, DEADLINE_BYTES)) {
        uint64_t hash = get_u64(deadlines.data);
        unsigned slot = lane_deadlines_slot(hash);
        if (before->owner[slot] != from || !bit(slots, slot)) continue;
        int64_t at_ms = (int64_t)(get_u64(deadlines.data + 8) & INT64_MAX);
        lane_deadlines_set(&lanes->lane[slot % lanes->count].deadlines, hash, at_ms, 0);
    }
}

/* A mark of ours that is in F already says nothing about what others sent (C22a). */
void peers_unpack(struct peers *p, const struct slot_table *before,
                  const uint64_t slots[LANE_SLOTS / 64]) {
    struct dual *d = p->dual;
    for (unsigned from = 0; from < before->count; from++) {
        const struct parcel *parcel = parcel_of(p, before->gateway[from].name);
        if (parcel != NULL) unpack(d, parcel, before, from, slots);
    }
    for (unsigned i = 0; i < d->lanes.count; i++) lane_marks_sent_all(&d->lanes.lane[i].marks);
}

void peers_drop_parcels(struct peers *p) {
    LIST_EACH(&p->out, at) LIST_OWNER(at, struct peer, link)->carried = 0;
    while (!list_is_empty(&p->parcels))
        parcel_free(LIST_OWNER(p->parcels.next, struct parcel, link));
}
