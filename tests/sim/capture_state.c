/* capture_state.c -- the simulated state of capture_world.h: its barriers, its ledger, who comes and
 * goes, and what an operator asks. The real ones are state/core_barrier.c, core_recapture.c, core.c. */
#include "tests/sim/capture_state.h"

#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ATTACH_MS 60

struct c_state *c_state_new(struct c_world *w) {
    struct c_state *s = NEW(struct c_state);
    enum capture first = (enum capture)w->first;
    s->alive = true;
    s->disk.workflow = (struct workflow){.phase = first == CAPTURE_LANE ? PHASE_COPYING : PHASE_LEVEL, .primary = SIDE_LEGACY, .epoch = 1};
    s->disk.capture = s->disk.home = first;
    s->disk.late = CAPTURE_AUTO;
    s->now = s->disk;
    s->recapture.wanted = CAPTURE_AUTO;
    barrier_init(&s->barrier);
    slots_init(&s->slots, NULL, 0);
    return s;
}

/* ---- what is waited for ---- */

void c_state_wait(struct c_world *w, struct c_pending pending) {
    struct c_state *s = w->state;
    ASSERT(s->pending_count < C_PENDING);
    pending.run = s->run;
    s->pending[s->pending_count++] = pending;
}

static bool is_stored(const struct c_pending *p) { return p->ask == ASK_RECORD || p->ask == ASK_SLOTS; }

/* The ledger writes in order; sides answer when they like. */
static struct c_pending take_pending(struct c_world *w) {
    struct c_state *s = w->state;
    int at = c_pick(w, s->pending_count);
    if (is_stored(&s->pending[at]))
        for (at = 0; !is_stored(&s->pending[at]);) at++;
    struct c_pending p = s->pending[at];
    memmove(&s->pending[at], &s->pending[at + 1], (size_t)(--s->pending_count - at) * sizeof p);
    return p;
}

static bool is_moving(const struct c_state *s) {
    for (int i = 0; i < s->pending_count; i++)
        if (s->pending[i].ask == ASK_RECORD) return true;
    return false;
}

/* ---- records ---- */

/* What was confirmed before the barrier has been carried over by the capture before, once. */
static void check_commit(struct c_world *w, const struct barrier_row *row) {
    bool level = true; /* but for what the link could not make clean, where lanes copy everything anew */
    int link = (int)link_from(row->from);
    for (int k = 0; k < C_KEYS; k++)
        if (w->side[0].data[k] != w->side[1].data[k] && !(recapture_begins_lanes(row) && c_link_dirty(w, link, k))) level = false;
    if (!level) c_fail(w, "the sides differ at the commit of epoch %" PRIu64, row->epoch_after);
    for (int i = 0; i < w->op_count; i++) {
        const struct c_op *op = &w->op[i];
        if (op->executed && op->capture == (int)CAPTURE_STREAM && op->by_link != 1)
            c_fail(w, "%d was written with stream, and no link has carried it at the commit of epoch %" PRIu64, i, row->epoch_after);
    }
}

static void commit_capture(struct c_world *w, const struct barrier_row *row) {
    struct c_ledger *disk = &w->state->disk;
    if (!barrier_recaptures(row)) return;
    disk->home = recapture_home(disk->home, row);
    if (w->on[C_ONE_RECORD]) disk->capture = row->capture_after;
    else disk->late = row->capture_after;
    if (!recapture_begins_lanes(row)) return;
    uint64_t version = disk->slots.version; /* core_slots_cleared() */
    if (w->state->slots.table.version > version) version = w->state->slots.table.version;
    slot_table_init(&disk->slots);
    disk->slots.version = version + 1;
}

