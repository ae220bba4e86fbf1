/* lane_world_roles.c -- P and F of the simulated gateway change roles. See lane_world.h. */
#include "tests/sim/lane_world_inside.h"

#include <stdio.h>

/* The clients' own connections are closed at the old side; what lists is asked anew. */
static void leave_old_side(struct world *w, bool drained) {
    for (unsigned n = w->lane_count; n < world_wires(w, LANE_P); n++) world_lose(w, LANE_P, n);
    world_lose(w, LANE_F, world_wires(w, LANE_F) - 1);
    for (unsigned i = 0; i < w->lane_count; i++) {
        struct wire *wire = w->wires[LANE_F][i];
        while (drained && wire->asked.head) { /* marks that are not looked at yet */
            struct message *m = messages_pop(&wire->asked);
            world_run(w, wire, m);
            message_free(m);
        }
        for (int side = 0; side < 2 && !drained; side++) {
            world_bury(w, w->wires[side][i]);
            w->wires[side][i] = world_wire_new(w, (enum lane_side)side, (int)i);
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
    world_leave(w);
    bool drained = world_is_idle(w);
    TALK("P and F change roles%s\n", drained ? "" : ", and the lanes are not drained");
    w->figures[drained ? 4 : 5]++;
    world_witness_arm(w);
    leave_old_side(w, drained);
    lane_scan_restart(&w->lanes.scan);
    w->by_file = w->lanes.scan.by_file = false; /* it is legacy's */
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
    world_witness_swapped(w);
    if (!drained) lanes_mark_all(&w->lanes);
    w->off[OFF_KILL_F] |= w->off[OFF_SWAP]; /* nobody waits for them */
    while (w->off[OFF_SWAP] && w->zombies) world_kill(w);
    world_pump(w);
}
