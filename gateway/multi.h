/* multi.h -- MULTI ... EXEC is collected here and sent as one block (C18).
 *
 * Each command is checked when it is queued, as Redis does: an unknown one, a wrong number of
 * arguments, or one that the gateway cannot put into a block makes EXEC fail with EXECABORT. One that
 * our table does not know may be a module's: the server is asked by COMMAND INFO.
 * Bounds: MULTI_BYTES_MAX and MULTI_COMMANDS_MAX for one block; beyond them, EXECABORT.
 *
 * What names our own keys is taken out of EXEC's reply (C5a, filter.h). A script that an EVALSHA in
 * the block names, and that the primary side is not known to have, is loaded right before the block
 * (C27): inside it a NOSCRIPT could not be healed any more.
 *
 * WATCH takes a connection of the client's own, where everything of this client goes until EXEC,
 * DISCARD or UNWATCH. When that connection is lost or the primary side changes, EXEC is nil (C27).
 */
#ifndef GATEWAY_MULTI_H
#define GATEWAY_MULTI_H

#include "gateway/client.h"

#define MULTI_BYTES_MAX (256u << 20)
#define MULTI_COMMANDS_MAX 1000000u

struct multi {
    struct buf block; /* the commands between MULTI and EXEC, as they will be sent */
    size_t count;     /* how many those are */
    bool spoiled;     /* EXEC will answer EXECABORT */
    bool selects;     /* one of them is SELECT */
    bool odd;         /* queued with lanes, and without lanes it would have rules */
    struct buf rules; /* struct filter_rule: what EXEC's reply is looked through for (C5a) */
    struct buf shas;  /* 40 bytes each: the scripts that EVALSHA names (C27) */
};

/* A request while c->multi is set; COMMAND NULL: unknown. RAW are its bytes. */
enum take multi_collect(struct client *client, const struct command *command, struct slice raw);
enum take multi_request(struct client *client, const struct command *command);
enum take watch_request(struct client *client, const struct command *command);
/* The capture is another one: a block that was collected for the one before, and cannot be sent so,
 * answers EXECABORT (C1). */
void multi_recaptured(struct client *client);
void multi_free(struct client *client); /* forgets the block, if any */

#endif
