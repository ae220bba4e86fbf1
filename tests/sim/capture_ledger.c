/* capture_ledger.c -- what the simulated state of capture_world.h tells the others, and hears from them.
 * The real ones are state/core_members.c, core_lanes.c and core_slots.c. */
#include "tests/sim/capture_state.h"

#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define EVEN_AFTER_MS 20
#define SLOTS_HOLD_MS 300

int c_gate_called(const char *name) { return name[1] - '0'; }

/* ---- telling ---- */

/* Now and then something comes twice, as after a state that was started again. */
void c_tell(struct c_world *w, int who, struct c_item item) {
    if (!w->joined[who]) return;
    bool fits = c_push(&w->down[who], item);
    if (fits && c_pick(w, 24) == 0) fits = c_push(&w->down[who], item);
    if (!fits) c_state_lose(w, who);
}

static void tell_all(struct c_world *w, struct c_item item) {
    for (int g = 0; g < w->gate_count; g++) c_tell(w, g, item);
}

static void lanes_duty(struct c_world *w, int g) {
    struct c_state *s = w->state;
    enum phase phase = s->now.workflow.phase;
    bool open = phase >= PHASE_COPYING && phase <= PHASE_ROLLING_BACK;
    if (!c_has_lanes(s)) return;
    c_tell(w, g, (struct c_item){.kind = open ? W_OPEN : W_CLOSE, .number = s->now.workflow.epoch, .capture = -1});
}

static void release_slots(struct c_world *w, int g) {
    const struct c_state *s = w->state;
    c_tell(w, g, (struct c_item){.kind = W_RELEASE, .barrier = C_SLOTS_HOLD, .number = s->now.workflow.epoch,
                                 .side = (int)s->now.workflow.primary, .capture = -1});
}

/* core_route() */
void c_route(struct c_world *w, int g) {
    const struct c_state *s = w->state;
    struct c_item item = {.kind = W_RELEASE, .barrier = s->now.last.id, .number = s->now.workflow.epoch,
                          .side = (int)s->now.workflow.primary, .capture = -1};
    if (barrier_recaptures(&s->now.last) && w->on[C_LIVE_CAPTURE]) item.capture = (int)s->now.capture;
    if (s->now.last.outcome != BARRIER_NONE) c_tell(w, g, item);
    if (s->move.state == 0) release_slots(w, g);
    item.kind = W_ROUTE;
    item.capture = (int)s->now.capture;
    c_tell(w, g, item);
    if (!barrier_is_open(&s->barrier)) lanes_duty(w, g);
}

enum capture c_capture_of(const struct c_world *w, enum side side) {
    const struct c_state *s = w->state;
    return recapture_of(side, &s->now.workflow, s->now.capture, s->now.home, (enum capture)w->guard, true);
}

static void tell_duty(struct c_world *w, const struct duty *duty) {
    struct c_item item = {.key = (int)duty->link, .barrier = duty->place.offset, .number = duty->epoch};
    switch (duty->kind) {
    case DUTY_OPEN_COPY: item.kind = W_LINK_COPY; break;
    case DUTY_OPEN_STANDBY: item.kind = W_LINK_OPEN; break;
    case DUTY_UNDRAIN: item.kind = W_LINK_UNDRAIN; break;
    case DUTY_ACTIVATE: item.kind = W_LINK_ACTIVATE; break;
    case DUTY_CLOSE: item.kind = W_LINK_CLOSE; break;
    default: UNREACHABLE("not a duty");
    }
    item.op = duty->kind == DUTY_ACTIVATE ? (int)duty->epoch : 0;
    if (duty->kind == DUTY_UNDRAIN && !w->on[C_UNDRAINED]) return;
    if (duty->kind == DUTY_CLOSE && !w->on[C_LINK_ENDS]) item.kind = W_LINK_UNDRAIN;
    c_tell(w, C_SYNCER, item);
}

