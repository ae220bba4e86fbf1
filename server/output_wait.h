/* output_wait.h -- replies that wait until the AOF has what they rest on.
 *
 *     turn ends --> output_flush --> held? --yes--> in line, with the AOF's length --> released: sent
 *                                    \--no--> sent
 *
 * Lengths are bytes appended to the AOF since the process began (aof_appended). What stands in a
 * client's `out` when it gets in line is sent when the AOF has come so far; what is appended to it
 * meanwhile (messages, the answer to what it was blocked in) gets in line again behind it. A client
 * in line is not executed, so its output grows by no more than others push to it.
 */
#ifndef SERVER_OUTPUT_WAIT_H
#define SERVER_OUTPUT_WAIT_H

#include "server/client.h"

/* What is sent at the end of this turn waits for LENGTH; 0: for nothing. */
void output_hold(struct engine *engine, uint64_t length);
/* All that waits for LENGTH or less is sent, now. From wherever: nobody is freed here. */
void output_release(struct engine *engine, uint64_t length);

/* For net.c. Whether C, which has output to send, is in line (now). */
bool output_waits(struct client *c);
void output_wait_forget(struct client *c);

#endif
