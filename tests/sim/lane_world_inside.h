/* lane_world_inside.h -- what the files of the simulated gateway share; nobody else includes it.
 *
 *     lane_world.c          a run: its beginning, its rest, its end
 *     lane_world_clients.c  what clients send, and when it may leave
 *     lane_world_ops.c      what lanes and audits decide
 *     lane_world_servers.c  what is executed, and what the answers do
 *     lane_world_breaks.c   whatever dies
 *     lane_world_file.c     the baseline out of a file
 *     lane_world_roles.c    P and F change roles
 *     lane_world_witness.c  which keys P says have changed
 *     lane_world_journal.c  what stays when the gateway dies; world_journal.h: the real one beside it
 */
#ifndef TESTS_SIM_LANE_WORLD_INSIDE_H
#define TESTS_SIM_LANE_WORLD_INSIDE_H

#include "gateway/lane_burst.h"
#include "tests/sim/commands.h"
#include "tests/sim/lane_world.h"

#define TALK(...) (w->talk ? (void)printf(__VA_ARGS__) : (void)0)

extern struct world *world_now; /* one at a time */
extern const struct lanes_ops world_ops;
extern const struct lane_audit_ops world_audit_ops;

struct wire *world_wire_new(struct world *w, enum lane_side side, int lane);
struct wire **world_wire_at(struct world *w, enum lane_side side, unsigned n);

void world_forget_keys(struct lane_item *item);                            /* of a broken rule: nobody marks them */
void world_pump(struct world *w);                                          /* whatever may leave, leaves */
void world_run(struct world *w, struct wire *wire, struct message *m);     /* it is executed, or compared */
void world_lose(struct world *w, enum lane_side side, unsigned wire);      /* it broke; a new one is there */
void world_bury(struct world *w, struct wire *wire);                       /* it broke */
void world_leave_wires(struct world *w);                                   /* all did: the process is gone */
void world_open_gateway(struct world *w);
void world_connect(struct world *w);
/* lane_world_witness.c */
void world_end_turn(struct world *w); /* of P: before anything that it executed is answered */
void world_witness_open(struct world *w);
void world_witness_close(struct world *w);
void world_witness_arm(struct world *w);
void world_witness_swapped(struct world *w);
bool world_witness_is_proved(const struct world *w);

void world_file(struct world *w);                                          /* one step with it */
bool world_is_idle(const struct world *w);

#endif