/* core_carry_out_duties() */
void c_duties(struct c_world *w) {
    struct c_state *s = w->state;
    struct duty duties[DUTIES_MAX];
    if (!s->alive || barrier_is_open(&s->barrier)) return;
    for (int g = 0; g < w->gate_count; g++) lanes_duty(w, g);
    struct workflow_capture capture = {.now = s->now.capture,
                                       .other = c_capture_of(w, side_other(s->now.workflow.primary)),
                                       .attach = s->recapture.wanted == CAPTURE_STREAM};
    size_t count = workflow_duties(&s->now.workflow, &capture, &s->now.last, &s->now.committed, duties);
    for (size_t i = 0; i < count; i++) tell_duty(w, &duties[i]);
}

/* ---- slots: core_slots.c ---- */

static struct slot_table *keep(struct c_world *w, const struct slot_table *table) {
    ASSERT(w->table_count < C_TABLES);
    return w->table[w->table_count++] = mem_dup(table, sizeof *table);
}

void c_end_move(struct c_world *w, bool done) {
    struct c_state *s = w->state;
    if (s->move.state == 0 || (s->move.state == 3 && !done)) return;
    s->move.state = 0;
    s->move.not_before_ms = c_now_ms(w) + EVEN_AFTER_MS;
    s->admitting--;
    for (int g = 0; g < w->gate_count; g++) release_slots(w, g);
}

void c_publish(struct c_world *w) {
    struct c_state *s = w->state;
    if (s->slots_writing || w->table_count >= C_TABLES - 8) return;
    s->slots_writing = true;
    c_state_wait(w, (struct c_pending){.ask = ASK_SLOTS, .table = keep(w, &s->slots.table)});
}

void c_slots_written(struct c_world *w, struct slot_table *table) {
    struct c_state *s = w->state;
    s->slots_writing = false;
    s->published = table;
    tell_all(w, (struct c_item){.kind = W_SLOTS, .table = table});
    c_end_move(w, true);
    if (s->slots.table.version > table->version) c_publish(w);
}

static void lanes_reported(struct c_world *w, int g, const struct c_item *item) {
    struct c_state *s = w->state;
    struct why why = {""};
    const char name[] = {'g', (char)('0' + g), '\0'};
    s->level[g] = item->flag;
    s->heard[g] = true;
    if (item->number > s->slots.table.version || w->table_count >= C_TABLES - 8) return;
    switch (slots_joined(&s->slots, name, "peer", &why)) {
    case SLOTS_CHANGED:
        c_end_move(w, false);
        c_publish(w);
        break;
    case SLOTS_REFUSED: break;
    case SLOTS_SAME:
    default:
        if (!s->slots_writing && s->published && item->number != s->published->version)
            c_tell(w, g, (struct c_item){.kind = W_SLOTS, .table = s->published});
    }
}

/* Everybody who has a seat is here, and nobody else. */
bool c_all_here(const struct c_world *w) {
    const struct c_state *s = w->state;
    unsigned members = 0;
    for (unsigned i = 0; i < s->slots.table.count; i++)
        if (!s->slots.seat[i].here || s->slots.seat[i].fencing) return false;
    for (int g = 0; g < w->gate_count; g++) members += w->joined[g];
    return members == s->slots.table.count;
}

static void consider_even(struct c_world *w) {
    struct c_state *s = w->state;
    bool busy = s->admitting || s->pending_count || s->slots_writing || barrier_is_open(&s->barrier) || w->table_count >= C_TABLES - 8;
    if (busy || c_now_ms(w) < s->move.not_before_ms || !c_all_here(w)) return;
    if (slots_even(&s->slots, &s->move.table) != SLOTS_CHANGED) {
        s->move.not_before_ms = c_now_ms(w) + EVEN_AFTER_MS;
        return;
    }
    s->move.state = 1;
    s->move.until_ms = c_now_ms(w) + SLOTS_HOLD_MS;
    s->move.confirmed = 0;
    s->admitting++;
    c_trace(w, "state: slots are to be handed over");
    tell_all(w, (struct c_item){.kind = W_HOLD, .barrier = C_SLOTS_HOLD, .number = s->now.workflow.epoch});
}