/* It reaches the disk. Whether state lives to hear of it is another matter. */
static void write_record(struct c_world *w, enum barrier_do what) {
    struct c_ledger *disk = &w->state->disk;
    struct barrier_row row = w->state->barrier.row;
    enum phase to = disk->workflow.phase;
    if (what == BARRIER_DO_RECORD_BEGIN) {
        row.id = ++disk->ids;
        row.outcome = BARRIER_OPEN;
        if (row.from != row.to) to = row.to == SIDE_TARGET ? PHASE_CUTTING_OVER : PHASE_ROLLING_BACK;
    } else if (what == BARRIER_DO_RECORD_COMMIT) {
        to = recapture_phase(&disk->workflow, &row, true);
        row.outcome = BARRIER_COMMITTED;
        check_commit(w, &row);
        commit_capture(w, &row);
        w->commits[!barrier_recaptures(&row) ? 2 : row.capture_after == CAPTURE_LANE]++;
    } else if (what == BARRIER_DO_RECORD_ABORT) {
        to = recapture_phase(&disk->workflow, &row, false);
        row.outcome = BARRIER_ABORTED;
        w->aborts++;
    } else {
        row.outcome = BARRIER_COMPLETED;
        if (disk->late != CAPTURE_AUTO) disk->capture = disk->late;
        disk->late = CAPTURE_AUTO;
    }
    bool committed = row.outcome == BARRIER_COMMITTED;
    workflow_move(&disk->workflow, to, committed ? row.to : disk->workflow.primary,
                  committed ? row.epoch_after : disk->workflow.epoch);
    disk->last = row;
    if (row.epoch_after) disk->committed = row;
}

/* take_over() of core_barrier.c */
static void hear_record(struct c_world *w, enum barrier_do what) {
    struct c_state *s = w->state;
    struct slot_table before = s->now.slots;
    s->now = s->disk;
    if (s->disk.late != CAPTURE_AUTO) s->now.capture = s->disk.late;
    s->barrier.row.id = s->now.last.id;
    s->now.slots = before;
    if (what == BARRIER_DO_RECORD_COMMIT && barrier_recaptures(&s->now.last)) {
        memset(s->heard, 0, sizeof s->heard);
        if (c_has_lanes(s)) {
            slots_init(&s->slots, &s->disk.slots, c_now_ms(w));
            ASSERT(w->table_count < C_TABLES);
            s->published = w->table[w->table_count++] = mem_dup(&s->disk.slots, sizeof s->disk.slots);
        }
    }
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_RECORDED});
}

/* ---- carrying out ---- */

static void post(struct c_world *w, const struct barrier_action *a, enum c_word word) {
    struct c_state *s = w->state;
    int g = c_gate_called(s->barrier.gateways[a->gateway].name);
    struct c_item item = {.kind = (int)word, .barrier = s->barrier.row.id, .number = a->epoch, .side = (int)a->primary,
                          .capture = -1, .flag = word == W_RELEASE};
    if (barrier_recaptures(&s->barrier.row)) item.capture = (int)s->now.capture;
    c_tell(w, g, item);
}

static void tell_link(struct c_world *w, const struct barrier_action *a) {
    struct c_state *s = w->state;
    const struct barrier_row *row = &s->barrier.row;
    struct c_item item = {.key = (int)link_from(row->from), .barrier = row->id, .flag = true};
    if (a->kind == BARRIER_DO_COMPARE || (c_has_lanes(s) && a->kind == BARRIER_DO_ACTIVATE)) {
        c_state_wait(w, (struct c_pending){.ask = ASK_SIDE, .what = a->kind});
    } else if (c_has_lanes(s) && a->kind == BARRIER_DO_DRAIN) {
        for (int g = 0; g < w->gate_count; g++)
            c_tell(w, g, (struct c_item){.kind = W_DRAIN, .barrier = row->id, .number = row->epoch_before});
    } else if (c_has_lanes(s)) {
        return;
    } else if (!w->joined[C_SYNCER]) {
        if (a->kind != BARRIER_DO_UNDRAIN) c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_LINK_LOST});
    } else if (a->kind == BARRIER_DO_DRAIN) {
        item.kind = W_LINK_DRAIN;
        item.op = (int)row->epoch_before;
        item.number = (uint64_t)row->x.offset;
        c_tell(w, C_SYNCER, item);
    } else if (a->kind == BARRIER_DO_UNDRAIN) {
        item.kind = W_LINK_UNDRAIN;
        if (w->on[C_UNDRAINED]) c_tell(w, C_SYNCER, item);
    } else {
        item = (struct c_item){.kind = W_LINK_ACTIVATE, .key = (int)link_from(row->to), .op = (int)row->epoch_after,
                               .number = row->epoch_after, .barrier = row->b.offset, .flag = true};
        c_tell(w, C_SYNCER, item);
    }
}

static void finished(struct c_world *w) {
    struct c_state *s = w->state;
    s->run++;
    c_trace(w, "state: barrier %" PRId64 " is %s: %s", s->barrier.row.id, barrier_outcome_name(s->barrier.row.outcome), s->barrier.row.why);
    s->recapture.wanted = CAPTURE_AUTO;
    for (int g = 0; g < w->gate_count; g++)
        if (w->joined[g]) c_route(w, g);
    c_duties(w);
}

