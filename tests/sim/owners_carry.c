/* owners_carry.c -- what is known about slots goes with them to their next owner. See owners_world.h;
 * the real one is peers_carry.c. */
#include "tests/sim/owners_world.h"

#include "lib/base/mem.h"

#include <stdio.h>

#define CARRY_MS 300

struct o_parcel {
    uint64_t number, run[2];
    uint64_t slots[LANE_SLOTS / 64];
    bool dirty[MINI_DBS][MINI_KEYS];
    size_t deadline_count;
    struct {
        uint64_t hash;
        int64_t at_ms;
    } deadlines[2 * MINI_DBS * MINI_KEYS];
};

static bool bit(const uint64_t *bits, unsigned slot) { return (bits[slot / 64] >> (slot % 64)) & 1; }

static unsigned slot_of(int key) {
    char name = (char)('a' + key);
    return slot_cluster(slice_from(&name, 1));
}

void carry_free(struct o_parcel *parcel) { mem_free(parcel); }

/* ---- packing ---- */

static bool pick_slots(const struct o_gate *g, unsigned to, struct o_parcel *p) {
    bool any = false;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        const struct lane *l = &g->lanes.lane[slot % g->lanes.count];
        if (g->move.planned->owner[slot] != to || !bit(g->lanes.owned, slot) || bit(l->keys.dirty_slots, slot)) continue;
        p->slots[slot / 64] |= UINT64_C(1) << (slot % 64);
        any = true;
    }
    return any;
}

static bool can_tell(const struct o_gate *g) {
    for (unsigned i = 0; i < g->lanes.count; i++)
        if (g->lanes.lane[i].deadlines.lost || g->lanes.lane[i].keys.pinned_all > 0) return false;
    return g->run[LANE_P] != 0 && g->run[LANE_F] != 0;
}

static void pack_keys(const struct o_gate *g, struct o_parcel *p) {
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            const struct lane *l = &g->lanes.lane[slot_of(k) % g->lanes.count];
            const struct lane_key *key = lane_keys_find(&l->keys, db, slice_from(&name, 1));
            p->dirty[db][k] = bit(p->slots, slot_of(k)) && key && (key->dirty || key->pins > 0) && !g->w->off[OFF_CARRIED];
        }
}

static bool pack_deadlines(const struct o_gate *g, const struct lane_deadlines *from, struct o_parcel *p) {
    for (size_t i = 0; i < from->cap && !g->w->off[OFF_CARRIED_TIMES]; i++) {
        const struct lane_deadline *at = &from->places[i];
        if (at->at_ms == 0 || at->at_ms == LANE_DEADLINE_NONE || !bit(p->slots, lane_deadlines_slot(at->hash))) continue;
        if (p->deadline_count == sizeof p->deadlines / sizeof *p->deadlines) return false;
        p->deadlines[p->deadline_count].hash = at->hash;
        p->deadlines[p->deadline_count++].at_ms = at->at_ms;
    }
    return true;
}

static void send_to(struct o_gate *g, unsigned gate, unsigned to) {
    struct o_parcel *p = NEW(struct o_parcel);
    bool fine = pick_slots(g, to, p) && can_tell(g);
    p->number = g->move.number;
    memcpy(p->run, g->run, sizeof p->run);
    pack_keys(g, p);
    for (unsigned i = 0; i < g->lanes.count && fine; i++) fine = pack_deadlines(g, &g->lanes.lane[i].deadlines, p);
    if (!fine || !links_carry(g, gate, p)) {
        carry_free(p);
        return;
    }
    g->move.unread[gate] = true;
    const struct o_world *w = g->w;
    OTALK("gate %u carries what it knows to gate %u\n", g->number, gate);
}

bool carry_is_read(struct o_gate *g) {
    struct o_world *w = g->w;
    if (!g->move.carried) {
        g->move.carried = true;
        g->move.until_ms = w->world_ms + CARRY_MS;
        for (unsigned i = 0; i < w->gate_count; i++) {
            unsigned to = slot_table_find(g->move.planned, slice_text(w->gates[i].name));
            if (i != g->number && to < g->move.planned->count) send_to(g, i, to);
        }
    }
    for (unsigned i = 0; i < w->gate_count; i++)
        if (g->move.unread[i] && w->world_ms < g->move.until_ms) return false;
    return true;
}

