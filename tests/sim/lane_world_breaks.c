/* lane_world_breaks.c -- connections, gateways and servers that die. See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include "tests/sim/world_journal.h"

#include <inttypes.h>
#include <stdio.h>

static struct lane_journal the_journal;

static void told_gone(struct world *w, const struct wire *wire) {
    world_end_turn(w); /* P says so, if it is P's */
    witness_owe(&w->witness.of[LANE_P]);
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
        wire_free(wire);
    }
    world_pump(w);
}

void world_zombie(struct world *w) {
    struct wire *list[2] = {w->ghosts, w->zombies};
    for (int i = 0; i < 2; i++)
        for (struct wire *wire = list[i]; wire; wire = wire->next) {
            struct message *m = messages_pop(&wire->asked);
            if (!m) continue;
            if (!m->is_mark) world_run(w, wire, m);
            message_free(m);
            return;
        }
}

/* The gateway has lost it: answers that were under way are lost, requests may be executed. */
void world_bury(struct world *w, struct wire *wire) {
    for (struct message *m = wire->answered.head; m; m = m->next)
        if (m->own) wire->own[wire->owns++] = m->own;
    for (struct message *m = wire->asked.head; m; m = m->next)
        if (m->own) wire->own[wire->owns++] = m->own;
    ASSERT(wire->owns <= 8);
    messages_free(&wire->answered);
    wire->next = w->zombies;
    w->zombies = wire;
}

static void spoil_unconfirmed(struct world *w, unsigned lane) {
    for (struct lane_item *item = w->lanes.lane[lane].sent.head; item && w->off[OFF_UNCONFIRMED]; item = item->next) world_forget_keys(item);
}

/* The connection is gone; what it was used for goes on over a new one. */
void world_lose(struct world *w, enum lane_side side, unsigned n) {
    world_leave(w);
    struct wire **at = world_wire_at(w, side, n), *old = *at;
    int client = n >= w->lane_count && side == LANE_P && n < w->lane_count + WORLD_CLIENTS ? (int)(n - w->lane_count) : -1;
    world_bury(w, old);
    *at = world_wire_new(w, side, old->lane);
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
    struct wire *old = *world_wire_at(w, side, n);
    TALK("connection %" PRId64 " breaks\n", old->id);
    w->figures[3]++;
    world_lose(w, side, n);
    world_pump(w);
}

void world_open_gateway(struct world *w) {
    the_journal = world_journal(w);
    lanes_init(&w->lanes, &world_ops, w, &the_journal, &w->clock, &w->rules, w->lane_count);
    lane_audit_init(&w->audit, &world_audit_ops, w, w->lanes.lane, w->lane_count, &w->clock);
    w->audit.follower_version = w->facts.follower_version;
    for (unsigned i = 0; i < w->lane_count; i++) {
        char name[2] = {(char)('0' + i), '\0'};
        lane_marks_name(&w->lanes.lane[i].marks, name, w->figures[2]); /* every process has its own marks */
    }
    world_witness_open(w);
    w->lanes.scan.by_file = w->by_file;
    w->file.taken = w->file.reading = false;
    w->lanes.scan.databases[LANE_P] = w->lanes.scan.databases[LANE_F] = MINI_DBS;
    for (unsigned i = 0; i < w->lane_count; i++)
        for (int side = 0; side < 2; side++) w->wires[side][i] = world_wire_new(w, (enum lane_side)side, (int)i);
    for (int i = 0; i < WORLD_CLIENTS; i++) w->own[i] = world_wire_new(w, LANE_P, -1);
    for (int side = 0; side < 2; side++) w->scan[side] = world_wire_new(w, (enum lane_side)side, -1);
}

void world_connect(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) {
        lane_primary_up(&w->lanes.lane[i], w->facts.primary_version);
        lane_follower_up(&w->lanes.lane[i], w->facts.follower_version);
    }
}

void world_leave_wires(struct world *w) {
    world_leave(w);
    for (int side = 0; side < 2; side++)
        for (unsigned n = 0; n < world_wires(w, (enum lane_side)side); n++) {
            struct wire *wire = *world_wire_at(w, (enum lane_side)side, n);
            for (struct message *m = wire->asked.head; m; m = m->next) effect_free(m->own), m->own = NULL;
            for (struct message *m = wire->answered.head; m; m = m->next) effect_free(m->own), m->own = NULL;
            world_bury(w, wire);
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
    world_leave_wires(w);
    lane_audit_close(&w->audit);
    world_witness_close(w);
    lanes_close(&w->lanes);
    memset(w->clients, 0, sizeof w->clients);
    if (host) world_no_journal(w);
    else world_journal_read(w);
    if (host) world_journal_close(w), world_journal_open(w);
    world_open_gateway(w);
    for (struct wire *wire = w->zombies; wire; wire = wire->next)
        for (unsigned i = 0; i < w->lane_count; i++) lane_buried(&w->lanes.lane[i], wire->side);
    if (!host) world_recover(w);
    if (host && !w->off[OFF_JOURNAL_LOST]) lanes_mark_all(&w->lanes);
    world_connect(w);
}

/* C22a: another process at F has what its mark says; with the rule off nobody remembers what was sent behind it. */
static void look_at_marks(struct world *w) {
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct buf answer = {0};
        struct lane *l = &w->lanes.lane[i];
        const char *mark = w->server[LANE_F].state.mark[i];
        if (mark[0]) resp_write_text(&answer, mark);
        else resp_write_null(&answer, 2);
        if (w->off[OFF_MARK]) {
            buf_clear(&l->marks.log);
            l->marks.count = 0;
        }
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
        if (wire->side == side) messages_free(&wire->asked);
    for (unsigned n = 0; n < world_wires(w, side); n++) {
        world_lose(w, side, n);
        messages_free(&w->zombies->asked);
    }
    world_witness_break(w, side, true);
    if (side == LANE_P && !w->off[OFF_RUN_ID_P]) lanes_mark_all(&w->lanes);
    if (side == LANE_F && !w->off[OFF_RUN_ID_F]) look_at_marks(w);
    world_pump(w);
}