static void carry_out(struct c_world *w, const struct barrier_todo *todo) {
    for (size_t i = 0; i < todo->count; i++) {
        const struct barrier_action *a = &todo->actions[i];
        switch (a->kind) {
        case BARRIER_DO_PREPARE: post(w, a, W_PREPARE); break;
        case BARRIER_DO_HOLD: post(w, a, W_HOLD); break;
        case BARRIER_DO_RELEASE: post(w, a, W_RELEASE); break;
        case BARRIER_DO_FINISHED: finished(w); break;
        case BARRIER_DO_DRAIN:
        case BARRIER_DO_UNDRAIN:
        case BARRIER_DO_COMPARE:
        case BARRIER_DO_ACTIVATE: tell_link(w, a); break;
        case BARRIER_DO_RECORD_BEGIN:
        case BARRIER_DO_RECORD_COMMIT:
        case BARRIER_DO_RECORD_ABORT:
        case BARRIER_DO_RECORD_END: c_state_wait(w, (struct c_pending){.ask = ASK_RECORD, .what = a->kind}); break;
        case BARRIER_DO_FENCE:
        case BARRIER_DO_READ_PLACE:
        case BARRIER_DO_SYNC:
        case BARRIER_DO_OPEN_PRIMARY:
            c_state_wait(w, (struct c_pending){.ask = ASK_SIDE, .what = a->kind, .side = a->side});
            break;
        }
    }
}

void c_state_event(struct c_world *w, struct barrier_event event) {
    struct c_state *s = w->state;
    struct barrier_todo todo;
    if (!s->alive || !barrier_is_open(&s->barrier)) return;
    unsigned before = s->barrier.sm.state;
    event.now_us = w->now_us;
    barrier_step(&s->barrier, &event, &todo);
    if (s->barrier.sm.state != before)
        c_trace(w, "state: %s", barrier_step_name((enum barrier_step)s->barrier.sm.state));
    carry_out(w, &todo);
}

/* ---- something ends ---- */

static void fence(struct c_world *w) {
    struct c_state *s = w->state;
    int64_t killed = 0;
    for (int i = 0; i < w->conn_count; i++) {
        struct c_conn *conn = &w->conn[i];
        const char name[] = {'g', (char)('0' + conn->gate), '\0'};
        if (!w->on[C_FENCED] || conn->side != (int)s->barrier.row.from || barrier_is_held(&s->barrier, name, 2)) continue;
        killed += !conn->dead;
        c_kill(conn);
    }
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_FENCED, .count = killed});
}

static void kill_all_of(struct c_world *w, int g, int side) {
    for (int i = 0; i < w->conn_count; i++)
        if (w->conn[i].gate == g && (side < 0 || w->conn[i].side == side)) c_kill(&w->conn[i]);
}

static void admit(struct c_world *w, int g) {
    struct c_state *s = w->state;
    const char name[] = {'g', (char)('0' + g), '\0'};
    bool open = barrier_is_open(&s->barrier);
    if (c_has_lanes(s) && s->published && w->on[C_TABLE_FIRST]) /* core_slots_joined() */
        c_tell(w, g, (struct c_item){.kind = W_SLOTS, .table = s->published});
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED, .gateway = name});
    if (!open || s->barrier.sm.state <= BARRIER_PREPARING) c_route(w, g);
}

static void side_answers(struct c_world *w, const struct c_pending *p) {
    struct c_state *s = w->state;
    struct barrier_event event = {.kind = BARRIER_EV_PLACE};
    switch ((int)p->what) {
    case BARRIER_DO_FENCE: fence(w); return;
    case BARRIER_DO_READ_PLACE: event.place.offset = w->side[p->side].end; break;
    case BARRIER_DO_SYNC: event.kind = BARRIER_EV_SYNCED; break;
    case BARRIER_DO_OPEN_PRIMARY: event.kind = BARRIER_EV_OPENED; break;
    case BARRIER_DO_COMPARE:
        event.kind = BARRIER_EV_COMPARED;
        event.count = C_KEYS;
        break;
    case BARRIER_DO_ACTIVATE: event.kind = BARRIER_EV_ACTIVE; break;
    default: UNREACHABLE("not a question to a side");
    }
    (void)s;
    c_state_event(w, event);
}