/* ---- unpacking ---- */

void carry_read(struct o_gate *g, unsigned from, struct o_parcel *parcel) {
    carry_free(g->parcels[from]);
    g->parcels[from] = parcel;
}

static const struct o_parcel *parcel_of(const struct o_gate *g, const char *name) {
    unsigned from = 0;
    while (strcmp(g->w->gates[from].name, name) != 0) from++;
    const struct o_parcel *p = g->parcels[from];
    if (!p) return NULL;
    if (g->w->off[OFF_BELIEVED]) return p;
    if (p->number != g->move.number || memcmp(p->run, g->run, sizeof p->run) != 0) return NULL;
    return p;
}

static bool is_planned(const struct o_gate *g, const struct slot_table *table) {
    const struct slot_table *planned = g->move.planned;
    if (g->w->off[OFF_BELIEVED]) return true;
    if (!planned || planned->version != table->version || planned->count != table->count) return false;
    for (unsigned i = 0; i < table->count; i++)
        if (strcmp(planned->gateway[i].name, table->gateway[i].name) != 0) return false;
    return memcmp(planned->owner, table->owner, sizeof table->owner) == 0;
}

bool carry_is_known(const struct o_gate *g, const struct slot_table *before, const struct slot_table *table, unsigned self,
                    uint64_t slots[LANE_SLOTS / 64]) {
    bool any = false;
    if (!before || !is_planned(g, table)) return false;
    for (unsigned slot = 0; slot < LANE_SLOTS; slot++) {
        unsigned from = before->owner[slot];
        if (table->owner[slot] != self || from >= before->count || bit(g->lanes.owned, slot)) continue;
        const struct o_parcel *p = parcel_of(g, before->gateway[from].name);
        if (!p || !bit(p->slots, slot)) continue;
        slots[slot / 64] |= UINT64_C(1) << (slot % 64);
        any = true;
    }
    return any;
}

static void unpack(struct o_gate *g, const struct o_parcel *p, const struct slot_table *before, unsigned from, const uint64_t *slots) {
    for (int db = 0; db < MINI_DBS; db++)
        for (int k = 0; k < MINI_KEYS; k++) {
            char name = (char)('a' + k);
            unsigned slot = slot_of(k);
            if (!p->dirty[db][k] || before->owner[slot] != from || !bit(slots, slot)) continue;
            lane_mark(&g->lanes.lane[slot % g->lanes.count], db, slice_from(&name, 1));
        }
    for (size_t i = 0; i < p->deadline_count; i++) {
        unsigned slot = lane_deadlines_slot(p->deadlines[i].hash);
        if (before->owner[slot] != from || !bit(slots, slot)) continue;
        lane_deadlines_set(&g->lanes.lane[slot % g->lanes.count].deadlines, p->deadlines[i].hash, p->deadlines[i].at_ms, 0);
    }
}

void carry_unpack(struct o_gate *g, const struct slot_table *before, const uint64_t slots[LANE_SLOTS / 64]) {
    for (unsigned from = 0; from < before->count; from++) {
        const struct o_parcel *p = parcel_of(g, before->gateway[from].name);
        if (p) unpack(g, p, before, from, slots);
    }
    g->w->figures[FIGURE_CARRIED]++;
    for (unsigned i = 0; i < g->lanes.count && !g->w->off[OFF_OLD_MARKS]; i++) lane_marks_sent_all(&g->lanes.lane[i].marks);
}

/* What was told for it holds no longer: who told it may write again. */
void carry_end(struct o_gate *g) {
    memset(&g->move, 0, sizeof g->move);
    if (g->w->off[OFF_BELIEVED]) return;
    carry_forget(g);
}

void carry_forget(struct o_gate *g) {
    for (unsigned i = 0; i < OWNERS_GATES; i++) {
        carry_free(g->parcels[i]);
        g->parcels[i] = NULL;
    }
}
