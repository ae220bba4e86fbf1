/* owners_links.c -- from gate to gate: forwarding, and pins elsewhere. See owners_world.h; the real
 * one is peers.c and peers_in.c. */
#include "tests/sim/owners_world.h"

#include "tests/sim/commands.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

void notes_push(struct o_notes *notes, struct o_note *note) {
    note->next = NULL;
    if (notes->tail) notes->tail->next = note;
    else notes->head = note;
    notes->tail = note;
}

struct o_note *notes_pop(struct o_notes *notes) {
    struct o_note *note = notes->head;
    if (!note) return NULL;
    notes->head = note->next;
    if (!notes->head) notes->tail = NULL;
    return note;
}

static void note_free(struct o_note *note) {
    carry_free(note->parcel);
    buf_close(&note->words);
    mem_free(note);
}

void notes_free(struct o_notes *notes) {
    for (struct o_note *note = notes_pop(notes); note; note = notes_pop(notes)) note_free(note);
}

static void say(struct o_link *l, bool there, struct o_note *note) {
    struct o_note *copy = NEW(struct o_note);
    *copy = *note;
    if (l->broken) note_free(copy);
    else notes_push(there ? &l->there : &l->back, copy);
}

static void say_plain(struct o_link *l, bool there, int kind, uint64_t id) {
    struct o_note note = {.id = id, .version = id};
    note.kind = (__typeof__(note.kind))kind;
    say(l, there, &note);
}

/* The connection of G to gate TO that it has open, or NULL. */
static struct o_link *out_of(const struct o_gate *g, unsigned to) {
    for (struct o_link *l = g->w->links; l; l = l->next)
        if (l->from == g->number && l->to == to && l->from_open) return l;
    return NULL;
}

bool links_carry(struct o_gate *g, unsigned to, struct o_parcel *parcel) {
    struct o_link *l = out_of(g, to);
    struct o_note note = {.kind = NOTE_CARRY, .id = g->move.number, .parcel = parcel};
    if (!l || !l->greeted) return false;
    say(l, true, &note);
    return true;
}

static unsigned gate_named(const struct o_world *w, const char *name) {
    unsigned i = 0;
    while (strcmp(w->gates[i].name, name) != 0) i++;
    return i;
}

static bool is_in(const struct slot_table *table, const char *name) { return slot_table_find(table, slice_text(name)) < table->count; }

/* ---- forwarding ---- */

static void tell_ask(struct o_link *l, struct o_ask *ask) {
    struct o_note note = {.kind = NOTE_DO, .id = ask->far_id, .version = ask->version, .db = ask->db, .lane = ask->lane, .who = ask->who, .seq = ask->seq};
    memcpy(note.text, ask->text, sizeof note.text);
    say(l, true, &note);
    ask->told = true;
}

void links_forward(struct o_gate *g, struct o_ask *ask, unsigned home) {
    unsigned to = gate_named(g->w, g->slots->gateway[home].name);
    struct o_link *l = out_of(g, to);
    effect_free(ask->effect);
    ask->effect = NULL;
    ask->far_id = ++g->ids;
    ask->told = false;
    asks_push(&g->forwarded[to], ask);
    if (l && l->greeted) tell_ask(l, ask);
}

/* What was told is lost with the connection; with the gate all of it. */
static void lose_asks(struct o_gate *g, unsigned to, bool all) {
    for (struct o_ask *next, *ask = g->forwarded[to].head; ask; ask = next) {
        next = ask->next;
        if (!all && !ask->told) continue;
        asks_remove(&g->forwarded[to], ask);
        gate_give_back(g, ask, true);
    }
}

void links_answer(struct o_gate *g, struct o_ask *ask, bool lost) {
    (void)g;
    if (ask->link && ask->link->to_open) say_plain(ask->link, false, lost ? NOTE_LOST : NOTE_ANSWER, ask->far_id);
}

static void on_do(struct o_gate *g, struct o_link *l, const struct o_note *note) {
    struct o_ask *ask = NEW(struct o_ask);
    *ask = (struct o_ask){.gate = g, .db = note->db, .client = -1, .who = note->who, .seq = note->seq, .link = l, .far_id = note->id, .version = note->version};
    memcpy(ask->text, note->text, sizeof ask->text);
    ask->effect = command_prepare(&g->facts, &g->clock, ask->db, ask->text, false);
    ask->lane = lanes_home_of(g->w->lane_count, ask->effect, note->lane);
    gate_route(g, ask);
}