void c_state_step(struct c_world *w) {
    struct c_state *s = w->state;
    if (!s->alive || s->pending_count == 0) return;
    struct c_pending p = take_pending(w);
    const char name[] = {'g', (char)('0' + p.gate), '\0'};
    switch (p.ask) {
    case ASK_RECORD:
        write_record(w, p.what);
        hear_record(w, p.what);
        break;
    case ASK_SLOTS:
        s->disk.slots = *p.table;
        c_slots_written(w, p.table);
        break;
    case ASK_SIDE:
        if (p.run == s->run) side_answers(w, &p);
        break;
    case ASK_PREDECESSOR:
        kill_all_of(w, p.gate, (int)s->now.workflow.primary);
        s->admitting--;
        if (w->joined[p.gate] && s->now.process[p.gate] == p.process) admit(w, p.gate);
        break;
    case ASK_SLOTS_FENCE:
    default:
        kill_all_of(w, p.gate, -1);
        if (slots_gone(&s->slots, name) == SLOTS_CHANGED) c_publish(w);
        break;
    }
}

/* ---- who comes and goes ---- */

void c_state_join(struct c_world *w, int who) {
    struct c_state *s = w->state;
    if (!s->alive || w->joined[who] || w->cut[who]) return;
    w->joined[who] = true;
    c_clear(&w->down[who]);
    c_clear(&w->up[who]);
    if (who == C_SYNCER) {
        c_duties(w);
        c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_LINK_JOINED});
        return;
    }
    int process = c_gate_process(w, who) + 1;
    bool another = s->now.process[who] != 0 && s->now.process[who] != process;
    if (c_gate_epoch(w, who) > s->now.workflow.epoch) c_fail(w, "g%d knows an epoch that the ledger does not", who);
    c_trace(w, "g%d joins", who);
    c_gate_joined(w, who, (int)s->now.capture);
    s->heard[who] = false;
    s->drained[who] = 0;
    s->now.process[who] = s->disk.process[who] = process;
    if (another) {
        s->admitting++;
        c_state_wait(w, (struct c_pending){.ask = ASK_PREDECESSOR, .gate = who, .process = process});
    } else {
        admit(w, who);
    }
}

void c_state_lose(struct c_world *w, int who) {
    struct c_state *s = w->state;
    const char name[] = {'g', (char)('0' + who), '\0'};
    if (!w->joined[who]) return;
    c_trace(w, "state loses %s", who == C_SYNCER ? "the syncer" : name);
    w->joined[who] = false;
    c_clear(&w->down[who]);
    c_clear(&w->up[who]);
    if (!s->alive) return;
    if (who == C_SYNCER) {
        c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_LINK_LOST});
        return;
    }
    s->heard[who] = false;
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_GATEWAY_LOST, .gateway = name});
    slots_lost(&s->slots, name, c_now_ms(w));
    c_end_move(w, false);
    if (c_has_lanes(s)) c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_LINK_LOST, .why = "a gateway went away"});
}

void c_state_crash(struct c_world *w) {
    struct c_state *s = w->state;
    if (!s->alive) return;
    c_trace(w, "state dies at %s", barrier_step_name((enum barrier_step)s->barrier.sm.state));
    s->alive = false;
    for (int i = 0; i < s->pending_count; i++) { /* a record on its way may have arrived */
        if (!is_stored(&s->pending[i])) continue;
        if (c_pick(w, 2)) break;
        if (s->pending[i].ask == ASK_RECORD) write_record(w, s->pending[i].what);
        else s->disk.slots = *s->pending[i].table;
    }
    for (int i = 0; i <= C_GATES; i++) {
        w->joined[i] = false;
        c_clear(&w->down[i]);
        c_clear(&w->up[i]);
    }
}

void c_state_start(struct c_world *w) {
    struct c_state *s = w->state;
    struct c_ledger disk = s->disk;
    struct barrier_todo todo;
    if (s->alive) return;
    *s = (struct c_state){.disk = disk, .now = disk, .alive = true, .recapture = {.wanted = CAPTURE_AUTO}};
    if (s->disk.late != CAPTURE_AUTO) s->disk.late = CAPTURE_AUTO; /* the second record never came */
    bool known = disk.slots.version > 0;
    slots_init(&s->slots, known ? &disk.slots : NULL, c_now_ms(w));
    if (known && w->table_count < C_TABLES - 4) s->published = w->table[w->table_count++] = mem_dup(&disk.slots, sizeof disk.slots);
    barrier_init(&s->barrier);
    w->recoveries++;
    c_trace(w, "state starts; its ledger says %s", barrier_outcome_name(disk.last.outcome));
    if (disk.last.outcome != BARRIER_OPEN && disk.last.outcome != BARRIER_COMMITTED) return;
    barrier_recover(&s->barrier, &disk.last, w->now_us, &todo);
    carry_out(w, &todo);
}

