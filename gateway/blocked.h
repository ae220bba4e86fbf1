/* blocked.h -- commands that block, each on a connection of its client's own (C27).
 *
 *   sent --> answered: relayed, the connection goes back to the pool
 *        --> HOLD: ended by CLIENT UNBLOCK over another connection, never by closing it (a popped
 *            element would be lost); the empty answer is kept back, and after RELEASE the command
 *            is issued again with the time that is left. A real answer that crossed is relayed.
 *
 * `$` of XREAD is what it was when the client began to wait (C17): XINFO STREAM goes ahead of it, and
 * when it is issued again its ids stand there. Of a Cluster it stays `$`.
 */
#ifndef GATEWAY_BLOCKED_H
#define GATEWAY_BLOCKED_H

#include "gateway/client.h"

struct blocked {
    struct buf request;   /* the command as it was sent: array of bulk strings */
    size_t timeout_at;    /* argv[timeout_at] is the timeout */
    bool milliseconds;    /* in which unit: ms (XREAD), else seconds with a fraction */
    uint64_t deadline_us; /* 0: for ever */
    bool ending;          /* CLIENT UNBLOCK was sent for it: its empty answer is not the client's */
    bool again;           /* it was ended, and is to be issued again after the release */
    uint64_t asked_us;    /* when UNBLOCK was asked last */
};

enum take blocked_request(struct client *client, const struct command *command);
enum take blocked_wait(struct client *client); /* WAIT */
/* The timeout of a blocking request in microseconds; 0: for ever. */
uint64_t blocked_timeout_us(const struct command *command, const struct resp_request *request);
/* The same request with the time that is left until DEADLINE_US (0: as it is). */
void blocked_write_rest(const struct command *command, const struct resp_request *request,
                        uint64_t deadline_us, uint64_t now_us, struct buf *out);
void blocked_free(struct client *client);
/* One that was ended for a hold: its client sends it anew, by the lanes (C1). */
void blocked_put_back(struct client *client);

/* In a hold: ask the server to end it (again, if the last time came too early). */
void blocked_end(struct client *client);
/* After a release: issue it again. Returns TAKE_WAIT when it could not be sent yet. */
enum take blocked_resume(struct client *client);

#endif
