/* errors.h -- counting error replies by their code, for INFO errorstats. */
#ifndef SERVER_ERRORS_H
#define SERVER_ERRORS_H

#include "lib/base/buf.h"
#include "lib/base/slice.h"

struct client;
struct engine;

/* TEXT is an error reply without '-'. Also marks the client's command as failed. */
void errors_count(struct client *c, struct slice text);
void errors_info(struct engine *engine, struct buf *out);
void errors_reset(struct engine *engine);

#endif
