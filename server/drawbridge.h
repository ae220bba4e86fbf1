/* drawbridge.h -- checkpoints that come in by PUBLISH, and clients that wait for the disk. */
#ifndef SERVER_DRAWBRIDGE_H
#define SERVER_DRAWBRIDGE_H

#include "lib/redis/digest.h"

#include <stdbool.h>
#include <stddef.h>

struct client;
struct engine;

/* PUBLISH calls it first. True: this was a checkpoint of our master's stream or of the AOF; it was
 * taken (and counts as a change, so that it goes on to our own AOF and replicas); subscribers get
 * it too. */
bool drawbridge_take_publish(struct client *c);

/* DRAWBRIDGE DIGEST ... (digest_command.c) */
void drawbridge_digest(struct client *c);

/* Of a slot or database: how many keys, and the sum of their digests. */
struct digest_total {
    uint64_t keys;
    struct digest digest;
};
/* An array of AT, keys and digest. */
void digest_reply_total(struct client *c, size_t at, const struct digest_total *total);
/* STREAMS how, at the end of the arguments; *END is what comes before it. False: told why not. */
bool digest_take_streams(struct client *c, int *end, enum digest_streams *streams);

/* DRAWBRIDGE AUDIT ... (audit_command.c) */
void drawbridge_audit(struct client *c);
void drawbridge_audit_open(struct engine *engine);

/* Something was synced or acknowledged: WAITAOF looks again. */
void drawbridge_check_waiting(struct engine *engine);

#endif
