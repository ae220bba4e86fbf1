/* drain.h -- the end of a gateway that is told to end: nothing that it took stays unanswered.
 *
 *   SERVING --SIGTERM--> LEAVING --> ANSWERING --> CLOSING --> over
 *                           |            |            |
 *                           |            |            +- clients get what was written to them, and are
 *                           |            |               closed between two replies; meanwhile the
 *                           |            |               lanes come to rest (F has confirmed, dirty keys
 *                           |            |               are copied, as far as SETTLE_MS allows)
 *                           |            +- no more requests are taken. What was taken is answered;
 *                           |               who blocks is unblocked at the server, as in a barrier
 *                           |               (C27), and gets the element or nothing
 *                           +- with several gateways: state hands our slots over to the others
 *                              (C22b), while we go on serving those clients that we have
 *
 * From LEAVING on nobody is accepted. A request that was not taken was not executed: its client sees
 * a connection that ends without an answer, and may ask again elsewhere. One that was executed has
 * its answer. So whoever retries what was not answered does nothing twice.
 *
 * Bounded by gateway.drain for all of it; then, or at a second signal, the process ends at once, and
 * what is under way is as after a crash: the journal has it (C20, C21).
 */
#ifndef GATEWAY_DRAIN_H
#define GATEWAY_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

struct gateway;

enum drain_stage { DRAIN_SERVING, DRAIN_LEAVING, DRAIN_ANSWERING, DRAIN_CLOSING, DRAIN_OVER };

struct drain {
    enum drain_stage stage;
    uint64_t began_ms, until_ms;
    bool asked, kept; /* state, to hand our slots over; and it said that nobody could have them */
    unsigned waiting; /* loops that did not say that the stage is done; with the lanes, one more */
};

void drain_begin(struct gateway *gw);
void drain_on_loop(struct gateway *gw, uint64_t stage); /* one of them says that it is */
void drain_tick(struct gateway *gw);

#endif
