/* drawbridge.h -- checkpoints that come in by PUBLISH, and clients that wait for the disk. */
#ifndef SERVER_DRAWBRIDGE_H
#define SERVER_DRAWBRIDGE_H

#include <stdbool.h>

struct client;
struct engine;

/* PUBLISH calls it first. True: this was a checkpoint of our master's stream or of the AOF; it was
 * taken (and counts as a change, so that it goes on to our own AOF and replicas); subscribers get
 * it too. */
bool drawbridge_take_publish(struct client *c);

/* DRAWBRIDGE DIGEST ... (digest_command.c) */
void drawbridge_digest(struct client *c);

/* Something was synced or acknowledged: WAITAOF looks again. */
void drawbridge_check_waiting(struct engine *engine);

#endif
