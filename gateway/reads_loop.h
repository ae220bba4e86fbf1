/* reads_loop.h -- canary and shadow reads of one loop's clients. See reads.h.
 *
 * A canary read is not in the client's queue of answers: the client is busy until it is answered,
 * so that nothing of its is answered before. When the other side does not answer in time, or with
 * an error, the request is put back in front of the client's unread bytes, and the primary side
 * gets it as if nothing had been. So a side that is slow or gone costs a client READS_CANARY_MS
 * once a second at most.
 */
#ifndef GATEWAY_READS_LOOP_H
#define GATEWAY_READS_LOOP_H

#include "gateway/client.h"
#include "gateway/reads.h"

struct reads_loop;

struct reads_loop *reads_loop_open(struct worker *worker) __attribute__((returns_nonnull));
/* After the connections are gone. NULL is fine. */
void reads_loop_close(struct reads_loop *loop);
void reads_loop_tick(struct reads_loop *loop); /* every 20 ms */

/* For dual_reads.c: asks of other loops. */
uint32_t *reads_loop_dice(struct reads_loop *loop);
bool reads_loop_is_backing_off(const struct reads_loop *loop);
void reads_loop_back_off(struct reads_loop *loop);

/* ---- reads_stream.c: capture `stream` ---- */

/* The request in hand, RAW, which is to be forwarded. True: it was taken, as *TAKE says. */
bool reads_request(struct client *client, const struct command *command, struct slice raw,
                   enum take *take);

/* ---- for both captures ---- */

/* A read that was asked of the other side for a client. The owner embeds it. */
struct canary {
    struct list link; /* loop->canaries, in the order of at_us */
    struct client *client; /* NULL: it is gone, or was given back */
    const struct command *command;
    struct buf request; /* as an array of bulk strings */
    uint64_t at_us;
};

/* Whether CLIENT's next request may be a canary, and is picked. */
bool canary_is_due(struct client *client, const struct command *command);
/* The client waits for it; REQUEST is kept. */
void canary_begin(struct canary *canary, struct client *client, const struct command *command,
                  struct slice request);
/* REPLY is the other side's; empty: there is none. The client goes on. */
void canary_end(struct worker *worker, struct canary *canary, enum side side, struct slice reply);
void canary_forget(struct client *client); /* it is freed */

#endif