static void on_answer(struct o_gate *g, unsigned to, const struct o_note *note) {
    for (struct o_ask *ask = g->forwarded[to].head; ask; ask = ask->next) {
        if (ask->far_id != note->id || !ask->told) continue;
        asks_remove(&g->forwarded[to], ask);
        gate_give_back(g, ask, note->kind == NOTE_LOST);
        return;
    }
}

/* ---- pins ---- */

static void tell_pin(struct o_link *l, const struct o_pin *pin) {
    struct o_note note = {.kind = NOTE_PIN, .id = pin->id};
    buf_add(&note.words, buf_slice(&pin->words));
    say(l, true, &note);
}

struct o_pin *links_pin(struct o_gate *g, const struct effect *effect, struct o_ask *ask) {
    struct o_pin *pin = NEW(struct o_pin);
    *pin = (struct o_pin){.next = g->pins, .id = ++g->ids, .ask = ask};
    size_t count = 1;
    for (size_t i = 0; i < effect->key_count; i++) count += effect->keys[i].use & EFFECT_WRITE ? 2 : 0;
    resp_write_array(&pin->words, count);
    resp_write_text(&pin->words, effect->keys_unknown || effect->barrier ? "all" : "some");
    for (size_t i = 0; i < effect->key_count; i++) {
        char db[16];
        if ((effect->keys[i].use & EFFECT_WRITE) == 0) continue;
        snprintf(db, sizeof db, "%d", (int)effect->keys[i].db);
        resp_write_text(&pin->words, db);
        resp_write_bulk(&pin->words, effect->keys[i].name);
    }
    g->pins = pin;
    g->w->figures[FIGURE_PINNED]++;
    for (unsigned to = 0; to < g->w->gate_count; to++) {
        struct o_link *l = to == g->number ? NULL : out_of(g, to);
        if (l && l->greeted) tell_pin(l, pin);
    }
    return pin;
}

void links_unpin(struct o_gate *g, struct o_pin *pin) {
    for (unsigned to = 0; to < g->w->gate_count; to++) {
        struct o_link *l = to == g->number ? NULL : out_of(g, to);
        if (l && l->greeted) say_plain(l, true, NOTE_UNPIN, pin->id);
    }
    struct o_pin **at = &g->pins;
    while (*at != pin) at = &(*at)->next;
    *at = pin->next;
    buf_close(&pin->words);
    mem_free(pin);
}

/* By all that are in the table. */
bool links_are_acked(const struct o_gate *g, const struct o_pin *pin) {
    for (unsigned i = 0; i < g->slots->count; i++) {
        unsigned to = gate_named(g->w, g->slots->gateway[i].name);
        if (to != g->number && !pin->acked[to]) return false;
    }
    return true;
}

static void look_at_pins(struct o_gate *g) {
    for (struct o_pin *next, *pin = g->pins; pin; pin = next) {
        next = pin->next;
        gate_pinned(g, pin);
    }
}

static void on_pinned(struct o_gate *g, unsigned to, uint64_t id) {
    for (struct o_pin *pin = g->pins; pin; pin = pin->next) {
        if (pin->id != id) continue;
        pin->acked[to] = true;
        gate_pinned(g, pin);
        return;
    }
}

static void say_synced(struct o_gate *g, struct o_link *l) {
    if (!l->greeted || l->synced == g->slots->version) return;
    if (!wires_are_settled(g) && !g->w->off[OFF_SETTLED]) return;
    for (const struct o_pin *pin = g->pins; pin; pin = pin->next) tell_pin(l, pin);
    say_plain(l, true, NOTE_SYNCED, g->slots->version);
    l->synced = g->slots->version;
}

static void look(struct o_gate *g) {
    bool unsynced = !g->w->off[OFF_SYNCED] && !holders_are_known(&g->holders, g->slots, g->name, g->gained);
    if (unsynced == g->unsynced) return;
    g->unsynced = unsynced;
    for (unsigned i = 0; i < g->w->lane_count; i++) {
        if (unsynced) lane_buried(&g->lanes.lane[i], LANE_P);
        else lane_primary_gone(&g->lanes.lane[i]);
    }
}

/* ---- what is read ---- */