/* C25: DRAWBRIDGE EPOCH */
bool c_state_admits(const struct c_world *w, int g, uint64_t epoch, int side, uint64_t version) {
    const struct c_state *s = w->state;
    const char name[] = {'g', (char)('0' + g), '\0'};
    if (!s->alive || w->cut[g]) return false;
    if (barrier_is_open(&s->barrier) && !barrier_admits(&s->barrier)) return false;
    if (c_has_lanes(s) && s->slots.table.count > 0 && !slots_admit(&s->slots, slice_text(name), version)) return false;
    return epoch == s->now.workflow.epoch && side == (int)s->now.workflow.primary;
}

/* ---- phases ---- */

static void move_to(struct c_state *s, enum workflow_event event) {
    enum phase to;
    struct why why;
    if (workflow_decide(&s->now.workflow, event, &to, &why) != WORKFLOW_MOVE) return;
    workflow_move(&s->disk.workflow, to, s->disk.workflow.primary, s->disk.workflow.epoch);
    s->now.workflow = s->disk.workflow;
}

static void evaluate(struct c_world *w) {
    struct c_state *s = w->state;
    if (barrier_is_open(&s->barrier) || is_moving(s)) return;
    enum phase before = s->now.workflow.phase;
    if (!c_follows(w)) {
        if (c_pick(w, 4) == 0) move_to(s, WORKFLOW_GATES_CLOSED);
    } else {
        move_to(s, before == PHASE_COPYING ? WORKFLOW_COPY_DONE : WORKFLOW_GATES_OPEN);
    }
    if (s->now.workflow.phase != before) c_duties(w);
}

/* ---- an operator ---- */

static void begin(struct c_world *w, const struct barrier_plan *plan) {
    struct c_state *s = w->state;
    struct barrier_todo todo;
    barrier_init(&s->barrier);
    s->run++;
    for (int g = 0; g < w->gate_count; g++) {
        const char name[] = {'g', (char)('0' + g), '\0'};
        if (w->joined[g]) barrier_step(&s->barrier, &(struct barrier_event){.kind = BARRIER_EV_GATEWAY_JOINED, .gateway = name}, &todo);
    }
    c_trace(w, "state: a barrier begins, %s to %s, %s to %s", side_name(plan->from), side_name(plan->stays ? plan->from : side_other(plan->from)),
            c_capture_name((int)plan->capture_before), c_capture_name((int)plan->capture_after));
    barrier_begin(&s->barrier, plan, w->now_us, &todo);
    carry_out(w, &todo);
}

static bool turn(struct c_world *w, bool rehearsal) {
    struct c_state *s = w->state;
    enum side from = s->now.workflow.primary;
    enum phase to;
    struct why why;
    enum capture after = c_capture_of(w, side_other(from));
    if (s->admitting || is_moving(s) || barrier_is_open(&s->barrier)) return false;
    if (workflow_decide(&s->now.workflow, from == SIDE_LEGACY ? WORKFLOW_CUTOVER : WORKFLOW_ROLLBACK, &to, &why) != WORKFLOW_MOVE) return false;
    if (!c_follows(w) || (after == CAPTURE_STREAM && !c_link_is_attached(w, (int)link_from(side_other(from))))) return false;
    begin(w, &(struct barrier_plan){.from = from, .rehearsal = rehearsal, .max_hold_ms = C_HOLD_MS, .epoch = s->now.workflow.epoch,
                                    .capture_before = s->now.capture, .capture_after = after});
    return true;
}

/* may_begin() of core_recapture.c */
static bool may_change(struct c_world *w, enum capture wanted) {
    struct c_state *s = w->state;
    int primary = (int)s->now.workflow.primary;
    if (is_moving(s) || barrier_is_open(&s->barrier) || s->admitting || !c_follows(w) || !w->joined[C_SYNCER]) return false;
    return wanted == CAPTURE_LANE || c_link_is_attached(w, (int)link_from((enum side)primary));
}

