/* control.h -- the gateway's two connections to state (docs/CONTROL.md).
 *
 *   ask:  we ask, state answers: DRAWBRIDGE EPOCH for each new backend connection (C25)
 *   task: DRAWBRIDGE HELLO, then turned round: state sends commands, we answer in order, and push
 *         reports
 *
 * Both are dialled again half a second after they broke. While the ask connection is down,
 * questions wait: a backend connection is not used before state said that its epoch holds.
 */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include "gateway/gw.h"

struct control;

struct control *control_open(struct gateway *gw);
void control_close(struct control *control); /* NULL is fine */

/* A report: KIND, perhaps a BARRIER (NULL: none), and a JSON object. Dropped while the connection
 * is down, since state asks again. CONTROL may be NULL. */
void control_report(struct control *control, const char *kind, const char *barrier,
                    struct slice json);

/* An operator did WHAT ("pin-legacy") to this gateway: state is told until its ledger has it, also
 * when it comes back only later. Of more than 64 that wait the oldest is forgotten. CONTROL may be
 * NULL. */
void control_by_hand(struct control *control, const char *what);
void control_tick(struct control *control); /* each second */

/* The RELEASE that waits can be answered now. */
void control_released(struct control *control);

/* Does EPOCH hold? The answer goes to the worker's backend connection by TELL_EPOCH. */
void control_ask(struct control *control, unsigned worker, uint64_t backend, uint64_t epoch);

bool control_is_up(const struct control *control);

#endif