static void on_pin(struct o_gate *g, struct o_link *l, struct o_note *note) {
    struct resp_request r = {0};
    struct why why;
    size_t used = 0;
    enum step step = resp_request_next(&r, &resp_request_limits_open, buf_slice(&note->words), &used, &why);
    ASSERT(step == STEP_DONE);
    bool fine = holder_pin(&g->holders, holders_get(&g->holders, slice_text(g->w->gates[l->from].name)), note->id, r.argc, r.argv);
    ASSERT(fine);
    resp_request_close(&r);
    say_plain(l, false, NOTE_PINNED, note->id);
}

/* An earlier connection of the same gate is hung up on. */
static bool on_hello(struct o_gate *g, struct o_link *l) {
    const struct o_world *w = g->w;
    if (!g->slots || !is_in(g->slots, w->gates[l->from].name)) return false; /* it is not ours yet: it dials again */
    for (struct o_link *old = w->links; old; old = old->next) {
        if (old == l || old->from != l->from || old->to != l->to || !old->to_open || !old->visits) continue;
        old->to_open = old->visits = false;
        old->broken = true;
        notes_free(&old->there);
    }
    l->visits = true;
    holder_connected(holders_get(&g->holders, slice_text(w->gates[l->from].name)), NULL);
    say_plain(l, false, NOTE_OK, 0);
    look(g);
    return true;
}

static void hang_up_on(struct o_link *l) {
    l->to_open = l->visits = false;
    l->broken = true;
    notes_free(&l->there);
}

static void read_there(struct o_gate *g, struct o_link *l, struct o_note *note) {
    struct holder *holder;
    if (note->kind == NOTE_HELLO) {
        if (!on_hello(g, l)) hang_up_on(l);
        return;
    }
    if (note->kind == NOTE_DO) {
        on_do(g, l, note);
        return;
    }
    if (note->kind == NOTE_CARRY) {
        carry_read(g, l->from, note->parcel);
        note->parcel = NULL;
        say_plain(l, false, NOTE_CARRIED, note->id);
        return;
    }
    if (note->kind == NOTE_PIN) {
        on_pin(g, l, note);
        return;
    }
    holder = holders_get(&g->holders, slice_text(g->w->gates[l->from].name));
    if (note->kind == NOTE_UNPIN) holder_unpin(&g->holders, holder, note->id);
    if (note->kind == NOTE_SYNCED) holder_synced(&g->holders, holder, note->version), look(g);
}

static void read_back(struct o_gate *g, struct o_link *l, const struct o_note *note) {
    if (note->kind == NOTE_CARRIED && note->id == g->move.number) g->move.unread[l->to] = false;
    if (note->kind == NOTE_PINNED) on_pinned(g, l->to, note->id);
    if (note->kind == NOTE_ANSWER || note->kind == NOTE_LOST) on_answer(g, l->to, note);
    if (note->kind != NOTE_OK) return;
    l->greeted = true;
    for (const struct o_pin *pin = g->pins; pin; pin = pin->next) tell_pin(l, pin);
    for (struct o_ask *ask = g->forwarded[l->to].head; ask; ask = ask->next) tell_ask(l, ask);
    say_synced(g, l);
}

static void from_noticed(struct o_world *w, struct o_link *l) {
    struct o_gate *g = &w->gates[l->from];
    l->from_open = l->greeted = false;
    l->broken = true;
    notes_free(&l->back);
    lose_asks(g, l->to, false);
}

/* One thing is read at one end of L; or the end is noticed. */
static bool step_link(struct o_world *w, struct o_link *l, bool there) {
    struct o_gate *g = &w->gates[there ? l->to : l->from];
    if (!gate_runs(g) || !(there ? l->to_open : l->from_open)) return false;
    struct o_note *note = notes_pop(there ? &l->there : &l->back);
    if (!note && !l->broken) return false;
    if (note && there) read_there(g, l, note);
    else if (note) read_back(g, l, note);
    else if (there) hang_up_on(l);
    else from_noticed(w, l);
    if (note) note_free(note);
    gate_pump(g);
    return true;
}

bool owners_link(struct o_world *w, unsigned which) {
    unsigned count = 0;
    for (struct o_link *l = w->links; l; l = l->next) count += 2;
    for (unsigned tries = 0; tries < count; tries++) {
        unsigned at = (which + tries) % count;
        struct o_link *l = w->links;
        for (unsigned i = 0; i < at / 2; i++) l = l->next;
        if (step_link(w, l, at % 2)) return true;
    }
    return false;
}