static void change_tick(struct c_world *w) {
    struct c_state *s = w->state;
    enum capture wanted = s->recapture.wanted;
    if (wanted == CAPTURE_AUTO || s->recapture.begun) return;
    if (!may_change(w, wanted)) {
        if (c_now_ms(w) < s->recapture.until_ms || barrier_is_open(&s->barrier)) return;
        s->recapture.wanted = CAPTURE_AUTO;
        c_trace(w, "state: the change is refused");
        c_duties(w);
        return;
    }
    s->recapture.begun = true;
    begin(w, &(struct barrier_plan){.from = s->now.workflow.primary, .stays = true, .max_hold_ms = C_HOLD_MS, .epoch = s->now.workflow.epoch,
                                    .capture_before = s->now.capture, .capture_after = wanted});
}

static bool change(struct c_world *w, enum capture wanted) {
    struct c_state *s = w->state;
    enum phase phase = s->now.workflow.phase;
    bool fits = phase == PHASE_FOLLOWING || phase == PHASE_LEVEL || phase == PHASE_GUARDED;
    if (!fits || s->now.capture == wanted || s->recapture.wanted != CAPTURE_AUTO || barrier_is_open(&s->barrier)) return false;
    s->recapture.wanted = wanted;
    s->recapture.begun = false;
    s->recapture.until_ms = c_now_ms(w) + ATTACH_MS;
    c_trace(w, "state: capture %s is wanted", c_capture_name((int)wanted));
    c_duties(w);
    change_tick(w);
    return true;
}

/* `abort` and `complete`: nothing follows any more. */
static bool end(struct c_world *w) {
    struct c_state *s = w->state;
    enum phase to;
    struct why why;
    enum workflow_event event = s->now.workflow.primary == SIDE_LEGACY ? WORKFLOW_ABORT : WORKFLOW_COMPLETE;
    if (barrier_is_open(&s->barrier) || is_moving(s) || s->recapture.wanted != CAPTURE_AUTO) return false;
    if (workflow_decide(&s->now.workflow, event, &to, &why) != WORKFLOW_MOVE) return false;
    c_trace(w, "state: %s", workflow_event_name(event));
    w->final = true;
    move_to(s, event);
    c_duties(w);
    return true;
}

bool c_state_ask(struct c_world *w, enum c_verb verb) {
    struct c_state *s = w->state;
    if (!s->alive) return false;
    switch (verb) {
    case VERB_TURN: return turn(w, false);
    case VERB_REHEARSE: return turn(w, true);
    case VERB_STREAM: return change(w, CAPTURE_STREAM);
    case VERB_LANE: return change(w, CAPTURE_LANE);
    case VERB_STOP: c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_STOP}); return true;
    case VERB_END:
    default: return end(w);
    }
}

void c_state_tick(struct c_world *w) {
    struct c_state *s = w->state;
    if (!s->alive) return;
    c_state_event(w, (struct barrier_event){.kind = BARRIER_EV_TIMER});
    change_tick(w);
    c_slots_tick(w);
    evaluate(w);
    int standby = (int)link_from(side_other(s->now.workflow.primary));
    if (!barrier_is_open(&s->barrier) && !is_moving(s) && c_pick(w, 4) == 0)
        c_tell(w, C_SYNCER, (struct c_item){.kind = W_LINK_DISCARD, .key = standby, .barrier = w->side[standby].end});
}

/* ---- how things stand ---- */

bool c_state_is_alive(const struct c_world *w) { return w->state->alive; }
bool c_state_is_quiet(const struct c_world *w) {
    const struct c_state *s = w->state;
    return s->alive && !barrier_is_open(&s->barrier) && s->pending_count == 0 && s->recapture.wanted == CAPTURE_AUTO && s->move.state == 0;
}
int c_ledger_primary(const struct c_world *w) { return (int)w->state->disk.workflow.primary; }
bool c_ledger_lanes(const struct c_world *w) { return w->state->disk.capture == CAPTURE_LANE; }
uint64_t c_ledger_epoch(const struct c_world *w) { return w->state->disk.workflow.epoch; }
bool c_ledger_is_level(const struct c_world *w) {
    enum phase phase = w->state->disk.workflow.phase;
    return (phase == PHASE_LEVEL || phase == PHASE_GUARDED) && c_follows(w);
}

void c_state_describe(const struct c_world *w, char *text, size_t size) {
    const struct c_state *s = w->state;
    (void)snprintf(text, size, "phase %s, capture %s, barrier %s (%s)", phase_name(s->now.workflow.phase), c_capture_name(c_has_lanes(s)),
                   barrier_step_name((enum barrier_step)s->barrier.sm.state), s->barrier.row.why);
}
