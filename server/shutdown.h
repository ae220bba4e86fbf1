/* shutdown.h -- how the process ends: SHUTDOWN and signals, with a wait for replicas before.
 *
 *     signal --> asked --tick--+
 *     SHUTDOWN ----------------+--> waiting --(all replicas level, or shutdown-timeout)--> the end
 *                              |       |  writes are paused, replicas are asked for acks
 *                              |       +--> SHUTDOWN ABORT, or a step that refuses: life goes on
 *                              +--(NOW, no replica that lags, a busy script, loading)----> the end
 *
 * Clients that called SHUTDOWN are blocked until the end, or get an error if there is none.
 * Source: server.c of Redis 7.0 (prepareForShutdown, finishShutdown); unlike there, SHUTDOWN NOW
 * ends a wait that is going on.
 */
#ifndef SERVER_SHUTDOWN_H
#define SERVER_SHUTDOWN_H

#include "server/engine.h"

enum shutdown_begun { SHUTDOWN_ENDS, SHUTDOWN_WAITS, SHUTDOWN_REFUSED };

/* FLAGS of enum shutdown_flag. SHUTDOWN_REFUSED: a step said no, which is in the log. */
enum shutdown_begun shutdown_begin(struct engine *engine, unsigned flags);
/* SIGTERM or SIGINT: at the next tick, so that a script that runs is not cut in two. */
void shutdown_ask(struct engine *engine, unsigned flags, bool interrupt);
bool shutdown_abort(struct engine *engine);           /* false: there was none */
void shutdown_tick(struct engine *engine);            /* goes on with what was asked for */
int64_t shutdown_end_ms(const struct engine *engine); /* 0: no wait is going on */

void shutdown_commands_bind(struct engine *engine);

#endif