void owners_break_link(struct o_world *w, unsigned which) {
    unsigned count = 0;
    for (struct o_link *l = w->links; l; l = l->next) count++;
    if (count == 0) return;
    struct o_link *l = w->links;
    for (unsigned i = 0; i < which % count; i++) l = l->next;
    l->broken = true;
    OTALK("the link from gate %u to gate %u breaks\n", l->from, l->to);
    /* What was on its way the last is lost. */
    if (which & 64) notes_free(&l->there);
    if (which & 128) notes_free(&l->back);
}

/* ---- dialling ---- */

static bool is_named(const struct o_world *w, const struct o_link *l) {
    for (unsigned i = 0; i < w->gate_count; i++)
        for (unsigned k = 0; k <= OWNERS_LANES + OWNERS_GATES + 1; k++) {
            const struct o_gate *g = &w->gates[i];
            const struct o_asks *asks = k < OWNERS_LANES ? &g->parked[k] : k < OWNERS_LANES + OWNERS_GATES ? &g->forwarded[k - OWNERS_LANES]
                                        : k == OWNERS_LANES + OWNERS_GATES ? &g->early : &g->under_way;
            for (const struct o_ask *ask = asks->head; ask; ask = ask->next)
                if (ask->link == l) return true;
            for (const struct o_pin *pin = g->pins; pin; pin = pin->next)
                if (pin->ask && pin->ask->link == l) return true;
        }
    return false;
}

static void sweep(struct o_world *w) {
    for (struct o_link **at = &w->links; *at;) {
        struct o_link *l = *at;
        if (l->from_open || l->to_open || is_named(w, l)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        notes_free(&l->there);
        notes_free(&l->back);
        mem_free(l);
    }
}

static void dial(struct o_gate *g, unsigned to) {
    struct o_world *w = g->w;
    if (!w->gates[to].alive) return; /* refused */
    struct o_link *l = NEW(struct o_link);
    *l = (struct o_link){.next = w->links, .from = g->number, .to = to, .from_open = true, .to_open = true};
    w->links = l;
    say_plain(l, true, NOTE_HELLO, 0);
}

void links_turn(struct o_gate *g) {
    sweep(g->w);
    if (!g->slots) return;
    for (unsigned i = 0; i < g->slots->count; i++) {
        unsigned to = gate_named(g->w, g->slots->gateway[i].name);
        if (to == g->number) continue;
        struct o_link *l = out_of(g, to);
        if (l) say_synced(g, l);
        else dial(g, to);
    }
}

/* ---- the table ---- */

void links_on_table(struct o_gate *g, bool gained) {
    struct o_world *w = g->w;
    if (gained) g->gained = g->slots->version;
    for (unsigned i = 0; i < w->gate_count; i++) {
        if (i == g->number || is_in(g->slots, w->gates[i].name)) continue;
        struct holder *gone = holders_get(&g->holders, slice_text(w->gates[i].name));
        for (struct o_link *l = w->links; l; l = l->next) {
            if (l->from == i && l->to == g->number && l->to_open) hang_up_on(l);
            if (l->from == g->number && l->to == i && l->from_open) l->from_open = false, l->broken = true, notes_free(&l->back);
        }
        holder_gone(&g->holders, gone);
        lose_asks(g, i, true);
        for (struct o_pin *pin = g->pins; pin; pin = pin->next) pin->acked[i] = false;
    }
    for (unsigned to = 0; to < w->gate_count; to++)
        for (struct o_ask *next, *ask = g->forwarded[to].head; ask; ask = next) {
            next = ask->next;
            if (ask->told) continue; /* what waits for a gate that has lost the slot must not overtake anything */
            asks_remove(&g->forwarded[to], ask);
            gate_give_back(g, ask, true);
        }
    for (struct o_link *l = w->links; l; l = l->next)
        if (l->from == g->number && l->from_open) say_synced(g, l);
    look_at_pins(g);
    look(g);
}

void links_die(struct o_gate *g) {
    for (struct o_link *l = g->w->links; l; l = l->next) {
        if (l->from == g->number && l->from_open) l->from_open = false, l->broken = true, notes_free(&l->back);
        if (l->to == g->number && l->to_open) hang_up_on(l);
    }
}

void links_close(struct o_world *w) {
    for (struct o_link *next, *l = w->links; l; l = next) {
        next = l->next;
        notes_free(&l->there);
        notes_free(&l->back);
        mem_free(l);
    }
    w->links = NULL;
}