static void slots_report(struct c_world *w, int g, bool held) {
    struct c_state *s = w->state;
    const char name[] = {'g', (char)('0' + g), '\0'};
    bool due = held ? s->move.state == 1 : s->move.state == 2;
    unsigned at = slot_table_find(&s->slots.table, slice_text(name));
    if (!due || at == s->slots.table.count) return;
    s->move.confirmed |= 1u << at;
    if (s->move.confirmed != (1u << s->slots.table.count) - 1) return;
    s->move.confirmed = 0;
    s->move.state = held ? 2 : 3;
    if (held) {
        tell_all(w, (struct c_item){.kind = W_REST, .barrier = C_SLOTS_HOLD});
        return;
    }
    slots_take(&s->slots, &s->move.table);
    c_publish(w);
}

void c_slots_tick(struct c_world *w) {
    struct c_state *s = w->state;
    if (!c_has_lanes(s)) return;
    const char *name = slots_to_fence(&s->slots, c_now_ms(w));
    if (name) {
        c_end_move(w, false);
        c_state_wait(w, (struct c_pending){.ask = ASK_SLOTS_FENCE, .gate = c_gate_called(name)});
    }
    bool waits = s->move.state == 1 || s->move.state == 2;
    if (waits && c_now_ms(w) > s->move.until_ms) c_end_move(w, false);
    if (s->move.state == 0) consider_even(w);
}

/* ---- hearing ---- */

static void drained(struct c_world *w, int g, int64_t barrier) {
    struct c_state *s = w->state;
    s->drained[g] = barrier;
    for (int i = 0; i < w->gate_count; i++)
        if (w->joined[i] && s->drained[i] != barrier) return;
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_DRAINED});
}

static void gate_report(struct c_world *w, int g, const struct c_item *item) {
    struct c_state *s = w->state;
    const char name[] = {'g', (char)('0' + g), '\0'};
    struct barrier_event event = {.gateway = name};
    bool ours = item->barrier == s->barrier.row.id;
    switch (item->kind) {
    case W_LANES: lanes_reported(w, g, item); return;
    case W_RESTED: slots_report(w, g, false); return;
    case W_FAILED: event.kind = BARRIER_EV_FAILED; break;
    case W_RELEASED: event.kind = BARRIER_EV_RELEASED; break;
    case W_DRAINED:
        if (ours) drained(w, g, item->barrier);
        return;
    case W_PREPARED:
        if (!ours) return;
        event.kind = BARRIER_EV_PREPARED;
        break;
    case W_HELD:
        if (item->barrier == C_SLOTS_HOLD) slots_report(w, g, true);
        if (!ours) return;
        event.kind = BARRIER_EV_HELD;
        break;
    default: UNREACHABLE("not a gateway's report");
    }
    c_state_event(w, event);
}

void c_state_hears(struct c_world *w, int who) {
    struct c_state *s = w->state;
    if (!s->alive || !w->joined[who] || c_count(&w->up[who]) == 0) return;
    struct c_item item = c_pop(&w->up[who]);
    if (who != C_SYNCER) {
        gate_report(w, who, &item);
        return;
    }
    struct barrier_event event = {.kind = BARRIER_EV_FAILED};
    if (item.kind == W_LINK_DRAINED) {
        if (item.barrier != s->barrier.row.id) return;
        event.kind = BARRIER_EV_DRAINED;
        event.count = (int64_t)item.number;
    } else if (item.kind == W_LINK_ACTIVE) {
        if (s->barrier.row.to != link_source((enum link_id)item.key)) return;
        event.kind = BARRIER_EV_ACTIVE;
    }
    c_state_event(w, event);
}

/* ---- how things stand ---- */

bool c_follows(const struct c_world *w) {
    const struct c_state *s = w->state;
    int active = (int)link_from(s->now.workflow.primary);
    if (!c_has_lanes(s)) return c_link_follows(w, active);
    int members = 0;
    for (int g = 0; g < w->gate_count; g++) {
        if (!w->joined[g]) continue;
        members++;
        if (!s->heard[g] || !s->level[g]) return false;
    }
    return members > 0 && s->published && c_all_here(w);
}
